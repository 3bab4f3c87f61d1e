"""Scores as functions of a predictions table; nothing here runs a model, reads a file or needs more than numpy.

Most measures take a confusion matrix, int64 [..., K, K] with true labels in rows: one matrix gives a number, a stack of
matrices gives as many, so an interval needs no second implementation. A measure that has no value is NaN.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_dist.scores import t_distribution
from fer_dist.scores.calibration import calibration
from fer_dist.scores.intervals import FEWEST_DEGREES, Array, Measure, interval, ratio, spread, wilson
from fer_dist.scores.subjects import Subjects, spread_by_subject, subjects_of
from fer_dist.scores.table import Predictions, labelled, predicted

SELECTIVE_ABOVE = 0.9
"""The probability above which the study calls a prediction confident. Source: Huang et al. 2023, feature maps."""


def confusion(predictions: Predictions) -> Array:
    """int64 [K, K]: labelled images by true emotion (row) and predicted emotion (column)."""
    chosen, classes = labelled(predictions), len(predictions.emotions)
    cells = chosen.labels * classes + predicted(chosen)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def confusion_by_subject(predictions: Predictions, subjects: Subjects) -> Array:
    """int64 [G, K, K]: the confusion matrix of each subject. All images of the table are labelled; subjects: theirs."""
    classes = len(predictions.emotions)
    cells = (subjects.index * classes + predictions.labels) * classes + predicted(predictions)
    return np.bincount(cells, minlength=subjects.count * classes**2).reshape(-1, classes, classes)


def support(matrix: Array) -> Array:
    """[..., K]: images that have the emotion."""
    totals: Array = matrix.sum(axis=-1)
    return totals


def accuracy(matrix: Array) -> Array:
    """[...]: the part of all images that is correct."""
    return ratio(_correct(matrix).sum(axis=-1), matrix.sum(axis=(-2, -1)))


def recall(matrix: Array) -> Array:
    """[..., K]: of the images of an emotion, the part that is correct; NaN for an emotion without images."""
    return ratio(_correct(matrix), support(matrix))


def precision(matrix: Array) -> Array:
    """[..., K]: of the images predicted as an emotion, the part that is correct; NaN for one never predicted."""
    return ratio(_correct(matrix), matrix.sum(axis=-2))


def f1(matrix: Array) -> Array:
    """[..., K]: harmonic mean of recall and precision; 0 where none is correct, NaN where the emotion never occurs."""
    return ratio(2 * _correct(matrix), support(matrix) + matrix.sum(axis=-2))


def balanced_accuracy(matrix: Array) -> Array:
    """[...]: mean recall of the emotions that have images."""
    return _mean_of_defined(recall(matrix))


def macro_f1(matrix: Array) -> Array:
    """[...]: mean F1 of the emotions that occur as label or as prediction."""
    return _mean_of_defined(f1(matrix))


def normalised_by_row(matrix: Array) -> Array:
    """[..., K, K]: each row as parts of its sum; NaN in the row of an emotion without images."""
    return ratio(matrix, support(matrix)[..., None])


def negative_log_likelihood(predictions: Predictions) -> float:
    """Mean of -ln of the label's probability, which counts as at least float32's smallest normal number (87.3 nats)."""
    chosen = labelled(predictions)
    of_label = chosen.probabilities[np.arange(len(chosen.labels)), chosen.labels]
    return float(-np.log(np.maximum(of_label.astype(np.float64), np.finfo(np.float32).tiny)).mean())


def selective(predictions: Predictions, above: float = SELECTIVE_ABOVE) -> dict[str, Any]:
    """What is left when only predictions of a higher top probability count. coverage: their part of all images."""
    chosen = labelled(predictions)
    is_confident = chosen.probabilities.max(axis=1) > above
    is_correct = (predicted(chosen) == chosen.labels)[is_confident]
    return {
        "above": above,
        "samples": int(is_confident.sum()),
        "coverage": float(is_confident.mean()),
        "accuracy": float(is_correct.mean()) if is_correct.size else None,
    }


@dataclass(frozen=True)
class KnownAccuracy:
    """An accuracy, and how well it is known: as well as from so many independent images, so many of them correct.

    correct and samples are the table's own where images count as independent, and smaller where they go by subject.
    degrees: of freedom of how far subjects differ, inf for independent images; subjects: None for these.
    """

    correct: float
    samples: float
    degrees: float = math.inf
    subjects: int | None = None

    @property
    def interval(self) -> list[float]:
        """95 %, Wilson's."""
        return ends(wilson(np.array(self.correct), np.array(self.samples), degrees=self.degrees))


