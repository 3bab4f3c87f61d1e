"""Checks of a Ray cluster for `fer-dist doctor`: its token, whether it answers, and every node asked for itself.

Ray runs in a process of its own, since it ends the process that it cannot connect, or keeps it waiting for minutes.
"""

import json
import logging
import os
import secrets
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fer_dist import PACKAGE
from fer_dist.doctor.finding import Asked, Finding, RayAddress, fault, not_here, ok, warning
from fer_dist.errors import counted

CONNECT_SECONDS = 5.0
NODE_SECONDS, ANSWER_SECONDS = 120.0, 300.0
MOST_SKEW_SECONDS = 5.0
ANSWER = "fer-dist-doctor-answer:"

Look = Callable[[Asked], dict[str, Any]]
"""What is run on each node: gives versions and findings, ready for json."""


def token(asked: Asked) -> list[Finding]:
    """The token that Ray would show: where it comes from, and who may read it."""
    mode = os.environ.get("RAY_AUTH_MODE", "")
    named = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    path = Path(named).expanduser() if named else Path.home() / ".ray" / "auth_token"
    if mode == "disabled":
        found = "RAY_AUTH_MODE disabled: whoever reaches the cluster can run code on it"
        return warning(found, "start it with RAY_AUTH_MODE=token") if asked.ray.address else not_here(found)
    if os.environ.get("RAY_AUTH_TOKEN"):
        return ok("in RAY_AUTH_TOKEN")
    make = f"put the cluster's token there, or make one with: ray get-auth-token --generate, and chmod 600 {path}"
    if not path.exists():
        if not (mode or named or asked.ray.address):
            return not_here("none, and no cluster was named that wants one")
        return fault(f"{path} is not there, RAY_AUTH_MODE {mode or 'not set'}", make)
    rights = stat.S_IMODE(path.stat().st_mode)
    if not path.read_text().strip():
        return fault(f"{path} is empty", make)
    if rights & 0o077:
        return fault(f"{path} can be read by others (mode {rights:o})", f"chmod 600 {path}")
    return ok(f"{path}, mode {rights:o}")


def host_name(asked: Asked) -> list[Finding]:
    """Whether gloo would listen where other hosts can reach it: it goes where this host's name leads."""
    if not asked.ray.address:
        return not_here("no cluster was named")
    interfaces = [name for _, name in socket.if_nameindex() if name != "lo"]
    chosen = os.environ.get("GLOO_SOCKET_IFNAME", "")
    name = socket.gethostname()
    set_it = f"set GLOO_SOCKET_IFNAME, before ray start, to the one that leads to the others: {', '.join(interfaces)}"
    if chosen:
        good = ok(f"GLOO_SOCKET_IFNAME {chosen}")
        return good if chosen in [*interfaces, "lo"] else fault(f"there is no interface {chosen}", set_it)
    try:
        address = socket.gethostbyname(name)
    except OSError:
        return fault(f"{name} has no address", set_it)
    if address.startswith("127."):
        return warning(f"{name} is {address}, where no other host can reach this one", set_it)
    return ok(f"{name} is {address}")


def ask(asked: Asked, entry: str) -> tuple[list[Finding], dict[str, Any]]:
    """Connect to the cluster, and have each node asked where that is wanted.

    entry: python code that calls `answer`. Gives what was found of the address, and the answers by node's address.
    """
    address = asked.ray.address
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            return fault(f"{address}: nothing answers there ({error})", "start the head, or mend --ray.address"), {}
    # From / and not from here, since Ray gives its workers the driver's folder to import from, before their own.
    path = f"{PACKAGE.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep)
    try:
        ended = subprocess.run(
            [sys.executable, "-c", entry],
            cwd="/",
            env=os.environ | {"PYTHONPATH": path},
            input=json.dumps(asdict(asked)),
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
        )
    except subprocess.TimeoutExpired:
        remedy = "see whether it is a head's port, whose Ray is of the version here, and whether the token is its own"
        return fault(f"{address}: something listens, but did not let us in for {ANSWER_SECONDS:g} s", remedy), {}
    said = [line for line in ended.stdout.splitlines() if line.startswith(ANSWER)]
    if not said:
        return _refused(address, ended.stderr + ended.stdout), {}
    nodes: dict[str, Any] = json.loads(said[0].removeprefix(ANSWER))
    return ok(f"{address}: {counted(len(nodes), 'node')}"), nodes


