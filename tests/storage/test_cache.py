"""The cache of remote shards: its bound, what leaves first, several processes at once, and what a kill leaves."""

import gc
import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from support.faces import environment, faces, shard_set, wait_for
from support.stores import Web, served, settle

from fer_dist.config.settings import DataConfig
from fer_dist.data.emotions import SEVEN
from fer_dist.data.loading.loader import Placement, evaluation_loader, training_loader
from fer_dist.data.loading.order import Order, Positions, sequence
from fer_dist.data.loading.reader import Reader
from fer_dist.data.loading.shard_set import open_set
from fer_dist.data.shards.manifest import index_path
from fer_dist.errors import InputError
from fer_dist.storage.cache import Cache, Entry, NoRoom

SHARDS, EACH = 12, 8
SET = "0123456789abcdef01234567"
ROOM = 4 * (30_720 + 4096 + 1024 * EACH)
"""Bytes of four shards, with what is set aside for their indexes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = faces(SHARDS * EACH)
    shards = [made[i : i + EACH] for i in range(0, len(made), EACH)]
    return shard_set(tmp_path_factory.mktemp("set") / "train", shards)


@pytest.fixture
def web(folder: Path) -> Iterator[Web]:
    with served(folder.parent) as running:
        yield running


def opened(web: Web, cache: Path, room: int = 1 << 30, prefetch: int = 4) -> Reader:
    data = DataConfig(cache=str(cache), cache_gb=room / 1e9, prefetch=prefetch)
    return Reader(open_set(f"{web.url}/train", data), SEVEN)


def samples_of(shard: int) -> Positions:
    return Positions(np.full(EACH, shard), np.arange(EACH))


def contents(reader: Reader, shards: range = range(SHARDS)) -> list[bytes]:
    return [image.tobytes() for shard in shards for image in reader.read(samples_of(shard)).content]


def tar(number: int) -> str:
    return f"drawn-train-{number:06d}.tar"


def kept(cache: Path, pattern: str = "*.tar") -> list[str]:
    return sorted(path.name for path in cache.glob(f"*/{pattern}"))


def used(cache: Path) -> int:
    """Bytes of the files there, unfinished ones included."""

    def look() -> int:
        total = 0
        for path in cache.glob("*/*"):
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    # A file that is renamed while we look may be seen under both names.
    return min(look(), look())


def entry(name: str, size: int = 100) -> Entry:
    return Entry(f"{SET}/{name}.tar", size)


def filled(size: int = 100) -> Callable[[Path], None]:
    return lambda part: part.write_bytes(bytes(size)) and None


def test_what_was_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 300)
    for name in "abc":
        cache.fetch(entry(name), filled(), urgent=False)
        time.sleep(0.005)
    cache.fetch(entry("a"), filled(), urgent=False)
    cache.fetch(entry("d"), filled(), urgent=False)
    assert kept(tmp_path) == ["a.tar", "c.tar", "d.tar"]


def test_what_is_in_use_goes_last_and_only_for_what_is_needed_now(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 300)
    for name in "abc":
        cache.fetch(entry(name), filled(), urgent=False)
        time.sleep(0.005)
    cache.holds.hold(f"{SET}/a")
    cache.fetch(entry("d"), filled(), urgent=False)
    assert kept(tmp_path) == ["a.tar", "c.tar", "d.tar"]
    cache.holds.hold(f"{SET}/c")
    cache.holds.hold(f"{SET}/d")
    with pytest.raises(NoRoom):
        cache.fetch(entry("e"), filled(), urgent=False)
    assert kept(tmp_path) == ["a.tar", "c.tar", "d.tar"]
    cache.fetch(entry("e"), filled(), urgent=True)
    assert kept(tmp_path) == ["c.tar", "d.tar", "e.tar"]
    for name in "acd":
        cache.holds.release(f"{SET}/{name}")


HOLDS = """
import sys, time
from pathlib import Path
from fer_dist.storage.cache import Cache
Cache(Path(sys.argv[1]), 300).holds.hold("0123456789abcdef01234567/a")
print("held", flush=True)
time.sleep(600)
"""


def test_what_another_process_uses_stays_until_that_process_is_killed(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 300)
    for name in "abc":
        cache.fetch(entry(name), filled(), urgent=False)
        time.sleep(0.005)
    line = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment()) as other:
        try:
            assert other.stdout
            assert other.stdout.readline() == "held\n"
            cache.fetch(entry("d"), filled(), urgent=False)
            assert kept(tmp_path) == ["a.tar", "c.tar", "d.tar"]
        finally:
            other.kill()
    cache.fetch(entry("e"), filled(), urgent=False)
    assert kept(tmp_path) == ["c.tar", "d.tar", "e.tar"]


def test_what_else_lies_in_the_folder_is_left_alone(tmp_path: Path) -> None:
    for name in ("photos/a.tar", "a.tar", f"{SET}/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(1000))
    cache = Cache(tmp_path, 300)
    for name in "abcdef":
        cache.fetch(entry(name), filled(), urgent=True)
    assert sorted(path.name for path in tmp_path.rglob("*.t*")) == [
        "a.tar",
        "a.tar",
        "d.tar",
        "e.tar",
        "f.tar",
        "notes.txt",
    ]


def test_a_file_that_could_not_be_fetched_leaves_nothing(tmp_path: Path) -> None:
    def fail(part: Path) -> None:
        part.write_bytes(b"half")
        raise ConnectionError

    with pytest.raises(ConnectionError):
        Cache(tmp_path, 300).fetch(entry("a"), fail, urgent=True)
    assert not list((tmp_path / SET).iterdir())


@pytest.mark.parametrize("prefetch", [0, 4])
def test_the_bound_is_kept_while_more_is_read_than_fits(web: Web, folder: Path, tmp_path: Path, prefetch: int) -> None:
    reader = opened(web, tmp_path, ROOM, prefetch)
    most, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.0005):
            most[0] = max(most[0], used(tmp_path))

    watching = threading.Thread(target=watch)
    watching.start()
    parts = sequence(reader.counts, 0, 1, 5)
    got = []
    for _, positions in reader.ahead(range(len(parts)), parts.__getitem__):
        got += [image.tobytes() for image in reader.read(positions).content]
    over.set()
    watching.join()
    assert got == contents(Reader(folder, SEVEN))
    assert 2 * 30_720 < most[0] <= ROOM
    # Nothing went before it was read: each came once.
    assert set(web.asked("").values()) == {1}


def test_training_that_jumps_between_shards_reads_right_in_a_cache_that_just_holds_them(
    web: Web, folder: Path, tmp_path: Path
) -> None:
    data = DataConfig(size=24, crop=20, block=4)
    reader, local = opened(web, tmp_path, 2 * ROOM), Reader(folder, SEVEN)
    order = Order(local.counts, 6, seed=1, lanes=3, block=4)
    place = Placement(0, 1, torch.device("cpu"), False, threads=1)
    for ours, theirs in zip(
        training_loader(data, reader, order, place, 0, 32),
        training_loader(data, local, order, place, 0, 32),
        strict=True,
    ):
        assert torch.equal(ours.crops, theirs.crops)
        assert used(tmp_path) <= 2 * ROOM


def test_a_cache_that_cannot_hold_what_one_block_draws_from_is_refused_at_once(web: Web, tmp_path: Path) -> None:
    reader = opened(web, tmp_path, ROOM)
    order = Order(reader.counts, 12, seed=1, lanes=12, block=4)
    place = Placement(0, 1, torch.device("cpu"), False, threads=1)
    with pytest.raises(
        InputError, match=r"^--data.cache-gb 0\.000\d+ is too small for http.*: the order draws from 1\d shards"
    ):
        training_loader(DataConfig(), reader, order, place, 0, 8)
    assert not kept(tmp_path)


def test_a_shard_that_is_larger_than_the_cache_is_named(web: Web, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"^--data.cache-gb 2e-05 is smaller than drawn-train-000000\.tar \(3\.07e-05 GB\)"
    ):
        opened(web, tmp_path, 20_000).read(samples_of(0))


def test_a_mapped_shard_stays_readable_after_it_had_to_go(web: Web, folder: Path, tmp_path: Path) -> None:
    reader = opened(web, tmp_path, ROOM, prefetch=0)
    first = reader.read(samples_of(0)).content
    contents(reader)
    assert tar(0) not in kept(tmp_path)
    local = Reader(folder, SEVEN).read(samples_of(0)).content
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(first, local, strict=True))


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-1], lambda content: content + b"more", lambda content: b""]
)
@pytest.mark.parametrize("name", [tar(3), index_path(Path(tar(3))).name])
def test_a_cached_file_of_a_wrong_size_is_fetched_again(
    web: Web, folder: Path, tmp_path: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    contents(opened(web, tmp_path))
    path = next(tmp_path.glob(f"*/{name}"))
    path.write_bytes(damage(path.read_bytes()[:-100] if name.endswith(".idx") else path.read_bytes()))
    assert contents(opened(web, tmp_path)) == contents(Reader(folder, SEVEN))
    assert web.asked("")[name] == 2
    assert path.read_bytes() == (folder / name).read_bytes()


def test_a_set_that_was_built_anew_is_not_mixed_with_its_old_copy(tmp_path: Path) -> None:
    for number in (1, 2):
        made = faces(number * EACH)[-EACH:]
        shard_set(tmp_path / str(number) / "train", [made])
        with served(tmp_path / str(number)) as web:
            assert opened(web, tmp_path / "cache").keys(samples_of(0)) == [sample.key for sample in made]


def test_a_local_set_makes_no_cache(folder: Path, tmp_path: Path) -> None:
    reader = Reader(open_set(str(folder), DataConfig(cache=str(tmp_path / "cache"))), SEVEN)
    assert len(contents(reader)) == SHARDS * EACH
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_named_with_its_flag(web: Web, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"^--data.cache .*/file: cannot be written \(.*\); choose another"):
        opened(web, tmp_path / "file")


def test_shards_that_are_fetched_ahead_are_not_waited_for(web: Web, tmp_path: Path) -> None:
    web.seconds = 0.05
    waits = {}
    for prefetch in (0, 4):
        reader = opened(web, tmp_path / str(prefetch), prefetch=prefetch)
        parts = sequence(reader.counts, 0, 1, 4)
        waits[prefetch] = 0.0
        for _, positions in reader.ahead(range(len(parts)), parts.__getitem__):
            began = time.perf_counter()
            reader.read(positions)
            waits[prefetch] += time.perf_counter() - began
            time.sleep(0.02)
    print(f"waited {waits[0]:.2f} s without and {waits[4]:.2f} s with 4 threads: {waits[0] / waits[4]:.1f} times less")
    assert waits[4] < waits[0] / 2


READS = """
import sys
import numpy as np
from fer_dist.config.settings import DataConfig
from fer_dist.data.loading.order import Positions
from fer_dist.data.loading.reader import Reader
from fer_dist.data.loading.shard_set import open_set
from fer_dist.data.emotions import SEVEN

