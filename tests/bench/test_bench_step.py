"""The benchmark of steps: a group of its own, each strategy in turn, and what a rank's optimiser holds."""

import json
from pathlib import Path

import pytest

from fer_dist.bench.step import STRATEGIES, StepTime, step_table
from fer_dist.cli.commands import main
from fer_dist.model import SEResNet18


def test_each_strategy_is_timed_and_the_bytes_of_its_optimiser_are_what_they_must_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = tmp_path / "found.json"
    words = ["--width", "16", "--crop", "32", "--batch-size", "8", "--steps", "1", "--repeats", "2", "--device", "cpu"]
    assert main(["bench", "step", *words, "--json", str(out)]) == 0
    found = {row["strategy"]: row for row in json.loads(out.read_text())}
    assert list(found) == list(STRATEGIES)
    whole = 4 * sum(parameter.numel() for parameter in SEResNet18(7, width=16).parameters())
    for name in ("ddp", "ddp, bf16 gradients", "deepspeed 0"):
        assert found[name]["optimizer_bytes"] == whole
    # Half of the momentum, and a copy of half of the weights; a few numbers are padding.
    for name in ("deepspeed 1", "deepspeed 2"):
        assert whole <= found[name]["optimizer_bytes"] < whole + 256
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in found.values())


def test_times_are_set_beside_those_of_ddp() -> None:
    times = [StepTime("ddp", "bf16", [0.2, 0.1, 0.4], 10**6), StepTime("other", "bf16", [0.3], 2 * 10**6)]
    _, rows = step_table(times)
    assert rows == [
        ["ddp", "bf16", "3", "200.0", "100.0", "400.0", "1.00", "1.0"],
        ["other", "bf16", "1", "300.0"] + ["300.0"] * 2 + ["1.50", "2.0"],
    ]
