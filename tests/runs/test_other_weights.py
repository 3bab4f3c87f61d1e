"""Files of weights and checkpoints that are not what they should be: one line, before any work, or the one before."""

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file
from support.runs import newest
from torch import Tensor

from fer_dist.config.settings import Config, DataConfig, ModelConfig, TrainConfig, with_settings
from fer_dist.data.emotions import EIGHT
from fer_dist.distributed.world import World
from fer_dist.errors import InputError
from fer_dist.runs.checkpoint import LIST, MODEL, OPTIMIZER, STATE, Checkpoints, Snapshot, load_model
from fer_dist.runs.network import build, check_weights, network_of
from fer_dist.train.engine import Engine
from fer_dist.train.inputs import fitting_network, start_from

CONFIG = Config(DataConfig(size=24, crop=20), ModelConfig(width=4, reduction=2), TrainConfig(precision="fp32"))
NETWORK = network_of(CONFIG)
torch.manual_seed(0)
WEIGHTS = dict(build(NETWORK).state_dict())
HEAD = "head.weight"


def starting_from(path: Path) -> Config:
    return with_settings(CONFIG, {"train.init_from": str(path)})


NORM = "norm.running_var"


def written(path: Path, tensors: dict[str, Tensor] | None = None, **described: Any) -> Path:
    """A file of weights. described: what it says of them otherwise than it should."""
    description = json.dumps({**asdict(NETWORK), **described})
    save_file({**WEIGHTS, **(tensors or {})}, path, {"network": description})
    return path


def without(name: str) -> dict[str, Tensor]:
    return {other: tensor for other, tensor in WEIGHTS.items() if other != name}


