"""What `fer-dist train` says before and after the training itself, which is left out here."""

from pathlib import Path

import pytest
from support.faces import faces, shard_set

from fer_dist import api
from fer_dist.cli.commands import main
from fer_dist.train import start


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    folder = tmp_path / "the set"
    for split in ("train", "val", "test"):
        shard_set(folder / split, [faces(4)], split=split)
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run, that a training ends with at once."""
    folder = tmp_path / "runs" / "first"
    monkeypatch.setattr(start, "start", lambda *given, **named: str(folder))
    monkeypatch.setattr(api, "_also_card", lambda *given: None)
    return folder


def test_a_training_ends_with_the_next_commands(sets, run, capsys):
    assert main(["train", "demo", "--data.train", f"{sets}/train", "--data.val", f"{sets}/val"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"done:     {run}",
        f"evaluate: fer-dist evaluate --models {run} --data '{sets}/test'",
        f"explain:  fer-dist explain {run} --data '{sets}/test'",
        f"predict:  fer-dist predict {run} IMAGES",
        f"curves:   tensorboard --logdir {run}",
    ]


def test_a_training_without_a_validation_set_warns(sets, run, capsys):
    (sets / "test" / "manifest.json").unlink()
    assert main(["train", "demo", "--data.train", f"{sets}/train"]) == 0
    warning, done, evaluate, _, _, curves = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: no --data.val: no epoch is scored")
    assert "--val-fraction" in warning
    assert evaluate == f"evaluate: fer-dist evaluate --models {run} --data SHARDS"
    assert (done, curves) == (f"done:     {run}", f"curves:   tensorboard --logdir {run}")
