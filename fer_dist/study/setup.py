"""A plan held against what is there: every set opened, every setting checked, before anything is written or trained."""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from fer_dist.config.settings import Config
from fer_dist.data.loading.loader import open_reader
from fer_dist.data.shards.leave_out import load_leave_out
from fer_dist.data.shards.manifest import Manifest
from fer_dist.distributed.cluster import LOCAL, Group, address_of
from fer_dist.distributed.hardware import HALF, Arithmetic, fastest, weakest
from fer_dist.distributed.tasks import run_tasks
from fer_dist.distributed.world import pick_device
from fer_dist.errors import InputError, counted
from fer_dist.explain.methods import check_captum
from fer_dist.runs.network import build_for, network_of, shape_differences
from fer_dist.runs.opening import BYTES_FREE
from fer_dist.storage.paths import below, settled
from fer_dist.storage.writing import free_bytes
from fer_dist.study.given import Sets, config_of, open_given
from fer_dist.study.plan import Model, Plan, StudyConfig, evaluations_of, models_of
from fer_dist.study.plan_file import load_plan
from fer_dist.train.checks import check_job
from fer_dist.train.given import Opened

PLAN = "plan.yaml"


@dataclass(frozen=True)
class Setup:
    """A plan that can be carried out.

    out:     the study's folder, absolute.
    sets:    (dataset, split) -> the set that is open there, for all splits that are needed.
    models:  every network, each after the one that it starts from.
    configs: model -> its configuration, less run.name and the path of train.init_from.
    """

    plan: Plan
    where: StudyConfig
    out: Path
    sets: Sets
    models: tuple[Model, ...]
    configs: dict[str, Config]

    @cached_property
    def manifests(self) -> dict[tuple[str, str], Manifest]:
        return {key: found.manifest for key, found in self.sets.items()}

    @property
    def opened(self) -> Opened:
        """The same sets, as a training takes them."""
        return {below(self.plan.data[data].shards, split): found for (data, split), found in self.sets.items()}

    @property
    def evaluations(self) -> list[tuple[Model, str]]:
        """(model, dataset) for all that is scored."""
        wanted = set(evaluations_of(self.plan))
        return [(model, data) for model in self.models for data in self.plan.data if (model.training, data) in wanted]

    def model(self, name: str) -> Model:
        return next(model for model in self.models if model.name == name)

    def data_of(self, model: Model) -> str:
        """The dataset that a model is trained on."""
        return self.plan.trainings[model.training].data

    def has_parity(self, model: Model) -> bool:
        """Whether a model is evaluated in half precision as well: in that which it was trained in, if in any."""
        scored = (model, self.data_of(model)) in self.evaluations
        return self.plan.parity and scored and self.configs[model.name].train.precision in HALF

    def lineage(self, model: Model) -> list[Model]:
        """The model, the one that it starts from, and so on."""
        known = {one.name: one for one in self.models}
        chain = [model]
        while chain[-1].parent:
            chain.append(known[chain[-1].parent])
        return chain

    def listed(self, data: str, split: str) -> dict[str, dict[str, str]]:
        """The images of a set that the plan's list leaves out: shard -> key -> emotion."""
        return load_leave_out(self.plan.leave_out, self.manifests[data, split].name) if self.plan.leave_out else {}


def prepare(plan: Plan, where: StudyConfig, sets: Sets | None = None) -> Setup:
    """Look at everything that a study will need, and touch nothing. sets: where `open_given` has opened them already.

    Raises InputError for a set that is missing, empty or not whole; a split that is not what its folder says; emotions
    that a model lacks; a setting that cannot be meant; networks that cannot hand weights on; and too small a disk.
    """
    plan, where = settled(plan), settled(where)
    sets = sets or open_given(plan, where)
    pick_device(where.device)
    out = Path(where.out)
    plan = with_precision(plan, where, out)
    models = tuple(models_of(plan))
    configs = {model.name: config_of(plan, where, model) for model in models}
    setup = Setup(plan, where, out, sets, models, configs)
    for model in models:
        _check_model(setup, model)
    if setup.plan.explain.has_attribution:
        check_captum()
    _check_disk(setup)
    return setup


def with_precision(plan: Plan, where: StudyConfig, out: Path) -> Plan:
    """The plan with the precision of its trainings, where it leaves that open: as the study in the folder began, else
    what is fast where they run. The keys of its jobs hold it."""
    trainings = plan.trainings.values()
    stated = [(plan.set | training.set).get("train.precision", "auto") for training in trainings]
    if "auto" not in stated:
        return plan
    with suppress(InputError):
        began = load_plan(out / PLAN).set.get("train.precision", "auto")
        if began != "auto":
            return replace(plan, set=plan.set | {"train.precision": began})
    strategies = {(plan.set | training.set).get("train.strategy", "ddp") for training in trainings}
    strategy = "deepspeed" if "deepspeed" in strategies else "ddp"
    if where.ray.workers and address_of(where.ray) != LOCAL:
        # The workers' hardware counts, which may be another than this one's.
        group = Group(where.ray, where.device)
        found = run_tasks(_fastest_there, [strategy] * where.ray.workers, group, lambda message: None)
    else:
        found = [_fastest_there(strategy, where.device)]
    return replace(plan, set=plan.set | {"train.precision": weakest(found).precision})


def _fastest_there(strategy: str, device: str) -> Arithmetic:
    """What is fast where this runs."""
    return fastest(pick_device(device), strategy)


def _check_model(setup: Setup, model: Model) -> None:
    config = setup.configs[model.name]
    where = f"trainings.{model.training}"
    try:
        check_job(config_with_list(setup, model), config.ray.workers, setup.opened)
        for data in [data for one, data in setup.evaluations if one == model]:
            open_reader(setup.sets[data, "test"], network_of(config).emotions, config.data, f"data.{data}")
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if model.parent:
        differing = shape_differences(network_of(setup.configs[model.parent]), network_of(config))
        if differing:
            raise InputError(f"{where}.init_from: {model.parent} is another network ({differing}); use the same model")


def config_with_list(setup: Setup, model: Model) -> Config:
    """A model's configuration with the plan's list of images, where that names any of its sets."""
    config, data = setup.configs[model.name], setup.data_of(model)
    is_named = any(setup.listed(data, split) for split in setup.plan.training_splits)
    return replace(config, data=replace(config.data, leave_out=setup.plan.leave_out)) if is_named else config


def on_random_labels(config: Config) -> Config:
    """The same training as a control: from nothing, on random labels, in a run of its own."""
    return replace(
        config,
        data=replace(config.data, random_labels=True),
        model=replace(config.model, pretrained=""),
        train=replace(config.train, init_from=""),
        run=replace(config.run, name=f"{config.run.name}-random-labels"),
    )


def _check_disk(setup: Setup) -> None:
    """Weights and momentum of every checkpoint that is kept, with the best one and the one being written."""
    needed = 0
    for model in setup.models:
        config = setup.configs[model.name]
        parameters = sum(tensor.numel() for tensor in build_for(config).parameters())
        needed += 8 * parameters * (config.train.keep_last + 2)
    if setup.out.exists() and not setup.out.is_dir():
        raise InputError(f"{setup.out}: a file stands there; choose another --out")
    free = free_bytes(setup.out, "--out")
    stands = sum(path.stat().st_size for path in setup.out.glob("runs/*/checkpoints/*/*") if path.is_file())
    if free + stands < needed + BYTES_FREE:
        raise InputError(
            f"{setup.out}: {free >> 20} MiB free on its disk; the checkpoints of "
            f"{counted(len(setup.models), 'training')} need {(needed + BYTES_FREE) >> 20} MiB"
        )
