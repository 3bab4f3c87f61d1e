"""Each model with each set, for what is measured beside the scores."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from fer_dist.config.settings import EvaluateConfig
from fer_dist.data.loading.loader import open_reader
from fer_dist.data.loading.reader import Reader
from fer_dist.distributed.world import pick_device
from fer_dist.runs.checkpoint import load_model, weights_file
from fer_dist.runs.folder import ONNX, RunFolder, entered
from fer_dist.runs.network import Network, on_device
from fer_dist.runs.onnx_file import load_onnx


@dataclass(frozen=True)
class Pair:
    """A model, on the device, and a set. home: of the model, open until the pair after its last one is asked for.

    file: of its weights.
    """

    home: RunFolder
    file: Path
    network: Network
    model: nn.Module
    reader: Reader


def open_model(file: Path, config: EvaluateConfig) -> tuple[Network, nn.Module]:
    """A model in evaluation mode, and its description. Raises InputError as `load_model` and `load_onnx` do."""
    return load_onnx(file, config) if file.suffix == ONNX else load_model(file, given=config.network)


def pairs_of(config: EvaluateConfig) -> Iterator[Pair]:
    """Every model with every set, both opened when their turn comes. Raises InputError where one does not fit."""
    device = pick_device(config.device)
    for path in config.models:
        home = entered(path)
        file = weights_file(home, config.checkpoint)
        network, model = open_model(file, config)
        model = on_device(model, device)
        for shards in config.data:
            yield Pair(home, file, network, model, open_reader(shards, network.emotions, config.reading, "--data"))
        home.close()
