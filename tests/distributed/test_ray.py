"""Real Ray workers: the same batches, weights and tables as without, also where what does the work is killed."""

import signal
import urllib.request
from http.client import HTTPException
from pathlib import Path

import psutil
import pytest
from support.ray_faults import Background
from support.runs import arguments, command, drawn_shards, ledger, two_processes, weights

from fer_dist.cli.commands import main
from fer_dist.evaluate.results import load_scores, predictions_path
from fer_dist.runs.checkpoint import Checkpoints

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return drawn_shards(tmp_path_factory.mktemp("shards"))


def metrics(process: psutil.Process) -> str:
    """What the node's agent tells Prometheus: it listens at a port of its own."""
    for connection in process.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{connection.laddr.port}/metrics", timeout=2) as answer:
                    return str(answer.read().decode())
            except (OSError, ValueError, HTTPException):
                continue
    return ""


@pytest.mark.parametrize("controller_too", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_whose_worker_is_killed_and_that_is_stopped_is_an_undisturbed_one(shards, tmp_path, controller_too):
    steps = ["--train.save-every-steps", "2", "--train.epochs", "40"]
    words, run = arguments(shards, tmp_path, "ray", *steps), tmp_path / "ray"
    home = tmp_path / "home"
    guarded = {"RAY_AUTH_MODE": "token", "HOME": str(home)}
    training = Background.fer_dist(["train", *words, "--ray.workers", "2"], tmp_path / "log", **guarded)
    try:
        training.until((run / "checkpoints" / "list.json").exists)
        # Of all that listens, torch's store alone knows no other way.
        assert ["RayTrainWorker" in name for name in training.open_to_others()] == [True]
        training.kill_one("RayTrainWorker")
        training.until_it_says(", from step ")
        if controller_too:
            training.kill_one("TrainController")
            training.until_it_says(", from step ", times=2)
        agent = training.below("DashboardAgent") or training.below("dashboard/agent")
        training.until(lambda: "fer_dist_train_loss{" in metrics(agent[0]))
        training.process.send_signal(signal.SIGTERM)
        assert training.process.wait(timeout=120) == 1
    finally:
        training.kill_all()
    assert not (home / ".ray").exists(), "a token was written where others may read it"
    text = training.text()
    assert "a worker was lost; all go on from the last checkpoint (new start 1)" in text
    assert ("Ray Train's controller was lost; all go on from the last checkpoint" in text) == controller_too
    stopped = int(text.split("stopped at step ")[1].split()[0])
    assert stopped < 240, "the stop came too late to show anything"
    assert Checkpoints(run).entries()[-1].step == stopped
    ours = ("ray: ", "epoch ", "a worker was ", "Ray Train's controller was ", "waiting for Ray ", "fer-dist: stopped ")
    noise = [line for line in text.splitlines() if not line.startswith(ours) and "/240 steps, loss " not in line]
    assert not noise
    two_processes(*words, "--resume")
    two_processes(*arguments(shards, tmp_path, "alone", *steps))
    assert ledger(run) == ledger(tmp_path / "alone")
    assert weights(run) == weights(tmp_path / "alone")
    assert load_scores(run) == load_scores(tmp_path / "alone")


def evaluation(model: Path, shards: Path, *more: str) -> list[str]:
    return ["evaluate", "--models", str(model), "--data", str(shards / "train"), "--batch-size", "7", *more]


@pytest.fixture(scope="module")
def evaluated(shards, tmp_path_factory):
    """The file of a trained network, evaluated by one process."""
    root = tmp_path_factory.mktemp("runs")
    assert command("train", *arguments(shards, root, "run", "--train.epochs", "1", "--data.val", "")).returncode == 0
    model = Checkpoints(root / "run").model_file("last")
    assert command(*evaluation(model, shards, "--device", "cpu")).returncode == 0
    return model


@pytest.mark.parametrize(
    ("workers", "killed"),
    [(2, True), *(pytest.param(count, False, marks=pytest.mark.slow) for count in (1, 4))],
)
def test_an_evaluation_by_tasks_writes_the_table_of_one_process_byte_for_byte(
    evaluated, shards, tmp_path, workers, killed
):
    model = tmp_path / evaluated.name
    model.write_bytes(evaluated.read_bytes())
    more = ["--device", "cpu", "--ray.workers", str(workers)]
    # As for a user, whose cluster makes a token of its own, which Ray reads when it is imported.
    tasks = Background.fer_dist(evaluation(model, shards, *more), tmp_path / "log", RAY_AUTH_MODE=None)
    try:
        if killed:
            tasks.kill_one("ray::_attempt")
        assert tasks.process.wait(timeout=240) == 0, tasks.text()
    finally:
        tasks.kill_all()
    scores = load_scores(tmp_path)
    assert scores == load_scores(evaluated.parent)
    for name in scores:
        there, here = (predictions_path(folder, name).read_bytes() for folder in (evaluated.parent, tmp_path))
        assert there == here


@pytest.mark.slow
def test_an_explanation_by_tasks_writes_the_files_of_one_process_byte_for_byte(evaluated, shards, tmp_path):
    found = {}
    for place, more in (("here", []), ("there", ["--ray.workers", "2"])):
        # The file of the weights is all that it needs; titles have the name of its folder.
        run = tmp_path / place / "run" / evaluated.name
        run.parent.mkdir(parents=True)
        run.write_bytes(evaluated.read_bytes())
        words = ["explain", str(run), "--data", str(shards / "val"), str(shards / "test"), "--samples", "12"]
        words += ["--batch-size", "5", "--references", "1", "--faithfulness-samples", "4", "--device", "cpu"]
        if more:
            tasks = Background.fer_dist([*words, *more], tmp_path / "log", RAY_AUTH_MODE=None)
            try:
                assert tasks.process.wait(timeout=240) == 0, tasks.text()
            finally:
                tasks.kill_all()
        else:
            assert main([*words, "--threads", "1"]) == 0
        found[place] = {path.name: path.read_bytes() for path in run.parent.rglob("explain/*")}
    assert {"synthetic_wild-val.json", "synthetic_wild-test.json", "synthetic_wild-test-points.png"} <= set(
        found["here"]
    )
    assert found["here"].keys() == found["there"].keys()
    assert [name for name in found["here"] if found["here"][name] != found["there"][name]] == []


def test_a_cluster_that_does_not_answer_gets_one_line(shards, tmp_path, capsys):
    words = arguments(shards, tmp_path, "lost", "--ray.workers", "1", "--ray.address", "127.0.0.1:1")
    assert main(["train", *words]) == 2
    text = capsys.readouterr().err
    assert "--ray.address 127.0.0.1:1: nothing answers there" in text
    assert not (tmp_path / "lost").exists()
