"""A study's own tables: every model on every set, comparisons, seeds, priors, groups, corruptions, data, models."""

from collections.abc import Sequence
from typing import Any

from fer_dist.report.differences import gap_tests, rank_tests
from fer_dist.report.findings import Model, Result, Study, compared, first_models
from fer_dist.report.numbers import duration
from fer_dist.report.table import Cell, Row, Table, count, part, points, word

CORRECTIONS = {"uniform": "training prior removed", "em": "target prior estimated"}
"""Key in detail's prior -> how a report calls it."""


def accuracy_table(study: Study) -> Table:
    """Models in rows, sets in columns."""
    sets = list(dict.fromkeys(result.set_name for result in study.results))
    found = {(result.model, result.set_name): result for result in study.results}
    rows = tuple(
        (word(model.name), *(_accuracy(model, found.get((model.name, name))) for name in sets))
        for model in study.models
    )
    caption = 'Accuracy, and its 95 % interval beneath. "Own": the set that the model was trained on last.'
    return Table("accuracy", caption, ("model", *sets), rows)


def measures_table(study: Study) -> Table:
    rows: list[Row] = []
    for result in study.results:
        scores = result.scores
        parts = [_scored(scores, name) for name in ("accuracy", "mean_over_classes", "macro_f1")]
        name = "expected_calibration_error"
        calibration = [part(scores.get(name)), part(scores.get(f"{name}_floor"))]
        calibration.append(part(scores.get(f"{name}_debiased"), scores.get(f"{name}_interval")))
        likelihood = Cell(scores.get("negative_log_likelihood"), "number")
        masked = word(", ".join(scores.get("masked", ())) or "none")
        people = f"of {scores['subjects']:,} people, who count as the unit" if scores.get("subjects") else ""
        start = (word(result.model), word(result.set_name), Cell(scores["samples"], "count", note=people))
        rows.append((*start, *parts, *calibration, likelihood, masked))
    columns = ("model", "tested on", "images", "accuracy", "balanced accuracy", "macro F1", "ECE")
    caption = "All measures, with 95 % intervals where they have one. The glossary at the end says how each is defined."
    chance = ("ECE if calibrated", "ECE, debiased")
    return Table("measures", caption, (*columns, *chance, "log loss", "masked"), tuple(rows))


def comparisons_table(study: Study) -> Table:
    rows: list[Row] = []
    for comparison in study.comparisons:
        after, before = compared(study, comparison)
        paired = comparison.paired or {}
        gain = points(after.scores["accuracy"] - before.scores["accuracy"], paired.get("interval"))
        only = [count(paired.get(name)) for name in ("only_first_right", "only_second_right")]
        accuracies = [_scored(result.scores, "accuracy") for result in (before, after)]
        names = (word(after.model), word(before.model), word(after.set_name))
        rows.append((*names, *accuracies, gain, Cell(paired.get("p"), "probability"), *only))
    columns = ("with", "without", "tested on", "accuracy without", "accuracy with", "gain, points", "p")
    caption = (
        "What each start brings. The gain's interval and p are of the paired test on the same images, or people where "
        "they are known; the last two columns count the images that only one of the two has right."
    )
    return Table("comparisons", caption, (*columns, "only with", "only without"), tuple(rows))


def seeds_table(study: Study) -> Table:
    rows: list[Row] = []
    for seeds in study.seeds:
        cells: list[Cell] = []
        over_images = seeds.values.get("over_images") or {}
        for name in ("accuracy", "mean_over_classes", "macro_f1"):
            values = seeds.values.get(name) or {}
            interval = over_images.get("interval") if name == "accuracy" else None
            cells += [part(values.get("mean"), interval), Cell(values.get("deviation"), "points")]
        rows.append((word(seeds.group), word(seeds.set_name), count(seeds.values["n"]), *map(_unsigned, cells)))
    measures = ("accuracy", "balanced accuracy", "macro F1")
    columns = tuple(f"{measure}, {what}" for measure in measures for what in ("mean", "std"))
    caption = (
        "Several seeds: mean and sample standard deviation, the latter in points. The interval is of the mean over all "
        "seeds and images (or people) that could be drawn; one more network may lie outside."
    )
    return Table("seeds", caption, ("models", "tested on", "seeds", *columns), tuple(rows))


def gains_table(study: Study) -> Table:
    rows = tuple(
        (
            *(word(name) for name in gain.kind[:2]),
            word(f"{gain.dataset}-{gain.split}"),
            count(gain.values["n"]),
            points(gain.values["difference"], gain.values["interval"]),
            _unsigned(Cell(gain.values["deviation"], "points")),
            Cell(gain.values["p"], "probability"),
        )
        for gain in study.gains
    )
    columns = ("with", "without", "tested on", "seeds", "gain, points", "std over seeds", "p")
    caption = (
        "What each recipe brings: seeds and images (or people) are both drawn, so interval and p, each test's own, "
        "speak of the recipe."
    )
    return Table("gains", caption, columns, rows)


