"""Faces that the program draws itself, in two styles, so that everything can be tried without data.

"wild" looks like images from the web: clutter, hard light, hands and glasses, blur, colour casts. "lab" is taken
before a plain wall, drawn in ink on old film. A model trained on one is clearly worse on the other; much carries over.
Each image is a function of (style, seed, split, index, cue) and the side in pixels; order, process and count play no
part.

A cue is where the label can be seen, and the only place: with it one knows where a network has to look. All else of the
face is drawn with the actions of another emotion, which is drawn by lot without a look at the label (so it may be the
same): a face at rest around the cue would say by itself where the cue is, and a network could read how unlike the two
are; and an emotion other than the label would say which one the label is not. What covers a face (scarf, hand, lock of
hair) covers the cue as well. Identity, view, scene and label are those of the image without a cue.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from fer_dist.data.emotions import SEVEN
from fer_dist.data.sources.drawn.face import (
    SUPERSAMPLING,
    Actions,
    Expression,
    Identity,
    Look,
    Points,
    View,
    draw_face,
    face_edge,
    landmarks,
    mix,
    shade,
)
from fer_dist.data.sources.drawn.scenery import draw_background, occlude, photograph_lab, photograph_wild
from fer_dist.data.sources.source import EncodedImage, LeftOut, Published, Sample
from fer_dist.errors import InputError

IMAGES_PER_SUBJECT = 20
JPEG_QUALITY = 90

SPREAD = (1.0, 0.9, 0.5, 1.0, 1.5, 0.8, 2.5, 1.0, 1.5, 1.0, 0.35)
"""How much people differ in the eleven sizes of Identity, from its width to its mouth's height; 1 is 9 per cent."""

PROTOTYPES = {
    "surprise": Actions(inner_brow=0.85, outer_brow=0.9, upper_lid=0.8, jaw=0.85, stretch=-0.25),
    "fear": Actions(
        inner_brow=0.9, outer_brow=0.3, brow_lower=0.4, upper_lid=0.85, lower_lid=0.4, jaw=0.5, stretch=0.6, corner=-0.2
    ),
    "disgust": Actions(brow_lower=0.6, nose_wrinkle=0.95, upper_lip=0.85, lower_lid=0.6, corner=-0.3, jaw=0.1),
    "anger": Actions(brow_lower=1.0, outer_brow=0.2, upper_lid=0.15, lower_lid=0.5, press=0.75, corner=-0.25),
    "sadness": Actions(inner_brow=0.75, outer_brow=-0.2, brow_lower=0.2, upper_lid=-0.4, corner=-0.8, press=0.15),
    "happiness": Actions(corner=0.9, lower_lid=0.6, stretch=0.45, jaw=0.4, upper_lip=0.3),
    "neutrality": Actions(),
}
"""The full expression of each emotion: the action units are the usual ones of FACS, the strengths are ours."""

Cue = Literal["none", "mouth", "eyes", "left"]

ALONE = {
    "mouth": {
        "surprise": Actions(jaw=0.8, stretch=-0.9),
        "fear": Actions(jaw=0.55, stretch=1.0, corner=-0.6),
        "disgust": Actions(upper_lip=1.2, corner=-0.4, jaw=0.1, stretch=-0.3),
        "anger": Actions(press=1.2, stretch=-0.5),
        "sadness": Actions(corner=-1.0, press=0.15),
        "happiness": Actions(corner=1.1, stretch=0.5, jaw=0.3, upper_lip=0.3),
    },
    "eyes": {
        "fear": Actions(inner_brow=0.95, brow_lower=0.3, upper_lid=0.9, lower_lid=0.3),
        "disgust": Actions(brow_lower=0.6, nose_wrinkle=0.95, upper_lid=-0.3, lower_lid=0.8),
        "anger": Actions(brow_lower=1.0, outer_brow=0.3, upper_lid=0.6, lower_lid=0.2),
        "sadness": Actions(inner_brow=0.85, outer_brow=-0.4, brow_lower=0.2, upper_lid=-0.6),
        "happiness": Actions(outer_brow=0.3, lower_lid=1.0),
    },
}
"""Of each cue the emotions that PROTOTYPES tell from another one by the rest of the face, so that the cue is enough."""


