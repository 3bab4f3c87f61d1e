"""Ways to share the cores between decoding and the network side by side: whole trainings of a few steps, in turn."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from statistics import median

import torch

from fer_dist.bench.flags import ThreadsFlags
from fer_dist.bench.measured import Measured, scratch
from fer_dist.config.presets import preset
from fer_dist.config.settings import Config, with_settings
from fer_dist.distributed.hardware import cores
from fer_dist.distributed.world import World
from fer_dist.errors import InputError, WorkError
from fer_dist.progress import Cells, Message, Scalars
from fer_dist.train.checks import check_job
from fer_dist.train.choices import choose, threads_for
from fer_dist.train.start import start

RATE = "train/images_per_second"
POINTS = 8
"""Looks at the rate in a turn, of which the first warms up."""


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


def measure_threads(flags: ThreadsFlags) -> Iterator[Measured]:
    found = bench_threads(flags)
    figures = [asdict(one) | {"median_rate": one.median_rate} for one in found]
    yield Measured(figures, threads_table(found), text_columns=1)


def bench_threads(flags: ThreadsFlags) -> list[SplitTime]:
    """Time each split in turn. Raises InputError for what cannot be measured."""
    if flags.steps < POINTS or flags.repeats < 1:
        raise InputError(f"bench threads: --steps must be at least {POINTS}, and --repeats at least 1")
    settings = {
        "data.train": flags.shards, "data.size": flags.size, "data.crop": flags.crop, "data.views": flags.views,
        "train.batch_size": flags.batch_size, "train.epochs": 1 << 20, "train.log_every": flags.steps // POINTS,
        "run.device": "cpu",
    }  # fmt: skip
    config = with_settings(preset(flags.preset), settings)
    check_job(config, 1)
    cpu = torch.device("cpu")
    config = choose(config, {}, World(0, 1, cpu)).config
    chosen = threads_for(config, cpu, cores())
    counts = sorted({2**power for power in range(cores().bit_length())} | {cores(), chosen.decode, chosen.torch})
    rates: dict[tuple[int, int], list[float]] = {split: [] for split in product(counts, counts)}
    for _ in range(flags.repeats):
        for split, found in rates.items():
            own = {"data.threads": split[0], "train.threads": split[1]}
            found.append(_rate(with_settings(config, own), flags))
    is_chosen = {split: split == (chosen.decode, chosen.torch) for split in rates}
    return [SplitTime(*split, is_chosen[split], found) for split, found in rates.items()]


def _rate(config: Config, flags: ThreadsFlags) -> float:
    """Images a second of a training that is stopped after some steps: the median of what its curves say."""
    rates: list[float] = []

    def note(message: Message | Scalars) -> None:
        if isinstance(message, Scalars) and RATE in message.values:
            rates.append(message.values[RATE])

    with scratch() as folder:
        config = with_settings(config, {"run.root": str(folder), "run.name": "turn"})
        try:
            start(config, flags.preset, False, note, lambda: len(rates) >= POINTS)
        except WorkError:
            if len(rates) < POINTS:
                raise
    return median(rates[1:])


def threads_table(found: list[SplitTime]) -> Cells:
    """A split a row; rates as a share of the best one's."""
    best = max(one.median_rate for one in found)
    header = ["", "decode", "compute", "n", "images/s", "least", "most", "of the best"]
    rows = []
    for one in found:
        rates = [one.median_rate, min(one.images_per_second), max(one.images_per_second)]
        cells = ["chosen" if one.chosen else "", str(one.decode), str(one.torch), str(len(one.images_per_second))]
        rows.append([*cells, *(f"{rate:.1f}" for rate in rates), f"{one.median_rate / best:.2f}"])
    return header, rows
