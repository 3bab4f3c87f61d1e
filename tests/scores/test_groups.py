"""Scores by attribute: against scikit-learn on each group alone, and how often the gap's interval holds the truth."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from support.people import World, draw, people
from support.tables import certain, from_truth, table, tables

from fer_dist.evaluate.results import load_predictions, save_predictions
from fer_dist.scores import groups, intervals, metrics
from fer_dist.scores.groups import by_attribute, largest_gap
from fer_dist.scores.table import labelled, predicted, select


def many(values):
    """Enough images of two emotions for a group of each value; the first value's are all right, others half."""
    labels = np.tile([0, 1], 10 * len(values))
    names = np.repeat(np.array(values, dtype=object), 20)
    said = np.where(np.arange(len(labels)) < 20, labels, 0)
    return certain(labels, said, 2, group=names)


# scikit-learn says so where a class is predicted but never true, or all is of one class: that is what is compared.
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(deadline=None, max_examples=80)
@given(tables())
def test_each_group_equals_scikit_learn_on_its_images_alone(predictions):
    found = by_attribute(predictions).get("group")
    chosen = labelled(predictions)
    values = np.array([value or "unknown" for value in chosen.attributes["group"]])
    if len(set(values)) < 2:
        assert found is None
        return
    assert list(found["groups"]) == sorted(set(values))
    guesses = predicted(chosen)
    for value, scores in found["groups"].items():
        true, said = chosen.labels[values == value], guesses[values == value]
        assert scores["samples"] == len(true)
        assert scores["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(true, said))
        assert scores["mean_over_classes"] == pytest.approx(sklearn.metrics.balanced_accuracy_score(true, said))
        for place, name in enumerate(chosen.emotions):
            expected = np.mean(said[true == place] == place) if (true == place).any() else None
            assert scores["recall"][name] == (expected if expected is None else pytest.approx(expected))
            assert (scores["recall_interval"][name] is None) == (expected is None)
        for measure in ("accuracy", "mean_over_classes"):
            low, high = scores[f"{measure}_interval"]
            assert 0 <= low <= scores[measure] <= high <= 1


def test_a_groups_scores_are_the_scores_of_its_table():
    whole = from_truth(0, 500)
    values = np.arange(500) % 3
    found = by_attribute(table(whole.labels, whole.probabilities, fold=values))["fold"]["groups"]
    assert list(found) == ["0", "1", "2"]
    expected = metrics.scores(select(whole, values == 1))
    for name in ("samples", "accuracy", "accuracy_interval", "mean_over_classes", "mean_over_classes_interval"):
        assert found["1"][name] == expected[name]


def test_the_gap_is_between_the_best_and_the_worst_group():
    found = by_attribute(many(["front", "left", "right"]))["group"]["gap"]
    assert found["groups"] == ["front", "left"]
    assert found["accuracy"] == 0.5
    low, high = found["interval"]
    assert low < 0.5 < high


def test_two_groups_have_the_plain_interval_and_more_groups_a_wider_one():
    two = by_attribute(many(["a", "b"]))["group"]["gap"]["interval"]
    three = by_attribute(many(["a", "b", "c"]))["group"]["gap"]["interval"]
    assert two == list(intervals.difference((20, 10), (20, 20)))
    assert three[0] < two[0]
    assert three[1] > two[1]


def test_groups_of_fewer_than_10_images_and_the_unknown_are_listed_but_make_no_gap():
    labels = [0] * 39
    values = ["a"] * 10 + ["b"] * 10 + ["few"] * 9 + [None] * 10
    said = [0] * 5 + [1] * 5 + [0] * 6 + [1] * 4 + [0] * 9 + [1] * 10
    found = by_attribute(certain(labels, said, 2, group=np.array(values, dtype=object)))["group"]
    assert list(found["groups"]) == ["a", "b", "few", "unknown"]
    assert (found["groups"]["few"]["accuracy"], found["groups"]["unknown"]["accuracy"]) == (1.0, 0.0)
    assert found["gap"]["groups"] == ["b", "a"]
    assert largest_gap({name: found["groups"][name] for name in ("a", "few", "unknown")}) is None


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (np.array([10, 9, -1, 9]), ["-1", "9", "10"]),
        (np.array([3.0, np.nan, 1.0, 3.0]), ["1", "3", "unknown"]),
        (np.array(["x", "", "y", "x"]), ["x", "y", "unknown"]),
        (np.array([True, False, True, True]), ["False", "True"]),
        (np.array([0.25, 0.5, 0.25, 0.5]), None),
        (np.array(["x", "x", "x", "x"]), None),
        (np.array([np.inf, 1.0, 1.0, 2.0]), None),
    ],
    ids=["whole", "gaps", "empty text", "yes or no", "fractions", "one value", "infinite"],
)
def test_only_values_that_group_are_groups(values, names):
    found = by_attribute(certain([0, 1, 0, 1], [0, 1, 1, 0], 2, group=values))
    assert (list(found["group"]["groups"]) if found else None) == names


def test_up_to_20_values_are_groups_and_more_are_none():
    labels = [0, 1] * 21
    twenty = by_attribute(certain(labels, labels, 2, subject=np.arange(42) % 20))
    assert len(twenty["subject"]["groups"]) == groups.MOST_GROUPS == 20
    assert by_attribute(certain(labels, labels, 2, subject=np.arange(42) % 21)) == {}


def test_groups_are_the_same_after_the_table_was_a_file(tmp_path):
    predictions = many(["a", None, "b"])
    predictions.attributes["age"] = np.array([None, 1, 2] * 20, dtype=object)
    save_predictions(tmp_path / "table.parquet", predictions)
    assert by_attribute(load_predictions(tmp_path / "table.parquet")) == by_attribute(predictions)


