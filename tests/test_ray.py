"""Training on real Ray workers: the same batches as alone, and on again after a worker was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from runs import arguments, command, drawn_shards, environment, ledger

from fer_dist.checkpoint import Checkpoints
from fer_dist.cli import main
from fer_dist.predictions import load_scores

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return drawn_shards(tmp_path_factory.mktemp("shards"))


def ray_workers(parent: int) -> list[psutil.Process]:
    """The processes of Ray Train workers below a process."""
    found = []
    for process in psutil.Process(parent).children(recursive=True):
        try:
            if "RayTrainWorker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return found


def wait_until(is_so, process: subprocess.Popen[bytes], log: Path, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def test_workers_killed_then_stopped_then_resumed_by_one_process_take_the_batches_of_an_undisturbed_run(
    shards, tmp_path
):
    steps = ["--train.save-every-steps", "2", "--train.epochs", "40"]
    words = arguments(shards, tmp_path, "ray", *steps)
    log, run = tmp_path / "log", tmp_path / "ray"
    line = [sys.executable, "-m", "fer_dist.train", *words, "--ray.workers", "2"]
    with log.open("w") as stream:
        process = subprocess.Popen(line, env=environment(), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
        wait_until((run / "checkpoints" / "list.json").exists, process, log)
        os.kill(ray_workers(process.pid)[-1].pid, signal.SIGKILL)
        wait_until(lambda: ", from step " in log.read_text(), process, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 1
    text = log.read_text()
    assert "a worker was lost; all go on from the last checkpoint (new start 1)" in text
    stopped = int(text.split("stopped at step ")[1].split()[0])
    assert stopped < 240, "the stop came too late to show anything"
    assert Checkpoints(run).entries()[-1].step == stopped
    ours = ("ray: ", "epoch ", "a worker was ", "fer-dist: stopped ")
    noise = [line for line in text.splitlines() if not line.startswith(ours) and "/240 steps, loss " not in line]
    assert not noise
    assert command("train", *words, "--resume").returncode == 0
    assert command("train", *arguments(shards, tmp_path, "alone", *steps)).returncode == 0
    # After the stop one process takes what two took before: its ledger holds the later steps whole.
    together = ledger(run, until=stopped) | ledger(run, ranks=1, since=stopped)
    assert together == ledger(tmp_path / "alone")
    assert load_scores(run).keys() == load_scores(tmp_path / "alone").keys()


def test_a_cluster_that_does_not_answer_gets_one_line(shards, tmp_path, capsys):
    words = arguments(shards, tmp_path, "lost", "--ray.workers", "1", "--ray.address", "127.0.0.1:1")
    assert main(["train", *words]) == 2
    text = capsys.readouterr().err
    assert "--ray.address 127.0.0.1:1: nothing answers there" in text
    assert not (tmp_path / "lost").exists()
