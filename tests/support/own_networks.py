"""Networks of a user's own, as --model.network names them: right ones, and one for each way to be wrong."""

from typing import Any

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """Two convolutions, a dropout that draws in each step, and a head."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU(), nn.Dropout(0.2)
        )
        self.head = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.body(x).mean((2, 3)))
        return found


class InParts(Small):
    def parts(self) -> list[list[nn.Module]]:
        return [[self.body[0], self.body[1]], [self.body[2:]], [self.head]]


class HalfInParts(Small):
    def parts(self) -> list[list[nn.Module]]:
        return [[self.body[0]], [self.head]]


class Pair(Small):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x), x


class Picky(Small):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != 224:
            raise ValueError("takes 224 px alone\nand says so at length")
        return super().forward(x)


class Idle(Small):
    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.spare = nn.Linear(2, 2)


class Lazy(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = nn.LazyLinear(classes)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(x.flatten(1))
        return found


class Detached(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()


class Labels(Small):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), self.head.out_features, dtype=torch.int64)


def one_too_many(classes: int) -> nn.Module:
    return Small(classes + 1)


def no_module(classes: int) -> int:
    return classes


NUMBER = 3
