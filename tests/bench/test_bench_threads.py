"""The benchmark of threads: each split in turn, what a run would choose among them, and rates beside the best."""

import json
from pathlib import Path

import pytest
import torch
from support.runs import drawn_shards

from fer_dist.bench import threads
from fer_dist.bench.threads import SplitTime, threads_table
from fer_dist.cli.commands import main


def test_every_split_has_its_turns_and_one_of_them_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 2)
    before = torch.get_num_threads()
    shards, out = drawn_shards(tmp_path / "shards", count=80), tmp_path / "found.json"
    words = ["--size", "24", "--crop", "20", "--batch-size", "8", "--steps", "8", "--repeats", "1"]
    assert main(["bench", "threads", str(shards / "train"), *words, "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert {(one["decode"], one["torch"]) for one in found} == {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert [one["chosen"] for one in found].count(True) == 1
    assert all(len(one["images_per_second"]) == 1 and min(one["images_per_second"]) > 0 for one in found)
    assert torch.get_num_threads() == before


def test_rates_are_set_beside_the_best() -> None:
    _, rows = threads_table([SplitTime(1, 1, True, [90.0, 80.0, 100.0]), SplitTime(2, 1, False, [120.0])])
    assert rows == [
        ["chosen", "1", "1", "3", "90.0", "80.0", "100.0", "0.75"],
        ["", "2", "1", "1", "120.0", "120.0", "120.0", "1.00"],
    ]
