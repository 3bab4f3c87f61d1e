"""How each sample is rotated, colour-jittered, flipped and cropped, by a hash of (seed, epoch, sample id, what)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fer_dist.config.settings import DataConfig
from fer_dist.data.draws import Hashes, as_shares, folded, hashed

Floats = NDArray[np.float32]

CORNERS = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 0.5))
"""Position of each of the five crops, as a share of the free width and height: corners row by row, then the centre."""

DRAWN = np.arange(16, 23, dtype=np.uint64)[:, None]
"""What is drawn: angle, brightness, contrast, saturation, hue, mirror, corner. The numbers belong to the definition of
a run: changing one changes every augmentation."""


@dataclass(frozen=True)
class Augmentation:
    """One batch's draws; arrays over n samples.

    angle:  degrees, counter-clockwise.
    brightness, contrast, saturation: factors; hue: degrees.
    mirror: int32, 1 where the image is mirrored.
    corner: [n, 2], x and y of the single crop as shares of the free width and height.
    """

    angle: Floats
    brightness: Floats
    contrast: Floats
    saturation: Floats
    hue: Floats
    mirror: NDArray[np.int32]
    corner: Floats


def draw(config: DataConfig, seed: int, epoch: int, ids: Hashes) -> Augmentation:
    """The augmentation of each sample in an epoch. ids: uint64 [n], the first 8 bytes of sha256(key)."""
    # All at once: this is done for each batch, and small arrays cost by the call.
    shares = as_shares(folded(_begun(seed, epoch), ids))
    centres = np.array([0, 1, 1, 1, 0])
    spreads = np.array([config.rotate_degrees, config.brightness, config.contrast, config.saturation, config.hue * 360])
    # A share lies in [0, 1), so a spread of 0 gives exactly the centre.
    tuned = (centres[:, None] + spreads[:, None] * (2 * shares[:5] - 1)).astype(np.float32)
    angle, brightness, contrast, saturation, hue = tuned
    mirror = (shares[5] < 0.5).astype(np.int32) * int(config.flip)
    corner = np.array(CORNERS, dtype=np.float32)[(shares[6] * len(CORNERS)).astype(np.int64)]
    return Augmentation(angle, brightness, contrast, saturation, hue, mirror, corner)


@lru_cache(maxsize=4)
def _begun(seed: int, epoch: int) -> Hashes:
    """What every draw of an epoch begins with."""
    return hashed(seed, epoch, DRAWN)
