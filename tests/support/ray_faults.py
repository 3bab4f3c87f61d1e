"""Commands on Ray in the background, their processes, and nodes of a cluster on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import psutil
from support.runs import environment


class Background:
    """A command that runs while a test does harm to it. Its output is in a file."""

    def __init__(self, line: list[str], log: Path, **more: str | None) -> None:
        """more: of the environment."""
        self.log = log
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                line,
                env=environment(RAY_raylet_start_wait_time_s="120", **more),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )

    @classmethod
    def fer_dist(cls, words: list[str], log: Path, **more: str | None) -> "Background":
        return cls([sys.executable, "-m", "fer_dist.cli", *words], log, **more)

    def text(self) -> str:
        return self.log.read_text()

    def until(self, is_so, seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.05)

    def until_it_says(self, text: str, times: int = 1) -> None:
        self.until(lambda: self.text().count(text) >= times)

    def below(self, name: str) -> list[psutil.Process]:
        """The processes below this one that Ray calls so."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if name in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.NoSuchProcess:
                pass
        return found

    def open_to_others(self) -> list[str]:
        """Which of its processes listen where another host can reach them, each named once a port."""
        found = []
        for process in [psutil.Process(self.process.pid), *self.below("")]:
            with suppress(psutil.NoSuchProcess):
                ports = [port for port in process.net_connections("inet") if port.status == psutil.CONN_LISTEN]
                far = [port for port in ports if not ip_address(port.laddr.ip.removeprefix("::ffff:")).is_loopback]
                found += [" ".join(process.cmdline())] * len(far)
        return found

    def kill_one(self, name: str) -> None:
        self.until(lambda: self.below(name))
        os.kill(self.below(name)[-1].pid, signal.SIGKILL)

    def kill_all(self) -> None:
        """End it with everything below it, at once."""
        if self.process.poll() is None:
            for process in (*psutil.Process(self.process.pid).children(recursive=True), self.process):
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
        self.process.wait()


def ray_node(log: Path, *words: str, head: str = "") -> Background:
    """A node of a cluster: its head, or one that joins the head at that address."""
    role = ["--address", head] if head else ["--head", "--include-dashboard=false"]
    ray = str(Path(sys.executable).parent / "ray")
    node = Background([ray, "start", *role, "--block", "--disable-usage-stats", *words], log)
    node.until_it_says("This command will now block")
    return node


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