def _refused(address: str, text: str) -> list[Finding]:
    """text: what Ray said before it gave up."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    about_token = [line for line in lines if "InvalidAuthToken" in line or "AuthenticationError" in line]
    if about_token:
        remedy = "give the cluster's own: RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"
        return fault(f"{address}: the token is missing or does not fit", remedy)
    cause = lines[-1][:200] if lines else "Ray ended without a word"
    return fault(f"{address}: {cause}", "run this on a node of the cluster, with the Ray version that it has")


def answer(look: Look) -> None:
    """What the process of its own runs: reads what is asked, and writes each node's answer in one line."""
    import ray

    content = json.load(sys.stdin)
    content["ray"] = RayAddress(**content["ray"])
    asked = Asked(**content | {"data": tuple(content["data"])})
    ray.init(address=asked.ray.address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        nodes = {node["NodeManagerAddress"]: node["NodeID"] for node in ray.nodes() if node["Alive"]}
        found = _each(nodes, asked, look) if asked.cluster else {address: {} for address in nodes}
    finally:
        ray.shutdown()
    sys.stdout.write(ANSWER + json.dumps(found) + "\n")


def _each(nodes: dict[str, str], asked: Asked, look: Look) -> dict[str, Any]:
    """One task on each node, all at once; then what each says the time is. nodes: address -> id."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def on(node: str, function: Callable[..., Any], *values: Any) -> Any:
        where = NodeAffinitySchedulingStrategy(node, soft=False)
        return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=where)(function).remote(*values)

    probe = _write_probe(asked)
    try:
        # The driver may have changed nothing of a node's environment: each task starts in one of that node.
        waiting = {address: on(node, look_at_node, look, asked, str(probe or "")) for address, node in nodes.items()}
        found: dict[str, Any] = {}
        for address, task in waiting.items():
            try:
                found[address] = ray.get(task, timeout=NODE_SECONDS)
                before = time.time()
                theirs = ray.get(on(nodes[address], time_there), timeout=NODE_SECONDS)
                found[address]["skew"] = theirs - min(max(theirs, before), time.time())
            except (ray.exceptions.RayError, TimeoutError) as error:
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                found[address] = {"error": (lines[-1] if lines else type(error).__name__)[:200]}
    finally:
        if probe:
            probe.unlink()
    return found


def look_at_node(look: Look, asked: Asked, probe: str) -> dict[str, Any]:
    """What a node's task runs. probe: a file that the driver wrote into the run root; empty for none."""
    return look(asked) | {"sees_probe": os.path.exists(probe) if probe else None}


def time_there() -> float:
    """What a node says the time is. Ray takes no function that is built into python."""
    return time.time()


def _write_probe(asked: Asked) -> Path | None:
    folder = Path(asked.run_root)
    if "://" in asked.run_root or not folder.is_dir() or not os.access(folder, os.W_OK):
        return None
    path = folder / f".fer-dist-probe-{secrets.token_hex(4)}"
    path.touch(exist_ok=False)
    return path


def compare(nodes: dict[str, Any]) -> list[Finding]:
    """Where nodes differ, or could not be asked. nodes: address -> what its task gave."""
    found: list[Finding] = []
    asked = {address: node for address, node in nodes.items() if "error" not in node}
    for address in nodes.keys() - asked.keys():
        remedy = "install fer_dist there, the same version as here, and see that Ray starts its workers"
        found += fault(f"{address}: {nodes[address]['error']}", remedy)
    names = {name for node in asked.values() for name in node["versions"]}
    for name in sorted(names):
        having: dict[str, list[str]] = {}
        for address, node in asked.items():
            having.setdefault(node["versions"].get(name) or "none", []).append(address)
        if len(having) > 1:
            text = "; ".join(f"{version} on {shortened(addresses)}" for version, addresses in having.items())
            remedy = "use one image, or install with one cluster/constraints.txt, on every node"
            found += fault(f"{name}: {text}", remedy)
    blind = [address for address, node in asked.items() if node["sees_probe"] is False]
    if blind:
        remedy = "give --run.root a folder of a file system that all nodes mount"
        found += fault(f"{shortened(blind)} does not see what is written into the run root here", remedy)
    for address, node in asked.items():
        if abs(node["skew"]) > MOST_SKEW_SECONDS:
            found += warning(f"{address}: its clock is {node['skew']:+.0f} s off", "timedatectl set-ntp true, there")
    return found or ok("1 node" if len(nodes) == 1 else f"{len(nodes)} nodes have the same versions and code")


def shortened(addresses: list[str]) -> str:
    return ", ".join(addresses[:2]) + (f" and {len(addresses) - 2} more" if len(addresses) > 2 else "")
