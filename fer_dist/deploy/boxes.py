"""Boxes of faces that a user gives: a csv file with the columns file, x, y, width, height, and perhaps frame."""

import csv
import os
from pathlib import Path

from fer_dist.data.sources.reading import finite, refuse_other_kinds
from fer_dist.errors import InputError, counted
from fer_dist.storage.untrusted import lines_of, open_table

COLUMNS = ("file", "x", "y", "width", "height")

Boxes = dict[tuple[str, int | None], list[tuple[float, float, float, float]]]
"""(File, frame) -> its boxes, each x, y, width and height in pixels, in the order of the table."""


def load_boxes(path: str) -> Boxes:
    """Read such a file; what this command writes with --csv is one. A row without numbers is of an image without faces.

    Files stand there as the rows of the prediction name them, or relative to the csv file. All of it is held.
    Raises InputError for what is no such table.
    """
    found: Boxes = {}
    folder = os.path.dirname(path)
    try:
        refuse_other_kinds(Path(path))
        with open_table(path, "utf-8-sig", "surrogateescape", newline="") as stream:
            reader = csv.reader(lines_of(stream))
            header = [name.strip().lower() for name in next(reader, [])]
            missing = [name for name in COLUMNS if name not in header]
            if missing:
                raise InputError(
                    f"{path}: no column {missing[0]}; a file of boxes has the columns {', '.join(COLUMNS)}, and frame "
                    "where its files are videos"
                )
            at = {name: header.index(name) for name in (*COLUMNS, *(["frame"] if "frame" in header else []))}
            for row in reader:
                if len(row) < len(header):
                    raise InputError(
                        f"{path}: line {reader.line_num}: {counted(len(row), 'field')}, and the header has "
                        f"{len(header)}; mend the line"
                    )
                _add(found, {name: row[index].strip() for name, index in at.items()}, folder)
    except (OSError, ValueError, csv.Error) as error:
        said = error.strerror if isinstance(error, OSError) else f"line {reader.line_num}: {error}"
        raise InputError(f"{path}: cannot be read as a file of boxes ({said})") from None
    return found


def boxes_of(boxes: Boxes, file: str, frame: int | None) -> list[tuple[float, float, float, float]]:
    """The boxes that a file of boxes gives an image; none where it does not name it."""
    return boxes.get((file, frame)) or boxes.get((os.path.abspath(file), frame)) or []


def _add(found: Boxes, row: dict[str, str], folder: str) -> None:
    name = row["file"]
    frame = int(row["frame"]) if row.get("frame") else None
    if not any(row[column] for column in COLUMNS[1:]):
        return
    x, y, width, height = finite(row[column] for column in COLUMNS[1:])
    box = (x, y, width, height)
    found.setdefault((name, frame), []).append(box)
    beside = os.path.abspath(os.path.join(folder, name))
    if beside != name:
        found.setdefault((beside, frame), []).append(box)
