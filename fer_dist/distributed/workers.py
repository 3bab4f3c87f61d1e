"""Run a given function on Ray Train workers, and again where something died. It knows nothing of training."""

import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fer_dist.distributed.cluster import Group, Node, connected, device_in, shortly
from fer_dist.distributed.mailbox import Kind, Line, open_mailbox
from fer_dist.errors import InputError, SharedError, WorkError, counted
from fer_dist.progress import Message

POLL_SECONDS = 0.3
STOP_PATIENCE_SECONDS = 15.0
"""How long a wish to stop waits for workers that do not ask for it: none runs then, or all hang."""
END_PATIENCE_SECONDS = 20.0
"""How long the thread that waits for Ray Train may take to end after its controller was killed."""
ROOM_SECONDS = 90.0
"""Without a start for so long, a person is told what Ray waits for."""

WorkerFunction = Callable[[dict[str, Any], Line, str], None]
"""What runs on a worker: function(payload, line to the driver, device)."""


def run_on_workers(
    function: WorkerFunction,
    payload: dict[str, Any],
    group: Group,
    progress: Callable[[Message], None],
    stop_requested: Callable[[], bool],
) -> None:
    """Run a function on each of the workers of a group, with a torch process group joined around them.

    function: importable by name on the workers. payload: what each of them gets, beside the kind of its device.
    Where a worker dies or hangs, all of them start the function again, on what nodes there are: up to ray.max_failures
    times in all, that Ray Train's own actor died included. A node that is drained, and workers that join, do not count.
    A WorkError or an InputError ends the job at once and is raised here.
    """
    with connected(group, progress) as needs:
        mailbox = open_mailbox()
        work = _Work(function, payload, mailbox, device_in(needs))
        _Driver(group, needs, work, progress, stop_requested).run()


