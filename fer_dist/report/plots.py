"""Figures of models in a report: of scores, classes, groups and corruptions, with words for who sees none."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_dist.evaluate.robustness.regions import CONTROL
from fer_dist.report.differences import rank_tests
from fer_dist.report.findings import Model, Result, Study, compared, first_models
from fer_dist.report.numbers import listed, percent, signed_points, span
from fer_dist.report.sentences import (
    class_sentence,
    confusion_change_sentence,
    confusion_sentences,
    correlation_sentence,
    corruption_sentence,
    neutral_sentence,
    occlusion_sentence,
    prior_sentence,
    seeds_sentence,
    with_interval,
)
from fer_dist.report.tables import CORRECTIONS
from fer_dist.scores.figures.canvas import fix_layout
from fer_dist.scores.figures.confusion import MOST_CLASSES, confusion_change_figure, confusion_figure
from fer_dist.scores.figures.curves import (
    FEWEST_IN_BIN,
    corruption_figure,
    curves_figure,
    reliability_figure,
    roc_figure,
    selective_figure,
)
from fer_dist.scores.figures.dots import Marks, Scale, dots_figure, seeds_figure, size_figure
from fer_dist.scores.roc import FALSE_RATES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST_SAID = 20
"""Of fewer images above a threshold no accuracy is said."""
MOST_SERIES = 7
"""Models in one figure: as many as there are shapes; more get a figure of their own."""
CURVES = {
    "train/loss": "training loss",
    "train/accuracy": "training accuracy",
    "validation/loss": "validation loss",
    "validation/accuracy": "validation accuracy",
}


@dataclass(frozen=True)
class PageFigure:
    """A figure in the page. name: of its files, without suffix. alt: what a reader who does not see it is told."""

    name: str
    figure: "Figure"
    alt: str
    caption: str


def page_figure(name: str, figure: "Figure", alt: str, caption: str) -> PageFigure:
    return PageFigure(name, fix_layout(figure), alt, caption)


def transfer_figure(study: Study) -> Iterator[PageFigure]:
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
        yield page_figure("transfer", dots_figure(rows, series, scale), alt, "Accuracy with its 95 % interval.")


def seeds_figures(study: Study) -> Iterator[PageFigure]:
    several = [seeds for seeds in study.seeds if seeds.values["n"] > 1]
    if several:
        groups = {model.group_name: model for model in study.models}
        rows = [f"{seeds.group}\n{seeds.set_name}" for seeds in several]
        values = [[100 * value for value in seeds.values["accuracy"]["values"]] for seeds in several]
        alt = "Accuracy of each seed. " + " ".join(seeds_sentence(seeds, groups[seeds.group]) for seeds in several)
        yield page_figure("seeds", seeds_figure(rows, values), alt, "A ring for each seed, a line for their mean.")


def confusion_figures(results: Iterable[Result]) -> Iterator[PageFigure]:
    for result in results:
        scores, title = result.scores, f"{result.model} on {result.set_name}"
        if "confusion" in scores:
            figure = confusion_figure(np.array(scores["confusion"]), scores["emotions"], title, scores["masked"])
            known = {name: value for name, value in scores["recall"].items() if value is not None}
            recalls = ", ".join(f"{name} {percent(value)}" for name, value in known.items())
            alt = f"Confusion matrix of {title}, true emotions in rows. Recognised: {recalls}."
            yield page_figure(file_name("confusion", result), figure, alt, confusion_sentences(result))


def confusion_change_figures(study: Study) -> Iterator[PageFigure]:
    """What transfer changes of the confusions, for the first seed of each comparison on the same emotions."""
    first = {model.name for model in first_models(study)}
    for comparison in study.comparisons:
        after, before = compared(study, comparison)
        known = all("confusion" in result.scores for result in (after, before))
        if after.model in first and known and after.scores["emotions"] == before.scores["emotions"]:
            one, other = (np.array(result.scores["confusion"]) for result in (after, before))
            title = f"{after.model} less {before.model}\non {after.set_name}"
            figure = confusion_change_figure(one, other, after.scores["emotions"], title)
            said = confusion_change_sentence(after, before)
            spoken = title.replace("\n", " ")
            alt = f"Change of the confusion matrix, {spoken}. {said}"
            file = f"confusion-change-{plain(after.model)}-{plain(before.model)}-{plain(after.set_name)}"
            yield page_figure(file, figure, alt, said)


def class_figures(results: Iterable[Result]) -> Iterator[PageFigure]:
    """For each result, precision, recall and F1 of its emotions; and how well each is told from all others."""
    for result in results:
        found, title = result.by_class, f"{result.model} on {result.set_name}"
        known = {name: entry for name, entry in found.items() if entry["f1"] is not None}
        if known:
            shown = sorted(known, key=lambda name: known[name]["f1"])[:MOST_CLASSES]
            shown = [name for name in known if name in shown]
            series = [
                _class_marks(measure, [known[name] for name in shown]) for measure in ("recall", "precision", "f1")
            ]
            rows = [f"{name} ({known[name]['images']:,})" for name in shown]
            figure = dots_figure(rows, series, Scale("%, in brackets the images"), title)
            text = class_sentence(result)
            if len(shown) < len(known):
                text += f" Drawn are the {len(shown)} with the lowest F1 of {len(known)}."
            said = "; ".join(
                f"{name}: " + ", ".join(f"{of} {percent(known[name][of])}" for of in ("recall", "precision", "f1"))
                for name in shown
            )
            alt = f"Recall, precision and F1 of each emotion, {title}, with 95 % intervals. {said}."
            yield page_figure(file_name("classes", result), figure, alt, text)
        curves = {name: entry for name, entry in found.items() if entry["roc"]}
        if curves:
            yield _roc_page_figure(result, curves, title)


def _class_marks(measure: str, entries: list[dict[str, Any]]) -> Marks:
    values = [None if entry[measure] is None else 100 * entry[measure] for entry in entries]
    spoken = "F1" if measure == "f1" else measure
    return Marks(spoken, values, [percents(entry[f"{measure}_interval"]) for entry in entries])


def _roc_page_figure(result: Result, curves: dict[str, dict[str, Any]], title: str) -> PageFigure:
    lowest = sorted(curves, key=lambda name: curves[name]["auc"])[:MOST_SERIES]
    shown = [name for name in curves if name in lowest]
    figure = roc_figure({name: curves[name]["roc"] for name in shown}, FALSE_RATES, title)
    areas = ", ".join(f"{name} {percent(curves[name]['auc'])}{_within(curves[name])}" for name in shown)
    text = f"Area under the curve, of which guessing has 50 %: {areas}."
    if len(shown) < len(curves):
        text += f" Drawn are the {len(shown)} emotions with the lowest of {len(curves)}."
    alt = f"Receiver operating characteristic of each emotion against all others, {title}. {text}"
    return page_figure(file_name("roc", result), figure, alt, text)


def _within(entry: dict[str, Any]) -> str:
    """The interval of an area in brackets; empty where a study of before has none."""
    interval = entry.get("auc_interval")
    return f" ({span(interval)})" if interval else ""


def curve_figures(models: Iterable[Model]) -> Iterator[PageFigure]:
    for model in models:
        lasts = {spoken: model.curves[name][-1][1] for name, spoken in CURVES.items() if model.curves.get(name)}
        if lasts:
            said = listed([f"{name} {_written(name, value)}" for name, value in lasts.items()])
            figure = curves_figure(model.curves, model.name)
            text = f"Last points: {said}.{_speed_told(model)}"
            yield page_figure(f"curves-{plain(model.name)}", figure, f"Training curves of {model.name}. {text}", text)


def _speed_told(model: Model) -> str:
    """The medians of what was written of its speed; empty where nothing was."""
    rates, waits = (
        [value for _, value in model.curves.get(name, [])] for name in ("train/images_per_second", "train/data_wait")
    )
    told = [f"{float(np.median(rates)):,.0f} images per second"] if rates else []
    told += [f"{percent(float(np.median(waits)))} of the time spent waiting for data"] if waits else []
    return f" Medians: {listed(told)}." if told else ""


def calibration_figures(results: list[Result]) -> Iterator[PageFigure]:
    """For each set, reliability and what is left when only confident predictions count, side by side."""
    drawn = dict(by_set(results, lambda result: (result.detail or {}).get("reliability")))
    curves = dict(by_set(results, lambda result: (result.detail or {}).get("selective_curve")))
    for name in dict.fromkeys((*drawn, *curves)):
        if name in drawn:
            yield _reliability_page_figure(name, drawn[name])
        if name in curves:
            yield _selective_page_figure(name, curves[name])


def prior_figure(results: list[Result]) -> Iterator[PageFigure]:
    found = [(result, result.detail["prior"]) for result in results if result.detail and result.detail.get("prior")]
    if found:
        series = [Marks("as it is", [100 * result.scores["accuracy"] for result, _ in found])]
        series += [
            Marks(name, [100 * prior[key]["accuracy"] for _, prior in found]) for key, name in CORRECTIONS.items()
        ]
        rows = [f"{result.model}\n{result.set_name}" for result, _ in found]
        alt = "Accuracy as it is and with corrected priors. " + " ".join(prior_sentence(result) for result, _ in found)
        caption = "Accuracy under three assumptions about how frequent each emotion is."
        yield page_figure("priors", dots_figure(rows, series, Scale("accuracy, %")), alt, caption)


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


def _reliability_page_figure(name: str, results: list[Result]) -> PageFigure:
    tables = {result.model: result.detail["reliability"] for result in results if result.detail}
    errors = {result.model: result.scores.get("expected_calibration_error") for result in results}
    said = ", ".join(f"{model} {percent(error)}" for model, error in errors.items())
    figure = reliability_figure(tables, f"Reliability on {name}")
    return page_figure(
        f"reliability-{plain(name)}",
        figure,
        f"Accuracy against stated probability on {name}. Expected calibration errors: {said}.",
        f"Expected calibration errors: {said}. Hollow: bins of fewer than {FEWEST_IN_BIN} images, which say little.",
    )


def _selective_page_figure(name: str, results: list[Result]) -> PageFigure:
    curves = {result.model: result.detail["selective_curve"] for result in results if result.detail}
    ends = []
    for model, curve in curves.items():
        kept = [at for at in curve if at["samples"] >= FEWEST_SAID] or curve[:1]
        surest = next((at for at in kept if at["above"] == 0.9), kept[-1])
        part = f"{percent(surest['coverage'])} above {100 * surest['above']:g} %"
        ends.append(f"{model} {percent(surest['accuracy'])} of the {part}")
    said = "; ".join(ends)
    figure = selective_figure(curves, f"Selective accuracy on {name}")
    alt = f"Accuracy of the most confident predictions on {name}. Right: {said}."
    return page_figure(f"selective-{plain(name)}", figure, alt, f"Right: {said}.")


def _written(name: str, value: float) -> str:
    return f"{value:.3f}" if name.endswith("loss") else percent(value)


SHOWN_SPLITS = {"train": "Training sets", "test": "Test sets"}


def counts_figures(study: Study) -> Iterator[PageFigure]:
    for split, title in SHOWN_SPLITS.items():
        sets = {name: counts for name, counts in study.class_counts.items() if name.endswith(f"-{split}")}
        emotions = list(dict.fromkeys(emotion for counts in sets.values() for emotion in counts))
        for number, part in enumerate(portions(list(sets))):
            series = [Marks(name, [sets[name].get(emotion) or None for emotion in emotions]) for name in part]
            texts = [f"{name}: {_numbers(sets[name])}" for name in part]
            figure = dots_figure(emotions, series, Scale("images, on a logarithmic axis", log=True), title)
            alt = f"Images of each emotion. {'; '.join(texts)}."
            yield page_figure(numbered(f"counts-{split}", number), figure, alt, "Equal steps are equal ratios.")


def size_figures(study: Study, results: list[Result]) -> Iterator[PageFigure]:
    """Of the models on their own sets, where the images that they were trained on are counted."""
    trained_on = {model.name: model.trained_on for model in study.models}
    tests = rank_tests(results)
    for result in results:
        data = trained_on[result.model]
        figures = study.class_counts.get(f"{data}-train", {})
        recall = {name: value for name, value in result.scores.get("recall", {}).items() if value is not None}
        recall = {name: value for name, value in recall.items() if figures.get(name)}
        if result.dataset == data and len(recall) > 1:
            title = f"{result.model} on {result.set_name}"
            said = ", ".join(f"{name}: {figures[name]:,} images, {percent(part)}" for name, part in recall.items())
            caption = (
                correlation_sentence(result, tests.get((result.model, result.set_name)))
                or "No rank correlation was measured."
            )
            alt = f"Recall against training images, {title}. {said}."
            yield page_figure(file_name("size", result), size_figure(figures, recall, title), alt, caption)


def frequency_figures(results: list[Result]) -> Iterator[PageFigure]:
    """How often each emotion is predicted for each image that has it, one figure for each set."""
    for name, some in by_set(results, lambda result: (result.detail or {}).get("over_predicted")):
        tables = {result.model: result.detail["over_predicted"] for result in some if result.detail}
        emotions = list(dict.fromkeys(emotion for table in tables.values() for emotion in table))
        series = [
            Marks(model, [(table.get(emotion) or {}).get("ratio") or None for emotion in emotions])
            for model, table in tables.items()
        ]
        scale = Scale("predictions for each image that has the emotion", log=True, reference=1)
        said = " ".join(filter(None, (neutral_sentence(result) for result in some)))
        alt = f"How often each emotion is predicted on {name}, as a ratio to how often it occurs. {said}".strip()
        ratios = {model: (table.get("neutrality") or {}).get("ratio") for model, table in tables.items()}
        known = [f"{ratio:.2f} times ({model})" for model, ratio in ratios.items() if ratio is not None]
        caption = f"Neutrality is predicted {listed(known)}." if known else "The set has no neutrality."
        figure = dots_figure(emotions, series, scale, f"Predictions on {name}")
        yield page_figure(f"frequencies-{plain(name)}", figure, alt, caption)


def attribute_figures(results: list[Result]) -> Iterator[PageFigure]:
    """One for each set and attribute."""
    attributes = dict.fromkeys(name for result in results for name in result.by_attribute)
    for attribute in attributes:
        having = [result for result in results if attribute in result.by_attribute]
        for name, some in by_set(having, lambda result: result.by_attribute):
            entries = {result.model: result.by_attribute[attribute]["groups"] for result in some}
            groups = list(dict.fromkeys(group for entry in entries.values() for group in entry))
            series = [_group_marks(model, [entry.get(group) for group in groups]) for model, entry in entries.items()]
            title = f"{name}, by {attribute.replace('_', ' ')}"
            said = "; ".join(f"{model}: {_group_texts(entry)}" for model, entry in entries.items())
            figure = dots_figure(groups, series, Scale("accuracy, %"), title)
            alt = f"Accuracy on {title}. {said}."
            file = f"attribute-{plain(attribute)}-{plain(name)}"
            yield page_figure(file, figure, alt, "Accuracy with its 95 % interval.")


def corruption_figures(results: list[Result]) -> Iterator[PageFigure]:
    """For each result, errors by severity and what occluded regions cost, side by side."""
    for result in results:
        found, title = result.robustness or {}, f"{result.model} on {result.set_name}"
        if found.get("corruptions"):
            errors = ", ".join(f"{name} {percent(entry['error'])}" for name, entry in found["corruptions"].items())
            alt = f"Error on corrupted images, {title}. Mean over severities: {errors}."
            figure = corruption_figure(found, title)
            yield page_figure(file_name("corruptions", result), figure, alt, corruption_sentence(result))
        if found.get("regions"):
            yield _region_figure(result, found["regions"], title)


def _region_figure(result: Result, regions: dict[str, dict[str, Any]], title: str) -> PageFigure:
    rows = [name for name in regions if not name.startswith(CONTROL)]
    series = [_drops("region occluded", [regions[name] for name in rows])]
    controls = [regions.get(CONTROL + name) for name in rows]
    if any(controls):
        series.append(_drops("as much occluded elsewhere", controls))
    said = ", ".join(f"{name} {signed_points(-entry['drop'])}" for name, entry in regions.items())
    figure = dots_figure(rows, series, Scale("points of accuracy lost", reference=0), title)
    alt = f"Change of accuracy, in points, where a part of the face is occluded, {title}: {said}."
    return page_figure(file_name("occlusions", result), figure, alt, occlusion_sentence(result))


def _drops(name: str, regions: Sequence[dict[str, Any] | None]) -> Marks:
    values = [100 * region["drop"] if region else None for region in regions]
    return Marks(name, values, [percents(region.get("interval")) if region else None for region in regions])


def _group_marks(model: str, groups: list[dict[str, Any] | None]) -> Marks:
    values = [100 * group["accuracy"] if group and group["accuracy"] is not None else None for group in groups]
    return Marks(model, values, [percents(group.get("accuracy_interval")) if group else None for group in groups])


def _group_texts(groups: dict[str, dict[str, Any]]) -> str:
    return ", ".join(f"{name} {percent(group['accuracy'])}" for name, group in groups.items())


def _numbers(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items())
