"""What a study found, as values: models, results, comparisons; written as JSON and read again."""

import json
from dataclasses import asdict, dataclass, field, fields

from fer_dist.errors import InputError
from fer_dist.storage.untrusted import Number, Value, record

FORMAT = 1
NEEDED_SCORES = ("samples", "accuracy", "accuracy_interval")
"""What a result must have; a report leaves out what else is missing."""


@dataclass(frozen=True)
class Model:
    """One trained network.

    trained_on:   the dataset (not the split) that it was trained on last; results on that set are its own.
    started_from: what gave it its first weights, such as another model's name; None where they were drawn at random.
    seconds:      duration of the training; parameters: how many it has; settings: whatever else a reader should know.
    group:        shared by models that differ only in their seed; empty: its name.
    role:         the published study's model that this one is: "a", "b", or "a-b" (transferred); empty: none.
    curves:       "train/loss", "train/accuracy", "validation/accuracy" ... -> (step, value) in the order of steps.
    images:       that it was trained on last; None: not known.
    departures:   its settings that are not the published study's, in words; None: not known.
    training_accuracy: as evaluate.training_accuracy gives it, of images that it was trained on; None: not measured.
    began:        when its training began, as "2026-11-28 14:29" UTC; empty: not known.
    config:       "train.lr" ... -> its whole configuration, less paths and what changes no result.
    """

    name: str
    trained_on: str
    started_from: str | None = None
    seconds: Number | None = None
    parameters: int | None = None
    settings: dict[str, str] = field(default_factory=dict)
    group: str = ""
    role: str = ""
    seed: int = 0
    curves: dict[str, list[tuple[int, Number]]] = field(default_factory=dict)
    images: int | None = None
    departures: tuple[str, ...] | None = None
    training_accuracy: dict[str, Value] | None = None
    began: str = ""
    config: dict[str, Value] = field(default_factory=dict)

    @property
    def group_name(self) -> str:
        return self.group or self.name


@dataclass(frozen=True)
class Result:
    """What a model scored on one split of one dataset.

    scores:         as metrics.scores gives them; only NEEDED_SCORES must be there.
    detail:         as detail.detail gives it; None: not measured. The same holds of the two that follow.
    without_copies: scores without the images that an audit found in the training set as well.
    robustness:     as robustness.robustness gives it.
    explained:      as explain.explain gives it, with the verdicts of explain.claims.decided.
    against_own:    accuracy here less that on the model's own set, as compare.separate(here, own) gives it.
    """

    model: str
    dataset: str
    scores: dict[str, Value]
    split: str = "test"
    detail: dict[str, Value] | None = None
    without_copies: dict[str, Value] | None = None
    robustness: dict[str, Value] | None = None
    explained: dict[str, Value] | None = None
    against_own: dict[str, Value] | None = None

    @property
    def by_attribute(self) -> dict[str, Value]:
        """Attribute -> its groups and the gap between them; empty where that was not measured."""
        return (self.detail or {}).get("by_attribute") or {}

    @property
    def by_class(self) -> dict[str, Value]:
        """Emotion -> its measures, as by_class.by_class gives them; empty where that was not measured."""
        return (self.detail or {}).get("by_class") or {}

    @property
    def duplicates(self) -> int | None:
        """Images of which an audit found a duplicate in the training set; None: nobody looked."""
        return self.scores["samples"] - self.without_copies["samples"] if self.without_copies else None

    @property
    def set_name(self) -> str:
        return f"{self.dataset}-{self.split}"

    @property
    def spoken_set(self) -> str:
        """As a sentence says it: a test set goes without its split."""
        return self.dataset if self.split == "test" else self.set_name


@dataclass(frozen=True)
class Comparison:
    """What transfer brings: two models' results on the same set. Names as in Model.name.

    paired: the test of both on the same images, as compare.paired(with, without) gives it; None: not made.
    """

    with_model: str
    without_model: str
    dataset: str
    split: str = "test"
    paired: dict[str, Value] | None = None


