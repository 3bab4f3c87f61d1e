"""What the parts of the measurement of a GPU are given: batches, engines and loaders as a training has them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fer_dist.bench.flags import GpuFlags
from fer_dist.bench.gpu.given import Shape, faces
from fer_dist.bench.gpu.watch import Clock, Values, Watch
from fer_dist.config.settings import Compile, Config, DataConfig, ModelConfig, Precision, TrainConfig
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.emotions import EIGHT
from fer_dist.data.loading.loader import Batch, Loader, Placement, open_reader, training_loader
from fer_dist.data.loading.order import Order, sequence
from fer_dist.data.loading.reader import Reader
from fer_dist.data.processes import core_count
from fer_dist.distributed.hardware import takes_half, torch_for
from fer_dist.distributed.world import World
from fer_dist.errors import InputError, WorkError
from fer_dist.runs.network import build, network_of, on_device
from fer_dist.train.choices import choose
from fer_dist.train.engine import Engine
from fer_dist.train.estimate import noise

FIRST = 4
"""Batches of a loader that pass before the clock runs: as many as it makes ahead."""

HELD = 16
"""Batches of encoded images that are kept in memory, so that decoding is timed without reading."""

NO_CARD = "only a CUDA device has it"

Encoded = NDArray[np.uint8]


@dataclass(frozen=True)
class Bench:
    """What the parts are given. folder: for faces that are drawn."""

    flags: GpuFlags
    shapes: tuple[Shape, ...]
    threads: tuple[int, ...]
    world: World
    watch: Watch
    folder: Path

    @property
    def device(self) -> torch.device:
        return self.world.device

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @cached_property
    def clock(self) -> Clock:
        return Clock(self.device, self.flags.steps, self.watch)

    @cached_property
    def reader(self) -> Reader:
        """Of the set, which is drawn where none was given."""
        return opened(self.flags.shards or str(_drawn(self.flags, self.folder)), self.flags)

    @cached_property
    def held(self) -> list[list[Encoded]]:
        """Encoded images in batches of the first shape."""
        size = self.shapes[0].images
        samples = self.reader.read(sequence(self.reader.counts, 0, 1, HELD * size)[0])
        sound = [image.copy() for image, is_sound in zip(samples.content, samples.sound, strict=True) if is_sound]
        if len(sound) < size:
            raise InputError(
                f"bench gpu: of the first {len(samples)} images of {self.reader.folder} only {len(sound)} are built as "
                "JPEG or PNG; look closer with fer-dist shards verify"
            )
        return [sound[begin : begin + size] for begin in range(0, len(sound) - size + 1, size)]

    def config(self, shape: Shape, precision: Precision = "auto", compiled: Compile = "off") -> Config:
        """The settings of a training, none of them open."""
        data = DataConfig(size=self.flags.size, crop=self.flags.crop, views=shape.views)
        train = TrainConfig(batch_size=shape.images, precision=precision, compile=compiled)
        return choose(Config(data, ModelConfig(width=self.flags.width), train), {}, self.world).config

    def engine(self, config: Config) -> Engine:
        """Raises WorkError where it is to be compiled and cannot be."""
        torch.manual_seed(0)
        engine = Engine(config, on_device(build(network_of(config)), self.device), self.world)
        if config.train.compile != "off" and (fault := engine.compile(config.train.batch_size)):
            raise WorkError(fault)
        return engine

    def noise(self, config: Config, shape: Shape) -> Batch:
        """A batch as the loader gives one in this arithmetic."""
        batch = noise(shape.images, shape.crops, self.flags.crop, self.device)
        return replace(batch, crops=batch.crops.half()) if self.takes_half(config) else batch

    def takes_half(self, config: Config) -> bool:
        return takes_half(config.train.precision, self.device)

    def loader(self, config: Config, stop: int, threads: int = 0) -> Loader:
        """The loader of a training run, whose steps end at `stop`. threads: that decode; 0: as the run chooses."""
        placement = Placement(0, 1, self.device, self.takes_half(config), threads or config.data.threads)
        order = Order(self.reader.counts, config.train.batch_size, seed=0)
        return training_loader(config.data, self.reader, order, placement, 0, stop)


@contextmanager
def ready(config: Config, tuned: bool = True) -> Iterator[None]:
    """torch as a training has it; what was compiled is forgotten afterwards."""
    try:
        with torch_for(config.train, tuned):
            yield
    finally:
        if config.train.compile != "off":
            torch.compiler.reset()


def opened(place: str, flags: GpuFlags) -> Reader:
    return open_reader(place, EIGHT, replace(flags.where.data, drop_extra=True), "SHARDS")


def _drawn(flags: GpuFlags, folder: Path) -> Path:
    """A set of drawn faces."""
    # A process takes as long to start as it takes to draw some 64 faces.
    workers = max(1, min(core_count(), flags.images // 64))
    build_shards(faces(flags.images, flags.pixels), folder, BuildOptions(shard_samples=64, workers=workers))
    return folder / "train"


def described(bench: Bench) -> Values:
    """What is read, drawn here where it is not there yet."""
    begun = time.perf_counter()
    images = int(bench.reader.counts.sum())
    place = bench.flags.shards or f"drawn, {bench.flags.pixels} px"
    return {"images": images, "of": place, "seconds": time.perf_counter() - begun}
