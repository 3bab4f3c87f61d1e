"""Each model with each set, for what is measured beside the scores."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from fer_dist.config.settings import EvaluateConfig
from fer_dist.data.loading.loader import open_reader
from fer_dist.data.loading.reader import Reader
from fer_dist.distributed.world import pick_device
from fer_dist.runs.checkpoint import load_model
from fer_dist.runs.folder import ONNX, RunFolder, entered
from fer_dist.runs.network import Network, on_device
from fer_dist.runs.onnx_file import load_onnx


@dataclass(frozen=True)
class Pair:
    """A model, on the device, and a set. home: of the model, open until the pair after its last one is asked for."""

    home: RunFolder
    network: Network
    model: nn.Module
    reader: Reader


def open_model(home: RunFolder, config: EvaluateConfig) -> tuple[Network, nn.Module]:
    """A model in evaluation mode, and its description. Raises InputError as `load_model` and `load_onnx` do."""
    if home.path.suffix == ONNX and home.path.is_file():
        return load_onnx(home.path, config)
    return load_model(home, config.checkpoint, config.network)


def pairs_of(config: EvaluateConfig) -> Iterator[Pair]:
    """Every model with every set, both opened when their turn comes. Raises InputError where one does not fit."""
    device = pick_device(config.device)
    for path in config.models:
        home = entered(path)
        network, model = open_model(home, config)
        model = on_device(model, device)
        for shards in config.data:
            yield Pair(home, network, model, open_reader(shards, network.emotions, config.reading, "--data"))
        home.close()
