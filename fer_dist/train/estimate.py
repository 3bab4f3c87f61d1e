"""What a run would cost, before it is started: its steps, time and memory, from a few real steps on drawn noise."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from fer_dist.config.settings import Config, to_shown_json
from fer_dist.data.loading.loader import Batch, Placement, training_loader
from fer_dist.data.loading.order import Positions
from fer_dist.data.loading.reader import Samples
from fer_dist.distributed.hardware import HALF, takes_half, torch_for
from fer_dist.distributed.world import World, pick_device
from fer_dist.errors import counted
from fer_dist.runs.network import build_for, network_of, on_device
from fer_dist.runs.opening import resolved, run_folder
from fer_dist.train.checks import check_job
from fer_dist.train.choices import choose, flops
from fer_dist.train.engine import Engine
from fer_dist.train.given import Opened
from fer_dist.train.inputs import Inputs

STEPS = 3
SECONDS_ON_CPU = 6.0
"""For all steps that are timed. A step of the study's 500 crops takes 16 s on two cores, and a minute where bfloat16 is
emulated; fewer crops are timed instead, and smaller ones where a few are too many, and scaled by their pixels."""

CROPS_ON_CPU, PROBE_SIDE, MEMORY_SIDE = 64, 64, 112


@dataclass(frozen=True)
class Estimate:
    """steps: of the whole run. seconds: of its steps, uncompiled, without data and validation. bytes: of the device's
    memory.

    timed: crops of a step that was timed, and their side. told: arithmetic and threads, and why. parameters: of the
    network; flops: of a crop on its way there, as `choices.flops`.
    """

    parameters: int
    flops: int
    steps: int
    seconds: float
    bytes: int
    device: str
    timed: tuple[int, int]
    told: str


def estimate(config: Config, inputs: Inputs, progress: Callable[[int, int | None], None]) -> Estimate:
    """Take a few steps of one worker's share on noise, and scale to the run. progress: steps timed, of all."""
    world = World(0, 1, pick_device(config.run.device))
    chosen = choose(config, {}, world, int(inputs.reader.counts.sum()))
    config = chosen.config
    share = -(-config.train.batch_size // max(config.ray.workers, 1))
    with torch_for(config.train):
        engine = Engine(config, on_device(build_for(config), world.device), world)
        images, side = (share, config.data.crop) if world.device.type == "cuda" else _affordable(engine, share)
        seconds = _time_steps(engine, images, side, progress)
        memory = _memory_on_cuda(engine, inputs) if world.device.type == "cuda" else _memory(engine, share)
    steps = config.train.epochs * inputs.order.steps_per_epoch
    scale = share / images * (config.data.crop / side) ** 2
    timed = images * engine.views, side
    parameters = sum(parameter.numel() for parameter in engine.model.parameters())
    return Estimate(
        parameters, flops(config), steps, steps * seconds * scale, memory, world.device.type, timed, chosen.told
    )


def dry_run(
    config: Config, preset: str, progress: Callable[[int, int | None], None], opened: Opened | None = None
) -> str:
    """The resolved configuration and the estimate, as text. opened: as of `check_job`."""
    config = resolved(config, preset)
    epochs = counted(config.train.epochs, "epoch")
    found = estimate(config, check_job(config, config.ray.workers, opened), progress)
    crops, side = found.timed
    lines = [
        json.dumps(to_shown_json(config), indent=1),
        f"run folder: {run_folder(config).address} (not made: this is a dry run)",
        f"network:    {config.model.network}, {found.parameters:,} parameters, {found.flops / 1e9:.3g} GFLOPs forward "
        f"for a crop of {config.data.crop} px",
        f"steps:      {found.steps:,} ({found.steps // config.train.epochs:,} in each of {epochs})",
        f"chosen:     {found.told}",
        f"time:       about {found.seconds / 3600:.2f} h of steps on {found.device}, scaled from {STEPS} steps of "
        f"{crops} crops of {side} px of noise{', uncompiled' * (config.train.compile in ('on', 'graphs'))}; decoding "
        "beside them and validation come on top",
        f"memory:     about {found.bytes / 2**30:.2f} GiB on the {found.device} for one worker"
        + ", with what others hold of it now" * (found.device == "cuda"),
    ]
    return "\n".join(lines) + "\n"


def _affordable(engine: Engine, share: int) -> tuple[int, int]:
    """How many images, and of which side, can be timed within the seconds that a CPU gets for it."""
    crop, views = engine.config.data.crop, engine.views
    side = _smaller(engine.config, PROBE_SIDE)
    # A single crop may leave BatchNorm a single value.
    fewest = min(share, 2 if views == 1 else 1)
    _step(engine, fewest, side)
    seconds = _step(engine, fewest, side) / fewest * (crop / side) ** 2
    most = min(share, max(fewest, CROPS_ON_CPU // views), int(SECONDS_ON_CPU / (seconds * (STEPS + 1))))
    return (most, crop) if most >= fewest else (fewest, side)


def _smaller(config: Config, side: int) -> int:
    """That side where the crops are larger and the network is ours; others may take one size alone."""
    return min(config.data.crop, side) if network_of(config).is_ours else config.data.crop


def _time_steps(engine: Engine, images: int, side: int, progress: Callable[[int, int | None], None]) -> float:
    """Seconds of the quickest of a few steps, after one that warms up."""
    times = []
    for done in range(STEPS + 1):
        progress(done, STEPS + 1)
        times.append(_step(engine, images, side))
    return min(times[1:])


def _step(engine: Engine, images: int, side: int) -> float:
    """Seconds of one step that moves no weight."""
    batch = noise(images, engine.views, side, engine.world.device)
    begun = time.perf_counter()
    engine.step(batch, 0.0)
    engine.totals()
    return time.perf_counter() - begun


def _memory_on_cuda(engine: Engine, inputs: Inputs) -> int:
    """Bytes that are taken of the device, by others as well, once steps are taken and images decoded on it.

    torch's own count would lack what DALI keeps, and the CUDA context.
    """
    config, device = engine.config, engine.world.device
    half = takes_half(config.train.precision, device)
    placement = Placement(0, max(config.ray.workers, 1), device, half, config.data.threads)
    steps = min(STEPS, inputs.order.steps_per_epoch)
    for _ in training_loader(config.data, inputs.reader, inputs.order, placement, 0, steps):
        torch.cuda.synchronize(device)
    free, total = torch.cuda.mem_get_info(device)
    return total - free


def _memory(engine: Engine, share: int) -> int:
    """Bytes: weights, gradients and momentum, and what autograd keeps of an image."""
    config = engine.config
    weights = sum(parameter.numel() for parameter in engine.model.parameters()) * 4
    kept = 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        # Weights and statistics are kept as well, and once however many images there are.
        if tensor.shape[:1] == crops.shape[:1]:
            kept += tensor.numel() * tensor.element_size()
        return tensor

    side = _smaller(config, MEMORY_SIDE)
    crops = torch.randn(2, 3, side, side)
    half = HALF.get(config.train.precision)
    saved = torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor)
    with saved, torch.autocast("cpu", half, enabled=half is not None):
        engine.model(crops)
    of_an_image = kept // 2 * engine.views * (config.data.crop / side) ** 2
    return 3 * weights + round(of_an_image * min(config.train.micro_batch or share, share))


def noise(images: int, views: int, crop: int, device: torch.device) -> Batch:
    """A batch of drawn noise, as the loader gives one: crops of a side in pixels, all of the first emotion."""
    crops = torch.randn(images * views, crop, crop, 3, device=device).permute(0, 3, 1, 2)
    labels = torch.zeros(images, dtype=torch.int64, device=device)
    nothing = torch.zeros(0, dtype=torch.int64).numpy()
    return Batch(0, crops, labels, None, Samples([], nothing, [], []), Positions(nothing, nothing), 0.0)
