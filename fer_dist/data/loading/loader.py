"""The batches of this rank: order, reader, augmentation and DALI graph joined into one iterator."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fer_dist.config.settings import DataConfig, fixed_decoder
from fer_dist.data.images import fault_in, png_bytes
from fer_dist.data.loading.augment import draw
from fer_dist.data.loading.order import Order, Positions, sequence
from fer_dist.data.loading.pipeline import Crops, DecodeError, Graph, Inputs, Trial
from fer_dist.data.loading.reader import Readable, Reader, Samples
from fer_dist.data.loading.shard_set import ShardSet, open_set
from fer_dist.errors import InputError, WorkError, counted

Source = TypeVar("Source", bound=Readable)

NO_IDS = np.zeros(0, dtype=np.uint64)

MOST_EMPTY = 16
"""Steps in a row of which nothing decodes, after which a worker stops: then the set is broken, not an image."""


@dataclass(frozen=True)
class Batch:
    """One rank's share of a step.

    crops:  [B * V, 3, H, W] on the device, channels-last, an image's V crops in a row.
    labels: int64 [B] on the device, outputs of the model.
    targets: float32 [B, K] on the device, shares of the outputs; None where labels are the targets.
    wait_seconds: how long the caller stood still for it.
    """

    step: int
    crops: Tensor
    labels: Tensor
    targets: Tensor | None
    samples: Samples
    positions: Positions
    wait_seconds: float


@dataclass(frozen=True)
class Placement:
    """Where batches go: this rank of how many, on which device, as float16 or float32, decoded by how many threads."""

    rank: int
    world: int
    device: torch.device
    half: bool
    threads: int


class Loader(Generic[Source]):
    """Gives the batches of steps `start` to `stop` - 1, and never the same sample twice in an epoch."""

    def __init__(
        self,
        reader: Source,
        graph: Graph,
        batches: Callable[[], Iterator[tuple[int, int, Positions]]],
        world: int,
        seed: int,
    ) -> None:
        """batches: gives (step, epoch, positions) in order. Use `training_loader` or `evaluation_loader`."""
        self.reader = reader
        self.graph = graph
        self.batches = batches
        self.world = world
        self.seed = seed
        self.bad: dict[str, str] = {}
        """Images that did not decode and were left out: key -> shard."""
        self._trial = Trial()
        self._good: set[tuple[str, str]] = set()
        """Those that were tried and decode, by shard and key."""
        self._by_cpu: dict[tuple[str, str], NDArray[np.uint8]] = {}
        """Those that only the CPU decodes, as PNG."""

    def __iter__(self) -> Iterator[Batch]:
        waiting = self.batches()
        flying: deque[_Flight] = deque()
        again: deque[_Flight] = deque()
        """Batches that a broken graph had taken in, to be given once more."""

        def give() -> Inputs:
            for _ in range(MOST_EMPTY):
                flight = again.popleft() if again else self._next(waiting)
                flying.append(flight)
                if len(flight.samples):
                    break
                # The graph takes no empty batch; this one is given out in its turn.
            else:
                raise WorkError(
                    f"step {flight.step}: none of this worker's images of {MOST_EMPTY} steps in a row decodes; "
                    "look closer with fer-dist shards verify"
                )
            # Evaluation uses no draw, and would hash every key for nothing.
            ids = flight.samples.ids if self.graph.augment else NO_IDS
            return Inputs(flight.samples.content, draw(self.graph.data, self.seed, flight.epoch, ids))

        crops = Crops(self.graph, give)
        while True:
            begun = time.perf_counter()
            try:
                pixels = crops.next()
            except StopIteration:
                yield from map(self._empty, flying)
                return
            except DecodeError as error:
                again = deque(self._without_bad(list(flying) + list(again), error))
                flying.clear()
                crops = Crops(self.graph, give)
                continue
            while not len(flying[0].samples):
                yield self._empty(flying.popleft())
            flight = flying.popleft()
            samples = flight.samples
            labels = self._on_device(samples.labels)
            targets = None if samples.targets is None else self._on_device(samples.targets)
            flat = pixels.flatten(0, 1).permute(0, 3, 1, 2)
            waited = time.perf_counter() - begun
            yield Batch(flight.step, flat, labels, targets, samples, flight.positions, waited)

    def forget(self) -> None:
        """Forget what is known of single images: for batches that come from no set, none of which comes again."""
        self.bad.clear()
        self._good.clear()
        self._by_cpu.clear()

    def _empty(self, flight: "_Flight") -> Batch:
        """A batch of which nothing decodes: the step is taken without an image, for the other ranks take it too."""
        crop = self.graph.data.crop
        crops = torch.zeros(0, 3, crop, crop, device=self.graph.device)
        labels = self._on_device(flight.samples.labels)
        return Batch(flight.step, crops, labels, None, flight.samples, flight.positions, wait_seconds=0)

    def _on_device(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self.graph.device, non_blocking=True)

    def _next(self, waiting: Iterator[tuple[int, int, Positions]]) -> "_Flight":
        while True:
            step, epoch, positions = next(waiting)
            flight = _Flight(step, epoch, positions, self.reader.read(positions))
            for i in self._doubtful(flight):
                self._try(flight, i)
            self._put_by_cpu(flight)
            for mended in self._less(flight, self._known_bad(flight)):
                return mended

    def _without_bad(self, flights: list["_Flight"], error: DecodeError) -> list["_Flight"]:
        """The batches that a broken graph held, less the images that do not decode. Raises where it must stop."""
        # The graph takes no empty batch.
        broken = next(flight for flight in flights if len(flight.samples))
        unexplained = WorkError(f"the decoder stopped, though each image of the batch decodes alone: {error}")
        if error.sample is None:
            tried = [self._try(broken, i) is None for i in range(len(broken.samples))]
            if not any(tried):
                raise unexplained
        elif (pixels := self._try(broken, error.sample)) is not None:
            name = self._name(broken, error.sample)
            if name in self._by_cpu:
                raise unexplained
            # A GPU's decoder refused it. If it were left out, a run there would train on fewer images than on a CPU.
            self._by_cpu[name] = np.frombuffer(png_bytes(Image.fromarray(pixels)), np.uint8)
            self._put_by_cpu(broken)
        return [mended for flight in flights for mended in self._less(flight, self._known_bad(flight))]

    def _doubtful(self, flight: "_Flight") -> list[int]:
        """Images that must not go into a batch untried: DALI could crash on them, or ask for any amount of memory."""
        unsound = [i for i, sound in enumerate(flight.samples.sound) if not sound]
        names = [self._name(flight, i) for i in unsound]
        return [i for i, name in zip(unsound, names, strict=True) if name not in self._good and name[1] not in self.bad]

    def _try(self, flight: "_Flight", i: int) -> NDArray[np.uint8] | None:
        """The pixels of an image, decoded alone; None for one that is bad, which is noted or raised."""
        image, (shard, key) = flight.samples.content[i], self._name(flight, i)
        pixels = self._trial.pixels(image)
        if pixels is not None:
            self._good.add((shard, key))
        elif self.graph.data.on_bad == "stop":
            fault = fault_in(image.tobytes()) or "does not decode"
            raise WorkError(
                f"{shard}: {key}: the image {fault}; "
                "look closer with fer-dist shards verify, or go on without it: --data.on-bad skip"
            )
        else:
            self.bad[key] = shard
        return pixels

    def _put_by_cpu(self, flight: "_Flight") -> None:
        """Put the pixels of the CPU, which PNG keeps as they are, in the place of what a GPU's decoder refuses."""
        for i in range(len(flight.samples)) if self._by_cpu else ():
            flight.samples.content[i] = self._by_cpu.get(self._name(flight, i), flight.samples.content[i])

    def _name(self, flight: "_Flight", i: int) -> tuple[str, str]:
        """Shard and key. Of one sample: `keys` parses those of all."""
        tar, position = flight.samples.origins[i]
        return tar.name, tar.key(position)

    def _known_bad(self, flight: "_Flight") -> list[int]:
        return [i for i, key in enumerate(flight.samples.keys) if key in self.bad] if self.bad else []

    def _less(self, flight: "_Flight", bad: list[int]) -> list["_Flight"]:
        """The batch without those samples; no batch where an evaluation is left with nothing of it.

        In training it is an empty one then, for the other ranks take this step. Raises WorkError where there are none.
        """
        if len(bad) == len(flight.samples):
            if not self.graph.augment:
                return []
            if self.world == 1:
                raise WorkError(f"step {flight.step}: of the batch's {counted(len(bad), 'image')} none decodes")
        return [flight.without(np.array(bad, dtype=np.int64))] if bad else [flight]


