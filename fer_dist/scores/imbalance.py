"""Whether a model favours emotions: recall against training images, and what is predicted more often than it is."""

import itertools
from typing import Any

import numpy as np

from fer_dist.scores.intervals import Array

ALL_ORDERS = 8
"""Classes of which all orders are looked at: 40,320. Of nine there are 362,880, of twelve half a billion."""

DRAWN_ORDERS = 100_000
"""Random orders for more classes: p is then within 0.0014 of the exact one at 0.05, in 95 of 100 tables."""


def rank_correlation(trained: Array, recalls: Array) -> dict[str, float | int] | None:
    """Spearman's correlation of training images [K] with recall [K], NaN where an emotion has no images.

    p: the part of all orders of the recalls whose correlation is at least as far from 0; for more than ALL_ORDERS
    emotions of as many random ones as DRAWN_ORDERS says, always the same, and of the one that was found.
    None for fewer than 3 emotions, or where all counts or all recalls are equal.
    """
    is_defined = ~np.isnan(recalls)
    first, second = (_centred(_ranks(values[is_defined])) for values in (trained, recalls))
    classes = int(is_defined.sum())
    length = np.sqrt((first @ first) * (second @ second))
    if classes < 3 or length == 0:
        return None
    found = first @ second / length
    # Rounding must not part orders that are equally far from 0.
    is_as_far = np.abs(_orders(second) @ first / length) >= abs(found) - 1e-9
    return {"spearman": float(np.clip(found, -1, 1)), "p": float(is_as_far.mean()), "classes": classes}


def over_predicted(matrix: Array, emotions: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """How often each emotion is true and how often predicted, from a confusion matrix [K, K].

    ratio: predicted / true, None where no image has the emotion; false_rate: of the images of other emotions, the
    part predicted as this one, None where there are none.
    """
    true, said, correct = matrix.sum(axis=1).tolist(), matrix.sum(axis=0).tolist(), np.diagonal(matrix).tolist()
    samples = sum(true)
    return {
        name: {
            "true": true[index],
            "predicted": said[index],
            "ratio": said[index] / true[index] if true[index] else None,
            "false_rate": (said[index] - correct[index]) / (samples - true[index]) if samples > true[index] else None,
        }
        for index, name in enumerate(emotions)
    }


def _orders(values: Array) -> Array:
    """[orders, K]: the values in all their orders, or in random ones, the first of which is their own."""
    classes = len(values)
    if classes <= ALL_ORDERS:
        return values[np.array(list(itertools.permutations(range(classes))))]
    drawn = np.tile(values, (DRAWN_ORDERS + 1, 1))
    np.random.default_rng(0).permuted(drawn[1:], axis=1, out=drawn[1:])
    return drawn


def _ranks(values: Array) -> Array:
    """Ranks from 1; equal values share the mean of theirs."""
    _, index, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(count) - (count - 1) / 2)[index]
    return ranks


def _centred(values: Array) -> Array:
    centred: Array = values - values.mean()
    return centred
