"""Small releases in their official layouts, whose images show their emotion, for tests of labels.

Each file beside this one makes the variants of one source. What a code means is typed there by hand
from the release's own documentation, and nothing of fer_dist.data.emotions is used: the two must agree by themselves.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

EMOTIONS = ("surprise", "fear", "disgust", "anger", "sadness", "happiness", "neutrality", "contempt")
COLUMNS = 3


@dataclass(frozen=True)
class Release:
    """A release that a test has made.

    source: its name in the table of sources. raw: what the user would give as RAW. options: of the source.
    truth:  split -> the release's own id (facts["id"] of the sample) -> emotion, for every sample that must come out.
    left_out: (split, name, reason) of every row that must not.
    """

    source: str
    raw: Path
    truth: dict[str, dict[str, str]]
    options: dict[str, Any] = field(default_factory=dict)
    left_out: set[tuple[str, str, str]] = field(default_factory=set)


Maker = Callable[[Path], Release]


def image(emotion: str, number: int, side: int = 48, mode: str = "RGB") -> Image.Image:
    """An image that shows its emotion as the one bright cell of three by three; each number gives other pixels."""
    row, column = divmod(EMOTIONS.index(emotion), COLUMNS)
    cell = side // COLUMNS
    pixels = np.random.default_rng(number).integers(0, 60, (side, side, 3), dtype=np.uint8)
    pixels[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] += 180
    return Image.fromarray(pixels).convert(mode)


def image_bytes(emotion: str, number: int, form: str = "JPEG", side: int = 48, mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    options = {"quality": 95} if form == "JPEG" else {}
    image(emotion, number, side, mode).save(stream, form, **options)
    return stream.getvalue()


def seen(image: Image.Image) -> str:
    """The emotion that an image shows, by its brightest cell."""
    small = image.convert("L").resize((COLUMNS, COLUMNS), Image.Resampling.BOX)
    return EMOTIONS[int(np.asarray(small).argmax())]
