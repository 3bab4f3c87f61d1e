"""What a run would cost, before it is started: its steps, time and memory, from a few real steps on drawn noise."""

import json
import time
from dataclasses import dataclass

import torch

from fer_dist.checkpoint import build, network_of, on_device
from fer_dist.config import Config, to_shown_json
from fer_dist.data.loader import Batch
from fer_dist.data.order import Positions
from fer_dist.data.pipeline import views_of
from fer_dist.data.reader import Samples
from fer_dist.engine import Engine
from fer_dist.job_checks import check_job
from fer_dist.runs import resolved, run_folder
from fer_dist.session import mixing_of, open_order, open_training_set
from fer_dist.world import World, pick_device

STEPS = 3
CROPS_ON_CPU = 64
"""A step of the study's 500 crops takes 16 s on two cores; this many are timed and scaled instead."""


@dataclass(frozen=True)
class Estimate:
    """steps: of the whole run. seconds: of its steps, without data and validation. bytes: of the device's memory."""

    steps: int
    seconds: float
    bytes: int
    device: str


def estimate(config: Config) -> Estimate:
    """Take a few steps of one worker's share on noise, and scale to the run."""
    device = pick_device(config.run.device)
    reader = open_training_set(config)
    order = open_order(config, reader, mixing_of(config, reader))
    workers = max(config.ray.workers, 1)
    share = -(-config.train.batch_size // workers)
    views = views_of(config.data)
    pictures = share if device.type == "cuda" else min(share, max(1, CROPS_ON_CPU // views))
    model = on_device(build(network_of(config)), device)
    engine = Engine(config, model, World(0, 1, device))
    seconds = _time_steps(engine, noise(pictures, views, config.data.crop, device))
    steps = config.train.epochs * order.steps_per_epoch
    return Estimate(steps, steps * seconds * share / pictures, _memory(config, engine, share, views), device.type)


def dry_run(config: Config, preset: str) -> str:
    """The resolved configuration and the estimate, as text."""
    config = resolved(config, preset)
    check_job(config, config.ray.workers)
    found = estimate(config)
    lines = [
        json.dumps(to_shown_json(config), indent=1),
        f"run folder: {run_folder(config).place} (not made: this is a dry run)",
        f"steps:      {found.steps:,} ({found.steps // config.train.epochs:,} in each of {config.train.epochs} epochs)",
        f"time:       about {found.seconds / 3600:.2f} h of steps on {found.device}, from {STEPS} steps on noise; "
        "decoding beside them and validation come on top",
        f"memory:     about {found.bytes / 2**30:.2f} GiB on the {found.device} for one worker",
    ]
    return "\n".join(lines) + "\n"


def _time_steps(engine: Engine, batch: Batch) -> float:
    """Seconds of the quickest of a few steps, after one that warms up."""
    times = []
    for _ in range(STEPS + 1):
        begun = time.perf_counter()
        engine.step(batch, 0.0)
        engine.totals()
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def _memory(config: Config, engine: Engine, share: int, views: int) -> int:
    """Bytes: read off on CUDA; elsewhere weights, gradients and momentum, and what autograd keeps of a picture."""
    if engine.world.device.type == "cuda":
        return torch.cuda.max_memory_allocated(engine.world.device)
    weights = sum(parameter.numel() for parameter in engine.model.parameters()) * 4
    kept = 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    crops = torch.randn(2, 3, config.data.crop, config.data.crop)
    half = config.train.precision != "fp32"
    saved = torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor)
    with saved, torch.autocast("cpu", torch.bfloat16, enabled=half):
        engine.model(crops)
    micro = min(config.train.micro_batch or share, share)
    return 3 * weights + kept // 2 * micro * views


def noise(pictures: int, views: int, crop: int, device: torch.device) -> Batch:
    """A batch of drawn noise, as the loader gives one: crops of a side in pixels, all of the first emotion."""
    crops = torch.randn(pictures * views, crop, crop, 3, device=device).permute(0, 3, 1, 2)
    labels = torch.zeros(pictures, dtype=torch.int64, device=device)
    nothing = torch.zeros(0, dtype=torch.int64).numpy()
    return Batch(0, crops, labels, None, Samples([], nothing, [], []), Positions(nothing, nothing), 0.0)
