"""The learning rate as a pure function of the step."""

import math

from fer_dist.config.settings import TrainConfig


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """Learning rate of an optimiser step.

    step: 0 for the first step of the run.
    Warm-up rises linearly from lr / warm-up steps to lr; the schedules count epochs from the start of the run, so that
    a drop falls where the configuration says. Cosine ends at 0 one step after the last.
    """
    epoch = step / steps_per_epoch
    warmup_steps = config.warmup_epochs * steps_per_epoch
    if step < warmup_steps:
        return config.lr * min(1.0, (step + 1) / warmup_steps)
    if config.schedule == "step":
        # The small number keeps 30 / 10 from becoming 2.9999 where the division does not come out even.
        return config.lr * config.gamma ** math.floor(epoch / config.step_epochs + 1e-9)
    if config.schedule == "exponential":
        return config.lr * config.gamma**epoch
    if config.schedule == "cosine":
        total = config.epochs * steps_per_epoch - warmup_steps
        return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(total, 1)))
    return config.lr
