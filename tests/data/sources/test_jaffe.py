"""JAFFE, read into samples and shards; folds by subject, which it shares with CK+ and KDEF."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.faces import write
from support.releases.jaffe import MAKERS, jaffe_copy, jaffe_tiff
from support.releases.made import Maker, image, image_bytes
from test_sources import samples_as_released, samples_of

from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.shards.manifest import load_manifest
from fer_dist.data.sources.folds import FoldOptions, cut_folds
from fer_dist.data.sources.jaffe import PUBLISHED
from fer_dist.data.sources.source import open_source
from fer_dist.errors import InputError


@pytest.mark.parametrize("maker", MAKERS)
def test_samples_and_what_is_left_out_are_those_of_the_release(tmp_path: Path, maker: Maker) -> None:
    samples_as_released("jaffe", maker(tmp_path))


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_tiff_becomes_a_png_with_the_same_pixels(tmp_path: Path, mode: str) -> None:
    image("fear", 1, 256, mode).save(write(tmp_path / "KA.FE1.45.tiff", b""))
    source = open_source("jaffe", str(tmp_path))
    (sample,) = samples_of(source)
    read = source.read(sample)
    assert (read.extension, read.original) == ("png", "KA.FE1.45.tiff")
    assert np.array_equal(
        Image.open(io.BytesIO(read.content)).convert("RGB"), image("fear", 1, 256, mode).convert("RGB")
    )


def test_facts_say_who_is_in_the_image(tmp_path: Path) -> None:
    write(tmp_path / "jaffe" / "ka.fe4.48.TIF", image_bytes("fear", 1, "TIFF"))
    (sample,) = samples_of(open_source("jaffe", str(tmp_path)))
    assert sample.facts == {"id": "ka.fe4.48.TIF", "code": "FE", "subject": "KA", "gender": "female"}
    assert sample.key == "KA%2EFE4%2E48"


def test_the_published_counts_are_those_of_the_213_images() -> None:
    assert PUBLISHED == {
        "train": {
            "anger": 30,
            "disgust": 29,
            "fear": 32,
            "happiness": 31,
            "neutrality": 30,
            "sadness": 31,
            "surprise": 30,
        }
    }
    assert sum(PUBLISHED["train"].values()) == 213


def test_jaffe_becomes_shards_of_both_splits(tmp_path: Path) -> None:
    release = jaffe_copy(tmp_path / "raw")
    source = open_source("jaffe", str(release.raw), **release.options)
    build_shards(source, tmp_path / "out", BuildOptions(workers=1))
    for split in ("train", "test"):
        manifest = load_manifest(tmp_path / "out" / split)
        assert manifest.counts == dict.fromkeys(source.emotions, 4)
        assert manifest.built["variant"] == "one folder of images; fold 2 of 2 by subject is test"


def test_a_folder_without_an_image_of_jaffe_says_what_was_looked_for(tmp_path: Path) -> None:
    write(tmp_path / "face.tiff", b"")
    with pytest.raises(InputError, match=r"no JAFFE here; looked for .* KA\.AN1\.39\.tiff .* found: face\.tiff$"):
        open_source("jaffe", str(tmp_path))


def test_without_folds_all_is_train_and_the_variant_says_so(tmp_path: Path) -> None:
    source = open_source("jaffe", str(jaffe_tiff(tmp_path).raw))
    assert {sample.split for sample in samples_of(source)} == {"train"}
    assert source.variant == "one folder of images; no official split, all of it train"


def test_subjects_are_sorted_and_dealt_to_the_folds_in_turn() -> None:
    subjects = ["S010", "S005", "S999", "S011", "S010", "S502"]
    dealt = [cut_folds(FoldOptions(3, fold), iter(subjects)).tested for fold in (1, 2, 3)]
    assert dealt == [("S005", "S502"), ("S010", "S999"), ("S011",)]


def test_each_subject_is_tested_in_exactly_one_fold(tmp_path: Path) -> None:
    release = jaffe_copy(tmp_path)
    tested: list[str] = []
    for fold in (1, 2, 3):
        samples = samples_of(open_source("jaffe", str(release.raw), folds=3, fold=fold))
        sides = {split: {s.facts["subject"] for s in samples if s.split == split} for split in ("train", "test")}
        assert not sides["train"] & sides["test"]
        tested += sides["test"]
    assert sorted(tested) == ["KL", "NA", "TM", "YM"]


def test_with_one_fold_everything_is_test(tmp_path: Path) -> None:
    samples = samples_of(open_source("jaffe", str(jaffe_tiff(tmp_path).raw), folds=1, fold=1))
    assert {sample.split for sample in samples} == {"test"}


@pytest.mark.parametrize(
    ("folds", "fold", "message"),
    [
        (0, 3, r"^--fold 3: give --folds as well"),
        (10, 0, r"^--fold 0: choose which of the --folds 10 is test, from 1 to 10$"),
        (10, 11, r"^--fold 11: choose which of the --folds 10 is test, from 1 to 10$"),
        (10, -1, r"^--fold -1: choose"),
        (-2, 1, r"^--folds -2: give a number of folds"),
        (3, 1, r"^--folds 3: 2 subjects and no more; give at most 2$"),
    ],
)
def test_folds_that_do_not_fit_are_one_clear_line(tmp_path: Path, folds: int, fold: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_source("jaffe", str(jaffe_tiff(tmp_path).raw), folds=folds, fold=fold)
