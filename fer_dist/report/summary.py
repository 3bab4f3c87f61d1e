"""The three sentences at the top of a report: how good on their own sets, how on others, what transfer brings."""

from collections.abc import Callable, Iterator

import numpy as np

from fer_dist.report.findings import (
    Comparison,
    Model,
    Result,
    Study,
    compared,
    first_models,
    own_result,
    results_of,
    seeds_of,
    seen_sets,
)
from fer_dist.report.numbers import listed, percent, points, span
from fer_dist.report.sentences import SIGNIFICANT, SPLITS, corrected_accuracy, transfer_sentence, with_interval

MOST_NAMED = 4
"""Models or crossings that a sentence of the summary names one by one; of more it gives the range or the mean."""


def summary(study: Study) -> list[str]:
    """At most three sentences: on own sets, on other sets, and what transfer brings."""
    first = first_models(study)
    sentences = [own_summary(study, first), crossing_summary(study, first)]
    if study.comparisons:
        sentences.append(transfer_summary(study))
    return [sentence for sentence in sentences if sentence]


def own_summary(study: Study, models: list[Model]) -> str:
    """How good each is on the set that it was trained on; the range of many. Empty where none was measured there."""
    pairs = [(model, own_result(results_of(study, model), model)) for model in models]
    owns = [(model, result) for model, result in pairs if result]
    if not owns:
        return ""
    splits = {result.split for _, result in owns}
    name = SPLITS.get(next(iter(splits)), next(iter(splits))) + " " if len(splits) == 1 else ""
    spoken = [(_spoken_name(study, *pair), _spoken_accuracy(study, *pair)) for pair in owns]
    start = f"On {'its' if len(owns) == 1 else 'their'} own {name}set{'s' if len(owns) > 1 else ''}"
    if len(owns) <= MOST_NAMED:
        clauses = [f"{model} {value}" for model, value in spoken]
        clauses[0] = f"{spoken[0][0]} reaches {spoken[0][1]}"
        return f"{start}, {listed(clauses)}."
    order = sorted(range(len(owns)), key=lambda place: owns[place][1].scores["accuracy"])
    low, high = (f"{spoken[place][1]} for {spoken[place][0]}" for place in (order[0], order[-1]))
    return f"{start}, the {len(owns)} kinds of models reach from {low} to {high}."


def crossing_summary(study: Study, models: list[Model]) -> str:
    """How accuracy, mean over classes and prior-corrected accuracy change on sets that a model never saw."""
    crossings = list(_crossings(study, models))
    if not crossings:
        return ""
    if len(crossings) <= 2:
        return "Carried over, " + "; ".join(_one_crossing(own, other) for own, other in crossings) + "."
    measures: dict[str, Callable[[Result], float | None]] = {
        "accuracy": lambda result: result.scores["accuracy"],
        "the mean over classes": lambda result: result.scores.get("mean_over_classes"),
        "accuracy with the training prior removed": corrected_accuracy,
    }
    changes = {spoken: _mean_change(crossings, measure) for spoken, measure in measures.items()}
    clauses = [_changed(spoken, change) for spoken, change in changes.items() if change is not None]
    own, other = min(crossings, key=lambda pair: pair[1].scores["accuracy"] - pair[0].scores["accuracy"])
    low = f"from {percent(own.scores['accuracy'])} to {percent(other.scores['accuracy'])}"
    extreme = f"the largest fall is that of {own.model} on {other.spoken_set}, {low}"
    if other.scores["accuracy"] >= own.scores["accuracy"]:
        extreme = f"the smallest rise is that of {own.model} on {other.spoken_set}, {low}"
    return f"Carried over to other sets, {listed(clauses)} (means of {len(crossings)} crossings); {extreme}."


def transfer_summary(study: Study) -> str:
    """What the transferred model's start brings, or the first comparison's: one sentence over all its seeds."""
    roles = {model.name: model.role for model in study.models}
    ordered = sorted(study.comparisons, key=lambda comparison: roles[comparison.with_model] != "a-b")
    kinds: dict[tuple[str, ...], list[Comparison]] = {}
    for comparison in ordered:
        kinds.setdefault(_kind(study, comparison), []).append(comparison)
    first, *others = kinds.values()
    sentence = transfer_sentence(study, first[0]) if len(first) == 1 else _transfer_over_seeds(study, first)
    if not others:
        return sentence
    return f"{sentence[:-1]} ({len(others)} other comparison{'s' if len(others) > 1 else ''} below)."


