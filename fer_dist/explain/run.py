"""A run explained on its sets, here or as Ray tasks: each looked at, what was found written into the run folder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from fer_dist.config.settings import ExplainConfig, differences
from fer_dist.data.loading.loader import open_reader
from fer_dist.data.loading.shard_set import ShardSet
from fer_dist.distributed.world import pick_device
from fer_dist.evaluate.results import results_folder
from fer_dist.explain.claims import decided, not_tested
from fer_dist.explain.control_networks import trained_on_random_labels
from fer_dist.explain.explain import Explained, explain
from fer_dist.explain.gates import gates_between
from fer_dist.explain.results import FOLDER, PAGE_FIGURES, figures, save_explained
from fer_dist.progress import Message, Progress, counting, warnings_to
from fer_dist.runs.checkpoint import load_model
from fer_dist.runs.folder import RunFolder, entered
from fer_dist.runs.network import on_device
from fer_dist.runs.opening import kept_in
from fer_dist.scores.figures.canvas import figure_pixels, fix_layout
from fer_dist.storage.paths import settled
from fer_dist.storage.writing import free_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class RunExplained:
    """sets: "<dataset>-<split>" -> what was found. folder: where it was written. figures: of each set, by name."""

    sets: dict[str, Explained]
    folder: Path
    figures: "dict[str, dict[str, Figure]]"


CONTROL_MAY_DIFFER = {
    "data.random_labels",
    "data.train",
    "data.val",
    "data.leave_out",
    "train.init_from",
    "model.pretrained",
}
"""Settings of a control that are others than its run's: its labels, its start, and where its sets lie."""


@dataclass(frozen=True)
class _Task:
    run: str
    config: ExplainConfig
    shards: ShardSet


def explain_run(run: str, config: ExplainConfig, sets: Sequence[ShardSet], show: Progress) -> RunExplained:
    """Look where a run's network looks, on each set; with ray.workers each set is a task, which gives the same bytes.

    Raises InputError where the model or a set does not fit, before the first is looked at.
    """
    home = entered(run, warnings_to(show))
    folder = results_folder(home.path)
    free_bytes(folder / FOLDER)
    network, model = load_model(home, config.checkpoint, config.network)
    control = trained_on_random_labels(network, config)
    if remark := _difference_of_control(home, config.control):
        show(Message(f"note: {remark}"))
    readers = [open_reader(shards, network.emotions, config.reading, "--data") for shards in sets]
    if config.ray.workers:
        explained = _on_ray(run, config, sets, show)
    else:
        model, count = on_device(model, pick_device(config.device)), counting(show, "batches")
        explained = [explain(model, network, reader, config, count, control) for reader in readers]
    found = dict(zip((shards.manifest.name for shards in sets), explained, strict=True))
    for name, other in combinations(found, 2):
        for block, gates in found[name].gates.items():
            between = gates_between(gates, found[other].gates[block], config.seed)
            for one, against in ((name, other), (other, name)):
                found[one].values["blocks"][block].setdefault("gates_against", {})[against] = between
    verdicts = decided({name: one.values for name, one in found.items()})
    drawn = {}
    for name, of_set in found.items():
        of_set.values |= {"verdicts": verdicts[name], "not_tested": not_tested(of_set.values)}
        drawn[name] = figures(f"{folder.name} on {name}", of_set)
        save_explained(folder, name, of_set, drawn[name])
        if home.path.is_dir():
            _show_in_tensorboard(folder, name, drawn[name])
    home.send()
    home.close()
    return RunExplained(found, folder / FOLDER, drawn)


def _difference_of_control(home: RunFolder, control: str) -> str:
    """Where the control was trained otherwise than the run, but for its labels and its start, a line that says so."""
    ours, theirs = kept_in(home), kept_in(entered(control)) if control else None
    if not ours or not theirs:
        return ""
    found = [text for name, text in differences(ours.config, theirs.config).items() if name not in CONTROL_MAY_DIFFER]
    here, there = (kept.sets["train"].hash if kept.sets else "" for kept in (ours, theirs))
    found += [] if here == there else ["another training set"]
    told = f"--control {control}: trained with other settings than the run ({'; '.join(found)}), so it shows those too"
    return told if found else ""


def explain_set(task: _Task, device: str) -> Explained:
    """What a Ray task does: one set. device: cpu or cuda."""
    home = entered(task.run)
    network, model = load_model(home, task.config.checkpoint, task.config.network)
    reader = open_reader(task.shards, network.emotions, task.config.reading, "--data")
    control = trained_on_random_labels(network, task.config)
    found = explain(on_device(model, pick_device(device)), network, reader, task.config, control=control)
    home.close()
    return found


def _on_ray(run: str, config: ExplainConfig, sets: Sequence[ShardSet], show: Progress) -> list[Explained]:
    from fer_dist.distributed.cluster import Group
    from fer_dist.distributed.tasks import run_tasks

    config = replace(settled(config), threads=config.threads or int(config.ray.cpus_per_worker))
    task = settled(_Task(run, config, sets[0]))
    group = Group(replace(config.ray, min_workers=1), config.device)
    return run_tasks(explain_set, [replace(task, shards=shards) for shards in sets], group, show)


def _show_in_tensorboard(folder: Path, name: str, drawn: "dict[str, Figure]") -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder), filename_suffix=".explain") as writer:
        for kind, figure in drawn.items():
            if kind in PAGE_FIGURES:
                writer.add_image(f"explain/{name}/{kind}", figure_pixels(fix_layout(figure)), 0, dataformats="HWC")
