"""Images in, predictions out: found, cut, through the graph and the network of evaluate, in the order they came.

Everything streams: what is held at a time are a few groups of images and batches of faces, whatever the input's length.
"""

import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fer_dist.config.settings import DataConfig, PredictConfig
from fer_dist.data.faces.detect import check_detector
from fer_dist.data.images import fault_in, is_sound
from fer_dist.data.loading.loader import Loader, Placement, centre_loader
from fer_dist.data.loading.order import Positions
from fer_dist.data.loading.reader import Samples
from fer_dist.data.shards.crop_rule import difference
from fer_dist.deploy.answers import Prediction, Wording, wording_of
from fer_dist.deploy.cutting import Cutting, Face, Found, flags_for, flags_for_boxes
from fer_dist.deploy.inputs import Entry, entries, photographs
from fer_dist.deploy.opening import Given
from fer_dist.deploy.photograph import Photograph
from fer_dist.distributed.world import default_threads, pick_device
from fer_dist.evaluate.predict import evaluating, evaluation_data
from fer_dist.progress import Message, Progress
from fer_dist.runs.checkpoint import load_model, weights_file
from fer_dist.runs.folder import entered
from fer_dist.runs.network import Network, on_device

GROUP = 16
"""Images that a thread takes at once where they are only read: one is less work than handing it over."""

MOST_WAITING = 4096
"""Images without a face that wait for a batch to be full; then it goes as it is."""

SECONDS_BETWEEN_COUNTS = 0.5


@dataclass(frozen=True, eq=False)
class Answered:
    """A photograph with its predictions: one for each face, or one that says why there is none."""

    found: Found
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, eq=False)
class Trained:
    """A network, on its device, and what is made of its answers."""

    network: Network
    model: nn.Module
    device: torch.device
    wording: Wording
    file: Path
    """Of its weights."""


def load_trained(
    run: str, config: PredictConfig, device: str = "", warn: Callable[[str], None] = lambda text: None
) -> Trained:
    """The network of a run. device: instead of that of config. warn: as of `entered`.

    Raises InputError as `load_model` and `wording_of`.
    """
    home = entered(run, warn)
    file = weights_file(home, config.checkpoint)
    network, model = load_model(file, given=config.network)
    home.close()
    picked = pick_device(device or config.device)
    model = on_device(model, picked)
    if network.is_ours and picked.type == "cpu":
        model = _frozen(model, network.crop)
    return Trained(network, model, picked, wording_of(network, config), file)


def _frozen(model: nn.Module, crop: int) -> nn.Module:
    """The same as a graph that runs without Python, whose batches side by side do not wait for its lock."""
    with warnings.catch_warnings(), torch.no_grad():
        # Torch recommends what compiles instead, which takes a compiler and a minute.
        warnings.simplefilter("ignore")
        example = torch.zeros(2, 3, crop, crop).contiguous(memory_format=torch.channels_last)
        traced: nn.Module = torch.jit.freeze(torch.jit.trace(model, example))
    return traced


def remarks(trained: Trained, given: Given) -> list[str]:
    """What a person should know of how the faces are cut.

    Raises InputError where that takes the detector, and it is not installed: of given boxes the checkpoint decides it.
    """
    if given.config.faces == "none" or all(isinstance(one, Entry) and one.shards for one in given.named):
        return []
    flags = _cutting(trained.network, given, "detect").flags
    if flags.detect:
        check_detector()
    told = difference(trained.network.crop_rule, flags.crop_rule)
    remedy = "" if given.boxes is not None else "; where each image is one face already, give --faces none"
    return [f"note: outside of shards, {told}{remedy}"] if told else []


def answers(
    trained: Trained,
    given: Given,
    keep: bool = False,
    show: Progress | None = None,
) -> Iterator[Answered]:
    """The predictions of each photograph, in the order of the inputs.

    keep: frames keep their pixels, to be drawn on. show: called with what is done, and at how many images a second.
    """
    threads = given.config.threads or default_threads()
    with (
        ThreadPoolExecutor(threads, thread_name_prefix="faces") as pool,
        closing(_found(trained.network, given, pool, threads, keep)) as found,
    ):
        yield from _counted(_answered(trained, given.config, threads, found), show)