@dataclass(frozen=True)
class Seeds:
    """Models of one group, which differ only in their seed, on one set. values: as compare.over_seeds gives them."""

    group: str
    dataset: str
    split: str
    values: dict[str, Value]

    @property
    def set_name(self) -> str:
        return f"{self.dataset}-{self.split}"


@dataclass(frozen=True)
class Gain:
    """What one recipe brings against another on one set, over their seeds. values: as compare.paired_over_seeds."""

    with_group: str
    without_group: str
    dataset: str
    split: str
    values: dict[str, Value]

    @property
    def kind(self) -> tuple[str, ...]:
        return self.with_group, self.without_group, self.dataset, self.split


@dataclass(frozen=True)
class Ranking:
    """Which group of models is the most accurate on a set, and whether it is more than each other one.

    tests: group -> the best less that one: difference, interval, p as the test alone has it, and over how many seeds.
    pairs: of groups that were looked at on the set to find the best.
    """

    dataset: str
    split: str
    best: str
    pairs: int
    tests: dict[str, dict[str, Value]]

    @property
    def set_name(self) -> str:
        return f"{self.dataset}-{self.split}"


@dataclass(frozen=True)
class Gallery:
    """Images of a set that are shown, as lists that gallery.examples gives. model: whose answers; empty: of the data.

    An entry's file is the path of its small copy, relative to the report's folder; it may be missing.
    """

    model: str
    set_name: str
    lists: tuple[dict[str, Value], ...]


@dataclass(frozen=True)
class Study:
    """All that a report says.

    class_counts: "<dataset>-<split>" -> emotion -> images.
    left_out:     "<dataset>-<split>" -> reason -> images, as the manifests have it.
    roles:        which dataset stands where the published study has its own: "a", "b", "c" -> Result.dataset.
    variants:     "<dataset>-<split>" -> what of its release the set was built from, as the manifests have it.
    crop_rules:   "<dataset>-<split>" -> how its faces were cut, in words; a set of which nobody knows is not there.
    seconds:      duration of the whole study.
    planted:      how often methods find the part of a drawn face in which alone the emotion shows, as study.planted.
    maps:         paths of PNG, JPEG or WebP figures of feature maps, relative to the report's folder.
    """

    title: str
    models: tuple[Model, ...]
    results: tuple[Result, ...]
    comparisons: tuple[Comparison, ...] = ()
    class_counts: dict[str, dict[str, int]] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    commit: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    hardware: str = ""
    roles: dict[str, str] = field(default_factory=dict)
    seeds: tuple[Seeds, ...] = ()
    seconds: Number | None = None
    maps: tuple[str, ...] = ()
    planted: tuple[dict[str, Value], ...] = ()
    left_out: dict[str, dict[str, int]] = field(default_factory=dict)
    variants: dict[str, str] = field(default_factory=dict)
    gains: tuple[Gain, ...] = ()
    crop_rules: dict[str, str] = field(default_factory=dict)
    rankings: tuple[Ranking, ...] = ()
    galleries: tuple[Gallery, ...] = ()


