"""Models against each other: on one set or two, with one seed or several; and a table without some of its images."""

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from fer_dist.errors import InputError
from fer_dist.scores import t_distribution
from fer_dist.scores.intervals import Array, difference, difference_tail, joint_degrees, wilson_at
from fer_dist.scores.metrics import ends, known_accuracy, unit
from fer_dist.scores.subjects import Subjects, freedom, jackknife, subjects_of
from fer_dist.scores.table import Predictions, labelled, predicted, select

HEADLINE = ("accuracy", "mean_over_classes", "macro_f1")


def paired(first: Predictions, second: Predictions, bootstrap: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Whether two models differ in accuracy on the same labelled images, ready for JSON. Rows are matched by key.

    It is a test of these two networks: whether one of them is better on more such images ("by": "images") or on more
    such people ("by": "subjects"). It says nothing of the recipes that they were trained by: two networks that differ
    by their seed alone do differ, and on enough images the test shows it. For recipes see paired_over_seeds.
    difference: accuracy of the first less the second's.
    By images, interval: its 95 % percentiles over `bootstrap` resamples of the images, drawn from the table with half
    an image more in both cells of disagreement, so that two models that agree on all images still have a spread; p:
    McNemar's exact test, two-sided.
    By subjects, where the attribute `subject` is known of nearly all images: interval and p are Student's, with the
    spread of the jackknife that leaves out one subject at a time, and as many degrees of freedom as `freedom` finds,
    at most subjects - 1.
    Raises InputError where the tables have other keys or labels, a key twice, or no labelled image.
    """
    matched = _in_order_of(first, second)
    first, second = labelled(first), labelled(matched)
    is_first, is_second = (predicted(table) == table.labels for table in (first, second))
    only_first, only_second = int((is_first & ~is_second).sum()), int((~is_first & is_second).sum())
    subjects = _subjects_of_any((first, second))
    if subjects is None:
        interval = _resampled(only_first, only_second, len(is_first), bootstrap, seed)
        p = mcnemar(only_first, only_second)
    else:
        interval, p = _by_subject(is_first.astype(float) - is_second, subjects)
    return {
        "samples": len(is_first),
        "difference": (only_first - only_second) / len(is_first),
        "interval": interval,
        "p": p,
        "only_first_right": only_first,
        "only_second_right": only_second,
        **unit(None if subjects is None else subjects.count),
    }


def separate(first: Predictions, second: Predictions) -> dict[str, Any]:
    """How far accuracy on one set is from that on another, ready for JSON: of one model or of two.

    Both are of the emotions that both sets have images of: other emotions are masked, the rest of each row is made 1
    again, and images of other emotions do not count. Of fewer than two such emotions nothing is said (None).
    difference: the first less the second; interval: 95 %, Newcombe's, of images or subjects drawn anew for both sets;
    p: the level at which that interval ends at 0. The networks are these: with other seeds they would differ as well.
    subjects: of each set, None where its images count as independent; "by" says "subjects" where one set has them.
    Raises InputError where a table has no labelled image.
    """
    both = [_emotions_with_images(table) for table in (first, second)]
    emotions = tuple(name for name in both[0] if name in both[1])
    found: dict[str, Any] = {"emotions": list(emotions)}
    if len(emotions) < 2:
        return found | {
            "samples": [0, 0], "accuracy": [None, None], "difference": None, "interval": None, "p": None,
            "by": "images", "subjects": [None, None],
        }  # fmt: skip
    known = [known_accuracy(limited(table, emotions)) for table in (first, second)]
    correct, samples = (known[0].correct, known[1].correct), (known[0].samples, known[1].samples)
    degrees = joint_degrees(correct, samples, (known[0].degrees, known[1].degrees))
    accuracies = [one.correct / one.samples for one in known]
    subjects = [one.subjects for one in known]
    return found | {
        "samples": [int(np.isin(_names(table), emotions).sum()) for table in (first, second)],
        "accuracy": accuracies,
        "difference": accuracies[0] - accuracies[1],
        "interval": [float(end) for end in difference(correct, samples, degrees=degrees)],
        "p": difference_tail(correct, samples, degrees),
        "by": "images" if subjects == [None, None] else "subjects",
        "subjects": subjects,
    }


def separate_over_seeds(tests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Whether a recipe's accuracy differs between two sets, from the `separate` of n seeds' networks on the same sets.

    difference: the mean; interval and p: of other seeds and other images (or subjects) of both sets, as
    paired_over_seeds has them, with the variances of both added: what a seed makes of single images is in both.
    seeds: n; of one, its own test.
    """
    seeds = len(tests)
    if seeds == 1:
        return tests[0] | {"seeds": 1}
    differences = np.array([test["difference"] for test in tests])
    units = min([count for count in tests[0]["subjects"] if count is not None] or tests[0]["samples"])
    halves = [(test["interval"][1] - test["interval"][0]) / 2 for test in tests]
    of_images = float(np.mean(halves) / t_distribution.quantile(units - 1)) ** 2
    of_seeds = float(differences.var(ddof=1)) / seeds
    found = _Error(of_images + of_seeds, of_seeds / (of_images + of_seeds), seeds, units)
    mean, error = float(differences.mean()), math.sqrt(found.variance)
    half = found.quantile * error
    return {name: tests[0][name] for name in ("emotions", "by", "subjects")} | {
        "difference": mean,
        "interval": [max(mean - half, -1.0), min(mean + half, 1.0)],
        "p": found.tail(mean / error),
        "seeds": seeds,
    }


def limited(predictions: Predictions, emotions: Collection[str]) -> Predictions:
    """The images of these emotions, with all others masked. A row that lies on the others alone becomes an even one."""
    kept = np.array([name in emotions for name in predictions.emotions], dtype=bool)
    chosen = select(predictions, np.isin(_names(predictions), list(emotions)))
    left = np.where(kept, chosen.probabilities, 0).astype(np.float64)
    totals = left.sum(axis=1, keepdims=True)
    even = np.broadcast_to(kept / kept.sum(), left.shape).copy()
    probabilities = np.divide(left, totals, out=even, where=totals > 0).astype(np.float32)
    masked = tuple(name for name in predictions.emotions if name not in emotions)
    return replace(chosen, probabilities=probabilities, masked=masked)


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
    """Mean and sample deviation (n - 1; None for one) of accuracy, balanced accuracy and macro F1, ready for JSON.

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


def accuracy_over_seeds(tables: Sequence[Predictions]) -> dict[str, Any]:
    """Accuracy of a recipe, from models that differ in their seed alone, on one set; ready for JSON.

    mean and deviation (n - 1) over the n seeds. interval: 95 %, for other seeds and other images (or subjects) alike,
    Wilson's with the spread of `_two_way`. deviation and interval are None for one seed.
    Raises InputError where there is no table, and as paired does.
    """
    correct, subjects = _correct_by_seed(tables)
    seeds, images = correct.shape
    mean = float(correct.mean())
    interval = None
    if min(correct.shape) > 1:
        found = _two_way(correct, subjects)
        # All correct or all wrong with every seed: as from the images of one.
        alike = min(mean * (1 - mean) / found.variance, seeds * images) if found.variance else images
        interval = ends(wilson_at(np.array(mean * alike), np.array(alike), found.quantile))
    return {
        "n": seeds,
        "samples": images,
        "mean": mean,
        "deviation": float(np.std(correct.mean(axis=1), ddof=1)) if seeds > 1 else None,
        "interval": interval,
        **unit(None if subjects is None else subjects.count),
    }


def paired_over_seeds(firsts: Sequence[Predictions], seconds: Sequence[Predictions]) -> dict[str, Any]:
    """Whether two recipes differ in accuracy on one set, from n seeds of each; ready for JSON.

    firsts and seconds: tables of the same images; those at the same index share a seed, which does no harm where the
    seed means nothing. difference: mean accuracy of the firsts less that of the seconds; deviation: of the n
    differences. interval and p: for other seeds and other images (or subjects) alike, see `_two_way`. With
    one seed there is none of the three: of how far seeds differ nothing is known.
    Raises InputError where there is no table or another number of either, and as paired does.
    """
    if len(firsts) != len(seconds):
        raise InputError(
            f"{len(firsts)} seeds of one recipe and {len(seconds)} of the other; compare recipes by the same seeds"
        )
    correct, subjects = _correct_by_seed([*firsts, *seconds])
    apart = correct[: len(firsts)] - correct[len(firsts) :]
    seeds, images = apart.shape
    mean = float(apart.mean())
    interval = p = None
    if min(apart.shape) > 1:
        found = _two_way(apart, subjects)
        # Recipes that agree on every image still have a spread: half an image more in both cells of disagreement.
        error = math.sqrt(found.variance + 1 / (seeds * images**2))
        half = found.quantile * error
        interval, p = [max(mean - half, -1.0), min(mean + half, 1.0)], found.tail(mean / error)
    return {
        "n": seeds,
        "samples": images,
        "difference": mean,
        "deviation": float(np.std(apart.mean(axis=1), ddof=1)) if seeds > 1 else None,
        "interval": interval,
        "p": p,
        **unit(None if subjects is None else subjects.count),
    }


Name = TypeVar("Name", bound=Hashable)


def holm(ps: Mapping[Name, float]) -> dict[Name, float]:
    """p of each test, adjusted for there being several: below 0.05 of any that shows nothing in one family of twenty.

    Source: Holm 1979.
    """
    adjusted: dict[Name, float] = {}
    most = 0.0
    for rank, name in enumerate(sorted(ps, key=lambda name: ps[name])):
        most = max(most, min(1.0, (len(ps) - rank) * ps[name]))
        adjusted[name] = most
    return {name: adjusted[name] for name in ps}


def without(predictions: Predictions, keys: Collection[str]) -> Predictions:
    """The table less the images of these keys, as duplicates that an audit lists; keys that it lacks do nothing."""
    left_out = set(keys)
    return select(predictions, np.array([str(key) not in left_out for key in predictions.keys], dtype=bool))


def _in_order_of(first: Predictions, second: Predictions) -> Predictions:
    """The second table with its rows in the order of the first."""
    rows = {str(key): row for row, key in enumerate(second.keys)}
    keys = [str(key) for key in first.keys]
    if len(rows) < len(second.keys) or len(set(keys)) < len(keys):
        raise InputError("a key comes twice in a predictions table; every image counts exactly once")
    alone = sorted(set(keys) ^ set(rows))
    if alone:
        raise InputError(
            f"two predictions tables of {len(keys)} and {len(rows)} images differ in {len(alone)} keys, such as "
            f"{alone[0]}; compare models on the same set, with the same images left out"
        )
    matched = select(second, np.array([rows[key] for key in keys], dtype=np.int64))
    names, other = _names(first), _names(matched)
    if (names != other).any():
        row = int(np.argmax(names != other))
        raise InputError(
            f"{keys[row]}: its emotion is {names[row]} in one predictions table and {other[row]} in the other; "
            "compare models on the same set"
        )
    return matched


def _names(predictions: Predictions) -> Array:
    """[N]: emotion of each image by name: two models may have their emotions in another order."""
    return np.array([*predictions.emotions, "none"])[predictions.labels]


def _emotions_with_images(predictions: Predictions) -> tuple[str, ...]:
    has_images = np.bincount(labelled(predictions).labels, minlength=len(predictions.emotions)) > 0
    return tuple(name for name, has in zip(predictions.emotions, has_images, strict=True) if has)


def _subjects_of_any(tables: Sequence[Predictions]) -> Subjects | None:
    """The subjects of the first table that knows them: an older one of the same images may not."""
    return next((subjects for table in tables if (subjects := subjects_of(table)) is not None), None)


def _resampled(only_first: int, only_second: int, samples: int, bootstrap: int, seed: int) -> list[float]:
    cells = np.array([only_first + 0.5, only_second + 0.5, samples - only_first - only_second])
    draws = np.random.default_rng(seed).multinomial(samples, cells / cells.sum(), size=bootstrap)
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / samples, (0.025, 0.975))
    value = (only_first - only_second) / samples
    # Percentiles of a few draws need not hold the value.
    return [min(float(low), value), max(float(high), value)]


def _by_subject(apart: Array, subjects: Subjects) -> tuple[list[float], float]:
    """Interval and p of a mean over images, by subject. apart: [N], -1, 0 or 1."""
    images, mean = len(apart), float(apart.mean())
    of_each = np.bincount(subjects.index, minlength=subjects.count)
    moved = subjects.sums(apart - mean) / (images - of_each)
    # As of resampled images: half an image more in both cells of disagreement.
    variance = float(jackknife(moved)) + 1 / images**2
    alone = (np.abs(apart).sum() + 1) / images**3
    degrees = freedom(of_each * alone, of_each**2 * alone, variance)
    error = math.sqrt(variance)
    half = t_distribution.quantile(degrees) * error
    return [max(mean - half, -1.0), min(mean + half, 1.0)], t_distribution.tail(mean / error, degrees)


def _correct_by_seed(tables: Sequence[Predictions]) -> tuple[Array, Subjects | None]:
    """float [S, N]: 1 where the model of a seed is correct on a labelled image; and the images' subjects."""
    if not tables:
        raise InputError("no predictions tables to take a mean of; give those of at least one seed")
    matched = [labelled(tables[0]), *(labelled(_in_order_of(tables[0], table)) for table in tables[1:])]
    correct = np.stack([predicted(table) == table.labels for table in matched]).astype(np.float64)
    return correct, _subjects_of_any(matched)


@dataclass(frozen=True)
class _Error:
    """Variance of a mean over seeds and images, and how it is known.

    of_seeds: the part of it that seeds add, 0 to 1, known with seeds - 1 degrees of freedom; the rest is of images (or
    subjects), known with their number - 1.
    """

    variance: float
    of_seeds: float
    seeds: int
    images: int

    def tail(self, t: float) -> float:
        """Two-sided p of a mean t standard errors from 0: Student's for seeds and for images, weighted by their parts.

        One number of degrees for both, Hillis' or Satterthwaite's, is large where few seeds happen to lie close to
        each other: of 1,000 simulated recipes with three seeds its interval held the accuracy in 92 %, this in 95 %.
        """
        by_seed, by_image = (t_distribution.tail(t, number - 1) for number in (self.seeds, self.images))
        return self.of_seeds * by_seed + (1 - self.of_seeds) * by_image

    @property
    def quantile(self) -> float:
        """The t of a p of 5 %: so many standard errors is the 95 % interval wide to each side."""
        low, high = sorted(t_distribution.quantile(number - 1) for number in (self.seeds, self.images))
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self.tail(middle) > 0.05 else (low, middle)
        return high


def _two_way(values: Array, subjects: Subjects | None) -> _Error:
    """Of the mean of values [S, N], seeds by images, where both are drawn at random; S and N above 1.

    Variance: (seeds' mean square + images' - residual) / (S N), as in studies of several readers and many cases. Where
    images go by subject, subjects stand for images, each by the sum of how far its images are from the mean.
    Source: Obuchowski and Rockette 1995, in the form of Hillis 2007.
    """
    if subjects is not None:
        sums = subjects.sums((values - values.mean()).T).T
        values = values.mean() + sums * subjects.count / values.shape[1]
    seeds, images = values.shape
    mean, of_seed, of_image = values.mean(), values.mean(axis=1), values.mean(axis=0)
    seed = images * float(((of_seed - mean) ** 2).sum()) / (seeds - 1)
    image = seeds * float(((of_image - mean) ** 2).sum()) / (images - 1)
    rest = values - of_seed[:, None] - of_image + mean
    residual = float((rest**2).sum()) / ((seeds - 1) * (images - 1))
    total = seed + max(image - residual, 0.0)
    return _Error(total / (seeds * images), seed / total if total else 1.0, seeds, images)
