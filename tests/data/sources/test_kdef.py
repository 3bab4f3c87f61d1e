"""KDEF, read into samples and shards."""

import io
from pathlib import Path

import pytest
from PIL import Image
from support.faces import write
from support.releases.kdef import MAKERS, kdef_flat, kdef_folders
from support.releases.made import Maker, image_bytes
from test_sources import samples_as_released, samples_of

from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.shards.manifest import load_manifest
from fer_dist.data.sources.kdef import PUBLISHED
from fer_dist.data.sources.source import open_source
from fer_dist.errors import InputError


def black() -> bytes:
    """An image as dark as those that are black in the release: their mean brightness is 0.6."""
    stream = io.BytesIO()
    Image.new("RGB", (562, 762), (1, 0, 1)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.mark.parametrize("maker", MAKERS)
def test_samples_and_what_is_left_out_are_those_of_the_release(tmp_path: Path, maker: Maker) -> None:
    samples_as_released("kdef", maker(tmp_path))


def test_facts_say_what_the_name_says(tmp_path: Path) -> None:
    for name in ("AF01AFFL", "BF01ANHL", "AM35DIS", "BM35SUHR", "AM35NEFR"):
        write(tmp_path / name[:4] / f"{name}.JPG", image_bytes("fear", 1))
    samples = {sample.key: sample.facts for sample in samples_of(open_source("kdef", str(tmp_path)))}
    assert samples["AF01AFFL"] == {
        "id": "AF01/AF01AFFL.JPG",
        "code": "AF",
        "subject": "F01",
        "gender": "female",
        "view": "full left",
        "session": "A",
    }
    told = {key: (facts["subject"], facts["gender"], facts["view"]) for key, facts in samples.items()}
    assert told == {
        "AF01AFFL": ("F01", "female", "full left"),
        "BF01ANHL": ("F01", "female", "half left"),
        "AM35DIS": ("M35", "male", "straight"),
        "BM35SUHR": ("M35", "male", "half right"),
        "AM35NEFR": ("M35", "male", "full right"),
    }


@pytest.mark.parametrize("fold", [1, 2])
def test_the_two_sessions_of_a_person_are_never_on_both_sides(tmp_path: Path, fold: int) -> None:
    samples = samples_of(open_source("kdef", str(kdef_folders(tmp_path).raw), folds=2, fold=fold))
    people = {split: {s.key[1:4] for s in samples if s.split == split} for split in ("train", "test")}
    assert people["test"] == {"F31" if fold == 1 else "M31"}
    assert people["train"] == {"M31" if fold == 1 else "F31"}


@pytest.mark.parametrize(
    ("angles", "views"),
    [
        ("all", {"full left", "half left", "straight", "half right", "full right"}),
        ("half", {"half left", "straight", "half right"}),
        ("straight", {"straight"}),
    ],
)
def test_angles_choose_the_views(tmp_path: Path, angles: str, views: set[str]) -> None:
    source = open_source("kdef", str(kdef_flat(tmp_path).raw), angles=angles)
    samples = samples_of(source)
    assert {sample.facts["view"] for sample in samples} == views
    assert len(samples) == 3 * 2 * 7 * len(views)
    assert source.variant == f"one folder of images; angles: {angles}; no official split, all of it train"


def test_black_images_are_left_out_while_building_and_the_others_keep_their_bytes(tmp_path: Path) -> None:
    content = image_bytes("fear", 1)
    write(tmp_path / "raw/AF10/AF10AFS.JPG", content)
    write(tmp_path / "raw/AF10/AF10AFFR.JPG", black())
    build_shards(open_source("kdef", str(tmp_path / "raw")), tmp_path / "out", BuildOptions(workers=1))
    manifest = load_manifest(tmp_path / "out" / "train")
    assert (manifest.samples, manifest.left_out) == (1, {"black image": 1})
    assert content in (tmp_path / "out/train" / manifest.shards[0].file).read_bytes()


def test_an_image_that_lies_in_its_folder_and_outside_becomes_one_sample(tmp_path: Path) -> None:
    for name in ("KDEF/AF01/AF01ANS.JPG", "KDEF/AF01ANS.JPG", "KDEF/AF01/AF01HAS.JPG"):
        write(tmp_path / "raw" / name, image_bytes("anger", 1))
    build_shards(open_source("kdef", str(tmp_path / "raw")), tmp_path / "out", BuildOptions(workers=1))
    manifest = load_manifest(tmp_path / "out" / "train")
    assert (manifest.samples, manifest.left_out) == (2, {"another image has this name": 1})


def test_the_published_counts_are_700_for_each_emotion() -> None:
    assert sorted(PUBLISHED["train"].items()) == [
        ("anger", 700),
        ("disgust", 700),
        ("fear", 700),
        ("happiness", 700),
        ("neutrality", 700),
        ("sadness", 700),
        ("surprise", 700),
    ]


def test_what_is_not_understood_is_one_clear_line(tmp_path: Path) -> None:
    write(tmp_path / "FANS.JPG", b"")
    with pytest.raises(InputError, match=r"no KDEF here; looked for .* AF01ANS\.JPG .*; found: FANS\.JPG$"):
        open_source("kdef", str(tmp_path))
    with pytest.raises(InputError, match=r"^--angles left: choose one of all, half, straight$"):
        open_source("kdef", str(tmp_path), angles="left")
    with pytest.raises(InputError, match=r"^--folds 4: 3 subjects and no more"):
        open_source("kdef", str(kdef_flat(tmp_path).raw), folds=4, fold=1)
