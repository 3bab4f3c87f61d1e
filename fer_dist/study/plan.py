"""The plan of a study: which sets, which trainings, what is compared, and where. Frozen dataclasses, and what they may
not say."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from fer_dist.config.presets import PRESETS
from fer_dist.config.settings import ExplainConfig, RayConfig, RobustnessSettings
from fer_dist.errors import InputError, nearest
from fer_dist.explain.methods import METHODS
from fer_dist.storage.paths import OnDisk, PathOrUrl

Settings = dict[str, Any]
"""Settings of training by their flag without the dashes: {"train.epochs": 20}."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

MOST_MODELS, MOST_PAIRS = 1_000, 100_000
"""Networks, and networks on sets, of one study: a network takes minutes at the least, so more is a slip."""


@dataclass(frozen=True)
class DataSet:
    """One dataset of a study."""

    shards: PathOrUrl
    """Folder (or address) with the splits train, val and test; of a set that is only evaluated, test is enough, and
    with whole_train no val is needed."""

    role: Literal["", "a", "b", "c"] = ""
    """Its place in the published study: a is the large one, b the one that is transferred to, c only evaluated."""


@dataclass(frozen=True)
class Training:
    """One network to train, once for each seed."""

    data: str
    """Name of the dataset that it is trained on."""

    preset: str = ""
    """Preset that its settings start from. Empty: the plan's."""

    set: Settings = field(default_factory=dict)
    """Settings that differ from the preset and the plan's, as train.epochs: 20."""

    seeds: tuple[int, ...] = ()
    """Seeds. Empty: the plan's."""

    init_from: str = ""
    """Name of the training whose weights are the start; seed by seed, where that has the same seeds."""

    role: Literal["", "a", "b", "a-b"] = ""
    """The published model that it stands for."""


@dataclass(frozen=True)
class Evaluation:
    """Every one of some models on every one of some sets."""

    models: tuple[str, ...]
    """Names of trainings."""

    data: tuple[str, ...]
    """Names of datasets, of which the test split is read."""


@dataclass(frozen=True)
class Comparison:
    """Two trainings on one test set, seed by seed."""

    with_model: str
    without_model: str
    data: str


@dataclass(frozen=True)
class Robustness:
    """How much is lost to noise, blur, weather and occluded parts of the face."""

    run: bool = False
    """Whether to measure it: of each training with its first seed, on the test split of its own set."""

    samples: int = RobustnessSettings.samples
    """Images at most, the same for every model. 0: all; there are dozens of passes."""


@dataclass(frozen=True)
class Explain:
    """Where the networks look: the study's conclusions as tests, attribution beside its controls, feature maps."""

    run: bool = False
    """Whether to look: each model on each set that it is scored on; further seeds of a training without attribution."""

    samples: int = ExplainConfig.samples
    """Images of each set at most, the same for every model. 0: all."""

    methods: tuple[str, ...] = ExplainConfig.methods
    """Attribution methods, as --methods of fer-dist explain; none: conclusions and maps alone."""

    random_labels: bool = True
    """Train each network that attribution is asked of on random labels as well, from nothing, for each method to be
    shown on it: as many trainings more as there are kinds of networks."""

    planted: int = 3000
    """Faces to draw for each of three networks, in which the emotion shows in one part alone: how often each method
    finds that part. Each is trained on random labels as well. 0: methods are not tried on them."""

    @property
    def has_attribution(self) -> bool:
        """Whether any method is asked for."""
        return self.run and any(name != "none" for name in self.methods)


@dataclass(frozen=True)
class Plan:
    """A study. Its order on disk, its keys and its report follow from this alone and from what the sets hold."""

    data: dict[str, DataSet]
    """The datasets by name."""

    trainings: dict[str, Training]
    """The trainings by name."""

    title: str = "A study of facial emotion recognition"
    """Title of the report."""

    preset: str = "paper"
    """Preset that settings start from."""

    set: Settings = field(default_factory=dict)
    """Settings of every training."""

    seeds: tuple[int, ...] = (0,)
    """Seeds of every training."""

    checkpoint: Literal["last", "best"] = "last"
    """Which checkpoint is evaluated: the last one, or the best by the validation split."""

    whole_train: bool = False
    """Train on all of train, without a validation split: no set needs one, the last checkpoint is taken, and no curve
    shows how a training goes on images that it does not learn from."""

    evaluations: tuple[Evaluation, ...] = ()
    """Which models on which sets. Empty: every model on every set."""

    comparisons: tuple[Comparison, ...] = ()
    """What is set beside what."""

    audit: bool = False
    """Look for test images that a model may have seen as copies, and score without them as well."""

    leave_out: OnDisk = ""
    """List of images to leave out of training (fer-dist shards audit --write-clean); scores are given with and
    without those that it names in test splits."""

    parity: bool = True
    """Evaluate each model that is trained in half precision in it as well, on its own test set, and say what that
    changes."""

    attributes: tuple[str, ...] = ()
    """What the report splits scores by, as view or gender. Empty: all that the sets say and that has few values."""

    robustness: Robustness = field(default_factory=Robustness)
    """How much is lost to noise, blur, weather and occluded parts of the face."""

    explain: Explain = field(default_factory=Explain)
    """Where the networks look."""

    @property
    def training_splits(self) -> tuple[str, ...]:
        """What a training reads of its set."""
        return ("train",) if self.whole_train else ("train", "val")


