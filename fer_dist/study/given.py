"""What a study is given, looked at without torch, which takes seconds to import: a wrong path is answered at once."""

from dataclasses import replace

from fer_dist.config.presets import preset
from fer_dist.config.settings import Config, with_settings
from fer_dist.config.torchrun import launched
from fer_dist.data.loading.shard_set import ShardSet, open_set
from fer_dist.data.shards.manifest import Manifest
from fer_dist.errors import InputError
from fer_dist.storage.paths import below, settled, shown
from fer_dist.study.plan import Model, Plan, StudyConfig, evaluations_of, models_of

Sets = dict[tuple[str, str], ShardSet]
"""(dataset, split) -> the set that is open there."""


def open_given(plan: Plan, where: StudyConfig) -> Sets:
    """Open every set that a plan needs.

    plan, where: settled. Raises InputError where the study cannot run as asked for; for a setting that is wrong; a set
    that is missing or not whole; a split that is not what its folder says, or not whole where the plan wants all of it;
    and two datasets of one name.
    """
    if where.side_by_side < 1:
        raise InputError(f"--side-by-side {where.side_by_side} is too small; it must be at least 1")
    if where.side_by_side > 1 and where.ray.workers:
        raise InputError(
            "--side-by-side is for trainings in processes of this machine; with --ray.workers leave it out"
        )
    if launched().size > 1:
        raise InputError("a study is one process that starts others; use --ray.workers instead of torchrun")
    # Settings first: a set behind a URL may take its time.
    configs = [config_of(plan, where, model) for model in models_of(plan)]
    trained = {training.data for training in plan.trainings.values()}
    scored = {data for _, data in evaluations_of(plan)}
    sets: Sets = {}
    for name, data in plan.data.items():
        wanted = [*(plan.training_splits if name in trained else ()), *(("test",) if name in scored else ())]
        for split in wanted:
            path = below(data.shards, split)
            try:
                sets[name, split] = open_set(path, configs[0].data)
            except InputError as error:
                raise InputError(f"data.{name}: the split {split}: {error}{_remedy(split)}") from None
            stands = sets[name, split].manifest.split
            if stands != split:
                raise InputError(
                    f"data.{name}: {shown(path)} is a {stands} split; a study trains on train, chooses by val "
                    f"and reads test once, at the end. Build the set with its own splits{_remedy(split)}"
                )
        if plan.whole_train and name in trained:
            _check_whole(name, sets[name, "train"].manifest)
    owners: dict[str, str] = {}
    for (name, _), found in sets.items():
        dataset = found.manifest.dataset
        if owners.setdefault(dataset, name) != name:
            raise InputError(
                f"data.{name}: is called {dataset} as data.{owners[dataset]} is; "
                "leave one out, or build one with --dataset NAME"
            )
    return sets


def config_of(plan: Plan, where: StudyConfig, model: Model) -> Config:
    """How a model is trained, less run.name and the path of train.init_from. Raises InputError for a wrong setting."""
    training = plan.trainings[model.training]
    config = preset(training.preset or plan.preset)
    config = with_settings(config, plan.set | training.set)
    shards = plan.data[training.data].shards
    threads = where.threads or config.data.threads
    val = "" if plan.whole_train else below(shards, "val")
    data = replace(config.data, train=below(shards, "train"), val=val, threads=threads)
    run = replace(config.run, root=f"{where.out}/runs", device=where.device)
    found = replace(config, data=data, train=replace(config.train, seed=model.seed), run=run, ray=where.ray)
    return settled(found, f"trainings.{model.training}.set")


def _remedy(split: str) -> str:
    if split != "val":
        return ""
    return (
        "; cut one from train: fer-dist shards build ... --val-fraction 0.1, or train without one on all of train: "
        "--whole-train (in a plan whole_train: true)"
    )


def _check_whole(name: str, train: Manifest) -> None:
    """Raises InputError where a validation split was cut from what is to be all of train."""
    cut = train.built.get("val_fraction", 0)
    if cut:
        raise InputError(
            f"data.{name}: whole_train, but {100 * cut:g} % of train were cut out as val when its shards were built; "
            "build it again without --val-fraction, or leave whole_train out"
        )
