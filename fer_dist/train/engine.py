"""One optimiser step: forward, loss, backward, update. How ranks share it is the strategy's: DDP's here, or zero.py."""

import inspect
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fer_dist.config.settings import Config, TrainConfig
from fer_dist.data.draws import hashed
from fer_dist.data.loading.loader import Batch
from fer_dist.data.loading.pipeline import views_of
from fer_dist.distributed.hardware import HALF, takes_half
from fer_dist.distributed.world import World
from fer_dist.errors import InputError
from fer_dist.evaluate.predict import correct_of_each, evaluating
from fer_dist.model import SEResNet18
from fer_dist.train.optimizer import freeze, open_optimizer, set_rate
from fer_dist.train.zero import Zero

NEVER = 2**62


@dataclass(frozen=True)
class Totals:
    """What happened between two looks, over all ranks.

    accuracy: of the answers that the loss took, so with views "expand" of the crops. bad_step: first step whose loss
    was not finite, or -1. is_finite: whether every weight of this rank was a number.
    """

    loss: float
    accuracy: float
    images: int
    bad_step: int
    is_finite: bool


@dataclass(frozen=True)
class Look:
    """What was asked of the device, on its way to the host while the device goes on.

    values: float64 [5], the sums of loss, correct answers and images, the bad step, and whether all weights are finite.
    """

    world: World
    values: Tensor
    arrived: torch.cuda.Event | None

    def totals(self) -> Totals:
        """Wait for them, and for the other ranks: each has to call this."""
        if self.arrived:
            self.arrived.synchronize()
        bad, is_finite = int(self.values[3]), bool(self.values[4])
        loss, correct, images = self.world.sum(self.values[:3]).tolist()
        images = max(images, 1)
        first_bad = self.world.min(bad if bad >= 0 else NEVER)
        bad = -1 if first_bad == NEVER else first_bad
        return Totals(loss / images, correct / images, int(images), bad, is_finite)


