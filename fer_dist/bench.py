"""Measurements behind `fer-dist bench`."""

import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fer_dist.data.shards import BuildOptions, build_shards
from fer_dist.data.sources import LeftOut, open_source
from fer_dist.data.workers import in_processes

PROCESSES = 2
CHUNK = 1024


@dataclass(frozen=True)
class ShardBench:
    """Building shards beside reading and decoding the same files with Pillow, both in two processes.

    Seconds are medians over the repeats, which alternate; each holds the start of the processes.
    """

    pictures: int
    repeats: int
    build_seconds: float
    pillow_seconds: float

    @property
    def ratio(self) -> float:
        return self.build_seconds / self.pillow_seconds

    @property
    def pictures_per_second(self) -> float:
        return self.pictures / self.build_seconds


def bench_shards(raw: str, out: Path, source: str = "fer2013", repeats: int = 3) -> ShardBench:
    """Build a release's shards, and read and decode its picture files with Pillow, in turn.

    out: a folder for the shards that does not exist yet; it is made and removed again for each repeat.
    The files are read once before the clock runs, so that both find them in the page cache.
    """
    release = open_source(source, raw)
    paths = [entry.path for entry in release.samples() if not isinstance(entry, LeftOut)]
    options = BuildOptions(workers=PROCESSES)
    sum(in_processes(_decode_files, _chunks(paths), PROCESSES))
    build, pillow = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        sum(in_processes(_decode_files, _chunks(paths), PROCESSES))
        pillow.append(time.perf_counter() - start)
        start = time.perf_counter()
        build_shards(release, out, options)
        build.append(time.perf_counter() - start)
        shutil.rmtree(out)
    return ShardBench(len(paths), repeats, statistics.median(build), statistics.median(pillow))


def _chunks(paths: list[str]) -> Iterator[list[str]]:
    rest = iter(paths)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _decode_files(paths: list[str]) -> int:
    from PIL import Image

    for path in paths:
        with Image.open(path) as image:
            image.load()
    return len(paths)
