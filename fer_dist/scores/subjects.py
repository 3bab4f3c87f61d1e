"""Scores by subject: images of one person are not independent, so a set tells less than as many images of as many.

What counts is how the scores of the subjects differ, and how many subjects there are. An interval by subject is about
the people that the set's are drawn from, not about other images of these.
"""

from dataclasses import dataclass, replace

import numpy as np

from fer_dist.scores.intervals import Array, Measure, Spread, gradient, spread, with_one_more
from fer_dist.scores.table import Predictions

ATTRIBUTE = "subject"
NEARLY_ALL = 0.95
"""Where the subject of a smaller part of the images is known, subjects count as not known."""


@dataclass(frozen=True, eq=False)
class Subjects:
    """Who is in the images. index: int [N], of each image's subject, from 0 to count - 1."""

    index: Array
    count: int

    def sums(self, values: Array) -> Array:
        """[G, ...]: sums over the images of each subject. values: [N, ...]."""
        totals = np.zeros((self.count, *values.shape[1:]))
        np.add.at(totals, self.index, values)
        return totals


def subjects_of(predictions: Predictions) -> Subjects | None:
    """The subjects of a table's images, from the attribute `subject`; None where images count as independent.

    So they do where the subject is not known of nearly all images, where no subject has two images, and where all are
    of one subject: nothing can then be said of other people. Images whose subject is not known count as one subject's.
    """
    values = predictions.attributes.get(ATTRIBUTE)
    if values is None:
        return None
    named = ["" if value is None or value != value else str(value) for value in np.asarray(values).tolist()]
    known = sum(name != "" for name in named)
    distinct, index = np.unique(named, return_inverse=True)
    if known < NEARLY_ALL * len(named) or not 1 < len(distinct) < len(named):
        return None
    return Subjects(index, len(distinct))


def spread_by_subject(measure: Measure, matrices: Array) -> Spread:
    """That of a measure of the sum of confusion matrices [G, K, K], one for each subject.

    The variance is that of the jackknife that leaves out one subject at a time, and at least that of independent
    images: that no subject differs from the others says little where there are few. degrees: of `freedom`.
    """
    total = matrices.sum(axis=0)
    by_image = spread(measure, total)
    smooth = with_one_more(total.astype(np.float64))
    moved = measure(smooth - matrices) - by_image.middle
    variance = np.maximum(jackknife(moved), by_image.variance)
    rows = smooth / np.maximum(smooth.sum(axis=-1, keepdims=True), np.finfo(np.float64).tiny)
    of_one = (rows * gradient(measure, smooth) ** 2).sum(axis=-1)
    images = matrices.sum(axis=-1)
    degrees = freedom(images @ of_one, (images @ np.sqrt(of_one)) ** 2, float(variance))
    return replace(by_image, variance=variance, degrees=np.array(degrees))


def jackknife(moved: Array) -> Array:
    """Variance of a value by how it moves when one subject is left out. moved: [G]."""
    variance: Array = (len(moved) - 1) / len(moved) * (moved**2).sum()
    return variance


def freedom(apart: Array, together: Array, variance: float) -> float:
    """Degrees of freedom of a variance that is a sum over subjects, by Satterthwaite; G - 1 where all are alike.

    apart: [G], what each subject adds to the variance were its images independent; together: [G], were they all
    alike. The variance that was found says how far they are alike, from 0 to 1.
    """
    most = float((together - apart).sum())
    alike = min(max((variance - float(apart.sum())) / most, 0.0), 1.0) if most > 0 else 0.0
    added = (1 - alike) * apart + alike * together
    return max(float(added.sum() ** 2 / (added**2).sum()) - 1, 1.0)