TENSORS: dict[str, tuple[dict[str, Tensor], str]] = {
    "none": ({}, r"weights of \{\}, described are"),
    "no head": (without(HEAD), "weights of "),
    "another name": ({**without(NORM), "norm.x": WEIGHTS[NORM]}, r"has no norm\.running_var"),
    "one more": ({**WEIGHTS, "x" * 200: torch.zeros(2)}, "has, beside a network's, x{80}"),
    "another shape": ({**WEIGHTS, NORM: torch.ones(5)}, r"norm\.running_var is torch.float32 \[5\], .*float32 \[4\]"),
    "a head of more": ({**WEIGHTS, HEAD: torch.zeros(9, 32)}, r"weights of .*\[9, 32\].*described are .*\[7, 32\]"),
    "no axis": ({**WEIGHTS, HEAD: torch.zeros(())}, "weights of "),
    "whole numbers": ({**WEIGHTS, HEAD: torch.ones(7, 32, dtype=torch.int64)}, r"head\.weight is torch\.int64"),
    "truths": ({**WEIGHTS, NORM: torch.ones(4, dtype=torch.bool)}, r"norm\.running_var is torch\.bool"),
    "complex": ({**WEIGHTS, NORM: torch.ones(4, dtype=torch.complex64)}, r"norm\.running_var is torch\.complex64"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_weights_of_another_network_are_one_line_at_every_command(tmp_path: Path, name: str) -> None:
    tensors, message = TENSORS[name]
    path = tmp_path / "m.safetensors"
    save_file(tensors, path, {"network": json.dumps(asdict(NETWORK))})
    for read in (load_model, lambda place: fitting_network(NETWORK, starting_from(place))):
        with pytest.raises(InputError, match=rf"^{path}: not a model of fer_dist: {message}.*; give a file that fer-"):
            read(path)


@pytest.mark.parametrize(
    ("name", "value"), [("conv.weight", float("nan")), ("head.bias", float("inf")), (NORM, -1.0), ("norm.bias", 3e38)]
)
def test_weights_that_give_no_numbers_are_refused_before_the_work(tmp_path: Path, name: str, value: float) -> None:
    path = written(tmp_path / "m.safetensors", {name: torch.full_like(WEIGHTS[name], value)})
    with pytest.raises(InputError, match=r"m\.safetensors: its weights give no numbers; take another --checkpoint"):
        load_model(path)


DESCRIBED: list[tuple[dict[str, Any], str]] = [
    ({"emotions": None}, "emotions: Input should be a valid"),
    ({"emotions": []}, "emotions: "),
    ({"emotions": "anger"}, "emotions: Input should be a valid"),
    ({"emotions": ["anger"] * 7}, "an emotion comes twice"),
    ({"emotions": list(EIGHT)}, r"weights of .*\[7, 32\].*, described are .*\[8, 32\]"),
    ({"emotions": [1, 2]}, r"emotions\.0: Input should be a valid string"),
    ({"size": "24"}, "size: Input should be a valid integer"),
    ({"size": 10**30}, "size: Input should be less than"),
    ({"size": True}, "size: Input should be a valid integer"),
    ({"crop": 0}, "crop: Input should be greater"),
    ({"crop": 25}, "its crop is larger than its size"),
    ({"mean": [0.5, 0.5]}, r"mean\.2: Field required"),
    ({"mean": [0.5, 0.5, float("nan")]}, r"mean\.2: Input should be less"),
    ({"std": [0.5, 0.5, 0]}, r"std\.2: Input should be greater than 0"),
    ({"std": [0.5] * 4}, "std: "),
    ({"width": 60_000}, "weights of .*described are .*480000"),
    ({"width": -4}, "width: Input should be greater"),
    ({"reduction": 0}, "reduction: Input should be greater"),
    ({"reduction": 16}, r"stages\.0\.0\.se\.reduce\.weight is torch\.float32 \[2, 4\], .* \[1, 4\]"),
    ({"bias": True}, r"has no stages\.0\.0\.se\.reduce\.bias"),
    ({"bias": "no"}, "bias: Input should be a valid boolean"),
    ({"architecture": "vgg"}, "its architecture is 'vgg', which this version lacks"),
]


@pytest.mark.parametrize(("described", "message"), DESCRIBED)
def test_another_description_is_one_line_that_names_the_field(
    tmp_path: Path, described: dict[str, Any], message: str
) -> None:
    path = written(tmp_path / "m.safetensors", **described)
    with pytest.raises(
        InputError, match=rf"^{path}: not a model of fer_dist: .*{message}.*; give a file that fer-dist"
    ):
        load_model(path)


@pytest.mark.parametrize("text", ["", "null", "3", "{", "[" * 100_000, '{"emotions": "\\ud800"}', "{}"])
def test_a_description_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    save_file(WEIGHTS, tmp_path / "m.safetensors", {"network": text})
    with pytest.raises(
        InputError, match=r"m\.safetensors: not a model of fer_dist: .*; give a file that fer-dist train"
    ):
        load_model(tmp_path / "m.safetensors")


def test_a_description_of_a_later_version_is_named_as_one(tmp_path: Path) -> None:
    path = written(tmp_path / "m.safetensors", pooling="max")
    with pytest.raises(
        InputError, match="not a model of fer_dist that this version knows: it has pooling; use a newer"
    ):
        load_model(path)


def test_weights_in_half_precision_are_read_and_no_draw_is_taken(tmp_path: Path) -> None:
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in WEIGHTS.items()}
    path = written(tmp_path / "m.safetensors", half)
    state = torch.get_rng_state()
    _, model = load_model(path)
    assert torch.equal(model.state_dict()[HEAD], half[HEAD].float())
    fresh = build(network_of(CONFIG))
    torch.set_rng_state(state)
    assert torch.equal(build(NETWORK).state_dict()[HEAD], fresh.state_dict()[HEAD])
    assert start_from(fresh, NETWORK, starting_from(path)) == ""


def saved(run: Path, name: str, content: bytes) -> None:
    """A run of steps 1 and 2, of which this file of step 2 is another, listed as if it were right."""
    checkpoints = Checkpoints(run)
    for step in (1, 2):
        checkpoints.save(Snapshot(step, WEIGHTS, {HEAD: torch.zeros(7, 32)}, {"bad": {}, "scaler": {}}), NETWORK)
    (run / "checkpoints" / "2" / name).write_bytes(content)
    listed = run / "checkpoints" / LIST
    entries = json.loads(listed.read_text())
    entries[-1]["files"][name] = hashlib.sha256(content).hexdigest()
    listed.write_text(json.dumps(entries))


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        (MODEL, b"no tensors", "not a safetensors file"),
        (OPTIMIZER, save({"a": torch.zeros(2)})[:-1], "not a safetensors file"),
        (STATE, b"[]", "Input should be an object"),
        (STATE, b"{", "Invalid JSON"),
        (STATE, b"[" * 100_000, "Invalid JSON"),
        (STATE, b'{"bad": ["a"]}', "bad: Input should be a"),
        (STATE, b'{"bad": {"a": null}}', r"bad\.a: Input should be a valid string"),
        (STATE, b'{"scaler": {"scale": "x"}}', r"scaler\.scale: Input should be a valid number"),
        (STATE, b'{"more": NaN}', "more: NaN or an infinity in it"),
    ],
)
def test_a_listed_checkpoint_that_holds_something_else_is_passed_over_with_a_warning(
    tmp_path: Path, name: str, content: bytes, complaint: str
) -> None:
    saved(tmp_path, name, content)
    warnings: list[str] = []
    found = newest(Checkpoints(tmp_path, warn=warnings.append))
    assert found is not None
    assert found.step == 1
    (warning,) = warnings
    assert re.fullmatch(rf"{tmp_path}/checkpoints/2/{name}: {complaint}.*; checkpoint 2 is passed over", warning)


def test_a_run_does_not_go_on_with_the_checkpoint_of_another_network() -> None:
    engine = Engine(CONFIG, build(NETWORK), World(0, 1, torch.device("cpu")))
    momentum = engine.state()
    for other in ({}, momentum | {HEAD: torch.zeros(8, 32)}, momentum | {HEAD: torch.zeros(7, 32, dtype=torch.int8)}):
        with pytest.raises(
            InputError, match=r"the checkpoint's optimizer has no momentum for .*; choose another --run"
        ):
            engine.load_state(other)
    engine.load_state(momentum)
    with pytest.raises(InputError, match=r"^run/2/model: head\.weight is torch\.float32 \[8, 32\], but the network's"):
        check_weights(build(NETWORK), WEIGHTS | {HEAD: torch.zeros(8, 32)}, "run/2/model")
    assert engine.scaler_state() == {}
    engine.load_scaler_state({})
