"""All that a study tells of a table: its keys, its plain values, and the certainty of simulated models."""

import json

import numpy as np
import pytest
import sklearn.calibration
from hypothesis import given, settings
from support.tables import from_truth, table, tables

from fer_dist.data.emotions import SEVEN
from fer_dist.errors import InputError
from fer_dist.scores import metrics
from fer_dist.scores.detail import detail
from fer_dist.scores.table import predicted, select

TRAINED = dict(zip(SEVEN, (1290, 281, 717, 4772, 1982, 705, 2524), strict=True))
KEYS = [
    "reliability",
    "selective_curve",
    "prior",
    "rank_correlation",
    "over_predicted",
    "class_balance",
    "by_class",
    "by_attribute",
]


@settings(deadline=None, max_examples=80)
@given(tables())
def test_any_table_gives_plain_values_that_json_takes(predictions):
    found = detail(predictions, {name: 3 + place for place, name in enumerate(predictions.emotions)})
    assert list(found) == KEYS
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_every_part_has_the_keys_and_lengths_that_a_report_reads():
    whole = from_truth(0, 400)
    found = detail(table(whole.labels, whole.probabilities, gender=np.arange(400) % 2), TRAINED)
    lengths = {name: len(values) for name, values in found["reliability"].items()}
    assert lengths == {"edges": 16, "samples": 15, "confidence": 15, "accuracy": 15}
    assert [point["above"] for point in found["selective_curve"]] == [*np.arange(10) / 10, 0.95, 0.99]
    assert list(found["selective_curve"][0]) == ["above", "samples", "coverage", "accuracy"]
    assert list(found["prior"]) == ["source", "target", "uniform", "em"]
    assert list(found["prior"]["uniform"]) == ["accuracy", "mean_over_classes", "macro_f1"]
    assert list(found["prior"]["em"]) == ["prior", "iterations", "accuracy", "mean_over_classes", "macro_f1"]
    assert list(found["rank_correlation"]) == ["spearman", "p", "classes"]
    assert list(found["over_predicted"]) == list(SEVEN)
    assert list(found["by_attribute"]["gender"]) == ["groups", "gap"]
    assert list(found["by_attribute"]["gender"]["gap"]) == ["groups", "accuracy", "interval", "p", "adjusted"]


def test_images_without_an_emotion_change_nothing():
    whole = from_truth(1, 300)
    labels = np.where(np.arange(300) < 100, -1, whole.labels)
    gender = np.arange(300) % 2
    with_them = table(labels, whole.probabilities, gender=gender)
    assert detail(with_them, TRAINED) == detail(select(with_them, labels >= 0), TRAINED)
    with pytest.raises(InputError, match="of 300 samples none has an emotion"):
        detail(table(np.full(300, -1), whole.probabilities), TRAINED)


def test_reliability_equals_scikit_learns_calibration_curve():
    predictions = from_truth(2, 5000)
    top = predictions.probabilities.max(axis=1)
    is_right = predicted(predictions) == predictions.labels
    accuracy, confidence = sklearn.calibration.calibration_curve(is_right, top, n_bins=15)
    found = detail(predictions, TRAINED)["reliability"]
    filled = [place for place, count in enumerate(found["samples"]) if count]
    assert [found["accuracy"][place] for place in filled] == pytest.approx(accuracy.tolist())
    assert [found["confidence"][place] for place in filled] == pytest.approx(confidence.tolist(), abs=1e-6)
    assert found["accuracy"][0] is None


@pytest.mark.parametrize("overconfidence", [1.0, 3.0])
def test_the_calibration_error_of_a_simulated_model_is_in_its_reliability(overconfidence):
    """Labels follow p. A model that says p is calibrated; one that says p^s, normalised, is known to be too certain."""
    rng = np.random.default_rng(3)
    true = rng.dirichlet(np.full(7, 0.5), 100_000)
    labels = (rng.random((len(true), 1)) > true.cumsum(axis=1)).sum(axis=1).clip(max=6)
    said = true**overconfidence
    said /= said.sum(axis=1, keepdims=True)
    known = (said.max(axis=1) - true.max(axis=1)).mean()
    bins = detail(table(labels, said), TRAINED)["reliability"]
    filled = [k for k in range(15) if bins["samples"][k]]
    error = sum(bins["samples"][k] * abs(bins["accuracy"][k] - bins["confidence"][k]) for k in filled) / 100_000
    assert error == pytest.approx(known, abs=0.01)
    assert (known > 0.1) == (overconfidence > 1)


def test_the_selective_curve_begins_with_all_images_and_covers_ever_fewer():
    predictions = from_truth(4, 1000, sharpness=0.1)
    curve = detail(predictions, TRAINED)["selective_curve"]
    assert (curve[0]["samples"], curve[0]["coverage"]) == (1000, 1.0)
    assert curve[0]["accuracy"] == pytest.approx(metrics.scores(predictions)["accuracy"])
    samples = [point["samples"] for point in curve]
    assert samples == sorted(samples, reverse=True)
    top = predictions.probabilities.max(axis=1)
    assert samples[-1] == (top > np.float32(0.99)).sum() > 0
    certain = top > np.float32(0.9)
    right = predicted(predictions)[certain] == predictions.labels[certain]
    assert curve[9]["accuracy"] == pytest.approx(right.mean())


def test_the_same_table_gives_the_same_detail():
    predictions = from_truth(5, 200)
    assert detail(predictions, TRAINED) == detail(predictions, TRAINED)


def test_only_the_attributes_that_are_named_make_groups_and_subjects_count_all_the_same():
    whole = from_truth(6, 300)
    people = table(whole.labels, whole.probabilities, gender=np.arange(300) % 2, subject=np.arange(300) // 20)
    assert list(detail(people, TRAINED)["by_attribute"]) == ["gender", "subject"]
    found = detail(people, TRAINED, attributes=("gender",))["by_attribute"]
    assert list(found) == ["gender"]
    assert [group["subjects"] for group in found["gender"]["groups"].values()] == [15, 15]
