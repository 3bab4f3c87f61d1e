"""What a training is given, looked at without torch, which takes seconds to import: a wrong path is answered at
once."""

import os
from collections.abc import Mapping

from fer_dist.config.settings import Config
from fer_dist.data.emotions import model_classes
from fer_dist.data.loading.shard_set import ShardSet, open_set
from fer_dist.data.shards.leave_out import check_named
from fer_dist.errors import InputError, naming
from fer_dist.runs.architecture import check_architecture
from fer_dist.runs.folder import find_run

Opened = Mapping[str, ShardSet]
"""Sets that are open already, by the place as the settings have it."""


def unscored(config: Config) -> str:
    """A warning where a training has nothing that is scored; else nothing."""
    if config.data.val:
        return ""
    return (
        "warning: no --data.val: no epoch is scored, and best is no checkpoint; cut one from train with: "
        "fer-dist shards build ... --val-fraction 0.1"
    )


def open_given(config: Config, opened: Opened | None = None) -> Opened:
    """Open the sets of a training, but for those in `opened`, and look for the other files that its settings name.

    Raises InputError where one is not there or not whole, val is a test split, a list names images of other sets, or
    the network or its classes cannot be.
    """
    model_classes(config.model.emotions, "--model.emotions")
    check_architecture(config.model.network, "--model.network")
    if config.model.pretrained and not os.path.isfile(config.model.pretrained):
        raise InputError(f"--model.pretrained {config.model.pretrained}: no such file; give a .safetensors file")
    data = config.data
    sets = dict(opened or {})
    places = {"--data.train": data.train, "--data.val": data.val}
    for flag, place in places.items():
        if place and place not in sets:
            with naming(flag):
                sets[place] = open_set(place, data)
    if data.val and sets[data.val].manifest.split == "test":
        raise InputError(
            f"--data.val {data.val} is a test split; a test split is read once, by fer-dist evaluate. "
            "Cut a validation split from train: fer-dist shards build ... --val-fraction 0.1"
        )
    if data.leave_out:
        check_named(data.leave_out, [sets[place].manifest.name for place in places.values() if place])
    if config.train.init_from:
        find_run(config.train.init_from)
    return sets
