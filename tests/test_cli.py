"""The command line itself, whatever the command: output that nobody reads."""

import os
import subprocess
import sys

import pytest
from faces import faces, shard_set
from runs import environment


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return shard_set(tmp_path_factory.mktemp("shards") / "train", [faces(4), faces(8)[4:]])


def unread(*words: str) -> subprocess.CompletedProcess[str]:
    """A process whose standard output is a pipe that nobody reads any more."""
    read, write = os.pipe()
    os.close(read)
    try:
        return subprocess.run(
            [sys.executable, *words], stdout=write, stderr=subprocess.PIPE, text=True, env=environment(), timeout=240
        )
    finally:
        os.close(write)


@pytest.mark.parametrize("words", [["--help"], ["shards", "index", "--help"], ["shards", "describe", "SHARDS"]])
def test_output_that_nobody_reads_ends_a_command_with_code_0_and_without_a_trace(shards, words):
    ended = unread("-m", "fer_dist.cli", *(str(shards) if word == "SHARDS" else word for word in words))
    assert (ended.returncode, "Error" in ended.stderr, "Exception" in ended.stderr) == (0, False, False), ended.stderr


def test_the_work_goes_on_where_nobody_reads_and_a_broken_pipe_of_its_own_is_an_error(tmp_path):
    code = (
        "import sys; from fer_dist.monitor import Terminal, guard_output; guard_output();"
        "print('x' * 1_000_000); Terminal().table(['a'], [['b']]); sys.stdout.flush(); open(sys.argv[1], 'w');"
        "from fer_dist import cli; cli.COMMANDS['x'] = cli.Command('', lambda words: (_ for _ in ()).throw("
        "BrokenPipeError(32, 'the store hung up'))); sys.exit(cli.main(['x']))"
    )
    ended = unread("-c", code, str(tmp_path / "done"))
    assert (tmp_path / "done").exists()
    assert (ended.returncode, ended.stderr) == (1, "fer-dist: [Errno 32] the store hung up\n")


def test_standard_output_that_is_closed_or_on_a_full_disk_is_no_trace():
    line = f"{sys.executable} -m fer_dist.cli --help"
    for redirected, code, said in ((">&-", 0, ""), (">/dev/full", 1, "No space left on device: 'standard output'")):
        ended = subprocess.run(
            ["bash", "-c", f"{line} {redirected}"], capture_output=True, text=True, env=environment()
        )
        assert ended.returncode == code, ended.stderr
        assert said in ended.stderr
        assert len(ended.stderr.splitlines()) == code
