"""`fer-dist bench checkpoint`: what a checkpoint costs the training beside which it is written."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from statistics import median

import torch

from fer_dist.bench.flags import CheckpointFlags
from fer_dist.bench.measured import Measured, scratch
from fer_dist.config.settings import Config, DataConfig, TrainConfig
from fer_dist.distributed.world import World, pick_device
from fer_dist.progress import Cells
from fer_dist.runs.checkpoint import Checkpoints, Saver, Snapshot
from fer_dist.runs.folder import RunFolder
from fer_dist.runs.network import build, network_of, on_device
from fer_dist.storage.paths import below
from fer_dist.train.engine import Engine
from fer_dist.train.estimate import noise

MINUTE = 60.0


@dataclass(frozen=True)
class CheckpointCost:
    """Medians over the turns. held_seconds: the loop stands still in save; share: of a minute, one checkpoint in it."""

    n: int
    bytes: int
    without_seconds: float
    with_seconds: float
    held_seconds: float
    written_seconds: float
    cost_seconds: list[float]
    place: str

    @property
    def share(self) -> float:
        """Of the loop's time at one checkpoint a minute, by the median turn."""
        return median(self.cost_seconds) / MINUTE


def measure_checkpoint(flags: CheckpointFlags) -> Iterator[Measured]:
    with scratch() as home:
        folder = RunFolder(below(flags.root or str(home), "bench-checkpoint"), str(home))
        if folder.read("config.json") is None:
            folder.put("config.json", b"{}")
        found = bench_checkpoint(flags, folder)
    yield Measured(asdict(found) | {"share": found.share}, checkpoint_table(found))


def checkpoint_table(found: CheckpointCost) -> Cells:
    """The costs, in one row."""
    row = {
        "MB": f"{found.bytes / 1e6:.0f}",
        "n": str(found.n),
        "steps s": f"{found.without_seconds:.2f}",
        "with a checkpoint s": f"{found.with_seconds:.2f}",
        "held ms": f"{1000 * found.held_seconds:.0f}",
        "on disk after s": f"{found.written_seconds:.2f}",
        "cost s": f"{median(found.cost_seconds):.2f} ({min(found.cost_seconds):.2f} to {max(found.cost_seconds):.2f})",
        "share of a minute": f"{100 * found.share:.2f} %",
    }
    return list(row), [list(row.values())]


def bench_checkpoint(flags: CheckpointFlags, folder: RunFolder) -> CheckpointCost:
    """Measure; the checkpoint's background work falls into the turn that began with it."""
    config = Config(data=DataConfig(crop=flags.crop, views="centre"), train=TrainConfig(batch_size=flags.batch_size))
    device = pick_device("auto")
    model = on_device(build(network_of(config)), device)
    engine = Engine(config, model, World(0, 1, device))
    batch = noise(flags.batch_size, 1, flags.crop, device)
    folder.enter()
    folder.claim()
    checkpoints = Checkpoints(folder.path, home=folder)
    written: list[float] = []

    def steps() -> None:
        for _ in range(flags.steps):
            engine.step(batch, 0.0)
        engine.totals()

    def with_checkpoint(step: int) -> float:
        begun = time.perf_counter()
        saver.save(Snapshot(step, dict(model.state_dict()), engine.state()))
        held = time.perf_counter() - begun
        steps()
        saver.wait()
        return held

    def note() -> None:
        folder.send()
        written.append(time.perf_counter() - begun)

    saver = Saver(checkpoints, network_of(config), note)
    steps()
    held, after, before = [], [], []
    for turn in range(flags.repeats):
        before.append(_seconds(steps))
        begun = time.perf_counter()
        held.append(with_checkpoint(turn + 1))
        after.append(time.perf_counter() - begun)
    saver.close()
    folder.close()
    size = sum(path.stat().st_size for path in (checkpoints.folder / str(flags.repeats)).iterdir())
    cost = [a - b for a, b in zip(after, before, strict=True)]
    return CheckpointCost(
        flags.repeats, size, median(before), median(after), median(held), median(written), cost, folder.address
    )


def _seconds(action: Callable[[], None]) -> float:
    begun = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun
