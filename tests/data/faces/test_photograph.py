"""Photographs to shards of faces: which face, which reason, which facts; by `shards build --detect`."""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.faces import members, tree
from support.scenes import Placed, needs_detector, scene

from fer_dist.cli.commands import main
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.faces.crop import Square
from fer_dist.data.faces.detect import SHA256
from fer_dist.data.faces.fit import FaceFlags, check_faces
from fer_dist.data.faces.photograph import faces_of
from fer_dist.data.images import png_bytes
from fer_dist.data.shards.crop_rule import CropRule
from fer_dist.data.shards.manifest import load_manifest
from fer_dist.data.sources.source import EncodedImage, LeftOutError, open_source
from fer_dist.errors import InputError

TWO = [Placed(110, 150, 70, -20), Placed(300, 140, 110, 15)]


@pytest.fixture(autouse=True)
def _extra() -> None:
    needs_detector()


def photograph(faces: list[Placed], width: int = 420, height: int = 300, **facts: Any) -> EncodedImage:
    return EncodedImage(png_bytes(scene(width, height, faces)), "png", facts={"id": "street.png", **facts})


def opened(found: EncodedImage) -> Image.Image:
    return Image.open(io.BytesIO(found.content))


def test_a_face_becomes_an_upright_square_png_with_what_is_known_of_it() -> None:
    (found,) = faces_of(photograph(TWO[1:], landmarks=[[300, 140]]), FaceFlags(detect=True, margin=0.25))
    facts, image = found.facts, opened(found)
    assert (found.extension, image.format, image.mode) == ("png", "PNG", "RGB")
    assert image.width == image.height == round(facts["cut"][2])
    left, right, *_ = facts["points"]
    assert left[0] < right[0]
    assert left[1] == pytest.approx(right[1], abs=0.05)
    x, y, width, height = facts["box"]
    assert (x + width / 2, y + height / 2) == pytest.approx((image.width / 2, image.width / 2), abs=0.02)
    assert max(width, height) * 1.5 == pytest.approx(image.width, abs=1)
    assert facts["landmarks"] == pytest.approx(np.array([[image.width / 2] * 2]), abs=12)
    detected = facts["detected"]
    assert (detected["faces"], detected["roll"]) == (1, pytest.approx(TWO[1].eyes_roll, abs=5))
    assert 0.3 < detected["score"] <= 1
    assert detected["box"] == pytest.approx(TWO[1].box, abs=20)


def test_points_lead_back_to_the_photograph() -> None:
    (found,) = faces_of(photograph(TWO[1:]), FaceFlags(detect=True, resize=64))
    x, y, side, _ = found.facts["cut"]
    square = Square(x + side / 2, y + side / 2, side, found.facts["detected"]["roll"])
    eyes = square.to_image(np.array(found.facts["points"][:2]), 64)
    middle = eyes.mean(axis=0)
    assert (opened(found).size, middle.tolist()) == ((64, 64), pytest.approx([303.5, 124.5], abs=6))


@pytest.mark.parametrize(("face", "kept"), [("largest", ["300"]), ("all", ["300", "110"]), ("refuse", "several faces")])
def test_of_several_faces_those_are_taken_that_the_flag_says(face: Any, kept: list[str] | str) -> None:
    flags = FaceFlags(detect=True, face=face)
    if isinstance(kept, str):
        with pytest.raises(LeftOutError, match=kept):
            faces_of(photograph(TWO), flags)
        return
    found = faces_of(photograph(TWO), flags)
    centres = [image.facts["cut"][0] + image.facts["cut"][2] / 2 for image in found]
    assert centres == pytest.approx([float(x) for x in kept], abs=12)
    assert [image.facts.get("photograph") for image in found] == (["street.png"] * 2 if face == "all" else [None])


def test_faces_below_the_smallest_do_not_count() -> None:
    flags = FaceFlags(detect=True, face="refuse", smallest_face=90)
    (found,) = faces_of(photograph(TWO), flags)
    assert found.facts["detected"]["faces"] == 2
    with pytest.raises(LeftOutError, match="no face of 200 pixels"):
        faces_of(photograph(TWO), FaceFlags(detect=True, smallest_face=200))


def test_a_box_of_the_release_says_which_face_is_meant() -> None:
    for placed in TWO:
        x, y, width, height = placed.box
        wide = [x - 8, y - 12, width + 20, height + 20]
        (found,) = faces_of(photograph(TWO, box=wide), FaceFlags(detect=True, face="refuse"))
        cut = found.facts["cut"]
        assert (cut[0] + cut[2] / 2, cut[1] + cut[2] / 2) == pytest.approx((placed.x, placed.y), abs=12)


