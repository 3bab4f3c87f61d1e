"""What may be another when a run goes on, what may not, and what a run chooses by itself and then keeps."""

import dataclasses
from dataclasses import replace
from typing import Any

from fer_dist.config.settings import Config
from fer_dist.storage.places import without_secrets

MAY_DIFFER = {
    "data.threads",
    "data.cache",
    "data.cache_gb",
    "data.prefetch",
    "train.threads",
    "train.log_every",
    "train.keep_last",
    "train.micro_batch",
    "train.compile",
    "train.strategy",
    "train.zero_stage",
    "train.compress",
}
"""Settings that change neither the order nor the meaning of a step, beside the sections run and ray."""

AUTOMATIC: dict[str, Any] = {"train.precision": "auto", "train.threads": 0, "data.threads": 0}
"""Settings that a run chooses by itself where they have this value, and keeps when it goes on."""

CHOSEN = ("data.lanes", "data.block")
"""Settings whose 0 leaves them to the run as well: what its set and the other settings give, they give again."""


def keeping_chosen(old: Config, new: Config) -> Config:
    """The new configuration with the old one's value of each of CHOSEN that it leaves to the run."""
    lanes, block = new.data.lanes or old.data.lanes, new.data.block or old.data.block
    return replace(new, data=replace(new.data, lanes=lanes, block=block))


def differences(old: Config, new: Config) -> dict[str, str]:
    """What a resumed run may not change and does: name of the setting -> as `train.lr 0.01 -> 0.1`."""
    found = {}
    for section in ("data", "model", "train"):
        before, after = getattr(old, section), getattr(new, section)
        for item in dataclasses.fields(before):
            name = f"{section}.{item.name}"
            pair = getattr(before, item.name), getattr(after, item.name)
            # What was kept has no secrets, and a new signature of the same address is no difference.
            shown = [without_secrets(str(value)) for value in pair]
            is_open = name in AUTOMATIC and pair[1] == AUTOMATIC[name]
            if name not in MAY_DIFFER and not is_open and pair[0] != pair[1] and shown[0] != shown[1]:
                found[name] = f"{name} {shown[0]} -> {shown[1]}"
    return found


def choices_of(config: Config) -> dict[str, Any]:
    """What a run has chosen of the settings that it may choose: name -> value."""
    sections = {name.split(".")[0]: getattr(config, name.split(".")[0]) for name in AUTOMATIC}
    values = {name: getattr(sections[name.split(".")[0]], name.split(".")[1]) for name in AUTOMATIC}
    return {name: value for name, value in values.items() if value != AUTOMATIC[name]}
