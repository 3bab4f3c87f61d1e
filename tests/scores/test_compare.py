"""Two models and several seeds: against scipy, and how often the interval of the difference holds the truth."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from support.people import World, draw, people
from support.tables import certain, from_truth, table, tables

from fer_dist.errors import InputError
from fer_dist.scores import intervals, metrics
from fer_dist.scores.compare import (
    accuracy_over_seeds,
    holm,
    limited,
    mcnemar,
    over_seeds,
    paired,
    paired_over_seeds,
    separate,
    separate_over_seeds,
    without,
)
from fer_dist.scores.table import labelled, predicted, select


def disagreeing(both, only_first, only_second, neither=0):
    """Two tables of one emotion of two: so many images that both, one or none of the models gets right."""
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


def test_resampled_cells_give_the_interval_of_resampled_images():
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


def test_models_that_agree_on_every_image_do_not_differ_and_still_have_an_interval():
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


def test_images_without_an_emotion_do_not_count():
    first, second = table([0, -1, 0], [[1, 0], [1, 0], [0, 1]]), table([0, -1, 0], [[0, 1], [0, 1], [0, 1]])
    found = paired(first, second)
    assert (found["samples"], found["only_first_right"]) == (2, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keys": ["000000", "other"]}, "of 2 and 2 images differ in 2 keys, such as 000001"),
        ({"keys": ["000000", "000000"]}, "a key comes twice"),
        (
            {"labels": np.array([0, 0])},
            "000001: its emotion is fear in one predictions table and surprise in the other",
        ),
        ({"labels": np.array([0, -1])}, "000001: its emotion is fear in one predictions table and none in the other"),
    ],
)
def test_tables_of_other_images_are_an_input_error(change, message):
    first = certain([0, 1], [0, 1], 2)
    with pytest.raises(InputError, match=message):
        paired(first, replace(first, **change))


def test_tables_without_a_label_are_an_input_error():
    nothing = table([-1], [[1, 0]])
    with pytest.raises(InputError, match="of 1 sample none has an emotion"):
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


def test_without_leaves_out_the_images_of_the_keys_and_passes_over_keys_that_it_lacks():
    predictions = certain([0, 1, 0], [0, 1, 1], 2, pose=["front", "left", "right"])
    fewer = without(predictions, ["000001", "elsewhere"])
    assert list(fewer.keys) == ["000000", "000002"]
    assert fewer.attributes["pose"].tolist() == ["front", "right"]
    assert metrics.scores(fewer)["accuracy"] == 0.5


def proportion(right, samples):
    """A table of two emotions of which so many of so many images are right, both emotions having some."""
    labels = np.arange(samples) % 2
    return certain(labels, np.where(np.arange(samples) < right, labels, 1 - labels), 2)


def test_two_sets_are_compared_by_newcombes_interval_and_a_p_close_to_pearsons():
    found = separate(proportion(56, 70), proportion(48, 80))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["samples"], found["accuracy"]) == ([70, 80], [0.8, 0.6])
    assert found["difference"] == pytest.approx(0.2)
    assert found["interval"] == list(intervals.difference((56, 48), (70, 80)))
    expected = scipy.stats.chi2_contingency([[56, 14], [48, 32]], correction=False).pvalue
    assert found["p"] == pytest.approx(expected, rel=0.2)
    turned = separate(proportion(48, 80), proportion(56, 70))
    assert turned["p"] == found["p"]
    assert turned["interval"] == pytest.approx([-end for end in found["interval"][::-1]])


@settings(deadline=None, max_examples=300)
@given(st.integers(1, 400), st.integers(1, 400), st.floats(0, 1), st.floats(0, 1), st.sampled_from([1.0, 9.5, np.inf]))
def test_p_is_below_5_percent_just_where_the_interval_leaves_0_out(first, second, one, other, degrees):
    right, samples = (round(one * first), round(other * second)), (first, second)
    low, high = intervals.difference(right, samples, degrees=degrees)
    p = intervals.difference_tail(right, samples, degrees)
    assert 0 <= p <= 1
    assert (p < 0.05) == (low > 0 or high < 0)


@pytest.mark.parametrize("right", [(50, 32), (900, 870), (990, 979), (500, 455), (700, 695)])
def test_p_of_two_sets_is_close_to_that_of_the_pooled_score_test(right):
    samples = (1000, 1000)
    parts = [[one, of - one] for one, of in zip(right, samples, strict=True)]
    expected = scipy.stats.chi2_contingency(parts, correction=False).pvalue
    assert intervals.difference_tail(right, samples) == pytest.approx(expected, rel=0.1)


def test_two_sets_are_compared_on_the_emotions_that_both_have_images_of():
    """One network that always errs on an emotion that the other set lacks is as good on both."""
    rest = [[0.1, 0.7, 0.2], [0.6, 0.1, 0.3]]
    first = table([1, 0, 2, 2], [*rest, [0.5, 0.4, 0.1], [0.5, 0.4, 0.1]])
    second = table([1, 0], [[0.1, 0.3, 0.6], [0.4, 0.1, 0.5]])
    found = separate(first, second)
    assert found["emotions"] == ["surprise", "fear"]
    assert (found["samples"], found["accuracy"], found["difference"], found["p"]) == ([2, 2], [1, 1], 0, 1)
    turned = replace(second, emotions=second.emotions[::-1], labels=2 - second.labels)
    turned = replace(turned, probabilities=second.probabilities[:, ::-1])
    assert separate(first, turned) == found


@pytest.mark.parametrize(("labels", "other"), [([0, 0], [1, 2]), ([0, 1], [1, 2])])
def test_of_fewer_than_two_emotions_in_common_nothing_is_said(labels, other):
    found = separate(certain(labels, labels, 3), certain(other, other, 3))
    assert (found["accuracy"], found["difference"], found["interval"], found["p"]) == ([None, None], None, None, None)
    assert json.loads(json.dumps(found)) == found


@settings(deadline=None, max_examples=60)
@given(tables())
def test_a_table_limited_to_some_emotions_masks_the_others_and_is_a_table_still(predictions):
    kept = predictions.emotions[:2]
    if not np.isin(predictions.labels, [0, 1]).any():
        return
    found = limited(predictions, kept)
    assert len(found.keys) == np.isin(predictions.labels, [0, 1]).sum()
    assert found.masked == predictions.emotions[2:]
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-6)
    inside = np.isin(predictions.labels, [0, 1])
    before = predictions.probabilities[inside, :2]
    is_some = before.sum(axis=1) > 0
    assert (predicted(found)[is_some] == before.argmax(axis=1)[is_some]).all()


def test_two_sets_of_few_people_are_compared_by_subject():
    rng, world = np.random.default_rng(0), World(subject=0.8)
    first, second = draw(rng, world, *people(12, 3))[0], draw(rng, world, *people(9, 4))[0]
    found = separate(first, second)
    by_image = separate(replace(first, attributes={}), replace(second, attributes={}))
    half = separate(first, replace(second, attributes={}))
    assert [one["by"] for one in (found, half, by_image)] == ["subjects", "subjects", "images"]
    assert [one["subjects"] for one in (found, half, by_image)] == [[12, 9], [12, None], [None, None]]
    widths = [one["interval"][1] - one["interval"][0] for one in (found, half, by_image)]
    assert widths == sorted(widths, reverse=True)
    assert found["accuracy"] == pytest.approx(by_image["accuracy"])
    assert found["p"] > by_image["p"]


def test_a_pair_by_subject_is_the_t_test_of_what_each_subject_adds():
    rng, who = np.random.default_rng(0), people(12, 10)
    first, second = (draw(rng, World(subject=0.8), *who)[0] for _ in range(2))
    apart = (predicted(first) == first.labels).astype(float) - (predicted(second) == second.labels)
    of_each = np.array([apart[who[1] == subject].mean() for subject in range(12)])
    expected = scipy.stats.ttest_1samp(of_each, 0)
    found = paired(first, second)
    assert (found["by"], found["subjects"], found["samples"]) == ("subjects", 12, 840)
    assert found["difference"] == pytest.approx(of_each.mean())
    assert found["p"] == pytest.approx(expected.pvalue, rel=0.02)
    assert found["interval"] == pytest.approx(list(expected.confidence_interval()), abs=5e-4)
    assert paired(replace(first, attributes={}), second) == found
    by_image = paired(replace(first, attributes={}), replace(second, attributes={}))
    assert (by_image["by"], by_image["subjects"]) == ("images", None)
    assert by_image["p"] == mcnemar(found["only_first_right"], found["only_second_right"])


def test_networks_that_agree_on_every_image_of_every_person_do_not_differ():
    first = draw(np.random.default_rng(0), World(), *people(5, 2))[0]
    found, several = paired(first, first), paired_over_seeds([first, first], [first, first])
    for one in (found, several):
        assert (one["difference"], one["p"]) == (0, 1)
        assert one["interval"][0] < 0 < one["interval"][1]


def crossed(seed, seeds=3, images=200):
    """Tables of one recipe with several seeds."""
    rng = np.random.default_rng(seed)
    return draw(rng, World(seed=0.4, image=1.5, both=0.5), np.arange(images) % 7, gains=[0.0] * seeds)


def test_the_spread_over_seeds_and_images_is_that_of_several_readers_and_many_cases():
    """As Obuchowski and Rockette have it: covariances of the seeds' accuracies over images."""
    firsts, seconds = crossed(0), crossed(1)
    right = [np.stack([predicted(one) == one.labels for one in some]).astype(float) for some in (firsts, seconds)]
    apart = right[0] - right[1]
    covariance = np.cov(apart) / apart.shape[1]
    between = covariance[~np.eye(3, dtype=bool)].mean()
    of_seeds = apart.mean(axis=1).var(ddof=1)
    assert between > 0
    error = ((of_seeds + 3 * between) / 3 + 1 / (3 * 200**2)) ** 0.5
    found = paired_over_seeds(firsts, seconds)
    mean, weight = apart.mean(), of_seeds / (of_seeds + 3 * between)

    def p_of(t):
        return weight * 2 * scipy.stats.t.sf(t, 2) + (1 - weight) * 2 * scipy.stats.t.sf(t, 199)

    half = error * scipy.optimize.brentq(lambda t: p_of(t) - 0.05, 1.9, 4.4)
    assert found["interval"] == pytest.approx([mean - half, mean + half])
    assert found["p"] == pytest.approx(p_of(abs(mean) / error))
    assert (found["n"], found["samples"], found["difference"]) == (3, 200, pytest.approx(mean))
    assert found["deviation"] == pytest.approx(of_seeds**0.5)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_accuracy_over_seeds_has_their_mean_and_an_interval_that_is_wider_than_that_of_one_seed():
    some = crossed(0)
    found = accuracy_over_seeds(some)
    values = [metrics.scores(one)["accuracy"] for one in some]
    assert (found["n"], found["samples"]) == (3, 200)
    assert (found["mean"], found["deviation"]) == (
        pytest.approx(np.mean(values)),
        pytest.approx(np.std(values, ddof=1)),
    )
    low, high = found["interval"]
    assert 0 < low < found["mean"] < high < 1
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("right", [0, 40])
def test_seeds_that_are_all_right_or_all_wrong_have_an_interval_that_is_not_a_point(right):
    low, high = accuracy_over_seeds([proportion(right, 40)] * 3)["interval"]
    assert right / 40 in (low, high)
    assert 0.05 < high - low < 0.5


