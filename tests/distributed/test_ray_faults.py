"""Whole nodes, drivers and hung workers of a Ray cluster: what the run does about each. Minutes long."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
from support.disks import fill, small_disk
from support.ray_faults import Background, free_port, ray_node
from support.runs import (
    arguments,
    command,
    drawn_shards,
    environment,
    ledger,
    samples,
    taken_again,
    two_processes,
    weights,
)

pytestmark = [pytest.mark.ray, pytest.mark.slow]

STEPS = ["--train.save-every-steps", "2", "--train.epochs", "100", "--data.val", ""]
STEPS_OF_AN_EPOCH = 6


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return drawn_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture
def cluster(tmp_path):
    """A head with one core, its address, and a way to add nodes of one core."""
    address = f"127.0.0.1:{free_port()}"
    # A socket's path may have 107 bytes, and the folder of a test is too long.
    sockets = TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
    place = ["--port", address.split(":")[1], "--temp-dir", sockets.name]
    head = ray_node(tmp_path / "head.log", *place, "--num-cpus", "1")
    nodes = []

    def add() -> Background:
        nodes.append(ray_node(tmp_path / f"node-{len(nodes)}.log", "--num-cpus", "1", head=address))
        return nodes[-1]

    yield address, add
    for node in (*nodes, head):
        node.kill_all()
    sockets.cleanup()


def training(words: list[str], tmp_path, *more: str) -> Background:
    return Background.fer_dist(["train", *words, *more], tmp_path / "log")


def stop(run: Background) -> int:
    """Stop a run in the middle. Returns the step."""
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(timeout=240) == 1
    return int(run.text().split("stopped at step ")[1].split()[0])


def check_samples(shards, tmp_path, words: list[str]) -> None:
    """Finish a run alone whose workers changed in number; every step took the samples of an undisturbed one."""
    assert command("train", *words, "--resume").returncode == 0
    assert command("train", *arguments(shards, tmp_path, "alone", *STEPS)).returncode == 0
    assert samples(tmp_path / "ray") == samples(tmp_path / "alone")


def check_undisturbed(shards, tmp_path, words: list[str]) -> None:
    """Finish a run of two with two processes; batches and weights are those of an undisturbed one."""
    two_processes(*words, "--resume")
    two_processes(*arguments(shards, tmp_path, "alone", *STEPS))
    assert ledger(tmp_path / "ray") == ledger(tmp_path / "alone")
    assert weights(tmp_path / "ray") == weights(tmp_path / "alone")
    assert taken_again(tmp_path / "ray") < STEPS_OF_AN_EPOCH


def test_a_run_shrinks_when_a_node_dies_grows_when_one_comes_and_leaves_one_that_is_drained(shards, tmp_path, cluster):
    address, add = cluster
    words = arguments(shards, tmp_path, "ray", *STEPS)
    first = add()
    elastic = ["--ray.workers", "2", "--ray.min-workers", "1", "--ray.resize-seconds", "5", "--ray.address", address]
    run = training(words, tmp_path, *elastic, "--run.timeout-seconds", "60")
    try:
        run.until_it_says("2 workers on cpu")
        run.until((tmp_path / "ray" / "checkpoints" / "list.json").exists)
        first.kill_all()
        run.until_it_says("a worker was lost")
        run.until_it_says("1 worker on cpu")
        add()
        run.until_it_says("2 workers instead of 1: all go on from the last checkpoint")
        run.until_it_says("2 workers on cpu", times=2)
        drain(address)
        run.until_it_says("a node is about to leave; all go on elsewhere from the checkpoint just saved")
        run.until_it_says("1 worker on cpu", times=2)
        stop(run)
    finally:
        run.kill_all()
    check_samples(shards, tmp_path, words)


def drain(address: str) -> None:
    """Give the one node that is not the head notice, as a cloud does that takes it back in two minutes."""
    ask = (
        "import ray, sys; ray.init(address=sys.argv[1]);"
        "alive = [node for node in ray.nodes() if node['Alive']];"
        "print([node['NodeID'] for node in alive if 'node:__internal_head__' not in node['Resources']][0])"
    )
    found = subprocess.run(
        [sys.executable, "-c", ask, address], capture_output=True, text=True, env=environment(), check=True
    )
    line = [Path(sys.executable).parent / "ray", "drain-node", "--address", address, "--node-id", found.stdout.strip()]
    notice = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "test", "--deadline-remaining-seconds"]
    subprocess.run([*line, *notice, "120"], check=True, env=environment())


def test_a_worker_that_hangs_is_replaced_and_writes_nothing_when_it_wakes(shards, tmp_path):
    words = arguments(shards, tmp_path, "ray", *STEPS)
    run = training(words, tmp_path, "--ray.workers", "2", "--run.timeout-seconds", "15")
    try:
        run.until((tmp_path / "ray" / "checkpoints" / "list.json").exists)
        hung = run.below("RayTrainWorker")[0]
        os.kill(hung.pid, signal.SIGSTOP)
        run.until_it_says("a worker was lost")
        if psutil.pid_exists(hung.pid):
            os.kill(hung.pid, signal.SIGCONT)
        run.until_it_says(", from step ")
        stop(run)
    finally:
        run.kill_all()
    check_undisturbed(shards, tmp_path, words)


def test_the_workers_of_a_driver_that_is_killed_are_gone_and_another_one_goes_on(shards, tmp_path, cluster):
    address, add = cluster
    node = add()
    words = arguments(shards, tmp_path, "ray", *STEPS)
    more = ["--ray.workers", "2", "--ray.address", address]
    run = training(words, tmp_path, *more)
    try:
        run.until((tmp_path / "ray" / "checkpoints" / "list.json").exists)
        os.kill(run.process.pid, signal.SIGKILL)
        run.process.wait()
        deadline = time.monotonic() + 60
        while node.below("RayTrainWorker"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        run = training(words, tmp_path, *more, "--resume")
        run.until_it_says(", from step ")
        stop(run)
    finally:
        run.kill_all()
    check_undisturbed(shards, tmp_path, words)


def test_a_worker_killed_in_a_checkpoint_write_costs_that_checkpoint_alone(shards, tmp_path):
    words = arguments(shards, tmp_path, "ray", *STEPS)
    run = training(words, tmp_path, "--ray.workers", "2")
    checkpoints = tmp_path / "ray" / "checkpoints"
    try:
        run.until((checkpoints / "list.json").exists)
        workers = run.below("RayTrainWorker")
        while True:
            run.until(lambda: list(checkpoints.glob(".*.tmp")))
            for worker in workers:
                worker.suspend()
            if half := list(checkpoints.glob(".*.tmp")):
                break
            for worker in workers:
                worker.resume()
        assert half[0].is_dir()
        # Which of the two writes is not to be seen from outside.
        for worker in workers:
            worker.kill()
        run.until_it_says("a worker was lost")
        run.until_it_says(", from step ")
        stop(run)
    finally:
        run.kill_all()
    check_undisturbed(shards, tmp_path, words)


def test_a_disk_that_fills_up_ends_the_run_with_one_line_and_more_room_lets_it_go_on(shards, tmp_path):
    # Another place for the run than for the one that is compared with it.
    with small_disk(tmp_path / "disk"):
        words = arguments(shards, tmp_path / "disk", "ray", *STEPS)
        run = training(words, tmp_path, "--ray.workers", "2")
        try:
            run.until((tmp_path / "disk" / "ray" / "checkpoints" / "list.json").exists)
            filler = fill(tmp_path / "disk")
            assert run.process.wait(timeout=240) == 1
        finally:
            run.kill_all()
        last = run.text().splitlines()[-1]
        assert last.startswith(f"fer-dist: {tmp_path / 'disk' / 'ray'}")
        assert "Make room, and go on with --resume" in last
        filler.unlink()
        (tmp_path / "ray").symlink_to(tmp_path / "disk" / "ray")
        check_undisturbed(shards, tmp_path, words)


def test_a_group_that_does_not_fit_is_refused_or_waited_for(shards, tmp_path, cluster):
    address, add = cluster
    words = arguments(shards, tmp_path, "ray", "--ray.workers", "2", "--ray.address", address)
    refused = command("train", *words)
    assert refused.returncode == 2
    assert "--ray.workers 2 needs 2 CPU (1 CPU each), but the cluster has 1 CPU; choose fewer" in refused.stderr
    run = training(words, tmp_path, "--ray.wait")
    try:
        run.until_it_says("waiting for nodes: --ray.workers 2 needs 2 CPU")
        add()
        assert run.process.wait(timeout=400) == 0, run.text()
    finally:
        run.kill_all()
    assert "2 workers on cpu" in run.text()
