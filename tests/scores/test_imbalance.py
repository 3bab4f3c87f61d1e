"""Favoured emotions: rank correlation against scipy, over-prediction against scikit-learn."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tables import certain, tables

from fer_dist.scores import metrics
from fer_dist.scores.imbalance import over_predicted, rank_correlation


def exact_p(trained, recalls):
    """scipy's permutation test of how far the correlation of its own ranks is from 0, over all orders."""
    ranks = scipy.stats.rankdata(trained)
    found = scipy.stats.permutation_test(
        (scipy.stats.rankdata(recalls),),
        lambda one: abs(np.corrcoef(ranks, one)[0, 1]),
        permutation_type="pairings",
        alternative="greater",
        n_resamples=np.inf,
    )
    return found.pvalue


@pytest.mark.parametrize(
    ("trained", "recalls"),
    [
        ([1290, 281, 717, 4772, 1982, 705, 2524], [0.83, 0.55, 0.5, 0.93, 0.8, 0.74, 0.82]),
        ([5, 5, 1, 9, 9, 2], [0.5, 0.4, 0.4, 0.4, 0.9, 0.1]),
        ([1, 2, 3, 4, 5], [0.9, 0.7, 0.5, 0.3, 0.1]),
        ([1, 2, 3], [0.1, 0.3, 0.2]),
    ],
    ids=["seven", "ties", "falling", "three"],
)
def test_the_rank_correlation_and_its_p_equal_scipys_exact_test(trained, recalls):
    found = rank_correlation(np.array(trained), np.array(recalls))
    assert found["spearman"] == pytest.approx(scipy.stats.spearmanr(trained, recalls).statistic)
    assert found["p"] == pytest.approx(exact_p(trained, recalls))
    assert found["classes"] == len(trained)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=8))
def test_the_rank_correlation_of_any_table_equals_scipys(pairs):
    trained, recalls = np.array(pairs, dtype=float).T
    found = rank_correlation(trained, recalls / 4)
    if len(set(trained)) == 1 or len(set(recalls)) == 1:
        assert found is None
    else:
        assert found["spearman"] == pytest.approx(scipy.stats.spearmanr(trained, recalls).statistic)
        assert 0 < found["p"] <= 1


def test_the_rank_correlation_of_many_classes_is_as_significant_as_scipys_and_stays_the_same():
    random = np.random.default_rng(1)
    trained, recalls = np.arange(40.0), np.arange(40.0) / 40 + random.normal(0, 0.7, 40)
    found = rank_correlation(trained, recalls)
    spearman = scipy.stats.spearmanr(trained, recalls)
    assert found["spearman"] == pytest.approx(spearman.statistic)
    # For so many classes Student's t, by which scipy goes, is near the exact p.
    assert 0.005 < spearman.pvalue < 0.5
    assert found["p"] == pytest.approx(spearman.pvalue, abs=0.005)
    assert found == rank_correlation(trained, recalls)


def test_the_p_of_nine_classes_in_one_order_is_small_but_not_nothing():
    found = rank_correlation(np.arange(9), np.arange(9) / 9)
    assert found["spearman"] == 1
    assert 0 < found["p"] < 0.001


def test_an_emotion_without_images_has_no_rank():
    found = rank_correlation(np.array([1, 2, 3, 99]), np.array([0.1, 0.2, 0.3, np.nan]))
    assert found == {"spearman": 1.0, "p": pytest.approx(2 / 6), "classes": 3}
    assert rank_correlation(np.array([1, 2, 99]), np.array([0.1, 0.2, np.nan])) is None


@settings(deadline=None, max_examples=80)
@given(tables())
def test_over_prediction_equals_scikit_learns_confusion_of_one_against_the_rest(predictions):
    chosen = metrics.labelled(predictions)
    guesses, emotions = metrics.predicted(chosen), chosen.emotions
    found = over_predicted(metrics.confusion(predictions), emotions)
    matrices = sklearn.metrics.multilabel_confusion_matrix(chosen.labels, guesses, labels=range(len(emotions)))
    for name, ((true_negative, false_positive), (false_negative, true_positive)) in zip(
        emotions, matrices.tolist(), strict=True
    ):
        true, others = false_negative + true_positive, true_negative + false_positive
        assert found[name] == {
            "true": true,
            "predicted": false_positive + true_positive,
            "ratio": pytest.approx((false_positive + true_positive) / true) if true else None,
            "false_rate": pytest.approx(false_positive / others) if others else None,
        }


def test_a_model_that_says_neutral_too_often_is_seen_to():
    predictions = certain([0, 0, 1, 1, 2, 2], [2, 0, 2, 1, 2, 2], 3)
    found = over_predicted(metrics.confusion(predictions), predictions.emotions)[predictions.emotions[2]]
    assert found == {"true": 2, "predicted": 4, "ratio": 2.0, "false_rate": 0.5}
