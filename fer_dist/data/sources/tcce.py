"""TCCE, the Taiwan Corpora of Chinese Emotions (Chen, Cho and Tseng 2013), the study's Asian set.

A file name says who performed what and how. What viewers saw in the image stands in Image_info.xls.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fer_dist.data.emotions import CODES
from fer_dist.data.images import is_image_name
from fer_dist.data.sources.excel import excel_sheets
from fer_dist.data.sources.reading import clean_key, images_below, read_whole
from fer_dist.data.sources.source import EncodedImage, LeftOut, Published, Sample, Source
from fer_dist.errors import InputError
from fer_dist.storage.folders import files_below, folder_at, names_found, readable
from fer_dist.storage.untrusted import lines_of, open_table

NAME = re.compile(r"(?P<performer>[0-9]{2})(?P<performance>[0-3])(?P<view>[1-3])(?P<letter>[a-g0])[0-9]{2}", re.I)
PERFORMANCES = {"0": "neutral", "1": "theatric", "2": "FACS", "3": "personal event"}
VIEWS = {"1": "front", "2": "three_quarter", "3": "profile"}

RATED = {"1": "happiness", "2": "sadness", "3": "anger", "4": "disgust", "5": "fear", "6": "surprise"}
"""maxIntCategory, the emotion that viewers rated as strongest -> our name. Source: Readme.txt of the release."""

TABLES = ("Image_info.xls", "Image_info.xlsx", "Image_info.csv")
"""The table as the release has it, and as people save it again; copies of it differ in how they write Info."""

COLUMNS = ("file_name", "maxintcategory")
"""Names in lower case."""

HEADER_ROWS = 5
"""First rows of a table, among which the names of columns are looked for; the release has two rows of them."""

MOST_BYTES = 16 << 20
"""Of a table as csv, which is held whole: the release's has some 1,200 rows."""

PUBLISHED: Published = {
    # Huang et al. 2023, table 5: 1,197 images. Only what viewers rated comes near to it: far more than 27 images
    # perform fear, and few were seen as it. The front views without the neutral faces are 1,154: happiness 262, sadness
    # 230, anger 238, fear 26, surprise 218, disgust 180.
    "test": {"happiness": 243, "sadness": 263, "anger": 245, "fear": 27, "surprise": 220, "disgust": 199}
}


@dataclass(frozen=True)
class Options:
    """Which label and which images."""

    label: Literal["auto", "rated", "performed"] = "auto"
    """rated: what viewers saw most in it, from Image_info.xls, as the study has it. performed: what the performer
    meant, from the file name. auto: rated where the table is there, else performed."""

    views: Literal["all", "front", "three_quarter", "profile"] = "all"
    """The side from which an image was taken."""

    emotions: Literal["six", "seven"] = "six"
    """six leaves out the neutral faces, as the study does. In seven they stay neutral with either label: viewers had no
    neutral to choose, and saw one of the six emotions in them too."""


DEFAULT = Options()


def open(raw: str, options: Options = DEFAULT) -> Source:
    """Open TCCE.

    raw: a folder with images named as 1201a02.jpg, in it or in folders below; the table of the release,
         Image_info.xls, in it or in one of those folders, also as .xlsx or .csv with its columns.
    Raises InputError where no image has such a name, where the table cannot be read, and where rated is asked for and
    the table is missing.
    """
    root = folder_at(raw)
    if not any(NAME.fullmatch(Path(path).stem) for path in images_below(root)):
        raise InputError(f"{raw}: no TCCE here; looked for images named as 1201a02.jpg; found: {names_found(root)}")
    table = _table_below(root)
    if table:
        _ratings(table)
    elif options.label == "rated":
        raise InputError(
            f"{raw}: --label rated needs {TABLES[0]}, the table of the release, here or in a folder below; "
            f"found: {names_found(root)}"
        )
    label = options.label if options.label != "auto" else "rated" if table else "performed"
    other = f"--label {'performed' if label == 'rated' else 'rated'}"
    if options.label != "auto":
        remarks: tuple[str, ...] = ()
    elif table:
        remarks = (f"{table}: labels are what viewers rated, as in the study; {other} takes what was performed",)
    else:
        remarks = (
            f"{raw}: no {TABLES[0]} here, so that labels are what was performed, from the file names; the study's are "
            f"what viewers rated: put the release's table here, or say --label performed",
        )
    variant = f"labels are what was {label}, {f'with {table.name}' if table else f'without {TABLES[0]}'}"
    return Tcce(raw, variant, replace(options, label=label), str(table or ""), remarks)


