"""What half precision at evaluation would change: one model's predictions of one set, in float32 and in half."""

from typing import Any

import numpy as np
import torch
from torch import nn

from fer_dist.config.settings import DataConfig, EvaluateConfig
from fer_dist.data.loading.loader import Placement, evaluation_loader
from fer_dist.data.loading.reader import Reader
from fer_dist.distributed.hardware import HALF
from fer_dist.distributed.world import World
from fer_dist.errors import InputError
from fer_dist.evaluate.predict import evaluation_data, predict
from fer_dist.runs.network import Network
from fer_dist.scores.metrics import accuracy, confusion
from fer_dist.scores.table import Predictions, predicted


def predict_in_half(
    model: nn.Module, network: Network, reader: Reader, placement: Placement, data: DataConfig, precision: str
) -> Predictions:
    """As an evaluation that runs under autocast predicts.

    model: on the placement's device. data: of its settings, on_bad. precision: bf16 or fp16.
    """
    device = placement.device
    loader = evaluation_loader(evaluation_data(network, data), reader, placement, EvaluateConfig.batch_size)
    with torch.autocast(device.type, HALF[precision]):
        return predict(model, network, loader, World(0, 1, device))


def parity(whole: Predictions, half: Predictions) -> dict[str, Any]:
    """How the predictions of one model in float32 and in half precision differ, ready for JSON.

    samples; differing: images that another emotion is predicted for; float32, half: the accuracies;
    difference: half's accuracy less float32's; largest: the largest difference of a probability.
    Raises InputError where the two are not of the same images.
    """
    if list(whole.keys) != list(half.keys) or whole.emotions != half.emotions:
        raise InputError("two tables of other images or emotions; compare two predictions of one set")
    scores = [float(accuracy(confusion(table))) for table in (whole, half)]
    return {
        "samples": len(whole.keys),
        "differing": int((predicted(whole) != predicted(half)).sum()),
        "float32": scores[0],
        "half": scores[1],
        "difference": scores[1] - scores[0],
        "largest": float(np.abs(whole.probabilities - half.probabilities).max()),
    }
