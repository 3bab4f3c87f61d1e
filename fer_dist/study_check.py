"""A plan held against what is there: every set opened, every setting checked, before anything is written or trained."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from fer_dist.checkpoint import build, network_of, shape_differences
from fer_dist.config import Config, RayConfig
from fer_dist.data.leave_out import load_leave_out
from fer_dist.data.loader import open_reader
from fer_dist.data.location import OnDisk, below, settled
from fer_dist.data.manifest import Manifest
from fer_dist.data.shard_set import open_set
from fer_dist.errors import InputError
from fer_dist.job_checks import check_job
from fer_dist.presets import preset
from fer_dist.runs import BYTES_FREE, free_bytes
from fer_dist.study_plan import Model, Plan, evaluations_of, models_of
from fer_dist.torchrun import launched
from fer_dist.world import pick_device

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class StudyConfig:
    """Train, cross, transfer, measure and report, as a plan says. Started again, it does only what is missing."""

    out: OnDisk = "study"
    """Folder for all that the study makes."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the networks run. auto: CUDA where there is one."""

    threads: int = 0
    """Threads that decode. 0: one for each core, at most 8."""

    side_by_side: int = 1
    """Trainings that run at once, each as a process of its own with its log in OUT/logs. Where there are several GPUs
    each gets one of them."""

    ray: RayConfig = field(default_factory=RayConfig)


@dataclass(frozen=True)
class Setup:
    """A plan that can be carried out.

    out:       the study's folder, absolute.
    manifests: (data set, split) -> what stands there, for all splits that are needed.
    models:    every network, each after the one that it starts from.
    configs:   model -> its configuration, less run.name and the path of train.init_from.
    """

    plan: Plan
    where: StudyConfig
    out: Path
    manifests: dict[tuple[str, str], Manifest]
    models: tuple[Model, ...]
    configs: dict[str, Config]

    @property
    def evaluations(self) -> list[tuple[Model, str]]:
        """(model, data set) for all that is scored."""
        wanted = set(evaluations_of(self.plan))
        return [(model, data) for model in self.models for data in self.plan.data if (model.training, data) in wanted]

    def data_of(self, model: Model) -> str:
        """The data set that a model is trained on."""
        return self.plan.trainings[model.training].data

    def lineage(self, model: Model) -> list[Model]:
        """The model, the one that it starts from, and so on."""
        known = {one.name: one for one in self.models}
        chain = [model]
        while chain[-1].parent:
            chain.append(known[chain[-1].parent])
        return chain

    def listed(self, data: str, split: str) -> dict[str, dict[str, str]]:
        """The pictures of a set that the plan's list leaves out: shard -> key -> emotion."""
        return load_leave_out(self.plan.leave_out, self.manifests[data, split].name) if self.plan.leave_out else {}


def prepare(plan: Plan, where: StudyConfig) -> Setup:
    """Look at everything that a study will need, and touch nothing.

    Raises InputError for a set that is missing, empty or not whole; a split that is not what its place says; emotions
    that a model lacks; a setting that cannot be meant; networks that cannot hand weights on; and too small a disk.
    """
    if where.side_by_side < 1:
        raise InputError(f"--side-by-side {where.side_by_side} is too small; it must be at least 1")
    if where.side_by_side > 1 and where.ray.workers:
        raise InputError(
            "--side-by-side is for trainings in processes of this machine; with --ray.workers leave it out"
        )
    if launched().size > 1:
        raise InputError("a study is one process that starts others; use --ray.workers instead of torchrun")
    pick_device(where.device)
    plan, where = settled(plan), settled(where)
    models = tuple(models_of(plan))
    # Settings first: a set behind a URL may take its time.
    configs = {model.name: _config(plan, where, model) for model in models}
    setup = Setup(plan, where, Path(where.out), _open_sets(plan, configs), models, configs)
    for model in models:
        _check_model(setup, model)
    _check_disk(setup)
    return setup


