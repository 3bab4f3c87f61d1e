"""What `bench order` and `bench shuffle` measure is what they say: right sets, right checks, chance as it is."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from fer_dist.bench.commands import bench
from fer_dist.bench.order import bench_first_batch, bench_order, bench_real, read_set, write_set
from fer_dist.bench.shuffle import (
    CLASSES,
    EPOCHS,
    MARKS,
    bench_coverage,
    bench_shuffle,
    expected,
    layouts,
    mix,
    shared_pairs,
)
from fer_dist.data.inspection.verify import verify_shards
from fer_dist.data.shards.manifest import load_index, load_manifest
from fer_dist.errors import InputError


def test_a_size_is_measured_on_a_manifest_of_just_that_many_samples(tmp_path: Path) -> None:
    found = bench_order(25_000, tmp_path)
    manifest = load_manifest(tmp_path)
    assert (found.samples, found.shards) == (manifest.samples, len(manifest.shards)) == (25_000, 3)
    assert [sum(shard.counts.values()) for shard in manifest.shards] == [10_000, 10_000, 5_000]
    assert found.manifest_bytes == (tmp_path / "manifest.json").stat().st_size
    assert 0 < found.first_milliseconds <= found.first_worst_milliseconds
    assert 0 < found.later_milliseconds <= found.later_worst_milliseconds


def test_the_memory_of_a_measurement_is_not_that_of_the_process_that_asked_for_it(tmp_path: Path) -> None:
    ballast = np.ones(50_000_000)
    assert bench_order(10_000, tmp_path).peak_bytes < 200e6 < ballast.nbytes


def test_the_real_set_is_whole_and_one_epoch_gives_each_sample_once(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    few.mkdir()
    many.mkdir()
    write_set(few, 50, shard_samples=20)
    report = verify_shards(few)
    assert (report.shards, report.samples, report.faults) == (3, 50, ())
    found = bench_real(5000, many, batch_size=100)
    assert (found.samples, found.shards, found.delivered, found.right) == (5000, 2, 5000, 5000)


def test_a_sample_that_is_not_its_own_is_not_counted_as_right(tmp_path: Path) -> None:
    write_set(tmp_path, 300)
    (tar,) = tmp_path.glob("*.tar")
    content = bytearray(tar.read_bytes())
    label, image = load_index(tar)[17][0], load_index(tar)[18][1]
    content[label.offset] ^= 1
    content[image.offset + image.size // 2] ^= 1
    tar.write_bytes(content)
    assert read_set(tmp_path, 100, 0.0).right == 298


def test_the_wait_for_the_first_batch_is_measured_at_both_places(tmp_path: Path) -> None:
    found = bench_first_batch(2000, tmp_path, repeats=1)
    assert found.start_seconds > 0
    assert found.ratio == found.resumed_seconds / found.start_seconds


def test_each_layout_holds_the_same_samples_in_the_proportions_of_the_classes() -> None:
    for layout in layouts(28_709):
        assert layout.counts.sum() == len(layout.labels) == 28_709
        assert np.bincount(layout.labels).tolist() == list(CLASSES)


def test_the_measures_of_a_true_permutation_are_those_expected() -> None:
    samples, batch_size = 20_000, 100
    labels = layouts(samples)[0].labels
    random = np.random.default_rng(3)
    epochs = [random.permutation(samples).reshape(-1, batch_size) for _ in range(12)]
    found, average = mix("", 0, 0, epochs, labels), expected(samples, batch_size)
    # 2,400 batches; chi-square of six degrees of freedom has a standard deviation of 3.5.
    assert found.chi_square == pytest.approx(average.chi_square, abs=4 * 3.5 / 2400**0.5)
    assert found.correlation == pytest.approx(average.correlation, abs=4 / (6 * 2400) ** 0.5)
    assert found.pairs == pytest.approx(average.pairs, rel=4 / (66 * average.pairs) ** 0.5)


def test_batches_of_one_class_each_are_the_worst_that_the_measures_know() -> None:
    labels = np.repeat([0, 1], 500)
    found = mix("", 0, 0, [np.arange(1000).reshape(-1, 100)] * 2, labels)
    # Each batch has 100 of the one class, where 50 of each are due; all but one pair of neighbours are alike.
    assert (found.chi_square, found.worst_chi_square) == (100, 100)
    assert found.correlation == pytest.approx((8 - 1) / 10)
    assert found.pairs == 10 * 100 * 99 / 2


def test_pairs_that_share_a_batch_twice_are_those_found_one_by_one() -> None:
    random = np.random.default_rng(0)
    one, other = (random.permutation(60)[:56].reshape(7, 8) for _ in range(2))
    pairs = [{frozenset(pair) for batch in epoch.tolist() for pair in combinations(batch, 2)} for epoch in (one, other)]
    assert shared_pairs(one, other, 60) == len(pairs[0] & pairs[1]) > 0


def test_default_lanes_mix_every_layout_at_least_as_well_as_chance_and_one_lane_shows_the_sorting() -> None:
    samples, batch_size = 14_500, 100
    found = {(row.layout, row.lanes): row for row in bench_shuffle(samples, batch_size, [1], [1024])}
    average = expected(samples, batch_size)
    batches = EPOCHS * (samples // batch_size)
    for (layout, lanes), row in found.items():
        if lanes == 100:
            assert row.chi_square < average.chi_square + 4 * 3.5 / batches**0.5, layout
            assert abs(row.correlation) < 4 / batches**0.5, layout
            assert row.pairs == pytest.approx(average.pairs, rel=0.2), layout
        if lanes == 1 and "class" in layout:
            assert row.chi_square > 20 * average.chi_square
            assert row.correlation > 0.8


def test_the_tail_is_covered_as_by_a_true_permutation() -> None:
    shards, shard_samples, batch_size, seeds = 7, 20, 100, 60
    for row in bench_coverage(shards, shard_samples, batch_size, seeds):
        assert row.unseen[0] == pytest.approx(40 / 140)
        # The tail is one stretch: its share that was never seen varies by as much as itself from seed to seed.
        assert row.unseen[1] == pytest.approx((40 / 140) ** 2, rel=4 / seeds**0.5)
        assert row.unseen[MARKS.index(20)] < 0.001


def test_the_commands_print_their_tables_and_write_them_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench(["order", "--counts", "10000", "--real", "500", "--repeats", "1", "--json", str(tmp_path / "order.json")])
    order = json.loads((tmp_path / "order.json").read_text())
    assert [row["samples"] for row in order["sizes"]] == [10_000]
    assert order["real"]["right"] == order["real"]["delivered"] == 500
    few = ["--samples", "2900", "--batch-size", "100", "--lanes", "20", "--blocks", "64"]
    bench(["shuffle", *few, "--json", str(tmp_path / "shuffle.json")])
    shuffle = json.loads((tmp_path / "shuffle.json").read_text())
    assert len(shuffle["mix"]) == 1 + 4 * 2
    assert len(shuffle["coverage"]) == 3
    printed = capsys.readouterr().out
    assert "29 shards by class" in printed
    assert "in the middle of the last epoch" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["order", "--counts", "many"], "--counts many: give whole numbers separated by commas"),
        (["order", "--counts", "0"], "--counts and --repeats must be at least 1"),
        (["shuffle", "--lanes", "0"], "--lanes, --blocks and --batch-size must be at least 1"),
        (["shuffle", "--lanes", "7"], r"--data\.lanes 7 does not divide --train\.batch-size 640"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        bench(words)
