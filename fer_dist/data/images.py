"""Encoded images: of what kind they are, what their headers say, whether they decode, and their change into PNG.

DALI reads the headers of a batch on several threads, and where one makes no sense, it may leave the others running on
memory that is gone: the process dies. So only what passes here goes into a batch. Damage behind the headers is found by
the decoder, which reports it, or by nobody: a JPEG has no checksum, and zeros among its coefficients are only grey.
"""

import io
import re
import struct
import warnings
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

EXTENSIONS = frozenset(
    ("jpg", "jpeg", "jpe", "jfif", "png", "bmp", "dib", "tif", "tiff", "webp", "gif", "pgm", "ppm", "pbm", "pnm")
)
"""Extensions of files that are taken for images, in lower case and without the dot."""

FORMATS = ("JPEG", "PNG", "BMP", "DIB", "TIFF", "WEBP", "GIF", "PPM")
"""Pillow's names of what those extensions stand for. It knows others, and runs another program for some of them."""

PNG_MODES = frozenset(("1", "L", "LA", "P", "RGB", "RGBA"))
"""Pillow's modes that PNG can hold as they are, besides those of more than eight bits."""

BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262
"""Tags of a TIFF. Source: TIFF 6.0, section 8; photometric 0 means that the largest value is black."""

DECODE_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for damaged bytes: its decoders trust offsets and lengths that they read from the file."""


TOO_LARGE = "too large to decode"
"""Reason of images that are left out; more than MAX_PIXELS."""


class TooLargeError(ValueError):
    """An image of more than MAX_PIXELS, which is not decoded."""


class UnknownRangeError(ValueError):
    """An image that decodes into numbers of which nothing says what is black and what is white."""


def is_image_name(name: str) -> bool:
    """Whether a file name ends as an image's does, in any case."""
    return name.rpartition(".")[2].lower() in EXTENSIONS


def extension_of(content: bytes) -> str:
    """jpg or png by the first bytes; empty for everything else."""
    if content.startswith(b"\xff\xd8\xff"):
        return "jpg"
    return "png" if content.startswith(b"\x89PNG\r\n\x1a\n") else ""


def opened(content: bytes) -> Image.Image:
    """The image by its header, not decoded. Raises TooLargeError, or one of DECODE_ERRORS, as for endless scans."""
    if content.startswith(_JPEG_START) and has_endless_scans(content):
        raise ValueError(f"has more than {MOST_SCANS} scans")
    with warnings.catch_warnings():
        # Pillow itself warns above 89 million pixels, and refuses above twice as many.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        except Image.DecompressionBombError:
            raise TooLargeError(TOO_LARGE) from None
    if image.width * image.height > MAX_PIXELS:
        raise TooLargeError(TOO_LARGE)
    return image


def fault_in(content: bytes) -> str:
    """What an image's header alone rules out: that it decodes, or that it is small enough. Empty where it is fine."""
    try:
        opened(content)
    except TooLargeError:
        return f"is {TOO_LARGE}, with more than {MAX_PIXELS} pixels"
    except DECODE_ERRORS:
        return "does not decode"
    return ""


def decode(content: bytes) -> Image.Image:
    """The whole image, decoded.

    Raises ValueError where the bytes are not a whole image; TooLargeError, which is one, for more than MAX_PIXELS.
    """
    try:
        image = opened(content)
        image.load()
    except TooLargeError:
        raise
    except DECODE_ERRORS as error:
        raise ValueError(f"does not decode ({type(error).__name__})") from error
    return image


def to_png(content: bytes) -> bytes:
    """Any image that Pillow reads, as a PNG with the same pixels; of several frames the first.

    An orientation tag is applied, for the PNG carries none. CMYK and other colours that PNG lacks become RGB; grey of 9
    to 16 bits keeps all of them, scaled so that white is 65,535; colours of 16 bits keep the upper eight.
    Raises ValueError where the bytes do not decode; UnknownRangeError, which is one, for floats and 32-bit numbers.
    """
    image = decode(content)
    try:
        upright = ImageOps.exif_transpose(image)
        if image.mode == "F" or image.mode.startswith("I"):
            upright = _sixteen_bits(image, np.asarray(upright))
        return png_bytes(upright if upright.mode in (*PNG_MODES, "I;16") else upright.convert("RGB"))
    except UnknownRangeError:
        raise
    except DECODE_ERRORS as error:
        raise ValueError(f"does not become a PNG ({type(error).__name__})") from error


