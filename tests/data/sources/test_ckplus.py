"""CK+, read into samples and shards."""

import shutil
from pathlib import Path

import pytest
from support.faces import write
from support.releases.ckplus import (
    MAKERS,
    ckplus_48,
    ckplus_archives,
    ckplus_sequences,
    label_text,
    landmark_text,
    write_sequence,
)
from support.releases.made import Maker
from test_sources import left_out_of, samples_as_released, samples_of

from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.shards.manifest import load_manifest
from fer_dist.data.sources.ckplus import PUBLISHED, SEQUENCES
from fer_dist.data.sources.source import Sample, open_source
from fer_dist.errors import InputError

CODE_ORDER = ("neutrality", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")


def one_sequence(root: Path, count: int, label: int = 6) -> list[str]:
    """A release of one labelled sequence; returns the ids of its frames."""
    frames = write_sequence(root / "cohn-kanade-images", "S005/001", count, "sadness")
    write(root / "Emotion/S005/001" / f"{Path(frames[-1]).stem}_emotion.txt", label_text(label))
    return frames


def frames_taken(root: Path, **options: object) -> dict[int, tuple[str, str]]:
    """Number of a frame of the one sequence -> emotion and what `frame` says."""
    samples = samples_of(open_source("ckplus", str(root), **options))
    assert len({sample.facts["id"] for sample in samples}) == len(samples), "a frame is taken twice"
    return {int(sample.facts["id"][-12:-4]): (sample.emotion, sample.facts["frame"]) for sample in samples}


@pytest.mark.parametrize("maker", MAKERS)
def test_samples_and_what_is_left_out_are_those_of_the_release(tmp_path: Path, maker: Maker) -> None:
    samples = samples_as_released("ckplus", maker(tmp_path))
    assert not [sample.mended for sample in samples if sample.mended]


def test_the_variant_and_the_emotions_say_what_was_found(tmp_path: Path) -> None:
    release = ckplus_sequences(tmp_path / "sequences")
    source = open_source("ckplus", str(release.raw), **release.options)
    assert source.emotions == CODE_ORDER
    assert source.variant == (
        "image sequences with landmarks, last frames: 3, the first one is neutral; fold 1 of 2 by subject is test"
    )
    release = ckplus_archives(tmp_path / "archives")
    source = open_source("ckplus", str(release.raw), **release.options)
    assert source.emotions == CODE_ORDER[1:]
    assert source.variant == (
        "image sequences without landmarks, last frames: 1, none neutral; no official split, all of it train"
    )
    source = open_source("ckplus", str(ckplus_48(tmp_path / "classes").raw))
    assert source.emotions == CODE_ORDER[1:]
    assert source.variant == (
        "CK+48, class folders of 48x48 images without neutral; no official split, all of it train"
    )


def test_facts_say_sequence_and_frame(tmp_path: Path) -> None:
    one_sequence(tmp_path, 11)
    samples = samples_of(open_source("ckplus", str(tmp_path), last=2))
    assert [(sample.key, sample.facts) for sample in samples] == [
        (
            f"S005/001/S005_001_000000{number}",
            {
                "id": f"S005/001/S005_001_000000{number}.png",
                "code": code,
                "subject": "S005",
                "sequence": "S005_001",
                "frame": frame,
            },
        )
        for number, code, frame in (("01", "0", "first"), ("10", "6", "10"), ("11", "6", "peak"))
    ]


def test_facts_of_ck48_are_read_from_the_name(tmp_path: Path) -> None:
    source = open_source("ckplus", str(ckplus_48(tmp_path).raw))
    facts = {sample.key: sample.facts for sample in samples_of(source)}
    assert facts["happy/S010_004_00000017"] == {
        "id": "happy/S010_004_00000017.png",
        "code": "happy",
        "subject": "S010",
        "sequence": "S010_004",
        "frame": "17",
    }


NEUTRAL = ("neutrality", "first")
PEAK = ("sadness", "peak")


@pytest.mark.parametrize(
    ("count", "options", "taken"),
    [
        (9, {}, {1: NEUTRAL, 7: ("sadness", "7"), 8: ("sadness", "8"), 9: PEAK}),
        (4, {}, {1: NEUTRAL, 2: ("sadness", "2"), 3: ("sadness", "3"), 4: PEAK}),
        (3, {}, {1: NEUTRAL, 2: ("sadness", "2"), 3: PEAK}),
        (2, {}, {1: NEUTRAL, 2: PEAK}),
        (1, {}, {1: PEAK}),
        (3, {"first_neutral": False}, {1: ("sadness", "1"), 2: ("sadness", "2"), 3: PEAK}),
        (2, {"first_neutral": False}, {1: ("sadness", "1"), 2: PEAK}),
        (9, {"last": 1}, {1: NEUTRAL, 9: PEAK}),
        (3, {"last": 5}, {1: NEUTRAL, 2: ("sadness", "2"), 3: PEAK}),
    ],
)
def test_a_frame_is_taken_once_and_the_peak_before_the_neutral_one(
    tmp_path: Path, count: int, options: dict[str, object], taken: dict[int, tuple[str, str]]
) -> None:
    one_sequence(tmp_path, count)
    assert frames_taken(tmp_path, **options) == taken


def test_frames_go_by_their_number_whatever_its_width(tmp_path: Path) -> None:
    one_sequence(tmp_path, 9)
    folder = tmp_path / "cohn-kanade-images/S005/001"
    (folder / "S005_001_00000009.png").rename(folder / "S005_001_9.png")
    for number in (10, 11):
        shutil.copy(folder / "S005_001_9.png", folder / f"S005_001_{number}.png")
    samples = samples_of(open_source("ckplus", str(tmp_path)))
    assert [sample.facts["frame"] for sample in samples] == ["first", "9", "10", "peak"]


def test_a_label_file_that_names_another_frame_is_told(tmp_path: Path) -> None:
    last = tmp_path / "cohn-kanade-images" / one_sequence(tmp_path, 9)[-1]
    last.unlink()
    samples = samples_of(open_source("ckplus", str(tmp_path)))
    told = "label file names another frame: the last one is taken as the peak"
    assert [(sample.facts["frame"], sample.mended) for sample in samples] == [
        ("first", ""),
        ("6", told),
        ("7", told),
        ("peak", told),
    ]


def test_two_label_files_leave_a_sequence_out(tmp_path: Path) -> None:
    one_sequence(tmp_path, 9)
    write(tmp_path / "Emotion/S005/001/S005_001_00000001_emotion.txt", label_text(3))
    source = open_source("ckplus", str(tmp_path))
    assert left_out_of(source) == {("train", "S005/001", "several label files")}
    assert not samples_of(source)


def test_landmarks_are_those_of_the_frame(tmp_path: Path) -> None:
    release = ckplus_sequences(tmp_path)
    source = open_source("ckplus", str(release.raw))
    by_id: dict[str, Sample] = {sample.facts["id"]: sample for sample in samples_of(source)}
    # The file of frame i, counted from 0, has its points at x = 100 + i, 101 + i, ...
    for name, shift in (("S010/003/S010_003_00000001.png", 0), ("S010/003/S010_003_00000008.png", 7)):
        read = source.read(by_id[name])
        assert read.facts == {"landmarks": [[100.0 + shift + i, 200.0 + i] for i in range(68)]}
        assert read.mended == ""


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not numbers\n" * 68,
        b"\xff\xfe" * 100,
        landmark_text(0)[:-40],
        landmark_text(float("nan")),
        landmark_text(0).replace(b"\n", b" 1.0\n"),
    ],
)
def test_damaged_landmarks_are_told_and_the_image_stays(tmp_path: Path, text: bytes) -> None:
    last = Path(one_sequence(tmp_path, 9)[-1])
    write(tmp_path / "Landmarks" / f"{last.with_suffix('')}_landmarks.txt", text)
    source = open_source("ckplus", str(tmp_path), last=1, first_neutral=False)
    (sample,) = samples_of(source)
    read = source.read(sample)
    assert (read.facts, read.mended) == ({}, "landmarks are damaged")
    assert read.content == (tmp_path / "cohn-kanade-images" / last).read_bytes()


