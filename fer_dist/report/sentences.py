"""A report's sentences about models: how good, how that carries over, what transfer brings, and what lies behind."""

from typing import Any

import numpy as np

from fer_dist.evaluate.robustness.regions import CONTROL
from fer_dist.report.findings import Comparison, Model, Result, Seeds, Study, compared, own_result, results_of
from fer_dist.report.numbers import percent, points, probability, signed_points, span
from fer_dist.report.tables import CORRECTIONS

SPLITS = {"train": "training", "val": "validation", "test": "test"}
SIGNIFICANT = 0.05


def model_sentences(study: Study, model: Model) -> list[str]:
    """How good a model is on its own set, how that carries over to others, and whether rare emotions do worse."""
    results = results_of(study, model)
    own = own_result(results, model)
    others = [result for result in results if result.dataset != model.trained_on]
    if own is None:
        return [f"{model.name} reaches {with_interval(other)} on {other.spoken_set}." for other in others]
    split = SPLITS.get(own.split, own.split)
    clauses = [f"{model.name} reaches {with_interval(own)} on its own {split} set"]
    clauses += [crossing_clause(own, other) for other in others]
    balance = class_balance_sentence(own)
    return ["; ".join(clauses) + ".", *([balance] if balance else [])]


def crossing_clause(own: Result, other: Result) -> str:
    before, after = own.scores["accuracy"], other.scores["accuracy"]
    reached = with_interval(other)
    difference = points(after - before)
    if difference == points(0):
        return f"on {other.spoken_set} it stays at {reached}"
    verb, comparison = ("rises", "more") if after > before else ("falls", "less")
    doubt = "" if intervals_are_apart(own, other) else ", within the 95 % intervals"
    return f"on {other.spoken_set} it {verb} to {reached}, {difference} points {comparison}{doubt}"


def class_balance_sentence(result: Result) -> str:
    """Accuracy against the mean over classes: their difference has the sign of cov(pictures, recall) over emotions.

    Empty where the mean over classes was not measured.
    """
    mean, accuracy = result.scores.get("mean_over_classes"), result.scores["accuracy"]
    ends = result.scores.get("mean_over_classes_interval")
    if mean is None or not ends:
        return ""
    low, high = ends
    start = f"{result.model}'s mean over classes on {result.spoken_set} is {percent(mean)} ({span((low, high))})"
    if low <= accuracy <= high:
        return f"{start}; a difference between frequent and rare emotions is not shown."
    place, more, fewer = ("below", "frequent", "rare") if mean < accuracy else ("above", "rare", "frequent")
    gap = f"{points(mean - accuracy)} points {place} its accuracy"
    return f"{start}, {gap}: {more} emotions do better than {fewer} ones."


def transfer_sentence(study: Study, comparison: Comparison) -> str:
    """What one start brings or costs against another, and whether that is more than chance explains."""
    after, before = compared(study, comparison)
    models = {model.name: model for model in study.models}
    with_model, without_model = models[comparison.with_model], models[comparison.without_model]
    if with_model.started_from and with_model.trained_on == without_model.trained_on:
        change = f"Starting from {with_model.started_from} instead of {without_model.started_from or 'scratch'}"
    else:
        change = f"Using {with_model.name} instead of {without_model.name}"
    gain = after.scores["accuracy"] - before.scores["accuracy"]
    values = f"from {percent(before.scores['accuracy'])} to {percent(after.scores['accuracy'])}"
    if points(gain) == points(0):
        return f"{change} makes no difference on {after.spoken_set}: {percent(after.scores['accuracy'])} with both."
    verb, noun = ("brings", "gain") if gain > 0 else ("costs", "loss")
    relative = f", relative {percent(abs(gain) / before.scores['accuracy'])}" if before.scores["accuracy"] else ""
    verdict = _verdict(comparison.paired, intervals_are_apart(after, before), noun)
    return f"{change} {verb} {points(gain)} points on {after.spoken_set} ({values}{relative}){verdict}."


