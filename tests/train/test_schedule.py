"""The learning rate of each step, beside torch's own schedulers."""

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.optim import SGD, lr_scheduler

from fer_dist.config.checks import rate_remark
from fer_dist.config.settings import TrainConfig
from fer_dist.train.optimizer import learning_rate

STEPS = 7
"""Steps of an epoch: no power of ten, so that epochs do not divide evenly."""


def rates(config: TrainConfig) -> list[float]:
    return [learning_rate(config, step, STEPS) for step in range(config.epochs * STEPS)]


def rates_of_torch(lr: float, steps: int, open_scheduler: Callable[[SGD], lr_scheduler.LRScheduler]) -> list[float]:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr)
    scheduler = open_scheduler(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_the_step_schedule_is_torchs_steplr() -> None:
    config = TrainConfig(epochs=8, lr=0.3, schedule="step", step_epochs=3, gamma=0.2)
    expected = rates_of_torch(0.3, 8 * STEPS, lambda o: lr_scheduler.StepLR(o, 3 * STEPS, 0.2))
    assert rates(config) == pytest.approx(expected, rel=1e-12)


def test_a_drop_falls_on_the_first_step_of_its_epoch_for_every_length_of_an_epoch() -> None:
    config = TrainConfig(epochs=40, lr=1.0, schedule="step", step_epochs=10, gamma=0.1)
    for length in (*range(1, 200), 9371):
        around = [learning_rate(config, step, length) for step in (30 * length - 1, 30 * length)]
        assert around == pytest.approx([0.01, 0.001])


def test_a_drop_within_an_epoch_falls_on_its_step_though_the_division_is_not_exact() -> None:
    config = TrainConfig(epochs=10, lr=1.0, schedule="step", step_epochs=0.1, gamma=0.5)
    # 0.3 / 0.1 is 2.9999999999999996.
    expected = [0.5**drop for drop in range(100) for _ in range(2)]
    assert [learning_rate(config, step, 20) for step in range(200)] == pytest.approx(expected)


def test_the_cosine_schedule_is_torchs_cosineannealinglr() -> None:
    config = TrainConfig(epochs=5, lr=0.3, schedule="cosine")
    expected = rates_of_torch(0.3, 5 * STEPS, lambda o: lr_scheduler.CosineAnnealingLR(o, 5 * STEPS))
    assert rates(config) == pytest.approx(expected, rel=1e-9)


def test_the_cosine_schedule_reaches_zero_one_step_after_the_last() -> None:
    for warmup in (0.0, 1.0, 2.5):
        config = TrainConfig(epochs=5, lr=0.3, schedule="cosine", warmup_epochs=warmup)
        assert learning_rate(config, 5 * STEPS, STEPS) == pytest.approx(0, abs=1e-12)
        assert learning_rate(config, 5 * STEPS - 1, STEPS) > 0


def test_the_exponential_schedule_is_torchs_exponentiallr_step_by_step() -> None:
    config = TrainConfig(epochs=4, lr=0.3, schedule="exponential", gamma=0.5)
    expected = rates_of_torch(0.3, 4 * STEPS, lambda o: lr_scheduler.ExponentialLR(o, 0.5 ** (1 / STEPS)))
    assert rates(config) == pytest.approx(expected, rel=1e-9)


def test_a_schedule_whose_factor_is_left_open_ends_at_a_hundredth() -> None:
    for epochs in (3, 20, 60):
        config = TrainConfig(epochs=epochs, lr=0.3, schedule="exponential")
        assert learning_rate(config, epochs * STEPS, STEPS) == pytest.approx(0.003)
    drops = TrainConfig(epochs=20, lr=0.3, schedule="step")
    assert learning_rate(drops, 20 * STEPS, STEPS) == pytest.approx(0.003)


def test_the_constant_schedule_stays() -> None:
    assert set(rates(TrainConfig(epochs=4, lr=0.3, schedule="constant"))) == {0.3}


@pytest.mark.parametrize("schedule", ["step", "cosine", "exponential", "constant"])
def test_the_warm_up_rises_linearly_to_the_full_rate(schedule: str) -> None:
    config = TrainConfig(epochs=6, lr=0.3, schedule=schedule, warmup_epochs=2.0, step_epochs=5.0, gamma=0.5)  # type: ignore[arg-type]
    rising = rates(config)[: 2 * STEPS - 1]
    assert rising == pytest.approx([0.3 * (step + 1) / (2 * STEPS) for step in range(2 * STEPS - 1)])
    assert max(rates(config)) <= 0.3


def test_warm_up_and_cosine_are_torchs_linearlr_and_cosineannealinglr() -> None:
    config = TrainConfig(epochs=6, lr=0.3, schedule="cosine", warmup_epochs=2.0)
    warmup = 2 * STEPS

    def open_scheduler(optimizer: SGD) -> lr_scheduler.LRScheduler:
        rise = lr_scheduler.LinearLR(optimizer, 1 / warmup, 1.0, warmup - 1)
        fall = lr_scheduler.CosineAnnealingLR(optimizer, 4 * STEPS)
        return lr_scheduler.SequentialLR(optimizer, [rise, fall], [warmup])

    with warnings.catch_warnings():
        # torch's own SequentialLR passes an argument that its schedulers call deprecated.
        warnings.filterwarnings("ignore", message="The epoch parameter in `scheduler.step", category=UserWarning)
        expected = rates_of_torch(0.3, 6 * STEPS, open_scheduler)
    assert rates(config) == pytest.approx(expected, rel=1e-9)


def test_the_warm_up_is_continuous_with_what_follows() -> None:
    for schedule in ("step", "cosine", "constant"):
        config = TrainConfig(epochs=6, lr=0.3, schedule=schedule, warmup_epochs=2.0)  # type: ignore[arg-type]
        steps = [abs(after - before) for before, after in pairwise(rates(config))]
        assert max(steps[: 2 * STEPS + 1]) <= 0.3 / (2 * STEPS) + 1e-12


def test_a_warm_up_of_part_of_an_epoch_and_one_of_a_single_step() -> None:
    config = TrainConfig(epochs=2, lr=0.3, schedule="constant", warmup_epochs=0.5)
    # Three and a half steps: 1/3.5, 2/3.5, 3/3.5 of the rate, then the whole.
    assert rates(config)[:5] == pytest.approx([0.3 / 3.5, 0.6 / 3.5, 0.9 / 3.5, 0.3, 0.3])
    assert rates(TrainConfig(epochs=2, lr=0.3, schedule="constant", warmup_epochs=1 / STEPS))[0] == 0.3


def test_no_rate_is_negative_or_not_finite_even_where_all_is_warm_up() -> None:
    for schedule in ("step", "cosine", "exponential", "constant"):
        config = TrainConfig(epochs=2, lr=0.3, schedule=schedule, warmup_epochs=2.0)  # type: ignore[arg-type]
        assert all(math.isfinite(rate) and rate >= 0 for rate in rates(config))


def test_a_warm_up_that_fills_the_training_is_told_and_a_shorter_one_is_not():
    told = rate_remark(replace(TrainConfig(), warmup_epochs=2.0, epochs=1, lr=0.3))
    assert told.startswith("--train.warmup-epochs 2 is the whole training of 1 epoch, which ends before --train.lr 0.3")
    assert rate_remark(replace(TrainConfig(), warmup_epochs=1.0, epochs=2)) == ""
    assert rate_remark(replace(TrainConfig(), warmup_epochs=0.0, epochs=1)) == ""
