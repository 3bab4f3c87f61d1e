"""What the json of a sample says, whatever it is, costs no evaluation: it is written, or refused before the work."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.faces import Face, faces, shard_set
from torch import nn

from fer_dist.config.settings import Config, DataConfig, EvaluateConfig, ModelConfig, RobustnessSettings
from fer_dist.data.emotions import SEVEN
from fer_dist.data.inspection.describe import describe
from fer_dist.data.inspection.verify import verify_shards
from fer_dist.data.loading.loader import Placement, evaluation_loader
from fer_dist.data.loading.order import sequence
from fer_dist.data.loading.reader import Reader, shares_of
from fer_dist.data.shards.labels import emotion_in
from fer_dist.data.shards.manifest import index_path
from fer_dist.distributed.world import World
from fer_dist.errors import InputError
from fer_dist.evaluate.evaluate import evaluate
from fer_dist.evaluate.predict import LONGEST_TEXT, MOST_ATTRIBUTES, joined_parts, predict, stated_of
from fer_dist.evaluate.results import load_predictions, save_predictions
from fer_dist.evaluate.robustness.measure import evaluate_robustness
from fer_dist.runs.checkpoint import Checkpoints, Snapshot
from fer_dist.runs.network import build, network_of
from fer_dist.scores.groups import by_attribute
from fer_dist.scores.table import Predictions

CPU = torch.device("cpu")


class Silent(nn.Module):
    """Finds every emotion as likely as the others."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.new_zeros(len(x), len(SEVEN))


class Never(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the work began")


def handed(folder: Path, facts: list[bytes]) -> Path:
    """A set whose samples have these json files."""
    made = faces(len(facts))
    return shard_set(
        folder,
        [[Face(face.key, face.label, face.members | {"json": one}) for face, one in zip(made, facts, strict=True)]],
    )


def table_of(folder: Path, model: nn.Module) -> Predictions:
    """The table of a set as an evaluation makes it."""
    reader = Reader(folder, SEVEN)
    parts = sequence(reader.counts, 0, 1, 2)
    stated = stated_of(reader, parts)
    loader = evaluation_loader(DataConfig(size=24, crop=20), reader, Placement(0, 1, CPU, False, 1), 2, parts)
    predicted = predict(model, network_of(Config()), loader, World(0, 1, CPU), stated)
    return joined_parts([(predicted, {})])[0]


DEEP: Any = 0
for _ in range(300):
    DEEP = [DEEP]

STATED: dict[str, tuple[list[Any], list[Any]]] = {
    "huge": ([10**30, 1, None, 2], [str(10**30), "1", None, "2"]),
    "large": ([2**63 - 1, -(2**63) + 1, 0, 1], [2**63 - 1, -(2**63) + 1, 0, 1]),
    "larger": ([2**63, -1, 0, 1], [str(2**63), "-1", "0", "1"]),
    "exact": ([2**53 + 1, 0.5, None, 1], [str(2**53 + 1), "0.5", None, "1"]),
    "endless": ([float("inf"), 1, 0.5, -1], [float("inf"), 1.0, 0.5, -1.0]),
    "digits": ([10**4200, 1, 2, 3], [f"1{'0' * (LONGEST_TEXT - 1)}", "1", "2", "3"]),
    "half": (["a\udc80", "b", "\ud800", "c"], ["a\ufffd", "b", "\ufffd", "c"]),
    "zero": (["a\0b", "", " ", "\n"], ["a\ufffdb", "", " ", "\n"]),
    "mixed": ([True, 1, "x", 0.5], ["True", "1", "x", "0.5"]),
    "truth": ([True, False, None, True], [True, False, None, True]),
    "nested": ([DEEP, {"a": 1}, "x", None], [None, None, "x", None]),
    "long": (["x" * 100_000, "y", "z", ""], ["x" * LONGEST_TEXT, "y", "z", ""]),
    "name \ud800": ([1, 2, 3, 4], [1, 2, 3, 4]),
    "": (["a", "b", "c", "d"], ["a", "b", "c", "d"]),
}


def test_whatever_a_json_states_is_written_into_the_table_and_read_again(tmp_path: Path) -> None:
    facts = [{name: values[number] for name, (values, _) in STATED.items()} for number in range(4)]
    folder = handed(tmp_path / "train", [json.dumps(fact).encode() for fact in facts])
    save_predictions(tmp_path / "t.parquet", table_of(folder, Silent()))
    found = load_predictions(tmp_path / "t.parquet")
    expected = {name.replace("\ud800", "\ufffd"): values for name, (_, values) in STATED.items()}
    assert {name: np.asarray(values).tolist() for name, values in found.attributes.items()} == expected
    assert {"mixed", "digits"} <= set(by_attribute(found))
    assert describe([folder])[0].splits[0].looked.facts["huge"] == 3


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (b"{", r"face-0001: its \.json does not parse"),
        (b"[" * 100_000, r"face-0001: its \.json does not parse"),
        (b'{"age": %s}' % (b"1" * 5000), r"face-0001: its \.json does not parse"),
        (b'{"name": "\xff"}', r"face-0001: its \.json does not parse"),
        (b"null", r"face-0001: its \.json is not an object"),
        (json.dumps({str(i): i for i in range(MOST_ATTRIBUTES + 1)}).encode(), r"more than 1,000 different attributes"),
    ],
)
def test_what_no_table_can_hold_is_refused_before_the_work(tmp_path: Path, facts: bytes, message: str) -> None:
    folder = handed(tmp_path / "train", [b"{}", facts, b"{}"])
    with pytest.raises(InputError, match=message):
        table_of(folder, Never())


