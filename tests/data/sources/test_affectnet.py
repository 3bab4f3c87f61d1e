"""AffectNet in all its variants, read into samples."""

import contextlib
import io
import json
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from support.faces import write
from support.releases.affectnet import (
    HEADER,
    LANDMARKS,
    MAKERS,
    NO_CONTEMPT,
    affectnet_2017,
    affectnet_2017_both_lists,
    affectnet_class_folders,
    affectnet_class_folders_of_copies,
    label_forms,
    npy,
    row,
    shown,
    write_face,
)
from support.releases.made import Maker, Release, image, seen

from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.sources.affectnet import PUBLISHED, code_in
from fer_dist.data.sources.source import LeftOut, Sample, Source, open_source
from fer_dist.errors import InputError


def opened(release: Release, **options: Any) -> Source:
    return open_source("affectnet", str(release.raw), **release.options | options)


def samples_of(source: Source) -> dict[str, Sample]:
    """By the release's own id."""
    return {entry.facts["id"]: entry for entry in source.samples() if isinstance(entry, Sample)}


def left_out_of(source: Source) -> set[tuple[str, str, str]]:
    return {(entry.split, entry.name, entry.reason) for entry in source.samples() if isinstance(entry, LeftOut)}


def splits_of(source: Source) -> set[str]:
    return {entry.split for entry in source.samples()}


def one_face(root: Path, **files: bytes | None) -> Sample:
    """The only sample of a small 2021 release. files: content of its .npy files by ending; None removes one."""
    write_face(root / "train_set", 7, 1, npy("1"))
    for ending, content in files.items():
        path = root / "train_set" / "annotations" / f"7_{ending}.npy"
        path.unlink()
        if content is not None:
            write(path, content)
    return samples_of(open_source("affectnet", str(root)))["train_set/images/7.jpg"]


def lists(root: Path, *rows: str, name: str = "training.csv", header: str = HEADER) -> Path:
    write(root / "Manually_Annotated_file_lists" / name, "\n".join((header, *rows)).encode())
    (root / "Manually_Annotated_Images").mkdir(exist_ok=True)
    return root


def one_row(root: Path, text: str) -> Sample:
    (sample,) = samples_of(open_source("affectnet", str(lists(root, text)))).values()
    return sample


@pytest.mark.parametrize("make", MAKERS)
def test_every_image_comes_out_with_its_emotion_and_every_other_with_its_reason(tmp_path: Path, make: Maker) -> None:
    release = make(tmp_path)
    source = opened(release)
    entries = list(source.samples())
    found = [(entry.split, entry.facts["id"], entry.emotion) for entry in entries if isinstance(entry, Sample)]
    truth = [(split, name, emotion) for split, names in release.truth.items() for name, emotion in names.items()]
    assert sorted(found) == sorted(truth)
    assert len(entries) == len(truth) + len(release.left_out)
    assert left_out_of(source) == release.left_out
    assert len({(entry.split, entry.key) for entry in entries if isinstance(entry, Sample)}) == len(truth)


@pytest.mark.parametrize("make", MAKERS)
def test_each_image_read_shows_the_emotion_it_is_labelled_with(tmp_path: Path, make: Maker) -> None:
    source = opened(make(tmp_path))
    for sample in samples_of(source).values():
        assert seen(Image.open(io.BytesIO(source.read(sample).content))) == sample.emotion


@pytest.mark.parametrize("make", MAKERS)
def test_seven_and_eight_differ_by_contempt_alone(tmp_path: Path, make: Maker) -> None:
    release = make(tmp_path)
    seven, eight = opened(release, emotions="seven"), opened(release, emotions="eight")
    assert eight.emotions == (*seven.emotions, "contempt")
    without, all_of_them = samples_of(seven), samples_of(eight)
    more = set(all_of_them) - set(without)
    assert {all_of_them[name].emotion for name in more} == {"contempt"}
    assert {name for _, name, reason in left_out_of(seven) if reason == NO_CONTEMPT} == more


