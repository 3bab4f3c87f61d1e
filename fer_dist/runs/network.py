"""What a trained network is: its emotions, its crops, its architecture; all that builds it anew."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

import torch
from annotated_types import Interval, Len
from torch import Tensor, nn

from fer_dist.config.settings import Config
from fer_dist.data.emotions import fault_of_names, model_classes
from fer_dist.data.shards.crop_rule import CropRule
from fer_dist.errors import InputError
from fer_dist.model import SEResNet18
from fer_dist.runs.architecture import LONGEST, OURS, TIMM, is_of_timm, is_own, own_maker
from fer_dist.storage.untrusted import Count, Number, record

OURS_IN_FILES = "se-resnet-18"

Size = Annotated[int, Interval(ge=1, le=1 << 16)]
WRITTEN_BY_US = "give a file that fer-dist train wrote, as it wrote it"

Deviation = Annotated[float, Interval(gt=0, lt=math.inf)]


@dataclass(frozen=True)
class Network:
    """A network and what one must know to use it. Stored in the metadata of its safetensors file.

    width, reduction, bias: of our own architecture; others have a name alone.
    """

    emotions: Annotated[tuple[str, ...], Len(1)]
    size: Size
    crop: Size
    mean: tuple[Number, Number, Number]
    std: tuple[Deviation, Deviation, Deviation]
    width: Size
    reduction: Size
    bias: bool
    architecture: Annotated[str, Len(1, LONGEST)] = OURS_IN_FILES
    crop_rule: CropRule | None = None
    """Of the set that it was trained on; None: not known."""
    counts: dict[str, Count] | None = None
    """Images of each emotion that it was trained on; None: not known."""

    @property
    def is_ours(self) -> bool:
        return self.architecture == OURS_IN_FILES


def network_of(config: Config) -> Network:
    """The network that a configuration describes. Raises InputError for classes that cannot be."""
    data, model = config.data, config.model
    emotions = model_classes(model.emotions, "--model.emotions")
    shape = model.width, model.reduction, model.bias
    architecture = OURS_IN_FILES if model.network == OURS else model.network
    return Network(emotions, data.size, data.crop, data.mean, data.std, *shape, architecture)


def build(network: Network, given: Collection[str] = ()) -> nn.Module:
    """The network of that description, with weights drawn from torch's generator.

    given: the user's own networks that may be imported, see architecture.py.
    Raises InputError where it is none of them, or timm has no such network.
    """
    classes = len(network.emotions)
    if network.is_ours:
        return SEResNet18(classes, network.width, network.reduction, network.bias)
    if network.architecture.startswith(TIMM):
        return _of_timm(network.architecture.removeprefix(TIMM), classes, network.crop)
    made = own_maker(network.architecture, given)(classes)
    if not isinstance(made, nn.Module):
        raise InputError(f"{network.architecture}: gave a {type(made).__name__}, and should give an nn.Module")
    return made


def build_for(config: Config) -> nn.Module:
    """The network of a configuration, as `build`."""
    return build(network_of(config), (config.model.network,))


def _of_timm(name: str, classes: int, crop: int) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise InputError(f"timm:{name}: timm is not installed; pip install 'fer-dist[timm]'") from None
    if not timm.is_model(name):
        start = name.partition(".")[0][:6]
        like = ", ".join((timm.list_models(f"{start}*") or timm.list_models(f"*{start}*"))[:8])
        raise InputError(f"timm:{name}: timm {timm.__version__} has no such network{like and f'; it has {like}'}")
    # A network of patches is made for one size of image.
    is_fixed = getattr(timm.get_pretrained_cfg(name, allow_unregistered=True), "fixed_input_size", False)
    more: dict[str, Any] = {"img_size": crop} if is_fixed else {}
    made: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, **more)
    return made


def described(text: str, source: str) -> Network:
    """The description in a file's metadata. Raises InputError, which begins with source, where it is none."""
    unknown = set(record(dict[str, Any], text, source, WRITTEN_BY_US)) - {item.name for item in fields(Network)}
    if unknown:
        raise InputError(f"{source} that this version knows: it has {', '.join(sorted(unknown))[:80]}; use a newer one")
    network = record(Network, text, source, WRITTEN_BY_US)
    if not (network.is_ours or is_of_timm(network.architecture) or is_own(network.architecture)):
        lacks = f"its architecture is {network.architecture[:80]!r}, which this version lacks"
        raise InputError(f"{source}: {lacks}; {WRITTEN_BY_US}")
    if network.crop > network.size or len(set(network.emotions)) < len(network.emotions):
        raise InputError(f"{source}: its crop is larger than its size, or an emotion comes twice; {WRITTEN_BY_US}")
    if fault := fault_of_names(network.emotions):
        raise InputError(f"{source}: its classes: {fault}; {WRITTEN_BY_US}")
    return network


def check_described(network: Network, shapes: Mapping[str, list[int]], source: str) -> None:
    """Look at the shapes of a file's weights before anything of the size that it describes is made.

    Raises InputError where they are others, or the architecture is none that can be built here.
    """
    if network.is_ours:
        # Of two of its weights, which grow as the whole network does, whose other weights take four times as much.
        last = 8 * network.width
        wanted = {"head.weight": [len(network.emotions), last], "stages.3.1.conv2.weight": [last, last, 3, 3]}
    elif network.architecture.startswith(TIMM):
        with torch.device("meta"):
            wanted = {name: list(tensor.shape) for name, tensor in build(network).state_dict().items()}
    else:
        # A user's own: who gave it, trusts it.
        return
    found = {name: shapes[name] for name in wanted if name in shapes}
    if found != wanted:
        differing = {name: shape for name, shape in wanted.items() if found.get(name) != shape}
        told = {name: found[name] for name in differing if name in found}
        raise InputError(
            f"{source}: weights of {str(told)[:200]}, described are {str(differing)[:200]}; {WRITTEN_BY_US}"
        )


def head_of(model: nn.Module) -> set[str]:
    """Names of the tensors of a network's last layer, whose outputs are the classes; empty where it is not known."""
    known = getattr(model, "default_cfg", None)
    names = known.get("classifier") if isinstance(known, dict) else None
    if names:
        heads = (names,) if isinstance(names, str) else tuple(names)
        return {name for name in model.state_dict() if name.startswith(tuple(f"{head}." for head in heads))}
    parts = own_parts(model)
    last = (
        {id(tensor) for module in parts[-1] for tensor in module.state_dict(keep_vars=True).values()} if parts else ()
    )
    return {name for name, tensor in model.state_dict(keep_vars=True).items() if id(tensor) in last}


def own_parts(model: nn.Module) -> list[list[nn.Module]]:
    """What a network's method parts() says: its modules from the input to the head; empty where it has none."""
    parts: Any = getattr(model, "parts", None)
    return [list(part) for part in parts()] if callable(parts) else []


def check_weights(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
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
    of_ours = ("width", "reduction", "bias") if theirs.is_ours and ours.is_ours else ()
    names = [name for name in ("architecture", *of_ours) if getattr(theirs, name) != getattr(ours, name)]
    return "; ".join(f"{name} {getattr(theirs, name)}, here {getattr(ours, name)}" for name in names)


def on_device(model: nn.Module, device: torch.device) -> nn.Module:
    """The network on a device, its weights channels-last."""
    return model.to(device).to(memory_format=torch.channels_last)
