"""DDP and DeepSpeed on the same batches, runs that change from one to the other, and what DeepSpeed may be told."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.runs import arguments, drawn_shards, environment
from support.strategies import HALF_WAY, drawn_model

from fer_dist.cli.commands import main
from fer_dist.config.settings import Config, DataConfig, RunConfig, TrainConfig
from fer_dist.errors import InputError
from fer_dist.runs.checkpoint import Checkpoints
from fer_dist.runs.opening import check_run_folder, open_run_folder, resolved

FLOAT32, COMPRESSED = 1e-3, 1e-2
"""How far losses may be from those of ddp, as a share of them."""

SMOOTH = ["--train.precision", "fp32", "--train.lr", "0.002"]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two torchrun workers made of the same batches with each strategy."""
    folder = tmp_path_factory.mktemp("together")
    script = Path(__file__).parents[1] / "support" / "strategies.py"
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    ended = subprocess.run([*line, str(folder)], env=environment(), capture_output=True, text=True, timeout=400)
    assert ended.returncode == 0, ended.stderr
    assert not ended.stdout
    return folder


@pytest.fixture(scope="module")
def found(together: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((together / "found.json").read_text())
    return content


@pytest.mark.parametrize("stage", [0, 1, 2])
@pytest.mark.parametrize("how", ["", " in parts"], ids=["at_once", "in_parts"])
def test_deepspeed_follows_the_loss_of_ddp_over_uneven_and_empty_shares(
    found: dict[str, Any], stage: int, how: str
) -> None:
    expected = found[f"ddp{how}"]["losses"]
    assert len(expected) == 20
    assert found[f"zero {stage}{how}"]["losses"] == pytest.approx(expected, rel=FLOAT32)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_run_goes_on_with_the_other_strategy_along_the_same_loss(found: dict[str, Any], stage: int) -> None:
    expected = found["ddp"]["losses"][HALF_WAY:]
    from_ddp, (from_zero,) = found["ddp"]["crossed"][stage], found[f"zero {stage}"]["crossed"]
    assert from_ddp == pytest.approx(expected, rel=FLOAT32)
    assert from_zero == pytest.approx(expected, rel=FLOAT32)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_the_state_of_deepspeed_is_the_momentum_of_ddp_whole_and_by_name(together: Path, stage: int) -> None:
    ours, theirs = (load_file(together / f"{name} in parts.momentum") for name in ("ddp", f"zero {stage}"))
    assert theirs.keys() == ours.keys()
    for key, value in ours.items():
        assert theirs[key].shape == value.shape
        # Rounding takes single activations across zero; the momentum of another weight would be 1 away, or more.
        assert (theirs[key] - value).norm() < 0.1 * value.norm(), key


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_the_users_settings_reach_deepspeed(found: dict[str, Any], stage: int) -> None:
    # Nothing is clipped without the file: the norm of the gradient is far from 1 there.
    clipped, plain = found["first norms"][f"zero {stage}"]
    assert clipped == pytest.approx(1, abs=0.01)
    assert plain > 2


@pytest.mark.parametrize("stage", [1, 2])
def test_each_rank_holds_its_part_of_the_momentum(found: dict[str, Any], stage: int) -> None:
    whole, part = found["ddp"]["held"], found[f"zero {stage}"]["held"]
    assert found["zero 0"]["held"] == whole == sum(p.numel() for p in drawn_model().parameters())
    assert whole / 2 <= part < whole / 2 + 64


@pytest.mark.parametrize("name", ["ddp", "zero 0", "zero 1", "zero 2"])
def test_compressed_gradients_are_half_the_bytes_and_lead_to_nearly_the_same_weights(
    found: dict[str, Any], together: Path, name: str
) -> None:
    count = sum(parameter.numel() for parameter in drawn_model().parameters())
    sent = found[f"{name} compressed"]["sent"]
    assert sent["bfloat16"] == 2 * count
    assert sent.get("float32", 0) < 64
    if name != "ddp":  # torch sends DDP's own from C++, where nothing counts them
        plain = found[name]["sent"]
        assert 4 * count <= plain["float32"] < 4 * count + 64
        assert "bfloat16" not in plain
    losses = found[f"{name} compressed"]["losses"]
    assert losses == pytest.approx(found["ddp"]["losses"][: len(losses)], rel=COMPRESSED)
    start = drawn_model().state_dict()
    exact, rounded = (load_file(together / f"{name}{how}.weights") for how in ("", " compressed"))
    moved = sum(float((exact[p] - start[p]).norm() ** 2) for p, _ in drawn_model().named_parameters())
    apart = sum(float((exact[p] - rounded[p]).norm() ** 2) for p, _ in drawn_model().named_parameters())
    assert 0 < apart < 0.05**2 * moved


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_shards(tmp_path_factory.mktemp("shards"), count=120, test_count=10)


def momentum(run: Path) -> torch.Tensor:
    newest = Checkpoints(run).entries()[-1].step
    tensors = load_file(run / "checkpoints" / str(newest) / "optimizer.safetensors")
    return torch.cat([tensors[name].flatten() for name in sorted(tensors)])


def without_the_last_checkpoint(run: Path, copy: Path) -> Path:
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "checkpoints" / str(Checkpoints(copy).entries()[-1].step))
    return copy


