"""What an earlier version left behind is opened by this one: shards, runs, predictions tables, studies."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from fer_dist.cli.commands import main
from fer_dist.config.settings import DataConfig
from fer_dist.data.emotions import SEVEN
from fer_dist.data.inspection.verify import verify_shards
from fer_dist.data.loading.loader import open_reader
from fer_dist.evaluate.results import load_predictions, load_scores, predictions_path
from fer_dist.runs.checkpoint import load_model
from fer_dist.scores.metrics import scores

ARCHIVE = Path(__file__).parents[1] / "support" / "older.tar.xz"
"""Of version 0.1.0 while its files lay flat: shards of drawn faces, a run of two epochs with its scores, and a study of
one network, without figures, curves and the study's weights."""

TEST = "synthetic_wild-test"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_older_shards_are_whole_and_read(older: Path) -> None:
    for split in ("train", "val", "test"):
        assert not verify_shards(older / "shards" / split).faults
    assert sum(open_reader(str(older / "shards" / "train"), SEVEN, DataConfig(), "SHARDS").counts) == 40


def test_an_older_run_is_evaluated_again_to_the_same_table(older: Path) -> None:
    run = older / "runs" / "first"
    network, _ = load_model(run)
    assert (network.emotions, network.crop) == (SEVEN, 20)
    before = load_predictions(predictions_path(run, TEST))
    assert scores(before)["accuracy"] == load_scores(run)[TEST]["accuracy"]
    words = ["--data", str(older / "shards" / "test"), "--device", "cpu"]
    assert main(["evaluate", "--models", str(run), *words]) == 0
    after = load_predictions(predictions_path(run, TEST))
    assert after.keys == before.keys
    np.testing.assert_allclose(after.probabilities, before.probabilities, atol=1e-5)


def test_an_older_run_goes_on_where_it_was_stopped(older: Path) -> None:
    run = older / "runs" / "first"
    listed = run / "checkpoints" / "list.json"
    entries = json.loads(listed.read_text())
    shutil.rmtree(run / "checkpoints" / "10")
    listed.write_text(json.dumps(entries[:1]))
    settings = json.loads((run / "config.json").read_text())["config"]
    words = ["--data.train", str(older / "shards" / "train"), "--data.val", str(older / "shards" / "val")]
    for name in ("data.size", "data.crop", "model.width", "model.reduction", "train.batch_size", "train.epochs"):
        section, _, key = name.partition(".")
        words += [f"--{name.replace('_', '-')}", str(settings[section][key])]
    more = ["--train.precision", "fp32", "--data.threads", "1", "--run.device", "cpu", "--resume"]
    assert main(["train", "demo", *words, *more, "--run.root", str(older / "runs"), "--run.name", "first"]) == 0
    (again,) = [entry for entry in json.loads(listed.read_text()) if entry["step"] == 10]
    assert again["step"] == entries[1]["step"]


def test_the_page_of_an_older_study_is_made_again(older: Path) -> None:
    assert main(["study", "report", str(older / "study")]) == 0
    assert "Older" in (older / "study" / "report.html").read_text()
