"""What a model says of the pictures of a set, as a table: here, on several ranks, or in parts that are joined."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from fer_dist.config.settings import DataConfig
from fer_dist.data.loading.loader import Loader
from fer_dist.data.loading.order import Positions
from fer_dist.data.loading.reader import Reader
from fer_dist.distributed.hardware import float32_on_cuda
from fer_dist.distributed.world import World
from fer_dist.runs.network import Network
from fer_dist.scores.table import Predictions

NOT_ATTRIBUTES = {"emotion", "dataset", "id", "code", "original", "photograph", "decoding_warning"}


Predicted = tuple[Predictions, dict[str, str]]
"""A table, and the pictures that did not decode: key -> shard."""


@torch.inference_mode()
def predict(model: nn.Module, network: Network, loader: Loader, world: World, attributes: bool = False) -> Predictions:
    """The model's probabilities for each picture of a set; each rank predicts its part, and all ranks get the whole.

    Emotions that the set does not have are masked: their probability is 0, and the others sum to 1. Float32.
    attributes: with what the release says of each picture, as objects.
    """
    reader = loader.reader
    masked = tuple(name for name in network.emotions if name not in reader.manifest.emotions)
    mask = mask_of(network, reader).to(world.device)
    rows, probabilities = [], []
    with evaluating(model):
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


def mask_of(network: Network, reader: Reader) -> torch.Tensor:
    """float32 [K], to add to the logits: minus infinity for each emotion that the set does not have, else 0."""
    return torch.tensor([0.0 if name in reader.manifest.emotions else float("-inf") for name in network.emotions])


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode and whole float32; both as before on the way out: training may go on."""
    was_training = model.training
    model.eval()
    try:
        with float32_on_cuda(tf32=False):
            yield
    finally:
        model.train(was_training)


def joined_parts(parts: list[Predicted]) -> Predicted:
    """One table of its parts, in their order."""
    tables = [table for table, _ in parts]
    attributes = {}
    for name in sorted({name for table in tables for name in table.attributes}):
        columns = [table.attributes.get(name, np.full(len(table.keys), None)).tolist() for table in tables]
        attributes[name] = _column([value for column in columns for value in column])
    joined = replace(
        tables[0],
        keys=[key for table in tables for key in table.keys],
        labels=np.concatenate([table.labels for table in tables]),
        probabilities=np.concatenate([table.probabilities for table in tables]),
        attributes=attributes,
    )
    return joined, {key: place for _, bad in parts for key, place in bad.items()}


def _attributes(reader: Reader, positions: Positions) -> dict[str, np.ndarray]:
    """What the release says of each picture in plain values (subject, pose, ...): name -> one object a picture."""
    facts = reader.facts(positions)
    plain = {name for fact in facts for name, value in fact.items() if isinstance(value, (str, int, float))}
    return {
        name: np.fromiter((fact.get(name) for fact in facts), dtype=object, count=len(facts))
        for name in sorted(plain - NOT_ATTRIBUTES)
    }


def _column(values: list[Any]) -> np.ndarray:
    """One attribute of all pictures; None where the release does not state it of a picture."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds <= {int, float} and kinds not in ({str}, {bool}):
        # What is a number here and a word there is a word.
        values = [None if value is None else str(value) for value in values]
    return np.array(values, dtype=object if None in values else None)


def evaluation_data(network: Network, data: DataConfig) -> DataConfig:
    """The settings of `data`, with the input that the network was trained with."""
    mean, std = network.mean, network.std
    return replace(
        data, size=network.size, crop=network.crop, mean=(mean[0], mean[1], mean[2]), std=(std[0], std[1], std[2])
    )
