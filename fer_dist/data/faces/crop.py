"""Squares of an image, turned about their centres: cut out as images of their own, and points moved there and back.

Coordinates are in pixels, from the left upper corner of the first one: its centre is at (0.5, 0.5).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_dist.data.images import plain

BORDER = 2
"""Pixels around a square that its interpolation looks at."""

CORNERS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
"""x and y of those of a square of side 1 that begins at 0."""

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Square:
    """x, y: its centre; side: in pixels; roll_degrees: how far it is turned, clockwise as a viewer sees it."""

    x: float
    y: float
    side: float
    roll_degrees: float = 0.0

    def widened(self, margin: float) -> "Square":
        """With a margin on each side, as a share of the side; below 0 it becomes smaller."""
        return replace(self, side=self.side * (1 + 2 * margin))

    def turned(self, degrees: float) -> "Square":
        return replace(self, roll_degrees=self.roll_degrees + degrees)

    @property
    def axes(self) -> Points:
        """[2, 2]: its own directions to the right and down, as rows of x, y."""
        angle = math.radians(self.roll_degrees)
        return np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])

    def to_image(self, points: Points, size: int) -> Points:
        """Points [n, 2] of its cut in that size -> of the image."""
        return (points / size - 0.5) @ self.axes * self.side + (self.x, self.y)

    def to_cut(self, points: Points, size: int) -> Points:
        """Points [n, 2] of the image -> of its cut in that size."""
        return ((points - (self.x, self.y)) @ self.axes.T / self.side + 0.5) * size


def square_of(box: Sequence[float]) -> Square:
    """The upright square with a box's centre and longer side. box: x, y, width, height."""
    x, y, width, height = box
    return Square(x + width / 2, y + height / 2, max(width, height))


def cut(image: Image.Image, square: Square, size: int) -> Image.Image:
    """A square of an image, upright, with sides of that many pixels; grey or RGB.

    The square's centre is in the image. What lies outside of the image is filled with the colour of its nearest pixel:
    a black or grey border would be an edge that no photograph has.
    """
    scale = size / square.side
    reach = BORDER * max(1, 1 / scale)
    corners = square.to_image(CORNERS, 1)
    start = np.clip(np.floor(corners.min(axis=0) - reach).astype(int), 0, np.array(image.size) - 1)
    stop = np.clip(np.ceil(corners.max(axis=0) + reach).astype(int), start + 1, image.size)
    part = image.crop((*start.tolist(), *stop.tolist()))
    part = part if part.mode in ("L", "RGB") else plain(part)
    if scale < 1:
        # Averages over what becomes one pixel; the transformation below looks at single ones.
        shrunk = (max(round(part.width * scale), 1), max(round(part.height * scale), 1))
        part = part.resize(shrunk, Image.Resampling.BICUBIC)
    scales = part.size / (stop - start)
    # In pixels of the part: where the cut begins, and the steps from one of its pixels to that right of it and below.
    origin = (square.to_image(np.zeros((1, 2)), 1)[0] - start) * scales
    steps = square.axes * scales / scale
    ends = origin + size * CORNERS @ steps
    before = np.maximum(np.ceil(-ends.min(axis=0)).astype(int) + BORDER, 0)
    after = np.maximum(np.ceil(ends.max(axis=0)).astype(int) + BORDER - part.size, 0)
    if before.any() or after.any():
        pixels = np.asarray(part)
        around = [(before[1], after[1]), (before[0], after[0]), (0, 0)][: pixels.ndim]
        part = Image.fromarray(np.pad(pixels, around, mode="edge"))
        origin = origin + before
    (right_x, right_y), (down_x, down_y) = steps.tolist()
    mapping = (right_x, down_x, float(origin[0]), right_y, down_y, float(origin[1]))
    return part.transform((size, size), Image.Transform.AFFINE, mapping, Image.Resampling.BICUBIC)
