"""Scores against scikit-learn, torchmetrics and simulations whose truth is known."""

import json

import numpy as np
import pytest
import sklearn.metrics
import torch
import torchmetrics.functional.classification as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_dist.data.emotions import SEVEN
from fer_dist.errors import InputError
from fer_dist.scores import metrics
from fer_dist.scores.calibration import expected_calibration_error, reliability
from fer_dist.scores.table import Predictions


def table(labels, probabilities, masked=(), emotions=None):
    probabilities = np.asarray(probabilities, dtype=np.float32)
    emotions = emotions or SEVEN[: probabilities.shape[1]]
    keys = [f"{number:06}" for number in range(len(labels))]
    return Predictions(keys, np.asarray(labels), probabilities, emotions, masked)


def certain(labels, predicted, classes):
    """A table that predicts these classes with probability 1."""
    return table(labels, np.eye(classes)[np.asarray(predicted)])


def random_table(seed, samples=2000, classes=7):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.4), samples)
    top = probabilities.max(axis=1)
    # Too certain here, too uncertain there: where all bins err in one direction, any bins give the same error.
    is_right = rng.random(samples) < 0.5 + 0.5 * np.sin(40 * top)
    labels = np.where(is_right, probabilities.argmax(axis=1), rng.integers(classes, size=samples))
    return table(labels, probabilities)


@st.composite
def decisions(draw):
    """Few samples and up to seven classes, so that most tables lack a class, and some have one sample or one class."""
    classes = draw(st.integers(2, 7))
    one = st.integers(0, classes - 1)
    pairs = draw(st.lists(st.tuples(one, one), min_size=1, max_size=40))
    return [label for label, _ in pairs], [guess for _, guess in pairs], classes


