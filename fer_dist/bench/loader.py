"""Our loader beside others on the same images, with the same transforms and without any; and each of its stages.

All take turns in one process tree, so that a machine that slows down slows each of them. What the others are given, and
with which settings, stands in peers.
"""

import statistics
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fer_dist.bench import peers
from fer_dist.bench.flags import LoaderFlags
from fer_dist.bench.measured import Measured, at_least_one, scratch
from fer_dist.bench.peers import Batches, Common
from fer_dist.config.settings import DataConfig, Views
from fer_dist.data.emotions import EIGHT
from fer_dist.data.loading.loader import Placement, open_reader, training_loader
from fer_dist.data.loading.order import Order, Positions, sequence
from fer_dist.data.loading.pipeline import Graph, decoded, draws_of, empty_pipeline, steps
from fer_dist.data.loading.reader import Reader
from fer_dist.errors import InputError
from fer_dist.progress import Cells

FIRST = 4
"""Batches that pass before the clock runs: as many as two workers make ahead."""

OURS, FUSED = "ours", "ours, fused"

Stream = Callable[[], Batches]


@dataclass(frozen=True)
class Contest:
    """Who took part, with the microseconds an image of each repeat; who was skipped, and why.

    references: those that the others are compared with.
    """

    title: str
    microseconds: dict[str, tuple[float, ...]]
    references: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def ratio(self, name: str, reference: str) -> float:
        """How many times the reference's time it takes: the median over the repeats, each compared with its own."""
        pairs = zip(self.microseconds[name], self.microseconds[reference], strict=True)
        return statistics.median(one / other for one, other in pairs)


def contest_table(contest: Contest) -> Cells:
    """Header and rows."""
    header = [contest.title, "microseconds an image", "range", "images/s", *(f"/ {r}" for r in contest.references)]
    rows = []
    for name, found in contest.microseconds.items():
        median = statistics.median(found)
        ratios = [f"{contest.ratio(name, reference):.2f}" for reference in contest.references]
        row = [name, f"{median:,.1f}", f"{min(found):,.1f} to {max(found):,.1f}", f"{1e6 / median:,.0f}"]
        rows.append(row + ratios)
    return header, rows


def measure_loader(flags: LoaderFlags) -> Iterator[Measured]:
    with scratch() as folder:
        for contest in bench_loader(flags, folder / "set"):
            yield Measured([asdict(contest)], contest_table(contest), notes=contest.skipped)


def bench_loader(flags: LoaderFlags, folder: Path) -> Iterator[Contest]:
    """Each comparison when it is done. folder: for the images, in three forms; it must not exist yet."""
    data = DataConfig(size=flags.size, crop=flags.crop, views=flags.views)
    at_least_one(flags, "samples", "images", "batch_size", "threads", "repeats")
    if not 1 <= flags.crop <= flags.size:
        raise InputError(f"--crop {flags.crop}: give a side from 1 to --size {flags.size}")
    reader = open_reader(flags.shards, EIGHT, replace(flags.where.data, drop_extra=True), "SHARDS")
    if flags.batch_size > min(flags.samples, int(reader.counts.sum())):
        raise InputError(f"--batch-size {flags.batch_size}: more than the images that are taken; choose a smaller one")
    common = Common(peers.prepare(reader, folder, flags.samples), data, flags.batch_size, flags.threads)
    if "transforms" in flags.parts:
        yield bench_transforms(common, flags.images, flags.repeats)
    if "readers" in flags.parts:
        yield from bench_readers(common, 16 * flags.images, flags.repeats)
    if "stages" in flags.parts:
        yield from bench_stages(common, flags.images, flags.repeats)


def bench_transforms(common: Common, images: int, repeats: int) -> Contest:
    """Batches of crops, normalised, from each loader."""
    exact = replace(common, data=replace(common.data, fused=False))
    fused = replace(common, data=replace(common.data, fused=True))
    transform = peers.torchvision_transform(common.data)
    contestants: dict[str, Stream] = {
        "torch DataLoader, torchvision": partial(peers.torch_batches, common, transform, peers.WORKERS),
        "webdataset, torchvision": partial(peers.webdataset_batches, common, transform, peers.WORKERS),
        "litdata, torchvision": partial(peers.litdata_batches, common, transform, peers.WORKERS),
        OURS: partial(our_batches, exact),
        "DALI's reader": partial(peers.dali_batches, exact),
        FUSED: partial(our_batches, fused),
        "DALI's reader, fused": partial(peers.dali_batches, fused),
    }
    return compare("the same transforms", contestants, (OURS, FUSED), images, repeats)


