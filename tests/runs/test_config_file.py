"""A run's config.json that says something else than a run's configuration: one line, and nothing is gone on with."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fer_dist.config.settings import Config, DataConfig, RunConfig, unknown_settings
from fer_dist.errors import InputError
from fer_dist.runs.opening import check_run_folder, choices_kept, going_on, load_config, open_run_folder

SETS = {"train": {"hash": "a", "samples": 3, "counts": {"fear": 3}}}
DEEP = "[" * 100_000


def made(root: Path) -> Config:
    config = Config(DataConfig(train="shards", lanes=4), run=RunConfig(root=str(root), name="first"))
    open_run_folder(config, "demo", SETS)
    return config


OTHERS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a list": (lambda content: [content], "Input should be an object"),
    "nothing": (lambda content: None, "Input should be an object"),
    "no configuration": (lambda content: {"sets": {}}, "config: Field required"),
    "a list of sections": (lambda content: content | {"config": []}, "config: Input should be"),
    "a section of nothing": (lambda content: content["config"].update(data=None), r"config\.data: Input should be"),
    "lanes in words": (
        lambda content: content["config"]["data"].update(lanes="4"),
        r"config\.data\.lanes: Input should",
    ),
    "negative lanes": (lambda content: content["config"]["data"].update(lanes=-4), "threads, lanes or block below 0"),
    "negative threads": (
        lambda content: content["config"]["train"].update(threads=-1),
        "threads, lanes or block below 0",
    ),
    "a true size": (
        lambda content: content["config"]["data"].update(size=True),
        r"config\.data\.size: Input should be",
    ),
    "no number": (lambda content: content["config"]["train"].update(lr="x"), r"config\.train\.lr: Input should be"),
    "another precision": (
        lambda content: content["config"]["train"].update(precision="int8"),
        r"config\.train\.precision: Input sh",
    ),
    "two means": (
        lambda content: content["config"]["data"].update(mean=[0, 0]),
        r"config\.data\.mean\.2: Field required",
    ),
    "sets in a list": (lambda content: content.update(sets=[1]), "sets: Input should be"),
    "a set of nothing": (lambda content: content["sets"].update(train=None), r"sets\.train: Input should be an object"),
    "a set without hash": (lambda content: content["sets"]["train"].pop("hash"), r"sets\.train\.hash: Field required"),
    "counts in words": (
        lambda content: content["sets"]["train"]["counts"].update(fear="x"),
        r"sets\.train\.counts\.fear: Input should be a valid integer",
    ),
    "a hash of nothing": (lambda content: content.update(leave_out_sha256=None), "leave_out_sha256: Input should be"),
}


def spoilt(root: Path, text: str | bytes) -> Path:
    path = root / "first" / "config.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refused(config: Config, path: Path, message: str) -> None:
    for read in (
        lambda: load_config(path.parent),
        lambda: choices_kept(config),
        lambda: going_on(config),
        lambda: check_run_folder(config, SETS, resume=True),
    ):
        with pytest.raises(InputError, match=rf"^{path}: not the configuration of a run{message}"):
            read()


@pytest.mark.parametrize("name", OTHERS)
def test_a_configuration_of_other_types_is_one_line_that_names_file_field_and_remedy(tmp_path: Path, name: str) -> None:
    config, (change, message) = made(tmp_path), OTHERS[name]
    content = json.loads((tmp_path / "first" / "config.json").read_text())
    changed = change(content)
    path = spoilt(tmp_path, json.dumps(changed if name in list(OTHERS)[:4] else content))
    refused(config, path, f": {message}.*; choose another --run.name")


@pytest.mark.parametrize("text", ["", "{", DEEP, b"\xff", f'{{"config": {DEEP}', '{"config": "\\ud800"}'])
def test_a_file_that_is_no_json_is_one_line(tmp_path: Path, text: str | bytes) -> None:
    config = made(tmp_path)
    refused(config, spoilt(tmp_path, text), ": Invalid JSON.*; choose another --run.name")


def test_settings_that_this_version_does_not_have_are_named(tmp_path: Path) -> None:
    config = made(tmp_path)
    content = json.loads((tmp_path / "first" / "config.json").read_text())
    content["config"]["train"]["rope"] = 1
    content["config"]["moon"] = {"phase": 1}
    path = spoilt(tmp_path, json.dumps(content))
    refused(config, path, r" that this version knows: it has moon\.phase, train\.rope; use a newer one")
    assert unknown_settings(content["config"]) == ["moon.phase", "train.rope"]


def test_a_run_of_an_older_version_is_gone_on_with(tmp_path: Path) -> None:
    config = made(tmp_path)
    content = json.loads((tmp_path / "first" / "config.json").read_text())
    assert load_config(tmp_path / "first") == config
    # Settings that are newer than it, and facts that nothing asks for.
    del content["config"]["ray"], content["config"]["train"]["compress"], content["sets"]
    content["config"]["train"]["lr"] = 1
    spoilt(tmp_path, json.dumps({**content, "weather": None}))
    assert load_config(tmp_path / "first").train == replace(config.train, lr=1.0)
    assert going_on(replace(config, data=replace(config.data, lanes=0))).data.lanes == 4
