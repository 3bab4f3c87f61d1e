"""A run explained on its sets: each looked at, what was found written into the run folder."""

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from fer_dist.config.settings import ExplainConfig
from fer_dist.data.loading.loader import open_reader
from fer_dist.data.loading.shard_set import ShardSet
from fer_dist.distributed.world import pick_device
from fer_dist.evaluate.results import results_folder
from fer_dist.explain.claims import decided
from fer_dist.explain.explain import Explained, explain
from fer_dist.explain.gates import gates_between
from fer_dist.explain.results import FOLDER, save_explained
from fer_dist.runs.checkpoint import load_model
from fer_dist.runs.folder import entered
from fer_dist.runs.network import on_device


def explain_run(
    run: str,
    config: ExplainConfig,
    sets: Sequence[ShardSet],
    progress: Callable[[int, int | None], None] | None = None,
) -> dict[str, tuple[dict[str, Any], Path]]:
    """Look where a run's network looks, on each set. Returns "<dataset>-<split>" -> the numbers and their folder.

    Raises InputError where the model or a set does not fit, before the first is looked at.
    """
    home = entered(run)
    network, model = load_model(home, config.checkpoint, config.network)
    readers = [open_reader(found, network.emotions, config.reading, "--data") for found in sets]
    model = on_device(model, pick_device(config.device))
    folder = results_folder(home.path)
    found: dict[str, Explained] = {}
    for reader in readers:
        found[reader.manifest.name] = explain(model, network, reader, config, progress)
    for name, other in combinations(found, 2):
        for block, gates in found[name].gates.items():
            between = gates_between(gates, found[other].gates[block], config.seed)
            for one, against in ((name, other), (other, name)):
                found[one].values["blocks"][block].setdefault("gates_against", {})[against] = between
    verdicts = decided({name: explained.values for name, explained in found.items()})
    for name, explained in found.items():
        explained.values["verdicts"] = verdicts[name]
        save_explained(folder, name, explained)
    home.send()
    home.close()
    return {name: (explained.values, folder / FOLDER) for name, explained in found.items()}
