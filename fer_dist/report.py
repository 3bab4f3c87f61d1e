"""report.html: what a study found, in one file that needs nothing else. Its sentences are made from the scores.

It measures nothing and draws nothing by itself: measures come from metrics.scores, pictures from figures.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fer_dist.data.manifest import write_atomically
from fer_dist.errors import InputError
from fer_dist.figures import confusion_figure, inline_svg, transfer_figure

TEMPLATES = Path(__file__).parent / "templates"
SPLITS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Model:
    """One trained network.

    trained_on:   the data set (not the split) that it was trained on last; results on that set are its own.
    started_from: what gave it its first weights, such as another model's name; None where they were drawn at random.
    seconds:      duration of the training; parameters: how many it has; settings: whatever else a reader should know.
    """

    name: str
    trained_on: str
    started_from: str | None = None
    seconds: float | None = None
    parameters: int | None = None
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What a model scored on one split of one data set. scores: as metrics.scores gives them."""

    model: str
    dataset: str
    scores: dict[str, Any]
    split: str = "test"

    @property
    def set_name(self) -> str:
        return f"{self.dataset}-{self.split}"

    @property
    def spoken_set(self) -> str:
        """As a sentence says it: a test set goes without its split."""
        return self.dataset if self.split == "test" else self.set_name


@dataclass(frozen=True)
class Comparison:
    """What transfer brings: two models' results on the same set. Names as in Model.name."""

    with_model: str
    without_model: str
    dataset: str
    split: str = "test"


@dataclass(frozen=True)
class Study:
    """All that a report says. class_counts: "<dataset>-<split>" -> emotion -> pictures."""

    title: str
    models: tuple[Model, ...]
    results: tuple[Result, ...]
    comparisons: tuple[Comparison, ...] = ()
    class_counts: dict[str, dict[str, int]] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    commit: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    hardware: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure in the page. svg: the element itself."""

    svg: Any
    caption: str


def write_report(path: str | Path, study: Study) -> None:
    """Write the page in one step. Raises InputError where results, models and comparisons do not fit together."""
    page = render(study)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page.encode())


def render(study: Study) -> str:
    """The page as text."""
    import jinja2

    _check(study)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, span=span, duration=duration, unbroken=unbroken)
    return environment.get_template("report.html.jinja").render(
        study=study,
        findings=[sentence for model in study.models for sentence in model_sentences(study, model)],
        transfers=[transfer_sentence(study, comparison) for comparison in study.comparisons],
        transfer_picture=_transfer_picture(study),
        confusions=[_confusion_picture(result, f"confusion{number}") for number, result in enumerate(study.results)],
        sets=list(dict.fromkeys(result.set_name for result in study.results)),
        results={(result.model, result.set_name): result for result in study.results},
        counted=list(dict.fromkeys(name for counts in study.class_counts.values() for name in counts)),
        settings=list(dict.fromkeys(name for model in study.models for name in model.settings)),
    )


def model_sentences(study: Study, model: Model) -> list[str]:
    """How good a model is on its own set, how that carries over to others, and whether rare emotions do worse."""
    results = [result for result in study.results if result.model == model.name]
    own = own_result(results, model)
    others = [result for result in results if result.dataset != model.trained_on]
    if own is None:
        return [f"{model.name} reaches {_with_interval(other)} on {other.spoken_set}." for other in others]
    split = SPLITS.get(own.split, own.split)
    clauses = [f"{model.name} reaches {_with_interval(own)} on its own {split} set"]
    clauses += [crossing_clause(own, other) for other in others]
    return ["; ".join(clauses) + ".", class_balance_sentence(own)]


def own_result(results: list[Result], model: Model) -> Result | None:
    """The model's result on the set that it was trained on: test before validation before any other split."""
    own = [result for result in results if result.dataset == model.trained_on]
    order = {"test": 0, "val": 1}
    return min(own, key=lambda result: order.get(result.split, 2), default=None)


def crossing_clause(own: Result, other: Result) -> str:
    before, after = own.scores["accuracy"], other.scores["accuracy"]
    reached = f"{percent(after)} ({span(other.scores['accuracy_interval'])})"
    difference = _points(after - before)
    if difference == _points(0):
        return f"on {other.spoken_set} it stays at {reached}"
    verb, comparison = ("rises", "more") if after > before else ("falls", "less")
    doubt = "" if intervals_are_apart(own, other) else ", within the 95 % intervals"
    return f"on {other.spoken_set} it {verb} to {reached}, {difference} points {comparison}{doubt}"


