"""The files of a folder in a remote store, through fsspec: listed in one go, fetched and put whole, tried again.

Any scheme that fsspec knows will do; its client is an extra of the package.
"""

import contextlib
import errno
import random
import re
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from fer_dist.errors import InputError, WorkError
from fer_dist.storage.paths import WEB, Location, without_secrets
from fer_dist.storage.writing import is_full

Result = TypeVar("Result")

CONNECT_SECONDS = 10.0
STALL_SECONDS = 30.0
"""A connection that gives no byte for so long is given up, and another one is tried."""

MOST_MANIFEST_BYTES = 1 << 30
"""A manifest of 100,000 shards has 32 MB; other small files have less."""

PROBE = b"written by fer-dist to try this place; may be removed\n"
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
DAMAGE = {"FlexibleChecksumError", "ChecksumError"}
FOR_GOOD = {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "RefreshError", "InvalidURL"}
"""The stores' own errors, by name, since their packages need not be installed: what came was damaged on its way or in
the store; and what no second try mends."""

CREATE, MATCH = ("s3", "s3a", "gs", "gcs"), ("s3", "s3a")
"""Stores that can be asked to write a file only where there is none, and only where it is as it was seen."""

REFUSED, NOT_KNOWN = {"PreconditionFailed", "412", "NoSuchKey"}, {"NotImplemented", "501"}
"""What such a store answers where the file is another by now, and what one of its like answers that cannot compare."""


@dataclass(frozen=True)
class Patience:
    """How often and how long something is tried: waits double from first to longest, each times a random share."""

    tries: int = 6
    first_seconds: float = 0.5
    longest_seconds: float = 20.0
    most_seconds: float = 300.0
    """No try begins later than this after the first one."""


class Damaged(Exception):
    """What came is not what the manifest says."""


class _Changed(Exception):
    """A file is no longer as it was seen, and was not written."""


