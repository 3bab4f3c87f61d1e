"""What a model says of the images of a set, as a table: here, on several ranks, or in parts that are joined."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from fer_dist.config.settings import DataConfig, Views
from fer_dist.data.loading.loader import Loader
from fer_dist.data.loading.order import Positions
from fer_dist.data.loading.reader import Reader
from fer_dist.distributed.hardware import float32_on_cuda
from fer_dist.distributed.world import World
from fer_dist.errors import InputError
from fer_dist.runs.network import Network
from fer_dist.scores.table import Predictions, check_keys

NOT_ATTRIBUTES = {"emotion", "dataset", "id", "code", "original", "photograph", "decoding_warning"}


MOST_ATTRIBUTES = 1000
"""Different ones that a set may state: each takes a column of the table."""

LONGEST_TEXT = 500
"""Characters of an attribute that are kept: its column takes as many for each image."""

EXACT_IN_FLOAT = 1 << 53

Predicted = tuple[Predictions, dict[str, str]]
"""A table, and the images that did not decode: key -> shard."""

Stated = dict[str, dict[str, Any]]
"""Key of an image -> name of an attribute -> what the release says of it: a number, a truth or a text."""


@torch.inference_mode()
def predict(
    model: nn.Module, network: Network, loader: Loader, world: World, stated: Stated | None = None
) -> Predictions:
    """The model's probabilities for each image of a set; each rank predicts its part, and all ranks get the whole.

    Emotions that the set does not have are masked: their probability is 0, and the others sum to 1. Float32.
    stated: attributes of these images, which the table then has as objects.
    Raises InputError where a key comes twice.
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
    table = world.all_gather(np.concatenate(rows) if rows else np.zeros((0, 3), dtype=np.int64))
    values = world.all_gather(np.concatenate(probabilities) if rows else np.zeros((0, classes), dtype=np.float32))
    positions = Positions(table[:, 0], table[:, 1])
    keys = reader.keys(positions)
    check_keys(reader.folder, keys)
    return Predictions(keys, table[:, 2], values, network.emotions, masked, _attributes(keys, stated or {}))


def correct_of_each(logits: torch.Tensor, labels: torch.Tensor, views: Views) -> torch.Tensor:
    """float64 [B]: the part of each image's answers that is correct, of those that the loss of a training takes.

    logits: [B, V, K]. With views "fold" the V crops give one answer, else each of them gives its own.
    """
    answers = logits.mean(1, keepdim=True) if views == "fold" else logits
    return (answers.argmax(2) == labels[:, None]).double().mean(1)


def mask_of(network: Network, reader: Reader) -> torch.Tensor:
    """float32 [K], to add to the logits: minus infinity for each emotion that the set does not have, else 0."""
    return torch.tensor([0.0 if name in reader.manifest.emotions else float("-inf") for name in network.emotions])


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode and whole float32; both as before on the way out: training may go on."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with float32_on_cuda(tf32=False):
            yield
    finally:
        # One by one: what is frozen stays in evaluation mode.
        for module in training:
            module.training = True


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
    return joined, {key: shard for _, bad in parts for key, shard in bad.items()}


def stated_of(reader: Reader, parts: Sequence[Positions]) -> Stated:
    """What the release says in plain values (subject, pose, ...) of the images at these positions, each once.

    Read before anything is predicted, so that what a table cannot hold costs no work. Raises InputError for a json that
    does not parse, a key that comes twice, and more attributes than a table can have.
    """
    found: Stated = {}
    names: set[str] = set()
    for _, positions in reader.ahead(range(len(parts)), parts.__getitem__):
        keys = reader.keys(positions)
        for key, facts in zip(keys, reader.facts(positions), strict=True):
            plain = {
                _text(name): _plain(value) for name, value in facts.items() if isinstance(value, str | int | float)
            }
            found[key] = {name: value for name, value in plain.items() if name not in NOT_ATTRIBUTES}
            names.update(found[key])
            if len(names) > MOST_ATTRIBUTES:
                raise InputError(
                    f"{reader.folder}: the json of its samples states more than {MOST_ATTRIBUTES:,} different "
                    f"attributes, as {key[:80]} {next(iter(found[key]))[:80]!r}; a table cannot have so many columns"
                )
    if len(found) < sum(map(len, parts)):
        check_keys(reader.folder, [key for positions in parts for key in reader.keys(positions)])
    return found


def _attributes(keys: list[str], stated: Stated) -> dict[str, np.ndarray]:
    """Name -> one object for each of the images; None where the release does not state it of an image."""
    facts = [stated.get(key, {}) for key in keys]
    return {
        name: np.fromiter((fact.get(name) for fact in facts), dtype=object, count=len(facts))
        for name in sorted({name for fact in facts for name in fact})
    }


def _column(values: list[Any]) -> np.ndarray:
    """One attribute of all images; None where the release does not state it of an image."""
    kinds = {type(value) for value in values if value is not None}
    whole = [abs(value) for value in values if type(value) is int]
    most = EXACT_IN_FLOAT if float in kinds else np.iinfo(np.int64).max
    if (not kinds <= {int, float} and kinds not in ({str}, {bool})) or max(whole, default=0) > most:
        # What is a number here and a word there is a word, and so is a number of more digits than a column's.
        values = [None if value is None else _text(str(value)) for value in values]
    return np.array(values, dtype=object if None in values else None)


def _plain(value: Any) -> Any:
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    """As a table can hold it: halves of surrogate pairs stand for no character, and a zero ends a text of numpy's."""
    return re.sub("[\0\ud800-\udfff]", "\ufffd", text[:LONGEST_TEXT])


def evaluation_data(network: Network, data: DataConfig) -> DataConfig:
    """The settings of `data`, with the input that the network was trained with."""
    return replace(data, size=network.size, crop=network.crop, mean=network.mean, std=network.std)