def prior_table(results: Sequence[Result]) -> Table:
    rows: list[Row] = []
    for result in results:
        prior = (result.detail or {}).get("prior")
        if prior:
            cells = [part(result.scores["accuracy"])]
            cells += [part(prior[name]["accuracy"]) for name in CORRECTIONS]
            cells += [part(result.scores.get("mean_over_classes"))]
            cells += [part(prior[name]["mean_over_classes"]) for name in CORRECTIONS]
            rows.append((word(result.model), word(result.set_name), *cells))
    measures = ("accuracy", "balanced accuracy")
    columns = [f"{measure}{of}" for measure in measures for of in ("", *(f", {name}" for name in CORRECTIONS.values()))]
    caption = "Scores as they are, without the training set's class frequencies, and with the test set's as estimated."
    return Table("priors", caption, ("model", "tested on", *columns), tuple(rows))


def over_predicted_table(results: Sequence[Result]) -> Table:
    """Neutrality, and beside it the emotion that is predicted most above its number."""
    rows: list[Row] = []
    tests = rank_tests(results)
    for result in results:
        found = (result.detail or {}).get("over_predicted") or {}
        known = {emotion: entry for emotion, entry in found.items() if entry.get("ratio") is not None}
        if known:
            most = max(known, key=lambda emotion: known[emotion]["ratio"])
            neutral = known.get("neutrality", {})
            cells = (Cell(neutral.get("ratio"), "number"), part(neutral.get("false_rate")))
            extreme = (word(most), Cell(known[most]["ratio"], "number"), part(known[most]["false_rate"]))
            ranks = tests.get((result.model, result.set_name), {})
            correlation = (Cell(ranks.get("spearman"), "number"), Cell(ranks.get("p"), "probability"))
            rows.append((word(result.model), word(result.set_name), *cells, *extreme, *correlation))
    columns = (
        "neutrality, ratio",
        "neutrality, false positive rate",
        "most over-predicted",
        "its ratio",
        "its false positive rate",
    )
    caption = (
        "Ratio: how often an emotion is predicted for each image that has it. False positive rate: the part of the "
        "other emotions' images that is taken for it. Spearman's r: of an emotion's recall with its training images; p "
        "after Holm's correction over the table."
    )
    return Table("frequencies", caption, ("model", "tested on", *columns, "Spearman's r", "p"), tuple(rows))


def classes_table(results: Sequence[Result]) -> Table:
    rows: list[Row] = []
    for result in results:
        for name, entry in result.by_class.items():
            cells = [part(entry[of], entry[f"{of}_interval"]) for of in ("recall", "precision", "f1")]
            start = (word(result.model), word(result.set_name), word(name), count(entry["images"]))
            rows.append((*start, *cells, part(entry["auc"], entry.get("auc_interval"))))
    columns = ("model", "tested on", "emotion", "images", "recall", "precision", "F1", "area under the ROC")
    return Table(
        "classes", "Each emotion by itself, on the model's own set, with 95 % intervals.", columns, tuple(rows)
    )


def attributes_table(results: Sequence[Result]) -> Table:
    rows: list[Row] = []
    tests = gap_tests(results)
    for result in results:
        for attribute, entry in result.by_attribute.items():
            gap = entry.get("gap")
            if gap:
                cells = [_group(entry["groups"], name) for name in gap["groups"]]
                tested = tests.get((result.model, result.set_name, attribute), {})
                cells += [cell for one in (gap | tested, tested.get("adjusted") or {}) for cell in _tested_gap(one)]
                rows.append((word(result.model), word(result.set_name), word(attribute), *cells))
    columns = ("model", "tested on", "attribute", "best group", "worst group", "gap, points", "p")
    caption = (
        "The largest gap in accuracy between the groups of an attribute, and that gap where both groups have the same "
        "mix of emotions, over those that both have. p after Holm's correction over the table."
    )
    return Table("attributes", caption, (*columns, "same mix, points", "its p"), tuple(rows))


def robustness_table(results: Sequence[Result]) -> Table:
    rows: list[Row] = []
    for result in results:
        found = result.robustness
        if found:
            groups: dict[str, list[float]] = {}
            for entry in found["corruptions"].values():
                groups.setdefault(entry["group"], []).append(entry["error"])
            means = {group: sum(errors) / len(errors) for group, errors in groups.items()}
            worst = max(means, key=means.__getitem__) if means else None
            error = part(found.get("mean_corruption_error"))
            hardest = part(means[worst] if worst else None, note=worst or "")
            start = (word(result.model), word(result.set_name), count(found["samples"]))
            rows.append((*start, part(1 - found["clean"]), error, hardest))
    columns = ("model", "tested on", "images", "error, clean", "error, corrupted", "error, worst group")
    caption = "Errors on clean and on corrupted images: the mean over corruptions and severities."
    return Table("robustness", caption, columns, tuple(rows))


