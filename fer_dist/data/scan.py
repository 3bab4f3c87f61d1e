"""Fingerprints of every picture of several shard sets, in arrays: what an audit compares."""

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from fer_dist.data.fingerprint import FEATURES, fingerprint
from fer_dist.data.listing import Progress
from fer_dist.data.manifest import PICTURES, Manifest, Member, key_of, load_index, load_index_lines
from fer_dist.data.workers import core_count, in_processes
from fer_dist.errors import InputError

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ScanTask:
    """One shard of one of the sets."""

    folder: Path
    file: str
    emotions: int


@dataclass(frozen=True)
class ScannedShard:
    """The pictures of one shard. decodes, is_grey, is_blank: [n]; pixels: uint64 [n, 2]; sizes: width and height."""

    labels: NDArray[np.int16]
    pixels: NDArray[np.uint64]
    features: NDArray[np.float16]
    sizes: Counter[tuple[int, int]]
    decodes: NDArray[np.bool_]
    is_blank: NDArray[np.bool_]
    grey: int


@dataclass
class Scan:
    """All pictures of the sets, one place each, in the order of the sets, their shards and the samples in them.

    About 20 bytes a picture in memory, and 126 in `features`, which lie in a file.
    labels: index into the emotions of the picture's set. sizes, grey: by set.
    """

    folders: list[Path]
    manifests: list[Manifest]
    labels: NDArray[np.int16]
    pixels: NDArray[np.uint64]
    features: NDArray[np.float16]
    decodes: NDArray[np.bool_]
    is_blank: NDArray[np.bool_]
    sizes: list[Counter[tuple[int, int]]] = field(default_factory=list)
    grey: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        shards = [(number, shard) for number, manifest in enumerate(self.manifests) for shard in manifest.shards]
        self._set_of_shard = np.array([number for number, _ in shards], dtype=np.int64)
        self._files = [shard.file for _, shard in shards]
        self._ends = np.cumsum([shard.samples for _, shard in shards])

    def __len__(self) -> int:
        return len(self.labels)

    def sets_of(self, places: Integers) -> Integers:
        """Which set each picture is of, as its number in `manifests`."""
        return np.asarray(self._set_of_shard[np.searchsorted(self._ends, places, side="right")])

    def emotion(self, place: int, number: int) -> str:
        """The emotion of a picture of the set of that number."""
        return self.manifests[number].emotions[self.labels[place]]

    def located(self, places: Integers) -> Iterator[tuple[int, int, str, str]]:
        """Place, number of the set, shard and key of each picture. places: in ascending order.

        The index of each shard is read once.
        """
        lines: list[str] = []
        before = -1
        for place, shard in zip(
            places.tolist(), np.searchsorted(self._ends, places, side="right").tolist(), strict=True
        ):
            number, file = int(self._set_of_shard[shard]), self._files[shard]
            if shard != before:
                lines = load_index_lines(self.folders[number] / file)
                before = shard
            start = int(self._ends[shard - 1]) if shard else 0
            yield place, number, file, key_of(lines[place - start].split()[3])


