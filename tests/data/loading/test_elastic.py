"""A run that is killed, and goes on with another number of workers, delivers what an undisturbed run delivers."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
from support.faces import faces, shard_set, wait_for

from fer_dist.config.settings import DataConfig
from fer_dist.data.draws import hashed
from fer_dist.data.emotions import EIGHT, SEVEN
from fer_dist.data.loading.augment import draw
from fer_dist.data.loading.loader import Batch, Loader, Placement, training_loader
from fer_dist.data.loading.order import Order
from fer_dist.data.loading.reader import Reader
from fer_dist.data.shards.leave_out import LeaveOut, save_leave_out

SEED = 11
BATCH, LANES, BLOCK = 24, 12, 8
MOST_WORLD = 8

BAD = (20, 131)
"""Two images that do not decode: the first is seen by its headers, the other breaks the graph that decodes it."""

Step = tuple[int, list[str]]
"""A step, and a line for each sample that this rank got in it: the key, the label, and what became of the image."""

Ledger = dict[int, list[str]]
"""Step -> the lines of the global batch, rank by rank."""


@dataclass(frozen=True)
class Run:
    """What is read, and how. Every process opens it anew."""

    folder: Path
    data: DataConfig

    def reader(self) -> Reader:
        return Reader(self.folder, SEVEN, self.data.drop_extra, self.data.leave_out)

    def order(self, reader: Reader) -> Order:
        return Order(reader.counts, BATCH, SEED, LANES, BLOCK)

    def loader(self, rank: int, world: int, start: int, stop: int) -> Loader:
        reader = self.reader()
        placement = Placement(rank, world, torch.device("cpu"), False, threads=1)
        return training_loader(self.data, reader, self.order(reader), placement, start, stop)


OpenRank = Callable[[Run, int, int, int, int], Iterator[Step]]
"""(run, rank, world, start, stop) -> what this rank gets."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """253 samples in five uneven shards, one of them of a single sample and one without any."""
    made = faces(253, side=8)
    folder = tmp_path_factory.mktemp("plain") / "train"
    shard_set(folder, [made[:90], made[90:91], [], made[91:140], made[140:]])
    return Run(folder, DataConfig(size=10, crop=8, views="random_one", flip=True))


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """As many, sorted by class: one of eight emotions is dropped, and a list leaves out some of the others."""
    made = sorted(faces(253, side=8, emotions=8), key=lambda sample: sample.label)
    root = tmp_path_factory.mktemp("reduced")
    folder = shard_set(root / "train", [made[:90], made[90:91], made[91:140], made[140:]], EIGHT)
    shard_of = {
        sample.key: shard
        for shard, part in enumerate((made[:90], made[90:91], made[91:140], made[140:]))
        for sample in part
    }
    listed = [sample for sample in made if sample.label != 7][3::17]
    rows = [
        LeaveOut("drawn-train", f"drawn-train-{shard_of[sample.key]:06d}.tar", sample.key, EIGHT[sample.label], "copy")
        for sample in listed
    ]
    save_leave_out(root / "listed.jsonl", rows)
    data = DataConfig(size=10, crop=8, views="random_one", drop_extra=True, leave_out=str(root / "listed.jsonl"))
    return Run(folder, data)


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """As `plain`, with two images that do not decode and are skipped."""
    made = faces(253, side=8)
    whole = made[BAD[1]].members["png"]
    pixels = whole.index(b"IDAT") + 8
    for number, content in zip(BAD, (b"no image", whole[:pixels] + bytes(20) + whole[pixels + 20 :]), strict=True):
        made[number] = replace(made[number], members={**made[number].members, "png": content})
    folder = shard_set(tmp_path_factory.mktemp("spoilt") / "train", [made[:90], made[90:91], made[91:140], made[140:]])
    return Run(folder, DataConfig(size=10, crop=8, views="random_one", on_bad="skip"))


def reader_steps(run: Run, rank: int, world: int, start: int, stop: int) -> Iterator[Step]:
    """What order, reader and augmentation give, without decoding."""
    reader = run.reader()
    order = run.order(reader)
    for step in range(start, stop):
        samples = reader.read(order.batch(step, rank, world))
        drawn = draw(run.data, SEED, step // order.steps_per_epoch, samples.ids)
        columns = [getattr(drawn, field.name) for field in fields(drawn)]
        yield (
            step,
            [
                f"{key} {label} {crc32(content)} {' '.join(str(column[i]) for column in columns)}"
                for i, (key, label, content) in enumerate(
                    zip(samples.keys, samples.labels, samples.content, strict=True)
                )
            ],
        )


def loader_steps(run: Run, rank: int, world: int, start: int, stop: int) -> Iterator[Step]:
    """What the loader gives, with a hash of the pixels."""
    for batch in run.loader(rank, world, start, stop):
        yield batch.step, lines(batch)


def lines(batch: Batch) -> list[str]:
    return [
        f"{key} {label} {crc32(crops.numpy().tobytes())}"
        for key, label, crops in zip(batch.samples.keys, batch.labels.tolist(), batch.crops, strict=True)
    ]


def undisturbed(run: Run, steps: int, open_rank: OpenRank) -> Ledger:
    return dict(open_rank(run, 0, 1, 0, steps))


def killed_at_random(run: Run, steps: int, kills: int, open_rank: OpenRank) -> tuple[Ledger, list[tuple[int, int]]]:
    """The ledger of a run that is killed that often and goes on with 1 to 8 workers; and each kill's step and world.

    When it is killed, a worker may be two steps further than another. It goes on where the last whole step ended, or up
    to two steps earlier, as from a checkpoint.
    """
    random = np.random.default_rng(SEED)
    ledger: Ledger = {}
    at, killed = 0, []
    for attempt in range(kills + 1):
        world = int(random.integers(1, MOST_WORLD + 1))
        reach = steps if attempt == kills else at + int(random.integers(1, 5))
        ranks = []
        for rank in range(world):
            ahead = min(reach + int(random.integers(0, 3)), steps) - at
            ranks.append(dict(islice(open_rank(run, rank, world, at, steps), ahead)))
        for step in range(at, at + min(map(len, ranks))):
            found = [line for part in ranks for line in part[step]]
            assert ledger.setdefault(step, found) == found, f"step {step} was another one when it was taken again"
        if attempt < kills:
            at = max(at, at + min(map(len, ranks)) - int(random.integers(0, 3)))
            killed.append((at, world))
    return ledger, killed


def check_kills(run: Run, steps: int, killed: list[tuple[int, int]]) -> None:
    """The kills fell before the end, mostly in mid-epoch, over several epochs, and the world size changed often."""
    order = run.order(run.reader())
    assert max(step for step, _ in killed) < steps
    assert sum(step % order.steps_per_epoch > 0 for step, _ in killed) > len(killed) / 2
    assert len({step // order.steps_per_epoch for step, _ in killed}) >= 3
    assert {world for _, world in killed} == set(range(1, MOST_WORLD + 1))


@pytest.mark.parametrize("name", ["plain", "reduced"])
def test_a_hundred_kills_and_changes_of_the_world_leave_the_samples_and_their_draws_as_they_were(
    name: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(name)
    steps = 260
    ledger, killed = killed_at_random(run, steps, 100, reader_steps)
    check_kills(run, steps, killed)
    assert len(killed) == 100
    assert ledger == undisturbed(run, steps, reader_steps)


def test_a_hundred_kills_of_the_loader_leave_every_pixel_as_it_was_also_where_images_are_skipped(spoilt: Run) -> None:
    steps = 260
    ledger, killed = killed_at_random(spoilt, steps, 100, loader_steps)
    check_kills(spoilt, steps, killed)
    whole = undisturbed(spoilt, steps, loader_steps)
    assert ledger == whole
    assert {BATCH, BATCH - 1} <= {len(batch) for batch in whole.values()}


@pytest.mark.parametrize("world", [1, 3, 8])
def test_a_rank_gets_its_lanes_less_the_images_that_are_skipped(spoilt: Run, world: int) -> None:
    reader = spoilt.reader()
    order = spoilt.order(reader)
    steps = 2 * order.steps_per_epoch
    bad = {f"face-{number:04d}" for number in BAD}
    skipped = 0
    for rank in range(world):
        for step, got in loader_steps(spoilt, rank, world, 0, steps):
            due = reader.keys(order.batch(step, rank, world))
            assert [line.split()[0] for line in got] == [key for key in due if key not in bad]
            skipped += len(due) - len(got)
    assert skipped == sum(key in bad for step in range(steps) for key in reader.keys(order.batch(step))) >= 2


def test_the_shards_of_a_large_set_come_in_the_order_of_their_hashes() -> None:
    count, seed, epoch = 4000, 5, 3
    # One sample a shard and blocks of one: an epoch is the sequence of the shards, rotated.
    order = Order(np.ones(count, dtype=np.int64), count, seed, lanes=1, block=1)
    by_hash = sorted(range(count), key=lambda shard: int(hashed(seed, epoch, 2, shard)))
    rotation = int(hashed(seed, epoch, 3)) % count
    assert order.batch(epoch).shard.tolist() == by_hash[rotation:] + by_hash[:rotation]


def test_a_run_may_go_on_under_a_later_version_of_this_package() -> None:
    # Written down from the first version of the order: a checkpoint counts on it.
    order = Order(np.arange(1, 1001), 640, seed=5)
    batches = [order.batch(step) for step in (0, 1000, 123456)]
    found = [crc32(np.stack([batch.shard, batch.position]).astype("<i8").tobytes()) for batch in batches]
    assert found == [3099837493, 2520179763, 1166815861]


def iterate(run: Run, rank: int, world: int, start: int, stop: int, path: Path) -> None:
    """What a process that is killed runs: it writes each step's line as soon as it has the batch."""
    with path.open("a") as stream:
        for batch in run.loader(rank, world, start, stop):
            stream.write("\t".join([str(batch.step), *lines(batch)]) + "\n")
            stream.flush()
            time.sleep(0.005)