@pytest.mark.parametrize(
    ("box", "reason"), [([5, 5, 60, 60], "no face found in the face box"), ([900, 5, 9, 9], "no usable face box")]
)
def test_a_box_without_a_face_is_no_reason_to_take_another_face(box: list[float], reason: str) -> None:
    with pytest.raises(LeftOutError, match=reason):
        faces_of(photograph(TWO, box=box), FaceFlags(detect=True))


def test_a_grey_photograph_that_lies_on_its_side_gives_an_upright_grey_face() -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    stream = io.BytesIO()
    upright = scene(420, 300, TWO[1:]).convert("L")
    upright.transpose(Image.Transpose.ROTATE_90).save(stream, "PNG", exif=tags)
    (found,) = faces_of(EncodedImage(stream.getvalue(), "png"), FaceFlags(detect=True))
    assert (opened(found).mode, found.facts["detected"]["roll"]) == ("L", pytest.approx(TWO[1].eyes_roll, abs=5))


def test_a_large_face_is_scaled_down() -> None:
    (found,) = faces_of(photograph([Placed(500, 500, 700)], 1000, 1000), FaceFlags(detect=True))
    assert opened(found).size == (512, 512)


def vast(side: int) -> bytes:
    """A PNG whose header says that it is that large."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")]
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Photographs in class folders: one face, two, none, damaged, vast."""
    folder = tmp_path / "raw"
    photographs = {
        "happy/one.png": png_bytes(scene(300, 260, [Placed(150, 130, 90, 30)])),
        "happy/two.png": png_bytes(scene(420, 300, TWO)),
        "sad/none.png": png_bytes(scene(300, 200, [])),
        "sad/other.png": png_bytes(scene(260, 260, [Placed(120, 140, 100)], 1)),
        "sad/damaged.jpg": b"\xff\xd8\xff\xe0 no image",
        "sad/vast.png": vast(40_000),
    }
    for name, content in photographs.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_build_loses_no_photograph_and_says_how_its_faces_were_cut(tmp_path: Path, release: Path) -> None:
    source = open_source("folder", str(release))
    (manifest,) = build_shards(source, tmp_path / "out", BuildOptions(workers=1, detect=True, face="all"))
    assert manifest.counts == {"sadness": 1, "happiness": 3}
    assert manifest.left_out == {"does not decode": 1, "no face found": 1, "too large to decode": 1}
    lines = (tmp_path / "out" / "train" / "left_out.jsonl").read_text().splitlines()
    assert {json.loads(line)["name"] for line in lines} == {"sad/damaged.jpg", "sad/none.png", "sad/vast.png"}
    names = {name for name in members(tmp_path / "out" / "train") if name.endswith(".png")}
    assert names == {"happy/one.png", "happy/two+1.png", "happy/two+2.png", "sad/other.png"}
    assert load_manifest(tmp_path / "out" / "train").crop_rule == CropRule(f"centerface {SHA256[:8]}", 0.1, True)
    assert main(["shards", "verify", str(tmp_path / "out")]) == 0


def test_the_bytes_do_not_depend_on_the_number_of_processes(tmp_path: Path, release: Path) -> None:
    source = open_source("folder", str(release))
    for workers in (1, 2):
        build_shards(source, tmp_path / str(workers), BuildOptions(workers=workers, detect=True, shard_samples=3))
    assert tree(tmp_path / "1") == tree(tmp_path / "2")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (FaceFlags(detect=True, crop_faces=True), "--detect and --crop-faces: .*; give one of the two"),
        (FaceFlags(face="all"), "--face all: add --detect, or leave it out"),
        (FaceFlags(smallest_face=9), "--smallest-face 9: add --detect"),
        (FaceFlags(detect=True, smallest_face=0), "--smallest-face 0: give at least 1 pixel"),
        (FaceFlags(detect=True, detect_size=100), "--detect-size 100: give a side of 256 to 2048 pixels"),
        (FaceFlags(detect=True, detect_size=90_000), "--detect-size 90000"),
        (FaceFlags(detect=True, margin=-0.1), r"--margin -0\.1"),
    ],
)
def test_flags_that_contradict_or_cannot_be_meant_are_refused(flags: FaceFlags, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_faces(flags)


def test_a_build_without_the_extra_says_so_and_makes_nothing(
    tmp_path: Path, release: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fer_dist.data.faces.detect.importlib.util.find_spec", lambda name: None)
    assert main(["shards", "build", "folder", str(release), str(tmp_path / "out"), "--detect"]) == 2
    assert "pip install 'fer-dist[faces]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
