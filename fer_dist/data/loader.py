"""The batches of this rank: order, reader, augmentation and DALI graph joined into one iterator."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fer_dist.config import DataConfig
from fer_dist.data.augment import draw
from fer_dist.data.order import Order, Positions, sequence
from fer_dist.data.pipeline import Crops, DecodeError, Graph, Inputs, find_bad, looks_whole
from fer_dist.data.reader import Reader, Samples
from fer_dist.errors import InputError, WorkError

NO_IDS = np.zeros(0, dtype=np.uint64)


@dataclass(frozen=True)
class Batch:
    """One rank's share of a step.

    crops:  [B * V, 3, H, W] on the device, channels-last, a picture's V crops in a row.
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


class Loader:
    """Gives the batches of steps `start` to `stop` - 1, and never the same sample twice in an epoch."""

    def __init__(
        self,
        reader: Reader,
        graph: Graph,
        batches: Callable[[], Iterator[tuple[int, int, Positions]]],
        on_bad: str,
        seed: int,
    ) -> None:
        """batches: gives (step, epoch, positions) in order. Use `training_loader` or `evaluation_loader`."""
        self.reader = reader
        self.graph = graph
        self.batches = batches
        self.on_bad = on_bad
        self.seed = seed
        self.bad: dict[str, str] = {}
        """Pictures that did not decode and were left out: key -> shard."""

    def __iter__(self) -> Iterator[Batch]:
        waiting = self.batches()
        flying: deque[_Flight] = deque()
        again: deque[_Flight] = deque()
        """Batches that a broken graph had taken in, to be given once more."""

        def give() -> Inputs:
            flight = again.popleft() if again else self._next(waiting)
            flying.append(flight)
            # Evaluation uses no draw, and would hash every key for nothing.
            ids = flight.samples.ids if self.graph.augment else NO_IDS
            return Inputs(flight.samples.content, draw(self.graph.data, self.seed, np.array([flight.epoch]), ids))

        crops = Crops(self.graph, give)
        while True:
            begun = time.perf_counter()
            try:
                pixels = crops.next()
            except StopIteration:
                return
            except DecodeError as error:
                again = deque(self._without_bad(list(flying) + list(again), error))
                flying.clear()
                crops = Crops(self.graph, give)
                continue
            flight = flying.popleft()
            samples = flight.samples
            labels = self._on_device(samples.labels)
            targets = None if samples.targets is None else self._on_device(samples.targets)
            flat = pixels.flatten(0, 1).permute(0, 3, 1, 2)
            waited = time.perf_counter() - begun
            yield Batch(flight.step, flat, labels, targets, samples, flight.positions, waited)

    def _on_device(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self.graph.device, non_blocking=True)

    def _next(self, waiting: Iterator[tuple[int, int, Positions]]) -> "_Flight":
        while True:
            step, epoch, positions = next(waiting)
            flight = _Flight(step, epoch, positions, self.reader.read(positions))
            # DALI 2.4 may crash the process on a picture that is cut short in a batch, and never on one alone.
            doubtful = [i for i, picture in enumerate(flight.samples.content) if not looks_whole(picture)]
            self._note_bad(flight, doubtful)
            for mended in self._less(flight, self._known_bad(flight)):
                return mended

    def _without_bad(self, flights: list["_Flight"], error: DecodeError) -> list["_Flight"]:
        """The batches that a broken graph held, less the pictures that do not decode. Raises where it must stop."""
        before = len(self.bad)
        for flight in flights:
            self._note_bad(flight, list(range(len(flight.samples))))
        if len(self.bad) == before:
            raise WorkError(f"the decoder stopped, though each picture of the batch decodes alone: {error}") from error
        return [mended for flight in flights for mended in self._less(flight, self._known_bad(flight))]

    def _note_bad(self, flight: "_Flight", suspects: list[int]) -> None:
        """Decode each suspect alone, and keep or raise the names of those that do not decode."""
        content = [flight.samples.content[i] for i in suspects]
        for i in find_bad(content, self.graph.device):
            place, key = flight.samples.places[suspects[i]], flight.samples.keys[suspects[i]]
            if self.on_bad == "stop":
                raise WorkError(
                    f"{place}: {key}: the picture does not decode; "
                    "look closer with fer-dist shards verify, or go on without it with the on-bad flag: skip"
                )
            self.bad[key] = place

    def _known_bad(self, flight: "_Flight") -> list[int]:
        return [i for i, key in enumerate(flight.samples.keys) if key in self.bad] if self.bad else []

    def _less(self, flight: "_Flight", bad: list[int]) -> list["_Flight"]:
        """The batch without those samples; no batch where an evaluation is left with nothing of it.

        Raises WorkError where training is: the other ranks take this step, and wait for this one.
        """
        if len(bad) < len(flight.samples):
            return [flight.without(np.array(bad, dtype=np.int64))] if bad else [flight]
        if self.graph.augment:
            raise WorkError(f"step {flight.step}: none of the batch's {len(bad)} pictures decodes")
        return []


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
            [s.keys[i] for i in pick],
            [s.places[i] for i in pick],
            None if s.targets is None else s.targets[keep],
        )
        positions = Positions(self.positions.shard[keep], self.positions.position[keep])
        return replace(self, positions=positions, samples=samples)


def training_loader(
    data: DataConfig, reader: Reader, order: Order, placement: Placement, start: int, stop: int
) -> Loader:
    """The augmented batches of optimiser steps start to stop - 1, this rank's lanes of each."""
    share = len(order.share(placement.rank, placement.world)) * order.per_lane

    def batches() -> Iterator[tuple[int, int, Positions]]:
        for step in range(start, stop):
            yield step, step // order.steps_per_epoch, order.batch(step, placement.rank, placement.world)

    graph = Graph(data, True, share, placement.device, placement.half, placement.threads)
    return Loader(reader, graph, batches, data.on_bad, order.seed)


def evaluation_loader(data: DataConfig, reader: Reader, placement: Placement, batch_size: int) -> Loader:
    """The centre crops of this rank's part of a set, each picture once, as it is."""
    data = replace(data, views="centre")

    def batches() -> Iterator[tuple[int, int, Positions]]:
        parts = sequence(reader.counts, placement.rank, placement.world, batch_size)
        yield from ((step, 0, positions) for step, positions in enumerate(parts))

    graph = Graph(data, False, batch_size, placement.device, placement.half, placement.threads)
    return Loader(reader, graph, batches, data.on_bad, seed=0)


def name_bad(bad: dict[str, str]) -> str:
    """Pictures that did not decode, as `shard: key, ...`, ten at most. bad: key -> shard."""
    return ", ".join(f"{place}: {key}" for key, place in sorted(bad.items())[:10])


def open_reader(
    folder: str | Path, model_emotions: tuple[str, ...], data: DataConfig, flag: str, soft: bool = False
) -> Reader:
    """A reader whose errors name the flag that the folder came from. soft: its samples come with targets."""
    try:
        return Reader(folder, model_emotions, data.drop_extra, data.leave_out, soft)
    except InputError as error:
        raise InputError(f"{flag}: {error}") from None
