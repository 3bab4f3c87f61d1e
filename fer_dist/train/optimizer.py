"""SGD over the parts of a network: which of them train, at what rate in which step, and with what decay."""

import math
from typing import Any

import torch
from torch import nn

from fer_dist.config.settings import TrainConfig
from fer_dist.errors import InputError
from fer_dist.runs.network import own_parts

SHARE = "lr_share"
"""Key of a parameter group: what the learning rate of a step is multiplied by for it."""

DROP = 0.1
"""What a drop of the learning rate leaves of it, where the settings do not say."""


def parts_of(model: nn.Module) -> list[list[nn.Parameter]]:
    """The parts that freezing and layer-wise rates count, from the input to the head, by their parameters.

    They are what the network's method parts() says, or timm's coarse groups; else the network is one part. Raises
    InputError where parts() leaves out a parameter, or has one twice.
    """
    whole = list(model.parameters())
    if callable(matcher := getattr(model, "group_matcher", None)):
        from timm.models import group_parameters

        named = dict(model.named_parameters())
        groups = group_parameters(model, matcher(coarse=True))
        return [[named[name] for name in groups[number]] for number in sorted(groups)]
    parts = [[parameter for module in part for parameter in module.parameters()] for part in own_parts(model)]
    if parts and sorted(id(one) for part in parts for one in part) != sorted(map(id, whole)):
        raise InputError("parts() of the network does not hold each of its parameters once; give lists of all modules")
    return parts or [whole]


def freeze(model: nn.Module, count: int) -> list[nn.Module]:
    """Let the first parts of a network not train. Returns the modules that are frozen whole; they stay in evaluation
    mode.

    count: parts from the input, 0 for none.
    """
    for part in parts_of(model)[:count]:
        for parameter in part:
            parameter.requires_grad_(False)
    held = ((module, list(module.parameters())) for module in model.modules())
    return [module for module, own in held if own and not any(parameter.requires_grad for parameter in own)]


def open_optimizer(train: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    """SGD over what trains; weight decay only on what has more than one dimension, so not on normalisation and biases.

    The head trains at the learning rate, and each part before it at layer_decay times the rate of the part behind it.
    """
    groups: list[dict[str, Any]] = []
    parts = parts_of(model)
    # Without layer-wise rates all parts are one: fewer groups, fewer kernels.
    merged = parts if train.layer_decay != 1 else [[parameter for part in parts for parameter in part]]
    for number, part in enumerate(merged):
        trained = [p for p in part if p.requires_grad]
        share = train.layer_decay ** (len(merged) - 1 - number)
        for params, decay in (
            ([p for p in trained if p.ndim > 1], train.weight_decay),
            ([p for p in trained if p.ndim <= 1], 0.0),
        ):
            if params:
                groups.append({"params": params, "weight_decay": decay, SHARE: share})
    # Fused: one kernel reads and writes each tensor once, and takes the scaler's verdict (fp16) without a stop.
    return torch.optim.SGD(groups, lr=train.lr, momentum=train.momentum, nesterov=train.nesterov, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give each group its share of a step's learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group[SHARE]


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
        return config.lr * (config.gamma or DROP) ** math.floor(epoch / config.step_epochs + 1e-9)
    if config.schedule == "exponential":
        return config.lr * (config.gamma or DROP ** (2 / config.epochs)) ** epoch
    if config.schedule == "cosine":
        total = config.epochs * steps_per_epoch - warmup_steps
        return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(total, 1)))
    return config.lr
