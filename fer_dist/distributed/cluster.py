"""A connection to a Ray cluster, and whether its nodes can hold what is asked for."""

import logging
import math
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fer_dist.config.settings import RayConfig
from fer_dist.errors import InputError, WorkError
from fer_dist.progress import Message

LOCAL = "local"
"""The address of a cluster of one's own, as Ray calls it."""

CONNECT_SECONDS = 5.0
GPU_CPUS = 8
SLACK = 1e-6
"""Of a division of resources: Ray counts them in ten thousandths."""

Node = dict[str, float]
"""What a node has in all, by Ray's names of resources; what others use of it now may become free."""


@dataclass(frozen=True)
class Group:
    """Workers to run on. device: auto, cpu or cuda; with auto each gets a GPU where the cluster has enough of them.

    timeout_seconds: how long workers wait for one of them, or Ray for its answer, before it is given up; tasks do not
    wait for each other and have none.
    """

    ray: RayConfig
    device: str
    timeout_seconds: float = 0.0

    @property
    def least(self) -> int:
        """The fewest workers that it runs with."""
        return self.ray.min_workers or self.ray.workers

    def needs(self, gpus: float) -> Node:
        """What each worker reserves. gpus: how many the cluster has."""
        gpu = self.device == "cuda" or (self.device == "auto" and gpus >= self.least)
        cpus = self.ray.cpus_per_worker or (GPU_CPUS if gpu else 1)
        return {"CPU": cpus} | ({"GPU": 1} if gpu else {}) | self.ray.resources


def device_in(needs: Node) -> str:
    """cuda or cpu: what a worker that reserves this is to use. It is told, since Ray hides no GPU from one without."""
    return "cuda" if "GPU" in needs else "cpu"


def address_of(ray: RayConfig) -> str:
    """Of the cluster that is meant: the one that was named, the Ray job's that this runs in, or LOCAL."""
    return ray.address or os.environ.get("RAY_ADDRESS") or LOCAL


@contextmanager
def connected(group: Group, say: Callable[[Message], None]) -> Iterator[Node]:
    """A connection to the cluster of the settings, of the Ray job that this runs in, or to one of its own.

    Gives what each worker is to reserve. Raises InputError where no cluster answers, or its nodes cannot hold the
    group; with ray.wait it says so instead, for Ray waits then until they can.
    """
    # Both are read when Ray is imported. Its page about a lost worker would bury our line about it.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed")
    # A node of its own gets 30 s to come up, which a busy machine exceeds.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
    address = address_of(group.ray)
    if address == LOCAL:
        _have_a_token()
        _listen_on_loopback()
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        options |= _own_cluster(group)
    _check_answers(address)
    # ray.init takes SIGTERM for itself and would exit without a checkpoint.
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, **options)
        signal.signal(signal.SIGTERM, on_sigterm)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            f"--ray.address {address}: no Ray cluster answers there ({shortly(error)}); "
            "check the address, and the token (RAY_AUTH_MODE=token, RAY_AUTH_TOKEN_PATH)"
        ) from error
    except Exception as error:  # Ray has no other name for a node that does not come up in time
        raise WorkError(f"Ray did not start: {shortly(error)}") from error
    try:
        logging.getLogger("ray").setLevel(logging.ERROR)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        needs = group.needs(sum(node.get("GPU", 0) for node in nodes))
        lacking = what_lacks(group, needs, nodes)
        if lacking and not group.ray.wait:
            raise InputError(
                f"{lacking}; choose fewer --ray.workers, --ray.min-workers, less --ray.cpus-per-worker, or "
                "--run.device cpu; or wait for nodes that will come: --ray.wait"
            )
        if lacking:
            say(Message(f"waiting for nodes: {lacking}"))
        yield needs
    finally:
        ray.shutdown()


def what_lacks(group: Group, needs: Node, nodes: list[Node]) -> str:
    """Why the nodes cannot hold the group's fewest workers, each whole on one node; empty where they can.

    Ray itself would wait for it without a word.
    """
    fits = sum(_fit(needs, node) for node in nodes)
    if fits >= group.least:
        return ""
    asked = f"--ray.workers {group.ray.workers}"
    if group.least < group.ray.workers:
        asked += f", {group.least} at least,"
    each = _listed(needs)
    total = {name: group.least * amount for name, amount in needs.items()}
    short = [name for name in total if sum(node.get(name, 0) for node in nodes) < total[name] - SLACK]
    if short:
        have = {name: sum(node.get(name, 0) for node in nodes) for name in short}
        needed = _listed({name: total[name] for name in short})
        return f"{asked} needs {needed} ({each} each), but the cluster has {_listed(have)}"
    held = "; ".join(_listed({name: node.get(name, 0) for name in needs}) for node in nodes)
    return f"{asked} needs {each} on one node for each worker, but the cluster's nodes hold {fits} of them ({held})"


def shortly(error: BaseException) -> str:
    """The last line of a message, which for Ray's long ones is the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]


def _own_cluster(group: Group) -> dict[str, Any]:
    """Options of a cluster that lives as long as this process.

    More workers than cores is slow, but right: what is asked for here is asked for on purpose.
    """
    import torch

    needs = group.needs(float(torch.cuda.device_count()))
    cpus = max(os.cpu_count() or 1, math.ceil(group.ray.workers * needs["CPU"]))
    resources = {name: group.ray.workers * amount for name, amount in group.ray.resources.items()}
    return {"include_dashboard": False, "num_cpus": cpus, "resources": resources or None}


def _have_a_token() -> None:
    """Guard a cluster of one's own by a token that only its processes have: Ray would write one for all to read.

    A token that is given is taken, and RAY_AUTH_MODE=disabled is obeyed. To be called before Ray is imported.
    """
    given = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    if os.environ.setdefault("RAY_AUTH_MODE", "token").lower() == "token" and not given:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _listen_on_loopback() -> None:
    """Have a cluster of one's own, all of it on this host, reachable from no other; torch's own store alone is.

    What is set already is obeyed. To be called before Ray is imported.
    """
    # Ray takes a node at 127.0.0.1 for one that others must reach, and gives it another address, unless clusters of
    # several hosts are switched off, as they are on macOS and Windows: then all its ports are on loopback.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    for collectives in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{collectives}_SOCKET_IFNAME", "lo")


def _check_answers(address: str) -> None:
    """Raises InputError where nothing listens at host:port: ray.init would try for five minutes, and then exit."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise InputError(f"--ray.address {address}: nothing answers there ({error}); is the cluster up?") from error


def _fit(needs: Node, node: Node) -> int:
    """How many workers a node holds."""
    return min(int(node.get(name, 0) / amount + SLACK) for name, amount in needs.items() if amount > 0)


def _listed(amounts: Node) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in amounts.items())
