"""The blurs of the corruption suite, and a warp. Images: float32 [B, C, H, W] from 0 to 1, H = W.

Lengths are given for a side of 224 pixels and scale with the side, so that a face loses the same detail at any size.
Source: Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common corruptions and perturbations",
and its code, ImageNet-C.
"""

import math
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fer_dist.evaluate.robustness.draws import Draws

Edge = Literal["edge", "symmetric"]

SOURCE_SIDE = 224
ELASTIC_SIGMA = 2.24
SUBSAMPLES = 16
"""Points a side at which a pixel is asked whether it lies in the disk of a defocused lens."""


def gaussian_blur(images: Tensor, sigma: float, draws: Draws) -> Tensor:
    return gaussian(images, sigma * scale_of(images))


def defocus_blur(images: Tensor, radius: float, draws: Draws) -> Tensor:
    """Every point becomes a disk. A pixel of the disk's edge counts by its share; the source blurs the edge instead."""
    kernel = torch.from_numpy(disk(radius * scale_of(images))).to(images.device)
    return convolved(images, kernel[None], "reflect")


def motion_blur(images: Tensor, constants: tuple[int, float], draws: Draws) -> Tensor:
    """Within 45 degrees of the horizontal. constants: radius and deviation, see `smeared`."""
    return smeared(images, constants, -45 + 90 * draws.uniform(0))


def zoom_blur(images: Tensor, constants: tuple[float, float], draws: Draws) -> Tensor:
    """The mean of the image and of its enlargements. constants: end (excluded) and step of the factors, from 1."""
    factors = np.arange(1, *constants).tolist()
    return (images + sum(clipped_zoom(images, factor) for factor in factors)) / (len(factors) + 1)


def glass_blur(images: Tensor, constants: tuple[float, int, int], draws: Draws) -> Tensor:
    """Blurred, displaced pixel by pixel, blurred again. constants: deviation, largest displacement, rounds.

    Here each pixel takes the value of a random position near it, in each round; the source exchanges neighbours a pair
    after the other, which cannot be done to all pixels at once.
    """
    sigma, most, rounds = constants
    scale = scale_of(images)
    images = gaussian(images, sigma * scale)
    for turn in range(rounds):
        offsets = (draws.uniform(turn, 2, *images.shape[-2:]) * 2 * most).floor() - most
        images = displaced(images, offsets * scale, "border")
    return gaussian(images, sigma * scale)


def elastic_transform(images: Tensor, strength: float, draws: Draws) -> Tensor:
    """Each pixel displaced by a smooth random field. strength: what the smoothed noise is multiplied by, in pixels.

    As in the package imagecorruptions: ImageNet-C's own first two severities pull the whole image out of shape.
    """
    scale = scale_of(images)
    noise = 2 * draws.uniform(0, 2, *images.shape[-2:]) - 1
    offsets = gaussian(noise, ELASTIC_SIGMA * scale, truncate=3, edge="symmetric")
    # Smoothing divides the deviation of noise by sigma; the square keeps the displacement a share of the side.
    return displaced(images, offsets * strength * scale**2, "reflection")


def scale_of(images: Tensor) -> float:
    """What a length of the source is multiplied by."""
    return images.shape[-1] / SOURCE_SIDE


def gaussian(images: Tensor, sigma: float, truncate: float = 4, edge: Edge = "edge") -> Tensor:
    """Both axes smoothed. truncate: where the bell ends, in sigmas; edge: what lies outside, as numpy.pad names it."""
    matrix = torch.from_numpy(_gaussian_matrix(images.shape[-1], sigma, truncate, edge)).to(images.device).T
    return ((images @ matrix).transpose(-1, -2) @ matrix).transpose(-1, -2)


