"""The presets, as functions of nothing: whole configurations to start from."""

from dataclasses import replace

from fer_dist.config.settings import Config, DataConfig, ModelConfig, TrainConfig
from fer_dist.errors import InputError, nearest

COSINE = TrainConfig(lr=0.1, schedule="cosine", warmup_epochs=2.0, weight_decay=5e-4, nesterov=True)
"""What the training of `demo` and of `strong` has in common."""


def paper() -> Config:
    """The settings of the study as published (Huang et al. 2023), its open questions settled as launch/STUDY.md says.

    fer-dist train paper --data.train SHARDS/train --data.val SHARDS/val
    """
    return Config()


def demo() -> Config:
    """A small network on small crops, for a look at the whole within minutes on two cores."""
    return Config(
        data=DataConfig(size=64, crop=56, views="random_one", rotate_degrees=5.0, saturation=0.0, hue=0.0, flip=True),
        model=ModelConfig(width=16),
        train=replace(COSINE, epochs=20, batch_size=64, label_smoothing=0.05),
    )


def strong() -> Config:
    """The best honest recipe for the same network: one random crop and a flip, cosine schedule with warm-up, smoothing.

    fer-dist train strong --data.train SHARDS/train --data.val SHARDS/val
    """
    return Config(
        data=DataConfig(views="random_one", rotate_degrees=15.0, flip=True),
        train=replace(COSINE, epochs=40, batch_size=128, label_smoothing=0.1),
    )


PRESETS = {"demo": demo, "paper": paper, "strong": strong}


def preset(name: str) -> Config:
    """The preset of that name. Raises InputError that names the nearest one."""
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}; {nearest(name, PRESETS)}")
    return PRESETS[name]()