@dataclass(frozen=True)
class Style:
    """What the lots of a style are drawn from.

    shares:    weight of each emotion, in the order of SEVEN.
    intensity: lowest and highest strength of an expression, 1 being the prototype.
    blend:     share of images that carry a second emotion as well.
    noise:     standard deviation of each action around its value; rest: the same for a subject's face at rest.
    angles:    standard deviations of yaw, pitch and roll in degrees; shift, zoom: likewise, of the image and of 1.
    """

    shares: tuple[float, ...]
    intensity: tuple[float, float]
    blend: float
    noise: float
    rest: float
    angles: tuple[float, float, float]
    shift: float
    zoom: float
    look: Look


STYLES = {
    "wild": Style(
        shares=(0.12, 0.10, 0.11, 0.13, 0.14, 0.21, 0.19),
        intensity=(0.5, 1.2),
        blend=0.2,
        noise=0.1,
        rest=0.07,
        angles=(14.0, 7.0, 9.0),
        shift=0.02,
        zoom=0.06,
        look=Look(ink=None, line=0.06, brow=1.0, fold=0.55, painted=True),
    ),
    "lab": Style(
        shares=(0.15, 0.14, 0.14, 0.14, 0.14, 0.15, 0.14),
        intensity=(0.5, 1.15),
        blend=0.1,
        noise=0.075,
        rest=0.07,
        angles=(14.0, 8.0, 7.0),
        shift=0.04,
        zoom=0.08,
        look=Look(ink=(52, 48, 50), line=0.11, brow=1.7, fold=0.9, painted=False),
    ),
}


PUBLISHED: Published = {}


@dataclass(frozen=True)
class Options:
    """What is drawn."""

    count: int = 4000
    """Training images to draw."""

    test_count: int = 1000
    """Test images to draw."""

    seed: int = 0
    """Seed of the drawing."""

    pixels: int = 64
    """Side of the images to draw."""

    cue: Cue = "none"
    """Where alone the emotion shows: mouth, eyes (with brows), or the left half of the image. none: everywhere."""


DEFAULT = Options()


def open(raw: str, options: Options = DEFAULT) -> "SyntheticSource":
    """The faces of a style. raw: the style. Raises InputError for a style or a number that there is not."""
    count, test_count, pixels = options.count, options.test_count, options.pixels
    if raw not in STYLES:
        raise InputError(f"unknown style {raw!r}; RAW is one of: {', '.join(STYLES)}")
    if min(count, test_count) < 0 or count + test_count < 1:
        raise InputError(f"count {count} and test_count {test_count}: give at least 0 each and one image in all")
    if not 16 <= pixels <= 1024:
        raise InputError(f"pixels {pixels}: the side of an image is from 16 to 1024")
    if options.cue not in get_args(Cue):
        raise InputError(f"unknown cue {options.cue!r}; cue is one of: {', '.join(get_args(Cue))}")
    return SyntheticSource(raw, count, test_count, options.seed, pixels, options.cue)


@dataclass(frozen=True)
class Drawn:
    """A face as it was photographed, and where it truly is, in pixels of the image.

    landmarks: eyes, nose and corners of the mouth, left before right. edge: around the face from the forehead down.
    """

    image: Image.Image
    landmarks: Points
    edge: Points

    @property
    def facts(self) -> dict[str, Any]:
        """`landmarks` and `box` as a sample's json has them; what of the box is outside of the image is cut off."""
        side = self.image.width
        left, top, right, bottom = (
            min(max(float(value), 0.0), side)
            for value in (self.edge.real.min(), self.edge.imag.min(), self.edge.real.max(), self.edge.imag.max())
        )
        return {
            "landmarks": [[round(point.real, 2), round(point.imag, 2)] for point in self.landmarks.tolist()],
            "box": [round(value, 2) for value in (left, top, right - left, bottom - top)],
        }

    def beside(self, other: "Drawn") -> "Drawn":
        """The left half of this and the right half of the other; of an odd side the middle column is the other's."""
        middle = self.image.width // 2
        image = other.image.copy()
        image.paste(self.image.crop((0, 0, middle, self.image.height)), (0, 0))
        pairs = ((self.landmarks, other.landmarks), (self.edge, other.edge))
        return Drawn(image, *(np.where(own.real < middle, own, others) for own, others in pairs))