def confusion_sentences(result: Result) -> str:
    """The best and the worst recognised emotion, the largest confusion, and what is masked."""
    scores = result.scores
    recalls = {name: value for name, value in scores["recall"].items() if value is not None}
    best, worst = max(recalls, key=recalls.__getitem__), min(recalls, key=recalls.__getitem__)

    def described(name: str) -> str:
        return f"{name}, {percent(recalls[name])} of {scores['support'][name]:,}"

    if recalls[best] == recalls[worst]:
        sentences = [f"Every emotion is recognised equally often: {percent(recalls[best])}."]
    else:
        sentences = [f"Recognised best: {described(best)}; worst: {described(worst)}."]
    parts = np.array(scores["confusion_normalised"], dtype=float)
    np.fill_diagonal(parts, np.nan)
    if np.nansum(parts) > 0:
        row, column = np.unravel_index(np.nanargmax(parts), parts.shape)
        true, wrong = scores["emotions"][row], scores["emotions"][column]
        sentences.append(f"Largest confusion: {percent(parts[row, column])} of {true} is taken for {wrong}.")
    else:
        sentences.append("No picture is confused.")
    if scores["masked"]:
        sentences.append(f"The set lacks {', '.join(scores['masked'])}: masked, and never predicted.")
    return " ".join(sentences)


def intervals_are_apart(first: Result, second: Result) -> bool:
    """Whether the 95 % intervals of two accuracies have no point in common: a stricter test than a paired one."""
    (low, high), (other_low, other_high) = first.scores["accuracy_interval"], second.scores["accuracy_interval"]
    return bool(high < other_low or other_high < low)


def corrected_accuracy(result: Result) -> float | None:
    """Accuracy with the training set's class frequencies removed; None where it was not measured."""
    prior = (result.detail or {}).get("prior")
    return prior["uniform"]["accuracy"] if prior else None


def with_interval(result: Result) -> str:
    return f"{percent(result.scores['accuracy'])} ({span(result.scores['accuracy_interval'])})"


def _verdict(paired: dict[str, Any] | None, are_apart: bool, noun: str) -> str:
    """By the paired test where it was made; else by the intervals, which is stricter."""
    if paired is None:
        if are_apart:
            return ", more than the 95 % intervals"
        return f", less than the 95 % intervals: a {noun} is not shown"
    shown = "is shown" if paired["p"] < SIGNIFICANT else "is not shown"
    test = f"{span(paired['interval'])} points, {probability(paired['p'])}"
    return f"; on the same pictures the change is {test}: a {noun} {shown}"


def prior_sentence(result: Result) -> str:
    """What removing the training prior, and estimating the target's, change. Empty where not measured."""
    prior = (result.detail or {}).get("prior")
    if not prior:
        return ""
    accuracy = result.scores["accuracy"]
    clauses = [
        f"{percent(prior[key]['accuracy'])} with the {name} ({_direction(prior[key]['accuracy'] - accuracy)})"
        for key, name in CORRECTIONS.items()
    ]
    return f"{result.model} on {result.spoken_set}: {percent(accuracy)} as it is, {clauses[0]}, {clauses[1]}."


def correlation_sentence(result: Result) -> str:
    """Whether recall follows the number of training pictures."""
    found = (result.detail or {}).get("rank_correlation")
    if not found or found["spearman"] is None:
        return ""
    value = f"Spearman's r {found['spearman']:.2f}".replace("-", "\N{MINUS SIGN}")
    start = f"{result.model} on {result.spoken_set}, over {found['classes']} emotions: {value}"
    if found.get("p") is None:
        return f"{start}."
    start += f", {probability(found['p'])}"
    if found["p"] >= SIGNIFICANT:
        return f"{start}: an order by training pictures is not shown."
    kind = "more" if found["spearman"] > 0 else "fewer"
    return f"{start}: emotions with {kind} training pictures are recognised better."


def neutral_sentence(result: Result) -> str:
    """How often neutrality is predicted for each picture that has it, and for how many of the others."""
    found = ((result.detail or {}).get("over_predicted") or {}).get("neutrality") or {}
    if found.get("ratio") is None:
        return ""
    times = f"{found['ratio']:.2f} times as often as it occurs ({found['predicted']:,} for {found['true']:,})"
    false = (
        f", and for {percent(found['false_rate'])} of the others' pictures"
        if found.get("false_rate") is not None
        else ""
    )
    return f"{result.model} on {result.spoken_set} predicts neutrality {times}{false}."


