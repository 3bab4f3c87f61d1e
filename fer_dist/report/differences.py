"""The differences that a report speaks of, each with its test: what a start brings, and how a model carries over.

What is tested side by side is corrected together (Holm 1979): of many true nothings one alone looks like something.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from fer_dist.report.findings import (
    Comparison,
    Model,
    Result,
    Study,
    compared,
    first_models,
    gain_of,
    kind_of,
    own_result,
    results_of,
    same_group,
)
from fer_dist.scores.compare import holm, separate_over_seeds

Key = TypeVar("Key", bound=Hashable)

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Transfer:
    """One start against another on one set, over all the seeds that were compared.

    after, before: results with and without, seed by seed. test: difference, interval, and p after the correction; None
    where none was made. seeds: over which the test goes; 1: it is of two networks.
    """

    with_model: Model
    without_model: Model
    after: tuple[Result, ...]
    before: tuple[Result, ...]
    test: dict[str, Any] | None
    seeds: int

    @property
    def is_of_the_source(self) -> bool:
        """Whether it is on the set of the model that the other one starts from: what was forgotten there."""
        return self.with_model.started_from == self.without_model.name


def transfers(study: Study) -> list[Transfer]:
    """All comparisons of a study, those that differ in their seed alone as one."""
    kinds: dict[tuple[str, ...], list[Comparison]] = {}
    for comparison in study.comparisons:
        kinds.setdefault(kind_of(study, comparison), []).append(comparison)
    found = [_transfer(study, comparisons) for comparisons in kinds.values()]
    tests = _corrected({index: one.test for index, one in enumerate(found) if one.test})
    return [replace(one, test=tests.get(index)) for index, one in enumerate(found)]


def cross_dataset_tests(study: Study) -> dict[tuple[str, str], dict[str, Any]]:
    """(first model of a group, set) -> the test of the group there against its own set, over its seeds.

    p is after the correction over all of them.
    """
    found = {}
    for model in first_models(study):
        group = {other.name for other in same_group(study, model)}
        for one in results_of(study, model):
            same = [
                other.against_own for other in study.results if other.model in group and other.set_name == one.set_name
            ]
            tests = [test for test in same if test and test["p"] is not None]
            if tests and len(tests) == len(same):
                found[model.name, one.set_name] = separate_over_seeds(tests)
    return _corrected(found)


def rank_tests(results: Iterable[Result]) -> dict[tuple[str, str], dict[str, Any]]:
    """(model, set) -> the correlation of recall with training images, p after the correction over all of them."""
    found = {(one.model, one.set_name): (one.detail or {}).get("rank_correlation") for one in results}
    return _corrected({key: test for key, test in found.items() if test and test.get("p") is not None})


def balance_tests(study: Study) -> dict[str, dict[str, Any]]:
    """Model -> its balanced accuracy less its accuracy on its own set, p after the correction over all of them."""
    owns = {model.name: own_result(results_of(study, model), model) for model in first_models(study)}
    found = {name: (own.detail or {}).get("class_balance") for name, own in owns.items() if own}
    return _corrected({name: test for name, test in found.items() if test})


def gap_tests(results: Iterable[Result]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """(model, set, attribute) -> the largest gap between its groups, as it is and adjusted, each with its p corrected.

    One correction over all of them. Gaps that have no p, as those of studies before it was made, are left out.
    """
    gaps = {
        (one.model, one.set_name, attribute): entry["gap"]
        for one in results
        for attribute, entry in one.by_attribute.items()
        if entry.get("gap") and entry["gap"].get("p") is not None
    }
    tests = {(*key, False): gap for key, gap in gaps.items()}
    tests |= {(*key, True): gap["adjusted"] for key, gap in gaps.items() if gap["adjusted"]}
    found = _corrected(tests)
    return {key: found[*key, False] | {"adjusted": found.get((*key, True))} for key in gaps}


def best_tests(study: Study) -> dict[tuple[str, str], dict[str, Any]]:
    """(set, group) -> the test of the best group there against that one.

    The best was found by looking at all pairs on all sets, and the others were not tested against each other: p is
    raised for every pair (Bonferroni).
    """
    pairs = sum(ranking.pairs for ranking in study.rankings)
    return {
        (ranking.set_name, group): test | {"p": min(1.0, pairs * test["p"])}
        for ranking in study.rankings
        for group, test in ranking.tests.items()
        if test["p"] is not None
    }


def is_shown(test: dict[str, Any]) -> bool:
    return bool(test["p"] < SIGNIFICANT)


def _corrected(tests: dict[Key, dict[str, Any]]) -> dict[Key, dict[str, Any]]:
    """The same tests, each with the p that it has beside the others."""
    adjusted = holm({str(key): test["p"] for key, test in tests.items()})
    return {key: test | {"p": adjusted[str(key)]} for key, test in tests.items()}


def _transfer(study: Study, comparisons: list[Comparison]) -> Transfer:
    models = {model.name: model for model in study.models}
    pairs = [compared(study, comparison) for comparison in comparisons]
    test = comparisons[0].paired if len(comparisons) == 1 else gain_of(study, comparisons[0])
    return Transfer(
        models[comparisons[0].with_model],
        models[comparisons[0].without_model],
        tuple(after for after, _ in pairs),
        tuple(before for _, before in pairs),
        test if test and test["p"] is not None else None,
        len(comparisons),
    )
