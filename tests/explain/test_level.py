"""How often networks that know nothing show one of the study's conclusions: two hundred small ones of each kind."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fer_dist.config.settings import Config, DataConfig, ExplainConfig, ModelConfig
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.loading.loader import Placement, evaluation_loader, open_reader
from fer_dist.data.loading.order import cut
from fer_dist.data.loading.reader import choose
from fer_dist.data.sources.source import open_source
from fer_dist.evaluate.predict import evaluation_data
from fer_dist.explain.claims import decided
from fer_dist.explain.control_networks import untrained
from fer_dist.explain.explain import explain
from fer_dist.runs.network import build, network_of

NETWORK = network_of(Config(DataConfig(size=28, crop=24), ModelConfig(width=8)))
RUNS, MOST = 200, 20
BATCH, EPOCHS = 50, 12


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    out = tmp_path_factory.mktemp("faces")
    build_shards(open_source("synthetic", "wild", count=400, test_count=200, pixels=48), out, BuildOptions())
    return out


def read(path):
    """All crops and labels of a set."""
    reader = open_reader(str(path), NETWORK.emotions, DataConfig(), "")
    place = Placement(0, 1, torch.device("cpu"), half=False, threads=1)
    parts = cut(choose(reader, 0), 100)
    batches = list(evaluation_loader(evaluation_data(NETWORK, DataConfig()), reader, place, 100, parts))
    labels = np.concatenate([batch.samples.labels for batch in batches])
    return reader, torch.cat([batch.crops.float() for batch in batches]), torch.from_numpy(labels)


def trained_on_shuffled_labels(crops, labels):
    model, shuffled = build(NETWORK).train(), labels[torch.randperm(len(labels))]
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
    rates = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, EPOCHS * (len(crops) // BATCH))
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(crops)).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(crops[rows]), shuffled[rows]).backward()
            optimizer.step()
            rates.step()
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["random weights", "shuffled labels"])
def test_networks_that_know_nothing_show_a_conclusion_in_at_most_20_of_200(shards, kind):
    (reader, some, _), (_, crops, labels) = read(shards / "test"), read(shards / "train")
    shown, tested = {}, 0
    for number in range(RUNS):
        config = ExplainConfig((), methods=("none",), samples=0, batch_size=100, threads=1, seed=number)
        torch.manual_seed(1000 + number)
        if kind == "random weights":
            model = untrained(NETWORK, some[:100], config, 999)
        else:
            model = trained_on_shuffled_labels(crops, labels)
        values = explain(model, NETWORK, reader, config).values
        for claim, verdicts in decided({"set": values})["set"].items():
            shown[claim] = shown.get(claim, 0) + any(one["verdict"] == "shown" for one in verdicts.values())
            tested += 1
    assert tested >= 4 * RUNS
    assert max(shown.values()) <= MOST, shown
    print(kind, shown)