def class_balance_sentence(result: Result) -> str:
    """Accuracy against the mean over classes: their difference has the sign of cov(pictures, recall) over emotions."""
    mean, accuracy = result.scores["mean_over_classes"], result.scores["accuracy"]
    low, high = result.scores["mean_over_classes_interval"]
    start = f"{result.model}'s mean over classes on {result.spoken_set} is {percent(mean)} ({span((low, high))})"
    if low <= accuracy <= high:
        return f"{start}; a difference between frequent and rare emotions is not shown."
    place, more, fewer = ("below", "frequent", "rare") if mean < accuracy else ("above", "rare", "frequent")
    gap = f"{_points(mean - accuracy)} points {place} its accuracy"
    return f"{start}, {gap}: {more} emotions do better than {fewer} ones."


def transfer_sentence(study: Study, comparison: Comparison) -> str:
    """What one start brings or costs against another, and whether that is more than chance explains."""
    after, before = _compared(study, comparison)
    models = {model.name: model for model in study.models}
    with_model, without_model = models[comparison.with_model], models[comparison.without_model]
    if with_model.started_from and with_model.trained_on == without_model.trained_on:
        change = f"Starting from {with_model.started_from} instead of {without_model.started_from or 'scratch'}"
    else:
        change = f"Using {with_model.name} instead of {without_model.name}"
    gain = after.scores["accuracy"] - before.scores["accuracy"]
    values = f"from {percent(before.scores['accuracy'])} to {percent(after.scores['accuracy'])}"
    if _points(gain) == _points(0):
        return f"{change} makes no difference on {after.spoken_set}: {percent(after.scores['accuracy'])} with both."
    verb, noun = ("brings", "gain") if gain > 0 else ("costs", "loss")
    relative = f", relative {percent(abs(gain) / before.scores['accuracy'])}" if before.scores["accuracy"] else ""
    is_shown = intervals_are_apart(after, before)
    verdict = "more than the 95 % intervals" if is_shown else f"less than the 95 % intervals: a {noun} is not shown"
    return f"{change} {verb} {_points(gain)} points on {after.spoken_set} ({values}{relative}), {verdict}."


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


def percent(part: float | None) -> str:
    return "–" if part is None else f"{100 * part:.1f} %"


def span(interval: Sequence[float]) -> str:
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    size, unit = next((pair for pair in ((3600, "h"), (60, "min")) if seconds >= pair[0]), (1, "s"))
    return f"{seconds / size:.1f} {unit}"


def unbroken(sentence: str) -> str:
    """Keep a percent sign on the line of its number."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%")


def _points(difference: float) -> str:
    return f"{abs(100 * difference):.1f}"


def _with_interval(result: Result) -> str:
    return f"{percent(result.scores['accuracy'])} ({span(result.scores['accuracy_interval'])})"


def _confusion_picture(result: Result, prefix: str) -> Picture:
    import markupsafe

    scores, title = result.scores, f"{result.model} on {result.set_name}"
    figure = confusion_figure(np.array(scores["confusion"]), scores["emotions"], title, scores["masked"])
    recalls = ", ".join(f"{name} {percent(value)}" for name, value in scores["recall"].items() if value is not None)
    alt = f"Confusion matrix of {title}, true emotions in rows. Recognised: {recalls}."
    return Picture(markupsafe.Markup(inline_svg(figure, prefix, alt)), confusion_sentences(result))


def _transfer_picture(study: Study) -> Picture | None:
    import markupsafe

    if not study.comparisons:
        return None
    pairs = [_compared(study, comparison) for comparison in study.comparisons]
    labels = [f"{after.model}\n{after.set_name}" for after, _ in pairs]
    figure = transfer_figure(labels, [before.scores for _, before in pairs], [after.scores for after, _ in pairs])
    alt = "Accuracy with its 95 % interval, without and with transfer. " + "; ".join(
        f"{after.model} on {after.set_name}: {percent(before.scores['accuracy'])} without, {_with_interval(after)} with"
        for after, before in pairs
    )
    return Picture(markupsafe.Markup(inline_svg(figure, "transfer", alt)), "Accuracy with its 95 % interval.")


def _compared(study: Study, comparison: Comparison) -> tuple[Result, Result]:
    """The results with and without."""
    results = {(result.model, result.dataset, result.split): result for result in study.results}
    place = (comparison.dataset, comparison.split)
    return results[comparison.with_model, *place], results[comparison.without_model, *place]


def _check(study: Study) -> None:
    names = [model.name for model in study.models]
    measured = [(result.model, result.dataset, result.split) for result in study.results]
    if len(set(names)) < len(names) or len(set(measured)) < len(measured):
        raise InputError(f"{study.title}: a model, or a model's result on a set, comes twice")
    unknown = [model for model, *_ in measured if model not in names]
    if unknown:
        raise InputError(
            f"{study.title}: a result of {unknown[0]!r}, which is not among its models: {', '.join(names)}"
        )
    for comparison in study.comparisons:
        for model in (comparison.with_model, comparison.without_model):
            if (model, comparison.dataset, comparison.split) not in measured:
                place = f"{comparison.dataset}-{comparison.split}"
                raise InputError(f"{study.title}: {model!r} is compared on {place}, but has no result there")
