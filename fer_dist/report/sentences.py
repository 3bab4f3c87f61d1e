"""A report's sentences about models: how good, how that carries over, what transfer brings, and what lies behind."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fer_dist.evaluate.robustness.regions import CONTROL
from fer_dist.report.differences import Transfer, balance_tests, cross_dataset_tests, is_shown
from fer_dist.report.findings import Model, Result, Seeds, Study, own_result, results_of, seeds_of
from fer_dist.report.numbers import listed, percent, points, probability, signed_points, span
from fer_dist.report.tables import CORRECTIONS

SPLITS = {"train": "training", "val": "validation", "test": "test"}


def model_sentences(study: Study, model: Model) -> list[str]:
    """How good a model is on its own set, how that carries over to others, and whether rare emotions do worse.

    Of several seeds, their means.
    """
    results = results_of(study, model)
    own = own_result(results, model)
    others = [result for result in results if result.dataset != model.trained_on]
    if own is None:
        return [f"{model.name} reaches {with_interval(other)} on {other.spoken_set}." for other in others]
    split, tests = SPLITS.get(own.split, own.split), cross_dataset_tests(study)
    clauses = [f"{spoken_name(study, own)} reaches {spoken_accuracy(study, own)} on its own {split} set"]
    clauses += [
        f"on {other.spoken_set} it reaches {spoken_accuracy(study, other)}"
        + change_clause(own, other, tests.get((model.name, other.set_name)))
        for other in others
    ]
    balance = class_balance_sentence(own, balance_tests(study).get(model.name))
    return ["; ".join(clauses) + ".", *([balance] if balance else [])]


def change_clause(own: Result, other: Result, test: dict[str, Any] | None) -> str:
    """How a model does on a set against its own. test: of the difference; None: not made, and then nothing is said."""
    if not test:
        return ""
    emotions = len({name for one in (own, other) for name, n in one.scores.get("support", {}).items() if n})
    common = f" on the {len(test['emotions'])} emotions that both have" if len(test["emotions"]) < emotions else ""
    if not is_shown(test):
        return f": a difference from its own set{common} is not shown ({_tested(test)})"
    comparison = "more" if test["difference"] > 0 else "less"
    return f", {points(test['difference'])} points {comparison} than on its own set{common} ({_tested(test)})"


def class_balance_sentence(result: Result, test: dict[str, Any] | None) -> str:
    """Accuracy against the balanced accuracy: their difference has the sign of cov(images, recall) over emotions.

    test: of the difference, its p corrected; None: not made, and then nothing is said of rare emotions. Empty where the
    balanced accuracy was not measured.
    """
    mean, ends = result.scores.get("mean_over_classes"), result.scores.get("mean_over_classes_interval")
    if mean is None or not ends:
        return ""
    start = f"{result.model}'s balanced accuracy on {result.spoken_set} is {percent(mean)} ({span(ends)})"
    if test is None:
        return f"{start}."
    if not is_shown(test):
        return f"{start}; that it differs from the accuracy is not shown ({_tested(test)})."
    side, more = ("below", "more") if test["difference"] < 0 else ("above", "fewer")
    gap = f"{points(test['difference'])} points {side} its accuracy ({_tested(test)})"
    return f"{start}, {gap}: on the whole, emotions with {more} test images are recognised better."


def transfer_sentence(transfer: Transfer) -> str:
    """What one start brings or costs against another, and whether that is more than chance explains."""
    with_model, without_model, seeds = transfer.with_model, transfer.without_model, transfer.seeds
    after, before = (
        float(np.mean([one.scores["accuracy"] for one in some])) for some in (transfer.after, transfer.before)
    )
    names = [model.group_name if seeds > 1 else model.name for model in (with_model, without_model)]
    if transfer.is_of_the_source:
        change = f"After its training on {with_model.trained_on}, {names[0]} instead of {names[1]}"
    elif with_model.started_from and with_model.trained_on == without_model.trained_on and seeds == 1:
        change = f"Starting from {with_model.started_from} instead of {without_model.started_from or 'scratch'}"
    else:
        change = f"Using {names[0]} instead of {names[1]}"
    gain, where = after - before, transfer.after[0].spoken_set
    over = f", as the mean of {seeds} seeds" if seeds > 1 else ""
    if points(gain) == points(0):
        text = f"{change} makes no difference on {where}{over}: {percent(after)} with both"
    else:
        relative = f", relative {percent(abs(gain) / before)}" if before else ""
        values = f"from {percent(before)} to {percent(after)}{relative}"
        text = f"{change} {_comes_with(transfer, gain)} on {where}{over} ({values})"
    return f"{text}{_verdict(transfer, gain)}."


def confusion_sentences(result: Result) -> str:
    """The best and the worst recognised emotion, the largest confusion, and what is masked."""
    scores = result.scores
    recalls = {name: value for name, value in scores["recall"].items() if value is not None}
    best, worst = max(recalls.values()), min(recalls.values())

    def described(value: float) -> str:
        names = [name for name in recalls if recalls[name] == value]
        images = listed([f"{scores['support'][name]:,}" for name in names])
        return f"{listed(names)}, {percent(value)} of {images}"

    if best == worst:
        sentences = [f"Every emotion is recognised equally often: {percent(best)}."]
    else:
        sentences = [f"Recognised best: {described(best)}; worst: {described(worst)}."]
    parts = np.array(scores["confusion_normalised"], dtype=float)
    np.fill_diagonal(parts, np.nan)
    if np.nansum(parts) > 0:
        row, column = np.unravel_index(np.nanargmax(parts), parts.shape)
        true, wrong = scores["emotions"][row], scores["emotions"][column]
        sentences.append(f"Largest confusion: {percent(parts[row, column])} of {true} is taken for {wrong}.")
    else:
        sentences.append("No image is confused.")
    if scores["masked"]:
        sentences.append(f"The set lacks {', '.join(scores['masked'])}: masked, and never predicted.")
    if extra := scores.get("extra"):
        counts = ", ".join(f"{count:,} of {name}" for name, count in extra.items())
        sentences.append(f"Its images of emotions that the model does not have are left out: {counts}.")
    return " ".join(sentences)


def class_sentence(result: Result) -> str:
    """The emotions with the highest and the lowest F1, which are an order of these images and no test."""
    found = {name: entry for name, entry in result.by_class.items() if entry["f1"] is not None}
    high, low = (pick(found, key=lambda name: found[name]["f1"]) for pick in (max, min))

    def told(name: str) -> str:
        return f"{name} {percent(found[name]['f1'])} ({span(found[name]['f1_interval'])})"

    if found[high]["f1"] == found[low]["f1"]:
        return f"F1 is the same for every emotion: {percent(found[high]['f1'])}."
    return f"F1 is highest for {told(high)} and lowest for {told(low)}; emotions were not tested against each other."


def confusion_change_sentence(after: Result, before: Result) -> str:
    """Which recall rises and which falls most from one network to the other on the same images; none is tested."""
    recalls = [result.scores["recall"] for result in (after, before)]
    changes = {
        name: value - recalls[1][name]
        for name, value in recalls[0].items()
        if value is not None and recalls[1].get(name) is not None
    }
    told = []
    for kind, pick, sign in (("rises", max, 1), ("falls", min, -1)):
        name = pick(changes, key=lambda name: changes[name], default=None)
        if name is not None and points(sign * changes[name]) != points(0) and sign * changes[name] > 0:
            told.append(f"recall {kind} most for {name} ({signed_points(changes[name])} points)")
    start = listed(told) if told else "no recall changes"
    return f"{start[0].upper()}{start[1:]}. Single cells are not tested."


def spoken_name(study: Study, result: Result) -> str:
    """Of the recipe where a value is of several seeds, else of the network."""
    seeds = seeds_of(study, result)
    return seeds.group if seeds else result.model


def spoken_accuracy(study: Study, result: Result) -> str:
    """The network's, with its interval; of several seeds the mean and their standard deviation."""
    seeds = seeds_of(study, result)
    if seeds is None:
        return with_interval(result)
    values = seeds.values["accuracy"]
    spread = f"standard deviation {points(values['deviation'])} points"
    return f"{percent(values['mean'])} (mean of {seeds.values['n']} seeds, {spread})"


