"""Whole training runs: killed, resumed, stopped, over several processes, and with what a user can get wrong."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import load_file
from support.disks import fill, small_disk
from support.ray_faults import Background
from support.runs import (
    arguments,
    command,
    counted_openings,
    drawn_shards,
    environment,
    ledger,
    newest,
    noted_openings,
    samples,
    two_processes,
    weights,
)

from fer_dist.cli.commands import main
from fer_dist.data.shards.manifest import load_index, load_manifest
from fer_dist.distributed import hardware
from fer_dist.distributed.hardware import fastest
from fer_dist.evaluate.results import load_predictions, load_scores
from fer_dist.runs import checkpoint
from fer_dist.runs.checkpoint import Checkpoints, load_model
from fer_dist.runs.curves import load_curves


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return drawn_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def whole(shards, tmp_path_factory):
    """An undisturbed run in a process of its own, with a checkpoint every 2 steps."""
    root = tmp_path_factory.mktemp("whole")
    ended = command("train", *arguments(shards, root, "whole", "--train.save-every-steps", "2"))
    assert ended.returncode == 0, ended.stderr
    return root / "whole"


def start(*words: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "fer_dist.train", *words]
    return subprocess.Popen(line, env=environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.005)


def test_a_run_leaves_everything_that_the_design_names(whole, shards):
    names = {path.name for path in whole.iterdir()}
    assert {"config.json", "checkpoints", "scores.json", "predictions"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    (name,) = load_scores(whole)
    predictions = load_predictions(whole / "predictions" / f"{name}.parquet")
    assert len(predictions.keys) == load_manifest(shards / "val").samples
    saved = json.loads((whole / "config.json").read_text())["config"]
    assert saved["train"]["batch_size"] == 24


def test_each_epoch_takes_each_sample_at_most_once_in_full_batches(whole, shards):
    taken = ledger(whole)
    samples = load_manifest(shards / "train").samples
    steps = samples // 24
    assert list(taken) == list(range(2 * steps))
    for epoch in range(2):
        keys = [key for step in range(epoch * steps, (epoch + 1) * steps) for key in taken[step]]
        assert len(keys) == steps * 24 == len(set(keys))


def test_a_run_killed_in_mid_epoch_and_resumed_equals_an_uninterrupted_one(whole, shards, tmp_path):
    words = arguments(shards, tmp_path, "killed", "--train.save-every-steps", "2")
    process = start(*words)
    wait_for(tmp_path / "killed" / "checkpoints" / "4" / "state.json")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    taken = ledger(tmp_path / "killed")
    steps = load_manifest(shards / "train").samples // 24
    assert 4 <= max(taken) + 1 < 2 * steps, "the kill came too late to show anything"
    assert command("train", *words, "--resume").returncode == 0
    assert ledger(tmp_path / "killed") == ledger(whole)
    assert weights(tmp_path / "killed") == weights(whole)


@pytest.mark.slow
def test_a_compiled_run_killed_and_resumed_equals_an_uninterrupted_one_and_two_ranks_follow_it(shards, tmp_path):
    def words(name):
        return arguments(shards, tmp_path, name, "--train.save-every-steps", "2", "--train.compile", "on")

    # A first compilation takes minutes; the next processes find it in torch's cache.
    ended = command("train", *words("whole"), timeout=1200)
    assert ended.returncode == 0, ended.stderr
    assert ", compiled" in ended.stderr
    assert "not compiled" not in ended.stderr
    process = start(*words("killed"))
    wait_for(tmp_path / "killed" / "checkpoints" / "4" / "state.json", 1200)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert max(ledger(tmp_path / "killed")) + 1 < 2 * (load_manifest(shards / "train").samples // 24), "too late a kill"
    assert command("train", *words("killed"), "--resume", timeout=1200).returncode == 0
    assert ledger(tmp_path / "killed") == ledger(tmp_path / "whole")
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    # Another number of ranks: half of each share is another shape, compiled anew.
    two_processes(*words("both"), timeout=1200)
    assert ledger(tmp_path / "both") == ledger(tmp_path / "whole")
    models = [load_model(tmp_path / name)[1] for name in ("both", "whole")]
    both, alone = (torch.cat([p.flatten() for p in model.parameters()]) for model in models)
    assert torch.nn.functional.cosine_similarity(both, alone, dim=0) > 0.98


def test_a_run_stopped_by_sigterm_saves_and_goes_on_to_the_same_end(whole, shards, tmp_path):
    words = arguments(shards, tmp_path, "stopped", "--train.save-every-steps", "2")
    process = start(*words)
    wait_for(tmp_path / "stopped" / "checkpoints" / "2" / "state.json")
    process.send_signal(signal.SIGTERM)
    _, text = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "its checkpoint is saved; go on with --resume" in text
    assert command("train", *words, "--resume").returncode == 0
    assert ledger(tmp_path / "stopped") == ledger(whole)
    assert weights(tmp_path / "stopped") == weights(whole)


def test_two_torchrun_processes_take_the_same_batches_and_reach_nearly_the_same_weights(whole, shards, tmp_path):
    words = arguments(shards, tmp_path, "two", "--train.save-every-steps", "2")
    two_processes(*words, **noted_openings(tmp_path))
    assert ledger(tmp_path / "two") == ledger(whole)
    once = [f"{rank} {shards / split}/manifest.json" for rank in range(2) for split in ("train", "val")]
    assert sorted((tmp_path / "openings").read_text().splitlines()) == once
    _, alone = load_model(whole)
    _, together = load_model(tmp_path / "two")
    one, two = (torch.cat([p.flatten() for p in model.parameters()]) for model in (alone, together))
    assert not torch.equal(one, two)
    # Batch statistics are of 12 images instead of 24, so the paths drift apart, but not far in so few steps.
    assert torch.nn.functional.cosine_similarity(one, two, dim=0) > 0.98
    assert ranks_of(tmp_path / "two") == {"0": 2}
    checkpoints = Checkpoints(tmp_path / "two")
    before, last = (entry.step for entry in checkpoints.entries()[-2:])
    shutil.rmtree(checkpoints.folder / str(last))
    assert main(["train", *words, "--resume"]) == 0
    assert ranks_of(tmp_path / "two") == {"0": 2, str(before): 1}


def ranks_of(run: Path) -> dict[str, int]:
    """First step -> ranks, as the run's newest checkpoint says."""
    return newest(Checkpoints(run)).state["worlds"]


