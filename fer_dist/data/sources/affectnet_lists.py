"""AffectNet's 2017 release, csv lists beside folders of photographs; and what AffectNet's labels mean in any release.

A face box is x, y, width, height in pixels of the photograph; one of the loaders in use reads corners, which is wrong.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_dist.data.emotions import CODES
from fer_dist.data.images import is_image_name
from fer_dist.data.sources.reading import clean_key, read_whole
from fer_dist.data.sources.source import EncodedImage, LeftOut, Sample
from fer_dist.errors import InputError
from fer_dist.storage.folders import names_found, path_below, readable
from fer_dist.storage.untrusted import lines_of, open_regular

COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
"""The columns of a list, in the order of the release: some copies of validation.csv have no header."""

FILES = {"manual": ("training.csv", "validation.csv"), "automatic": ("automatically_annotated.csv",)}
WORDS = {"manual": "Manually", "automatic": "Automatically"}
LIST_FOLDERS = ("{}_Annotated_file_lists", "{0}_Annotated/{0}_Annotated_file_lists", "{}_Annotated", "")
IMAGE_FOLDERS = ("{}_Annotated_Images", "{0}_Annotated/{0}_Annotated_Images")

NO_EMOTION = {"8": "none", "9": "uncertain", "10": "no face"}
POINTS = 68
UNKNOWN = -2.0
"""Valence and arousal of a face that has none."""

FARTHEST = 1e6
"""Pixels; a landmark beyond lies in no image."""


def has_lists(root: Path) -> bool:
    """Whether the 2017 release lies here."""
    return any(_first_file(root, kind, name) for kind, names in FILES.items() for name in names)


def open_lists(root: Path, lists: str, emotions: tuple[str, ...], val_split: str) -> "Lists":
    """Open the 2017 release.

    lists: manual, automatic or both. val_split: what validation.csv becomes.
    Raises InputError where a list or its images are missing, and for a csv file that is no list of AffectNet.
    """
    found: list[AnnotationList] = []
    for kind in ("manual", "automatic") if lists == "both" else (lists,):
        paths = [path for name in FILES[kind] if (path := _first_file(root, kind, name))]
        if not paths:
            other = next(name for name in FILES if name != kind)
            raise InputError(
                f"{root}: no {' or '.join(FILES[kind])} here, which --lists {lists} reads; looked in "
                f"{', '.join(_folders(LIST_FOLDERS, kind))}; found: {names_found(root)}; --lists {other} is there"
            )
        images = next(filter(os.path.isdir, map(root.joinpath, _folders(IMAGE_FOLDERS, kind))), None)
        if images is None:
            raise InputError(
                f"{root}: the images of {paths[0].name} are missing; looked for the folder "
                f"{' or '.join(_folders(IMAGE_FOLDERS, kind))}; found: {names_found(root)}"
            )
        for path in paths:
            split = val_split if path.name == "validation.csv" else "train"
            found.append(AnnotationList(str(path), str(images), kind, split, *_columns(path)))
    told = ", ".join(f"{os.path.basename(item.path)} as {item.split}" for item in found)
    remarks = tuple(
        f"{item.path}: has no header; its columns are taken to be {', '.join(COLUMNS)}"
        for item in found
        if not item.has_header
    )
    return Lists(tuple(found), f"the 2017 release: {told}", emotions, remarks)


@dataclass(frozen=True)
class AnnotationList:
    """One csv file and the folder that its paths start in. columns: where COLUMNS stand in it."""

    path: str
    images: str
    kind: str
    split: str
    columns: tuple[int, ...]
    has_header: bool


@dataclass(frozen=True)
class Lists:
    """The 2017 release. The two kinds of lists share no keys, for they name their images each in its own folder."""

    lists: tuple[AnnotationList, ...]
    variant: str
    emotions: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    dataset: str = "affectnet"

    def samples(self) -> Iterator[Sample | LeftOut]:
        for one in self.lists:
            with open_regular(one.path) as stream:
                for number, line in enumerate(lines_of(stream), 1):
                    if line.strip() and not (number == 1 and one.has_header):
                        yield self._entry(one, line, f"{os.path.basename(one.path)} line {number}")

    def _entry(self, one: AnnotationList, line: bytes, where: str) -> Sample | LeftOut:
        texts = _fields(line)
        if len(texts) <= max(one.columns):
            return LeftOut(one.split, where, "columns are missing")
        row = dict(zip(COLUMNS, (texts[i] for i in one.columns), strict=True))
        path = row["subDirectory_filePath"]
        if not path:
            return LeftOut(one.split, where, "path is missing")
        inside = path_below(path, os.path.abspath(one.images)) if not path.startswith("/") else ""
        if not inside:
            return LeftOut(one.split, readable(path), "path leaves the image folder")
        code = code_of(row["expression"])
        box = [row[name] for name in COLUMNS[1:5]]
        if fault := fault_of(code, self.emotions):
            no_box = ", box NULL" if code == "10" and any(map(_is_null, box)) else ""
            return LeftOut(one.split, readable(path), fault + no_box)
        remarks = Remarks({"id": readable(path), "code": code, "list": one.kind})
        remarks.add_box(box)
        points = row["facial_landmarks"]
        remarks.add_landmarks(None if _is_null(points) else points.split(";"))
        for name in ("valence", "arousal"):
            remarks.add_rating(name, None if _is_null(row[name]) else row[name])
        key = clean_key(("" if one.kind == "manual" else "automatic/") + os.path.splitext(inside)[0])
        image_path = os.path.join(one.images, inside)
        emotion = CODES["affectnet"][code]
        return Sample(key, one.split, emotion, image_path, facts=remarks.facts, mended=remarks.mended)

    def read(self, sample: Sample) -> EncodedImage:
        return read_whole(sample)


def code_of(text: str) -> str:
    """A label as the code table has it: 3 for 3, 3.0 and blanks around it; what is no whole number stays as it is."""
    try:
        number = float(text)
    except ValueError:
        return text.strip()
    return str(int(number)) if number.is_integer() else text.strip()


def fault_of(code: str, emotions: tuple[str, ...], codes: dict[str, str] = CODES["affectnet"]) -> str:
    """Why an image with this code is no sample; empty where it is one. codes: what they mean in a copy."""
    if code in NO_EMOTION and code not in codes:
        return f"no emotion: {NO_EMOTION[code]} (code {code})"
    emotion = codes.get(code)
    if emotion is None:
        return "unknown code"
    if not emotion:
        return "a code that --codes leaves out"
    return "" if emotion in emotions else f"{emotion} is not among the seven"


@dataclass
class Remarks:
    """What a release says of one face beside its emotion, field by field; what is wrong is dropped and told."""

    facts: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def mended(self) -> str:
        return "; ".join(self.faults)

    def add_box(self, texts: list[str]) -> None:
        """texts: x, y, width and height as written. Whether the box lies in the image is seen when that is read."""
        if any(map(_is_null, texts)):
            self.faults.append("face box is NULL: the whole image is used")
            return
        try:
            box = [float(text) for text in texts]
        except ValueError:
            box = []
        if box and all(abs(value) < FARTHEST for value in box):
            self.facts["box"] = [int(value) if value.is_integer() else value for value in box]
        else:
            self.faults.append("face box is not four numbers: the whole image is used")

    def add_landmarks(self, values: NDArray[Any] | list[str] | None) -> None:
        """values: x and y in turn, 136 numbers; None where the release has none."""
        if values is None:
            self.faults.append("landmarks are missing")
            return
        try:
            points = np.array(values, dtype=np.float64).reshape(POINTS, 2)
        except (ValueError, TypeError):
            points = np.full((POINTS, 2), np.nan)
        if (np.abs(points) < FARTHEST).all():
            self.facts["landmarks"] = points.round(2).tolist()
        else:
            self.faults.append(f"landmarks are not {POINTS} points: dropped")

    def add_rating(self, name: str, text: str | None) -> None:
        """name: valence or arousal. text: None where the release has none; a known unknown is left away in silence."""
        if text is None:
            self.faults.append(f"{name} is missing")
            return
        try:
            value = float(text)
        except ValueError:
            value = np.nan
        if -1 <= value <= 1:
            self.facts[name] = value
        elif value != UNKNOWN:
            self.faults.append(f"{name} is not from -1 to 1: dropped")


def _folders(templates: tuple[str, ...], kind: str) -> list[str]:
    return [template.format(WORDS[kind]) or "." for template in templates]


def _first_file(root: Path, kind: str, name: str) -> Path | None:
    paths = (root / folder / name for folder in _folders(LIST_FOLDERS, kind))
    return next(filter(os.path.isfile, paths), None)


def _columns(path: Path) -> tuple[tuple[int, ...], bool]:
    """Where COLUMNS stand in a list, and whether its first line is a header."""
    with open_regular(path) as stream:
        # A file without lines may be gigabytes long; a row of the release has about 1,200 characters.
        names = _fields(stream.readline(1 << 16))
    if all(names.count(name) == 1 for name in COLUMNS):
        return tuple(names.index(name) for name in COLUMNS), True
    if len(names) >= len(COLUMNS) and is_image_name(names[0]) and _is_row(names):
        return tuple(range(len(COLUMNS))), False
    found = ",".join(readable(name) for name in names)[:80] or "an empty line"
    raise InputError(
        f"{path}: not a list of AffectNet; its first line should name {', '.join(COLUMNS)}, each once, or be a row of "
        f"these; found: {found}"
    )


def _is_row(texts: list[str]) -> bool:
    """Whether the values of a row are such as stand in the release's columns, in its order."""
    row = dict(zip(COLUMNS, texts, strict=False))
    boxes = all(_is_null(text) or text.lstrip("-").isdecimal() for text in texts[1:5])
    is_code = code_of(row["expression"]) in {**CODES["affectnet"], **NO_EMOTION}
    return boxes and is_code and (_is_null(row["facial_landmarks"]) or ";" in row["facial_landmarks"])


def _fields(line: bytes) -> list[str]:
    # No field of these lists holds a comma or a quote; a stray quote must not swallow the rows after it.
    text = line.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    return [part.strip(' "\t\r\n') for part in text.split(",")]


def _is_null(text: str) -> bool:
    return text.upper() in ("", "NULL", "NAN")
