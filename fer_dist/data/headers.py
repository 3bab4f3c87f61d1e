"""What the headers of an encoded picture say: whether it is built as a JPEG or a PNG is, and how many pixels it has.

DALI reads the headers of a batch on several threads, and where one makes no sense, it may leave the others running on
memory that is gone: the process dies. So only what passes here goes into a batch. Damage behind the headers is found by
the decoder, which reports it, or by nobody: a JPEG has no checksum, and zeros among its coefficients are only grey.
"""

import struct

import numpy as np
from numpy.typing import NDArray

MAX_PIXELS = 1 << 26
"""Pixels of the largest picture that is decoded, 8192 x 8192 say: 201 MB as RGB. A few bytes can ask for any number."""

_JPEG_SKIPPED = frozenset((0xFFC4, 0xFFDB, 0xFFDD, 0xFFFE, *range(0xFFE0, 0xFFF0)))
"""Segments that may stand before the first scan, as every camera and program writes them: tables and notes."""

_JPEG_FRAMES = frozenset((0xFFC0, 0xFFC1, 0xFFC2))
"""Those that decoders know: baseline, extended and progressive."""

_JPEG_SCAN = 0xFFDA
_JPEG_END = b"\xff\xd9"

_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_PNG_COLOURS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Depths that each kind of colour may have. Source: the PNG specification, table 11.1."""

_segment = struct.Struct(">HH").unpack_from
_frame = struct.Struct(">BHHB").unpack_from
_image = struct.Struct(">IIBB").unpack_from
_length = struct.Struct(">I").unpack_from


def is_sound(picture: NDArray[np.uint8]) -> bool:
    """Whether a picture may go into a batch untried. picture: the encoded bytes."""
    return 0 < pixel_count(picture) <= MAX_PIXELS


def pixel_count(picture: NDArray[np.uint8]) -> int:
    """Width times height of a JPEG or a PNG that is built as one; 0 for everything else, which is looked at alone.

    picture: the encoded bytes.
    """
    view = picture.data  # numpy's arrays are buffers; its types do not say so
    if view[:2] == b"\xff\xd8":
        return _jpeg_pixels(view) if view[-2:] == _JPEG_END or _JPEG_END in bytes(view[-64:]) else 0
    return _png_pixels(view) if view[:16] == _PNG_START and view[-12:] == _PNG_END else 0


def _jpeg_pixels(view: memoryview) -> int:
    at, pixels, last = 2, 0, len(view) - 18
    while at < last:
        kind, size = _segment(view, at)
        if kind in _JPEG_FRAMES:
            depth, height, width, colours = _frame(view, at + 4)
            if pixels or depth != 8 or size != 8 + 3 * colours or colours not in (1, 3, 4):
                return 0
            pixels = height * width
        elif kind not in _JPEG_SKIPPED:
            return pixels if kind == _JPEG_SCAN else 0
        at += 2 + size
    return 0


def _png_pixels(view: memoryview) -> int:
    end = len(view) - 12
    at = 33
    while at < end:
        at += 12 + _length(view, at)[0]
    if at != end:
        return 0
    width, height, depth, colour = _image(view, 16)
    return width * height if depth in _PNG_COLOURS.get(colour, ()) else 0
