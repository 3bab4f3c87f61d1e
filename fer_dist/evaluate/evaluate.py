"""Every model on every set: predictions as a table, scores as functions of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fer_dist.config.settings import DataConfig, EvaluateConfig
from fer_dist.data.loading.loader import Placement, evaluation_loader, open_reader
from fer_dist.data.loading.order import sequence
from fer_dist.data.loading.reader import Reader
from fer_dist.data.loading.shard_set import ShardSet
from fer_dist.data.shards.crop_rule import difference
from fer_dist.distributed.world import World, default_threads, pick_device
from fer_dist.evaluate.given import open_given
from fer_dist.evaluate.pairs import open_model
from fer_dist.evaluate.predict import Predicted, evaluation_data, joined_parts, predict, stated_of
from fer_dist.evaluate.results import (
    check_can_save,
    predictions_path,
    results_folder,
    save_evaluation,
    scored,
    weights_stated,
)
from fer_dist.progress import Message, Progress, Scalars, warnings_to
from fer_dist.runs.checkpoint import weights_file
from fer_dist.runs.curves import add_scores
from fer_dist.runs.folder import entered
from fer_dist.runs.network import Network, on_device
from fer_dist.scores.figures.canvas import save_figure
from fer_dist.scores.figures.confusion import confusion_figure
from fer_dist.scores.table import Predictions
from fer_dist.storage.paths import settled

PARTS_A_WORKER = 4
"""Of a set on Ray: more wait less for the slowest, but each opens the model and the set anew."""


@dataclass(frozen=True)
class Result:
    """One model on one set."""

    model: str
    dataset: str
    scores: dict[str, Any]
    bad: dict[str, str]
    """Images that did not decode and have no prediction: key -> shard."""

    table: Path
    """File of the predictions."""


def evaluate(
    config: EvaluateConfig,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    say: Progress = lambda message: None,
    opened: Sequence[ShardSet] = (),
) -> list[Result]:
    """Score every model on every set, and write tables, scores and confusion matrices into the run folders.

    All models and sets are looked at before the first one is scored. Raises InputError where one does not fit.
    progress: called with what is done and all of it: evaluations here, parts of them on Ray. say: shows what a person
    should know. opened: the sets of config.data, where `open_given` has opened them already.
    """
    sets = opened or open_given(config)
    homes = [entered(path, warnings_to(say)) for path in config.models]
    files = [weights_file(home, config.checkpoint) for home in homes]
    models = [(home, *open_model(file, config)) for home, file in zip(homes, files, strict=True)]
    # Asked before the work: a training that goes on meanwhile has other checkpoints at its end.
    stated = {home.path: weights_stated(home, file) for home, file in zip(homes, files, strict=True)}
    readers = [[_open_set(config, found, network) for found in sets] for _, network, _ in models]
    for home in homes:
        check_can_save(results_folder(home.path))
    for home, network, row in zip(homes, (network for _, network, _ in models), readers, strict=True):
        for reader in row:
            if told := difference(network.crop_rule, reader.manifest.crop_rule):
                say(Message(f"note: {home.path.name} on {reader.manifest.name}: {told}"))
    pairs = [(home, reader) for (home, _, _), row in zip(models, readers, strict=True) for reader in row]
    if config.ray.workers:
        made = iter(_predict_on_ray(config, readers, progress, say))
    else:
        made = _predict_here(config, [(network, model) for _, network, model in models], readers)
    results = []
    for home, reader in pairs:
        predictions, bad = next(made)
        name = reader.manifest.name
        measures = scored(predictions, reader) | stated[home.path]
        _save(home.path, name, predictions, measures)
        if "step" in measures:
            add_scores(home.path, reader.manifest.split, reader.manifest.dataset, measures, measures["step"])
        home.send()
        results.append(Result(home.path.name, name, measures, bad, predictions_path(results_folder(home.path), name)))
        if not config.ray.workers:
            progress(len(results), len(pairs))
    for home in homes:
        home.close()
    return results


@dataclass(frozen=True)
class Part:
    """Some batches of one model on one set: what a Ray task does. Paths are absolute."""

    config: EvaluateConfig
    model: str
    data: str
    batches: range


def predict_part(part: Part, device: str) -> Predicted:
    """What a Ray task runs, on cpu or cuda. Raises InputError and WorkError as `evaluate` does."""
    network, model = open_model(weights_file(entered(part.model), part.config.checkpoint), part.config)
    reader = _open_set(part.config, part.data, network)
    picked = pick_device(device)
    return _predict_set(part.config, (network, on_device(model, picked)), reader, picked, part.batches)


def _predict_here(
    config: EvaluateConfig, models: list[tuple[Network, nn.Module]], readers: list[list[Reader]]
) -> Iterator[Predicted]:
    device = pick_device(config.device)
    for (network, model), row in zip(models, readers, strict=True):
        model = on_device(model, device)
        for reader in row:
            yield joined_parts([_predict_set(config, (network, model), reader, device)])


def _predict_on_ray(
    config: EvaluateConfig, readers: list[list[Reader]], progress: Callable[[int, int | None], None], say: Progress
) -> list[Predicted]:
    """As `_predict_here`, by Ray tasks, each with whole batches, the same ones as here: so they give the same bits."""
    from fer_dist.distributed.cluster import Group
    from fer_dist.distributed.tasks import run_tasks

    def show(message: Message | Scalars) -> None:
        if isinstance(message, Message) and message.done is not None:
            progress(message.done, message.total)
        else:
            say(message)

    config = replace(settled(config), threads=config.threads or int(config.ray.cpus_per_worker))
    sets: list[list[Part]] = []
    for model, row in zip(config.models, readers, strict=True):
        for data, reader in zip(config.data, row, strict=True):
            batches = -(-int(reader.counts.sum()) // config.batch_size)
            parts = min(batches, PARTS_A_WORKER * config.ray.workers)
            cuts = [part * batches // parts for part in range(parts + 1)]
            sets.append([Part(config, model, data, range(*ends)) for ends in pairwise(cuts)])
    group = Group(replace(config.ray, min_workers=1), config.device)
    results = iter(run_tasks(predict_part, [part for parts in sets for part in parts], group, show))
    return [joined_parts([next(results) for _ in parts]) for parts in sets]


def _predict_set(
    config: EvaluateConfig,
    trained: tuple[Network, nn.Module],
    reader: Reader,
    device: torch.device,
    batches: range | None = None,
) -> Predicted:
    """The table of a set, or of some of its batches, attributes as objects: `joined_parts` makes columns."""
    network, model = trained
    data = evaluation_data(network, DataConfig(decoder=config.decoder, on_bad=config.on_bad))
    placement = Placement(0, 1, device, half=False, threads=config.threads or default_threads())
    parts = sequence(reader.counts, 0, 1, config.batch_size)
    if batches is not None:
        parts = parts[batches.start : batches.stop]
    stated = stated_of(reader, parts)
    loader = evaluation_loader(data, reader, placement, config.batch_size, parts)
    return predict(model, network, loader, World(0, 1, device), stated), loader.bad


def _open_set(config: EvaluateConfig, place: str | ShardSet, network: Network) -> Reader:
    return open_reader(place, network.emotions, config.reading, "--data")


def _save(path: Path, name: str, predictions: Predictions, measures: dict[str, Any]) -> None:
    folder = results_folder(path)
    save_evaluation(folder, name, predictions, measures)
    title = f"{path.stem} on {name}"
    figure = confusion_figure(np.array(measures["confusion"]), predictions.emotions, title, predictions.masked)
    save_figure(figure, folder / "figures" / f"confusion-{name}")
