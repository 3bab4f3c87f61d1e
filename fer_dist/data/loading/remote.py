"""The shards of a remote set, fetched into the cache by a few threads: the next ones before they are asked for.

Which are next is arithmetic: the batches of the coming steps are computed early, and kept until their turn.
"""

import hashlib
import math
import os
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fer_dist.config.settings import DataConfig
from fer_dist.config.torchrun import launched
from fer_dist.data.loading.order import Positions
from fer_dist.data.shards.manifest import Shard, index_path
from fer_dist.errors import InputError, WorkError
from fer_dist.storage.cache import Cache, Entry, NoRoom, default_folder
from fer_dist.storage.paths import absolute
from fer_dist.storage.store import Damaged, Store

Step = TypeVar("Step")

STEPS_PER_STEP = 8
"""Steps that are looked at for each one that is read: the look ahead grows while the first steps are taken."""

MOST_SAMPLES_AHEAD = 1 << 20
"""Their positions take 16 MB."""

URGENT, AHEAD = 0, 1


@dataclass(frozen=True)
class RemoteConfig:
    """The cache's folder and its bound, and how many threads fetch ahead, 0 for none."""

    folder: Path
    most_bytes: int
    threads: int


def remote_config(data: DataConfig) -> RemoteConfig:
    """What the settings say of the cache."""
    folder = Path(absolute(data.cache)) if data.cache else default_folder()
    return RemoteConfig(folder, int(data.cache_gb * 1e9), data.prefetch)


