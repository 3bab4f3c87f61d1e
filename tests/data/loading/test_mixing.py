"""How alike neighbouring batches will be is known beforehand; lanes and block are chosen so that they are not."""

import resource
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.faces import faces, shard_set

from fer_dist.bench.shuffle import CLASSES
from fer_dist.config.settings import Config, DataConfig, RunConfig, differences, keeping_chosen
from fer_dist.data.draws import Integers
from fer_dist.data.emotions import EIGHT, SEVEN
from fer_dist.data.loading import mixing
from fer_dist.data.loading.mixing import MOST_ALIKE, Contents, Mixing, chosen_mixing
from fer_dist.data.loading.order import Order, default_lanes
from fer_dist.data.loading.reader import MOST_OPEN, Reader
from fer_dist.data.shards.index import index_shards
from fer_dist.data.shards.leave_out import LeaveOut, save_leave_out
from fer_dist.data.shards.manifest import load_manifest
from fer_dist.errors import InputError
from fer_dist.runs.opening import going_on, open_run_folder, resolved

SMALL_BLOCK = 64
"""The usual block of the small sets here, in place of 4,096."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixing, "LEAST_BLOCK", SMALL_BLOCK)


def cut(labels: Integers, tars: int) -> Contents:
    """A list of samples, by their classes, in so many tars."""
    parts = np.array_split(labels, tars)
    by_class = np.array([np.bincount(part, minlength=len(CLASSES)) for part in parts])
    is_sorted = all((np.diff(part) >= 0).all() for part in parts)
    return Contents(by_class, 10_000 * by_class.sum(axis=1), is_sorted)


def by_class(samples: int) -> Integers:
    shares = np.cumsum(CLASSES) / sum(CLASSES)
    return np.searchsorted(shares, (np.arange(samples) + 0.5) / samples).astype(np.int64)


def measured(labels: Integers, contents: Contents, batch_size: int, found: Mixing, epochs: int = 3) -> float:
    """The correlation of neighbouring batches' class counts, about the mean of their epoch, in the real order."""
    order = Order(contents.counts, batch_size, 5, found.lanes, found.block)
    starts = np.cumsum(order.counts) - order.counts

    def counts(step: int) -> Integers:
        batch = order.batch(step)
        return np.bincount(labels[starts[batch.shard] + batch.position], minlength=len(CLASSES))

    following = []
    for epoch in range(epochs):
        first = epoch * order.steps_per_epoch
        off = np.array([counts(step) for step in range(first, first + order.steps_per_epoch)], dtype=float)
        off -= off.mean(axis=0)
        following.append((off[1:] * off[:-1]).sum() / (off**2).sum())
    return float(np.mean(following))


@pytest.mark.parametrize(
    ("samples", "tars", "batch_size", "lanes", "block"),
    [
        (30_000, 30, 60, 20, 64),
        (30_000, 30, 60, 20, 400),
        (30_000, 30, 60, 20, 1500),
        (30_000, 300, 60, 20, 64),
        (30_000, 300, 60, 60, 250),
        (30_000, 300, 50, 1, 64),
        (30_000, 300, 50, 1, 10_000),
        (30_000, 1, 60, 20, 64),
        (30_000, 3, 60, 20, 64),
    ],
)
def test_what_is_expected_of_sorted_tars_is_what_the_real_batches_show(
    samples: int, tars: int, batch_size: int, lanes: int, block: int
) -> None:
    labels = by_class(samples)
    contents = cut(labels, tars)
    found = chosen_mixing(contents, batch_size, lanes, block)
    # Expected is the worst of some epochs: where a lane has few blocks they differ.
    assert -0.07 < found.correlation - measured(labels, contents, batch_size, found) < 0.2
    mixed = np.random.default_rng(0).permutation(labels)
    assert abs(chosen_mixing(cut(mixed, tars), batch_size, lanes, block).correlation) < 0.05


