"""From an image to the faces in it, cut as those were that the model was trained on, ready for its DALI graph."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_dist.config.settings import PredictConfig
from fer_dist.data.faces.detect import DETECTOR
from fer_dist.data.faces.fit import FaceFlags, decoding, fitted, mend_box, standing
from fer_dist.data.faces.photograph import faces_on
from fer_dist.data.images import decode, png_bytes
from fer_dist.data.shards.crop_rule import NO_BOX, CropRule
from fer_dist.data.sources.reading import reasons
from fer_dist.data.sources.source import EncodedImage, LeftOutError
from fer_dist.deploy.boxes import Boxes, boxes_of
from fer_dist.deploy.photograph import Photograph, read_at

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels of the upright image."""


@dataclass(frozen=True, eq=False)
class Face:
    """A face as the network gets it. content: encoded. box: None where the whole image is the face; score: of the
    detector, None where it was not asked."""

    content: NDArray[np.uint8]
    box: Box | None = None
    score: float | None = None
    fault: str = ""
    """Why it cannot be predicted; empty where it can."""


@dataclass(frozen=True, eq=False)
class Found:
    """The faces of a photograph. fault: why there is none; empty where there is one."""

    photograph: Photograph
    faces: tuple[Face, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class Cutting:
    """How faces are found and cut. way: detect or none; boxes: those that a user gave, else None."""

    way: str
    flags: FaceFlags
    boxes: Boxes | None = None

    def faces_of(self, photograph: Photograph) -> Found:
        """The faces of a photograph, the largest first, given ones in the order of their file."""
        try:
            if photograph.fault:
                raise LeftOutError(photograph.fault)
            if self.boxes is None and self.way == "none":
                faces = [Face(_content(photograph))]
            elif self.boxes is None:
                faces = self._detected(photograph)
            else:
                faces = self._given(photograph, boxes_of(self.boxes, photograph.file, photograph.frame))
        except LeftOutError as error:
            return Found(photograph, fault=str(error))
        return Found(photograph, tuple(faces))

    def _detected(self, photograph: Photograph) -> list[Face]:
        image, encoded = _decoded(photograph)
        return [_as_face(found) for found in faces_on(image, encoded, self.flags)]

    def _given(self, photograph: Photograph, boxes: Sequence[Box]) -> list[Face]:
        image, encoded = _decoded(photograph)
        if not boxes:
            raise LeftOutError("no box given for it")
        if photograph.image is not None:
            encoded = replace(encoded, content=png_bytes(photograph.image))
        faces = []
        for box in boxes:
            facts, mended = mend_box({"box": list(box)}, *standing(image).size)
            if "box" not in facts:
                faces.append(Face(np.zeros(0, np.uint8), box, fault=mended.removesuffix(": dropped")))
                continue
            boxed = replace(encoded, facts=facts)
            inside: Any = tuple(facts["box"])
            try:
                if self.flags.detect:
                    (cut,) = faces_on(image, boxed, self.flags)
                    faces.append(replace(_as_face(cut), box=inside))
                else:
                    faces.append(Face(_array(fitted(boxed, self.flags).content), inside))
            except LeftOutError as error:
                faces.append(Face(np.zeros(0, np.uint8), inside, fault=str(error)))
        return faces


def flags_for(rule: CropRule | None, config: PredictConfig) -> FaceFlags:
    """How a build would cut faces as those of the training set were cut, all of an image.

    A set whose images went in as they were released says nothing of a margin: then it is the one of a build by default.
    """
    is_cut = rule is not None and rule.box != NO_BOX
    margin = rule.margin if rule and is_cut else FaceFlags.margin
    return FaceFlags(
        detect=True,
        face="all",
        smallest_face=config.smallest_face,
        detect_size=config.detect_size,
        margin=margin,
        resize=rule.size if rule else 0,
    )


def flags_for_boxes(rule: CropRule | None, config: PredictConfig) -> FaceFlags:
    """The same where boxes are given: looked at by the detector only where that cut the training set's faces."""
    found = flags_for(rule, config)
    if rule and rule.box == DETECTOR:
        return found
    return FaceFlags(crop_faces=True, margin=found.margin, resize=found.resize)


def _content(photograph: Photograph) -> NDArray[np.uint8]:
    """The encoded image. Raises LeftOutError where it cannot be read."""
    if photograph.content is not None:
        return photograph.content
    if photograph.image is not None:
        return _array(png_bytes(photograph.image))
    with reasons():
        return _array(read_at(photograph.path).content)


def _decoded(photograph: Photograph) -> tuple[Any, EncodedImage]:
    """The image, and its bytes, which those of a frame are not. Raises LeftOutError where it does not decode."""
    if photograph.image is not None:
        return photograph.image, EncodedImage(b"", "png")
    content = _content(photograph).tobytes()
    with decoding():
        return decode(content), EncodedImage(content, "png")


def _as_face(found: EncodedImage) -> Face:
    detected = found.facts["detected"]
    return Face(_array(found.content), tuple(detected["box"]), detected["score"])


def _array(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8)
