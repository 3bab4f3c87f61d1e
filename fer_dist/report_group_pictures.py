"""Pictures of classes, groups of people and damaged pictures in a report, with their words."""

from collections.abc import Iterator, Sequence
from typing import Any

from fer_dist.evaluate.robustness.regions import CONTROL
from fer_dist.report.findings import Result, Study
from fer_dist.report.numbers import listed, percent, signed_points
from fer_dist.report.plots import Picture, by_set, file_name, numbered, percents, picture, plain, portions
from fer_dist.report.sentences import correlation_sentence, damage_sentence, hidden_sentence, neutral_sentence
from fer_dist.scores.figures.curves import damage_figure
from fer_dist.scores.figures.dots import Marks, Scale, dots_figure, size_figure

SHOWN_SPLITS = {"train": "Training sets", "test": "Test sets"}


def counts_pictures(study: Study) -> Iterator[Picture]:
    for split, title in SHOWN_SPLITS.items():
        sets = {name: counts for name, counts in study.class_counts.items() if name.endswith(f"-{split}")}
        emotions = list(dict.fromkeys(emotion for counts in sets.values() for emotion in counts))
        for number, part in enumerate(portions(list(sets))):
            series = [Marks(name, [sets[name].get(emotion) or None for emotion in emotions]) for name in part]
            texts = [f"{name}: {_numbers(sets[name])}" for name in part]
            figure = dots_figure(emotions, series, Scale("pictures, on a logarithmic axis", log=True), title)
            alt = f"Pictures of each emotion. {'; '.join(texts)}."
            yield picture(numbered(f"counts-{split}", number), figure, alt, "Equal steps are equal ratios.")


def size_pictures(study: Study, results: list[Result]) -> Iterator[Picture]:
    """Of the models on their own sets, where the pictures that they were trained on are counted."""
    trained_on = {model.name: model.trained_on for model in study.models}
    for result in results:
        data = trained_on[result.model]
        pictures = study.class_counts.get(f"{data}-train", {})
        recall = {name: value for name, value in result.scores.get("recall", {}).items() if value is not None}
        recall = {name: value for name, value in recall.items() if pictures.get(name)}
        if result.dataset == data and len(recall) > 1:
            title = f"{result.model} on {result.set_name}"
            said = ", ".join(f"{name}: {pictures[name]:,} pictures, {percent(part)}" for name, part in recall.items())
            caption = correlation_sentence(result) or "No rank correlation was measured."
            alt = f"Recall against training pictures, {title}. {said}."
            yield picture(file_name("size", result), size_figure(pictures, recall, title), alt, caption)


def frequency_pictures(results: list[Result]) -> Iterator[Picture]:
    """How often each emotion is predicted for each picture that has it, one figure for each set."""
    for name, some in by_set(results, lambda result: (result.detail or {}).get("over_predicted")):
        tables = {result.model: result.detail["over_predicted"] for result in some if result.detail}
        emotions = list(dict.fromkeys(emotion for table in tables.values() for emotion in table))
        series = [
            Marks(model, [(table.get(emotion) or {}).get("ratio") or None for emotion in emotions])
            for model, table in tables.items()
        ]
        scale = Scale("predictions for each picture that has the emotion", log=True, reference=1)
        said = " ".join(filter(None, (neutral_sentence(result) for result in some)))
        alt = f"How often each emotion is predicted on {name}, as a ratio to how often it occurs. {said}".strip()
        ratios = {model: (table.get("neutrality") or {}).get("ratio") for model, table in tables.items()}
        known = [f"{ratio:.2f} times ({model})" for model, ratio in ratios.items() if ratio is not None]
        caption = f"Neutrality is predicted {listed(known)}." if known else "The set has no neutrality."
        figure = dots_figure(emotions, series, scale, f"Predictions on {name}")
        yield picture(f"frequencies-{plain(name)}", figure, alt, caption)


def attribute_pictures(results: list[Result]) -> Iterator[Picture]:
    """One for each set and attribute."""
    attributes = dict.fromkeys(name for result in results for name in _by_attribute(result))
    for attribute in attributes:
        having = [result for result in results if attribute in _by_attribute(result)]
        for name, some in by_set(having, _by_attribute):
            entries = {result.model: _by_attribute(result)[attribute]["groups"] for result in some}
            groups = list(dict.fromkeys(group for entry in entries.values() for group in entry))
            series = [_group_marks(model, [entry.get(group) for group in groups]) for model, entry in entries.items()]
            title = f"{name}, by {attribute.replace('_', ' ')}"
            said = "; ".join(f"{model}: {_group_texts(entry)}" for model, entry in entries.items())
            figure = dots_figure(groups, series, Scale("accuracy, %"), title)
            alt = f"Accuracy on {title}. {said}."
            file = f"attribute-{plain(attribute)}-{plain(name)}"
            yield picture(file, figure, alt, "Accuracy with its 95 % interval.")


def damage_pictures(results: list[Result]) -> Iterator[Picture]:
    """For each result, errors by severity and what hidden regions cost, side by side."""
    for result in results:
        found, title = result.robustness or {}, f"{result.model} on {result.set_name}"
        if found.get("corruptions"):
            errors = ", ".join(f"{name} {percent(entry['error'])}" for name, entry in found["corruptions"].items())
            alt = f"Error on damaged pictures, {title}. Mean over severities: {errors}."
            yield picture(file_name("damage", result), damage_figure(found, title), alt, damage_sentence(result))
        if found.get("regions"):
            yield _region_picture(result, found["regions"], title)


def _region_picture(result: Result, regions: dict[str, dict[str, Any]], title: str) -> Picture:
    rows = [name for name in regions if not name.startswith(CONTROL)]
    series = [_drops("region hidden", [regions[name] for name in rows])]
    controls = [regions.get(CONTROL + name) for name in rows]
    if any(controls):
        series.append(_drops("as much hidden elsewhere", controls))
    said = ", ".join(f"{name} {signed_points(-entry['drop'])}" for name, entry in regions.items())
    figure = dots_figure(rows, series, Scale("points of accuracy lost", reference=0), title)
    alt = f"Change of accuracy, in points, where a part of the face is hidden, {title}: {said}."
    return picture(file_name("regions", result), figure, alt, hidden_sentence(result))


def _drops(name: str, regions: Sequence[dict[str, Any] | None]) -> Marks:
    values = [100 * region["drop"] if region else None for region in regions]
    return Marks(name, values, [percents(region.get("interval")) if region else None for region in regions])


def _by_attribute(result: Result) -> dict[str, Any]:
    return (result.detail or {}).get("by_attribute") or {}


def _group_marks(model: str, groups: list[dict[str, Any] | None]) -> Marks:
    values = [100 * group["accuracy"] if group and group["accuracy"] is not None else None for group in groups]
    return Marks(model, values, [percents(group.get("accuracy_interval")) if group else None for group in groups])


def _group_texts(groups: dict[str, dict[str, Any]]) -> str:
    return ", ".join(f"{name} {percent(group['accuracy'])}" for name, group in groups.items())


def _numbers(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items())