@pytest.mark.parametrize("batch_size", [60, 64, 131, 262, 37])
@pytest.mark.parametrize("tars", [1, 3, 30, 300])
def test_the_block_that_is_chosen_mixes_sorted_tars(small: None, batch_size: int, tars: int) -> None:
    labels = by_class(30_000)
    contents = cut(labels, tars)
    usual = chosen_mixing(contents, batch_size, default_lanes(batch_size), SMALL_BLOCK)
    found = chosen_mixing(contents, batch_size)
    assert found.correlation <= MOST_ALIKE
    assert measured(labels, contents, batch_size, found) < 1.5 * MOST_ALIKE
    assert found.remark == ""
    assert found.block >= SMALL_BLOCK
    assert usual.correlation > MOST_ALIKE or (found.lanes, found.block) == (usual.lanes, usual.block)
    assert chosen_mixing(contents, batch_size) == found


@pytest.mark.parametrize("batch_size", [60, 100, 131, 640, 1009])
@pytest.mark.parametrize("tars", [1, 29, 4000])
def test_a_set_that_the_usual_lanes_and_block_mix_keeps_them_and_its_order(batch_size: int, tars: int) -> None:
    counts = np.array([len(part) for part in np.array_split(np.arange(4_000_000), tars)])
    share = np.array(CLASSES) / sum(CLASSES)
    contents = Contents(np.random.default_rng(1).multinomial(counts, share), counts * 10_000)
    found = chosen_mixing(contents, batch_size)
    assert (found.lanes, found.block, found.remark) == (default_lanes(batch_size), 4096, "")
    given = Order(contents.counts, batch_size, 3)
    order = Order(contents.counts, batch_size, 3, found.lanes, found.block)
    assert np.array_equal(order.batch(777).position, given.batch(777).position)


def test_a_batch_size_with_few_divisors_draws_from_as_many_places_as_it_has_samples(small: None) -> None:
    contents = cut(by_class(30_000), 30)
    assert chosen_mixing(contents, 131).lanes == 131
    assert chosen_mixing(contents, 262).lanes == 131
    assert chosen_mixing(contents, 100).lanes == 100


def test_what_is_set_stays_as_it_is_set(small: None) -> None:
    contents = cut(by_class(30_000), 30)
    for lanes, block in ((20, 64), (0, 64), (4, 30_000)):
        found = chosen_mixing(contents, 60, lanes, block)
        assert (found.lanes, found.block, found.remark) == (lanes or 60, block, "")
    assert chosen_mixing(contents, 131, block=64).lanes == 1
    found = chosen_mixing(contents, 60, lanes=4)
    assert found.lanes == 4
    assert found.block > 1000
    with pytest.raises(InputError, match=r"--data\.lanes 7 does not divide --train\.batch-size 60"):
        chosen_mixing(contents, 60, lanes=7)


