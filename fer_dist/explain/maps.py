"""Feature maps as images: one map for each block and image, and their averages over the images of a group.

Groups are the study's: images that are right with p > 0.9, and misclassified ones, each by emotion.
Source: Huang et al. 2023, figures 6, 7, 9, 10 and 13.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fer_dist.explain.attribution import edge_map
from fer_dist.explain.blocks import Seen

Reduction = Literal["mean", "weighted", "strongest", "before"]
"""How the channels become one map: their mean, after SE, as the study's; weighted by the excitation; the mean of the
STRONGEST ones; or their mean before SE."""

STRONGEST = 16
"""Channels with the highest gate, or where there are none with the highest mean."""

CONFIDENT = 0.9
"""The study's "softmax score above 90 %"."""

RIGHT, WRONG = f"right, p > {CONFIDENT:g}", "misclassified"
GROUPS = (RIGHT, WRONG)


def reduced(seen: Seen, name: str, how: Reduction) -> Tensor:
    """float [B, H, W]: a block's feature map with its channels reduced to one."""
    after, gates = seen.after[name], seen.gates.get(name)
    if how == "before":
        return seen.before[name].mean(1)
    if how == "weighted":
        weights = gates if gates is not None else torch.ones_like(after[:, :, 0, 0])
        return (after * weights[:, :, None, None]).sum(1) / weights.sum(1).clamp(min=1e-12)[:, None, None]
    if how == "strongest":
        strength = gates if gates is not None else after.mean((2, 3))
        chosen = strength.topk(min(STRONGEST, after.shape[1]), dim=1).indices
        return after.gather(1, chosen[:, :, None, None].expand(-1, -1, *after.shape[2:])).mean(1)
    return after.mean(1)


def min_max(maps: Tensor) -> Tensor:
    """[B, H, W] -> the same, each map from 0 to 1; a map of one value becomes 0."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp(min=1e-12)


def pearson(first: Tensor, second: Tensor) -> Tensor:
    """float [B]: the correlation over the rows of each column of two [N, B]; 0 where either does not vary."""
    one, other = (values - values.mean(0) for values in (first, second))
    lengths = one.norm(dim=0) * other.norm(dim=0)
    # A uniform map varies by rounding alone.
    varies = one.abs().amax(0) > 1e-5 * first.abs().amax(0).clamp(min=1e-12)
    return torch.where(
        varies & (lengths > 0), (one * other).sum(0) / lengths.clamp(min=1e-20), torch.zeros_like(lengths)
    )


def edges_of(maps: Sequence[Tensor], crops: Tensor) -> NDArray[np.float64]:
    """float [B, len(maps)]: the correlation of each map, [B, h, w], with the edges of its crop as small as it is."""
    edges = edge_map(crops)
    found = [
        pearson(one.flatten(1).T, F.adaptive_avg_pool2d(edges[:, None], (one.shape[1], one.shape[2])).flatten(1).T)
        for one in maps
    ]
    if not found:
        return np.zeros((len(crops), 0))
    return torch.stack(found, dim=1).double().cpu().numpy()


def group_of(label: int, predicted: int, p: float) -> str:
    """The group of an image; empty where it belongs to neither. p: of what is predicted."""
    if predicted != label:
        return WRONG
    return RIGHT if p > CONFIDENT else ""


@dataclass
class Example:
    """An image whose maps are drawn. pixels: uint8 [3, H, W], as the network sees it; maps: block -> [h, w], 0 to 1."""

    key: str
    label: int
    predicted: int
    p: float
    pixels: NDArray[np.uint8]
    maps: dict[str, NDArray[np.float32]]


@dataclass
class Averages:
    """The mean maps of the groups, and an example of each.

    counts: (group, emotion) -> images; sums: (group, emotion, block) -> sum of their maps; images: (group, emotion) ->
    sum of the images, float [3, H, W]; examples: (group, emotion) -> the image that the network is surest of.
    """

    counts: dict[tuple[str, int], int] = field(default_factory=dict)
    sums: dict[tuple[str, int, str], NDArray[np.float64]] = field(default_factory=dict)
    images: dict[tuple[str, int], NDArray[np.float64]] = field(default_factory=dict)
    examples: dict[tuple[str, int], Example] = field(default_factory=dict)

    def add(self, example: Example) -> None:
        """Take in an image. label: its emotion, by which misclassified images are grouped too."""
        group = group_of(example.label, example.predicted, example.p)
        if not group:
            return
        at = group, example.label
        self.counts[at] = self.counts.get(at, 0) + 1
        self.images[at] = self.images.get(at, 0.0) + example.pixels.astype(np.float64)
        for name, found in example.maps.items():
            self.sums[(*at, name)] = self.sums.get((*at, name), 0.0) + found.astype(np.float64)
        best = self.examples.get(at)
        if best is None or example.p > best.p:
            self.examples[at] = example

    def mean(self, group: str, emotion: int, block: str) -> NDArray[np.float64] | None:
        """[h, w]: the mean map of a group, or None where it has no image."""
        total = self.sums.get((group, emotion, block))
        return None if total is None else total / self.counts[group, emotion]

    def counted(self, emotions: tuple[str, ...]) -> dict[str, dict[str, int]]:
        """Group -> emotion -> images, with 0 where there is none."""
        return {
            group: {name: self.counts.get((group, label), 0) for label, name in enumerate(emotions)} for group in GROUPS
        }
