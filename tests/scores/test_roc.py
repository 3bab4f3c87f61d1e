"""The area under the ROC curve: its variance by definition, and intervals that hold the truth."""

from statistics import NormalDist

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fer_dist.scores import t_distribution
from fer_dist.scores.intervals import FEWEST_DEGREES
from fer_dist.scores.roc import area
from fer_dist.scores.subjects import Subjects


def drawn(random, own, others, truth):
    """Normal scores of two kinds, whose area over all that could be drawn is the truth."""
    has = np.arange(own + others) < own
    return has, random.normal(0, 1, len(has)) + np.sqrt(2) * NormalDist().inv_cdf(truth) * has


def interval(found):
    degrees = max(float(found.degrees), FEWEST_DEGREES)
    return [float(end) for end in found.ends(t_distribution.quantile(degrees))]


def test_the_variance_is_delong_s_by_definition_of_the_table_with_one_image_more_of_either_kind():
    random = np.random.default_rng(0)
    has = random.random(90) < 0.3
    shares = np.round(random.random(90) + 0.3 * has, 1)  # many are alike
    pairs = np.sign(shares[has][:, None] - shares[~has][None]) / 2 + 0.5
    found = area(has, shares)
    assert found.value == pytest.approx(pairs.mean()) == pytest.approx(roc_auc_score(has, shares))
    more = np.pad(pairs, (0, 1), constant_values=0.5)
    by_row, by_column = more.mean(axis=1), more.mean(axis=0)
    wanted = by_row.var(ddof=1) / has.sum() + by_column.var(ddof=1) / (~has).sum()
    assert (found.middle, found.variance) == (pytest.approx(more.mean()), pytest.approx(wanted))


def test_the_variance_is_that_of_resampled_images():
    random = np.random.default_rng(1)
    has, shares = drawn(random, 150, 600, 0.8)
    areas = []
    for _ in range(1000):
        rows = np.concatenate([random.integers(0, 150, 150), random.integers(150, 750, 600)])
        areas.append(roc_auc_score(has[rows], shares[rows]))
    assert float(area(has, shares).variance) == pytest.approx(np.var(areas), rel=0.15)


@pytest.mark.parametrize("own", [7, 20, 70])
@pytest.mark.parametrize("truth", [0.75, 0.9, 0.97])
def test_the_interval_holds_the_truth_as_often_as_it_says(own, truth):
    random = np.random.default_rng(own)
    ends = np.array([interval(area(*drawn(random, own, 500, truth))) for _ in range(400)])
    assert 0.91 < ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean() < 0.995


@pytest.mark.parametrize("is_of_person", [True, False])
def test_the_interval_over_people_holds_the_truth_where_the_images_of_one_are_alike(is_of_person):
    random = np.random.default_rng(3)
    people = Subjects(np.arange(600) % 30, 30)
    held = np.zeros(2)
    for _ in range(400):
        # Half of the variance is of the person; an emotion is of some people alone, or of some images of each.
        has, shares = drawn(random, 200, 400, 0.5)
        has = people.index < 10 if is_of_person else random.permutation(has)
        shares = (shares + random.normal(0, 1, 30)[people.index]) / np.sqrt(2)
        for place, of in enumerate((None, people)):
            low, high = interval(area(has, shares, of))
            held[place] += low <= 0.5 <= high
    assert 0.91 < held[1] / 400 < 0.995
    assert (held[0] / 400 < 0.8) == is_of_person


def test_a_few_images_that_all_rank_above_leave_doubt():
    found = area(np.arange(50) < 7, -np.arange(50.0))
    low, high = interval(found)
    assert (float(found.value), high) == (1, 1)
    assert 0.4 < low < 0.9
