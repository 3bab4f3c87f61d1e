"""Draw one cartoon face from its parts: who it is, what the face does, how it is seen, in which look.

Nothing random happens here: the same parts give the same image. `synthetic.py` draws the parts by lot.
Face coordinates: x to the right, y down, the origin between eyes and mouth, half the width of a usual face is 1.
"""

from dataclasses import dataclass
from functools import cache
from math import cos, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Points = NDArray[np.complex128]  # x + iy, since turning, moving and measuring are then one operation each
Colour = tuple[int, int, int]

SUPERSAMPLING = 2
FACE = 0.34  # half the width of a usual face, as a share of the image's side
DEPTH = 0.6  # how far the nose stands before the outline, in face units
FOREHEAD = -1.0  # where the face begins; above it is the crown, which most people have hair on
STEPS = np.linspace(-1.0, 1.0, 9)
BOW = 1.0 - STEPS**2


@dataclass(frozen=True)
class Identity:
    """A person: colours, and sizes as factors of the usual face (eye_tilt: 1 is level)."""

    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    width: float
    jaw: float
    eye_distance: float
    eye_size: float
    eye_tilt: float
    brow_height: float
    brow_thickness: float
    nose_length: float
    nose_width: float
    mouth_width: float
    mouth_height: float
    lip_thickness: float
    haircut: int
    beard: int


@dataclass(frozen=True)
class Actions:
    """What the face does, after the action units of Ekman and Friesen's FACS. 0: at rest, 1: as much as people can."""

    inner_brow: float = 0.0
    outer_brow: float = 0.0
    brow_lower: float = 0.0
    upper_lid: float = 0.0
    lower_lid: float = 0.0
    nose_wrinkle: float = 0.0
    upper_lip: float = 0.0
    corner: float = 0.0
    stretch: float = 0.0
    press: float = 0.0
    jaw: float = 0.0


@dataclass(frozen=True)
class Expression:
    """What each part of a face does. On a usual face all three are the same.

    eyes:  with the brows, the lines between them and the folds below the eyes.
    mouth: lips, teeth, and the crease below them.
    rest:  outline, beard, nose, and the folds of forehead, nose and cheeks.
    """

    eyes: Actions
    mouth: Actions
    rest: Actions


@dataclass(frozen=True)
class View:
    """How the head stands before the camera. Angles in degrees, shifts as shares of the image's side."""

    yaw_degrees: float
    pitch_degrees: float
    roll_degrees: float
    scale: float
    shift_x: float
    shift_y: float
    gaze: float


@dataclass(frozen=True)
class Look:
    """A rendering style. ink: strokes are this colour; None takes a darker tone of what they are drawn on.

    line: width of a stroke in face units. brow, fold: factors on the thickness of brows and the strength of folds.
    painted: eyes have a white and an iris, lips a colour; otherwise eyes and mouth are strokes.
    """

    ink: Colour | None
    line: float
    brow: float
    fold: float
    painted: bool


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The colour that lies this share of the way from the first to the second; the share is cut to 0..1."""
    share = min(max(share, 0.0), 1.0)
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(value * factor)) for value in colour)
    return red, green, blue


class Canvas:
    """An image to draw on in face coordinates, at SUPERSAMPLING times its final side."""

    def __init__(self, image: Image.Image, view: View) -> None:
        self.pen = ImageDraw.Draw(image)
        yaw, pitch, roll = np.radians([view.yaw_degrees, view.pitch_degrees, view.roll_degrees]).tolist()
        self.yaw, self.pitch = (cos(yaw), sin(yaw)), (cos(pitch), sin(pitch))
        self.turn = image.width * FACE * view.scale * complex(cos(roll), sin(roll))
        self.centre = image.width * complex(0.5 + view.shift_x, 0.5 + view.shift_y)

    def fill(self, points: Points, colour: Colour, flat: bool = False) -> None:
        """Fill the outline on the turned head. flat: it lies in the plane of the head's outline, as hair does."""
        self.pen.polygon(self._place(points, flat).view(np.float64).tolist(), fill=colour)

    def seen(self, points: Points, flat: bool = False) -> Points:
        """Where points of the face are in the final image, in its pixels; the centre of its first one is 0.5 + 0.5i."""
        return (self._place(points, flat) + (0.5 + 0.5j)) / SUPERSAMPLING

    def stroke(self, points: Points, width: Any, colour: Colour, flat: bool = False) -> None:
        """A line through the points. width: in face units, one number or one for each point."""
        step = points[1:] - points[:-1]
        along = np.concatenate([step[:1], step[1:] + step[:-1], step[-1:]])
        side = 0.5j * width * along / np.maximum(np.abs(along), 1e-9)
        self.fill(np.concatenate([points + side, (points - side)[::-1]]), colour, flat)

    def _place(self, points: Points, flat: bool) -> Points:
        """Points of the face -> of the image that is drawn on, where a whole number is the middle of a pixel."""
        x, y = points.real, points.imag
        turned = x * self.yaw[0] + 1j * self.pitch[0] * y
        if not flat:
            z = DEPTH * np.sqrt(np.maximum(0.0, 1.0 - (x / 1.15) ** 2 - (y / 1.7) ** 2))
            turned += z * complex(self.yaw[1], -self.pitch[1])
        placed: Points = turned * self.turn + self.centre
        return placed


