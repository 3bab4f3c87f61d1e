"""The published study's plan on three tiny sets: to its end, again, changed, interrupted, and side by side."""

import json
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from support.faces import tree, wait_for
from support.page import Page
from support.runs import command, counted_openings, environment
from support.studies import found, measured, paper, three_sets, traced, uncounted, whole

from fer_dist.cli.commands import main
from fer_dist.data.shards.manifest import load_manifest, save_manifest
from fer_dist.errors import WorkError
from fer_dist.evaluate.evaluate import Result
from fer_dist.evaluate.results import load_predictions
from fer_dist.progress import Terminal
from fer_dist.report.findings import from_json
from fer_dist.runs.curves import load_curves
from fer_dist.study import jobs as jobs_module
from fer_dist.study import study as study_module
from fer_dist.study import training as training_module
from fer_dist.study.evaluating import record_evaluation
from fer_dist.study.gathering import findings
from fer_dist.study.jobs import jobs_of
from fer_dist.study.plan import StudyConfig
from fer_dist.study.plan_file import load_plan
from fer_dist.study.records import Records, locked
from fer_dist.study.running import Running
from fer_dist.study.setup import prepare
from fer_dist.study.training import record_training
from fer_dist.train.start import start

VERDICTS = "shown", "contradicted", "not shown"
A, B, AB = "synthetic_wild", "synthetic_lab", "synthetic_wild-to-synthetic_lab"


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return three_sets(tmp_path_factory.mktemp("sets"))


@pytest.fixture(scope="module")
def ran():
    """Kind of job -> the modules that the undisturbed study ran for it."""
    return {}


@pytest.fixture(scope="module")
def openings():
    """Place of a set -> how often the undisturbed study had opened it when its last training ended."""
    return {}


@pytest.fixture(scope="module")
def finished(sets, ran, openings, tmp_path_factory):
    """The folder of a study that nothing disturbed."""
    out = tmp_path_factory.mktemp("studies") / "undisturbed"

    def noted(*words):
        place = start(*words)
        openings.update(counted)
        return place

    with counted_openings() as counted, pytest.MonkeyPatch.context() as patch, traced() as found:
        patch.setattr(training_module, "start", noted)
        assert main(paper(sets, out)) == 0
    ran |= found
    return out


def test_a_study_opens_what_it_trains_on_once_for_its_checks_its_audit_and_all_its_trainings(finished, openings, sets):
    splits = [f"{sets}/{name}/{split}" for name in "ab" for split in ("train", "val")]
    assert {place: openings[place] for place in splits} == dict.fromkeys(splits, 1)


def test_what_a_job_runs_counts_in_its_key(finished, ran):
    assert set(ran) == {
        "audit", "train", "evaluate", "training accuracy", "parity", "measures", "compare", "ranking", "gallery",
        "report",
    }  # fmt: skip
    assert {"data.inspection.clean", "study.measuring"} <= ran["audit"]
    assert {"train.engine", "data.loading.order"} <= ran["train"]
    assert {"report.plots", "scores.figures.canvas"} <= ran["report"]
    assert not any(uncounted(ran).values()), uncounted(ran)


