"""The order of an epoch is arithmetic: each sample at most once, the same for every number of ranks."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_dist.data.draws import Integers, hashed
from fer_dist.data.loading.order import Order, Positions, default_lanes, permuted, sequence
from fer_dist.errors import InputError

# A busy machine is no failure.
unhurried = settings(deadline=None, max_examples=60)

UNEVEN = np.array([7, 1, 0, 30, 12, 5, 41, 3])


@dataclass(frozen=True)
class Case:
    """Arguments of an Order, and an epoch."""

    counts: tuple[int, ...]
    batch_size: int
    lanes: int
    block: int
    seed: int
    epoch: int

    def order(self) -> Order:
        return Order(np.array(self.counts), self.batch_size, self.seed, self.lanes, self.block)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    counts = draw(st.lists(st.integers(0, 40), min_size=1, max_size=9).filter(sum))
    batch_size = draw(st.integers(1, min(sum(counts), 48)))
    divisors = [lanes for lanes in range(1, batch_size + 1) if batch_size % lanes == 0]
    return Case(
        tuple(counts),
        batch_size,
        draw(st.sampled_from([0, *divisors])),
        draw(st.integers(1, 60)),
        draw(st.integers(0, 2**63 - 1)),
        draw(st.integers(0, 1000)),
    )


def pairs(positions: Positions) -> list[tuple[int, int]]:
    return list(zip(positions.shard.tolist(), positions.position.tolist(), strict=True))


def joined(parts: list[Positions]) -> list[tuple[int, int]]:
    return [pair for part in parts for pair in pairs(part)]


def epoch_of(order: Order, epoch: int, rank: int = 0, world: int = 1) -> list[tuple[int, int]]:
    steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
    return joined([order.batch(step, rank, world) for step in steps])


def arc(positions: list[int], length: int) -> tuple[int, int]:
    """First and last of positions that are neighbours on a circle of that length, and not the whole circle."""
    present = set(positions)
    firsts = [place for place in present if (place - 1) % length not in present]
    assert len(firsts) == 1, "not one run of neighbours"
    return firsts[0], (firsts[0] + len(present) - 1) % length


@unhurried
@given(cases())
def test_an_epoch_takes_each_sample_at_most_once_and_as_many_as_fill_whole_batches(case: Case) -> None:
    order = case.order()
    seen = epoch_of(order, case.epoch)
    assert len(seen) == sum(case.counts) // case.batch_size * case.batch_size
    assert len(set(seen)) == len(seen)
    assert all(0 <= position < case.counts[shard] for shard, position in seen)


@unhurried
@given(cases(), st.integers(0, 40))
def test_the_shares_of_all_ranks_make_the_same_global_batch_for_every_world_size(case: Case, step: int) -> None:
    order = case.order()
    whole = pairs(order.batch(step))
    assert len(whole) == case.batch_size
    for world in range(1, min(order.lanes, 7) + 1):
        assert joined([order.batch(step, rank, world) for rank in range(world)]) == whole


def test_uneven_shares_differ_by_one_lane_at_most() -> None:
    order = Order(UNEVEN, 20, seed=0, lanes=10)
    assert [len(order.batch(0, rank, 3)) for rank in range(3)] == [6, 6, 8]
    for world in range(1, 11):
        shares = [order.share(rank, world) for rank in range(world)]
        assert [lane for share in shares for lane in share] == list(range(10))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_batch_takes_as_many_from_each_lane_and_orders_them_by_lane() -> None:
    order = Order(UNEVEN, 20, seed=0, lanes=5)
    for step in range(3 * order.steps_per_epoch):
        lanes = [order.batch(step, lane, 5) for lane in range(5)]
        assert [len(lane) for lane in lanes] == [4] * 5
        assert joined(lanes) == pairs(order.batch(step))


def test_the_lanes_of_an_epoch_are_neighbouring_runs_of_the_rotated_sequence() -> None:
    order = Order(np.array([1003]), 20, seed=0, lanes=5)
    for epoch in range(5):
        runs = [arc([place for _, place in epoch_of(order, epoch, lane, 5)], 1003) for lane in range(5)]
        for (_, last), (first, _) in pairwise(runs):
            assert (last + 1) % 1003 == first


@pytest.mark.parametrize(
    ("run_length", "block", "borders"),
    [
        (1000, 100, range(100, 1000, 100)),
        (1050, 100, range(105, 1050, 105)),
        (190, 100, []),
        (30, 100, []),
        (1070, 150, [1070 * b // 7 for b in range(1, 7)]),
    ],
)
def test_a_lane_is_shuffled_within_blocks_of_at_least_the_stated_size(
    run_length: int, block: int, borders: list[int]
) -> None:
    samples = 2 * run_length + 1
    order = Order(np.array([samples]), 20, seed=0, lanes=2, block=block)

    def closed(epoch: int) -> set[int]:
        """After how many steps all samples before the lane's furthest one have come."""
        places = [place for _, place in epoch_of(order, epoch, 0, 2)]
        first, _ = arc(places, samples)
        furthest = np.maximum.accumulate([(place - first) % samples for place in places])
        return {done for done in range(1, run_length) if furthest[done - 1] == done - 1}

    # A permutation closes early by chance now and then; the borders of the blocks do it in every epoch.
    assert set.intersection(*(closed(epoch) for epoch in range(6))) == set(borders)


