"""Scores under another prior, against scikit-learn, scipy's optimiser and a shift that is known."""

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from sklearn.naive_bayes import GaussianNB
from support.tables import table, tables

from fer_dist.data.emotions import SEVEN
from fer_dist.errors import InputError
from fer_dist.scores import metrics, priors

SOURCE = np.array([0.50, 0.30, 0.15, 0.05])
TARGET = np.array([0.10, 0.20, 0.30, 0.40])
COUNTS = dict(zip(SEVEN, (500, 300, 150, 50), strict=False))


def shifted(seed, samples=50_000, target=TARGET):
    """What a perfect model, trained under SOURCE, says of images drawn under another prior: points in a plane."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0], [2, 0], [0, 2], [2, 2]])
    labels = rng.choice(4, samples, p=target)
    points = centres[labels] + rng.normal(size=(samples, 2))
    densities = np.exp(-((points[:, None] - centres) ** 2).sum(axis=2) / 2)
    joint = densities * SOURCE
    return table(labels, joint / joint.sum(axis=1, keepdims=True)), densities


def test_the_estimate_recovers_a_known_shift_within_1_point():
    predictions, _ = shifted(0)
    found = priors.prior_scores(predictions, COUNTS)
    assert list(found["source"].values()) == pytest.approx(SOURCE)
    assert list(found["em"]["prior"].values()) == pytest.approx(TARGET, abs=0.01)
    assert list(found["target"].values()) == pytest.approx(TARGET, abs=0.01)
    assert found["em"]["iterations"] < priors.MOST_ROUNDS


def test_without_a_shift_the_estimate_is_the_training_prior_within_1_point():
    predictions, _ = shifted(1, target=SOURCE)
    assert priors.estimated_prior(predictions, SOURCE).prior == pytest.approx(SOURCE, abs=0.01)


def test_the_estimate_is_the_most_likely_prior_as_scipy_finds_it():
    predictions, _ = shifted(2, samples=2000)
    weights = predictions.probabilities.astype(float) / SOURCE
    best = scipy.optimize.minimize(
        lambda prior: -np.log(weights @ prior).mean(),
        SOURCE,
        method="SLSQP",
        bounds=[(1e-9, 1)] * 4,
        constraints={"type": "eq", "fun": lambda prior: prior.sum() - 1},
        options={"ftol": 1e-12},
    )
    assert priors.estimated_prior(predictions, SOURCE).prior == pytest.approx(best.x, abs=1e-3)


def test_the_posterior_under_another_prior_is_that_of_a_model_trained_with_it():
    rng = np.random.default_rng(3)
    labels = rng.choice(4, 400, p=SOURCE)
    points = rng.normal(size=(400, 3)) + labels[:, None]
    trained, other = (GaussianNB(priors=prior).fit(points, labels) for prior in (SOURCE, TARGET))
    moved = priors.with_prior(table(labels, trained.predict_proba(points)), SOURCE, TARGET)
    np.testing.assert_allclose(moved.probabilities, other.predict_proba(points), atol=1e-5)


def test_taking_the_prior_out_gives_the_likeliest_emotion_whatever_its_number():
    predictions, densities = shifted(4, samples=3000)
    expected = metrics.scores(table(predictions.labels, np.eye(4)[densities.argmax(axis=1)]))
    found = priors.prior_scores(predictions, COUNTS)["uniform"]
    assert found == {name: pytest.approx(expected[name], abs=1e-9) for name in found}
    assert found["mean_over_classes"] > metrics.scores(predictions)["mean_over_classes"]


def test_the_right_prior_scores_above_the_wrong_one():
    predictions, _ = shifted(5, samples=5000)
    found = priors.prior_scores(predictions, COUNTS)
    assert found["em"]["accuracy"] > found["uniform"]["accuracy"] > metrics.scores(predictions)["accuracy"]


def test_a_masked_emotion_stays_at_zero_and_its_training_images_do_not_count():
    predictions = table([1, 2, 1], [[0, 0.9, 0.1], [0, 0.6, 0.4], [0, 0.3, 0.7]], masked=("surprise",))
    found = priors.prior_scores(predictions, {"surprise": 1000, "fear": 30, "disgust": 10})
    assert list(found["source"].values()) == [0, 0.75, 0.25]
    assert found["target"]["surprise"] == found["em"]["prior"]["surprise"] == 0
    moved = priors.with_prior(predictions, np.array([0, 0.75, 0.25]), np.array([0, 0.5, 0.5]))
    assert moved.probabilities.tolist()[1] == pytest.approx([0, 0.6 / 0.75 / (0.8 + 1.6), 0.4 / 0.25 / (0.8 + 1.6)])


def test_an_emotion_without_training_images_counts_as_one_image():
    predictions = table([0, 1], [[0.7, 0.2, 0.1], [0.2, 0.7, 0.1]])
    found = priors.training_prior(predictions, {"surprise": 6, "fear": 3, "contempt": 50})
    assert found == pytest.approx([0.6, 0.3, 0.1])


def test_a_row_that_is_certain_of_an_emotion_that_the_target_lacks_stays_as_it_is():
    moved = priors.with_prior(table([0], [[1, 0, 0]]), np.full(3, 1 / 3), np.array([0, 0.5, 0.5]))
    assert moved.probabilities.tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("counts", [{}, {"contempt": 4}, {"surprise": 0}, {"surprise": 5, "fear": -1}])
def test_training_images_that_say_nothing_are_an_input_error(counts):
    with pytest.raises(InputError, match="give at least one of surprise, fear"):
        priors.prior_scores(table([0], [[0.5, 0.5]]), counts)


@settings(deadline=None, max_examples=100)
@given(tables())
def test_every_table_has_priors_that_sum_to_one(predictions):
    found = priors.prior_scores(predictions, {name: place for place, name in enumerate(predictions.emotions)})
    for prior in (found["source"], found["target"], found["em"]["prior"]):
        assert sum(prior.values()) == pytest.approx(1)
        assert all(prior[name] == 0 for name in predictions.masked)
    assert 1 <= found["em"]["iterations"] <= priors.MOST_ROUNDS
