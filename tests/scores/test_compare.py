"""Two models and several seeds: against scipy, and how often the interval of the difference holds the truth."""

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from support.tables import certain, from_truth, table

from fer_dist.errors import InputError
from fer_dist.scores import metrics
from fer_dist.scores.compare import mcnemar, over_seeds, paired, without
from fer_dist.scores.table import predicted, select


def disagreeing(both, only_first, only_second, neither=0):
    """Two tables of one emotion of two: so many pictures that both, one or none of the models gets right."""
    first = [0] * (both + only_first) + [1] * (only_second + neither)
    second = [0] * both + [1] * only_first + [0] * only_second + [1] * neither
    return certain([0] * len(first), first, 2), certain([0] * len(second), second, 2)


@pytest.mark.parametrize(
    ("first", "second"), [(0, 0), (1, 0), (0, 5), (7, 7), (3, 12), (59, 121), (1000, 1100), (9000, 9500), (40000, 3)]
)
def test_mcnemar_equals_scipys_exact_binomial_test(first, second):
    expected = scipy.stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-8, abs=1e-300)


def test_a_pair_is_counted_as_by_hand():
    found = paired(*disagreeing(both=50, only_first=20, only_second=8, neither=22))
    assert (found["samples"], found["only_first_right"], found["only_second_right"]) == (100, 20, 8)
    assert found["difference"] == pytest.approx(0.12)
    assert found["p"] == pytest.approx(scipy.stats.binomtest(8, 28).pvalue)
    low, high = found["interval"]
    assert 0 < low < 0.12 < high
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_other_way_round_has_the_other_sign_and_the_same_p():
    first, second = disagreeing(50, 20, 8, 22)
    found, turned = paired(first, second), paired(second, first)
    assert (turned["difference"], turned["p"]) == (-found["difference"], found["p"])
    assert turned["interval"] == pytest.approx([-found["interval"][1], -found["interval"][0]], abs=0.015)


def test_resampled_cells_give_the_interval_of_resampled_pictures():
    first, second = disagreeing(1500, 300, 200, 1000)
    difference = (predicted(first) == 0).astype(float) - (predicted(second) == 0)
    expected = scipy.stats.bootstrap(
        (difference,), np.mean, n_resamples=2000, method="percentile", batch=200, rng=np.random.default_rng(0)
    ).confidence_interval
    assert paired(first, second, bootstrap=4000)["interval"] == pytest.approx(list(expected), abs=0.001)


@pytest.mark.parametrize(("samples", "parts"), [(1000, (0.08, 0.05)), (300, (0.10, 0.06)), (300, (0.03, 0.03))])
def test_the_interval_of_a_difference_holds_the_truth_in_93_to_97_percent_of_1000_runs(samples, parts):
    rng = np.random.default_rng(0)
    held = 0
    for run, (only_first, only_second, rest) in enumerate(
        rng.multinomial(samples, (*parts, 1 - sum(parts)), size=1000)
    ):
        low, high = paired(*disagreeing(rest, only_first, only_second), bootstrap=400, seed=run)["interval"]
        held += low <= parts[0] - parts[1] <= high
    assert 930 <= held <= 970, held


def test_models_that_agree_on_every_picture_do_not_differ_and_still_have_an_interval():
    found = paired(*disagreeing(100, 0, 0))
    assert (found["difference"], found["p"]) == (0, 1)
    assert found["interval"][0] < 0 < found["interval"][1]
    one = paired(*disagreeing(1, 0, 0))
    assert (one["samples"], one["p"]) == (1, 1)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    first, second = disagreeing(700, 120, 80, 100)
    assert paired(first, second, seed=1) == paired(first, second, seed=1)
    assert paired(first, second, seed=1)["interval"] != paired(first, second, seed=2)["interval"]


def test_rows_are_matched_by_key_and_emotions_by_name():
    first, second = from_truth(0, 300), from_truth(0, 300)
    order = np.random.default_rng(0).permutation(300)
    shuffled = select(second, order)
    turned = replace(
        shuffled,
        labels=6 - shuffled.labels,
        probabilities=shuffled.probabilities[:, ::-1],
        emotions=shuffled.emotions[::-1],
    )
    found = paired(first, turned)
    assert (found["only_first_right"], found["only_second_right"]) == (0, 0)


def test_pictures_without_an_emotion_do_not_count():
    first, second = table([0, -1, 0], [[1, 0], [1, 0], [0, 1]]), table([0, -1, 0], [[0, 1], [0, 1], [0, 1]])
    found = paired(first, second)
    assert (found["samples"], found["only_first_right"]) == (2, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keys": ["000000", "other"]}, "of 2 and 2 pictures differ in 2 keys, such as 000001"),
        ({"keys": ["000000", "000000"]}, "a key comes twice"),
        (
            {"labels": np.array([0, 0])},
            "000001: its emotion is fear in one predictions table and surprise in the other",
        ),
        ({"labels": np.array([0, -1])}, "000001: its emotion is fear in one predictions table and none in the other"),
    ],
)
def test_tables_of_other_pictures_are_an_input_error(change, message):
    first = certain([0, 1], [0, 1], 2)
    with pytest.raises(InputError, match=message):
        paired(first, replace(first, **change))


def test_tables_without_a_label_are_an_input_error():
    nothing = table([-1], [[1, 0]])
    with pytest.raises(InputError, match="none of the 1 samples has an emotion"):
        paired(nothing, nothing)


def test_several_seeds_have_a_mean_and_a_sample_deviation():
    values = [metrics.scores(from_truth(seed, 200)) for seed in range(5)]
    found = over_seeds(values)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["n"] == 5
    for name in ("accuracy", "mean_over_classes", "macro_f1"):
        numbers = [scores[name] for scores in values]
        expected = scipy.stats.describe(numbers)
        assert found[name]["values"] == numbers
        assert found[name]["mean"] == pytest.approx(expected.mean)
        assert found[name]["deviation"] == pytest.approx(expected.variance**0.5)


def test_one_seed_has_no_deviation_and_none_is_an_input_error():
    one = over_seeds([metrics.scores(from_truth(0, 50))])
    assert (one["n"], one["accuracy"]["deviation"]) == (1, None)
    with pytest.raises(InputError, match="at least one seed"):
        over_seeds([])


def test_without_leaves_out_the_pictures_of_the_keys_and_passes_over_keys_that_it_lacks():
    predictions = certain([0, 1, 0], [0, 1, 1], 2, pose=["front", "left", "right"])
    fewer = without(predictions, ["000001", "elsewhere"])
    assert list(fewer.keys) == ["000000", "000002"]
    assert fewer.attributes["pose"].tolist() == ["front", "right"]
    assert metrics.scores(fewer)["accuracy"] == 0.5
