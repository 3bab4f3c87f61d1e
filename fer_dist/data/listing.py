"""The listing of a release: every sample as a line of text, sorted by the hash of its key, without holding them all.

A line is `<hex sha256 of the key> <json>`; sorting the text sorts by the hash.
"""

import hashlib
import heapq
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from fer_dist.data.pictures import extension_of
from fer_dist.data.sources import LeftOut, Sample, Source
from fer_dist.errors import InputError

Progress = Callable[[int, int | None], None]
"""Called with what is done and the total, None where that is not known."""

RUN_BYTES = 16 << 20
"""Text that a sorter holds before it goes to disk: 74,000 lines of FER2013."""

FAN_IN = 64
"""Files that are merged at once, well below the 1,024 that a process may have open."""

DIGEST = 64
"""Characters of the hash at the head of a line."""


class LineSorter:
    """Sorts more lines than memory holds: sorted runs on disk, merged when they are read.

    Lines are ASCII and end with a newline. They can be read more than once, and no line be added after that.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.count = 0
        self._folder = folder
        self._name = name
        self._lines: list[str] = []
        self._bytes = 0
        self._runs: list[Path] = []
        self._written = 0

    def add(self, line: str) -> None:
        self._lines.append(line)
        self._bytes += len(line)
        self.count += 1
        if self._bytes > RUN_BYTES:
            self._lines.sort()
            self._runs.append(self._write(iter(self._lines)))
            self._lines = []
            self._bytes = 0

    def __iter__(self) -> Iterator[str]:
        self._lines.sort()
        while len(self._runs) > FAN_IN:
            first, self._runs = self._runs[:FAN_IN], self._runs[FAN_IN:]
            self._runs.append(self._write(_merged(first)))
            for run in first:
                run.unlink()
        return _merged(self._runs, self._lines) if self._runs else iter(self._lines)

    def _write(self, lines: Iterator[str]) -> Path:
        path = self._folder / f"{self._name}-{self._written:06d}.lines"
        self._written += 1
        with path.open("w", encoding="ascii") as stream:
            stream.writelines(lines)
        return path


def _merged(runs: list[Path], lines: list[str] | None = None) -> Iterator[str]:
    streams: list[TextIO] = [run.open(encoding="ascii") for run in runs]
    try:
        yield from heapq.merge(*streams, lines or [])
    finally:
        for stream in streams:
            stream.close()


@dataclass
class Book:
    """Rows with something wrong, left out or mended: counted by reason, and each kept as a line of a file.

    name: of the book, which tells the two apart on disk.
    """

    folder: Path
    name: str
    lines: dict[str, LineSorter] = field(default_factory=dict)
    counts: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, split: str, name: str, reason: str) -> None:
        if split not in self.lines:
            self.lines[split] = LineSorter(self.folder, f"{self.name}-{split}")
            self.counts[split] = Counter()
        self.lines[split].add(_encode({"split": split, "name": name, "reason": reason}) + "\n")
        self.counts[split][reason] += 1

    def told(self, splits: set[str]) -> dict[str, int]:
        """Rows of these splits by reason, in the order of the alphabet."""
        total: Counter[str] = sum((self.counts.get(split, Counter()) for split in splits), Counter())
        return dict(sorted(total.items()))

    def save(self, path: Path, splits: set[str]) -> None:
        """Write the rows of these splits as JSON lines; no file where there is none."""
        told = [self.lines[split] for split in sorted(splits) if split in self.lines]
        if told:
            with path.open("w", encoding="ascii") as stream:
                for lines in told:
                    stream.writelines(lines)


@dataclass
class Listing:
    """All samples of a release, by split. folder: where sorted runs lie while it is in use.

    picture_bytes: about the bytes of all pictures that are copied as they are; 0 where that is not known.
    """

    folder: Path
    left_out: Book
    mended: Book
    samples: dict[str, LineSorter] = field(default_factory=dict)
    picture_bytes: int = 0

    def add(self, split: str, line: str) -> None:
        if split not in self.samples:
            self.samples[split] = LineSorter(self.folder, f"samples-{split}")
        self.samples[split].add(line)

    def unique(self, split: str) -> Iterator[str]:
        """The lines of a split in order. Of equal keys the first is kept, or none where their emotions differ."""
        for _, group in itertools.groupby(self.samples[split], key=lambda line: line[:DIGEST]):
            first, *others = group
            if others:
                samples = [sample_of(line, split) for line in (first, *others)]
                differ = len({sample.emotion for sample in samples}) > 1
                for sample in samples if differ else samples[1:]:
                    reason = "key comes twice, with other labels" if differ else "key comes twice"
                    self.left_out.add(split, name_of(sample), reason)
                if differ:
                    continue
            yield first


def list_samples(source: Source, folder: Path, progress: Progress | None = None) -> Listing:
    """Stream the samples of a release into a listing.

    folder: an empty folder for the sorted runs.
    Raises InputError for a release without a picture, and for an emotion that the source did not announce.
    """
    listing = Listing(folder, Book(folder, "left-out"), Book(folder, "mended"))
    sizes = _SizeGuess()
    for done, entry in enumerate(source.samples()):
        if isinstance(entry, LeftOut):
            listing.left_out.add(entry.split, entry.name, entry.reason)
        else:
            assert entry.emotion in source.emotions, f"{entry.key}: the source did not announce {entry.emotion}"
            listing.add(entry.split, line_of(entry))
            sizes.see(entry, done)
        if progress and done % 1000 == 0:
            progress(done, None)
    for split in sorted({*listing.left_out.counts, ""} - {"", *listing.samples}):
        raise InputError(f"{source.dataset}: the split {split!r} is empty; left out: {reasons(listing, split)}")
    if not listing.samples:
        raise InputError(f"{source.dataset} ({source.variant}): no picture at all; left out: {reasons(listing, '')}")
    listing.picture_bytes = sizes.total(sum(lines.count for lines in listing.samples.values()))
    return listing


def reasons(listing: Listing, split: str) -> str:
    """Why pictures of a split were left out, for an error message."""
    counts = listing.left_out.counts.get(split, Counter())
    return ", ".join(f"{count} {reason!r}" for reason, count in sorted(counts.items())) or "none"


_encode = json.JSONEncoder(sort_keys=True).encode


def line_of(sample: Sample) -> str:
    digest = hashlib.sha256(sample.key.encode()).hexdigest()
    fields = [sample.key, sample.emotion, sample.path, sample.offset, sample.length, sample.facts, sample.mended]
    return f"{digest} {_encode(fields)}\n"


def sample_of(line: str, split: str) -> Sample:
    key, emotion, path, offset, length, facts, mended = json.loads(line[DIGEST + 1 :])
    return Sample(key, split, emotion, path, offset, length, facts, mended)


def name_of(sample: Sample) -> str:
    """The release's own name of a sample, by which a person finds it; the key where it has none."""
    return str(sample.facts.get("id", sample.key))


class _SizeGuess:
    """The bytes of all pictures, guessed from every 64th: to look at each would take a call to the disk more."""

    def __init__(self) -> None:
        self.seen = 0
        self.bytes = 0

    def see(self, sample: Sample, position: int) -> None:
        if position % 64 or sample.length or not os.path.isfile(sample.path):
            return
        with open(sample.path, "rb") as stream:
            if extension_of(stream.read(16)):
                self.bytes += os.fstat(stream.fileno()).st_size
        self.seen += 1

    def total(self, samples: int) -> int:
        return self.bytes * samples // self.seen if self.seen else 0
