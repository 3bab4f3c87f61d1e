"""Measurements behind `fer-dist bench shuffle`: the order beside a true permutation, on sets mixed and sorted."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations

import numpy as np

from fer_dist.bench.flags import ShuffleFlags
from fer_dist.bench.measured import Measured, integers
from fer_dist.data.draws import Integers
from fer_dist.data.loading.mixing import Contents, chosen_mixing
from fer_dist.data.loading.order import Order
from fer_dist.errors import InputError
from fer_dist.progress import Cells

CLASSES = (3995, 436, 4097, 7215, 4830, 3171, 4965)
"""How often each class comes, in proportion: FER2013's training split, whose rarest is one in 66."""

SORTED_SHARDS = 29
EPOCHS = 3
MARKS = (1, 2, 5, 10, 20)
"""Epochs after which samples that were never seen are counted."""


@dataclass(frozen=True)
class Layout:
    """How a set lies in its shards. counts: samples of each shard; labels: of each sample, shard by shard."""

    name: str
    counts: Integers
    labels: Integers

    @property
    def contents(self) -> Contents:
        """As `fer-dist shards index` finds it."""
        shard = np.repeat(np.arange(len(self.counts)), self.counts)
        by_class = np.zeros((len(self.counts), len(CLASSES)), dtype=np.int64)
        np.add.at(by_class, (shard, self.labels), 1)
        is_sorted = bool((np.diff(shard * len(CLASSES) + self.labels) >= 0).all())
        return Contents(by_class, 10_000 * self.counts, is_sorted)


@dataclass(frozen=True)
class MixBench:
    """How one order mixes one layout; lanes and block are 0 for a true permutation.

    chi_square: of a batch's class counts against the set's shares, mean over the batches; worst: the largest.
    correlation: of the class counts of neighbouring batches, all classes together.
    pairs: pairs of samples that share a batch in two epochs, mean over pairs of epochs.
    """

    layout: str
    lanes: int
    block: int
    chi_square: float
    worst_chi_square: float
    correlation: float
    pairs: float


@dataclass(frozen=True)
class CoverageBench:
    """Share of the samples that were never seen after each of MARKS epochs, mean over seeds."""

    layout: str
    seeds: int
    unseen: list[float]


def measure_shuffle(flags: ShuffleFlags) -> Iterator[Measured]:
    lanes, blocks = integers("--lanes", flags.lanes), integers("--blocks", flags.blocks)
    if min(*lanes, *blocks, flags.batch_size) < 1:
        raise InputError("bench shuffle: --lanes, --blocks and --batch-size must be at least 1")
    mixes = list(bench_shuffle(flags.samples, flags.batch_size, lanes, blocks))
    average = expected(flags.samples, flags.batch_size)
    figures = {"expected": asdict(average), "mix": [asdict(one) for one in mixes]}
    yield Measured(figures, mix_table(average, mixes))
    # A third of the samples is the tail: in a batch of the usual size it would be too small to be counted.
    coverage = bench_coverage(shards=29, shard_samples=100, batch_size=1000, seeds=100)
    yield Measured({"coverage": [asdict(one) for one in coverage]}, coverage_table(coverage))


def bench_shuffle(samples: int, batch_size: int, lanes: list[int], blocks: list[int]) -> Iterator[MixBench]:
    """A true permutation, then each layout with the default lanes and block, and with each pair of those given.

    Raises InputError where lanes do not divide the batch size or the set is smaller than a batch.
    """
    for layout in layouts(samples):
        if layout.name == "mixed":
            yield mix(
                "a true permutation",
                0,
                0,
                [_permuted(layout, batch_size, epoch) for epoch in range(EPOCHS)],
                layout.labels,
            )
        first = chosen_mixing(layout.contents, batch_size)
        tried = {(first.lanes, first.block): None} | {(lane, block): None for lane in lanes for block in blocks}
        for lane, block in tried:
            order = Order(layout.counts, batch_size, 0, lane, block)
            yield mix(layout.name, lane, block, [_epoch(order, epoch) for epoch in range(EPOCHS)], layout.labels)


def expected(samples: int, batch_size: int) -> MixBench:
    """What the measures of a true permutation are on average; the worst batch has no such formula and is left at 0."""
    steps = samples // batch_size
    chi_square = (len(CLASSES) - 1) * (samples - batch_size) / (samples - 1)
    together = (batch_size - 1) / (samples - 1)
    pairs = steps * batch_size * (batch_size - 1) / 2 * (steps * batch_size / samples) * together
    return MixBench("expected of a permutation", 0, 0, chi_square, 0.0, -1 / (samples / batch_size - 1), pairs)


def bench_coverage(shards: int, shard_samples: int, batch_size: int, seeds: int) -> list[CoverageBench]:
    """The tail over epochs: for a set of shards, for one single tar, and for a true permutation."""
    samples = shards * shard_samples
    cases = {f"{shards} shards": np.full(shards, shard_samples), "one tar": np.array([samples])}
    found = []
    for name, counts in cases.items():
        orders = [Order(counts, batch_size, seed) for seed in range(seeds)]
        found.append(CoverageBench(name, seeds, _unseen([partial(_epoch, order) for order in orders], samples)))
    random, used = np.random.default_rng(0), samples // batch_size * batch_size
    permuted = _unseen([lambda epoch: random.permutation(samples)[:used]] * seeds, samples)
    return [*found, CoverageBench("true permutation", seeds, permuted)]


