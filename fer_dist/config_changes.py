"""What may be another when a run goes on, and what may not."""

import dataclasses
from dataclasses import replace

from fer_dist.config import Config
from fer_dist.data.location import without_secrets

MAY_DIFFER = {
    "data.threads",
    "data.cache",
    "data.cache_gb",
    "data.prefetch",
    "train.log_every",
    "train.keep_last",
    "train.micro_batch",
    "train.compile",
    "train.strategy",
    "train.zero_stage",
    "train.compress",
}
"""Settings that change neither the order nor the meaning of a step, beside the sections run and ray."""


CHOSEN = ("data.lanes", "data.block")
"""Settings whose 0 leaves them to the run: one that goes on keeps what it has."""


def keeping_chosen(old: Config, new: Config) -> Config:
    """The new configuration with the old one's value of each of CHOSEN that it leaves to the run."""
    lanes, block = new.data.lanes or old.data.lanes, new.data.block or old.data.block
    return replace(new, data=replace(new.data, lanes=lanes, block=block))


def differences(old: Config, new: Config) -> list[str]:
    """What a resumed run may not change and does: one text for each setting, as `train.lr 0.01 -> 0.1`."""
    found = []
    for section in ("data", "model", "train"):
        before, after = getattr(old, section), getattr(new, section)
        for item in dataclasses.fields(before):
            name = f"{section}.{item.name}"
            pair = getattr(before, item.name), getattr(after, item.name)
            # What was kept has no secrets, and a new signature of the same address is no difference.
            shown = [without_secrets(str(value)) for value in pair]
            if name not in MAY_DIFFER and pair[0] != pair[1] and shown[0] != shown[1]:
                found.append(f"{name} {shown[0]} -> {shown[1]}")
    return found