def bench_readers(common: Common, images: int, repeats: int) -> list[Contest]:
    """Encoded images and labels, the checksum of each image computed: in one process, and by two workers."""
    contests = []
    for workers in (0, peers.WORKERS):
        contestants: dict[str, Stream] = {
            "torch DataLoader": partial(peers.torch_batches, common, zlib.crc32, workers),
            "webdataset": partial(peers.webdataset_batches, common, zlib.crc32, workers),
            "litdata": partial(peers.litdata_batches, common, zlib.crc32, workers),
            OURS: partial(our_bytes, common, shuffled=True),
            "ours, in sequence": partial(our_bytes, common, shuffled=False),
            "DALI's reader": partial(peers.dali_bytes, common),
        }
        title = f"reading alone, the peers by {workers} workers" if workers else "reading alone, in one process"
        contests.append(compare(title, contestants, (OURS,), images, repeats))
    return contests


def bench_stages(common: Common, images: int, repeats: int) -> list[Contest]:
    """Our graph up to each of its steps, one by one and fused, with five crops and with one."""
    views: tuple[Views, ...] = ("expand", "random_one")
    contests = []
    for kind in views:
        for fused in (False, True):
            ours = replace(common, data=replace(common.data, views=kind, fused=fused))
            names = ["decode", *steps(_graph(ours))]
            contestants: dict[str, Stream] = {
                name if name == "decode" else f"to {name}": partial(_stage, ours, last)
                for last, name in enumerate(names)
            }
            title = ("five crops" if kind == "expand" else "one crop") + (", fused" if fused else "")
            contests.append(compare(title, contestants, ("decode",), images, repeats))
    return contests


def compare(
    title: str, contestants: dict[str, Stream], references: tuple[str, ...], images: int, repeats: int
) -> Contest:
    """Let each give so many images in turn, alone: it is opened for its turn. A peer that cannot run is skipped."""
    found: dict[str, list[float]] = {name: [] for name in [*references, *contestants]}
    skipped: dict[str, str] = {}
    for _ in range(repeats):
        for name in [name for name in contestants if name not in skipped]:
            try:
                found[name].append(_turn(contestants[name], images))
            except peers.PeerError as error:
                skipped[name] = f"{name} is left out: {error}"
    times = {name: tuple(values) for name, values in found.items() if values}
    return Contest(title, times, references, tuple(skipped.values()))


def _turn(start: Stream, images: int) -> float:
    """Microseconds an image."""
    with closing(start()) as stream:
        for _ in range(FIRST):
            next(stream)
        given, begun = 0, time.perf_counter()
        while given < images:
            given += next(stream)
        return 1e6 * (time.perf_counter() - begun) / given


def our_batches(common: Common) -> Batches:
    """The real loader of a training run."""
    reader = _reader(common)
    order = Order(reader.counts, common.batch_size, seed=0)
    placement = Placement(0, 1, torch.device("cpu"), half=False, threads=common.threads)
    for batch in training_loader(common.data, reader, order, placement, 0, 1 << 40):
        yield len(batch.labels)


def our_bytes(common: Common, shuffled: bool) -> Batches:
    """Order and reader alone. shuffled: in the epoch's order, else as the tars have them."""
    reader = _reader(common)
    order = Order(reader.counts, common.batch_size, seed=0)

    def batches() -> Iterator[Positions]:
        if shuffled:
            step = 0
            while True:
                yield order.batch(step)
                step += 1
        yield from cycle(sequence(reader.counts, 0, 1, common.batch_size))

    for positions in batches():
        content = reader.read(positions).content
        for image in content:
            zlib.crc32(image.data)
        yield len(content)


def _reader(common: Common) -> Reader:
    return open_reader(common.folder / "tars", EIGHT, DataConfig(), "SHARDS")


def _graph(common: Common) -> Graph:
    return Graph(common.data, True, common.batch_size, torch.device("cpu"), False, common.threads)


def _stage(common: Common, last: int) -> Batches:
    """The graph up to some step, fed from memory."""
    from nvidia.dali import fn, types

    graph = _graph(common)
    reader = _reader(common)
    batches = sequence(reader.counts, 0, 1, common.batch_size)
    whole = [reader.read(positions).content for positions in batches if len(positions) == common.batch_size]
    feed = cycle(whole)

    def give() -> list[NDArray[np.uint8]]:
        return next(feed)

    pipeline: Any = empty_pipeline(common.batch_size, common.threads, graph.device)
    with pipeline:
        encoded = fn.external_source(source=give, batch=True, dtype=types.UINT8, ndim=1)
        images = decoded(encoded, graph.device, graph.data.decoder)
        drawn = peers.dali_draws(graph.data, draws_of(graph))
        for step in list(steps(graph).values())[:last]:
            images = step(images, drawn, graph)
        pipeline.set_outputs(images)
    pipeline.build()
    while True:
        pipeline.run()
        yield common.batch_size
