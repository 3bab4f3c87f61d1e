"""Steps with each strategy side by side: one torchrun group that this starts, the strategies in turn, on noise."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from fer_dist.bench.flags import StepFlags
from fer_dist.bench.measured import Measured, scratch
from fer_dist.config.settings import Config, DataConfig, ModelConfig, TrainConfig
from fer_dist.data.loading.loader import Batch
from fer_dist.distributed.world import joined, pick_device
from fer_dist.errors import InputError, WorkError
from fer_dist.progress import Cells
from fer_dist.runs.network import build, network_of, on_device
from fer_dist.train.choices import choose
from fer_dist.train.engine import Engine
from fer_dist.train.estimate import noise
from fer_dist.train.zero import check_zero

WARM_UP = 2
TIMEOUT_SECONDS = 600.0

STRATEGIES: dict[str, dict[str, Any]] = {
    "ddp": {},
    "ddp, bf16 gradients": {"compress": "bf16"},
    "deepspeed 0": {"strategy": "deepspeed", "zero_stage": 0},
    "deepspeed 1": {"strategy": "deepspeed", "zero_stage": 1},
    "deepspeed 2": {"strategy": "deepspeed", "zero_stage": 2},
}


@dataclass(frozen=True)
class StepTime:
    """One strategy. seconds: of a step, one value a turn. optimizer_bytes: most that a rank's optimiser holds."""

    strategy: str
    precision: str
    seconds: list[float]
    optimizer_bytes: int

    @property
    def median_seconds(self) -> float:
        return median(self.seconds)


def measure_step(flags: StepFlags) -> Iterator[Measured]:
    found = bench_step(flags)
    yield Measured([asdict(one) | {"median_seconds": one.median_seconds} for one in found], step_table(found))


def bench_step(flags: StepFlags) -> list[StepTime]:
    """Start the group, and read what its rank 0 found. Raises WorkError where it ends with an error."""
    check_zero(TrainConfig(precision=flags.precision))
    devices = torch.cuda.device_count()
    if flags.device == "cuda" and devices < flags.workers:
        raise InputError(f"bench step: --workers {flags.workers} need as many CUDA devices, and there are {devices}")
    device = "cuda" if flags.device != "cpu" and devices >= flags.workers else "cpu"
    with scratch() as folder:
        settings, found = folder / "settings.json", folder / "found.json"
        settings.write_text(json.dumps(asdict(flags) | {"device": device}))
        group = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(flags.workers)]
        line = [*group, "-m", "fer_dist.bench.step", str(settings), str(found)]
        ended = subprocess.run(line, capture_output=True, text=True)
        if ended.returncode or not found.is_file():
            errors = [text for text in ended.stderr.splitlines() if "Error" in text]
            raise WorkError(f"bench step: a worker ended with an error: {(errors or ['it says nothing'])[0].strip()}")
        return [StepTime(**row) for row in json.loads(found.read_text())]


def step_table(found: list[StepTime]) -> Cells:
    """A strategy a row; times as a multiple of the first one's."""
    header = ["strategy", "precision", "n", "ms a step", "least", "most", "of ddp's time", "optimiser MB a rank"]
    rows = []
    for one in found:
        times = [one.median_seconds, min(one.seconds), max(one.seconds)]
        ratio = one.median_seconds / found[0].median_seconds
        cells = [one.strategy, one.precision, str(len(one.seconds)), *(f"{1000 * time:.1f}" for time in times)]
        rows.append([*cells, f"{ratio:.2f}", f"{one.optimizer_bytes / 1e6:.1f}"])
    return header, rows


def run_rank(flags: StepFlags, found: Path) -> None:
    """What each process of the group runs. Rank 0 writes the file."""
    with joined(pick_device(flags.device), TIMEOUT_SECONDS) as world:
        data = DataConfig(size=flags.crop, crop=flags.crop, views="random_one")
        model = ModelConfig(width=flags.width)
        share = len(range(world.rank, flags.batch_size, world.size))
        batch = noise(share, 1, flags.crop, world.device)
        engines, seconds = {}, {}
        train = TrainConfig(batch_size=flags.batch_size, precision=flags.precision, strategy="deepspeed")
        chosen = choose(Config(data, model, train), {}, world).config
        for name, how in STRATEGIES.items():
            config = replace(chosen, train=replace(chosen.train, **{"strategy": "ddp", **how}))
            torch.manual_seed(0)
            engines[name] = Engine(config, on_device(build(network_of(config)), world.device), world)
            seconds[name] = [_timed(engines[name], batch, WARM_UP)]
        for _ in range(flags.repeats):
            for name, engine in engines.items():
                seconds[name].append(_timed(engine, batch, flags.steps))
        held = {name: -world.min(-_held_bytes(engine)) for name, engine in engines.items()}
        if world.is_main:
            precision = chosen.train.precision
            rows = [asdict(StepTime(name, precision, times[1:], held[name])) for name, times in seconds.items()]
            found.write_text(json.dumps(rows))
        world.barrier()


def _timed(engine: Engine, batch: Batch, steps: int) -> float:
    """Seconds of a step, until the slowest rank has taken its last one."""
    engine.world.barrier()
    begun = time.perf_counter()
    for _ in range(steps):
        engine.step(batch, 0.0)
    engine.totals()
    engine.world.barrier()
    return (time.perf_counter() - begun) / steps


def _held_bytes(engine: Engine) -> int:
    """Momentum, and the copy of its part of the weights that ZeRO keeps beside the network's own."""
    own = {id(parameter) for parameter in engine.model.parameters()}
    tensors = [value for state in engine.optimizer.state.values() for value in state.values() if value is not None]
    copies = [p for group in engine.optimizer.param_groups for p in group["params"] if id(p) not in own]
    return sum(tensor.numel() * tensor.element_size() for tensor in (*tensors, *copies))


if __name__ == "__main__":
    run_rank(StepFlags(**json.loads(Path(sys.argv[1]).read_text())), Path(sys.argv[2]))
