"""Predictions as a folder of parquet files, one for each chunk of the inputs: made here or by Ray tasks, in any order.

A part is written whole and named by what it holds and how that was predicted, so what stands there is not made again:
a prediction that was killed goes on, whoever was killed, and each input is in one part. Unlike rows that stream, the
names of all inputs are held.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_dist.config.settings import PredictConfig
from fer_dist.deploy.answers import Prediction
from fer_dist.deploy.inputs import Entry, entries
from fer_dist.deploy.opening import Given
from fer_dist.deploy.predict import Trained, answers, load_trained
from fer_dist.deploy.rows import parquet_file, row_of
from fer_dist.errors import InputError
from fer_dist.evaluate.results import PROBABILITY
from fer_dist.progress import Message, Progress
from fer_dist.storage.paths import is_url
from fer_dist.storage.writing import file_hash

if TYPE_CHECKING:
    from fer_dist.deploy.boxes import Boxes

IMAGES = 500
"""Images of a part: what is done again where its writer is killed."""

PATTERN = "part-*.parquet"

CHANGES_NO_ROW = ("checkpoint", "parts", "ray", "device", "threads", "batch_size", "cache", "cache_gb")
"""Settings that a part of another prediction may have had otherwise."""

_LOADED: dict[str, Trained] = {}


@dataclass(frozen=True, eq=False)
class Part:
    """A chunk of the inputs, whose rows make one file. boxes: those that were given, of all files."""

    run: str
    config: PredictConfig
    entries: tuple[Entry, ...]
    path: str
    boxes: "Boxes | None" = None


@dataclass(frozen=True)
class Parts:
    """The files, in the order of the inputs. seconds: that all of them took; 0 where some stood there already."""

    paths: list[Path]
    seconds: float


def make_parts(trained: Trained, given: Given, show: Progress) -> Parts:
    """Predict what no part holds yet.

    Raises InputError where the folder has parts of other inputs, or of other settings.
    """
    folder = Path(given.config.parts)
    folder.mkdir(parents=True, exist_ok=True)
    parts = _parts(given, folder, trained.file)
    paths = [Path(part.path) for part in parts]
    there = set(folder.glob(PATTERN))
    if others := sorted(there - set(paths)):
        raise InputError(
            f"--parts {folder}: {others[0].name} is of other inputs or other settings; choose another folder, or "
            "remove what is there"
        )
    waiting = [part for part in parts if Path(part.path) not in there]
    if len(waiting) < len(parts):
        show(Message(f"{len(parts) - len(waiting):,} of {len(parts):,} parts stand there already"))
    begun = time.monotonic()
    if given.config.ray.workers:
        _by_tasks(waiting, given.config, show)
    else:
        for number, part in enumerate(waiting, start=1):
            _write(part, trained)
            show(Message("parts", number, len(waiting)))
    return Parts(paths, time.monotonic() - begun if len(waiting) == len(parts) else 0.0)


def predictions_in(paths: Iterable[Path], emotions: Sequence[str]) -> Iterator[tuple[Prediction, ...]]:
    """The predictions that parts hold, those of an image together."""
    import pyarrow.parquet

    for path in paths:
        rows = (row for batch in pyarrow.parquet.ParquetFile(path).iter_batches() for row in batch.to_pylist())
        for _, same in groupby(rows, key=lambda row: (row["file"], row["frame"])):
            yield tuple(_prediction(row, emotions) for row in same)


def predict_part(part: Part, device: str) -> None:
    """What a Ray task runs, on cpu or cuda. Raises InputError and WorkError."""
    if not os.path.exists(part.path):
        _write(part, _trained(part, device))


def _trained(part: Part, device: str) -> Trained:
    """A worker's network, loaded once for all of its parts."""
    known = repr((part.run, part.config, device))
    if known not in _LOADED:
        _LOADED[known] = load_trained(part.run, part.config, device)
    return _LOADED[known]


def _by_tasks(waiting: list[Part], config: PredictConfig, show: Progress) -> None:
    from fer_dist.distributed.cluster import Group
    from fer_dist.distributed.tasks import run_tasks

    if waiting:
        group = Group(replace(config.ray, min_workers=1), config.device)
        run_tasks(predict_part, waiting, group, show)


def _write(part: Part, trained: Trained) -> None:
    given = Given(part.run, part.config, part.entries, part.boxes)
    emotions = trained.network.emotions
    with parquet_file(Path(part.path), emotions) as write:
        for one in answers(trained, given):
            write([row_of(prediction, emotions) for prediction in one.predictions])


def _parts(given: Given, folder: Path, weights: Path) -> list[Part]:
    config = given.config
    # Without the paths of the caches, and with the weights themselves: a run that went on has others.
    settings = {name: value for name, value in asdict(config).items() if name not in CHANGES_NO_ROW}
    digest = hashlib.sha256(json.dumps([settings, file_hash(weights), file_hash(Path(config.faces))]).encode())
    if weights != Path(given.run):
        # By its step, for a training that goes on meanwhile has another last one.
        config = replace(config, checkpoint=weights.parent.name)
    tasked = replace(config, threads=config.threads or int(config.ray.cpus_per_worker))
    found = []
    for number, chunk in enumerate(_chunks(entries(given.named))):
        own = digest.copy()
        own.update("\0".join(_told(entry) for entry in chunk).encode("utf-8", "surrogateescape"))
        path = folder / f"part-{number:06d}-{own.hexdigest()[:16]}.parquet"
        found.append(Part(given.run, tasked, tuple(chunk), str(path), given.boxes))
    return found


def _chunks(named: Iterator[Entry]) -> Iterator[list[Entry]]:
    """Neighbouring images, a video, or a shard. Files are named by absolute paths: a task has a folder of its own."""
    chunk: list[Entry] = []
    for entry in named:
        if entry.kind in ("image", "fault"):
            chunk.append(entry if is_url(entry.name) else replace(entry, name=os.path.abspath(entry.name)))
            if len(chunk) < IMAGES:
                continue
        if chunk:
            yield chunk
            chunk = []
        if entry.kind == "video":
            yield [replace(entry, name=os.path.abspath(entry.name))]
        elif entry.shards:
            for shard in range(len(entry.shards.manifest.shards)):
                yield [replace(entry, shards=entry.shards.only(shard))]
    if chunk:
        yield chunk


def _told(entry: Entry) -> str:
    """What an entry is known by: its name, and of a shard its content."""
    shards = entry.shards.manifest.shards if entry.shards else ()
    return " ".join([entry.kind, entry.name, *(f"{shard.file} {shard.sha256}" for shard in shards)])


def _prediction(row: dict[str, Any], emotions: Sequence[str]) -> Prediction:
    box = None if row["x"] is None else (row["x"], row["y"], row["width"], row["height"])
    p = None if row["emotion"] is None else {name: row[PROBABILITY + name] for name in emotions}
    about = {name: row[name] for name in ("file", "frame", "time", "score", "emotion", "entropy")}
    return Prediction(**about, box=box, probabilities=p, reason=row["reason"] or "")
