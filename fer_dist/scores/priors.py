"""Scores of a model whose training prior is taken out, or replaced by the prior of the set that it is tested on."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fer_dist.errors import InputError
from fer_dist.scores.intervals import Array
from fer_dist.scores.metrics import accuracy, balanced_accuracy, confusion, macro_f1, support
from fer_dist.scores.table import Predictions, labelled

TOLERANCE = 1e-6
"""The estimate stands when no emotion's part changes by more in one round."""
MOST_ROUNDS = 1000


@dataclass(frozen=True, eq=False)
class Estimate:
    """A set's prior as estimated from probabilities alone. prior: [K], sums to 1; rounds: until it stood."""

    prior: Array
    rounds: int


def training_prior(predictions: Predictions, trained_counts: dict[str, int]) -> Array:
    """float64 [K]: each emotion's part of the training images; masked ones have 0 and the others sum to 1.

    An emotion without training images counts as one image, so that nothing is divided by 0. Counts of emotions
    that the model does not have are passed over: it was not trained on them.
    Raises InputError where no emotion of the model has a training image, or a count is negative.
    """
    counts = np.array([trained_counts.get(name, 0) for name in predictions.emotions], dtype=np.float64)
    if not counts.any() or (counts < 0).any():
        raise InputError(
            f"training images by emotion: {trained_counts}; give at least one of {', '.join(predictions.emotions)}, "
            "and none below 0"
        )
    seen = np.where(predictions.is_masked, 0, np.maximum(counts, 1))
    prior: Array = seen / seen.sum()
    return prior


def with_prior(predictions: Predictions, source: Array, target: Array) -> Predictions:
    """What the model would say had it been trained with another prior: p * target / source, rows summing to 1.

    source: [K], above 0 for each emotion that is not masked; target: [K]. A row whose whole probability lies on
    emotions that the target lacks stays as it is.
    """
    moved = predictions.probabilities * _ratio(target, source)
    totals = moved.sum(axis=1, keepdims=True)
    probabilities = np.divide(moved, totals, out=predictions.probabilities.astype(np.float64), where=totals > 0)
    return replace(predictions, probabilities=probabilities.astype(np.float32))


def estimated_prior(predictions: Predictions, source: Array) -> Estimate:
    """The prior of the tested set, by expectation maximisation from the probabilities; labels are not looked at.

    Rounds end when no emotion's part changes by more than TOLERANCE, or after MOST_ROUNDS.
    Source: Saerens, Latinne and Decaestecker 2002, equation 2.5.
    """
    weights = predictions.probabilities * _ratio(np.ones_like(source), source)
    prior = source
    rounds, change = 0, np.inf
    while change > TOLERANCE and rounds < MOST_ROUNDS:
        likelihoods = weights @ prior
        following = prior * ((1 / likelihoods) @ weights) / len(weights)
        following /= following.sum()
        change = np.abs(following - prior).max()
        prior = following
        rounds += 1
    return Estimate(prior, rounds)


def prior_scores(predictions: Predictions, trained_counts: dict[str, int]) -> dict[str, Any]:
    """Scores of labelled images without the training prior, and with the set's own as estimated, ready for JSON.

    Raises InputError as training_prior does, and where no image has an emotion.
    """
    chosen = labelled(predictions)
    source = training_prior(chosen, trained_counts)
    images = support(confusion(chosen))
    even = np.where(chosen.is_masked, 0, 1) / (~chosen.is_masked).sum()
    estimate = estimated_prior(chosen, source)
    return {
        "source": _by_name(chosen, source),
        "target": _by_name(chosen, images / images.sum()),
        "uniform": _headline(with_prior(chosen, source, even)),
        "em": {
            "prior": _by_name(chosen, estimate.prior),
            "iterations": estimate.rounds,
            **_headline(with_prior(chosen, source, estimate.prior)),
        },
    }


def _ratio(part: Array, whole: Array) -> Array:
    ratio: Array = np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
    return ratio


def _by_name(predictions: Predictions, prior: Array) -> dict[str, float]:
    return dict(zip(predictions.emotions, prior.tolist(), strict=True))


def _headline(predictions: Predictions) -> dict[str, float]:
    matrix = confusion(predictions)
    return {
        "accuracy": float(accuracy(matrix)),
        "mean_over_classes": float(balanced_accuracy(matrix)),
        "macro_f1": float(macro_f1(matrix)),
    }
