"""What an explanation is given, looked at without torch, which takes seconds to import: a wrong path is answered at
once."""

from fer_dist.config.checks import check_ray
from fer_dist.config.settings import ExplainConfig
from fer_dist.data.loading.shard_set import ShardSet, each_split, open_set
from fer_dist.errors import InputError, naming
from fer_dist.evaluate.given import check_different
from fer_dist.explain.methods import check_captum, chosen_methods
from fer_dist.runs.architecture import check_architecture
from fer_dist.runs.folder import find_run
from fer_dist.runs.opening import kept_in


def open_given(run: str, config: ExplainConfig) -> list[ShardSet]:
    """Open every set, and look for the run, but not into it.

    Raises InputError where one is not there or not whole, a number makes no sense, two sets have one name, there is no
    such method, or captum is not installed.
    """
    least = {"--samples": 0, "--batch-size": 1, "--threads": 0, "--faithfulness-samples": 0}
    for flag, fewest in least.items():
        value = getattr(config, flag.removeprefix("--").replace("-", "_"))
        if value < fewest:
            raise InputError(f"{flag} {value} is too small; it must be at least {fewest}")
    if chosen_methods(config):
        check_captum()
    check_ray(config.ray)
    for name in config.network:
        check_architecture(name, "--network")
    find_run(run)
    if config.control:
        _check_control(config.control)
    places = each_split(config.data)
    with naming("--data"):
        sets = [open_set(place, config.reading) for place in places]
    check_different([found.manifest.name for found in sets], places)
    return sets


def _check_control(run: str) -> None:
    with naming("--control"):
        kept = kept_in(find_run(run))
    if not (kept and kept.config.data.random_labels):
        raise InputError(
            f"--control {run}: not trained on random labels; train one with the settings of the run that is explained "
            "and --data.random-labels"
        )
