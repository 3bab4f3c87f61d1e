"""Scores by what else is known of the images (gender, age group, pose), and the largest gap between groups."""

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from fer_dist.scores import t_distribution
from fer_dist.scores.intervals import LEVEL, Array, difference, difference_tail, joint_degrees, wilson
from fer_dist.scores.metrics import (
    accuracy,
    balanced_accuracy,
    confusion,
    known_accuracy,
    mean_interval,
    plain,
    recall,
    support,
    unit,
)
from fer_dist.scores.table import Predictions, labelled, select

MOST_GROUPS = 20
"""An attribute of more different values is no grouping: names of files, ages in years, subjects of a large set."""
FEWEST_IMAGES = 10
"""A group of fewer images is listed, and makes no gap."""
UNKNOWN = "unknown"


def by_attribute(predictions: Predictions, names: Collection[str] | None = None) -> dict[str, dict[str, Any]]:
    """Labelled images grouped by each attribute of `names` (None: all) that has 2 to 20 values, ready for JSON.

    Numbers with a fraction (valence, a position in the image) measure and do not group; whole ones do. Images without
    a value (None, NaN, empty text) are the group "unknown", which makes no gap.
    Raises InputError where no image has an emotion.
    """
    chosen = labelled(predictions)
    found = {}
    for name, values in chosen.attributes.items():
        by_value = _rows_by_value(np.asarray(values)) if names is None or name in names else {}
        if len(by_value) > 1:
            groups = {value: _group(select(chosen, rows)) for value, rows in by_value.items()}
            found[name] = {"groups": groups, "gap": largest_gap(groups)}
    return found


def largest_gap(groups: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The best and the worst group by accuracy, the difference, and its 95 % interval and p; None without two groups.

    Only groups of at least 10 images count, and not the unknown. The pair is chosen by looking, so interval and p
    are made for all pairs at once (Bonferroni); they hold for two groups as for twenty. Several attributes are several
    tests: see compare.holm.
    adjusted: the gap that is left where both groups have the same mix of emotions (that of both together), with its
    interval and p, over the emotions that both have; None where there is no such emotion or a group does not say.
    groups: as by_attribute makes them. The interval's lower end is below 0 where the gap may be chance.
    """
    counted = {value: one for value, one in groups.items() if one["samples"] >= FEWEST_IMAGES and value != UNKNOWN}
    if len(counted) < 2:
        return None
    best = max(counted, key=lambda value: counted[value]["accuracy"])
    worst = min((value for value in counted if value != best), key=lambda value: counted[value]["accuracy"])
    pair, pairs = (counted[best], counted[worst]), math.comb(len(counted), 2)
    correct, known, degrees = _known(pair)
    low, high = difference(correct, known, 1 - (1 - LEVEL) / pairs, degrees)
    return {
        "groups": [best, worst],
        "accuracy": counted[best]["accuracy"] - counted[worst]["accuracy"],
        "interval": [low, high],
        "p": min(1.0, pairs * difference_tail(correct, known, degrees)),
        "adjusted": _adjusted(pair, pairs),
    }


def _adjusted(pair: tuple[dict[str, Any], dict[str, Any]], pairs: int) -> dict[str, Any] | None:
    """The gap by direct standardisation: recalls of each group, weighted by the images of both.

    Interval and p are Student's, by a stratified score test: an emotion's spread is that of both groups' images of it
    together, as if they did not differ, or that of each by itself where it is larger, as it may be of groups of unlike
    size; half a correct image and half a wrong one are added. Intervals of single recalls would not do: those of few
    images end at 0 and 1.
    """
    supports = [one.get("support", {}) for one in pair]
    emotions = [name for name, images in supports[0].items() if images and supports[1].get(name)]
    if not emotions:
        return None
    images = np.array([[support[name] for name in emotions] for support in supports], dtype=float)
    recalls = np.array([[one["recall"][name] for name in emotions] for one in pair])
    weights = images.sum(axis=0) / images.sum()
    _, independent, degrees = _known(pair)
    known = images * np.array([[of / one["samples"]] for of, one in zip(independent, pair, strict=True)])
    together = ((recalls * known).sum(axis=0) + 0.5) / (known.sum(axis=0) + 1)
    alone = (recalls * known + 0.5) / (known + 1)
    spreads = [(part * (1 - part) / known).sum(axis=0) for part in (together, alone)]
    error = math.sqrt(weights**2 @ np.maximum(*spreads))
    gap = float(weights @ (recalls[0] - recalls[1]))
    half = t_distribution.quantile(degrees, 1 - (1 - LEVEL) / pairs) * error
    return {
        "accuracy": gap,
        "interval": [max(gap - half, -1.0), min(gap + half, 1.0)],
        "p": min(1.0, pairs * t_distribution.tail(gap / error, degrees)),
        "emotions": emotions,
    }


def _known(pair: Sequence[dict[str, Any]]) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Correct and all images of both groups, as if each were of another person, and the degrees of freedom of both."""
    first, second = (one.get("independent", one["samples"]) for one in pair)
    correct = pair[0]["accuracy"] * first, pair[1]["accuracy"] * second
    degrees = [one.get("degrees") or math.inf for one in pair]
    return correct, (first, second), joint_degrees(correct, (first, second), (degrees[0], degrees[1]))


def _rows_by_value(values: Array) -> dict[str, Array]:
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
    """independent: images that would know the accuracy as well were each of another person; degrees: of freedom of how
    far subjects differ, None where images count as independent."""
    matrix = confusion(predictions)
    correct, images = np.diagonal(matrix), support(matrix)
    known = known_accuracy(predictions)
    # A recall is known as from fewer images, as many times fewer as the accuracy is.
    part = known.samples / matrix.sum()
    low, high = wilson(correct * part, np.maximum(images, 1) * part, degrees=known.degrees)
    intervals = [[float(low[k]), float(high[k])] if images[k] else None for k in range(len(predictions.emotions))]
    return {
        "samples": int(matrix.sum()),
        "accuracy": float(accuracy(matrix)),
        "accuracy_interval": known.interval,
        "mean_over_classes": float(balanced_accuracy(matrix)),
        "mean_over_classes_interval": mean_interval(balanced_accuracy, predictions),
        **unit(known.subjects),
        "independent": known.samples,
        "degrees": None if known.subjects is None else known.degrees,
        "support": dict(zip(predictions.emotions, images.tolist(), strict=True)),
        "recall": dict(zip(predictions.emotions, plain(recall(matrix)), strict=True)),
        "recall_interval": dict(zip(predictions.emotions, intervals, strict=True)),
    }
