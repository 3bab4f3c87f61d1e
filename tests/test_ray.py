"""Training on real Ray workers: the same batches as alone, and on again after a worker was killed."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from runs import arguments, command, drawn_shards, environment, ledger

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


def test_two_workers_of_which_one_is_killed_take_the_same_batches_as_one_process(shards, tmp_path):
    steps = ["--train.save-every-steps", "2", "--train.epochs", "4"]
    words = arguments(shards, tmp_path, "ray", *steps, "--ray.workers", "2")
    line = [sys.executable, "-m", "fer_dist.train", *words]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(line, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        listed = tmp_path / "ray" / "checkpoints" / "list.json"
        deadline = time.monotonic() + 200
        while not listed.exists():
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(ray_workers(process.pid)[-1].pid, signal.SIGKILL)
        killed_at = len((tmp_path / "ray" / "ledger" / "0.tsv").read_text().splitlines())
        assert process.wait(timeout=240) == 0, (tmp_path / "log").read_text()
    assert killed_at < 24, "the kill came too late to show anything"
    text = (tmp_path / "log").read_text()
    assert "from step" in text, "no worker went on from a checkpoint"
    assert "a worker was lost; all go on from the last checkpoint (new start 1)" in text
    assert [
        line for line in text.splitlines() if not line.startswith(("ray: ", "epoch ", "done: ", "a worker was "))
    ] == [line for line in text.splitlines() if "/24 steps, loss " in line], "noise"
    assert command("train", *arguments(shards, tmp_path, "alone", *steps)).returncode == 0
    assert ledger(tmp_path / "ray") == ledger(tmp_path / "alone")
    assert load_scores(tmp_path / "ray").keys() == load_scores(tmp_path / "alone").keys()


def test_a_cluster_that_does_not_answer_gets_one_line(shards, tmp_path, capsys):
    words = arguments(shards, tmp_path, "lost", "--ray.workers", "1", "--ray.address", "127.0.0.1:1")
    assert main(["train", *words]) == 2
    text = capsys.readouterr().err
    assert "--ray.address 127.0.0.1:1: nothing answers there" in text
