"""Look over shard sets for what makes scores wrong: duplicates across splits, labels that contradict, blank images."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fer_dist.data.inspection.duplicates import SIMILAR, exact_groups, joined, near_pairs
from fer_dist.data.inspection.scan import Origin, Scan, scan_sets
from fer_dist.data.loading.shard_set import ShardSet, opened
from fer_dist.errors import InputError
from fer_dist.progress import Tally

Integers = NDArray[np.int64]
Kind = Literal["exact", "near", "subject"]


@dataclass(frozen=True)
class Found:
    """One image that the audit names. dataset, split: of its set. origin: where it lies, for who shows it."""

    dataset: str
    split: str
    shard: str
    key: str
    emotion: str
    origin: Origin | None = field(compare=False, default=None)

    @property
    def set(self) -> str:
        return f"{self.dataset}-{self.split}"


@dataclass(frozen=True)
class Group:
    """Images that are duplicates of each other, in the order of the sets.

    kind: by their pixels, or nearly; "subject": nearly, and of one person, as the release states. Posed images of one
    person before one wall look alike whatever the face expresses: they are no copies of one photograph.
    """

    kind: Kind
    members: tuple[Found, ...]

    @property
    def spans_splits(self) -> bool:
        """Whether two splits of one dataset share the image."""
        return any(len({member.split for member in own}) > 1 for own in self._by_dataset())

    @property
    def spans_datasets(self) -> bool:
        return len({member.dataset for member in self.members}) > 1

    @property
    def conflicts(self) -> bool:
        """Whether one dataset labels the image in two ways; two datasets may well differ."""
        return any(len({member.emotion for member in own}) > 1 for own in self._by_dataset())

    def _by_dataset(self) -> list[list[Found]]:
        names = sorted({member.dataset for member in self.members})
        return [[member for member in self.members if member.dataset == name] for name in names]


@dataclass(frozen=True)
class SetSummary:
    """One shard set. counts: by emotion; sizes: (width, height) -> images; grey: images without colour."""

    name: str
    samples: int
    counts: dict[str, int]
    sizes: dict[tuple[int, int], int]
    grey: int
    blank: tuple[Found, ...]
    undecodable: tuple[Found, ...]

    @property
    def imbalance(self) -> float:
        """Images of the largest emotion for each one of the smallest that is there at all."""
        present = [count for count in self.counts.values() if count]
        return max(present) / min(present)


@dataclass(frozen=True)
class Shared:
    """How many images of the set `name` have a duplicate in the set `other`.

    near: near ones that are not exact; subject: those of the same person that are neither.
    """

    name: str
    other: str
    exact: int
    near: int
    subject: int


@dataclass(frozen=True)
class AuditReport:
    """What was found.

    similar: the similarity from which two images count as near duplicates.
    exact_copies: images with the pixels of an earlier one. near_copies: images with other pixels than all earlier
    ones that are near duplicates of one of those. subject_copies: the same of one person, apart from near_copies.
    mirrored_pairs: pairs of near duplicates of which one is the other mirrored.
    """

    similar: float
    sets: tuple[SetSummary, ...]
    groups: tuple[Group, ...]
    shared: tuple[Shared, ...]
    exact_copies: int
    near_copies: int
    subject_copies: int
    mirrored_pairs: int

    def of(self, kind: Kind) -> list[Group]:
        return [group for group in self.groups if group.kind == kind]


def audit(
    shards: Sequence[str | Path | ShardSet], similar: float = SIMILAR, workers: int = 0, progress: Tally | None = None
) -> AuditReport:
    """Compare every image of these sets with every other one, by way of an index.

    shards: paths or URLs of shard sets, or what `open_set` gave.
    Memory grows by about a kilobyte an image, by up to three where most images are alike, for then pairs are many; a
    file in the temporary folder by 126 bytes. Time grows a little faster than the number of images.
    progress: called with the images read and their total.
    Raises InputError for a set that is not whole, two sets of one name, and a similarity out of range.
    """
    if not 0.9 <= similar <= 1:
        raise InputError(f"--similar {similar}: give a similarity from 0.9 (other photographs of a pose) to 1 (equal)")
    sets = [opened(one) for one in shards]
    names = [one.manifest.name for one in sets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        where = " and ".join(str(one.location) for one in sets if one.manifest.name == twice[0])
        raise InputError(
            f"{twice[0]}: two of the sets have this name, {where}; give one of them, or name "
            "one anew: fer-dist shards build ... --dataset NAME"
        )
    with tempfile.TemporaryDirectory(prefix="fer-dist-audit-") as scratch:
        return _compared(scan_sets(sets, Path(scratch), workers, progress), similar)


def _compared(scan: Scan, similar: float) -> AuditReport:
    everywhere = np.arange(len(scan))
    whole = np.flatnonzero(scan.decodes)
    exact = everywhere.copy()
    exact[whole] = whole[exact_groups(scan.pixels[whole])]
    firsts = np.flatnonzero((exact == everywhere) & scan.decodes & ~scan.is_blank)
    pairs = near_pairs(np.asarray(scan.features[firsts]), similar)
    first, second = firsts[pairs.first], firsts[pairs.second]
    subjects = scan.subjects(np.union1d(first, second))
    is_one_subject = (subjects[first] == subjects[second]) & (subjects[first] >= 0)
    near, subject = (_near(exact, firsts, first[kept], second[kept]) for kept in (~is_one_subject, is_one_subject))
    in_exact_group = (np.bincount(exact, minlength=len(scan)) > 1)[exact]
    in_group = in_exact_group | (near.roots >= 0) | (subject.roots >= 0)
    found = _named(scan, np.flatnonzero(in_group | ~scan.decodes | scan.is_blank))
    groups = (
        *_groups("exact", exact, found), *_groups("near", near.roots, found), *_groups("subject", subject.roots, found)
    )  # fmt: skip
    return AuditReport(
        similar,
        tuple(_summary(scan, number, found) for number in range(len(scan.manifests))),
        groups,
        tuple(_shared(scan, exact, near.roots, subject.roots)),
        exact_copies=int((exact != everywhere).sum()),
        near_copies=near.copies,
        subject_copies=subject.copies,
        mirrored_pairs=int(pairs.is_mirrored.sum()),
    )


@dataclass(frozen=True)
class _Near:
    """Groups of near duplicates. roots: int64 [images], a number for each group; -1 for what is in none."""

    roots: Integers
    copies: int


def _near(exact: Integers, firsts: Integers, first: Integers, second: Integers) -> _Near:
    """Groups of what pairs lead to. firsts: images with pixels of their own, of which the pairs are."""
    places = np.searchsorted(firsts, first), np.searchsorted(firsts, second)
    joined_firsts = firsts[joined(len(firsts), *places)]
    roots = np.arange(len(exact))
    roots[firsts] = joined_firsts
    roots = roots[exact]
    # Several duplicates of one image, and nothing near them, are no near group.
    is_grouped = np.isin(roots, joined_firsts[joined_firsts != firsts])
    return _Near(np.where(is_grouped, roots, -1), int((joined_firsts != firsts).sum()))


def _named(scan: Scan, indices: Integers) -> dict[int, Found]:
    found = {}
    for index, number, key, origin in scan.located(indices):
        manifest = origin.shards.manifest
        emotion = scan.emotion(index, number)
        found[index] = Found(manifest.dataset, manifest.split, manifest.shards[0].file, key, emotion, origin)
    return found


def _groups(kind: Kind, roots: Integers, found: dict[int, Found]) -> Iterable[Group]:
    """The groups of two and more, in the order of their first image. roots: -1 for what is in none."""
    indices = np.array([index for index in found if roots[index] >= 0], dtype=np.int64)
    order = indices[np.argsort(roots[indices], kind="stable")]
    for _, members in groupby(order.tolist(), key=lambda index: int(roots[index])):
        group = tuple(found[index] for index in members)
        if len(group) > 1:
            yield Group(kind, group)


def _summary(scan: Scan, number: int, found: dict[int, Found]) -> SetSummary:
    manifest = scan.manifests[number]
    own = [index for index, image in found.items() if image.set == manifest.name]
    sizes = dict(Counter(scan.sizes[number]).most_common())
    blank = tuple(found[index] for index in own if scan.is_blank[index])
    undecodable = tuple(found[index] for index in own if not scan.decodes[index])
    return SetSummary(manifest.name, manifest.samples, manifest.counts, sizes, scan.grey[number], blank, undecodable)


def _shared(scan: Scan, exact: Integers, near: Integers, subject: Integers) -> Iterable[Shared]:
    """For each two sets the images of the one with a duplicate in the other; sets that share none are left away."""
    everywhere = np.arange(len(scan))
    sets = scan.sets_of(everywhere)
    kinds = exact, near, subject
    holds = [_holders(roots, sets, len(scan.manifests)) for roots in kinds]
    for number, manifest in enumerate(scan.manifests):
        own = everywhere[sets == number]
        for other, other_manifest in enumerate(scan.manifests):
            if other != number:
                counts, is_counted = [], np.zeros(len(own), dtype=bool)
                for roots, held in zip(kinds, holds, strict=True):
                    has = held[other][roots[own]] & (roots[own] >= 0) & ~is_counted
                    counts.append(int(has.sum()))
                    is_counted |= has
                if any(counts):
                    yield Shared(manifest.name, other_manifest.name, *counts)


def _holders(roots: Integers, sets: Integers, count: int) -> NDArray[np.bool_]:
    """[sets, images]: whether a set holds an image of the group with that root."""
    holds = np.zeros((count, len(roots)), dtype=bool)
    is_grouped = roots >= 0
    holds[sets[is_grouped], roots[is_grouped]] = True
    return holds