class Store:
    """One folder of a remote store."""

    def __init__(self, location: Location, patience: Patience | None = None) -> None:
        self.location = location
        self.patience = patience or Patience()
        self.moved = time.monotonic()
        """When a byte last came."""

    def read(self, name: str) -> bytes:
        """A whole small file. Raises InputError where it cannot be had."""
        with tempfile.TemporaryDirectory(prefix="fer-dist-") as scratch:
            target = Path(scratch) / "file"
            try:
                self.fetch(name, target, MOST_MANIFEST_BYTES)
            except WorkError as error:
                raise InputError(str(error)) from None
            return target.read_bytes()

    def sizes(self) -> dict[str, int] | None:
        """Name -> bytes of every file in the folder, asked for in one go; None where a store gives no lists.

        Raises InputError where the folder cannot be listed.
        """
        if self.location.protocol in WEB:
            return None

        def ask() -> dict[str, int]:
            found = self._files().ls(self.location.folder, detail=True)
            return {entry["name"].rpartition("/")[2]: int(entry["size"] or 0) for entry in found}

        try:
            return self._tried(ask, self.location.shown)
        except WorkError as error:
            raise InputError(str(error)) from None

    def fetch(self, name: str, target: Path, most_bytes: int, check: Callable[[Path], None] | None = None) -> None:
        """Write a file of the folder to target, trying again where that may help.

        most_bytes: a longer file is not taken. check: raises Damaged where what came is wrong.
        Raises WorkError that names the file, the store and the cause.
        """

        def get() -> None:
            self._get(name, target, most_bytes)
            if check:
                check(target)

        self._tried(get, f"{name} in {self.location.shown}")

    def read_if_there(self, name: str, most_bytes: int = MOST_MANIFEST_BYTES) -> bytes | None:
        """A whole file, None where there is none. most_bytes: a longer file is not taken.

        Raises WorkError where it is longer, or the store does not answer.
        """

        def get() -> bytes | None:
            with tempfile.TemporaryDirectory(prefix="fer-dist-") as scratch:
                target = Path(scratch) / "file"
                try:
                    self._get(name, target, most_bytes)
                except FileNotFoundError:
                    return None
                return target.read_bytes()

        return self._tried(get, f"{name} in {self.location.shown}")

    def _get(self, name: str, target: Path, most_bytes: int) -> None:
        self._files().get_file(self.location.of(name), str(target), callback=_watch(self, most_bytes))

    def names(self) -> set[str]:
        """Every file in the folder and in those below, by its path from here."""

        def ask() -> set[str]:
            start = self._files()._strip_protocol(self.location.folder).rstrip("/") + "/"
            return {name.removeprefix(start) for name in self._files().find(start)}

        return self._tried(ask, self.location.shown)

    def put(self, name: str, content: bytes) -> None:
        """Write a file whole: a reader finds the one before it or this one. Raises WorkError."""
        self._write(name, content, {})

    def version(self, name: str) -> str | None:
        """What a store calls the state of a file, another one after each change; None where there is no such file.

        An empty text where the store has no such names. Raises WorkError where it does not answer.
        """

        def ask() -> str | None:
            try:
                return str(self._files().info(self.location.of(name)).get("ETag", ""))
            except FileNotFoundError:
                return None

        return self._tried(ask, f"{name} in {self.location.shown}")

    def put_over(self, name: str, content: bytes, version: str | None) -> bool:
        """Write a file where nobody else has since `version` was asked for. Whether it was written.

        Only stores of CREATE and MATCH look; another one writes in any case. Raises WorkError.
        """
        condition: dict[str, Any] = {}
        if version is None and self.location.protocol in CREATE:
            condition = {"mode": "create"}
        elif version and self.location.protocol in MATCH:
            # In one piece, since the parts of several are not compared: up to 5 GB.
            condition = {"IfMatch": version, "chunksize": max(len(content), 1)}
        try:
            self._write(name, content, condition)
            return True
        except _Changed:
            return False

    def probe(self) -> bool:
        """Write a file under a name that nobody has, read it and remove it. Whether it came back as it was written.

        Raises WorkError where one of the three cannot be done.
        """
        name = f".fer-dist-probe-{secrets.token_hex(4)}"
        self.put(name, PROBE)
        content = self.read_if_there(name)
        self.remove({name})
        return content == PROBE

    def _write(self, name: str, content: bytes, condition: dict[str, Any]) -> None:
        if self.location.protocol in WEB:
            raise WorkError(
                f"{self.location.shown}: {self.location.protocol}:// can be read only; write to s3:// or gs://"
            )

        def write() -> None:
            try:
                self._files().pipe_file(self.location.of(name), content, **condition)
            except OSError as error:
                code = _code(error)
                if condition and code in NOT_KNOWN:
                    self._files().pipe_file(self.location.of(name), content)
                elif condition and (isinstance(error, FileExistsError) or code in REFUSED):
                    raise _Changed from None
                else:
                    raise

        self._tried(write, f"{name} in {self.location.shown}", "cannot be written")

    def remove(self, names: set[str]) -> None:
        """Remove files of the folder; one that is gone already is none to remove."""

        def drop() -> None:
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    self._files().rm_file(self.location.of(name))

        self._tried(drop, self.location.shown, "cannot be written")

    def _files(self) -> Any:
        return file_system(self.location)

    def _tried(self, action: Callable[[], Result], what: str, failing: str = "cannot be had") -> Result:
        patience = self.patience
        begun = time.monotonic()
        damaged = 0
        for number in range(1, patience.tries + 1):
            self.moved = time.monotonic()
            try:
                return action()
            # Each store raises errors of its own kinds, which fsspec does not unify; what is our own is let through.
            except (_Changed, WorkError, InputError, TypeError, AttributeError, NameError, AssertionError):
                raise
            except Exception as error:
                damaged += _is_damage(error)
                if _is_local(error):
                    raise WorkError(
                        f"{what}: the cache cannot be written ({cause_of(error, self.location)}); see --data.cache"
                    ) from None
                wait = random.uniform(0.5, 1) * min(
                    patience.first_seconds * 2 ** (number - 1), patience.longest_seconds
                )
                too_late = time.monotonic() + wait - begun > patience.most_seconds
                if _is_for_good(error) or damaged > 1 or number == patience.tries or too_late:
                    tries = f" in {number} tries" if number > 1 else ""
                    cause = cause_of(error, self.location)
                    raise WorkError(f"{what}: {failing}{tries}: {cause}; {_remedy(error)}") from None
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")


