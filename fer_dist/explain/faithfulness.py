"""Whether a map says what the network goes by: three measures that fail in different ways, of each image.

Deletion: the mean p of the predicted class while the pixels that count most are hidden, step by step (less is better).
Insertion: the same while they are shown on a blurred image (more is better). Correlation: between what random squares
of a grid count for in the map and the fall of the class's score where they are hidden (more is better).
Sources: Petsiuk et al. 2018 (RISE: deletion, insertion); Bhatt et al. 2020 (faithfulness correlation).

Not Quantus's: its 0.6.0 has no insertion, its ROAD fails on these maps, its random subsets come from numpy's global
generator and are asked of the network anew for each map, where here one draw serves all. Measured in launch/RESULTS.md.
"""

from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_dist.data.draws import Hashes, uniform
from fer_dist.explain.attribution import blurred
from fer_dist.explain.maps import pearson

STEPS = 8
"""Of deletion and insertion, each with as many pixels."""

SUBSETS, GRID, HIDDEN = 16, 7, 0.25
"""Of the correlation: subsets of an image, the grid's cells along a side, and the part of them that a subset hides."""

MEASURES = ("deletion", "insertion", "correlation")
SIGNS = {"deletion": -1.0, "insertion": 1.0, "correlation": 1.0}
"""By which a measure is multiplied so that more is better."""


def probability(model: nn.Module, crops: Tensor, target: Tensor) -> Tensor:
    """float [B]: the network's probability of the target."""
    found: Tensor = model(crops).softmax(1).gather(1, target[:, None])[:, 0]
    return found


def deletion_and_insertion(model: nn.Module, crops: Tensor, target: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """float [B] each: the mean p along the way, its two ends left out, which every map shares."""
    count, _, height, width = crops.shape
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(height * width, device=crops.device).expand(count, -1)
    )
    rank = rank.view(count, 1, height, width)
    grey, blur = crops.mean((2, 3), keepdim=True), blurred(crops, max(1, width // 8))
    ways: tuple[list[Tensor], list[Tensor]] = ([], [])
    for step in range(1, STEPS):
        is_first = rank < height * width * step // STEPS
        ways[0].append(probability(model, torch.where(is_first, grey, crops), target))
        ways[1].append(probability(model, torch.where(is_first, crops, blur), target))
    return torch.stack(ways[0]).mean(0), torch.stack(ways[1]).mean(0)


def hidden_scores(model: nn.Module, crops: Tensor, target: Tensor, ids: Hashes, seed: int) -> tuple[Tensor, Tensor]:
    """What `correlation` compares maps with: bool [S, B, H, W], the subsets; float [S, B], the falls of the score."""
    count, _, height, width = crops.shape
    cells = np.arange(GRID * GRID, dtype=np.uint64)
    score = model(crops).gather(1, target[:, None])[:, 0]
    grey = crops.mean((2, 3), keepdim=True)
    subsets, falls = [], []
    row, column = (torch.arange(side, device=crops.device) * GRID // side for side in (height, width))
    for number in range(SUBSETS):
        drawn = uniform(seed, 31, number, ids[:, None], cells[None])
        chosen = torch.from_numpy(drawn.argsort(1).argsort(1) < HIDDEN * GRID * GRID).to(crops.device)
        mask = chosen.view(count, GRID, GRID)[:, row][:, :, column]
        hidden = model(torch.where(mask[:, None], grey, crops)).gather(1, target[:, None])[:, 0]
        subsets.append(mask)
        falls.append(score - hidden)
    return torch.stack(subsets), torch.stack(falls)


def correlation(maps: Tensor, subsets: Tensor, falls: Tensor) -> Tensor:
    """float [B]: Pearson's, over the subsets; 0 where either does not vary."""
    return pearson((maps[None] * subsets).sum((2, 3)), falls)


def beaten(
    values: dict[str, dict[str, NDArray[np.float64]]], method: str, controls: tuple[str, ...]
) -> dict[str, bool]:
    """Measure -> whether a method beats every control in it.

    It does where the interval of the mean difference over images, paired, lies above 0: 95 %, widened for as many
    controls (Bonferroni). values: map -> measure -> [N], of the same images.
    """
    z = NormalDist().inv_cdf(1 - 0.025 / max(len(controls), 1))
    found = {}
    for measure in MEASURES:
        lows = []
        for name in controls:
            difference = SIGNS[measure] * (values[method][measure] - values[name][measure])
            error = difference.std(ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else np.inf
            lows.append(difference.mean() - z * error)
        found[measure] = bool(min(lows) > 0)
    return found
