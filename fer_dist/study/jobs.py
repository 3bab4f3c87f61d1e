"""The jobs of a study in their order, each with a key of its content.

A key is the sha256 of all that a job's result depends on: what its sets hold, its settings, the keys of the jobs before
it, and the part of this program that it runs. What has the same key has the same result, and is not done again.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Literal

from fer_dist import PACKAGE, __version__
from fer_dist.config.settings import MAY_DIFFER, Config, RobustnessSettings, to_json
from fer_dist.errors import counted
from fer_dist.runs.opening import file_hashes
from fer_dist.storage.writing import file_hash
from fer_dist.study.plan import Model, is_first_seed, model_name, seeds_of
from fer_dist.study.setup import Setup, config_with_list, on_random_labels
from fer_dist.study.source_hash import reached, source_hash

Kind = Literal[
    "audit", "train", "evaluate", "training accuracy", "parity", "robustness", "measures", "compare", "seeds",
    "ranking", "gallery", "control", "explain", "planted", "report",
]  # fmt: skip

BY_CONTENT = {
    "data.train", "data.val", "data.leave_out", "train.init_from", "train.deepspeed_config", "model.pretrained",
}  # fmt: skip
"""Settings that are paths; what lies there counts, not where it lies."""

CHANGES_NO_RESULT = frozenset({
    "errors", "progress", "train.monitor", "train.loggers", "train.checks", "data.loading.remote", "runs.opening",
    "runs.folder",
    "config.flags", "config.presets", "config.settings", "config.checks",
    "storage.paths", "storage.writing", "storage.store", "storage.cache", "storage.untrusted",
    "distributed.mailbox", "distributed.workers", "distributed.cluster", "distributed.tasks",
})  # fmt: skip
"""Modules that show, store, fetch or refuse. Presets and settings count by their values, which stand in a job's key."""

DRAWS = frozenset({"scores.figures.canvas", "scores.figures.confusion", "evaluate.robustness.figure"})
"""They draw what lies beside a result."""

BESIDE_WEIGHTS = frozenset({
    "evaluate.evaluate", "evaluate.predict", "evaluate.results", "scores.table", "scores.metrics", "scores.intervals",
    "scores.subjects", "scores.t_distribution", "scores.calibration", "runs.curves",
})  # fmt: skip
"""How a validation is scored, and how long it all took, changes no weight, and a training is dear. Which checkpoint is
the best hangs on the scores, though: see "best by"."""


TRAINING_IMAGES = 1_000
"""Images of its training set that a network is asked about in the end: a 95 % interval of at most 3.1 points to each
side."""


PLANTED = {"mouth": ("mouth",), "eyes": ("eyes", "brows"), "left": ("left half",)}
"""Cue of drawn faces -> the regions where alone the emotion shows."""


@dataclass(frozen=True)
class Sources:
    """What a job runs of this program.

    entries: modules that count with all that they rest on, but for what `less` names and what that alone rests on.
    alone:   modules that count without what they rest on, since other jobs run that.
    """

    entries: tuple[str, ...]
    alone: tuple[str, ...] = ()
    less: frozenset[str] = CHANGES_NO_RESULT | DRAWS

    @property
    def modules(self) -> set[str]:
        """All that count."""
        return reached(self.entries, self.less) | set(self.alone)


NETWORK = ("runs.checkpoint", "data.loading.loader", "evaluate.results")
"""What a job needs that runs a network on a set once more, and compares with what an evaluation said."""

SOURCES: dict[Kind, Sources] = {
    "audit": Sources(("data.inspection.audit", "data.inspection.clean", "data.shards.leave_out"), ("study.measuring",)),
    "train": Sources(("train.loop",), less=CHANGES_NO_RESULT | DRAWS | BESIDE_WEIGHTS),
    "evaluate": Sources(("evaluate.evaluate",)),
    "training accuracy": Sources(("evaluate.training_accuracy", *NETWORK[:2]), ("study.measuring",)),
    "parity": Sources(("evaluate.parity", *NETWORK), ("study.measuring",)),
    "robustness": Sources(("evaluate.robustness.measure", *NETWORK), ("study.measuring",)),
    "measures": Sources(("scores.detail", "scores.compare", "evaluate.results"), ("study.measuring",)),
    "compare": Sources(("scores.compare", "evaluate.results"), ("study.measuring",)),
    "seeds": Sources(("scores.compare", "evaluate.results"), ("study.measuring",)),
    "ranking": Sources(("scores.compare", "evaluate.results"), ("study.measuring",)),
    "gallery": Sources(
        ("study.gallery", "data.loading.loader", "runs.checkpoint", "evaluate.results"), ("study.measuring",)
    ),
    "control": Sources(("train.loop",), ("study.measuring",), less=CHANGES_NO_RESULT | DRAWS | BESIDE_WEIGHTS),
    "explain": Sources(
        ("explain.explain", "explain.results", "data.loading.loader", "runs.checkpoint"), ("study.measuring",)
    ),
    "planted": Sources(("study.planted",)),
    "report": Sources(("study.gathering", "report.page", "data.shards.manifest"), less=CHANGES_NO_RESULT),
}