def _config(plan: Plan, where: StudyConfig, model: Model) -> Config:
    training = plan.trainings[model.training]
    config = preset(training.preset or plan.preset)
    settings: dict[str, dict[str, Any]] = {}
    for name, value in (plan.set | training.set).items():
        section, _, item = name.partition(".")
        settings.setdefault(section, {})[item] = value
    for section, values in settings.items():
        config = replace(config, **{section: replace(getattr(config, section), **values)})
    shards = plan.data[training.data].shards
    threads = where.threads or config.data.threads
    data = replace(config.data, train=below(shards, "train"), val=below(shards, "val"), threads=threads)
    run = replace(config.run, root=f"{where.out}/runs", device=where.device)
    found = replace(config, data=data, train=replace(config.train, seed=model.seed), run=run, ray=where.ray)
    return settled(found, f"trainings.{model.training}.set")


def _open_sets(plan: Plan, configs: dict[str, Config]) -> dict[tuple[str, str], Manifest]:
    config = next(iter(configs.values()))
    trained = {training.data for training in plan.trainings.values()}
    scored = {data for _, data in evaluations_of(plan)}
    manifests: dict[tuple[str, str], Manifest] = {}
    for name, data in plan.data.items():
        wanted = [*(("train", "val") if name in trained else ()), *(("test",) if name in scored else ())]
        for split in wanted:
            place = below(data.shards, split)
            try:
                manifest = open_set(place, config.data).manifest
            except InputError as error:
                raise InputError(f"data.{name}: the split {split}: {error}{_remedy(split)}") from None
            if manifest.split != split:
                raise InputError(
                    f"data.{name}: {place} is a {manifest.split} split; a study trains on train, chooses by val and "
                    f"reads test once, at the end. Build the set with its own splits{_remedy(split)}"
                )
            manifests[name, split] = manifest
    owners: dict[str, str] = {}
    for (name, _), manifest in manifests.items():
        if owners.setdefault(manifest.dataset, name) != name:
            raise InputError(
                f"data.{name}: is called {manifest.dataset} as data.{owners[manifest.dataset]} is; "
                "leave one out, or build one with --dataset NAME"
            )
    return manifests


def _remedy(split: str) -> str:
    return "; cut one from train: fer-dist shards build ... --val-fraction 0.1" if split == "val" else ""


def _check_model(setup: Setup, model: Model) -> None:
    config, plan = setup.configs[model.name], setup.plan
    place = f"trainings.{model.training}"
    try:
        check_job(config_with_list(setup, model), config.ray.workers)
        for data in [data for one, data in setup.evaluations if one == model]:
            open_reader(below(plan.data[data].shards, "test"), network_of(config).emotions, config.data, f"data.{data}")
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    if model.parent:
        differing = shape_differences(network_of(setup.configs[model.parent]), network_of(config))
        if differing:
            raise InputError(f"{place}.init_from: {model.parent} is another network ({differing}); use the same model")


def config_with_list(setup: Setup, model: Model) -> Config:
    """A model's configuration with the plan's list of pictures, where that names any of its sets."""
    config, data = setup.configs[model.name], setup.data_of(model)
    is_named = any(setup.listed(data, split) for split in ("train", "val"))
    return replace(config, data=replace(config.data, leave_out=setup.plan.leave_out)) if is_named else config


def _check_disk(setup: Setup) -> None:
    """Weights and momentum of every checkpoint that is kept, with the best one and the one being written."""
    needed = 0
    for model in setup.models:
        config = setup.configs[model.name]
        parameters = sum(tensor.numel() for tensor in build(network_of(config)).parameters())
        needed += 8 * parameters * (config.train.keep_last + 2)
    if setup.out.exists() and not setup.out.is_dir():
        raise InputError(f"{setup.out}: a file stands there; choose another --out")
    free = free_bytes(setup.out, "--out")
    stands = sum(path.stat().st_size for path in setup.out.glob("runs/*/checkpoints/*/*") if path.is_file())
    if free + stands < needed + BYTES_FREE:
        raise InputError(
            f"{setup.out}: {free >> 20} MiB free on its disk; the checkpoints of {len(setup.models)} trainings need "
            f"{(needed + BYTES_FREE) >> 20} MiB"
        )