def known_accuracy(predictions: Predictions) -> KnownAccuracy:
    """That of a table, by subject where subjects are known (subjects.subjects_of). Raises InputError as scores does."""
    chosen = labelled(predictions)
    matrix, subjects = confusion(chosen), subjects_of(chosen)
    correct, samples = int(_correct(matrix).sum()), int(matrix.sum())
    if subjects is None:
        return KnownAccuracy(correct, samples)
    found = spread_by_subject(accuracy, confusion_by_subject(chosen, subjects))
    # How much wider than that of as many independent images the spread is. A list of one emotion has no spread.
    alone = float(found.middle * (1 - found.middle)) / samples
    ratio = max(float(found.variance) / alone, 1.0) if alone else 1.0
    return KnownAccuracy(correct / ratio, samples / ratio, float(found.degrees), subjects.count)


def mean_interval(measure: Measure, predictions: Predictions) -> list[float]:
    """95 % interval of a mean over emotions, by subject where subjects are known. Raises InputError as scores does."""
    chosen = labelled(predictions)
    subjects = subjects_of(chosen)
    if subjects is None:
        return ends(interval(measure, confusion(chosen)))
    found = spread_by_subject(measure, confusion_by_subject(chosen, subjects))
    return ends(found.ends(t_distribution.quantile(float(found.degrees))))


def class_balance(predictions: Predictions) -> dict[str, Any]:
    """The balanced accuracy less the accuracy: its sign is that of cov(images, recall) over emotions; ready for JSON.

    difference; interval: 95 %; p: of no difference, below 0.05 just where the interval leaves 0 out. By subject where
    subjects are known. Raises InputError as scores does.
    """

    def balance(cells: Array) -> Array:
        halved: Array = (1 + balanced_accuracy(cells) - accuracy(cells)) / 2
        return halved

    chosen = labelled(predictions)
    subjects = subjects_of(chosen)
    if subjects is None:
        found = spread(balance, confusion(chosen))
        degrees = max(float(found.degrees), FEWEST_DEGREES)
    else:
        found = spread_by_subject(balance, confusion_by_subject(chosen, subjects))
        degrees = float(found.degrees)
    return {
        "difference": 2 * float(found.value) - 1,
        "interval": [2 * end - 1 for end in ends(found.ends(t_distribution.quantile(degrees)))],
        "p": t_distribution.tail(found.errors_from_half(), degrees),
        **unit(None if subjects is None else subjects.count),
    }


def unit(subjects: int | None) -> dict[str, Any]:
    """What intervals and tests count as independent, as JSON says it: "by" and how many "subjects", None for images."""
    return {"by": "images" if subjects is None else "subjects", "subjects": subjects}


def scores(predictions: Predictions) -> dict[str, Any]:
    """All measures of a table, ready for JSON; a measure without a value is None.

    Intervals: 95 %, Wilson's for accuracy, intervals.interval for the means over emotions; where subjects are known,
    over subjects ("by"), and then wider than over images.
    Raises InputError where no image has an emotion.
    """
    matrix = confusion(predictions)
    measures: dict[str, Any] = {
        "samples": int(matrix.sum()),
        "unlabelled": int((predictions.labels < 0).sum()),
        "emotions": list(predictions.emotions),
        "masked": list(predictions.masked),
    }
    measures["accuracy"] = float(accuracy(matrix))
    known = known_accuracy(predictions)
    measures["accuracy_interval"] = known.interval
    means: dict[str, Measure] = {"mean_over_classes": balanced_accuracy, "macro_f1": macro_f1}
    for name, measure in means.items():
        measures[name] = float(measure(matrix))
        measures[f"{name}_interval"] = mean_interval(measure, predictions)
    measures |= unit(known.subjects)
    per_class: dict[str, Measure] = {"recall": recall, "precision": precision, "f1": f1, "support": support}
    for name, measure in per_class.items():
        measures[name] = dict(zip(predictions.emotions, plain(measure(matrix)), strict=True))
    measures["confusion"] = matrix.tolist()
    measures["confusion_normalised"] = [plain(row) for row in normalised_by_row(matrix)]
    measures |= calibration(predictions)
    measures["selective"] = selective(predictions)
    measures["negative_log_likelihood"] = negative_log_likelihood(predictions)
    return measures


def plain(values: Array) -> list[Any]:
    """The values as JSON has them: None for NaN."""
    return [None if value != value else value for value in values.tolist()]


def ends(low_and_high: tuple[Array, Array]) -> list[float]:
    """The interval of one number as JSON has it."""
    return [float(end) for end in low_and_high]


def _correct(matrix: Array) -> Array:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _mean_of_defined(values: Array) -> Array:
    is_defined = ~np.isnan(values)
    return ratio(np.where(is_defined, values, 0).sum(axis=-1), is_defined.sum(axis=-1))
