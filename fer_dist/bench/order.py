"""Measurements behind `fer-dist bench order`: what a set of up to a billion samples costs to open and to draw from."""

import hashlib
import io
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fer_dist.bench.measured import Measured, in_fresh_process, integers, scratch
from fer_dist.data.emotions import SEVEN
from fer_dist.data.loading.order import Order
from fer_dist.data.shards.manifest import Manifest, Shard, load_manifest, save_index, save_manifest
from fer_dist.data.shards.tar import TarWriter
from fer_dist.errors import InputError
from fer_dist.progress import Cells

if TYPE_CHECKING:
    # Processes that are measured load this file, and shall not load what makes flags.
    from fer_dist.bench.flags import OrderFlags

SHARD_SAMPLES = 10_000
DRAWS = 200
"""Epochs in which two batches are asked for."""

TIMES = 3
"""Each of them is computed that often, and the quickest counts: what else the machine does is no part of the batch."""

REAL_SHARD_SAMPLES = 4096
IMAGE_SIDE = 16

TRIED_EPOCHS = 20
"""Epochs of the run that is resumed in the middle of its last one."""


@dataclass(frozen=True)
class OrderBench:
    """One size of set, opened in a fresh process that holds neither torch nor DALI; its manifest is in the page cache.

    open_seconds: reading the manifest and making the order.
    first: a batch of an epoch that was not asked for before; later: another one of the same epoch. Median and worst
    over the batches, of which each counts with the quickest of three times.
    """

    samples: int
    shards: int
    batch_size: int
    manifest_bytes: int
    open_seconds: float
    first_milliseconds: float
    first_worst_milliseconds: float
    later_milliseconds: float
    later_worst_milliseconds: float
    peak_bytes: int


@dataclass(frozen=True)
class RealBench:
    """A set of real small samples, opened and read through one epoch in a fresh process, warm.

    read: from positions to bytes, labels and keys, each shard's index read on the way; order: the positions.
    delivered: samples of the epoch; right: those that came for the first time with their own bytes, label and key.
    own_bytes: memory of the process after the epoch, without the tars that it maps.
    """

    samples: int
    shards: int
    tar_bytes: int
    write_seconds: float
    open_seconds: float
    order_microseconds: float
    read_microseconds: float
    delivered: int
    right: int
    own_bytes: int


@dataclass(frozen=True)
class FirstBatchBench:
    """Seconds from opening a set to the loader's first crops, at step 0 and in the middle of the last epoch.

    Medians over the repeats, which alternate; the images are in the page cache.
    """

    images: int
    repeats: int
    start_seconds: float
    resumed_seconds: float

    @property
    def ratio(self) -> float:
        return self.resumed_seconds / self.start_seconds


def measure_order(flags: "OrderFlags") -> Iterator[Measured]:
    counts = integers("--counts", flags.counts)
    if min(counts) < 1 or flags.real < 0 or flags.repeats < 1:
        raise InputError("bench order: --counts and --repeats must be at least 1, and --real at least 0")
    sizes = []
    for count in counts:
        with scratch() as folder:
            sizes.append(bench_order(count, folder))
    yield Measured({"sizes": [asdict(one) for one in sizes]}, order_table(sizes))
    if flags.real:
        with scratch() as folder:
            real = bench_real(flags.real, folder)
        yield Measured({"real": asdict(real)}, real_table(real))
    with scratch() as folder:
        first = bench_first_batch(20_000, folder, flags.repeats)
    yield Measured({"first_batch": asdict(first) | {"ratio": first.ratio}}, first_batch_table(first))


def bench_order(samples: int, folder: Path, batch_size: int = 1024) -> OrderBench:
    """Write the manifest of a set that has no tars, and measure in a fresh process. folder: exists and is empty."""
    save_manifest(folder, _described(samples))
    return in_fresh_process(_measure_order, folder, min(batch_size, samples))


def bench_real(samples: int, folder: Path, batch_size: int = 1024) -> RealBench:
    """Write a set of 16 px images, 2 KB a sample, and read it. folder: exists and is empty."""
    start = time.perf_counter()
    write_set(folder, samples)
    write_seconds = time.perf_counter() - start
    return in_fresh_process(read_set, folder, min(batch_size, samples), write_seconds)