def test_a_second_run_with_the_same_seed_is_equal_and_with_another_is_not(whole, shards, tmp_path):
    assert command("train", *arguments(shards, tmp_path, "same")).returncode == 0
    assert weights(tmp_path / "same") == weights(whole)
    assert command("train", *arguments(shards, tmp_path, "other", "--train.seed", "1")).returncode == 0
    assert weights(tmp_path / "other") != weights(whole)
    assert ledger(tmp_path / "other") != ledger(whole)


def test_a_finished_run_that_is_resumed_reads_its_checkpoint_once_and_does_nothing(whole, shards, monkeypatch):
    before, read = weights(whole), []
    root = str(whole.parent)
    monkeypatch.setattr(checkpoint, "load_tensors", lambda content: read.append(content) or load_tensors(content))
    assert main(["train", *arguments(shards, Path(root), "whole", "--train.save-every-steps", "2", "--resume")]) == 0
    assert weights(whole) == before
    assert sorted(hashlib.sha256(content).hexdigest() for content in read) == sorted(before.values())


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_training_in_one_process_opens_each_of_its_sets_once_and_tells_its_score_at_the_end(
    shards, tmp_path, capsys, more
):
    with counted_openings() as counted:
        assert main(["train", *arguments(shards, tmp_path, "once", "--train.epochs", "1", *more)]) == 0
    assert counted == {str(shards / split): 1 for split in ("train", "val")}
    said = capsys.readouterr().err
    if not more:
        ((name, scores),) = load_scores(tmp_path / "once").items()
        accuracy, balanced = (f"{100 * scores[key]:.2f} %" for key in ("accuracy", "mean_over_classes"))
        end = f"once: accuracy {accuracy}, balanced accuracy {balanced} on {name} after the last epoch"
        assert said.splitlines()[-6] == end


