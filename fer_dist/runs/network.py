"""What a trained network is: its emotions, its crops, its shape; all that builds it anew."""

from dataclasses import dataclass

import torch

from fer_dist.config.settings import Config
from fer_dist.data.emotions import EIGHT, SEVEN
from fer_dist.model import SEResNet18


@dataclass(frozen=True)
class Network:
    """A network and what one must know to use it. Stored in the metadata of its safetensors file."""

    emotions: tuple[str, ...]
    size: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    width: int
    reduction: int
    bias: bool
    architecture: str = "se-resnet-18"


def network_of(config: Config) -> Network:
    data, model = config.data, config.model
    emotions = SEVEN if model.emotions == "seven" else EIGHT
    return Network(emotions, data.size, data.crop, data.mean, data.std, model.width, model.reduction, model.bias)


def build(network: Network) -> SEResNet18:
    """The network of that description, with weights drawn from torch's generator."""
    return SEResNet18(len(network.emotions), network.width, network.reduction, network.bias)


def shape_differences(theirs: Network, ours: Network) -> str:
    """Why the weights of one do not fit the other, as `width 16, here 64`; empty where they do, the head aside."""
    names = [name for name in ("width", "reduction", "bias") if getattr(theirs, name) != getattr(ours, name)]
    return "; ".join(f"{name} {getattr(theirs, name)}, here {getattr(ours, name)}" for name in names)


def on_device(model: SEResNet18, device: torch.device) -> SEResNet18:
    """The network on a device, its weights channels-last."""
    return model.to(device).to(memory_format=torch.channels_last)
