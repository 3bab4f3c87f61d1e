"""A GPU's first ten minutes: what the card can, the network's step, decoding, the pixels, and all of it together.

Each result is shown when it is there, since the time on a card may end at any moment. On a CPU the same lines come,
and those that only a card can fill say so.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict

import torch

from fer_dist.bench.flags import GpuFlags
from fer_dist.bench.gpu import decode, pixels, step, train
from fer_dist.bench.gpu.bench import Bench, opened
from fer_dist.bench.gpu.given import Shape, asked
from fer_dist.bench.gpu.watch import Found, Measurement, Watch
from fer_dist.bench.measured import Measured, scratch
from fer_dist.data.loading.reader import Reader
from fer_dist.distributed.world import World, pick_device
from fer_dist.errors import InputError, WorkError, counted

PARTS: dict[str, Callable[[Bench], Iterator[Measurement]]] = {
    "step": step.measurements,
    "decode": decode.measurements,
    "pixels": pixels.measurements,
    "train": train.measurements,
}

SHARES = {"step": 3.0, "decode": 1.0, "pixels": 1.0, "train": 2.0}
"""How the parts share the time: what compiles takes most of it."""


def measure_gpu(flags: GpuFlags) -> Iterator[Measured]:
    """A line a measurement. Raises WorkError at the end where one of them failed."""
    found = []
    for line in bench_gpu(flags):
        found.append(line)
        yield Measured([asdict(line)], line=str(line))
    failed = [f"{line.what} ({line.part})" for line in found if line.failed]
    if failed:
        raise WorkError(f"bench gpu: {len(failed)} of {counted(len(found), 'measurement')} failed: {'; '.join(failed)}")


def bench_gpu(flags: GpuFlags) -> Iterator[Found]:
    """Take every measurement of the parts that are asked for.

    Raises InputError for flags, devices and sets that will not do, before anything is measured.
    """
    wanted = asked(flags)
    parts, shapes = wanted.parts, wanted.shapes
    device = pick_device(flags.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if flags.shards and set(parts) != {"step"}:
        _check_size(opened(flags.shards, flags), shapes, flags.shards)
    watch = Watch(flags.seconds, [SHARES[part] for part in parts])
    with scratch() as folder:
        bench = Bench(flags, shapes, wanted.threads, World(0, 1, device), watch, folder / "faces")
        for part in parts:
            watch.begin(part)
            for measurement in PARTS[part](bench):
                yield watch.measure(measurement)


def _check_size(reader: Reader, shapes: tuple[Shape, ...], place: str) -> None:
    images, largest = int(reader.counts.sum()), max(shape.images for shape in shapes)
    if images < largest:
        raise InputError(
            f"bench gpu: {place} has {counted(images, 'image')}, fewer than the {largest} of --batches; give less"
        )
