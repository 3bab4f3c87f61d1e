"""Parts of a face that are occluded, and regions of the same size to compare with.

A box is filled with its image's mean colour. Boxes are shares of the crop, for faces that are cut out and aligned as
the releases do it; measured on the mean of 600 images each of FER2013 and of press photographs, whose eyes lie at
0.25 to 0.44 of the height and whose mouth lies at 0.72 to 0.92. Landmarks are not used.
"""

import zlib
from typing import TYPE_CHECKING

import numpy as np

from fer_dist.data.draws import Hashes, uniform

if TYPE_CHECKING:
    # A report names regions, and is made where no network runs.
    from torch import Tensor

Box = tuple[float, float, float, float]
"""Left, top, right and bottom as shares of the crop."""

REGIONS: dict[str, tuple[Box, ...]] = {
    "eyes": ((0.12, 0.22, 0.88, 0.46),),
    "nose": ((0.33, 0.44, 0.67, 0.70),),
    "mouth": ((0.25, 0.70, 0.75, 0.92),),
    "ears": ((0.0, 0.28, 0.12, 0.62), (0.88, 0.28, 1.0, 0.62)),
    "left half": ((0.0, 0.0, 0.5, 1.0),),
    "right half": ((0.5, 0.0, 1.0, 1.0),),
}
"""By name. Ears: where they are, if they show. Left and right are the image's, not the person's."""

CONTROL = "random place, as "
"""Before the name of a region: as many boxes of its size, at a position drawn for each image. The halves are each
other's control."""

ALL_REGIONS = (*REGIONS, *(CONTROL + name for name in REGIONS if not name.endswith("half")))


def occlude(name: str, images: "Tensor", ids: Hashes, seed: int) -> "Tensor":
    """The images with a region occluded. name: of ALL_REGIONS; images: uint8 [B, 3, H, W]; ids: uint64 [B]."""
    import torch

    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device)[:, None]
    columns = torch.arange(width, device=images.device)
    occluded = torch.zeros(len(images), 1, height, width, dtype=torch.bool, device=images.device)
    for number, box in enumerate(REGIONS[name.removeprefix(CONTROL)]):
        left, right = (round(share * width) for share in box[::2])
        top, bottom = (round(share * height) for share in box[1::2])
        down, across = np.zeros((2, len(images)), dtype=np.int64)
        if name.startswith(CONTROL):
            drawn = uniform(seed, zlib.crc32(name.encode()), np.array([[0], [1]]) + 2 * number, ids)
            down = (drawn[0] * (height - (bottom - top) + 1)).astype(np.int64) - top
            across = (drawn[1] * (width - (right - left) + 1)).astype(np.int64) - left
        row = rows - torch.from_numpy(down).to(images.device).view(-1, 1, 1, 1)
        column = columns - torch.from_numpy(across).to(images.device).view(-1, 1, 1, 1)
        occluded |= (row >= top) & (row < bottom) & (column >= left) & (column < right)
    mean = images.float().mean(dim=(2, 3), keepdim=True).round().to(torch.uint8)
    return torch.where(occluded, mean, images)


def share_of(name: str) -> float:
    """The part of the crop that a region covers; two boxes of a control may overlap and cover less."""
    boxes = REGIONS[name.removeprefix(CONTROL)]
    return sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