def test_the_papers_plan_runs_to_its_report(finished):
    study = from_json((finished / "study.json").read_bytes())
    assert [(model.name, model.role, model.started_from) for model in study.models] == [
        (A, "a", None),
        (B, "b", None),
        (AB, "a-b", A),
    ]
    assert study.roles == {"a": A, "b": B, "c": "six"}
    assert {(result.model, result.dataset) for result in study.results} == {
        (model, data) for model in (A, B, AB) for data in (A, B, "six")
    }
    for result in study.results:
        assert result.scores["masked"] == (["neutrality"] if result.dataset == "six" else [])
        assert (
            result.scores["samples"]
            == load_predictions(
                finished / "runs" / result.model / "predictions" / f"{result.set_name}.parquet"
            ).labels.shape[0]
        )
        assert result.detail
        assert result.without_copies["samples"] == result.scores["samples"] - result.without_copies["left_out"]
        own = result.dataset == {A: A, B: B, AB: B}[result.model]
        assert (result.against_own is None) == own
        assert own or len(result.against_own["emotions"]) == (6 if result.dataset == "six" else 7)
    compared = [(one.with_model, one.without_model, one.dataset) for one in study.comparisons]
    assert compared == [(AB, B, B), (AB, A, A)]
    assert [one.paired["samples"] for one in study.comparisons] == [40, 40]
    for model in study.models:
        assert [step for step, _ in model.curves["validation/accuracy"]] == [4, 8]
        assert model.seconds > 0
        assert model.images == 80
        assert "train.epochs 2 in place of 20" in model.departures
        # Of 80 images that were left for training, each asked about once: the demo takes one crop.
        assert model.training_accuracy.keys() == {"images", "answers", "accuracy", "interval"}
        assert (model.training_accuracy["images"], model.training_accuracy["answers"]) == (80, 1)
        assert "40 differ" in model.settings["in bf16"]
        assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d", model.began)
        assert model.config["train.epochs"] == 2
        assert not [value for value in model.config.values() if str(value).startswith("/")]
        assert {"train/learning_rate", "train/images_per_second", "train/data_wait"} <= model.curves.keys()
    for ranking in study.rankings:
        others = [one.scores["accuracy"] for one in study.results if one.set_name == ranking.set_name]
        (best,) = {one.scores["accuracy"] for one in study.results
                   if (one.set_name, one.model) == (ranking.set_name, ranking.best)}  # fmt: skip
        assert best == max(others)
        assert ranking.pairs == 3
        assert len(ranking.tests) == 2
        assert all(test["difference"] >= 0 and test["samples"] for test in ranking.tests.values())
    assert [ranking.dataset for ranking in study.rankings] == [A, B, "six"]
    assert [(one.model, one.set_name) for one in study.galleries] == [
        (A, f"{A}-test"), (B, f"{B}-test"), (AB, f"{B}-test"), ("", f"{A}-train"), ("", f"{B}-train"),
    ]  # fmt: skip
    entries = [entry for gallery in study.galleries for one in gallery.lists for entry in one["entries"]]
    assert entries
    for entry in entries:
        with Image.open(finished / entry["file"]) as image:
            assert image.size == (64, 64)
    assert study.variants.keys() == study.class_counts.keys()
    page = (finished / "report.html").read_text()
    assert all(name in page for name in (A, B, AB, "six"))


