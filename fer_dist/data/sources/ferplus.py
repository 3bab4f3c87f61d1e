"""FER+ (Barsoum et al. 2016): ten votes on each picture of FER2013, in fer2013new.csv or in label.csv beside pictures.

The label.csv files that lie in microsoft/FERPlus hold other votes than its fer2013new.csv for 1,602 pictures; the
authors' generate_training_data.py writes them anew from that table. So where the table is there, it is what counts.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from fer_dist.data.pictures import is_picture_name
from fer_dist.data.sources import (
    ALL,
    LeftOut,
    Picture,
    Published,
    Sample,
    Source,
    clean_key,
    fer2013,
    folder_at,
    is_hidden,
    names_found,
    read_whole,
    readable,
)
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

FOLDERS = {"FER2013Train": "train", "FER2013Valid": "val", "FER2013Test": "test"}
"""Microsoft's folders of pictures -> split."""

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
    """Which pictures stay, and their soft labels: the rules of the authors' four ways to train. All keep the emotion
    with most votes as the label. probability and crossentropy differ only in what training does with the shares."""

    emotions: Literal["eight", "seven"] = "eight"
    """seven leaves out contempt, which the study has not; its share of a soft label goes to the other emotions."""


DEFAULT = Options()


def open(raw: str, options: Options = DEFAULT) -> Source:
    """Open FER+ in whichever variant lies at raw.

    raw: the folder that holds fer2013new.csv, with fer2013.csv beside it or the pictures anywhere below it; or the
         one that holds FER2013Train, FER2013Valid and FER2013Test with their label.csv, or data/ with these in it.
    Raises InputError where there are no labels, and where there are labels without pictures.
    """
    given = folder_at(raw)
    table = _table_of(given)
    if table:
        columns = table_columns(table)
        pixels = table.parent / fer2013.TABLE
        if pixels.is_file():
            variant = f"{TABLE} beside {fer2013.TABLE}"
            return Pixels(variant, str(table), options, columns, fer2013.open(str(pixels)))
        if any(_pictures(given)):
            return Files(f"{TABLE} and the pictures that it names", str(given), options, str(table), columns)
    for root in (given, given / "data"):
        if any((root / name / LABELS).is_file() and any(_pictures(root / name)) for name in FOLDERS):
            return Files(f"Microsoft's folders with {LABELS}", str(root), options)
    raise InputError(
        f"{raw}: {'labels without pictures' if table else 'no FER+ here'}; looked for {TABLE} with {fer2013.TABLE} "
        f"beside it or fer0000000.png and the others below it, and for data/FER2013Train/{LABELS} with its pictures; "
        f"found: {names_found(given)}"
    )


@dataclass(frozen=True)
class Labelled:
    """What both variants share."""

    variant: str
    root: str
    options: Options

    @property
    def dataset(self) -> str:
        return "ferplus"

    @property
    def emotions(self) -> tuple[str, ...]:
        seven = self.options.emotions == "seven"
        return tuple(name for name in EMOTIONS if not (seven and name == "contempt"))

    def _judged(self, row: Row, path: str, offset: int = 0, length: int = 0) -> Sample | LeftOut:
        """The sample of a row, whose picture lies there."""
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

    The number in an image name is not the row. Four names stand in two rows; of those that stay, the build keeps one.
    """

    columns: tuple[int, ...]
    pixels: Source

    def samples(self) -> Iterator[Sample | LeftOut]:
        rows = table_rows(Path(self.root), self.columns)
        for row, pixels in zip_longest(rows, self.pixels.samples()):
            if row is None or pixels is None:
                more = "more" if pixels is None else "fewer"
                raise InputError(
                    f"{self.root}: has {more} rows than {fer2013.TABLE} beside it, but they must be the same rows in "
                    "the same order; take both files whole"
                )
            if isinstance(row, LeftOut):
                yield row
            elif pixels.split != row.split:
                yield LeftOut(row.split, row.name, f"Usage is another than in {fer2013.TABLE}")
            elif isinstance(pixels, LeftOut):
                yield LeftOut(row.split, row.name, pixels.reason)
            else:
                placed = replace(row, facts={"row": pixels.facts["id"]})
                yield self._judged(placed, pixels.path, pixels.offset, pixels.length)

    def read(self, sample: Sample) -> Picture:
        return self.pixels.read(replace(sample, facts={"id": sample.facts["row"]}))


@dataclass(frozen=True)
class Files(Labelled):
    """Pictures as files, whose labels stand in fer2013new.csv or, where table is empty, in label.csv beside them."""

    table: str = ""
    columns: tuple[int, ...] = ()

    def samples(self) -> Iterator[Sample | LeftOut]:
        root = Path(self.root)
        if self.table:
            yield from self._matched(table_rows(Path(self.table), self.columns), root, "", TABLE)
            return
        for name, split in FOLDERS.items():
            if (root / name / LABELS).is_file():
                rows = label_rows(root / name / LABELS, split)
                yield from self._matched(rows, root / name, split, LABELS)

    def _matched(self, rows: Iterator[Row | LeftOut], root: Path, split: str, table: str) -> Iterator[Sample | LeftOut]:
        # Rows and pictures come in orders of their own, so the paths of all pictures, 35,710, are held meanwhile.
        paths: dict[str, str] = {}
        used = set()
        for path in _pictures(root):
            name = os.path.basename(path)
            if paths.setdefault(name, path) != path:
                yield LeftOut(split, readable(os.path.relpath(path, root)), "another picture has this name")
        for row in rows:
            if isinstance(row, LeftOut):
                used.add(row.name)
                yield row
            elif row.name in used:
                # Of fer0033120.png the first row says a face, the second none. The label.csv has the first as well.
                yield LeftOut(row.split, row.name, "image name comes twice")
            elif row.name not in paths:
                yield LeftOut(row.split, row.name, "no picture of this name")
            else:
                used.add(row.name)
                yield self._judged(row, paths[row.name])
        for name in paths:
            if name not in used:
                yield LeftOut(split, readable(name), f"no row in {table}")

    def read(self, sample: Sample) -> Picture:
        return read_whole(sample)


def _table_of(given: Path) -> Path | None:
    """fer2013new.csv in the given folder; or above it, where that is the data/ of the repository."""
    places = [given, given.absolute().parent] if any((given / name).is_dir() for name in FOLDERS) else [given]
    return next((place / TABLE for place in places if (place / TABLE).is_file()), None)


def _pictures(root: Path) -> Iterator[str]:
    """Paths of all pictures below a folder, in order."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(names):
            if is_picture_name(name) and not name.startswith("."):
                yield os.path.join(folder, name)
