"""A folder of fetched files on a local disk: bounded in bytes, shared by the processes of a node, safe against crashes.

A file that is there is whole: it was written under another name, checked, and renamed. One process fetches it, the
others wait for it. What was least recently used goes first; a file that someone has mapped stays readable for them
after that. Locks are the kernel's, which frees those of a killed process; the folder must be on a disk of this node.
"""

import fcntl
import hashlib
import os
import random
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fer_dist.errors import InputError
from fer_dist.storage.paths import user_cache
from fer_dist.storage.writing import check_owner, drop_lock, make_own, open_lock, take_lock

CLAIM, PART = ".claim", ".part"
SET_NAME = r"[0-9a-f]{24}"
POLL_SECONDS = 0.02


class NoRoom(Exception):
    """There is no room now: what is in the folder is in use, or on its way in."""


@dataclass(frozen=True)
class Entry:
    """A file of the cache. name: set/file, the set as SET_NAME, the file a .tar or an .idx.

    bytes: of the whole file, or what is set aside for it where that is not known (is_exact is off).
    """

    name: str
    bytes: int
    is_exact: bool = True

    @property
    def owner(self) -> str:
        """What it is held by: a tar and its index go together."""
        return self.name.rpartition(".")[0]


class Cache:
    """The files below a folder, at most so many bytes of them, those on their way in included."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # The root of a container works in folders that a user mounted there; anyone else in their own.
            if os.geteuid():
                check_owner(folder)
            self.holds = _holds(folder)
            self.holds.release(self.holds.hold(".try"))
        except OSError as error:
            raise InputError(f"--data.cache {folder}: cannot be written ({error.strerror}); choose another") from None

    def has(self, entry: Entry) -> bool:
        """Whether the file is there, in its size."""
        try:
            size = (self.folder / entry.name).stat().st_size
        except FileNotFoundError:
            return False
        return size == entry.bytes if entry.is_exact else size > 0

    def touch(self, entry: Entry) -> None:
        """Note that the file is used now."""
        with suppress(FileNotFoundError):
            os.utime(self.folder / entry.name)

    def fetch(self, entry: Entry, fill: Callable[[Path], None], urgent: bool) -> Path:
        """The path of the file, which `fill` writes and checks where it is not there.

        urgent: to make room, files that are in use go too, after all the others.
        Raises NoRoom, or what fill raises.
        """
        path = self.folder / entry.name
        path.parent.mkdir(exist_ok=True)
        claim = path.with_name(f".{path.name}.{entry.bytes}{CLAIM}")
        while not self.has(entry):
            with _claimed(claim) as is_ours:
                if is_ours and not self.has(entry):
                    part = claim.with_suffix(PART)
                    try:
                        self._make_room(entry, claim, urgent)
                        fill(part)
                        with part.open("rb") as stream:
                            os.fsync(stream.fileno())
                        part.replace(path)
                    finally:
                        part.unlink(missing_ok=True)
            if not is_ours:
                time.sleep(POLL_SECONDS * random.uniform(0.5, 1.5))
        self.touch(entry)
        return path

    def discard(self, entry: Entry) -> None:
        """Forget a file that turned out to be damaged, so that it is fetched again."""
        (self.folder / entry.name).unlink(missing_ok=True)

    def _make_room(self, entry: Entry, claim: Path, urgent: bool) -> None:
        """Remove files, least recently used first, until the claim and all the others fit. Raises NoRoom."""
        if entry.bytes > self.most_bytes:
            raise InputError(
                f"--data.cache-gb {self.most_bytes / 1e9:g} is smaller than {Path(entry.name).name} "
                f"({entry.bytes / 1e9:.3g} GB); give room for a few shards at least"
            )
        with _locked(self.folder / ".room"):
            files, used = self._survey(claim)
            for use_held in (False, True) if urgent else (False,):
                for _, size, path in files:
                    if used <= self.most_bytes:
                        return
                    with self.holds.alone(f"{path.parent.name}/{path.stem}") as is_free:
                        if (is_free or use_held) and path.exists():
                            path.unlink()
                            used -= size
            if used > self.most_bytes:
                raise NoRoom

    def _survey(self, ours: Path) -> tuple[list[tuple[int, int, Path]], int]:
        """The files as (time of use, bytes, path), the oldest use first, and the bytes of these and all claims.

        Claims that a killed process left behind are removed on the way.
        """
        files: list[tuple[int, int, Path]] = []
        used = 0
        for group in self.folder.iterdir():
            # The folder may hold other things, which are none of ours to remove.
            if not re.fullmatch(SET_NAME, group.name):
                continue
            for path in group.iterdir():
                if path.suffix == CLAIM:
                    if path == ours or not _is_stale(path):
                        used += int(path.name.split(".")[-2])
                    continue
                try:
                    state = path.stat()
                except FileNotFoundError:
                    continue
                if path.suffix == PART:
                    if not path.with_suffix(CLAIM).exists():
                        path.unlink(missing_ok=True)
                    continue
                if path.suffix not in (".tar", ".idx"):
                    continue
                files.append((state.st_mtime_ns, state.st_size, path))
                used += state.st_size
        return sorted(files), used


class Holds:
    """What is in use, seen by all processes: a byte of one file for each name, locked shared while it is.

    The kernel frees the locks of a process that dies. They belong to the process, so this object counts its own; and
    closing the file once would free them all, so it stays open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = threading.RLock()
        self._process = 0
        self._file = -1
        self._counts: Counter[str] = Counter()

    def hold(self, name: str) -> str:
        with self._mutex:
            self._enter()
            if not self._counts[name]:
                fcntl.lockf(self._file, fcntl.LOCK_SH, 1, _byte_of(name))
            self._counts[name] += 1
        return name

    def release(self, name: str) -> None:
        with self._mutex:
            self._enter()
            self._counts[name] -= 1
            if self._counts[name] <= 0:
                del self._counts[name]
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _byte_of(name))

    def names(self) -> set[str]:
        """What this process holds."""
        return set(self._counts)

    @contextmanager
    def alone(self, name: str) -> Iterator[bool]:
        """Whether nobody holds the name; while this is open nobody begins to."""
        with self._mutex:
            self._enter()
            if self._counts[name]:
                yield False
                return
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _byte_of(name))
            except (BlockingIOError, PermissionError):
                yield False
                return
            try:
                yield True
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _byte_of(name))

    def _enter(self) -> None:
        # A forked process holds nothing yet: these locks are not inherited.
        if self._process != os.getpid():
            self._file = open_lock(self._path, 0o600)
            self._process = os.getpid()
            self._counts.clear()


