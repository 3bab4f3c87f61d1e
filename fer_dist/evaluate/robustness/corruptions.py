"""Seventeen common corruptions of images in five severities, the same for a sample in any batch.

The set, its groups and its constants are those of ImageNet-C, but for elastic_transform. Lengths scale with the side of
the image (see blurs.py); grey levels, shares and qualities are the same at any size. Not here: frost,
which needs photographs of ice, and spatter. Results are rounded to whole grey levels; ImageNet-C cuts them off, and
keeps its images as JPEG of quality 85.
Source: Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common corruptions and perturbations";
code: github.com/hendrycks/robustness, ImageNet-C/imagenet_c.
"""

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fer_dist.data.draws import Hashes
from fer_dist.evaluate.robustness.blurs import (
    defocus_blur,
    elastic_transform,
    gaussian_blur,
    glass_blur,
    motion_blur,
    zoom_blur,
)
from fer_dist.evaluate.robustness.draws import Draws
from fer_dist.evaluate.robustness.weather import brightness, fog, snow

SEVERITIES = (1, 2, 3, 4, 5)


def corrupt(name: str, severity: int, images: Tensor, ids: Hashes, seed: int) -> Tensor:
    """The images, corrupted.

    name: of CORRUPTIONS; severity: 1 to 5; images: uint8 [B, 3, H, W], H = W, on any device.
    ids:  uint64 [B], what stands for each sample in its draws.
    Returns the same shape and type, on the same device.
    """
    corruption = CORRUPTIONS[name]
    draws = Draws(seed, zlib.crc32(name.encode()), severity, ids, images.device)
    corrupted = corruption.apply(images.float() / 255, corruption.constants[severity - 1], draws)
    return (corrupted.clamp(0, 1) * 255).round().to(torch.uint8)


def gaussian_noise(images: Tensor, deviation: float, draws: Draws) -> Tensor:
    return images + deviation * draws.normal(0, *images.shape[1:])


def shot_noise(images: Tensor, photons: int, draws: Draws) -> Tensor:
    """photons: how many make a white pixel, on average; their number is a Poisson variable."""
    grey = (images * 255).round().long()
    table = torch.from_numpy(_poisson_table(photons)).to(images.device)
    # Each grey level has its own stretch of the table: one search serves all pixels.
    found = torch.searchsorted(table, draws.uniform(0, *images.shape[1:]) + grey.double(), right=True)
    return (found - grey * photons) / photons


def impulse_noise(images: Tensor, share: float, draws: Draws) -> Tensor:
    """share: of the values that become 0 or 1, half of them each."""
    drawn = draws.uniform(0, *images.shape[1:])
    return torch.where(drawn < share, (drawn < share / 2).float(), images)


def speckle_noise(images: Tensor, deviation: float, draws: Draws) -> Tensor:
    return images + images * deviation * draws.normal(0, *images.shape[1:])


def contrast(images: Tensor, factor: float, draws: Draws) -> Tensor:
    """About the mean of each channel."""
    mean = images.mean(dim=(2, 3), keepdim=True)
    return (images - mean) * factor + mean


def saturate(images: Tensor, constants: tuple[float, float], draws: Draws) -> Tensor:
    """constants: factor of HSV's saturation, and what is added to it. Grey counts as red, as in the source."""
    factor, more = constants
    value, least = images.amax(dim=1, keepdim=True), images.amin(dim=1, keepdim=True)
    spread = value - least
    # How far each channel lies below the brightest, as parts of the farthest: in HSV that is the hue.
    red = torch.tensor([0.0, 1.0, 1.0], device=images.device).view(1, 3, 1, 1)
    below = torch.where(spread > 0, (value - images) / spread, red)
    saturation = torch.where(value > 0, spread / value, 0)
    return value * (1 - (saturation * factor + more).clamp(0, 1) * below)


def jpeg_compression(images: Tensor, quality: int, draws: Draws) -> Tensor:
    return _each(images, lambda image: _through_jpeg(image, quality))


def pixelate(images: Tensor, share: float, draws: Draws) -> Tensor:
    """share: of the side, to which it is reduced and from which it is enlarged again, both by boxes."""

    def coarse(image: Image.Image) -> Image.Image:
        small = image.resize([max(1, int(side * share)) for side in image.size], Image.Resampling.BOX)
        return small.resize(image.size, Image.Resampling.BOX)

    return _each(images, coarse)


@dataclass(frozen=True)
class Corruption:
    """One way to corrupt images. constants: of each severity; apply: (images from 0 to 1, constants, draws)."""

    group: Literal["noise", "blur", "weather", "digital"]
    apply: Callable[[Tensor, Any, Draws], Tensor]
    constants: tuple[Any, Any, Any, Any, Any]


CORRUPTIONS = {
    "gaussian_noise": Corruption("noise", gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": Corruption("noise", shot_noise, (60, 25, 12, 5, 3)),
    "impulse_noise": Corruption("noise", impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27)),
    "speckle_noise": Corruption("noise", speckle_noise, (0.15, 0.2, 0.35, 0.45, 0.6)),
    "gaussian_blur": Corruption("blur", gaussian_blur, (1, 2, 3, 4, 6)),
    "defocus_blur": Corruption("blur", defocus_blur, (3, 4, 6, 8, 10)),
    "glass_blur": Corruption("blur", glass_blur, ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))),
    "motion_blur": Corruption("blur", motion_blur, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))),
    "zoom_blur": Corruption("blur", zoom_blur, ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))),
    "snow": Corruption(
        "weather",
        snow,
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "fog": Corruption("weather", fog, ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))),
    "brightness": Corruption("weather", brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": Corruption("digital", contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "saturate": Corruption("digital", saturate, ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))),
    "elastic_transform": Corruption("digital", elastic_transform, (14, 18.2, 23.8, 28, 33.6)),
    "pixelate": Corruption("digital", pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": Corruption("digital", jpeg_compression, (25, 18, 15, 10, 7)),
}
"""By name. Not each severity is farther from the clean image than the one before: the source's saturate takes colour
away and then adds it, and its glass, snow and fog change in kind."""


def _each(images: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    """What Pillow makes of each image."""
    grey = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    changed = np.stack([np.asarray(change(Image.fromarray(image))) for image in grey])
    return torch.from_numpy(changed).to(images.device).permute(0, 3, 1, 2).float() / 255


def _through_jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


@lru_cache(maxsize=8)
def _poisson_table(photons: int) -> NDArray[np.float64]:
    """[256 * photons]: the number of each grey level plus the probability of at most 0, 1, ... photons - 1."""
    mean = np.arange(256)[:, None] / 255 * photons
    ratios = mean / np.maximum(np.arange(photons), 1)
    ratios[:, 0] = np.exp(-mean[:, 0])
    at_most = np.minimum(ratios.cumprod(axis=1).cumsum(axis=1), 1)
    return (at_most + np.arange(256)[:, None]).astype(np.float64).ravel()
