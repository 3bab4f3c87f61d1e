"""Fingerprints of every image of several shard sets, in arrays: what an audit compares."""

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_dist.data.draws import Integers
from fer_dist.data.inspection.fingerprint import FEATURES, fingerprint
from fer_dist.data.loading.order import Positions
from fer_dist.data.loading.reader import Reader, Samples
from fer_dist.data.loading.shard_set import ShardSet
from fer_dist.data.processes import core_count, in_processes
from fer_dist.data.shards.manifest import Manifest
from fer_dist.errors import InputError
from fer_dist.progress import Tally


@dataclass(frozen=True)
class Origin:
    """Where an image lies. shards: the set of its one shard."""

    shards: ShardSet
    position: int

    def read(self) -> bytes:
        """The encoded image; its shard is opened for it, so this is for the few that are shown."""
        where = Positions(np.zeros(1, dtype=np.int64), np.array([self.position]))
        return _reader(self.shards).read(where).content[0].tobytes()


@dataclass(frozen=True)
class ScannedShard:
    """The images of one shard. decodes, is_grey, is_blank: [n]; pixels: uint64 [n, 2]; sizes: width and height."""

    labels: NDArray[np.int16]
    pixels: NDArray[np.uint64]
    features: NDArray[np.float16]
    sizes: Counter[tuple[int, int]]
    decodes: NDArray[np.bool_]
    is_blank: NDArray[np.bool_]
    grey: int


@dataclass
class Scan:
    """All images of the sets, an index each, in the order of the sets, their shards and the samples in them.

    About 20 bytes an image in memory, and 126 in `features`, which lie in a file.
    labels: index into the emotions of the image's set. sizes, grey: by set.
    """

    sets: list[ShardSet]
    labels: NDArray[np.int16]
    pixels: NDArray[np.uint64]
    features: NDArray[np.float16]
    decodes: NDArray[np.bool_]
    is_blank: NDArray[np.bool_]
    sizes: list[Counter[tuple[int, int]]] = field(default_factory=list)
    grey: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        counts = [len(manifest.shards) for manifest in self.manifests]
        self._set_of_shard = np.repeat(np.arange(len(counts)), counts)
        self._first_shards = np.cumsum(counts) - counts
        self._ends = np.cumsum([shard.samples for manifest in self.manifests for shard in manifest.shards])

    @property
    def manifests(self) -> list[Manifest]:
        return [one.manifest for one in self.sets]

    def __len__(self) -> int:
        return len(self.labels)

    def sets_of(self, indices: Integers) -> Integers:
        """Which set each image is of, as its number in `manifests`."""
        return np.asarray(self._set_of_shard[np.searchsorted(self._ends, indices, side="right")])

    def emotion(self, index: int, number: int) -> str:
        """The emotion of an image of the set of that number."""
        return self.manifests[number].emotions[self.labels[index]]

    def located(self, indices: Integers) -> Iterator[tuple[int, int, str, Origin]]:
        """Index, number of the set, key and origin of each image. indices: in ascending order.

        The index of each shard is read once.
        """
        for own, number, alone, where in self._by_shard(indices):
            keys = _reader(alone).keys(where)
            for index, position, key in zip(own.tolist(), where.position.tolist(), keys, strict=True):
                yield index, number, key, Origin(alone, position)

    def subjects(self, indices: Integers) -> Integers:
        """A number for the person of each image of the scan, the same for one person of one dataset; -1: not stated.

        indices: in ascending order, of whom it is asked; the others have -1.
        Raises InputError where a json does not parse.
        """
        found = np.full(len(self), -1, dtype=np.int64)
        numbers: dict[tuple[str, str], int] = {}
        for own, number, alone, where in self._by_shard(indices):
            dataset = self.manifests[number].dataset
            for index, facts in zip(own.tolist(), _reader(alone).facts(where), strict=True):
                subject = facts.get("subject")
                if isinstance(subject, str | int | float) and subject != "":
                    found[index] = numbers.setdefault((dataset, str(subject)), len(numbers))
        return found

    def _by_shard(self, indices: Integers) -> Iterator[tuple[Integers, int, ShardSet, Positions]]:
        """Images by shard: their indices, the number of their set, the shard as a set, and where they are in it."""
        shards = np.searchsorted(self._ends, indices, side="right")
        for shard in np.unique(shards).tolist():
            own = indices[shards == shard]
            number = int(self._set_of_shard[shard])
            alone = self.sets[number].only(shard - int(self._first_shards[number]))
            positions = own - (self._ends[shard] - alone.manifest.samples)
            yield own, number, alone, Positions(np.zeros_like(positions), positions)


