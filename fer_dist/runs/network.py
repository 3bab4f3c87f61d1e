"""What a trained network is: its emotions, its crops, its shape; all that builds it anew."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Interval, Len
from torch import Tensor

from fer_dist.config.settings import Config
from fer_dist.data.emotions import model_classes
from fer_dist.errors import InputError
from fer_dist.model import SEResNet18
from fer_dist.storage.untrusted import Number

Size = Annotated[int, Interval(ge=1, le=1 << 16)]
WRITTEN_BY_US = "give a file that fer-dist train wrote, as it wrote it"

Deviation = Annotated[float, Interval(gt=0, lt=math.inf)]


@dataclass(frozen=True)
class Network:
    """A network and what one must know to use it. Stored in the metadata of its safetensors file."""

    emotions: Annotated[tuple[str, ...], Len(1)]
    size: Size
    crop: Size
    mean: tuple[Number, Number, Number]
    std: tuple[Deviation, Deviation, Deviation]
    width: Size
    reduction: Size
    bias: bool
    architecture: Literal["se-resnet-18"] = "se-resnet-18"


def network_of(config: Config) -> Network:
    """The network that a configuration describes. Raises InputError for classes that cannot be."""
    data, model = config.data, config.model
    emotions = model_classes(model.emotions, "--model.emotions")
    return Network(emotions, data.size, data.crop, data.mean, data.std, model.width, model.reduction, model.bias)


def build(network: Network) -> SEResNet18:
    """The network of that description, with weights drawn from torch's generator."""
    return SEResNet18(len(network.emotions), network.width, network.reduction, network.bias)


def shapes_that_tell(network: Network) -> dict[str, list[int]]:
    """Of two of its weights. They grow as the whole network does, whose other weights take four times as much."""
    last = 8 * network.width
    return {"head.weight": [len(network.emotions), last], "stages.3.1.conv2.weight": [last, last, 3, 3]}


def check_weights(model: SEResNet18, tensors: Mapping[str, Tensor], source: str) -> None:
    """Raises InputError that names the first of the tensors that is not the network's. source: their file."""
    wanted = model.state_dict()
    for names, other, fault in ((wanted, tensors, "has no"), (tensors, wanted, "has, beside a network's,")):
        found = [name for name in names if name not in other]
        if found:
            raise InputError(f"{source}: {fault} {found[0][:80]}; {WRITTEN_BY_US}")
    for name, weights in wanted.items():
        found_kind, kind = (one.is_floating_point() for one in (tensors[name], weights))
        if tensors[name].shape != weights.shape or found_kind != kind:
            raise InputError(
                f"{source}: {name} is {tensors[name].dtype} {list(tensors[name].shape)}, but the network's is "
                f"{weights.dtype} {list(weights.shape)}; {WRITTEN_BY_US}"
            )


def shape_differences(theirs: Network, ours: Network) -> str:
    """Why the weights of one do not fit the other, as `width 16, here 64`; empty where they do, the head aside."""
    names = [name for name in ("width", "reduction", "bias") if getattr(theirs, name) != getattr(ours, name)]
    return "; ".join(f"{name} {getattr(theirs, name)}, here {getattr(ours, name)}" for name in names)


def on_device(model: SEResNet18, device: torch.device) -> SEResNet18:
    """The network on a device, its weights channels-last."""
    return model.to(device).to(memory_format=torch.channels_last)
