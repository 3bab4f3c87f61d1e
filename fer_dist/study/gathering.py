"""From the records of a study's jobs to what its report says."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fer_dist import PACKAGE, __version__
from fer_dist.config.presets import preset
from fer_dist.config.settings import MAY_DIFFER, Config, to_json
from fer_dist.distributed.world import pick_device
from fer_dist.errors import counted
from fer_dist.explain.claims import decided, not_tested, of_networks
from fer_dist.report.findings import Comparison, Gain, Gallery, Model, Ranking, Result, Seeds, Study
from fer_dist.runs.curves import began_at, load_curves
from fer_dist.scores.compare import over_seeds
from fer_dist.study.plan import Model as PlannedModel
from fer_dist.study.plan import model_name, seeds_of

if TYPE_CHECKING:
    # What does the work is no part of the report: source_hash follows imports.
    from fer_dist.study.running import Running
    from fer_dist.study.setup import Setup

SHOWN = ("train/", "validation/")
"""Curves that say how the training went; the recall of each emotion stays in TensorBoard."""

MOST_POINTS = 400
"""Of a curve that a report keeps: more than a figure shows."""

ALWAYS_SAID = {
    "train.epochs": "epochs", "train.lr": "learning rate", "train.batch_size": "batch", "data.views": "views",
}  # fmt: skip
"""Setting -> how a report calls it, whether or not a training changes it."""

NO_RECIPE = MAY_DIFFER | {
    "data.train", "data.val", "data.leave_out", "data.lanes", "data.block", "data.drop_extra", "data.on_bad",
    "train.seed", "train.init_from", "train.precision", "train.deepspeed_config", "train.save_every_steps",
}  # fmt: skip
"""Settings that say of which images, in which order and arithmetic, and how often something is kept."""

PATHS = frozenset({
    "data.train", "data.val", "data.leave_out", "train.init_from", "train.deepspeed_config", "model.pretrained",
})  # fmt: skip

LIBRARIES = ("torch", "torchvision", "nvidia-dali-cuda130", "nvidia-dali-cuda120", "ray", "numpy")


def findings(running: "Running", commands: tuple[str, ...]) -> Study:
    """All that a finished study says. commands: by which it was made."""
    setup, plan = running.setup, running.setup.plan
    records = [running.records.read(key) for key in running.jobs]
    datasets = {name: manifest.dataset for (name, _), manifest in setup.manifests.items()}
    explained = _explained(running)
    return Study(
        title=plan.title,
        models=tuple(_model(running, model) for model in setup.models),
        results=tuple(
            _result(running, model, data, explained.get((model.name, data))) for model, data in setup.evaluations
        ),
        comparisons=tuple(
            Comparison(one, other, dataset, "test", found["paired"])
            for one, other, dataset, found in _pairs(running, "compare")
        ),
        class_counts={manifest.name: manifest.counts for manifest in setup.manifests.values()},
        variants={manifest.name: str(manifest.built.get("variant", "")) for manifest in setup.manifests.values()},
        crop_rules={
            manifest.name: str(manifest.crop_rule) for manifest in setup.manifests.values() if manifest.crop_rule
        },
        left_out={manifest.name: manifest.left_out for manifest in setup.manifests.values() if manifest.left_out},
        commands=commands,
        commit=_commit(),
        versions=_versions(),
        hardware=_hardware(setup),
        roles={data.role: datasets[name] for name, data in plan.data.items() if data.role and name in datasets},
        seeds=tuple(_seeds(running)),
        gains=tuple(
            Gain(one, other, dataset, "test", found["over_images"])
            for one, other, dataset, found in _pairs(running, "seeds")
        ),
        rankings=tuple(_rankings(running)),
        galleries=tuple(_galleries(running)),
        planted=tuple(
            running.records.read(job.key)["planted"] for job in running.jobs.values() if job.kind == "planted"
        ),
        maps=tuple(
            path
            for job in running.jobs.values()
            if job.kind == "explain"
            for path in running.records.read(job.key)["files"]
        ),
        seconds=sum(record.get("seconds", 0.0) for record in records),
    )


def _model(running: "Running", model: PlannedModel) -> Model:
    setup = running.setup
    training, config = setup.plan.trainings[model.training], setup.configs[model.name]
    record = running.found("train", model.name)
    asked = running.found("training accuracy", model.name)
    curves = load_curves(running.run_folder(model.name))
    settings = spoken_settings(training.preset or setup.plan.preset, config, training.set)
    if worlds := record.get("worlds"):
        told = [f"{ranks} from step {step} on" if int(step) else str(ranks) for step, ranks in worlds.items()]
        settings["workers"] = ", ".join(told)
    if setup.has_parity(model):
        found = running.found("parity", model.name)["parity"]
        points = 100 * found["difference"]
        settings[f"in {found['precision']}"] = (
            f"{found['differing']:,} of {found['samples']:,} differ ({points:+.2f} points)"
        )
    return Model(
        name=model.name,
        trained_on=setup.manifests[training.data, "train"].dataset,
        started_from=model.parent or None,
        seconds=record["seconds"],
        parameters=record["parameters"],
        settings=settings,
        group=model.training if len(seeds_of(setup.plan, model.training)) > 1 else "",
        role=training.role,
        seed=model.seed,
        images=record.get("images"),
        departures=_departures(config),
        training_accuracy=asked.get("training_accuracy"),
        curves={name: _thinned(points) for name, points in curves.items() if name.startswith(SHOWN)},
        began=began_at(running.run_folder(model.name)),
        config=_configuration(config),
    )


def spoken_settings(name: str, config: Config, changed: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a training as its report shows them, each once. name: of the preset; changed: by the training."""
    values = to_json(config)
    settings = {"preset": name}
    for setting, spoken in ALWAYS_SAID.items():
        section, _, field = setting.partition(".")
        settings[spoken] = _spoken(values[section][field])
    return settings | {name: _spoken(value) for name, value in changed.items() if name not in ALWAYS_SAID}