@dataclass(frozen=True)
class SyntheticSource:
    """One style with its numbers of images; see `open`."""

    style: str
    count: int
    test_count: int
    seed: int
    pixels: int
    cue: Cue = "none"
    emotions: tuple[str, ...] = SEVEN
    remarks: tuple[str, ...] = ()

    @property
    def dataset(self) -> str:
        return f"synthetic_{self.style}" + (f"_{self.cue}" if self.cue != "none" else "")

    @property
    def variant(self) -> str:
        cue = f", cue {self.cue}" if self.cue != "none" else ""
        return f"style {self.style}{cue}, seed {self.seed}, {self.pixels} pixels"

    def samples(self) -> Iterator[Sample | LeftOut]:
        start = self.style if self.cue == "none" else f"{self.style}-{self.cue}"
        for split, count in (("train", self.count), ("test", self.test_count)):
            for index in range(count):
                yield Sample(
                    key=f"{start}-{self.seed}-{split}-{index:07d}",
                    split=split,
                    emotion=self._emotion(split, index),
                    path=split,
                    facts={
                        "id": index,
                        "subject": _subject(split, index),
                        "style": self.style,
                        "pose_degrees": round(self._view(split, index).yaw_degrees, 1),
                        **({"cue": self.cue} if self.cue != "none" else {}),
                    },
                )

    def read(self, sample: Sample) -> EncodedImage:
        split, index = sample.path, int(sample.facts["id"])
        drawn = self.draw(split, index, self._emotion(split, index))
        stream = io.BytesIO()
        drawn.image.save(stream, "JPEG", quality=JPEG_QUALITY)
        return EncodedImage(stream.getvalue(), "jpg", facts=drawn.facts)

    def draw(self, split: str, index: int, emotion: str) -> Drawn:
        """The image of this number as it is, or would be, with this label."""
        style, subject = STYLES[self.style], self._lots("subject", _subject(split, index))
        who = draw_identity(subject, self.style)
        rest = style.rest * subject.standard_normal(len(fields(Actions)))
        label = draw_actions(self._lots(split, index, "actions"), emotion, style, rest, self.cue)
        if self.cue == "none":
            return self._photograph(split, index, who, Expression(label, label, label))
        lots = self._lots(split, index, "other actions")
        other = draw_actions(lots, self._lot_of_emotion(lots), style, rest)
        if self.cue == "left":
            left, right = (self._photograph(split, index, who, Expression(acts, acts, acts)) for acts in (label, other))
            return left.beside(right)
        eyes, mouth = (label if self.cue == part else other for part in ("eyes", "mouth"))
        return self._photograph(split, index, who, Expression(eyes, mouth, other))

    def _photograph(self, split: str, index: int, who: Identity, expression: Expression) -> Drawn:
        view, scene = self._view(split, index), self._lots(split, index, "scene")
        image = draw_background(scene, SUPERSAMPLING * self.pixels, self.style)
        canvas = draw_face(image, who, expression, view, STYLES[self.style].look)
        if self.style == "lab":
            image = photograph_lab(scene, image.reduce(SUPERSAMPLING))
        else:
            occlude(canvas, scene, who)
            image = photograph_wild(scene, image.reduce(SUPERSAMPLING))
        return Drawn(image, landmarks(canvas, who, expression), face_edge(canvas, who, expression))

    def _emotion(self, split: str, index: int) -> str:
        return self._lot_of_emotion(self._lots(split, index, "emotion"))

    def _lot_of_emotion(self, lots: np.random.Generator) -> str:
        shares = np.cumsum(STYLES[self.style].shares)
        return SEVEN[int(np.searchsorted(shares / shares[-1], lots.random(), "right"))]

    def _view(self, split: str, index: int) -> View:
        lots, style = self._lots(split, index, "view"), STYLES[self.style]
        yaw, pitch, roll = np.clip(lots.standard_normal(3), -2.2, 2.2) * style.angles
        x, y, zoom, gaze = np.clip(lots.standard_normal(4), -2.2, 2.2)
        return View(yaw, pitch, roll, 1.0 + style.zoom * zoom, style.shift * x, style.shift * y, gaze)

    def _lots(self, *what: object) -> np.random.Generator:
        """Random numbers that depend on style, seed and what they are for, and on nothing drawn before."""
        name = "/".join(map(str, (self.style, self.seed, *what)))
        return np.random.Generator(np.random.Philox(key=int.from_bytes(hashlib.sha256(name.encode()).digest()[:16])))


