"""How each sample is turned, toned, mirrored and cut: drawn from a hash of (seed, epoch, sample id, what is drawn)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_dist.config import DataConfig
from fer_dist.data.order import Hashes, uniform

Floats = NDArray[np.float32]

CORNERS = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 0.5))
"""Place of each of the five crops, as a share of the free width and height: the corners row by row, then the centre."""

# What is drawn. The numbers are part of the definition of a run: changing one changes every augmentation.
ANGLE, BRIGHTNESS, CONTRAST, SATURATION, HUE, MIRROR, CORNER = range(16, 23)


@dataclass(frozen=True)
class Augmentation:
    """One batch's draws; arrays over n samples.

    angle:  degrees, counter-clockwise.
    brightness, contrast, saturation: factors; hue: degrees.
    mirror: int32, 1 where the picture is mirrored.
    corner: [n, 2], x and y of the single crop as shares of the free width and height.
    """

    angle: Floats
    brightness: Floats
    contrast: Floats
    saturation: Floats
    hue: Floats
    mirror: NDArray[np.int32]
    corner: Floats


def draw(config: DataConfig, seed: int, epochs: NDArray[np.int64], ids: Hashes) -> Augmentation:
    """The augmentation of each sample. ids: uint64 [n], the first 8 bytes of sha256(key); epochs: [n] or [1]."""

    # All at once: for a batch of 64, seven calls take four times as long.
    what = np.array([ANGLE, BRIGHTNESS, CONTRAST, SATURATION, HUE, MIRROR, CORNER], dtype=np.uint64)[:, None]
    angle, brightness, contrast, saturation, hue, mirror, corner = uniform(seed, epochs, what, ids)

    def between(share: NDArray[np.float64], centre: float, spread: float) -> Floats:
        # A share lies in [0, 1), so a spread of 0 gives exactly the centre.
        return (centre + spread * (2 * share - 1)).astype(np.float32)

    return Augmentation(
        angle=between(angle, 0, config.rotate_degrees),
        brightness=between(brightness, 1, config.brightness),
        contrast=between(contrast, 1, config.contrast),
        saturation=between(saturation, 1, config.saturation),
        hue=between(hue, 0, config.hue * 360),
        mirror=(mirror < 0.5).astype(np.int32) * int(config.flip),
        corner=np.array(CORNERS, dtype=np.float32)[(corner * len(CORNERS)).astype(np.int64)],
    )
