"""Whether a model is correct as often as it says: reliability by bins, its error, and what chance adds to it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_dist.scores import t_distribution
from fer_dist.scores.intervals import Array, ratio
from fer_dist.scores.subjects import freedom, subjects_of
from fer_dist.scores.table import Predictions, labelled, predicted

BINS = 15
# float32, as the probabilities: 0.2 as float32 lies above 0.2 as float64, and would change its bin.
EDGES = np.linspace(0, 1, BINS + 1, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Reliability:
    """Labelled images by their top probability, in equal bins: [low, high), the last one with its end, 1.

    edges: [bins + 1]; samples: [bins]; confidence and accuracy: [bins], means of a bin, NaN where it is empty.
    """

    edges: Array
    samples: Array
    confidence: Array
    accuracy: Array


def reliability(predictions: Predictions) -> Reliability:
    """How often the model is correct, by how confident it says it is."""
    confidence, is_correct, bin_index = _binned(predictions)
    samples = np.bincount(bin_index, minlength=BINS)
    means = [ratio(np.bincount(bin_index, values, minlength=BINS), samples) for values in (confidence, is_correct)]
    return Reliability(EDGES, samples, *means)


def expected_calibration_error(table: Reliability) -> float:
    """Mean over images of |accuracy - mean top probability| of the bin that an image falls in.

    Source: Guo et al. 2017, with equal-width bins. torchmetrics gives probabilities of exactly 1 a bin of their own.
    """
    filled = table.samples > 0
    gaps = np.abs(table.accuracy - table.confidence)[filled]
    return float(np.average(gaps, weights=table.samples[filled]))


def calibration(predictions: Predictions) -> dict[str, Any]:
    """The expected calibration error and what is to be made of it, ready for JSON.

    expected_calibration_error: as found. Chance alone parts accuracy and probability in each bin, so it is never 0:
    ..._floor: what a perfectly calibrated model with as many images in each bin would have on average;
    ..._debiased: the error that, with what chance adds, gives the one found; 0 where that is below what chance makes;
    ..._interval: 95 % of the error without chance, over subjects where they are known. The found one may lie above it,
    and a lower end of 0 says that the model may be perfectly calibrated as far as these bins tell.
    On 300 and 3,000 images of simulated models, calibrated or not, the interval held the truth in 93 to 97 % of 2,000
    runs; of 29 people in 97 %, where the images taken for independent had held it in 88 %.
    Raises InputError where no image has an emotion.
    """
    found, table, name = _Gaps(predictions), reliability(predictions), "expected_calibration_error"
    error, deviations = expected_calibration_error(table), found.quantile
    # An error below what chance makes is luck, and does not narrow what may be.
    high = found.without_chance(max(error, found.expected(0)[0]), -deviations)
    return {
        name: error,
        f"{name}_floor": _floor(table),
        f"{name}_debiased": found.without_chance(error, 0),
        f"{name}_interval": [found.without_chance(error, deviations), high],
    }


class _Gaps:
    """How far accuracy is from the stated probability in each bin, and how far chance may have moved it there.

    What is sought is one number: the true gaps are taken to be to each other as the found ones are, less chance.
    weight: [bins], part of the images; noise: [bins], standard deviation; shape: [bins], above 0; inflation: by how
    much the variance of the error is larger than that of bins that are independent; quantile: standard errors that a
    95 % interval is wide to each side.
    """

    def __init__(self, predictions: Predictions) -> None:
        chosen = labelled(predictions)
        confidence, is_correct, bin_index = _binned(chosen)
        _, bin_index, samples = np.unique(bin_index, return_inverse=True, return_counts=True)
        errors = is_correct - confidence
        gaps = np.bincount(bin_index, errors) / samples
        # Half an image more that is correct and half one that is wrong: a bin that is all correct still has a spread.
        part = (np.bincount(bin_index, is_correct) + 0.5) / (samples + 1)
        variance = part * (1 - part) / samples
        self.weight, self.inflation, self.quantile = samples / samples.sum(), 1.0, t_distribution.quantile(math.inf)
        subjects = subjects_of(chosen)
        if subjects is not None:
            apart = np.zeros((subjects.count, len(samples)))
            np.add.at(apart, (subjects.index, bin_index), (errors - gaps[bin_index]) / samples[bin_index])
            covariance = apart.T @ apart * subjects.count / (subjects.count - 1)
            variance = np.maximum(np.diagonal(covariance), variance)
            signs = np.sign(gaps) * self.weight
            alone, together = float(self.weight**2 @ variance), float(signs @ covariance @ signs)
            self.inflation = max(together / alone, 1.0)
            images = np.bincount(subjects.index) / len(bin_index)
            degrees = freedom(images * alone, images**2 * len(bin_index) * alone, max(alone, together))
            self.quantile = t_distribution.quantile(degrees)
        self.noise = np.sqrt(variance)
        self.shape = np.sqrt(np.maximum(gaps**2 - variance, 0) + variance / 4)

    def expected(self, share: float) -> tuple[float, float]:
        """Mean and standard deviation of the error found, where the true gaps are this many times the shape.

        The absolute value of a normal number, bin by bin.
        """
        gaps = share * self.shape
        deviations = gaps / self.noise
        inside = np.array([math.erf(one / math.sqrt(2)) for one in deviations])
        means = self.noise * math.sqrt(2 / math.pi) * np.exp(-(deviations**2) / 2) + gaps * inside
        variances = np.maximum(gaps**2 + self.noise**2 - means**2, 0)
        return float(self.weight @ means), math.sqrt(self.inflation * float(self.weight**2 @ variances))

    def without_chance(self, error: float, deviations: float) -> float:
        """The true error of which the one found is so many standard deviations above what is expected; 0 to 1."""

        def is_short(share: float) -> bool:
            mean, deviation = self.expected(share)
            return mean + deviations * deviation < error

        low, high = 0.0, 1.0
        while is_short(high):
            low, high = high, 2 * high
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if is_short(middle) else (low, middle)
        return min(low * float(self.weight @ self.shape), 1.0)


def _floor(table: Reliability) -> float:
    """Expected error of a model that is correct as often as it says, were its images of a bin all as confident.

    Source: de Moivre's mean absolute deviation of the binomial distribution.
    """
    filled = table.samples > 0
    bins = zip(table.samples[filled].tolist(), table.confidence[filled].tolist(), strict=True)
    return sum(_mean_deviation(samples, part) for samples, part in bins) / int(table.samples.sum())


def _mean_deviation(samples: int, part: float) -> float:
    """Mean of |correct - samples * part| of binomial numbers of correct ones."""
    if not 0 < part < 1:
        return 0.0
    above = min(math.floor(samples * part) + 1, samples)
    ways = math.lgamma(samples + 1) - math.lgamma(above + 1) - math.lgamma(samples - above + 1)
    chance = ways + above * math.log(part) + (samples - above + 1) * math.log1p(-part)
    return 2 * above * math.exp(chance)


def _binned(predictions: Predictions) -> tuple[Array, Array, Array]:
    """Of each labelled image its top probability, whether it is correct, and its bin."""
    chosen = labelled(predictions)
    confidence = chosen.probabilities.max(axis=1)
    bin_index = np.clip(np.searchsorted(EDGES, confidence, side="right") - 1, 0, BINS - 1)
    return confidence.astype(np.float64), predicted(chosen) == chosen.labels, bin_index
