"""Snow, fog and bright light of the corruption suite. Images: float32 [B, 3, H, W] from 0 to 1, H = W.

Source: Hendrycks and Dietterich 2019 and its code, ImageNet-C; see corruptions.py.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_dist.evaluate.robustness.blurs import SOURCE_SIDE, clipped_zoom, smeared
from fer_dist.evaluate.robustness.draws import Draws

Snow = tuple[float, float, float, float, int, float, float]


def brightness(images: Tensor, more: float, draws: Draws) -> Tensor:
    """More of the value of HSV; hue and saturation stay, and black becomes grey."""
    value = images.amax(dim=1, keepdim=True)
    brighter = (value + more).clamp(max=1)
    return torch.where(value > 0, images / value * brighter, brighter)


def fog(images: Tensor, constants: tuple[float, float], draws: Draws) -> Tensor:
    """A cloud over the image, which keeps its brightest value. constants: thickness, and smoothness of the cloud."""
    thickness, decay = constants
    side = images.shape[-1]
    brightest = images.amax(dim=(1, 2, 3), keepdim=True)
    cloud = plasma(draws, 1 << (side - 1).bit_length(), decay)[:, None, :side, :side]
    return (images + thickness * cloud) * brightest / (brightest + thickness)


def snow(images: Tensor, constants: Snow, draws: Draws) -> Tensor:
    """Flakes that fall, over an image that is paler.

    constants: mean and deviation of the noise that flakes are made of, how much it is enlarged, what is too faint for
    a flake, radius and deviation of their fall, and how much of the image stays as it is.
    """
    mean, deviation, factor, faint, radius, sigma, keep = constants
    # Made at the source's size and then reduced: a flake that is less than a pixel is faint, not larger.
    layer = clipped_zoom(mean + deviation * draws.normal(0, 1, SOURCE_SIDE, SOURCE_SIDE), factor)
    layer = torch.where(layer < faint, 0, layer).clamp(0, 1)
    layer = smeared(layer, (radius, sigma), -135 + 90 * draws.uniform(1))
    layer = F.interpolate(layer, size=images.shape[-2:], mode="bilinear", antialias=True)
    weights = torch.tensor([0.299, 0.587, 0.114], device=images.device).view(1, 3, 1, 1)
    grey = (images * weights).sum(dim=1, keepdim=True)
    pale = keep * images + (1 - keep) * torch.maximum(images, grey * 1.5 + 0.5)
    return pale + layer + layer.rot90(2, dims=(2, 3))


def plasma(draws: Draws, size: int, decay: float) -> Tensor:
    """float32 [B, size, size], clouds from 0 to 1 that go on at the opposite edge. size: a power of two.

    decay: what the roughness is divided by, from one scale to the next finer one.
    Source: the diamond-square method of Fournier, Fussell and Carpenter 1982, as the corruptions' source has it.
    """
    heights = torch.zeros(len(draws.ids), size, size, device=draws.device)
    step, roughness, drawn = size, 100.0, 0

    def rough(total: Tensor) -> Tensor:
        nonlocal drawn
        drawn += 1
        return total / 4 + roughness**2 * (2 * draws.uniform(drawn, *total.shape[1:]) - 1)

    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        columns = corners + corners.roll(-1, dims=1)
        heights[:, half::step, half::step] = rough(columns + columns.roll(-1, dims=2))
        centres = heights[:, half::step, half::step]
        across = corners + corners.roll(-1, dims=2)
        heights[:, ::step, half::step] = rough(across + centres + centres.roll(1, dims=1))
        heights[:, half::step, ::step] = rough(columns + centres + centres.roll(1, dims=2))
        step, roughness = half, roughness / decay
    heights -= heights.amin(dim=(1, 2), keepdim=True)
    return heights / heights.amax(dim=(1, 2), keepdim=True)
