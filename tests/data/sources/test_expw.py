"""ExpW: the order of its columns, several faces in a photograph, and where the photographs lie."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from support.faces import write
from support.releases.expw import MAKERS, expw_flat, expw_official
from support.releases.made import Maker, image, seen
from test_sources import left_out_of, samples_of

from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.sources.expw import PUBLISHED
from fer_dist.data.sources.source import open_source
from fer_dist.errors import InputError


@pytest.mark.parametrize("maker", MAKERS)
def test_every_face_of_expw_comes_out_with_its_label_or_is_left_out(tmp_path: Path, maker: Maker) -> None:
    release = maker(tmp_path)
    source = open_source("expw", str(release.raw), **release.options)
    samples = samples_of(source)
    assert {"train": {sample.facts["id"]: sample.emotion for sample in samples}} == release.truth
    assert left_out_of(source) == release.left_out
    assert len({sample.key for sample in samples}) == len(samples)
    for sample in samples:
        assert seen(Image.open(io.BytesIO(source.read(sample).content))) == sample.emotion


def test_top_comes_first_in_the_list_and_left_first_in_the_facts(tmp_path: Path) -> None:
    samples = {sample.key: sample for sample in samples_of(open_source("expw", str(expw_official(tmp_path).raw)))}
    assert samples["amazed_teacher_3_1"].facts == {
        "id": "amazed_teacher_3.jpg 1",
        "code": "3",
        "photograph": "amazed_teacher_3.jpg",
        "box": [21, 11, 50, 50],
        "confidence": 60.5,
    }
    assert samples["b%C3%B6ser%20mann_0_0"].facts["photograph"] == "böser mann_0.jpg"


def test_each_face_of_a_photograph_is_cut_out_with_its_own_label(tmp_path: Path) -> None:
    photograph = Image.new("RGB", (200, 100))
    photograph.paste(image("fear", 1, side=60), (10, 20))
    photograph.paste(image("happiness", 2, side=60), (120, 30))
    photograph.save(tmp_path / "two.png")
    # The last line says the first once more.
    rows = "two.png 0 20 10 70 80 90 2\ntwo.png 1 30 120 180 90 90 3\ntwo.png 0 20 10 70 80 90 2\n"
    write(tmp_path / "label.lst", rows.encode())
    source = open_source("expw", str(tmp_path))
    (manifest,) = build_shards(source, tmp_path / "out", BuildOptions(workers=1, crop_faces=True, margin=0))
    assert (manifest.samples, manifest.left_out) == (2, {"key comes twice": 1})
    with tarfile.open(tmp_path / "out" / "train" / "expw-train-000000.tar") as tar:
        for face, emotion in enumerate(("fear", "happiness")):
            assert seen(Image.open(tar.extractfile(f"two_{face}.jpg"))) == emotion
            assert json.load(tar.extractfile(f"two_{face}.json"))["emotion"] == emotion


def test_a_list_that_counts_from_1_is_refused(tmp_path: Path) -> None:
    rows = [f"a_{code}.jpg 0 1 1 9 9 80.5 {code}" for code in range(1, 8)]
    write(tmp_path / "label.lst", "\n".join(rows).encode())
    with pytest.raises(InputError, match=r"the labels are 1 to 7 and not 0 anger, 1 disgust, .*; give the list"):
        open_source("expw", str(tmp_path))


def test_the_variant_says_that_there_is_no_split_and_that_photographs_are_whole(tmp_path: Path) -> None:
    source = open_source("expw", str(expw_flat(tmp_path).raw))
    assert "whole photographs" in source.variant
    assert "no official split, all of it train" in source.variant


@pytest.mark.parametrize("folder", ["image/origin", "image/origin.7z/origin", "origin", "image", "."])
def test_photographs_are_found_where_copies_of_the_release_have_them(tmp_path: Path, folder: str) -> None:
    # The first is gone, as loaders of the release expect of some.
    write(tmp_path / "label" / "label.lst", b"gone.jpg 0 1 2 3 4 90 0\n\na.jpg 0 1 2 3 4 90 1\n")
    (tmp_path / "image" / "origin").mkdir(parents=True)
    path = write(tmp_path / folder / "a.jpg", b"")
    _, sample = samples_of(open_source("expw", str(tmp_path)))
    assert Path(sample.path).samefile(path)


def test_what_is_not_expw_is_one_clear_line(tmp_path: Path) -> None:
    write(tmp_path / "labels.txt", b"")
    with pytest.raises(InputError, match=r"looked for label/label\.lst and label\.lst; found: labels\.txt$"):
        open_source("expw", str(tmp_path))
    write(tmp_path / "label.lst", b"a.jpg 0 1 2 3 4 90 1\n")
    with pytest.raises(
        InputError, match=r"none of the first photographs of label\.lst \(a\.jpg, \.\.\.\) is here; looked"
    ):
        open_source("expw", str(tmp_path))
    write(tmp_path / "label.lst", b"\n")
    with pytest.raises(InputError, match=r"\(an empty list, \.\.\.\)"):
        open_source("expw", str(tmp_path))
    with pytest.raises(InputError, match=r"a file, but this release is a folder"):
        open_source("expw", str(tmp_path / "label.lst"))


def test_published_counts_add_up_to_the_authors_sum() -> None:
    assert sum(PUBLISHED["train"].values()) == 91793
