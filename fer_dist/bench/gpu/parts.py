"""A GPU's first ten minutes: what the card can, the network's step, decoding, the pixels, and all of it together.

Each result is shown when it is there, since the time on a card may end at any moment. On a CPU the same lines come,
and those that only a card can fill say so.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict

import torch

from fer_dist.bench.flags import GpuFlags
from fer_dist.bench.gpu import decode, pixels, step, train
from fer_dist.bench.gpu.bench import Bench, Shape, faces, opened
from fer_dist.bench.gpu.watch import Found, Measurement, Watch
from fer_dist.bench.measured import Measured, scratch
from fer_dist.data.loading.reader import Reader
from fer_dist.distributed.world import World, pick_device
from fer_dist.errors import InputError, WorkError, nearest

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
        raise WorkError(f"bench gpu: {len(failed)} of {len(found)} measurements failed: {'; '.join(failed)}")


def bench_gpu(flags: GpuFlags) -> Iterator[Found]:
    """Take every measurement of the parts that are asked for.

    Raises InputError for flags, devices and sets that will not do, before anything is measured.
    """
    parts, shapes, threads = _checked(flags)
    device = pick_device(flags.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if flags.shards and set(parts) != {"step"}:
        _check_size(opened(flags.shards, flags), shapes, flags.shards)
    watch = Watch(flags.seconds, [SHARES[part] for part in parts])
    with scratch() as folder:
        bench = Bench(flags, shapes, threads, World(0, 1, device), watch, folder / "faces")
        for part in parts:
            watch.begin(part)
            for measurement in PARTS[part](bench):
                yield watch.measure(measurement)


def _checked(flags: GpuFlags) -> tuple[list[str], tuple[Shape, ...], tuple[int, ...]]:
    """Parts, batches and threads, read. Raises InputError for what cannot be measured."""
    parts = flags.parts.split(",")
    for part in parts:
        if part not in PARTS:
            raise InputError(f"bench gpu: --parts {flags.parts}: unknown part {part!r}; {nearest(part, PARTS)}")
    for name in ("steps", "seconds"):
        if getattr(flags, name) <= 0:
            raise InputError(f"bench gpu: --{name} {getattr(flags, name)}: give more than 0")
    if flags.width < 16:
        raise InputError(f"bench gpu: --width {flags.width}: give at least 16")
    if not 1 <= flags.crop <= flags.size:
        raise InputError(f"bench gpu: --crop {flags.crop}: give a side from 1 to --size {flags.size}")
    shapes = tuple(map(_shape, flags.batches.split(",")))
    largest = max(shape.images for shape in shapes)
    if set(parts) != {"step"}:
        faces(1, flags.pixels)
    if not flags.shards and set(parts) != {"step"} and flags.images < largest:
        raise InputError(f"bench gpu: --images {flags.images}: fewer than the {largest} of --batches {flags.batches}")
    if not all(word.isdecimal() and int(word) for word in flags.threads.split(",")):
        raise InputError(f"bench gpu: --threads {flags.threads}: give whole numbers from 1, separated by commas")
    return parts, shapes, tuple(map(int, flags.threads.split(",")))


def _shape(word: str) -> Shape:
    images, _, crops = word.partition("x")
    # A single crop would leave BatchNorm a single value.
    if not images.isdecimal() or int(images) < 2 or crops not in ("", "1", "5"):
        raise InputError(f"bench gpu: --batches {word}: give numbers of images from 2, with x5 for five crops of each")
    return Shape(int(images), int(crops or 1))


def _check_size(reader: Reader, shapes: tuple[Shape, ...], place: str) -> None:
    images, largest = int(reader.counts.sum()), max(shape.images for shape in shapes)
    if images < largest:
        raise InputError(f"bench gpu: {place} has {images} images, fewer than the {largest} of --batches; give less")
