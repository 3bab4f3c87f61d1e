"""The three sentences at the top of a report: how good on their own sets, how on others, what transfer brings."""

from collections.abc import Iterator

from fer_dist.report.differences import cross_dataset_tests, transfers
from fer_dist.report.findings import Model, Result, Study, first_models, own_result, results_of, seen_sets
from fer_dist.report.numbers import listed, signed_points, span
from fer_dist.report.sentences import (
    SPLITS,
    change_clause,
    mean_accuracy,
    spoken_accuracy,
    spoken_name,
    transfer_sentence,
)

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
    owns = [own for model in models if (own := own_result(results_of(study, model), model))]
    if not owns:
        return ""
    splits = {own.split for own in owns}
    name = SPLITS.get(next(iter(splits)), next(iter(splits))) + " " if len(splits) == 1 else ""
    spoken = [(spoken_name(study, own), spoken_accuracy(study, own)) for own in owns]
    start = f"On {'its' if len(owns) == 1 else 'their'} own {name}set{'s' if len(owns) > 1 else ''}"
    if len(owns) <= MOST_NAMED:
        clauses = [f"{model} {value}" for model, value in spoken]
        clauses[0] = f"{spoken[0][0]} reaches {spoken[0][1]}"
        return f"{start}, {listed(clauses)}."
    order = sorted(range(len(owns)), key=lambda index: mean_accuracy(study, owns[index]))
    low, high = (f"{spoken[index][1]} for {spoken[index][0]}" for index in (order[0], order[-1]))
    return f"{start}, the {len(owns)} kinds of models reach from {low} to {high}."


def cross_dataset_summary(study: Study, models: list[Model]) -> str:
    """How accuracy changes on sets that a network never saw, on the emotions that both have."""
    pairs = list(_cross_dataset(study, models))
    if not pairs:
        return ""
    tests = cross_dataset_tests(study)
    found = [tests.get((other.model, other.set_name)) for _, other in pairs]
    if len(pairs) <= 2:
        clauses = [
            f"{spoken_name(study, other)} reaches {spoken_accuracy(study, other)} on {other.spoken_set}"
            f"{change_clause(own, other, test)}"
            for (own, other), test in zip(pairs, found, strict=True)
        ]
        return f"Carried over, {'; '.join(clauses)}."
    tested = [(test, other) for (_, other), test in zip(pairs, found, strict=True) if test]
    if len(tested) < len(pairs):
        accuracies = [mean_accuracy(study, other) for _, other in pairs]
        ends = span((min(accuracies), max(accuracies)))
        return (
            f"Carried over to other sets, accuracies lie from {ends} % ({len(pairs)} of them, differences not tested)."
        )
    changes = [test["difference"] for test, _ in tested]
    test, other = min(tested, key=lambda one: one[0]["difference"])
    least = test["difference"]
    kind = "largest fall" if least < 0 else "smallest rise"
    extreme = f"the {kind} of these is that of {spoken_name(study, other)}"
    start = f"Carried over to other sets, accuracy changes by {span((min(changes), max(changes)))} points"
    number = f"{len(pairs)} cross-dataset evaluations, each tested below"
    where = f"on {other.spoken_set}, {signed_points(least)} points"
    return f"{start} on the emotions that both sets have ({number}); {extreme} {where}."


def transfer_summary(study: Study) -> str:
    """What the transferred model's start brings, or the first comparison's: one sentence over all its seeds."""
    first, *others = sorted(transfers(study), key=lambda one: (one.with_model.role != "a-b", one.is_of_the_source))
    sentence = transfer_sentence(first)
    if not others:
        return sentence
    return f"{sentence[:-1]} ({len(others)} other comparison{'s' if len(others) > 1 else ''} below)."


def _cross_dataset(study: Study, models: list[Model]) -> Iterator[tuple[Result, Result]]:
    """A model's own result with each on a set that neither it nor its start was trained on, of the same split."""
    for model in models:
        results = results_of(study, model)
        own = own_result(results, model)
        seen = seen_sets(study, model)
        if own:
            yield from ((own, other) for other in results if other.dataset not in seen and other.split == own.split)
