"""Any csv or tsv file with a header that names pictures and emotions; what else its columns say travels along."""

import csv
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_dist.data.location import OnDisk
from fer_dist.data.sources import (
    LeftOut,
    Picture,
    Published,
    Sample,
    Source,
    clean_key,
    dataset_name,
    fer2013,
    folder,
    names_found,
    read_whole,
    readable,
)
from fer_dist.emotions import CODES, EIGHT, WORDS, emotion_of_word
from fer_dist.errors import InputError

SPLITS = folder.SPLITS | {usage.lower(): split for usage, split in fer2013.SPLITS.items()}
"""Words in the split's column, lower case -> our name."""

USUAL = {
    "picture": ("path", "image", "file", "filename", "image_name", "image_path", "img", "pth", "subdirectory_filepath"),
    "emotion": ("emotion", "expression", "label", "class"),
    "split": ("split", "usage", "set", "subset"),
    "subject": ("subject", "subject_id", "person"),
    "key": ("key",),
}
"""Part of a sample -> names under which its column is found, in lower case and with _ for blanks."""

BOXES = tuple(
    tuple(f"{prefix}{side}" for side in ("x", "y", *sides))
    for prefix in ("", "box_", "face_", "bbox_")
    for sides in (("width", "height"), ("w", "h"))
)
"""Names of the four columns of a face box: its left upper corner and its size."""

WORD_FACTS = {"subject", "view", "gender", "race", "age_group"}
TAKEN = {"id", "code", "subject", "emotion", "dataset", "original", "cut", "box", "landmarks", "votes", "soft"}
"""Facts with a meaning or a shape of their own, which another column of the same name need not have."""

NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?([eE][+-]?\d{1,2})?")
"""007 stays a text, for it may be a name."""

PUBLISHED: Published = {}


@dataclass(frozen=True)
class Options:
    """What a user says of a csv file. Columns that are not given are found by their usual names."""

    picture_column: str = ""
    """Column that names the picture's file."""

    emotion_column: str = ""
    """Column of the label: a word, or a code (see codes)."""

    split_column: str = ""
    """Column of the split: train, val, test, or FER2013's Usage. Where there is none, all rows are train."""

    subject_column: str = ""
    """Column that says who is in the picture."""

    key_column: str = ""
    """Column of a name that no two rows of a split share. Where there is none, it is the picture's path without its
    extension; then a picture that comes in several rows is taken once."""

    root: OnDisk = ""
    """Folder that the paths start from. Empty: the folder of the csv file."""

    codes: str = ""
    """What labels mean that are no words: a data set's table, such as affectnet, or names in the order of the numbers
    0, 1, 2, ..., as neutral,happy,sad; - for a number whose rows are left out."""

    dataset: str = ""
    """Name of the data set. Empty: the name of RAW, in lower case."""


DEFAULT = Options()


def open(raw: str, options: Options = DEFAULT) -> Source:
    """Open a csv file. Its labels are read once here, to know which emotions there are.

    Raises InputError where a needed column is not found, several could be meant, or no label is understood; for
    numbers without `codes`, since each data set has an order of its own.
    """
    path = Path(raw)
    if not path.is_file():
        found = f"a folder; give the csv file itself; found: {names_found(path)}" if path.is_dir() else "no such file"
        raise InputError(f"{raw}: {found}")
    root = options.root or str(path.parent)
    if not os.path.isdir(root):
        raise InputError(f"root {root}: no such folder; give the folder that the paths of {raw} start from")
    dataset = dataset_name(options.dataset, path)
    header, delimiter = _header(path)
    columns = _columns(path, header, options)
    codes = _codes(options.codes)
    emotions = _emotions(path, delimiter, columns, codes)
    parts = ", ".join(f"{part} in {header[index]}" for part, index in columns.places.items())
    labels = f"labels by {options.codes}" if codes else "labels are words"
    splits = "" if "split" in columns.places else "; no column of splits, all of it train"
    return Table(str(path), root, delimiter, columns, codes, dataset, f"csv, {parts}; {labels}{splits}", emotions)


@dataclass(frozen=True)
class Columns:
    """Where in a row stands what.

    count: columns of the header. places: part of a sample -> column; picture and emotion are there.
    box: columns of x, y, width, height, or empty. facts: clean name -> column, of all that travel along.
    """

    count: int
    places: dict[str, int]
    box: tuple[int, ...]
    facts: dict[str, int]


@dataclass(frozen=True)
class Table:
    """The rows of a csv file. codes: label -> our name; empty where the labels are words."""

    path: str
    root: str
    delimiter: str
    columns: Columns
    codes: dict[str, str]
    dataset: str
    variant: str
    emotions: tuple[str, ...]

    def samples(self) -> Iterator[Sample | LeftOut]:
        roots = (os.path.abspath(self.root), os.path.realpath(self.root))
        for line, row in _rows(Path(self.path), self.delimiter):
            yield self._sample(row, f"{os.path.basename(self.path)} line {line}", roots)

    def _sample(self, row: list[str], place: str, roots: tuple[str, ...]) -> Sample | LeftOut:
        if fault := _row_fault(row, self.columns.count):
            return LeftOut("", readable(place), fault)
        cells = {part: row[index].strip() for part, index in self.columns.places.items()}
        split = SPLITS.get(cells.get("split", "train").lower())
        name = readable(cells["picture"] or place)
        if split is None:
            return LeftOut("", name, "unknown split")
        if not cells["picture"]:
            return LeftOut(split, name, "no picture is named")
        emotion = _emotion(cells["emotion"], self.codes)
        if emotion is None:
            return LeftOut(split, name, "unknown code" if self.codes else "not an emotion that we know")
        inside = _below(cells["picture"], roots)
        if not inside:
            return LeftOut(split, name, "path leaves the root")
        key = cells.get("key", "").strip("/") or os.path.splitext(inside)[0]
        facts = {"id": name, "code": readable(cells["emotion"])} | _facts(row, self.columns)
        mended = "" if "box" in facts or not self.columns.box else "face box without numbers: dropped"
        return Sample(clean_key(key), split, emotion, os.path.join(self.root, inside), facts=facts, mended=mended)

    def read(self, sample: Sample) -> Picture:
        return read_whole(sample)


