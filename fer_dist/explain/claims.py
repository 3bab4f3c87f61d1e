"""What the study concludes of where its networks look, as tests that can come out false.

Each is held against the same network with other random weights: what those show too, faces' geometry shows and not what
was learned. Regions are compared by what the network still knows where they are hidden, beside the same area hidden at
a random place. N images, K emotions.

What a network knows of an emotion is its informedness: the share of its images that are predicted as it, less that of
all other images. It is 0 for whatever knows nothing, also where it predicts one emotion always, and so is its fall.
Sources: Huang et al. 2023, "Visualization"; Powers 2011 (informedness); Holm 1979.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_dist.explain.hiding import ELSEWHERE
from fer_dist.scores import t_distribution
from fer_dist.scores.compare import holm

Array = NDArray[Any]
Mask = tuple[str, str]
"""A region and a control's place, or "" for the region itself."""

LEVEL = 0.05
ALL = "all emotions"

Weights = dict[Mask, float]


def _more_than(first: Sequence[str], second: Sequence[str]) -> Weights:
    """The excess fall of the first regions, on average, over that of the second ones."""
    found: Weights = {}
    for sign, regions in ((1.0, first), (-1.0, second)):
        for region in regions:
            found[region, ""] = -sign / len(regions)
            found[region, ELSEWHERE] = sign / len(regions)
    return found


OF_REGIONS: dict[str, Weights] = {
    "mouth and nose over eyes": _more_than(("mouth", "nose"), ("eyes",)),
    "mouth and nose over ears": _more_than(("mouth", "nose"), ("ears",)),
    # Each half is the other's control: they are of one area.
    "right half over left half": {("right half", ""): -1.0, ("left half", ""): 1.0},
}
"""Claim -> the weight that the informedness has where a mask is hidden; the sum over masks is what is tested."""

MASKS: tuple[Mask, ...] = tuple(dict.fromkeys(mask for weights in OF_REGIONS.values() for mask in weights))

EDGES = "shallow blocks draw edges, deep ones less"
ALIKE = "right and wrong images look alike"


@dataclass(frozen=True)
class Known:
    """What one network shows of the images that claims are tested on.

    labels: int [N]. answers: mask -> int [N], what is predicted where it is hidden. edges: float [N, blocks], the
    correlation of each block's map with the image's edges, from the input to the head.
    """

    labels: Array
    answers: Mapping[Mask, Array]
    edges: Array


@dataclass(frozen=True)
class Measured:
    """A statistic and the variance of its error over images."""

    value: float
    variance: float


def informedness_weights(labels: Array, classes: int, emotion: int | None = None) -> Array:
    """float [K, K]: what a prediction (column) of an image of a label (row) adds to the informedness of an emotion.

    None: to the mean over the emotions that have an image. The sum over images is the informedness.
    """
    counts = np.bincount(labels, minlength=classes)
    present = np.flatnonzero(counts)
    found = np.zeros((classes, classes))
    for one in present if emotion is None else [emotion]:
        others = np.where(counts > 0, -1.0 / max(len(labels) - counts[one], 1), 0.0)
        others[one] = 1.0 / max(counts[one], 1)
        found[:, one] += others
    return found / (len(present) if emotion is None else 1)


def fall_between(known: Known, weights: Weights, classes: int, emotion: int | None = None) -> Measured:
    """The weighted sum of the informedness over masks. Images are drawn anew within each emotion for its variance."""
    table = informedness_weights(known.labels, classes, emotion)
    each = sum(weight * table[known.labels, known.answers[mask]] for mask, weight in weights.items())
    return Measured(float(np.sum(each)), _variance_of_sum(np.asarray(each), known.labels))


def edges_lost(known: Known) -> Measured:
    """By how much less the last two blocks' maps correlate with edges than the first two's."""
    each = known.edges[:, :2].mean(axis=1) - known.edges[:, -2:].mean(axis=1)
    return Measured(float(each.mean()), float(each.var(ddof=1) / len(each)))


def against(own: Measured, references: Sequence[float]) -> dict[str, Any]:
    """The excess of a statistic over those of networks with random weights, ready for JSON.

    p: one-sided, that the excess is above 0; t with as many degrees of freedom as there are references less 1. The
    error is that of one more reference, which has that of the images in it, or where it is larger, that of the images
    for this network; and that of the references' mean.
    """
    count = len(references)
    spread = float(np.var(references, ddof=1))
    error = float(np.sqrt(max(own.variance, spread) + spread / count))
    return _tested(own.value, float(np.mean(references)), error, count - 1) | {"references": list(references)}


def over_networks(own: Sequence[float], references: Sequence[float]) -> dict[str, Any]:
    """The same where the unit is the network: of several seeds. Welch's test."""
    parts = [float(np.var(values, ddof=1)) / len(values) for values in (own, references)]
    error = float(np.sqrt(sum(parts)))
    sizes = len(own), len(references)
    degrees = sum(parts) ** 2 / max(sum(p**2 / (n - 1) for p, n in zip(parts, sizes, strict=True)), 1e-300)
    return _tested(float(np.mean(own)), float(np.mean(references)), error, max(degrees, 1.0)) | {"networks": len(own)}


