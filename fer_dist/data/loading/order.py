"""The epoch's order and every random draw, as pure functions of (counts, seed, epoch, position).

Nothing about the past is state: any batch of any epoch is computed from scratch, at the same price.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fer_dist.data.draws import Hashes, Integers, folded, hashed
from fer_dist.errors import InputError, counted

MOST_LANES = 128
"""Enough that a batch draws from all over the set; more would only open more tars at once."""

LEAST_BLOCK = 4096
"""Samples of a lane that are shuffled together, at least: as many as the largest shard that a build writes."""

TOGETHER = 1024
"""Samples that are located at once. One batch of 64 by itself costs 6 to 15 microseconds a sample, most of it
numpy's calls."""

ROUNDS = 6
"""Rounds of the block permutation. After 4 the rank correlation with the identity is that of chance (tests)."""


def permuted(index: Integers, length: Integers, key: Hashes) -> Integers:
    """Where each index of a block goes: a permutation of 0..length-1 for each key, one element at a time.

    index, length, key: [n], broadcast; 0 <= index < length.
    An alternating Feistel network over rows x columns, a little larger than the block; what falls outside the block
    walks on until it is inside (cycle walking). Source: Black and Rogaway 2002, "Ciphers with arbitrary finite
    domains".
    """
    each = np.broadcast_arrays(index, length, key)
    indices, lengths, keys = (values.astype(np.uint64) for values in each)
    rows = np.ceil(np.sqrt(lengths)).astype(np.uint64)
    columns = (lengths + rows - np.uint64(1)) // rows
    keys = hashed(keys)
    pending = np.arange(len(indices))
    while len(pending):
        key, across, down = keys[pending], columns[pending], rows[pending]
        high, low = np.divmod(indices[pending], across)
        for turn in range(ROUNDS):
            high = (high + folded(folded(key, 2 * turn), low) % down) % down
            low = (low + folded(folded(key, 2 * turn + 1), high) % across) % across
        indices[pending] = high * across + low
        pending = pending[indices[pending] >= lengths[pending]]
    return indices.astype(np.int64)


@dataclass(frozen=True)
class Positions:
    """Where the samples of a batch lie. shard, position: int64 [n]; position counts the samples of its shard."""

    shard: Integers
    position: Integers

    def __len__(self) -> int:
        return len(self.shard)


