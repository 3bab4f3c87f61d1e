"""What an evaluation is given, looked at without torch, which takes seconds to import: a wrong path is answered at
once."""

from collections.abc import Sequence

from fer_dist.config.checks import check_ray
from fer_dist.config.settings import EvaluateConfig
from fer_dist.data.loading.shard_set import ShardSet, open_set
from fer_dist.data.shards.crop_rule import NO_BOX
from fer_dist.data.shards.leave_out import check_named
from fer_dist.data.shards.selection import listed
from fer_dist.errors import InputError, naming
from fer_dist.runs.architecture import check_architecture, check_onnx
from fer_dist.runs.folder import ONNX, find_run
from fer_dist.storage.paths import shown


def open_given(config: EvaluateConfig) -> list[ShardSet]:
    """Open every set, and look for every model, but not into it.

    Raises InputError where one is not there or not whole, a number makes no sense, two sets have one name, or a list
    names images of other sets.
    """
    if config.batch_size < 1 or config.threads < 0:
        raise InputError(
            f"--batch-size {config.batch_size} must be at least 1, and --threads {config.threads} at least 0"
        )
    check_ray(config.ray)
    for name in config.network:
        check_architecture(name, "--network")
    are_onnx = [find_run(model).path.suffix == ONNX for model in config.models]
    if any(are_onnx):
        check_onnx(config.models[are_onnx.index(True)])
    elif config.labels:
        raise InputError("--labels: is for ONNX files of others, and --models names none")
    with naming("--data"):
        sets = [open_set(place, config.reading) for place in config.data]
    names = [found.manifest.name for found in sets]
    check_different(names, config.data)
    if config.leave_out:
        check_named(config.leave_out, names)
    return sets


def check_whole(sets: Sequence[ShardSet]) -> None:
    """Raises InputError for a set whose faces are cut already."""
    for found in sets:
        rule = found.manifest.crop_rule
        if rule and rule.box != NO_BOX:
            raise InputError(
                f"--crops: {found.manifest.name} holds faces that are cut already ({rule}); give a set of whole images "
                "with their boxes, built without --crop-faces and --detect, as from expw or a csv with columns of boxes"
            )


def check_different(names: list[str], places: tuple[str, ...]) -> None:
    """Raises InputError where two sets have one name: the results of one would take the place of the other's."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        which = [shown(place) for place, name in zip(places, names, strict=True) if name == twice[0]]
        raise InputError(
            f"--data: {listed(which)} are all called {twice[0]}; give one of them. Several tars of "
            'a set are named by a pattern in quotes, as "FOLDER/*.tar"; another dataset is built with --dataset NAME'
        )