def duplicates_table(results: Sequence[Result]) -> Table:
    """Of those that have any: a row without would hold the same accuracy twice and zeros."""
    rows: list[Row] = []
    for result in results:
        without, duplicates = result.without_copies, result.duplicates
        if without and duplicates:
            accuracies = [_scored(scores, "accuracy") for scores in (result.scores, without)]
            change = points(without["accuracy"] - result.scores["accuracy"])
            alike = without.get("one_subject")
            note = f"{alike:,} of them of one subject" if alike else ""
            found = Cell(duplicates, "count", note=note)
            rows.append((word(result.model), word(result.set_name), found, *accuracies, change))
    columns = ("model", "tested on", "duplicates", "accuracy, all", "accuracy, without duplicates", "change, points")
    caption = "With and without the test images of which the audit found a duplicate in a training set."
    return Table("duplicates", caption, columns, tuple(rows))


def counts_table(study: Study) -> Table:
    emotions = list(dict.fromkeys(name for counts in study.class_counts.values() for name in counts))
    has_rules = bool(study.crop_rules)
    rows = tuple(
        (
            word(name),
            *(count(counts.get(emotion)) for emotion in emotions),
            count(sum(counts.values())),
            *([word(study.crop_rules.get(name, "unknown"))] if has_rules else []),
        )
        for name, counts in study.class_counts.items()
    )
    caption = "Images of each emotion. A dash: the set does not have the emotion."
    return Table("class-counts", caption, ("set", *emotions, "all", *(["faces cut"] if has_rules else [])), rows)


def left_out_table(study: Study) -> Table:
    rows = tuple(
        (word(name), word(reason), count(number))
        for name, reasons in study.left_out.items()
        for reason, number in reasons.items()
        if number
    )
    return Table("left-out", "Images of the releases that are not in the sets.", ("set", "reason", "images"), rows)


def models_table(study: Study) -> Table:
    """Properties in rows, models in columns."""
    settings = dict.fromkeys(name for model in study.models for name in model.settings)
    rows: list[Row] = [
        _row("trained on", [word(model.trained_on) for model in study.models]),
        _row("started from", [word(model.started_from or "scratch") for model in study.models]),
        _row("seed", [word(str(model.seed)) for model in study.models]),
        _row("images trained on", [count(model.images) for model in study.models]),
        _row("accuracy on them", [_training_accuracy(model) for model in study.models]),
        _row("duration", [word(duration(model.seconds)) for model in study.models]),
        _row("parameters", [word(_whole(model.parameters)) for model in study.models]),
    ]
    rows += [_row(name, [word(model.settings.get(name)) for model in study.models]) for name in settings]
    columns = ("", *(model.name for model in study.models))
    return Table("models", "How each model came about.", columns, tuple(rows), is_sortable=False)


def configuration_tables(study: Study) -> tuple[Table, Table]:
    """The settings in which the first models of the groups differ, and those in which all are alike."""
    models = [model for model in first_models(study) if model.config]
    names = dict.fromkeys(name for model in models for name in model.config)
    values = {name: [_setting(model.config.get(name)) for model in models] for name in names}
    differing = [name for name in names if len(set(values[name])) > 1]
    rows = tuple(_row(name, [word(value) for value in values[name]]) for name in differing)
    alike = tuple((word(name), word(values[name][0])) for name in names if name not in differing)
    columns = ("setting", *(model.group_name for model in models))
    return (
        Table("settings-differing", "Settings that differ.", columns, rows),
        Table("settings", "All other settings, the same for every model.", ("setting", "value"), alike),
    )


def _setting(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_setting, value)) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value in ("", None) else f"{value:g}" if isinstance(value, float) else str(value)


def _accuracy(model: Model, result: Result | None) -> Cell:
    if result is None:
        return part(None)
    is_own = result.dataset == model.trained_on
    scores = result.scores
    return part(scores["accuracy"], scores["accuracy_interval"], "own" if is_own else "", is_own)


def _scored(scores: dict[str, Any], name: str) -> Cell:
    return part(scores.get(name), scores.get(f"{name}_interval"))


def _group(groups: dict[str, dict[str, Any]], name: str) -> Cell:
    note = f"{name}, {groups[name]['samples']:,} images"
    return part(groups[name]["accuracy"], groups[name].get("accuracy_interval"), note)


def _tested_gap(gap: dict[str, Any]) -> tuple[Cell, Cell]:
    return points(gap.get("accuracy"), gap.get("interval")), Cell(gap.get("p"), "probability")


def _unsigned(cell: Cell) -> Cell:
    """A deviation is no change: 0.4, not +0.4."""
    if cell.kind == "points" and isinstance(cell.value, float):
        return Cell(100 * cell.value, "number")
    return cell


def _training_accuracy(model: Model) -> Cell:
    found = model.training_accuracy
    return part(found["accuracy"], found["interval"], asked_of(found)) if found else part(None)


def asked_of(found: dict[str, Any]) -> str:
    """On what a training accuracy was measured, as "1,000 images, 5 crops of each, after training"."""
    each = f", {found['answers']} crops of each" if found["answers"] > 1 else ""
    return f"{found['images']:,} images{each}, after training"


def _whole(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"


def _row(name: str, cells: Sequence[Cell]) -> Row:
    return (word(name), *cells)