class RemoteShards:
    """Gives paths of shards in the cache. A shard is held there from `path` until `release`."""

    def __init__(self, store: Store, name: str, shards: tuple[Shard, ...], config: RemoteConfig) -> None:
        """name: of the set in the cache; a set that was built anew must have another one."""
        self.store = store
        self.name = name
        self.shards = shards
        self.config = config
        self.cache = Cache(config.folder, config.most_bytes)
        self.stop_requested: Callable[[], bool] = lambda: False
        """Asked while a shard is waited for: a run that is told to stop does not wait."""
        self._start()

    def __getstate__(self) -> dict[str, object]:
        return {"store": self.store, "name": self.name, "shards": self.shards, "config": self.config}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def only(self, shards: tuple[Shard, ...]) -> "RemoteShards":
        """The way to some of the shards, which count from 0 there."""
        return RemoteShards(self.store, self.name, shards, self.config)

    @property
    def share(self) -> int:
        """Bytes that this process may hold for one reader: half of its part, since another one may be open."""
        return self.config.most_bytes // launched().local_size // 2

    def path(self, shard: int) -> Path:
        """The tar, with its index beside it, as soon as both are there.

        Raises WorkError where the store does not give them, or the run is asked to stop.
        """
        self.hold(shard)
        try:
            return self._wait(shard)
        except BaseException:
            self.release(shard)
            raise

    def hold(self, shard: int) -> None:
        """Keep a shard in the cache, from when it comes there."""
        self.cache.holds.hold(self.entries(shard)[1].owner)

    def release(self, shard: int) -> None:
        self.cache.holds.release(self.entries(shard)[1].owner)

    def has(self, shard: int) -> bool:
        return all(self.cache.has(entry) for entry in self.entries(shard))

    def discard_index(self, shard: int) -> None:
        """Have the index fetched again: it turned out to be damaged."""
        self.cache.discard(self.entries(shard)[0])

    def ahead(
        self, steps: Iterable[Step], positions_of: Callable[[Step], Positions], done: Callable[[int], None]
    ) -> Iterator[tuple[Step, Positions]]:
        """Each step with its positions, while the shards of the steps after it are fetched and held.

        Never more of them than the share: so nothing that is needed sooner has to go for something needed later.
        done: called with a shard that none of the steps looked ahead at needs any more.
        """
        window = _Window(self, done)
        coming = ((step, positions_of(step)) for step in steps)
        waiting: deque[tuple[Step, Positions]] = deque()
        beyond = next(coming, None)
        try:
            while waiting or beyond:
                for _ in range(STEPS_PER_STEP):
                    if beyond and (not waiting or window.has_room(beyond[1])):
                        window.add(beyond[1])
                        waiting.append(beyond)
                        beyond = next(coming, None)
                step, positions = waiting.popleft()
                yield step, positions
                window.take_away()
        finally:
            window.close()

    def check_room(self, batches: Iterable[Positions]) -> None:
        """Raises InputError where the cache cannot hold the shards of these batches together: all would go too soon."""
        shards = {shard for positions in batches for shard in positions.shard.tolist()}
        needed = sum(entry.bytes for shard in shards for entry in self.entries(shard))
        workers = launched().local_size
        if needed * workers > self.config.most_bytes:
            least = math.ceil(1.1 * needed * workers / 1e7) / 100
            raise InputError(
                f"--data.cache-gb {self.config.most_bytes / 1e9:g} is too small for {self.store.location.shown}: the "
                f"order draws from {len(shards)} shards at once; give it {least:g}, or fewer --data.lanes or a smaller "
                "--data.block"
            )

    def fetch_ahead(self, shard: int) -> None:
        """Have a shard fetched by and by. What goes wrong there shows when it is asked for."""
        if self.config.threads and not self.has(shard):
            self._submit(shard, AHEAD)

    def _wait(self, shard: int) -> Path:
        entries = self.entries(shard)
        if self.has(shard):
            for entry in entries:
                self.cache.touch(entry)
            return self.cache.folder / entries[1].name
        self.store.moved = time.monotonic()
        job = self._submit(shard, URGENT)
        while True:
            try:
                return job.result(timeout=0.1)
            except NoRoom:
                time.sleep(random.uniform(0.02, 0.1))
                job = self._submit(shard, URGENT)
            except TimeoutError:
                pass
            name = f"{self.shards[shard].file} in {self.store.location.shown}"
            if self.stop_requested():
                raise WorkError(f"stopped while waiting for {name}; go on with --resume")
            if time.monotonic() - self.store.moved > self.store.patience.most_seconds:
                raise WorkError(f"{name}: nothing came for {self.store.patience.most_seconds:g} s; look at the store")

    def _submit(self, shard: int, urgency: int) -> "Future[Path]":
        if self._process != os.getpid():
            self._start()
        with self._mutex:
            job = self._jobs.get(shard)
            if job is None or (urgency == URGENT and job.done()):
                job = self._jobs[shard] = Future()
            elif urgency == AHEAD or job.running():
                return job
            self._number += 1
            self._queue.put((urgency, self._number, shard, job))
            if self._threads < self.config.threads + (urgency == URGENT):
                self._threads += 1
                # A daemon: an interrupted run does not wait for a download.
                threading.Thread(target=self._work, name="fetch", daemon=True).start()
            return job

    def _start(self) -> None:
        """Begin without threads: at first, and in a forked process, which has none of its parent's."""
        self._process = os.getpid()
        self._mutex = threading.Lock()
        self._queue: queue.PriorityQueue[tuple[int, int, int, Future[Path]]] = queue.PriorityQueue()
        self._jobs: dict[int, Future[Path]] = {}
        self._number = self._threads = 0

    def _work(self) -> None:
        """Fetch what is in the queue, and end."""
        while True:
            with self._mutex:
                try:
                    urgency, _, shard, job = self._queue.get_nowait()
                except queue.Empty:
                    self._threads -= 1
                    return
                if job.running() or job.done():
                    continue
                job.set_running_or_notify_cancel()
            try:
                path, error = self._fetch(shard, urgency == URGENT), None
            except BaseException as raised:
                path, error = Path(), raised
            with self._mutex:
                self._jobs.pop(shard, None)
            if error:
                job.set_exception(error)
            else:
                job.set_result(path)

    def _fetch(self, number: int, urgent: bool) -> Path:
        shard = self.shards[number]
        index, tar = self.entries(number)

        def check(path: Path) -> None:
            with path.open("rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                if size != shard.bytes:
                    raise Damaged(f"it has {size:,} bytes, but the manifest says {shard.bytes:,}")
                if hashlib.file_digest(stream, "sha256").hexdigest() != shard.sha256:
                    raise Damaged("its sha256 is not the manifest's")

        name = index_path(Path(shard.file)).name
        path = self.cache.fetch(tar, lambda part: self.store.fetch(shard.file, part, shard.bytes, check), urgent)
        # The short one second: the other may have to go again meanwhile.
        self.cache.fetch(index, lambda part: self.store.fetch(name, part, index.bytes), urgent)
        return path

    def entries(self, number: int) -> tuple[Entry, Entry]:
        """Index and tar of a shard in the cache."""
        shard = self.shards[number]
        name = f"{self.name}/{shard.file}"
        # How long an index is nobody says beforehand; 1 kB a sample is twice that of the longest names of a plain tar.
        return Entry(str(index_path(Path(name))), 4096 + 1024 * shard.samples, False), Entry(name, shard.bytes)


class _Window:
    """The shards of the steps that are looked ahead at: held, and fetched in the order of their need."""

    def __init__(self, remote: RemoteShards, done: Callable[[int], None]) -> None:
        self._remote = remote
        self._done = done
        self._steps: deque[tuple[int, list[int]]] = deque()
        self._last: dict[int, int] = {}
        """Shard -> number of the last step in the window that needs it."""
        self._number = self._bytes = self._samples = 0

    def has_room(self, positions: Positions) -> bool:
        more = sum(self._size(shard) for shard in set(positions.shard.tolist()) - set(self._last))
        return self._bytes + more <= self._remote.share and self._samples < MOST_SAMPLES_AHEAD

    def add(self, positions: Positions) -> None:
        self._number += 1
        shards = list(dict.fromkeys(positions.shard.tolist()))
        for shard in shards:
            if shard not in self._last:
                self._bytes += self._size(shard)
                self._remote.hold(shard)
                self._remote.fetch_ahead(shard)
            self._last[shard] = self._number
        self._steps.append((len(positions), shards))
        self._samples += len(positions)

    def take_away(self) -> None:
        """The first step has been read."""
        number = self._number - len(self._steps) + 1
        samples, shards = self._steps.popleft()
        self._samples -= samples
        for shard in shards:
            if self._last[shard] == number:
                del self._last[shard]
                self._bytes -= self._size(shard)
                self._let_go(shard)

    def close(self) -> None:
        for shard in self._last:
            self._let_go(shard)
        self._last.clear()

    def _let_go(self, shard: int) -> None:
        self._done(shard)
        self._remote.release(shard)

    def _size(self, shard: int) -> int:
        return sum(entry.bytes for entry in self._remote.entries(shard))
