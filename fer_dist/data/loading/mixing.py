"""How well an order mixes the classes of a set, and lanes and block that mix them well enough.

A batch is mixed where its lanes stand in tars of all classes. Tars of other tools often hold one class each: then the
samples of a lane's block are of one class or of few, every batch of that time is alike, and the next block brings
another mixture. What the manifest counts of each tar is enough to say beforehand how alike neighbouring batches are.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fer_dist.data.draws import Integers
from fer_dist.data.loading.order import LEAST_BLOCK, Order, check_lanes, default_lanes

MOST_ALIKE = 0.1
"""Correlation of the class counts of neighbouring batches from which an order counts as badly mixed."""

FEW_LANES, MOST_WIDE_LANES = 16, 1024
"""A batch size whose divisors up to 128 are fewer than this, as a prime number's, may have so many lanes."""

MOST_TARS = 8192
"""Tars that are open at once, each with a file descriptor: what Ray recommends as a limit for a process."""

MOST_INDEXED, SAMPLE_BYTES = 1 << 24, 220
"""Samples of the tars that are open at once, and the memory that the line of each in the index takes: 3.7 GB for a
single worker, a part of that for each of several."""

EPOCHS = 4
"""Epochs whose layout is looked at, with a seed of their own: the choice must not depend on a run's."""


@dataclass(frozen=True)
class Contents:
    """What is known of a set beforehand.

    by_class: samples of each shard and class, int64 [shards, classes]. bytes: of each tar.
    is_sorted_inside: whether the samples of each tar stand class by class.
    """

    by_class: Integers
    bytes: Integers
    is_sorted_inside: bool = False

    @property
    def counts(self) -> Integers:
        return np.asarray(self.by_class.sum(axis=1))

    @property
    def is_cut_from_sorted(self) -> bool:
        """Whether the tars are what comes of cutting one list that is sorted by class: only at a cut do two meet."""
        shards, classes = self.by_class.shape
        return shards > 1 and int((self.by_class > 0).sum()) < shards + classes


@dataclass(frozen=True)
class Mixing:
    """Lanes and block of an order, both resolved, and what they give.

    correlation: of the class counts of neighbouring batches, as expected, in the worst of the epochs looked at.
    tars, samples, bytes: of the tars that the lanes of all workers draw from at once, at most.
    remark: one line where it is badly mixed and what can be set; else empty.
    """

    lanes: int
    block: int
    correlation: float
    tars: int
    samples: int
    bytes: int
    remark: str = ""


def chosen_mixing(
    contents: Contents, batch_size: int, lanes: int = 0, block: int = 0, most_bytes: float = float("inf")
) -> Mixing:
    """Lanes and block for a set: a pure function of what it holds, the batch size and the settings.

    lanes, block: as they were set, 0 where they are to be chosen. A block that is set takes the usual lanes with it, so
    that no order changes that had both.
    most_bytes: of the tars that are drawn from at once: what the cache of a remote set holds.
    A set for which the usual values mix well keeps them, and so its order. For another one the smallest block is taken
    that mixes well; where that is out of bounds, the largest within them, with a remark.
    Raises InputError as `Order` does.
    """
    look = _Outlook(contents, batch_size)
    usual = look.at(lanes or default_lanes(batch_size), block or LEAST_BLOCK)
    if block or usual.correlation <= MOST_ALIKE:
        return usual
    bounds = _Bounds(max(MOST_TARS, usual.tars), max(MOST_INDEXED, usual.samples), max(most_bytes, usual.bytes))
    tried = [usual]
    for wanted in [lanes] if lanes else _lanes_to_try(batch_size):
        enough = look.with_small_blocks(wanted, lambda found: found.correlation <= MOST_ALIKE)
        if bounds.hold(enough):
            return enough
        tried.append(look.with_large_blocks(wanted, bounds.hold))
    # Of those that are about as good, the one with more lanes lets more workers take part.
    best = min(tried, key=lambda one: (round(one.correlation, 1), -one.lanes))
    needed = look.with_small_blocks(best.lanes, lambda found: found.correlation <= MOST_ALIKE)
    return replace(best, remark=_remark(best, needed, most_bytes))


@dataclass(frozen=True)
class _Bounds:
    tars: int
    samples: int
    bytes: float

    def hold(self, found: Mixing) -> bool:
        return found.tars <= self.tars and found.samples <= self.samples and found.bytes <= self.bytes


def _lanes_to_try(batch_size: int) -> list[int]:
    """The usual lanes, and before them more where those are few.

    Of a prime number the usual ones are 1: then a batch comes from one place, and only one worker can take part.
    """
    usual = default_lanes(batch_size)
    wide = [lanes for lanes in range(usual + 1, MOST_WIDE_LANES + 1) if batch_size % lanes == 0]
    return [*wide[:1], usual] if usual < FEW_LANES else [usual]


def _remark(best: Mixing, needed: Mixing, most_bytes: float) -> str:
    cached = f", --data.cache-gb {1.1 * needed.bytes / 1e9:.0f}" if needed.bytes > most_bytes else ""
    return (
        f"the tars are sorted by class: neighbouring batches will be alike (correlation {best.correlation:.2f}); "
        f"--data.block {needed.block}{cached} mixes them, if {needed.tars:,} tars may be open at once (ulimit -n) and "
        f"their indexes take {needed.samples * SAMPLE_BYTES / 1e9:.1f} GB of memory; or choose a smaller "
        "--train.batch-size, or write the tars anew with their samples in a random order"
    )


