"""Two models on the same pictures, one recipe with several seeds, and one table without some of its pictures."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from fer_dist.errors import InputError
from fer_dist.scores.intervals import Array
from fer_dist.scores.table import Predictions, labelled, predicted, select

HEADLINE = ("accuracy", "mean_over_classes", "macro_f1")


def paired(first: Predictions, second: Predictions, bootstrap: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Whether two models differ in accuracy on the same labelled pictures, ready for JSON. Rows are matched by key.

    difference: accuracy of the first less the second's; interval: its 95 % percentiles over `bootstrap` resamples of
    the pictures, drawn from the table with half a picture more in both cells of disagreement, so that two models that
    agree on all pictures still have a spread; p: McNemar's exact test, two-sided.
    Raises InputError where the tables have other keys or labels, a key twice, or no labelled picture.
    """
    first, second = labelled(first), labelled(_in_order_of(first, second))
    is_first, is_second = (predicted(table) == table.labels for table in (first, second))
    only_first, only_second = int((is_first & ~is_second).sum()), int((~is_first & is_second).sum())
    samples = len(is_first)
    cells = np.array([only_first + 0.5, only_second + 0.5, samples - only_first - only_second])
    draws = np.random.default_rng(seed).multinomial(samples, cells / cells.sum(), size=bootstrap)
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / samples, (0.025, 0.975))
    difference = (only_first - only_second) / samples
    return {
        "samples": samples,
        "difference": difference,
        # Percentiles of a few draws need not hold the value.
        "interval": [min(float(low), difference), max(float(high), difference)],
        "p": mcnemar(only_first, only_second),
        "only_first_right": only_first,
        "only_second_right": only_second,
    }


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of so many disagreements on either side, were both sides equally likely. 1 without any.

    Source: McNemar 1947, with the binomial distribution itself in place of the normal one.
    """
    disagreements = only_first + only_second
    steps = np.arange(1, min(only_first, only_second) + 1)
    # ln of the binomial coefficients, each from the one before: the coefficients themselves pass the largest float.
    logarithms = np.concatenate([[0.0], np.cumsum(np.log((disagreements - steps + 1) / steps))])
    tail = np.exp(logarithms - disagreements * np.log(2)).sum()
    return float(min(1.0, 2 * tail))


def over_seeds(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and sample deviation (n - 1; None for one) of accuracy, mean over classes and macro F1, ready for JSON.

    values: the scores of models that differ in their seed alone, as metrics.scores gives them.
    Raises InputError where there are none.
    """
    if not values:
        raise InputError("no scores to take a mean of; give those of at least one seed")
    found: dict[str, Any] = {"n": len(values)}
    for name in HEADLINE:
        numbers = [float(scores[name]) for scores in values]
        found[name] = {
            "mean": float(np.mean(numbers)),
            "deviation": float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None,
            "values": numbers,
        }
    return found


def without(predictions: Predictions, keys: Collection[str]) -> Predictions:
    """The table less the pictures of these keys, such as copies that an audit lists; keys that it lacks do nothing."""
    left_out = set(keys)
    return select(predictions, np.array([str(key) not in left_out for key in predictions.keys], dtype=bool))


def _in_order_of(first: Predictions, second: Predictions) -> Predictions:
    """The second table with its rows in the order of the first."""
    places = {str(key): row for row, key in enumerate(second.keys)}
    keys = [str(key) for key in first.keys]
    if len(places) < len(second.keys) or len(set(keys)) < len(keys):
        raise InputError("a key comes twice in a predictions table; every picture counts exactly once")
    alone = sorted(set(keys) ^ set(places))
    if alone:
        raise InputError(
            f"two predictions tables of {len(keys)} and {len(places)} pictures differ in {len(alone)} keys, such as "
            f"{alone[0]}; compare models on the same set, with the same pictures left out"
        )
    matched = select(second, np.array([places[key] for key in keys], dtype=np.int64))
    names, other = _names(first), _names(matched)
    if (names != other).any():
        row = int(np.argmax(names != other))
        raise InputError(
            f"{keys[row]}: its emotion is {names[row]} in one predictions table and {other[row]} in the other; "
            "compare models on the same set"
        )
    return matched


def _names(predictions: Predictions) -> Array:
    """[N]: emotion of each picture by name: two models may have their emotions in another order."""
    return np.array([*predictions.emotions, "none"])[predictions.labels]