def test_one_process_trains_with_deepspeed_quietly_and_either_strategy_goes_on_with_the_others_run(
    shards: Path, tmp_path: Path
) -> None:
    def words(name: str, *more: str) -> list[str]:
        return arguments(shards, tmp_path, name, *SMOOTH, *more)

    deepspeed = ["--train.strategy", "deepspeed", "--train.zero-stage", "2"]
    assert main(["train", *words("ddp")]) == 0
    without_the_last_checkpoint(tmp_path / "ddp", tmp_path / "from-ddp")
    # Two runs in one process: each opens a group of its own and closes it.
    lines = [["train", *words("zero", *deepspeed)], ["train", *words("from-ddp", *deepspeed, "--resume")]]
    code = f"from fer_dist.cli.commands import main; raise SystemExit(max([main(line) for line in {lines!r}]))"
    ended = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr
    assert not ended.stdout
    ours = (
        "zero: ",
        "from-ddp: ",
        "epoch ",
        "done: ",
        "evaluate: ",
        "explain: ",
        "predict: ",
        "curves: ",
        "fer-dist",
        "warning: ",
    )
    assert not [line for line in ended.stderr.splitlines() if not line.startswith(ours) and "steps, loss" not in line]
    without_the_last_checkpoint(tmp_path / "zero", tmp_path / "from-zero")
    assert main(["train", *words("from-zero", "--resume")]) == 0
    expected = momentum(tmp_path / "ddp")
    for name in ("zero", "from-ddp", "from-zero"):
        assert (momentum(tmp_path / name) - expected).norm() < 0.02 * expected.norm(), name