@pytest.mark.parametrize(
    "truth", [[0.7, 0.7, 0.7, 0.7, 0.7], [0.6, 0.65, 0.7, 0.75, 0.8], [0.8, 0.6]], ids=["equal", "spread", "two"]
)
def test_the_interval_of_the_gap_holds_the_true_difference_of_the_pair_that_was_picked(truth):
    rng = np.random.default_rng(0)
    sizes = np.array([40, 400, 120, 900, 60][: len(truth)])
    held = 0
    for right in rng.binomial(sizes, truth, size=(1000, len(truth))):
        found = largest_gap(
            {str(k): {"samples": int(n), "accuracy": right[k] / n} for k, n in enumerate(sizes.tolist())}
        )
        best, worst = map(int, found["groups"])
        held += found["interval"][0] <= truth[best] - truth[worst] <= found["interval"][1]
    assert held >= 940


def mixed(rng, sizes, recalls):
    """Two groups of so many images by emotion [2, K], with these recalls [2, K]."""
    labels, said, group = [], [], []
    for name, images, right in zip("ab", sizes, recalls, strict=True):
        for k, count in enumerate(images):
            is_right = rng.random(count) < right[k]
            labels += [k] * count
            said += np.where(is_right, k, (k + 1) % len(images)).tolist()
            group += [name] * count
    return certain(labels, said, len(sizes[0]), group=np.array(group))


def test_a_gap_that_is_all_the_mix_of_emotions_is_gone_once_it_is_adjusted():
    sizes, recalls = ((500, 100), (100, 500)), ((0.9, 0.5), (0.9, 0.5))
    gap = by_attribute(mixed(np.random.default_rng(0), sizes, recalls))["group"]["gap"]
    assert gap["groups"] == ["a", "b"]
    assert gap["interval"][0] > 0.1
    assert gap["p"] < 1e-6
    assert gap["adjusted"]["interval"][0] < 0 < gap["adjusted"]["interval"][1]
    assert gap["adjusted"]["p"] > 0.05


def test_the_adjusted_gap_is_that_of_recalls_weighted_by_hand_over_the_emotions_of_both():
    labels = [0] * 10 + [1] * 10 + [0] * 10 + [2] * 10
    said = [0] * 10 + [1] * 10 + [0] * 4 + [1] * 6 + [2] * 5 + [0] * 5
    gap = by_attribute(certain(labels, said, 3, group=np.repeat(["a", "b"], 20)))["group"]["gap"]
    assert gap["adjusted"]["emotions"] == ["surprise"]
    assert gap["adjusted"]["accuracy"] == pytest.approx(0.6)
    # The spread of 14.5 of 21, in ten images each.
    error = (14.5 / 21 * 6.5 / 21 * 2 / 10) ** 0.5
    assert gap["adjusted"]["interval"] == pytest.approx([0.6 - 1.959964 * error, 1.0])
    assert gap["adjusted"]["p"] == pytest.approx(2 * scipy.stats.norm.sf(0.6 / error))


def test_people_who_do_not_differ_are_not_told_apart_by_a_handful_of_images_of_each_emotion():
    rng, runs, claimed = np.random.default_rng(0), 40, {"raw": 0, "adjusted": 0}
    emotions, who = people(20, 3)
    for _ in range(runs):
        predictions = replace(draw(rng, World(middle=0.3), emotions)[0], attributes={"who": who})
        gap = by_attribute(predictions)["who"]["gap"]
        claimed["raw"] += gap["p"] < 0.05
        claimed["adjusted"] += gap["adjusted"]["p"] < 0.05
    assert max(claimed.values()) <= 6, claimed


def test_groups_without_an_emotion_in_common_have_no_adjusted_gap():
    labels = [0] * 12 + [1] * 12
    gap = by_attribute(certain(labels, [0] * 18 + [1] * 6, 2, group=np.repeat(["a", "b"], 12)))["group"]["gap"]
    assert gap["adjusted"] is None
    older = {"a": {"samples": 20, "accuracy": 1.0}, "b": {"samples": 20, "accuracy": 0.5}}
    assert largest_gap(older)["adjusted"] is None


def test_the_interval_of_the_adjusted_gap_holds_the_truth_and_its_p_claims_nothing_that_is_not_there():
    rng, runs, held, claimed = np.random.default_rng(0), 400, 0, 0
    sizes, recalls = ((80, 20, 150, 8), (40, 60, 60, 12)), ((0.9, 0.5, 0.8, 0.6),) * 2
    for _ in range(runs):
        gap = by_attribute(mixed(rng, sizes, recalls))["group"]["gap"]["adjusted"]
        low, high = gap["interval"]
        held += low <= 0 <= high
        claimed += gap["p"] < 0.05
    assert claimed == runs - held
    assert 0.93 <= held / runs <= 0.98, held / runs


def test_groups_of_few_people_have_wider_intervals_and_a_wider_gap():
    rng, who = np.random.default_rng(0), people(20, 4)
    drawn = draw(rng, World(subject=1.0), *who)[0]
    gender = np.where(who[1] % 2 == 0, "f", "m")
    by_subject = by_attribute(replace(drawn, attributes={"subject": who[1], "gender": gender}))["gender"]
    by_image = by_attribute(replace(drawn, attributes={"gender": gender}))["gender"]
    for value in ("f", "m"):
        one, other = by_subject["groups"][value], by_image["groups"][value]
        assert (one["by"], one["subjects"], other["by"], other["subjects"]) == ("subjects", 10, "images", None)
        for name in ("accuracy_interval", "mean_over_classes_interval"):
            assert np.diff(one[name]) > np.diff(other[name])
    assert np.diff(by_subject["gap"]["interval"]) > np.diff(by_image["gap"]["interval"])
