"""Training over several hosts, each a network namespace of this machine with a Ray node of its own."""

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from support.hosts import HEAD, SCRIPT, hosts_up, wait_until, why_not
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

import fer_dist

REASON = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.hosts, pytest.mark.skipif(bool(REASON), reason=REASON)]

STEPS_OF_AN_EPOCH = 6


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def alone(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[str]]:
    """The ledger of a run in one process without Ray."""
    root = tmp_path_factory.mktemp("alone")
    ended = command("train", *arguments(shards, root, "alone"))
    assert ended.returncode == 0, ended.stderr
    return ledger(root / "alone")


@pytest.mark.parametrize("count", [2, 4])
def test_workers_on_hosts_of_their_own_take_the_batches_of_one_process(count, shards, alone, tmp_path):
    log = tmp_path / "log"
    with hosts_up(count) as hosts:
        job = hosts.train(arguments(shards, tmp_path, "hosts"), log)
        wait_until(lambda: len(hosts.workers()) == count, job, log)
        assert job.wait(timeout=600) == 0, log.read_text()
    assert ledger(tmp_path / "hosts") == alone
    assert len(list((tmp_path / "hosts" / "ledger").glob("*.tsv"))) == count


@pytest.mark.parametrize("fault", ["kill", "cut", "pause"])
def test_a_host_that_dies_hangs_or_is_cut_off_costs_neither_a_batch_nor_a_bit(fault, shards, tmp_path):
    steps = ["--train.save-every-steps", "5", "--train.epochs", "40"]
    two_processes(*arguments(shards, tmp_path, "alone", *steps))
    log, run = tmp_path / "log", tmp_path / "hosts"
    with hosts_up(3) as hosts:
        job = hosts.train(arguments(shards, tmp_path, "hosts", *steps, "--ray.workers", "2"), log)
        wait_until((run / "checkpoints" / "list.json").exists, job, log)
        # Of three hosts two have a worker, so one of these is not the driver's, and one stands ready.
        hosts.do(fault, max(hosts.workers()))
        assert job.wait(timeout=900) == 0, log.read_text()
    assert "a worker was lost; all go on from the last checkpoint" in log.read_text()
    assert ledger(run) == ledger(tmp_path / "alone")
    assert weights(run) == weights(tmp_path / "alone")
    assert taken_again(run) < STEPS_OF_AN_EPOCH


def test_four_workers_become_three_then_two_then_four_again(shards, tmp_path):
    steps = ["--train.save-every-steps", "5", "--train.epochs", "400", "--data.val", ""]
    elastic = ["--ray.workers", "4", "--ray.min-workers", "2", "--ray.resize-seconds", "5"]
    words = arguments(shards, tmp_path, "hosts", *steps, "--run.timeout-seconds", "60")
    log, run = tmp_path / "log", tmp_path / "hosts"
    with hosts_up(4) as hosts:
        job = hosts.train([*words, *elastic], log)

        def until_it_says(text: str) -> None:
            wait_until(lambda: text in log.read_text(), job, log)

        until_it_says("4 workers on cpu")
        wait_until((run / "checkpoints" / "list.json").exists, job, log)
        hosts.do("kill", 3)
        until_it_says("3 workers on cpu")
        hosts.do("kill", 2)
        until_it_says("2 workers on cpu")
        hosts.do("start", 2)
        hosts.do("start", 3)
        wait_until(lambda: log.read_text().count("4 workers on cpu") == 2, job, log)
        job.send_signal(signal.SIGTERM)
        assert job.wait(timeout=240) == 1, log.read_text()
    assert command("train", *words, "--resume").returncode == 0
    assert command("train", *arguments(shards, tmp_path, "alone", *steps)).returncode == 0
    assert samples(run) == samples(tmp_path / "alone")


def test_the_doctor_asks_each_host_and_names_the_one_that_differs(shards, tmp_path):
    words = ["doctor", "--cluster", "--ray.address", HEAD, "--run-root", str(tmp_path), "--data", str(shards / "train")]
    found = tmp_path / "found.json"
    with hosts_up(2) as hosts:
        alike = hosts.command(*words, "--json", str(found))
        rows = json.loads(found.read_text())
        assert {row["node"] for row in rows if row["check"] == "decoding"} == {"10.77.0.1", "10.77.0.2"}
        assert [row["state"] for row in rows if row["check"] == "nodes"] == ["ok"], alike.stdout
        other = tmp_path / "other"
        shutil.copytree(Path(fer_dist.__file__).parent, other / "fer_dist")
        with (other / "fer_dist" / "errors.py").open("a") as stream:
            stream.write("# another version\n")
        hosts.do("kill", 1)
        hosts.do("start", 1, PYTHONPATH=str(other))
        ended = hosts.command(*words, "--json", str(found))
        (tmp_path / "token").write_text("of another cluster")
        (tmp_path / "token").chmod(0o600)
        refused = hosts.command(*words, token=str(tmp_path / "token"))
    assert ended.returncode == 1
    (nodes,) = [row for row in json.loads(found.read_text()) if row["check"] == "nodes"]
    assert nodes["state"] == "fault", ended.stdout
    assert re.search(r"fer_dist: .* on 10\.77\.0\.\d; .* on 10\.77\.0\.\d", nodes["found"])
    assert "the token is missing or does not fit" in refused.stdout


def test_what_was_made_is_gone_afterwards_and_nothing_else(tmp_path):
    def links() -> str:
        return subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True).stdout

    before = links()
    with hosts_up(1) as hosts:
        (hosts.folder / "mine").write_text("kept")
        tag = (hosts.folder / "hosts").read_text().split()[0]
        assert links() == before
        assert hosts.do("list").startswith("0 10.77.0.1 ")
    assert tag not in subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    assert [path.name for path in hosts.folder.iterdir()] == ["mine"]
    (hosts.folder / "mine").unlink()
    hosts.folder.rmdir()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "usage"),
        (["up", "many"], "give 1 to 200"),
        (["kill", "1"], "no hosts are up"),
    ],
)
def test_a_wrong_word_gets_one_line(words, message, tmp_path):
    ended = subprocess.run(
        [str(SCRIPT), *words], env=environment(HOSTS_DIR=str(tmp_path)), capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_who_may_not_make_hosts_gets_one_line():
    with SCRIPT.open() as script:
        ended = subprocess.run(["bash", "-s", "up", "2"], stdin=script, capture_output=True, text=True, user=65534)
    assert ended.returncode == 2
    assert ended.stderr == "hosts.sh: needs root, to make network namespaces\n"