def test_a_damaged_newest_checkpoint_costs_the_steps_since_the_one_before(shards, tmp_path, capsys):
    words = arguments(shards, tmp_path, "damaged", "--train.save-every-steps", "2")
    assert main(["train", *words]) == 0
    run = tmp_path / "damaged"
    undisturbed = weights(run)
    newest = Checkpoints(run).entries()[-1].step
    path = run / "checkpoints" / str(newest) / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert main(["train", *words, "--resume"]) == 0
    assert f"checkpoint {newest} is passed over" in capsys.readouterr().err
    assert weights(run) == undisturbed


def test_accumulated_micro_batches_take_the_same_images(shards, tmp_path):
    """Batch statistics differ, so only what does not pass through them is equal: here the ledger."""
    assert main(["train", *arguments(shards, tmp_path, "micro", "--train.micro-batch", "5")]) == 0
    assert main(["train", *arguments(shards, tmp_path, "macro")]) == 0
    assert ledger(tmp_path / "micro") == ledger(tmp_path / "macro")


def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_shards_and_keys(shards, tmp_path, capsys):
    words = arguments(shards, tmp_path, "blown", "--train.lr", "1e38", "--train.warmup-epochs", "0")
    assert main(["train", *words, "--train.log-every", "1"]) == 1
    text = capsys.readouterr().err.splitlines()[-1]
    found = re.search(r"the loss of step (\d+), or what it made of the weights, is not finite", text)
    assert found, text
    step = int(found[1])
    keys = text.split("; keys ")[1].split(", ")
    assert keys == ledger(tmp_path / "blown")[step]
    assert "synthetic_wild-train-0000" in text
    assert not (tmp_path / "blown" / "checkpoints" / "list.json").exists()


def test_weights_can_come_from_another_run(whole, shards, tmp_path):
    words = arguments(shards, tmp_path, "after", "--train.init-from", str(whole), "--train.lr", "0")
    assert main(["train", *words]) == 0
    _, before = load_model(whole)
    _, after = load_model(tmp_path / "after")
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))


def test_a_head_with_other_emotions_is_drawn_anew_and_says_so(whole, shards, tmp_path, capsys):
    words = arguments(shards, tmp_path, "eight", "--train.init-from", str(whole), "--model.emotions", "eight")
    assert main(["train", *words, "--train.lr", "0"]) == 0
    assert "the head is drawn anew" in capsys.readouterr().err
    newest = Checkpoints(tmp_path / "eight").model_file("last")
    tensors = load_file(newest)
    assert tensors["head.weight"].shape[0] == 8
    _, before = load_model(whole)
    assert torch.equal(tensors["conv.weight"], before.conv.weight)


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_other_precisions_train_too(shards, tmp_path, precision):
    words = arguments(shards, tmp_path, precision, "--train.precision", precision, "--train.epochs", "1")
    assert main(["train", *words]) == 0


def test_the_arithmetic_of_a_run_is_its_hardwares_and_stands_wherever_its_settings_do(whole, shards, tmp_path):
    expected = fastest(torch.device("cpu"))
    saved = json.loads((whole / "config.json").read_text())["config"]
    assert saved["train"]["precision"] == expected.precision
    # Set outside and by SMALL: neither is left open.
    assert (saved["train"]["threads"], saved["data"]["threads"]) == (1, 1)
    found = newest(Checkpoints(whole))
    assert found.state["precision"] == expected.precision
    ended = command("train", *arguments(shards, tmp_path, "told", "--train.epochs", "1"))
    assert (
        f"on cpu, {expected.precision} ({expected.reason}), threads: 1 decode, 1 compute; images/s from step 2 on"
        in ended.stderr
    )


