"""One optimiser step: forward, loss, backward, update. Precision, DDP and accumulation live here and nowhere else."""

import inspect
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fer_dist.config import Config
from fer_dist.data.loader import Batch
from fer_dist.data.pipeline import views_of
from fer_dist.world import World

# torch 2.13 renamed it; the new one still sends the buffers once, at the start.
_NEW_FLAG = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
_OWN_BUFFERS: dict[str, Any] = {"forward_sync_buffers" if _NEW_FLAG else "broadcast_buffers": False}

NEVER = 2**62
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Totals:
    """What happened since the last look, over all ranks. bad_step: first step whose loss was not finite, or -1."""

    loss: float
    accuracy: float
    pictures: int
    bad_step: int


class Engine:
    """Holds the network and its optimiser on one rank, and takes steps with them."""

    def __init__(self, config: Config, model: nn.Module, world: World) -> None:
        """model: on the device already; its weights must be the same on every rank."""
        self.config = config
        self.world = world
        self.model = model
        self.views = views_of(config.data)
        self.trained = self._wrapped(model)
        self.optimizer = _open_optimizer(config, model)
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=config.train.precision == "fp16")
        # Summed on the device and read once per log interval: .item() each step waits for the GPU.
        self._sums = torch.zeros(3, dtype=torch.float64, device=world.device)
        self._bad_step = torch.tensor(-1, device=world.device)

    def step(self, batch: Batch, lr: float) -> None:
        """Move the weights by one batch. The mean is over the global batch, whatever the ranks' shares are."""
        self.trained.train()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        pictures = len(batch.labels)
        targets = batch.labels if batch.targets is None else batch.targets
        size = self.config.train.micro_batch or max(pictures, 1)
        for start in range(0, pictures, size):
            last = start + size >= pictures
            part = slice(start, start + size)
            crops = batch.crops[start * self.views : (start + size) * self.views]
            with nullcontext() if last else self._unsynchronised():
                loss = self._loss(crops, targets[part], batch.labels[part], batch.step)
                self.scaler.scale(loss).backward()
        if not pictures:
            self._take_part(batch.crops)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def totals(self) -> Totals:
        """Mean loss and accuracy since the last call. Waits for the device and the other ranks."""
        bad = int(self._bad_step.item())
        loss, correct, pictures = self.world.total(self._sums.cpu()).tolist()
        self._sums.zero_()
        pictures = max(pictures, 1)
        first_bad = self.world.least(bad if bad >= 0 else NEVER)
        return Totals(loss / pictures, correct / pictures, int(pictures), -1 if first_bad == NEVER else first_bad)

    def is_finite(self) -> bool:
        """Whether every weight is a number. Waits for the device."""
        return bool(torch.stack([parameter.isfinite().all() for parameter in self.model.parameters()]).all())

    def settle(self) -> None:
        """Give every rank the mean of the ranks' batch statistics: before evaluation and before a checkpoint."""
        self.world.average(list(self.model.buffers()))

    def state(self) -> dict[str, Tensor]:
        """The optimiser's tensors, by the name of their parameter."""
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        return {names[id(p)]: state["momentum_buffer"] for p, state in self.optimizer.state.items()}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        for name, parameter in self.model.named_parameters():
            self.optimizer.state[parameter]["momentum_buffer"].copy_(tensors[name])

    def scaler_state(self) -> dict[str, Any]:
        return self.scaler.state_dict()

    def load_scaler_state(self, state: dict[str, Any]) -> None:
        if state:
            self.scaler.load_state_dict(state)

    def _loss(self, crops: Tensor, targets: Tensor, labels: Tensor, step: int) -> Tensor:
        """The loss of some pictures, scaled so that the ranks' mean is the mean over the global batch.

        targets: int64 [B], outputs of the model, or float32 [B, K], shares of them.
        """
        config = self.config.train
        half = HALF.get(config.precision)
        with torch.autocast(crops.device.type, half, enabled=half is not None):
            logits = self.trained(crops).float()
        logits = logits.unflatten(0, (-1, self.views))
        mean_logits = logits.mean(1)
        if self.config.data.views == "fold":
            losses = F.cross_entropy(mean_logits, targets, reduction="none", label_smoothing=config.label_smoothing)
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
            correct = (mean_logits.argmax(1) == labels).sum()
            self._sums += torch.stack([total, correct, torch.full_like(total, len(labels))]).double()
            broke = ~torch.isfinite(total) & (self._bad_step < 0)
            self._bad_step = torch.where(broke, step, self._bad_step)
        return total * (self.world.size / config.batch_size)

    def _take_part(self, crops: Tensor) -> None:
        """Give the other ranks the gradient that they wait for where none of this one's pictures decodes: zeros.

        crops: none, of the usual size. In evaluation mode, so that the batch statistics stay as they are.
        """
        self.trained.eval()
        half = HALF.get(self.config.train.precision)
        with torch.autocast(crops.device.type, half, enabled=half is not None):
            logits = self.trained(crops.new_zeros(1, *crops.shape[1:]))
        self.scaler.scale(logits.float().sum() * 0).backward()

    def _wrapped(self, model: nn.Module) -> nn.Module:
        """The module that the loss goes through: compiled where asked for, then DDP where there are several ranks."""
        if self.config.train.compile:
            model = cast(nn.Module, torch.compile(model))
        if self.world.size == 1:
            return model
        # Buffers are averaged in `settle` instead of being sent from rank 0 at each step.
        return DistributedDataParallel(model, gradient_as_bucket_view=True, **_OWN_BUFFERS)

    def _unsynchronised(self) -> Any:
        return self.trained.no_sync() if isinstance(self.trained, DistributedDataParallel) else nullcontext()


def _open_optimizer(config: Config, model: nn.Module) -> torch.optim.Optimizer:
    """SGD; weight decay only on what has more than one dimension, so not on normalisation layers and biases."""
    train = config.train
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": train.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=train.lr, momentum=train.momentum, nesterov=train.nesterov)
    # As zeros from the start: equal to a first step without them, and there where that step is skipped (fp16).
    for parameter in model.parameters():
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer
