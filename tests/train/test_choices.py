"""What a run chooses by itself: by the weakest rank, kept when it goes on, and never over what was asked for."""

import os
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from fer_dist.config.presets import preset
from fer_dist.config.settings import Config, DataConfig, ModelConfig, TrainConfig, with_settings
from fer_dist.distributed.hardware import Arithmetic
from fer_dist.distributed.world import World
from fer_dist.train import choices
from fer_dist.train.choices import Threads, choose, threads_for

CPU = torch.device("cpu")
OLD = Arithmetic("fp32", "an old card")
SMALL = Config(DataConfig(size=24, crop=20, views="random_one"), ModelConfig(width=16))


@dataclass
class Beside(World):
    """A world of two, whose other rank says the same of itself, but for its precision and its cores."""

    theirs: Arithmetic = OLD
    their_cores: int = 1

    def all_gather_object(self, mine: Any) -> list[Any]:
        return [mine, self.theirs if isinstance(mine, Arithmetic) else mine]

    def min(self, value: int) -> int:
        return min(value, self.their_cores)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores, bf16, and nothing set outside."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(choices, "cores", lambda: 8)
    monkeypatch.setattr(choices, "fastest", lambda device, strategy: Arithmetic("bf16", "a good card"))
    monkeypatch.setattr(choices, "cost_of", lambda precision, device: "")


def test_the_weakest_rank_decides_for_all() -> None:
    chosen = choose(SMALL, {}, Beside(0, 2, CPU))
    assert chosen.config.train.precision == "fp32"
    assert "fp32 (an old card)" in chosen.told
    assert chosen.config.train.threads == chosen.config.data.threads == 1


def test_nothing_is_left_open_and_the_line_says_what_was_chosen() -> None:
    chosen = choose(SMALL, {}, World(0, 1, CPU))
    train, data = chosen.config.train, chosen.config.data
    assert train.precision == "bf16"
    assert chosen.told == f"bf16 (a good card), threads: {data.threads} decode, {train.threads} compute"
    assert Threads(data.threads, train.threads) == threads_for(chosen.config, CPU, 8)
    assert chosen.warnings == ()


def test_what_is_asked_for_stays_and_its_cost_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "cost_of", lambda precision, device: f"{precision} is dear")
    asked = with_settings(SMALL, {"train.precision": "fp16", "train.threads": 3, "data.threads": 5})
    chosen = choose(asked, {"train.precision": "fp32", "train.threads": 2, "data.threads": 2}, World(0, 1, CPU))
    assert chosen.config == with_settings(asked, {"train.compile": "off"})
    assert "fp16 (as asked for)" in chosen.told
    assert chosen.warnings == ("fp16 is dear",)


def test_a_run_that_goes_on_keeps_what_it_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "cost_of", lambda precision, device: f"{precision} is dear")
    kept = {"train.precision": "fp32", "train.threads": 2, "data.threads": 3}
    chosen = choose(SMALL, kept, World(0, 1, CPU))
    assert (chosen.config.train.precision, chosen.config.train.threads, chosen.config.data.threads) == ("fp32", 2, 3)
    assert "fp32 (as the run began)" in chosen.told
    assert chosen.warnings == ("fp32 is dear",)


def test_fewer_cores_than_the_run_began_with_are_said_and_shared_anew() -> None:
    chosen = choose(SMALL, {"train.threads": 12, "data.threads": 4}, World(0, 1, CPU))
    assert Threads(chosen.config.data.threads, chosen.config.train.threads) == threads_for(chosen.config, CPU, 8)
    (line,) = chosen.warnings
    assert "began with 4 threads that decode and 12 that compute; here are 8 cores" in line


def test_threads_that_are_set_outside_win_over_the_rule_and_over_what_the_run_had(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert choose(SMALL, {}, World(0, 1, CPU)).config.train.threads == 1
    assert choose(SMALL, {"train.threads": 2}, World(0, 1, CPU)).config.train.threads == 1
    asked = with_settings(SMALL, {"train.threads": 5})
    assert choose(asked, {}, World(0, 1, CPU)).config.train.threads == 5
    assert os.environ["OMP_NUM_THREADS"] == "1"


WHOLE = TrainConfig(precision="fp32")
NARROW = {
    side: with_settings(preset("demo"), {"data.size": side, "data.crop": side - 8, "train.precision": "fp32"})
    for side in (48, 64)
}


@pytest.mark.parametrize(
    ("config", "count", "expected"),
    [
        # Each seen to be the best of all, or as good, on two cores (RESULTS): the demo's network, and the study's.
        (NARROW[48], 2, Threads(1, 2)),
        (NARROW[64], 2, Threads(1, 2)),
        (Config(DataConfig(size=64, crop=56), train=WHOLE), 2, Threads(1, 2)),
        (Config(train=WHOLE), 2, Threads(1, 2)),
        (NARROW[64], 1, Threads(1, 1)),
        (NARROW[64], 8, Threads(2, 6)),
        (Config(DataConfig(size=64, crop=56), train=WHOLE), 8, Threads(1, 8)),
        (Config(train=WHOLE), 16, Threads(1, 16)),
    ],
)
def test_cores_are_shared_by_what_decoding_and_the_network_take(config: Config, count: int, expected: Threads) -> None:
    assert threads_for(config, CPU, count) == expected


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 8, 16, 64])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_each_side_has_threads_and_cores_that_are_shared_are_all_the_networks(count: int, precision: str) -> None:
    for config in (*NARROW.values(), Config(), Config(DataConfig(size=48, crop=44))):
        found = threads_for(with_settings(config, {"train.precision": precision}), CPU, count)
        assert 1 <= found.decode <= min(count, 8)
        assert 1 <= found.torch <= count
        assert found.torch == count or found.decode + found.torch == count