def mean_accuracy(study: Study, result: Result) -> float:
    """The network's; of several seeds their mean."""
    seeds = seeds_of(study, result)
    return float(seeds.values["accuracy"]["mean"] if seeds else result.scores["accuracy"])


def with_interval(result: Result) -> str:
    return f"{percent(result.scores['accuracy'])} ({span(result.scores['accuracy_interval'])})"


def _comes_with(transfer: Transfer, gain: float) -> str:
    """What is shown is brought or cost; what is not was only seen."""
    if transfer.test and is_shown(transfer.test):
        return f"{'brings' if gain > 0 else 'costs'} {points(gain)} points"
    return f"comes with {points(gain)} points {'more' if gain > 0 else 'less'}"


def _verdict(transfer: Transfer, gain: float) -> str:
    """What the test says: of two networks where there is one seed, of the recipes where there are several."""
    test = transfer.test
    if test is None:
        return "; whether that is more than chance was not tested"
    noun = ("gain" if gain > 0 else "loss") if points(gain) != points(0) else "difference"
    noun = "forgetting" if transfer.is_of_the_source and gain < 0 else f"a {noun}"
    shown = "is shown" if is_shown(test) else "is not shown"
    of = f"over {transfer.seeds} seeds" if transfer.seeds > 1 else "between these two networks"
    return f"; {of} {noun} {shown} ({_tested(test)})"


