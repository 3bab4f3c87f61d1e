"""Everything that a training run will need, looked at before anything is touched."""

import numpy as np

from fer_dist.config.checks import check
from fer_dist.config.settings import Config
from fer_dist.data.loading.order import Positions
from fer_dist.data.loading.reader import Reader
from fer_dist.errors import InputError
from fer_dist.train.given import Opened, open_given
from fer_dist.train.inputs import Inputs, fitting_network, open_inputs
from fer_dist.train.zero import check_zero

SOFT_LOOK = 256
"""Images in which a soft label is looked for before soft training starts."""


def check_job(config: Config, workers: int, opened: Opened | None = None) -> Inputs:
    """Look at everything that a run will need, and touch nothing. opened: sets that are not to be opened again.

    Returns what the run then trains on. Raises InputError with the flag and the remedy.
    """
    check(config)
    if config.train.strategy == "deepspeed":
        check_zero(config.train)
    inputs = open_inputs(config, open_given(config, opened))
    inputs.order.share(0, max(workers, 1))
    if inputs.reader.soft:
        _check_soft(inputs.reader)
    if config.train.init_from:
        fitting_network(inputs.network, config.train.init_from)
    return inputs


def _check_soft(reader: Reader) -> None:
    """Raises InputError where the first images of the set have no soft label: then hardly any has one."""
    shard = int(np.flatnonzero(reader.counts)[0])
    position = np.arange(min(SOFT_LOOK, reader.counts[shard]))
    found = reader.facts(Positions(np.full_like(position, shard), position))
    if all(facts.get("soft") is None for facts in found):
        raise InputError(
            f"--train.loss soft: none of the first {len(found)} images of {reader.folder} has a soft label (soft in "
            "its json); use --train.loss hard, or a set that has them, as of fer-dist shards build ferplus"
        )
