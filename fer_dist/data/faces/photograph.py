"""The faces of a photograph as images of their own: found, chosen, cut out upright."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from fer_dist.data.faces.crop import Square, cut, square_of
from fer_dist.data.faces.detect import Face, faces_in, look_at, upright
from fer_dist.data.faces.fit import FaceFlags, decoding, mend_box, standing
from fer_dist.data.images import decode, plain, png_bytes
from fer_dist.data.sources.source import EncodedImage, LeftOutError

LARGEST_CROP = 512
"""Pixels of a side above which a crop is scaled down, unless --resize says otherwise: no preset looks at more."""


def faces_of(encoded: EncodedImage, flags: FaceFlags) -> list[EncodedImage]:
    """The faces of a photograph that the flags ask for, the largest first, each as a PNG.

    Where the release has a box, it is the face in it. Of a face the facts say, in pixels of its crop, `box`, `points`
    (five) and the release's `landmarks`; in those of the photograph `cut`, the square before it is turned about its
    centre by `detected.roll` degrees, clockwise, and `detected.box`, as it was found, with its score and how many
    faces there are.
    Raises LeftOutError where the image does not decode or has no such face.
    """
    with decoding():
        image = decode(encoded.content)
    return faces_on(image, encoded, flags)


def faces_on(image: Image.Image, encoded: EncodedImage, flags: FaceFlags) -> list[EncodedImage]:
    """The same of an image that is decoded already. encoded: what is known of it; its content is not looked at."""
    with decoding():
        image = standing(image)
        image = image if image.mode in ("L", "RGB") else plain(image)
    facts, mended = mend_box(encoded.facts, *image.size)
    if "box" in facts:
        found = _face_at(image, facts["box"])
    elif "box" in encoded.facts:
        # Another face of the photograph would have this one's label.
        raise LeftOutError("no usable face box to cut out")
    else:
        found = faces_in(image, flags.detect_size)
    chosen = _chosen(found, flags)
    if len(chosen) > 1:
        # As of a release that has a sample for each face: they are not independent of each other.
        facts = {"photograph": facts.get("id", "")} | facts
    told = replace(encoded, facts=facts, mended="; ".join(filter(None, (encoded.mended, mended))))
    return [_cut_out(told, image, face, len(found), flags) for face in chosen]


def _face_at(image: Image.Image, box: Sequence[float]) -> list[Face]:
    found = look_at(image, square_of(box), box)
    if found is None:
        raise LeftOutError("no face found in the face box")
    return [found[1]]


def _chosen(faces: list[Face], flags: FaceFlags) -> list[Face]:
    """Those of the faces, the largest first, that become samples. Raises LeftOutError where none does."""
    if not faces:
        raise LeftOutError("no face found")
    large = [face for face in faces if face.side >= flags.smallest_face]
    if not large:
        raise LeftOutError(f"no face of {flags.smallest_face} pixels")
    if flags.face == "refuse" and len(large) > 1:
        raise LeftOutError("several faces")
    return large if flags.face == "all" else large[:1]


def _cut_out(encoded: EncodedImage, image: Image.Image, face: Face, count: int, flags: FaceFlags) -> EncodedImage:
    square, seen = upright(image, face)
    wide = square.widened(flags.margin)
    size = flags.resize or min(max(round(wide.side), 1), LARGEST_CROP)
    facts = _in_crop(encoded.facts, wide, size) | {
        "box": _box_in_crop(seen, wide, size),
        "cut": [round(value, 2) for value in (wide.x - wide.side / 2, wide.y - wide.side / 2, wide.side, wide.side)],
        "points": _rounded(wide.to_cut(seen.points, size)),
        "detected": {
            "box": [round(value, 2) for value in face.box],
            "score": round(face.score, 4),
            "roll": round(square.roll_degrees, 2),
            "faces": count,
        },
    }
    return replace(encoded, content=png_bytes(cut(image, wide, size)), extension="png", facts=facts)


def _in_crop(facts: dict[str, Any], square: Square, size: int) -> dict[str, Any]:
    """The facts with the release's landmarks in pixels of the crop."""
    if "landmarks" not in facts:
        return facts
    points = np.array(facts["landmarks"], dtype=np.float64).reshape(-1, 2)
    return {**facts, "landmarks": _rounded(square.to_cut(points, size))}


def _box_in_crop(face: Face, square: Square, size: int) -> list[float]:
    x, y, width, height = face.box
    ((centre_x, centre_y),) = square.to_cut(np.array([[x + width / 2, y + height / 2]]), size).tolist()
    width, height = width * size / square.side, height * size / square.side
    return [round(value, 2) for value in (centre_x - width / 2, centre_y - height / 2, width, height)]


def _rounded(points: Any) -> list[list[float]]:
    found: list[list[float]] = np.round(points, 2).tolist()
    return found