@dataclass(frozen=True)
class StudyConfig:
    """Train, evaluate, transfer, measure and report, as a plan says. Started again, it does only what is missing."""

    out: OnDisk = "study"
    """Folder for all that the study makes."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the networks run. auto: CUDA where there is one."""

    threads: int = 0
    """Threads that decode. 0: one for each core, at most 8."""

    side_by_side: int = 1
    """Trainings that run at once, each as a process of its own with its log in OUT/logs. Where there are several GPUs
    each gets one of them."""

    images: bool = True
    """Show faces in the report, as small copies in OUT/gallery: the most confident errors, the least certain right
    answers, and some of the data. --no-images leaves them out, where a licence asks for it."""

    ray: RayConfig = field(default_factory=RayConfig)


@dataclass(frozen=True)
class Model:
    """One training with one seed. parent: the name of the model that it starts from, or empty."""

    name: str
    training: str
    seed: int
    parent: str = ""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a plan. field: where, as trainings.b.init_from."""

    field: str
    text: str


def seeds_of(plan: Plan, training: str) -> tuple[int, ...]:
    return plan.trainings[training].seeds or plan.seeds


def is_first_seed(plan: Plan, model: Model) -> bool:
    """Whether a network stands for its training where one of the seeds is enough."""
    return model.seed == seeds_of(plan, model.training)[0]


def model_name(plan: Plan, training: str, seed: int) -> str:
    """A training's own name where it has one seed."""
    return training if len(seeds_of(plan, training)) == 1 else f"{training}-seed{seed}"


def models_of(plan: Plan) -> list[Model]:
    """Every network of a plan that has no fault, each after the one that it starts from."""
    found: list[Model] = []
    waiting = dict.fromkeys(plan.trainings)
    while waiting:
        ready = [name for name in waiting if plan.trainings[name].init_from not in waiting]
        for name in ready:
            found += [
                Model(model_name(plan, name, seed), name, seed, _parent(plan, name, seed))
                for seed in seeds_of(plan, name)
            ]
        for name in ready:
            del waiting[name]
    return found


def evaluations_of(plan: Plan) -> list[tuple[str, str]]:
    """(training, dataset) for all that is to be scored, in the order of the plan, each once."""
    pairs = [(name, data) for wanted in plan.evaluations for name in wanted.models for data in wanted.data]
    everything = [(name, data) for name in plan.trainings for data in plan.data]
    return list(dict.fromkeys(pairs or everything))


def faults_of(plan: Plan) -> Iterator[Fault]:
    """What is wrong with a plan by itself, before any set is opened."""
    models = sum(len(seeds_of(plan, name)) for name in plan.trainings)
    if models > MOST_MODELS:
        yield Fault("trainings", f"{models:,} networks, one for each seed; at most {MOST_MODELS:,} make sense")
    pairs = sum(len(wanted.models) * len(wanted.data) for wanted in plan.evaluations)
    if max(pairs, len(plan.trainings) * len(plan.data)) > MOST_PAIRS:
        yield Fault("evaluations", f"more than {MOST_PAIRS:,} models on sets; name fewer")
    if not plan.data:
        yield Fault("data", "no dataset; give at least one, as data: {faces: {shards: FOLDER}}")
    if not plan.trainings:
        yield Fault("trainings", "no training; give at least one, as trainings: {faces: {data: faces}}")
    for section, names in (("data", plan.data), ("trainings", plan.trainings)):
        for name in names:
            if not NAME.fullmatch(name):
                yield Fault(f"{section}.{name}", "a name is made of letters, digits, points, - and _, 100 at most")
    yield from _seed_faults("seeds", plan.seeds, may_be_empty=False)
    yield from _unknown("preset", plan.preset, PRESETS, "preset")
    for name, training in plan.trainings.items():
        yield from _training_faults(plan, f"trainings.{name}", name, training)
    if plan.whole_train and plan.checkpoint == "best":
        yield Fault("checkpoint", "best is chosen by a validation split, which whole_train does without; use last")
    yield from _role_faults(plan)
    yield from _pair_faults(plan)
    if plan.robustness.samples < 0:
        yield Fault("robustness.samples", f"{plan.robustness.samples} is too small; it must be at least 0")
    for name in ("samples", "planted"):
        if getattr(plan.explain, name) < 0:
            yield Fault(f"explain.{name}", f"{getattr(plan.explain, name)} is too small; it must be at least 0")
    for name in plan.explain.methods:
        if name != "none":
            yield from _unknown("explain.methods", name, METHODS, "attribution method")