@unhurried
@given(st.integers(1, 5000), st.integers(0, 2**64 - 1))
def test_permuted_is_a_permutation_of_every_length(length: int, key: int) -> None:
    result = permuted(np.arange(length), np.array(length), np.array(key, dtype=np.uint64))
    assert np.array_equal(np.sort(result), np.arange(length))


def test_permuted_takes_each_element_alone_as_in_its_block() -> None:
    index, key = np.arange(77), hashed(5)
    together = permuted(index, np.array(77), key)
    assert [int(permuted(np.array([i]), np.array(77), key)[0]) for i in index] == together.tolist()


def test_the_block_permutation_has_no_more_correlation_with_the_identity_than_chance() -> None:
    length, keys = 1024, 200
    moved = permuted(np.tile(np.arange(length), keys), np.array(length), np.repeat(hashed(np.arange(keys)), length))
    ranks = (moved.reshape(keys, length) - (length - 1) / 2) / np.sqrt((length**2 - 1) / 12)
    identity = (np.arange(length) - (length - 1) / 2) / np.sqrt((length**2 - 1) / 12)
    # Spearman's rho of a random permutation has mean 0 and variance 1 / (n - 1).
    with_identity = ranks @ identity / length * np.sqrt(length - 1)
    with_neighbour = (ranks[:, 1:] * ranks[:, :-1]).mean(axis=1) * np.sqrt(length - 1)
    for scores in (with_identity, with_neighbour):
        assert abs(scores.mean()) < 4 / np.sqrt(keys)
        assert 0.8 < scores.std() < 1.2
        assert np.abs(scores).max() < 4.5


def test_epochs_and_seeds_give_other_orders() -> None:
    order = Order(UNEVEN, 20, seed=0)
    epochs = [tuple(epoch_of(order, epoch)) for epoch in range(20)]
    seeds = [tuple(epoch_of(Order(UNEVEN, 20, seed=seed), 0)) for seed in range(20)]
    assert len(set(epochs)) == len(set(seeds)) == 20


def test_the_tail_that_an_epoch_leaves_out_moves_so_that_every_sample_is_seen() -> None:
    counts = np.array([50, 3, 50])
    order = Order(counts, 10, seed=0)
    everything = {(shard, position) for shard, count in enumerate(counts) for position in range(count)}
    left_out = [everything - set(epoch_of(order, epoch)) for epoch in range(150)]
    assert {len(left) for left in left_out} == {3}
    times = [sum(sample in left for left in left_out) for sample in everything]
    # Each is left out 150 * 3 / 103 = 4.4 times on average; none always, few never.
    assert max(times) < 20
    assert np.mean([count == 0 for count in times]) < 0.1


def test_every_sample_has_the_same_chance_to_come_first() -> None:
    counts = np.array([4, 10, 6, 20])
    order = Order(counts, 5, seed=1, block=3)
    starts = np.cumsum(counts) - counts
    epochs = 1200
    times = np.zeros(40)
    for epoch in range(epochs):
        first = order.batch(epoch * order.steps_per_epoch)
        np.add.at(times, starts[first.shard] + first.position, 1)
    expected = epochs * 5 / 40
    # Chi-squared with 39 degrees of freedom: mean 39, standard deviation 8.8.
    assert ((times - expected) ** 2 / expected).sum() < 39 + 4 * 8.8


