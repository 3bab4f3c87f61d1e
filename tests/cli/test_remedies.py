"""A message names settings by the flags of the command at hand, whoever raised it."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import fsspec
import pytest
from safetensors.torch import save_file
from support.faces import Face, encoded, faces, shard_set, write

from fer_dist.cli.commands import main
from fer_dist.config.flags import flat, in_own_words, parse
from fer_dist.config.settings import CacheFlags, Config, DataConfig, ModelConfig
from fer_dist.data.emotions import SEVEN
from fer_dist.errors import InputError
from fer_dist.runs.network import build, network_of


def test_a_remedy_names_the_flag_that_the_command_at_hand_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "add --data.drop-extra, --data.cache-gb 3, a --train.lr, or another --run.root"
    kinds = {
        "evaluate": "add --drop-extra, --cache-gb 3, a --train.lr, or another --run.root",
        "doctor": "add --data.drop-extra, --data.cache-gb 3, a --train.lr, or another --run-root",
        "train": text,
        "study paper": "add --set.data.drop-extra, --set.data.cache-gb 3, a --set.train.lr, or another --run.root",
        "study PLAN": "add set: data.drop-extra, set: data.cache-gb 3, a set: train.lr, or another --run.root",
    }
    plan = str(write(tmp_path / "plan.yaml", b"data: {a: {shards: s}}\ntrainings: {a: {data: a}}\n"))
    lines = {
        "evaluate": ["evaluate", "--models", "none", "--data", "none"],
        "doctor": ["doctor", "--ray.address", "nonsense"],
        "train": ["train", "demo"],
        "study paper": ["study", "paper", "--a", "none", "--b", "none"],
        "study PLAN": ["study", plan],
    }
    for command, words in lines.items():
        assert main(words) == 2
        assert in_own_words(text) == kinds[command], command
        said = in_own_words("choose another --run.name or --run.root")
        assert said.startswith("choose another --run.name or" if command == "train" else "choose another run or"), said
    capsys.readouterr()


def test_training_s_name_for_a_flag_is_taken_where_a_command_has_one_of_its_own(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class Flags:
        where: Annotated[CacheFlags, flat()] = dataclasses.field(default_factory=CacheFlags)
        drop_extra: bool = False

    found = parse(Flags, ["--data.drop-extra", "--data.cache-gb=3", "--data.cache", f"{tmp_path}/c"], "test")
    assert found == Flags(CacheFlags(f"{tmp_path}/c", 3.0), True)
    with pytest.raises(InputError, match=r"unknown flag --train\.lr"):
        parse(Flags, ["--train.lr", "3"], "test")


def test_evaluate_and_describe_name_flags_that_they_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = network_of(Config(DataConfig(size=24, crop=20), ModelConfig(width=16)))
    model = tmp_path / "model.safetensors"
    weights = {name: tensor.contiguous() for name, tensor in build(network).state_dict().items()}
    save_file(weights, model, {"network": json.dumps(dataclasses.asdict(network))})
    made = [Face("a", 7, {"jpg": encoded(1), "cls": b"7"}), *faces(1)]
    folder = shard_set(tmp_path / "eight" / "test", [made], (*SEVEN, "contempt"), split="test")
    evaluate = ["evaluate", "--models", str(model), "--data", str(folder), "--device", "cpu"]
    assert main(evaluate) == 2
    assert f"--data: {folder}: the data has contempt, which the model does not have" in (
        said := capsys.readouterr().err
    )
    assert "; add --drop-extra to leave those images out" in said
    assert main([*evaluate[:5], str(folder), "--drop-extra"]) == 2
    assert f"--data: {folder}, {folder} are all called drawn-test; give one of them" in capsys.readouterr().err
    assert main([*evaluate, "--data.drop-extra"]) == 0
    assert "left out 1 of contempt, which the model does not have" in capsys.readouterr().err
    store = fsspec.filesystem("memory")
    for path in folder.iterdir():
        store.pipe(f"/remedies/test/{path.name}", path.read_bytes())
    try:
        describe = ["shards", "describe", "memory://remedies/test", "--cache", str(tmp_path / "cache")]
        assert main([*describe, "--cache-gb", "0.000001"]) == 2
        assert capsys.readouterr().err.startswith("fer-dist: --cache-gb 1e-06 is smaller than drawn-test-000000.")
        assert main([*describe[:-1], str(model)]) == 2
        assert "fer-dist: --cache " in capsys.readouterr().err
    finally:
        store.rm("/remedies", recursive=True)
