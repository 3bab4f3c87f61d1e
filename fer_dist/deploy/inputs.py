"""What a prediction is given: images, folders, patterns, video, shards and lists, walked one image at a time.

What is named has to be there and of a known kind before any work. What lies in a folder, a pattern or a list may be
bad: then it comes with a fault, and the others go on.
"""

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fer_dist.config.settings import PredictConfig
from fer_dist.deploy.photograph import Photograph
from fer_dist.errors import InputError, WorkError, naming
from fer_dist.storage.paths import WEB, absolute, below, folder_at, is_url, shown
from fer_dist.storage.store import Store

if TYPE_CHECKING:
    from fer_dist.data.loading.shard_set import ShardSet

VIDEOS = frozenset(
    ("mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "wmv", "flv", "3gp", "ts", "mts", "m2ts", "ogv")
)
"""Extensions of files that are taken for video, in lower case and without the dot."""

LIST = "-"
NO_KIND = "neither an image nor a video by its name"
KNOWN = "give images, folders, patterns, videos, sets of shards, or - for a list of paths on standard input"
MOST_OPEN = 4
"""Tars that are open at once: they are read one after the other."""

Kind = Literal["image", "video", "shards", "fault"]


@dataclass(frozen=True, eq=False)
class Entry:
    """A file or a set of which photographs come. fault: of a file that is neither image nor video."""

    kind: Kind
    name: str
    shards: "ShardSet | None" = field(default=None, repr=False)
    fault: str = ""


def check_inputs(inputs: Sequence[str], config: PredictConfig) -> tuple[str | Entry, ...]:
    """Look whether all that is named is there and of a known kind.

    Returns an entry for a file or a set, and the text of what holds several, which `entries` walks.
    Raises InputError for what is missing, of no known kind or empty.
    """
    if inputs.count(LIST) > 1:
        raise InputError(f"INPUT {LIST}: standard input can be read once; name it once")
    return tuple(found for text in inputs for found in _checked(text, config))


def entries(given: Sequence[str | Entry]) -> Iterator[Entry]:
    """The files and sets, in the order in which they were named, those of a folder in the order of their names."""
    for item in given:
        if isinstance(item, Entry):
            yield item
        elif item == LIST:
            # Line by line: who writes the list may not be done with it.
            for line in sys.stdin:
                yield from _listed(line.rstrip("\n")) if line.strip() else ()
        elif is_url(item):
            yield from _in_store(item)
        elif os.path.isdir(item):
            yield from _in_folder(item)
        else:
            for path in sorted(glob.iglob(item, recursive=True)):
                yield from _listed(path)


def photographs(entry: Entry, config: PredictConfig) -> Iterator[Photograph]:
    """The images of an entry: the file itself, the frames of a video, or the samples of a set, one after the other."""
    if entry.kind == "video":
        from fer_dist.deploy.video import frames

        yield from frames(entry.name, config.frames_per_second)
    elif entry.shards:
        yield from _in_shards(entry.shards)
    else:
        yield Photograph(shown(entry.name), entry.name, fault=entry.fault)


def _checked(text: str, config: PredictConfig) -> Iterator[str | Entry]:
    text = text if text == LIST or os.path.lexists(text) else absolute(text)
    if text == LIST:
        yield text
    elif is_url(text) and not _is_set(text):
        if next(_in_store(text), None) is None:
            raise InputError(f"{shown(text)}: a folder of a store without an image or a set of shards; {KNOWN}")
        yield text
    elif is_url(text) or text.endswith((".tar", ".json")):
        yield from _sets_at(text, config)
    elif os.path.isdir(text):
        sets = list(_sets_at(text, config)) if _holds_sets(text) else []
        if not sets and next(_in_folder(text), None) is None:
            raise InputError(f"{text}: a folder without an image, a video or a set of shards; {KNOWN}")
        if sets:
            yield from sets
        else:
            yield text
    elif os.path.exists(text):
        kind = _kind_of(text)
        if kind == "fault":
            raise InputError(f"{text}: {NO_KIND}; {KNOWN}")
        yield Entry(kind, text)
    elif glob.has_magic(text):
        if next(glob.iglob(text, recursive=True), None) is None:
            raise InputError(f"{text}: no file is called so; {KNOWN}")
        yield text
    else:
        raise InputError(f"{text}: no such file or folder; {KNOWN}")


def _holds_sets(folder: str) -> bool:
    from fer_dist.data.loading.shard_set import split_folders
    from fer_dist.data.shards.manifest import MANIFEST

    return os.path.isfile(os.path.join(folder, MANIFEST)) or bool(split_folders(Path(folder)))


def _is_set(url: str) -> bool:
    """Whether shards lie there, or at a place that gives no lists, where nothing else can be read."""
    from fer_dist.data.loading.shard_set import each_split
    from fer_dist.data.shards.manifest import MANIFEST
    from fer_dist.data.shards.selection import locate

    location = locate(url)
    if location.protocol in WEB or location.pattern or location.manifest or each_split([url]) != (url,):
        return True
    with _store_naming():
        return Store(location).read_if_there(MANIFEST) is not None


@contextmanager
def _store_naming() -> Iterator[None]:
    """A store that does not answer is a wrong input, before any work."""
    try:
        yield
    except WorkError as error:
        raise InputError(f"INPUT: {error}") from None


def _in_store(url: str) -> Iterator[Entry]:
    """The images below a folder of a store, by their names; a video there has a fault, for it is read in pieces."""
    with _store_naming():
        names = sorted(Store(folder_at(url)).names())
    for name in names:
        kind = _kind_of(name)
        if kind == "image":
            yield Entry(kind, below(url, name))
        elif kind == "video":
            yield Entry("fault", below(url, name), fault="a video in a store; copy it to a disk")


def _sets_at(text: str, config: PredictConfig) -> Iterator[Entry]:
    from fer_dist.data.loading.shard_set import sets_at

    with naming("INPUT"):
        for found in sets_at([text], config.reading):
            yield Entry("shards", shown(found.location.shown), found)


def _listed(path: str) -> Iterator[Entry]:
    """What a pattern or a list names: a file, whatever is wrong with it, or all of a folder."""
    if os.path.isdir(path):
        yield from _in_folder(path)
        return
    kind = _kind_of(path)
    yield Entry(kind, path, fault=NO_KIND if kind == "fault" else "")


def _in_folder(folder: str) -> Iterator[Entry]:
    """The images and videos below a folder, by their names; other files are none of ours."""
    from fer_dist.storage.folders import files_below

    for path in files_below(folder):
        kind = _kind_of(path)
        if kind != "fault":
            yield Entry(kind, path)


def _kind_of(path: str) -> Kind:
    from fer_dist.data.images import EXTENSIONS

    extension = os.path.basename(path).rpartition(".")[2].lower()
    if extension in VIDEOS:
        return "video"
    return "image" if extension in EXTENSIONS else "fault"


def _in_shards(found: "ShardSet") -> Iterator[Photograph]:
    from fer_dist.data.loading.order import sequence
    from fer_dist.data.loading.reader import Reader

    # Every sample, whatever its label: the set's own emotions are asked for.
    reader = Reader(found, found.manifest.emotions)
    reader.most_open = MOST_OPEN
    parts = sequence(reader.counts, 0, 1, 64)
    for _, positions in reader.ahead(range(len(parts)), parts.__getitem__):
        samples = reader.read(positions)
        for (tar, position), content in zip(samples.origins, samples.content, strict=True):
            yield Photograph(f"{tar.name}/{tar.key(position)}", content=content)
