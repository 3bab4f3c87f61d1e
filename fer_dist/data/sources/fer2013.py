"""FER2013 (Goodfellow et al. 2013): the Kaggle folders of JPEG files, or fer2013.csv with the pixels as text.

The number in a file name is not the row of the csv, so the two variants share no keys.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fer_dist.data.emotions import CODES, emotion_of_word
from fer_dist.data.sources.codes import counting_fault
from fer_dist.data.sources.reading import clean_key, images_below, read_whole, refuse_other_kinds
from fer_dist.data.sources.source import NO_OPTIONS, EncodedImage, LeftOut, NoOptions, Published, Sample, Source
from fer_dist.data.sources.splits import check_one_each, remarks_on_unread, split_folders, split_of
from fer_dist.errors import InputError
from fer_dist.storage.folders import entries_of, folders_in, is_folder, names_found, readable
from fer_dist.storage.untrusted import lines_of, open_regular

LOOKED_AT = 1000
"""First lines of a csv whose labels are looked at before the rest is read."""

SIDE = 48
"""Width and height of every image, in pixels."""

EMOTIONS = tuple(CODES["fer2013"].values())
COLUMNS = ("emotion", "pixels", "Usage")
TABLE = "fer2013.csv"
TABLES = (TABLE, "icml_face_data.csv")
"""The csv as its archive has it, and as Kaggle's page lays it beside the archive: the same rows."""

PUBLISHED: Published = {
    "train": dict(zip(EMOTIONS, (3995, 436, 4097, 7215, 4830, 3171, 4965), strict=True)),
    "val": dict(zip(EMOTIONS, (467, 56, 496, 895, 653, 415, 607), strict=True)),
    "test": dict(zip(EMOTIONS, (491, 55, 528, 879, 594, 416, 626), strict=True)),
}


def open(raw: str, options: NoOptions = NO_OPTIONS) -> Source:
    """Open FER2013 in whichever variant lies at raw, or in raw/fer2013.

    raw: the folder that holds train/ and test/, or the one that holds fer2013.csv or icml_face_data.csv, or a csv file
         with their columns. Where both are there the csv is taken, because its pixels have not been through JPEG.
    Raises InputError where neither is there, and for a class folder that is not one of FER2013's.
    """
    given = Path(raw)
    if not given.exists():
        raise InputError(f"{raw}: no such file or folder")
    if given.is_file():
        return _open_table(given)
    for root in (given, given / "fer2013"):
        if table := next((root / name for name in TABLES if (root / name).is_file()), None):
            return _open_table(table)
        if root.is_dir() and (folders := split_folders(root)):
            check_one_each(root, folders)
            _check_classes(root, folders)
            return _open_folders(root, folders)
    rest = "; train.csv has no test rows and no column Usage" if (given / "train.csv").is_file() else ""
    raise InputError(
        f"{raw}: no FER2013 here; looked for {' or '.join(TABLES)}, or train/<class>/Training_<n>.jpg and "
        f"test/<class>/PublicTest_<n>.jpg; found: {names_found(given)}{rest}"
    )


@dataclass(frozen=True)
class Folders:
    """The folder variant: the class folder says the emotion, the first part of the file name the split.

    splits:  name of a split folder -> what it means. The release has train and test only, PublicTest in the latter;
             images in a val of somebody's own making are val, whatever their names say.
    by_name: whether names say a Usage; in copies whose images were numbered anew, the folder alone says the split.
    """

    root: str
    splits: dict[str, str]
    by_name: bool
    dataset: str = "fer2013"
    variant: str = "folders of JPEG files"
    emotions: tuple[str, ...] = EMOTIONS
    remarks: tuple[str, ...] = ()

    def samples(self) -> Iterator[Sample | LeftOut]:
        for folder, split in self.splits.items():
            for entry in entries_of(os.path.join(self.root, folder)):
                inside = f"{folder}/{entry.name}"
                if is_folder(entry):
                    yield from self._class_samples(entry, inside, split)
                else:
                    yield LeftOut("", readable(inside), "not in a class folder")

    def _class_samples(self, folder: os.DirEntry[str], inside: str, split: str) -> Iterator[Sample | LeftOut]:
        emotion = emotion_of_word(folder.name)
        assert emotion in EMOTIONS, folder.name  # looked at when the release was opened
        for entry in entries_of(folder.path):
            stem, _, extension = entry.name.rpartition(".")
            usage = _usage(stem) if self.by_name else split
            name = readable(f"{inside}/{entry.name}")
            if extension.lower() not in ("jpg", "jpeg", "png"):
                yield LeftOut(usage, name, "not an image by its extension")
            elif not usage:
                yield LeftOut("", name, "unknown Usage")
            else:
                own = "val" if split == "val" else usage
                # Two file names of the release stand in two class folders each, for other photographs.
                key = clean_key(f"{folder.name}/{stem}")
                facts = {"id": name, "code": folder.name}
                mended = "" if own == usage else f"its folder says val, its name {usage}: val is taken"
                yield Sample(key, own, emotion, entry.path, facts=facts, mended=mended)

    def read(self, sample: Sample) -> EncodedImage:
        return read_whole(sample)


