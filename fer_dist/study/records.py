"""The record of a study's jobs that are done."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fer_dist.errors import InputError
from fer_dist.storage.writing import file_hash, open_lock, write_atomically
from fer_dist.study.jobs import Job


class Records:
    """What is done of a study: a file for each job, OUT/jobs/<key>.json, written once its products stand.

    A training has one from its start on, which says in which run folder it works; `done` is set at its end.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out / "jobs"

    def read(self, key: str) -> dict[str, Any]:
        """What is recorded of a job, an empty dict where nothing is. A damaged record is as good as none."""
        try:
            content = json.loads((self.folder / f"{key}.json").read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def write(self, job: Job, content: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {"job": job.name, "kind": job.kind, **content}
        write_atomically(self.folder / f"{job.key}.json", json.dumps(content, indent=1, allow_nan=False).encode())

    def is_done(self, job: Job) -> bool:
        """Whether the job is recorded as done and its products are still there, as it left them."""
        record = self.read(job.key)
        files: dict[str, str] = record.get("files", {})
        return bool(record.get("done")) and all(file_hash(self.out / name) == value for name, value in files.items())

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
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise InputError(
                f"{out}: another study is at work there (process {holder}, or a training that it started); "
                "wait for its end, or choose another --out"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield descriptor
    finally:
        os.close(descriptor)


def differing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Settings that are not as they were, as `train.lr 0.01 -> 0.1`."""
    return [f"{name} {old.get(name)} -> {new.get(name)}" for name in new if old.get(name) != new.get(name)]
