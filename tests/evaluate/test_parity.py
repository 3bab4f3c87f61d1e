"""Half precision at evaluation: what is counted, against a table made by hand, and a real network in both."""

import numpy as np
import pytest
import torch
from support.faces import faces, shard_set

from fer_dist.config.presets import preset
from fer_dist.config.settings import DataConfig
from fer_dist.data.loading.loader import Placement, evaluation_loader
from fer_dist.data.loading.reader import Reader
from fer_dist.distributed.world import World
from fer_dist.errors import InputError
from fer_dist.evaluate.parity import parity, predict_in_half
from fer_dist.evaluate.predict import evaluation_data, predict
from fer_dist.runs.network import build, network_of, on_device
from fer_dist.scores.table import Predictions

CPU = torch.device("cpu")


def table(probabilities, keys="abcd"):
    return Predictions(list(keys), np.array([0, 0, 1, 1]), np.array(probabilities, dtype=np.float32), ("fear", "anger"))


def test_predictions_that_differ_are_counted_and_the_accuracies_compared():
    whole = table([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.4, 0.6]])
    half = table([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.6, 0.4]])
    found = parity(whole, half)
    assert (found["samples"], found["differing"]) == (4, 2)
    assert (found["float32"], found["half"], found["difference"]) == (1.0, 0.5, -0.5)
    assert found["largest"] == pytest.approx(0.2)


def test_tables_of_other_images_are_refused():
    rows = [[0.9, 0.1]] * 4
    with pytest.raises(InputError, match="other images"):
        parity(table(rows), table(rows, "abcx"))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_autocast_really_computes_in_half_precision_and_stays_near(precision, tmp_path):
    torch.manual_seed(0)
    network = network_of(preset("demo"))
    model = on_device(build(network), CPU).eval()
    reader = Reader(shard_set(tmp_path / "test", [faces(30)], split="test"), network.emotions)
    loader = evaluation_loader(evaluation_data(network, DataConfig()), reader, Placement(0, 1, CPU, False, 1), 256)
    whole = predict(model, network, loader, World(0, 1, CPU))
    half = predict_in_half(model, network, reader, Placement(0, 1, CPU, False, 1), DataConfig(), precision)
    found = parity(whole, half)
    assert 0 < found["largest"] < 0.05
    assert found["samples"] == 30