def test_the_variant_says_what_was_found_and_what_was_not_read(tmp_path: Path) -> None:
    found = {make.__name__: opened(make(tmp_path / make.__name__)).variant for make in MAKERS}
    classes = "class folders by AffectNet's codes, from 0 neutral to 7 contempt"
    assert found == {
        "affectnet_2021": "the 2021 release: train_set as train, val_set as test",
        "affectnet_2021_with_test": "the 2021 release: train_set as train, val_set as val, test_set as test",
        "affectnet_flat": "the 2021 release: mini as train",
        "affectnet_class_folders": f"{classes}: train_set as train, val_set as test",
        "affectnet_class_folders_of_copies": f"{classes}: train as train, val as val, test as test",
        "affectnet_2017": "the 2017 release: training.csv as train, validation.csv as test",
        "affectnet_2017_both_lists": (
            "the 2017 release: training.csv as train, validation.csv as test, automatically_annotated.csv as train"
        ),
    }


@pytest.mark.parametrize("code", range(11))
def test_a_label_is_the_same_code_in_every_form(code: int) -> None:
    assert {code_in(label) for label in label_forms(code)} == {str(code)}


@pytest.mark.filterwarnings("ignore:Reading `.npy`")  # what NumPy says of headers that look like those of Python 2
@given(st.binary(max_size=200), st.integers(0, 140))
@example(b"\x11", 130)  # a letter that Unicode does not have
def test_a_damaged_label_is_a_value_error_whatever_its_bytes(noise: bytes, at: int) -> None:
    label = npy("3")
    with contextlib.suppress(ValueError):
        code_in(label[:at] + noise + label[at + len(noise) :])


def test_the_npy_files_beside_a_face_become_facts(tmp_path: Path) -> None:
    sample = one_face(tmp_path)
    image = open_source("affectnet", str(tmp_path)).read(sample)
    assert sample.facts == {"id": "train_set/images/7.jpg", "code": "1"}
    points = [[2 * i + 0.25, 2 * i + 1.25] for i in range(68)]
    assert image.facts == {"landmarks": points, "valence": -0.25, "arousal": 0.5}
    assert image.mended == ""


@pytest.mark.parametrize(
    ("files", "names", "mended"),
    [
        ({"val": npy("-2"), "aro": npy(-2.0)}, {"landmarks"}, ""),
        ({"val": npy(np.float32(0.1)), "aro": npy(["-1"])}, {"landmarks", "valence", "arousal"}, ""),
        ({"lnd": npy(np.ones((68, 2)))}, {"landmarks", "valence", "arousal"}, ""),
        ({"lnd": npy(["1.5"] * 136)}, {"landmarks", "valence", "arousal"}, ""),
        ({"lnd": None, "val": None}, {"arousal"}, "landmarks are missing; valence is missing"),
        ({"aro": npy("1.5")}, {"landmarks", "valence"}, "arousal is not from -1 to 1: dropped"),
        ({"aro": npy(np.nan)}, {"landmarks", "valence"}, "arousal is not from -1 to 1: dropped"),
        ({"val": b"damaged"}, {"landmarks", "arousal"}, "valence is not from -1 to 1: dropped"),
        ({"lnd": npy(np.ones(134))}, {"valence", "arousal"}, "landmarks are not 68 points: dropped"),
        ({"lnd": npy(np.full(136, np.inf))}, {"valence", "arousal"}, "landmarks are not 68 points: dropped"),
        ({"lnd": npy(["x"] * 136)}, {"valence", "arousal"}, "landmarks are not 68 points: dropped"),
        ({"lnd": b""}, {"valence", "arousal"}, "landmarks are not 68 points: dropped"),
    ],
)
def test_a_missing_or_damaged_npy_file_costs_its_fact_and_not_the_face(
    tmp_path: Path, files: dict[str, bytes | None], names: set[str], mended: str
) -> None:
    sample = one_face(tmp_path, **files)
    image = open_source("affectnet", str(tmp_path)).read(sample)
    assert (set(image.facts), image.mended) == (names, mended)
    assert image.facts.get("valence") in (None, -0.25, 0.1)


