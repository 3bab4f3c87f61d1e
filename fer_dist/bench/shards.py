"""Measurements behind `fer-dist bench shards` and `bench resize`: what a build costs, and what it saves."""

import os
import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from fer_dist.bench.measured import Measured, at_least_one, scratch
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.processes import in_processes
from fer_dist.data.sources.source import LeftOut, Source, open_source
from fer_dist.errors import InputError

if TYPE_CHECKING:
    # Processes that are measured load this file, and shall not load what makes flags.
    from fer_dist.bench.flags import ResizeFlags, ShardsFlags

PROCESSES = 2
CHUNK = 1024


@dataclass(frozen=True)
class ShardBench:
    """Building shards beside reading and decoding the same files with Pillow, both in two processes.

    Seconds are medians over the repeats, which alternate; each holds the start of the processes.
    """

    images: int
    repeats: int
    build_seconds: float
    pillow_seconds: float

    @property
    def ratio(self) -> float:
        return self.build_seconds / self.pillow_seconds


@dataclass(frozen=True)
class ResizeBench:
    """Building shards of resized images in one process and in two; medians over the repeats, which alternate."""

    images: int
    repeats: int
    one_seconds: float
    two_seconds: float

    @property
    def ratio(self) -> float:
        return self.one_seconds / self.two_seconds


def measure_shards(flags: "ShardsFlags") -> Iterator[Measured]:
    at_least_one(flags, "repeats")
    with scratch() as folder:
        found = bench_shards(flags.raw, folder / "shards", flags.source, flags.repeats)
    header = ["images", "n", "build s", "Pillow s", "build / Pillow"]
    yield _measured(found, header, found.build_seconds, found.pillow_seconds)


def measure_resize(flags: "ResizeFlags") -> Iterator[Measured]:
    at_least_one(flags, "repeats")
    with scratch() as folder:
        found = bench_resize(flags.raw, folder / "shards", flags.source, flags.resize, flags.repeats)
    header = ["images", "n", "one process s", "two processes s", "one / two"]
    yield _measured(found, header, found.one_seconds, found.two_seconds)


def _measured(found: ShardBench | ResizeBench, header: list[str], *seconds: float) -> Measured:
    row = [f"{found.images:,}", str(found.repeats), *(f"{each:.2f}" for each in (*seconds, found.ratio))]
    return Measured(asdict(found) | {"ratio": found.ratio}, (header, [row]))


def bench_shards(raw: str, out: Path, source: str = "fer2013", repeats: int = 3) -> ShardBench:
    """Build a release's shards, and read and decode its image files with Pillow, in turn.

    out: a folder for the shards that does not exist yet; it is made and removed again for each repeat.
    The files are read once before the clock runs, so that both find them in the page cache.
    """
    release = open_source(source, raw)
    paths = [entry.path for entry in release.samples() if not isinstance(entry, LeftOut) and not entry.length]
    if not paths or not os.path.isfile(paths[0]):
        raise InputError(f"{raw}: {release.variant} has no image files to read; give a release that has")
    sum(in_processes(_decode_files, _chunks(paths), PROCESSES))
    build, pillow = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        sum(in_processes(_decode_files, _chunks(paths), PROCESSES))
        pillow.append(time.perf_counter() - start)
        build.append(_build_seconds(release, out, BuildOptions(workers=PROCESSES)))
    return ShardBench(len(paths), repeats, statistics.median(build), statistics.median(pillow))


def bench_resize(raw: str, out: Path, source: str, resize: int, repeats: int = 3) -> ResizeBench:
    """Build a release's shards with every image resized, in one process and in two, in turn. out: as above."""
    release = open_source(source, raw)
    images = sum(not isinstance(entry, LeftOut) for entry in release.samples())
    options = BuildOptions(resize=resize, workers=1)
    _build_seconds(release, out, replace(options, workers=PROCESSES))  # fills the page cache
    one, two = [], []
    for _ in range(repeats):
        one.append(_build_seconds(release, out, options))
        two.append(_build_seconds(release, out, replace(options, workers=PROCESSES)))
    return ResizeBench(images, repeats, statistics.median(one), statistics.median(two))


def _build_seconds(release: Source, out: Path, options: BuildOptions) -> float:
    start = time.perf_counter()
    build_shards(release, out, options)
    seconds = time.perf_counter() - start
    shutil.rmtree(out)
    return seconds


def _chunks(paths: list[str]) -> Iterator[list[str]]:
    rest = iter(paths)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _decode_files(paths: list[str]) -> int:
    for path in paths:
        with Image.open(path) as image:
            image.load()
    return len(paths)