def bench_first_batch(images: int, folder: Path, repeats: int = 31, batch_size: int = 128) -> FirstBatchBench:
    """Write a set of 16 px images, and open loaders on it in turn. folder: exists and is empty."""
    write_set(folder, images, shard_samples=1024)
    steps = images // batch_size
    middle = (TRIED_EPOCHS - 1) * steps + steps // 2
    for step in (0, middle):
        _first_batch_seconds(folder, batch_size, step)  # fills the page cache and loads the libraries
    begun, resumed = [], []
    for _ in range(repeats):
        begun.append(_first_batch_seconds(folder, batch_size, 0))
        resumed.append(_first_batch_seconds(folder, batch_size, middle))
    return FirstBatchBench(images, repeats, statistics.median(begun), statistics.median(resumed))


def write_set(folder: Path, samples: int, shard_samples: int = REAL_SHARD_SAMPLES) -> None:
    """Write a shard set whose sample i has the key of its number, image i mod shard_samples and emotion i mod 7."""
    drawn = [_image(number) for number in range(min(samples, shard_samples))]
    shards: list[Shard] = []
    for first in range(0, samples, shard_samples):
        numbers = range(first, min(first + shard_samples, samples))
        path = folder / f"drawn-train-{len(shards):06d}.tar"
        with path.open("wb") as stream:
            tar = TarWriter(stream)
            for number in numbers:
                tar.add(f"{number:09d}", {"cls": b"%d" % (number % 7), "jpg": drawn[number - first]})
            tar.finish()
        save_index(path, tar.members)
        counts = {name: len(range((label - first) % 7, len(numbers), 7)) for label, name in enumerate(SEVEN)}
        shards.append(Shard(path.name, len(numbers), tar.bytes, tar.sha256, counts))
    save_manifest(folder, Manifest("drawn", "train", SEVEN, tuple(shards), {"variant": "bench order"}))


def read_set(folder: Path, batch_size: int, write_seconds: float) -> RealBench:
    """Read a set that `write_set` wrote through one epoch, and check what comes."""
    # Here, for it is no part of what is measured of an order alone.
    from fer_dist.data.loading.reader import Reader

    start = time.perf_counter()
    reader = Reader(folder, SEVEN)
    open_seconds = time.perf_counter() - start
    order = Order(reader.counts, batch_size, seed=0)
    drawn = [_image(number) for number in range(REAL_SHARD_SAMPLES)]
    seen = np.zeros(order.samples, dtype=bool)
    ordering = reading = 0.0
    right = 0
    for step in range(order.steps_per_epoch):
        start = time.perf_counter()
        positions = order.batch(step)
        ordered = time.perf_counter()
        samples = reader.read(positions)
        reading += time.perf_counter() - ordered
        ordering += ordered - start
        for key, content, label in zip(samples.keys, samples.content, samples.labels.tolist(), strict=True):
            number = int(key)
            right += not seen[number] and label == number % 7 and bytes(content) == drawn[number % REAL_SHARD_SAMPLES]
            seen[number] = True
    delivered = order.steps_per_epoch * batch_size
    return RealBench(
        order.samples,
        len(reader.counts),
        sum(shard.bytes for shard in reader.manifest.shards),
        write_seconds,
        open_seconds,
        1e6 * ordering / delivered,
        1e6 * reading / delivered,
        delivered,
        right,
        _memory("RssAnon"),
    )


def _described(samples: int) -> Manifest:
    """What a manifest of that many samples says, 10,000 a shard."""
    sizes = [min(SHARD_SAMPLES, samples - first) for first in range(0, samples, SHARD_SAMPLES)]
    random = np.random.default_rng(0)
    shards = []
    for number, size in enumerate(sizes):
        counts = dict(zip(SEVEN, random.multinomial(size, [1 / 7] * 7).tolist(), strict=True))
        digest = hashlib.sha256(b"%d" % number).hexdigest()
        shards.append(Shard(f"drawn-train-{number:06d}.tar", size, size * 12_288, digest, counts))
    return Manifest("drawn", "train", SEVEN, tuple(shards), {"variant": "bench order"})


