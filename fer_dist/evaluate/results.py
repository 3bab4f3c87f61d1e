"""The files that hold what a run's model says: a predictions table for each set, and scores.json for all of them."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fer_dist.data.loading.reader import Reader
from fer_dist.errors import InputError
from fer_dist.runs.folder import ONNX, SCORES, RunFolder
from fer_dist.scores.metrics import scores
from fer_dist.scores.table import Predictions, check_keys
from fer_dist.storage.untrusted import Value, read_regular, record
from fer_dist.storage.writing import file_hash, free_bytes, one_at_a_time, write_atomically

if TYPE_CHECKING:
    import pyarrow

PROBABILITY = "p_"
ATTRIBUTE = "a_"
REMEDY = "make it with: fer-dist evaluate --models RUN --data SHARDS"

MOST_TABLE_BYTES = 16 << 30
MOST_SCORES_BYTES = 64 << 20
"""Of a predictions table, whose images take some 50 bytes each, and of scores.json, where a set takes 5 kB."""

PLAIN = r"string|large_string|bool|null|u?int\d+|halffloat|float|double"
"""Types that an attribute's column may have."""

LONGEST_TEXT = 500
"""Characters of texts that become an array of numpy's own kind, in which each takes as many as the longest."""


def results_folder(model: Path) -> Path:
    """Where the results of a model go: its run folder, that of its .safetensors file, or beside an ONNX file.

    ONNX files, as of several peers, may lie in one folder.
    """
    if model.suffix == ONNX and not model.is_dir():
        return model.with_name(f"{model.name}.scores")
    return model if model.is_dir() else model.parent


def predictions_path(run_folder: str | Path, name: str) -> Path:
    """Where a run keeps its table of one set. name: "<dataset>-<split>"."""
    return Path(run_folder) / "predictions" / f"{name}.parquet"


def weights_stated(home: RunFolder, file: Path) -> dict[str, Any]:
    """Which weights scores are of: weights_sha256 of their file, and the step, of a run's checkpoint."""
    step = {"step": int(file.parent.name)} if home.path.is_dir() else {}
    return {**step, "weights_sha256": file_hash(file)}


def is_of_weights(measures: dict[str, Any], sha256: str) -> bool:
    """Whether scores are of these weights. Those of older runs do not say of which they are, and count."""
    return measures.get("weights_sha256", sha256) == sha256


def save_evaluation(run_folder: Path, name: str, predictions: Predictions, measures: dict[str, Any]) -> None:
    """Put a model's table of one set and the scores of it into its run folder.

    name: "<dataset>-<split>". measures: as `scored`, and which weights they are of, as `weights_stated`.
    """
    save_predictions(predictions_path(run_folder, name), predictions)
    save_scores(run_folder, name, measures)


def save_predictions(path: str | Path, predictions: Predictions) -> None:
    """Write a table as parquet in one step; a reader sees the old one or the new one.

    Columns: key, emotion (null where there is none), float32 p_<emotion>, a_<attribute>. The schema's metadata holds
    emotions and masked, each as a JSON list. Raises InputError where a key comes twice.
    """
    import pyarrow
    import pyarrow.parquet

    path = Path(path)
    check_keys(path, predictions.keys)
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
        content = read_regular(path, MOST_TABLE_BYTES)
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
    except FileNotFoundError:
        raise InputError(f"{path}: no such predictions table; {REMEDY}") from None
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a parquet file ({_said(error)}); {REMEDY}") from error
    emotions, masked = _names(path, table, b"emotions"), _names(path, table, b"masked")
    expected = ["key", "emotion", *(PROBABILITY + emotion for emotion in emotions)]
    missing = [name for name in expected if name not in table.column_names]
    if missing:
        raise InputError(f"{path}: not a predictions table, no column {', '.join(missing)}; {REMEDY}")
    try:
        keys = table["key"].to_pylist()
        if not all(isinstance(key, str) for key in keys):
            raise InputError("a key is no text")
        check_keys(path, keys)
        attributes = {
            name.removeprefix(ATTRIBUTE): _values(name, table[name])
            for name in table.column_names
            if name.startswith(ATTRIBUTE)
        }
        with np.errstate(over="ignore"):
            # What float32 does not hold becomes infinite, which is no probability.
            probabilities = [table[PROBABILITY + emotion].to_numpy().astype(np.float32) for emotion in emotions]
        stacked = np.stack(probabilities, axis=1)
        return Predictions(keys, _labels(table, emotions), stacked, emotions, masked, attributes)
    except (InputError, pyarrow.ArrowException, ValueError, TypeError, OverflowError) as error:
        said = _said(error).removeprefix(f"{path}: ")
        raise InputError(f"{path}: not a predictions table: {said}; {REMEDY}") from error


