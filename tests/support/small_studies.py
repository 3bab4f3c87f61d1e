"""Small studies whose numbers are chosen, for tests that hold sentences and tables against them."""

from dataclasses import replace

import numpy as np

from fer_dist.data.emotions import SEVEN
from fer_dist.report.findings import Comparison, Model, Result, Study
from fer_dist.scores.metrics import scores
from fer_dist.scores.table import Predictions


def table(matrix, emotions=SEVEN, masked=()):
    """Predictions that have this confusion matrix, all with a top probability of 0.8."""
    matrix = np.asarray(matrix)
    cells = np.repeat(np.arange(matrix.size), matrix.ravel())
    labels, predicted = np.divmod(cells, len(emotions))
    kept = np.array([name not in masked for name in emotions])
    probabilities = np.where(kept, 0.2 / (kept.sum() - 1), 0) * np.ones((len(cells), 1))
    probabilities[np.arange(len(cells)), predicted] = 0.8
    keys = [str(number) for number in range(len(cells))]
    return Predictions(keys, labels, probabilities.astype(np.float32), emotions, masked)


def scored(right, samples=1000):
    """Two emotions with equally many images, of which so many are right."""
    half, first = samples // 2, right // 2
    second = right - first
    return scores(table([[first, half - first], [half - second, second]], SEVEN[:2]))


def transferred(with_right, without_right, samples=1000):
    models = (Model("wild", "wild"), Model("lab", "lab"), Model("wild to lab", "lab", started_from="wild"))
    after, before = scored(with_right, samples), scored(without_right, samples)
    results = (Result("wild to lab", "lab", after), Result("lab", "lab", before))
    return Study("S", models, results, (Comparison("wild to lab", "lab", "lab"),))


def crossed(own, other):
    results = (Result("wild", "wild", scored(own)), Result("wild", "lab", scored(other)))
    return Study("S", (Model("wild", "wild"),), results)


def whole_study():
    masked = np.diag([30, 5, 8, 9, 20, 60, 0]) + np.eye(7, k=1, dtype=int) * [3, 1, 0, 2, 5, 0, 0]
    masked[:, 6] = 0
    study = transferred(880, 760)
    models = (
        Model("wild", "wild", None, 5025.0, 11_267_143, {"epochs": "20"}),
        *study.models[1:2],
        replace(study.models[2], name='wild <to> "lab" & $x$'),
    )
    results = (
        Result(models[2].name, "lab", study.results[0].scores),
        study.results[1],
        Result("wild", "film", scores(table(masked, masked=("neutrality",)))),
    )
    return Study(
        "Wild & lab",
        models,
        results,
        (Comparison(models[2].name, "lab", "lab"),),
        class_counts={"wild-train": {"fear": 1234, "anger": 5}, "film-test": {"anger": 7}},
        commands=("fer-dist train paper --run.name wild",),
        commit="0123abc",
        versions={"torch": "2.9"},
        hardware="one H200",
    )
