"""What shard sets hold: counts beside the published ones, what the images are like, and rows for a contact sheet.

Of a large set some images are looked at, spread evenly over it, and of those the headers only: nothing is decoded.
"""

import io
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_dist.data.draws import Integers, hashed
from fer_dist.data.images import DECODE_ERRORS
from fer_dist.data.inspection.sheets import Row, Tile
from fer_dist.data.loading.order import Positions, located
from fer_dist.data.loading.reader import Reader
from fer_dist.data.loading.shard_set import ShardSet, opened, split_folders
from fer_dist.data.shards.manifest import load_manifest
from fer_dist.data.sources.source import ALL, SOURCES, source_module
from fer_dist.errors import InputError

MOST_LOOKED_AT = 2000
"""Images of a split whose header and json are read; in a random order, their shares are right within 2.2 points."""

MOST_SHARDS = 64
"""Shards that they are taken from: the lines of an index stay in memory, 0.8 MB for 4,096 samples."""

MOST_FETCHED = 4
"""The same of a set in a store, from which whole shards must come."""

Size = tuple[int, int]
"""Width and height in pixels."""

LABEL = ("emotion", "dataset")
NOTHING: tuple[Any, ...] = (None, "", [])
"""Values of a fact that state nothing."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of images in order of their area. common: how many have the most common size."""

    smallest: Size
    median: Size
    largest: Size
    most_common: Size
    common: int


@dataclass(frozen=True)
class Looked:
    """What some images of a split are like.

    images: how many were looked at.
    sizes:    as stored, before a tag turns the image upright; None where no header could be read.
    colours:  grey, colour, palette or unreadable, by the header -> images.
    facts:    name of a fact -> samples whose json states it.
    subjects: different people among them.
    """

    images: int
    sizes: Sizes | None
    colours: dict[str, int]
    facts: dict[str, int]
    subjects: int


@dataclass(frozen=True)
class SplitDescription:
    """One shard set. built, left_out: as its manifest says."""

    folder: str
    split: str
    samples: int
    counts: dict[str, int]
    shards: int
    bytes: int
    looked: Looked
    built: dict[str, Any]
    left_out: dict[str, int]


@dataclass(frozen=True)
class Published:
    """The counts of a split that the authors of a release state, beside those found.

    splits: where the images are here: in the split of the same name, and in those that were cut from it.
    stated, found: the same keys: emotions and ALL, or ALL alone where only totals are published.
    """

    splits: tuple[str, ...]
    stated: dict[str, int]
    found: dict[str, int]


@dataclass(frozen=True)
class DatasetDescription:
    """The splits of one dataset that lie beside each other. published: empty where that is not known."""

    dataset: str
    splits: tuple[SplitDescription, ...]
    published: tuple[Published, ...]


def describe(shards: Sequence[str | Path | ShardSet]) -> list[DatasetDescription]:
    """Describe shard sets, gathered by dataset and folder. shards: paths or URLs of sets, or what `open_set` gave.

    Raises InputError for what is no shard set, and for a tar or an index that is missing or not whole.
    """
    beside: dict[tuple[str, str], list[ShardSet]] = defaultdict(list)
    for one in shards:
        found = opened(one)
        beside[found.manifest.dataset, _parent(found)].append(found)
    return [
        DatasetDescription(dataset, tuple(map(_describe_split, sets)), tuple(_published(dataset, parent, sets)))
        for (dataset, parent), sets in beside.items()
    ]


def sheet_rows(shards: Sequence[str | Path | ShardSet], per_emotion: int, seed: int = 0) -> Iterator[Row]:
    """A row for each split and emotion, with so many images spread evenly over those of the emotion.

    seed: another one takes other images. Captions are keys. Held at a time are the images of one split.
    """
    for one in shards:
        found = opened(one)
        tiles = _tiles(found, per_emotion, seed)
        for emotion, count in found.manifest.counts.items():
            if count:
                shown = f"{len(tiles[emotion])} of {count:,}"
                yield Row(f"{found.manifest.name}: {emotion}, {shown}", tuple(tiles[emotion]))


def evenly(total: int, count: int, seed: int = 0) -> Integers:
    """At most count different numbers from 0 to total - 1, in order and at equal distances; the seed moves them all."""
    count = min(total, count)
    start = int(hashed(seed % 2**64)) % max(total, 1)
    return (np.arange(count, dtype=np.int64) * total + start) // max(count, 1)


def _parent(found: ShardSet) -> str:
    """The folder in which a set's folder lies."""
    folder = found.location.folder if found.remote else os.path.realpath(found.location.folder)
    return folder.rpartition("/")[0]