def layouts(samples: int) -> list[Layout]:
    """The same samples mixed as our build writes them and sorted by class, each in 29 shards and in one tar."""
    shares = np.cumsum(CLASSES) / sum(CLASSES)
    ordered = np.searchsorted(shares, (np.arange(samples) + 0.5) / samples).astype(np.int64)
    mixed = np.random.default_rng(0).permutation(ordered)
    ends = np.arange(1, SORTED_SHARDS + 1) * samples // SORTED_SHARDS
    many, one = np.diff(ends, prepend=0), np.array([samples])
    return [
        Layout("mixed", many, mixed),
        Layout(f"{SORTED_SHARDS} shards by class", many, ordered),
        Layout("one tar, mixed", one, mixed),
        Layout("one tar by class", one, ordered),
    ]


def mix(layout: str, lanes: int, block: int, epochs: list[Integers], labels: Integers) -> MixBench:
    """The measures of some epochs. epochs: [steps, G] sample numbers each; labels: of each sample."""
    present, labels = np.unique(labels, return_inverse=True)
    shares = np.bincount(labels) / len(labels)
    squares, following = [], []
    for batches in epochs:
        found = np.array([np.bincount(labels[batch], minlength=len(present)) for batch in batches])
        off = found - shares * batches.shape[1]
        squares.append((off**2 / (shares * batches.shape[1])).sum(axis=1))
        spread = (off**2).sum()
        following.append((off[1:] * off[:-1]).sum() / spread if spread else 0.0)
    shared = [shared_pairs(one, other, len(labels)) for one, other in combinations(epochs, 2)]
    every = np.concatenate(squares)
    return MixBench(
        layout, lanes, block, every.mean().item(), every.max().item(), float(np.mean(following)), float(np.mean(shared))
    )


def shared_pairs(one: Integers, other: Integers, samples: int) -> int:
    """Pairs of samples that share a batch in both epochs."""
    steps, batch_size = one.shape
    batch = np.full((2, samples), -1)
    for row, epoch in zip(batch, (one, other), strict=True):
        row[epoch.ravel()] = np.repeat(np.arange(steps), batch_size)
    both = batch[:, (batch >= 0).all(axis=0)]
    _, together = np.unique(both[0] * steps + both[1], return_counts=True)
    return int((together * (together - 1) // 2).sum())


def _epoch(order: Order, epoch: int) -> Integers:
    """The samples of each batch of an epoch, numbered shard by shard. [steps, G]"""
    starts = np.cumsum(order.counts) - order.counts
    steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
    batches = [order.batch(step) for step in steps]
    return np.array([starts[batch.shard] + batch.position for batch in batches])


def _permuted(layout: Layout, batch_size: int, epoch: int) -> Integers:
    """The same of a true permutation."""
    samples = len(layout.labels)
    steps = samples // batch_size
    return np.random.default_rng([1, epoch]).permutation(samples)[: steps * batch_size].reshape(steps, batch_size)


def _unseen(orders: list[Callable[[int], Integers]], samples: int) -> list[float]:
    """The share that was never seen after each of MARKS. orders: each gives the samples of an epoch."""
    unseen = np.zeros(len(MARKS))
    for order in orders:
        seen = np.zeros(samples, dtype=bool)
        for epoch in range(max(MARKS)):
            seen[order(epoch)] = True
            if epoch + 1 in MARKS:
                unseen[MARKS.index(epoch + 1)] += 1 - seen.mean()
    return (unseen / len(orders)).tolist()


def mix_table(expected: MixBench, found: list[MixBench]) -> Cells:
    """The expectation, and then an order on a layout a row; pairs that meet again as a multiple of the expectation."""
    header = ["set", "lanes", "block", "chi-square", "worst batch", "neighbours' correlation", "pairs met again"]
    rows = [[expected.layout, "", "", f"{expected.chi_square:.2f}", "", f"{expected.correlation:.3f}", "1.00"]]
    for one in found:
        order = [f"{one.lanes}", f"{one.block:,}"] if one.lanes else ["", ""]
        mix = [f"{one.chi_square:.2f}", f"{one.worst_chi_square:.1f}", f"{one.correlation:.3f}"]
        rows.append([one.layout, *order, *mix, f"{one.pairs / expected.pairs:.2f}"])
    return header, rows


def coverage_table(found: list[CoverageBench]) -> Cells:
    """A layout a row: the share of the samples that were never seen."""
    header = ["never seen, %", "seeds", *(f"after {mark} epoch{'s' * (mark > 1)}" for mark in MARKS)]
    return header, [[one.layout, str(one.seeds), *(f"{100 * share:.4f}" for share in one.unseen)] for one in found]
