"""What each strategy makes of the same batches: a script for two torchrun workers; rank 0 writes what it found."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from fer_dist.config.settings import Config, DataConfig, TrainConfig
from fer_dist.data.loading.loader import Batch
from fer_dist.data.loading.order import Positions
from fer_dist.data.loading.reader import Samples
from fer_dist.distributed.world import World, joined
from fer_dist.model import SEResNet18
from fer_dist.train.engine import Engine

STEPS, HALF_WAY, BATCH = 20, 10, 16
RATE = 0.0002
"""Low, so that rounding stays rounding: a high rate with few images takes equal runs apart within steps."""

PLAIN = {
    "ddp": {},
    "ddp compressed": {"compress": "bf16"},
    "zero 0": {"strategy": "deepspeed", "zero_stage": 0},
    "zero 1": {"strategy": "deepspeed", "zero_stage": 1},
    "zero 2": {"strategy": "deepspeed", "zero_stage": 2},
    "zero 0 compressed": {"strategy": "deepspeed", "zero_stage": 0, "compress": "bf16"},
    "zero 1 compressed": {"strategy": "deepspeed", "zero_stage": 1, "compress": "bf16"},
    "zero 2 compressed": {"strategy": "deepspeed", "zero_stage": 2, "compress": "bf16"},
}
"""Uneven shares that go through the network at once."""

IN_PARTS = {
    f"{name} in parts": {**PLAIN[name], "micro_batch": 4, "freeze": 2, "layer_decay": 0.7}
    for name in ("ddp", "zero 0", "zero 1", "zero 2")
}
"""The same in micro-batches, of which the ranks have different numbers, with frozen parts and layer-wise rates."""


def settings(**train: object) -> Config:
    recipe = TrainConfig(batch_size=BATCH, precision="fp32", momentum=0.9, nesterov=True, weight_decay=1e-3)
    return Config(DataConfig(size=40, crop=40, views="random_one"), train=replace(recipe, **train))


def drawn_model() -> SEResNet18:
    torch.manual_seed(0)
    return SEResNet18(7, width=16).to(memory_format=torch.channels_last)


def drawn_batch(step: int, rank: int = 0, size: int = 1) -> Batch:
    """A rank's share of the images of a step: 6 and 10 of them; in every sixth step none and 16."""
    random = torch.Generator().manual_seed(step)
    crops, labels = torch.randn(BATCH, 3, 40, 40, generator=random), torch.randint(7, (BATCH,), generator=random)
    # Something to learn: the mean of a channel tells the emotion.
    crops[:, 0] += labels[:, None, None] / 3
    cut = 0 if step % 6 == 5 else 6
    mine = slice(0, BATCH) if size == 1 else slice(0, cut) if rank == 0 else slice(cut, BATCH)
    none = np.zeros(0, dtype=np.int64)
    return Batch(step, crops[mine], labels[mine], None, Samples([], none, [], []), Positions(none, none), 0.0)


def losses(engine: Engine, start: int, stop: int) -> Iterator[float]:
    for step in range(start, stop):
        engine.step(drawn_batch(step, engine.world.rank, engine.world.size), RATE)
        yield engine.totals().loss


def went_on(world: World, at: dict[str, Tensor], momentum: dict[str, Tensor], **train: object) -> list[float]:
    """The losses of a run that begins half-way with the weights and the momentum of another."""
    model = drawn_model()
    model.load_state_dict(at)
    engine = Engine(settings(**train), model, world)
    engine.load_state(momentum)
    return list(losses(engine, HALF_WAY, STEPS))


class Wire:
    """Counts the bytes that this rank hands to torch's collectives, by their type."""

    def __init__(self) -> None:
        self.sent: dict[str, int] = {}
        for name in ("all_reduce", "reduce"):
            setattr(dist, name, self._counting(getattr(dist, name)))

    def _counting(self, function):  # type: ignore[no-untyped-def]
        def counted(tensor: Tensor, *more: object, **named: object) -> object:
            kind = str(tensor.dtype).removeprefix("torch.")
            self.sent[kind] = self.sent.get(kind, 0) + tensor.numel() * tensor.element_size()
            return function(tensor, *more, **named)

        return counted


def measured(world: World, folder: Path, wire: Wire, name: str, train: dict[str, object]) -> dict[str, object]:
    model = drawn_model()
    engine = Engine(settings(**train), model, world)
    found = list(losses(engine, 0, HALF_WAY))
    engine.settle()
    at = {key: value.clone() for key, value in model.state_dict().items()}
    momentum = {key: value.clone() for key, value in engine.state().items()}
    wire.sent = {}
    engine.step(drawn_batch(HALF_WAY, world.rank, world.size), RATE)
    sent = dict(wire.sent)
    stop = STEPS if "compress" not in train else HALF_WAY + 1
    found = [*found, engine.totals().loss, *losses(engine, HALF_WAY + 1, stop)]
    others = [PLAIN["ddp"]] if train.get("strategy") else [PLAIN[f"zero {stage}"] for stage in (0, 1, 2)]
    crossed = [went_on(world, at, momentum, **other) for other in others if name in PLAIN and "compress" not in train]
    held = sum(v.numel() for state in engine.optimizer.state.values() for v in state.values() if v is not None)
    if world.is_main:
        save_file({key: value.contiguous() for key, value in at.items()}, folder / f"{name}.weights")
        save_file({key: value.contiguous() for key, value in momentum.items()}, folder / f"{name}.momentum")
    return {"losses": found, "crossed": crossed, "sent": sent, "held": held}


def first_norm(world: World, **train: object) -> float:
    """The norm of the whole gradient of a first step, as the momentum keeps it."""
    engine = Engine(settings(weight_decay=0.0, **train), drawn_model(), world)
    engine.step(drawn_batch(0, world.rank, world.size), 0.0)
    return float(torch.cat([value.flatten() for value in engine.state().values()]).norm())


def first_norms(world: World, folder: Path) -> dict[str, list[float]]:
    """Of each stage of deepspeed, with a file that clips the gradient to a norm of 1, and without."""
    path = folder / f"clip-{world.rank}.json"
    path.write_text('{"gradient_clipping": 1.0, "zero_optimization": {"overlap_comm": true}}')
    names = [f"zero {stage}" for stage in (0, 1, 2)]
    return {name: [first_norm(world, **PLAIN[name], deepspeed_config=p) for p in (str(path), "")] for name in names}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with joined(torch.device("cpu"), 300.0) as world:
        wire = Wire()
        found = {name: measured(world, folder, wire, name, train) for name, train in (PLAIN | IN_PARTS).items()}
        norms = first_norms(world, folder)
        if world.is_main:
            (folder / "found.json").write_text(json.dumps({**found, "first norms": norms}))
        world.barrier()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
