"""A study with everything in it, made from random predictions: for tests of the report, which must show all of it."""

from typing import Any

import numpy as np

from fer_dist.data.emotions import SEVEN
from fer_dist.evaluate.robustness.regions import CONTROL
from fer_dist.report.findings import Comparison, Model, Ranking, Result, Seeds, Study
from fer_dist.scores.compare import over_seeds, paired, without
from fer_dist.scores.detail import detail
from fer_dist.scores.metrics import scores
from fer_dist.scores.table import Predictions

SHARES = {
    "affectnet": (0.06, 0.03, 0.02, 0.09, 0.10, 0.45, 0.25),
    "drawn-lab": (0.11, 0.03, 0.07, 0.07, 0.20, 0.35, 0.17),
    "tcce": (0.18, 0.03, 0.17, 0.20, 0.22, 0.20, 0.0),
}
KINDS = (
    ("affectnet", "affectnet", None, "a", 2.2),
    ("lab", "drawn-lab", None, "b", 2.0),
    ("affectnet-to-lab", "drawn-lab", "affectnet", "a-b", 3.0),
)
"""Group of models, what they are trained on, the group that they start from, their role, and how good they are."""
CORRUPTIONS = {
    "gaussian_noise": "noise",
    "shot_noise": "noise",
    "motion_blur": "blur",
    "fog": "weather",
    "jpeg": "digital",
}
REGIONS = {"eyes": 0.13, "nose": 0.05, "mouth": 0.22, "left half": 0.2, "right half": 0.24}


def drawn_predictions(dataset: str, skill: float, samples: int, model: str) -> Predictions:
    """Random answers that are better the more skill and the more frequent the emotion. The same images for all."""
    images = np.random.default_rng(list(dataset.encode()))
    shares = np.array(SHARES[dataset])
    labels = images.choice(7, samples, p=shares)
    gender = images.choice(["female", "male", "unsure"], samples, p=(0.5, 0.4, 0.1))
    random = np.random.default_rng(list((dataset + model).encode()))
    logits = random.normal(0, 1, (samples, 7))
    logits[np.arange(samples), labels] += skill * (0.6 + shares[labels])
    masked = ("neutrality",) if shares[6] == 0 else ()
    weights = np.exp(1.6 * logits)
    weights[:, [name in masked for name in SEVEN]] = 0
    probabilities = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    keys = [str(number) for number in range(samples)]
    return Predictions(keys, labels, probabilities, SEVEN, masked, {"gender": gender})


def made_robustness(accuracy: float, samples: int) -> dict[str, Any]:
    corruptions = {}
    for number, (name, group) in enumerate(CORRUPTIONS.items()):
        found = [accuracy * (1 - 0.03 * (number + 1) * severity) for severity in range(1, 6)]
        corruptions[name] = {"group": group, "accuracy": found, "error": 1 - float(np.mean(found))}
    drops = REGIONS | {CONTROL + name: 0.06 for name in ("eyes", "nose", "mouth")}
    regions = {
        name: {"accuracy": accuracy - drop, "drop": drop, "interval": [drop - 0.03, drop + 0.03]}
        for name, drop in drops.items()
    }
    mean = float(np.mean([entry["error"] for entry in corruptions.values()]))
    return {
        "clean": accuracy, "samples": samples, "corruptions": corruptions, "mean_corruption_error": mean,
        "regions": regions, "seed": 0, "chance": 0.4,
    }  # fmt: skip


def made_curves(seed: int, end: float) -> dict[str, list[tuple[int, float]]]:
    random = np.random.default_rng(seed)
    steps = np.arange(20, 4001, 20)
    loss = 0.7 + 1.2 * np.exp(-steps / 900) + random.normal(0, 0.04, len(steps))
    accuracy = 0.15 + (end - 0.1) * (1 - np.exp(-steps / 900)) + random.normal(0, 0.015, len(steps))
    epochs = steps[9::10]
    validation = end * (1 - 0.6 * np.exp(-epochs / 700)) + random.normal(0, 0.01, len(epochs))
    pairs = {
        "train/loss": (steps, loss),
        "train/accuracy": (steps, accuracy),
        "validation/accuracy": (epochs, validation),
    }
    return {name: [(int(s), float(v)) for s, v in zip(*both, strict=True)] for name, both in pairs.items()}


