"""Everything that a training run will need, looked at before anything is touched."""

import numpy as np
import torch
from torch import nn

from fer_dist.config.checks import check
from fer_dist.config.settings import Config
from fer_dist.data.loading.order import Positions
from fer_dist.data.loading.reader import Reader
from fer_dist.errors import InputError, counted
from fer_dist.runs.network import Network, build_for
from fer_dist.train.given import Opened, open_given
from fer_dist.train.inputs import Inputs, fitting_network, open_inputs, start_from
from fer_dist.train.optimizer import parts_of
from fer_dist.train.zero import check_zero

SOFT_LOOK = 256
"""Images in which a soft label is looked for before soft training starts."""


def check_job(config: Config, workers: int, opened: Opened | None = None) -> Inputs:
    """Look at everything that a run will need, and touch nothing. opened: sets that are not to be opened again.

    Returns what the run then trains on. Raises InputError with the flag and the remedy.
    """
    check(config)
    if config.train.strategy == "deepspeed":
        check_zero(config.train)
    inputs = open_inputs(config, open_given(config, opened))
    inputs.order.share(0, max(workers, 1))
    if inputs.reader.soft:
        _check_soft(inputs.reader)
    if config.model.pretrained or not inputs.network.is_ours:
        _check_network(config, inputs.network)
    elif config.train.init_from:
        fitting_network(inputs.network, config)
    return inputs


def _check_network(config: Config, network: Network) -> None:
    """Look at what a network that is not ours makes of images, and whether it has the parts that settings speak of.

    On the CPU, with a network that is then forgotten. Raises InputError.
    """
    flag, train = f"--model.network {config.model.network}", config.train
    with torch.random.fork_rng(devices=[]):
        model = build_for(config)
        if any(nn.parameter.is_lazy(parameter) for parameter in model.parameters()):
            raise InputError(f"{flag}: has layers that learn their shape from the first batch; state their shapes")
        start_from(model, network, config)
        for is_training in (False, True):
            _check_outputs(model.train(is_training), network, flag)
    idle = [name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None]
    if idle:
        raise InputError(
            f"{flag}: {len(idle)} of its parameters take no part in the logits, as {idle[0]}, and workers would wait "
            "for their gradients; leave them out, or set requires_grad to False"
        )
    parts = len(parts_of(model))
    if parts == 1 and (train.freeze or train.layer_decay != 1):
        setting = "--train.freeze" if train.freeze else "--train.layer-decay"
        raise InputError(
            f"{setting} is not available for {flag}, which has no method parts(): lists of modules from the input to "
            "the head; give it one, or leave the setting out"
        )
    if train.freeze >= parts:
        raise InputError(f"--train.freeze {train.freeze}: the network has {parts} parts, so that nothing would train")


def _check_outputs(model: nn.Module, network: Network, flag: str) -> None:
    """Raises InputError where two images do not become their logits, or these cannot be learned from."""
    side, classes = network.crop, len(network.emotions)
    images = torch.randn(2, 3, side, side).to(memory_format=torch.channels_last)
    try:
        logits = model(images)
    except Exception as error:
        said = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"[:300]
        raise InputError(
            f"{flag}: cannot take images [2, 3, {side}, {side}] ({said}); --data.crop sets their side"
        ) from error
    given, wanted = f"{flag}: gives", f"for images [2, 3, {side}, {side}]; expected logits, float [2, {classes}]"
    if not isinstance(logits, torch.Tensor):
        raise InputError(f"{given} a {type(logits).__name__} {wanted}")
    if list(logits.shape) != [2, classes] or not logits.is_floating_point():
        raise InputError(f"{given} {str(logits.dtype).removeprefix('torch.')} {list(logits.shape)} {wanted}")
    if not logits.requires_grad:
        raise InputError(f"{flag}: none of its parameters trains; there must be one that does")
    logits.sum().backward()


def _check_soft(reader: Reader) -> None:
    """Raises InputError where the first images of the set have no soft label: then hardly any has one."""
    shard = int(np.flatnonzero(reader.counts)[0])
    position = np.arange(min(SOFT_LOOK, reader.counts[shard]))
    found = reader.facts(Positions(np.full_like(position, shard), position))
    if all(facts.get("soft") is None for facts in found):
        raise InputError(
            f"--train.loss soft: of the first {counted(len(found), 'image')} of {reader.folder} none has a soft label "
            "(soft in its json); use --train.loss hard, or a set that has them, as of fer-dist shards build ferplus"
        )