def certainty_sentence(result: Result) -> str:
    """The calibration error, and what is left when only certain predictions count."""
    error, selective = result.scores.get("expected_calibration_error"), result.scores.get("selective")
    if error is None:
        return ""
    start = f"{result.model} on {result.spoken_set}: calibration error {percent(error)}"
    if not selective:
        return f"{start}."
    above = f"above {100 * selective['above']:.0f} %"
    if selective["accuracy"] is None:
        return f"{start}; no prediction is {above}."
    coverage, right = percent(selective["coverage"]), percent(selective["accuracy"])
    return f"{start}; {coverage} of the predictions are {above}, {right} of them right."


def gap_sentence(result: Result, attribute: str, entry: dict[str, Any]) -> str:
    """The largest gap between the groups of an attribute."""
    gap = entry.get("gap")
    if not gap:
        return ""
    best, worst = gap["groups"]
    difference = f"{best} is {points(gap['accuracy'])} points above {worst}"
    start = f"{result.model} on {result.spoken_set}, by {attribute.replace('_', ' ')}: {difference}"
    if not gap.get("interval"):
        return f"{start}."
    low, high = gap["interval"]
    shown = "shown" if low > 0 or high < 0 else "not shown"
    return f"{start} ({span((low, high))}): a difference is {shown}."


def damage_sentence(result: Result) -> str:
    """Errors, clean and damaged."""
    found = result.robustness
    if not found:
        return ""
    sentence = f"{result.model} on {result.spoken_set}: error {percent(1 - found['clean'])} on clean pictures"
    if found.get("mean_corruption_error") is None:
        return f"{sentence}."
    return f"{sentence}, {percent(found['mean_corruption_error'])} on damaged ones."


def hidden_sentence(result: Result) -> str:
    """The hidden region that costs most, and what as much of the picture costs elsewhere."""
    found = (result.robustness or {}).get("regions") or {}
    regions = {name: entry for name, entry in found.items() if not name.startswith(CONTROL)}
    if not regions:
        return ""
    start = f"{result.model} on {result.spoken_set}: "
    controlled = [name for name in regions if CONTROL + name in found]
    if not controlled:
        worst = max(regions, key=lambda name: regions[name]["drop"])
        return f"{start}hiding the {worst} changes accuracy most, by {signed_points(-regions[worst]['drop'])} points."
    worst = max(controlled, key=lambda name: regions[name]["drop"] - found[CONTROL + name]["drop"])
    change, control = (signed_points(-entry["drop"]) for entry in (regions[worst], found[CONTROL + worst]))
    more = f"as much of the picture elsewhere by {control}"
    return f"{start}of the regions with a control, hiding the {worst} stands out most: {change} points, {more}."


def copies_sentence(result: Result) -> str:
    """What the copies of training pictures were worth."""
    without = result.without_copies
    if not without:
        return ""
    copies = result.scores["samples"] - without["samples"]
    if not copies:
        return f"{result.model} on {result.spoken_set}: no copies."
    before, after = result.scores["accuracy"], without["accuracy"]
    start = f"Without {copies:,} cop{'ies' if copies > 1 else 'y'}, {result.model} reaches {percent(after)}"
    return f"{start} on {result.spoken_set} instead of {percent(before)} ({_direction(after - before)})."


def seeds_sentence(seeds: Seeds, model: Model) -> str:
    """Mean, deviation and range over seeds. model: any of the group, for the data that it was trained on."""
    values = seeds.values["accuracy"]
    where = seeds.dataset if seeds.split == "test" else seeds.set_name
    kind = f"{seeds.group} ({seeds.values['n']} seeds, trained on {model.trained_on})"
    start = f"{kind} on {where}: {percent(values['mean'])}"
    if values.get("deviation") is None:
        return f"{start}; a deviation needs more than one."
    ends = span((min(values["values"]), max(values["values"])))
    return f"{start} on average, deviation {points(values['deviation'])} points, from {ends} %."


def _direction(change: float) -> str:
    if points(change) == points(0):
        return "no change"
    return f"{points(change)} points {'more' if change > 0 else 'less'}"