def _counted(answered: Iterator[Answered], show: Progress | None) -> Iterator[Answered]:
    begun = shown = time.monotonic()
    done = 0
    for done, one in enumerate(answered, start=1):
        yield one
        now = time.monotonic()
        if show and now - shown > SECONDS_BETWEEN_COUNTS:
            shown = now
            show(Message(f"images, {done / (now - begun):,.0f} a second", done))


def _cutting(network: Network, given: Given, way: str) -> Cutting:
    rule = network.crop_rule
    flags = flags_for(rule, given.config) if given.boxes is None else flags_for_boxes(rule, given.config)
    return Cutting(way, flags, given.boxes)


def _found(
    network: Network, given: Given, pool: ThreadPoolExecutor, threads: int, keep: bool
) -> Generator[Found, None, None]:
    """The faces of each photograph, cut by the threads of a pool, two groups of photographs ahead for each of them."""
    ways = {way: _cutting(network, given, way) for way in ("detect", "none")}

    def cut(group: list[tuple[str, Photograph]]) -> list[Found]:
        return [_light(ways[way].faces_of(photograph), keep) for way, photograph in group]

    flying: deque[Future[list[Found]]] = deque()
    for group in _groups(_looked_at(given)):
        flying.append(pool.submit(cut, group))
        if len(flying) > 2 * threads:
            yield from flying.popleft().result()
    while flying:
        yield from flying.popleft().result()


def _looked_at(given: Given) -> Iterator[tuple[str, Photograph]]:
    """Each photograph, and how its faces are found."""
    for entry in entries(given.named):
        is_one = given.config.faces == "none" or (given.config.faces == "auto" and entry.shards is not None)
        way = "none" if is_one else "detect"
        for photograph in photographs(entry, given.config):
            yield way, photograph


def _groups(pairs: Iterator[tuple[str, Photograph]]) -> Iterator[list[tuple[str, Photograph]]]:
    """What a thread takes at once: few large things, or many small ones."""
    group: list[tuple[str, Photograph]] = []
    for way, photograph in pairs:
        group.append((way, photograph))
        if len(group) == GROUP or way == "detect" or photograph.image is not None:
            yield group
            group = []
    if group:
        yield group


def _light(found: Found, keep: bool) -> Found:
    """Without the pixels of a frame, unless they are wanted: a thousand of them would fill the memory."""
    return (
        found
        if keep or found.photograph.image is None
        else replace(found, photograph=replace(found.photograph, image=None))
    )


class _Held:
    """Stands where a set stands for a loader: faces in memory, numbered as they come, each given once."""

    name = "the images given"

    def __init__(self, found: Iterator[Found], batch_size: int) -> None:
        self._found = found
        self._batch_size = batch_size
        self._given: dict[int, Face] = {}
        self._count = 0
        self.waiting: deque[tuple[Found, int, int]] = deque()
        """Photographs that have no answer yet, with the numbers of their faces: from, and up to."""
        self.ends: dict[int, int] = {}
        """Step -> the number behind its last face."""
        self.is_done = False

    def batches(self) -> Iterator[tuple[int, int, Positions]]:
        """Full batches; fewer faces where many images without any come, and no further batch where those alone do."""
        step, first, idle = 0, self._count, 0
        for found in self._found:
            start = self._count
            for face in found.faces:
                if not face.fault:
                    self._given[self._count] = face
                    self._count += 1
            self.waiting.append((found, start, self._count))
            idle = idle + 1 if start == self._count else 0
            while self._count - first >= self._batch_size:
                yield self._batch(step, first, first + self._batch_size)
                step, first = step + 1, first + self._batch_size
            if idle >= MOST_WAITING:
                break
        else:
            self.is_done = True
        if self._count > first:
            yield self._batch(step, first, self._count)

    def read(self, positions: Positions) -> Samples:
        numbers = positions.position.tolist()
        content = [self._given.pop(number).content for number in numbers]
        labels = np.full(len(numbers), -1, dtype=np.int64)
        return Samples(content, labels, [is_sound(image) for image in content], [(self, number) for number in numbers])

    def key(self, position: int) -> str:
        return str(position)

    def id(self, position: int) -> int:
        return position

    def answered(self, end: int, answers: dict[int, dict[str, Any]]) -> Iterator[Answered]:
        """The photographs whose faces all have a number below that, in their order; their answers are taken away.

        A face without an answer did not decode.
        """
        while self.waiting and self.waiting[0][2] <= end:
            found, number, _ = self.waiting.popleft()
            photograph = found.photograph
            about = Prediction(photograph.file, photograph.frame, photograph.time)
            rows = []
            for face in found.faces:
                row = replace(about, box=face.box, score=face.score, reason=face.fault)
                if not face.fault:
                    answer = answers.pop(number, None)
                    number += 1
                    row = replace(row, **answer) if answer else replace(row, reason=_fault(face))
                rows.append(row)
            yield Answered(found, tuple(rows) or (replace(about, reason=found.fault or "no face found"),))

    def _batch(self, step: int, start: int, stop: int) -> tuple[int, int, Positions]:
        self.ends[step] = stop
        return step, 0, Positions(np.zeros(stop - start, dtype=np.int64), np.arange(start, stop))

    @property
    def end(self) -> int:
        return self._count