def test_one_seed_of_each_recipe_has_no_interval_and_no_p():
    (first,), (second,) = crossed(0, seeds=1), crossed(1, seeds=1)
    found = paired_over_seeds([first], [second])
    assert (found["n"], found["deviation"], found["interval"], found["p"]) == (1, None, None, None)
    alone = accuracy_over_seeds([first])
    assert (alone["n"], alone["deviation"], alone["interval"]) == (1, None, None)


def test_other_numbers_of_seeds_none_and_other_images_are_an_input_error():
    some = crossed(0)
    with pytest.raises(InputError, match="3 seeds of one recipe and 2 of the other"):
        paired_over_seeds(some, some[:2])
    with pytest.raises(InputError, match="at least one seed"):
        accuracy_over_seeds([])
    with pytest.raises(InputError, match="differ in 1 keys"):
        accuracy_over_seeds([some[0], select(some[1], np.arange(199))])


def test_tables_of_seeds_are_matched_by_key():
    firsts, seconds = crossed(0), crossed(1)
    order = np.random.default_rng(0).permutation(200)
    shuffled = [select(one, order) for one in seconds]
    assert paired_over_seeds(firsts, shuffled) == paired_over_seeds(firsts, seconds)


@settings(deadline=None, max_examples=60)
@given(tables(), st.booleans())
def test_any_table_can_be_compared_with_itself(predictions, by_subject):
    if by_subject:
        subjects = np.arange(len(predictions.keys)) // 2
        predictions = replace(predictions, attributes={"subject": subjects})
    found = [
        paired(predictions, predictions, bootstrap=20),
        separate(predictions, predictions),
        paired_over_seeds([predictions] * 2, [predictions] * 2),
        accuracy_over_seeds([predictions] * 2),
    ]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found[0]["p"] == 1
    assert found[0]["samples"] == len(labelled(predictions).keys)