def _configuration(config: Config) -> dict[str, Any]:
    """ "train.lr" ... -> its value: all that a training hangs on, but for paths, which may hold names of people or
    signatures, and what may differ without changing a result.
    """
    values = to_json(config)
    return {
        f"{section}.{name}": value
        for section in ("data", "model", "train")
        for name, value in values[section].items()
        if f"{section}.{name}" not in MAY_DIFFER | PATHS
    }


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most MOST_POINTS of a curve, the first and the last among them."""
    if len(points) <= MOST_POINTS:
        return points
    return [points[index * (len(points) - 1) // (MOST_POINTS - 1)] for index in range(MOST_POINTS)]


def _departures(config: Config) -> tuple[str, ...]:
    """The settings of a training that are not the published study's, as "train.epochs 2 in place of 20"."""
    ours, theirs = to_json(config), to_json(preset("paper"))
    return tuple(
        f"{section}.{name} {value} in place of {theirs[section][name]}"
        for section in ("data", "model", "train")
        for name, value in ours[section].items()
        if f"{section}.{name}" not in NO_RECIPE and value != theirs[section][name]
    )


def _result(running: "Running", model: PlannedModel, data: str, explained: dict[str, Any] | None) -> Result:
    manifest = running.setup.manifests[data, "test"]
    scored = running.found("evaluate", model.name, data)
    measured = running.found("measures", model.name, data)
    robust = [
        job for job in running.jobs.values() if (job.kind, job.model, job.data) == ("robustness", model.name, data)
    ]
    return Result(
        model=model.name,
        dataset=manifest.dataset,
        scores=scored["scores"],
        split=manifest.split,
        detail=measured["detail"],
        without_copies=measured.get("without_copies"),
        against_own=measured.get("against_own"),
        robustness=running.records.read(robust[0].key)["robustness"] if robust else None,
        explained=explained,
    )


def _explained(running: "Running") -> dict[tuple[str, str], dict[str, Any]]:
    """(model, data) -> where it looks there, and what was decided over its sets and the seeds of its training."""
    found = {
        (job.model, job.data): running.records.read(job.key)["explained"]
        for job in running.jobs.values()
        if job.kind == "explain"
    }
    whole: dict[tuple[str, str], dict[str, Any]] = {}
    for model in running.setup.models:
        seeds = seeds_of(running.setup.plan, model.training)
        names = [model_name(running.setup.plan, model.training, seed) for seed in seeds]
        own = {
            data: values | {"claims": of_networks([found[one, data]["claims"] for one in names])}
            for (name, data), values in found.items()
            if name == model.name
        }
        verdicts = decided(own)
        whole |= {
            (model.name, data): values | {"verdicts": verdicts[data], "not_tested": not_tested(values)}
            for data, values in own.items()
        }
    return whole


def _pairs(running: "Running", kind: str) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """What is compared by jobs of that kind: the one, the other, the dataset, and what is recorded of it."""
    for job in running.jobs.values():
        if job.kind == kind and job.other:
            dataset = running.setup.manifests[job.data, "test"].dataset
            yield job.model, job.other, dataset, running.records.read(job.key)


def _seeds(running: "Running") -> list[Seeds]:
    """Of each training with several seeds, its scores on each set over them."""
    plan, found = running.setup.plan, []
    for training in plan.trainings:
        seeds = seeds_of(plan, training)
        sets = dict.fromkeys(data for model, data in running.setup.evaluations if model.training == training)
        for data in sets if len(seeds) > 1 else ():
            names = [model_name(plan, training, seed) for seed in seeds]
            scores = [running.found("evaluate", name, data)["scores"] for name in names]
            values = over_seeds(scores) | {"over_images": running.found("seeds", training, data)["over_images"]}
            found.append(Seeds(training, running.setup.manifests[data, "test"].dataset, "test", values))
    return found


def _rankings(running: "Running") -> Iterator[Ranking]:
    for job in running.jobs.values():
        if job.kind == "ranking":
            manifest, found = running.setup.manifests[job.data, "test"], running.records.read(job.key)["ranking"]
            yield Ranking(manifest.dataset, manifest.split, found["best"], found["pairs"], found["tests"])


def _galleries(running: "Running") -> Iterator[Gallery]:
    for job in running.jobs.values():
        if job.kind == "gallery":
            manifest = running.setup.manifests[job.data, "test" if job.model else "train"]
            yield Gallery(job.model, manifest.name, tuple(running.records.read(job.key)["gallery"]))


def _spoken(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _versions() -> dict[str, str]:
    versions = {"fer_dist": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _hardware(setup: "Setup") -> str:
    import torch

    words = [platform.machine(), counted(len(os.sched_getaffinity(0)), "core")]
    if pick_device(setup.where.device).type == "cuda":
        words.append(f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}")
    if setup.where.ray.workers:
        words.append(f"{setup.where.ray.workers} Ray workers")
    return ", ".join(words)


def _commit() -> str:
    """The commit that this program was run from, with a + where files differ from it; empty where it is none of git."""

    def git(*words: str) -> str | None:
        try:
            ended = subprocess.run(["git", "-C", str(PACKAGE), *words], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return ended.stdout.strip() if ended.returncode == 0 else None

    # The program may lie in a folder of another project, whose commit would say nothing.
    if git("ls-files", "--error-unmatch", "__init__.py") is None:
        return ""
    changed = "+" if git("status", "--porcelain", "--untracked-files=no", ".") else ""
    return f"{git('rev-parse', '--short=12', 'HEAD') or ''}{changed}"