class _Outlook:
    """What orders of a set give, by how its shards lie in some epochs."""

    def __init__(self, contents: Contents, batch_size: int) -> None:
        order = Order(contents.counts, batch_size, seed=0)
        self._batch_size = batch_size
        self._steps = order.steps_per_epoch
        self._layouts = [_Layout(contents, *order.laid_out(epoch)) for epoch in range(EPOCHS)]

    def at(self, lanes: int, block: int) -> Mixing:
        """What these give. Raises InputError where the lanes do not divide the batch size."""
        check_lanes(lanes, self._batch_size)
        each = self._batch_size // lanes
        run = self._steps * each
        # A block shorter than two batches moves nothing between batches.
        blocks = max(1, min(run // block, run // (2 * each)))
        borders = np.arange(blocks + 1) * run // blocks
        looks = [layout.look(lanes, run, each, borders) for layout in self._layouts]
        # Rounded, so that the last bits of a sum, in which processors differ, decide nothing.
        alike = round(max(look.correlation for look in looks), 6)
        tars, samples, size = (max(look.drawn_from[i] for look in looks) for i in range(3))
        return Mixing(lanes, block, alike, tars, samples, size)

    def with_small_blocks(self, lanes: int, is_right: Callable[[Mixing], bool]) -> Mixing:
        """The smallest block, from the usual one on, that is right, as all larger ones are; else a whole lane."""
        return self._cut(lanes, self._last(lanes, is_right))

    def with_large_blocks(self, lanes: int, is_right: Callable[[Mixing], bool]) -> Mixing:
        """The largest block that is right, as all smaller ones are; else the usual one."""
        return self._cut(lanes, self._last(lanes, lambda found: not is_right(found)) + 1)

    def _last(self, lanes: int, is_so: Callable[[Mixing], bool]) -> int:
        """The most blocks in a lane of which it is so, by halving; 0 for none."""
        so, not_so = 0, self._most_blocks(lanes) + 1
        while not_so - so > 1:
            middle = (so + not_so) // 2
            so, not_so = (middle, not_so) if is_so(self._cut(lanes, middle)) else (so, middle)
        return so

    def _cut(self, lanes: int, blocks: int) -> Mixing:
        """A lane in so many blocks, at least one, and none of them shorter than usual."""
        run = self._steps * (self._batch_size // lanes)
        return self.at(lanes, max(LEAST_BLOCK, run // max(1, blocks)))

    def _most_blocks(self, lanes: int) -> int:
        return max(1, self._steps * (self._batch_size // lanes) // LEAST_BLOCK)


@dataclass(frozen=True)
class _Look:
    """What one epoch gives. drawn_from: tars, their samples and their bytes that are drawn from at once, at most."""

    correlation: float
    drawn_from: tuple[int, int, int]


class _Layout:
    """How the shards of a set lie end to end in one epoch."""

    def __init__(self, contents: Contents, shards: Integers, ends: Integers, rotation: int) -> None:
        self._is_sorted_inside = contents.is_sorted_inside or contents.is_cut_from_sorted
        self._ends, self._rotation = ends, rotation
        self._by_class = contents.by_class[shards]
        self._before = _sums_before(self._by_class)
        # Twice, since a lane may go on behind the end.
        sizes = np.stack([np.ones_like(shards), contents.counts[shards], contents.bytes[shards]], axis=1)
        self._sizes_before = _sums_before(np.tile(sizes, (2, 1)))

    def look(self, lanes: int, run: int, each: int, borders: Integers) -> _Look:
        """Compare the blocks of all lanes, which they change at the same steps. borders: of the blocks in a lane.

        In a block a batch's counts scatter about the lanes' common mixture, as draws without replacement do; what
        neighbouring batches share is how far that mixture lies from the epoch's.
        """
        slots, before = self._at(self._rotation + np.arange(lanes)[:, None] * run + borders)
        lengths = np.diff(borders)
        mixtures = np.diff(before, axis=1) / lengths[:, None]
        common = mixtures.mean(axis=0)
        off = each * lanes * (common - (common * lengths[:, None]).sum(axis=0) / run)
        spread = each * (1 - (mixtures**2).sum(axis=2)).sum(axis=0)
        apart, rest = (off**2).sum(axis=1), np.maximum(lengths - 1, 1)
        pairs = np.maximum(lengths / each - 1, 0)
        shared = (pairs * (apart - spread * each / rest)).sum() + (off[1:] * off[:-1]).sum()
        whole = (lengths / each * (apart + spread * (lengths - each) / rest)).sum()
        touched = self._sizes_before[slots[:, 1:] + 1] - self._sizes_before[slots[:, :-1]]
        tars, samples, size = np.minimum(touched.sum(axis=0).max(axis=0), self._sizes_before[len(self._ends)]).tolist()
        return _Look(float(shared / whole) if whole > 0 else 0.0, (tars, samples, size))

    def _at(self, indices: Integers) -> tuple[Integers, NDArray[np.float64]]:
        """For each index the slot of its shard, counted on behind the end, and the samples of each class before it.

        indices: [lanes, borders]; returns [lanes, borders] and [lanes, borders, classes].
        """
        turns, within = np.divmod(indices, self._ends[-1])
        slots = np.searchsorted(self._ends, within, side="right")
        own = self._by_class[slots]
        held = own.sum(axis=-1)
        inside = within - (self._ends[slots] - held)
        if self._is_sorted_inside:
            part = np.clip(inside[..., None] - (np.cumsum(own, axis=-1) - own), 0, own)
        else:
            part = own * (inside / held)[..., None]
        return slots + turns * len(self._ends), self._before[slots] + part + turns[..., None] * self._before[-1]


def _sums_before(rows: Integers) -> Integers:
    """The sums of all rows before each, and before the end."""
    sums = np.zeros((len(rows) + 1, rows.shape[1]), dtype=np.int64)
    np.cumsum(rows, axis=0, out=sums[1:])
    return sums