def _spoken_name(study: Study, model: Model, result: Result) -> str:
    """The group's name where the value is of the group."""
    return model.group_name if seeds_of(study, model, result) else model.name


def _spoken_accuracy(study: Study, model: Model, result: Result) -> str:
    seeds = seeds_of(study, model, result)
    if seeds is None:
        return with_interval(result)
    values = seeds.values["accuracy"]
    spread = f"deviation {points(values['deviation'])} points"
    return f"{percent(values['mean'])} (mean of {seeds.values['n']} seeds, {spread})"


def _crossings(study: Study, models: list[Model]) -> Iterator[tuple[Result, Result]]:
    """A model's own result with each on a set that neither it nor its start was trained on, split by split the same."""
    for model in models:
        results = results_of(study, model)
        own = own_result(results, model)
        seen = seen_sets(study, model)
        if own:
            yield from ((own, other) for other in results if other.dataset not in seen and other.split == own.split)


def _one_crossing(own: Result, other: Result) -> str:
    clauses = [
        f"{own.model} goes from {percent(own.scores['accuracy'])} to {with_interval(other)} on {other.spoken_set}"
    ]
    before, after = own.scores.get("mean_over_classes"), other.scores.get("mean_over_classes")
    if before is not None and after is not None:
        clauses.append(f"its mean over classes from {percent(before)} to {percent(after)}")
    before, after = corrected_accuracy(own), corrected_accuracy(other)
    if before is not None and after is not None:
        clauses.append(f"its accuracy with the training prior removed from {percent(before)} to {percent(after)}")
    return listed(clauses)


def _mean_change(crossings: list[tuple[Result, Result]], measure: Callable[[Result], float | None]) -> float | None:
    """Mean of after - before over the crossings; None where one of them lacks the measure."""
    changes = []
    for own, other in crossings:
        before, after = measure(own), measure(other)
        if before is None or after is None:
            return None
        changes.append(after - before)
    return float(np.mean(changes))


def _changed(spoken: str, change: float) -> str:
    if points(change) == points(0):
        return f"{spoken} stays the same"
    return f"{spoken} {'rises' if change > 0 else 'falls'} by {points(change)} points"


def _kind(study: Study, comparison: Comparison) -> tuple[str, ...]:
    """The same for comparisons that differ only in their seed."""
    groups = {model.name: model.group_name for model in study.models}
    return groups[comparison.with_model], groups[comparison.without_model], comparison.dataset, comparison.split


def _transfer_over_seeds(study: Study, comparisons: list[Comparison]) -> str:
    """Mean and range of the gains, and in how many seeds the paired test shows one."""
    after, before, *_ = _kind(study, comparisons[0])
    pairs = [compared(study, comparison) for comparison in comparisons]
    gains = [with_it.scores["accuracy"] - without.scores["accuracy"] for with_it, without in pairs]
    mean = float(np.mean(gains))
    values = [float(np.mean([pair[place].scores["accuracy"] for pair in pairs])) for place in (1, 0)]
    verb, noun = ("brings", "gain") if mean >= 0 else ("costs", "loss")
    where = f"on {pairs[0][0].spoken_set}, as the mean of {len(pairs)} seeds"
    ends = span((min(gains), max(gains)))
    change = f"Using {after} instead of {before} {verb} {points(mean)} points {where}"
    sentence = f"{change} (from {percent(values[0])} to {percent(values[1])}; each seed {ends})"
    tests = [comparison.paired for comparison in comparisons if comparison.paired]
    if len(tests) < len(comparisons):
        return f"{sentence}."
    shown = sum(test["p"] < SIGNIFICANT and test["difference"] * mean > 0 for test in tests)
    return f"{sentence}; on the same pictures a {noun} is shown in {shown} of them."
