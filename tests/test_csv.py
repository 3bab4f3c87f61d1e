"""Any csv file: how columns, codes, splits and paths are understood, and what is refused."""

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from faces import write
from PIL import Image
from release_csv import AFFECTNET, MAKERS, codes_of_a_list, codes_of_a_table, words_and_splits
from releases import Maker, Release, seen
from test_sources import left_out_of, samples_of

from fer_dist.data.shards import BuildOptions, build_shards
from fer_dist.data.sources import Sample, Source, open_source
from fer_dist.errors import InputError


def opened(release: Release) -> Source:
    return open_source(release.source, str(release.raw), **release.options)


def table(path: Path, *rows: str, **options: str) -> Source:
    return open_source("csv", str(write(path / "t.csv", "\n".join(rows).encode())), **options)


def only(source: Source) -> Sample:
    (sample,) = samples_of(source)
    return sample


@pytest.mark.parametrize("maker", MAKERS)
def test_every_row_of_a_csv_comes_out_with_its_split_and_label_or_is_left_out(tmp_path: Path, maker: Maker) -> None:
    release = maker(tmp_path)
    source = opened(release)
    found: dict[str, dict[str, str]] = {split: {} for split in release.truth}
    for sample in samples_of(source):
        found[sample.split][sample.facts["id"]] = sample.emotion
        assert seen(Image.open(io.BytesIO(source.read(sample).content))) == sample.emotion
    assert found == release.truth
    assert left_out_of(source) == release.left_out
    assert set(source.emotions) == {emotion for labels in release.truth.values() for emotion in labels.values()}


def test_emotions_stand_in_the_order_of_the_codes(tmp_path: Path) -> None:
    assert opened(codes_of_a_table(tmp_path)).emotions == AFFECTNET
    assert table(tmp_path, "path,label", "a,2", "b,0", codes="sad,fear,happy").emotions == ("sadness", "happiness")


def test_the_variant_says_which_columns_were_taken_and_how_labels_are_read(tmp_path: Path) -> None:
    assert opened(words_and_splits(tmp_path / "a")).variant == (
        "csv, picture in Image, emotion in Label, split in Split, subject in Subject; labels are words"
    )
    source = opened(codes_of_a_table(tmp_path / "b"))
    assert source.variant.endswith("labels by affectnet; no column of splits, all of it train")
    assert source.dataset == "like-affectnet"


def test_other_columns_travel_as_numbers_or_text_and_shaped_facts_keep_their_shape(tmp_path: Path) -> None:
    sample = only(
        table(
            tmp_path,
            "file,expression,Room No.,id,votes,gender,valence,arousal,nothing,weight,number,number,person",
            "a/b.c.jpg,joy,7,x1,3,1,0.5,-2,,1.5e3,007,-4,12",
        )
    )
    assert sample.facts == {
        "id": "a/b.c.jpg",
        "code": "joy",
        "subject": "12",
        "room_no": 7,
        "column_id": "x1",
        "column_votes": 3,
        "gender": "1",
        "valence": 0.5,
        "weight": 1500.0,
        "number": "007",
        "number_11": -4,
    }
    assert sample.key == "a/b%2Ec"


@pytest.mark.parametrize(
    "names", ["x,y,width,height", "box_x,box_y,box_w,box_h", "Face X,face-y,face_width,FACE_HEIGHT"]
)
def test_four_box_columns_become_one_box(tmp_path: Path, names: str) -> None:
    source = table(tmp_path, f"path,label,{names}", "a.jpg,fear,1,-2,30.5,40", "b.jpg,fear,NULL,1,2,3")
    good, bad = samples_of(source)
    assert (good.facts["box"], good.mended) == ([1, -2, 30.5, 40], "")
    assert ("box" in bad.facts, bad.mended) == (False, "face box without numbers: dropped")


def test_three_box_columns_are_columns_like_others(tmp_path: Path) -> None:
    facts = only(table(tmp_path, "path,label,x,y,width", "a.jpg,fear,1,2,3")).facts
    assert (facts["x"], facts["y"], facts["width"], "box" in facts) == (1, 2, 3, False)


def test_keys_and_subjects_come_from_the_columns_that_were_given(tmp_path: Path) -> None:
    samples = samples_of(opened(codes_of_a_list(tmp_path)))
    assert [(sample.key, sample.facts["subject"]) for sample in samples[:2]] == [("000", "0"), ("001", "1")]
    assert samples[0].facts["note"] == 'says "so"\tand more'


