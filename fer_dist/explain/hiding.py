"""What a network loses where a region of the face is hidden, beside the same area hidden elsewhere."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_dist.data.draws import Hashes, uniform
from fer_dist.explain.attribution import blurred
from fer_dist.explain.regions import REGIONS, elsewhere

Fill = Literal["mean", "blur", "noise"]
FILLS: tuple[Fill, ...] = get_args(Fill)

ELSEWHERE, UPSIDE_DOWN = "at a random place", "upside down"
"""Controls of a region: its mask moved, and its mask mirrored from top to bottom. Mirrored from left to right, most
regions are themselves."""


@dataclass(frozen=True)
class Hidden:
    """One mask hidden in the images of a batch. p: float [B], of the class that was predicted before; winners: int64
    [B], the classes that are predicted now; area: float [B], the part of the crop that was hidden."""

    p: NDArray[np.float64]
    winners: NDArray[np.int64]
    area: NDArray[np.float64]


def masks_to_hide(masks: dict[str, Tensor], ids: Hashes, seed: int) -> dict[tuple[str, str], Tensor]:
    """(region, "" or a control) -> bool [B, H, W]. The background and the halves are each other's control."""
    found = {(name, ""): mask for name, mask in masks.items()}
    for name in REGIONS:
        found[name, ELSEWHERE] = elsewhere(masks[name], ids, seed)
        found[name, UPSIDE_DOWN] = masks[name].flip(1)
    return found


def hide(crops: Tensor, mask: Tensor, fill: Fill, ids: Hashes, seed: int) -> Tensor:
    """The crops with a region filled: by the mean colour of each, by its blur, or by noise of its mean and spread."""
    if fill == "mean":
        filling = crops.mean((2, 3), keepdim=True)
    elif fill == "blur":
        filling = blurred(crops, max(1, crops.shape[-1] // 4))
    else:
        pixels = np.arange(crops[0].numel(), dtype=np.uint64)
        drawn = torch.from_numpy(uniform(seed, 41, ids[:, None], pixels[None])).float().view(crops.shape)
        spread = crops.std((2, 3), keepdim=True) * 12**0.5
        filling = crops.mean((2, 3), keepdim=True) + (drawn.to(crops.device) - 0.5) * spread
    return torch.where(mask[:, None].to(crops.device), filling, crops)


def predict_hidden(model: nn.Module, hidden: Tensor, target: Tensor, mask: Tensor, logit_mask: Tensor) -> Hidden:
    """hidden: the crops as `hide` gives them; target: int64 [B], what was predicted before; logit_mask: float [K]."""
    found = (model(hidden) + logit_mask).softmax(1)
    p = found.gather(1, target[:, None])[:, 0].double().cpu().numpy()
    return Hidden(p, found.argmax(1).cpu().numpy(), mask.double().mean((1, 2)).cpu().numpy())
