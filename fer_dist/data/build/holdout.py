"""Cut a validation split from the training split: by emotion, and never through a person or a photograph."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator

from fer_dist.data.build.listing import DIGEST, Listing, sample_of
from fer_dist.errors import InputError, counted
from fer_dist.storage.lines import LineSorter

SALT = "fer_dist val "
"""Set before what is hashed, so that the choice has nothing to do with the order of the samples in the shards."""


def cut_validation(listing: Listing, fraction: float) -> None:
    """Move a part of the listing's train split into val; the choice depends on keys and subjects alone.

    Samples without facts["subject"] or facts["photograph"]: of each emotion with n samples the first
    round(fraction * n) in a hash's order. Samples with one: whole subjects in the order of a hash, each taken where
    that brings val's size and its share of every emotion nearer to the fraction. What is held in memory grows with the
    subjects (one byte each) only.
    Raises InputError where there is no train split, or a val split already, or nothing would be in one of the two.
    """
    if "val" in listing.samples:
        raise InputError("--val-fraction: the release has a val split already; leave --val-fraction at 0")
    if "train" not in listing.samples:
        raise InputError(f"--val-fraction: there is no train split to cut; there is {', '.join(listing.samples)}")
    alone = LineSorter(listing.folder, "alone")
    together = LineSorter(listing.folder, "together")
    sizes: dict[LineSorter, Counter[str]] = {alone: Counter(), together: Counter()}
    for line in listing.unique("train"):
        sample = sample_of(line, "train")
        # Faces cut from one photograph stay together as the images of one person do.
        subject = sample.facts.get("subject", sample.facts.get("photograph"))
        lines, hashed = (alone, sample.key) if subject is None else (together, str(subject))
        lines.add(f"{hashlib.sha256((SALT + hashed).encode()).hexdigest()} {line}")
        sizes[lines][sample.emotion] += 1
    count = listing.samples.pop("train").count
    for is_val, line in itertools.chain(
        _first_of_each(alone, sizes[alone], fraction), _whole_subjects(together, sizes[together], fraction)
    ):
        listing.add("val" if is_val else "train", line)
    for split in ("train", "val"):
        if split not in listing.samples:
            of = counted(count, "image")
            raise InputError(f"--val-fraction {fraction} of {of} leaves {split} empty; choose another")


def _first_of_each(lines: LineSorter, sizes: Counter[str], fraction: float) -> Iterator[tuple[bool, str]]:
    taken: Counter[str] = Counter()
    for line in lines:
        original = line[DIGEST + 1 :]
        emotion = sample_of(original, "train").emotion
        is_val = taken[emotion] < round(fraction * sizes[emotion])
        taken[emotion] += is_val
        yield is_val, original


def _whole_subjects(lines: LineSorter, sizes: Counter[str], fraction: float) -> Iterator[tuple[bool, str]]:
    target = {emotion: fraction * size for emotion, size in sizes.items()}
    taken: Counter[str] = Counter()
    choices = bytearray()
    for _, group in itertools.groupby(lines, key=_digest):
        own = Counter(sample_of(line[DIGEST + 1 :], "train").emotion for line in group)
        is_val = _distance(taken + own, target) < _distance(taken, target)
        if is_val:
            taken += own
        choices.append(is_val)
    for choice, (_, group) in zip(choices, itertools.groupby(lines, key=_digest), strict=True):
        for line in group:
            yield bool(choice), line[DIGEST + 1 :]


def _digest(line: str) -> str:
    return line[:DIGEST]


def _distance(taken: Counter[str], target: dict[str, float]) -> float:
    """How far a choice is from the wanted counts: chi-square over the emotions, and of the size itself."""
    size = sum(target.values())
    by_emotion = sum((taken[emotion] - wanted) ** 2 / wanted for emotion, wanted in target.items())
    return by_emotion + (taken.total() - size) ** 2 / size
