"""Which of many images are duplicates of each other: exactly, or but for scale, compression and a mirror.

Near duplicates are found without comparing all pairs: the signs of the features, read in several shuffled orders as one
long number, are sorted, and each image is compared with those that stand next to it. Time grows as n log n.
Source: Charikar 2002, "Similarity estimation techniques from rounding algorithms", permuted sorted lists.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_dist.data.inspection.fingerprint import FEATURES, ODD, mirrored

Integers = NDArray[np.int64]
Features = NDArray[np.float16]

SIMILAR = 0.985
"""Similarity from which two images are near duplicates; see RESULTS for what it finds, and for its false alarms."""

ORDERS = 16
NEIGHBOURS = 8
MOST_SIGNS = 14
"""Signs, of 63, in which near duplicates may differ; more are not looked at closer."""

FEW = 100
"""Images below which the signs are those of the features themselves."""

CHUNK = 1 << 16
"""Pairs that are compared at once; a few arrays of 16 MB each."""


@dataclass(frozen=True)
class NearPairs:
    """Pairs of near duplicates. first, second: int64 [p], indices into the features. is_mirrored: as mirror images."""

    first: Integers
    second: Integers
    is_mirrored: NDArray[np.bool_]


def exact_groups(pixels: NDArray[np.uint64]) -> Integers:
    """A number for each image: the lowest index of an image with the same pixels. pixels: [n, 2], their hashes."""
    order = np.lexsort((pixels[:, 1], pixels[:, 0]))  # stable, so the first of equal ones has the lowest index
    ordered = pixels[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    groups = np.empty(len(order), dtype=np.int64)
    groups[order] = order[is_first][np.cumsum(is_first) - 1] if len(order) else order
    return groups


def near_pairs(features: Features, similar: float = SIMILAR) -> NearPairs:
    """Pairs whose features, or those of the one and the mirrored other, have a similarity of at least `similar`.

    features: [n, 63], of length 1, or zeros for an image that is compared with none. A pair comes once.
    Most pairs are found, not all: what separates two duplicates in every one of the shuffled orders is overlooked.
    """
    count = len(features)
    signs = _signs(features)
    # Each image stands in the lists twice: as it is, and mirrored (index + count).
    both = np.concatenate([signs, signs ^ ODD[:, None]], axis=1)
    packed = _numbers(both, np.arange(FEATURES))
    found: list[NDArray[np.uint64]] = []
    lots = np.random.default_rng(0)
    for _ in range(ORDERS):
        order = np.argsort(_numbers(both, lots.permutation(FEATURES)), kind="stable")
        ordered = packed[order]
        for distance in range(1, NEIGHBOURS + 1):
            differing = np.bitwise_count(ordered[:-distance] ^ ordered[distance:])
            alike = np.flatnonzero(differing <= MOST_SIGNS)
            found.append(_as_pairs(order[alike], order[alike + distance], count))
        found = [np.unique(np.concatenate(found))]
    return _similar_ones(features, found[0], count, similar)


def joined(count: int, first: Integers, second: Integers) -> Integers:
    """A number for each of `count` images: the lowest one that pairs lead to, over however many steps."""
    roots = np.arange(count, dtype=np.int64)

    def root(index: int) -> int:
        while roots[index] != index:
            roots[index] = roots[roots[index]]
            index = int(roots[index])
        return index

    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        low, high = sorted((root(one), root(other)))
        roots[high] = low
    # Roots never point upward, so one pass in order settles all.
    for index in np.flatnonzero(roots != np.arange(count)).tolist():
        roots[index] = roots[roots[index]]
    return roots


def _signs(features: Features) -> NDArray[np.bool_]:
    """[63, n]: which features lie above their mean over all images, so that each sign halves them.

    The mean of what a mirror turns is taken as 0: an image and its mirror image must have opposite signs there.
    """
    # Of a few images the mean lies between two duplicates as easily as between two others.
    mean = features.mean(axis=0, dtype=np.float64) if len(features) >= FEW else np.zeros(FEATURES)
    levels = np.where(ODD, 0.0, mean).astype(np.float16)
    # A row a feature, since the numbers are made feature by feature.
    return np.stack([features[:, feature] > levels[feature] for feature in range(FEATURES)])


def _numbers(signs: NDArray[np.bool_], order: Integers) -> NDArray[np.uint64]:
    """The signs in an order, as one number of 64 bits each, the first sign weighing most."""
    numbers = np.zeros(signs.shape[1], dtype=np.uint64)
    for feature in order.tolist():
        numbers <<= np.uint64(1)
        numbers |= signs[feature]
    return numbers


def _as_pairs(one: Integers, other: Integers, count: int) -> NDArray[np.uint64]:
    """Each pair as one number: first * 2n + second, first < second < n, plus n where the second is mirrored."""
    is_mirrored = (one >= count) != (other >= count)
    first, second = np.minimum(one % count, other % count), np.maximum(one % count, other % count)
    kept = first != second
    pairs = first[kept] * (2 * count) + second[kept] + count * is_mirrored[kept]
    return pairs.astype(np.uint64)


def _similar_ones(features: Features, pairs: NDArray[np.uint64], count: int, similar: float) -> NearPairs:
    kept = []
    for start in range(0, len(pairs), CHUNK):
        part = pairs[start : start + CHUNK]
        first, second = np.divmod(part.astype(np.int64), 2 * max(count, 1))
        is_mirrored = second >= count
        one = features[first].astype(np.float32)
        other = features[second % count].astype(np.float32)
        other = np.where(is_mirrored[:, None], mirrored(other), other)
        kept.append(part[np.einsum("ij,ij->i", one, other) >= similar])
    whole = np.concatenate(kept).astype(np.int64) if kept else np.zeros(0, dtype=np.int64)
    first, second = np.divmod(whole, 2 * max(count, 1))
    return NearPairs(first, second % max(count, 1), second >= count)
