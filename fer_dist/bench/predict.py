"""Predicting images of one face each beside a plain loop of onnxruntime over the same files, decoding included."""

import itertools
import json
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_dist.bench.flags import PredictFlags
from fer_dist.bench.measured import Measured, at_least_one, scratch
from fer_dist.config.settings import PredictConfig
from fer_dist.data.sources.reading import images_below
from fer_dist.deploy.formats import INPUT, write_onnx
from fer_dist.deploy.opening import Given, open_given
from fer_dist.deploy.predict import Trained, answers, load_trained
from fer_dist.distributed.hardware import cores
from fer_dist.errors import InputError
from fer_dist.runs.checkpoint import load_model
from fer_dist.runs.network import Network

BATCHES = (1, 8, 32, 64, 128)
"""Of the plain loop, each with every number of threads; the best is taken."""

Way = tuple[int, int, int]
"""Of the plain loop: images of a batch, threads of onnxruntime, threads that decode."""


@dataclass(frozen=True)
class PredictTimes:
    """images_per_second: one value a turn. difference: the largest of any probability."""

    images: int
    way: Way
    plain: list[float]
    ours: list[float]
    difference: float

    @property
    def ratio(self) -> float:
        return median(self.ours) / median(self.plain)


def measure_predict(flags: PredictFlags) -> Iterator[Measured]:
    found = bench_predict(flags)
    header = ["", "n", "images/s", "least", "most"]
    batch, threads, decoding = found.way
    names = (f"onnxruntime, batch {batch}, threads {threads}, decoding {decoding}", "fer-dist predict")
    rows = [
        [name, str(len(rates)), f"{median(rates):.0f}", f"{min(rates):.0f}", f"{max(rates):.0f}"]
        for name, rates in zip(names, (found.plain, found.ours), strict=True)
    ]
    note = f"{found.images:,} images; ratio {found.ratio:.2f}; probabilities differ by {found.difference:.1e} at most"
    yield Measured(asdict(found) | {"ratio": found.ratio}, (header, rows), text_columns=1, notes=(note,))


def bench_predict(flags: PredictFlags) -> PredictTimes:
    """Find the best way of the plain loop on a part of the images, then time both in turn."""
    at_least_one(flags, "repeats")
    config = PredictConfig(faces="none", device="cpu")
    names = list(itertools.islice(images_below(flags.images), flags.samples or None))
    if not names:
        raise InputError(f"{flags.images}: no images there")
    given = open_given(flags.run, names, config)
    trained = load_trained(flags.run, config)
    counts = sorted({1, cores()})
    with scratch() as folder:
        path = folder / "network.onnx"
        network, model = load_model(flags.run)
        write_onnx(path, model.eval(), network.crop, {"network": json.dumps(asdict(network)), "outputs": "logits"})
        some = names[: max(len(names) // 4, 1)]
        ways = list(itertools.product(BATCHES, counts, (0, *counts)))
        way = max(ways, key=lambda one: _rated(lambda: _plain(path, trained.network, some, one), len(some))[0])
        plain, ours = [], []
        for _ in range(flags.repeats):
            rate, theirs = _rated(lambda: _plain(path, trained.network, names, way), len(names))
            plain.append(rate)
            rate, found = _rated(lambda: _ours(trained, given), len(names))
            ours.append(rate)
    return PredictTimes(len(names), way, plain, ours, float(np.abs(theirs - found).max()))


def _rated(work: Any, count: int) -> tuple[float, NDArray[np.float32]]:
    begun = time.perf_counter()
    found = work()
    return count / (time.perf_counter() - begun), found


def _ours(trained: Trained, given: Given) -> NDArray[np.float32]:
    rows = (one.predictions[0].probabilities for one in answers(trained, given))
    return np.array([list(row.values()) for row in rows if row], dtype=np.float32)


def _plain(path: Path, network: Network, names: list[str], way: Way) -> NDArray[np.float32]:
    """Softmax of the network's answers: Pillow decodes, numpy normalises, some batches ahead of the network."""
    import onnxruntime

    batch, threads, decoding = way
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    groups = [names[start : start + batch] for start in range(0, len(names), batch)]
    if not decoding:
        logits = [session.run(None, {INPUT: _read(group, network)})[0] for group in groups]
    else:
        logits = []
        with ThreadPoolExecutor(decoding) as pool:
            flying = deque(pool.submit(_read, group, network) for group in groups[: decoding + 1])
            for ahead in range(decoding + 1, len(groups) + decoding + 1):
                images = flying.popleft().result() if flying else None
                if ahead < len(groups):
                    flying.append(pool.submit(_read, groups[ahead], network))
                if images is not None:
                    logits.append(session.run(None, {INPUT: images})[0])
    powers = np.exp(np.concatenate(logits))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _read(names: list[str], network: Network) -> NDArray[np.float32]:
    """float32 [N, 3, crop, crop]: the centres of images in the network's size."""
    size, crop = network.size, network.crop
    start = (size - crop) // 2
    mean, std = (255 * np.array(values, dtype=np.float32) for values in (network.mean, network.std))
    found = []
    for name in names:
        with Image.open(name) as opened:
            image = opened.convert("RGB")
        image = image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR)
        pixels = np.asarray(image)[start : start + crop, start : start + crop]
        found.append(((pixels - mean) / std).transpose(2, 0, 1))
    return np.stack(found)
