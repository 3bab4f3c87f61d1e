"""Classes and a network of one's own, from a folder to the report: none of the seven emotions is among them."""

import csv
import json
from html import escape

import pytest
from support.faces import folder_release

from fer_dist.cli.commands import main
from fer_dist.data.emotions import SEVEN

CLASSES = ("weak", "engaged", "in pain", "bored_stiff", "a&b <x>")

PLAN = """
preset: demo
seeds: [0]
audit: false
set:
  model.network: support.own_networks:InParts
  model.emotions: weak,engaged,in pain,bored_stiff,a&b <x>
  data.size: 24
  data.crop: 20
  data.drop_extra: true
  train.epochs: 1
  train.batch_size: 20
data: {five: {shards: ROOT/five, role: a}, other: {shards: ROOT/other, role: b}}
trainings: {a: {data: five, role: a}}
evaluations: [{models: [a], data: [five, other]}]
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Sets of these five classes, and of two of them beside a third one."""
    root = tmp_path_factory.mktemp("own")
    for name, words in (
        ("five", ("weak", "Engaged", "in  Pain", "bored_stiff", "A&B <x>")),
        ("other", ("dizzy", "weak")),
    ):
        for split, count in (("train", 50), ("test", 25)):
            folder_release(root / f"raw-{name}", count, split, words)
        given = "dizzy,weak" if name == "other" else ",".join(CLASSES)
        build = ["shards", "build", "folder", str(root / f"raw-{name}"), str(root / name), "--dataset", name]
        assert main([*build, "--emotions", given, "--val-fraction", "0.2", "--workers", "1"]) == 0
    return root


def test_a_study_of_classes_and_a_network_of_ones_own_calls_each_class_by_its_name(built, tmp_path, capsys):
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN.replace("ROOT", str(built)))
    out = tmp_path / "study"
    assert main(["study", str(plan), "--out", str(out), "--threads", "1", "--device", "cpu"]) == 0
    page = (out / "report.html").read_text()
    assert all(escape(name) in page for name in CLASSES)
    assert not any(f">{name}<" in page for name in SEVEN)
    assert not list((out / "tables").glob("table-*"))  # nothing of these classes was published
    with (out / "tables" / "class-counts.csv").open() as stream:
        assert next(csv.reader(stream)) == ["set", *CLASSES, "dizzy", "all", "faces cut"]
    for figure in (out / "figures").glob("confusion*.svg"):
        assert all(escape(name) in figure.read_text() for name in CLASSES)
    scores = json.loads((out / "runs" / "a" / "scores.json").read_text())
    assert list(scores["five-test"]["emotions"]) == list(CLASSES)
    assert scores["other-test"]["extra"] == {"dizzy": 13}
    assert scores["other-test"]["masked"] == ["engaged", "in pain", "bored_stiff", "a&b <x>"]
    assert "Its images of emotions that the model does not have are left out: 13 of dizzy." in page
    capsys.readouterr()
    evaluate = ["evaluate", "--models", str(out / "runs" / "a"), "--device", "cpu"]
    evaluate += ["--network", "support.own_networks:InParts", "--data"]
    assert main([*evaluate, str(built / "other" / "test"), "--drop-extra"]) == 0
    assert "a on other-test: left out 13 of dizzy, which the model does not have" in capsys.readouterr().err
    assert main([*evaluate, str(built / "other" / "test")]) == 2
    assert "the data has dizzy, which the model does not have (weak, " in capsys.readouterr().err