def _fault(face: Face) -> str:
    """Why a face that the graph left out has no answer."""
    return fault_in(face.content.tobytes()).removeprefix("is ") or "does not decode"


def _answered(trained: Trained, config: PredictConfig, threads: int, found: Iterator[Found]) -> Iterator[Answered]:
    held = _Held(found, config.batch_size)
    placement = Placement(0, 1, trained.device, half=False, threads=threads)
    data = evaluation_data(trained.network, DataConfig(on_bad="skip"))
    waiting: dict[int, dict[str, Any]] = {}
    with _Runner(trained, threads) as runner:
        while not held.is_done:
            loader: Loader[_Held] = centre_loader(data, held, placement, config.batch_size, held.batches)
            for batch in loader:
                runner.give(batch.positions.position.tolist(), held.ends.pop(batch.step), batch.crops)
                loader.forget()
                yield from _taken(held, runner, waiting)
            yield from _taken(held, runner, waiting, is_last=True)
            yield from held.answered(held.end, waiting)


def _taken(
    held: _Held, runner: "_Runner", waiting: dict[int, dict[str, Any]], is_last: bool = False
) -> Iterator[Answered]:
    for numbers, end, answers in runner.take(is_last):
        waiting |= dict(zip(numbers, answers, strict=True))
        yield from held.answered(end, waiting)


class _Runner(AbstractContextManager["_Runner"]):
    """Runs the network over batches, on a CPU as many at a time as there are threads, each on one core.

    Threads that share the work of one batch wait for each other at every layer, and for long where others compute on
    the same cores; batches wait for nothing.
    """

    def __init__(self, trained: Trained, threads: int) -> None:
        self._trained = trained
        self._mask = torch.from_numpy(trained.wording.mask()).to(trained.device)
        is_cpu = trained.device.type == "cpu"
        self._most = threads if is_cpu else 1
        # A thread's own number, which leaves that of the caller as it is.
        one_core: dict[str, Any] = {"initializer": torch.set_num_threads, "initargs": (1,)} if is_cpu else {}
        self._pool = ThreadPoolExecutor(self._most, thread_name_prefix="network", **one_core)
        self._flying: deque[tuple[list[int], int, Future[list[dict[str, Any]]]]] = deque()

    def give(self, numbers: list[int], end: int, crops: torch.Tensor) -> None:
        """A batch: the numbers of its faces, the one behind its last, and the crops, which are copied."""
        # DALI uses their memory again for the batch after.
        self._flying.append((numbers, end, self._pool.submit(self._answers, crops.clone())))

    def take(self, is_last: bool) -> Iterator[tuple[list[int], int, list[dict[str, Any]]]]:
        """The oldest batches with their answers, so that no more run than there are threads; all where none follows."""
        while self._flying and (is_last or len(self._flying) > self._most):
            numbers, end, answers = self._flying.popleft()
            yield numbers, end, answers.result()

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    @torch.inference_mode()
    def _answers(self, crops: torch.Tensor) -> list[dict[str, Any]]:
        model, mask = self._trained.model, self._mask
        if self._trained.device.type == "cpu":
            probabilities = (model(crops.float()) + mask).softmax(1)
        else:
            with evaluating(model):
                probabilities = (model(crops.float()) + mask).softmax(1)
        return self._trained.wording.answers(probabilities.cpu().numpy())
