"""How long a run on Ray takes to start, and to start again after a worker's death, by part.

    PYTHONPATH=tests python tests/support/ray_times.py [REPEATS]

Drawn faces, two workers, a cluster of the run's own; seconds from the command, or from the kill, to each event.
"""

import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from support.ray_faults import Background
from support.runs import arguments, drawn_shards


class Watch:
    """Seconds until one thing after the other happens to a run."""

    def __init__(self, run: Background) -> None:
        self.run = run
        self.begun = time.monotonic()
        self.seconds: dict[str, float] = {}

    def until(self, name: str, is_so: Callable[[], object]) -> None:
        while not is_so():
            assert self.run.process.poll() is None, self.run.text()
            time.sleep(0.02)
        self.seconds[name] = time.monotonic() - self.begun


def measure(shards: Path, folder: Path) -> dict[str, float]:
    """Start a run, kill a worker, and stop it. Returns event -> seconds."""
    steps = ["--train.save-every-steps", "2", "--train.log-every", "1", "--train.epochs", "1000"]
    words = arguments(shards, folder, "run", *steps, "--ray.workers", "2")
    ledger = folder / "run" / "ledger" / "0.tsv"
    folder.mkdir()
    run = Background.fer_dist(["train", *words], folder / "log")
    try:
        start = Watch(run)
        start.until("start: checked, and Ray's processes begin", lambda: run.below("gcs_server"))
        start.until("start: Ray is up, and its controller begins", lambda: run.below("TrainController"))
        start.until("start: workers begin", lambda: len(workers(run)) == 2)
        start.until("start: the run is open on them", lambda: "2 workers on cpu" in run.text())
        start.until("start: first step", lambda: ledger.exists() and ledger.stat().st_size)
        start.until("start: first checkpoint", (folder / "run" / "checkpoints" / "list.json").exists)
        before = workers(run)
        psutil.Process(before[-1]).kill()
        again = Watch(run)
        again.until("again: the others were ended", lambda: not set(workers(run)) & set(before))
        again.until("again: new workers begin", lambda: len(set(workers(run)) - set(before)) == 2)
        again.until("again: the run is open on them", lambda: ", from step " in run.text())
        size = ledger.stat().st_size
        again.until("again: first step", lambda: ledger.stat().st_size > size)
        return start.seconds | again.seconds
    finally:
        with suppress(psutil.NoSuchProcess):
            run.kill_all()


def workers(run: Background) -> list[int]:
    return sorted(worker.pid for worker in run.below("RayTrainWorker"))


def main(repeats: int) -> None:
    found: list[dict[str, float]] = []
    with TemporaryDirectory() as folder:
        shards = drawn_shards(Path(folder, "shards"))
        for number in range(repeats):
            found.append(measure(shards, Path(folder, str(number))))
    for name in found[0]:
        values = [seconds[name] for seconds in found]
        print(f"{name:45} {statistics.median(values):6.1f} ({min(values):.1f} to {max(values):.1f})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
