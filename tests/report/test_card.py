"""Model cards, citations and the list of runs, made of the files of a run: what they say is what the files say."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from support.runs import arguments, drawn_shards

from fer_dist import api
from fer_dist.cli.commands import main
from fer_dist.evaluate.known import known_of
from fer_dist.evaluate.listing import runs_in
from fer_dist.evaluate.results import load_predictions
from fer_dist.report.card import OURS, RANDOM_LABELS, card
from fer_dist.report.cite import methods
from fer_dist.runs.folder import RunFolder
from fer_dist.scores.groups import by_attribute
from fer_dist.scores.table import Predictions


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return drawn_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def trained(shards, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    assert main(["train", *arguments(shards, root, "trained")]) == 0
    return root / "trained"


@pytest.fixture
def run(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "runs" / "trained"))


def parts(path: Path) -> tuple[dict, str]:
    """The block that hubs read, and the text behind it."""
    _, block, text = path.read_text().split("---\n", 2)
    return yaml.safe_load(block), text


def test_a_training_leaves_a_card_of_its_validation_split(run):
    block, text = parts(run / "README.md")
    scores = json.loads((run / "scores.json").read_text())["synthetic_wild-val"]
    (result,) = block["model-index"][0]["results"]
    assert result["dataset"] == {"type": "synthetic_wild", "name": "synthetic_wild-val", "split": "val"}
    metrics = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert metrics["accuracy"] == pytest.approx(scores["accuracy"], abs=1e-6)
    assert metrics["balanced_accuracy"] == pytest.approx(scores["mean_over_classes"], abs=1e-6)
    assert block["datasets"] == ["synthetic_wild"]
    held = json.loads((run / "config.json").read_text())["sets"]["train"]
    assert held["hash"] in text
    assert f"| {held['samples']:,} |" in text
    assert "drawn by fer-dist, no photographs" in text
    assert "Not measured: fer-dist evaluate --robustness does." in text


def test_a_card_says_the_recall_of_each_emotion_and_of_each_group_that_a_table_by_hand_gives(run, shards):
    (found,) = api.evaluate(run, shards / "test", device="cpu", threads=1)
    table = load_predictions(found.table)
    _, text = parts(run / "README.md")
    section = text.split("### By emotion, synthetic\\_wild-test")[1].split("###")[0]
    right = table.probabilities.argmax(1) == table.labels
    for index, emotion in enumerate(table.emotions):
        own = table.labels == index
        assert f"| {emotion} | {own.sum()} | {100 * right[own].mean():.1f} % |" in section


def test_scores_stand_beside_the_weights_that_they_are_of_and_no_others(run, shards, capsys):
    before, last = json.loads((run / "checkpoints" / "list.json").read_text())
    ends = json.loads((run / "scores.json").read_text())["synthetic_wild-val"]
    assert (ends["step"], ends["weights_sha256"]) == (last["step"], last["files"]["model.safetensors"])
    step = str(before["step"])
    line = f"evaluate --models {run} --data {shards}/test --checkpoint {step} --device cpu --robustness"
    assert main([*line.split(), "--robustness-samples", "4"]) == 0
    tested = json.loads((run / "scores.json").read_text())["synthetic_wild-test"]
    assert (tested["step"], tested["weights_sha256"]) == (before["step"], before["files"]["model.safetensors"])
    home = RunFolder(str(run))
    for which, own, other in (("last", "val", "test"), (step, "test", "val")):
        known = known_of(home, which)
        assert list(known.scores) == list(known.by_class) == [f"synthetic_wild-{own}"]
        left_out = f"on synthetic_wild-{other} (step {known.others[f'synthetic_wild-{other}']})"
        assert left_out in card(known).replace("\\", "")
        capsys.readouterr()
        assert main(["cite", str(run), "--checkpoint", which]) == 0
        cited = capsys.readouterr()
        assert f"On synthetic_wild-{own} (" in cited.out
        assert f"synthetic_wild-{other} (" not in cited.out
        assert left_out in cited.err
    assert list(known_of(home, step).robustness) == ["synthetic_wild-test"]
    api.evaluate(run, shards / "test", device="cpu", threads=1)
    assert known_of(home, "last").robustness == {}, "the measurement is still that of the step before"


def test_runs_and_exports_show_the_scores_of_their_own_weights(run, shards, capsys):
    before, _ = json.loads((run / "checkpoints" / "list.json").read_text())
    api.evaluate(run, shards / "test", checkpoint=str(before["step"]), device="cpu", threads=1)
    (found,) = runs_in(str(run.parent))
    assert (list(found.scores), found.others) == (["synthetic_wild-val"], {"synthetic_wild-test": before["step"]})
    assert main(["runs", str(run.parent)]) == 0
    printed = capsys.readouterr()
    assert "synthetic_wild-test" not in printed.out
    assert f"the scores on synthetic_wild-test (step {before['step']})" in printed.err
    torch.export.load(api.export(run, format="pt2").path, extra_files=(files := {"metadata.json": ""}))
    assert list(json.loads(json.loads(files["metadata.json"])["scores"])) == ["synthetic_wild-val"]


def test_whoever_takes_an_older_checkpoint_for_a_damaged_one_is_told_so(run, shards, tmp_path, capsys):
    before, last = json.loads((run / "checkpoints" / "list.json").read_text())
    weights = run / "checkpoints" / str(last["step"]) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    told = f"checkpoint {last['step']} is passed over, and that of step {before['step']} taken"
    Image.new("RGB", (24, 24)).save(tmp_path / "face.png")
    for line in (
        f"evaluate --models {run} --data {shards}/test --device cpu",
        f"predict {run} {tmp_path}/face.png --faces none --device cpu",
        f"explain {run} --data {shards}/test --samples 8 --references 0 --points template --methods none --device cpu",
        f"export {run} --format pt2",
        f"cite {run}",
    ):
        assert main(line.split()) == 0
        printed = capsys.readouterr()
        assert printed.err.count(told) == 1, line
        assert told not in printed.out
    said = []
    api.write_card(run, show=said.append)
    assert [told in message.text for message in said] == [True]


def test_a_card_says_the_accuracy_of_each_group_and_the_gap(run):
    known = known_of(RunFolder(str(run)))
    assert "No set names groups of people" in card(known)
    labels = np.zeros(40, dtype=np.int64)
    right = np.arange(40) % 20 < np.where(np.arange(40) < 20, 18, 9)
    shares = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    genders = np.array(["woman", "man"]).repeat(20)
    table = Predictions([str(i) for i in range(40)], labels, shares, ("fear", "anger"), (), {"gender": genders})
    text = card(replace(known, by_attribute={"some-test": by_attribute(table)}))
    assert "### By gender, some-test" in text
    assert "| woman | 20 | 90.0 % |" in text
    assert "| man | 20 | 45.0 % |" in text
    assert "Largest gap: woman over man, 45.0 % (" in text


def test_a_card_says_what_each_calibration_error_is(run):
    _, text = parts(run / "README.md")
    header, _, row = text.split("## Calibration\n\n")[1].splitlines()[:3]
    assert header == "| set | ECE | ECE of a calibrated network, by chance | ECE, debiased |"
    scores = json.loads((run / "scores.json").read_text())["synthetic_wild-val"]
    name = "expected_calibration_error"
    shown = [f"{100 * scores[key]:.1f} %" for key in (name, f"{name}_floor", f"{name}_debiased")]
    assert row.split(" | ")[1:] == [*shown[:2], f"{shown[2]} |"]
    assert "which is not their difference" in text


def test_words_of_others_are_no_markdown_and_no_html(run):
    from fer_dist.report.card import _plain

    assert _plain("a|b\n<b>*c*</b> [d](e) `f` #g") == r"a\|b \<b\>\*c\*\</b\> \[d\](e) \`f\` \#g"


def test_a_readme_that_a_person_wrote_stays(run, shards, capsys):
    (run / "README.md").write_text("mine\n")
    assert main(["evaluate", "--models", str(run), "--data", str(shards / "val"), "--device", "cpu"]) == 0
    assert (run / "README.md").read_text() == "mine\n"
    assert "is no card of fer_dist, and stays as it is" in capsys.readouterr().err


def test_a_damaged_file_costs_the_card_and_not_the_scores(run, shards, capsys):
    (run / "robustness").mkdir()
    (run / "robustness" / "synthetic_wild-val.json").write_text("{")
    assert main(["evaluate", "--models", str(run), "--data", str(shards / "test"), "--device", "cpu"]) == 0
    assert "no card is written" in capsys.readouterr().err
    assert "synthetic_wild-test" in json.loads((run / "scores.json").read_text())


def test_an_export_has_a_card_of_its_file(run):
    found = api.export(run, format="pt2")
    text = found.path.with_name("trained.pt2.md").read_text()
    assert text.startswith(OURS)
    assert "trained.pt2 gives logits. Over 64 drawn faces, no photographs they differ" in text


def test_cite_says_what_the_run_was_made_of(run, capsys):
    assert main(["cite", str(run)]) == 0
    text = capsys.readouterr().out
    (entry,) = json.loads((run / "checkpoints" / "list.json").read_text())[-1:]
    assert entry["files"]["model.safetensors"] in text
    assert "an SE-ResNet-18 of width 16" in text
    assert (
        "for 2 epochs by SGD with Nesterov momentum 0.9, batches of 24, a learning rate of 0.1 (cosine, after 2 epochs"
        in text
    )
    assert re.search(r"@misc\{trained,\n(  [a-z]+ += \{.*\},?\n)+\}\n$", text)


def test_what_the_scores_on_a_set_are_worth_less_for_is_said_beside_them(run):
    known = known_of(RunFolder(str(run)))
    (scores,) = known.scores.values()
    names = {role: held.name for role, held in known.sets.items()}
    fewer = scores | {"masked": ["fear", "anger"], "extra": {"contempt": 16}, "left_out": 4}
    known = replace(known, scores={names["train"]: scores, names["val"]: scores, "other-test": fewer})
    said = {
        names["train"]: "images that it was trained on",
        names["val"]: "looked at after each epoch of its training",
        "other-test": "fear and anger masked, which the set lacks; without 16 of contempt, for which it has no output; "
        "without 4 images of a list",
    }
    text, cited = card(known), methods(known)
    for name, remark in said.items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {name.replace('_', chr(92) + '_')} |")][:1]
        assert row.endswith(f"| {remark} |")
        assert f"On {name} ({scores['samples']:,} images; {remark}) its accuracy" in cited
    assert "Which sets its training saw is not known." not in text
    assert "Which sets its training saw is not known." in card(replace(known, sets={}))


def test_the_recipe_is_whole_and_random_labels_are_said(run):
    known = known_of(RunFolder(str(run)))
    train = replace(known.config.train, epochs=1, warmup_epochs=1, label_smoothing=0.05, precision="bf16")
    config = replace(known.config, train=train, data=replace(known.config.data, random_labels=True))
    for text in (methods(known), card(known)):
        assert RANDOM_LABELS not in text
    cited, text = (of(replace(known, config=config)) for of in (methods, card))
    assert "for 1 epoch by SGD with Nesterov momentum 0.9" in cited
    assert "(cosine, after 1 epoch of warm-up), weight decay" in cited
    assert "label smoothing 0.05, hard labels, precision bf16 and seed" in cited
    assert RANDOM_LABELS in cited
    assert RANDOM_LABELS in text
    for row in ("| warm-up, epochs | 1 |", "| momentum | 0.9 |", "| Nesterov's momentum | yes |"):
        assert row in text


def test_cite_and_runs_say_what_is_wrong_in_a_line(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    wrong = {
        f"cite {tmp_path}/missing": "no such run folder",
        f"cite {tmp_path}/empty": "no checkpoint",
        f"cite {tmp_path}/x.safetensors": "not a model of fer_dist",
        f"runs {tmp_path}/missing": "no such folder; give the one that holds the run folders",
        f"runs {tmp_path}/x.safetensors": "no such folder; give the one that holds the run folders",
    }
    for line, said in wrong.items():
        assert main(line.split()) == 2
        (found,) = capsys.readouterr().err.splitlines()
        assert said in found
    assert main(["runs", str(tmp_path)]) == 0
    assert f"no runs in {tmp_path}" in capsys.readouterr().err


def test_runs_are_listed_with_state_and_scores(run, capsys):
    root = run.parent
    before = Path(shutil.copytree(run, root / "before"))
    listing = before / "checkpoints" / "list.json"
    first, *_ = json.loads(listing.read_text())
    listing.write_text(json.dumps([first]))
    (root / "before" / "scores.json").unlink()
    broken = Path(shutil.copytree(run, root / "broken"))
    (broken / "config.json").write_text("{")
    bare = Path(shutil.copytree(run, root / "bare"))
    shutil.rmtree(bare / "checkpoints")
    (root / "notes").mkdir()
    found = {one.name: one for one in runs_in(str(root))}
    assert {name: one.state.partition(":")[0] for name, one in found.items()} == {
        "trained": "done", "before": "unfinished", "broken": "damaged", "bare": "no checkpoint",
    }  # fmt: skip
    assert (found["trained"].step, found["before"].step) == (found["trained"].steps, first["step"])
    assert main(["runs", str(root)]) == 0
    accuracy = json.loads((run / "scores.json").read_text())["synthetic_wild-val"]["accuracy"]
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "trained" in line]
    assert f"{100 * accuracy:.2f}" in row


def test_runs_of_a_store_are_listed_as_those_of_a_folder(run, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.put(str(run.parent), "/listed/runs", recursive=True)
    ours, theirs = runs_in(str(run.parent)), runs_in("memory://listed/runs")
    assert theirs == ours
    assert RunFolder("memory://listed/runs/trained", trains=False).read("config.json")