def to_json(study: Study) -> str:
    """The study as text; the same study gives the same text. Raises ValueError where a number is NaN or infinite."""
    return json.dumps({"format": FORMAT, **asdict(study)}, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def from_json(text: str | bytes, name: str = "study.json") -> Study:
    """The study that to_json wrote. name: of the file, for messages. Raises InputError where it is not a whole one."""
    source, remedy = f"{name}: not a study as this version writes it", "make the study again"
    if record(_Head, text, source, remedy).format != FORMAT:
        raise InputError(f"{name}: written in another format than {FORMAT}; {remedy}")
    found = record(_Written, text, source, remedy, only_known=True)
    study = Study(**{item.name: getattr(found, item.name) for item in fields(Study)})
    try:
        check(study)
    except InputError as error:
        raise InputError(f"{name}: {error}; {remedy}") from None
    return study


@dataclass(frozen=True)
class _Head:
    format: int


@dataclass(frozen=True)
class _Written(Study):
    """As the file has it."""

    format: int = FORMAT


def check(study: Study) -> None:
    """Raise InputError where results, models, comparisons and seeds do not fit together."""
    names = [model.name for model in study.models]
    measured = [(result.model, result.dataset, result.split) for result in study.results]
    if len(set(names)) < len(names) or len(set(measured)) < len(measured):
        raise InputError(f"{study.title}: a model, or a model's result on a set, comes twice")
    unknown = [model for model, *_ in measured if model not in names]
    if unknown:
        raise InputError(
            f"{study.title}: a result of {unknown[0]!r}, which is not among its models: {', '.join(names)}"
        )
    for result in study.results:
        missing = [name for name in NEEDED_SCORES if result.scores.get(name) is None]
        if missing:
            raise InputError(f"{study.title}: {result.model!r} on {result.set_name} lacks {', '.join(missing)}")
    for comparison in study.comparisons:
        for model in (comparison.with_model, comparison.without_model):
            if (model, comparison.dataset, comparison.split) not in measured:
                set_name = f"{comparison.dataset}-{comparison.split}"
                raise InputError(f"{study.title}: {model!r} is compared on {set_name}, but has no result there")
    groups = {model.group_name for model in study.models}
    strangers = [seeds.group for seeds in study.seeds if seeds.group not in groups]
    if strangers:
        raise InputError(f"{study.title}: seeds of {strangers[0]!r}, which is no group of its models")
    ranked = [name for ranking in study.rankings for name in (ranking.best, *ranking.tests) if name not in groups]
    if ranked:
        raise InputError(f"{study.title}: a ranking of {ranked[0]!r}, which is no group of its models")


def first_models(study: Study) -> list[Model]:
    """One model of each group, the first, which stands for its other seeds."""
    groups: dict[str, Model] = {}
    for model in study.models:
        groups.setdefault(model.group_name, model)
    return list(groups.values())


def results_of(study: Study, model: Model) -> list[Result]:
    return [result for result in study.results if result.model == model.name]


def own_result(results: list[Result], model: Model) -> Result | None:
    """The model's result on the set that it was trained on: test before validation before any other split."""
    own = [result for result in results if result.dataset == model.trained_on]
    order = {"test": 0, "val": 1}
    return min(own, key=lambda result: order.get(result.split, 2), default=None)


def compared(study: Study, comparison: Comparison) -> tuple[Result, Result]:
    """The results with and without."""
    results = {(result.model, result.dataset, result.split): result for result in study.results}
    key = (comparison.dataset, comparison.split)
    return results[comparison.with_model, *key], results[comparison.without_model, *key]


def seen_sets(study: Study, model: Model) -> set[str]:
    """The datasets that a model or one that it started from was trained on."""
    models = {other.name: other for other in study.models}
    seen, name = {model.trained_on}, model.started_from
    visited: set[str] = set()
    while name in models and name not in visited:
        visited.add(name)
        seen.add(models[name].trained_on)
        name = models[name].started_from
    return seen


def same_group(study: Study, model: Model) -> list[Model]:
    """The model and its other seeds."""
    return [other for other in study.models if other.group_name == model.group_name]


def seeds_of(study: Study, result: Result) -> Seeds | None:
    """The values of the result's model and its other seeds on the result's set, where there are several."""
    group = next(model.group_name for model in study.models if model.name == result.model)
    found = [seeds for seeds in study.seeds if (seeds.group, seeds.set_name) == (group, result.set_name)]
    return found[0] if found and found[0].values["n"] > 1 else None


def kind_of(study: Study, comparison: Comparison) -> tuple[str, ...]:
    """The same for comparisons that differ only in their seed, and for the gain over these."""
    groups = {model.name: model.group_name for model in study.models}
    return groups[comparison.with_model], groups[comparison.without_model], comparison.dataset, comparison.split


def gain_of(study: Study, comparison: Comparison) -> dict[str, Value] | None:
    """What the two recipes of a comparison differ by over their seeds; None where that was not made."""
    kind = kind_of(study, comparison)
    return next((gain.values for gain in study.gains if gain.kind == kind), None)
