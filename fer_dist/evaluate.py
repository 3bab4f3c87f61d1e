"""Every model on every set: predictions as a table, scores as functions of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from fer_dist.checkpoint import Network, load_model, on_device
from fer_dist.config import DataConfig
from fer_dist.data.leave_out import check_named
from fer_dist.data.loader import Loader, Placement, evaluation_loader, open_reader
from fer_dist.data.order import Positions
from fer_dist.data.reader import Reader
from fer_dist.errors import InputError
from fer_dist.figures import confusion_figure, save_figure
from fer_dist.metrics import Predictions, scores
from fer_dist.predictions import predictions_path, save_predictions, save_scores
from fer_dist.world import World, default_threads, pick_device

NOT_ATTRIBUTES = {"emotion", "dataset", "id", "code", "original", "photograph", "decoding_warning"}


@dataclass(frozen=True)
class EvaluateConfig:
    """Which models on which sets."""

    models: tuple[str, ...]
    """Run folders, or .safetensors files (their results then go beside them)."""

    data: tuple[str, ...]
    """Sets of shards: folders, patterns in one, manifests, or any of these at a URL, as for --data.train."""

    checkpoint: str = "last"
    """Which checkpoint of each run: last, best, or a step."""

    batch_size: int = 256
    """Pictures that go through the network at once. The scores do not depend on it."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the models run. auto: CUDA where there is one."""

    threads: int = 0
    """Threads that decode. 0: one for each core, at most 8."""

    drop_extra: bool = False
    """Leave out pictures of emotions that a model does not have, instead of stopping."""

    leave_out: str = ""
    """File of pictures to leave out of the sets, as `fer-dist shards audit --write-clean` writes it."""

    on_bad: Literal["stop", "skip"] = "stop"
    """A picture that does not decode: stop, or skip (it is counted and has no prediction)."""

    cache: str = ""
    """Folder on a disk of this node for shards that come from a URL. Empty: as --data.cache of training."""

    cache_gb: float = DataConfig.cache_gb
    """Most gigabytes in that folder."""


@dataclass(frozen=True)
class Result:
    """One model on one set."""

    model: str
    dataset: str
    scores: dict[str, Any]
    bad: dict[str, str]
    """Pictures that did not decode and have no prediction: key -> shard."""


@torch.inference_mode()
def predict(model: nn.Module, network: Network, loader: Loader, world: World, attributes: bool = False) -> Predictions:
    """The model's probabilities for each picture of a set; each rank predicts its part, and all ranks get the whole.

    Emotions that the set does not have are masked: their probability is 0, and the others sum to 1. Float32.
    """
    reader = loader.reader
    masked = tuple(name for name in network.emotions if name not in reader.manifest.emotions)
    mask = torch.tensor([float("-inf") if name in masked else 0.0 for name in network.emotions], device=world.device)
    rows, probabilities = [], []
    with _evaluating(model):
        for batch in loader:
            logits = model(batch.crops.float()) + mask
            probabilities.append(logits.softmax(1).cpu().numpy())
            rows.append(np.stack([batch.positions.shard, batch.positions.position, batch.samples.labels], axis=1))
    classes = len(network.emotions)
    table = world.gather(np.concatenate(rows) if rows else np.zeros((0, 3), dtype=np.int64))
    values = world.gather(np.concatenate(probabilities) if rows else np.zeros((0, classes), dtype=np.float32))
    positions = Positions(table[:, 0], table[:, 1])
    known = _attributes(reader, positions) if attributes else {}
    return Predictions(reader.keys(positions), table[:, 2], values, network.emotions, masked, known)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode and whole float32; both as before on the way out: training may go on."""
    was_training, had_tf32 = model.training, torch.backends.cudnn.allow_tf32
    model.eval()
    # On CUDA, convolutions would otherwise round their inputs to 10 bits (TF32).
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = had_tf32
        model.train(was_training)


def evaluate(config: EvaluateConfig, progress: Callable[[int, int | None], None] | None = None) -> list[Result]:
    """Score every model on every set, and write tables, scores and confusion matrices into the run folders.

    All models and sets are looked at before the first one is scored. Raises InputError where one does not fit.
    """
    if config.batch_size < 1 or config.threads < 0:
        raise InputError(
            f"--batch-size {config.batch_size} must be at least 1, and --threads {config.threads} at least 0"
        )
    device = pick_device(config.device)
    models = [(Path(path), *load_model(path, config.checkpoint)) for path in config.models]
    data = DataConfig(
        drop_extra=config.drop_extra,
        leave_out=config.leave_out,
        on_bad=config.on_bad,
        cache=config.cache,
        cache_gb=config.cache_gb,
    )
    readers = [
        [open_reader(path, network.emotions, data, "--data") for path in config.data] for _, network, _ in models
    ]
    if config.leave_out:
        check_named(config.leave_out, [reader.manifest.name for reader in readers[0]])
    results = []
    for (path, network, model), model_readers in zip(models, readers, strict=True):
        model = on_device(model, device)
        for reader in model_readers:
            name = reader.manifest.name
            predictions, bad = _predict_set(config, network, model, reader, device)
            measures = scored(predictions, reader)
            _save(path, name, predictions, measures)
            results.append(Result(path.name, name, measures, bad))
            if progress:
                progress(len(results), len(config.models) * len(config.data))
    return results


def scored(predictions: Predictions, reader: Reader) -> dict[str, Any]:
    """The scores of a set's table, and how many pictures a list left out of it."""
    return scores(predictions) | {"left_out": reader.left_out}


def evaluation_data(network: Network, data: DataConfig) -> DataConfig:
    """The settings of `data`, with the input that the network was trained with."""
    mean, std = network.mean, network.std
    return replace(
        data, size=network.size, crop=network.crop, mean=(mean[0], mean[1], mean[2]), std=(std[0], std[1], std[2])
    )


def _predict_set(
    config: EvaluateConfig, network: Network, model: nn.Module, reader: Reader, device: torch.device
) -> tuple[Predictions, dict[str, str]]:
    data = evaluation_data(network, DataConfig(on_bad=config.on_bad))
    placement = Placement(0, 1, device, half=False, threads=config.threads or default_threads())
    loader = evaluation_loader(data, reader, placement, config.batch_size)
    return predict(model, network, loader, World(0, 1, device), attributes=True), loader.bad


def _save(path: Path, name: str, predictions: Predictions, measures: dict[str, Any]) -> None:
    folder = path if path.is_dir() else path.parent
    save_predictions(predictions_path(folder, name), predictions)
    save_scores(folder, name, measures)
    title = f"{path.stem} on {name}"
    figure = confusion_figure(np.array(measures["confusion"]), predictions.emotions, title, predictions.masked)
    save_figure(figure, folder / "figures" / f"confusion-{name}")


def _attributes(reader: Reader, positions: Positions) -> dict[str, np.ndarray]:
    """What the release says of each picture in plain values (subject, pose, ...): name -> one value a picture."""
    facts = reader.facts(positions)
    plain = {name for fact in facts for name, value in fact.items() if isinstance(value, (str, int, float))}
    return {name: _column([fact.get(name) for fact in facts]) for name in sorted(plain - NOT_ATTRIBUTES)}


def _column(values: list[Any]) -> np.ndarray:
    """One attribute of all pictures; None where the release does not state it of a picture."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds <= {int, float} and kinds not in ({str}, {bool}):
        # What is a number here and a word there is a word.
        values = [None if value is None else str(value) for value in values]
    return np.array(values, dtype=object if None in values else None)