def test_ckplus_becomes_shards_and_missing_landmarks_are_told(tmp_path: Path) -> None:
    release = ckplus_sequences(tmp_path / "raw")
    source = open_source("ckplus", str(release.raw), **release.options)
    build_shards(source, tmp_path / "out", BuildOptions(workers=1))
    for split, truth in release.truth.items():
        manifest = load_manifest(tmp_path / "out" / split)
        emotions = list(truth.values())
        assert manifest.counts == {emotion: emotions.count(emotion) for emotion in CODE_ORDER}
        # Of the three sequences that are short the release has no landmarks.
        assert manifest.built["mended"] == ({"landmarks are missing": 6} if split == "train" else {})


def test_people_without_a_labelled_sequence_take_no_place_in_the_folds(tmp_path: Path) -> None:
    release = ckplus_sequences(tmp_path)
    write_sequence(tmp_path / "cohn-kanade-images", "S007/001", 5, "disgust")
    (tmp_path / "Emotion/S007/001").mkdir(parents=True)
    samples = samples_of(open_source("ckplus", str(release.raw), folds=4, fold=2))
    assert {sample.facts["subject"] for sample in samples if sample.split == "test"} == {"S010"}
    with pytest.raises(InputError, match=r"^--folds 5: 4 subjects and no more"):
        open_source("ckplus", str(release.raw), folds=5, fold=2)