def _tested(test: dict[str, Any]) -> str:
    seeds = f"over {test['seeds']} seeds " if test.get("seeds", 1) > 1 else ""
    return f"{seeds}{span(test['interval'])} points, {probability(test['p'])}"


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


def correlation_sentence(result: Result, found: dict[str, Any] | None) -> str:
    """Whether recall follows the number of training images. found: the correlation, its p corrected; None: no text."""
    if not found:
        return ""
    value = f"Spearman's r {found['spearman']:.2f}".replace("-", "\N{MINUS SIGN}")
    start = (
        f"{result.model} on {result.spoken_set}, over {found['classes']} emotions: {value}, {probability(found['p'])}"
    )
    if not is_shown(found):
        return f"{start}: an order by training images is not shown."
    kind = "more" if found["spearman"] > 0 else "fewer"
    return f"{start}: emotions with {kind} training images are recognised better."


def neutral_sentence(result: Result) -> str:
    """How often neutrality is predicted for each image that has it, and for how many of the others."""
    found = ((result.detail or {}).get("over_predicted") or {}).get("neutrality") or {}
    if found.get("ratio") is None:
        return ""
    times = f"{found['ratio']:.2f} times as often as it occurs ({found['predicted']:,} for {found['true']:,})"
    false = (
        f", and for {percent(found['false_rate'])} of the others' images" if found.get("false_rate") is not None else ""
    )
    return f"{result.model} on {result.spoken_set} predicts neutrality {times}{false}."


def calibration_sentence(result: Result) -> str:
    """The calibration error with what chance makes of it, and what is left when only confident predictions count."""
    error, selective = result.scores.get("expected_calibration_error"), result.scores.get("selective")
    if error is None:
        return ""
    start = f"{result.model} on {result.spoken_set}: expected calibration error {percent(error)}"
    start += _chance_in(result.scores)
    if not selective:
        return f"{start}."
    above = f"above {100 * selective['above']:.0f} %"
    if selective["accuracy"] is None:
        return f"{start}; no prediction is {above}."
    coverage, right = percent(selective["coverage"]), percent(selective["accuracy"])
    return f"{start}; {coverage} of the predictions are {above}, {right} of them right."


def _chance_in(scores: dict[str, Any]) -> str:
    """What of a calibration error chance makes, and what is left; empty where that was not measured."""
    floor, rest, interval = (scores.get(f"expected_calibration_error_{of}") for of in ("floor", "debiased", "interval"))
    if floor is None or rest is None or not interval:
        return ""
    left = f"{percent(rest)} without chance ({span(interval)})"
    return f" where a calibrated model would have {percent(floor)} by chance, {left}"


def gap_sentence(result: Result, attribute: str, gap: dict[str, Any]) -> str:
    """The largest gap between the groups of an attribute, as it is and with the same mix of emotions in both.

    gap: as differences.gap_tests gives it.
    """
    best, worst = gap["groups"]
    start = f"{result.model} on {result.spoken_set}, by {attribute.replace('_', ' ')}: {best} is"
    first = f"{start} {points(gap['accuracy'])} points above {worst}{_shown_gap(gap)}"
    adjusted = gap["adjusted"]
    if not adjusted:
        return f"{first}; the two have no emotion in common."
    side = "above" if points(adjusted["accuracy"]) == points(0) or adjusted["accuracy"] > 0 else "below"
    value = f"{points(adjusted['accuracy'])} points {side}"
    return f"{first}; with the same mix of emotions in both, {value}{_shown_gap(adjusted)}."


