"""How much each pixel of a crop counts for what a network predicts: captum's methods, and maps that know nothing.

Every map is float [B, H, W], not negative. The target is the class that the network predicts.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_dist.data.draws import Hashes, uniform
from fer_dist.errors import InputError
from fer_dist.explain.blocks import Block
from fer_dist.explain.methods import Method
from fer_dist.explain.regions import FACE, TEMPLATE

STEPS = 16
"""Of the path of integrated gradients."""

WINDOW, STRIDE = 6, 12
"""Side of occlusion's window and its stride, as the crop's side divided by these."""

Attribution = Callable[[Tensor, Tensor], Tensor]
"""From crops (float [B, 3, H, W]) and target classes (int64 [B]) to a map (float [B, H, W])."""


def attribution_of(method: Method, model: nn.Module, blocks: list[Block]) -> Attribution:
    """A method on a network; the class activation maps are of its last block.

    Sources: Selvaraju et al. 2017 (Grad-CAM); Draelos and Carin 2020 (HiResCAM); Sundararajan et al. 2017 (integrated
    gradients, from a grey crop); Zeiler and Fergus 2014 (occlusion by grey). Raises InputError where a class activation
    map has no feature map to stand on.
    """
    from captum.attr import IntegratedGradients, LayerGradCam, LayerGradientXActivation, Occlusion

    if method in ("grad-cam", "hirescam") and not blocks:
        raise InputError(f"--methods {method}: no block of this network has feature maps; leave it out")
    if method == "grad-cam":
        cam = LayerGradCam(model, blocks[-1].module)
        return lambda crops, target: enlarged(cam.attribute(crops, target, relu_attributions=True), crops)
    if method == "hirescam":
        product = LayerGradientXActivation(model, blocks[-1].module)
        return lambda crops, target: enlarged(product.attribute(crops, target).sum(1, keepdim=True).relu(), crops)
    if method == "integrated-gradients":
        path = IntegratedGradients(model)
        return lambda crops, target: (
            path.attribute(crops, baselines=0.0, target=target, n_steps=STEPS, internal_batch_size=len(crops) * 4)
            .detach()
            .abs()
            .sum(1)
        )
    hiding = Occlusion(model)

    def occluded(crops: Tensor, target: Tensor) -> Tensor:
        window, stride = max(1, crops.shape[-1] // WINDOW), max(1, crops.shape[-1] // STRIDE)
        with torch.no_grad():
            found = hiding.attribute(
                crops, (3, window, window), strides=(3, stride, stride), target=target, baselines=0.0
            )
        return found.mean(1).relu()

    return occluded


CONTROLS = ("uniform", "random", "blurred random", "centre", "face template", "sobel")
"""Maps that know nothing of the network. Blurred random catches measures that reward blur; sobel is of the image."""


def control(name: str, crops: Tensor, ids: Hashes, seed: int) -> Tensor:
    """float [B, H, W]. name: of CONTROLS; ids: uint64 [B], of the images, from which random maps are drawn."""
    count, _, height, width = crops.shape
    rows, columns = (torch.linspace(-1, 1, side, device=crops.device) for side in (height, width))
    if name == "uniform":
        return torch.ones(count, height, width, device=crops.device)
    if name in ("random", "blurred random"):
        pixels = np.arange(height * width, dtype=np.uint64)
        drawn = torch.from_numpy(uniform(seed, 21, ids[:, None], pixels[None])).float().to(crops.device)
        found = drawn.view(count, 1, height, width)
        return blurred(found, max(1, width // 8))[:, 0] if name == "blurred random" else found[:, 0]
    if name == "centre":
        return torch.exp(-2 * (rows[:, None] ** 2 + columns[None] ** 2)).expand(count, -1, -1)
    if name == "face template":
        eyes, mouth = TEMPLATE[0][1], TEMPLATE[3][1]
        x, y = 0.5 + FACE[0], eyes + FACE[1] * (mouth - eyes)
        half_width, half_height = FACE[2] * (TEMPLATE[1][0] - TEMPLATE[0][0]), FACE[3] * (mouth - eyes)
        across, down = ((columns + 1) / 2 - x) / half_width, ((rows + 1) / 2 - y) / half_height
        return (down[:, None] ** 2 + across[None] ** 2 <= 1).float().expand(count, -1, -1)
    return edge_map(crops)


def edge_map(crops: Tensor) -> Tensor:
    """float [B, H, W]: Sobel's gradient of the grey crops, its length."""
    grey = crops.mean(1, keepdim=True)
    kernel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], device=crops.device)
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    edges = [F.conv2d(padded, one[None, None]) for one in (kernel, kernel.T)]
    return (edges[0] ** 2 + edges[1] ** 2).sqrt()[:, 0]


def blurred(images: Tensor, reach: int) -> Tensor:
    """[B, C, H, W] -> the same, each pixel the mean of a square around it; reach: pixels to each side."""
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    return F.avg_pool2d(padded, 2 * reach + 1, stride=1)


def enlarged(maps: Tensor, crops: Tensor) -> Tensor:
    """[B, 1, h, w] -> [B, H, W], bilinear."""
    return F.interpolate(maps.detach(), crops.shape[-2:], mode="bilinear", align_corners=False)[:, 0].relu()
