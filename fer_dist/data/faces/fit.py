"""The face in an image: box and landmarks are held against the image, and it is cut out or resized on request."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import Any, Literal

from PIL import Image, ImageOps

from fer_dist.data.faces.detect import DETECTOR, SMALL, check_detector
from fer_dist.data.images import DECODE_ERRORS, TooLargeError, decode, jpeg_bytes, plain
from fer_dist.data.shards.crop_rule import NO_BOX, RELEASE, CropRule
from fer_dist.data.sources.source import EncodedImage, LeftOutError
from fer_dist.errors import InputError

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in whole pixels; right and bottom are excluded."""

LARGEST = 8192
"""Pixels of the longest side that --resize makes; no network looks at more, and a typing mistake fills a disk."""

MOST_DETECT_SIZE = 2048
"""Pixels of the longest side in which faces are looked for: a square of it takes 4 s of a core and 0.9 GB."""

ONLY_WITH_DETECT = ("face", "smallest_face", "detect_size")


@dataclass(frozen=True)
class FaceFlags:
    """How an image goes into a shard. Without a flag its bytes stay as they are."""

    crop_faces: bool = False
    """Cut each image to its face box, as a square; an image without a usable box is left out."""

    detect: bool = False
    """Find the face in each image and cut it out, turned upright, as a square PNG. Where the release has a box, it says
    which face is meant. Needs the extra faces."""

    face: Literal["largest", "all", "refuse"] = "largest"
    """With detect, of several faces in an image without a box: the largest; all, each as a sample of its own with the
    image's label; or refuse, the image is left out."""

    smallest_face: int = 24
    """With detect: faces below so many pixels on their longer side count as none."""

    detect_size: int = 640
    """With detect: pixels of the longer side in which a larger image is looked at. Faces below 28 pixels there are
    hardly found: 1280 finds those of half the size, and takes four times as long."""

    margin: float = 0.1
    """With crop-faces or detect: what is added around the box on each side, as a share of its longer side."""

    resize: int = 0
    """Side in pixels to which each image is resized, both sides, as training itself does. 0: not resized."""

    quality: int = 95
    """JPEG quality, 1 to 100, of images that are cut or resized; their colours are kept at full resolution. What detect
    cuts is PNG."""

    @property
    def crop_rule(self) -> CropRule:
        if not (self.detect or self.crop_faces):
            return CropRule(NO_BOX, size=self.resize)
        return CropRule(DETECTOR if self.detect else RELEASE, self.margin, self.detect, self.resize)


def check_faces(flags: FaceFlags) -> None:
    """Raises InputError for flags that cannot be meant."""
    if not 0 <= flags.margin <= 10:
        raise InputError(f"--margin {flags.margin}: give a share of the box from 0 to 10, such as 0.1")
    if not 0 <= flags.resize <= LARGEST:
        raise InputError(f"--resize {flags.resize}: give a side of 1 to {LARGEST} pixels, or 0 to keep the images")
    if not 1 <= flags.quality <= 100:
        raise InputError(f"--quality {flags.quality}: JPEG quality is from 1 to 100")
    if flags.detect:
        _check_detection(flags)
    else:
        for item in fields(FaceFlags):
            if item.name in ONLY_WITH_DETECT and (value := getattr(flags, item.name)) != item.default:
                raise InputError(f"--{item.name.replace('_', '-')} {value}: add --detect, or leave it out")


def _check_detection(flags: FaceFlags) -> None:
    if flags.crop_faces:
        raise InputError(
            "--detect and --crop-faces: faces are cut where they are found, or where the release says; give one of the "
            "two. With --detect a box of the release says which face is meant"
        )
    if flags.smallest_face < 1:
        raise InputError(f"--smallest-face {flags.smallest_face}: give at least 1 pixel")
    if not SMALL <= flags.detect_size <= MOST_DETECT_SIZE:
        raise InputError(f"--detect-size {flags.detect_size}: give a side of {SMALL} to {MOST_DETECT_SIZE} pixels")
    check_detector()