@lru_cache
def _holds(folder: Path) -> Holds:
    return Holds(folder / ".in-use")


def _byte_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])


def default_folder() -> Path:
    """fer-dist in the user's cache folder, or in the folder for temporary files where that cannot be written.

    Raises InputError where another user has taken the place there.
    """
    for root in (Path(user_cache()), Path(tempfile.gettempdir(), f"fer-dist-{os.getuid()}")):
        try:
            make_own(root)
            make_own(root / "shards")
            return root / "shards"
        except OSError as error:
            refused = error
    raise InputError(f"{refused.filename}: no place for the cache ({refused.strerror}); choose one: --data.cache")


@contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """Whether the claim is ours: a locked file. It is removed afterwards."""
    descriptor = open_lock(path, 0o600)
    try:
        if not take_lock(descriptor):
            yield False
            return
        try:
            # Whoever had it before may have removed it between our opening and our lock.
            yield _is_at(descriptor, path)
        finally:
            if _is_at(descriptor, path):
                path.unlink()
            drop_lock(descriptor)
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _is_stale(claim: Path) -> bool:
    """Whether nobody holds the claim; then it is removed, and the unfinished file before it."""
    try:
        descriptor = os.open(claim, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        if not take_lock(descriptor):
            return False
        if _is_at(descriptor, claim):
            claim.with_suffix(PART).unlink(missing_ok=True)
            claim.unlink()
        drop_lock(descriptor)
        return True
    finally:
        os.close(descriptor)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = open_lock(path, 0o600)
    try:
        take_lock(descriptor, wait=True)
        try:
            yield
        finally:
            drop_lock(descriptor)
    finally:
        os.close(descriptor)