def test_paths_may_be_absolute_windows_or_through_a_link_as_long_as_they_stay_in_the_root(tmp_path: Path) -> None:
    root = tmp_path / "real"
    write(root / "sub" / "a.jpg", b"")
    os.symlink(root, tmp_path / "link")
    paths = (f"{root}/sub/a.jpg", f"{tmp_path}/link/sub/a.jpg", "sub\\a.jpg", "./sub/x/../a.jpg", "sub//a.jpg")
    for path in paths:
        sample = only(table(tmp_path, "path,label", f"{path},fear", root=str(tmp_path / "link")))
        assert (sample.key, Path(sample.path).is_file()) == ("sub/a", True)
    for path in (f"{root}x/a.jpg", "sub/../../a.jpg", "..", "."):
        source = table(tmp_path, "path,label", f"{path},fear", root=str(tmp_path / "link"))
        assert left_out_of(source) == {("train", path, "path leaves the root")}


def test_a_quote_that_never_ends_costs_its_own_row_alone(tmp_path: Path) -> None:
    rows = [f"c{n}.jpg,fear" for n in range(2000)]
    source = table(tmp_path, "path,label", "a.jpg,fear", '"b.jpg,fear', *rows)
    assert [sample.key for sample in samples_of(source)] == ["a", *(f"c{n}" for n in range(2000))]
    assert {reason for _, _, reason in left_out_of(source)} == {"columns are missing"}


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            ["image,label", "a.jpg,3", "b.jpg,0"],
            {},
            r"the labels are numbers \(0, 3\), and each data set orders them in its own way; say which with --codes: "
            r"fer2013, rafdb, affectnet, ferplus, ckplus, expw, or the names in the order",
        ),
        (["image,label", "a.jpg,3.0"], {}, r"the labels are numbers \(3\.0\)"),
        (["image,label", "a.jpg,bored"], {}, r"no label names an emotion .* surprise, surprised, .* found: bored$"),
        (["image,label", "a.jpg,fear"], {"codes": "rafdb"}, r"looked for 1, 2, 3, 4, 5, 6, 7; found: fear$"),
        (["image,label", "a.jpg,1"], {"codes": "rafbd"}, r"codes 'rafbd': no such table; there are fer2013, rafdb"),
        (["image,label", "a.jpg,1"], {"codes": "happy,bored"}, r"codes: 'bored' names no emotion .* use - or one of"),
        (
            ["image,mood", "a.jpg,fear"],
            {},
            r"no column for the emotion; looked for emotion, .* names: image, mood; say",
        ),
        (["a.jpg,fear"], {}, r"no column for the picture; looked for path, image, .* names: a\.jpg, fear; say which"),
        ([""], {}, r"no column for the picture; .* names: nothing; say which with --picture-column"),
        (
            ["path,image,label", "a,b,fear"],
            {},
            r"path and image could each be the picture; say which with --picture-col",
        ),
        (["path,label", "a,fear"], {"split_column": "fold"}, r"no column for the split; looked for fold; the first"),
        (["path,label", "a,fear"], {"root": "absent"}, r"root absent: no such folder; give the folder that the paths"),
        (["path,label", "a,fear"], {"dataset": "a/b"}, r"'a/b': use letters, digits"),
    ],
)
def test_a_csv_that_is_not_understood_is_one_clear_line(
    tmp_path: Path, rows: list[str], options: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        table(tmp_path, *rows, **options)
    assert "\n" not in str(error.value)


def test_a_csv_that_is_a_folder_or_absent_is_one_clear_line(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", b"")
    with pytest.raises(InputError, match=r"a folder; give the csv file itself; found: t\.csv$"):
        open_source("csv", str(tmp_path))
    with pytest.raises(InputError, match=r"absent\.csv: no such file$"):
        open_source("csv", str(tmp_path / "absent.csv"))


def test_a_csv_becomes_shards_with_its_columns_in_the_json(tmp_path: Path) -> None:
    release = words_and_splits(tmp_path / "raw")
    manifests = build_shards(opened(release), tmp_path / "out", BuildOptions(workers=1))
    assert {manifest.split: manifest.samples for manifest in manifests} == {"train": 16, "val": 16, "test": 16}
    with tarfile.open(tmp_path / "out" / "val" / "labels-val-000000.tar") as tar:
        facts = json.load(tar.extractfile("faces/val_5_1.json"))
    assert facts == {
        "id": "faces/val_5_1.png",
        "code": "joy",
        "emotion": "happiness",
        "dataset": "labels",
        "subject": "s5",
        "box": [4, 5, 30, 31],
        "room": 1,
    }