def test_shards_that_are_sorted_by_class_give_batches_that_are_mixed() -> None:
    counts = np.full(29, 1024)
    classes = np.arange(29) * 7 // 29
    order = Order(counts, 100, seed=0, lanes=20)
    shares = np.bincount(classes, counts, 7) / counts.sum()
    found = np.array(
        [np.bincount(classes[order.batch(step).shard], minlength=7) for step in range(order.steps_per_epoch)]
    )
    # No further from its share than five standard deviations of independent draws, in any batch.
    assert (np.abs(found - 100 * shares) < 5 * np.sqrt(100 * shares * (1 - shares))).all()
    centred = found - found.mean(axis=0)
    following = (centred[1:] * centred[:-1]).sum(axis=0) / (centred**2).sum(axis=0)
    assert np.abs(following).max() < 4 / np.sqrt(len(found))


def test_a_rank_reads_only_its_own_part_of_the_shards() -> None:
    order = Order(np.full(40, 100), 80, seed=0)
    for rank in range(4):
        touched = {shard for shard, _ in epoch_of(order, 3, rank, 4)}
        assert len(touched) <= 40 / 4 + 2


@unhurried
@given(cases(), st.lists(st.integers(0, 300), min_size=1, max_size=8))
def test_any_batch_is_computed_without_what_was_asked_before(case: Case, steps: list[int]) -> None:
    used = case.order()
    asked = {step: pairs(used.batch(step)) for step in steps}
    for step, batch in asked.items():
        assert pairs(case.order().batch(step)) == batch
        assert pairs(used.batch(step)) == batch


@unhurried
@given(st.integers(1, 3000))
def test_the_default_number_of_lanes_is_the_largest_divisor_up_to_128(batch_size: int) -> None:
    assert default_lanes(batch_size) == [n for n in range(1, 129) if batch_size % n == 0][-1]
    assert Order(np.array([batch_size]), batch_size, seed=0).lanes == default_lanes(batch_size)


def test_fewer_samples_than_a_batch_is_an_error_that_names_both() -> None:
    with pytest.raises(InputError, match=r"has 99 images, fewer than --train\.batch-size 100; .* at most 99"):
        Order(UNEVEN, 100, seed=0)


def test_lanes_that_do_not_divide_the_batch_are_an_error_that_names_the_default() -> None:
    with pytest.raises(InputError, match=r"--data\.lanes 7 does not divide --train\.batch-size 20; .* 0 for 20"):
        Order(UNEVEN, 20, seed=0, lanes=7)


def test_more_workers_than_lanes_are_an_error_that_says_how_many_may_be() -> None:
    with pytest.raises(InputError, match=r"6 workers are more than the 5 lanes .*batch-size 20; use at most 5 workers"):
        Order(UNEVEN, 20, seed=0, lanes=5).batch(0, 0, 6)


@unhurried
@given(st.lists(st.integers(0, 20), min_size=1, max_size=8).filter(sum), st.integers(1, 5), st.integers(1, 30))
def test_an_evaluation_takes_each_sample_once_in_the_order_of_the_shards(
    counts: list[int], world: int, batch_size: int
) -> None:
    ranks = [sequence(np.array(counts), rank, world, batch_size) for rank in range(world)]
    batches = [batch for rank in ranks for batch in rank]
    assert joined(batches) == [(shard, position) for shard, count in enumerate(counts) for position in range(count)]
    assert all(0 < len(batch) <= batch_size for batch in batches)
    sizes = [sum(map(len, rank)) for rank in ranks]
    assert max(sizes) - min(sizes) <= 1


def test_an_evaluation_with_more_ranks_than_samples_leaves_some_without() -> None:
    counts: Integers = np.array([2, 1])
    ranks = [sequence(counts, rank, 5, 4) for rank in range(5)]
    assert sorted(map(len, ranks)) == [0, 0, 1, 1, 1]
    assert joined([batch for rank in ranks for batch in rank]) == [(0, 0), (0, 1), (1, 0)]
