"""Random numbers for whole images, drawn from a hash of (seed, the corruption, sample id, index)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fer_dist.data.draws import Hashes, hashed

GOLDEN, FIRST, SECOND = (bits - (1 << 64) for bits in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
"""The constants of splitmix64, as the signed numbers that torch has."""


@dataclass(frozen=True)
class Draws:
    """The draws of one batch: an image's are the same in any batch, on any device and in any number of processes.

    ids: uint64 [B], the first 8 bytes of sha256(key); kind and severity: what is done to the images, and how much.
    """

    seed: int
    kind: int
    severity: int
    ids: Hashes
    device: torch.device

    def bits(self, what: int, count: int) -> Tensor:
        """int64 [B, count]: 64 random bits each, those of hashed(seed, kind, severity, what, ids, index)."""
        keys = torch.from_numpy(hashed(self.seed, self.kind, self.severity, what, self.ids).view(np.int64))
        bits = keys.to(self.device)[:, None] ^ torch.arange(count, device=self.device)
        bits += GOLDEN
        bits ^= _shifted(bits, 30)
        bits *= FIRST
        bits ^= _shifted(bits, 27)
        bits *= SECOND
        bits ^= _shifted(bits, 31)
        return bits

    def uniform(self, what: int, *shape: int) -> Tensor:
        """float32 [B, *shape] in [0, 1), multiples of 2**-24."""
        return (_shifted(self.bits(what, math.prod(shape)), 40).float() * 2.0**-24).view(-1, *shape)

    def normal(self, what: int, *shape: int) -> Tensor:
        """float32 [B, *shape], mean 0 and deviation 1; two of them from each 64 bits.

        Source: Box and Muller 1958, "A note on the generation of random normal deviates".
        """
        count = math.prod(shape)
        bits = self.bits(what, (count + 1) // 2)
        radius = (-2 * torch.log((_shifted(bits, 32).float() + 0.5) * 2.0**-32)).sqrt()
        angle = (bits & 0xFFFFFF).float() * (2 * math.pi * 2.0**-24)
        both = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
        return both[:, :count].view(-1, *shape)


def _shifted(bits: Tensor, count: int) -> Tensor:
    """Shifted to the right with zeros coming in; torch's own shift brings in the sign."""
    return (bits >> count) & ((1 << (64 - count)) - 1)