def fitted(encoded: EncodedImage, flags: FaceFlags) -> EncodedImage:
    """The image as the flags ask for it, with a box and landmarks that fit it.

    A box that reaches beyond the image is cut at its edge, one without any of the image in it is dropped; the
    image's `mended` says so. Where the image is cut or resized, box and landmarks move with it, and the facts
    say what was cut from the original (`cut`: [x, y, width, height]).
    Raises LeftOutError where the image does not decode, or has no usable box and shall be cut to it.
    """
    has_changes = flags.crop_faces or flags.resize
    if encoded.original and "box" not in encoded.facts and not has_changes:
        # What a source made into a PNG has been decoded already.
        return encoded
    with decoding():
        image = decode(encoded.content)
        # Boxes are those of the upright image: DALI and OpenCV, which most boxes come from, turn it too.
        size = standing(image).size if "box" in encoded.facts or has_changes else image.size
        facts, mended = mend_box(encoded.facts, *size)
        encoded = replace(encoded, facts=facts, mended="; ".join(filter(None, (encoded.mended, mended))))
        return _changed(encoded, standing(image), flags) if has_changes else encoded


@contextmanager
def decoding() -> Iterator[None]:
    """What is raised of an image's bytes, as a LeftOutError with the reason."""
    try:
        yield
    except TooLargeError as error:
        raise LeftOutError(str(error)) from None
    except DECODE_ERRORS as error:
        raise LeftOutError("does not decode") from error


def mend_box(facts: dict[str, Any], width: int, height: int) -> tuple[dict[str, Any], str]:
    """The facts with a box that lies in an image of this size, or without one; and what was mended."""
    if "box" not in facts:
        return facts, ""
    x, y, box_width, box_height = facts["box"]
    rest = {name: value for name, value in facts.items() if name != "box"}
    if not all(map(isfinite, facts["box"])) or box_width <= 0 or box_height <= 0:
        return rest, "face box without an area: dropped"
    if x >= 0 and y >= 0 and x + box_width <= width and y + box_height <= height:
        return facts, ""
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + box_width, width), min(y + box_height, height)
    if right <= left or bottom <= top:
        return rest, "face box outside the image: dropped"
    inside = [left, top, right - left, bottom - top]
    return {**rest, "box": inside}, "face box reached beyond the image: cut at its edge"


def square_around(box: list[float], margin: float, width: int, height: int) -> Box:
    """The square with the box's centre and its longer side, widened by the margin on each side, inside the image.

    box: x, y, width, height. What would reach beyond the image is cut off, so near an edge it is no square.
    """
    x, y, box_width, box_height = box
    half = max(box_width, box_height) * (0.5 + margin)
    centre_x, centre_y = x + box_width / 2, y + box_height / 2
    left, top = max(round(centre_x - half), 0), max(round(centre_y - half), 0)
    right, bottom = min(round(centre_x + half), width), min(round(centre_y + half), height)
    # A box narrower than a pixel still is a pixel.
    return min(left, width - 1), min(top, height - 1), max(right, left + 1), max(bottom, top + 1)


def _changed(encoded: EncodedImage, image: Image.Image, flags: FaceFlags) -> EncodedImage:
    facts = encoded.facts
    if flags.crop_faces:
        if "box" not in facts:
            raise LeftOutError("no usable face box to cut out")
        left, top, right, bottom = square_around(facts["box"], flags.margin, *image.size)
        image = image.crop((left, top, right, bottom))
        facts = {**_moved(facts, left, top, 1.0, 1.0), "cut": [left, top, right - left, bottom - top]}
    image = plain(image)
    if flags.resize:
        facts = _moved(facts, 0, 0, flags.resize / image.width, flags.resize / image.height)
        image = image.resize((flags.resize, flags.resize), Image.Resampling.BICUBIC)
    return replace(encoded, content=jpeg_bytes(image, flags.quality), extension="jpg", facts=facts)


def _moved(facts: dict[str, Any], left: float, top: float, scale_x: float, scale_y: float) -> dict[str, Any]:
    """The facts with box and landmarks in the pixels of an image that was cut and then scaled."""
    moved = dict(facts)
    if "box" in facts:
        x, y, width, height = facts["box"]
        box = ((x - left) * scale_x, (y - top) * scale_y, width * scale_x, height * scale_y)
        moved["box"] = [round(value, 2) for value in box]
    if "landmarks" in facts:
        points = [((x - left) * scale_x, (y - top) * scale_y) for x, y in facts["landmarks"]]
        moved["landmarks"] = [[round(x, 2), round(y, 2)] for x, y in points]
    return moved


def standing(image: Image.Image) -> Image.Image:
    """The image as its EXIF tag says it is held."""
    return ImageOps.exif_transpose(image)
