"""Several hosts on this machine, made by launch/hosts.sh, for tests that train over them and break them."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from support.runs import environment

SCRIPT = Path(__file__).parents[2] / "launch" / "hosts.sh"
HEAD = "10.77.0.1:6379"


def why_not() -> str:
    """Why hosts cannot be made here; empty where they can."""
    if os.geteuid() != 0:
        return "needs root, to make network namespaces"
    if not shutil.which("ip"):
        return "needs the ip command, of iproute2"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True)
    return "network namespaces are not allowed here" if tried.returncode else ""


@dataclass(frozen=True)
class Hosts:
    """Hosts that are up. folder: of their state and logs."""

    folder: Path
    count: int

    def do(self, action: str, *words: object, **more: str) -> str:
        """Run a command of hosts.sh to its end. more: of the environment."""
        line = [str(SCRIPT), action, *map(str, words)]
        ended = subprocess.run(line, env=self._environment() | more, capture_output=True, text=True, timeout=600)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def command(self, *words: str, token: str = "") -> subprocess.CompletedProcess[str]:
        """Run a fer-dist command on host 0 to its end. token: a file with another one than the cluster's."""
        line = [str(SCRIPT), "run", "0", *(["env", f"RAY_AUTH_TOKEN_PATH={token}"] if token else [])]
        line += [sys.executable, "-m", "fer_dist.cli", *words]
        return subprocess.run(line, env=self._environment(), capture_output=True, text=True, timeout=600)

    def train(self, words: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a training job on host 0 that takes as many workers as there are hosts, unless the words say more."""
        line = [str(SCRIPT), "run", "0", sys.executable, "-m", "fer_dist.train", *words, "--ray.address", HEAD]
        if "--ray.workers" not in words:
            line += ["--ray.workers", str(self.count)]
        with log.open("w") as stream:
            return subprocess.Popen(
                line, env=self._environment(), stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
            )

    def workers(self) -> dict[int, list[int]]:
        """Host -> process ids of the Ray Train workers on it; hosts without one are left out."""
        tag = (self.folder / "hosts").read_text().split()[0]
        found = {}
        for host in range(self.count):
            listed = subprocess.run(["ip", "netns", "pids", f"{tag}-{host}"], capture_output=True, text=True)
            ids = [int(word) for word in listed.stdout.split() if "RayTrainWorker" in _command_line(int(word))]
            if ids:
                found[host] = ids
        return found

    def _environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return environment(HOSTS_DIR=str(self.folder), PATH=path)


@contextmanager
def hosts_up(count: int) -> Iterator[Hosts]:
    # Ray's sockets lie below it, and their paths may not be long.
    folder = Path(tempfile.mkdtemp(prefix="hosts-", dir="/tmp"))
    hosts = Hosts(folder, count)
    hosts.do("up", count)
    try:
        yield hosts
    finally:
        hosts.do("down")


def wait_until(is_so: Callable[[], object], job: subprocess.Popen[bytes], log: Path, seconds: float = 240) -> float:
    """Wait for something to happen while a job runs. Returns the seconds that it took."""
    began = time.monotonic()
    while not is_so():
        assert job.poll() is None, log.read_text()
        assert time.monotonic() < began + seconds, log.read_text()
        time.sleep(0.1)
    return time.monotonic() - began


def _command_line(process: int) -> str:
    try:
        return " ".join(psutil.Process(process).cmdline())
    except psutil.NoSuchProcess:
        return ""
