"""Each emotion by itself: recall, precision and F1 with their intervals, and how well its probability ranks images."""

from typing import Any

import numpy as np

from fer_dist.scores import t_distribution
from fer_dist.scores.intervals import FEWEST_DEGREES, Array, Measure, interval, wilson
from fer_dist.scores.metrics import confusion, confusion_by_subject, ends, f1, precision, recall
from fer_dist.scores.roc import area, curve
from fer_dist.scores.subjects import Subjects, spread_by_subject, subjects_of
from fer_dist.scores.table import Predictions, labelled


def by_class(predictions: Predictions) -> dict[str, dict[str, Any]]:
    """Emotion -> its measures, ready for JSON; what has no value is None.

    images; recall, precision, f1, each with ..._interval: 95 %, Wilson's of the two shares, intervals.interval's of F1.
    auc, with its interval: the area under its receiver operating characteristic against all other emotions; roc: the
    recall at each of roc.FALSE_RATES; None where no image, or every image, has the emotion. Where subjects are known,
    all intervals are over subjects.
    Emotions that the set lacks are left out. Raises InputError where no image has an emotion.
    """
    chosen = labelled(predictions)
    subjects, matrix = subjects_of(chosen), confusion(chosen)
    matrices = None if subjects is None else confusion_by_subject(chosen, subjects)
    return {
        name: _measures(matrix, matrices, index) | _ranked(chosen, subjects, index)
        for index, name in enumerate(chosen.emotions)
        if name not in chosen.masked
    }


def against_rest(matrix: Array, index: int) -> Array:
    """[..., 2, 2]: the confusion of one emotion with all others taken together. matrix: [..., K, K]."""
    both = matrix[..., index, index]
    missed, taken = matrix[..., index, :].sum(axis=-1) - both, matrix[..., :, index].sum(axis=-1) - both
    rest = matrix.sum(axis=(-2, -1)) - both - missed - taken
    return np.stack([np.stack([both, missed], axis=-1), np.stack([taken, rest], axis=-1)], axis=-2)


def _measures(matrix: Array, matrices: Array | None, index: int) -> dict[str, Any]:
    one = against_rest(matrix, index)
    many = None if matrices is None else against_rest(matrices, index)
    found: dict[str, Any] = {"images": int(one[0].sum())}
    measures: dict[str, Measure] = {"recall": recall, "precision": precision, "f1": f1}
    totals = {"recall": one[0].sum(), "precision": one[:, 0].sum()}
    for name, measure in measures.items():
        value = float(measure(one)[0])
        known = value == value  # not NaN
        found[name] = value if known else None
        found[f"{name}_interval"] = _interval(measure, one, many, totals.get(name)) if known else None
    return found


def _interval(measure: Measure, one: Array, many: Array | None, total: Array | None) -> list[float]:
    """total: of what the measure is a share; None: it is none."""

    def first(cells: Array) -> Array:
        of_it: Array = measure(cells)[..., 0]
        return of_it

    if many is not None:
        found = spread_by_subject(first, many)
        return ends(found.ends(t_distribution.quantile(float(found.degrees))))
    return ends(interval(first, one) if total is None else wilson(one[0, 0], total))


def _ranked(chosen: Predictions, subjects: Subjects | None, index: int) -> dict[str, Any]:
    has, shares = chosen.labels == index, chosen.probabilities[:, index]
    if has.all() or not has.any():
        return {"auc": None, "auc_interval": None, "roc": None}
    found = area(has, shares, subjects)
    degrees = float(found.degrees) if subjects else max(float(found.degrees), FEWEST_DEGREES)
    return {
        "auc": float(found.value),
        "auc_interval": ends(found.ends(t_distribution.quantile(degrees))),
        "roc": [round(float(recall), 4) for recall in curve(has, shares)],
    }
