"""The regions of a face in a crop: by its landmarks where they are known, else by a template for aligned faces.

Everything is drawn in the face's own frame: its origin between the eyes, across in units of the distance between the
eyes, down in units of the distance from the eyes to the mouth. So five points place all regions, rolled or not.
B images, H and W of the crop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

PointSource = Literal["landmarks", "detector", "template"]

POINTS = ("left eye", "right eye", "nose", "left corner of the mouth", "right corner of the mouth")
"""Left and right are the image's, not the person's."""

TEMPLATE = ((0.31, 0.35), (0.69, 0.35), (0.50, 0.58), (0.36, 0.80), (0.64, 0.80))
"""The five points of an aligned face as shares of the crop. Source: evaluate/robustness/regions.py, which measured
eyes and mouth on the mean of 600 images each of FER2013 and of press photographs."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in the face's frame."""

REGIONS: dict[str, tuple[Box, ...]] = {
    "brows": ((-0.90, -0.50, 0.90, -0.18),),
    "eyes": ((-0.90, -0.18, 0.90, 0.22),),
    "nose": ((-0.34, 0.22, 0.34, 0.72),),
    "mouth": ((-0.62, 0.74, 0.62, 1.32),),
    "cheeks": ((-1.00, 0.26, -0.36, 0.74), (0.36, 0.26, 1.00, 0.74)),
    "forehead": ((-0.90, -1.10, 0.90, -0.50),),
    "ears": ((-1.36, -0.20, -1.00, 0.62), (1.00, -0.20, 1.36, 0.62)),
}
HALVES = ("left half", "right half")
BACKGROUND = "background"
ALL_REGIONS = (*REGIONS, BACKGROUND, *HALVES)
"""Background: what no face's ellipse covers. Halves: of the crop, left and right as the image has them."""

FACE: tuple[float, float, float, float] = (0.0, 0.35, 1.25, 1.75)
"""The ellipse of a face in its frame: its centre, and its half axes."""


@dataclass(frozen=True)
class Placed:
    """Where the faces of some images lie in their crops. points: float [B, 5, 2], x and y in pixels of the crop.

    sources: of each image, from where its points are.
    """

    points: NDArray[np.float64]
    sources: tuple[PointSource, ...]


Detector = Callable[[Image.Image], NDArray[np.float64] | None]
"""From an image of a face to its five points, [5, 2] in its pixels; None: it finds none."""


def place(
    facts: Sequence[dict[str, Any]],
    images: Sequence[Image.Image],
    size: int,
    crop: int,
    detector: Detector | None = None,
) -> Placed:
    """The five points of each image in its crop: by its landmarks, else by the detector, else by the template.

    facts: what the json of each image says, with `landmarks` in pixels of the stored image where there are any. images:
    as stored. size, crop: as the network's, which resizes to size and cuts the centre.
    """
    found: list[NDArray[np.float64]] = []
    sources: list[PointSource] = []
    for fact, image in zip(facts, images, strict=True):
        five, source = five_points(fact.get("landmarks")), "landmarks"
        if five is None and detector:
            five, source = detector(image), "detector"
        found.append(np.array(TEMPLATE) * size if five is None else five * (size / image.width, size / image.height))
        sources.append("template" if five is None else source)  # type: ignore[arg-type]
    margin = (size - crop) // 2
    return Placed(np.array(found).reshape(-1, 5, 2) - margin, tuple(sources))


def detect_points(image: Image.Image) -> NDArray[np.float64] | None:
    """The five points of the face that fills an image, as `shards build --detect` finds them; see data.faces."""
    from fer_dist.data.faces.crop import square_of
    from fer_dist.data.faces.detect import look_at

    box = (0.0, 0.0, float(image.width), float(image.height))
    found = look_at(image.convert("RGB"), square_of(box), box)
    return found[1].points if found else None


def five_points(landmarks: Any) -> NDArray[np.float64] | None:
    """[5, 2] of what a release has: five points in the order of POINTS, or the 68 of iBUG; None of anything else."""
    try:
        points = np.array(landmarks, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if points.shape == (68, 2):
        points = np.array([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])
    if points.shape != (5, 2) or not np.isfinite(points).all():
        return None
    # Releases name sides as the person's or the image's: what lies left in the image comes first here.
    for first, second in ((0, 1), (3, 4)):
        if points[first, 0] > points[second, 0]:
            points[[first, second]] = points[[second, first]]
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    is_face = np.linalg.norm(points[1] - points[0]) > 1e-3 and np.linalg.norm(mouth - eyes) > 1e-3
    return points if is_face else None


def masks_of(points: NDArray[np.float64], height: int, width: int) -> dict[str, Tensor]:
    """Region -> bool [B, H, W]: the pixels whose centres lie in it. points: float [B, 5, 2] in pixels of the crop."""
    eyes, mouth = points[:, :2].mean(1), points[:, 3:].mean(1)
    across = points[:, 1] - points[:, 0]
    span = np.linalg.norm(across, axis=1, keepdims=True)
    right = across / span
    down = np.stack([-right[:, 1], right[:, 0]], axis=1)
    # A face that looks up or down is shorter, one that is turned narrower: so each axis has its own unit.
    reach = np.abs(((mouth - eyes) * down).sum(1, keepdims=True)).clip(min=1e-6)
    rows, columns = np.mgrid[:height, :width] + 0.5
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1)
    relative = pixels[None] - eyes[:, None]
    u = np.einsum("bpk,bk->bp", relative, right) / span
    v = np.einsum("bpk,bk->bp", relative, down) / reach
    found = {name: np.logical_or.reduce([_inside(u, v, box) for box in boxes]) for name, boxes in REGIONS.items()}
    x, y, half_width, half_height = FACE
    found[BACKGROUND] = ((u - x) / half_width) ** 2 + ((v - y) / half_height) ** 2 > 1
    for name in REGIONS:
        found[BACKGROUND] &= ~found[name]
    left = np.broadcast_to(pixels[:, 0] < width / 2, u.shape)
    found["left half"], found["right half"] = left, ~left
    return {name: torch.from_numpy(found[name].reshape(-1, height, width).copy()) for name in ALL_REGIONS}


def elsewhere(masks: Tensor, ids: NDArray[np.uint64], seed: int) -> Tensor:
    """bool [B, H, W]: each mask moved to a place drawn for its image, where it wraps round the edges: the same area."""
    from fer_dist.data.draws import uniform

    height, width = masks.shape[-2:]
    drawn = uniform(seed, np.array([[11], [12]]), ids)
    moved = [
        torch.roll(mask, (int(down * height), int(across * width)), (0, 1))
        for mask, down, across in zip(masks, *drawn.tolist(), strict=True)
    ]
    return torch.stack(moved)


def _inside(u: NDArray[np.float64], v: NDArray[np.float64], box: Box) -> NDArray[np.bool_]:
    left, top, right, bottom = box
    found: NDArray[np.bool_] = (u >= left) & (u < right) & (v >= top) & (v < bottom)
    return found