# scikit-learn says so where a class is predicted but never true, or all is of one class: that is what is compared.
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(deadline=None, max_examples=150)
@given(decisions())
def test_scores_equal_scikit_learn(drawn):
    labels, predicted, classes = drawn
    found = metrics.scores(certain(labels, predicted, classes))
    assert found["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, predicted))
    assert found["mean_over_classes"] == pytest.approx(sklearn.metrics.balanced_accuracy_score(labels, predicted))
    assert found["macro_f1"] == pytest.approx(sklearn.metrics.f1_score(labels, predicted, average="macro"))
    everything = list(range(classes))
    assert found["confusion"] == sklearn.metrics.confusion_matrix(labels, predicted, labels=everything).tolist()
    by_class = sklearn.metrics.precision_recall_fscore_support(
        labels, predicted, labels=everything, average=None, zero_division=np.nan
    )
    for name, expected in zip(("precision", "recall", "f1", "support"), by_class, strict=True):
        values = np.array(list(found[name].values()), dtype=float)
        np.testing.assert_allclose(values, expected, err_msg=name)


@settings(deadline=None, max_examples=60)
@given(decisions())
def test_scores_equal_torchmetrics(drawn):
    labels, predicted, classes = drawn
    matrix = metrics.confusion(certain(labels, predicted, classes))
    answer, truth = torch.tensor(predicted), torch.tensor(labels)
    expected = reference.multiclass_confusion_matrix(answer, truth, classes)
    np.testing.assert_array_equal(matrix, expected.numpy())
    f1 = reference.multiclass_f1_score(answer, truth, classes, average="macro")
    assert metrics.macro_f1(matrix) == pytest.approx(f1.item(), abs=1e-6)
    recall = reference.multiclass_recall(answer, truth, classes, average=None).numpy()
    np.testing.assert_allclose(np.nan_to_num(metrics.recall(matrix)), recall, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_calibration_error_equals_torchmetrics(seed):
    predictions = random_table(seed)
    expected = reference.multiclass_calibration_error(
        torch.tensor(predictions.probabilities), torch.tensor(predictions.labels), 7, n_bins=15, norm="l1"
    )
    assert expected_calibration_error(reliability(predictions)) == pytest.approx(expected.item(), abs=1e-5)


def test_negative_log_likelihood_equals_torch():
    predictions = random_table(0)
    expected = torch.nn.functional.nll_loss(
        torch.tensor(predictions.probabilities, dtype=torch.float64).log(), torch.tensor(predictions.labels)
    )
    assert metrics.negative_log_likelihood(predictions) == pytest.approx(expected.item())


def test_certainty_of_one_falls_into_the_last_bin():
    bins = reliability(table([0, 0, 0], [[1, 0], [0.95, 0.05], [0.9, 0.1]]))
    assert bins.samples.tolist() == [0] * 13 + [1, 2]


@pytest.mark.parametrize("sharpness", [1.0, 2.0, 4.0])
def test_calibration_error_of_a_simulated_model_is_what_it_was_made_with(sharpness):
    """Labels follow p. A model that says p is calibrated; one that says p^s, normalised, is known to be too certain."""
    rng = np.random.default_rng(3)
    true = rng.dirichlet(np.full(7, 0.5), 100_000)
    labels = (rng.random((len(true), 1)) > true.cumsum(axis=1)).sum(axis=1).clip(max=6)
    said = true**sharpness
    said /= said.sum(axis=1, keepdims=True)
    known = (said.max(axis=1) - true.max(axis=1)).mean()
    assert (known > 0.1) == (sharpness > 1)
    assert expected_calibration_error(reliability(table(labels, said))) == pytest.approx(known, abs=0.01)


def test_scores_are_json_and_the_same_each_time():
    predictions = random_table(2, samples=50)
    found = metrics.scores(predictions)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found == metrics.scores(predictions)


def test_an_emotion_without_images_has_no_recall_and_does_not_count():
    found = metrics.scores(certain([0, 0, 1], [0, 2, 1], 4))
    assert found["recall"] == {"surprise": 0.5, "fear": 1.0, "disgust": None, "anger": None}
    assert found["precision"] == {"surprise": 1.0, "fear": 1.0, "disgust": 0.0, "anger": None}
    assert found["mean_over_classes"] == 0.75
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["confusion_normalised"][2:] == [[None] * 4, [None] * 4]


@pytest.mark.parametrize(("predicted", "value"), [([0, 1, 1], 1.0), ([1, 0, 0], 0.0)], ids=["right", "wrong"])
def test_all_right_or_all_wrong_gives_an_interval_that_is_not_a_point(predicted, value):
    few = metrics.scores(certain([0, 1, 1], predicted, 2))
    many = metrics.scores(certain([0, 1, 1] * 100, predicted * 100, 2))
    for name in ("accuracy", "mean_over_classes", "macro_f1"):
        for found, least, most in ((few, 0.5, 1), (many, 0.01, 0.1)):
            low, high = found[f"{name}_interval"]
            assert found[name] == value
            assert value in (low, high)
            assert least < high - low <= most


def test_one_sample_scores():
    found = metrics.scores(table([1], [[0.3, 0.7]]))
    assert (found["samples"], found["accuracy"], found["macro_f1"]) == (1, 1.0, 1.0)
    assert found["expected_calibration_error"] == pytest.approx(0.3)
    assert found["negative_log_likelihood"] == pytest.approx(-np.log(0.7))
    assert found["selective"] == {"above": 0.9, "samples": 0, "coverage": 0.0, "accuracy": None}


def test_of_equal_probabilities_the_first_wins():
    assert metrics.predicted(table([0, 2], [[0.2, 0.4, 0.4], [1 / 3, 1 / 3, 1 / 3]])).tolist() == [1, 0]


def test_a_masked_emotion_is_never_predicted_and_never_counts():
    whole = table([1, 2, 2], [[0, 0.8, 0.2], [0, 0.5, 0.5], [0, 0.1, 0.9]], masked=("surprise",))
    found = metrics.scores(whole)
    without = metrics.scores(table([0, 1, 1], whole.probabilities[:, 1:], emotions=SEVEN[1:3]))
    assert found["masked"] == ["surprise"]
    for name in ("accuracy", "mean_over_classes", "macro_f1", "macro_f1_interval", "expected_calibration_error"):
        assert found[name] == without[name]
    assert found["recall"] == {"surprise": None, **without["recall"]}


def test_selective_scores_count_only_what_is_above_the_threshold():
    certainty = table([0, 0, 0, 0], [[0.95, 0.05], [0.9, 0.1], [0.02, 0.98], [0.6, 0.4]])
    assert metrics.selective(certainty) == {"above": 0.9, "samples": 2, "coverage": 0.5, "accuracy": 0.5}


def test_images_without_an_emotion_are_counted_but_not_scored():
    found = metrics.scores(table([0, -1, 1], [[1, 0], [0, 1], [0, 1]]))
    assert (found["samples"], found["unlabelled"], found["accuracy"]) == (2, 1, 1.0)


@pytest.mark.parametrize("labels", [[-1, -1], []], ids=["null", "empty"])
def test_a_table_without_labels_is_an_input_error(labels):
    predictions = table(np.array(labels, dtype=int), np.full((len(labels), 2), 0.5))
    with pytest.raises(InputError, match=rf"of {len(labels)} samples? none has an emotion"):
        metrics.scores(predictions)


def test_a_certain_mistake_has_a_finite_log_likelihood():
    assert metrics.negative_log_likelihood(table([0], [[0, 1]])) == pytest.approx(87.3365, abs=1e-3)


@pytest.mark.parametrize(
    ("labels", "probabilities", "masked", "message"),
    [
        ([0, 1], [[1, 0]], (), r"labels \[2\] and probabilities \[1, 2\]; expected \[2\] and \[2, 2\]"),
        ([2], [[1, 0]], (), "whole numbers from -1 to 1"),
        ([0.0], [[1, 0]], (), "whole numbers from -1 to 1"),
        ([0, 0], [[1, 0], [3, -2]], (), r"000001: its probabilities are not parts of 1"),
        ([0], [[np.nan, 1]], (), "000000: its probabilities are not parts of 1"),
        ([0], [[0, 1]], ("surprise",), "surprise is masked, yet 1 samples have it as label and 0 give"),
        ([1], [[0.5, 0.5]], ("surprise",), "surprise is masked, yet 0 samples have it as label and 1 give"),
        ([1], [[0.5, 0.5]], ("contempt",), r"masked \(contempt\) must be among distinct emotions: surprise, fear"),
    ],
)
def test_a_table_that_contradicts_itself_is_an_input_error(labels, probabilities, masked, message):
    with pytest.raises(InputError, match=message):
        table(labels, probabilities, masked)
