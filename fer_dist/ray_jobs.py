"""Run a given function on Ray Train workers. The one file that imports Ray; it knows nothing of training.

Workers and driver talk through a mailbox, an actor of the driver's: messages to show come back, a wish to stop goes
out. Ray's own reports are not used for that, since each is a barrier of about two seconds.
"""

import math
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_dist.config import RayConfig
from fer_dist.errors import InputError, SharedError, WorkError
from fer_dist.monitor import Message

POLL_SECONDS = 0.3
STOP_POLL_SECONDS = 1.0
CONNECT_SECONDS = 5.0
GPU_CPUS = 8

WorkerFunction = Callable[[dict[str, Any], Callable[[Any], None], Callable[[], bool]], None]
"""What runs on a worker: function(payload, progress, stop_requested)."""


@dataclass(frozen=True)
class Group:
    """Workers to run on. device: auto, cpu or cuda; with auto each gets a GPU where the cluster has enough of them."""

    ray: RayConfig
    device: str

    def needs(self, cluster: dict[str, float]) -> dict[str, float]:
        """What each worker reserves, by Ray's names of resources. cluster: what the cluster has."""
        gpu = self.device == "cuda" or (self.device == "auto" and cluster.get("GPU", 0) >= self.ray.workers)
        cpus = self.ray.cpus_per_worker or (GPU_CPUS if gpu else 1)
        return {"CPU": cpus, "GPU": 1} if gpu else {"CPU": cpus}


def run_on_workers(
    function: WorkerFunction,
    prepare: Callable[[], dict[str, Any]],
    group: Group,
    progress: Callable[[Any], None],
    stop_requested: Callable[[], bool],
) -> None:
    """Run a function on each of the workers of a group, with a torch process group joined around them.

    function: importable by name on the workers. prepare: gives what the function gets, once the cluster has answered.
    A worker that dies is replaced and all of them start the function
    again, up to ray.max_failures times; a WorkError or an InputError ends the job at once and is raised here.
    """
    # Ray's page about a lost worker would bury our line about it. Read when Ray is imported.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed")
    import ray

    with _connected(group) as resources:
        mailbox = _open_mailbox()
        outcome: list[BaseException | None] = []
        work = _Work(function, prepare(), mailbox, "GPU" in resources)
        fit = threading.Thread(target=_fit, args=(work, group, resources, outcome), daemon=True)
        fit.start()
        asked = False
        shared = ""
        while True:
            finished = not fit.is_alive()
            for kind, content in ray.get(mailbox.drain.remote()):
                if kind == "message":
                    progress(content)
                elif kind == "shared":
                    # The workers end by themselves then: leaving Ray before would cut its own threads off.
                    shared = shared or content  # of the other ranks it is empty
                elif kind == "work":
                    raise WorkError(content)
                else:
                    raise InputError(content)
            if finished:
                break
            if stop_requested() and not asked:
                asked = True
                ray.get(mailbox.ask_to_stop.remote())
            time.sleep(POLL_SECONDS)
        if shared:
            raise WorkError(shared)
        if outcome and outcome[0] is not None:
            raise WorkError(
                f"Ray gave up after {group.ray.max_failures} new starts: {_shortly(outcome[0])}"
            ) from outcome[0]


@contextmanager
def _connected(group: Group) -> Iterator[dict[str, float]]:
    """A connection to the cluster of the settings, of the Ray job that this runs in, or to one of its own.

    Gives what each worker is to reserve.
    """
    import logging

    import ray
    import torch

    address = group.ray.address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        # More workers than cores is slow, but right: what is asked for here is asked for on purpose.
        cluster = {"GPU": float(torch.cuda.device_count())}
        cpus = math.ceil(group.ray.workers * group.needs(cluster)["CPU"])
        options |= {"include_dashboard": False, "num_cpus": max(os.cpu_count() or 1, cpus)}
    _check_answers(address)
    # ray.init takes SIGTERM for itself and would exit without a checkpoint.
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, **options)
        signal.signal(signal.SIGTERM, on_sigterm)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            f"--ray.address {address}: no Ray cluster answers there ({_shortly(error)}); "
            "check the address, and the token (RAY_AUTH_MODE=token, RAY_AUTH_TOKEN_PATH)"
        ) from error
    try:
        logging.getLogger("ray").setLevel(logging.ERROR)
        yield _reserved(group, ray.cluster_resources())
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raises InputError where nothing listens at host:port: ray.init would try for five minutes, and then exit."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise InputError(f"--ray.address {address}: nothing answers there ({error}); is the cluster up?") from error


