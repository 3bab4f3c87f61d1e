"""From shards to robustness.json: the same evaluation, on corrupted crops."""

import json

import numpy as np
import pytest
import torch
from support.faces import faces, shard_set
from support.runs import drawn_shards
from torch import nn

from fer_dist.cli.commands import main
from fer_dist.config.settings import DataConfig, RobustnessSettings
from fer_dist.data.emotions import SEVEN
from fer_dist.data.loading.loader import Placement, evaluation_loader
from fer_dist.data.loading.order import sequence
from fer_dist.data.loading.reader import Reader, choose
from fer_dist.distributed.world import World
from fer_dist.errors import InputError
from fer_dist.evaluate.evaluate import predict
from fer_dist.evaluate.predict import evaluation_data
from fer_dist.evaluate.results import load_scores
from fer_dist.evaluate.robustness.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from fer_dist.evaluate.robustness.figure import robustness_figure
from fer_dist.evaluate.robustness.measure import all_perturbations, robustness, summary, to_crops, to_pixels
from fer_dist.evaluate.robustness.regions import ALL_REGIONS, CONTROL, occlude
from fer_dist.runs.checkpoint import Checkpoints, Snapshot
from fer_dist.runs.network import Network, build, on_device
from fer_dist.scores.figures.canvas import figure_pixels
from fer_dist.scores.metrics import scores
from fer_dist.scores.table import select

CPU = torch.device("cpu")
NETWORK = Network(SEVEN, 24, 20, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 16, 16, False)
ALL = RobustnessSettings(samples=0, threads=1)


class Constant(nn.Module):
    """Always the second emotion."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.eye(7)[1])

    def forward(self, x):
        return self.bias.expand(len(x), 7)


class Brightness(nn.Module):
    """The first emotion where the upper left corner is dark, else the second one."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        corner = x[:, :, :2, :2].mean(dim=(1, 2, 3)) * self.scale
        return torch.stack([-corner, corner, *[torch.full_like(corner, -99)] * 5], dim=1)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return drawn_shards(tmp_path_factory.mktemp("drawn"), count=100, test_count=40) / "test"


@pytest.fixture(scope="module")
def random_model():
    torch.manual_seed(0)
    return on_device(build(NETWORK), CPU).eval()


def loaded(reader: Reader, batch_size: int = 16, chosen=None):
    placement = Placement(0, 1, CPU, half=False, threads=1)
    return evaluation_loader(evaluation_data(NETWORK, DataConfig()), reader, placement, batch_size, chosen)


def test_the_clean_accuracy_is_that_of_the_evaluation_and_everything_is_there(drawn, random_model):
    reader = Reader(drawn, SEVEN)
    values = robustness(random_model, NETWORK, reader, ALL)
    predictions = predict(random_model, NETWORK, loaded(reader), World(0, 1, CPU))
    measured = scores(predictions)
    assert values["clean"] == pytest.approx(measured["accuracy"], abs=1e-12)
    assert values["samples"] == 40
    assert values["chance"] == max(measured["support"].values()) / 40
    assert list(values["corruptions"]) == list(CORRUPTIONS)
    assert list(values["regions"]) == list(ALL_REGIONS)
    errors = [1 - value for entry in values["corruptions"].values() for value in entry["accuracy"]]
    assert len(errors) == 85
    assert values["mean_corruption_error"] == pytest.approx(np.mean(errors))
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert not random_model.training


def test_a_model_that_sees_nothing_loses_nothing(drawn):
    values = robustness(Constant(), NETWORK, Reader(drawn, SEVEN), ALL)
    for region in values["regions"].values():
        assert region["drop"] == 0
        assert region["interval"] == [0, 0]
    for entry in values["corruptions"].values():
        assert entry["accuracy"] == [values["clean"]] * 5
    assert values["mean_corruption_error"] == pytest.approx(1 - values["clean"])


def test_each_perturbation_is_done_to_the_crop_that_the_network_sees(tmp_path):
    folder = shard_set(tmp_path / "train", [faces(30, emotions=2)])
    reader = Reader(folder, SEVEN)
    values = robustness(Brightness(), NETWORK, reader, RobustnessSettings(samples=0, seed=4, batch_size=7, threads=1))
    ids, pixels, labels = [], [], []
    for batch in loaded(reader):
        ids, labels = [*ids, *batch.samples.ids], [*labels, *batch.samples.labels]
        pixels.append(to_pixels(batch.crops, NETWORK))
    whole, ids = torch.cat(pixels), np.array(ids, dtype=np.uint64)

    def accuracy(corrupted: torch.Tensor) -> float:
        return float((Brightness()(to_crops(corrupted, NETWORK)).argmax(1).numpy() == labels).mean())

    assert values["clean"] == accuracy(whole)
    for name in ("fog", "impulse_noise", "motion_blur"):
        expected = [accuracy(corrupt(name, severity, whole, ids, 4)) for severity in SEVERITIES]
        assert values["corruptions"][name]["accuracy"] == expected
    for name in ("left half", CONTROL + "eyes"):
        assert values["regions"][name]["accuracy"] == accuracy(occlude(name, whole, ids, 4))
    # A region that the model does not look at costs nothing.
    assert values["regions"]["right half"]["drop"] == values["regions"]["mouth"]["drop"] == 0