def written(path: Path) -> Ledger:
    """The whole lines of a ledger: a killed process may have written half of one."""
    found = path.read_text().splitlines(keepends=True) if path.exists() else []
    rows = [line.rstrip("\n").split("\t") for line in found if line.endswith("\n")]
    return {int(step): lines for step, *lines in rows}


def killed_processes(run: Run, steps: int, kills: int, folder: Path, method: str) -> tuple[Ledger, list[int]]:
    """The ledger of processes of which one is killed with SIGKILL at a random step, and the others after it.

    method: how multiprocessing starts them. Returns the steps at which each attempt began as well.
    """
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["pytest", "PIL.Image", "nvidia.dali.fn", "fer_dist.data.loading.loader"])
    random = np.random.default_rng(SEED)
    ledger: Ledger = {}
    at, starts = 0, []
    for attempt in range(kills + 1):
        starts.append(at)
        world = int(random.integers(1, 4))
        paths = [folder / f"{attempt}-{rank}.tsv" for rank in range(world)]
        workers = [
            context.Process(target=iterate, args=(run, rank, world, at, steps, path)) for rank, path in enumerate(paths)
        ]
        for worker in workers:
            worker.start()
        if attempt < kills:
            victim, enough = int(random.integers(world)), int(random.integers(0, 12))
            wait_for(lambda paths=paths, enough=enough: all(len(written(path)) >= enough for path in paths), 120)
            time.sleep(random.uniform(0, 0.01))
            for worker in (workers[victim], *workers):
                os.kill(worker.pid, signal.SIGKILL)
        for worker in workers:
            worker.join(120)
            assert worker.exitcode == (-signal.SIGKILL if attempt < kills else 0)
        parts = [written(path) for path in paths]
        for step in range(at, at + min(map(len, parts))):
            ledger[step] = [line for part in parts for line in part[step]]
        at += min(map(len, parts))
    return ledger, starts


@pytest.mark.parametrize(
    ("kills", "method"),
    [(10, "forkserver"), pytest.param(15, "spawn", marks=pytest.mark.slow)],  # each of the latter imports torch anew
)
def test_processes_that_are_killed_with_sigkill_leave_the_ledger_of_an_undisturbed_one(
    spoilt: Run, tmp_path: Path, kills: int, method: str
) -> None:
    steps = 20 * (kills + 1)
    ledger, starts = killed_processes(spoilt, steps, kills, tmp_path, method)
    assert max(starts) < steps
    assert len(set(starts)) > kills / 2
    assert ledger == undisturbed(spoilt, steps, loader_steps)


@pytest.mark.slow  # a minute or more: thousands of graphs are built
def test_a_thousand_kills_of_the_loader_leave_every_pixel_as_it_was(reduced: Run) -> None:
    steps = 2600
    ledger, killed = killed_at_random(reduced, steps, 1000, loader_steps)
    check_kills(reduced, steps, killed)
    assert ledger == undisturbed(reduced, steps, loader_steps)
