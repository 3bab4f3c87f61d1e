"""The table of sources: one file for each official release, read into samples.

A new source is one file beside this one and one row in SOURCES. The file has `open(raw, options)`, which gives a
`Source`; a dataclass `Options`, whose fields become the flags of `fer-dist shards build SOURCE` (NO_OPTIONS where there
are none); and PUBLISHED, the counts that the release's authors state.

What the json of a sample may say (`Sample.facts`), under one name for all sources:

    id                              the release's own name of the picture
    code                            the release's own label, as text
    subject                         who is in the picture
    photograph                      the release's name of a photograph that several samples are cut from
    view, gender, race, age_group   words
    box                             [x, y, width, height] of the face, in pixels of the picture
    landmarks                       [[x, y], ...], in pixels of the picture
    valence, arousal                from -1 to 1
    votes                           {word: number of people who said it}
    soft                            {emotion: share}; the shares sum to 1
"""

import hashlib
import importlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from fer_dist.data.location import on_disk
from fer_dist.errors import InputError, nearest

SOURCES = {
    "affectnet": "AffectNet: the 2021 release (images and .npy files), or the 2017 one (csv lists)",
    "rafdb": "RAF-DB basic: the official layout, or Kaggle's",
    "fer2013": "FER2013: the Kaggle folders, or fer2013.csv",
    "ferplus": "FER+: Microsoft's label folders, or fer2013new.csv beside fer2013.csv",
    "tcce": "TCCE, Taiwan Corpora of Chinese Emotions: the study's Asian set",
    "ckplus": "CK+: image sequences with their label files, or 48 pixel class folders",
    "jaffe": "JAFFE: XX.EEn.NNN.tiff",
    "kdef": "KDEF: AF01ANS.JPG",
    "expw": "ExpW: label.lst and its pictures",
    "csv": "any csv file that names pictures and emotions, or a folder with metadata.csv",
    "folder": "any folder of <split>/<class>/<picture>",
    "synthetic": "faces drawn by this program; RAW is the style: wild or lab",
}
"""Name of the source, which is also its module here -> one line for the help."""

Published = dict[str, dict[str, int]]
"""Split -> emotion -> pictures, as the authors of a release state them; ALL stands for the whole split."""

ALL = "all"


@dataclass(frozen=True)
class NoOptions:
    """The options of a source that has none."""


NO_OPTIONS = NoOptions()


@dataclass(frozen=True)
class Sample:
    """One labelled picture of a release, before it is read.

    key:     unique in its split; letters, digits and `_-/%~` only (see `clean_key`).
    emotion: a name from `fer_dist.emotions`.
    path:    the file that holds the picture.
    offset, length: where in that file it lies, in bytes; length 0 means the whole file.
    facts:   what else the release says and the shard's json shall hold; the names stand above.
    mended:  what was wrong with the row and what was done about it, in a few words; empty where nothing was.
    """

    key: str
    split: str
    emotion: str
    path: str
    offset: int = 0
    length: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    mended: str = ""


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
    facts:     what files beside the picture say of it; added to the sample's facts.
    mended:    as the sample's, for what is seen only here.
    """

    content: bytes
    extension: str
    original: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    mended: str = ""


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
    def remarks(self) -> tuple[str, ...]:
        """What was assumed, or passed over, and how to say otherwise: a line each, told before anything is built."""
        ...

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions that the release labels, in the order of the release's codes."""
        ...

    def samples(self) -> Iterator[Sample | LeftOut]:
        """All samples in any order, streamed: nothing may be kept that grows with the release."""
        ...

    def read(self, sample: Sample) -> Picture:
        """The encoded bytes of one sample's picture. Called in worker processes.

        Raises OSError or ValueError, or LeftOutError with the reason for a picture that shall not become a sample.
        """
        ...


def open_source(name: str, raw: str, **options: Any) -> Source:
    """Open a release by the name of its source.

    raw: path of the release (for `synthetic`: the style). options: fields of the source's Options.
    Raises InputError for an unknown name (the nearest is named) and for a layout that the source does not know.
    """
    place = raw if name == "synthetic" else on_disk(raw, "RAW")
    source: Source = source_module(name).open(place, options_of(name)(**options))
    return source


def source_module(name: str) -> Any:
    """The file of a source. Raises InputError for an unknown name."""
    if name not in SOURCES:
        raise InputError(f"unknown source {name!r}; {nearest(name, SOURCES)}")
    return importlib.import_module(f"{__name__}.{name}")


def options_of(name: str) -> type:
    """The dataclass of a source's options. Raises InputError for an unknown name."""
    options = getattr(source_module(name), "Options", NoOptions)
    assert isinstance(options, type), f"{name}: its Options are no class"
    assert is_dataclass(options), f"{name}: its Options are no dataclass"
    return options


def read_whole(sample: Sample) -> Picture:
    """The picture file itself: JPEG and PNG bytes unchanged, every other format as PNG without loss.

    The extension follows the first bytes, so that a PNG under the name .jpg becomes .png.
    Raises OSError where the file cannot be read, ValueError where it does not decode.
    """
    from fer_dist.data.pictures import extension_of, to_png

    with open(sample.path, "rb", opener=at_once) as stream:
        content = stream.read()
    extension = extension_of(content)
    if extension:
        return Picture(content, extension)
    return Picture(to_png(content), "png", original=readable(os.path.basename(sample.path)))


def at_once(path: str, flags: int) -> int:
    """An opener that never waits: a pipe among images is read as an empty file, where open() waits for a writer."""
    return os.open(path, flags | os.O_NONBLOCK)


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


def folder_at(raw: str) -> Path:
    """The folder of a release. Raises InputError where there is none."""
    folder = Path(raw)
    if not folder.is_dir():
        is_file = "a file, but this release is a folder; unpack it first where it is an archive"
        raise InputError(f"{raw}: {is_file if folder.exists() else 'no such folder'}")
    return folder


def dataset_name(given: str, raw: Path) -> str:
    """The name of a data set that has none of its own: what the user gave, or else the file's or folder's name.

    Raises InputError where the given name cannot be part of a file name.
    """
    if given and not re.fullmatch(r"[A-Za-z0-9_-]+", given):
        raise InputError(f"dataset {given!r}: use letters, digits, - and _ only, for it becomes part of file names")
    return given or re.sub(r"[^a-z0-9_]+", "-", raw.resolve().stem.lower()).strip("-") or "faces"