def test_the_pixels_behind_the_crops_come_back_exactly(tmp_path):
    reader = Reader(shard_set(tmp_path / "train", [faces(20)]), SEVEN)
    for batch in loaded(reader):
        pixels = to_pixels(batch.crops, NETWORK)
        assert pixels.unique().numel() > 50
        torch.testing.assert_close(to_crops(pixels, NETWORK), batch.crops, atol=1e-5, rtol=0)


def test_a_subset_is_the_same_for_each_seed_and_batch_and_its_accuracy_is_that_of_its_rows(drawn, random_model):
    reader = Reader(drawn, SEVEN)
    chosen = choose(reader, 15)
    keys = reader.keys(chosen)
    (everything,) = sequence(reader.counts, 0, 1, 40)
    assert keys != reader.keys(everything)[:15]
    assert set(keys) < set(reader.keys(choose(reader, 25)))
    predictions = predict(random_model, NETWORK, loaded(reader), World(0, 1, CPU))
    expected = scores(select(predictions, np.isin(predictions.keys, keys)))["accuracy"]
    for seed, batch_size in ((0, 64), (3, 4)):
        settings = RobustnessSettings(samples=15, seed=seed, batch_size=batch_size, threads=1)
        values = robustness(random_model, NETWORK, reader, settings)
        assert (values["samples"], values["seed"]) == (15, seed)
        assert values["clean"] == pytest.approx(expected, abs=1e-12)


def test_emotions_that_the_set_lacks_are_never_predicted(tmp_path):
    emotions = ("fear", "happiness")
    folder = shard_set(tmp_path / "train", [faces(10, emotions=2)], emotions)
    model = Constant()
    # Anger, which the set does not have, would win, and after it fear.
    model.bias.data = torch.tensor([7.0 * (name == "anger") + 3 * (name == "fear") for name in SEVEN])
    values = robustness(model, NETWORK, Reader(folder, SEVEN), ALL)
    assert values["clean"] == 0.5
    assert values["mean_corruption_error"] == pytest.approx(0.5)


def test_progress_ends_at_its_total(drawn):
    seen = []
    settings = RobustnessSettings(samples=5, batch_size=2, threads=1)
    robustness(Constant(), NETWORK, Reader(drawn, SEVEN), settings, lambda done, total: seen.append((done, total)))
    assert seen == [(i, 3 * 95) for i in range(1, 3 * 95 + 1)]


def test_drops_and_their_intervals_come_from_pairs():
    perturbations = list(all_perturbations())
    labels = np.arange(400) % 2
    winners = np.tile(labels[:, None], (1, 1 + len(perturbations)))
    winners[:100, 1 + perturbations.index(("eyes", 0))] ^= 1
    winners[:20, 0] ^= 1
    values = summary(labels, winners, perturbations)
    eyes, nose = values["regions"]["eyes"], values["regions"]["nose"]
    assert (values["clean"], eyes["accuracy"], eyes["drop"]) == pytest.approx((0.95, 0.75, 0.2))
    # 80 of 400 lost and none won: a binomial share of 0.2, of which 1.96 deviations are 0.039.
    assert eyes["interval"] == pytest.approx([0.161, 0.239], abs=0.006)
    assert nose["drop"] == pytest.approx(-0.05)
    assert values["mean_corruption_error"] == 0


def test_the_command_writes_numbers_and_a_figure_and_prints_a_line(drawn, random_model, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    Checkpoints(tmp_path / "run").save(Snapshot(3, random_model.state_dict(), {}), NETWORK)
    words = ["evaluate", "--models", str(tmp_path / "run"), "--data", str(drawn), "--threads", "1", "--device", "cpu"]
    assert main([*words, "--robustness", "--robustness-samples", "6"]) == 0
    (name,) = load_scores(tmp_path / "run")
    values = json.loads((tmp_path / "run" / "robustness" / f"{name}.json").read_text())
    assert (values.pop("step"), len(values.pop("weights_sha256"))) == (3, 64)
    assert values == robustness(random_model, NETWORK, Reader(drawn, SEVEN), RobustnessSettings(samples=6, threads=1))
    for suffix in ("png", "svg"):
        assert (tmp_path / "run" / "figures" / f"robustness-{name}.{suffix}").stat().st_size > 5000
    printed = capsys.readouterr().out
    assert "without mouth" in printed
    assert f"{100 * values['mean_corruption_error']:.2f}" in printed


def test_a_negative_number_of_samples_is_refused_before_anything_runs(drawn, tmp_path, capsys):
    words = ["evaluate", "--models", str(tmp_path / "none"), "--data", str(drawn)]
    assert main([*words, "--robustness", "--robustness-samples", "-1"]) == 2
    assert "--robustness-samples -1: give a number of images, or 0 for all" in capsys.readouterr().err
    with pytest.raises(InputError, match="--robustness-samples"):
        RobustnessSettings(samples=-5)


def test_the_figure_shows_every_corruption_and_region(drawn):
    values = robustness(Constant(), NETWORK, Reader(drawn, SEVEN), RobustnessSettings(samples=4, threads=1))
    figure = robustness_figure(values, "a $run$")
    above, below = figure.subfigs
    titles = {axes.get_title().split("\n")[0] for axes in above.axes if axes.get_visible()}
    assert titles == {name.replace("_", " ") for name in CORRUPTIONS}
    assert {label.get_text() for label in below.axes[0].get_yticklabels()} == set(ALL_REGIONS)
    assert figure_pixels(figure).std() > 5
