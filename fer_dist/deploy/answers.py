"""From logits to what is said of a face: masked, with another prior where one is asked for, with its doubt."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_dist.config.settings import PredictConfig
from fer_dist.data.emotions import class_name
from fer_dist.errors import InputError, nearest
from fer_dist.runs.network import Network
from fer_dist.scores.priors import training_prior, with_prior
from fer_dist.scores.table import Predictions, predicted

EVEN = "even"
UNSURE = "unsure"


@dataclass(frozen=True)
class Prediction:
    """What is said of one face, or why an image has none.

    file:   as it was named; of a sample of shards, tar/key. frame, time: of a video, from 0 and in seconds.
    box:    x, y, width, height in pixels of the upright image; None where the whole image is the face.
    score:  of the detector, 0 to 1; None where it was not asked.
    emotion: the most probable one, or `unsure`. probabilities: by emotion, they sum to 1.
    entropy: of them, in nats: 0 where the network is certain, ln K where it knows nothing.
    reason: why there is no prediction; empty where there is one.
    """

    file: str
    frame: int | None = None
    time: float | None = None
    box: tuple[float, float, float, float] | None = None
    score: float | None = None
    emotion: str | None = None
    probabilities: dict[str, float] | None = None
    entropy: float | None = None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Wording:
    """What is made of probabilities. masked: emotions that cannot be; source, target: priors [K], None as trained."""

    emotions: tuple[str, ...]
    masked: tuple[str, ...]
    min_confidence: float
    source: NDArray[np.float64] | None = None
    target: NDArray[np.float64] | None = None

    def mask(self) -> NDArray[np.float32]:
        """float32 [K], to add to the logits."""
        return np.array([-np.inf if name in self.masked else 0 for name in self.emotions], dtype=np.float32)

    def answers(self, probabilities: NDArray[np.float32]) -> list[dict[str, Any]]:
        """Of each row of float32 [N, K], masked, the fields emotion, probabilities and entropy of its prediction."""
        count = len(probabilities)
        table = Predictions([""] * count, np.full(count, -1, dtype=np.int64), probabilities, self.emotions, self.masked)
        if self.source is not None and self.target is not None:
            table = with_prior(table, self.source, self.target)
        p = table.probabilities.astype(np.float64)
        entropies = -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1)
        found = []
        for winner, row, entropy in zip(
            predicted(table).tolist(), table.probabilities.tolist(), entropies.tolist(), strict=True
        ):
            emotion = self.emotions[winner] if row[winner] >= self.min_confidence else UNSURE
            by_name = dict(zip(self.emotions, row, strict=True))
            found.append({"emotion": emotion, "probabilities": by_name, "entropy": entropy})
        return found


def wording_of(network: Network, config: PredictConfig) -> Wording:
    """Raises InputError for emotions that the model does not have, and a prior that cannot be."""
    masked = _masked(network.emotions, config.emotions)
    source = target = None
    if config.prior:
        nothing = np.zeros((0, len(network.emotions)), dtype=np.float32)
        empty = Predictions([], np.zeros(0, dtype=np.int64), nothing, network.emotions, masked)
        if network.counts is None:
            raise InputError(
                f"--prior {config.prior}: the checkpoint does not say how many images of each emotion it was trained "
                "on; leave --prior out"
            )
        source = training_prior(empty, network.counts)
        target = _target(network.emotions, empty.is_masked, config.prior)
    return Wording(network.emotions, masked, config.min_confidence, source, target)


def _masked(emotions: tuple[str, ...], wanted: str) -> tuple[str, ...]:
    if not wanted:
        return ()
    names = [_known(word, emotions, f"--emotions {wanted}") for word in wanted.split(",")]
    return tuple(name for name in emotions if name not in names)


def _target(emotions: tuple[str, ...], is_masked: NDArray[np.bool_], prior: str) -> NDArray[np.float64]:
    possible = [name for name, without in zip(emotions, is_masked.tolist(), strict=True) if not without]
    shares = dict.fromkeys(possible, 1.0)
    if prior != EVEN:
        flag = f"--prior {prior}"
        given = {_known(word, possible, flag): share for word, share in priors_in(prior).items()}
        missing = [name for name in possible if name not in given]
        if missing:
            raise InputError(f"{flag}: gives {missing[0]} no share; give each of {', '.join(possible)} one, or 0")
        shares = given
    found = np.array([shares.get(name, 0.0) for name in emotions])
    return np.asarray(found / found.sum())


def priors_in(text: str) -> dict[str, float]:
    """The shares that --prior gives, by the words that stand there. Raises InputError where they are none."""
    found: dict[str, float] = {}
    for part in text.split(","):
        word, _, share = part.partition("=")
        try:
            found[word] = float(share)
        except ValueError:
            raise InputError(
                f"--prior {text}: give {EVEN}, or a share for each emotion, as happiness=3,neutral=1"
            ) from None
        if not 0 <= found[word] < np.inf:
            raise InputError(f"--prior {text}: the share of {word} must be a number from 0 on")
    if not sum(found.values()):
        raise InputError(f"--prior {text}: no share is above 0; give one of them more")
    return found


def _known(word: str, emotions: tuple[str, ...] | list[str], flag: str) -> str:
    name = class_name(word)
    if name not in emotions:
        raise InputError(f"{flag}: the model has no {word.strip()!r}; {nearest(name, emotions)}")
    return name
