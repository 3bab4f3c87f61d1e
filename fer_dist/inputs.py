"""What goes into a training, opened from its configuration: the network's description, the sets and the order."""

from dataclasses import dataclass
from typing import Any

import torch

from fer_dist.checkpoint import Network, load_network, network_of, shape_differences
from fer_dist.config import Config
from fer_dist.data.loader import open_reader
from fer_dist.data.order import Order
from fer_dist.data.reader import Reader
from fer_dist.errors import InputError


@dataclass(frozen=True)
class Inputs:
    """network: its description; reader, validation: the sets; order: of the training set."""

    network: Network
    reader: Reader
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


def open_inputs(config: Config) -> Inputs:
    """Raises InputError where a set is missing or does not fit the network, or the batches do not fit the set."""
    data, train = config.data, config.train
    network = network_of(config)
    reader = open_reader(data.train, network.emotions, data, "--data.train", train.loss == "soft")
    validation = open_reader(data.val, network.emotions, data, "--data.val") if data.val else None
    order = Order(reader.counts, train.batch_size, train.seed, data.lanes, data.block)
    return Inputs(network, reader, order, validation)


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