@cache
def _circle(corners: int) -> Points:
    return np.exp(2j * np.pi * np.arange(corners) / corners)


def ellipse(x: float, y: float, width: float, height: float, corners: int = 20) -> Points:
    """Corners of an ellipse around (x, y); width and height are half axes."""
    circle = _circle(corners)
    return circle.real * width + x + 1j * (circle.imag * height + y)


def curve(x: Any, y: Any) -> Points:
    """Points from two coordinates, each an array or a number, but not both a number."""
    return np.asarray(x) + 1j * np.asarray(y)


def draw_face(image: Image.Image, who: Identity, expression: Expression, view: View, look: Look) -> Canvas:
    """Draw head, hair and features over what is in the image. Returns the canvas, for what lies before the face."""
    canvas = Canvas(image, view)
    ink = look.ink or shade(who.skin, 0.45)
    outline = head_outline(who, expression.rest)
    _draw_behind(canvas, who, look, ink)
    canvas.fill(outline, who.skin, flat=True)
    if look.ink:
        canvas.stroke(np.concatenate([outline, outline[:2]]), look.line, ink, flat=True)
    _draw_beard(canvas, who, expression.rest)
    _draw_folds(canvas, who, expression, look, ink)
    _draw_nose(canvas, who, expression.rest, look, ink)
    _draw_mouth(canvas, who, expression.mouth, look, ink)
    for side in (-1.0, 1.0):
        _draw_eye(canvas, who, expression.eyes, view, look, ink, side)
        _draw_brow(canvas, who, expression.eyes, look, ink, side)
    _draw_fringe(canvas, who)
    return canvas


def landmarks(canvas: Canvas, who: Identity, expression: Expression) -> Points:
    """The middles of the eyes, the nose's tip and the corners of the mouth, left before right as a viewer sees them."""
    line = mouth_line(who, expression.mouth)
    eyes = [eye_middle(who, side) for side in (-1.0, 1.0)]
    return canvas.seen(np.array([*eyes, 1j * nose_tip(who, expression.rest), line[0], line[-1]]))


def face_edge(canvas: Canvas, who: Identity, expression: Expression) -> Points:
    """Points around the face from the forehead down, as a face box shows it: without ears, hair and crown."""
    outline = head_outline(who, expression.rest)
    return canvas.seen(curve(outline.real, np.maximum(outline.imag, FOREHEAD)), flat=True)


def head_outline(who: Identity, acts: Actions) -> Points:
    """The outline of the head: an egg whose lower end follows the jaw."""
    circle = _circle(28)
    low = np.maximum(circle.imag, 0.0) ** 2
    x = circle.real * who.width * (1.0 + (0.9 * who.jaw - 1.0) * low)
    return curve(x, 1.38 * circle.imag + 0.2 * max(acts.jaw, 0.0) * low)


def eye_middle(who: Identity, side: float) -> complex:
    """Half way between the corners of the left (side -1) or the right eye (1)."""
    return complex(side * 0.42 * who.eye_distance, -0.22)


def nose_tip(who: Identity, acts: Actions) -> float:
    """How far down the nose reaches; it stands in the middle of the face."""
    return 0.33 * who.nose_length - 0.07 * acts.nose_wrinkle


def mouth_line(who: Identity, acts: Actions) -> Points:
    """Where the lips of a closed mouth meet, from the left corner to the right one."""
    x = STEPS * 0.37 * who.mouth_width * (1.0 + 0.3 * acts.stretch + 0.12 * acts.corner - 0.14 * max(acts.jaw, 0.0))
    return curve(x, 0.72 * who.mouth_height - 0.2 * acts.corner * (STEPS**2 - 0.45))