@dataclass(frozen=True)
class _Flight:
    """A batch on its way through the graph."""

    step: int
    epoch: int
    positions: Positions
    samples: Samples

    def without(self, bad: NDArray[np.int64]) -> "_Flight":
        keep = np.setdiff1d(np.arange(len(self.samples)), bad)
        pick = keep.tolist()
        s = self.samples
        samples = Samples(
            [s.content[i] for i in pick],
            s.labels[keep],
            [s.sound[i] for i in pick],
            [s.origins[i] for i in pick],
            None if s.targets is None else s.targets[keep],
        )
        positions = Positions(self.positions.shard[keep], self.positions.position[keep])
        return replace(self, positions=positions, samples=samples)


def training_loader(
    data: DataConfig, reader: Reader, order: Order, placement: Placement, start: int, stop: int
) -> Loader[Reader]:
    """The augmented batches of optimiser steps start to stop - 1, this rank's lanes of each."""
    share = len(order.share(placement.rank, placement.world)) * order.per_lane

    def positions_of(step: int) -> Positions:
        return order.batch(step, placement.rank, placement.world)

    def batches() -> Iterator[tuple[int, int, Positions]]:
        for step, positions in reader.ahead(range(start, stop), positions_of):
            yield step, step // order.steps_per_epoch, positions

    if reader.remote:
        # The shards of a lane's block are needed throughout its steps.
        block = range(start, min(stop, start + max(1, order.block // order.per_lane)))
        reader.remote.check_room(positions_of(step) for step in block[:: max(1, len(block) // 16)])
    graph = Graph(data, True, share, placement.device, placement.half, placement.threads)
    return Loader(reader, graph, batches, placement.world, order.seed)


def evaluation_loader(
    data: DataConfig, reader: Reader, placement: Placement, batch_size: int, parts: list[Positions] | None = None
) -> Loader[Reader]:
    """The centre crops of a set's images, as they are. parts: the batches; by default this rank's part, once."""

    def batches() -> Iterator[tuple[int, int, Positions]]:
        taken = sequence(reader.counts, placement.rank, placement.world, batch_size) if parts is None else parts
        for step, positions in reader.ahead(range(len(taken)), taken.__getitem__):
            yield step, 0, positions

    return centre_loader(data, reader, placement, batch_size, batches)


def centre_loader(
    data: DataConfig,
    reader: Source,
    placement: Placement,
    batch_size: int,
    batches: Callable[[], Iterator[tuple[int, int, Positions]]],
) -> Loader[Source]:
    """The centre crops of images, as they are, in batches of at most that size: of a set, or of what stands for one."""
    data = replace(data, views="centre", decoder=fixed_decoder(data.decoder))
    graph = Graph(data, False, batch_size, placement.device, placement.half, placement.threads)
    return Loader(reader, graph, batches, placement.world, seed=0)


def augmented_loader(
    data: DataConfig, reader: Reader, placement: Placement, parts: list[Positions], seed: int, epoch: int
) -> Loader[Reader]:
    """These batches of samples as a training with this seed would show them in this epoch, by a fixed decoder."""
    data = replace(data, decoder=fixed_decoder(data.decoder))

    def batches() -> Iterator[tuple[int, int, Positions]]:
        for step, positions in reader.ahead(range(len(parts)), parts.__getitem__):
            yield step, epoch, positions

    largest = max(len(part) for part in parts)
    graph = Graph(data, True, largest, placement.device, placement.half, placement.threads)
    return Loader(reader, graph, batches, placement.world, seed)


def name_bad(bad: dict[str, str]) -> str:
    """Images that did not decode, as `shard: key, ...`, ten at most. bad: key -> shard."""
    return ", ".join(f"{place}: {key}" for key, place in sorted(bad.items())[:10])


def open_reader(
    place: str | Path | ShardSet,
    model_emotions: tuple[str, ...],
    data: DataConfig,
    flag: str,
    soft: bool = False,
    random_labels: int | None = None,
) -> Reader:
    """A reader whose errors name the flag that the place came from; a set that is open already is not opened again.

    soft: its samples come with targets; random_labels: as of Reader.
    """
    try:
        found = place.again(data) if isinstance(place, ShardSet) else open_set(str(place), data)
        return Reader(found, model_emotions, data.drop_extra, data.leave_out, soft, random_labels)
    except InputError as error:
        raise InputError(f"{flag}: {error}") from None
