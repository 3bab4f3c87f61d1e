"""Pictures of models in a report: figures of their scores, with the words for who sees them and for who does not.

Those of classes, groups and damage are in report_group_pictures.py.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_dist.report.findings import Model, Result, Study
from fer_dist.report.numbers import listed, percent
from fer_dist.report.sentences import compared, confusion_sentences, prior_sentence, seeds_sentence, with_interval
from fer_dist.report.tables import CORRECTIONS
from fer_dist.scores.figures.canvas import confusion_figure, fix_layout
from fer_dist.scores.figures.curves import curves_figure, reliability_figure, selective_figure
from fer_dist.scores.figures.dots import Marks, Scale, dots_figure, seeds_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_SERIES = 7
"""Models in one figure: as many as there are shapes; more get a figure of their own."""
CURVES = {
    "train/loss": "training loss",
    "train/accuracy": "training accuracy",
    "validation/accuracy": "validation accuracy",
}


@dataclass(frozen=True)
class Picture:
    """A figure in the page. name: of its files, without suffix. alt: what a reader who does not see it is told."""

    name: str
    figure: "Figure"
    alt: str
    caption: str


def picture(name: str, figure: "Figure", alt: str, caption: str) -> Picture:
    return Picture(name, fix_layout(figure), alt, caption)


def transfer_picture(study: Study) -> Iterator[Picture]:
    if study.comparisons:
        pairs = [compared(study, comparison) for comparison in study.comparisons]
        series = []
        for name, results in (("with", [after for after, _ in pairs]), ("without", [before for _, before in pairs])):
            scores = [result.scores for result in results]
            values, ends = [100 * of["accuracy"] for of in scores], [percents(of["accuracy_interval"]) for of in scores]
            series.append(Marks(name, values, ends))
        rows = [f"{after.model}\n{after.set_name}" for after, _ in pairs]
        alt = "Accuracy with its 95 % interval, without and with transfer. " + "; ".join(
            f"{after.model} on {after.set_name}: {percent(before.scores['accuracy'])} without, "
            f"{with_interval(after)} with"
            for after, before in pairs
        )
        scale = Scale("accuracy, %", (0, 112), written="{:.1f} %")
        yield picture("transfer", dots_figure(rows, series, scale), alt, "Accuracy with its 95 % interval.")


def seeds_picture(study: Study) -> Iterator[Picture]:
    several = [seeds for seeds in study.seeds if seeds.values["n"] > 1]
    if several:
        groups = {model.group_name: model for model in study.models}
        rows = [f"{seeds.group}\n{seeds.set_name}" for seeds in several]
        values = [[100 * value for value in seeds.values["accuracy"]["values"]] for seeds in several]
        alt = "Accuracy of each seed. " + " ".join(seeds_sentence(seeds, groups[seeds.group]) for seeds in several)
        yield picture("seeds", seeds_figure(rows, values), alt, "A ring for each seed, a line for their mean.")


def confusion_pictures(results: Iterable[Result]) -> Iterator[Picture]:
    for result in results:
        scores, title = result.scores, f"{result.model} on {result.set_name}"
        if "confusion" in scores:
            figure = confusion_figure(np.array(scores["confusion"]), scores["emotions"], title, scores["masked"])
            known = {name: value for name, value in scores["recall"].items() if value is not None}
            recalls = ", ".join(f"{name} {percent(value)}" for name, value in known.items())
            alt = f"Confusion matrix of {title}, true emotions in rows. Recognised: {recalls}."
            yield picture(file_name("confusion", result), figure, alt, confusion_sentences(result))


def curve_pictures(models: Iterable[Model]) -> Iterator[Picture]:
    for model in models:
        lasts = {spoken: model.curves[name][-1][1] for name, spoken in CURVES.items() if model.curves.get(name)}
        if lasts:
            said = listed([f"{name} {_written(name, value)}" for name, value in lasts.items()])
            figure = curves_figure(model.curves, model.name)
            alt = f"Training curves of {model.name}. Last points: {said}."
            yield picture(f"curves-{plain(model.name)}", figure, alt, f"Last points: {said}.")


def certainty_pictures(results: list[Result]) -> Iterator[Picture]:
    """For each set, reliability and what is left when only certain predictions count, side by side."""
    drawn = dict(by_set(results, lambda result: (result.detail or {}).get("reliability")))
    curves = dict(by_set(results, lambda result: (result.detail or {}).get("selective_curve")))
    for name in dict.fromkeys((*drawn, *curves)):
        if name in drawn:
            yield _reliability_picture(name, drawn[name])
        if name in curves:
            yield _selective_picture(name, curves[name])


def prior_picture(results: list[Result]) -> Iterator[Picture]:
    found = [(result, result.detail["prior"]) for result in results if result.detail and result.detail.get("prior")]
    if found:
        series = [Marks("as it is", [100 * result.scores["accuracy"] for result, _ in found])]
        series += [
            Marks(name, [100 * prior[key]["accuracy"] for _, prior in found]) for key, name in CORRECTIONS.items()
        ]
        rows = [f"{result.model}\n{result.set_name}" for result, _ in found]
        alt = "Accuracy as it is and with corrected priors. " + " ".join(prior_sentence(result) for result, _ in found)
        caption = "Accuracy under three assumptions about how frequent each emotion is."
        yield picture("priors", dots_figure(rows, series, Scale("accuracy, %")), alt, caption)


def by_set(results: list[Result], found: Callable[[Result], Any]) -> Iterator[tuple[str, list[Result]]]:
    """The results that have something, set by set, in portions that one figure can show."""
    sets: dict[str, list[Result]] = {}
    for result in results:
        if found(result):
            sets.setdefault(result.set_name, []).append(result)
    for name, some in sets.items():
        for number, portion in enumerate(portions(some)):
            yield numbered(name, number), portion


def portions(items: list[Any]) -> list[list[Any]]:
    return [items[start : start + MOST_SERIES] for start in range(0, len(items), MOST_SERIES)]


def numbered(name: str, number: int) -> str:
    return f"{name} ({number + 1})" if number else name


def percents(interval: Any) -> tuple[float, float] | None:
    return (100 * interval[0], 100 * interval[1]) if interval else None


def file_name(kind: str, result: Result) -> str:
    return f"{kind}-{plain(result.model)}-{plain(result.set_name)}"


def plain(name: str) -> str:
    """A name as a file may have it."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)