class Engine:
    """Holds the network and its optimiser on one rank, and takes steps with them."""

    def __init__(self, config: Config, model: nn.Module, world: World) -> None:
        """model: on the device already; its weights must be the same on every rank."""
        self.config = config
        self.world = world
        self.model = model
        self.views = views_of(config.data)
        self.frozen = freeze(model, config.train.freeze)
        self.optimizer = open_optimizer(config.train, model)
        open_strategy = Zero if config.train.strategy == "deepspeed" else Ddp
        self.strategy: Zero | Ddp = open_strategy(config.train, model, self.optimizer, world)
        self.strategy.network.train()
        for module in self.frozen:
            module.eval()
        # How many crops the network is compiled for, 0 where that failed; None where nobody asked for it.
        self._compiled_crops: int | None = None
        # Summed on the device and read once per log interval: .item() each step waits for the GPU.
        self._sums = torch.zeros(3, dtype=torch.float64, device=world.device)
        self._bad_step = torch.tensor(-1, device=world.device)

    def step(self, batch: Batch, lr: float) -> None:
        """Move the weights by one batch.

        The mean is over the images that the ranks have together, whatever their shares are; every rank is called.
        """
        set_rate(self.optimizer, lr)
        if not isinstance(self.model, SEResNet18):
            # Dropout and its like draw the same in a run that goes on; ours draws nothing.
            torch.manual_seed(int(hashed(self.config.train.seed, batch.step, self.world.rank)[()]) >> 1)
        images = len(batch.labels)
        targets = batch.labels if batch.targets is None else batch.targets
        size = self.config.train.micro_batch or max(images, 1)
        # The ranks' gradients are averaged: of a sum, times this, that is the mean.
        share = self.world.size / self._in_all(images)
        with self.strategy.all_parts():
            for start in range(0, images, size):
                part = slice(start, start + size)
                crops = batch.crops[start * self.views : (start + size) * self.views]
                with self.strategy.one_part(last=start + size >= images):
                    loss = self._loss(crops, targets[part], batch.labels[part], batch.step)
                    self.strategy.backward(loss * share)
            if not images:
                self._take_part(batch.crops)
        self.strategy.update()

    def compile(self, images: int) -> str:
        """Compile the network for a rank's whole share of a step, so many images; every rank is called.

        Batches of another size, which would each take a compilation, go through it as it is: so does the last part of a
        share that micro-batches do not divide. Nothing is padded, which would change the running statistics.
        Returns why the network stays as it is, for all ranks, where the compiler of one of them fails; else nothing.
        """
        from torch._dynamo.exc import TorchDynamoException

        train, data = self.config.train, self.config.data
        kind = torch.float16 if takes_half(train.precision, self.world.device) else torch.float32
        count = self.views * min(train.micro_batch or images, images)
        crops = torch.zeros(count, data.crop, data.crop, 3, dtype=kind, device=self.world.device).permute(0, 3, 1, 2)
        before = [buffer.clone() for buffer in self.model.buffers()]
        self.strategy.compile(mode="reduce-overhead" if train.compile == "graphs" else None)
        self._compiled_crops, fault = count, ""
        try:
            # Forward and backward are compiled together. Without gradients, which the other ranks would wait for.
            with self.strategy.one_part(last=False):
                self._logits(crops)
        except TorchDynamoException as error:
            cause = getattr(error, "inner_exception", error)
            fault = f"{type(cause).__name__}: {str(cause).strip().partition(chr(10))[0]}"
        for buffer, old in zip(self.model.buffers(), before, strict=True):
            buffer.copy_(old)
        fault = next(filter(None, self.world.all_gather_object(fault)), "")
        if fault:
            self._compiled_crops = 0
        return fault

    def totals(self) -> Totals:
        """What happened since the last look, at once. Waits for the device and the other ranks."""
        return self.look().totals()

    def look(self, forget: bool = True) -> Look:
        """Ask for what happened since the last look that forgot it. Waits for nothing.

        forget: whether the next look begins anew; else it takes in these steps as well.
        """
        is_finite = torch.stack([parameter.isfinite().all() for parameter in self.model.parameters()]).all()
        values = torch.cat([self._sums, torch.stack([self._bad_step, is_finite])])
        if forget:
            self._sums.zero_()
        if self.world.device.type != "cuda":
            return Look(self.world, values, None)
        # On its way to memory that is pinned for it.
        values, arrived = values.to("cpu", non_blocking=True), torch.cuda.Event()
        arrived.record(torch.cuda.current_stream(self.world.device))
        return Look(self.world, values, arrived)

    def settle(self) -> None:
        """Give every rank the mean of the ranks' running statistics: before evaluation and before a checkpoint."""
        # Not of what is frozen: a mean of equal numbers may differ from them in the last bit.
        still = {id(buffer) for module in self.frozen for buffer in module.buffers()}
        self.world.mean([buffer for buffer in self.model.buffers() if id(buffer) not in still])

    def state(self) -> dict[str, Tensor]:
        """The optimiser's tensors, whole, by the name of their parameter. Every rank must ask: they may be spread."""
        return {name: self.strategy.momentum(parameter) for name, parameter in self._trained()}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take what `state` gave, with the same strategy or the other. Raises InputError where it is another's."""
        for name, parameter in self._trained():
            if name not in tensors or tensors[name].shape != parameter.shape or not tensors[name].is_floating_point():
                raise InputError(f"the checkpoint's optimizer has no momentum for {name}; choose another --run.name")
            self.strategy.load_momentum(parameter, tensors[name])

    def scaler_state(self) -> dict[str, Any]:
        return self.strategy.scaler_state()

    def load_scaler_state(self, state: dict[str, Any]) -> None:
        self.strategy.load_scaler_state(state)

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, parameter) for name, parameter in self.model.named_parameters() if parameter.requires_grad]

    def _loss(self, crops: Tensor, targets: Tensor, labels: Tensor, step: int) -> Tensor:
        """The losses of some images, added up.

        targets: int64 [B], outputs of the model, or float32 [B, K], shares of them.
        """
        config = self.config.train
        logits = self._logits(crops).unflatten(0, (-1, self.views))
        if self.config.data.views == "fold":
            losses = F.cross_entropy(logits.mean(1), targets, reduction="none", label_smoothing=config.label_smoothing)
        else:
            losses = (
                F.cross_entropy(
                    logits.flatten(0, 1),
                    targets.repeat_interleave(self.views, 0),
                    reduction="none",
                    label_smoothing=config.label_smoothing,
                )
                .unflatten(0, (-1, self.views))
                .mean(1)
            )
        total = losses.sum()
        with torch.no_grad():
            correct = correct_of_each(logits, labels, self.config.data.views).sum()
            self._sums += torch.stack([total.double(), correct, torch.full_like(correct, len(labels))])
            broke = ~torch.isfinite(total) & (self._bad_step < 0)
            self._bad_step = torch.where(broke, step, self._bad_step)
        return total

    def _logits(self, crops: Tensor) -> Tensor:
        """float32 [B * V, K]."""
        as_it_is = self._compiled_crops is not None and len(crops) != self._compiled_crops
        with (
            torch.compiler.set_stance("force_eager") if as_it_is else nullcontext(),
            self.strategy.autocast(crops.device),
        ):
            return cast(Tensor, self.strategy.network(crops).float())

    def _in_all(self, images: int) -> int:
        """Images of a batch over all ranks, at least 1. images: of this one."""
        train, data = self.config.train, self.config.data
        if data.on_bad == "stop":
            return train.batch_size
        return max(1, int(self.world.sum(torch.tensor(float(images), dtype=torch.float64))))

    def _take_part(self, crops: Tensor) -> None:
        """Give the other ranks the gradient that they wait for where none of this one's images decodes: zeros.

        crops: none, of the usual size. In evaluation mode, so that the running statistics stay as they are.
        """
        with evaluating(self.model):
            logits = self._logits(crops.new_zeros(1, *crops.shape[1:]))
        self.strategy.backward(logits.sum() * 0)