class Order:
    """The order of a training run.

    The epoch's shuffled shard list, laid end to end and rotated by a hash, is cut into L equal runs of samples; lane j
    walks run j, shuffled within blocks; each batch takes G / L samples from each lane, ordered by lane, then position.
    An epoch has floor(N / G) batches, so each sample comes at most once; the tail that is left out moves with the
    rotation.
    """

    def __init__(self, counts: Integers, batch_size: int, seed: int, lanes: int = 0, block: int = LEAST_BLOCK) -> None:
        """counts: samples of each shard. batch_size: G, samples of a step over all ranks. lanes: L, 0 for the default.

        Raises InputError where N < G or L does not divide G.
        """
        self.counts = np.asarray(counts, dtype=np.int64)
        self.samples = int(self.counts.sum())
        self.batch_size = batch_size
        self.seed = seed
        self.lanes = lanes or default_lanes(batch_size)
        self.block = block
        if self.samples < batch_size:
            raise InputError(
                f"the training split has {counted(self.samples, 'image')}, fewer than --train.batch-size {batch_size}; "
                f"choose a batch of at most {self.samples}"
            )
        check_lanes(self.lanes, batch_size)
        self.steps_per_epoch = self.samples // batch_size
        self.per_lane = batch_size // self.lanes
        self.run_length = self.steps_per_epoch * self.per_lane
        self.laid_out = lru_cache(maxsize=2)(self._lay_out)
        self._computed = lru_cache(maxsize=2)(self._compute)

    def share(self, rank: int, world: int) -> range:
        """The lanes that a rank serves: floor(rL/W) to floor((r+1)L/W) - 1. Raises InputError where W > L."""
        if world > self.lanes:
            raise InputError(
                f"{world} workers are more than the {counted(self.lanes, 'lane')} of --train.batch-size "
                f"{self.batch_size}; use at most {counted(self.lanes, 'worker')}, or a larger batch or --data.lanes"
            )
        return range(rank * self.lanes // world, (rank + 1) * self.lanes // world)

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Positions:
        """The samples of a rank's share of an optimiser step; step counts from the start of the run.

        Concatenating the shares of all ranks gives the same global batch for every world size.
        """
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        size = len(self.share(rank, world)) * self.per_lane
        several = max(1, TOGETHER // max(size, 1))
        first = step_in_epoch - step_in_epoch % several
        together = self._computed(epoch, first, min(several, self.steps_per_epoch - first), rank, world)
        row = step_in_epoch - first
        return Positions(together.shard[row], together.position[row])

    def _compute(self, epoch: int, first: int, count: int, rank: int, world: int) -> Positions:
        """The shares of neighbouring steps of an epoch, a row each."""
        lanes = np.array(self.share(rank, world), dtype=np.int64)
        steps = np.arange(first, first + count, dtype=np.int64)
        in_run = steps[:, None] * self.per_lane + np.arange(self.per_lane, dtype=np.int64)
        index = np.repeat(in_run[:, None, :], len(lanes), axis=1).ravel()
        lane = np.tile(np.repeat(lanes, self.per_lane), count)
        blocks = max(1, self.run_length // self.block)
        # Block b of a run spans b * run / blocks to (b + 1) * run / blocks, so that none is shorter than the setting.
        block = ((index + 1) * blocks - 1) // self.run_length
        start = block * self.run_length // blocks
        length = (block + 1) * self.run_length // blocks - start
        key = hashed(self.seed, epoch, 1, lane, block)
        found = self._locate(epoch, lane * self.run_length + start + permuted(index - start, length, key))
        return Positions(found.shard.reshape(count, -1), found.position.reshape(count, -1))

    def _locate(self, epoch: int, index: Integers) -> Positions:
        """Shard and position of indices in the epoch's rotated sequence."""
        shards, ends, rotation = self.laid_out(epoch)
        index = (index + rotation) % self.samples
        slot = np.searchsorted(ends, index, side="right")
        shard = shards[slot]
        return Positions(shard, index - (ends[slot] - self.counts[shard]))

    def _lay_out(self, epoch: int) -> tuple[Integers, Integers, int]:
        """The epoch's shuffled shards, where each ends when they lie end to end, and the rotation."""
        shards = _sorted_indices(hashed(self.seed, epoch, 2, np.arange(len(self.counts), dtype=np.uint64)))
        rotation = int(hashed(self.seed, epoch, 3) % np.uint64(self.samples))
        return shards, np.cumsum(self.counts[shards]), rotation


def check_lanes(lanes: int, batch_size: int) -> None:
    """Raises InputError where the lanes do not divide the batch size."""
    if batch_size % lanes:
        raise InputError(
            f"--data.lanes {lanes} does not divide --train.batch-size {batch_size}; "
            f"choose a divisor, or 0 for {default_lanes(batch_size)}"
        )


def default_lanes(batch_size: int) -> int:
    """The largest divisor of the batch size that is at most 128."""
    return max(lanes for lanes in range(1, min(batch_size, MOST_LANES) + 1) if batch_size % lanes == 0)


def _sorted_indices(hashes: Hashes) -> Integers:
    """Where the hashes lie in ascending order.

    By their first 16 bits at first, which numpy sorts by radix: its other stable sort is quick on what is nearly in
    order. Measured for 100,000 shards: a third of the time of one sort, which was most of an epoch's first batch.
    """
    nearly = np.argsort((hashes >> np.uint64(48)).astype(np.uint16), kind="stable")
    return nearly[np.argsort(hashes[nearly], kind="stable")]


def sequence(counts: Integers, rank: int, world: int, batch_size: int) -> list[Positions]:
    """The batches of one pass in the order of the shards, for evaluation: each sample once over all ranks, no padding.

    Ranks take neighbouring parts, so the last batch of each may be smaller, and a rank may have none.
    """
    total = int(counts.sum())
    indices = np.arange(rank * total // world, (rank + 1) * total // world, dtype=np.int64)
    return cut(located(counts, indices), batch_size)


def located(counts: Integers, indices: Integers) -> Positions:
    """Where samples lie that are counted through all shards. counts: samples of each shard."""
    ends = np.cumsum(counts)
    shard = np.searchsorted(ends, indices, side="right")
    return Positions(shard, indices - (ends[shard] - counts[shard]))


def cut(positions: Positions, batch_size: int) -> list[Positions]:
    """The same positions as batches, of which the last one may be smaller."""
    shard, position = positions.shard, positions.position
    cuts = range(0, len(positions), batch_size)
    return [Positions(shard[i : i + batch_size], position[i : i + batch_size]) for i in cuts]