def smeared(images: Tensor, constants: tuple[int, float], degrees: Tensor) -> Tensor:
    """Smeared along a line to one side, ever fainter: 2 * radius + 1 points of half a bell. degrees: [B].

    constants: radius and deviation. As ImageMagick does it, but between pixels where the source takes the nearest.
    """
    radius, sigma = constants
    points = torch.arange(2 * radius + 1, device=images.device, dtype=torch.float64)
    weights = (-(points**2) / (2 * sigma**2)).exp()
    along = -points * scale_of(images)
    angles = degrees.double().deg2rad()[:, None]
    offsets = torch.stack([angles.sin() * along, angles.cos() * along])
    # The same for all angles: an image must not depend on the others of its batch.
    reach = math.ceil(2 * radius * scale_of(images)) + 1
    return convolved(images, _spread(offsets, weights / weights.sum(), reach), "replicate")


def clipped_zoom(images: Tensor, factor: float) -> Tensor:
    """The middle of the images, enlarged to their size."""
    side = images.shape[-1]
    cut = math.ceil(side / factor)
    first = (side - cut) // 2
    middle = images[..., first : first + cut, first : first + cut]
    large = round(cut * factor)
    trim = (large - side) // 2
    zoomed = F.interpolate(middle, size=(large, large), mode="bilinear", align_corners=True)
    return zoomed[..., trim : trim + side, trim : trim + side]


def convolved(images: Tensor, kernels: Tensor, edge: str) -> Tensor:
    """Each image with its kernel. kernels: [B or 1, k, k], k odd; edge: what lies outside, as torch's pad names it.

    By Fourier transform: the kernels are wide, 21 pixels and more at a side of 224.
    """
    reach = kernels.shape[-1] // 2
    padded = F.pad(images, [reach] * 4, mode=edge)
    size = padded.shape[-2:]
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernels.to(padded.dtype), s=size)[:, None]
    return torch.fft.irfft2(spectrum, s=size)[..., 2 * reach :, 2 * reach :]


def displaced(images: Tensor, offsets: Tensor, edge: str) -> Tensor:
    """What lies at each pixel plus its offset, interpolated. offsets: [B, 2, H, W], pixels down and right."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device)[:, None] + offsets[:, 0]
    columns = torch.arange(width, device=images.device) + offsets[:, 1]
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
    return F.grid_sample(images, grid, padding_mode=edge, align_corners=False)


@lru_cache(maxsize=16)
def disk(radius: float) -> NDArray[np.float32]:
    """The share of each pixel that lies in a disk around the middle one, as parts of 1."""
    reach = math.ceil(radius)
    fine = (np.arange((2 * reach + 1) * SUBSAMPLES) + 0.5) / SUBSAMPLES - reach - 0.5
    inside = fine[:, None] ** 2 + fine**2 <= radius**2
    shares = inside.reshape(2 * reach + 1, SUBSAMPLES, 2 * reach + 1, SUBSAMPLES).mean(axis=(1, 3))
    return (shares / shares.sum()).astype(np.float32)


@lru_cache(maxsize=64)
def _gaussian_matrix(side: int, sigma: float, truncate: float, edge: Edge) -> NDArray[np.float32]:
    """[side, side]: what smooths a column of pixels, its treatment of the edge included."""
    reach = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    sources = np.pad(np.arange(side), reach, mode=edge)
    matrix = np.zeros((side, side))
    for first, weight in enumerate(weights / weights.sum()):
        np.add.at(matrix, (np.arange(side), sources[first : first + side]), weight)
    return matrix.astype(np.float32)


def _spread(offsets: Tensor, weights: Tensor, reach: int) -> Tensor:
    """Kernels [B, 2 * reach + 1, 2 * reach + 1] that hold points between pixels.

    offsets: [2, B, n], down and right of the middle; weights: [n].
    """
    side = 2 * reach + 1
    kernels = torch.zeros(offsets.shape[1], side * side, dtype=offsets.dtype, device=offsets.device)
    corner = offsets.floor()
    part = offsets - corner
    for down in (0, 1):
        for right in (0, 1):
            share = (part[0] if down else 1 - part[0]) * (part[1] if right else 1 - part[1])
            index = (corner[0] + down + reach) * side + corner[1] + right + reach
            kernels.scatter_add_(1, index.long(), share * weights)
    return kernels.view(-1, side, side)