def test_the_page_is_made_again_with_and_without_its_faces(finished, tmp_path):
    for name in ("study.json", "gallery"):
        copy = shutil.copytree if (finished / name).is_dir() else shutil.copy
        copy(finished / name, tmp_path / name)
    assert main(["study", "report", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    assert page == (finished / "report.html").read_text()
    study = from_json((finished / "study.json").read_bytes())
    entries = [entry for gallery in study.galleries for one in gallery.lists for entry in one["entries"]]
    assert page.count("data:image/jpeg") == len(entries)
    assert main(["study", "report", str(tmp_path), "--no-images"]) == 0
    without = (tmp_path / "report.html").read_text()
    assert "data:image" not in without
    assert all(entry["key"] in without for entry in entries)


def test_a_study_that_is_done_touches_no_run_and_says_so(sets, finished, capsys):
    before = tree(finished)
    assert main(paper(sets, finished)) == 0
    assert tree(finished) == before
    jobs = len(list((finished / "jobs").glob("*.json")))
    assert f"{jobs} jobs, {jobs} of them done already" in capsys.readouterr().err


def test_a_changed_seed_asks_for_no_more_than_what_depends_on_it(sets, finished, tmp_path, capsys):
    assert main(paper(sets, finished, "--print")) == 0
    plan = tmp_path / "plan.yaml"
    text = capsys.readouterr().out
    start = text.index(f"\n  {AB}:")
    plan.write_text(text[:start] + text[start:].replace("seeds: []", "seeds: [1]", 1).replace("comparisons:", "x:", 1))
    lines = [line for line in plan.read_text().splitlines() if not line.startswith(("x:", "- {with"))]
    # Another seed starts from the only one that its parent has.
    plan.write_text("\n".join(lines))
    rows = tmp_path / "rows.json"
    more = ["--out", str(finished), "--threads", "1", "--device", "cpu", "--dry-run", "--json", str(rows)]
    before = tree(finished)
    assert main(["study", str(plan), *more]) == 0
    assert tree(finished) == before
    missing = {row["job"] for row in json.loads(rows.read_text()) if row["state"] != "done"}
    assert missing
    assert all(AB in name or name == "report" or name.startswith("the best on") for name in missing)
    done = {row["job"] for row in json.loads(rows.read_text()) if row["state"] == "done"}
    assert f"train {A} on {A}" in done
    assert not [name for name in done if name.startswith((f"train {AB}", f"evaluate {AB}", f"measures of {AB}"))]


def test_a_changed_setting_trains_beside_what_was_trained(sets, finished, tmp_path, capsys):
    before = tree(finished / "runs" / A)
    rows = tmp_path / "rows.json"
    arguments = paper(sets, finished, "--set.train.lr", "0.01", "--dry-run", "--json", str(rows))
    assert main(arguments) == 0
    assert {row["state"] for row in json.loads(rows.read_text())} == {"done", "to do"}
    done = [row["job"] for row in json.loads(rows.read_text()) if row["state"] == "done"]
    # What looks at sets alone stands.
    assert done == ["audit of 7 sets", "examples of synthetic_wild-train", "examples of synthetic_lab-train"]
    assert tree(finished / "runs" / A) == before


def test_a_study_that_was_stopped_and_killed_finds_what_an_undisturbed_one_finds(sets, finished, tmp_path):
    out = tmp_path / "disturbed"
    words = [sys.executable, "-m", "fer_dist.cli", *paper(sets, out, "--set.train.save-every-steps", "1")]
    begun = subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (out / "runs" / A / "checkpoints" / "list.json").is_file(), 120)
    begun.send_signal(signal.SIGTERM)
    _, told = begun.communicate(timeout=60)
    assert begun.returncode == 1
    assert told.splitlines()[-1].endswith("The same command goes on from there")
    assert not (out / "study.json").exists()
    begun = subprocess.Popen(words, env=environment(), stderr=subprocess.DEVNULL)
    wait_for(lambda: (out / "runs" / AB / "checkpoints" / "list.json").is_file(), 120)
    begun.kill()
    begun.wait(10)
    assert not (out / "study.json").exists()
    assert main(words[3:]) == 0
    mine, theirs = measured(out), measured(finished)
    assert mine["results"] == theirs["results"]
    assert mine["comparisons"] == theirs["comparisons"]
    for model in (A, B, AB):
        # Points lie at the same steps, each once, but for one where an attempt went on just before it.
        steps = [step for step, _ in load_curves(out / "runs" / model)["train/loss"]]
        assert steps == sorted(set(steps) & {2, 4, 6, 8})
        assert len(steps) >= 3


def test_trainings_side_by_side_find_what_they_find_one_by_one(sets, finished, tmp_path):
    out = tmp_path / "side-by-side"
    assert main(paper(sets, out, "--side-by-side", "2")) == 0
    mine, theirs = measured(out), measured(finished)
    assert mine == theirs
    assert {path.name for path in (out / "logs").iterdir()} == {f"{name}.log" for name in (A, B, AB)}


@pytest.mark.ray
@pytest.mark.slow
def test_a_study_on_ray_evaluates_as_tasks_and_ends_with_its_report(sets, tmp_path):
    out = tmp_path / "ray"
    # In a process of its own: Ray warns of what is deprecated within itself, and warnings are errors here.
    ended = command(*paper(sets, out, "--ray.workers", "2", "--set.train.epochs", "1", "--no-audit"), timeout=500)
    assert ended.returncode == 0, ended.stderr
    assert len(found(out)["results"]) == 9
    assert "2 Ray workers" in found(out)["hardware"]


def test_every_test_split_is_read_after_all_training_is_over(sets, tmp_path):
    rows = tmp_path / "rows.json"
    assert main(paper(sets, tmp_path / "out", "--dry-run", "--json", str(rows))) == 0
    kinds = [row["job"].split()[0] for row in json.loads(rows.read_text())]
    assert kinds.count("train") == 3
    last = max(place for place, kind in enumerate(kinds) if kind == "train")
    assert set(kinds[: last + 1]) == {"audit", "train"}
    assert not (tmp_path / "out").exists()


def at_work(finished):
    setup = prepare(load_plan(finished / "plan.yaml"), StudyConfig(out=str(finished), device="cpu", threads=1))
    jobs = jobs_of(setup)
    return Running(setup, Records(finished), {job.key: job for job in jobs}, Terminal(), lambda: False)


def test_an_image_more_or_less_than_the_set_holds_fails_the_evaluation(finished):
    running = at_work(finished)
    job = running.job("evaluate", A, A)
    known = running.records.read(job.key)
    scores = known["scores"] | {"samples": known["scores"]["samples"] - 1}
    with pytest.raises(WorkError, match="39 images scored, but the set holds 40"):
        record_evaluation(running, job, Result(A, f"{A}-test", scores, {}, Path()), 1.0)
    # One that did not decode is accounted for.
    record_evaluation(running, job, Result(A, f"{A}-test", scores, {"face": "shard"}, Path()), 1.0)
    record_evaluation(running, job, Result(A, f"{A}-test", known["scores"], {}, Path()), known["seconds"])


def test_a_model_of_other_emotions_than_the_plans_is_not_taken(finished):
    running = at_work(finished)
    config = running.setup.configs[A]
    eight = replace(config, model=replace(config.model, emotions="eight"))
    changed = replace(running, setup=replace(running.setup, configs={**running.setup.configs, A: eight}))
    with pytest.raises(WorkError, match="its file says surprise"):
        record_training(changed, running.job("train", A))


def test_what_scores_a_validation_counts_in_a_training_where_it_chooses_the_weights(finished, monkeypatch):
    def keys(checkpoint):
        plan = replace(load_plan(finished / "plan.yaml"), checkpoint=checkpoint)
        jobs = jobs_of(prepare(plan, StudyConfig(out=str(finished), device="cpu", threads=1)))
        return {job.key for job in jobs if job.kind == "train"}

    last, best = keys("last"), keys("best")
    monkeypatch.setattr(
        jobs_module, "_code", lambda kind, known=jobs_module._code: known(kind) + "!" * (kind == "evaluate")
    )
    assert keys("last") == last
    assert not keys("best") & best


def test_a_second_study_does_not_enter_a_folder_where_one_is_at_work(sets, tmp_path, capsys):
    out = tmp_path / "busy"
    with locked(out):
        assert main(paper(sets, out)) == 2
    assert "another study is at work there" in capsys.readouterr().err
    assert not (out / "plan.yaml").exists()


def test_a_plan_of_ones_own_with_several_seeds_puts_their_scores_together(sets, tmp_path):
    out, plan = tmp_path / "seeds", tmp_path / "mine.yaml"
    plan.write_text(
        f"data: {{faces: {{shards: {sets / 'a'}}}}}\ntrainings: {{faces: {{data: faces}}}}\nseeds: [0, 7]\n"
        "preset: demo\nset: {data.size: 24, data.crop: 20, train.batch_size: 20, train.epochs: 1, train.lr: 1e-1}\n"
        "parity: no\ncheckpoint: best\nrobustness: {run: yes, samples: 10}\n"
        "explain: {run: yes, samples: 40, planted: 0}\n"
    )
    with traced() as ran:
        assert main(["study", str(plan), "--out", str(out), "--threads", "1", "--device", "cpu"]) == 0
    assert {f"evaluate.robustness.{name}" for name in ("measure", "corruptions", "regions")} <= ran["robustness"]
    assert not any(uncounted(ran).values()), uncounted(ran)
    study = found(out)
    assert [(m["name"], m["group"], m["seed"]) for m in study["models"]] == [
        ("faces-seed0", "faces", 0),
        ("faces-seed7", "faces", 7),
    ]
    (over,) = study["seeds"]
    values = [result["scores"]["accuracy"] for result in study["results"]]
    assert len(values) == over["values"]["n"] == 2
    assert over["values"]["accuracy"]["mean"] == pytest.approx(sum(values) / 2)
    assert [result["robustness"] and result["robustness"]["samples"] for result in study["results"]] == [10, None]
    # Nobody looked for copies.
    assert [result["without_copies"] for result in study["results"]] == [None, None]
    explained = [result["explained"] for result in study["results"]]
    assert [values["methods"] for values in explained] == [["grad-cam"], []]
    assert ["grad-cam, random labels" in values["regions"] for values in explained] == [True, False]
    # One training on random labels, which is none of the study's models.
    (control,) = (out / "controls").iterdir()
    assert json.loads((control / "config.json").read_text())["config"]["data"]["random_labels"]
    tested = explained[0]["claims"]["right half over left half"]["all emotions"]
    assert tested["networks"] == 2
    assert explained[0]["verdicts"]["right half over left half"]["all emotions"]["verdict"] in VERDICTS
    page = Page((out / "report.html").read_text())
    of = ": faces seed0 synthetic wild test"
    assert [alt.removesuffix(of) for alt in page.values("img", "alt") if alt.endswith(of)] == [
        "Feature maps of images that are right with p > 0.9, the surest of each emotion",
        "Feature maps of misclassified images, the surest of each emotion",
        "Where the regions of faces are taken to be",
    ]
    assert (out / "runs" / "faces-seed0" / "explain" / "synthetic_wild-test.json").is_file()


@pytest.mark.slow
def test_methods_are_tried_on_faces_whose_emotion_shows_in_one_part_alone(sets, tmp_path):
    out, plan = tmp_path / "out", tmp_path / "mine.yaml"
    plan.write_text(
        f"data: {{faces: {{shards: {sets / 'a'}}}}}\ntrainings: {{faces: {{data: faces}}}}\npreset: demo\n"
        "set: {data.size: 24, data.crop: 20, train.batch_size: 20, train.epochs: 1}\nparity: no\n"
        "explain: {run: yes, samples: 20, planted: 3000, methods: [grad-cam, integrated-gradients]}\n"
    )
    with traced() as ran:
        assert main(["study", str(plan), "--out", str(out), "--threads", "1", "--device", "cpu"]) == 0
    assert not any(uncounted(ran).values()), uncounted(ran)
    planted = {one["cue"]: one for one in found(out)["planted"]}
    assert set(planted) == {"mouth", "eyes", "left"}
    for cue in ("mouth", "eyes"):
        method = planted[cue]["methods"]["integrated-gradients"]
        assert method["found"] > 0.5
        assert planted[cue]["hiding"] > 0.5
        beside = (method["random_weights"], method["random_labels"], *planted[cue]["controls"].values())
        assert max(beside) < method["found"] - 0.2
    page = Page((out / "report.html").read_text())
    assert "planted in" in " ".join(page.text)


def test_a_study_on_all_of_train_needs_no_validation_split_to_its_end(sets, tmp_path, monkeypatch):
    out, plan, kept = tmp_path / "out", tmp_path / "mine.yaml", []
    # What it finds; the page's figures take longer than all the rest.
    monkeypatch.setattr(
        study_module, "_report", lambda running, job, commands: kept.append(findings(running, commands))
    )
    plan.write_text(
        f"data: {{faces: {{shards: {whole(sets, tmp_path / 'whole') / 'a'}}}}}\ntrainings: {{faces: {{data: faces}}}}\n"
        "preset: demo\nset: {data.size: 24, data.crop: 20, train.batch_size: 20, train.epochs: 1}\nwhole_train: yes\n"
        "parity: no\naudit: yes\n"
    )
    assert main(["study", str(plan), "--out", str(out), "--threads", "1", "--device", "cpu"]) == 0
    (study,) = kept
    (model,) = study.models
    assert "train/accuracy" in model.curves
    assert not [name for name in model.curves if name.startswith("validation/")]
    assert study.class_counts.keys() == {f"{A}-train", f"{A}-test"}
    assert study.results[0].without_copies


def test_a_validation_split_that_is_a_test_split_is_refused_before_anything_is_written(sets, tmp_path, capsys):
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for split in ("train", "test"):
        (wrong / split).symlink_to(sets / "a" / split)
    (wrong / "val").mkdir()
    for path in (sets / "a" / "test").iterdir():
        if path.name != "manifest.json":
            (wrong / "val" / path.name).symlink_to(path)
    save_manifest(wrong / "val", replace(load_manifest(sets / "a" / "test"), split="test"))
    arguments = ["study", "paper", "--a", str(wrong), "--b", str(sets / "b"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "is a test split" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_each_run_of_a_study_has_a_card_of_its_scores(finished):
    study = from_json((finished / "study.json").read_bytes())
    cards = sorted(finished.rglob("README.md"))
    assert len(cards) == len(study.models)
    sets = {result.set_name for result in study.results}
    assert all(name.replace("_", "\\_") in card.read_text() for card in cards for name in sets)
