"""The runs in a folder or a store: how far each came, how old it is, what it scored. Only small files are read."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fer_dist.config.settings import Config
from fer_dist.errors import InputError, WorkError
from fer_dist.evaluate.results import scores_of_weights
from fer_dist.runs.folder import CONFIG, LIST, RunFolder
from fer_dist.runs.listing import MODEL, parsed
from fer_dist.runs.opening import HeldSet, kept_in
from fer_dist.storage.folders import folders_in
from fer_dist.storage.paths import below, folder_at, is_url
from fer_dist.storage.store import Store

CURVES = re.compile(r"events\.out\.tfevents\.(\d{10})\.")
"""File of curves, with the second in which it was begun."""


@dataclass(frozen=True)
class Listed:
    """One run.

    state:  done, unfinished, no checkpoint, or what is wrong with its files.
    step:   of the newest checkpoint. steps: of the whole training; 0: not known.
    begun:  seconds since 1970 of its first curves; None: not known.
    scores: "<dataset>-<split>" -> as in scores.json, of the newest checkpoint.
    others: sets whose scores are of another one -> of which step.
    """

    name: str
    state: str
    preset: str = ""
    step: int = 0
    steps: int = 0
    begun: int | None = None
    scores: dict[str, dict[str, Any]] | None = None
    others: dict[str, int] = field(default_factory=dict)


def runs_in(root: str) -> list[Listed]:
    """The runs in a folder or a store, by name. Raises InputError where there is no such folder, or no answer."""
    return [found for name in _names(root) if (found := _listed(root, name))]


def _names(root: str) -> list[str]:
    if is_url(root):
        return sorted(Store(folder_at(root)).sizes() or ())
    if not Path(root).is_dir():
        raise InputError(f"{root}: no such folder; give the one that holds the run folders (--run.root)")
    return folders_in(root)


def _listed(root: str, name: str) -> Listed | None:
    """None for what is no run."""
    home = RunFolder(below(root, name), trains=False)
    try:
        if home.read(CONFIG) is None:
            return None
        kept = kept_in(home)
        assert kept
        listing = home.read(LIST)
        entries = parsed(listing, LIST) if listing else []
        newest = entries[-1].files.get(MODEL, "") if entries else ""
        scores, others = scores_of_weights(home, newest)
    except (InputError, WorkError, OSError) as error:
        return Listed(name, f"damaged: {error}")
    step = entries[-1].step if entries else 0
    trained = (kept.sets or {}).get("train")
    steps = steps_of(kept.config, trained) if trained else 0
    validated = (kept.sets or {}).get("val")
    # Of an older run it is not known; scores of the validation set come with the last one.
    is_done = step >= steps if steps else bool(validated and validated.name in scores | others)
    state = "done" if is_done else "unfinished" if entries else "no checkpoint"
    return Listed(name, state, kept.preset, step, steps, min(_begun(home), default=None), scores, others)


def steps_of(config: Config, trained: HeldSet) -> int:
    """Steps of a training; 0 where it is not known how many images of its set were left out."""
    is_less = config.data.leave_out or config.data.drop_extra
    images = trained.used or (0 if is_less else trained.samples)
    return config.train.epochs * (images // config.train.batch_size)


def _begun(home: RunFolder) -> Iterator[int]:
    names = home.store.names() if home.store else [path.name for path in home.path.iterdir()]
    return (int(found[1]) for name in names if (found := CURVES.search(name)))