def of_networks(claims: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """What `claims_of` gives of several seeds of a network on one set, as one: the unit is the network. One: itself.

    All were held against the same networks with random weights.
    """
    first, *others = claims
    if not others:
        return first
    return {
        claim: {
            emotion: over_networks([one[claim][emotion]["value"] for one in claims], test["references"])
            for emotion, test in tests.items()
            if all(emotion in one.get(claim, ()) for one in others)
        }
        for claim, tests in first.items()
    }


def _tested(own: float, reference: float, error: float, degrees: float) -> dict[str, Any]:
    excess = own - reference
    t = excess / max(error, 1e-12)
    half = t_distribution.tail(t, degrees) / 2
    reach = t_distribution.quantile(degrees) * error
    return {
        "value": own,
        "random_weights": reference,
        "excess": excess,
        "interval": [excess - reach, excess + reach],
        "p": half if t > 0 else 1 - half,
    }


WANTED = {
    "the study's conclusions about regions": "images of two emotions, and three networks with random weights",
    ALIKE: "right images with p > 0.9 and wrong ones of the same emotion",
}
"""What cannot be tested -> what it takes."""


def not_tested(values: Mapping[str, Any]) -> list[str]:
    """A line for what could not be tested on a set. values: as `explain` gives them."""
    lacking = [not values["claims"], values["right_and_wrong"] is None]
    return [
        f"{name}: not tested, for want of {what}"
        for (name, what), is_it in zip(WANTED.items(), lacking, strict=True)
        if is_it
    ]


def claims_of(known: Known, references: Sequence[Known], emotions: Sequence[str]) -> dict[str, Any]:
    """Claim -> emotion or ALL -> what `against` gives; p is of this set alone, see `decided`.

    Empty without at least three networks with random weights, or where one emotion alone has images.
    """
    present = np.flatnonzero(np.bincount(known.labels, minlength=len(emotions))).tolist()
    if len(references) < 3 or len(present) < 2:
        return {}
    found: dict[str, Any] = {}
    for claim, weights in OF_REGIONS.items():
        of = {ALL: None} | {emotions[one]: one for one in present if (known.labels == one).sum() > 1}
        found[claim] = {
            name: against(
                fall_between(known, weights, len(emotions), emotion),
                [fall_between(other, weights, len(emotions), emotion).value for other in references],
            )
            for name, emotion in of.items()
        }
    if known.edges.shape[1] >= 4:
        found[EDGES] = {ALL: against(edges_lost(known), [edges_lost(other).value for other in references])}
    return found


def decided(sets: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Set -> claim -> emotion -> p and verdict, after Holm's correction over the emotions and sets of each claim.

    p: two-sided, since either side can come out. Verdicts: "shown", "contradicted" (the opposite is), "not shown". All
    emotions together are one family over the sets, the single ones another. That right and wrong images look alike can
    be contradicted, or not shown: a difference that was not seen is none that is not there.
    sets: set -> values that `explain` gives, of which `claims` and `right_and_wrong` are read.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {one: {} for one in sets}
    for claim in dict.fromkeys(claim for values in sets.values() for claim in values["claims"]):
        for is_whole in (True, False):
            ps = {
                (one, emotion): test["p"]
                for one, values in sets.items()
                for emotion, test in values["claims"].get(claim, {}).items()
                if (emotion == ALL) == is_whole
            }
            for (one, emotion), p in holm({key: 2 * min(p, 1 - p) for key, p in ps.items()}).items():
                side = "shown" if ps[one, emotion] < 0.5 else "contradicted"
                verdict = side if p < LEVEL else "not shown"
                found[one].setdefault(claim, {})[emotion] = {"p": p, "verdict": verdict}
    alike = {one: values["right_and_wrong"]["p"] for one, values in sets.items() if values["right_and_wrong"]}
    for one, p in holm(alike).items():
        found[one][ALIKE] = {ALL: {"p": p, "verdict": "contradicted" if p < LEVEL else "not shown"}}
    return found


def right_and_wrong(
    maps: Array, labels: Array, is_right: Array, is_wrong: Array, seed: int, draws: int = 400
) -> dict[str, Any] | None:
    """Whether the maps of right and of wrong images differ, ready for JSON; None with fewer than two of either.

    maps: [N, M], shares of each block's map in each region. Within each emotion that has both, the difference of their
    means; its mean over emotions, weighted by the fewer of the two. p: of the largest of all M, in units of its spread
    over permutations within emotions (max-T, Westfall and Young 1993). largest: index into M; difference: of that one.
    """
    chosen, sizes = [], []
    for one in np.unique(labels):
        right, wrong = (np.flatnonzero((labels == one) & of) for of in (is_right, is_wrong))
        if len(right) and len(wrong):
            chosen.append((np.concatenate([right, wrong]), len(right)))
            sizes.append(min(len(right), len(wrong)))
    if sum(sizes) < 2:
        return None
    random = np.random.default_rng(seed)

    def difference(shuffle: bool) -> Array:
        total = np.zeros(maps.shape[1])
        for (rows, cut), size in zip(chosen, sizes, strict=True):
            order = random.permutation(rows) if shuffle else rows
            total += size * (maps[order[:cut]].mean(axis=0) - maps[order[cut:]].mean(axis=0))
        return total / sum(sizes)

    own = difference(shuffle=False)
    drawn = np.stack([difference(shuffle=True) for _ in range(draws)])
    spread = drawn.std(axis=0).clip(min=1e-12)
    largest = np.abs(drawn / spread).max(axis=1)
    ratios = np.abs(own / spread)
    first = int(ratios.argmax())
    p = float((1 + (largest >= ratios[first] - 1e-9).sum()) / (draws + 1))
    # What a difference may still be, each of the M with the width that holds for all of them at once.
    reach = float(np.quantile(largest, 1 - LEVEL))
    bound = float((np.abs(own) + reach * spread).max())
    images = {"right": int(sum(cut for _, cut in chosen)), "wrong": int(sum(len(r) - cut for r, cut in chosen))}
    return {"p": p, "largest": first, "difference": float(own[first]), "at_most": bound, "images": images}


def _variance_of_sum(each: Array, labels: Array) -> float:
    total = 0.0
    for one in np.unique(labels):
        values = each[labels == one]
        if len(values) > 1:
            total += len(values) * float(values.var(ddof=1))
    return total
