"""The excitation of SE blocks in numbers: how strong, how selective, and which channels tell emotions or sets apart.

N images, C channels, K emotions.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

DRAWS = 200
"""Permutations of the labels; the smallest p is 1 / (DRAWS + 1)."""


def gate_measures(gates: Array, labels: Array, emotions: tuple[str, ...], seed: int) -> dict[str, Any]:
    """One block's gates, ready for JSON.

    gates: [N, C], each from 0 to 1. labels: [N], index into emotions.
    mean, spread: over images and channels, and the standard deviation of the channels' means. entropy: bits of a gate
    as a coin, mean over channels: 1 where it lets half through. by_emotion: mean and spread of the images of each.
    separating: channels whose means differ between the emotions, p < 0.05 after correction for all channels (the
    largest F of each permutation), and of how many; p: of the most separating one. None with fewer than two emotions.
    """
    channel = gates.mean(axis=0)
    present = [label for label in range(len(emotions)) if (labels == label).any()]
    found: dict[str, Any] = {
        "channels": gates.shape[1],
        "images": len(gates),
        "mean": float(gates.mean()),
        "spread": float(channel.std()),
        "entropy": float(_entropy(channel).mean()),
        "by_emotion": {
            emotions[label]: {
                "mean": float(gates[labels == label].mean()),
                "spread": float(gates[labels == label].mean(axis=0).std()),
            }
            for label in present
        },
        "separating": None,
    }
    if len(present) > 1 and len(gates) > len(present):
        largest = largest_of_permutations(gates, labels, seed)
        ratios = f_ratios(gates, labels)
        values = (1 + (largest[:, None] >= ratios[None] - 1e-9).sum(axis=0)) / (len(largest) + 1)
        first = int(ratios.argmax())
        found["separating"] = {
            "channels": int((values < 0.05).sum()), "p": float(values[first]), "first": first, "permutations": DRAWS,
        }  # fmt: skip
    return found


def gates_between(first: Array, second: Array, seed: int) -> dict[str, Any]:
    """How the mean gates of two sets differ: mean absolute difference over channels, with the p of a permutation test.

    first, second: [N, C] and [M, C].
    """
    both, cut = np.concatenate([first, second]), len(first)
    found = _distance(both, np.arange(len(both)), cut)
    random = np.random.default_rng(seed)
    drawn = [_distance(both, random.permutation(len(both)), cut) for _ in range(DRAWS)]
    return {"difference": found, "p": (1 + sum(one >= found - 1e-12 for one in drawn)) / (DRAWS + 1)}


def f_ratios(gates: Array, labels: Array) -> Array:
    """[C]: for each channel the variance between emotions over that within, as in an analysis of variance."""
    return _ratios(gates, _members(labels))


def largest_of_permutations(gates: Array, labels: Array, seed: int) -> Array:
    """[DRAWS]: the largest ratio of any channel where labels are dealt out anew, whose order corrects for all channels.

    Source: Westfall and Young 1993, "Resampling-based multiple testing", the max-T procedure.
    """
    random = np.random.default_rng(seed)
    members = _members(labels)
    return np.array([_ratios(gates, members[:, random.permutation(len(labels))]).max() for _ in range(DRAWS)])


def _members(labels: Array) -> Array:
    """float [K, N]: 1 where an image is of an emotion, of those that occur."""
    return (np.unique(labels)[:, None] == labels[None]).astype(np.float64)


def _ratios(gates: Array, members: Array) -> Array:
    sizes = members.sum(axis=1)[:, None]
    means = members @ gates / sizes
    total = ((gates - gates.mean(axis=0)) ** 2).sum(axis=0)
    between = (sizes * (means - gates.mean(axis=0)) ** 2).sum(axis=0)
    groups, images = members.shape
    within = np.maximum(total - between, 1e-12 * np.maximum(total, 1e-30))
    ratios: Array = (between / (groups - 1)) / (within / (images - groups))
    return ratios


def _distance(gates: Array, order: Array, cut: int) -> float:
    return float(np.abs(gates[order[:cut]].mean(axis=0) - gates[order[cut:]].mean(axis=0)).mean())


def _entropy(gate: Array) -> Array:
    kept = np.clip(gate, 1e-12, 1 - 1e-12)
    entropy: Array = -(kept * np.log2(kept) + (1 - kept) * np.log2(1 - kept))
    return entropy
