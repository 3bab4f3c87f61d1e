"""Ways to share the cores between decoding and the network side by side: training's own loader and steps, in turn."""

import time
from dataclasses import asdict, dataclass
from itertools import product
from statistics import median
from typing import Annotated, Any, Literal

from fer_dist.config import Views
from fer_dist.errors import InputError
from fer_dist.flags import Arguments, check_outputs, flat, parse, positional, write_json

WARM_UP = 2


@dataclass(frozen=True)
class ThreadsBench:
    """What is trained, on which images, and how long each split has its turn."""

    shards: Annotated[str, positional()]
    """Training shards, as for --data.train."""

    preset: Literal["demo", "paper", "strong"] = "demo"
    """Preset whose network and augmentation are taken."""

    size: int = 64
    """Side to which images are resized."""

    crop: int = 56
    """Side of the crops."""

    views: Views = "random_one"
    """Crops of an image."""

    batch_size: int = 32
    """Images of a step."""

    seconds: float = 3.0
    """Length of a turn; at least three steps."""

    repeats: int = 5
    """Times that each split has its turn; medians are printed."""


@dataclass(frozen=True)
class SplitTime:
    """One split of the cores. images_per_second: one value a turn. chosen: whether a run would take it by itself."""

    decode: int
    torch: int
    chosen: bool
    images_per_second: list[float]

    @property
    def median_rate(self) -> float:
        return median(self.images_per_second)


def bench_threads(bench: ThreadsBench) -> list[SplitTime]:
    """Time each split in turn. Raises InputError for what cannot be measured."""
    import torch

    from fer_dist.checkpoint import build, on_device
    from fer_dist.choices import choose, threads_for
    from fer_dist.config import with_settings
    from fer_dist.config_checks import check
    from fer_dist.engine import Engine
    from fer_dist.hardware import cores
    from fer_dist.inputs import open_inputs
    from fer_dist.presets import preset
    from fer_dist.world import World

    if bench.seconds <= 0 or bench.repeats < 1:
        raise InputError("bench threads: --seconds must be above 0, and --repeats at least 1")
    settings = {"data.train": bench.shards, "data.size": bench.size, "data.crop": bench.crop, "data.views": bench.views}
    config = with_settings(preset(bench.preset), settings | {"train.batch_size": bench.batch_size})
    check(config)
    inputs = open_inputs(config)
    cpu = torch.device("cpu")
    world = World(0, 1, cpu)
    config = choose(config, {}, world).config
    chosen = threads_for(config, cpu, cores())
    engine = Engine(config, on_device(build(inputs.network), cpu), world)
    counts = sorted({2**power for power in range(cores().bit_length())} | {cores(), chosen.decode, chosen.torch})
    rates: dict[tuple[int, int], list[float]] = {split: [] for split in product(counts, counts)}
    before = torch.get_num_threads()
    try:
        for _ in range(bench.repeats):
            for split, found in rates.items():
                found.append(_rate(engine, inputs, split, bench.seconds))
    finally:
        torch.set_num_threads(before)
    is_chosen = {split: split == (chosen.decode, chosen.torch) for split in rates}
    return [SplitTime(*split, is_chosen[split], found) for split, found in rates.items()]


def _rate(engine: Any, inputs: Any, split: tuple[int, int], seconds: float) -> float:
    """Images a second of a turn, after steps that warm up. split: threads that decode, and that compute."""
    import torch

    from fer_dist.data.loader import Placement, training_loader

    decode, compute = split
    torch.set_num_threads(compute)
    data, size = engine.config.data, engine.config.train.batch_size
    placement = Placement(0, 1, engine.world.device, half=False, threads=decode)
    batches = iter(training_loader(data, inputs.reader, inputs.order, placement, 0, 1 << 30))
    for _ in range(WARM_UP):
        engine.step(next(batches), 0.0)
    steps, begun = 0, time.perf_counter()
    while steps < 3 or time.perf_counter() - begun < seconds:
        engine.step(next(batches), 0.0)
        steps += 1
    engine.totals()
    return steps * size / (time.perf_counter() - begun)


def command(arguments: Arguments) -> None:
    from fer_dist.monitor import Terminal

    @dataclass(frozen=True)
    class ThreadsFlags:
        """Every way to share this machine's cores between decoding and the network, beside what a run chooses."""

        config: Annotated[ThreadsBench, flat()]
        json: str = ""
        """File for the figures as JSON as well."""

    flags = parse(ThreadsFlags, arguments, "bench threads")
    check_outputs(json=flags.json)
    found = bench_threads(flags.config)
    Terminal().table(*threads_table(found), text_columns=1)
    if flags.json:
        write_json(flags.json, [asdict(one) | {"median_rate": one.median_rate} for one in found])


def threads_table(found: list[SplitTime]) -> tuple[list[str], list[list[str]]]:
    """A split a row; rates as a share of the best one's."""
    best = max(one.median_rate for one in found)
    header = ["", "decode", "compute", "n", "images/s", "least", "most", "of the best"]
    rows = []
    for one in found:
        rates = [one.median_rate, min(one.images_per_second), max(one.images_per_second)]
        cells = ["chosen" if one.chosen else "", str(one.decode), str(one.torch), str(len(one.images_per_second))]
        rows.append([*cells, *(f"{rate:.1f}" for rate in rates), f"{one.median_rate / best:.2f}"])
    return header, rows
