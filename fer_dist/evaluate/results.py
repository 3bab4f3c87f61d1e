"""The files that hold what a run's model says: a predictions table for each set, and scores.json for all of them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fer_dist.data.loading.reader import Reader
from fer_dist.errors import InputError
from fer_dist.runs.folder import SCORES
from fer_dist.scores.metrics import scores
from fer_dist.scores.table import Predictions
from fer_dist.storage.writing import one_at_a_time, write_atomically

if TYPE_CHECKING:
    import pyarrow

PROBABILITY = "p_"
ATTRIBUTE = "a_"
REMEDY = "make it with: fer-dist evaluate --models RUN --data SHARDS"


def predictions_path(run_folder: str | Path, name: str) -> Path:
    """Where a run keeps its table of one set. name: "<dataset>-<split>"."""
    return Path(run_folder) / "predictions" / f"{name}.parquet"


def save_predictions(path: str | Path, predictions: Predictions) -> None:
    """Write a table as parquet in one step; a reader sees the old one or the new one.

    Columns: key, emotion (null where there is none), float32 p_<emotion>, a_<attribute>. The schema's metadata holds
    emotions and masked, each as a JSON list. Raises InputError where a key comes twice.
    """
    import pyarrow
    import pyarrow.parquet

    path = Path(path)
    _check_keys(path, predictions.keys)
    names = [predictions.emotions[label] if label >= 0 else None for label in predictions.labels]
    columns: dict[str, pyarrow.Array] = {
        "key": pyarrow.array([str(key) for key in predictions.keys], pyarrow.string()),
        "emotion": pyarrow.array(names, pyarrow.string()),
    }
    for index, emotion in enumerate(predictions.emotions):
        columns[PROBABILITY + emotion] = pyarrow.array(predictions.probabilities[:, index].astype(np.float32))
    for name, values in predictions.attributes.items():
        columns[ATTRIBUTE + name] = pyarrow.array(np.asarray(values))
    metadata = {"emotions": json.dumps(predictions.emotions), "masked": json.dumps(predictions.masked)}
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(columns, metadata=metadata), sink)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, sink.getvalue().to_pybytes())


def load_predictions(path: str | Path) -> Predictions:
    """Read a table that save_predictions wrote.

    An attribute of whole numbers with gaps comes back as float64 with NaN, one of text with gaps as object with None.
    Raises InputError where the file is missing, is no parquet file, or lacks a column or the list of emotions.
    """
    import pyarrow
    import pyarrow.parquet

    path = Path(path)
    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(path.read_bytes()))
    except FileNotFoundError:
        raise InputError(f"{path}: no such predictions table; {REMEDY}") from None
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a parquet file ({str(error).splitlines()[0]}); {REMEDY}") from error
    emotions, masked = _names(path, table, b"emotions"), _names(path, table, b"masked")
    expected = ["key", "emotion", *(PROBABILITY + emotion for emotion in emotions)]
    missing = [name for name in expected if name not in table.column_names]
    if missing:
        raise InputError(f"{path}: not a predictions table, no column {', '.join(missing)}; {REMEDY}")
    keys = [str(key) for key in table["key"].to_pylist()]
    _check_keys(path, keys)
    attributes = {
        name.removeprefix(ATTRIBUTE): _values(table[name]) for name in table.column_names if name.startswith(ATTRIBUTE)
    }
    try:
        probabilities = [table[PROBABILITY + emotion].to_numpy().astype(np.float32) for emotion in emotions]
        stacked = np.stack(probabilities, axis=1)
        return Predictions(keys, _labels(table, emotions), stacked, emotions, masked, attributes)
    except (InputError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a predictions table: {error}") from error


def save_scores(run_folder: str | Path, name: str, scores: dict[str, Any]) -> None:
    """Put the scores of one set into <run>/scores.json under its name; the other sets' scores stay.

    name: "<dataset>-<split>". Several processes may do this at once: each waits for the one before.
    """
    path = Path(run_folder) / SCORES
    path.parent.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(path):
        known = load_scores(run_folder) if path.exists() else {}
        known[name] = scores
        write_atomically(path, json.dumps(known, indent=1, allow_nan=False).encode() + b"\n")


def load_scores(run_folder: str | Path) -> dict[str, dict[str, Any]]:
    """Read <run>/scores.json: "<dataset>-<split>" -> scores. Raises InputError where it is missing or damaged."""
    path = Path(run_folder) / SCORES
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no scores yet; {REMEDY}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); remove it and {REMEDY}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: a {type(content).__name__} instead of scores by data set; remove it and {REMEDY}")
    return content


def _check_keys(path: Path, keys: Any) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise InputError(f"{path}: the key {str(key)!r} comes twice; every picture counts exactly once")
        seen.add(key)


def _names(path: Path, table: "pyarrow.Table", field: bytes) -> tuple[str, ...]:
    try:
        names = json.loads((table.schema.metadata or {})[field])
    except (KeyError, ValueError):
        raise InputError(f"{path}: not a predictions table, no {field.decode()} in its metadata; {REMEDY}") from None
    return tuple(str(name) for name in names)


def _labels(table: "pyarrow.Table", emotions: tuple[str, ...]) -> npt.NDArray[np.int64]:
    index: dict[str | None, int] = {None: -1, **{name: place for place, name in enumerate(emotions)}}
    names = table["emotion"].to_pylist()
    unknown = sorted({str(name) for name in names if name not in index})
    if unknown:
        raise InputError(f"the emotions {', '.join(unknown)} are not in its list: {', '.join(emotions)}")
    return np.array([index[name] for name in names], dtype=np.int64)


def _values(column: "pyarrow.ChunkedArray") -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = column.to_numpy()
    is_text = values.dtype == object and column.null_count == 0 and all(isinstance(value, str) for value in values)
    return values.astype(str) if is_text else values


def scored(predictions: Predictions, reader: Reader) -> dict[str, Any]:
    """The scores of a set's table, and how many pictures a list left out of it."""
    return scores(predictions) | {"left_out": reader.left_out}
