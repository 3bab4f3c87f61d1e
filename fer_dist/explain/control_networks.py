"""Networks beside which a trained one stands: what those with random weights show, geometry shows; what one trained on
random labels shows, images teach without their emotions."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_dist.config.settings import ExplainConfig
from fer_dist.errors import InputError
from fer_dist.explain.blocks import blocks_of, watched
from fer_dist.explain.claims import MASKS, Known, Mask
from fer_dist.explain.hiding import hide
from fer_dist.explain.maps import edges_of, reduced
from fer_dist.runs.checkpoint import load_model
from fer_dist.runs.network import Network, build, shape_differences

RANDOM_WEIGHTS, RANDOM_LABELS = "random weights", "random labels"
"""What a control network has in place of the trained one's."""


def untrained(network: Network, crops: Tensor, config: ExplainConfig, number: int = 0) -> nn.Module:
    """The network with fresh weights, its running statistics of these crops, in evaluation mode.

    number: which draw of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed * 1_000_003 + number)
        fresh = build(network, config.network).to(crops.device)
    return _with_statistics(fresh, [fresh], crops)


def trained_on_random_labels(network: Network, config: ExplainConfig) -> nn.Module | None:
    """The network of --control, in evaluation mode; None where none is given. Raises InputError where it is another."""
    if not config.control:
        return None
    theirs, model = load_model(config.control, given=config.network)
    differing = shape_differences(theirs, network)
    if not differing and len(theirs.emotions) != len(network.emotions):
        differing = f"{len(theirs.emotions)} classes, here {len(network.emotions)}"
    if differing:
        raise InputError(f"--control {config.control}: another network ({differing}); train one as this run's")
    return model


def cascaded(model: nn.Module, fresh: nn.Module, crops: Tensor) -> Iterator[tuple[str, nn.Module]]:
    """The network with more and more of its parts drawn anew, from the head to the input, block by block.

    Yields the name of the part that was drawn last, and the network; the statistics of what is new are of these crops.
    Source: Adebayo et al. 2018, "Sanity checks for saliency maps", cascading randomization.
    """
    partly = copy.deepcopy(model).eval()
    theirs, replaced = dict(_parts(fresh)), []
    for name, part in reversed(list(_parts(partly))):
        part.load_state_dict(theirs[name].state_dict())
        replaced.append(name)
        now = copy.deepcopy(partly)
        yield name, _with_statistics(now, [now.get_submodule(one) for one in replaced], crops)


def _parts(model: nn.Module, before: str = "") -> Iterator[tuple[str, nn.Module]]:
    """What a network is made of, in its order: its children, and those of what is only a row of others."""
    for name, child in model.named_children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            yield from _parts(child, f"{before}{name}.")
        elif next(child.parameters(), None) is not None:
            yield f"{before}{name}", child


@torch.no_grad()
def _with_statistics(model: nn.Module, new: Sequence[nn.Module], crops: Tensor) -> nn.Module:
    model.eval()
    for part in new:
        for module in part.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_running_stats()
                module.momentum = None
                module.train()
    model(crops)
    return model.eval()


class Reference:
    """What a network with random weights shows of the first images of a set; claims are held against it.

    logit_mask: float [K], added to its logits.
    """

    def __init__(self, model: nn.Module, config: ExplainConfig, logit_mask: Tensor) -> None:
        self.model, self.config, self.logit_mask = model, config, logit_mask
        self.blocks = blocks_of(model)
        self.labels: list[NDArray[np.int64]] = []
        self.edges: list[NDArray[np.float64]] = []
        self.answers: dict[Mask, list[NDArray[np.int64]]] = {mask: [] for mask in MASKS}

    @torch.no_grad()
    def take(self, crops: Tensor, labels: NDArray[Any], ids: NDArray[np.uint64], masks: Mapping[Mask, Tensor]) -> None:
        """Look at images, as long as there are fewer than are asked for. labels: int [B]; masks: bool [B, H, W]."""
        count = min(len(crops), self.config.reference_samples - sum(map(len, self.labels)))
        if count < 1:
            return
        crops, labels, ids = crops[:count], labels[:count], ids[:count]
        self.labels.append(labels)
        with watched(self.blocks) as seen:
            self.model(crops)
        self.edges.append(edges_of([reduced(seen, name, self.config.reduction) for name in seen.after], crops))
        for mask in MASKS:
            hidden = hide(crops, masks[mask][:count], self.config.fills[0], ids, self.config.seed)
            self.answers[mask].append((self.model(hidden) + self.logit_mask).argmax(1).cpu().numpy())

    def known(self) -> Known:
        """Of all images that it took."""
        answers = {mask: np.concatenate(found) for mask, found in self.answers.items()}
        return Known(np.concatenate(self.labels), answers, np.concatenate(self.edges))
