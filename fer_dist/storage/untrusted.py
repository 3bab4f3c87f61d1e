"""What others may have written: only regular files are opened, names stay in their folder, contents become records.

Every file that this process did not write itself counts as another's: a set or a run that was downloaded, a list, a
plan. What such a file says is never a path, a count or a type until one of these functions has seen it.
"""

import errno
import math
import os
import re
import stat
from collections.abc import Iterator
from functools import lru_cache
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, AnyStr, TextIO, TypeVar, cast

from annotated_types import Interval, Predicate

from fer_dist.errors import InputError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


def has_finite_numbers(value: Any) -> bool:
    """Whether there is neither NaN nor an infinity in what a JSON file holds."""
    if isinstance(value, dict | list):
        return all(map(has_finite_numbers, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


Count = Annotated[int, Interval(ge=0, lt=1 << 63)]
"""A number of things, a position, or a number of bytes, as a record holds it."""

Number = Annotated[float, Interval(gt=-math.inf, lt=math.inf)]
"""A finite number, as a record holds it: NaN and the infinities are refused."""

Value = Annotated[Any, Predicate(has_finite_numbers)]
"""Whatever JSON can say, so that it can be written again: NaN and the infinities are refused here too."""

MOST_NAME_BYTES = 220
"""Of a name that becomes part of a file's: Linux takes 255, and endings and marks of unfinished files come to it."""

SAID = {"predicate_failed": "NaN or an infinity in it", "unexpected_keyword_argument": "not known to this version"}
"""Kinds of errors that pydantic tells in words of its own making -> in words of the file."""

MOST_LINE_LENGTH = 1 << 20
"""Of a line of a table; an image of FER2013 as text has 9,000. What is no text may go on for gigabytes without one."""

KINDS = {stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket", stat.S_ISDIR: "a folder"}


def open_regular(path: str | Path, most_bytes: int | None = None) -> BufferedReader:
    """Open a file for reading, where it is a regular one and not longer than it can be; nothing waits for a writer.

    most_bytes: what makes sense of a file that is read whole; None for one that is read in parts.
    Raises OSError, whose strerror says what the path is instead, or how long.
    """
    # The descriptor is asked, not the path, which could lead elsewhere meanwhile.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode):
        os.close(descriptor)
        kind = next((words for is_kind, words in KINDS.items() if is_kind(state.st_mode)), "a device")
        raise OSError(errno.EINVAL, f"{kind}, where a file is needed", str(path))
    if most_bytes is not None and state.st_size > most_bytes:
        os.close(descriptor)
        raise OSError(errno.EFBIG, f"{state.st_size:,} bytes, where at most {most_bytes:,} make sense", str(path))
    return open(path, "rb", opener=lambda path, flags: descriptor)


def read_regular(path: str | Path, most_bytes: int) -> bytes:
    """The content of such a file. Raises OSError as `open_regular` does."""
    with open_regular(path, most_bytes) as stream:
        # Room is taken for all that is asked for, so not for most_bytes.
        return stream.read(os.fstat(stream.fileno()).st_size)


def read_or_nothing(path: str | Path, most_bytes: int) -> bytes:
    """The same; empty where it cannot be had."""
    try:
        return read_regular(path, most_bytes)
    except OSError:
        return b""


def open_table(
    path: str | Path, encoding: str, errors: str, newline: str | None = None, most_bytes: int | None = None
) -> TextIO:
    """Open such a file as text, to be read by `lines_of`. Raises OSError as `open_regular` does."""
    return TextIOWrapper(open_regular(path, most_bytes), encoding, errors, newline)


def lines_of(stream: IO[AnyStr]) -> Iterator[AnyStr]:
    """The lines of an open table, as it gives them itself. Raises InputError that names the file for an endless one."""
    while line := stream.readline(MOST_LINE_LENGTH):
        if len(line) == MOST_LINE_LENGTH:
            raise InputError(
                f"{stream.name}: a line of more than {MOST_LINE_LENGTH:,} letters, so no table; give the list as the "
                "release has it, a line for each image"
            )
        yield line


def inside(folder: Path, name: str, source: str) -> Path:
    """The path of what a file names, in a folder or one of those below it.

    name: relative, with / between its parts. source: the file that names it, for the message.
    Raises InputError where the name is absolute, climbs out with .. or cannot be one.
    """
    parts = name.split("/")
    if "\0" in name or any(part in ("", ".", "..") or _bytes_of(part) > 255 for part in parts):
        raise InputError(f"{source}: names {name[:80]!r}, which is no file below {folder}; do not trust it")
    return folder / name


def file_name(name: str, source: str) -> str:
    """The name that a file gives, as it is, where it can be the name of a file or a part of one.

    source: the file that gives it, for the message.
    Raises InputError where it leads elsewhere, or is none that a file can have.
    """
    if not name or re.search(r"[/\0]", name) or name in (".", "..") or _bytes_of(name) > MOST_NAME_BYTES:
        raise InputError(
            f"{source}: the name {name[:80]!r} cannot be a file's; give one without slashes, of at most "
            f"{MOST_NAME_BYTES} bytes"
        )
    return name


def without_halves(content: bytes) -> bytes:
    """A JSON file with U+FFFD for each half of a surrogate pair: older versions wrote those for names not in UTF-8.

    JSON allows the escapes, but they stand for no character, and no file or table takes them.
    """
    if b"\\u" not in content:
        return content
    found = rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
    return re.sub(found, lambda match: rb"\ufffd" if len(match[0]) == 6 else match[0], content)


def record(kind: type[T], content: bytes | str, source: str, remedy: str = "", only_known: bool = False) -> T:
    """What a JSON file holds, as a dataclass or another type; numbers and texts are not turned into each other.

    source: the file, and the line where it has many, for the message; remedy: what to do. only_known: a field that the
    type does not have is an error; else it is passed over, as another version's.
    Raises InputError that names file and field where the content is not of that kind.
    """
    from pydantic import ValidationError

    try:
        return _adapter(cast(Any, kind)).validate_json(content, strict=True, extra="forbid" if only_known else None)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])[:80]
        said = SAID.get(first["type"], str(first["msg"]))
        complaint = f"{field}: {said}" if field else said
        raise InputError(f"{source}: {complaint}" + (f"; {remedy}" if remedy else "")) from None


def _bytes_of(name: str) -> int:
    return len(name.encode(errors="surrogatepass"))


@lru_cache
def _adapter(kind: Any) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