def test_a_row_becomes_the_facts_of_its_sample(tmp_path: Path) -> None:
    sample = one_row(tmp_path, row("4/face.01.JPG", 2, "3,-4,50.5,60", rest="-2,0.125"))
    assert (sample.key, sample.split, sample.emotion, sample.mended) == ("4/face%2E01", "train", "sadness", "")
    assert sample.path == str(tmp_path / "Manually_Annotated_Images" / "4" / "face.01.JPG")
    points = [[i + 0.25, i + 0.5] for i in range(68)]
    assert sample.facts == {
        "id": "4/face.01.JPG",
        "code": "2",
        "list": "manual",
        "box": [3, -4, 50.5, 60],
        "landmarks": points,
        "arousal": 0.125,
    }


@pytest.mark.parametrize(
    ("box", "landmarks", "rest", "mended"),
    [
        ("NULL,NULL,NULL,NULL", LANDMARKS, "0,0", "face box is NULL: the whole image is used"),
        (",,,", LANDMARKS, "0,0", "face box is NULL: the whole image is used"),
        ("1,2,3,x", LANDMARKS, "0,0", "face box is not four numbers: the whole image is used"),
        ("1,2,3,inf", LANDMARKS, "0,0", "face box is not four numbers: the whole image is used"),
        ("1,2,3,4", "NULL", "0,0", "landmarks are missing"),
        ("1,2,3,4", "1;2;3", "0,0", "landmarks are not 68 points: dropped"),
        ("1,2,3,4", LANDMARKS.replace("7.254", "nan"), "0,0", "landmarks are not 68 points: dropped"),
        ("1,2,3,4", LANDMARKS, "NULL,0", "valence is missing"),
        ("1,2,3,4", LANDMARKS, "0,up", "arousal is not from -1 to 1: dropped"),
        ("NULL,2,3,4", "", "9,0", "face box is NULL: the whole image is used; landmarks are missing; "
         "valence is not from -1 to 1: dropped"),
    ],
)  # fmt: skip
def test_a_row_with_an_emotion_stays_and_says_what_was_mended(
    tmp_path: Path, box: str, landmarks: str, rest: str, mended: str
) -> None:
    sample = one_row(tmp_path, row("1/a.jpg", 1, box, landmarks, rest))
    assert sample.mended == mended
    assert ("box" in sample.facts) == ("box" not in mended)
    assert ("landmarks" in sample.facts) == ("landmarks" not in mended)


def test_a_box_is_x_y_width_and_height(tmp_path: Path) -> None:
    # Each face stands in a dark photograph; read as corners, or with x and y changed, the box would miss it.
    boxes = [(96, 8, 48, 48), (4, 60, 48, 48), (70, 40, 48, 48)]
    emotions = ["happiness", "anger", "surprise"]
    for number, (box, emotion) in enumerate(zip(boxes, emotions, strict=True)):
        photograph = Image.new("RGB", (160, 120))
        photograph.paste(image(emotion, number), box[:2])
        path = tmp_path / "raw" / "Manually_Annotated_Images" / "1" / f"{emotion}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph.save(path)
    codes = {"happiness": 1, "anger": 6, "surprise": 3}
    rows = [row(f"1/{e}.png", codes[e], ",".join(map(str, box))) for box, e in zip(boxes, emotions, strict=True)]
    source = open_source("affectnet", str(lists(tmp_path / "raw", *rows)))
    build_shards(source, tmp_path / "out", BuildOptions(crop_faces=True, margin=0.0, workers=1))
    faces = shard_members(tmp_path / "out" / "train", "jpg")
    assert {key: seen(Image.open(io.BytesIO(content))) for key, content in faces.items()} == {
        f"1/{emotion}": emotion for emotion in emotions
    }


