"""Any csv or tsv file with a header that names images and emotions; what else its columns say travels along.

Hubs write such files as metadata.csv beside the images, one for each split or one for all; then RAW is their folder.
"""

import csv
import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from fer_dist.data.emotions import EIGHT, WORDS, class_of_label
from fer_dist.data.sources.codes import (
    ask_for_codes,
    check_counting,
    codes_of,
    own_classes,
    plain_code,
    remarks_on_unused,
)
from fer_dist.data.sources.reading import clean_key, dataset_name, read_whole, refuse_other_kinds
from fer_dist.data.sources.source import EncodedImage, LeftOut, Published, Sample, Source
from fer_dist.data.sources.splits import check_one_each, remarks_on_unread, split_folders, split_of
from fer_dist.errors import InputError
from fer_dist.storage.folders import is_foreign, names_found, path_below, readable
from fer_dist.storage.paths import OnDisk
from fer_dist.storage.untrusted import lines_of, open_regular, open_table

METADATA = "metadata.csv"
DELIMITERS = ",;\t|"

USUAL = {
    "image": (
        *("path", "image", "file", "filename", "file_name", "filepath", "file_path", "image_name", "image_path"),
        *("image_file", "img", "img_path", "pth", "subdirectory_filepath"),
    ),
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
TAKEN = {
    *("id", "code", "subject", "emotion", "dataset", "original", "cut", "box", "landmarks", "points", "detected"),
    *("votes", "soft"),
}
"""Facts with a meaning or a shape of their own, which another column of the same name need not have."""

NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?([eE][+-]?\d{1,2})?")
"""007 stays a text, for it may be a name."""

PUBLISHED: Published = {}


@dataclass(frozen=True)
class Options:
    """What a user says of a csv file. Columns that are not given are found by their usual names."""

    image_column: str = ""
    """Column that names the image's file."""

    emotion_column: str = ""
    """Column of the label: a word, or a code (see codes)."""

    split_column: str = ""
    """Column of the split: train, val, test, or FER2013's Usage. Where there is none, folders of the paths say it, as
    test/a.jpg does, or the file's own name, as test.csv; all other rows are train."""

    subject_column: str = ""
    """Column that says who is in the image."""

    key_column: str = ""
    """Column of a name that no two rows of a split share. Where there is none, it is the image's path without its
    extension; then an image that comes in several rows is taken once."""

    root: OnDisk = ""
    """Folder that the paths start from. Empty: the folder of the csv file."""

    emotions: str = ""
    """Classes of your own, in the order of their labels, as weak,engaged,pain. Empty: the emotions that we know, by any
    usual word for them."""

    codes: str = ""
    """What labels mean that are no words: a dataset's table, such as affectnet, or names in the order of the numbers
    0, 1, 2, ..., as neutral,happy,sad; - for a number whose rows are left out."""

    dataset: str = ""
    """Name of the dataset. Empty: the name of RAW, in lower case."""


DEFAULT = Options()


def open(raw: str, options: Options = DEFAULT) -> Source:
    """Open a csv file, or a folder that holds metadata.csv, itself or in its split folders.

    Its labels are read once here, to know which emotions there are.
    Raises InputError where a needed column is not found, several could be meant, or no label is understood; for
    numbers without `codes`, since each dataset has an order of its own, and where they do not fit `codes`.
    """
    path = Path(raw)
    found = _files_at(path)
    if options.root and not os.path.isdir(options.root):
        raise InputError(f"root {options.root}: no such folder; give the folder that the paths of {raw} start from")
    files = tuple(_opened(file, split, options) for file, split in found.items())
    own = own_classes(options.emotions)
    codes = codes_of(options.codes, own) if options.codes else {}
    seen = Seen()
    for file in files:
        _look(file, codes, own, seen)
    emotions = _emotions(path, seen, codes, own, options.codes)
    first = files[0]
    parts = ", ".join(f"{part} in {first.header[index] or index}" for part, index in first.columns.parts.items())
    labels = f"labels by {options.codes}" if codes else "labels are words"
    remarks = _remarks(path, seen, codes, options)
    if len(found) > 1:
        remarks += remarks_on_unread(path, [file.parent.name for file in found])
    variant = f"csv, {parts}; {labels}{_told_splits(files, seen)}"
    return Table(files, codes, dataset_name(options.dataset, path), variant, emotions, remarks, own)


@dataclass(frozen=True)
class Columns:
    """Where in a row stands what.

    count: columns of the header. parts: part of a sample -> column; image and emotion are there.
    box: columns of x, y, width, height, or empty. facts: clean name -> column, of all that travel along.
    """

    count: int
    parts: dict[str, int]
    box: tuple[int, ...]
    facts: dict[str, int]


@dataclass(frozen=True)
class File:
    """One csv file. root: where its paths start. split: of rows that say none; empty where their folders may say one.

    lines: before the first row. encoding: what its first bytes say.
    """

    path: str
    root: str
    split: str
    lines: int
    delimiter: str
    encoding: str
    header: list[str]
    columns: Columns

    @cached_property
    def roots(self) -> tuple[str, str]:
        """The root as it is called and as it is, since a path may go through a link."""
        return os.path.abspath(self.root), os.path.realpath(self.root)


@dataclass(frozen=True)
class Table:
    """The rows of one csv file or several. codes: label -> our name; empty where the labels are words.

    own: the user's own classes; empty where they are the emotions that we know.
    """

    files: tuple[File, ...]
    codes: dict[str, str]
    dataset: str
    variant: str
    emotions: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    def samples(self) -> Iterator[Sample | LeftOut]:
        for file in self.files:
            for line, row in _rows(file):
                yield self._sample(file, row, f"{os.path.basename(file.path)} line {line}")

    def _sample(self, file: File, row: list[str], where: str) -> Sample | LeftOut:
        if fault := _row_fault(row, file.columns.count):
            return LeftOut(file.split, readable(where), fault)
        cells = {part: row[index].strip() for part, index in file.columns.parts.items()}
        inside = path_below(cells["image"], *file.roots)
        split = split_of(cells["split"]) if "split" in cells else file.split or _split_of_path(inside) or "train"
        name = readable(cells["image"] or where)
        if split is None:
            return LeftOut("", name, "unknown split")
        if not cells["image"]:
            return LeftOut(split, name, "no image is named")
        emotion = _emotion(cells["emotion"], self.codes, self.own)
        if not emotion:
            unknown = "not among --emotions" if self.own else "not an emotion that we know"
            reason = "unknown code" if self.codes else unknown
            return LeftOut(split, name, reason if emotion is None else "a code that --codes leaves out")
        if not inside:
            return LeftOut(split, name, "path leaves the root")
        key = cells.get("key", "").strip("/") or os.path.splitext(inside)[0]
        facts = {"id": name, "code": readable(cells["emotion"])} | _facts(row, file.columns)
        mended = "" if "box" in facts or not file.columns.box else "face box without numbers: dropped"
        return Sample(clean_key(key), split, emotion, os.path.join(file.root, inside), facts=facts, mended=mended)

    def read(self, sample: Sample) -> EncodedImage:
        return read_whole(sample)


def _files_at(path: Path) -> dict[Path, str]:
    """The csv files that are meant, and the split that the name of each or of its folder says; empty for none."""
    if path.is_file():
        refuse_other_kinds(path)
        return {path: split_of(path.stem) or ""}
    if not path.is_dir():
        raise InputError(f"{path}: no such file")
    if (path / METADATA).is_file():
        return {path / METADATA: split_of(path.resolve().name) or ""}
    splits = {name: split for name, split in split_folders(path).items() if (path / name / METADATA).is_file()}
    check_one_each(path, splits)
    if not splits:
        raise InputError(
            f"{path}: a folder without {METADATA}, in it or in its split folders; give the csv file itself; found: "
            f"{names_found(path)}"
        )
    return {path / name / METADATA: split for name, split in splits.items()}


def _opened(path: Path, split: str, options: Options) -> File:
    with open_regular(path) as stream:
        start = stream.read(2)
    # Excel's "Unicode text" is UTF-16.
    encoding = "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with _text(path, encoding) as stream:
        line = stream.readline(65536)
        # The first line that Excel reads as a setting says what stands between the columns, and names none.
        declared = re.fullmatch(f"sep=([{DELIMITERS}])\\s*", line, re.IGNORECASE)
        line = stream.readline(65536) if declared else line
    delimiter = declared[1] if declared else max(DELIMITERS, key=line.count)
    header = [readable(name.strip()) for name in _fields(line, delimiter)]
    columns = _columns(path, header, options)
    own = "" if "split" in columns.parts else split
    root = options.root or str(path.parent)
    return File(str(path), root, own, 2 if declared else 1, delimiter, encoding, header, columns)


def _text(path: Path, encoding: str) -> TextIO:
    errors = "surrogateescape" if encoding == "utf-8-sig" else "replace"
    return open_table(path, encoding, errors, newline="")


def _columns(path: Path, header: list[str], options: Options) -> Columns:
    names = list(map(_plain, header))
    parts = {}
    for part, usual in USUAL.items():
        given = getattr(options, f"{part}_column")
        if given:
            found = [index for index, name in enumerate(header) if name == given]
            found = found or [index for index, name in enumerate(names) if name and name == _plain(given)]
        else:
            found = [index for index, name in enumerate(names) if name in usual]
        if len(found) > 1:
            both = " and ".join(header[index] for index in found)
            if len({header[index] for index in found}) == 1:
                raise InputError(
                    f"{path}: {len(found)} columns are called {header[found[0]]}, and each could be the {part}; rename "
                    "all but the one that is meant"
                )
            raise InputError(f"{path}: {both} could each be the {part}; say which with --{part}-column")
        if found:
            parts[part] = found[0]
        elif given or part in ("image", "emotion"):
            raise InputError(
                f"{path}: no column for the {part}; looked for {given or ', '.join(usual)}; the first line names: "
                f"{', '.join(header)[:200] or 'nothing'}; say which with --{part}-column"
                + (" (a table of pixels is read by the source fer2013)" if "pixels" in names else "")
            )
    box = next((tuple(map(names.index, four)) for four in BOXES if set(four) <= set(names)), ())
    facts = {"subject": parts["subject"]} if "subject" in parts else {}
    for index, name in enumerate(names):
        if index not in {*parts.values(), *box}:
            name = f"column_{name or index}" if name in TAKEN or not name else name
            facts[f"{name}_{index}" if name in facts else name] = index
    return Columns(len(header), parts, box, facts)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


@dataclass
class Seen:
    """What a first look at all rows found. emotions: of labels that are understood; labels: those, as written.

    others: a few labels that are not understood. splits: those that folders of the paths mean. is_foreign: some text is
    not UTF-8. fault: of a row that does not fit the header.
    """

    emotions: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    others: dict[str, None] = field(default_factory=dict)
    splits: set[str] = field(default_factory=set)
    is_foreign: bool = False
    fault: str = ""


MOST_LINES = 50
"""Lines over which one field in quotes may go on."""

MOST_LABELS = 100
"""Different labels that are not understood which are held, however long the file is."""


def _look(file: File, codes: dict[str, str], own: tuple[str, ...], seen: Seen) -> None:
    has_folders = not file.split and "split" not in file.columns.parts
    for number, row in _rows(file):
        if fault := _row_fault(row, file.columns.count):
            seen.fault = seen.fault or f"{fault} in line {number}"
        else:
            seen.is_foreign = seen.is_foreign or any(map(is_foreign, row))
            label = plain_code(row[file.columns.parts["emotion"]])
            emotion = _emotion(label, codes, own)
            if emotion is not None:
                seen.emotions |= {emotion} - {""}
                seen.labels.add(label)
            elif len(seen.others) < MOST_LABELS:
                seen.others[label] = None
            if has_folders:
                split = _split_of_path(path_below(row[file.columns.parts["image"]].strip(), *file.roots))
                seen.splits |= {split} - {""}


def _emotions(path: Path, seen: Seen, codes: dict[str, str], own: tuple[str, ...], given: str) -> tuple[str, ...]:
    """The emotions that the file labels, in the user's order or that of the codes. given: as --codes."""
    others = [readable(label) for label in sorted(seen.others)][:12]
    if codes:
        check_counting(path, [*seen.labels, *seen.others], codes, given)
    if seen.emotions:
        return tuple(name for name in dict.fromkeys(own or codes.values() or EIGHT) if name in seen.emotions)
    if not others:
        raise InputError(f"{path}: no row that fits its first line; {seen.fault or 'there are none'}")
    if not codes and any(map(str.isdecimal, others)):
        raise ask_for_codes(path, others)
    what, advice = "an emotion that we know", "" if codes else "; classes of your own are listed with --emotions"
    if own:
        what, advice = "a class of --emotions", ""
    raise InputError(
        f"{path}: no label names {what}; looked for {', '.join(codes or own or WORDS)}; "
        f"found: {', '.join(others)[:200]}{advice}"
    )


def _told_splits(files: tuple[File, ...], seen: Seen) -> str:
    if "split" in files[0].columns.parts:
        return ""
    if any(file.split for file in files):
        told = (f"{Path(file.path).parent.name}/{os.path.basename(file.path)} as {file.split}" for file in files)
        return f"; no column of splits, {', '.join(told)}"
    return f"; no column of splits, {'folders of the paths say it' if seen.splits else 'all of it train'}"


def _remarks(path: Path, seen: Seen, codes: dict[str, str], options: Options) -> tuple[str, ...]:
    remarks = []
    if seen.splits - {"train"}:
        remarks.append(
            f"{path}: no column of splits: rows whose paths lie in a folder that means one "
            f"({', '.join(sorted(seen.splits))}) are of that split, all others train; --split-column names a column"
        )
    if seen.is_foreign:
        remarks.append(
            f"{path}: not in UTF-8: paths with letters beyond ASCII are taken by their bytes where a file is named so, "
            "else read as Western Windows writes them; where such images are not found, save the table as UTF-8"
        )
    for remark in remarks_on_unused(path, seen.labels, codes, options.codes):
        others = readable(", ".join(label or "no label" for label in sorted(seen.others)))[:100]
        remarks.append(remark + (f", and rows with {others} are left out: is it the right table?" if others else ""))
    return tuple(remarks)


def _split_of_path(path: str) -> str:
    """The split that a folder of a path means, the first that means one; empty where none does."""
    return next(filter(None, map(split_of, path.split("/")[:-1])), None) or ""


def _emotion(label: str, codes: dict[str, str], own: tuple[str, ...]) -> str | None:
    """Our name; None where the label means nothing, empty where the user's codes leave it out."""
    return codes.get(plain_code(label)) if codes else class_of_label(label, own)


def _rows(file: File) -> Iterator[tuple[int, list[str]]]:
    """Number of the line, and its fields; without the header. A line that csv refuses has one empty field.

    A field in quotes may go on in the next lines, as captions do, where the quote is closed within MOST_LINES and the
    fields are then those of the header: a quote that is never closed would swallow the rows after it.
    """
    with _text(Path(file.path), file.encoding) as stream:
        lines = islice(enumerate(lines_of(stream), 1), file.lines, None)
        ahead: deque[tuple[int, str]] = deque()
        while ahead or (ahead := deque(islice(lines, 1))):
            number, line = ahead.popleft()
            row = _fields(line, file.delimiter)
            if line.count('"') % 2:
                ahead.extend(islice(lines, MOST_LINES - len(ahead)))
                row = _continued(line, ahead, file) or row
            if row:
                yield number, row


def _continued(line: str, ahead: deque[tuple[int, str]], file: File) -> list[str]:
    """The fields of a row that goes on in the lines ahead, which are then taken from there; empty where none does."""
    for count, (_, more) in enumerate(ahead, 1):
        line += more
        if more.count('"') % 2:
            # Strict: a quote that closes stands before a delimiter, and one inside a word closes nothing.
            row = _fields(line, file.delimiter, is_strict=True)
            if len(row) != file.columns.count:
                return []
            for _ in range(count):
                ahead.popleft()
            return row
    return []


def _fields(text: str, delimiter: str, is_strict: bool = False) -> list[str]:
    """The fields of one row; one empty field where csv refuses it."""
    try:
        # Many tools write a blank behind each comma, and csv takes a quote after it for a letter.
        return next(csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=is_strict), [])
    except csv.Error:
        return [""]


def _row_fault(row: list[str], count: int) -> str:
    """Why a row is not read: with too few or too many fields, nobody knows which column a value belongs to."""
    if len(row) < count:
        return "columns are missing"
    return "more fields than columns" if any(row[count:]) else ""


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