def _reliability_picture(name: str, results: list[Result]) -> Picture:
    tables = {result.model: result.detail["reliability"] for result in results if result.detail}
    errors = {result.model: result.scores.get("expected_calibration_error") for result in results}
    said = ", ".join(f"{model} {percent(error)}" for model, error in errors.items())
    figure = reliability_figure(tables, f"Reliability on {name}")
    return picture(
        f"reliability-{plain(name)}",
        figure,
        f"Accuracy against stated probability on {name}. Calibration errors: {said}.",
        f"Calibration errors: {said}.",
    )


def _selective_picture(name: str, results: list[Result]) -> Picture:
    curves = {result.model: result.detail["selective_curve"] for result in results if result.detail}
    ends = []
    for model, curve in curves.items():
        kept = [at for at in curve if at["accuracy"] is not None]
        surest = next((at for at in kept if at["above"] == 0.9), kept[-1])
        part = f"{percent(surest['coverage'])} above {100 * surest['above']:g} %"
        ends.append(f"{model} {percent(surest['accuracy'])} of the {part}")
    said = "; ".join(ends)
    figure = selective_figure(curves, f"Certain predictions on {name}")
    alt = f"Accuracy of the most certain predictions on {name}. Right: {said}."
    return picture(f"selective-{plain(name)}", figure, alt, f"Right: {said}.")


def _written(name: str, value: float) -> str:
    return f"{value:.3f}" if name.endswith("loss") else percent(value)