data = DataConfig(cache=sys.argv[2], cache_gb=int(sys.argv[3]) / 1e9)
reader = Reader(open_set(sys.argv[1], data), SEVEN)
print("opened", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[4])):
    for shard, count in enumerate(reader.counts):
        samples = reader.read(Positions(np.full(count, shard), np.arange(count)))
        print(*samples.keys, sum(int(image.astype(int).sum()) for image in samples.content), flush=True)
"""


@pytest.fixture
def reading() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts processes that read a whole set, shard by shard, after a line on their standard input; and ends them."""
    started: list[subprocess.Popen[str]] = []

    def start(web: Web, cache: Path, room: int = 1 << 30, times: int = 1) -> "subprocess.Popen[str]":
        line = [sys.executable, "-c", READS, f"{web.url}/train", str(cache), str(room), str(times)]
        pipe = subprocess.PIPE
        # What a shell starts in the background ignores Ctrl-C, and hands that on: without this, tests there fail.
        line = ["env", "--default-signal=INT", *line]
        started.append(subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment()))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def go(*processes: "subprocess.Popen[str]") -> None:
    """Let them all begin at once."""
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "opened\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()


def lines_of(folder: Path) -> list[str]:
    reader = Reader(folder, SEVEN)
    lines = []
    for shard in range(SHARDS):
        samples = reader.read(samples_of(shard))
        lines.append(" ".join([*samples.keys, str(sum(int(image.astype(int).sum()) for image in samples.content))]))
    return lines


