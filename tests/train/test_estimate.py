"""The estimate before a run: short at any setting, and scaled from what was timed."""

from dataclasses import dataclass, field

import pytest
import torch

from fer_dist.config.presets import preset
from fer_dist.config.settings import Config, with_settings
from fer_dist.distributed.world import World
from fer_dist.runs.network import build, network_of
from fer_dist.train import estimate as module
from fer_dist.train.engine import Engine
from fer_dist.train.estimate import SECONDS_ON_CPU, STEPS, _affordable, _memory, _time_steps


@dataclass
class Slow:
    """An engine of which each step takes so long for each pixel of a crop; counts what was timed."""

    config: Config
    seconds_a_pixel: float
    spent: float = 0.0
    steps: list[tuple[int, int]] = field(default_factory=list)

    @property
    def views(self) -> int:
        return 5 if self.config.data.views == "expand" else 1

    def step(self, images: int, side: int) -> float:
        seconds = images * self.views * side**2 * self.seconds_a_pixel
        self.spent += seconds
        self.steps.append((images, side))
        return seconds


@pytest.mark.parametrize("preset_name", ["demo", "paper", "strong"])
@pytest.mark.parametrize("rate", [1e-3, 1.0, 8.0, 30.0, 300.0, 1e5])
def test_timing_ends_in_seconds_at_any_setting_and_the_scaled_time_is_right(
    preset_name: str, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """rate: crops of 224 px a second; emulated bfloat16 makes 0.6, two cores with AVX2 8."""
    config = preset(preset_name)
    engine = Slow(config, 1 / rate / 224**2)
    monkeypatch.setattr(module, "_step", lambda engine, images, side: engine.step(images, side))
    share = config.train.batch_size
    images, side = _affordable(engine, share)  # type: ignore[arg-type]
    seconds = _time_steps(engine, images, side, lambda done, total: None)  # type: ignore[arg-type]
    assert len(engine.steps) == 2 + STEPS + 1
    # Two tries with the smallest that can be timed come before, and the same once a step where more is too dear.
    smallest = max(2, engine.views) * min(64, config.data.crop) ** 2 / 224**2 / rate
    assert engine.spent <= SECONDS_ON_CPU + (2 + STEPS + 1) * smallest
    scaled = seconds * share / images * (config.data.crop / side) ** 2
    assert scaled == pytest.approx(share * engine.views * config.data.crop**2 / 224**2 / rate)


def test_memory_grows_with_the_crops_that_a_worker_holds_at_once() -> None:
    def bytes_of(**settings: object) -> int:
        given = {f"{name.replace('__', '.')}": value for name, value in settings.items()}
        config = with_settings(preset("demo"), {"train.precision": "fp32", **given})
        return _memory(Engine(config, build(network_of(config)), World(0, 1, torch.device("cpu"))), 64)

    one = bytes_of()
    weights = 12 * sum(parameter.numel() for parameter in build(network_of(preset("demo"))).parameters())
    assert bytes_of(train__micro_batch=8) - weights == pytest.approx((one - weights) / 8, rel=0.01)
    # Twice the side, four times the pixels; above 112 px it is scaled instead of tried.
    assert bytes_of(data__crop=224, data__size=224) - weights == pytest.approx((one - weights) * 16, rel=0.1)