def scan_sets(sets: Sequence[ShardSet], scratch: Path, workers: int = 0, progress: Tally | None = None) -> Scan:
    """Decode every image of the sets once.

    scratch: a folder for the features, 126 bytes an image; the scan needs it as long as it lives.
    progress: called with the images read and their total.
    Raises InputError as a reader does: for an index that does not fit its tar, a sample without an image or a label.
    """
    total = sum(one.manifest.samples for one in sets)
    features = np.memmap(scratch / "features", dtype=np.float16, mode="w+", shape=(total, FEATURES))
    scan = Scan(
        list(sets),
        labels=np.zeros(total, dtype=np.int16),
        pixels=np.zeros((total, 2), dtype=np.uint64),
        features=features,
        decodes=np.zeros(total, dtype=bool),
        is_blank=np.zeros(total, dtype=bool),
        sizes=[Counter() for _ in sets],
        grey=[0 for _ in sets],
    )
    numbers = [(number, shard) for number, one in enumerate(sets) for shard in range(len(one.manifest.shards))]
    done = 0
    # Below some thousand images the start of processes takes longer than the work.
    processes = min(workers or core_count(), math.ceil(total / 4096))
    alone = (sets[number].only(shard) for number, shard in numbers)
    with closing(in_processes(_scan_shard, alone, max(processes, 1))) as results:
        for (number, shard), found in zip(numbers, results, strict=True):
            samples = sets[number].manifest.shards[shard].samples
            part = slice(done, done + samples)
            for name in ("labels", "pixels", "features", "decodes", "is_blank"):
                getattr(scan, name)[part] = getattr(found, name)
            scan.sizes[number] += found.sizes
            scan.grey[number] += found.grey
            done += samples
            if progress:
                progress(done, total)
    return scan


def _reader(shards: ShardSet) -> Reader:
    return Reader(shards, shards.manifest.emotions)


def _samples(shards: ShardSet) -> Samples:
    """All samples of a set of one shard."""
    reader, (shard,) = _reader(shards), shards.manifest.shards
    # A reader passes over what has none of the emotions; here every image is at its index.
    if reader.counts[0] != shard.samples:
        raise InputError(
            f"{shard.file}: its manifest says {shard.samples} samples, but {reader.counts[0]} of all emotions; "
            f"look closer with: fer-dist shards verify {reader.folder}"
        )
    everything = np.arange(shard.samples)
    return reader.read(Positions(np.zeros_like(everything), everything))


def _scan_shard(shards: ShardSet) -> ScannedShard:
    """shards: one shard of one of the sets, as a set of its own."""
    count = shards.manifest.samples
    labels, pixels = np.zeros(count, dtype=np.int16), np.zeros((count, 2), dtype=np.uint64)
    features = np.zeros((count, FEATURES), dtype=np.float16)
    decodes, is_blank = np.ones(count, dtype=bool), np.zeros(count, dtype=bool)
    sizes: Counter[tuple[int, int]] = Counter()
    grey = 0
    samples = _samples(shards) if count else None
    with warnings.catch_warnings():
        # What decodes with a warning was noted when it was built.
        warnings.simplefilter("ignore")
        for index, content in enumerate(samples.content if samples else []):
            try:
                found = fingerprint(content.tobytes())
            except ValueError:
                decodes[index] = False
                continue
            pixels[index] = np.frombuffer(found.pixels, dtype=np.uint64)
            features[index] = found.features
            is_blank[index] = found.is_blank
            sizes[found.width, found.height] += 1
            grey += found.is_grey
    if samples:
        labels[:] = samples.labels
    return ScannedShard(labels, pixels, features, sizes, decodes, is_blank, grey)