@dataclass(frozen=True)
class Table:
    """The csv variant: one row an image; rows are counted from 0, the header left aside, as FER+ counts them.

    columns: where emotion, pixels and Usage stand; copies of the file differ in their order.
    """

    path: str
    columns: tuple[int, int, int]
    dataset: str = "fer2013"
    variant: str = "csv with the pixels as text"
    emotions: tuple[str, ...] = EMOTIONS
    remarks: tuple[str, ...] = ()

    def samples(self) -> Iterator[Sample | LeftOut]:
        with open_regular(self.path) as stream:
            lines = lines_of(stream)
            offset = len(next(lines, b""))
            row = 0
            for line in lines:
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
        split = split_of(usage.decode("utf-8", "replace"))
        if split is None:
            return LeftOut("", name, "unknown Usage")
        emotion = CODES["fer2013"].get(code.decode("utf-8", "replace"))
        if emotion is None:
            return LeftOut(split, name, "unknown code")
        if len(pixels.split()) != SIDE * SIDE:
            return LeftOut(split, name, "wrong number of pixels")
        facts = {"id": str(row), "code": code.decode()}
        return Sample(f"row{row:06d}", split, emotion, self.path, offset, len(line), facts)

    def read(self, sample: Sample) -> EncodedImage:
        from PIL import Image

        from fer_dist.data.images import png_bytes

        with open_regular(sample.path) as stream:
            stream.seek(sample.offset)
            fields = _fields(stream.read(sample.length))
        # bytes() itself refuses a value outside 0 to 255, with the ValueError that a source may raise.
        pixels = bytes(map(int, fields[self.columns[1]].split()))
        image = Image.frombytes("L", (SIDE, SIDE), pixels)
        row = f"{os.path.basename(sample.path)} row {sample.facts['id']}"
        return EncodedImage(png_bytes(image), "png", original=row)


def _usage(name: str) -> str:
    """The split that a file's name begins with; empty where it does not."""
    return split_of(name.partition("_")[0]) or ""


def _open_folders(root: Path, splits: dict[str, str]) -> Folders:
    remarks = remarks_on_unread(root, splits)
    by_name = any(_usage(os.path.basename(path)) for folder in splits for path in images_below(root / folder))
    if not by_name and "val" not in splits.values():
        remarks += (
            f"{root}: file names say no Usage, as Training_1.jpg does: splits are those of the folders, so that test "
            "may hold PublicTest and PrivateTest together",
        )
    return Folders(str(root), splits, by_name, remarks=remarks)


def _open_table(path: Path) -> Table:
    refuse_other_kinds(path)
    with open_regular(path) as stream:
        # A file without lines may be gigabytes long; the header of the release has 21 characters.
        header = stream.readline(4096).decode("utf-8-sig", "replace")
    names = [name.strip(' "\r\n') for name in header.split(",")]
    if any(names.count(name) != 1 for name in COLUMNS):
        found = header.strip()[:80] or "an empty line"
        raise InputError(
            f"{path}: not FER2013's csv; its first line should name {', '.join(COLUMNS)}, each once; found: {found}"
        )
    emotion, pixels, usage = (names.index(name) for name in COLUMNS)
    with open_regular(path) as stream:
        rows = map(_fields, islice(lines_of(stream), 1, LOOKED_AT))
        labels = {row[emotion].decode("utf-8", "replace") for row in rows if len(row) > emotion}
    if fault := counting_fault(labels, CODES["fer2013"]):
        raise InputError(f"{path}: {fault}; give the csv of the release")
    return Table(str(path), (emotion, pixels, usage))


def _fields(line: bytes) -> list[bytes]:
    # No field of this release holds a comma or a quote, so the csv module's care would only cost time.
    return [field.strip(b' "\r\n') for field in line.split(b",")]


def _check_classes(root: Path, folders: Iterable[str]) -> None:
    for inside in (f"{folder}/{name}" for folder in folders for name in folders_in(root / folder)):
        if emotion_of_word(inside.rpartition("/")[2]) not in EMOTIONS:
            known = "angry, disgust, fear, happy, neutral, sad, surprise"
            raise InputError(f"{root / inside}: not a class of FER2013; its class folders are {known}")
