"""FER+ (Barsoum et al. 2016): ten votes on each image of FER2013, in fer2013new.csv or in label.csv beside images.

The label.csv files that lie in microsoft/FERPlus hold other votes than its fer2013new.csv for 1,602 images; the
authors' generate_training_data.py writes them anew from that table. So where the table is there, it is what counts.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from fer_dist.data.sources import fer2013
from fer_dist.data.sources.reading import clean_key, images_below, read_whole
from fer_dist.data.sources.source import ALL, EncodedImage, LeftOut, Published, Sample, Source
from fer_dist.data.sources.splits import check_one_each, remarks_on_unread, split_of
from fer_dist.data.sources.votes import (
    EMOTIONS,
    LABELS,
    TABLE,
    VOTES,
    Row,
    Rule,
    judge,
    label_rows,
    table_columns,
    table_rows,
)
from fer_dist.errors import InputError
from fer_dist.storage.folders import folder_at, folders_in, names_found, readable

PUBLISHED: Published = {
    # The majority rule, eight emotions, votes of fer2013new.csv, each image name once. Where only the label.csv files
    # of the repository are there, they come to 25,045, 3,191 and 3,137.
    "train": {ALL: 25_057},
    "val": {ALL: 3_199},
    "test": {ALL: 3_153},
}


@dataclass(frozen=True)
class Options:
    """How ten votes become a label."""

    votes: Rule = "majority"
    """Which images stay, and their soft labels: the rules of the authors' four ways to train. All keep the emotion
    with most votes as the label. probability and crossentropy differ only in what training does with the shares."""

    emotions: Literal["eight", "seven"] = "eight"
    """seven leaves out contempt, which the study has not; its share of a soft label goes to the other emotions."""


DEFAULT = Options()


def open(raw: str, options: Options = DEFAULT) -> Source:
    """Open FER+ in whichever variant lies at raw.

    raw: the folder that holds fer2013new.csv, with fer2013.csv beside it or the images anywhere below it; or the
         one that holds FER2013Train, FER2013Valid and FER2013Test with their label.csv, or data/ with these in it.
    Raises InputError where there are no labels, and where there are labels without images.
    """
    given = folder_at(raw)
    table = _table_of(given)
    if table:
        columns = table_columns(table)
        pixels = table.parent / fer2013.TABLE
        if pixels.is_file():
            variant = f"{TABLE} beside {fer2013.TABLE}"
            return Pixels(variant, str(table), options, (), columns, fer2013.open(str(pixels)))
        if any(images_below(given)):
            variant = f"{TABLE} and the images that it names"
            return Files(variant, str(given), options, (), {}, str(table), columns)
    for root in (given, given / "data"):
        folders = _split_folders(root)
        if any(any(images_below(root / name)) for name in folders):
            check_one_each(root, folders)
            remarks = remarks_on_unread(root, folders)
            return Files(f"Microsoft's folders with {LABELS}", str(root), options, remarks, folders)
    raise InputError(
        f"{raw}: {'labels without images' if table else 'no FER+ here'}; looked for {TABLE} with {fer2013.TABLE} "
        f"beside it or fer0000000.png and the others below it, and for data/FER2013Train/{LABELS} with its images; "
        f"found: {names_found(given)}"
    )


@dataclass(frozen=True)
class Labelled:
    """What both variants share."""

    variant: str
    root: str
    options: Options
    remarks: tuple[str, ...]

    @property
    def dataset(self) -> str:
        return "ferplus"

    @property
    def emotions(self) -> tuple[str, ...]:
        seven = self.options.emotions == "seven"
        return tuple(name for name in EMOTIONS if not (seven and name == "contempt"))

    def _judged(self, row: Row, path: str, offset: int = 0, length: int = 0) -> Sample | LeftOut:
        """The sample of a row, whose image lies there."""
        verdict = judge(row.votes, self.options.votes)
        if verdict.reason:
            return LeftOut(row.split, row.name, verdict.reason)
        if verdict.emotion not in self.emotions:
            return LeftOut(row.split, row.name, f"{verdict.emotion} is not among the seven")
        shares = {name: share for name, share in zip(EMOTIONS, verdict.soft, strict=True) if name in self.emotions}
        total = sum(shares.values())
        facts = {
            "id": row.name,
            "code": str(EMOTIONS.index(verdict.emotion)),
            "votes": dict(zip(VOTES, row.votes, strict=True)),
            "soft": {name: share / total for name, share in shares.items()},
            **row.facts,
        }
        key = clean_key(row.name.rpartition(".")[0])
        return Sample(key, row.split, verdict.emotion, path, offset, length, facts, row.mended)


@dataclass(frozen=True)
class Pixels(Labelled):
    """fer2013new.csv beside fer2013.csv: the same rows in the same order.

    The number in an image name is not the row. Four names stand in two rows; of those that stay, the first is kept.
    """

    columns: tuple[int, ...]
    pixels: Source

    def samples(self) -> Iterator[Sample | LeftOut]:
        rows = table_rows(Path(self.root), self.columns)
        used: set[str] = set()
        for row, pixels in zip_longest(rows, self.pixels.samples()):
            if _is_row(row) != _is_row(pixels):
                more, lone = ("more", row) if _is_row(row) else ("fewer", pixels)
                raise InputError(
                    f"{self.root}: has {more} rows than {fer2013.TABLE} beside it at {_name(lone)}, but they must be "
                    "the same rows in the same order; take both files whole"
                )
            if row is None or pixels is None or not _is_row(row):
                # Behind the last row there may be junk, which is no row of either.
                yield from (junk for junk in (row, pixels) if isinstance(junk, LeftOut))
                continue
            if isinstance(row, LeftOut):
                yield row
            elif pixels.split != row.split:
                yield LeftOut(row.split, row.name, f"Usage is another than in {fer2013.TABLE}")
            elif isinstance(pixels, LeftOut):
                yield LeftOut(row.split, row.name, pixels.reason)
            else:
                placed = replace(row, facts={"row": pixels.facts["id"]})
                entry = self._judged(placed, pixels.path, pixels.offset, pixels.length)
                if isinstance(entry, Sample) and row.name in used:
                    entry = LeftOut(row.split, row.name, "image name comes twice")
                elif isinstance(entry, Sample):
                    used.add(row.name)
                yield entry

    def read(self, sample: Sample) -> EncodedImage:
        return self.pixels.read(replace(sample, facts={"id": sample.facts["row"]}))


@dataclass(frozen=True)
class Files(Labelled):
    """Images as files, whose labels stand in fer2013new.csv or, where table is empty, in label.csv beside them.

    folders: those with a label.csv -> split.
    """

    folders: dict[str, str]
    table: str = ""
    columns: tuple[int, ...] = ()

    def samples(self) -> Iterator[Sample | LeftOut]:
        root = Path(self.root)
        if self.table:
            yield from self._matched(table_rows(Path(self.table), self.columns), root, "", TABLE)
            return
        for name, split in self.folders.items():
            yield from self._matched(label_rows(root / name / LABELS, split), root / name, split, LABELS)

    def _matched(self, rows: Iterator[Row | LeftOut], root: Path, split: str, table: str) -> Iterator[Sample | LeftOut]:
        # Rows and images come in orders of their own, so the paths of all images, 35,710, are held meanwhile.
        paths: dict[str, str] = {}
        used = set()
        for path in images_below(root):
            name = os.path.basename(path)
            if paths.setdefault(name, path) != path:
                yield LeftOut(split, readable(os.path.relpath(path, root)), "another image has this name")
        for row in rows:
            if isinstance(row, LeftOut):
                used.add(row.name)
                yield row
            elif row.name in used:
                # Of fer0033120.png the first row says a face, the second none. The label.csv has the first as well.
                yield LeftOut(row.split, row.name, "image name comes twice")
            elif row.name not in paths:
                yield LeftOut(row.split, row.name, "no image of this name")
            else:
                used.add(row.name)
                yield self._judged(row, paths[row.name])
        for name in paths:
            if name not in used:
                yield LeftOut(split, readable(name), f"no row in {table}")

    def read(self, sample: Sample) -> EncodedImage:
        return read_whole(sample)


def _table_of(given: Path) -> Path | None:
    """fer2013new.csv in the given folder; or above it, where that is the data/ of the repository."""
    folders = [given, given.absolute().parent] if _split_folders(given, "") else [given]
    return next((folder / TABLE for folder in folders if (folder / TABLE).is_file()), None)


def _split_folders(root: Path, holds: str = LABELS) -> dict[str, str]:
    """Microsoft's folders of images, FER2013Train and its like -> split. holds: a file that must be in them."""
    if not root.is_dir():
        return {}
    words = {name: split_of(re.sub("^FER2013", "", name)) for name in folders_in(root)}
    return {name: split for name, split in words.items() if split and (root / name / holds).exists()}


def _is_row(entry: object) -> bool:
    """Whether a line is a row of its table, whatever became of it: junk says no split."""
    return entry is not None and not (isinstance(entry, LeftOut) and not entry.split)


def _name(entry: Row | Sample | LeftOut | None) -> str:
    return str(entry.facts["id"]) if isinstance(entry, Sample) else "its end" if entry is None else entry.name