def _subject(split: str, index: int) -> str:
    """Who is in an image: runs of IMAGES_PER_SUBJECT share a face, and no face is in two splits."""
    return f"{split}-{index // IMAGES_PER_SUBJECT:05d}"


def draw_identity(lots: np.random.Generator, style: str) -> Identity:
    """A person by lot. The styles have other palettes; the sizes are spread alike."""
    tan = float(lots.random())
    hair = mix((28, 22, 20), [(96, 60, 34), (190, 150, 90), (150, 145, 140)][lots.integers(3)], float(lots.random()))
    skin = mix((248, 214, 186), (92, 58, 40), tan)
    if style == "lab":
        skin = mix((196, 192, 184), (104, 98, 96), tan)
        hair = mix((60, 58, 60), (128, 124, 122), float(lots.random()))
    skin = shade(skin, lots.uniform(0.93, 1.05))
    iris = [(80, 52, 30), (62, 92, 120), (74, 100, 62), (46, 34, 28)][lots.integers(4)]
    lips = mix(shade(skin, 0.8), (176, 54, 62), lots.uniform(0.2, 0.8))
    sizes = 1.0 + 0.09 * np.array(SPREAD) * np.clip(lots.standard_normal(len(SPREAD)), -2, 2)
    haircut, beard = int(lots.integers(5)), int(lots.choice(3, p=(0.76, 0.12, 0.12)))
    parts: list[Any] = [skin, hair, iris, lips, *sizes.tolist(), lots.uniform(0.6, 1.3), haircut, beard]
    return Identity(*parts)


def draw_actions(lots: np.random.Generator, emotion: str, style: Style, rest: np.ndarray, cue: Cue = "none") -> Actions:
    """What a face does that shows this emotion: its prototype, more or less, on the face at rest, and noise.

    cue: where alone it shows, so that it has to be told from the others there.
    """
    prototypes = PROTOTYPES | ALONE.get(cue, {})
    strength = lots.uniform(*style.intensity)
    values = strength * _values(prototypes[emotion])
    if lots.random() < style.blend:
        other = prototypes[SEVEN[lots.integers(len(SEVEN))]]
        values = values + lots.uniform(0.1, 0.35) * (_values(other) - values)
    # By the mouth alone these two would look like fear and like a face at rest.
    if cue != "mouth":
        if emotion == "anger" and lots.random() < 0.35:  # shouting: the teeth are bare instead of the lips pressed
            values = values + strength * (_values(Actions(jaw=0.45, press=-0.75, upper_lip=0.35, stretch=0.2)))
        if emotion == "surprise" and lots.random() < 0.25:  # the mouth hardly opens
            values = values - strength * _values(Actions(jaw=0.4))
    gain, offset = style.noise * lots.standard_normal((2, len(values)))
    values = values * (1.0 + gain) + rest + offset
    return Actions(*(float(value) for value in np.clip(values, -1.0, 1.3)))


def _values(acts: Actions) -> np.ndarray:
    return np.array([getattr(acts, field.name) for field in fields(Actions)])
