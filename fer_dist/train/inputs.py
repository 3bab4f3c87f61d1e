"""What goes into a training, opened from its configuration: the network's description, the sets and the order."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from safetensors.torch import load_file

from fer_dist.config.settings import Config, DataConfig
from fer_dist.data.loading.loader import open_reader
from fer_dist.data.loading.mixing import Mixing, chosen_mixing
from fer_dist.data.loading.order import Order
from fer_dist.data.loading.reader import Reader
from fer_dist.data.shards.crop_rule import difference
from fer_dist.errors import InputError
from fer_dist.runs.checkpoint import SAFETENSORS_ERRORS, load_network
from fer_dist.runs.network import Network, head_of, network_of, shape_differences
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

    @property
    def crop_remark(self) -> str:
        """Where the faces of the validation set are cut otherwise, a line that says so."""
        val = self.validation.manifest if self.validation else None
        told = difference(self.network.crop_rule, val.crop_rule) if val else ""
        return f"--data.val {val.name}: {told}" if val and told else ""

    @property
    def label_remark(self) -> str:
        """Where the labels are no labels, a line that says so."""
        drawn = "--data.random-labels: labels are drawn at random, so this is a control and no network to use"
        return drawn if self.reader.random_labels is not None else ""

    def sets(self) -> dict[str, dict[str, Any]]:
        """What the sets hold, wherever they lie, as config.json keeps it: train and val -> hash, samples, counts ..."""
        readers = {"train": self.reader, "val": self.validation}
        return {name: _held(reader) for name, reader in readers.items() if reader}


def _held(reader: Reader) -> dict[str, Any]:
    manifest = reader.manifest
    return {
        "hash": manifest.content_hash(),
        "samples": manifest.samples,
        "counts": manifest.counts,
        "name": manifest.name,
        "variant": str(manifest.built.get("variant", "")),
        "used": int(reader.counts.sum()),
    }


def open_inputs(config: Config, opened: Opened | None = None) -> Inputs:
    """Open what a training needs. What is in `opened` is not opened again.

    Raises InputError where a set is missing or does not fit the network, or the batches do not fit the set.
    """
    data, train = config.data, config.train
    opened = opened or {}
    network = network_of(config)
    sets = [opened.get(place, place) for place in (data.train, data.val)]
    drawn = train.seed if data.random_labels else None
    reader = open_reader(sets[0], network.emotions, data, "--data.train", train.loss == "soft", drawn)
    validation = open_reader(sets[1], network.emotions, data, "--data.val") if data.val else None
    network = replace(network, crop_rule=reader.manifest.crop_rule, counts=reader.counts_of_emotions())
    mixing, order = open_order(reader, data, train.batch_size, train.seed)
    return Inputs(network, reader, mixing, order, validation)


def open_order(reader: Reader, data: DataConfig, batch_size: int, seed: int) -> tuple[Mixing, Order]:
    """How the set of a reader mixes, and the order in which it is trained on.

    Raises InputError where batches or lanes do not fit the set.
    """
    most_bytes = CACHE_SHARE * data.cache_gb * 1e9 if reader.remote else math.inf
    mixing = chosen_mixing(reader.contents(), batch_size, data.lanes, data.block, most_bytes)
    reader.keep_open(mixing.tars)
    return mixing, Order(reader.counts, batch_size, seed, mixing.lanes, mixing.block)


def start_from(model: torch.nn.Module, network: Network, config: Config) -> str:
    """Load the weights that a fresh network starts from, if any; its head stays as drawn where it is of other classes.

    Returns a line that says so, or an empty one. Raises InputError where they are of another network.
    """
    if config.model.pretrained:
        return _start_from_file(model, config.model.pretrained)
    if not config.train.init_from:
        return ""
    source = config.train.init_from
    theirs, tensors = fitting_network(network, config)
    if theirs.emotions == network.emotions:
        model.load_state_dict(tensors)
        return ""
    head = head_of(model)
    if not head:
        raise InputError(
            f"--train.init-from {source}: has other emotions ({', '.join(theirs.emotions)}), and which layer of the "
            "network is its head is not known; give it a method parts(), lists of modules from the input to the head"
        )
    model.load_state_dict({name: tensor for name, tensor in tensors.items() if name not in head}, strict=False)
    return f"{source} has other emotions ({', '.join(theirs.emotions)}): its weights are taken, the head is drawn anew"


def fitting_network(network: Network, config: Config) -> tuple[Network, dict[str, torch.Tensor]]:
    """The network of --train.init-from. Raises InputError where it has another shape than this run's."""
    source = config.train.init_from
    theirs, tensors = load_network(source, (config.model.network,))
    differing = shape_differences(theirs, network)
    if differing:
        raise InputError(f"--train.init-from {source}: another network ({differing}); use the same --model.* settings")
    return theirs, tensors


def _start_from_file(model: torch.nn.Module, source: str) -> str:
    """Load weights that others wrote. What the network's head has no counterpart for stays as drawn."""
    flag = f"--model.pretrained {source}"
    try:
        tensors = load_file(source)
    except (OSError, *SAFETENSORS_ERRORS) as error:
        raise InputError(f"{flag}: not a safetensors file ({error})") from None
    wanted, head = model.state_dict(), head_of(model)
    shapes = {name: (list(tensors[name].shape) if name in tensors else None) for name in wanted}
    differing = [name for name, tensor in wanted.items() if shapes[name] != list(tensor.shape)]
    wrong = [name for name in differing if name not in head]
    if wrong:
        found = f"has {shapes[wrong[0]]} for" if shapes[wrong[0]] else "has no"
        raise InputError(
            f"{flag}: {found} {wrong[0]}, where the network has {list(wanted[wrong[0]].shape)}"
            f"{f', and {len(wrong) - 1} more like it' if wrong[1:] else ''}; give weights of this very network"
        )
    drawn = head if differing else set()
    model.load_state_dict({name: tensors[name] for name in wanted if name not in drawn}, strict=False)
    return f"{source}: its weights are taken, the head is of other classes and drawn anew" if drawn else ""
