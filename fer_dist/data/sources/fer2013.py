"""FER2013 (Goodfellow et al. 2013): the Kaggle folders of JPEG files, or fer2013.csv with the pixels as text.

The number in a file name is not the row of the csv, so the two variants share no keys.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fer_dist.data.sources import (
    NO_OPTIONS,
    LeftOut,
    NoOptions,
    Picture,
    Published,
    Sample,
    Source,
    clean_key,
    is_hidden,
    names_found,
    read_whole,
    readable,
)
from fer_dist.emotions import CODES, emotion_of_word
from fer_dist.errors import InputError

SPLITS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
"""Usage, also the first part of a file name -> split."""

SIDE = 48
"""Width and height of every picture, in pixels."""

EMOTIONS = tuple(CODES["fer2013"].values())
COLUMNS = ("emotion", "pixels", "Usage")
TABLE = "fer2013.csv"

PUBLISHED: Published = {
    "train": dict(zip(EMOTIONS, (3995, 436, 4097, 7215, 4830, 3171, 4965), strict=True)),
    "val": dict(zip(EMOTIONS, (467, 56, 496, 895, 653, 415, 607), strict=True)),
    "test": dict(zip(EMOTIONS, (491, 55, 528, 879, 594, 416, 626), strict=True)),
}


def open(raw: str, options: NoOptions = NO_OPTIONS) -> Source:
    """Open FER2013 in whichever variant lies at raw, or in raw/fer2013.

    raw: the folder that holds train/ and test/, or the one that holds fer2013.csv, or a csv file with its columns.
         Where both are there the csv is taken, because its pixels have not been through JPEG.
    Raises InputError where neither is there, and for a class folder that is not one of FER2013's.
    """
    given = Path(raw)
    if not given.exists():
        raise InputError(f"{raw}: no such file or folder")
    if given.is_file():
        return _open_table(given)
    for root in (given, given / "fer2013"):
        if (root / TABLE).is_file():
            return _open_table(root / TABLE)
        if (root / "train").is_dir() or (root / "test").is_dir():
            _check_classes(root)
            return Folders(str(root))
    raise InputError(
        f"{raw}: no FER2013 here; looked for {TABLE}, or train/<class>/Training_<n>.jpg and "
        f"test/<class>/PublicTest_<n>.jpg; found: {names_found(given)}"
    )


@dataclass(frozen=True)
class Folders:
    """The folder variant: the class folder says the emotion, the first part of the file name the split."""

    root: str
    dataset: str = "fer2013"
    variant: str = "folders of JPEG files"
    emotions: tuple[str, ...] = EMOTIONS

    def samples(self) -> Iterator[Sample | LeftOut]:
        for folder in ("train", "test"):
            path = Path(self.root) / folder
            if path.is_dir():
                for name in sorted(os.listdir(path)):
                    yield from self._class_samples(path / name, f"{folder}/{name}")

    def _class_samples(self, folder: Path, place: str) -> Iterator[Sample | LeftOut]:
        if not folder.is_dir():
            yield LeftOut("", readable(place), "not in a class folder")
            return
        emotion = emotion_of_word(folder.name)
        if emotion is None:
            yield LeftOut("", readable(place), "hidden")
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                stem, _, extension = entry.name.rpartition(".")
                split = SPLITS.get(stem.partition("_")[0], "")
                if extension.lower() not in ("jpg", "jpeg", "png"):
                    yield LeftOut(split, readable(f"{place}/{entry.name}"), "not a picture by its extension")
                elif not split:
                    yield LeftOut("", readable(f"{place}/{entry.name}"), "unknown Usage")
                else:
                    # Two file names of the release stand in two class folders each, for other photographs.
                    key = clean_key(f"{folder.name}/{stem}")
                    facts = {"id": readable(f"{place}/{entry.name}"), "code": folder.name}
                    yield Sample(key, split, emotion, entry.path, facts=facts)

    def read(self, sample: Sample) -> Picture:
        return read_whole(sample)


@dataclass(frozen=True)
class Table:
    """The csv variant: one row a picture; rows are counted from 0, the header left aside, as FER+ counts them.

    columns: where emotion, pixels and Usage stand; copies of the file differ in their order.
    """

    path: str
    columns: tuple[int, int, int]
    dataset: str = "fer2013"
    variant: str = "csv with the pixels as text"
    emotions: tuple[str, ...] = EMOTIONS

    def samples(self) -> Iterator[Sample | LeftOut]:
        with Path(self.path).open("rb") as stream:
            offset = len(stream.readline())
            row = 0
            for line in stream:
                if line.strip():
                    yield self._sample(line, row, offset)
                    row += 1
                offset += len(line)

    def _sample(self, line: bytes, row: int, offset: int) -> Sample | LeftOut:
        name = f"{os.path.basename(self.path)} row {row}"
        fields = _fields(line)
        if len(fields) <= max(self.columns):
            return LeftOut("", name, "columns are missing")
        code, pixels, usage = (fields[column] for column in self.columns)
        split = SPLITS.get(usage.decode("utf-8", "replace"))
        if split is None:
            return LeftOut("", name, "unknown Usage")
        emotion = CODES["fer2013"].get(code.decode("utf-8", "replace"))
        if emotion is None:
            return LeftOut(split, name, "unknown code")
        if len(pixels.split()) != SIDE * SIDE:
            return LeftOut(split, name, "wrong number of pixels")
        facts = {"id": str(row), "code": code.decode()}
        return Sample(f"row{row:06d}", split, emotion, self.path, offset, len(line), facts)

    def read(self, sample: Sample) -> Picture:
        from PIL import Image

        from fer_dist.data.pictures import png_bytes

        with Path(sample.path).open("rb") as stream:
            stream.seek(sample.offset)
            fields = _fields(stream.read(sample.length))
        # bytes() itself refuses a value outside 0 to 255, with the ValueError that a source may raise.
        pixels = bytes(map(int, fields[self.columns[1]].split()))
        image = Image.frombytes("L", (SIDE, SIDE), pixels)
        return Picture(png_bytes(image), "png", original=f"{os.path.basename(sample.path)} row {sample.facts['id']}")


def _open_table(path: Path) -> Table:
    with path.open("rb") as stream:
        # A file without lines may be gigabytes long; the header of the release has 21 characters.
        header = stream.readline(4096).decode("utf-8-sig", "replace")
    names = [name.strip(' "\r\n') for name in header.split(",")]
    if not set(COLUMNS) <= set(names):
        found = header.strip()[:80] or "an empty line"
        raise InputError(f"{path}: not FER2013's csv; its first line should name {', '.join(COLUMNS)}; found: {found}")
    emotion, pixels, usage = (names.index(name) for name in COLUMNS)
    return Table(str(path), (emotion, pixels, usage))


def _fields(line: bytes) -> list[bytes]:
    # No field of this release holds a comma or a quote, so the csv module's care would only cost time.
    return [field.strip(b' "\r\n') for field in line.split(b",")]


def _check_classes(root: Path) -> None:
    for folder in sorted(path for split in ("train", "test") for path in (root / split).glob("*")):
        if folder.is_dir() and not is_hidden(folder.name) and emotion_of_word(folder.name) not in EMOTIONS:
            known = "angry, disgust, fear, happy, neutral, sad, surprise"
            raise InputError(f"{folder}: not a class of FER2013; its class folders are {known}")