def _training_faults(plan: Plan, where: str, name: str, training: Training) -> Iterator[Fault]:
    yield from _unknown(f"{where}.data", training.data, plan.data, "dataset")
    yield from _unknown(f"{where}.preset", training.preset or plan.preset, PRESETS, "preset")
    yield from _seed_faults(f"{where}.seeds", training.seeds, may_be_empty=True)
    if not training.init_from:
        return
    yield from _unknown(f"{where}.init_from", training.init_from, plan.trainings, "training")
    chain = {name: None}
    last = name
    while (parent := plan.trainings[last].init_from) in plan.trainings:
        if parent in chain:
            names = list(chain)
            circle = " -> ".join([*names[names.index(parent) :], parent])
            yield Fault(f"{where}.init_from", f"goes in a circle ({circle}); one of them must start from nothing")
            return
        chain[parent] = None
        last = parent
    if training.init_from in plan.trainings:
        theirs = seeds_of(plan, training.init_from)
        missing = [seed for seed in seeds_of(plan, name) if seed not in theirs]
        if missing and len(theirs) > 1:
            yield Fault(
                f"{where}.init_from",
                f"{training.init_from} is not trained with seed {missing[0]}; give both the same seeds, or it one only",
            )


def _pair_faults(plan: Plan) -> Iterator[Fault]:
    for number, wanted in enumerate(plan.evaluations):
        for model in wanted.models:
            yield from _unknown(f"evaluations.{number}.models", model, plan.trainings, "training")
        for data in wanted.data:
            yield from _unknown(f"evaluations.{number}.data", data, plan.data, "dataset")
    scored = set(evaluations_of(plan))
    for number, pair in enumerate(plan.comparisons):
        where = f"comparisons.{number}"
        unknown = list(_unknown(f"{where}.data", pair.data, plan.data, "dataset"))
        for side in ("with_model", "without_model"):
            unknown += _unknown(f"{where}.{side}", getattr(pair, side), plan.trainings, "training")
        yield from unknown
        if unknown:
            continue
        for name in (pair.with_model, pair.without_model):
            if (name, pair.data) not in scored:
                yield Fault(where, f"{name} is not evaluated on {pair.data}; add it to evaluations")
        if seeds_of(plan, pair.with_model) != seeds_of(plan, pair.without_model):
            yield Fault(where, f"{pair.with_model} and {pair.without_model} have other seeds; give both the same")


def _role_faults(plan: Plan) -> Iterator[Fault]:
    for section, entries in (("data", plan.data), ("trainings", plan.trainings)):
        roles: dict[str, str] = {}
        for name, entry in entries.items():
            role = entry.role
            if role and role in roles:
                yield Fault(f"{section}.{name}.role", f"{role} is {roles[role]} already; a role is given once")
            roles[role] = name
    names = [model_name(plan, name, seed) for name in plan.trainings for seed in seeds_of(plan, name)]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        yield Fault("trainings", f"two models would be called {twice[0]}; rename a training")


def _seed_faults(where: str, seeds: tuple[int, ...], may_be_empty: bool) -> Iterator[Fault]:
    if not seeds and not may_be_empty:
        yield Fault(where, "no seed; give at least one, as [0]")
    if len(set(seeds)) < len(seeds) or min(seeds, default=0) < 0:
        yield Fault(where, f"{list(seeds)}: seeds are whole numbers from 0, each once")


def _unknown(where: str, name: str, known: Any, kind: str) -> Iterator[Fault]:
    if name not in known:
        yield Fault(where, f"no {kind} {name!r}; {nearest(name, known)}")


def _parent(plan: Plan, training: str, seed: int) -> str:
    source = plan.trainings[training].init_from
    if not source:
        return ""
    seeds = seeds_of(plan, source)
    return model_name(plan, source, seed if seed in seeds else seeds[0])


def check_plan(plan: Plan) -> None:
    """Raises InputError for the first fault. A file's plan is checked with its lines, by `load_plan`."""
    for fault in faults_of(plan):
        raise InputError(f"plan: {fault.field}: {fault.text}")