@dataclass
class _Driver:
    """Starts the workers, again where that helps, and reads what they say."""

    group: Group
    needs: Node
    work: "_Work"
    progress: Callable[[Message], None]
    stop_requested: Callable[[], bool]
    starts: int = 0
    workers: int = 0
    room: Any = None
    controller: Any = None
    failures: int = 0
    shared: str | None = None
    node_left: bool = False
    expected: bool = True
    """Whether the next start needs no word: it is the first, or why it comes was said."""
    waits: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        import ray

        while True:
            # A name of its own for each attempt, and a folder that is thrown away: Ray's snapshot of a run can be
            # damaged, and would then end every later attempt. What a run goes on from is our own list of checkpoints.
            # Only the controller looks into it, which lives on this node; workers would for a checkpoint that is
            # reported to Ray, and none is.
            with tempfile.TemporaryDirectory(prefix="fer-dist-ray-", ignore_cleanup_errors=True) as folder:
                error = self._attempt(folder)
            if self.shared is not None:
                raise WorkError(self.shared)
            if not error and not self.node_left:
                return
            if error and not isinstance(error, ray.exceptions.RayActorError):
                raise WorkError(f"Ray gave up after {self.failures} new starts: {shortly(error)}") from error
            if error:
                self.failures += 1
                if self.failures > self.group.ray.max_failures:
                    raise WorkError(f"Ray gave up after {self.failures - 1} new starts: {shortly(error)}") from error
                self._say("Ray Train's controller was lost; all go on from the last checkpoint")
                if self.room:
                    # Its workers may live on in it; Ray takes it back by itself only where its dashboard runs.
                    ray.util.remove_placement_group(self.room)
            else:
                self._say("a node is about to leave; all go on elsewhere from the checkpoint just saved")
            self.node_left, self.expected, self.waits = False, True, time.monotonic()

    def _attempt(self, folder: str) -> BaseException | None:
        """Run until the workers are done or Ray gives up. Returns what ended it."""

        outcome: list[BaseException | None] = []
        fit = threading.Thread(target=self._fit, args=(folder, outcome), daemon=True)
        fit.start()
        try:
            return self._watch(fit, outcome)
        except (WorkError, InputError):
            self._end(fit)
            raise

    def _watch(self, fit: threading.Thread, outcome: list[BaseException | None]) -> BaseException | None:
        import ray

        asked = 0.0
        mailbox = self.work.mailbox
        while True:
            finished = not fit.is_alive()
            for kind, content in ray.get(mailbox.drain.remote()):
                self._read(kind, content)
            if finished:
                return outcome[0]
            if self.waits and time.monotonic() - self.waits > ROOM_SECONDS:
                self.waits = 0.0
                each = ", ".join(f"{amount:g} {name}" for name, amount in self.needs.items())
                few = self.group.least
                self._say(f"waiting for Ray to start {counted(few, 'worker')} with {each} each: are they free?")
            if self.stop_requested() and not asked:
                asked = time.monotonic()
                ray.get(mailbox.ask_to_stop.remote())
            waited = time.monotonic() - asked if asked else 0.0
            if min(waited, ray.get(mailbox.silent_seconds.remote())) > STOP_PATIENCE_SECONDS:
                raise WorkError("stopped while no worker was running; go on with --resume")
            time.sleep(POLL_SECONDS)

    def _end(self, fit: threading.Thread) -> None:
        """End the workers, and the thread that waits for them: where Ray is left before it, Ray ends this process."""
        import ray

        if self.controller:
            ray.kill(self.controller)
        if self.room:
            ray.util.remove_placement_group(self.room)
        fit.join(END_PATIENCE_SECONDS)

    def _fit(self, folder: str, outcome: list[BaseException | None]) -> None:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        settings, timeout = self.group.ray, self.group.timeout_seconds
        # Ray reads them here and hands them on. A worker that does not answer is as good as dead.
        os.environ.setdefault("RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S", f"{timeout:g}")
        os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "1")
        os.environ.setdefault("RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S", "2")
        fewest, most = self.group.least, settings.workers
        workers = ScalingConfig(
            num_workers=most if fewest == most else (fewest, most),
            use_gpu="GPU" in self.needs,
            resources_per_worker=self.needs,
            elastic_resize_monitor_interval_s=settings.resize_seconds,
        )
        failures = FailureConfig(max_failures=settings.max_failures - self.failures)
        run = RunConfig(name=Path(folder).name, storage_path=folder, failure_config=failures)
        torch = TorchConfig(timeout_s=max(1, round(timeout)))
        try:
            TorchTrainer(self.work, torch_config=torch, scaling_config=workers, run_config=run).fit()
            outcome.append(None)
        except Exception as error:  # handed to the main thread, which raises it
            outcome.append(error)

    def _read(self, kind: str, content: Any) -> None:
        if kind == "message":
            self.progress(content)
        elif kind == "started":
            self._started(*content)
        elif kind == "shared":
            # The workers end by themselves then: leaving Ray before would cut its own threads off.
            self.shared = self.shared or content  # of the other ranks it is empty
        elif kind == "left":
            self.node_left = True
        elif kind == "work":
            raise WorkError(content)
        else:
            raise InputError(content)

    def _started(self, workers: int, room: Any, controller: Any) -> None:
        """Count a start, and say why it came: Ray starts all workers anew for each change of the group."""
        self.starts += 1
        self.room, self.controller = room, controller
        self.waits = 0.0
        before, self.workers = self.workers, workers
        if self.expected:
            self.expected = False
        elif workers > before:
            self._say(f"{workers} workers instead of {before}: all go on from the last checkpoint")
        else:
            self.failures += 1
            self._say(f"a worker was lost; all go on from the last checkpoint (new start {self.starts - 1})")

    def _say(self, text: str) -> None:
        self.progress(Message(text))


@dataclass(frozen=True)
class _Work:
    """What a worker runs: the function, with its line to the driver and its device."""

    function: WorkerFunction
    payload: dict[str, Any]
    mailbox: Any
    device: str

    def __call__(self) -> None:
        import ray
        import ray.train
        from ray.train.collective import broadcast_from_rank_zero

        context = ray.train.get_context()
        is_first = context.get_world_rank() == 0
        number = None
        if is_first:
            room = ray.util.get_current_placement_group()
            number = ray.get(self.mailbox.begin.remote(context.get_world_size(), room, _controller()))
        line = Line(self.mailbox, broadcast_from_rank_zero(number))
        line.open()
        try:
            self.function(self.payload, line, self.device)
        except (WorkError, InputError) as error:
            kind: Kind = "work" if isinstance(error, WorkError) else "input"
            if isinstance(error, SharedError):
                kind = "left" if line.node_leaves else "shared"
            # What all raise together has its text on one of them, whose error ends the job.
            if str(error) or kind in ("shared", "left"):
                ray.get(line.put(kind, str(error)))
            # An error would have Ray start all of them again; a SharedError ends the others in the same step.
            if str(error) and kind not in ("shared", "left"):
                raise
        finally:
            line.close()


def _controller() -> Any:
    """The actor that runs this worker's group; None where this version of Ray keeps it elsewhere."""
    try:
        from ray.train.v2._internal.execution.context import get_train_context

        return get_train_context().controller_actor
    except (ImportError, AttributeError):
        return None
