"""Ways to share the cores between decoding and the network side by side: whole trainings of a few steps, in turn."""

from dataclasses import asdict, dataclass
from itertools import product
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

from fer_dist.config.flags import Arguments, flat, parse, positional, write_json
from fer_dist.config.settings import Views
from fer_dist.errors import InputError, WorkError
from fer_dist.storage.places import Output, Place

RATE = "speed/images_per_second"
POINTS = 8
"""Looks at the rate in a turn, of which the first warms up."""


@dataclass(frozen=True)
class ThreadsBench:
    """What is trained, on which images, and how long each split has its turn."""

    shards: Annotated[Place, positional()]
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

    steps: int = 80
    """Steps of a turn."""

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

    from fer_dist.config.presets import preset
    from fer_dist.config.settings import with_settings
    from fer_dist.distributed.hardware import cores
    from fer_dist.distributed.world import World
    from fer_dist.train.checks import check_job
    from fer_dist.train.choices import choose, threads_for

    if bench.steps < POINTS or bench.repeats < 1:
        raise InputError(f"bench threads: --steps must be at least {POINTS}, and --repeats at least 1")
    settings = {
        "data.train": bench.shards, "data.size": bench.size, "data.crop": bench.crop, "data.views": bench.views,
        "train.batch_size": bench.batch_size, "train.epochs": 1 << 20, "train.log_every": bench.steps // POINTS,
        "run.device": "cpu",
    }  # fmt: skip
    config = with_settings(preset(bench.preset), settings)
    check_job(config, 1)
    cpu = torch.device("cpu")
    config = choose(config, {}, World(0, 1, cpu)).config
    chosen = threads_for(config, cpu, cores())
    counts = sorted({2**power for power in range(cores().bit_length())} | {cores(), chosen.decode, chosen.torch})
    rates: dict[tuple[int, int], list[float]] = {split: [] for split in product(counts, counts)}
    for _ in range(bench.repeats):
        for split, found in rates.items():
            own = {"data.threads": split[0], "train.threads": split[1]}
            found.append(_rate(with_settings(config, own), bench))
    is_chosen = {split: split == (chosen.decode, chosen.torch) for split in rates}
    return [SplitTime(*split, is_chosen[split], found) for split, found in rates.items()]


def _rate(config: Any, bench: ThreadsBench) -> float:
    """Images a second of a training that is stopped after some steps: the median of what its curves say."""
    from fer_dist.config.settings import with_settings
    from fer_dist.progress import Message, Scalars
    from fer_dist.train.start import start

    rates: list[float] = []

    def note(message: Message | Scalars) -> None:
        if isinstance(message, Scalars) and RATE in message.values:
            rates.append(message.values[RATE])

    with TemporaryDirectory(prefix="fer-dist-bench-") as folder:
        config = with_settings(config, {"run.root": folder, "run.name": "turn"})
        try:
            start(config, bench.preset, False, note, lambda: len(rates) >= POINTS)
        except WorkError:
            if len(rates) < POINTS:
                raise
    return median(rates[1:])


def command(arguments: Arguments) -> None:
    from fer_dist.progress import Terminal

    @dataclass(frozen=True)
    class ThreadsFlags:
        """Every way to share this machine's cores between decoding and the network, beside what a run chooses."""

        config: Annotated[ThreadsBench, flat()]
        json: Output = ""
        """File for the figures as JSON as well."""

    flags = parse(ThreadsFlags, arguments, "bench threads")
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
