"""A report's sentences about what lies behind scores: priors, frequencies, certainty, groups, damage, copies, seeds."""

from typing import Any

from fer_dist.evaluate.robustness.regions import CONTROL
from fer_dist.report.findings import Model, Result, Seeds
from fer_dist.report.numbers import percent, points, probability, signed_points, span
from fer_dist.report.sentences import SIGNIFICANT
from fer_dist.report.tables import CORRECTIONS


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
