"""Files that are whole or not there: written beside and renamed, under a lock where several could write."""

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fer_dist.errors import InputError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or none: temporary name, flush to disk, rename. A pipe gets what is written as it comes."""
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(content)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_full(error: BaseException) -> bool:
    """Whether a disk, or what a user may put on it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def free_bytes(folder: Path, flag: str) -> int:
    """Of the disk on which a folder is to be made. Raises InputError that names the flag where it cannot be made."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise InputError(f"{nearest}: a file, but {flag} needs a folder there")
    # Trying is the only sure test: permission bits say nothing to root, and a file system may be read-only.
    probe = nearest / f".{folder.name}.probe"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another {flag}") from None
    return shutil.disk_usage(nearest).free


def flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Keep other processes that ask for the same path waiting. Its folder exists."""
    # A file of its own: the path itself is replaced or removed meanwhile, and a lock on that would guard nothing.
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def file_hash(path: Path) -> str:
    """sha256 of a file, empty where there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
