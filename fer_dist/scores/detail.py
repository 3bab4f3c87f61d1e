"""What a study tells of a predictions table beyond its scores: confidence, priors, favoured emotions, groups."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import numpy as np

from fer_dist.scores.calibration import reliability
from fer_dist.scores.groups import by_attribute
from fer_dist.scores.imbalance import over_predicted, rank_correlation
from fer_dist.scores.metrics import class_balance, confusion, plain, recall, selective
from fer_dist.scores.priors import prior_scores
from fer_dist.scores.table import Predictions, labelled

THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Top probabilities above which a prediction counts, along the selective curve."""


def detail(
    predictions: Predictions,
    trained_counts: dict[str, int] | None,
    bootstrap: int = 1000,
    seed: int = 0,
    attributes: Collection[str] | None = None,
) -> dict[str, Any]:
    """All of it, ready for JSON; what has no value is None.

    trained_counts: images of each emotion that the model was trained on; None: not known, and then "prior" and
    "rank_correlation" are None.
    bootstrap: orders drawn for the p of the rank correlation where more than 8 emotions have images; seed: of these.
    attributes: names of those that make groups; None: all that can.
    Raises InputError where no image has an emotion, and as priors.training_prior does.
    """
    chosen = labelled(predictions)
    matrix = confusion(chosen)
    measures: dict[str, Any] = {
        "reliability": {name: plain(values) for name, values in asdict(reliability(chosen)).items()},
        "selective_curve": [selective(chosen, above) for above in THRESHOLDS],
        "prior": None,
        "rank_correlation": None,
        "over_predicted": over_predicted(matrix, chosen.emotions),
        "class_balance": class_balance(chosen),
        "by_attribute": by_attribute(chosen, attributes),
    }
    if trained_counts is not None:
        trained = np.array([trained_counts.get(name, 0) for name in chosen.emotions])
        measures["prior"] = prior_scores(chosen, trained_counts)
        measures["rank_correlation"] = rank_correlation(trained, recall(matrix), bootstrap, seed)
    return measures