def made_study(seeds: int = 2, samples: int = 400, sets: tuple[str, ...] = tuple(SHARES)) -> Study:
    """Models of three groups, each with its seeds, on all sets, with all that can be measured."""
    images = {
        name: {emotion: int(9000 * share) for emotion, share in zip(SEVEN, SHARES[name], strict=True) if share}
        for name in sets
    }
    models, results, tables = [], [], {}
    for group, data, start, role, skill in KINDS:
        for seed in range(seeds):
            name, begun = f"{group}-{seed}", f"{start}-{seed}" if start else None
            settings = {"epochs": "20", "batch": "100", "learning rate": "0.01", "views": "expand"}
            curves = made_curves(seed, 0.25 * skill + 0.1)
            asked = {"images": 1000, "answers": 5, "accuracy": 0.3 * skill, "interval": [0.28 * skill, 0.31 * skill]}
            told = {"images": sum(images[data].values()), "departures": (), "training_accuracy": asked}
            models.append(Model(name, data, begun, 5025.0, 11_267_143, settings, group, role, seed, curves, **told))
            for dataset in sets:
                table = drawn_predictions(dataset, skill if dataset == data else skill - 0.8, samples, name)
                tables[name, dataset] = table
                results.append(_result(name, dataset, table, images[data]))
    comparisons = []
    for seed in range(seeds):
        names = f"affectnet-to-lab-{seed}", f"lab-{seed}"
        test = paired(*(tables[name, "drawn-lab"] for name in names), bootstrap=100)
        comparisons.append(Comparison(*names, "drawn-lab", paired=test))
    return Study(
        title="Faces from four sources: training, evaluation and transfer",
        models=tuple(models),
        results=tuple(results),
        comparisons=tuple(comparisons),
        class_counts={f"{name}-{split}": counts for name, counts in images.items() for split in ("train", "test")},
        commands=("fer-dist study plan.yaml --out study",),
        commit="0123abcdef0123abcdef0123abcdef0123abcdef",
        versions={"fer_dist": "0.1", "torch": "2.9", "python": "3.12"},
        hardware="one H200, 16 cores",
        roles={role: name for role, name in zip("abc", SHARES, strict=True) if name in sets},
        seeds=tuple(_seeds(results, group, dataset) for group, *_ in KINDS for dataset in sets),
        rankings=tuple(_ranking(tables, dataset) for dataset in sets),
        seconds=8 * 3600.0,
        variants={f"{name}-{split}": "the official layout" for name in sets for split in ("train", "test")},
        left_out={"affectnet-train": {"no face": 88_895, "fewer than half of the votes are for one emotion": 13_163}},
    )


def _result(model: str, dataset: str, table: Predictions, trained: dict[str, int]) -> Result:
    found = scores(table)
    fewer = scores(without(table, [str(number) for number in range(12)]))
    damage = made_robustness(found["accuracy"], len(table.keys))
    return Result(model, dataset, found, "test", detail(table, trained), fewer, damage)


def _ranking(tables: dict[tuple[str, str], Predictions], dataset: str) -> Ranking:
    """By the first seeds alone."""
    of_group = {group: tables[f"{group}-0", dataset] for group, *_ in KINDS}
    best = max(of_group, key=lambda group: scores(of_group[group])["accuracy"])
    others = {group: paired(of_group[best], table, bootstrap=100) for group, table in of_group.items() if group != best}
    return Ranking(dataset, "test", best, 3, {group: test | {"seeds": 1} for group, test in others.items()})


def _seeds(results: list[Result], group: str, dataset: str) -> Seeds:
    of_group = [r.scores for r in results if r.model.rpartition("-")[0] == group and r.dataset == dataset]
    return Seeds(group, dataset, "test", over_seeds(of_group))
