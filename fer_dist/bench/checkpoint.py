"""`fer-dist bench checkpoint`: what a checkpoint costs the training beside which it is written."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Annotated

from fer_dist.config.flags import Arguments, flat, parse, write_json
from fer_dist.config.settings import Config, DataConfig, TrainConfig
from fer_dist.errors import InputError
from fer_dist.progress import Terminal
from fer_dist.runs.folder import RunFolder
from fer_dist.storage.places import Output, Place, below

MINUTE = 60.0


@dataclass(frozen=True)
class CheckpointBench:
    """Steps of the study's network on noise, with a checkpoint written beside them and without, in turn."""

    root: Place = ""
    """Folder or URL (s3://...) of the run folder. Empty: a folder for temporary files."""

    crop: int = 64
    """Side of the crops, in pixels."""

    batch_size: int = 32
    """Crops of a step."""

    steps: int = 40
    """Steps of a turn; they should outlast the writing of a checkpoint."""

    repeats: int = 7
    """Turns with a checkpoint and turns without, one after the other."""


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


def bench_checkpoint(settings: CheckpointBench, folder: RunFolder) -> CheckpointCost:
    """Measure; the checkpoint's background work falls into the turn that began with it."""
    from fer_dist.distributed.world import World, pick_device
    from fer_dist.runs.checkpoint import Checkpoints, Saver, Snapshot
    from fer_dist.runs.network import build, network_of, on_device
    from fer_dist.train.engine import Engine
    from fer_dist.train.estimate import noise

    config = Config(
        data=DataConfig(crop=settings.crop, views="centre"), train=TrainConfig(batch_size=settings.batch_size)
    )
    device = pick_device("auto")
    model = on_device(build(network_of(config)), device)
    engine = Engine(config, model, World(0, 1, device))
    batch = noise(settings.batch_size, 1, settings.crop, device)
    folder.enter()
    folder.claim()
    checkpoints = Checkpoints(folder.path, home=folder)
    written: list[float] = []

    def steps() -> None:
        for _ in range(settings.steps):
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
    for turn in range(settings.repeats):
        before.append(_seconds(steps))
        begun = time.perf_counter()
        held.append(with_checkpoint(turn + 1))
        after.append(time.perf_counter() - begun)
    saver.close()
    folder.close()
    size = sum(path.stat().st_size for path in (checkpoints.folder / str(settings.repeats)).iterdir())
    cost = [a - b for a, b in zip(after, before, strict=True)]
    return CheckpointCost(
        settings.repeats, size, median(before), median(after), median(held), median(written), cost, folder.place
    )


def command(arguments: Arguments) -> None:
    @dataclass(frozen=True)
    class Checkpoint:
        """What a checkpoint costs the training beside which it is written."""

        config: Annotated[CheckpointBench, flat()]
        json: Output = ""
        """File for the figures as JSON as well."""

    flags = parse(Checkpoint, arguments, "bench checkpoint")
    if min(flags.config.repeats, flags.config.steps, flags.config.batch_size) < 1:
        raise InputError("bench checkpoint: --repeats, --steps and --batch-size must be at least 1")
    with tempfile.TemporaryDirectory(prefix="fer-dist-bench-") as scratch:
        root = flags.config.root or scratch
        folder = RunFolder(below(root, "bench-checkpoint"), scratch)
        if folder.read("config.json") is None:
            folder.put("config.json", b"{}")
        found = bench_checkpoint(flags.config, folder)
    low, high = min(found.cost_seconds), max(found.cost_seconds)
    row = [
        f"{found.bytes / 1e6:.0f}",
        str(found.n),
        f"{found.without_seconds:.2f}",
        f"{found.with_seconds:.2f}",
        f"{1000 * found.held_seconds:.0f}",
        f"{found.written_seconds:.2f}",
        f"{median(found.cost_seconds):.2f} ({low:.2f} to {high:.2f})",
        f"{100 * found.share:.2f} %",
    ]
    header = ["MB", "n", "steps s", "with a checkpoint s", "held ms", "on disk after s", "cost s", "share of a minute"]
    Terminal().table(header, [row])
    if flags.json:
        write_json(flags.json, asdict(found) | {"share": found.share})


def _seconds(action: Callable[[], None]) -> float:
    import torch

    begun = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun
