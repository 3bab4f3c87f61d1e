"""A checkpoint is whole or it is not there."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from support.faces import tree
from support.runs import newest
from torch import Tensor

from fer_dist.config.settings import Config, ModelConfig
from fer_dist.data.emotions import EIGHT, SEVEN
from fer_dist.data.shards.crop_rule import CropRule
from fer_dist.errors import InputError
from fer_dist.runs import checkpoint as checkpoint_module
from fer_dist.runs.checkpoint import LIST, MODEL, OPTIMIZER, STATE, Checkpoints, Snapshot, load_model, load_network
from fer_dist.runs.network import Network, build, network_of
from fer_dist.storage.writing import write_atomically

NETWORK = network_of(Config(model=ModelConfig(width=16)))


def snapshot(step: int, score: float | None = None) -> Snapshot:
    """Small tensors of every kind that a run saves; every step has others."""
    generator = torch.Generator().manual_seed(step)
    weight = torch.randn(4, 3, 3, 3, generator=generator).to(memory_format=torch.channels_last)
    model = {"conv.weight": weight, "norm.num_batches_tracked": torch.tensor(step), "head.bias": torch.randn(7)}
    momentum = {"momentum.conv.weight": torch.randn(4, 3, 3, 3, generator=generator)}
    return Snapshot(step, model, momentum, {"scale": 0.1 * step, "bad": {"face-0003": "a.tar"}}, score)


def saved(run: Path, *steps: int | tuple[int, float], keep_last: int = 9) -> Checkpoints:
    checkpoints = Checkpoints(run, keep_last)
    for step in steps:
        checkpoints.save(snapshot(*(step if isinstance(step, tuple) else (step,))), NETWORK)
    return checkpoints


def warned(run: Path) -> tuple[Checkpoints, list[str]]:
    """Checkpoints of a run folder, and what they will have warned of."""
    warnings: list[str] = []
    return Checkpoints(run, warn=warnings.append), warnings


def newest_step(checkpoints: Checkpoints) -> int | None:
    found = newest(checkpoints)
    return found.step if found else None


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


def flip(path: Path, at: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    before = snapshot(5, score=0.625)
    Checkpoints(tmp_path).save(before, NETWORK)
    after = newest(Checkpoints(tmp_path))
    assert after is not None
    assert equal(after.model, before.model)
    assert equal(after.optimizer, before.optimizer)
    assert (after.step, after.state, after.score) == (5, before.state, 0.625)


def test_a_channels_last_network_and_its_momentum_come_back_bit_for_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build(NETWORK).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    momentum = {str(i): state["momentum_buffer"] for i, state in enumerate(optimizer.state.values())}
    Checkpoints(tmp_path).save(Snapshot(1, model.state_dict(), momentum), NETWORK)
    after = newest(Checkpoints(tmp_path))
    assert after is not None
    assert equal(after.optimizer, momentum)
    other = build(NETWORK).to(memory_format=torch.channels_last)
    other.load_state_dict(after.model)
    assert equal(other.state_dict(), model.state_dict())
    assert other.stages[1][0].conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_run_folder_holds_safetensors_and_json_and_nothing_else(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2, 3)
    files = tree(tmp_path)
    assert {Path(name).suffix for name in files} == {".safetensors", ".json"}
    assert len(files) == 3 * 3 + 1
    # A pickle of torch is a zip; one of Python starts with 0x80. Both hide under any suffix.
    assert not any(content.startswith((b"PK", b"\x80")) for content in files.values())


def test_the_metadata_says_what_one_must_know_to_use_the_weights(tmp_path: Path) -> None:
    saved(tmp_path, 7)
    with safe_open(tmp_path / "checkpoints" / "7" / MODEL, framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["network"]) == {
        "emotions": list(SEVEN),
        "size": 256,
        "crop": 224,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "width": 16,
        "reduction": 16,
        "bias": False,
        "architecture": "se-resnet-18",
        "crop_rule": None,
        "counts": None,
    }


def test_the_metadata_say_how_the_faces_of_the_training_were_cut_and_how_many_there_were(tmp_path: Path) -> None:
    counts = dict.fromkeys(SEVEN, 3) | {"fear": 0}
    network = replace(NETWORK, crop_rule=CropRule("release", 0.25, size=112), counts=counts)
    Checkpoints(tmp_path).save(Snapshot(1, dict(build(network).state_dict()), {}), network)
    assert load_network(tmp_path)[0] == network


def test_an_empty_run_folder_has_no_checkpoint_and_no_complaint(tmp_path: Path) -> None:
    checkpoints, warnings = warned(tmp_path)
    assert (newest(checkpoints), checkpoints.entries(), warnings) == (None, [], [])


@pytest.mark.parametrize("name", [MODEL, OPTIMIZER, STATE])
@pytest.mark.parametrize("at", [0, 100, -1])
def test_a_flipped_bit_gives_the_checkpoint_before_with_a_warning(tmp_path: Path, name: str, at: int) -> None:
    saved(tmp_path, 1, 2)
    path = tmp_path / "checkpoints" / "2" / name
    flip(path, min(at, path.stat().st_size - 1))
    checkpoints, warnings = warned(tmp_path)
    after = newest(checkpoints)
    assert after is not None
    assert after.step == 1
    assert equal(after.optimizer, snapshot(1).optimizer)
    assert warnings == [f"{path}: damaged; checkpoint 2 is passed over"]


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-10]), "damaged"),
        (lambda path: path.write_bytes(b""), "missing"),
        (lambda path: path.unlink(), "missing"),
        (lambda path: shutil.rmtree(path.parent), "missing"),
    ],
)
def test_a_file_that_is_cut_or_gone_gives_the_checkpoint_before_with_a_warning(
    tmp_path: Path, spoil: Callable[[Path], object], word: str
) -> None:
    saved(tmp_path, 1, 2)
    spoil(tmp_path / "checkpoints" / "2" / MODEL)
    checkpoints, warnings = warned(tmp_path)
    assert newest_step(checkpoints) == 1
    assert warnings == [f"{tmp_path}/checkpoints/2/{MODEL}: {word}; checkpoint 2 is passed over"]


def test_weights_of_an_older_checkpoint_come_with_a_warning_that_names_both_steps(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2)
    path = tmp_path / "checkpoints" / "2" / MODEL
    flip(path)
    checkpoints, warnings = warned(tmp_path)
    assert checkpoints.model_file("last") == tmp_path / "checkpoints" / "1" / MODEL
    assert warnings == [f"{path}: damaged; checkpoint 2 is passed over, and that of step 1 taken"]


def test_where_every_checkpoint_is_damaged_there_is_none(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2)
    for step in ("1", "2"):
        flip(tmp_path / "checkpoints" / step / STATE)
    checkpoints, warnings = warned(tmp_path)
    assert newest(checkpoints) is None
    assert len(warnings) == 2


def test_a_folder_that_no_list_names_is_ignored_and_removed_by_the_next_save(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    folder = tmp_path / "checkpoints"
    shutil.copytree(folder / "1", folder / "2")
    shutil.copytree(folder / "1", folder / ".3.tmp")
    checkpoints, warnings = warned(tmp_path)
    assert newest_step(checkpoints) == 1
    assert warnings == []
    checkpoints.save(snapshot(4), NETWORK)
    assert {path.name for path in folder.iterdir()} == {"1", "4", LIST}


@pytest.mark.parametrize("name", [MODEL, OPTIMIZER, STATE, LIST])
def test_a_save_that_dies_on_the_way_leaves_the_checkpoint_before_and_can_be_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    saved(tmp_path, 1)

    def die(path: Path, content: bytes) -> None:
        if path.name == name:
            raise KeyboardInterrupt
        write_atomically(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module, "write_atomically", die)
        with pytest.raises(KeyboardInterrupt):
            saved(tmp_path, 2)
    checkpoints, warnings = warned(tmp_path)
    assert newest_step(checkpoints) == 1
    assert warnings == []
    checkpoints.save(snapshot(2), NETWORK)
    assert newest_step(checkpoints) == 2
    assert {path.name for path in checkpoints.folder.iterdir()} == {"1", "2", LIST}


def test_a_step_that_is_saved_again_after_damage_takes_the_place_of_the_damaged_one(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2)
    flip(tmp_path / "checkpoints" / "2" / MODEL)
    checkpoints, warnings = warned(tmp_path)
    checkpoints.save(snapshot(2), NETWORK)
    assert [entry.step for entry in checkpoints.entries()] == [1, 2]
    assert newest_step(checkpoints) == 2
    assert warnings == []


HASH = "0" * 64


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"\xff\xfe", b'{"step": 1}', b'[{"step": 1}]', b"[1]", b"3", b"null", b"[" * 100_000),
        *(b'[{"step": "1", "files": {}}]', b'[{"step": -1, "files": {}}]', b'[{"step": 1e400, "files": {}}]'),
        *(b'[{"step": 1, "files": {}, "score": "0.5"}]', b'[{"step": 1, "files": {}, "score": NaN}]'),
        *(b'[{"step": 1, "files": {"model.safetensors": 3}}]', b'[{"step": 1, "files": {"model.safetensors": "0"}}]'),
        *(json.dumps([{"step": 1, "files": {name: HASH}}]).encode() for name in ("../../x", "/x.json", "a/b.json", "")),
    ],
)
def test_beside_a_damaged_list_the_whole_folders_are_taken_with_a_warning(tmp_path: Path, content: bytes) -> None:
    saved(tmp_path, 1, 2)
    path = tmp_path / "checkpoints" / LIST
    path.write_bytes(content)
    (tmp_path / "checkpoints" / "3").mkdir()
    checkpoints, warnings = warned(tmp_path)
    assert newest_step(checkpoints) == 2
    assert warnings == [f"{path}: does not parse; the 2 checkpoints beside it are taken as they are"]
    checkpoints.save(snapshot(4), NETWORK)
    assert {path.name for path in checkpoints.folder.iterdir()} == {"2", "4", LIST}


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ([1, 2, 3, 4], {"3", "4"}),
        ([(1, 0.9), (2, 0.5), (3, 0.6), (4, 0.7)], {"1", "3", "4"}),
        ([(1, 0.5), (2, 0.6), (3, 0.9), (4, 0.7)], {"3", "4"}),
        ([(1, 0.9), (2, 0.9), (3, 0.1), (4, 0.2)], {"1", "3", "4"}),
        ([(1, 0.9), 2, 3, 4], {"1", "3", "4"}),
        ([(1, 0.5), 2, (3, 0.6), 4, 5], {"3", "4", "5"}),
    ],
)
def test_the_newest_two_and_the_best_are_kept(tmp_path: Path, steps: list[int], kept: set[str]) -> None:
    checkpoints = saved(tmp_path, *steps, keep_last=2)
    assert {path.name for path in checkpoints.folder.iterdir()} == {*kept, LIST}
    assert {str(entry.step) for entry in checkpoints.entries()} == kept


def test_last_best_and_a_step_name_their_file(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, (10, 0.5), (20, 0.9), (30, 0.9), (40, 0.7), 50)
    found = [checkpoints.model_file(which) for which in ("last", "best", "40")]
    assert found == [tmp_path / "checkpoints" / step / MODEL for step in ("50", "20", "40")]


def test_a_damaged_checkpoint_is_passed_over_by_last_and_by_best_but_not_by_its_step(tmp_path: Path) -> None:
    saved(tmp_path, (10, 0.5), (20, 0.9), (30, 0.7))
    for step in ("20", "30"):
        flip(tmp_path / "checkpoints" / step / MODEL)
    checkpoints, warnings = warned(tmp_path)
    assert checkpoints.model_file("last").parent.name == "10"
    assert checkpoints.model_file("best").parent.name == "10"
    assert len(warnings) == 2
    with pytest.raises(InputError, match=r"checkpoints: every checkpoint that '20' could mean is damaged"):
        checkpoints.model_file("20")


def test_a_checkpoint_that_there_is_not_is_an_error_that_lists_those_there_are(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 10, 20)
    for which in ("15", "best", "first"):
        with pytest.raises(InputError, match=rf"no checkpoint '{which}'; there are .* the steps 10, 20"):
            checkpoints.model_file(which)


def test_a_run_without_checkpoints_is_an_error_that_asks_how_far_it_got(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"^{tmp_path}: no checkpoint; is this a run folder, and did the run get"):
        load_network(tmp_path)


def test_a_network_loads_from_its_run_folder_and_from_its_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = Config(model=ModelConfig(emotions="eight", width=16, reduction=8, bias=True))
    network = network_of(config)
    model = build(network).eval()
    Checkpoints(tmp_path).save(Snapshot(3, model.state_dict(), {}, score=0.5), network)
    x = torch.randn(2, 3, 40, 40)
    for where, which in ((tmp_path, "last"), (tmp_path, "best"), (tmp_path / "checkpoints" / "3" / MODEL, "last")):
        description, loaded = load_model(where, which)
        assert description == network
        assert description.emotions == EIGHT
        assert not loaded.training
        assert torch.equal(loaded(x), model(x))


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"format": "pt"},
        {"network": "not json"},
        {"network": "[]"},
        {"network": "3"},
        {"network": '{"emotions": ["anger"]}'},
        {"network": '{"from": "a later version"}'},
    ],
)
def test_a_safetensors_file_of_others_is_an_error(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "theirs.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata)
    with pytest.raises(InputError, match=rf"^{path}: not a model of fer_dist"):
        load_network(path)


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\x80\x02.", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_is_no_safetensors_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^{path}: not a model of fer_dist"):
        load_network(path)


def test_a_path_where_nothing_is_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: no such run folder or \.safetensors file"):
        load_network(tmp_path / "nowhere")


def test_a_network_is_described_by_its_configuration() -> None:
    network = network_of(Config())
    assert network == Network(
        SEVEN, 256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), width=64, reduction=16, bias=False
    )
