"""Whether a model favours emotions: recall against training images, and what is predicted more often than it is."""

import itertools
from typing import Any

import numpy as np

from fer_dist.scores.intervals import Array


def rank_correlation(trained: Array, recalls: Array) -> dict[str, float | int] | None:
    """Spearman's correlation of training images [K] with recall [K], NaN where an emotion has no images.

    p: the part of all orders of the recalls, 8! = 40,320 of eight emotions, whose correlation is at least as far from
    0. None for fewer than 3 emotions, or where all counts or all recalls are equal.
    """
    is_defined = ~np.isnan(recalls)
    first, second = (_centred(_ranks(values[is_defined])) for values in (trained, recalls))
    classes = int(is_defined.sum())
    length = np.sqrt((first @ first) * (second @ second))
    if classes < 3 or length == 0:
        return None
    found = first @ second / length
    shuffled = second[np.array(list(itertools.permutations(range(classes))))]
    # Rounding must not part orders that are equally far from 0.
    is_as_far = np.abs(shuffled @ first / length) >= abs(found) - 1e-9
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


def _ranks(values: Array) -> Array:
    """Ranks from 1; equal values share the mean of theirs."""
    _, index, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(count) - (count - 1) / 2)[index]
    return ranks


def _centred(values: Array) -> Array:
    centred: Array = values - values.mean()
    return centred