def _draw_behind(canvas: Canvas, who: Identity, look: Look, ink: Colour) -> None:
    canvas.fill(curve([-0.5, 0.5, 0.6, -0.6], [0.8, 0.8, 2.6, 2.6]), shade(who.skin, 0.8), flat=True)
    canvas.fill(ellipse(0.0, 2.7, 1.9, 0.95), mix(who.hair, who.iris, 0.5), flat=True)
    if who.haircut:  # 3 is long
        back = (0.1, who.width * 1.28, 1.75) if who.haircut == 3 else (-0.45, who.width * 1.13, 1.15)
        canvas.fill(ellipse(0.0, *back), who.hair, flat=True)
    for side in (-1.0, 1.0):
        ear = ellipse(side * who.width * 1.02, -0.05, 0.14, 0.26, 12)
        canvas.fill(ear, shade(who.skin, 0.9), flat=True)
        if look.ink:
            canvas.stroke(np.concatenate([ear, ear[:2]]), look.line * 0.7, ink, flat=True)


def _draw_fringe(canvas: Canvas, who: Identity) -> None:
    """Hair before the forehead; haircut 0 is bald, 2 has a parting, 3 and 4 reach further down."""
    if not who.haircut:
        return
    drop = (0.0, -0.98, -0.9, -0.85, -0.68)[who.haircut]
    lean = 0.22 * (who.haircut == 2) * STEPS
    hairline = curve(STEPS * who.width * 1.04, drop - 0.12 * BOW + lean + 0.35 * np.abs(STEPS) ** 3)
    crown = curve(STEPS[::-1] * who.width * 1.08, -0.45 - 1.12 * np.sqrt(BOW))
    canvas.fill(np.concatenate([hairline, crown]), who.hair, flat=True)


def _draw_beard(canvas: Canvas, who: Identity, acts: Actions) -> None:
    if who.beard == 2:
        outline = head_outline(who, acts)
        beard = np.concatenate([outline[outline.imag > 0.12], curve(STEPS * who.width * 0.95, 0.62 - 0.5 * STEPS**2)])
        canvas.fill(beard, mix(who.skin, who.hair, 0.55), flat=True)
    if who.beard:
        canvas.stroke(curve(STEPS * 0.3, 0.47 * who.nose_length + 0.1 * STEPS**2), 0.13, mix(who.skin, who.hair, 0.7))


def _draw_folds(canvas: Canvas, who: Identity, expression: Expression, look: Look, ink: Colour) -> None:
    """Wrinkles that the actions make: forehead, between the brows, on the nose, beside nose and mouth, at the eyes."""

    def fold(points: Points, strength: float) -> None:
        if strength * look.fold > 0.12:
            canvas.stroke(points, look.line * 0.7, mix(who.skin, ink, strength * look.fold))

    eyes, rest = expression.eyes, expression.rest
    raised = (rest.inner_brow + rest.outer_brow) / 2
    for height in (-0.92, -1.04):
        fold(curve(STEPS * 0.45, height + 0.05 * STEPS**2), raised)
    short = STEPS[::4]
    for side in (-1.0, 1.0):
        fold(curve(side * (0.1 + 0.02 * short), -0.52 + 0.12 * short), eyes.brow_lower)
        fold(curve(side * (0.05 + 0.07 * (short + 1)), -0.2 + 0.05 * short), rest.nose_wrinkle)
        smile = max(rest.corner, rest.nose_wrinkle, 0.8 * rest.upper_lip)
        reach = 0.24 + 0.28 * who.mouth_width + 0.08 * rest.stretch
        fold(curve(side * (reach - 0.12 + 0.1 * (STEPS + 1)), 0.42 + 0.16 * STEPS - 0.05 * BOW), smile)
        fold(curve(side * (who.eye_distance * 0.42 + 0.2 * STEPS), 0.06 * BOW), 0.8 * eyes.lower_lid)


def _draw_nose(canvas: Canvas, who: Identity, acts: Actions, look: Look, ink: Colour) -> None:
    tip = nose_tip(who, acts)
    half = 0.17 * who.nose_width * (1.0 + 0.3 * max(acts.nose_wrinkle, 0.0))
    tone = ink if look.ink else shade(who.skin, 0.68)
    if look.painted:
        canvas.fill(curve([-0.05, 0.06, half, 0.0, -half], [-0.25, -0.25, tip, tip + 0.09, tip]), shade(who.skin, 1.1))
    else:
        canvas.stroke(curve(0.08 + 0.06 * STEPS, -0.05 + 0.2 * (STEPS + 1)), look.line * 0.7, tone)
    canvas.stroke(curve(STEPS * half, tip + 0.07 - 0.06 * STEPS**2), look.line * 0.8, tone)
    for side in (-1.0, 1.0):
        canvas.fill(ellipse(side * half * 0.55, tip + 0.04, 0.045, 0.03, 8), shade(tone, 0.7))


