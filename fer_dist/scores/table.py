"""The predictions table, from which all scores follow: what a model said of each image of a set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fer_dist.errors import InputError, counted
from fer_dist.scores.intervals import Array

SUM_TOLERANCE = 0.01
"""How far a row of probabilities may be from 1: float16 outputs stay well inside, logits do not."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one model says about each image of one set.

    keys:          N names of images.
    labels:        int [N], index into emotions; -1 where the image has no emotion.
    probabilities: float32 [N, K], each row sums to 1.
    emotions:      the K names, in the order of the model's outputs.
    masked:        names that the set lacks: no image has them as label, and their probability is 0.
    attributes:    what else is known of each image: name -> [N].
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


def check_keys(where: str | Path, keys: Iterable[str]) -> None:
    """Raises InputError where a key comes twice: a table tells images apart by their keys. where: for the message."""
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise InputError(f"{where}: the key {key!r} comes twice; every image counts exactly once")
        seen.add(key)


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
    """The images that have an emotion. Raises InputError where none has."""
    has_label = predictions.labels >= 0
    if not has_label.any():
        raise InputError(f"of {counted(len(has_label), 'sample')} none has an emotion; scores need labelled images")
    return predictions if has_label.all() else select(predictions, has_label)


def predicted(predictions: Predictions) -> Array:
    """int64 [N]: the emotion of the highest probability; of equal ones the first. Never a masked one."""
    winners: Array = np.where(predictions.is_masked, -np.inf, predictions.probabilities).argmax(axis=1)
    return winners


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
