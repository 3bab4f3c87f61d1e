"""The record of a study's jobs that are done."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fer_dist.errors import InputError
from fer_dist.storage.untrusted import Count, Number, Value, file_name, inside, read_regular, record
from fer_dist.storage.writing import file_hash, open_lock, take_lock, write_atomically
from fer_dist.study.jobs import Job, Kind

MOST_BYTES = 1 << 30
"""Of a record; an audit's names every copy."""

NEEDED: dict[Kind, tuple[str, ...]] = {
    "audit": ("copies", "files"),
    "train": ("folder", "seconds", "parameters", "files"),
    "evaluate": ("scores", "files"),
    "parity": ("parity",),
    "robustness": ("robustness",),
    "measures": ("detail",),
    "compare": ("paired",),
    "seeds": ("over_images",),
    "training accuracy": ("training_accuracy",),
    "ranking": ("ranking",),
    "gallery": ("gallery",),
    "control": ("folder", "files"),
    "explain": ("explained", "files"),
    "planted": ("planted",),
    "report": ("files",),
}
"""What the record of a job that is done holds, at least."""


@dataclass(frozen=True)
class _Record:
    """The types of what any record may hold."""

    done: bool = False
    folder: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    seconds: Number = 0.0
    parameters: Count = 0
    scores: dict[str, Value] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    copies: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    alike: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    parity: dict[str, Value] = field(default_factory=dict)
    robustness: dict[str, Value] = field(default_factory=dict)
    detail: dict[str, Value] = field(default_factory=dict)
    without_copies: dict[str, Value] | None = None
    paired: dict[str, Value] = field(default_factory=dict)
    over_images: dict[str, Value] = field(default_factory=dict)
    against_own: dict[str, Value] | None = None
    training_accuracy: dict[str, Value] | None = None
    ranking: dict[str, Value] = field(default_factory=dict)
    gallery: list[Value] = field(default_factory=list)
    explained: dict[str, Value] = field(default_factory=dict)
    planted: dict[str, Value] = field(default_factory=dict)
    worlds: dict[str, Count] = field(default_factory=dict)


class Records:
    """What is done of a study: a file for each job, OUT/jobs/<key>.json, written once its products stand.

    A training has one from its start on, which says in which run folder it works; `done` is set at its end.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out / "jobs"

    def read(self, key: str) -> dict[str, Any]:
        """What is recorded of a job, an empty dict where nothing is. A damaged record is as good as none.

        So is one whose values are of other types, or whose paths lead out of the study.
        """
        path = self.folder / f"{key}.json"
        try:
            content = read_regular(path, MOST_BYTES)
            known = record(_Record, content, str(path))
            if known.folder is not None:
                file_name(known.folder, str(path))
            for name in known.files:
                inside(self.out, name, str(path))
            return record(dict[str, Value], content, str(path))
        except (OSError, InputError):
            return {}

    def write(self, job: Job, content: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {"job": job.name, "kind": job.kind, **content}
        write_atomically(self.folder / f"{job.key}.json", json.dumps(content, indent=1, allow_nan=False).encode())

    def is_done(self, job: Job) -> bool:
        """Whether the job is recorded as done and its products are still there, as it left them."""
        found = self.read(job.key)
        if not found.get("done") or not all(name in found for name in NEEDED[job.kind]):
            return False
        return all(file_hash(self.out / name) == value for name, value in found.get("files", {}).items())

    def run_folder(self, job: Job) -> Path:
        """The folder of a training: that of its record, or else runs/<model>, or where that is another's, one beside.

        So a changed setting never touches what was trained before, and going back to it finds that again.
        """
        if name := self.read(job.key).get("folder"):
            return self.out / "runs" / str(name)
        plain = self.out / "runs" / job.model
        return plain.with_name(f"{job.model}-{job.key[:8]}") if plain.exists() else plain


@contextmanager
def locked(out: Path) -> Iterator[int]:
    """Hold a study's folder against a second study. Gives the lock's file descriptor, for processes that work for it.

    Raises InputError where another one holds it, or the folder holds something else than a study.
    """
    path = out / "jobs" / ".lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = open_lock(path, 0o644)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); choose another --out") from None
    try:
        if not take_lock(descriptor):
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise InputError(
                f"{out}: another study is at work there (process {holder}, or a training that it started); "
                "wait for its end, or choose another --out"
            )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield descriptor
    finally:
        os.close(descriptor)


def differing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Settings that are not as they were, as `train.lr 0.01 -> 0.1`."""
    return [f"{name} {old.get(name)} -> {new.get(name)}" for name in new if old.get(name) != new.get(name)]
