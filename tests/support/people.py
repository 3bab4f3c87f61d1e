"""Drawn studies whose truth is known: images of unlike difficulty and of several people, models that differ by seed."""

from dataclasses import dataclass

import numpy as np

from fer_dist.data.emotions import SEVEN
from fer_dist.scores.table import Predictions


@dataclass(frozen=True)
class World:
    """How far log-odds of being right are spread. All draws of a study are normal.

    seed: between models; image: between images; both: between images of one model; subject: between people;
    emotion: between the emotions of a person.
    """

    seed: float = 0.0
    image: float = 0.0
    both: float = 0.0
    subject: float = 0.0
    emotion: float = 0.0
    middle: float = 1.2


def draw(rng, world, emotions, subjects=None, gains=(0.0,)):
    """One predictions table for each gain, all of the same images: the models' log-odds are raised by the gains.

    emotions: int [N]; subjects: int [N], None for images that nobody shares.
    """
    count = len(emotions)
    difficulty = world.middle + rng.normal(0, world.image, count)
    known = {}
    if subjects is not None:
        difficulty += rng.normal(0, world.subject, subjects.max() + 1)[subjects]
        difficulty += rng.normal(0, world.emotion, (subjects.max() + 1, 7))[subjects, emotions]
        known = {"subject": subjects}
    keys = [f"{number:05}" for number in range(count)]
    tables = []
    for gain in gains:
        odds = difficulty + gain + rng.normal(0, world.seed) + rng.normal(0, world.both, count)
        is_right = rng.random(count) < expit(odds)
        said = np.where(is_right, emotions, (emotions + rng.integers(1, 7, count)) % 7)
        probabilities = np.eye(7, dtype=np.float32)[said]
        tables.append(Predictions(keys, emotions, probabilities, SEVEN, (), known))
    return tables


def truth(world, gain=0.0):
    """Accuracy over all images, people and seeds that could be drawn."""
    spread = np.sqrt(world.seed**2 + world.image**2 + world.both**2 + world.subject**2 + world.emotion**2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    return float(weights @ expit(world.middle + gain + spread * nodes) / weights.sum())


def expit(odds):
    return 1 / (1 + np.exp(-odds))


def people(count, images, uneven=0.0, seed=0):
    """(emotions, subjects), int [N] each: `images` of each emotion from each subject, more of some where uneven."""
    rng = np.random.default_rng(seed)
    of_each = np.maximum(np.rint(images * np.exp(rng.normal(0, uneven, (count, 1))) * np.ones((1, 7))), 1).astype(int)
    pairs = [(k, g) for g in range(count) for k in range(7) for _ in range(of_each[g, k])]
    emotions, subjects = np.array(pairs).T
    return emotions, subjects


def report(what, **numbers):
    """Say what a simulation saw; pytest shows it with -s."""
    print(f"\n{what}: " + ", ".join(f"{name} {value:g}" for name, value in numbers.items()))