def test_shards_hold_the_labels_the_facts_and_the_account_of_the_rest(tmp_path: Path) -> None:
    release = affectnet_2017(tmp_path / "raw")
    train, test = build_shards(opened(release), tmp_path / "out", BuildOptions(workers=1))
    assert (train.split, test.split) == ("train", "test")
    for manifest in (train, test):
        emotions = list(release.truth[manifest.split].values())
        assert manifest.counts == {name: emotions.count(name) for name in manifest.emotions}
    assert train.left_out == {
        "columns are missing": 1,
        NO_CONTEMPT: 3,
        "no emotion: no face (code 10)": 3,
        "no emotion: no face (code 10), box NULL": 1,
        "no emotion: none (code 8)": 3,
        "no emotion: uncertain (code 9)": 4,
        "path is missing": 1,
        "path leaves the image folder": 4,
        "unknown code": 2,
    }
    assert train.built["mended"] == {
        "face box is NULL: the whole image is used; landmarks are missing": 2,
        "face box is not four numbers: the whole image is used; landmarks are not 68 points: dropped": 1,
        "face box reached beyond the image: cut at its edge": 2,
        "face box without an area: dropped": 1,
    }
    facts = {key: json.loads(text) for key, text in shard_members(tmp_path / "out" / "train", "json").items()}
    assert facts["50/negative"]["box"] == [0, 0, 25, 19]
    assert facts["50/beyond"]["box"] == [20, 20, 28, 28]
    assert "box" not in facts["50/null"]


def test_a_path_that_comes_twice_is_packed_once(tmp_path: Path) -> None:
    write(tmp_path / "Manually_Annotated_Images" / "1" / "a.jpg", shown(1, "a"))
    rows = [row("1/a.jpg", 1), row("1/a.jpg", 1, rest="0.5,0.5")]
    (train,) = build_shards(
        open_source("affectnet", str(lists(tmp_path, *rows))), tmp_path / "out", BuildOptions(workers=1)
    )
    assert (train.samples, train.left_out) == (1, {"key comes twice": 1})


@pytest.mark.parametrize(("chosen", "kinds"), [("manual", {"manual"}), ("automatic", {"automatic"}), ("both", None)])
def test_the_lists_that_are_asked_for_are_read_and_named(tmp_path: Path, chosen: str, kinds: set[str] | None) -> None:
    release = affectnet_2017_both_lists(tmp_path)
    source = opened(release, lists=chosen)
    assert {sample.facts["list"] for sample in samples_of(source).values()} == (kinds or {"manual", "automatic"})
    assert splits_of(source) == ({"train"} if chosen == "automatic" else {"train", "test"})


def test_the_same_path_in_both_kinds_of_lists_is_two_images(tmp_path: Path) -> None:
    lists(tmp_path, row("1/a.jpg", 1))
    write(tmp_path / "automatically_annotated.csv", f"{HEADER}\n{row('1/a.jpg', 2)}".encode())
    write(tmp_path / "Automatically_Annotated_Images" / "1" / "a.jpg", shown(2, "a"))
    entries = open_source("affectnet", str(tmp_path), lists="both").samples()
    assert {(entry.key, entry.emotion) for entry in entries if isinstance(entry, Sample)} == {
        ("1/a", "happiness"),
        ("automatic/1/a", "sadness"),
    }


def test_the_validation_set_is_test_unless_a_test_set_or_the_user_says_otherwise(tmp_path: Path) -> None:
    for make in (affectnet_class_folders, affectnet_2017):
        release = make(tmp_path / make.__name__)
        assert splits_of(opened(release)) == splits_of(opened(release, val_as="test")) == {"train", "test"}
        assert splits_of(opened(release, val_as="val")) == {"train", "val"}
    release = affectnet_class_folders_of_copies(tmp_path / "copies")
    assert splits_of(opened(release)) == splits_of(opened(release, val_as="val")) == {"train", "val", "test"}
    with pytest.raises(InputError, match=r"--val-as test: .* stands a labelled test set; leave the flag out"):
        opened(release, val_as="test")


def test_a_validation_set_given_alone_does_not_become_train(tmp_path: Path) -> None:
    write_face(tmp_path / "val_set", 1, 1, npy("1"))
    assert splits_of(open_source("affectnet", str(tmp_path / "val_set"))) == {"test"}
    assert splits_of(open_source("affectnet", str(tmp_path / "val_set"), val_as="val")) == {"val"}