@dataclass(frozen=True)
class Job:
    """One piece of work. after: keys of the jobs whose results it needs; other: the model that is compared with, or
    what is drawn."""

    kind: Kind
    name: str
    key: str
    after: tuple[str, ...] = ()
    model: str = ""
    data: str = ""
    other: str = ""


def jobs_of(setup: Setup) -> list[Job]:
    """Every job of a study, each after those that it needs: all training, then all that reads a test split."""
    plan, jobs = setup.plan, []
    hashes = {key: manifest.content_hash() for key, manifest in setup.manifests.items()}
    audits: list[Job] = []
    if plan.audit:
        audits = [_job("audit", f"audit of {counted(len(hashes), 'set')}", {"sets": sorted(hashes.values())})]
    trained: dict[str, Job] = {}
    for model in setup.models:
        trained[model.name] = _training_job(setup, model, hashes, trained)
    scored: dict[tuple[str, str], Job] = {}
    for model, data in setup.evaluations:
        config = setup.configs[model.name]
        scored[model.name, data] = _job(
            "evaluate",
            f"evaluate {model.name} on {setup.manifests[data, 'test'].name}",
            {
                "set": hashes[data, "test"],
                "checkpoint": plan.checkpoint,
                "settings": [config.data.drop_extra, config.data.on_bad],
            },
            (trained[model.name],),
            model=model.name,
            data=data,
        )
    asked = [_training_accuracy_job(setup, model, trained[model.name]) for model in setup.models]
    jobs = [*audits, *trained.values(), *scored.values(), *asked]
    controls = _controls(setup, hashes)
    jobs += dict.fromkeys(controls.values())
    jobs += _measuring(setup, audits, scored, controls)
    facts = asdict(replace(plan, data={}, leave_out=""))
    facts["roles"] = {name: data.role for name, data in plan.data.items()}
    facts["template"] = [file_hash(path) for path in sorted((PACKAGE / "report" / "templates").iterdir())]
    return [*jobs, _job("report", "report", facts, tuple(jobs))]


def settings_of(config: Config) -> dict[str, Any]:
    """The settings that a training's result depends on, beside the content of its sets and its start.

    The workers asked for are among them: batch statistics are of each worker's share.
    """
    content = to_json(config)
    return {"ray.workers": max(config.ray.workers, 1)} | {
        f"{section}.{name}": value
        for section in ("data", "model", "train")
        for name, value in content[section].items()
        if f"{section}.{name}" not in MAY_DIFFER | BY_CONTENT
    }


def _training_job(setup: Setup, model: Model, hashes: dict[tuple[str, str], str], trained: dict[str, Job]) -> Job:
    data = setup.data_of(model)
    content = _training_content(setup, data, config_with_list(setup, model), hashes) | {
        # Which of the parent's checkpoints it starts from.
        "checkpoint": setup.plan.checkpoint if model.parent else "",
        "best by": _code("evaluate") if setup.plan.checkpoint == "best" else "",
    }
    start = f" from {model.parent}" if model.parent else ""
    name = f"train {model.name} on {setup.manifests[data, 'train'].dataset}{start}"
    return _job("train", name, content, (trained[model.parent],) if model.parent else (), model=model.name, data=data)


def _training_content(setup: Setup, data: str, config: Config, hashes: dict[tuple[str, str], str]) -> dict[str, Any]:
    return {
        "sets": [hashes[data, split] for split in setup.plan.training_splits],
        "left out": [setup.listed(data, split) for split in setup.plan.training_splits],
        "settings": settings_of(config),
        "files": file_hashes(replace(config, data=replace(config.data, leave_out=""))),
    }


def _controls(setup: Setup, hashes: dict[tuple[str, str], str]) -> dict[str, Job]:
    """Model of which attribution is asked -> the training of its network on random labels; alike ones are one."""
    plan, found = setup.plan, dict[str, Job]()
    if not (plan.explain.has_attribution and plan.explain.random_labels):
        return {}
    explained = dict.fromkeys(model for model, _ in setup.evaluations if is_first_seed(plan, model))
    for model in explained:
        data = setup.data_of(model)
        content = _training_content(setup, data, on_random_labels(config_with_list(setup, model)), hashes)
        name = f"train as {model.name} on random labels of {setup.manifests[data, 'train'].dataset}"
        job = _job("control", name, content, model=model.name, data=data)
        found[model.name] = next((one for one in found.values() if one.key == job.key), job)
    return found


def _training_accuracy_job(setup: Setup, model: Model, training: Job) -> Job:
    name = f"training accuracy of {model.name} on {setup.manifests[training.data, 'train'].name}"
    content = {"images": TRAINING_IMAGES, "checkpoint": setup.plan.checkpoint}
    return _job("training accuracy", name, content, (training,), like=training)