def test_bf16_that_is_asked_for_works_without_hardware_for_it_after_one_warning_and_is_kept(
    shards, tmp_path, monkeypatch, capsys
):
    (tmp_path / "cpuinfo").write_text("flags : fpu avx2\n")
    monkeypatch.setattr(hardware, "CPUINFO", tmp_path / "cpuinfo")
    words = arguments(shards, tmp_path, "asked", "--train.epochs", "1")
    assert main(["train", *words, "--train.precision", "bf16"]) == 0
    warning = "warning: bf16 is emulated on this processor"
    assert capsys.readouterr().err.count(warning) == 1
    assert json.loads((tmp_path / "asked" / "config.json").read_text())["config"]["train"]["precision"] == "bf16"
    assert main(["train", *words, "--resume"]) == 0
    text = capsys.readouterr().err
    assert text.count(warning) == 1
    assert "bf16 (as the run began)" in text
    assert main(["train", *words, "--resume", "--train.precision", "fp32"]) == 2
    assert "train.precision bf16 -> fp32" in capsys.readouterr().err


def test_a_run_knows_its_sets_by_what_they_hold_and_not_by_their_paths(shards, tmp_path, capsys):
    (tmp_path / "one").symlink_to(shards)
    words = arguments(tmp_path / "one", tmp_path, "run", "--train.epochs", "1")
    assert main(["train", *words]) == 0
    shutil.copytree(shards, tmp_path / "moved")
    (tmp_path / "one").unlink()
    (tmp_path / "one").symlink_to(tmp_path / "moved")
    assert main(["train", *words, "--resume"]) == 0
    # The path is the same, and the set is another.
    shutil.rmtree(tmp_path / "moved")
    drawn_shards(tmp_path / "moved", count=240)
    capsys.readouterr()
    assert main(["train", *words, "--resume"]) == 2
    text = capsys.readouterr().err
    assert re.search(r"data\.train is another set: .*anger \d+ -> \d+", text)
    assert re.search(r"data\.val is another set", text)
    without_val = [word for word in words if "--data.val" not in word and not word.endswith("/val")]
    assert main(["train", *without_val, "--resume"]) == 2
    assert "data.val was given, and is not" in capsys.readouterr().err


def test_a_run_made_before_sets_were_kept_knows_them_by_their_paths(shards, tmp_path, capsys):
    words = arguments(shards, tmp_path, "old", "--train.epochs", "1")
    assert main(["train", *words]) == 0
    path = tmp_path / "old" / "config.json"
    content = json.loads(path.read_text())
    del content["sets"]
    path.write_text(json.dumps(content))
    assert main(["train", *words, "--resume"]) == 0
    shutil.copytree(shards, tmp_path / "moved")
    assert main(["train", *arguments(tmp_path / "moved", tmp_path, "old", "--train.epochs", "1"), "--resume"]) == 2
    assert "data.train" in capsys.readouterr().err


@pytest.mark.parametrize("views", ["expand", "fold", "centre"])
def test_every_kind_of_views_trains(shards, tmp_path, views):
    assert main(["train", *arguments(shards, tmp_path, views, "--data.views", views, "--train.epochs", "1")]) == 0