def _draw_eye(canvas: Canvas, who: Identity, acts: Actions, view: View, look: Look, ink: Colour, side: float) -> None:
    centre = eye_middle(who, side)
    middle, height = centre.real, centre.imag
    half = 0.23 * who.eye_size
    x = middle + STEPS * half
    level = height - (who.eye_tilt - 1.0) * side * STEPS * half
    upper = level - half * BOW * max(0.06, 0.62 + 0.5 * acts.upper_lid - 0.18 * max(acts.lower_lid, 0.0))
    lower = level + half * BOW * max(0.02, 0.42 - 0.42 * acts.lower_lid)
    almond = np.concatenate([curve(x, upper), curve(x, lower)[::-1]])
    canvas.fill(almond, (240, 238, 234) if look.painted else who.skin)
    size = 0.115 if look.painted else 0.075
    iris = ellipse(middle + 0.07 * view.gaze, height - 0.01, size, size, 14)
    for circle, colour in ((iris, who.iris), (iris * 0.5 + iris.mean(axis=0) * 0.5, (20, 16, 16))):
        lids = np.interp(circle.real, x, upper), np.interp(circle.real, x, lower)
        canvas.fill(curve(circle.real, np.clip(circle.imag, *lids)), colour if look.painted else ink)
    canvas.stroke(curve(x, upper), look.line * 1.1, ink)
    canvas.stroke(curve(x, lower), look.line * (0.4 if look.painted else 0.8), mix(who.skin, ink, 0.7))
    if look.painted:
        canvas.stroke(curve(x, upper - 0.07), look.line * 0.5, shade(who.skin, 0.75))


def _draw_brow(canvas: Canvas, who: Identity, acts: Actions, look: Look, ink: Colour, side: float) -> None:
    along = (STEPS + 1) / 2  # 0 at the nose, 1 at the temple
    middle = 0.42 * who.eye_distance
    inner_x, outer_x = middle - 0.24 - 0.09 * acts.brow_lower, middle + 0.31
    inner_y = 0.26 * acts.inner_brow - 0.22 * acts.brow_lower - 0.05 * acts.nose_wrinkle
    outer_y = 0.22 * acts.outer_brow - 0.06 * acts.brow_lower
    lift = inner_y * (1 - along) ** 1.3 + outer_y * along
    y = -0.22 - 0.31 * who.brow_height - 0.05 * BOW + 0.03 * along - lift
    width = 0.1 * who.brow_thickness * look.brow
    taper = 1.15 - 0.75 * along if look.painted else np.ones_like(along)
    x = side * (inner_x + (outer_x - inner_x) * along)
    canvas.stroke(curve(x, y), width * taper, mix(who.hair, ink, 0.35) if look.painted else ink)


def _draw_mouth(canvas: Canvas, who: Identity, acts: Actions, look: Look, ink: Colour) -> None:
    line = mouth_line(who, acts)
    x, bend = line.real, line.imag
    opening = max(0.5 * acts.jaw - 0.1, 0.0) * (1.0 - 0.6 * max(acts.press, 0.0))
    upper = bend - (0.16 * max(acts.upper_lip, 0.0) + 0.15 * opening) * BOW
    lower = np.maximum(bend + 0.85 * opening * np.sqrt(BOW) + 0.04 * max(acts.upper_lip, 0.0) * BOW, upper)
    lip = 0.11 * who.lip_thickness * max(0.15, 1.0 - 0.8 * max(acts.press, 0.0))
    if look.painted:
        rim = np.concatenate([curve(x, upper - lip * BOW**0.7), curve(x, lower + 1.25 * lip * BOW**0.7)[::-1]])
        canvas.fill(rim, who.lips)
    gap = np.concatenate([curve(x, upper), curve(x, lower)[::-1]])
    if (lower - upper).max() > 0.05:
        canvas.fill(gap, (70, 22, 26) if look.painted else mix(who.skin, (255, 255, 255), 0.6))
        if look.painted:
            teeth = np.minimum(lower, upper + 0.1)
            canvas.fill(np.concatenate([curve(x, upper)[1:-1], curve(x, teeth)[1:-1][::-1]]), (236, 232, 224))
    canvas.stroke(curve(x, upper), look.line * 0.8, mix(who.lips, (30, 10, 10), 0.6) if look.painted else ink)
    if not look.painted:
        canvas.stroke(curve(x, lower), look.line * 0.9, ink)
    chin = curve(x * 0.45, lower.max() + 1.25 * lip + 0.1 + 0.02 * BOW)
    canvas.stroke(chin, look.line * 0.5, mix(who.skin, ink, 0.3 + 0.4 * acts.press))