def test_class_folders_made_beside_the_release_are_not_read_with_it(tmp_path: Path) -> None:
    write_face(tmp_path / "train_set", 1, 1, npy("1"))
    write(tmp_path / "train" / "1" / "1.jpg", shown(1, "1"))
    source = open_source("affectnet", str(tmp_path))
    assert set(samples_of(source)) == {"train_set/images/1.jpg"}
    assert [remark.partition(": ")[2] for remark in source.remarks] == [
        "not read, not laid out as a split; images in it: 1"
    ]


def test_numbered_image_folders_are_not_taken_for_classes(tmp_path: Path) -> None:
    write(tmp_path / "Manually_Annotated_Images" / "3" / "a.jpg", shown(3, "a"))
    with pytest.raises(InputError, match="no AffectNet here"):
        open_source("affectnet", str(tmp_path))


def test_listing_a_long_csv_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        rows = (row(f"{i % 1000}/{i:032x}.jpg", i % 11, landmarks="NULL") for i in range(count))
        source = open_source("affectnet", str(lists(tmp_path / str(count), *rows)))
        tracemalloc.start()
        assert sum(1 for _ in source.samples()) == count
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return taken

    assert peak(5000) < peak(100) + 50_000


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["a.txt"], {}, r"no AffectNet here or one folder below; looked for train_set/images .* found: a\.txt"),
        (["train/happy/a.jpg"], {}, r"no AffectNet here .* named in words: use the source folder"),
        (["a/train/1/a.jpg", "b/train/1/a.jpg"], {}, r"more than one release; give one of a, b$"),
        (
            ["training.csv"],
            {"lists": "both"},
            r"the images of training\.csv are missing; looked for the folder Manually_Annotated_Images or .* found: ",
        ),
        (
            ["training.csv", "Manually_Annotated_Images/1/a.jpg"],
            {},
            r"not a list of AffectNet; its first line should name subDirectory_filePath, .*; found: an empty line",
        ),
        (
            ["automatically_annotated.csv"],
            {},
            r"no training\.csv or validation\.csv here, which --lists manual reads; .* --lists automatic is there",
        ),
    ],
)
def test_what_is_not_understood_is_one_clear_line(
    tmp_path: Path, names: list[str], options: dict[str, Any], message: str
) -> None:
    for name in names:
        write(tmp_path / name, b"")
    with pytest.raises(InputError, match=message) as error:
        open_source("affectnet", str(tmp_path), **options)
    assert "\n" not in str(error.value)


ALPHABET = ("anger", "contempt", "disgust", "fear", "happiness", "neutrality", "sadness", "surprise")


def class_folders(root: Path, sizes: dict[str, int], split: str = "train") -> Path:
    """Empty files, for only their number is looked at."""
    for code, size in sizes.items():
        (root / split / code).mkdir(parents=True)
        for number in range(size):
            (root / split / code / f"{number}.jpg").touch()
    return root