WRONG: dict[str, tuple[str, str]] = {
    "no JSON": ("{", "Invalid JSON"),
    "brackets without end": ("[" * 100_000, "Invalid JSON: recursion limit exceeded"),
    "a deep value": (
        '{"gradient_clipping": ' + "[" * 90 + "]" * 90 + "}",
        "gradient_clipping is a list; give a number",
    ),
    "half a character": (r'{"gradient_clipping": "\ud800"}', "Invalid JSON: .* hex escape"),
    "NaN": ('{"gradient_clipping": NaN}', "gradient_clipping: NaN or an infinity in it"),
    "no finite number": ('{"gradient_clipping": 1e400}', "gradient_clipping: NaN or an infinity in it"),
    "a number of many digits": ('{"gradient_clipping": 1%s}' % ("0" * 400), "is 10+; give a number above 0, at most "),
    "nothing": ("null", "give an object of DeepSpeed's settings"),
    "no object": ("[1]", "give an object of DeepSpeed's settings"),
    "a batch size": ('{"train_batch_size": 8}', "train_batch_size contradicts .* use --train.batch-size"),
    "an optimiser": ('{"optimizer": {"type": "Adam"}}', "optimizer contradicts .* use --train.lr"),
    "bfloat16": ('{"bf16": {"enabled": true}}', "bf16 contradicts .* use --train.precision"),
    "a stage": ('{"zero_optimization": {"stage": 3}}', "zero_optimization.stage contradicts .* use --train.zero-stage"),
    "offloading": ('{"zero_optimization": {"offload_optimizer": {}}}', "offload_optimizer is not among what may be"),
    "a mistyped name": ('{"gradient_cliping": 1}', "gradient_cliping is not among .*: gradient_clipping"),
    "a wrong kind": ('{"gradient_clipping": "1"}', 'gradient_clipping is "1"; give a number above 0'),
    "no whole number": ('{"zero_optimization": {"reduce_bucket_size": 0.5}}', "is 0.5; give a whole number above 0"),
    "no flag": ('{"zero_optimization": {"overlap_comm": 1}}', "overlap_comm is 1; give true or false"),
    "mixed parts": ('{"zero_optimization": {"round_robin_gradients": true}}', "round_robin_gradients is not among"),
}


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a training run ends with before its folder is made."""
    assert main(["train", *words]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert not (Path(words[words.index("--run.root") + 1])).exists()
    return text


@pytest.mark.parametrize("case", WRONG, ids=[name.replace(" ", "_") for name in WRONG])
def test_settings_that_cannot_stand_get_one_line_and_nothing_is_made(
    case: str, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, message = WRONG[case]
    path = tmp_path / "settings.json"
    path.write_text(content)
    more = ["--train.strategy", "deepspeed", "--train.deepspeed-config", str(path)]
    text = refused(arguments(shards, tmp_path / "root", "wrong", *more), capsys)
    assert f"--train.deepspeed-config {path}: " in text
    assert re.search(message, text), text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--train.strategy", "deepspeed", "--train.deepspeed-config", "nowhere.json"], "nowhere.json: cannot be read"),
        (["--train.deepspeed-config", "some.json"], "of no use without --train.strategy deepspeed"),
        (["--train.strategy", "deepspeed", "--train.precision", "fp16"], "with deepspeed use bf16 or fp32"),
        (["--train.strategy", "deepspeed", "--train.zero-stage", "3"], "zero-stage"),
        (["--train.freeze", "6"], "--train.freeze 6 is out of range; it must lie in 0..5"),
        (["--train.layer-decay", "0"], "--train.layer-decay 0.0 is out of range"),
    ],
)
def test_flags_that_cannot_be_meant_get_one_line(
    more: list[str], message: str, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(arguments(shards, tmp_path / "root", "wrong", *more), capsys)


def test_a_machine_without_deepspeed_is_told_how_to_get_it(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    words = arguments(shards, tmp_path / "root", "missing", "--train.strategy", "deepspeed")
    assert "uv pip install 'fer-dist[deepspeed]'" in refused(words, capsys)


def test_a_resumed_run_may_have_another_strategy_but_not_other_settings_of_deepspeed(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"gradient_clipping": 1.0}')
    train = TrainConfig(strategy="deepspeed", deepspeed_config=str(path))
    run = RunConfig(root=str(tmp_path / "root"), name="run")
    config = resolved(Config(DataConfig(train="shards"), train=train, run=run), "demo")
    open_run_folder(config, "demo", {})

    def changed(change: Callable[[TrainConfig], TrainConfig]) -> Config:
        return replace(config, train=change(config.train))

    check_run_folder(changed(lambda train: replace(train, zero_stage=0)), {}, resume=True)
    with pytest.raises(InputError, match=r"train\.micro_batch 0 -> 8; train\.compress none -> bf16"):
        check_run_folder(changed(lambda train: replace(train, micro_batch=8, compress="bf16")), {}, resume=True)
    with pytest.raises(InputError, match=r"train\.deepspeed_config .*settings\.json -> "):
        check_run_folder(changed(lambda train: replace(train, strategy="ddp", deepspeed_config="")), {}, resume=True)
    with pytest.raises(InputError, match=r"train\.freeze 0 -> 1"):
        check_run_folder(changed(lambda train: replace(train, freeze=1)), {}, resume=True)
    path.write_text('{"gradient_clipping": 2.0}')
    with pytest.raises(InputError, match=r"train\.deepspeed_config .* has other lines now"):
        check_run_folder(config, {}, resume=True)
