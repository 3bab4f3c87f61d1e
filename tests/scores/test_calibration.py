"""What chance adds to a calibration error, against simulation: floor, error without chance, and its interval."""

import json

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from support.people import expit, report
from support.tables import certain, from_truth, table, tables

from fer_dist.scores import calibration
from fer_dist.scores.calibration import expected_calibration_error, reliability
from fer_dist.scores.metrics import scores

NAME = "expected_calibration_error"
SHORT, LONG = 150, 2000
KINDS = ("calibrated", "slightly too certain", "too certain", "too uncertain", "both")


def said(odds, kind):
    """What a model says where the log-odds of being right are these."""
    return {
        "calibrated": expit(odds),
        "slightly too certain": expit(1.1 * odds),
        "too certain": expit(1.5 * odds + 0.3),
        "too uncertain": expit(0.6 * odds),
        "both": np.clip(expit(odds) + 0.05 * np.sin(12 * expit(odds)), 0.01, 0.999),
    }[kind]


def drawn(rng, samples, kind, is_right=None, **attributes):
    """A table of two emotions whose first is right as often as it is, and said to be as `kind` has it."""
    odds = rng.gamma(2, 1.2, samples) + 0.05
    is_right = rng.random(samples) < expit(odds) if is_right is None else is_right(odds)
    sure = np.clip(said(odds, kind), 0.501, 1)
    return table(np.where(is_right, 0, 1), np.stack([sure, 1 - sure], axis=1), **attributes)


def true_error(kind, samples=1_000_000):
    """In the limit of very many images."""
    return expected_calibration_error(reliability(drawn(np.random.default_rng(7), samples, kind)))


@pytest.mark.parametrize(("samples", "part"), [(1, 0.3), (7, 0.5), (40, 0.99), (40, 0.025), (3000, 0.62)])
def test_the_mean_deviation_of_binomial_numbers_is_that_of_all_of_them(samples, part):
    numbers = np.arange(samples + 1)
    expected = scipy.stats.binom.pmf(numbers, samples, part) @ np.abs(numbers - samples * part)
    assert calibration._mean_deviation(samples, part) == pytest.approx(expected)


@pytest.mark.parametrize("samples", [300, 3068])
def test_the_floor_is_the_error_that_a_calibrated_model_shows(samples):
    rng = np.random.default_rng(0)
    found = [calibration.calibration(from_truth(run, samples)) for run in range(100)]
    errors, floors = [[one[name] for one in found] for name in (NAME, f"{NAME}_floor")]
    assert np.mean(floors) == pytest.approx(np.mean(errors), rel=0.04)
    assert np.std(floors) < np.std(errors) / 3
    # It does not hang on how good the model is.
    other = calibration.calibration(drawn(rng, samples, "too certain"))
    assert other[f"{NAME}_floor"] < other[NAME]


@pytest.mark.parametrize("kind", ["too certain", "too uncertain", "both"])
def test_the_error_without_chance_is_the_one_that_a_model_was_made_with(kind):
    rng, known = np.random.default_rng(1), true_error(kind)
    found = [calibration.calibration(drawn(rng, 1000, kind)) for _ in range(100)]
    plain, without = (np.mean([one[name] for one in found]) for name in (NAME, f"{NAME}_debiased"))
    assert abs(without - known) < 0.005
    assert plain >= without


def test_the_error_without_chance_is_far_below_the_floor_where_a_model_is_calibrated():
    found = [calibration.calibration(from_truth(run, 1000)) for run in range(50)]
    assert np.mean([one[f"{NAME}_debiased"] for one in found]) < 0.5 * found[0][f"{NAME}_floor"]
    assert sum(one[f"{NAME}_interval"][0] == 0 for one in found) >= 46


@pytest.mark.parametrize(
    ("kind", "samples", "runs"),
    [
        *(("calibrated", 3000, SHORT), ("slightly too certain", 3000, SHORT), ("too certain", 3000, SHORT)),
        *(pytest.param(kind, samples, LONG, marks=pytest.mark.slow) for kind in KINDS for samples in (300, 3000)),
    ],
)
def test_the_interval_holds_the_true_error_in_93_to_97_percent(kind, samples, runs):
    rng, known, held = np.random.default_rng(2), true_error(kind) if kind != "calibrated" else 0.0, 0
    for _ in range(runs):
        low, high = calibration.calibration(drawn(rng, samples, kind))[f"{NAME}_interval"]
        held += low <= known <= high
    report(f"calibration, {kind}, {samples} images", n=runs, error=known, coverage=held / runs)
    # Rounded to whole percents. 150 runs may be 3.6 points off by chance.
    assert 0.925 - 0.02 * (runs == SHORT) <= held / runs <= (1 if runs == SHORT else 0.975)


@pytest.mark.parametrize("runs", [SHORT, pytest.param(LONG, marks=pytest.mark.slow)])
def test_the_interval_of_few_people_holds_the_true_error(runs):
    """Each person is recognised better or worse than the model says, and it is right of all people that may come."""
    people = np.repeat(np.arange(29), 35)
    rng, held, by_image = np.random.default_rng(3), 0, 0
    spread = rng.normal(0, 0.7, 4000)
    known_odds = np.linspace(0, 25, 500)
    over_people = expit(known_odds[:, None] + spread).mean(axis=1)
    for _ in range(runs):
        of_each = rng.normal(0, 0.7, 29)[people]
        odds = rng.gamma(2, 1.2, len(people)) + 0.05
        is_right = rng.random(len(people)) < expit(odds + of_each)
        sure = np.clip(np.interp(odds, known_odds, over_people), 0.501, 1)
        rows = np.stack([sure, 1 - sure], axis=1)
        labels = np.where(is_right, 0, 1)
        held += calibration.calibration(table(labels, rows, subject=people))[f"{NAME}_interval"][0] == 0
        by_image += calibration.calibration(table(labels, rows))[f"{NAME}_interval"][0] == 0
    report("calibration of 29 people", n=runs, coverage=held / runs, by_image=by_image / runs)
    assert held / runs >= 0.92
    assert by_image < held


@settings(deadline=None, max_examples=100)
@given(tables())
def test_any_table_has_an_error_without_chance_within_its_interval(predictions):
    found = scores(predictions)
    low, high = found[f"{NAME}_interval"]
    assert 0 <= low <= found[f"{NAME}_debiased"] + 1e-9 <= high + 2e-9 <= 1 + 3e-9
    assert found[NAME] == expected_calibration_error(reliability(predictions))
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_few_certain_and_right_images_do_not_show_that_a_model_is_calibrated():
    low, high = scores(certain([0, 1, 0], [0, 1, 0], 2))[f"{NAME}_interval"]
    assert low == 0
    assert high > 0.2
