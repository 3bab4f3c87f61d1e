"""What is true of the folders of every source: one rule for junk, one table of words for splits, nothing unsaid."""

import importlib
from pathlib import Path

import pytest
from support.faces import encoded, fer2013_folders, folder_release, write
from support.releases.ferplus import votes
from support.releases.made import Maker
from test_sources import samples_of

from fer_dist.cli.commands import main
from fer_dist.data.shards.manifest import load_manifest
from fer_dist.data.sources.source import SOURCES, open_source
from fer_dist.data.sources.splits import split_of
from fer_dist.errors import InputError

JUNK = (
    *(".DS_Store", "._a.jpg", ".hidden.png", ".cache/a.jpg", "__MACOSX/._a.jpg", "__MACOSX/1/happy/a.jpg"),
    *("Thumbs.db", "desktop.ini", "$RECYCLE.BIN/a.jpg", "System Volume Information/a.jpg", "@eaDir/a.jpg/x.jpg"),
)

MAKERS: dict[str, Maker] = {
    f"{source}-{maker.__name__}": maker
    for source in sorted(set(SOURCES) - {"fer2013", "folder", "synthetic"})
    for maker in importlib.import_module(f"support.releases.{source}").MAKERS
}


def strew(root: Path) -> None:
    """Junk into a folder and every folder below."""
    for folder in (root, *(path for path in sorted(root.rglob("*")) if path.is_dir())):
        for name in JUNK:
            write(folder / name, b"?")


@pytest.mark.parametrize("name", MAKERS)
def test_junk_anywhere_in_a_release_changes_nothing(tmp_path: Path, name: str) -> None:
    release = MAKERS[name](tmp_path)
    before = open_source(release.source, str(release.raw), **release.options)
    listed = sorted(before.samples(), key=repr)
    strew(tmp_path)
    after = open_source(release.source, str(release.raw), **release.options)
    assert sorted(after.samples(), key=repr) == listed
    assert (after.variant, after.remarks) == (before.variant, before.remarks)


@pytest.mark.parametrize("source", ["fer2013", "folder"])
def test_junk_in_class_folders_changes_nothing(tmp_path: Path, source: str) -> None:
    fer2013_folders(tmp_path, 7, 7, 7)
    before = open_source(source, str(tmp_path), **({"dataset": "x"} if source == "folder" else {}))
    listed = sorted(before.samples(), key=repr)
    strew(tmp_path)
    after = open_source(source, str(tmp_path), **({"dataset": "x"} if source == "folder" else {}))
    assert sorted(after.samples(), key=repr) == listed
    assert (after.variant, after.remarks) == (before.variant, ())


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("train", ("train", "Train", "TRAINING", "train_set", "training-set", "Train Images", "traindata")),
        ("val", ("val", "valid", "Validation", "dev", "PublicTest", "val_set", "validationset")),
        ("test", ("test", "Testing", "PrivateTest", "test_set", "TestSet", "test-images")),
        (None, ("eval", "happy", "", "set", "images", "train2", "fold_1", "latest", "data")),
    ],
)
def test_one_table_knows_the_words_for_splits(split: str | None, words: tuple[str, ...]) -> None:
    assert {word: split_of(word) for word in words} == dict.fromkeys(words, split)


def release_of(source: str, root: Path, folders: tuple[str, ...]) -> Path:
    """A release of class folders with these split folders; each image has other pixels."""
    classes = {"fer2013": "happy", "folder": "happy", "rafdb": "4", "affectnet": "1", "ferplus": ""}
    for number, folder in enumerate(folders):
        names = {"fer2013": f"Training_{number}", "rafdb": f"train_{number}_aligned"}
        if source == "ferplus":
            folder = f"FER2013{folder}"
            write(root / folder / "label.csv", f"{number}.png,{votes(happiness=10)}\n".encode())
        write(root / folder / classes[source] / f"{names.get(source, number)}.png", encoded(number, "PNG"))
    return root


@pytest.mark.parametrize("source", ["folder", "rafdb", "affectnet", "ferplus", "fer2013"])
@pytest.mark.parametrize("word", ["val", "Valid", "validation", "dev"])
def test_a_validation_folder_is_read_by_every_source_under_any_usual_name(
    tmp_path: Path, source: str, word: str
) -> None:
    raw = release_of(source, tmp_path, ("Train", word, "Test"))
    found = open_source(source, str(raw), **({"dataset": "x"} if source == "folder" else {}))
    assert {sample.split for sample in samples_of(found)} >= {"train", "val"}
    with pytest.raises(InputError, match=r"are both the split 'val'; put them into one folder"):
        open_source(source, str(release_of(source, tmp_path, ("Train", word, "Val_Set", "Test"))))


@pytest.mark.parametrize("source", ["folder", "rafdb", "affectnet", "fer2013"])
def test_a_folder_of_images_that_is_no_split_is_told_by_name_with_its_count(tmp_path: Path, source: str) -> None:
    raw = release_of(source, tmp_path, ("train", "test"))
    assert not [remark for remark in open_source(source, str(raw)).remarks if "not read" in remark]
    write(raw / "notes" / "a.txt", b"")
    for number in range(3):
        write(raw / "held out" / "deep" / f"{number}.jpg", encoded(number))
    (remark,) = (remark for remark in open_source(source, str(raw)).remarks if "not read" in remark)
    assert remark.startswith(f"{raw}/held out: not read, its name means no split (train, training, val, valid, ")
    assert remark.endswith("; images in it: 3")
    assert {sample.split for sample in samples_of(open_source(source, str(raw)))} >= {"train"}


def test_a_build_says_what_it_assumed_before_it_works_and_keeps_it_in_the_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = folder_release(tmp_path / "raw", 3)
    write(raw / "other" / "a.jpg", encoded(1))
    assert main(["shards", "build", "folder", str(raw), str(tmp_path / "out"), "--workers", "1"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "raw: found folders <split>/<class>; classes are words"
    assert lines[1].startswith(f"note: {raw}/other: not read")
    (remark,) = load_manifest(tmp_path / "out" / "train").built["remarks"]
    assert lines[1] == f"note: {remark}"


def test_folders_beside_those_of_fer_plus_are_told_as_well(tmp_path: Path) -> None:
    raw = release_of("ferplus", tmp_path, ("Train", "Valid", "Test"))
    for name in ("FER2013Old", "PublicTest"):
        write(raw / name / "x.png", encoded(1, "PNG"))
    told = [remark.removeprefix(f"{raw}/") for remark in open_source("ferplus", str(raw)).remarks]
    assert [remark.partition(",")[0] for remark in told] == ["FER2013Old: not read", "PublicTest: not read"]
