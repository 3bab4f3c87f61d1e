"""What the environment says of a group is believed only where it is whole; else one line names the variable."""

import re
from pathlib import Path

import pytest
import torch

import fer_dist
from fer_dist.config.checks import check
from fer_dist.config.settings import Config, DataConfig, RayConfig
from fer_dist.config.torchrun import Launched, launched
from fer_dist.distributed.world import default_threads, joined, pick_device
from fer_dist.errors import InputError

NAMES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
WHOLE = {"WORLD_SIZE": "3", "RANK": "2", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def given(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, Launched()),
        (dict.fromkeys(NAMES, ""), Launched()),
        (dict.fromkeys(NAMES, " "), Launched()),
        ({"WORLD_SIZE": "1", "RANK": "0"}, Launched()),
        ({"MASTER_ADDR": "10.0.0.1"}, Launched()),
        (WHOLE, Launched(2, 3)),
        (WHOLE | {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, Launched(2, 3, 1, 2)),
        # Trainings side by side are groups of one, each with a GPU of its own.
        ({"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, Launched(0, 1, 1, 2)),
    ],
)
def test_a_whole_environment_is_read_and_an_empty_variable_is_one_that_is_not_set(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], expected: Launched
) -> None:
    given(monkeypatch, values)
    assert launched() == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"WORLD_SIZE": "2"}, "^WORLD_SIZE is 2 in .*, but RANK is not set; .*torchrun.* unset WORLD_SIZE"),
        ({"WORLD_SIZE": "2", "RANK": ""}, "WORLD_SIZE is 2 .* but RANK is not set"),
        (WHOLE | {"MASTER_ADDR": ""}, "WORLD_SIZE is 3 .* but MASTER_ADDR is not set"),
        (WHOLE | {"MASTER_PORT": ""}, "WORLD_SIZE is 3 .* but MASTER_PORT is not set"),
        ({"RANK": "1"}, "^RANK is 1 in the environment, but WORLD_SIZE is not set; .* unset RANK"),
        ({"WORLD_SIZE": "two"}, "^WORLD_SIZE is 'two' in the environment, not a whole number .*unset WORLD_SIZE"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is '0'"),
        ({"WORLD_SIZE": "2.0"}, r"WORLD_SIZE is '2\.0'"),
        ({"WORLD_SIZE": "1_0"}, "WORLD_SIZE is '1_0'"),
        ({"WORLD_SIZE": "9" * 5000}, "WORLD_SIZE is '9{20}'"),
        (WHOLE | {"RANK": "-1"}, "^RANK is '-1'"),
        (WHOLE | {"RANK": "3"}, "^RANK is 3 .* WORLD_SIZE is 3 and ranks count from 0; .*unset RANK and WORLD_SIZE"),
        (WHOLE | {"MASTER_PORT": "http"}, "^MASTER_PORT is 'http'"),
        (WHOLE | {"MASTER_PORT": "65536"}, "^MASTER_PORT is '65536' .* from 1 to 65,535"),
        ({"LOCAL_RANK": "gpu"}, "^LOCAL_RANK is 'gpu'"),
        ({"LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "2"}, "^LOCAL_RANK is 2 .* LOCAL_WORLD_SIZE is 2"),
    ],
)
def test_a_variable_that_is_wrong_or_missing_is_named_wherever_a_group_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], message: str
) -> None:
    given(monkeypatch, values)
    config = Config(data=DataConfig(train="shards"), ray=RayConfig(workers=2))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for ask in (launched, default_threads, lambda: pick_device("cuda"), lambda: check(config)):
        with pytest.raises(InputError, match=message):
            ask()
    with pytest.raises(InputError, match=message), joined(torch.device("cpu"), 1):
        pass


@pytest.mark.parametrize(
    ("values", "devices", "index"),
    [
        ({}, 1, 0),
        (WHOLE | {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, 2, 1),
        # Of three ranks on three hosts, each the only one on its own.
        (WHOLE | {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}, 1, 0),
        # Trainings side by side are no group, and may share a device.
        ({"LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "3"}, 2, 0),
    ],
)
def test_a_rank_takes_the_device_of_its_place_on_the_host(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], devices: int, index: int
) -> None:
    given(monkeypatch, values)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda", index)
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("devices", "message"), [(1, "but 1 CUDA device, and .*start at most 1 "), (2, "2 CUDA devices")]
)
def test_more_ranks_on_a_host_than_it_has_devices_are_one_line(
    monkeypatch: pytest.MonkeyPatch, devices: int, message: str
) -> None:
    given(monkeypatch, WHOLE | {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "3"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    with pytest.raises(InputError, match=rf"^device cuda: 3 ranks on this host, .*{message}"):
        pick_device("auto")
    assert pick_device("cpu") == torch.device("cpu")


def test_no_other_file_reads_these_variables() -> None:
    reads = re.compile(rf"""(environ(\.get\(|\[)|getenv\()["']({"|".join(NAMES)})["'](?!\] = )""")
    assert reads.search('int(os.environ.get("WORLD_SIZE", "1"))')
    package = Path(fer_dist.__file__).parent
    assert not [path.name for path in package.rglob("*.py") if reads.search(path.read_text())]
