"""What a study tells of a predictions table beyond its scores: confidence, priors, favoured emotions, groups."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import numpy as np

from fer_dist.scores.by_class import by_class
from fer_dist.scores.calibration import reliability
from fer_dist.scores.groups import by_attribute
from fer_dist.scores.imbalance import over_predicted, rank_correlation
from fer_dist.scores.metrics import class_balance, confusion, plain, recall, selective
from fer_dist.scores.priors import prior_scores
from fer_dist.scores.table import Predictions, labelled

THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Top probabilities above which a prediction counts, along the selective curve."""


def detail(
    predictions: Predictions, trained_counts: dict[str, int], attributes: Collection[str] | None = None
) -> dict[str, Any]:
    """All of it, ready for JSON; what has no value is None.

    trained_counts: images of each emotion that the model was trained on.
    attributes: names of those that make groups; None: all that can.
    Raises InputError where no image has an emotion, and as priors.training_prior does.
    """
    chosen = labelled(predictions)
    matrix = confusion(chosen)
    trained = np.array([trained_counts.get(name, 0) for name in chosen.emotions])
    return {
        "reliability": {name: plain(values) for name, values in asdict(reliability(chosen)).items()},
        "selective_curve": [selective(chosen, above) for above in THRESHOLDS],
        "prior": prior_scores(chosen, trained_counts),
        "rank_correlation": rank_correlation(trained, recall(matrix)),
        "over_predicted": over_predicted(matrix, chosen.emotions),
        "class_balance": class_balance(chosen),
        "by_class": by_class(chosen),
        "by_attribute": by_attribute(chosen, attributes),
    }
