"""Files that are whole or not there: written beside and renamed, under a lock where several could write.

What is made here follows no link that another user left under its name, and no folder of another user is taken as ours.
"""

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeGuard

from fer_dist.errors import InputError
from fer_dist.storage.untrusted import open_regular


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or none: temporary name, flush to disk, rename. It takes the place of a pipe, too."""
    with replacing(path) as stream:
        stream.write(content)


def write_output(path: Path, content: bytes) -> None:
    """Write what a user named for it: the same, but a pipe or a terminal gets what is written as it comes."""
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(content)
    else:
        write_atomically(path, content)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file to write, which takes the path's place as soon as it is whole; where writing fails it is gone.

    Raises OSError that names the path.
    """
    # A name that nobody can guess, made only where nothing is called so: in a folder in which others write, a link that
    # waits under it would lead what is written into another file. Its rights are what the umask says, as of any file.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        # A write that fails names no file, and the others name one that nobody knows.
        if error.filename in (None, str(temporary)):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def is_full(error: BaseException) -> TypeGuard[OSError]:
    """Whether a disk, or what a user may put on it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def free_on(folder: Path) -> int:
    """Bytes free on the disk on which a folder lies, or is to be made."""
    return shutil.disk_usage(_nearest(folder)).free


def free_bytes(folder: Path, flag: str = "") -> int:
    """The same of a folder that is to be written. Raises InputError that names the flag where it cannot be.

    flag: by which a user chooses another folder; empty for a folder of a run that is there.
    """
    nearest = _nearest(folder)
    if not nearest.is_dir():
        raise InputError(f"{nearest}: a file, but {flag or 'the run'} needs a folder there")
    # Trying is the only sure test: permission bits say nothing to root, and a file system may be read-only.
    try:
        # A name that is too long is found here too.
        with suppress(FileNotFoundError):
            os.lstat(nearest / folder.name)
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        remedy = f"choose another {flag}" if flag else "make the run's folder writable, or copy the run"
        raise InputError(f"{folder}: cannot be written ({error.strerror}); {remedy}") from None
    return free_on(nearest)


def _nearest(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


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
    descriptor = open_lock(path.with_name(f".{path.name}.lock"))
    try:
        try:
            take_lock(descriptor, wait=True)
        except OSError as error:
            # Some mounts (Lustre, NFS) have no locks: better unguarded there than not at all.
            if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
                raise
        yield
    finally:
        os.close(descriptor)


def open_lock(path: Path, mode: int = 0o666) -> int:
    """The descriptor of a file that processes lock, made where there is none; what it holds stays.

    mode: of a new one, less what the umask takes. Raises OSError where there is a link or no regular file.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a link, where a file to lock is needed", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no regular file, where one to lock is needed", str(path))
    return descriptor


def take_lock(descriptor: int, wait: bool = False) -> bool:
    """Lock what `open_lock` gave, until it is closed here and in each process that has it from this one.

    Whether it is ours now: without waiting it may be another's.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def drop_lock(descriptor: int) -> None:
    """Unlock it before it is closed: a process forked meanwhile shares the lock, and would keep it."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def check_owner(folder: Path) -> None:
    """Raises OSError where a folder, or a link that leads to it, was made by another user: what it holds is theirs."""
    # What root made is ours too: a disk mounted for this work alone, as in a container.
    owners = {os.lstat(folder).st_uid, os.stat(folder).st_uid} - {0, os.geteuid()}
    if owners:
        raise OSError(errno.EPERM, f"made by another user, {owners.pop()}", str(folder))


def make_own(folder: Path) -> None:
    """Make a folder for this user alone, or take one that no other user made or can write. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    check_owner(folder)
    if os.stat(folder).st_mode & stat.S_IWOTH:
        raise OSError(errno.EPERM, "every user can write there", str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def file_hash(path: Path) -> str:
    """sha256 of a file, empty where there is none."""
    try:
        with open_regular(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""
