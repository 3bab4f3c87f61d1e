"""The demo, in a size that a test can wait for."""

import json

import pytest

from fer_dist.cli.commands import main
from fer_dist.evaluate.results import load_scores
from fer_dist.study import demo as demo_module

SMALL = ["--wild-count", "160", "--lab-count", "160", "--test-count", "60"]


def test_the_demo_ends_with_a_report_and_started_again_does_only_what_is_missing(tmp_path, capsys, monkeypatch):
    out = tmp_path / "demo"
    monkeypatch.setattr(demo_module, "EPOCHS", {name: {"train.epochs": 3} for name in demo_module.EPOCHS})
    assert main(["demo", "--out", str(out), *SMALL]) == 0
    text = capsys.readouterr().err
    assert f"tensorboard --logdir {out / 'runs'}" in text
    page = (out / "report.html").read_text()
    for run in ("wild", "lab", "wild-to-lab"):
        scores = load_scores(out / "runs" / run)
        assert {"synthetic_wild-test", "synthetic_lab-test"} <= set(scores)
        assert scores["synthetic_lab-test"]["samples"] == 60
        assert f"{100 * scores['synthetic_lab-test']['accuracy']:.1f}" in page
    lists = [path.read_bytes() for path in sorted(out.glob("runs/*/checkpoints/list.json"))]
    assert main(["demo", "--out", str(out), *SMALL]) == 0
    assert [path.read_bytes() for path in sorted(out.glob("runs/*/checkpoints/list.json"))] == lists
    assert "drawing" not in capsys.readouterr().err
    assert main(["demo", "--out", str(out), *SMALL, "--seed", "1"]) == 2
    assert "holds a demo with other settings" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["file", "folder"])
def test_the_demo_leaves_what_is_not_its_own_alone(tmp_path, content, capsys):
    out = tmp_path / "mine"
    if content == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "mine.json").write_text(json.dumps("mine"))
    assert main(["demo", "--out", str(out)]) == 2
    assert str(out) in capsys.readouterr().err
    assert not list(tmp_path.rglob("shards"))


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, '{"seed": NaN}', '{"seed": "0"}', b"\xff"])
def test_settings_that_are_none_of_a_demo_are_one_line(tmp_path, content, capsys):
    (tmp_path / "demo.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["demo", "--out", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fer-dist: {tmp_path}")
    assert line.endswith("; choose another --out, or remove it")
    assert [path.name for path in tmp_path.iterdir()] == ["demo.json"]