def scan_sets(
    folders: Sequence[Path],
    manifests: Sequence[Manifest],
    scratch: Path,
    workers: int = 0,
    progress: Progress | None = None,
) -> Scan:
    """Decode every picture of the sets once.

    scratch: a folder for the features, 126 bytes a picture; the scan needs it as long as it lives.
    progress: called with the pictures read and their total.
    Raises InputError for an index that does not fit its tar, and a sample without a picture or a label.
    """
    total = sum(manifest.samples for manifest in manifests)
    features = np.memmap(scratch / "features", dtype=np.float16, mode="w+", shape=(total, FEATURES))
    scan = Scan(
        list(folders),
        list(manifests),
        labels=np.zeros(total, dtype=np.int16),
        pixels=np.zeros((total, 2), dtype=np.uint64),
        features=features,
        decodes=np.zeros(total, dtype=bool),
        is_blank=np.zeros(total, dtype=bool),
        sizes=[Counter() for _ in manifests],
        grey=[0 for _ in manifests],
    )
    tasks = [
        (number, ScanTask(folder, shard.file, len(manifest.emotions)), shard.samples)
        for number, (folder, manifest) in enumerate(zip(folders, manifests, strict=True))
        for shard in manifest.shards
    ]
    done = 0
    # Below some thousand pictures the start of processes takes longer than the work.
    processes = min(workers or core_count(), math.ceil(total / 4096))
    with closing(in_processes(_scan_shard, (task for _, task, _ in tasks), max(processes, 1))) as results:
        for (number, task, samples), found in zip(tasks, results, strict=True):
            if len(found.labels) != samples:
                raise InputError(
                    f"{task.folder / task.file}: its index names {len(found.labels)} samples, its manifest {samples}; "
                    f"look closer with: fer-dist shards verify {task.folder}"
                )
            part = slice(done, done + samples)
            for name in ("labels", "pixels", "features", "decodes", "is_blank"):
                getattr(scan, name)[part] = getattr(found, name)
            scan.sizes[number] += found.sizes
            scan.grey[number] += found.grey
            done += samples
            if progress:
                progress(done, total)
    return scan


def read_picture(tar: Path, key: str) -> bytes:
    """The encoded picture of a key; its shard's whole index is read for it, so this is for the few that are shown."""
    with tar.open("rb") as stream:
        for members in load_index(tar):
            if key_of(members[0].name) == key:
                return _content(stream, _picture_of(members, tar))
    raise InputError(f"{tar}: no sample {key}; the set was changed while it was read")


def _scan_shard(task: ScanTask) -> ScannedShard:
    tar = task.folder / task.file
    samples = load_index(tar)
    count = len(samples)
    labels, pixels = np.zeros(count, dtype=np.int16), np.zeros((count, 2), dtype=np.uint64)
    features = np.zeros((count, FEATURES), dtype=np.float16)
    decodes, is_blank = np.ones(count, dtype=bool), np.zeros(count, dtype=bool)
    sizes: Counter[tuple[int, int]] = Counter()
    grey = 0
    try:
        with tar.open("rb") as stream, warnings.catch_warnings():
            # What decodes with a warning was noted when it was built.
            warnings.simplefilter("ignore")
            for place, members in enumerate(samples):
                labels[place] = _label_of(stream, members, task)
                try:
                    found = fingerprint(_content(stream, _picture_of(members, tar)))
                except ValueError:
                    decodes[place] = False
                    continue
                pixels[place] = np.frombuffer(found.pixels, dtype=np.uint64)
                features[place] = found.features
                is_blank[place] = found.is_blank
                sizes[found.width, found.height] += 1
                grey += found.is_grey
    except OSError as error:
        raise InputError(f"{tar}: cannot be read ({error.strerror})") from None
    return ScannedShard(labels, pixels, features, sizes, decodes, is_blank, grey)


def _picture_of(members: list[Member], tar: Path) -> Member:
    for member in members:
        if member.extension in PICTURES:
            return member
    name = key_of(members[0].name) if members else "a sample"
    raise InputError(f"{tar.name}: {name}: no picture; look closer with: fer-dist shards verify {tar.parent}")


def _label_of(stream: BinaryIO, members: list[Member], task: ScanTask) -> int:
    text = next((_content(stream, member) for member in members if member.extension == "cls"), b"")
    if not text.strip().isdigit() or int(text) >= task.emotions:
        raise InputError(
            f"{task.file}: {key_of(members[0].name)}: its .cls {text[:20]!r} is not a number from 0 to "
            f"{task.emotions - 1}; look closer with: fer-dist shards verify {task.folder}"
        )
    return int(text)


def _content(stream: BinaryIO, member: Member) -> bytes:
    stream.seek(member.offset)
    return stream.read(member.size)
