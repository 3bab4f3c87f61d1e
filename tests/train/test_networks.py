"""Other networks than ours: timm's and a user's own train, go on, hand weights on, and are refused where they do not
fit. What only a file names is never imported."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.faces import faces, shard_set, wait_for
from support.own_networks import InParts
from support.runs import arguments, drawn_shards, environment, two_processes, weights

from fer_dist.cli.commands import main
from fer_dist.config.settings import Config, DataConfig, ModelConfig, TrainConfig, with_settings
from fer_dist.errors import InputError
from fer_dist.runs.architecture import check_architecture
from fer_dist.runs.checkpoint import load_model
from fer_dist.runs.network import build, build_for, head_of, network_of
from fer_dist.train.checks import check_job
from fer_dist.train.inputs import start_from
from fer_dist.train.optimizer import freeze, open_optimizer, parts_of

OWN = "support.own_networks:InParts"
SMALL = Config(DataConfig(size=24, crop=20), ModelConfig(network=OWN), TrainConfig(precision="fp32", batch_size=4))


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return drawn_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return str(shard_set(tmp_path_factory.mktemp("few") / "train", [faces(8)]))


def of(name: str, **more: object) -> Config:
    return with_settings(SMALL, {"model.network": name} | more)


@pytest.mark.parametrize("name", [OWN, "timm:test_resnet"])
def test_a_run_of_another_network_killed_and_resumed_equals_an_uninterrupted_one(name, shards, tmp_path, capsys):
    words = ["--model.network", name, "--train.save-every-steps", "3"]
    assert main(["train", *arguments(shards, tmp_path, "whole", *words)]) == 0
    given = f"--network {name}" if name == OWN else ""
    assert capsys.readouterr().err.rstrip().splitlines()[-4].endswith(f"test {given}".rstrip())
    line = [sys.executable, "-m", "fer_dist.train", *arguments(shards, tmp_path, "killed", *words)]
    process = subprocess.Popen(line, env=environment(PYTHONPATH="tests"), stderr=subprocess.DEVNULL)
    wait_for(lambda: (tmp_path / "killed" / "checkpoints" / "list.json").exists(), 120)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert json.loads((tmp_path / "killed" / "checkpoints" / "list.json").read_text())[-1]["step"] < 12
    assert main(["train", *arguments(shards, tmp_path, "killed", *words, "--resume")]) == 0
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    evaluate = ["evaluate", "--models", str(tmp_path / "whole"), "--data", str(shards / "test"), "--device", "cpu"]
    assert main([*evaluate, "--network", name]) == 0
    if name == OWN:
        capsys.readouterr()
        assert main(evaluate) == 2
        said = capsys.readouterr().err
        assert f"its network is {OWN}, which is not of fer_dist and not imported because a file says so" in said
        assert f"give it with --network {OWN}" in said


def test_two_workers_train_a_network_of_ones_own(shards, tmp_path):
    two_processes(*arguments(shards, tmp_path, "two", "--model.network", OWN), PYTHONPATH="tests")
    network, model = load_model(tmp_path / "two", given=(OWN,))
    assert (network.architecture, type(model).__name__) == (OWN, "InParts")


def test_what_only_a_file_names_is_not_imported(tmp_path, monkeypatch, few, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil_here.py").write_text("open('was_imported', 'w')\n\ndef make(classes):\n    pass\n")
    described = network_of(SMALL)
    for name in ("os:system", "evil_here:make", "timm:../evil_here", "timm:hf-hub:a/b", "builtins:exec", "vgg"):
        metadata = {"network": json.dumps(replace(described, architecture=name).__dict__)}
        save_file({"head.weight": torch.zeros(7, 16)}, tmp_path / "model.safetensors", metadata)
        with pytest.raises(InputError, match=r"not imported because a file says so|which this version lacks"):
            load_model(tmp_path / "model.safetensors", given=("support.own_networks:Small",))
        assert main(["evaluate", "--models", "model.safetensors", "--data", few, "--device", "cpu"]) == 2
        assert main(["train", "demo", "--data.train", few, "--train.init-from", "model.safetensors"]) == 2
    assert "evil_here" not in sys.modules
    assert not Path("was_imported").exists()
    assert "not imported because a file says so" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("one_too_many", r"gives float32 \[2, 8\] for images \[2, 3, 20, 20\]; expected logits, float \[2, 7\]$"),
        ("Pair", r"gives a tuple for images"),
        ("Labels", r"gives int64 \[2, 7\] for images"),
        ("Picky", r"cannot take images \[2, 3, 20, 20\] \(ValueError: takes 224 px alone\); --data\.crop sets"),
        ("Idle", r"2 of its parameters take no part in the logits, as spare\.weight"),
        ("Lazy", r"has layers that learn their shape from the first batch"),
        ("Detached", r"none of its parameters trains"),
        ("no_module", r"support\.own_networks:no_module: gave a int, and should give an nn\.Module"),
        ("Absent", r"support\.own_networks has no Absent; give a function \(classes: int\) -> nn\.Module"),
        ("NUMBER", r"NUMBER is no function; give one"),
        ("HalfInParts", r"parts\(\) of the network does not hold each of its parameters once"),
    ],
)
def test_a_network_that_does_not_fit_is_one_line_before_anything_starts(name, message, few):
    with pytest.raises(InputError, match=message) as error:
        check_job(of(f"support.own_networks:{name}", **{"data.train": few}), 1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "resnet18",
            r"^--model\.network resnet18: no network; give seresnet18, timm:NAME \(timm:resnet18\), or",
        ),
        ("timm:hf-hub:a/b", r"no network; give"),
        ("timm:../a", r"no network; give"),
        ("a/b:c", r"no network; give"),
        ("nowhere.at_all:make", r"no module nowhere here; it is looked for in the working folder, in PYTHONPATH"),
    ],
)
def test_a_name_that_can_be_no_network_is_refused_before_torch_is_imported(name, message):
    with pytest.raises(InputError, match=message):
        check_architecture(name, "--model.network")


def test_a_module_that_is_missing_inside_a_package_and_a_network_that_timm_lacks_are_named(few):
    for name, message in (
        ("support.nowhere:make", r"support\.nowhere:make: no module support\.nowhere here"),
        ("timm:resnet19", r"timm:resnet19: timm .* has no such network; it has resnet"),
    ):
        with pytest.raises(InputError, match=message):
            check_job(of(name, **{"data.train": few}), 1)


def test_settings_that_need_parts_are_refused_where_a_network_has_none(few):
    for setting, flag in (("train.freeze", "--train.freeze"), ("train.layer_decay", "--train.layer-decay")):
        value = 1 if setting == "train.freeze" else 0.5
        with pytest.raises(InputError, match=rf"^{flag} is not available for --model\.network .*, which has no method"):
            check_job(of("support.own_networks:Small", **{"data.train": few, setting: value}), 1)
    with pytest.raises(InputError, match=r"--train\.freeze 3: the network has 3 parts, so that nothing would train"):
        check_job(of(OWN, **{"data.train": few, "train.freeze": 3}), 1)


def test_the_parts_of_a_timm_network_are_its_stages_and_of_ones_own_what_it_says():
    theirs = build_for(of("timm:resnet18"))
    parts = parts_of(theirs)
    assert [len(part) for part in parts] == [3, 12, 15, 15, 15, 2]  # as the stages of torchvision's ResNet-18
    frozen = freeze(theirs, 2)
    names = {name for name, parameter in theirs.named_parameters() if not parameter.requires_grad}
    assert {name.partition(".")[0] for name in names} == {"conv1", "bn1", "layer1"}
    assert theirs.layer1 in frozen
    assert theirs.bn1 in frozen
    assert theirs not in frozen
    own = build_for(of(OWN, **{"train.layer_decay": 0.5}))
    groups = open_optimizer(of(OWN, **{"train.layer_decay": 0.5}).train, own).param_groups
    shares = {id(p): group["lr_share"] for group in groups for p in group["params"]}
    assert {name: shares[id(p)] for name, p in own.named_parameters() if name.endswith("weight")} == {
        "body.0.weight": 0.25, "body.1.weight": 0.25, "body.3.weight": 0.5, "head.weight": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["seresnet18", OWN, "timm:test_resnet"])
def test_weights_of_others_are_a_start_and_a_head_of_other_classes_is_drawn_anew(name, few, tmp_path):
    config = of(name, **{"data.train": few, "model.width": 16})
    torch.manual_seed(1)
    theirs = build(replace(network_of(config), emotions=("a", "b", "c")), (name,))
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    config = with_settings(config, {"model.pretrained": str(tmp_path / "theirs.safetensors")})
    check_job(config, 1)
    torch.manual_seed(2)
    ours, plain = build_for(config), build_for(with_settings(config, {"model.pretrained": ""}))
    torch.manual_seed(2)
    ours = build_for(config)
    torch.manual_seed(2)
    plain = build_for(config)
    assert "head is of other classes and drawn anew" in start_from(ours, network_of(config), config)
    head = head_of(ours)
    assert 1 <= len(head) <= 2
    for tensor_name, tensor in ours.state_dict().items():
        expected = plain if tensor_name in head else theirs
        assert torch.equal(tensor, expected.state_dict()[tensor_name])
    kept = {key: value for key, value in load_file(tmp_path / "theirs.safetensors").items() if key not in head}
    first = next(iter(kept))
    save_file(kept | {first: torch.zeros(1)}, tmp_path / "theirs.safetensors")
    with pytest.raises(InputError, match=rf"theirs\.safetensors: has \[1\] for {first}, where the network has \["):
        check_job(config, 1)
    (tmp_path / "theirs.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match=r"--model\.pretrained .*theirs\.safetensors: not a safetensors file"):
        check_job(config, 1)


def test_a_run_of_another_network_is_no_start_for_ours_and_its_changed_file_no_way_to_go_on(
    few, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("mine_here.py").write_text("from support.own_networks import Small as make\n")
    run = ["train", "demo", "--data.train", few, "--data.size", "24", "--data.crop", "20", "--train.batch-size", "4"]
    run += ["--train.epochs", "1", "--run.device", "cpu", "--run.name"]
    assert main([*run, "a", "--model.network", "mine_here:make"]) == 0
    assert main([*run, "b", "--train.init-from", "runs/a"]) == 2
    assert "not imported because a file says so" in capsys.readouterr().err
    assert main([*run, "b", "--train.init-from", "runs/a", "--model.network", "mine_here:make"]) == 0
    assert main([*run, "c", "--train.init-from", "runs/a", "--model.network", OWN]) == 2
    Path("mine_here.py").write_text("from support.own_networks import InParts as make\n")
    assert main([*run, "a", "--model.network", "mine_here:make", "--resume"]) == 2
    assert "mine_here.py has other lines now" in capsys.readouterr().err


def test_a_dry_run_tells_parameters_and_operations(few, capsys):
    run = ["train", "demo", "--data.train", few, "--data.size", "24", "--data.crop", "20", "--train.batch-size", "4"]
    assert main([*run, "--model.network", OWN, "--dry-run", "--run.device", "cpu"]) == 0
    parameters = sum(parameter.numel() for parameter in InParts(7).parameters())
    # Of the convolutions, a window of 3 x 3 for each output of 9 x 9 and of 4 x 4, and of the head.
    operations = 2 * (8 * 81 * 27 + 16 * 16 * 72 + 7 * 16)
    expected = (
        f"network:    {OWN}, {parameters:,} parameters, {operations / 1e9:.3g} GFLOPs forward for a crop of 20 px"
    )
    assert expected in capsys.readouterr().out
