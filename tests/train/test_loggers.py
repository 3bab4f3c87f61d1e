"""Trackers beside TensorBoard: the same points in one run, no secrets, no network, no training that they end."""

import importlib.util
import os
import re
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fer_dist.cli.commands import main
from fer_dist.config import checks
from fer_dist.config.checks import loggers_of
from fer_dist.config.settings import Config, DataConfig, RunConfig
from fer_dist.distributed.world import World
from fer_dist.errors import InputError
from fer_dist.progress import Message
from fer_dist.runs.curves import load_curves
from fer_dist.train import loggers
from fer_dist.train.engine import Totals
from fer_dist.train.monitor import Course, Monitor, Rates

SECRET = "hunter2"
needs = {
    name: pytest.mark.skipif(
        importlib.util.find_spec(name) is None, reason=f"{name} is not installed; it is the extra {name}"
    )
    for name in checks.LOGGERS
}


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's user, and what a tracker sets in the environment goes again."""
    for name in os.environ:
        if name.startswith(("MLFLOW_", "WANDB_")):
            monkeypatch.delenv(name)
    for name in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ALLOW_FILE_STORE", "WANDB_ERROR_REPORTING"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every address that is called beyond this machine."""
    found: list[Any] = []
    connect = socket.socket.connect

    def noted(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            found.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noted)
    return found


def attempt(folder: Path, name: str, start: int, stop: int, fails: bool = False) -> list[str]:
    """The curves of steps start + 1 to stop of a run. Returns what was said."""
    said: list[str] = []
    data = DataConfig(train=f"s3://user:{SECRET}@host/train", val=f"https://host/val?signature={SECRET}")
    config = Config(data, run=RunConfig(name="one", loggers=name))
    course = Course(start, 6, 2, ("a", "b"), "paper", "0" * 32)
    show = lambda message: said.append(message.text) if isinstance(message, Message) else None  # noqa: E731
    monitor = Monitor(config, World(0, 1, torch.device("cpu")), folder, show, course)
    try:
        with monitor.loggers:
            for step in range(start + 1, stop + 1):
                monitor.log(step, Totals(1 / step, 0.5, 8, -1, True), 0.1, Rates(1.0, 0.25, 1.0))
            if fails:
                raise RuntimeError("stopped")
            monitor.close(None)
    except RuntimeError:
        monitor.flush()
    return said


def secrets_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


@needs["mlflow"]
def test_mlflow_has_the_points_of_tensorboard_in_one_run_of_all_attempts(tmp_path, calls):
    attempt(tmp_path, "mlflow", 0, 4, fails=True)
    from mlflow import MlflowClient

    client = MlflowClient(f"{tmp_path.as_uri()}/mlflow")
    where = [client.get_experiment_by_name("fer-dist").experiment_id]
    (run,) = client.search_runs(where)
    assert run.info.status == "FAILED"
    said = attempt(tmp_path, "tensorboard,mlflow", 4, 6)
    assert not [text for text in said if "warning" in text]
    (run,) = client.search_runs(where)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "one")
    assert run.data.params["data.train"] == "s3://host/train"
    curves = load_curves(tmp_path)
    found = {
        name: [(point.step, pytest.approx(point.value)) for point in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
    assert found == curves
    assert len(curves["train/loss"]) == 6
    assert (secrets_below(tmp_path), calls) == ([], [])


def stored(path: Path) -> Iterator[bytes]:
    """The records of a file of wandb's: LevelDB's log, in blocks of 32 KiB, behind 7 bytes."""
    content, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        # Whole, first, middle, last.
        if kind in (1, 4):
            yield parts
            parts = b""


@needs["wandb"]
def test_wandb_writes_what_tensorboard_has_offline_under_one_id(tmp_path, calls, monkeypatch):
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setattr(sys, "argv", ["fer-dist", f"s3://user:{SECRET}@host"])
    attempt(tmp_path, "wandb", 0, 4, fails=True)
    said = attempt(tmp_path, "wandb", 4, 6)
    assert not [text for text in said if "warning" in text]
    files = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert [path.name for path in files] == ["run-00000000000000000000000000000000.wandb"] * 2
    found: dict[str, list[tuple[int, float]]] = {}
    codes = []
    for path in files:
        for content in stored(path):
            record = Record.FromString(content)
            if record.HasField("exit"):
                codes.append(record.exit.exit_code)
            for item in record.history.item:
                name = item.key or "/".join(item.nested_key)
                if not name.startswith("_"):
                    point = (record.history.step.num, pytest.approx(float(item.value_json)))
                    found.setdefault(name, []).append(point)
    assert found == load_curves(tmp_path)
    assert codes == [1, 0]
    assert (secrets_below(tmp_path), calls) == ([], [])


class Failing:
    """Opens, takes one point, and fails at the second."""

    def __init__(self, *given: Any) -> None:
        self.points = 0

    def scalars(self, values: Any, step: int) -> None:
        self.points += 1
        if self.points > 1:
            raise ConnectionError(f"https://user:{SECRET}@host/api does not\nanswer")

    def close(self, failed: bool) -> None:
        raise AssertionError("closed after it failed")


def test_a_logger_that_fails_is_one_line_and_the_training_goes_on(tmp_path, monkeypatch):
    def refused(*given: Any) -> Any:
        raise PermissionError("not yours")

    monkeypatch.setattr(checks, "find_spec", lambda name: True)
    monkeypatch.setattr(loggers, "OPEN", {"mlflow": Failing, "wandb": refused})
    said = attempt(tmp_path, "mlflow,wandb", 0, 6)
    assert [text for text in said if text.startswith("warning")] == [
        "warning: --run.loggers wandb: PermissionError: not yours; the training goes on without it",
        "warning: --run.loggers mlflow: ConnectionError: https://host/api does not answer; the training goes on "
        "without it",
    ]
    assert len(load_curves(tmp_path)["train/loss"]) == 6


def test_what_is_not_installed_or_unknown_is_one_line_before_the_sets_are_looked_for(monkeypatch, capsys):
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    assert loggers_of("tensorboard") == loggers_of("") == ()
    for name in checks.LOGGERS:
        assert main(["train", "demo", "--data.train", "missing", "--run.loggers", f"tensorboard,{name}"]) == 2
        remedy = f"--run.loggers {name}: {name} is not installed; pip install 'fer-dist[{name}]'"
        assert capsys.readouterr().err == f"fer-dist: {remedy}\n"
    with pytest.raises(InputError, match=re.escape("unknown logger 'wnadb'; did you mean wandb?")):
        loggers_of("tensorboard,wnadb")


def test_each_logger_is_an_extra_of_its_name():
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert set(checks.LOGGERS) == set(loggers.OPEN)
    assert set(checks.LOGGERS) < set(project["optional-dependencies"])
