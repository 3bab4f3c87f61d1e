"""The table of sources: one file for each official release, read into samples.

A new source is one file beside this one and one row in SOURCES. The file has `open(raw, options)`, which gives a
`Source`; a dataclass `Options`, whose fields become the flags of `fer-dist shards build SOURCE` (NO_OPTIONS where there
are none); and PUBLISHED, the counts that the release's authors state.

What the json of a sample may say (`Sample.facts`), under one name for all sources:

    id                              the release's own name of the image
    code                            the release's own label, as text
    subject                         who is in the image
    photograph                      the release's name of a photograph that several samples are cut from
    view, gender, race, age_group   words
    box                             [x, y, width, height] of the face, in pixels of the image
    landmarks                       [[x, y], ...], in pixels of the image
    valence, arousal                from -1 to 1
    votes                           {word: number of people who said it}
    soft                            {emotion: share}; the shares sum to 1
"""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field, is_dataclass
from typing import Any, Protocol

from fer_dist.errors import InputError, nearest
from fer_dist.storage.paths import on_disk

SOURCES = {
    "affectnet": "AffectNet: the 2021 release (images and .npy files), or the 2017 one (csv lists)",
    "rafdb": "RAF-DB basic: the official layout, or Kaggle's",
    "fer2013": "FER2013: the Kaggle folders, or fer2013.csv",
    "ferplus": "FER+: Microsoft's label folders, or fer2013new.csv beside fer2013.csv",
    "tcce": "TCCE, Taiwan Corpora of Chinese Emotions: the study's Asian set",
    "ckplus": "CK+: image sequences with their label files, or 48 pixel class folders",
    "jaffe": "JAFFE: XX.EEn.NNN.tiff",
    "kdef": "KDEF: AF01ANS.JPG",
    "expw": "ExpW: label.lst and its images",
    "csv": "any csv file that names images and emotions, or a folder with metadata.csv",
    "folder": "any folder of <split>/<class>/<image>",
    "synthetic": "faces drawn by this program; RAW is the style: wild or lab",
}
"""Name of the source, which is also its module here -> one line for the help."""


Published = dict[str, dict[str, int]]
"""Split -> emotion -> images, as the authors of a release state them; ALL stands for the whole split."""


ALL = "all"


@dataclass(frozen=True)
class NoOptions:
    """The options of a source that has none."""


NO_OPTIONS = NoOptions()


@dataclass(frozen=True)
class Sample:
    """One labelled image of a release, before it is read.

    key:     unique in its split; letters, digits and `_-/%~` only (see `clean_key`).
    emotion: a name from `fer_dist.data.emotions`.
    path:    the file that holds the image.
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
class EncodedImage:
    """An encoded image as it goes into the shard.

    extension: jpg or png.
    original:  where the bytes were changed into PNG, the name of what they were made from; the shard's json says it.
    facts:     what files beside the image say of it; added to the sample's facts.
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
        """Name of the dataset, used in file names and scores."""
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

    def read(self, sample: Sample) -> EncodedImage:
        """The encoded bytes of one sample's image. Called in worker processes.

        Raises OSError or ValueError, or LeftOutError with the reason for an image that shall not become a sample.
        """
        ...


def open_source(name: str, raw: str, **options: Any) -> Source:
    """Open a release by the name of its source.

    raw: path of the release (for `synthetic`: the style). options: fields of the source's Options.
    Raises InputError for an unknown name (the nearest is named) and for a layout that the source does not know.
    """
    path = raw if name == "synthetic" else on_disk(raw, "RAW")
    try:
        source: Source = source_module(name).open(path, options_of(name)(**options))
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be read ({error.strerror or error})") from None
    return source


def source_module(name: str) -> Any:
    """The file of a source. Raises InputError for an unknown name."""
    if name not in SOURCES:
        raise InputError(f"unknown source {name!r}; {nearest(name, SOURCES)}")
    return importlib.import_module(f"{__package__}.{name}")


def options_of(name: str) -> type:
    """The dataclass of a source's options. Raises InputError for an unknown name."""
    options = getattr(source_module(name), "Options", NoOptions)
    assert isinstance(options, type), f"{name}: its Options are no class"
    assert is_dataclass(options), f"{name}: its Options are no dataclass"
    return options


class LeftOutError(Exception):
    """An image that does not become a sample; the text is the reason."""
