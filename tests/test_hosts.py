"""Training over several hosts, each a network namespace of this machine with a Ray node of its own."""

import subprocess
from pathlib import Path

import pytest
from hosts import SCRIPT, hosts_up, wait_until, why_not
from runs import arguments, command, drawn_shards, environment, ledger

REASON = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.hosts, pytest.mark.skipif(bool(REASON), reason=REASON)]


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
        assert job.wait(timeout=300) == 0, log.read_text()
    assert ledger(tmp_path / "hosts") == alone
    assert len(list((tmp_path / "hosts" / "ledger").glob("*.tsv"))) == count


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
