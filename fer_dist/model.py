"""SE-ResNet-18, whole and alone: torch is all that this file needs.

B batch, C channels, H height, W width, K classes.
"""

from typing import Any

import torch
from torch import Tensor, nn


class ChannelMean(torch.autograd.Function):
    """The mean of each channel of [B, C, H, W], as [B, C].

    torch's own mean lays its gradient out anew, in NCHW, to be added to one that is channels-last: one more tensor to
    write and to read in each block, against the grain. Here it is one number a channel, seen H x W times.
    """

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.shape = inputs[0].shape

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        height, width = ctx.shape[2:]
        return (gradient / (height * width))[:, :, None, None].expand(ctx.shape)


class SqueezeExcitation(nn.Module):
    """Weigh the channels of a feature map by what the whole map says.

    Squeeze (eq. 1): z_c, the mean of channel c. Excitation (eq. 2): s = sigmoid(W2 relu(W1 z)), C -> C / r -> C.
    Scale (eq. 3): each channel times its s. Source: Hu et al. 2018; Huang et al. 2023, eqs. 1 to 3.
    """

    def __init__(self, channels: int, reduction: int, bias: bool) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.reduce = nn.Linear(channels, hidden, bias=bias)
        self.expand = nn.Linear(hidden, channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W]. Returns the same shape."""
        z = ChannelMean.apply(x)
        s = torch.sigmoid(self.expand(torch.relu(self.reduce(z))))
        return x * s[:, :, None, None]


class Block(nn.Module):
    """Two 3x3 convolutions, squeeze and excitation on the residual branch, then the sum."""

    def __init__(self, channels_in: int, channels: int, stride: int, reduction: int, bias: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.se = SqueezeExcitation(channels, reduction, bias)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C_in, H, W]. Returns [B, C, H / stride, W / stride]."""
        residual = torch.relu(self.norm1(self.conv1(x)))
        residual = self.se(self.norm2(self.conv2(residual)))
        return torch.relu(residual + self.shortcut(x))


class SEResNet18(nn.Module):
    """ResNet-18 with squeeze and excitation in each of its eight blocks.

    classes: K, outputs. width: channels of the first stage, 64 in the study. reduction: r. bias: of the excitation.
    11,267,143 parameters with 7 classes, r = 16 and no bias. Weights are drawn as He, fan-out, for the convolutions.
    Source: He et al. 2016; Huang et al. 2023, figures 3 to 5.
    """

    def __init__(self, classes: int, width: int = 64, reduction: int = 16, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        stages, channels_in = [], width
        for stage, stride in enumerate((1, 2, 2, 2)):
            channels = width * 2**stage
            first = Block(channels_in, channels, stride, reduction, bias)
            stages.append(nn.Sequential(first, Block(channels, channels, 1, reduction, bias)))
            channels_in = channels
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(channels_in, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def parts(self) -> list[list[nn.Module]]:
        """From the input to the head: the first convolution, the four stages, the head. Six in all."""
        return [[self.conv, self.norm], *([stage] for stage in self.stages), [self.head]]

    def forward(self, x: Tensor) -> Tensor:
        """x: normalised images, float [B, 3, H, W]. Returns logits [B, K]."""
        x = self.pool(torch.relu(self.norm(self.conv(x))))
        x = self.stages(x)
        return self.head(ChannelMean.apply(x))
