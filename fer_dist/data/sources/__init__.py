"""The table of sources: one file for each official release, read into samples.

A new source is one file beside this one and one row in SOURCES.
"""

import hashlib
import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from fer_dist.errors import InputError

SOURCES = {
    "fer2013": "FER2013: the Kaggle folders, or fer2013.csv",
    "folder": "any folder of <split>/<class>/<picture>",
    "synthetic": "faces drawn by this program; RAW is the style: wild or lab",
}
"""Name of the source, which is also its module here -> one line for the help."""


@dataclass(frozen=True)
class Sample:
    """One labelled picture of a release, before it is read.

    key:     unique in its split; letters, digits and `_-/%~` only (see `clean_key`).
    emotion: a name from `fer_dist.emotions`.
    path:    the file that holds the picture.
    offset, length: where in that file it lies, in bytes; length 0 means the whole file.
    facts:   what else the release says and the shard's json shall hold: its own id and code, subject, box, and so on.
    """

    key: str
    split: str
    emotion: str
    path: str
    offset: int = 0
    length: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LeftOut:
    """A row or a file of the release that does not become a sample, and the reason in a few words."""

    split: str
    name: str
    reason: str


@dataclass(frozen=True)
class Picture:
    """An encoded picture as it goes into the shard.

    extension: jpg or png.
    original:  where the bytes were changed into PNG, the name of what they were made from; the shard's json says it.
    """

    content: bytes
    extension: str
    original: str = ""


class Source(Protocol):
    """One release on disk. An instance is sent to worker processes, so it holds settings and no open files."""

    @property
    def dataset(self) -> str:
        """Name of the data set, used in file names and scores."""
        ...

    @property
    def variant(self) -> str:
        """Which layout of the release was found, in words."""
        ...

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions that the release labels, in the order of the release's codes."""
        ...

    def samples(self) -> Iterator[Sample | LeftOut]:
        """All samples in any order, streamed: nothing may be kept that grows with the release."""
        ...

    def read(self, sample: Sample) -> Picture:
        """The encoded bytes of one sample's picture. Called in worker processes. Raises OSError or ValueError."""
        ...


def open_source(name: str, raw: str, **options: Any) -> Source:
    """Open a release by the name of its source.

    raw: path of the release (for `synthetic`: the style). options: what that source's `open` takes.
    Raises InputError for an unknown name (the nearest is named) and for a layout that the source does not know.
    """
    if name not in SOURCES:
        near = get_close_matches(name, SOURCES, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"unknown source {name!r}; {guess}There are: {', '.join(SOURCES)}")
    module = importlib.import_module(f"{__name__}.{name}")
    source: Source = module.open(raw, **options)
    return source


def read_whole(sample: Sample) -> Picture:
    """The picture file itself: JPEG and PNG bytes unchanged, every other format as PNG without loss.

    The extension follows the first bytes, so that a PNG under the name .jpg becomes .png.
    Raises OSError where the file cannot be read, ValueError where it does not decode.
    """
    from fer_dist.data.pictures import extension_of, to_png

    with open(sample.path, "rb") as stream:
        content = stream.read()
    extension = extension_of(content)
    if extension:
        return Picture(content, extension)
    return Picture(to_png(content), "png", original=readable(os.path.basename(sample.path)))


def readable(name: str) -> str:
    """A file name as text that every JSON reader takes: bytes that are not UTF-8 become the replacement character."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def names_found(folder: Path, most: int = 8) -> str:
    """What lies in a folder, for an error message: the first names in order, and how many more."""
    names = sorted(readable(name) for name in os.listdir(folder))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "nothing"


def clean_key(name: str) -> str:
    """A key that tar readers and DALI's index agree on: dots, blanks and the like become %XX, long names are cut.

    name: a relative path without its extension.
    Returns at most 90 characters; a cut name ends in ~ and 16 digits of its hash.
    """
    key = quote(name, safe="/-_~", errors="surrogateescape").replace(".", "%2E")
    if key.startswith("__"):
        # webdataset skips members whose path begins with __NAME__, which it keeps for its own notes.
        key = "%5F" + key[1:]
    if len(key) > 90:
        key = key[:73] + "~" + hashlib.sha256(key.encode()).hexdigest()[:16]
    return key
