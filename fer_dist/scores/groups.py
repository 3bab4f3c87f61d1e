"""Scores by what else is known of the pictures (gender, age group, pose), and the largest gap between groups."""

import math
from typing import Any

import numpy as np

from fer_dist.scores.intervals import LEVEL, Array, difference, interval, wilson
from fer_dist.scores.metrics import accuracy, confusion, ends, mean_over_classes, plain, recall, support
from fer_dist.scores.table import Predictions, labelled, select

MOST_GROUPS = 20
"""An attribute of more different values is no grouping: names of files, ages in years, subjects of a large set."""
FEWEST_PICTURES = 10
"""A group of fewer pictures is listed, and makes no gap."""
UNKNOWN = "unknown"


def by_attribute(predictions: Predictions) -> dict[str, dict[str, Any]]:
    """Labelled pictures grouped by each attribute that has 2 to 20 values, ready for JSON.

    Numbers with a fraction (valence, a place in the picture) measure and do not group; whole ones do. Pictures without
    a value (None, NaN, empty text) are the group "unknown", which makes no gap.
    Raises InputError where no picture has an emotion.
    """
    chosen = labelled(predictions)
    found = {}
    for name, values in chosen.attributes.items():
        places = _places(np.asarray(values))
        if len(places) > 1:
            groups = {value: _group(select(chosen, rows)) for value, rows in places.items()}
            found[name] = {"groups": groups, "gap": largest_gap(groups)}
    return found


def largest_gap(groups: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The best and the worst group by accuracy, the difference, and its 95 % interval; None without two groups.

    Only groups of at least 10 pictures count, and not the unknown. The pair is chosen by looking, so the interval is
    made wide enough for all pairs at once (Bonferroni); it holds for two groups as for twenty.
    groups: as by_attribute makes them. The interval's lower end is below 0 where the gap may be chance.
    """
    counted = {value: one for value, one in groups.items() if one["samples"] >= FEWEST_PICTURES and value != UNKNOWN}
    if len(counted) < 2:
        return None
    best = max(counted, key=lambda value: counted[value]["accuracy"])
    worst = min((value for value in counted if value != best), key=lambda value: counted[value]["accuracy"])
    samples = counted[best]["samples"], counted[worst]["samples"]
    right = round(counted[best]["accuracy"] * samples[0]), round(counted[worst]["accuracy"] * samples[1])
    pairs = math.comb(len(counted), 2)
    return {
        "groups": [best, worst],
        "accuracy": counted[best]["accuracy"] - counted[worst]["accuracy"],
        "interval": list(difference(right, samples, 1 - (1 - LEVEL) / pairs)),
    }


def _places(values: Array) -> dict[str, Array]:
    """Value as text -> the rows that have it, sorted, the unknown last; empty where the values do not group."""
    missing = np.array([value is None or value != value or value == "" for value in values.tolist()], dtype=bool)
    known = values[~missing].tolist()
    if any(isinstance(value, float) and not value.is_integer() for value in known):
        return {}
    texts = [
        UNKNOWN if is_missing else _name(value) for value, is_missing in zip(values.tolist(), missing, strict=True)
    ]
    found = set(texts)
    if len(found) > MOST_GROUPS:
        return {}
    rows = {value: np.flatnonzero([text == value for text in texts]) for value in found}
    return dict(sorted(rows.items(), key=lambda item: (item[0] == UNKNOWN, _order(item[0]))))


def _name(value: Any) -> str:
    # A column of whole numbers with gaps comes back from its file as float.
    return str(int(value)) if isinstance(value, float) else str(value)


def _order(text: str) -> tuple[int, int, str]:
    """Numbers by size before words by letter."""
    # Python refuses to read numbers of thousands of digits.
    is_number = text.removeprefix("-").isdecimal() and len(text) < 100
    return (0, int(text), "") if is_number else (1, 0, text)


def _group(predictions: Predictions) -> dict[str, Any]:
    matrix = confusion(predictions)
    right, pictures = np.diagonal(matrix), support(matrix)
    low, high = wilson(right, np.maximum(pictures, 1))
    intervals = [[float(low[k]), float(high[k])] if pictures[k] else None for k in range(len(predictions.emotions))]
    return {
        "samples": int(matrix.sum()),
        "accuracy": float(accuracy(matrix)),
        "accuracy_interval": ends(wilson(right.sum(), matrix.sum())),
        "mean_over_classes": float(mean_over_classes(matrix)),
        "mean_over_classes_interval": ends(interval(mean_over_classes, matrix)),
        "recall": dict(zip(predictions.emotions, plain(recall(matrix)), strict=True)),
        "recall_interval": dict(zip(predictions.emotions, intervals, strict=True)),
    }
