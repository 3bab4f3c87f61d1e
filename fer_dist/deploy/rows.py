"""Predictions as rows of files that grow while they come: JSON lines, CSV, parquet. And as a short table to read."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fer_dist.deploy.answers import Prediction
from fer_dist.errors import InputError
from fer_dist.evaluate.results import PROBABILITY
from fer_dist.progress import Cells
from fer_dist.storage.folders import readable
from fer_dist.storage.writing import replacing

BEFORE = ("file", "frame", "time", "x", "y", "width", "height", "score", "emotion")
AFTER = ("entropy", "reason")

ROWS_AT_ONCE = 4096
"""Rows that are held before they become a group of a parquet file."""

Write = Callable[[Sequence[Prediction]], None]


def columns_for(emotions: Sequence[str]) -> list[str]:
    """The columns of a row, in every kind of file."""
    return [*BEFORE, *(PROBABILITY + name for name in emotions), *AFTER]


def row_of(prediction: Prediction, emotions: Sequence[str]) -> dict[str, Any]:
    """Column -> value; None where it has none."""
    box = prediction.box or (None, None, None, None)
    p = prediction.probabilities or {}
    return {
        # A name that is not UTF-8 is none that these files can hold.
        "file": readable(prediction.file),
        "frame": prediction.frame,
        "time": prediction.time,
        **dict(zip(("x", "y", "width", "height"), box, strict=True)),
        "score": prediction.score,
        "emotion": prediction.emotion,
        **{PROBABILITY + name: p.get(name) for name in emotions},
        "entropy": prediction.entropy,
        "reason": prediction.reason or None,
    }


@contextmanager
def writing(jsonl: str, csv_file: str, parquet: str, emotions: Sequence[str]) -> Iterator[Write]:
    """A function that writes predictions to each of the files that have a name.

    Lines stand in their file as they are written, and stay there whatever happens; a parquet file is whole at the end,
    or not there. Raises InputError where one cannot be written.
    """
    kinds = {"--jsonl": (jsonl, _lines), "--csv": (csv_file, _csv), "--parquet": (parquet, parquet_file)}
    with ExitStack() as stack:
        writers = []
        for flag, (path, opened) in kinds.items():
            if path:
                try:
                    writers.append(stack.enter_context(opened(Path(path), emotions)))
                except OSError as error:
                    raise InputError(f"{flag} {path}: cannot be written ({error.strerror})") from None

        def write(predictions: Sequence[Prediction]) -> None:
            rows = [row_of(prediction, emotions) for prediction in predictions] if writers else []
            for one in writers:
                one(rows)

        yield write


Rows = Callable[[list[dict[str, Any]]], None]


@contextmanager
def _lines(path: Path, emotions: Sequence[str]) -> Iterator[Rows]:
    encode = json.JSONEncoder(ensure_ascii=False).encode
    with path.open("w", encoding="utf-8", buffering=1) as stream:
        yield lambda rows: stream.writelines(f"{encode(row)}\n" for row in rows) if rows else None


@contextmanager
def _csv(path: Path, emotions: Sequence[str]) -> Iterator[Rows]:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns_for(emotions))
        yield lambda rows: writer.writerows(row.values() for row in rows)


@contextmanager
def parquet_file(path: Path, emotions: Sequence[str]) -> Iterator[Rows]:
    """A function that adds rows to a parquet file, which is whole at the end, or not there."""
    import pyarrow
    import pyarrow.parquet

    kinds = {"file": pyarrow.string(), "emotion": pyarrow.string(), "reason": pyarrow.string()}
    kinds |= {"frame": pyarrow.int64()} | dict.fromkeys(("time", "x", "y", "width", "height"), pyarrow.float64())
    schema = pyarrow.schema(
        [(name, kinds.get(name, pyarrow.float32())) for name in columns_for(emotions)],
        metadata={"emotions": json.dumps(list(emotions))},
    )
    held: list[dict[str, Any]] = []
    with replacing(path) as stream, pyarrow.parquet.ParquetWriter(stream, schema) as writer:

        def flush() -> None:
            if held:
                writer.write_table(pyarrow.Table.from_pylist(held, schema))
                held.clear()

        def write(rows: list[dict[str, Any]]) -> None:
            held.extend(rows)
            if len(held) >= ROWS_AT_ONCE:
                flush()

        yield write
        flush()


def table_of(predictions: Iterable[Prediction]) -> Cells:
    """For the terminal: the most probable emotion of each face, or why there is none."""
    header = ["file", "emotion", "reason", "time s", "box", "score", "p %", "entropy"]
    rows = []
    for one in predictions:
        time = "-" if one.time is None else f"{one.time:.2f}"
        x, y, width, height = one.box or (0, 0, 0, 0)
        box = f"{width:.0f}x{height:.0f}+{x:.0f}+{y:.0f}" if one.box else "-"
        score = "-" if one.score is None else f"{one.score:.2f}"
        highest = f"{100 * max(one.probabilities.values()):.1f}" if one.probabilities else "-"
        entropy = "-" if one.entropy is None else f"{one.entropy:.2f}"
        rows.append([one.file, one.emotion or "-", one.reason or "-", time, box, score, highest, entropy])
    return header, rows