def _shown_gap(test: dict[str, Any]) -> str:
    return f" ({_tested(test)}), {'shown' if is_shown(test) else 'not shown'}"


def corruption_sentence(result: Result) -> str:
    """Errors, clean and corrupted."""
    found = result.robustness
    if not found:
        return ""
    sentence = f"{result.model} on {result.spoken_set}: error {percent(1 - found['clean'])} on clean images"
    if found.get("mean_corruption_error") is None:
        return f"{sentence}."
    return f"{sentence}, {percent(found['mean_corruption_error'])} on corrupted ones."


def occlusion_sentence(result: Result) -> str:
    """The occluded region that costs most, and what as much of the image costs elsewhere; it does not stand out where
    the intervals of the two overlap.
    """
    found = (result.robustness or {}).get("regions") or {}
    regions = {name: entry for name, entry in found.items() if not name.startswith(CONTROL)}
    if not regions:
        return ""
    start = f"{result.model} on {result.spoken_set}: "
    controlled = [name for name in regions if CONTROL + name in found]
    if not controlled:
        worst = max(regions, key=lambda name: regions[name]["drop"])
        return f"{start}occluding the {worst} changes accuracy most: {signed_points(-regions[worst]['drop'])} points."
    worst = max(controlled, key=lambda name: regions[name]["drop"] - found[CONTROL + name]["drop"])
    pair = regions[worst], found[CONTROL + worst]
    change, control = (signed_points(-entry["drop"]) for entry in pair)
    own, other = (entry.get("interval") for entry in pair)
    stands_out = "does not stand out" if own and other and own[0] <= other[1] else "stands out"
    more = f"{change} points, as much of the image elsewhere by {control}"
    return f"{start}of all regions, occluding the {worst} exceeds its control most, and {stands_out}: {more}."


def duplicates_sentence(result: Result) -> str:
    """What the duplicates of training images were worth. Empty where there are none, or nobody looked."""
    without, duplicates = result.without_copies, result.duplicates
    if not without or not duplicates:
        return ""
    before, after = result.scores["accuracy"], without["accuracy"]
    start = f"Without {duplicates:,} duplicate{'s' if duplicates > 1 else ''}, {result.model} reaches {percent(after)}"
    return f"{start} on {result.spoken_set} instead of {percent(before)} ({_direction(after - before)})."


def no_duplicates_sentence(results: Sequence[Result]) -> str:
    """In how many evaluations there were none; empty where there was none without."""
    looked = [result for result in results if result.duplicates is not None]
    without = [result for result in looked if not result.duplicates]
    if not without:
        return ""
    if len(without) == len(looked):
        evaluations = "the one evaluation" if len(looked) == 1 else f"any of the {len(looked)} evaluations"
        return f"No duplicate was found in {evaluations}."
    named = [f"{result.model} on {result.spoken_set}" for result in without]
    return f"No duplicate was found for {listed(named)}."


def seeds_sentence(seeds: Seeds, model: Model) -> str:
    """Mean, standard deviation and range over seeds. model: any of the group, for the data that it was trained on."""
    values = seeds.values["accuracy"]
    where = seeds.dataset if seeds.split == "test" else seeds.set_name
    kind = f"{seeds.group} ({seeds.values['n']} seeds, trained on {model.trained_on})"
    start = f"{kind} on {where}: {percent(values['mean'])}"
    if values.get("deviation") is None:
        return f"{start}; a standard deviation needs more than one."
    ends = span((min(values["values"]), max(values["values"])))
    return f"{start} on average, standard deviation {points(values['deviation'])} points, from {ends} %."


def _direction(change: float) -> str:
    if points(change) == points(0):
        return "no change"
    return f"{points(change)} points {'more' if change > 0 else 'less'}"


def crop_sentences(study: Study) -> list[str]:
    """Where the faces of a set are cut otherwise than those that a model scored on it was trained on."""
    trained_on = {model.name: f"{model.trained_on}-train" for model in study.models}
    found: dict[str, None] = {}
    for result in study.results:
        trained, here = (study.crop_rules.get(name) for name in (trained_on[result.model], result.set_name))
        if trained and here and trained != here:
            found[
                f"The faces of {result.set_name} are cut otherwise ({here}) than those of {trained_on[result.model]} "
                f"({trained}): a part of what models of the latter lose there may be that."
            ] = None
    return list(found)