@dataclass(frozen=True)
class Tcce:
    """All images below a folder, all of them test. table: path of Image_info.xls, empty where there is none.

    options: label is rated or performed.
    """

    root: str
    variant: str
    options: Options
    table: str
    remarks: tuple[str, ...] = ()
    dataset: str = "tcce"

    @property
    def emotions(self) -> tuple[str, ...]:
        six = self.options.emotions == "six"
        return tuple(name for name in CODES["tcce"].values() if not (six and name == "neutrality"))

    def samples(self) -> Iterator[Sample | LeftOut]:
        # The table lists its 2,272 images in an order of its own, so that it is held, and the names beside it.
        ratings = _ratings(Path(self.table)) if self.table else {}
        seen: set[str] = set()
        for path in files_below(self.root):
            inside = readable(os.path.relpath(path, self.root))
            stem = Path(path).stem
            match = NAME.fullmatch(stem)
            if not is_image_name(path):
                if os.path.basename(path).lower() not in map(str.lower, TABLES):
                    yield LeftOut("test", inside, "not an image by its extension")
            elif not match or (match["letter"] == "0" and match["performance"] != "0"):
                # A digit for the letter is a slip of the pen only where all the rest says neutral.
                yield LeftOut("test", inside, "name does not fit TCCE")
            elif stem.lower() in seen:
                # The same image in two sizes or formats is one image.
                yield LeftOut("test", inside, "another image has this name")
            else:
                seen.add(stem.lower())
                yield self._sample(path, inside, match, ratings)

    def _sample(self, path: str, inside: str, match: re.Match[str], ratings: dict[str, str]) -> Sample | LeftOut:
        is_mended = match["letter"] == "0"
        performed = CODES["tcce"]["a" if is_mended else match["letter"].lower()]
        stem = match.string.lower()
        rating = next((ratings[name] for name in _spellings(stem) if name in ratings), "")
        rated = RATED.get(rating)
        view = VIEWS[match["view"]]
        by_viewers = self.options.label == "rated" and performed != "neutrality"
        emotion = rated if by_viewers else performed
        if self.options.views not in ("all", view):
            return LeftOut("test", inside, f"another view than {self.options.views}")
        if performed not in self.emotions:
            return LeftOut("test", inside, f"{performed} is not among the six")
        if emotion is None:
            table = os.path.basename(self.table)
            return LeftOut("test", inside, f"unknown rating in {table}" if rating else f"no rating in {table}")
        facts = {
            "id": inside,
            "code": rating if by_viewers else match["letter"],
            "subject": match["performer"],
            "view": view,
            "performance": PERFORMANCES[match["performance"]],
            "performed": performed,
        }
        if rated:
            facts["rated"] = rated
        mended = "digit 0 in the name read as the letter a" if is_mended else ""
        return Sample(clean_key(stem), "test", emotion, path, facts=facts, mended=mended)

    def read(self, sample: Sample) -> EncodedImage:
        return read_whole(sample)


def _table_below(root: Path) -> Path | None:
    """The table in a folder or below; of several the release's own."""
    found: dict[str, Path] = {}
    for path in files_below(root):
        found.setdefault(os.path.basename(path).lower(), Path(path))
    return next((found[name.lower()] for name in TABLES if name.lower() in found), None)


def _ratings(table: Path) -> dict[str, str]:
    """Image's name without its extension -> its code in RATED, or what stands in its place.

    Raises InputError where the table cannot be read, and where its first rows do not name the columns.
    """
    sheets = [_csv_rows(table)] if table.suffix.lower() == ".csv" else excel_sheets(table)
    for rows in sheets:
        header = [[field.lower() for field in row] for row in rows[:HEADER_ROWS]]
        name, rating = (next((row.index(column) for row in header if column in row), None) for column in COLUMNS)
        if name is not None and rating is not None:
            # The table says .tif where the file is .jpg, and 1 may stand there as 1.0.
            return {
                row[name].rpartition(".")[0].lower(): row[rating].removesuffix(".0")
                for row in rows
                if len(row) > max(name, rating)
            }
    first = ", ".join(field for rows in sheets[:1] for row in rows[:1] for field in row if field)
    raise InputError(
        f"{table}: not TCCE's table; its first rows should name file_name and maxIntCategory; "
        f"found: {first[:80] or 'nothing'}"
    )


def _csv_rows(table: Path) -> list[list[str]]:
    with open_table(table, "utf-8-sig", "replace", most_bytes=MOST_BYTES) as stream:
        lines = list(lines_of(stream))
    # Excel writes what the country of its user wants.
    separator = max(",;\t", key="".join(lines[:HEADER_ROWS]).count)
    return [[field.strip(' "\r\n') for field in line.split(separator)] for line in lines]


def _spellings(stem: str) -> list[str]:
    """The name, and where it is of a neutral face its other spelling: with the letter a, or with the digit 0."""
    return [stem, *(stem[:4] + letter + stem[5:] for letter in "a0" if stem[4] in "a0")]