@pytest.mark.parametrize("bound", ["MOST_TARS", "MOST_INDEXED", "bytes"])
def test_where_no_block_within_the_bounds_mixes_the_tars_one_line_says_what_to_set(
    small: None, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    labels = by_class(30_000)
    contents = cut(labels, 300)
    free = chosen_mixing(contents, 60)
    usual = chosen_mixing(contents, 60, 60, SMALL_BLOCK)
    most_bytes = float("inf")
    if bound == "bytes":
        most_bytes = free.bytes - 1
    else:
        monkeypatch.setattr(mixing, bound, (free.tars if bound == "MOST_TARS" else free.samples) - 1)
    found = chosen_mixing(contents, 60, most_bytes=most_bytes)
    assert MOST_ALIKE < found.correlation < usual.correlation
    assert found.tars < free.tars
    assert "\n" not in found.remark
    assert f"correlation {found.correlation:.2f}" in found.remark
    assert f"--data.block {free.block}" in found.remark
    assert ("--data.cache-gb" in found.remark) == (bound == "bytes")


def test_a_choice_for_hundreds_of_millions_of_samples_takes_seconds() -> None:
    tars, each = 73_000, 4096
    classes = np.arange(tars) * 7 // tars
    contents = Contents(each * np.eye(7, dtype=np.int64)[classes], np.full(tars, 40_000_000))
    began = time.process_time()
    found = chosen_mixing(contents, 100)
    assert time.process_time() - began < 20
    assert found.correlation <= MOST_ALIKE
    assert found.tars < 2000


def test_a_reader_tells_what_it_reads_of_each_class_without_opening_a_tar(tmp_path: Path) -> None:
    made = faces(40, emotions=8)
    folder = shard_set(tmp_path / "train", [made[:9], made[9:40]], EIGHT)
    gone = [LeaveOut("drawn-train", "drawn-train-000000.tar", made[n].key, EIGHT[made[n].label], "") for n in (2, 3)]
    save_leave_out(tmp_path / "clean.jsonl", gone)
    reader = Reader(folder, SEVEN, drop_extra=True, leave_out=str(tmp_path / "clean.jsonl"))
    contents = reader.contents()
    assert contents.counts.tolist() == reader.counts.tolist()
    names = sorted(SEVEN)
    assert contents.by_class[0].tolist() == [
        sum(one.label == SEVEN.index(name) for n, one in enumerate(made[:9]) if n not in (2, 3)) for name in names
    ]
    assert contents.bytes.tolist() == [shard.bytes for shard in reader.manifest.shards]


@pytest.mark.parametrize(("labels", "is_sorted"), [([0, 0, 1, 3], True), ([0, 1, 0, 3], False), ([2, 2, 2, 2], True)])
def test_an_index_of_tars_of_others_notes_whether_they_are_sorted_inside(
    tmp_path: Path, labels: list[int], is_sorted: bool
) -> None:
    made = [
        replace(one, members=one.members | {"cls": b"%d" % label}) for one, label in zip(faces(4), labels, strict=True)
    ]
    folder = shard_set(tmp_path / "train", [made])
    (folder / "manifest.json").unlink()
    assert index_shards(folder, SEVEN).built["sorted_inside"] is is_sorted
    assert load_manifest(folder).built["sorted_inside"] is is_sorted
    assert Reader(folder, SEVEN).contents().is_sorted_inside is is_sorted


def test_a_reader_keeps_as_many_tars_open_as_an_order_needs(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    reader = Reader(shard_set(tmp_path / "train", [faces(4)]), SEVEN)
    try:
        reader.keep_open(10)
        assert (reader.most_open, resource.getrlimit(resource.RLIMIT_NOFILE)) == (MOST_OPEN, before)
        reader.keep_open(MOST_OPEN + 88)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert hard == before[1]
        assert soft >= min(hard, before[0]) if hard != resource.RLIM_INFINITY else soft >= before[0]
        assert MOST_OPEN <= reader.most_open <= MOST_OPEN + 88
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_run_that_goes_on_keeps_the_lanes_and_the_block_that_it_has() -> None:
    old = Config(DataConfig(train="s", lanes=20, block=4096))
    assert keeping_chosen(old, Config(DataConfig(train="s"))).data == old.data
    assert keeping_chosen(old, Config(DataConfig(train="s", lanes=10, block=64))).data.block == 64
    assert keeping_chosen(Config(), Config()) == Config()


def test_a_run_of_the_time_when_every_block_had_4096_goes_on_as_it_was(tmp_path: Path) -> None:
    run = RunConfig(root=str(tmp_path), name="old")
    old = resolved(Config(DataConfig(train="s", block=4096), run=run), "demo")
    open_run_folder(old, "demo", {})
    again = going_on(resolved(Config(DataConfig(train="s"), run=run), "demo"))
    assert again == old
    assert not differences(old, again)
    other = replace(again, run=replace(run, name="new"))
    assert going_on(other) == other