def test_two_processes_at_once_fetch_each_file_once(
    web: Web, folder: Path, tmp_path: Path, reading: Callable[..., "subprocess.Popen[str]"]
) -> None:
    web.bytes_per_second = 300_000
    both = reading(web, tmp_path), reading(web, tmp_path)
    go(*both)
    for process in both:
        found, said = process.communicate(timeout=60)
        assert not said
        assert found.splitlines() == lines_of(folder)
    assert web.asked() == {tar(number): 1 for number in range(SHARDS)}
    assert web.asked(".idx") == {index_path(Path(tar(number))).name: 1 for number in range(SHARDS)}


def test_processes_that_fight_for_a_small_cache_all_read_right(
    web: Web, folder: Path, tmp_path: Path, reading: Callable[..., "subprocess.Popen[str]"]
) -> None:
    three = [reading(web, tmp_path, ROOM // 2, 5) for _ in range(3)]
    go(*three)
    for process in three:
        found, said = process.communicate(timeout=60)
        assert not said
        assert found.splitlines() == 5 * lines_of(folder)
    assert used(tmp_path) <= ROOM // 2
    assert not kept(tmp_path, ".*")


def test_a_kill_in_the_middle_of_a_download_leaves_nothing_that_a_later_run_trips_over(
    web: Web, folder: Path, tmp_path: Path, reading: Callable[..., "subprocess.Popen[str]"]
) -> None:
    web.bytes_per_second = 30_000
    killed = reading(web, tmp_path)
    go(killed)
    wait_for(lambda: any(path.stat().st_size > 0 for path in tmp_path.glob(f"*/.{tar(2)}.*.part")), 30)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert len(kept(tmp_path, ".*.claim")) == len(kept(tmp_path, ".*.part")) == 1
    web.bytes_per_second = 0
    # Another shard comes first: its room is made without the dead claim.
    reader = opened(web, tmp_path, ROOM)
    reader.read(samples_of(5))
    assert not kept(tmp_path, ".*")
    assert contents(opened(web, tmp_path)) == contents(Reader(folder, SEVEN))
    assert web.asked()[tar(2)] == 2
    assert web.asked()[tar(0)] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_process_that_waits_for_a_store(
    web: Web, tmp_path: Path, reading: Callable[..., "subprocess.Popen[str]"], number: signal.Signals
) -> None:
    web.always[tar(0)] = "hang"
    process = reading(web, tmp_path)
    go(process)
    wait_for(lambda: web.asked()[tar(0)] > 0, 60)
    began = time.monotonic()
    process.send_signal(number)
    process.wait(20)
    assert time.monotonic() - began < 5
    assert process.returncode in (-number, 1)


@pytest.mark.parametrize("kind", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_an_opened_reader_can_be_used_from_several_processes(web: Web, folder: Path, tmp_path: Path, kind: str) -> None:
    reader = opened(web, tmp_path)
    contents(reader, range(2))
    settle()
    with ProcessPoolExecutor(2, multiprocessing.get_context(kind)) as pool:
        parts = list(pool.map(contents, [reader] * 3, [range(1, 6), range(4, 9), range(7, SHARDS)]))
    local = Reader(folder, SEVEN)
    assert parts == [contents(local, part) for part in (range(1, 6), range(4, 9), range(7, SHARDS))]
    assert contents(reader) == contents(local)
    assert set(web.asked().values()) == {1}


def test_an_evaluation_leaves_nothing_in_use(web: Web, tmp_path: Path) -> None:
    reader = opened(web, tmp_path, ROOM)
    place = Placement(0, 1, torch.device("cpu"), False, threads=1)
    loader = evaluation_loader(DataConfig(size=24, crop=20), reader, place, 10)
    for number, _ in enumerate(loader):
        if number == 3:
            break
    assert len(list(loader)) == 10
    settle()
    gc.collect()
    other = opened(web, tmp_path, ROOM)
    assert other.remote
    assert other.remote.cache.holds.names() == set()