def test_folders_that_count_in_alphabetical_order_are_refused_where_their_sizes_show_it(tmp_path: Path) -> None:
    sizes = {str(code): PUBLISHED["train"][name] // 200 for code, name in enumerate(ALPHABET)}
    raw = class_folders(tmp_path / "alphabet", sizes)
    with pytest.raises(
        InputError,
        match=r"train: the sizes of the class folders are .* in alphabetical order, .* give --codes anger,contempt,"
        r"disgust,fear,happiness,neutrality,sadness,surprise; or --codes neutrality,happiness,sadness,",
    ):
        open_source("affectnet", str(raw))
    source = open_source("affectnet", str(raw), codes=",".join(ALPHABET))
    assert {sample.facts["code"]: sample.emotion for sample in samples_of(source).values()} == {
        str(code): name for code, name in enumerate(ALPHABET) if name != "contempt"
    }
    assert source.emotions == tuple(name for name in ALPHABET if name != "contempt")
    assert source.remarks == ()
    assert "class folders by the codes 0 anger, 1 contempt, 2 disgust" in source.variant


@pytest.mark.parametrize("kind", ["release", "balanced", "few", "seven"])
def test_where_the_sizes_say_nothing_the_order_that_was_assumed_is_told_with_the_flag(
    tmp_path: Path, kind: str
) -> None:
    names = list(PUBLISHED["train"])
    sizes = {
        "release": {str(code): PUBLISHED["train"][name] // 200 for code, name in enumerate(names)},
        "balanced": {str(code): 150 for code in range(8)},
        "seven": {str(code): 2 for code in range(7)},
        "few": {str(code): PUBLISHED["train"][name] // 2000 + 1 for code, name in enumerate(ALPHABET)},
    }
    (remark,) = open_source("affectnet", str(class_folders(tmp_path, sizes[kind]))).remarks
    assert "class folders are read by AffectNet's codes (0 neutrality, 1 happiness, 2 sadness, 3 surprise, " in remark
    alphabet = [name for name in ALPHABET if kind != "seven" or name != "contempt"]
    assert remark.endswith(f"give --codes {','.join(alphabet)} where the order is that of the alphabet")


def test_class_folders_given_alone_are_the_split_that_their_folder_names(tmp_path: Path) -> None:
    raw = class_folders(tmp_path, {str(code): 1 for code in range(8)}, "val")
    found = samples_of(open_source("affectnet", str(raw / "val")))
    assert {(name, sample.split) for name, sample in found.items()} == {(f"{code}/0.jpg", "test") for code in range(7)}


def test_codes_are_for_class_folders_and_count_from_where_they_count(tmp_path: Path) -> None:
    write_face(tmp_path / "release" / "train_set", 7, 1, npy("1"))
    with pytest.raises(
        InputError, match=r"--codes is for class folders; the labels here are the release's own; leave it"
    ):
        open_source("affectnet", str(tmp_path / "release"), codes="affectnet")
    with pytest.raises(InputError, match="--codes is for class folders"):
        open_source("affectnet", str(lists(tmp_path / "lists", row("1/a.jpg", 1))), codes="affectnet")
    raw = class_folders(tmp_path / "classes", {str(code): 2 for code in range(1, 8)})
    with pytest.raises(InputError, match=r"with --codes fer2013, the labels are 1 to 7 and not .* another number"):
        open_source("affectnet", str(raw), codes="fer2013")
    found = samples_of(open_source("affectnet", str(raw), codes="-,sad,happy,fear,anger,-,neutral,surprise"))
    assert {sample.facts["code"] for sample in found.values()} == {"1", "2", "3", "4", "6", "7"}
    (remark,) = open_source("affectnet", str(raw), codes="affectnet").remarks
    assert remark == f"{raw}: nothing has the labels 0 neutrality of --codes affectnet"


def test_a_list_without_a_header_is_told_and_must_look_like_one(tmp_path: Path) -> None:
    good = row("1/a.jpg", 1)
    source = open_source("affectnet", str(lists(tmp_path / "good", good, header=row("1/b.jpg", 2))))
    (remark,) = source.remarks
    assert "training.csv: has no header; its columns are taken to be subDirectory_filePath, face_x, face_y" in remark
    assert len(samples_of(source)) == 2
    path, *rest = good.split(",")
    for number, moved in enumerate((["1/a.jpg", "1", *rest], [path, *rest[5:6], *rest[:5], *rest[6:]])):
        with pytest.raises(InputError, match=r"training\.csv: not a list of AffectNet; its first line should name"):
            open_source("affectnet", str(lists(tmp_path / str(number), good, header=",".join(moved))))


def test_paths_of_the_lists_may_have_windows_separators(tmp_path: Path) -> None:
    assert one_row(tmp_path, row("4\\face.jpg", 2)).key == "4/face"


def test_the_published_counts_add_up() -> None:
    train = PUBLISHED["train"]
    assert sum(train.values()) - train["contempt"] == 283_901
    assert sum(train.values()) == 287_651
    assert PUBLISHED["val"] == PUBLISHED["test"]
    assert sum(PUBLISHED["test"].values()) == 4_000


def shard_members(folder: Path, extension: str) -> dict[str, bytes]:
    """Key -> content of all members with this extension."""
    found = {}
    for path in folder.glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, ending = member.name.partition(".")
                stream = tar.extractfile(member)
                if ending == extension and stream is not None:
                    found[key] = stream.read()
    return found
