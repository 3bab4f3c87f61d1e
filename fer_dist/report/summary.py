"""The three sentences at the top of a report: how good on their own sets, how on others, what transfer brings."""

from collections.abc import Callable, Iterator
from typing import Any

from fer_dist.report.differences import cross_dataset_tests, transfers
from fer_dist.report.findings import (
    Model,
    Result,
    Study,
    first_models,
    own_result,
    results_of,
    seeds_of,
    seen_sets,
)
from fer_dist.report.numbers import listed, percent, points, span
from fer_dist.report.sentences import SPLITS, change_clause, corrected_accuracy, transfer_sentence, with_interval

MOST_NAMED = 4
"""Models or evaluations that a sentence of the summary names one by one; of more it gives the range."""


def summary(study: Study) -> list[str]:
    """At most three sentences: on own sets, on other sets, and what transfer brings."""
    first = first_models(study)
    sentences = [own_summary(study, first), cross_dataset_summary(study, first)]
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


def cross_dataset_summary(study: Study, models: list[Model]) -> str:
    """How accuracy, balanced accuracy and prior-corrected accuracy change on sets that a model never saw."""
    pairs = list(_cross_dataset(study, models))
    if not pairs:
        return ""
    if len(pairs) <= 2:
        tests = cross_dataset_tests(study)
        clauses = [_one_cross_dataset(*pair, tests.get((pair[1].model, pair[1].set_name))) for pair in pairs]
        return f"Carried over, {'; '.join(clauses)}."
    measures: dict[str, Callable[[Result], float | None]] = {
        "accuracy": lambda result: result.scores["accuracy"],
        "the balanced accuracy": lambda result: result.scores.get("mean_over_classes"),
        "accuracy with the training prior removed": corrected_accuracy,
    }
    changes = {spoken: _changes(pairs, measure) for spoken, measure in measures.items()}
    clauses = [
        f"{spoken} changes by {span((min(change), max(change)))}" for spoken, change in changes.items() if change
    ]
    own, other = min(pairs, key=lambda pair: pair[1].scores["accuracy"] - pair[0].scores["accuracy"])
    low = f"from {percent(own.scores['accuracy'])} to {percent(other.scores['accuracy'])}"
    extreme = f"the largest fall is that of {own.model} on {other.spoken_set}, {low}"
    if other.scores["accuracy"] >= own.scores["accuracy"]:
        extreme = f"the smallest rise is that of {own.model} on {other.spoken_set}, {low}"
    clauses[0] += " points"
    number = f"{len(pairs)} cross-dataset evaluations, each tested below"
    return f"Carried over to other sets, {listed(clauses)} ({number}); {extreme}."


def transfer_summary(study: Study) -> str:
    """What the transferred model's start brings, or the first comparison's: one sentence over all its seeds."""
    first, *others = sorted(transfers(study), key=lambda one: (one.with_model.role != "a-b", one.is_of_the_source))
    sentence = transfer_sentence(first)
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
    spread = f"standard deviation {points(values['deviation'])} points"
    return f"{percent(values['mean'])} (mean of {seeds.values['n']} seeds, {spread})"


def _cross_dataset(study: Study, models: list[Model]) -> Iterator[tuple[Result, Result]]:
    """A model's own result with each on a set that neither it nor its start was trained on, split by split the same."""
    for model in models:
        results = results_of(study, model)
        own = own_result(results, model)
        seen = seen_sets(study, model)
        if own:
            yield from ((own, other) for other in results if other.dataset not in seen and other.split == own.split)


def _one_cross_dataset(own: Result, other: Result, test: dict[str, Any] | None) -> str:
    clauses = [f"{own.model} reaches {with_interval(other)} on {other.spoken_set}{change_clause(own, other, test)}"]
    before, after = own.scores.get("mean_over_classes"), other.scores.get("mean_over_classes")
    if before is not None and after is not None:
        clauses.append(f"its balanced accuracy from {percent(before)} to {percent(after)}")
    before, after = corrected_accuracy(own), corrected_accuracy(other)
    if before is not None and after is not None:
        clauses.append(f"its accuracy with the training prior removed from {percent(before)} to {percent(after)}")
    return listed(clauses)


def _changes(pairs: list[tuple[Result, Result]], measure: Callable[[Result], float | None]) -> list[float]:
    """After - before of each cross-dataset evaluation; none where one of them lacks the measure."""
    values = [(measure(own), measure(other)) for own, other in pairs]
    known = [after - before for before, after in values if before is not None and after is not None]
    return known if len(known) == len(values) else []