def test_all_of_it_can_be_test(tmp_path: Path) -> None:
    release = ckplus_sequences(tmp_path / "raw")
    source = open_source("ckplus", str(release.raw), folds=1, fold=1)
    (manifest,) = build_shards(source, tmp_path / "out", BuildOptions(workers=1))
    assert (manifest.split, manifest.left_out["no label file"]) == ("test", 2)


def test_the_published_counts_are_those_of_327_sequences() -> None:
    assert SEQUENCES == {
        "anger": 45,
        "contempt": 18,
        "disgust": 59,
        "fear": 25,
        "happiness": 69,
        "sadness": 28,
        "surprise": 83,
    }
    assert sum(SEQUENCES.values()) == PUBLISHED["train"]["neutrality"] == 327
    assert sum(PUBLISHED["train"].values()) == 981 + 327


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (["a.txt"], {}, r"no CK\+ here; looked for cohn-kanade-images/ beside .*; found: a\.txt$"),
        (
            ["cohn-kanade-images/S005/001/S005_001_00000001.png"],
            {},
            r"cohn-kanade-images/ is here but not its labels; put Emotion/ .* found: cohn-kanade-images$",
        ),
        (["happy/S005_001_00000001.png", "neutral/a.png"], {}, r"neutral: not a class of CK\+48; .* are anger, contem"),
        (["happy/S005_001_00000001.png", "joyous/a.png"], {}, r"joyous: not a class of CK\+48"),
        (["happy/S005_001_00000001.png"], {"last": 1}, r"^--last 1: .* is CK\+48, which was cut to 3 frames"),
        (["happy/S005_001_00000001.png"], {"last": 0}, r"^--last 0: at least the peak frame"),
        (["happy/S005_001_00000001.png"], {"fold": 1}, r"^--fold 1: give --folds as well"),
    ],
)
def test_what_is_not_understood_is_one_clear_line(
    tmp_path: Path, files: list[str], options: dict[str, object], message: str
) -> None:
    for name in files:
        write(tmp_path / name, b"")
    with pytest.raises(InputError, match=message) as error:
        open_source("ckplus", str(tmp_path), **options)
    assert "\n" not in str(error.value)