def _header(path: Path) -> tuple[list[str], str]:
    """The names of the columns, and what stands between them: of comma, semicolon and tab the most frequent."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        line = stream.readline(65536)
    delimiter = max(",;\t", key=line.count)
    names = next(csv.reader([line], delimiter=delimiter), [])
    return [readable(name.strip()) for name in names], delimiter


def _columns(path: Path, header: list[str], options: Options) -> Columns:
    names = [re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in header]
    places = {}
    for part, usual in USUAL.items():
        given = getattr(options, f"{part}_column")
        found = [index for index, name in enumerate(header) if name == given]
        found = found or [index for index, name in enumerate(names) if name in ((given.lower(),) if given else usual)]
        if len(found) > 1:
            both = " and ".join(header[index] for index in found)
            raise InputError(f"{path}: {both} could each be the {part}; say which with --{part}-column")
        if found:
            places[part] = found[0]
        elif given or part in ("picture", "emotion"):
            raise InputError(
                f"{path}: no column for the {part}; looked for {given or ', '.join(usual)}; the first line names: "
                f"{', '.join(header)[:200] or 'nothing'}; say which with --{part}-column"
            )
    box = next((tuple(map(names.index, four)) for four in BOXES if set(four) <= set(names)), ())
    facts = {"subject": places["subject"]} if "subject" in places else {}
    for index, name in enumerate(names):
        if index not in {*places.values(), *box}:
            name = f"column_{name or index}" if name in TAKEN or not name else name
            facts[f"{name}_{index}" if name in facts else name] = index
    return Columns(len(header), places, box, facts)


def _codes(given: str) -> dict[str, str]:
    if not given or given in CODES:
        return CODES.get(given, {})
    if "," not in given:
        raise InputError(f"codes {given!r}: no such table; there are {', '.join(CODES)}; or give a list of names")
    codes = {}
    for number, word in enumerate(map(str.strip, given.split(","))):
        emotion = emotion_of_word(word)
        if emotion is None and word != "-":
            raise InputError(f"codes: {word!r} names no emotion that we know; use - or one of {', '.join(WORDS)}")
        if emotion:
            codes[str(number)] = emotion
    return codes


def _emotions(path: Path, delimiter: str, columns: Columns, codes: dict[str, str]) -> tuple[str, ...]:
    """The emotions that the file labels, in the order of the codes. Holds a few labels, however long the file is."""
    found: set[str] = set()
    others: dict[str, None] = {}
    for _, row in _rows(path, delimiter):
        if not _row_fault(row, columns.count):
            label = row[columns.places["emotion"]].strip()
            emotion = _emotion(label, codes)
            if emotion:
                found.add(emotion)
            elif len(others) < 12:
                others[label] = None
    if found:
        return tuple(name for name in dict.fromkeys(codes.values() or EIGHT) if name in found)
    labels = readable(", ".join(sorted(others)))[:200]
    if not codes and any(label[:1].isdigit() for label in others):
        tables = ", ".join(name for name, table in CODES.items() if "1" in table)
        raise InputError(
            f"{path}: the labels are numbers ({labels}), and each data set orders them in its own way; say which with "
            f"--codes: {tables}, or the names in the order of the numbers 0, 1, 2, ..., as neutral,happy,sad,surprise"
        )
    raise InputError(
        f"{path}: no label names an emotion that we know; looked for {', '.join(codes or WORDS)}; found: {labels}"
    )


def _emotion(label: str, codes: dict[str, str]) -> str | None:
    # Tables that went through floats say 3.0 for the code 3.
    return codes.get(re.sub(r"\.0+$", "", label)) if codes else emotion_of_word(label)


def _rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the line, and its fields; without the header. A line that csv refuses has one empty field.

    A field does not go on in the next line: a quote that is never closed would swallow the rows after it.
    """
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        stream.readline()
        for number, line in enumerate(stream, 2):
            try:
                row = next(csv.reader([line], delimiter=delimiter), [])
            except csv.Error:
                row = [""]
            if row:
                yield number, row


def _row_fault(row: list[str], count: int) -> str:
    """Why a row is not read: with too few or too many fields, nobody knows which column a value belongs to."""
    if len(row) < count:
        return "columns are missing"
    return "more fields than columns" if any(row[count:]) else ""


def _below(given: str, roots: tuple[str, ...]) -> str:
    """The path below the root; empty where it leaves it. Windows' separators are understood."""
    path = given if "/" in given else given.replace("\\", "/")
    for root in roots:
        full = os.path.normpath(os.path.join(root, path))
        if full.startswith(root.rstrip("/") + "/"):
            return os.path.relpath(full, root)
    return ""


def _facts(row: list[str], columns: Columns) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, index in columns.facts.items():
        value = row[index].strip()
        is_number = NUMBER.fullmatch(value) is not None
        if name in ("valence", "arousal"):
            # AffectNet says -2 where it does not know.
            facts |= {name: float(value)} if is_number and -1 <= float(value) <= 1 else {}
        elif is_number and name not in WORD_FACTS:
            facts[name] = int(value) if value.lstrip("-").isdigit() else float(value)
        elif value:
            facts[name] = readable(value)
    box = [float(row[index]) for index in columns.box if NUMBER.fullmatch(row[index].strip())]
    return facts | ({"box": box} if len(box) == 4 else {})