def _measure_order(folder: Path, batch_size: int) -> OrderBench:
    start = time.perf_counter()
    manifest = load_manifest(folder)
    counts = np.array([sum(shard.counts.values()) for shard in manifest.shards])
    order = Order(counts, batch_size, seed=0)
    open_seconds = time.perf_counter() - start
    # None of them keeps an epoch that another one laid out.
    orders = [order, *(Order(counts, batch_size, seed=0) for _ in range(TIMES - 1))]
    random = np.random.default_rng(0)
    first: list[float] = []
    later: list[float] = []
    for epoch in random.permutation(10 * DRAWS)[:DRAWS].tolist():
        steps = epoch * order.steps_per_epoch + random.integers(order.steps_per_epoch, size=2)
        for kind, step in zip((first, later), steps.tolist(), strict=True):
            kind.append(min(_milliseconds(same, step) for same in orders))
    return OrderBench(
        manifest.samples,
        len(manifest.shards),
        batch_size,
        (folder / "manifest.json").stat().st_size,
        open_seconds,
        statistics.median(first),
        max(first),
        statistics.median(later),
        max(later),
        _memory("VmHWM"),
    )


def _milliseconds(order: Order, step: int) -> float:
    start = time.perf_counter()
    order.batch(step)
    return 1e3 * (time.perf_counter() - start)


def _first_batch_seconds(folder: Path, batch_size: int, step: int) -> float:
    # Here, because torch would weigh on the memory that is measured above.
    import torch

    from fer_dist.config.settings import DataConfig
    from fer_dist.data.loading.loader import Placement, training_loader
    from fer_dist.data.loading.reader import Reader

    start = time.perf_counter()
    reader = Reader(folder, SEVEN)
    order = Order(reader.counts, batch_size, seed=0)
    placement = Placement(0, 1, torch.device("cpu"), half=False, threads=1)
    loader = training_loader(DataConfig(size=24, crop=20), reader, order, placement, step, step + order.steps_per_epoch)
    batches = iter(loader)
    next(batches)
    return time.perf_counter() - start


def _image(number: int) -> bytes:
    """A grey JPEG that hardly another number gives."""
    from PIL import Image

    noise = np.random.default_rng(number).integers(0, 256, (4, 4), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BICUBIC).save(stream, "JPEG")
    return stream.getvalue()


def _memory(kind: str) -> int:
    """Bytes of this process: VmHWM, the most that it held, or RssAnon, what it holds without files that are mapped.

    Read from /proc, since ru_maxrss counts the memory of the process that started this one as well.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{kind}:")[1].split()[0]) * 1024


def order_table(found: list[OrderBench]) -> Cells:
    """A size of set a row."""
    header = [
        "samples",
        "shards",
        "manifest MB",
        "open s",
        "first batch of an epoch ms",
        "worst",
        "any other ms",
        "worst",
    ]
    rows = []
    for one in found:
        times = [one.first_milliseconds, one.first_worst_milliseconds]
        times += [one.later_milliseconds, one.later_worst_milliseconds]
        size = [f"{one.samples:,}", f"{one.shards:,}", f"{one.manifest_bytes / 1e6:.1f}", f"{one.open_seconds:.3f}"]
        rows.append([*size, *(f"{time:.2f}" for time in times), f"{one.peak_bytes / 1e6:,.0f}"])
    return [*header, "peak MB"], rows


def real_table(found: RealBench) -> Cells:
    """A set that was really read, in one row; times a sample in microseconds."""
    row = {
        "samples": f"{found.samples:,}",
        "shards": f"{found.shards:,}",
        "tars MB": f"{found.tar_bytes / 1e6:,.0f}",
        "write s": f"{found.write_seconds:.1f}",
        "open s": f"{found.open_seconds:.3f}",
        "order µs each": f"{found.order_microseconds:.2f}",
        "read µs each": f"{found.read_microseconds:.2f}",
        "delivered": f"{found.delivered:,}",
        "once and whole": f"{found.right:,}",
        "own MB": f"{found.own_bytes / 1e6:,.0f}",
    }
    return list(row), [list(row.values())]


def first_batch_table(found: FirstBatchBench) -> Cells:
    """The wait for the first crops, in one row."""
    row = [f"{found.images:,}", str(found.repeats), f"{found.start_seconds:.4f}", f"{found.resumed_seconds:.4f}"]
    header = ["images", "n", "first batch at step 0 s", "in the middle of the last epoch s", "ratio"]
    return header, [[*row, f"{found.ratio:.3f}"]]
