"""What goes into a training, opened from its configuration: the network's description, the sets and the order."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from fer_dist.config.settings import Config
from fer_dist.data.loading.loader import open_reader
from fer_dist.data.loading.mixing import Mixing, chosen_mixing
from fer_dist.data.loading.order import Order
from fer_dist.data.loading.reader import Reader
from fer_dist.errors import InputError
from fer_dist.runs.checkpoint import load_network
from fer_dist.runs.network import Network, network_of, shape_differences
from fer_dist.train.given import Opened

CACHE_SHARE = 0.9
"""Of the cache of a remote set, for the tars that are drawn from at once; the rest is for those that come next."""


@dataclass(frozen=True)
class Inputs:
    """network: its description; reader, validation: the sets; mixing, order: of the training set, and how it mixes."""

    network: Network
    reader: Reader
    mixing: Mixing
    order: Order
    validation: Reader | None

    def sets(self) -> dict[str, dict[str, Any]]:
        """What the sets hold, wherever they lie, as config.json keeps it: train and val -> hash, samples, counts."""
        readers = {"train": self.reader, "val": self.validation}
        manifests = {name: reader.manifest for name, reader in readers.items() if reader}
        return {
            name: {"hash": manifest.content_hash(), "samples": manifest.samples, "counts": manifest.counts}
            for name, manifest in manifests.items()
        }


def open_inputs(config: Config, opened: Opened | None = None) -> Inputs:
    """Open what a training needs. What is in `opened` is not opened again.

    Raises InputError where a set is missing or does not fit the network, or the batches do not fit the set.
    """
    data, train = config.data, config.train
    opened = opened or {}
    network = network_of(config)
    sets = [opened.get(place, place) for place in (data.train, data.val)]
    reader = open_reader(sets[0], network.emotions, data, "--data.train", train.loss == "soft")
    validation = open_reader(sets[1], network.emotions, data, "--data.val") if data.val else None
    most_bytes = CACHE_SHARE * data.cache_gb * 1e9 if reader.remote else math.inf
    mixing = chosen_mixing(reader.contents(), train.batch_size, data.lanes, data.block, most_bytes)
    reader.keep_open(mixing.tars)
    order = Order(reader.counts, train.batch_size, train.seed, mixing.lanes, mixing.block)
    return Inputs(network, reader, mixing, order, validation)


def start_from(model: torch.nn.Module, network: Network, source: str) -> str:
    """Load another run's weights into a fresh network; its head stays as drawn where the emotions differ.

    Returns a line that says so, or an empty one. Raises InputError where the networks have other shapes.
    """
    theirs, tensors = fitting_network(network, source)
    if theirs.emotions == network.emotions:
        model.load_state_dict(tensors)
        return ""
    body = {name: tensor for name, tensor in tensors.items() if not name.startswith("head.")}
    model.load_state_dict(body, strict=False)
    return f"{source} has other emotions ({', '.join(theirs.emotions)}): its weights are taken, the head is drawn anew"


def fitting_network(network: Network, source: str) -> tuple[Network, dict[str, torch.Tensor]]:
    """The network of --train.init-from. Raises InputError where it has another shape than this run's."""
    theirs, tensors = load_network(source)
    differing = shape_differences(theirs, network)
    if differing:
        raise InputError(f"--train.init-from {source}: another network ({differing}); use the same --model.* settings")
    return theirs, tensors
