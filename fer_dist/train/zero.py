"""A network and its optimiser in DeepSpeed's hands: ZeRO stages 0 to 2. The one file that imports DeepSpeed.

It is handed our own SGD, learning rates and micro-batches; checkpoints are ours too, so that either strategy goes on
with those of the other.
"""

import importlib.util
import json
import logging
import os
import warnings
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fer_dist.config.settings import TrainConfig
from fer_dist.config.torchrun import launched
from fer_dist.distributed.world import World
from fer_dist.errors import InputError
from fer_dist.storage.untrusted import Value, read_regular, record

MOST_SETTINGS_BYTES = 1 << 20

MOST_NUMBER = 2**40
"""Of a setting: buckets of more elements than any machine has room for."""

BUCKET_ELEMENTS = 25 * 2**20 // 4
"""Float32 gradients that are exchanged at once: 25 MiB, as DDP's. DeepSpeed's default would reserve 2 GB for them."""

OURS = {
    "train_batch_size": "--train.batch-size",
    "train_micro_batch_size_per_gpu": "--train.micro-batch",
    "gradient_accumulation_steps": "--train.micro-batch",
    "optimizer": "--train.lr, --train.momentum, --train.nesterov and --train.weight-decay",
    "scheduler": "--train.schedule",
    "fp16": "--train.precision",
    "bf16": "--train.precision",
    "bfloat16": "--train.precision",
    "amp": "--train.precision",
    "torch_autocast": "--train.precision",
    "communication_data_type": "--train.compress",
    "zero_optimization.stage": "--train.zero-stage",
}
"""What a file of DeepSpeed's settings may not say, and the flags that say it."""

THEIRS: dict[str, type] = {
    "gradient_clipping": float,
    "zero_optimization.overlap_comm": bool,
    "zero_optimization.contiguous_gradients": bool,
    "zero_optimization.reduce_scatter": bool,
    "zero_optimization.allgather_partitions": bool,
    "zero_optimization.reduce_bucket_size": int,
    "zero_optimization.allgather_bucket_size": int,
}
"""What it may say. Above stage 2, and with offloading, there is nothing to gain for a network of 45 MB; with
round_robin_gradients DeepSpeed 0.19.8 hands out the momentum of another parameter than it was asked for."""


def check_zero(train: TrainConfig) -> None:
    """Whether DeepSpeed can be used as asked, without importing it. Raises InputError with the remedy."""
    if importlib.util.find_spec("deepspeed") is None:
        raise InputError(
            "--train.strategy deepspeed: DeepSpeed is not installed; uv pip install 'fer-dist[deepspeed]', "
            "or use --train.strategy ddp"
        )
    if train.precision == "fp16":
        # ZeRO scales each partition for itself there: ranks would skip different steps.
        raise InputError("--train.precision fp16 works with --train.strategy ddp; with deepspeed use bf16 or fp32")
    read_settings(train.deepspeed_config)


def read_settings(path: str) -> dict[str, Any]:
    """A user's file of DeepSpeed's settings; none where the path is empty. Raises InputError for what cannot stand."""
    if not path:
        return {}
    place = f"--train.deepspeed-config {path}"
    try:
        text = read_regular(path, MOST_SETTINGS_BYTES)
    except OSError as error:
        raise InputError(f"{place}: cannot be read ({error.strerror})") from None
    remedy = "give an object of DeepSpeed's settings, with zero_optimization as an object in it"
    content = record(dict[str, Value], text, place, remedy)
    zero = content.get("zero_optimization", {})
    if not isinstance(zero, dict):
        raise InputError(f"{place}: {remedy}")
    named = {name: value for name, value in content.items() if name != "zero_optimization"}
    named |= {f"zero_optimization.{name}": value for name, value in zero.items()}
    for name, value in named.items():
        if name in OURS:
            raise InputError(f"{place}: {name} contradicts what fer-dist sets; leave it out, and use {OURS[name]}")
        if name not in THEIRS:
            raise InputError(f"{place}: {name[:80]} is not among what may be set here: {', '.join(THEIRS)}")
        kind = THEIRS[name]
        fits = isinstance(value, bool) if kind is bool else _is_number(value, kind) and 0 < value <= MOST_NUMBER
        if not fits:
            number = f"a {'whole ' if kind is int else ''}number above 0, at most {MOST_NUMBER:,}"
            wanted = "true or false" if kind is bool else number
            # What is nested just deep enough to be read can be too deep to be written.
            found = (
                json.dumps(value)[:80] if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
            )
            raise InputError(f"{place}: {name} is {found}; give {wanted}")
    return content


