"""A network trained on random labels, from the reader that draws them to the control beside each attribution method."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.faces import faces, shard_set
from support.runs import SMALL, untrained_run

from fer_dist.cli.commands import main
from fer_dist.data.emotions import SEVEN
from fer_dist.data.loading.order import sequence
from fer_dist.data.loading.reader import Reader, Samples

IMAGES = 2000


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of them are of the first emotion, a sixth of each of the next three, none of the others."""
    made = faces(IMAGES, emotions=6)
    for number, sample in enumerate(made):
        label = max(number % 6 - 2, 0)
        made[number] = replace(sample, label=label, members=sample.members | {"cls": str(label).encode()})
    return shard_set(tmp_path_factory.mktemp("set") / "train", [made[:700], made[700:]])


def everything(reader: Reader) -> Samples:
    (positions,) = sequence(reader.counts, 0, 1, IMAGES)
    return reader.read(positions)


def test_random_labels_are_as_frequent_as_the_sets_and_tell_nothing_of_them(images: Path) -> None:
    real = everything(Reader(images, SEVEN)).labels
    drawn = everything(Reader(images, SEVEN, random_labels=0)).labels
    expected = np.bincount(real, minlength=7)
    assert expected.tolist() == [1001, 333, 333, 333, 0, 0, 0]
    # Five standard errors, and of none none.
    assert (np.abs(np.bincount(drawn, minlength=7) - expected) <= 5 * np.sqrt(expected)).all()
    alike = (expected / IMAGES) @ (expected / IMAGES)
    assert abs((real == drawn).mean() - alike) < 5 * np.sqrt(alike * (1 - alike) / IMAGES)


def test_an_image_keeps_its_random_label_in_every_batch_and_another_seed_draws_others(images: Path) -> None:
    reader = Reader(images, SEVEN, random_labels=3)
    whole = everything(reader)
    (positions,) = sequence(reader.counts, 0, 1, IMAGES)
    shuffled = np.random.default_rng(0).permutation(IMAGES)[:50]
    some = reader.read(replace(positions, shard=positions.shard[shuffled], position=positions.position[shuffled]))
    assert some.labels.tolist() == whole.labels[shuffled].tolist()
    assert some.keys == [whole.keys[row] for row in shuffled]
    other = everything(Reader(images, SEVEN, random_labels=4)).labels
    assert 0.1 < (other != whole.labels).mean() < 0.9
    soft = everything(Reader(images, SEVEN, soft=True, random_labels=3)).targets
    assert soft is not None
    assert soft.argmax(1).tolist() == whole.labels.tolist()
    assert (soft.max(1) == 1).all()


@pytest.fixture(scope="module")
def runs(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run "control", trained on random labels, and "real"."""
    root = tmp_path_factory.mktemp("runs")
    words = ["train", "demo", "--data.train", str(images), *SMALL, "--run.root", str(root), "--train.epochs", "1"]
    assert main([*words, "--run.name", "control", "--data.random-labels"]) == 0
    untrained_run(root / "real")
    return root


def test_a_training_on_random_labels_says_so_and_is_not_resumed_on_real_ones(
    images: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["train", "demo", "--data.train", str(images), *SMALL, "--run.root", str(tmp_path), "--train.epochs", "1"]
    assert main([*words, "--data.random-labels"]) == 0
    assert "warning: --data.random-labels: labels are drawn at random, so this is a control" in capsys.readouterr().err
    assert "random labels" in (runs / "control" / "README.md").read_text()
    again = ["train", "demo", "--data.train", str(images), *SMALL, "--run.root", str(runs), "--run.name", "control"]
    assert main([*again, "--train.epochs", "1", "--resume"]) == 2
    assert "data.random_labels True -> False" in capsys.readouterr().err


def test_each_method_is_shown_on_the_control_as_well(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = str(shard_set(tmp_path / "test", [faces(12)], split="test"))
    words = ["explain", str(runs / "real"), "--data", data, "--control", str(runs / "control"), "--references", "0"]
    words += ["--device", "cpu", "--threads", "1", "--faithfulness-samples", "12", "--json", str(tmp_path / "all.json")]
    words += ["--methods", "integrated-gradients"]
    assert main(words) == 0
    values = json.loads((tmp_path / "all.json").read_text())["drawn-test"]
    beside = {"integrated-gradients", "integrated-gradients, random weights", "integrated-gradients, random labels"}
    assert beside <= set(values["regions"])
    assert beside <= set(values["faithfulness"])
    assert list(values["cascade"]["integrated-gradients"])[-2:] == ["conv", "random labels"]
    # The same network as its own control tells exactly what it tells by itself, and so does not beat it.
    same = untrained_run(tmp_path / "same")
    (same / "config.json").write_bytes((runs / "control" / "config.json").read_bytes())
    assert main([*words[:5], str(same), *words[6:]]) == 0
    values = json.loads((tmp_path / "all.json").read_text())["drawn-test"]
    assert values["regions"]["integrated-gradients, random labels"] == values["regions"]["integrated-gradients"]
    assert values["cascade"]["integrated-gradients"]["random labels"]["mean"] == pytest.approx(1)
    assert not any(values["faithfulness"]["integrated-gradients"]["beats_controls"].values())


def test_a_control_of_other_settings_is_told_and_one_of_the_same_is_not(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    other = tmp_path / "other"
    shutil.copytree(runs / "control", other)
    config = json.loads((other / "config.json").read_text())
    config["config"]["train"]["lr"] = 0.5
    (other / "config.json").write_text(json.dumps(config))
    data = str(shard_set(tmp_path / "test", [faces(4)], split="test"))
    words = ["explain", str(runs / "control"), "--data", data, "--methods", "none", "--references", "0", "--control"]
    assert main([*words, str(runs / "control")]) == 0
    assert "note:" not in capsys.readouterr().err
    assert main([*words, str(other)]) == 0
    assert f"note: --control {other}: trained with other settings than the run (train.lr " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("control", "message"),
    [
        ("real", "real: not trained on random labels; train one with the settings of the run that is explained and "),
        ("none", "none: no such run folder"),
        ("control", "control: another network (width 16, here 8); train one as this run's"),
    ],
)
def test_a_control_that_is_none_is_one_line(
    control: str, message: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = str(shard_set(tmp_path / "test", [faces(4)], split="test"))
    run = untrained_run(tmp_path / "narrow", width=8) if control == "control" else runs / "real"
    assert main(["explain", str(run), "--data", data, "--control", str(runs / control)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("fer-dist: --control")
    assert message in said
    assert said.count("\n") == 1