def _sixteen_bits(image: Image.Image, values: NDArray[Any]) -> Image.Image:
    """Grey from 0 to 65,535, in the computer's own order of bytes. image: as it was opened; values: of its pixels."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
    # Pillow scales the deep grey of a PGM to 16 bits itself, and keeps it in 32.
    if not (image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")):
        raise UnknownRangeError("has floats, signed or 32-bit numbers, of no known range: save it with 8 or 16 bits")
    grey = np.asarray(values, dtype=np.uint32) * 65535 // ((1 << bits) - 1)
    return Image.fromarray((65535 - grey if tags.get(PHOTOMETRIC) == 0 else grey).astype(np.uint16))


def plain(image: Image.Image) -> Image.Image:
    """The image in grey or RGB of 8 bits, which every encoder and every comparison can take."""
    if image.mode.startswith("I;16") or image.mode == "I":
        # Of 16 bits Pillow would cut off what is above 255.
        return Image.fromarray((np.asarray(image, dtype=np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")


def small_copy(content: bytes, side: int) -> Image.Image | None:
    """An encoded image to be shown: upright, grey or RGB, its longer side that of `side`; None: it does not decode."""
    try:
        with warnings.catch_warnings():
            # What decodes with a warning was noted when it was built; here it is shown.
            warnings.simplefilter("ignore")
            image = plain(ImageOps.exif_transpose(decode(content)))
    except DECODE_ERRORS:
        return None
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def png_bytes(image: Image.Image) -> bytes:
    """The image as PNG; the same pixels give the same bytes under the same Pillow."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def jpeg_bytes(image: Image.Image, quality: int) -> bytes:
    """The image as JPEG with its colours at full resolution. image: grey or RGB."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


MAX_PIXELS = 1 << 26
"""Pixels of the largest image that is decoded, 8192 x 8192 say: 201 MB as RGB. A few bytes can ask for any number."""


MOST_SCANS = 100
"""Scans of a JPEG that is decoded, as libtiff has it; encoders make 3 to 15. Each takes a pass over all pixels, also
where it is empty, 10 bytes in the file: at MAX_PIXELS 13 ms of one core, so 200 kB could keep a decoder for minutes."""


MOST_FILE_BYTES = 8 * MAX_PIXELS + (1 << 20)
"""Of a file of one image: MAX_PIXELS in four channels of 16 bits, and what stands beside them."""


_JPEG_SKIPPED = frozenset((0xFFC4, 0xFFDB, 0xFFDD, 0xFFFE, *range(0xFFE0, 0xFFF0)))
"""Segments that may stand before the first scan, as every camera and program writes them: tables and notes."""


_JPEG_FRAMES = frozenset((0xFFC0, 0xFFC1, 0xFFC2))
"""Those that decoders know: baseline, extended and progressive."""


_JPEG_START = b"\xff\xd8"


_JPEG_PROGRESSIVE = 0xFFC2


_JPEG_SCAN = 0xFFDA


_JPEG_SCAN_BYTES = b"\xff\xda"


_JPEG_MARKER = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd7])", re.DOTALL)
"""A marker that means something beside the pixels of a scan, as a decoder looks for the next one: with any number of
FF, and whatever stands in front of it. Not among them: a FF that is a number (00), and marks between pixels."""


_JPEG_END = b"\xff\xd9"


_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


_PNG_COLOURS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Depths that each kind of colour may have. Source: the PNG specification, table 11.1."""


_segment = struct.Struct(">HH").unpack_from


_frame = struct.Struct(">BHHB").unpack_from


_image = struct.Struct(">IIBB").unpack_from


_length = struct.Struct(">I").unpack_from


def is_sound(encoded: NDArray[np.uint8]) -> bool:
    """Whether an image may go into a batch untried. image: the encoded bytes."""
    return 0 < pixel_count(encoded) <= MAX_PIXELS


def has_endless_scans(content: bytes) -> bool:
    """Whether a JPEG has more than MOST_SCANS scans up to its end."""
    # Each scan begins with these bytes; they may stand elsewhere too, in a film behind the end, say.
    if content.count(_JPEG_SCAN_BYTES) <= MOST_SCANS:
        return False
    scans = 0
    found = _JPEG_MARKER.search(content, 2)
    while found and found[1] != _JPEG_END[1:] and scans <= MOST_SCANS:
        scans += found[1] == _JPEG_SCAN_BYTES[1:]
        size = int.from_bytes(content[found.end() : found.end() + 2], "big")
        found = _JPEG_MARKER.search(content, found.end() + max(size, 2))
    return scans > MOST_SCANS


def pixel_count(encoded: NDArray[np.uint8]) -> int:
    """Width times height of a JPEG or a PNG that is built as one; 0 for everything else, which is looked at alone.

    A JPEG with endless scans is among everything else.

    image: the encoded bytes.
    """
    view = encoded.data  # numpy's arrays are buffers; its types do not say so
    if view[:2] == _JPEG_START:
        return _jpeg_pixels(view) if view[-2:] == _JPEG_END or _JPEG_END in bytes(view[-64:]) else 0
    return _png_pixels(view) if view[:16] == _PNG_START and view[-12:] == _PNG_END else 0


def _jpeg_pixels(view: memoryview) -> int:
    at, pixels, last = 2, 0, len(view) - 18
    frame = colours = 0
    while at < last:
        kind, size = _segment(view, at)
        if kind in _JPEG_FRAMES:
            depth, height, width, colours = _frame(view, at + 4)
            if pixels or depth != 8 or size != 8 + 3 * colours or colours not in (1, 3, 4):
                return 0
            pixels, frame = height * width, kind
        elif kind not in _JPEG_SKIPPED:
            # Of a plain JPEG, with all colours in its first scan, decoders read no other one.
            is_plain = frame != _JPEG_PROGRESSIVE and view[at + 4] == colours
            return pixels if kind == _JPEG_SCAN and (is_plain or not has_endless_scans(bytes(view))) else 0
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
