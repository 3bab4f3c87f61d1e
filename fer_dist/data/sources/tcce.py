"""TCCE, the Taiwan Corpora of Chinese Emotions (Chen, Cho and Tseng 2013), the study's Asian set.

A file name says who performed what and how. What viewers saw in the picture stands in Image_info.xls, which is read
only where somebody saved it as csv: no library that we use reads the old Excel format.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fer_dist.data.pictures import is_picture_name
from fer_dist.data.sources import (
    LeftOut,
    Picture,
    Published,
    Sample,
    Source,
    clean_key,
    folder_at,
    names_found,
    read_whole,
    readable,
)
from fer_dist.data.sources.files import files_below
from fer_dist.emotions import CODES
from fer_dist.errors import InputError

NAME = re.compile(r"(?P<performer>[0-9]{2})(?P<performance>[0-3])(?P<view>[1-3])(?P<letter>[a-g0])[0-9]{2}", re.I)
PERFORMANCES = {"0": "neutral", "1": "theatric", "2": "FACS", "3": "personal event"}
VIEWS = {"1": "front", "2": "three_quarter", "3": "profile"}

RATED = {"1": "happiness", "2": "sadness", "3": "anger", "4": "disgust", "5": "fear", "6": "surprise"}
"""maxIntCategory, the emotion that viewers rated as strongest -> our name. Source: Readme.txt of the release."""

TABLE = "Image_info.csv"
COLUMNS = ("file_name", "maxintcategory")
"""Names in lower case."""

PUBLISHED: Published = {
    # Huang et al. 2023, table 5: 1,197 pictures. Only what viewers rated comes near to it: far more than 27 pictures
    # perform fear, and few were seen as it.
    "test": {"happiness": 243, "sadness": 263, "anger": 245, "fear": 27, "surprise": 220, "disgust": 199},
}


@dataclass(frozen=True)
class Options:
    """Which label and which pictures."""

    label: Literal["performed", "rated"] = "performed"
    """performed: what the performer meant, from the file name. rated: what viewers saw most in it, from
    Image_info.csv; they had no neutral to choose, so that neutral faces have one of the six emotions too."""

    views: Literal["all", "front", "three_quarter", "profile"] = "all"
    """The side from which a picture was taken."""

    emotions: Literal["six", "seven"] = "six"
    """six leaves out pictures that are labelled neutral, as the study does. With rated there are none."""


DEFAULT = Options()


def open(raw: str, options: Options = DEFAULT) -> Source:
    """Open TCCE.

    raw: a folder with pictures named as 1201a02.jpg, in it or in folders below; Image_info.csv in it or in one of
         those folders. The table of the release is Image_info.xls; as csv it keeps its columns and its two header rows.
    Raises InputError where no picture has such a name, and where rated is asked for and the table is missing.
    """
    root = folder_at(raw)
    if not any(is_picture_name(path) and NAME.fullmatch(Path(path).stem) for path in files_below(root)):
        raise InputError(f"{raw}: no TCCE here; looked for pictures named as 1201a02.jpg; found: {names_found(root)}")
    table = _table_of(root, TABLE)
    if table:
        _header(table)
    elif options.label == "rated":
        excel = _table_of(root, "Image_info.xls")
        found = f"open {excel} and save it as {excel.with_name(TABLE)}" if excel else f"found: {names_found(root)}"
        raise InputError(f"{raw}: --label rated needs {TABLE}, the table of the release as csv; {found}")
    variant = f"names that say what was performed, {'with' if table else 'without'} {TABLE}"
    return Tcce(raw, variant, options, str(table or ""))


@dataclass(frozen=True)
class Tcce:
    """All pictures below a folder, all of them test. table: path of Image_info.csv, empty where there is none."""

    root: str
    variant: str
    options: Options
    table: str
    remarks: tuple[str, ...] = ()
    dataset: str = "tcce"

    @property
    def emotions(self) -> tuple[str, ...]:
        if self.options.label == "rated":
            return tuple(RATED.values())
        six = self.options.emotions == "six"
        return tuple(name for name in CODES["tcce"].values() if not (six and name == "neutrality"))

    def samples(self) -> Iterator[Sample | LeftOut]:
        # The table lists its 2,272 pictures in an order of its own, so that it is held.
        ratings = _ratings(Path(self.table)) if self.table else {}
        for path in files_below(Path(self.root)):
            place = readable(os.path.relpath(path, self.root))
            stem = Path(path).stem
            match = NAME.fullmatch(stem)
            if not is_picture_name(path):
                if stem.lower() != "image_info":
                    yield LeftOut("test", place, "not a picture by its extension")
            elif not match or (match["letter"] == "0" and match["performance"] != "0"):
                # A digit for the letter is a slip of the pen only where all the rest says neutral.
                yield LeftOut("test", place, "name does not fit TCCE")
            else:
                yield self._sample(path, place, match, ratings)

    def _sample(self, path: str, place: str, match: re.Match[str], ratings: dict[str, str]) -> Sample | LeftOut:
        is_mended = match["letter"] == "0"
        performed = CODES["tcce"]["a" if is_mended else match["letter"].lower()]
        stem = match.string.lower()
        rating = next((ratings[name] for name in _spellings(stem) if name in ratings), "")
        rated = RATED.get(rating)
        view = VIEWS[match["view"]]
        by_viewers = self.options.label == "rated"
        emotion = rated if by_viewers else performed
        if self.options.views not in ("all", view):
            return LeftOut("test", place, f"another view than {self.options.views}")
        if emotion is None:
            return LeftOut("test", place, f"unknown rating in {TABLE}" if rating else f"no rating in {TABLE}")
        if emotion not in self.emotions:
            return LeftOut("test", place, f"{emotion} is not among the six")
        facts = {
            "id": place,
            "code": rating if by_viewers else match["letter"],
            "subject": match["performer"],
            "view": view,
            "performance": PERFORMANCES[match["performance"]],
            "performed": performed,
        }
        if rated:
            facts["rated"] = rated
        mended = "digit 0 in the name read as the letter a" if is_mended else ""
        # The stem alone: the same picture in two sizes or formats is one picture.
        return Sample(clean_key(stem), "test", emotion, path, facts=facts, mended=mended)

    def read(self, sample: Sample) -> Picture:
        return read_whole(sample)


def _table_of(root: Path, name: str) -> Path | None:
    """The table below a folder; copies of it differ in how they write Info."""
    return next((Path(path) for path in files_below(root) if os.path.basename(path).lower() == name.lower()), None)


@dataclass(frozen=True)
class Header:
    """How Image_info.csv is written: what stands between its columns, and which are the name and the rating."""

    separator: str
    name: int
    rating: int


def _header(table: Path) -> Header:
    with table.open(encoding="utf-8-sig", errors="replace") as stream:
        lines = [stream.readline(4096) for _ in range(2)]
    # Excel writes what the country of its user wants.
    separator = max(",;\t", key=lines[0].count)
    found = [[field.lower() for field in _fields(line, separator)] for line in lines]
    name, rating = (next((row.index(column) for row in found if column in row), None) for column in COLUMNS)
    if name is None or rating is None:
        raise InputError(
            f"{table}: not TCCE's table; its first two lines should name file_name and maxIntCategory; "
            f"found: {lines[0].strip()[:80] or 'an empty line'}"
        )
    return Header(separator, name, rating)


def _ratings(table: Path) -> dict[str, str]:
    """Picture's name without its extension -> its code in RATED, or what stands in its place."""
    header = _header(table)
    found = {}
    with table.open(encoding="utf-8-sig", errors="replace") as stream:
        for line in stream:
            fields = _fields(line, header.separator)
            if len(fields) > max(header.name, header.rating):
                # The table says .tif where the file is .jpg, and 1 may stand there as 1.0.
                stem = fields[header.name].rpartition(".")[0]
                found[stem.lower()] = fields[header.rating].removesuffix(".0")
    return found


def _fields(line: str, separator: str) -> list[str]:
    return [field.strip(' "\r\n') for field in line.split(separator)]


def _spellings(stem: str) -> list[str]:
    """The name, and where it is of a neutral face its other spelling: with the letter a, or with the digit 0."""
    return [stem, *(stem[:4] + letter + stem[5:] for letter in "a0" if stem[4] in "a0")]
