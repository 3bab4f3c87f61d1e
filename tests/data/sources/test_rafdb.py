"""RAF-DB basic: labels, attributes, landmarks and boxes in the official layout and in Kaggle's."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from support.faces import write
from support.releases.made import Maker, Release, seen
from support.releases.rafdb import (
    BOX,
    CORNERS,
    LANDMARKS,
    MAKERS,
    kaggle_folders,
    kaggle_with_tables,
    official_aligned,
    official_original,
)
from test_sources import left_out_of, samples_of

from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.sources.rafdb import PUBLISHED
from fer_dist.data.sources.source import EncodedImage, Source, open_source
from fer_dist.errors import InputError


def opened(release: Release) -> Source:
    return open_source(release.source, str(release.raw), **release.options)


def read_by_id(source: Source) -> dict[str, EncodedImage]:
    return {sample.facts["id"]: source.read(sample) for sample in samples_of(source)}


@pytest.mark.parametrize("maker", MAKERS)
def test_every_row_of_rafdb_comes_out_with_its_split_and_label_or_is_left_out(tmp_path: Path, maker: Maker) -> None:
    release = maker(tmp_path)
    source = opened(release)
    found: dict[str, dict[str, str]] = {"train": {}, "test": {}}
    for sample in samples_of(source):
        found[sample.split][sample.facts["id"]] = sample.emotion
        assert seen(Image.open(io.BytesIO(source.read(sample).content))) == sample.emotion
    assert found == release.truth
    assert left_out_of(source) == release.left_out


def test_official_images_are_aligned_or_original_as_asked(tmp_path: Path) -> None:
    release = official_aligned(tmp_path)
    for images, side in (("aligned", 100), ("original", 150)):
        source = open_source("rafdb", str(release.raw), images=images)
        assert {Image.open(io.BytesIO(image.content)).size for image in read_by_id(source).values()} == {(side, side)}
        assert images in source.variant


def test_both_layouts_give_an_image_the_same_key(tmp_path: Path) -> None:
    sources = [opened(maker(tmp_path / maker.__name__)) for maker in (official_aligned, kaggle_folders)]
    keys = [{(sample.split, sample.key) for sample in samples_of(source)} for source in sources]
    assert keys[0] == keys[1]


def test_attributes_are_words_and_landmarks_and_box_go_with_original_images_only(tmp_path: Path) -> None:
    # Number 8 has gender 2, race 2, age group 3; number 10 has 1, 0, 0.
    words = {
        "train_00008.jpg": {"gender": "unsure", "race": "Asian", "age_group": "40-69"},
        "test_0010.jpg": {"gender": "female", "race": "Caucasian", "age_group": "0-3"},
    }
    original, aligned = read_by_id(opened(official_original(tmp_path / "a"))), opened(official_aligned(tmp_path / "b"))
    for name, expected in words.items():
        assert original[name].facts == {**expected, "landmarks": LANDMARKS, "box": BOX}
        assert read_by_id(aligned)[name].facts == expected
    assert {image.mended for image in original.values()} == {""}


@pytest.mark.parametrize(
    ("file", "content", "mended"),
    [
        ("manual/{}_manu_attri.txt", None, "attributes are missing"),
        ("manual/{}_manu_attri.txt", b"1\t2\n3\t4\n0\n0\n0\n", "attributes are damaged"),
        ("manual/{}_manu_attri.txt", b"1 2\n" * 5 + b"0\n7\n0\n", "attributes are damaged"),
        ("manual/{}_manu_attri.txt", b"1 x\n" * 5 + b"0\n0\n0\n", "attributes are damaged"),
        ("boundingbox/{}_boundingbox.txt", None, "the face box's numbers are missing"),
        ("boundingbox/{}_boundingbox.txt", b"1 2 3\n", "the face box's numbers are damaged"),
        ("boundingbox/{}_boundingbox.txt", b"1 2 3 nan\n", "the face box's numbers are damaged"),
    ],
)
def test_a_file_beside_an_image_that_is_missing_or_damaged_costs_its_facts_only(
    tmp_path: Path, file: str, content: bytes | None, mended: str
) -> None:
    release = official_original(tmp_path)
    path = release.raw / "Annotation" / file.format("train_00003")
    path.unlink()
    if content is not None:
        write(path, content)
    images = read_by_id(opened(release))
    assert images["train_00003.jpg"].mended == mended
    assert set(images["train_00003.jpg"].facts) < set(images["train_00004.jpg"].facts)
    assert images["train_00004.jpg"].mended == ""


def test_a_release_without_annotation_folders_has_nothing_to_mend_and_its_variant_says_so(tmp_path: Path) -> None:
    release = official_original(tmp_path)
    shutil.move(release.raw / "Annotation" / "boundingbox", release.raw / "boundingbox")
    shutil.rmtree(release.raw / "Annotation")
    source = opened(release)
    assert source.variant == "the official layout, original images, no attribute files, face boxes"
    assert all((image.facts, image.mended) == ({"box": BOX}, "") for image in read_by_id(source).values())
    shutil.rmtree(release.raw / "boundingbox")
    assert opened(release).variant.endswith("no attribute files, no face boxes")


def test_what_kaggles_csv_does_not_name_keeps_its_folders_label_and_is_told(tmp_path: Path) -> None:
    source = opened(kaggle_with_tables(tmp_path))
    mended = {sample.facts["id"]: sample.mended for sample in samples_of(source) if sample.mended}
    assert mended == {"test/4/test_9003_aligned.jpg": "not in the csv: the label is its folder's"}


@pytest.mark.parametrize("place", ["..", ".", "train"])
def test_kaggles_csv_is_found_beside_the_data_set_in_it_and_in_the_split(tmp_path: Path, place: str) -> None:
    release = kaggle_folders(tmp_path)
    write(release.raw / place / "train_labels.csv", b"image,label\ntrain_00001_aligned.jpg,1\n")
    reasons = {("train", "train/6/train_00001_aligned.jpg", "folder and csv disagree")}
    assert left_out_of(opened(release)) == release.left_out | reasons


def test_a_name_with_two_labels_in_kaggles_csv_is_left_out(tmp_path: Path) -> None:
    release = kaggle_folders(tmp_path)
    rows = b"image,label\ntrain_00001_aligned.jpg,6\ntrain_00001_aligned.jpg,2\n"
    write(release.raw / "train_labels.csv", rows)
    assert ("train", "train/6/train_00001_aligned.jpg", "folder and csv disagree") in left_out_of(opened(release))


def test_images_that_are_not_there_are_answered_with_the_flag_for_those_that_are(tmp_path: Path) -> None:
    raw = official_aligned(tmp_path).raw
    images = raw / "RAF-DB" / "basic" / "Image"
    shutil.rmtree(images / "aligned")
    with pytest.raises(InputError, match=r"Image: has no aligned images .* build with --images original$"):
        open_source("rafdb", str(raw))
    shutil.rmtree(images / "original")
    write(images / "aligned.zip", b"")
    with pytest.raises(InputError, match=r"looked for Image/aligned/.*; found: aligned\.zip; unpack"):
        open_source("rafdb", str(raw))
    with pytest.raises(InputError, match=r"aligned images only; leave --images original out"):
        open_source("rafdb", str(kaggle_folders(tmp_path / "kaggle").raw), images="original")


def test_the_compound_release_whose_codes_mean_something_else_is_refused(tmp_path: Path) -> None:
    rows = "".join(f"train_{number:04d}.jpg {number}\n" for number in range(1, 12))
    write(tmp_path / "EmoLabel" / "list_patition_label.txt", rows.encode())
    with pytest.raises(InputError, match=r"labels 8 to 11 of RAF-DB compound; give the folder of RAF-DB basic"):
        open_source("rafdb", str(tmp_path))


def test_a_list_that_counts_from_0_is_refused(tmp_path: Path) -> None:
    rows = "".join(f"train_{number:05d}.jpg {number % 7}\n" for number in range(1, 15))
    write(tmp_path / "EmoLabel" / "list_patition_label.txt", rows.encode())
    with pytest.raises(InputError, match=r"the labels are 0 to 6 and not 1 surprise, .*; give the list"):
        open_source("rafdb", str(tmp_path))


def test_what_is_not_rafdb_is_one_clear_line(tmp_path: Path) -> None:
    write(tmp_path / "other" / "a.txt", b"")
    with pytest.raises(InputError, match=r"looked for EmoLabel/list_patition_label\.txt .*; found: a\.txt$"):
        open_source("rafdb", str(tmp_path / "other"))
    write(tmp_path / "DATASET" / "train" / "0" / "train_00001_aligned.jpg", b"")
    with pytest.raises(InputError, match=r"train/0: not a class of RAF-DB; its class folders are the digits 1 to 7"):
        open_source("rafdb", str(tmp_path))


def test_faces_of_original_photographs_are_cut_into_shards_with_their_attributes(tmp_path: Path) -> None:
    release = official_original(tmp_path / "raw")
    manifests = build_shards(opened(release), tmp_path / "out", BuildOptions(workers=1, crop_faces=True, margin=0))
    assert {manifest.split: manifest.samples for manifest in manifests} == {"train": 14, "test": 14}
    with tarfile.open(tmp_path / "out" / "train" / "rafdb-train-000000.tar") as tar:
        facts = json.load(tar.extractfile("train_00008.json"))
    left, top, right, _ = CORNERS
    assert facts["cut"] == [left, top, right - left, 90]
    assert facts["landmarks"] == [[round(x - left, 2), round(y - top, 2)] for x, y in LANDMARKS]
    assert (facts["age_group"], facts["emotion"], facts["code"]) == ("40-69", "anger", "6")


def test_published_counts_add_up_to_the_readmes_sums() -> None:
    assert {split: sum(counts.values()) for split, counts in PUBLISHED.items()} == {"train": 12271, "test": 3068}
