"""A network and its optimiser on each rank whole, their gradients averaged by torch's DistributedDataParallel."""

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fer_dist.config.settings import TrainConfig
from fer_dist.distributed.hardware import HALF
from fer_dist.distributed.world import World

# torch 2.13 renamed it; the new one still sends the buffers once, at the start.
_NEW_FLAG = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
_OWN_BUFFERS: dict[str, Any] = {"forward_sync_buffers" if _NEW_FLAG else "broadcast_buffers": False}


class Ddp:
    """How a step is taken with train.strategy ddp; with one rank, without any exchange."""

    def __init__(self, train: TrainConfig, model: nn.Module, optimizer: torch.optim.Optimizer, world: World) -> None:
        self.optimizer = optimizer
        self.network = model
        self.half = HALF.get(train.precision)
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=train.precision == "fp16")
        if world.size > 1:
            # Buffers are averaged by the engine instead of being sent from rank 0 at each step.
            self.network = DistributedDataParallel(model, gradient_as_bucket_view=True, **_OWN_BUFFERS)
            if train.compress == "bf16":
                from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook

                self.network.register_comm_hook(None, bf16_compress_hook)
        # As zeros from the start: equal to a first step without them, and there where that step is skipped (fp16).
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        return torch.autocast(device.type, self.half, enabled=self.half is not None)

    def all_parts(self) -> AbstractContextManager[Any]:
        """Around all micro-batches of a step."""
        return nullcontext()

    def one_part(self, last: bool) -> AbstractContextManager[Any]:
        """Around forward and backward of one micro-batch; gradients are exchanged with the last one."""
        if last or not isinstance(self.network, DistributedDataParallel):
            return nullcontext()
        return self.network.no_sync()

    def backward(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()

    def update(self) -> None:
        """Move the weights by the gradients, and forget these."""
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def momentum(self, parameter: nn.Parameter) -> Tensor:
        """The whole momentum of a parameter that trains."""
        found: Tensor = self.optimizer.state[parameter]["momentum_buffer"]
        return found

    def load_momentum(self, parameter: nn.Parameter, value: Tensor) -> None:
        self.optimizer.state[parameter]["momentum_buffer"].copy_(value)

    def scaler_state(self) -> dict[str, Any]:
        return self.scaler.state_dict()

    def load_scaler_state(self, state: dict[str, Any]) -> None:
        # A run that began without a scaler (deepspeed, or another precision) has none.
        if state:
            self.scaler.load_state_dict(state)