# torch 2.13 renamed it; the new one still sends the buffers once, at the start.
_NEW_FLAG = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters


_OWN_BUFFERS: dict[str, Any] = {"forward_sync_buffers" if _NEW_FLAG else "broadcast_buffers": False}


class Ddp:
    """How a step is taken with train.strategy ddp; with one rank, without any exchange."""

    def __init__(self, train: TrainConfig, model: nn.Module, optimizer: torch.optim.Optimizer, world: World) -> None:
        self.optimizer = optimizer
        self.network = model
        self.parallel: DistributedDataParallel | None = None
        self.half = HALF.get(train.precision)
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=train.precision == "fp16")
        if world.size > 1:
            # Buffers are averaged by the engine instead of being sent from rank 0 at each step.
            self.parallel = DistributedDataParallel(model, gradient_as_bucket_view=True, **_OWN_BUFFERS)
            self.network = self.parallel
            if train.compress == "bf16":
                from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook

                self.parallel.register_comm_hook(None, bf16_compress_hook)
        # As zeros from the start: equal to a first step without them, and there where that step is skipped (fp16).
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        return torch.autocast(device.type, self.half, enabled=self.half is not None)

    def compile(self, mode: str | None) -> None:
        """Around DDP: torch then cuts the network where DDP's buckets end, whose gradients travel beside the rest.

        mode: of torch.compile.
        """
        self.network = cast(nn.Module, torch.compile(self.network, dynamic=False, mode=mode))

    def all_parts(self) -> AbstractContextManager[Any]:
        """Around all micro-batches of a step."""
        return nullcontext()

    def one_part(self, last: bool) -> AbstractContextManager[Any]:
        """Around forward and backward of one micro-batch; gradients are exchanged with the last one."""
        return nullcontext() if last or not self.parallel else self.parallel.no_sync()

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
            missing = set(self.scaler.state_dict()) - set(state)
            if missing:
                raise InputError(f"the checkpoint's scaler has no {min(missing)}; choose another --run.name")
            self.scaler.load_state_dict(state)
