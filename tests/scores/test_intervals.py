"""95 % intervals: how often they hold the truth on the class counts of real sets, and against scipy."""

import numpy as np
import pytest
import scipy.stats
from support.tables import RAFDB_TEST

from fer_dist.scores import intervals, metrics

AFFECTNET_VALIDATION = (500,) * 7
ASIAN = (220, 27, 199, 243, 263, 245)
STRONG = (0.83, 0.55, 0.50, 0.93, 0.80, 0.74, 0.82)
WEAK = (0.62, 0.30, 0.25, 0.85, 0.60, 0.50, 0.65)
BEST = (0.95, 0.85, 0.80, 0.98, 0.95, 0.90, 0.95)
EVEN = (0.50, 0.55, 0.48, 0.78, 0.58, 0.55, 0.52)
CASES = {
    "rafdb strong 3068": (RAFDB_TEST, STRONG, 3068),
    "rafdb strong 300": (RAFDB_TEST, STRONG, 300),
    "rafdb weak 1000": (RAFDB_TEST, WEAK, 1000),
    "rafdb weak 300": (RAFDB_TEST, WEAK, 300),
    "rafdb best 300": (RAFDB_TEST, BEST, 300),
    "affectnet 3500": (AFFECTNET_VALIDATION, EVEN, 3500),
    "asian 1197": (ASIAN, (0.80, 0.40, 0.45, 0.90, 0.50, 0.60), 1197),
    "asian 300": (ASIAN, (0.80, 0.40, 0.45, 0.90, 0.50, 0.60), 300),
}


def truth_of(counts, recalls):
    """Parts of a confusion matrix: a mistake falls on the other emotions by their number of images."""
    shares = np.array(counts) / sum(counts)
    wrong = (1 - np.eye(len(shares))) * shares
    rows = wrong / wrong.sum(axis=1, keepdims=True) * (1 - np.array(recalls)[:, None]) + np.diag(recalls)
    return rows * shares[:, None]


def coverage(case, runs, seed, by_design=False):
    """Part of the runs whose interval holds the truth: of accuracy, balanced accuracy and macro F1."""
    counts, recalls, samples = CASES[case]
    truth, rng = truth_of(counts, recalls), np.random.default_rng(seed)
    if by_design:
        rows = [rng.multinomial(count, row / row.sum(), size=runs) for count, row in zip(counts, truth, strict=True)]
        drawn = np.stack(rows, axis=1)
    else:
        drawn = rng.multinomial(samples, truth.ravel(), size=runs).reshape(runs, *truth.shape)
    found = [intervals.wilson(np.trace(drawn, axis1=1, axis2=2), drawn.sum(axis=(1, 2)))]
    found += [intervals.interval(measure, drawn) for measure in (metrics.balanced_accuracy, metrics.macro_f1)]
    values = [metrics.accuracy(truth), metrics.balanced_accuracy(truth), metrics.macro_f1(truth)]
    return np.array([((low <= v) & (v <= high)).mean() for (low, high), v in zip(found, values, strict=True)])


@pytest.mark.parametrize("case", CASES)
def test_intervals_hold_the_truth_in_93_to_97_percent_of_1000_runs(case):
    held = coverage(case, 1000, seed=0)
    assert ((held >= 0.93) & (held <= 0.97)).all(), held


def test_intervals_hold_the_truth_where_a_set_has_as_many_images_of_each_emotion_by_design():
    held = coverage("affectnet 3500", 1000, seed=0, by_design=True)
    assert ((held >= 0.93) & (held <= 0.97)).all(), held


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_intervals_hold_the_truth_in_94_to_97_percent_of_20000_runs(case):
    held = coverage(case, 20_000, seed=1)
    assert ((held >= 0.94) & (held <= 0.97)).all(), held


@pytest.mark.parametrize(("right", "samples"), [(0, 1), (1, 1), (0, 40), (40, 40), (1, 3), (742, 1197), (1979, 3500)])
@pytest.mark.parametrize("level", [0.95, 0.999])
def test_wilson_equals_scipy(right, samples, level):
    expected = scipy.stats.binomtest(right, samples).proportion_ci(level, method="wilson")
    low, high = intervals.wilson(np.array(right), np.array(samples), level)
    assert (low, high) == (pytest.approx(expected.low, abs=1e-12), pytest.approx(expected.high, abs=1e-12))
    assert low <= right / samples <= high


def test_the_interval_of_a_difference_equals_the_published_example():
    """Newcombe 1998, table II, contrast (a): 56/70 and 48/80, method 10: 0.0524 to 0.3339."""
    assert intervals.difference((56, 48), (70, 80)) == (
        pytest.approx(0.0524, abs=5e-5),
        pytest.approx(0.3339, abs=5e-5),
    )


def test_the_quantile_of_student_is_within_4_thousandths_of_scipy():
    degrees = np.arange(3, 400, 0.5)
    found = intervals._student_quantile(degrees)
    np.testing.assert_allclose(found, scipy.stats.t.ppf(0.975, degrees), atol=0.004)


def test_the_standard_error_on_many_images_is_that_of_resampling():
    matrix = np.round(truth_of(RAFDB_TEST, STRONG) * 30_000).astype(int)
    cells = matrix.ravel() / matrix.sum()
    draws = np.random.default_rng(0).multinomial(matrix.sum(), cells, size=4000).reshape(-1, 7, 7)
    for measure in (metrics.balanced_accuracy, metrics.macro_f1):
        expected = np.quantile(measure(draws), (0.025, 0.975))
        np.testing.assert_allclose(intervals.interval(measure, matrix), expected, atol=0.001)


def test_a_stack_of_matrices_gives_the_intervals_of_each():
    stack = np.random.default_rng(0).multinomial(50, np.full(9, 1 / 9), size=6).reshape(2, 3, 3, 3)
    low, high = intervals.interval(metrics.macro_f1, stack)
    assert low.shape == (2, 3)
    assert (low[1, 2], high[1, 2]) == intervals.interval(metrics.macro_f1, stack[1, 2])


@pytest.mark.parametrize("matrix", [[[1]], [[1, 0], [0, 0]], [[0, 1], [0, 0]], [[3, 0], [0, 1]], [[0, 2], [2, 0]]])
def test_the_smallest_tables_have_intervals_that_hold_their_value(matrix):
    matrix = np.array(matrix)
    for measure in (metrics.balanced_accuracy, metrics.macro_f1):
        low, high = intervals.interval(measure, matrix)
        assert 0 <= low <= measure(matrix) <= high <= 1
        # With one emotion in the list nothing can be wrong.
        assert len(matrix) == 1 or high - low > 0.4
