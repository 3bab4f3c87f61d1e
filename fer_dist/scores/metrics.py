"""Scores as functions of a predictions table; nothing here runs a model, reads a file or needs more than numpy.

Most measures take a confusion matrix, int64 [..., K, K] with true labels in rows: one matrix gives a number, a stack of
matrices gives as many, so an interval needs no second implementation. A measure that has no value is NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fer_dist.errors import InputError
from fer_dist.scores.intervals import Array, Measure, interval, wilson

CALIBRATION_BINS = 15
SELECTIVE_ABOVE = 0.9
"""The probability above which the study calls a prediction certain. Source: Huang et al. 2023, feature maps."""
SUM_TOLERANCE = 0.01
"""How far a row of probabilities may be from 1: float16 outputs stay well inside, logits do not."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one model says about each picture of one set.

    keys:          N names of pictures.
    labels:        int [N], index into emotions; -1 where the picture has no emotion.
    probabilities: float32 [N, K], each row sums to 1.
    emotions:      the K names, in the order of the model's outputs.
    masked:        names that the set lacks: no picture has them as label, and their probability is 0.
    attributes:    what else is known of each picture: name -> [N].
    Raises InputError where these do not fit together.
    """

    keys: Sequence[str] | Array
    labels: Array
    probabilities: Array
    emotions: tuple[str, ...]
    masked: tuple[str, ...] = ()
    attributes: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        samples, classes = len(self.keys), len(self.emotions)
        if self.probabilities.shape != (samples, classes) or self.labels.shape != (samples,):
            raise InputError(
                f"predictions of {samples} keys and {classes} emotions have labels {list(self.labels.shape)} and "
                f"probabilities {list(self.probabilities.shape)}; expected [{samples}] and [{samples}, {classes}]"
            )
        wrong = [name for name, values in self.attributes.items() if np.shape(values) != (samples,)]
        if wrong:
            raise InputError(f"attributes {', '.join(wrong)} do not have one value for each of the {samples} samples")
        unknown = [name for name in self.masked if name not in self.emotions]
        if unknown or len(set(self.emotions)) < classes:
            raise InputError(
                f"masked ({', '.join(self.masked)}) must be among distinct emotions: {', '.join(self.emotions)}"
            )
        _check_values(self)

    @property
    def is_masked(self) -> Array:
        """bool [K]: the emotions that the set lacks."""
        return np.array([name in self.masked for name in self.emotions], dtype=bool)


def select(predictions: Predictions, chosen: Array) -> Predictions:
    """The same table with fewer rows. chosen: bool [N], or the indices of the rows to keep."""
    return Predictions(
        np.asarray(predictions.keys)[chosen],
        predictions.labels[chosen],
        predictions.probabilities[chosen],
        predictions.emotions,
        predictions.masked,
        {name: np.asarray(values)[chosen] for name, values in predictions.attributes.items()},
    )


def labelled(predictions: Predictions) -> Predictions:
    """The pictures that have an emotion. Raises InputError where none has."""
    has_label = predictions.labels >= 0
    if not has_label.any():
        raise InputError(f"none of the {len(has_label)} samples has an emotion; scores need labelled pictures")
    return predictions if has_label.all() else select(predictions, has_label)


def predicted(predictions: Predictions) -> Array:
    """int64 [N]: the emotion of the highest probability; of equal ones the first. Never a masked one."""
    winners: Array = np.where(predictions.is_masked, -np.inf, predictions.probabilities).argmax(axis=1)
    return winners


def confusion(predictions: Predictions) -> Array:
    """int64 [K, K]: labelled pictures by true emotion (row) and predicted emotion (column)."""
    chosen, classes = labelled(predictions), len(predictions.emotions)
    cells = chosen.labels * classes + predicted(chosen)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def support(matrix: Array) -> Array:
    """[..., K]: pictures that have the emotion."""
    totals: Array = matrix.sum(axis=-1)
    return totals


def accuracy(matrix: Array) -> Array:
    """[...]: the part of all pictures that is right."""
    return _ratio(_right(matrix).sum(axis=-1), matrix.sum(axis=(-2, -1)))


def recall(matrix: Array) -> Array:
    """[..., K]: of the pictures of an emotion, the part that is right; NaN for an emotion without pictures."""
    return _ratio(_right(matrix), support(matrix))


def precision(matrix: Array) -> Array:
    """[..., K]: of the pictures predicted as an emotion, the part that is right; NaN for one never predicted."""
    return _ratio(_right(matrix), matrix.sum(axis=-2))


def f1(matrix: Array) -> Array:
    """[..., K]: harmonic mean of recall and precision; 0 where nothing is right, NaN where the emotion never occurs."""
    return _ratio(2 * _right(matrix), support(matrix) + matrix.sum(axis=-2))


def mean_over_classes(matrix: Array) -> Array:
    """[...]: mean recall of the emotions that have pictures (balanced accuracy)."""
    return _mean_of_defined(recall(matrix))


def macro_f1(matrix: Array) -> Array:
    """[...]: mean F1 of the emotions that occur as label or as prediction."""
    return _mean_of_defined(f1(matrix))


def normalised_by_row(matrix: Array) -> Array:
    """[..., K, K]: each row as parts of its sum; NaN in the row of an emotion without pictures."""
    return _ratio(matrix, support(matrix)[..., None])


@dataclass(frozen=True, eq=False)
class Reliability:
    """Labelled pictures by their top probability, in equal bins: [low, high), the last one with its end, 1.

    edges: [bins + 1]; samples: [bins]; confidence and accuracy: [bins], means of a bin, NaN where it is empty.
    """

    edges: Array
    samples: Array
    confidence: Array
    accuracy: Array


def reliability(predictions: Predictions, bins: int = CALIBRATION_BINS) -> Reliability:
    """How often the model is right, by how certain it says it is."""
    chosen = labelled(predictions)
    confidence = chosen.probabilities.max(axis=1)
    is_right = predicted(chosen) == chosen.labels
    # float32, as the probabilities: 0.2 as float32 lies above 0.2 as float64, and would change its bin.
    edges = np.linspace(0, 1, bins + 1, dtype=np.float32)
    place = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, bins - 1)
    samples = np.bincount(place, minlength=bins)
    return Reliability(
        edges,
        samples,
        _ratio(np.bincount(place, confidence, minlength=bins), samples),
        _ratio(np.bincount(place, is_right, minlength=bins), samples),
    )


def expected_calibration_error(predictions: Predictions, bins: int = CALIBRATION_BINS) -> float:
    """Mean over pictures of |accuracy - mean top probability| of the bin that a picture falls in.

    Source: Guo et al. 2017, with equal-width bins. torchmetrics gives probabilities of exactly 1 a bin of their own.
    """
    table = reliability(predictions, bins)
    filled = table.samples > 0
    gaps = np.abs(table.accuracy - table.confidence)[filled]
    return float(np.average(gaps, weights=table.samples[filled]))


def negative_log_likelihood(predictions: Predictions) -> float:
    """Mean of -ln of the label's probability, which counts as at least float32's smallest normal number (87.3 nats)."""
    chosen = labelled(predictions)
    of_label = chosen.probabilities[np.arange(len(chosen.labels)), chosen.labels]
    return float(-np.log(np.maximum(of_label.astype(np.float64), np.finfo(np.float32).tiny)).mean())


def selective(predictions: Predictions, above: float = SELECTIVE_ABOVE) -> dict[str, Any]:
    """What is left when only predictions of a higher top probability count. coverage: their part of all pictures."""
    chosen = labelled(predictions)
    is_certain = chosen.probabilities.max(axis=1) > above
    is_right = (predicted(chosen) == chosen.labels)[is_certain]
    return {
        "above": above,
        "samples": int(is_certain.sum()),
        "coverage": float(is_certain.mean()),
        "accuracy": float(is_right.mean()) if is_right.size else None,
    }


def scores(predictions: Predictions) -> dict[str, Any]:
    """All measures of a table, ready for JSON; a measure without a value is None.

    Intervals: 95 %, Wilson's for accuracy, intervals.interval for the means over emotions.
    Raises InputError where no picture has an emotion.
    """
    matrix = confusion(predictions)
    measures: dict[str, Any] = {
        "samples": int(matrix.sum()),
        "unlabelled": int((predictions.labels < 0).sum()),
        "emotions": list(predictions.emotions),
        "masked": list(predictions.masked),
    }
    measures["accuracy"] = float(accuracy(matrix))
    measures["accuracy_interval"] = ends(wilson(_right(matrix).sum(), matrix.sum()))
    means: dict[str, Measure] = {"mean_over_classes": mean_over_classes, "macro_f1": macro_f1}
    for name, measure in means.items():
        measures[name] = float(measure(matrix))
        measures[f"{name}_interval"] = ends(interval(measure, matrix))
    per_class: dict[str, Measure] = {"recall": recall, "precision": precision, "f1": f1, "support": support}
    for name, measure in per_class.items():
        measures[name] = dict(zip(predictions.emotions, plain(measure(matrix)), strict=True))
    measures["confusion"] = matrix.tolist()
    measures["confusion_normalised"] = [plain(row) for row in normalised_by_row(matrix)]
    measures["expected_calibration_error"] = expected_calibration_error(predictions)
    measures["selective"] = selective(predictions)
    measures["negative_log_likelihood"] = negative_log_likelihood(predictions)
    return measures


def plain(values: Array) -> list[Any]:
    """The values as JSON has them: None for NaN."""
    return [None if value != value else value for value in values.tolist()]


def ends(low_and_high: tuple[Array, Array]) -> list[float]:
    """The interval of one number as JSON has it."""
    return [float(end) for end in low_and_high]


def _check_values(predictions: Predictions) -> None:
    labels, probabilities = predictions.labels, predictions.probabilities
    if len(labels) == 0:
        return
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < -1 or labels.max() >= len(predictions.emotions):
        raise InputError(
            f"labels must be whole numbers from -1 to {len(predictions.emotions) - 1}, one for each emotion"
        )
    # Written so that NaN fails as well.
    is_distribution = (probabilities >= 0).all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) <= SUM_TOLERANCE)
    if not is_distribution.all():
        first = int(np.argmin(is_distribution))
        raise InputError(
            f"{predictions.keys[first]}: its probabilities are not parts of 1: {probabilities[first].tolist()}"
        )
    for index in np.flatnonzero(predictions.is_masked):
        if (labels == index).any() or probabilities[:, index].any():
            raise InputError(
                f"{predictions.emotions[index]} is masked, yet {int((labels == index).sum())} samples have it as label "
                f"and {np.count_nonzero(probabilities[:, index])} give it a probability; unmask it or leave them out"
            )


def _right(matrix: Array) -> Array:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _ratio(part: Array, whole: Array) -> Array:
    part, whole = np.broadcast_arrays(part, whole)
    quotient: Array = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return quotient


def _mean_of_defined(values: Array) -> Array:
    is_defined = ~np.isnan(values)
    return _ratio(np.where(is_defined, values, 0).sum(axis=-1), is_defined.sum(axis=-1))
