"""Inputs that nobody should have to read: damaged and unusual images, tars and labels."""

import io
import struct
import tarfile
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from PIL import Image
from support.faces import encoded, face

EMOTIONS = ("surprise", "fear", "disgust")
"""The words are the study's own names, so that a label is its place here and in the study."""

HUGE = 40_000
SIDE = 48


def saved(image: Image.Image, form: str, **more: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **more)
    return stream.getvalue()


def with_sides(image: bytes, side: int) -> bytes:
    """A JPEG or a PNG whose header asks for side x side pixels."""
    if image.startswith(b"\xff\xd8"):
        at = next(image.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in image) + 5
        return image[:at] + struct.pack(">HH", side, side) + image[at + 4 :]
    head = b"IHDR" + struct.pack(">II", side, side) + image[24:29]
    return image[:12] + head + struct.pack(">I", zlib.crc32(head)) + image[33:]


def in_scans(scans: int, side: int = SIDE, behind: bytes = b"", between: bytes = b"") -> bytes:
    """A grey progressive JPEG of so many scans, all but the first of 10 bytes; what is behind its end is none of it."""
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, side, side, 1) + b"\x01\x11\x00"
    tables = b"".join(b"\xff\xc4" + struct.pack(">H", 20) + bytes([kind, 1, *[0] * 16]) for kind in (0x00, 0x10))
    first = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00" + bytes(8)
    others = (between + b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00") * (scans - 1)
    start = b"\xff\xd8\xff\xdb\x00\x43\x00" + bytes([1] * 64)
    return start + frame + tables + first + others + b"\xff\xd9" + behind


def in_plain_scans(scans: int, side: int = SIDE) -> bytes:
    """A JPEG that is not progressive, with each colour in scans of its own, one after the other."""
    parts = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, side, side, 3) + parts
    tables = b"".join(b"\xff\xc4" + struct.pack(">H", 20) + bytes([kind, 1, *[0] * 16]) for kind in (0x00, 0x10))
    passes = (b"\xff\xda\x00\x08\x01" + bytes([1 + number % 3, 0, 0, 63, 0]) + bytes(8) for number in range(scans))
    return b"\xff\xd8\xff\xdb\x00\x43\x00" + bytes([1] * 64) + frame + tables + b"".join(passes) + b"\xff\xd9"


def black(side: int) -> bytes:
    """A PNG of one bit a pixel that decodes, all zeros."""
    packer = zlib.compressobj()
    rows = b"".join(packer.compress(bytes(1 + side // 8)) for _ in range(side)) + packer.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b""))
    packed = (struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c)) for kind, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def turned(orientation: int, form: str = "JPEG") -> bytes:
    """An image that its EXIF tag says is to be turned; wide, so that a quarter turn shows in its sides."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(face(5, SIDE, "RGB").resize((2 * SIDE, SIDE)), form, exif=exif)


def ycck() -> bytes:
    """A CMYK JPEG whose Adobe segment says that its colours are YCCK."""
    image = saved(face(5, SIDE, "RGB").convert("CMYK"), "JPEG")
    at = image.index(b"Adobe") + 11
    return image[:at] + b"\2" + image[at + 1 :]


@cache
def unusual() -> dict[str, bytes]:
    """Images that are whole."""
    rgb = face(5, SIDE, "RGB")
    grey = rgb.convert("L")
    deep = Image.frombytes("I;16", rgb.size, b"".join(struct.pack("<H", value * 257) for value in grey.tobytes()))
    return {
        "a progressive JPEG": saved(rgb, "JPEG", progressive=True),
        "a grey JPEG": saved(grey, "JPEG"),
        "a CMYK JPEG": saved(rgb.convert("CMYK"), "JPEG"),
        "a YCCK JPEG": ycck(),
        "a JPEG with bytes behind its end": saved(rgb, "JPEG") + bytes(500),
        "a JPEG with a film behind its end": saved(rgb, "JPEG") + b"\xff\xda" * 1000,
        "a progressive JPEG with a film behind its end": saved(rgb, "JPEG", progressive=True) + b"\xff\xda" * 1000,
        "a JPEG of 100 scans": in_scans(100),
        "a JPEG of a scan for each colour": in_plain_scans(3),
        "a PNG under .jpg": saved(rgb, "PNG"),
        "a PNG of 16 bits": saved(deep, "PNG"),
        "a PNG with a palette": saved(rgb.convert("P"), "PNG"),
        "a PNG of grey and alpha": saved(rgb.convert("LA"), "PNG"),
        "a PNG of one bit": saved(rgb.convert("1"), "PNG"),
        "a WebP under .jpg": saved(rgb, "WEBP", lossless=True),
        "a BMP under .jpg": saved(rgb, "BMP"),
        "a TIFF under .jpg": saved(rgb, "TIFF"),
        **{f"a JPEG with EXIF orientation {number}": turned(number) for number in range(1, 9)},
        "a PNG with EXIF orientation 6": turned(6, "PNG"),
    }


@cache
def broken() -> dict[str, bytes]:
    """Images that do not decode."""
    whole = encoded(5, "JPEG", SIDE, "RGB")
    png = encoded(5, "PNG", SIDE, "RGB")
    return {
        "a JPEG that is cut short": whole[: len(whole) // 2],
        "a JPEG that is cut in its header": whole[:100],
        "a JPEG without its tables": whole.replace(b"\xff\xdb", b"\xff\xfe"),
        "a PNG that is cut short": png[: len(png) // 2],
        "a PNG with a damaged byte": png[:200] + bytes([png[200] ^ 1]) + png[201:],
        "zeros": bytes(len(whole)),
        "garbage": b"no image at all",
        "an empty file": b"",
        "a JPEG of 20,000 empty scans": in_scans(20_000, 8_000),
        "a JPEG of 20,000 empty scans that is not progressive": in_plain_scans(20_000, 8_000),
    }


@cache
def bombs() -> dict[str, bytes]:
    """Small files that ask for a thousand million pixels."""
    rgb = face(5, SIDE, "RGB")
    return {
        "a JPEG of 40,000 x 40,000": with_sides(saved(rgb, "JPEG"), HUGE),
        "a progressive JPEG of 40,000 x 40,000": with_sides(saved(rgb, "JPEG", progressive=True), HUGE),
        "a PNG of 40,000 x 40,000": with_sides(saved(rgb, "PNG"), HUGE),
        # Of what decoders themselves refuse, this is short: it would decode.
        "a whole PNG of 30,000 x 30,000": black(30_000),
    }


def member(name: str, content: bytes, form: int = tarfile.USTAR_FORMAT, **fields: object) -> bytes:
    """One member as it stands in a tar: header and content. fields: of its TarInfo."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(form) + content + bytes(-len(content) % 512)


def relabelled(header: bytes, **fields: bytes) -> bytes:
    """A header with other bytes in a field, and the checksum that goes with them. fields: name, size, kind."""
    places = {"name": 0, "size": 124, "kind": 156}
    block = bytearray(header)
    for field, value in fields.items():
        block[places[field] : places[field] + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block)


def sample(key: str, label: int, form: int = tarfile.USTAR_FORMAT, image: bytes | None = None) -> list[bytes]:
    """The members of a sample that says its label twice."""
    image = encoded(label, "JPEG", 16, "RGB") if image is None else image
    facts = b'{"emotion": "%s"}' % EMOTIONS[label].encode()
    return [
        member(f"{key}.{extension}", content, form)
        for extension, content in (("cls", b"%d" % label), ("jpg", image), ("json", facts))
    ]


def tar_at(path: Path, members: Iterable[bytes], end: bytes = bytes(1024)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(members) + end)
    return path