def test_holm_is_as_by_hand_and_keeps_the_order_of_names():
    found = holm({"pose": 0.03, "age": 0.01, "light": 0.04, "gender": 0.005})
    assert list(found) == ["pose", "age", "light", "gender"]
    assert found == pytest.approx({"gender": 0.02, "age": 0.03, "pose": 0.06, "light": 0.06})
    assert holm({"one": 0.04}) == {"one": 0.04}
    assert holm({"one": 0.9, "other": 0.8}) == {"one": 1.0, "other": 1.0}
    assert holm({}) == {}


@pytest.mark.parametrize(("subjects", "units"), [([None, None], 400), ([None, 30], 30), ([12, 30], 12)])
def test_a_recipe_is_compared_on_two_sets_over_its_seeds_with_the_variances_of_both_added(subjects, units):
    tests = [
        {"difference": difference, "interval": [difference - 0.04, difference + 0.04], "subjects": subjects}
        | {"samples": [400, 500], "emotions": ["fear", "anger"], "by": "images"}
        for difference in (0.05, 0.07, 0.09)
    ]
    found = separate_over_seeds(tests)
    of_images, of_seeds = (0.04 / scipy.stats.t.ppf(0.975, units - 1)) ** 2, 0.02**2 / 3
    error = math.sqrt(of_images + of_seeds)
    part = of_seeds / (of_images + of_seeds)

    def tail(difference):
        return 2 * (
            part * scipy.stats.t.sf(difference / error, 2)
            + (1 - part) * scipy.stats.t.sf(difference / error, units - 1)
        )

    assert (found["difference"], found["seeds"]) == (pytest.approx(0.07), 3)
    assert found["p"] == pytest.approx(tail(0.07))
    assert tail(found["interval"][1] - 0.07) == pytest.approx(0.05, abs=1e-6)
    assert tail(0.07 - found["interval"][0]) == pytest.approx(0.05, abs=1e-6)
    assert separate_over_seeds(tests[:1]) == tests[0] | {"seeds": 1}