def file_system(location: Location) -> Any:
    """The file system of a store: fsspec keeps one for each set of options, and makes another one after a fork.

    Raises WorkError where its package is missing, or no store has such a name.
    """
    import fsspec

    protocol = location.protocol
    try:
        return fsspec.filesystem(protocol, **_options(protocol))
    except ImportError:
        extra = EXTRAS.get(protocol)
        remedy = f"pip install 'fer-dist[{extra}]'" if extra else "install the package that fsspec has for it"
        raise WorkError(f"{location.shown}: {protocol}:// needs another package: {remedy}") from None
    except ValueError:
        raise WorkError(
            f"{location.shown}: no store is known as {protocol}://; there are s3, gs, https, memory and file"
        ) from None


def _watch(store: Store, most_bytes: int) -> Any:
    """Ends a transfer that brings more than it should, and notes that bytes come."""
    from fsspec.callbacks import Callback

    class Watch(Callback):
        def relative_update(self, inc: int = 1) -> None:
            super().relative_update(inc)
            store.moved = time.monotonic()
            if self.value > most_bytes:
                raise Damaged(f"it has more than the {most_bytes:,} bytes that it should have")

    return Watch()


def _options(protocol: str) -> dict[str, Any]:
    """How a store is spoken to: with time limits for silence, and no memory of old lists."""
    if protocol in WEB:
        from aiohttp import ClientTimeout

        return {
            "client_kwargs": {
                "timeout": ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=STALL_SECONDS)
            }
        }
    if protocol in ("s3", "s3a"):
        # Tried again here, where the tries are counted.
        return {"use_listings_cache": False, "config_kwargs": {"retries": {"total_max_attempts": 1}}}
    if protocol in ("gs", "gcs"):
        return {"use_listings_cache": False}
    return {}


def _is_for_good(error: Exception) -> bool:
    status = getattr(error, "status", None) or getattr(error, "code", None)
    if isinstance(status, int) and 400 <= status < 500:
        return status not in (408, 429)
    return isinstance(error, FileNotFoundError | PermissionError | ValueError) or type(error).__name__ in FOR_GOOD


def _code(error: OSError) -> str:
    """What S3 calls an error, of which fsspec makes one of Python's; empty where it does not say."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _is_damage(error: Exception) -> bool:
    return isinstance(error, Damaged) or type(error).__name__ in DAMAGE


def _is_local(error: Exception) -> bool:
    """Whether the disk under the cache is at fault: stores do not raise these."""
    return is_full(error) or (isinstance(error, OSError) and error.errno == errno.EROFS)


def cause_of(error: Exception, location: Location) -> str:
    """One line without the secrets of the address. location: what was asked."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return f"HTTP {status} {getattr(error, 'message', '')}".strip()
    if isinstance(error, Damaged):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "not found"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    known = re.split("[:@/?#]", location.folder.partition("://")[2].rpartition("@")[0])
    if any(part and part in line for part in known for line in (text, quote(text), unquote(text))):
        # A client takes an address apart in its own way, and may call a piece of the password a host, a port, a bucket.
        text = ""
    text = re.sub(r"\s+", " ", without_secrets(text))[:200]
    if isinstance(error, PermissionError):
        return f"access denied ({text})" if text else "access denied"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _remedy(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "look at the address, and at the files beside it"
    if (
        isinstance(error, PermissionError)
        or type(error).__name__ in FOR_GOOD
        or getattr(error, "status", 0) in (401, 403)
    ):
        return "look at the address, and at the store's credentials in the environment"
    if _is_damage(error):
        return "upload the set again from its source, or look closer there with: fer-dist shards verify"
    return "look at the store, and start again: what is cached is kept"