class Zero:
    """How a step is taken with train.strategy deepspeed. Has the same methods as Ddp."""

    def __init__(self, train: TrainConfig, model: nn.Module, optimizer: torch.optim.Optimizer, world: World) -> None:
        """Raises InputError where DeepSpeed is not installed on this machine."""
        check_zero(train)
        # ZeRO lays the weights end to end and cannot do that with those that are channels-last.
        model.to(memory_format=torch.contiguous_format)
        self.stage = train.zero_stage
        self.gathers = train.micro_batch > 0 and self.stage > 0
        # Its import and its start warn of what is deprecated within torch and itself.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.network = _initialized(_settings(train), model, optimizer, world)
        self.optimizer = optimizer
        if self.stage:
            self._open_momentum()
        else:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """Nothing: DeepSpeed has its own around the network, and would switch another off."""
        return nullcontext()

    def compile(self, mode: str | None) -> None:
        """Inside DeepSpeed's engine, which does more than torch can follow. mode: of torch.compile."""
        self.network.module = torch.compile(self.network.module, dynamic=False, mode=mode)

    def all_parts(self) -> AbstractContextManager[Any]:
        """Around all micro-batches of a step.

        With micro-batches ZeRO exchanges gradients here, at the end: ranks may have different numbers of them, and
        stage 2 would exchange after each.
        """
        found: AbstractContextManager[Any] = self.network.coalesce_grad_reduction() if self.gathers else nullcontext()
        return found

    def one_part(self, last: bool) -> AbstractContextManager[Any]:
        """Around forward and backward of one micro-batch; gradients are exchanged with the last one."""
        found: AbstractContextManager[Any] = nullcontext() if last or self.stage else self.network.no_sync()
        return found

    def backward(self, loss: Tensor) -> None:
        self.network.backward(loss)

    def update(self) -> None:
        """Move the weights by the gradients, and forget these."""
        self.network.step()

    def momentum(self, parameter: nn.Parameter) -> Tensor:
        """The whole momentum of a parameter that trains. A collective: every rank asks for the same one."""
        from deepspeed.utils import safe_get_full_optimizer_state

        if self.stage:
            found: Tensor = safe_get_full_optimizer_state(parameter, "momentum_buffer")
        else:
            found = self.optimizer.state[parameter]["momentum_buffer"]
        return found

    def load_momentum(self, parameter: nn.Parameter, value: Tensor) -> None:
        """value: the whole momentum; of it this rank keeps its part."""
        from deepspeed.utils import safe_set_full_optimizer_state

        if self.stage:
            safe_set_full_optimizer_state(parameter, value, "momentum_buffer")
        else:
            self.optimizer.state[parameter]["momentum_buffer"].copy_(value)

    def scaler_state(self) -> dict[str, Any]:
        """None: bfloat16 and float32 need no scaling."""
        return {}

    def load_scaler_state(self, state: dict[str, Any]) -> None:
        """Nothing to do: what a run with ddp kept is of a scaler that is not used here."""

    def _open_momentum(self) -> None:
        """Make this rank's part of the momentum as zeros, and link it to the parameters: ZeRO does so a step late."""
        zero = self.network.optimizer
        for partition in zero.single_partition_of_fp32_groups:
            self.optimizer.state[partition]["momentum_buffer"] = torch.zeros_like(partition)
        zero._lazy_init_hp_params_optimizer_state()


def _settings(train: TrainConfig) -> dict[str, Any]:
    """What DeepSpeed is told: the user's settings over ours."""
    settings = read_settings(train.deepspeed_config)
    compressed = train.compress == "bf16"
    # The micro-batch is only what its statistics count; how many images there are is the engine's affair.
    ours: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "zero_allow_untested_optimizer": True,
        # Its default clips every gradient to a norm of 1, without a word.
        "gradient_clipping": 0.0,
        "communication_data_type": "bf16" if compressed else "fp32",
    }
    if train.precision == "bf16":
        # Gradients of the modules that are named here travel in bfloat16; by default that would be most of them.
        modules = ["torch.nn.Conv2d", "torch.nn.Linear"] if compressed else []
        ours["torch_autocast"] = {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": modules}
    zero = {
        "stage": train.zero_stage,
        "reduce_bucket_size": BUCKET_ELEMENTS,
        "allgather_bucket_size": BUCKET_ELEMENTS,
    }
    return ours | settings | {"zero_optimization": zero | settings.get("zero_optimization", {})}


def _initialized(settings: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer, world: World) -> Any:
    """DeepSpeed's engine, in the group that is open, or in one of this process alone."""
    cuda = world.device.type == "cuda"
    # It looks for other devices, and says so, unless it is told.
    os.environ.setdefault("DS_ACCELERATOR", world.device.type)
    os.environ["LOCAL_RANK"] = str(launched().local_rank)
    if not dist.is_initialized():
        store = dist.HashStore()  # type: ignore[attr-defined]
        dist.init_process_group("nccl" if cuda else "gloo", store=store, rank=0, world_size=1)
    import deepspeed
    import deepspeed.ops
    from deepspeed.utils import groups

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # On a CPU it would compile a reduction over shared memory at its first use (98 s, and a compiler is needed), and
    # take 20 s to find out whether it can. gloo is there already.
    deepspeed.ops.__compatible_ops__ = {}
    # The group that is open now, with its timeout: it would make another of the same ranks without one, and keeps those
    # of an earlier run of this process, which are closed.
    groups._release_process_group_references()
    groups._WORLD_GROUP = dist.group.WORLD
    where = SimpleNamespace(device_rank=world.device.index or 0)
    engine, *_ = deepspeed.initialize(args=where, model=model, optimizer=optimizer, config=settings)
    return engine


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