def test_a_key_that_comes_twice_is_refused_before_the_work(tmp_path: Path) -> None:
    made = faces(4)
    folder = shard_set(tmp_path / "train", [made[:2], [made[2], Face(made[0].key, 3, made[3].members)]])
    with pytest.raises(InputError, match=r"train: the key 'face-0000' comes twice; every image counts exactly once"):
        table_of(folder, Never())


@pytest.mark.parametrize("emotion", [None, 3, True, [], DEEP, {"a": DEEP}, 10**4000, "\ud800", float("nan")])
def test_an_emotion_that_is_no_word_is_named_and_never_a_traceback(tmp_path: Path, emotion: Any) -> None:
    with pytest.raises(ValueError, match=r"^the emotion '.*' is not among surprise"):
        emotion_in({"emotion": emotion}, SEVEN)
    (fault,) = verify_shards(handed(tmp_path / "train", [json.dumps({"emotion": emotion}).encode()])).faults
    assert "its .cls means surprise, its .json says" in str(fault)


@pytest.mark.parametrize("share", [10**400, 1e308, float("inf"), float("nan"), -1, "1", None, [], DEEP])
def test_a_share_that_is_none_is_named_and_never_a_traceback(share: Any) -> None:
    with pytest.raises(ValueError, match=r"^gives fear the share .{1,20}$"):
        shares_of({"anger": 1e12, "fear": share}, SEVEN)


@pytest.mark.parametrize("name", ["scores.json", "predictions", "figures"])
def test_a_run_folder_that_cannot_take_the_results_is_named_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    network = network_of(Config(DataConfig(size=24, crop=20), ModelConfig(width=16)))
    Checkpoints(tmp_path / "run").save(Snapshot(1, build(network).state_dict(), {}), network)
    (tmp_path / "run" / name).write_text('{"a-test": {"accuracy": NaN}}')
    monkeypatch.setattr("fer_dist.evaluate.evaluate.predict", Never())
    config = EvaluateConfig((str(tmp_path / "run"),), (str(handed(tmp_path / "s", [b"{}"])),), device="cpu", threads=1)
    with pytest.raises(InputError, match=rf"{name}: (a-test\.accuracy: NaN .*; remove it|a file, but the run needs)"):
        evaluate(config)


def test_an_evaluation_on_a_cpu_refuses_a_decoder_of_a_gpu(tmp_path: Path) -> None:
    network = network_of(Config(DataConfig(size=24, crop=20), ModelConfig(width=16)))
    Checkpoints(tmp_path / "run").save(Snapshot(1, build(network).state_dict(), {}), network)
    places = (str(tmp_path / "run"),), (str(handed(tmp_path / "s", [b"{}"])),)
    config = EvaluateConfig(*places, device="cpu", threads=1, decoder="hardware")
    for refused in (lambda: evaluate(config), lambda: evaluate_robustness(config, RobustnessSettings())):
        with pytest.raises(InputError, match=r"^decoder hardware: it is a GPU's, and this runs on the CPU"):
            refused()


def test_an_index_whose_samples_are_gone_is_refused_before_the_work(tmp_path: Path) -> None:
    folder = handed(tmp_path / "train", [b"{}", b"{}"])
    index = index_path(next(folder.glob("*.tar")))
    index.write_text(index.read_text().replace(" face-0001.json", " face-0009.json"))
    with pytest.raises(InputError, match=r"\.idx: face-0009\.json does not lie where it says"):
        table_of(folder, Never())