def test_a_dry_run_prints_steps_time_and_memory_and_makes_nothing(shards, tmp_path, capsys):
    assert main(["train", *arguments(shards, tmp_path / "root", "dry", "--dry-run")]) == 0
    text = capsys.readouterr().out
    steps = 2 * (load_manifest(shards / "train").samples // 24)
    assert f"steps:      {steps}" in text
    assert '"batch_size": 24' in text
    assert "time:" in text
    assert "memory:" in text
    assert not (tmp_path / "root").exists()


WRONG = {
    "a mistyped flag": (["--train.epoch", "3"], r"unknown flag --train\.epoch; did you mean --train\.epochs\?"),
    "a crop above the size": (["--data.crop", "30"], r"--data\.crop 30 is larger than --data\.size 24"),
    "a batch above the data": (
        ["--train.batch-size", "4000"],
        r"has \d+ images, fewer than --train\.batch-size 4000",
    ),
    "lanes that do not fit": (["--data.lanes", "7"], r"--data\.lanes 7 does not divide"),
    "more workers than lanes": (["--ray.workers", "25"], "25 workers are more than the 24 lanes"),
    "no such folder": (["--data.train", "nowhere"], r"--data\.train: .*nowhere: no such folder of shards"),
    "a folder with a slash as name": (["--run.name", "a/b"], "is not the name of a folder"),
    "weights that are not there": (["--train.init-from", "nowhere"], "no such run folder"),
    "a choice that there is not": (["--data.views", "six"], r"--data\.views.*expand.*fold.*random_one.*centre"),
    "a momentum that cannot be": (["--train.momentum", "-1"], r"--train\.momentum -1\.0 is out of range"),
    "nesterov without momentum": (["--train.momentum", "0"], r"--train\.nesterov True is out of range"),
    "a name too long for a folder": (["--run.name", "x" * 300], "cannot be written"),
    "a tone out of range": (["--data.brightness", "1.5"], r"--data\.brightness 1\.5 is out of range"),
}


@pytest.mark.parametrize("case", WRONG, ids=[name.replace(" ", "_") for name in WRONG])
def test_wrong_input_gets_one_line_and_exit_code_2_and_leaves_nothing(case, shards, tmp_path, capsys):
    more, message = WRONG[case]
    assert main(["train", *arguments(shards, tmp_path / "root", "wrong", *more)]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert text.startswith("fer-dist: ")
    assert re.search(message, text), text
    assert not (tmp_path / "root").exists()


def test_a_test_split_is_refused_as_validation(shards, tmp_path, capsys):
    words = arguments(shards, tmp_path / "root", "cheat", "--data.val", str(shards / "test"))
    assert main(["train", *words]) == 2
    assert "is a test split" in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


def test_a_run_folder_with_another_configuration_is_left_alone(whole, shards, capsys):
    words = arguments(shards, whole.parent, "whole", "--train.save-every-steps", "2", "--train.lr", "0.5", "--resume")
    before = (whole / "config.json").read_bytes()
    assert main(["train", *words]) == 2
    assert "train.lr 0.1 -> 0.5" in capsys.readouterr().err
    assert (whole / "config.json").read_bytes() == before


def test_a_run_that_is_there_wants_resume(whole, shards, capsys):
    assert main(["train", *arguments(shards, whole.parent, "whole", "--train.save-every-steps", "2")]) == 2
    assert "go on with it: --resume" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["tar", "index"])
def test_shards_that_are_not_whole_are_named_before_anything_starts(shards, tmp_path, what, capsys):
    broken = drawn_shards(tmp_path / "broken", count=120, test_count=10)
    tar = next((broken / "train").glob("*.tar"))
    if what == "tar":
        os.truncate(tar, tar.stat().st_size - 512)
        message = "but the manifest says"
    else:
        tar.with_suffix(".idx").unlink()
        message = f"fer-dist shards index {broken / 'train'}"
    assert main(["train", *arguments(broken, tmp_path / "root", "broken")]) == 2
    text = capsys.readouterr().err
    assert message in text
    assert tar.stem in text
    assert not (tmp_path / "root").exists()


def test_the_root_may_not_be_a_file(shards, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["train", *arguments(shards, tmp_path / "file", "x")]) == 2
    assert "a file, but --run.root needs a folder" in capsys.readouterr().err


def test_a_file_where_the_run_folder_would_be_is_left_alone(shards, tmp_path, capsys):
    (tmp_path / "taken").write_text("mine")
    assert main(["train", *arguments(shards, tmp_path, "taken")]) == 2
    assert "a file stands there" in capsys.readouterr().err
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_disk_without_room_is_named_before_anything_starts(shards, tmp_path, capsys, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=2**20)
    monkeypatch.setattr("fer_dist.storage.writing.shutil.disk_usage", lambda path: full)
    assert main(["train", *arguments(shards, tmp_path, "full")]) == 2
    assert "only 1 MiB free on its disk" in capsys.readouterr().err
    assert not (tmp_path / "full").exists()


def test_a_disk_that_becomes_full_gets_one_line_and_room_on_it_lets_the_run_go_on(shards, tmp_path):
    steps = ["--train.save-every-steps", "2", "--train.epochs", "25", "--data.val", ""]
    disk = tmp_path / "disk"
    with small_disk(disk):
        words = arguments(shards, disk, "run", *steps)
        run = Background.fer_dist(["train", *words], tmp_path / "log")
        run.until((disk / "run" / "checkpoints" / "list.json").exists)
        filler = fill(disk)
        assert run.process.wait(timeout=120) == 1
        line = run.text().splitlines()[-1]
        assert line.startswith(f"fer-dist: {disk / 'run'}")
        assert "is full" in line or "no room" in line
        assert line.endswith("Make room, and go on with --resume")
        assert "Traceback" not in run.text()
        filler.unlink()
        assert command("train", *words, "--resume").returncode == 0
        assert command("train", *arguments(shards, tmp_path, "alone", *steps)).returncode == 0
        assert ledger(disk / "run") == ledger(tmp_path / "alone")
        assert weights(disk / "run") == weights(tmp_path / "alone")


def test_a_line_of_the_ledger_that_was_cut_short_is_not_joined_to_the_next(whole, shards, tmp_path):
    words = arguments(shards, tmp_path, "run", "--train.save-every-steps", "2")
    shutil.copytree(whole, tmp_path / "run")
    listing = tmp_path / "run" / "checkpoints" / "list.json"
    listing.write_text(json.dumps(json.loads(listing.read_text())[:1]))
    path = tmp_path / "run" / "ledger" / "0.tsv"
    path.write_bytes(path.read_bytes()[:-10])
    assert command("train", *words, "--resume").returncode == 0
    assert samples(tmp_path / "run") == samples(whole)


def test_an_image_that_does_not_decode_is_named_by_evaluate_and_left_out_on_request(whole, shards, tmp_path, capsys):
    broken = drawn_shards(tmp_path / "broken", count=120, test_count=20) / "test"
    tar = next(broken.glob("*.tar"))
    member = next(m for m in load_index(tar)[7] if m.extension == "jpg")
    with tar.open("r+b") as stream:
        stream.seek(member.offset)
        stream.write(bytes(member.size))
    run = shutil.copytree(whole, tmp_path / "run")
    words = ["evaluate", "--models", str(run), "--data", str(broken), "--device", "cpu"]
    assert main(words) == 1
    key = member.name.removesuffix(".jpg")
    assert f"{tar.name}: {key}: the image does not decode" in capsys.readouterr().err
    assert main([*words, "--on-bad", "skip"]) == 0
    assert f"left out 1 that did not decode: {tar.name}: {key}" in capsys.readouterr().err
    assert load_scores(run)["synthetic_wild-test"]["samples"] == 19


def test_validation_scores_equal_those_of_evaluate(whole, shards, tmp_path):
    whole = shutil.copytree(whole, tmp_path / "run")
    trained = load_scores(whole)
    (name,) = trained
    before = load_predictions(whole / "predictions" / f"{name}.parquet")
    out = tmp_path / "table.json"
    words = ["--models", str(whole), "--data", str(shards / "val"), str(shards / "test"), "--batch-size", "7"]
    assert main(["evaluate", *words, "--device", "cpu", "--json", str(out)]) == 0
    after = load_predictions(whole / "predictions" / f"{name}.parquet")
    assert list(before.keys) == list(after.keys)
    np.testing.assert_allclose(before.probabilities, after.probabilities, atol=1e-5)
    assert load_scores(whole)[name]["accuracy"] == trained[name]["accuracy"]
    assert {row["data"] for row in json.loads(out.read_text())} == {name, name.replace("val", "test")}
    assert (whole / "figures" / f"confusion-{name}.png").stat().st_size > 1000
    assert "subject" in after.attributes
    curves, (last, _) = load_curves(whole), load_curves(whole)["validation/accuracy"][-1]
    assert curves["validation/synthetic_wild/accuracy"] == [(last, pytest.approx(trained[name]["accuracy"]))]
    assert [step for step, _ in curves["test/synthetic_wild/loss"]] == [last]
