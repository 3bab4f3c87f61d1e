"""The listing of a release: every sample as a line of text, sorted by the hash of its key, without holding them all.

Keys are unique once they are settled: of one image that is listed twice one sample stays, of two images both.
A line is `<hex sha256 of the key> <json>`; sorting the text sorts by the hash.
"""

import hashlib
import heapq
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from fer_dist.data.images import MOST_FILE_BYTES, extension_of
from fer_dist.data.sources.source import LeftOut, Sample, Source
from fer_dist.errors import InputError
from fer_dist.progress import Tally
from fer_dist.storage.lines import LineSorter
from fer_dist.storage.untrusted import open_regular
from fer_dist.storage.writing import replacing

DIGEST = 64
"""Characters of the hash at the head of a line."""


@dataclass
class Book:
    """Rows with something wrong, left out or mended: counted by reason, and each kept as a line of a file.

    name: of the book, which tells the two apart on disk.
    """

    folder: Path
    name: str
    lines: dict[str, LineSorter] = field(default_factory=dict)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    examples: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, split: str, name: str, reason: str, path: str = "") -> None:
        """path: of the file that was tried, where that is what a person needs to see."""
        if split not in self.lines:
            self.lines[split] = LineSorter(self.folder, f"{self.name}-{split}")
            self.counts[split] = Counter()
        self.lines[split].add(
            _encode({"split": split, "name": name, "reason": reason, **({"path": path} if path else {})}) + "\n"
        )
        self.counts[split][reason] += 1
        example = path or name
        self.examples[split, reason] = min(example, self.examples.get((split, reason), example))

    def told(self, splits: set[str]) -> dict[str, int]:
        """Rows of these splits by reason, in the order of the alphabet."""
        total: Counter[str] = sum((self.counts.get(split, Counter()) for split in splits), Counter())
        return dict(sorted(total.items()))

    def save(self, path: Path, splits: set[str]) -> None:
        """Write the rows of these splits as JSON lines; no file where there is none."""
        told = [self.lines[split] for split in sorted(splits) if split in self.lines]
        if told:
            with replacing(path) as stream:
                for lines in told:
                    stream.writelines(line.encode("ascii") for line in lines)


@dataclass
class Listing:
    """All samples of a release, by split. folder: where sorted runs lie while it is in use.

    image_bytes: about the bytes of all images that are copied as they are; 0 where that is not known.
    """

    folder: Path
    left_out: Book
    mended: Book
    samples: dict[str, LineSorter] = field(default_factory=dict)
    image_bytes: int = 0

    def add(self, split: str, line: str) -> None:
        if split not in self.samples:
            self.samples[split] = LineSorter(self.folder, f"samples-{split}")
        self.samples[split].add(line)

    def unique(self, split: str) -> Iterator[str]:
        """The lines of a split in order, each key once.

        Of samples with one key that are one image the first is kept, or none where their emotions differ. Samples that
        are different images all stay: the second and later ones get a key with the hash of their bytes.
        """
        settled = LineSorter(self.folder, f"settled-{split}")
        for group in self._groups(split):
            if len(group) > 1:
                for line in self._settle([sample_of(line, split) for line in group]):
                    settled.add(line)
        alone = (group[0] for group in self._groups(split) if len(group) == 1)
        return heapq.merge(alone, settled) if settled.count else alone

    def _groups(self, split: str) -> Iterator[list[str]]:
        """The lines of each key, in order."""
        return (list(group) for _, group in itertools.groupby(self.samples[split], key=lambda line: line[:DIGEST]))

    def _settle(self, samples: list[Sample]) -> Iterator[str]:
        """The lines of those samples with one key that stay; the others are told as left out."""
        images: dict[str, list[Sample]] = {}
        digests = _digests(samples)
        for sample in sorted(samples, key=lambda sample: (name_of(sample), sample.path)):
            images.setdefault(digests[_span_of(sample)], []).append(sample)
        for number, (digest, same) in enumerate(images.items()):
            differ = len({sample.emotion for sample in same}) > 1
            for sample in same if differ else same[1:]:
                reason = "key comes twice, with other labels" if differ else "key comes twice"
                self.left_out.add(sample.split, name_of(sample), reason)
            if not differ:
                yield line_of(same[0] if not number else _renamed(same[0], digest))


def list_samples(source: Source, folder: Path, progress: Tally | None = None) -> Listing:
    """Stream the samples of a release into a listing.

    folder: an empty folder for the sorted runs.
    Raises NothingLeftError for a release without an image, or a split without one.
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
        raise NothingLeftError(f"{source.dataset}: the split {split!r} is empty; {reasons(listing, split)}", listing)
    if not listing.samples:
        raise NothingLeftError(f"{source.dataset} ({source.variant}): no image at all; {reasons(listing, '')}", listing)
    listing.image_bytes = sizes.total(sum(lines.count for lines in listing.samples.values()))
    return listing


class NothingLeftError(InputError):
    """No sample is left of a split. listing: says of each row why."""

    def __init__(self, message: str, listing: Listing) -> None:
        super().__init__(message)
        self.listing = listing


def reasons(listing: Listing, split: str) -> str:
    """Why images of a split were left out, for an error message: each reason with its number and an example."""
    counts = listing.left_out.counts.get(split, Counter())
    told = (
        f"{count} {reason!r}, as {listing.left_out.examples[split, reason]}" for reason, count in sorted(counts.items())
    )
    return f"left out: {'; '.join(told) or 'none'}"


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


def _span_of(sample: Sample) -> tuple[str, int, int]:
    return sample.path, sample.offset, sample.length


def _digests(samples: list[Sample]) -> dict[tuple[str, int, int], str]:
    """For each span of a file that holds a sample's image, a hash of its bytes; of its path where it cannot be read."""
    spans = {_span_of(sample) for sample in samples}
    if len(spans) == 1:
        return dict.fromkeys(spans, "")
    found = {}
    for path, offset, length in spans:
        try:
            with open_regular(path, None if length else MOST_FILE_BYTES) as stream:
                stream.seek(offset)
                content = stream.read(length or -1)
        except (OSError, ValueError):
            content = os.fsencode(path)
        found[path, offset, length] = hashlib.sha256(content).hexdigest()
    return found


def _renamed(sample: Sample, digest: str) -> Sample:
    """The sample under another key, of at most as many characters as `clean_key` makes."""
    mended = "; ".join(filter(None, (sample.mended, "another image has its key: the hash of its bytes is added")))
    return replace(sample, key=f"{sample.key[:73]}~{digest[:16]}", mended=mended)


class _SizeGuess:
    """The bytes of all images, guessed from every 64th: to look at each would take a call to the disk more."""

    def __init__(self) -> None:
        self.seen = 0
        self.bytes = 0

    def see(self, sample: Sample, position: int) -> None:
        if position % 64 or sample.length or not os.path.isfile(sample.path):
            return
        with suppress(OSError), open_regular(sample.path, MOST_FILE_BYTES) as stream:
            if extension_of(stream.read(16)):
                self.bytes += os.fstat(stream.fileno()).st_size
        self.seen += 1

    def total(self, samples: int) -> int:
        return self.bytes * samples // self.seen if self.seen else 0
