"""RAF-DB basic in its official layout and in Kaggle's, with the traps of both."""

from pathlib import Path

from support.faces import write
from support.releases.made import Maker, Release, image_bytes

LABELS = {
    "1": "surprise",
    "2": "fear",
    "3": "disgust",
    "4": "happiness",
    "5": "sadness",
    "6": "anger",
    "7": "neutrality",
}
"""Readme of the release, section EMOTION_LABEL."""

DIGITS = {"train": 5, "test": 4}
"""Digits of the number in an image's name."""

LANDMARKS = [[30.5, 40.25], [80.0, 41.0], [55.125, 60.0], [35.0, 85.0], [75.5, 86.0]]
CORNERS = (10, 20, 100, 110.5)
BOX = [10, 20, 90, 90.5]
"""The corners as x, y, width, height."""


def official_aligned(root: Path) -> Release:
    """The whole release; RAW is the folder above RAF-DB."""
    truth = _official(root / "RAF-DB" / "basic", "list_patition_label.txt")
    return Release("rafdb", root, truth, left_out=_wrong_rows("list_patition_label.txt"))


def official_original(root: Path) -> Release:
    """The same with the list's name put right; RAW is the folder that holds EmoLabel."""
    truth = _official(root / "basic", "list_partition_label.txt")
    wrong = _wrong_rows("list_partition_label.txt")
    return Release("rafdb", root / "basic", truth, options={"images": "original"}, left_out=wrong)


def kaggle_with_tables(root: Path) -> Release:
    """Class folders and csv files beside DATASET, which say each label once more."""
    truth, tables = _kaggle(root / "DATASET"), {}
    for split, labels in truth.items():
        codes = {Path(name).name: name.split("/")[1] for name in labels}
        tables[split] = [f"{name},{code}" for name, code in codes.items()]
    tables["train"] += ["train_09001_aligned.jpg,5", "train_09002_aligned.jpg,2"]
    for split, rows in tables.items():
        write(root / f"{split}_labels.csv", "\n".join(["image,label", *rows, ""]).encode())
    unknown = "test/4/test_9003_aligned.jpg"
    for name in ("train/6/train_09001_aligned.jpg", "train/1/test_0001_aligned.jpg", unknown):
        write(root / "DATASET" / name, image_bytes(LABELS[name.split("/")[1]], 9000, side=100))
    write(root / "DATASET" / "train" / "3" / "notes.txt", b"?")
    truth["test"][unknown] = "happiness"
    left_out = {
        ("train", "train/6/train_09001_aligned.jpg", "folder and csv disagree"),
        ("train", "train/1/test_0001_aligned.jpg", "its name is of the other split"),
        ("train", "train/3/notes.txt", "not an image by its extension"),
        ("train", "train_09002_aligned.jpg", "in the csv, but there is no such image"),
    }
    return Release("rafdb", root, truth, left_out=left_out)


def kaggle_folders(root: Path) -> Release:
    """Class folders alone; RAW is DATASET itself."""
    write(root / "DATASET" / "train" / "readme.txt", b"?")
    left_out = {("train", "train/readme.txt", "not in a class folder")}
    return Release("rafdb", root / "DATASET", _kaggle(root / "DATASET"), left_out=left_out)


def _official(base: Path, listing: str) -> dict[str, dict[str, str]]:
    truth: dict[str, dict[str, str]] = {"train": {}, "test": {}}
    rows = []
    for split, code, stem, number in _images():
        rows.append(f"{stem}.jpg {code}")
        truth[split][f"{stem}.jpg"] = LABELS[code]
        write(base / "Image" / "aligned" / f"{stem}_aligned.jpg", image_bytes(LABELS[code], number, side=100))
        write(base / "Image" / "original" / f"{stem}.jpg", image_bytes(LABELS[code], number, side=150))
        annotate(base, stem, gender=number % 3, race=number // 3 % 3, age=number % 5)
    rows += ["train_09001.jpg 8", "valid_0001.jpg 3", "train_09002.jpg"]
    write(base / "EmoLabel" / listing, "\n".join([*rows, ""]).encode())
    return truth


def _wrong_rows(listing: str) -> set[tuple[str, str, str]]:
    return {
        ("train", "train_09001.jpg", "unknown code"),
        ("", "valid_0001.jpg", "names neither train nor test"),
        ("", f"{listing} line 31", "not a name and a label"),
    }


def annotate(base: Path, stem: str, gender: int, race: int, age: int) -> None:
    """The three files beside an image, as the release writes them."""
    points = [f"{x:.4f}\t{y:.4f}" for x, y in LANDMARKS]
    manual = "\n".join([*points, str(gender), str(race), str(age), ""])
    automatic = "".join(f"{30 + i}.5\t{40 + i}.5\n" for i in range(37))
    write(base / "Annotation" / "manual" / f"{stem}_manu_attri.txt", manual.encode())
    write(base / "Annotation" / "auto" / f"{stem}_auto_attri.txt", automatic.encode())
    corners = " ".join(f"{value:.4f}" for value in CORNERS)
    write(base / "Annotation" / "boundingbox" / f"{stem}_boundingbox.txt", f"{corners} \n".encode())


def _kaggle(base: Path) -> dict[str, dict[str, str]]:
    truth: dict[str, dict[str, str]] = {"train": {}, "test": {}}
    for split, code, stem, number in _images():
        name = f"{split}/{code}/{stem}_aligned.jpg"
        truth[split][name] = LABELS[code]
        write(base / name, image_bytes(LABELS[code], number, side=100))
    return truth


def _images() -> list[tuple[str, str, str, int]]:
    """Split, code, name without extension and number: two images of each code in each split."""
    made = []
    for split, digits in DIGITS.items():
        for number in range(1, 15):
            made.append((split, str((5 * number) % 7 + 1), f"{split}_{number:0{digits}d}", number))
    return made


MAKERS: tuple[Maker, ...] = (official_aligned, official_original, kaggle_with_tables, kaggle_folders)