def _measuring(
    setup: Setup, audits: list[Job], scored: dict[tuple[str, str], Job], controls: dict[str, Job]
) -> Iterator[Job]:
    """What is made of the predictions and beside them."""
    plan = setup.plan
    own = [(model, data) for model, data in setup.evaluations if data == setup.data_of(model)]
    for model, data in own:
        job, precision = scored[model.name, data], setup.configs[model.name].train.precision
        if setup.has_parity(model):
            name = job.name.replace("evaluate", f"{precision} beside fp32,", 1)
            yield _job("parity", name, {"precision": precision}, (job,), like=job)
    first = [(model, data) for model, data in own if is_first_seed(plan, model)]
    for model, data in first if plan.robustness.run else []:
        job = scored[model.name, data]
        sampled = {"samples": plan.robustness.samples, "seed": RobustnessSettings.seed}
        yield _job("robustness", job.name.replace("evaluate", "robustness of", 1), sampled, (job,), like=job)
    with_images = {"images": setup.where.images}
    for (name, _), job in scored.items() if plan.explain.run else ():
        methods = plan.explain.methods if is_first_seed(plan, setup.model(name)) else ()
        content = with_images | {"samples": plan.explain.samples, "methods": methods}
        beside = [controls[name]] if name in controls else []
        yield _job("explain", job.name.replace("evaluate", "explain", 1), content, (job, *beside), like=job)
    for model, data in first:
        job = scored[model.name, data]
        yield _job("gallery", job.name.replace("evaluate", "examples of", 1), with_images, (job,), like=job)
    for (data, split), manifest in setup.manifests.items():
        if split == "train":
            content = with_images | {"set": manifest.content_hash()}
            yield _job("gallery", f"examples of {manifest.name}", content, data=data)
    for (_, data), job in scored.items():
        split_by = {"attributes": plan.attributes, "left out": setup.listed(data, "test")}
        # A set that a model was not trained on is held against its own.
        home = scored.get((job.model, setup.data_of(setup.model(job.model))), job)
        needed = (job, *audits) if home is job else (job, home, *audits)
        yield _job("measures", job.name.replace("evaluate", "measures of", 1), split_by, needed, like=job)
    if plan.explain.has_attribution and plan.explain.planted:
        content = {"images": plan.explain.planted, "methods": plan.explain.methods}
        for cue in PLANTED:
            yield _job("planted", f"planted cue, {cue}", content | {"cue": cue}, other=cue)
    for pair in plan.comparisons:
        for seed in seeds_of(plan, pair.with_model):
            names = [model_name(plan, name, seed) for name in (pair.with_model, pair.without_model)]
            jobs = scored[names[0], pair.data], scored[names[1], pair.data]
            name = f"compare {names[0]} with {names[1]} on {setup.manifests[pair.data, 'test'].name}"
            yield _job("compare", name, {}, jobs, model=names[0], other=names[1], data=pair.data)

    yield from _over_seeds(setup, scored)
    yield from _rankings(setup, scored)


def _over_seeds(setup: Setup, scored: dict[tuple[str, str], Job]) -> Iterator[Job]:
    """Of each training with several seeds what it reaches on each set, and of each comparison what it brings there."""
    plan = setup.plan

    def of(training: str, data: str) -> tuple[Job, ...]:
        names = [model_name(plan, training, seed) for seed in seeds_of(plan, training)]
        return tuple(scored[name, data] for name in names if (name, data) in scored)

    for training in plan.trainings:
        for data in plan.data:
            jobs = of(training, data)
            if len(jobs) > 1:
                name = f"{training} over its seeds on {setup.manifests[data, 'test'].name}"
                yield _job("seeds", name, {}, jobs, model=training, data=data)
    for pair in plan.comparisons:
        after, before = of(pair.with_model, pair.data), of(pair.without_model, pair.data)
        if len(after) > 1:
            name = f"{pair.with_model} over its seeds beside {pair.without_model} on "
            name += setup.manifests[pair.data, "test"].name
            of_both = (*after, *before)
            yield _job("seeds", name, {}, of_both, model=pair.with_model, other=pair.without_model, data=pair.data)


def _rankings(setup: Setup, scored: dict[tuple[str, str], Job]) -> Iterator[Job]:
    """Of each set that several trainings are scored on, which of them is the best there."""
    trainings = {model.name: model.training for model in setup.models}
    for data in setup.plan.data:
        jobs = tuple(job for (_, of), job in scored.items() if of == data)
        if len({trainings[job.model] for job in jobs}) > 1:
            yield _job("ranking", f"the best on {setup.manifests[data, 'test'].name}", {}, jobs, data=data)


def _job(
    kind: Kind, name: str, content: dict[str, Any], after: tuple[Job, ...] = (), like: Job | None = None, **of: str
) -> Job:
    keys = tuple(job.key for job in after)
    key = _digest([kind, __version__, _code(kind), content, keys])
    if like:
        of = {"model": like.model, "data": like.data}
    return Job(kind, name, key, keys, **of)


@cache
def _code(kind: Kind) -> str:
    return source_hash(SOURCES[kind].modules)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