def _reserved(group: Group, cluster: dict[str, float]) -> dict[str, float]:
    """What each worker reserves. Raises InputError where the cluster can never hold them: Ray would wait silently."""
    needs = group.needs(cluster)
    for name, amount in needs.items():
        total = group.ray.workers * amount
        if cluster.get(name, 0) < total:
            raise InputError(
                f"--ray.workers {group.ray.workers} needs {total:g} {name}, but the cluster has "
                f"{cluster.get(name, 0):g}; choose fewer workers, --ray.cpus-per-worker, or --run.device cpu"
            )
    return needs


def _fit(work: "_Work", group: Group, resources: dict[str, float], outcome: list[BaseException | None]) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    workers = ScalingConfig(num_workers=group.ray.workers, use_gpu="GPU" in resources, resources_per_worker=resources)
    # A name of its own for each attempt, and a folder that is thrown away: Ray's snapshot of a run can be damaged, and
    # would then end every later attempt. What a run goes on from is our own list of checkpoints.
    with tempfile.TemporaryDirectory(prefix="fer-dist-ray-") as folder:
        failures = FailureConfig(max_failures=group.ray.max_failures)
        run = RunConfig(name=Path(folder).name, storage_path=folder, failure_config=failures)
        try:
            TorchTrainer(work, scaling_config=workers, run_config=run).fit()
            outcome.append(None)
        except Exception as error:  # handed to the main thread, which raises it
            outcome.append(error)


class _Work:
    """What a worker runs: the function, with its two lines to the driver."""

    def __init__(self, function: WorkerFunction, payload: dict[str, Any], mailbox: Any, gpu: bool) -> None:
        self.function = function
        self.payload = payload
        self.mailbox = mailbox
        self.gpu = gpu

    def __call__(self) -> None:
        import ray
        import ray.train

        if not self.gpu:
            # A worker without a GPU of its own must not find one: Ray hides none from it.
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        starts = ray.get(self.mailbox.begin.remote(ray.train.get_context().get_world_rank()))
        if starts > 1:
            text = f"a worker was lost; all go on from the last checkpoint (new start {starts - 1})"
            ray.get(self.mailbox.put.remote("message", Message(text)))
        stop = threading.Event()
        ended = threading.Event()

        def listen() -> None:
            while not ended.wait(STOP_POLL_SECONDS):
                if ray.get(self.mailbox.stops.remote()):
                    stop.set()

        threading.Thread(target=listen, daemon=True).start()
        try:
            self.function(self.payload, lambda message: self.mailbox.put.remote("message", message), stop.is_set)
        except (WorkError, InputError) as error:
            kind = "shared" if isinstance(error, SharedError) else "work" if isinstance(error, WorkError) else "input"
            ray.get(self.mailbox.put.remote(kind, str(error)))
            if kind != "shared":
                raise
        finally:
            ended.set()


def _open_mailbox() -> Any:
    import ray

    class Mailbox:
        def __init__(self) -> None:
            self.letters: list[tuple[str, Any]] = []
            self.stop = False
            self.starts = 0

        def begin(self, rank: int) -> int:
            """How often rank 0 has started; 0 for the other ranks."""
            self.starts += rank == 0
            return self.starts if rank == 0 else 0

        def put(self, kind: str, content: Any) -> None:
            self.letters.append((kind, content))

        def drain(self) -> list[tuple[str, Any]]:
            letters, self.letters = self.letters, []
            return letters

        def ask_to_stop(self) -> None:
            self.stop = True

        def stops(self) -> bool:
            return self.stop

    return ray.remote(num_cpus=0)(Mailbox).remote()


def _shortly(error: BaseException) -> str:
    """The last line of a message, which for Ray's long ones is the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
