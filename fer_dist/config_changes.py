"""What may be another when a run goes on, and what may not."""

import dataclasses

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
