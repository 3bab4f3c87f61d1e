"""Plans: what is read from YAML, what comes back when it is written, and what a plan may not say."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.studies import three_sets, whole

from fer_dist.cli.commands import main
from fer_dist.config.presets import preset
from fer_dist.distributed.hardware import Arithmetic
from fer_dist.errors import InputError
from fer_dist.study import setup
from fer_dist.study.demo import DemoConfig
from fer_dist.study.demo import _plan as demo_plan
from fer_dist.study.jobs import jobs_of
from fer_dist.study.paper import PaperConfig, paper_of, taken_settings
from fer_dist.study.plan import DataSet, Plan, Robustness, StudyConfig, Training, check_plan, evaluations_of, models_of
from fer_dist.study.plan_file import as_yaml, load_plan
from fer_dist.study.setup import prepare, with_precision
from fer_dist.study.side_by_side import flags_of


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return three_sets(tmp_path_factory.mktemp("sets"))


GOOD = "data:\n  a: {shards: SETS/a}\ntrainings:\n  a: {data: a, preset: demo}\n"
WRONG = [
    ("seeds: [0]\nepochs: 3\n", ":6: epochs: no such field; there are: data, trainings"),
    ("trainngs: {}\n", ":5: trainngs: no such field; did you mean trainings?"),
    ("seeds: [0, x]\n", ":5: seeds.1: expected a whole number, found 'x'"),
    ("seeds: 0\n", ":5: seeds: expected a list ([one, another]), found '0'"),
    ("seeds: {first: 0}\n", ":5: seeds: expected a list ([one, another]), found fields"),
    ("robustness:\n  samples: ~\n", ":6: robustness.samples: expected a whole number, found nothing"),
    ("robustness: [1]\n", ":5: robustness: expected fields (name: value), found a list"),
    ("set: 3\n", ":5: set: expected fields (name: value), found '3'"),
    ("evaluations:\n- modles: [a]\n  data: [a]\n", ":6: evaluations.0.modles: no such field; did you mean models?"),
    ("  b:\n    data: a\n    rule: b\n", ":7: trainings.b.rule: no such field; did you mean role?"),
    ("  b:\n    data: a\n    set:\n      train.batch-size: x\n", ":8: trainings.b.set.train.batch-size: expected a"),
    ("seeds: [1, 1]\n", ":5: seeds: [1, 1]: seeds are whole numbers from 0, each once"),
    ("set: {train.epoch: 3}\n", ":5: set.train.epoch: no such setting; did you mean train.epochs?"),
    ("set: {train.epochs: many}\n", ":5: set.train.epochs: expected a whole number, found 'many'"),
    ("set: {data.val: x}\n", ":5: set.data.val: a plan says this with a training's data"),
    ("set: {run.device: cuda}\n", ":5: set.run.device: where it runs is no part of a plan"),
    ("set: {model.emotions: nine}\n", "set: model.emotions nine: give seven, eight, or the names of"),
    ("set: {train.zero_stage: 4}\n", ":5: set.train.zero_stage: expected one of 0, 1, 2, found '4'"),
    ("set: {data.mean: [0, 1]}\n", ":5: set.data.mean: more than 2 values are needed"),
    ("set: {data.mean: [0, 1, 2, 3]}\n", ":5: set.data.mean: expected 3 values, found 4"),
    ("set: {train.momentum: 2}\n", "set: train.momentum 2.0 is out of range"),
    ("preset: papr\n", ":5: preset: no preset 'papr'; did you mean paper?"),
    ("checkpoint: best\nwhole_train: yes\n", ":5: checkpoint: best is chosen by a validation split, which whole_train"),
    ("whole_train: yes\n", "data.a: whole_train, but 20 % of train were cut out as val when its shards were built"),
    ("audit: maybe\n", ":5: audit: expected true or false, found 'maybe'"),
    ("title: one\ntitle: two\n", ":6: title: stands here a second time"),
    ("title: [\n", ":6: not YAML"),
    ("evaluations: [{models: [a], data: [b]}]\n", ":5: evaluations.0.data: no dataset 'b'"),
    ("comparisons: [{with_model: a, without_model: c, data: a}]\n", "comparisons.0.without_model: no training 'c'"),
    ("  b: {data: a, init_from: c}\n  c: {data: a, init_from: b}\n", "goes in a circle (b -> c -> b)"),
    ("  b: {data: a, init_from: b}\n", "trainings.b.init_from: goes in a circle (b -> b)"),
    ("  b: {data: a, init_from: aa}\n", ":5: trainings.b.init_from: no training 'aa'; did you mean a?"),
    (
        "  b: {data: a, init_from: a, preset: demo, set: {model.width: 32}}\n",
        "a is another network (width 16, here 32)",
    ),
    ("  b: {init_from: a}\n", ":5: trainings.b: data is missing"),
    ("  ../b: {data: a}\n", ":5: trainings.../b: a name is made of letters"),
    (f"title: {'x' * 300_000}\n", " bytes, where at most 262,144 make sense); give a file"),
    (f"title: {'[' * 500}\n", "nests deeper than any plan"),
    (f"title:\n  {'- ' * 10_000}\n", "nests deeper than any plan"),
    (
        "evaluations:\n- &e {models: [" + "a," * 1000 + "], data: [a]}\n" + "- *e\n" * 1000,
        ":6: evaluations.99.models.593: more than 100,000 values up to here; write fewer, without aliases",
    ),
    ("attributes: &a [x, *a]\n", ":5: attributes.1: an alias of what it stands in; write it out"),
    (f"seeds: [{','.join(map(str, range(1001)))}]\n", ":4: trainings: 1,001 networks, one for each seed"),
    (
        "evaluations: [{models: [" + "a," * 1000 + "], data: [" + "a," * 1000 + "]}]\n",
        ":5: evaluations: more than 100,000 models on sets",
    ),
]


@pytest.mark.parametrize(("more", "says"), WRONG)
def test_a_wrong_plan_gives_one_line_and_leaves_nothing_behind(sets, tmp_path, capsys, more, says):
    plan = tmp_path / "plan.yaml"
    plan.write_text((GOOD + more).replace("SETS", str(sets)))
    assert main(["study", str(plan), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert says in told
    assert list(tmp_path.iterdir()) == [plan]


@pytest.mark.parametrize(
    ("shards", "says"),
    [
        ("nowhere", "data.a: the split train: "),
        ("c", "data.a: the split train: "),
    ],
)
def test_a_set_that_lacks_what_is_needed_is_named_before_anything_starts(sets, tmp_path, capsys, shards, says):
    plan = tmp_path / "plan.yaml"
    plan.write_text(GOOD.replace("SETS/a", str(sets / shards)))
    assert main(["study", str(plan), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert says in told
    assert not (tmp_path / "out").exists()


def test_a_set_without_a_validation_split_is_trained_on_where_the_plan_says_so_and_else_named(sets, tmp_path, capsys):
    plan, where = tmp_path / "plan.yaml", StudyConfig(out=str(tmp_path / "out"), device="cpu")
    plan.write_text(GOOD.replace("SETS", str(whole(sets, tmp_path / "whole"))))
    assert main(["study", str(plan), "--out", where.out, "--device", "cpu"]) == 2
    told = capsys.readouterr().err
    assert "data.a: the split val: " in told
    assert "--whole-train (in a plan whole_train: true)" in told
    # Without parity, which machines that train in half precision have.
    found = prepare(replace(load_plan(plan), whole_train=True, parity=False), where)
    assert set(found.manifests) == {("a", "train"), ("a", "test")}
    assert found.configs["a"].data.val == ""
    kinds = ["train", "evaluate", "training accuracy", "gallery", "gallery", "measures", "report"]
    assert [job.kind for job in jobs_of(found)] == kinds


def test_what_stands_beside_train_counts_in_a_training_that_reads_it_and_not_in_one_on_all_of_train(sets, tmp_path):
    plan, where = tmp_path / "plan.yaml", StudyConfig(out=str(tmp_path / "out"), device="cpu")
    root = whole(sets, tmp_path / "whole")
    plan.write_text(GOOD.replace("SETS", str(root)))

    def key(whole_train):
        setup = prepare(replace(load_plan(plan), whole_train=whole_train), where)
        return next(job.key for job in jobs_of(setup) if job.kind == "train")

    without = key(True)
    shutil.copytree(sets / "a" / "val", root / "a" / "val")
    assert key(True) == without
    assert key(False) != without


def test_an_emotion_that_a_model_lacks_is_found_before_the_first_training(sets, tmp_path, capsys):
    strange = tmp_path / "strange" / "test"
    strange.mkdir(parents=True)
    for path in (sets / "c" / "test").iterdir():
        content = path.read_bytes()
        if path.name == "manifest.json":
            content = content.replace(b'"fear"', b'"contempt"').replace(b'"six"', b'"strange"')
        (strange / path.name).write_bytes(content)
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        GOOD.replace("SETS", str(sets)).replace("trainings", f"  x: {{shards: {strange.parent}}}\ntrainings")
    )
    assert main(["study", str(plan), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 2
    assert "the data has contempt, which the model does not have" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_sets_of_one_name_are_refused(sets, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["study", "paper", "--a", str(sets / "a"), "--b", str(sets / "a"), *out]) == 2
    assert "two of the sets are called synthetic_wild" in capsys.readouterr().err


def test_a_folder_of_something_else_is_left_alone(sets, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    arguments = ["--a", str(sets / "a"), "--b", str(sets / "b"), "--out", str(tmp_path), "--preset", "demo"]
    assert main(["study", "paper", *arguments]) == 2
    assert "not empty, and not a study" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_plan_that_is_written_is_read_as_the_same_plan(tmp_path):
    paper = PaperConfig(
        seeds="0,5", whole_train=True, robustness=True, title="no: # [tricky]", freeze=2, layer_decay=0.7
    )
    names, places = {"a": "one", "b": "two", "c": "1e3"}, {"a": "/x", "b": "s3://y/z", "c": "no"}
    plan = paper_of(names, places, paper, {"data.flip": True, "train.lr": 1e-5})
    assert plan.trainings["one-to-two-frozen"].set == {"train.freeze": 2}
    assert plan.trainings["one-to-two-layered"].set == {"train.layer_decay": 0.7}
    path = tmp_path / "plan.yaml"
    path.write_text(as_yaml(plan))
    assert load_plan(path) == plan


def test_words_that_yaml_takes_for_something_else_stay_what_the_field_says(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text("data: {no: {shards: on}}\ntrainings: {1: {data: no, set: {train.lr: 1e-3, data.flip: yes}}}\n")
    plan = load_plan(path)
    assert plan.data == {"no": DataSet("on")}
    assert plan.trainings["1"].set == {"train.lr": 0.001, "data.flip": True}


def test_the_papers_plan_has_its_three_models_and_sets_the_transferred_one_beside_both_others():
    plan = paper_of({"a": "x", "b": "y"}, {"a": "/x", "b": "/y"}, PaperConfig(seeds="0"), {})
    check_plan(plan)
    assert [(model.name, model.parent) for model in models_of(plan)] == [("x", ""), ("y", ""), ("x-to-y", "x")]
    assert set(evaluations_of(plan)) == {(model, data) for model in ("x", "y", "x-to-y") for data in ("x", "y")}
    compared = [(pair.with_model, pair.without_model, pair.data) for pair in plan.comparisons]
    assert compared == [("x-to-y", "y", "y"), ("x-to-y", "x", "x")]


def test_the_papers_plan_trains_each_network_with_three_seeds_and_the_demos_with_one():
    names, places = {"a": "x", "b": "y"}, {"a": "/x", "b": "/y"}
    plan = paper_of(names, places, PaperConfig(), {})
    check_plan(plan)
    assert [(model.name, model.parent) for model in models_of(plan) if model.training == "x-to-y"] == [
        (f"x-to-y-seed{seed}", f"x-seed{seed}") for seed in (0, 1, 2)
    ]
    assert len(models_of(plan)) == 9
    assert {model.seed for model in models_of(demo_plan(Path("out"), DemoConfig(seed=5)))} == {5}


def test_a_dry_run_counts_a_training_for_each_seed(sets, tmp_path, capsys):
    rows, shared = tmp_path / "rows.json", ["--out", str(tmp_path / "out"), "--device", "cpu", "--dry-run"]
    small = ["--preset", "demo", "--set.data.size", "24", "--set.data.crop", "20", "--set.train.batch-size", "20"]
    words = ["study", "paper", "--a", str(sets / "a"), "--b", str(sets / "b"), *small, *shared, "--json", str(rows)]
    assert main(words) == 0
    told = [row["job"] for row in json.loads(rows.read_text()) if row["job"].startswith("train ")]
    assert len(told) == len(set(told)) == 9
    assert "9 trainings: 3 networks with 3 seeds each, " in capsys.readouterr().err


def test_each_seed_starts_from_the_same_seed_of_its_parent_or_from_its_only_one():
    plan = Plan({"d": DataSet("d")}, {"late": Training("d", init_from="early"), "early": Training("d")}, seeds=(3, 4))
    assert [(model.name, model.parent) for model in models_of(plan)] == [
        ("early-seed3", ""),
        ("early-seed4", ""),
        ("late-seed3", "early-seed3"),
        ("late-seed4", "early-seed4"),
    ]
    lone = replace(plan, trainings=plan.trainings | {"early": Training("d", seeds=(9,))})
    assert {model.parent for model in models_of(lone)} == {"", "early"}
    other = replace(plan, trainings=plan.trainings | {"early": Training("d", seeds=(3, 9))})
    with pytest.raises(InputError, match="early is not trained with seed 4"):
        check_plan(other)
    with pytest.raises(InputError, match="at least 0"):
        check_plan(replace(plan, robustness=Robustness(samples=-1)))


def test_settings_of_the_command_line_have_the_type_of_their_field():
    words = ["--a", "x", "--set.train.batch-size", "8", "--set.data.flip=true", "--set.data.mean", "[0.1, 0.2, 0.3]"]
    rest, settings = taken_settings([*words, "--set.train.zero-stage", "2", "--set.train.deepspeed-config=#1: {"])
    assert rest == ["--a", "x"]
    assert settings == {
        "train.batch_size": 8,
        "data.flip": True,
        "data.mean": (0.1, 0.2, 0.3),
        "train.zero_stage": 2,
        "train.deepspeed_config": "#1: {",
    }
    with pytest.raises(InputError, match=r"did you mean train\.lr"):
        taken_settings(["--set.train.lrr", "1"])
    with pytest.raises(InputError, match=r"^--set\.run\.device: where it runs is no part of a plan"):
        taken_settings(["--set.run.device", "cpu"])
    with pytest.raises(InputError, match=r"--set\.train\.lr: a value is missing"):
        taken_settings(["--set.train.lr", "--b"])


def test_a_configuration_and_the_flags_made_of_it_are_the_same():
    from fer_dist.config.flags import flat, parse
    from fer_dist.config.settings import Config
    from fer_dist.storage.paths import settled

    base = preset("demo")
    data = replace(base.data, train="/x y", flip=False, mean=(0.1, 0.2, 0.3), on_bad="skip")
    config = replace(base, data=data, train=replace(base.train, lr=1e-7, nesterov=False, compile="on"))

    from dataclasses import dataclass
    from typing import Annotated

    @dataclass(frozen=True)
    class Flags:
        config: Annotated[Config, flat()]

    assert parse(Flags, flags_of(config, "demo"), "train demo", base).config == settled(config)


def test_a_plan_that_leaves_the_arithmetic_open_takes_what_is_fast_where_it_runs_and_keeps_it(
    tmp_path, monkeypatch
) -> None:
    plan = Plan({"a": DataSet("a")}, {"a": Training("a"), "b": Training("a", set={"train.precision": "tf32"})})
    out, where = tmp_path / "out", StudyConfig(device="cpu")
    hardware = {"ddp": "fp16", "deepspeed": "fp32"}
    monkeypatch.setattr(setup, "fastest", lambda device, strategy: Arithmetic(hardware[strategy], "a card"))
    found = with_precision(plan, where, out)
    assert found.set == {"train.precision": "fp16"}
    assert found.trainings == plan.trainings
    with_deepspeed = replace(plan, set={"train.strategy": "deepspeed"})
    assert with_precision(with_deepspeed, where, out).set["train.precision"] == "fp32"
    # Begun on other hardware, it goes on as it began; what is asked for is as it is.
    out.mkdir()
    (out / "plan.yaml").write_text(as_yaml(replace(plan, set={"train.precision": "bf16"})))
    assert with_precision(plan, where, out).set == {"train.precision": "bf16"}
    asked = replace(plan, set={"train.precision": "fp32"})
    assert with_precision(asked, where, out) == asked