def _describe_split(found: ShardSet) -> SplitDescription:
    manifest = found.manifest
    return SplitDescription(
        folder=str(found.location),
        split=manifest.split,
        samples=manifest.samples,
        counts=manifest.counts,
        shards=len(manifest.shards),
        bytes=sum(shard.bytes for shard in manifest.shards),
        looked=_look(found),
        built=manifest.built,
        left_out=manifest.left_out,
    )


def _published(dataset: str, parent: str, sets: list[ShardSet]) -> Iterator[Published]:
    """The published counts of the described splits; nothing for a dataset that is no release, or for parts of sets."""
    if dataset not in SOURCES or any(one.location.pattern for one in sets):
        return
    by_split = source_module(dataset).PUBLISHED
    described = {one.manifest.split for one in sets}
    # In a store only what was named is known.
    beside = [one.manifest for one in sets] if sets[0].remote else map(load_manifest, split_folders(Path(parent)))
    here = {manifest.split: manifest for manifest in beside if manifest.dataset == dataset}
    has_cut = any(manifest.built.get("val_fraction", 0) > 0 for manifest in here.values())
    # What the authors do not know as a split was cut from train: val by its fraction, test by folds of subjects.
    origin = {name: "train" if name not in by_split or (name == "val" and has_cut) else name for name in here}
    for split, stated in by_split.items():
        parts = [name for name in here if origin[name] == split]
        if described.isdisjoint(parts) or (split == "train" and has_cut and "val" not in here):
            continue
        found: Counter[str] = Counter()
        for part in parts:
            found.update(here[part].counts)
        names = [] if set(stated) == {ALL} else [name for name in {**found, **stated} if name != ALL]
        yield Published(
            splits=tuple(parts),
            stated={name: stated.get(name, 0) for name in names} | {ALL: stated.get(ALL, sum(stated.values()))},
            found={name: found[name] for name in names} | {ALL: found.total()},
        )


def _look(found: ShardSet) -> Looked:
    reader = Reader(found, found.manifest.emotions)
    shards = evenly(len(reader.counts), MOST_FETCHED if found.remote else MOST_SHARDS)
    looked_at = located(reader.counts[shards], evenly(int(reader.counts[shards].sum()), MOST_LOOKED_AT))
    positions = Positions(shards[looked_at.shard], looked_at.position)
    headers = [_header(content) for content in reader.read(positions).content]
    facts: Counter[str] = Counter()
    subjects: set[str] = set()
    for stated in reader.facts(positions):
        names = [name for name, value in stated.items() if name not in LABEL and value not in NOTHING]
        facts.update(names)
        subject = stated.get("subject")
        if "subject" in names and isinstance(subject, str | int | float):
            subjects.add(str(subject))
    colours = dict(Counter(colour for _, colour in headers).most_common())
    return Looked(len(headers), _sizes([size for size, _ in headers if size]), colours, dict(facts), len(subjects))


def _sizes(sizes: list[Size]) -> Sizes | None:
    if not sizes:
        return None
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    return Sizes(ordered[0], ordered[(len(sizes) - 1) // 2], ordered[-1], *Counter(sizes).most_common(1)[0])


def _header(content: NDArray[np.uint8]) -> tuple[Size | None, str]:
    try:
        with warnings.catch_warnings():
            # Pillow warns of very large images, and this one is not decoded.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content.data))
    except DECODE_ERRORS:
        return None, "unreadable"
    return image.size, {"L": "grey", "P": "palette"}.get(Image.getmodebase(image.mode), "colour")


def _tiles(found: ShardSet, per_emotion: int, seed: int) -> dict[str, list[Tile]]:
    """The chosen images of each emotion, in the order of the set. Of the shards they lie in, all labels are read."""
    manifest = found.manifest
    wanted: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for emotion, count in manifest.counts.items():
        counts = np.array([shard.counts.get(emotion, 0) for shard in manifest.shards])
        positions = located(counts, evenly(count, per_emotion, seed))
        for number, position in zip(positions.shard.tolist(), positions.position.tolist(), strict=True):
            wanted[number][emotion].append(position)
    reader = Reader(found, manifest.emotions)
    tiles: dict[str, list[Tile]] = defaultdict(list)
    for number, chosen in sorted(wanted.items()):
        everything = np.arange(reader.counts[number])
        samples = reader.read(Positions(np.full_like(everything, number), everything))
        for emotion, ranks in chosen.items():
            indices = np.flatnonzero(samples.labels == manifest.emotions.index(emotion))
            if ranks[-1] >= len(indices):
                raise InputError(
                    f"{reader.folder}/{manifest.shards[number].file}: {len(indices)} of {emotion}, fewer than the "
                    f"manifest says; look closer with: fer-dist shards verify {reader.folder}"
                )
            tiles[emotion] += [Tile(samples.content[index].tobytes(), samples.keys[index]) for index in indices[ranks]]
    return tiles