def check_can_save(run_folder: Path) -> None:
    """Whether what an evaluation leaves can be written, looked at before its work. Raises InputError."""
    for name in ("predictions", "figures"):
        free_bytes(run_folder / name)
    if (run_folder / SCORES).exists():
        load_scores(run_folder)


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
        content = read_regular(path, MOST_SCORES_BYTES)
    except FileNotFoundError:
        raise InputError(f"{path}: no scores yet; {REMEDY}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); remove it and {REMEDY}") from None
    return record(dict[str, dict[str, Value]], content, str(path), f"remove it and {REMEDY}")


def scores_of(run: RunFolder) -> dict[str, dict[str, Any]]:
    """As `load_scores`, also of a run in a store; empty where there are none yet."""
    content = run.read(SCORES)
    return record(dict[str, dict[str, Value]], content, f"{run.address}/{SCORES}", REMEDY) if content else {}


def scores_of_weights(run: RunFolder, sha256: str) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """The scores of a run that are of these weights, as `scores_of`; and of which step the other sets' scores are."""
    known = scores_of(run)
    own = {name: measures for name, measures in known.items() if is_of_weights(measures, sha256)}
    return own, {name: measures.get("step", 0) for name, measures in known.items() if name not in own}


def others_told(others: dict[str, int]) -> str:
    """A line that names the sets whose scores are of other weights of the run; empty where there are none."""
    names = ", ".join(f"{name} (step {step})" for name, step in others.items())
    return f"Not shown, for they are of other weights of the run: the scores on {names}." if names else ""


def _names(path: Path, table: "pyarrow.Table", field: bytes) -> tuple[str, ...]:
    content = (table.schema.metadata or {}).get(field)
    if content is None:
        raise InputError(f"{path}: not a predictions table, no {field.decode()} in its metadata; {REMEDY}")
    return record(tuple[str, ...], content, f"{path}: {field.decode()} in its metadata", REMEDY)


def _labels(table: "pyarrow.Table", emotions: tuple[str, ...]) -> npt.NDArray[np.int64]:
    index: dict[str | None, int] = {None: -1, **{name: label for label, name in enumerate(emotions)}}
    names = table["emotion"].to_pylist()
    unknown = sorted({str(name) for name in names if name not in index})
    if unknown:
        raise InputError(f"the emotions {', '.join(unknown)} are not in its list: {', '.join(emotions)}")
    return np.array([index[name] for name in names], dtype=np.int64)


def _values(name: str, column: "pyarrow.ChunkedArray") -> npt.NDArray[Any]:
    kind = str(column.type)
    if not re.fullmatch(PLAIN, kind):
        raise InputError(f"the column {name[:80]} holds {kind[:80]}, not plain values")
    values: npt.NDArray[Any] = column.to_numpy()
    is_text = values.dtype == object and all(isinstance(value, str) and len(value) <= LONGEST_TEXT for value in values)
    return values.astype(str) if is_text else values


def _said(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def scored(predictions: Predictions, reader: Reader) -> dict[str, Any]:
    """The scores of a set's table, and how many images a list, and which emotions the model's lack, left out of it."""
    return scores(predictions) | {"left_out": reader.left_out, "extra": reader.extra}
