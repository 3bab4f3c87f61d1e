"""A study's findings: what is written is read again, and what does not fit together is refused."""

import json
from dataclasses import replace

import pytest

from fer_dist.config.presets import preset
from fer_dist.config.settings import with_settings
from fer_dist.errors import InputError
from fer_dist.report.findings import Comparison, Model, Result, Seeds, Study, from_json, to_json
from fer_dist.study.gathering import _departures, spoken_settings

SCORES = {"samples": 10, "accuracy": 0.8, "accuracy_interval": [0.5, 0.9], "macro_f1": None}


def small() -> Study:
    models = (
        Model(
            "wild",
            "wild",
            curves={"train/loss": [(1, 1.9), (2, 1.5)]},
            role="a",
            settings={"epochs": "2"},
            images=8,
            departures=("train.epochs 2 in place of 20",),
        ),
        Model("lab", "lab", started_from="wild", group="labs", seed=3),
    )
    results = (Result("wild", "lab", SCORES), Result("lab", "lab", SCORES, detail={"prior": None}))
    comparisons = (Comparison("lab", "wild", "lab", paired={"p": 0.5, "interval": [-0.1, 0.1]}),)
    seeds = (Seeds("labs", "lab", "test", {"n": 1, "accuracy": {"mean": 0.8, "deviation": None, "values": [0.8]}}),)
    counts = {"lab-test": {"fear": 3}}
    return Study(
        "Gesichter – ä",
        models,
        results,
        comparisons,
        counts,
        ("do",),
        seeds=seeds,
        maps=("m.png",),
        variants={"lab-test": "drawn"},
    )


def test_a_study_is_read_as_it_was_written():
    assert from_json(to_json(small())) == small()
    assert to_json(from_json(to_json(small()))) == to_json(small())


def test_a_study_of_an_earlier_version_is_read_and_what_it_does_not_say_is_not_known():
    content = json.loads(to_json(small()))
    content.pop("variants")
    for model in content["models"]:
        for name in ("images", "departures", "training_accuracy"):
            model.pop(name)
    study = from_json(json.dumps(content))
    assert study.variants == {}
    assert {(model.images, model.departures, model.training_accuracy) for model in study.models} == {(None, None, None)}


def test_a_number_that_json_does_not_have_is_not_written():
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json(replace(small(), seconds=float("nan")))


def test_the_departures_of_a_training_are_the_settings_of_its_recipe_that_are_not_the_papers():
    paper = preset("paper")
    asis = replace(
        paper,
        data=replace(paper.data, train="/x", val="/y", threads=3, on_bad="skip"),
        train=replace(paper.train, seed=5, precision="fp32", init_from="/z", log_every=1),
    )
    assert _departures(paper) == _departures(asis) == ()
    other = replace(paper, data=replace(paper.data, flip=True), train=replace(paper.train, epochs=2))
    assert _departures(other) == ("data.flip True in place of False", "train.epochs 2 in place of 20")
    assert any(text.startswith("model.width") for text in _departures(preset("demo")))


def test_no_setting_of_a_training_is_named_twice():
    changed = {"train.epochs": 3, "train.batch_size": 64, "train.lr": 0.05, "data.views": "fold", "train.momentum": 0.5}
    assert spoken_settings("paper", with_settings(preset("paper"), changed), changed) == {
        "preset": "paper", "epochs": "3", "learning rate": "0.05", "batch": "64", "views": "fold",
        "train.momentum": "0.5",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "s.json: not a study"),
        ("[]", "s.json: not a study"),
        ('{"format": 2}', "s.json: written in another format than 1"),
        ('{"format": 1, "title": "t"}', "s.json: not a study .*: models: Field required; make"),
        ("[" * 100_000, "s.json: not a study .*: Invalid JSON: recursion limit"),
        ('{"format": 1, "title": "\\ud800"}', "s.json: not a study .*: Invalid JSON"),
        ('{"format": null}', "s.json: not a study .*: format: Input should be a valid integer"),
    ],
)
def test_a_file_that_is_no_study_is_an_input_error(text, message):
    with pytest.raises(InputError, match=message):
        from_json(text, "s.json")


@pytest.mark.parametrize(
    ("part", "entry", "message"),
    [
        ("models", {"name": "x", "curves": {}}, "trained_on"),
        (
            "models",
            {"name": "x", "trained_on": "y", "curves": {}, "colour": 1},
            r"models\.2\.colour: not known to this",
        ),
        ("models", {"name": "x", "trained_on": 3}, r"models\.2\.trained_on: Input should be a valid string"),
        ("models", {"name": "x", "trained_on": "y", "parameters": 1.5}, r"models\.2\.parameters: Input should be"),
        ("models", {"name": "x", "trained_on": "y", "seconds": float("nan")}, r"models\.2\.seconds: Input should be"),
        (
            "models",
            {"name": "x", "trained_on": "y", "curves": {"l": [[1]]}},
            r"models\.2\.curves\.l\.0\.1: Field required",
        ),
        ("models", {"name": "x", "trained_on": "y", "curves": None}, r"models\.2\.curves: Input should be"),
        ("models", None, r"models\.2: Input should be an object"),
        ("results", {"model": "lab", "dataset": "x", "scores": None}, r"results\.2\.scores: Input should be"),
        (
            "results",
            {"model": "lab", "dataset": "x", "scores": {"a": float("inf")}},
            r"results\.2\.scores\.a: NaN or an",
        ),
        ("commands", 3, r"commands\.1: Input should be a valid string"),
        ("maps", None, r"maps\.1: Input should be a valid string"),
        ("results", {"model": "other", "dataset": "lab", "scores": SCORES}, "'other', which is not among its models"),
        ("results", {"model": "lab", "dataset": "film", "scores": {"samples": 3}}, "'lab' on film-test lacks accuracy"),
        ("results", {"model": "lab", "dataset": "lab", "scores": SCORES}, "comes twice"),
        ("comparisons", {"with_model": "lab", "without_model": "wild", "dataset": "film"}, "has no result there"),
        ("seeds", {"group": "films", "dataset": "lab", "split": "test", "values": {}}, "'films', which is no group"),
    ],
)
def test_parts_that_do_not_fit_together_are_an_input_error(part, entry, message):
    content = json.loads(to_json(small()))
    content[part].append(entry)
    with pytest.raises(InputError, match=rf"^s\.json: .*{message}.*; make the study again$"):
        from_json(json.dumps(content), "s.json")
