"""Everything that a training run will need, looked at before anything is touched."""

import numpy as np

from fer_dist.checkpoint import network_of
from fer_dist.config import Config
from fer_dist.config_checks import check
from fer_dist.data.leave_out import check_named
from fer_dist.data.loader import open_reader
from fer_dist.data.order import Positions
from fer_dist.data.reader import Reader
from fer_dist.errors import InputError
from fer_dist.session import fitting_network, mixing_of, open_order, open_training_set
from fer_dist.zero import check_zero

SOFT_LOOK = 256
"""Pictures in which a soft label is looked for before soft training starts."""


def check_job(config: Config, workers: int) -> None:
    """Look at everything that a run will need, and touch nothing. Raises InputError with the flag and the remedy."""
    check(config)
    if config.train.strategy == "deepspeed":
        check_zero(config.train)
    network = network_of(config)
    reader = open_training_set(config)
    order = open_order(config, reader, mixing_of(config, reader))
    order.share(0, max(workers, 1))
    if reader.soft:
        _check_soft(reader)
    readers = [reader]
    if config.data.val:
        validation = open_reader(config.data.val, network.emotions, config.data, "--data.val")
        if validation.manifest.split == "test":
            raise InputError(
                f"--data.val {config.data.val} is a test split; a test split is read once, by fer-dist evaluate. "
                "Cut a validation split from train: fer-dist shards build ... --val-fraction 0.1"
            )
        readers.append(validation)
    if config.data.leave_out:
        check_named(config.data.leave_out, [reader.manifest.name for reader in readers])
    if config.train.init_from:
        fitting_network(network, config.train.init_from)


def _check_soft(reader: Reader) -> None:
    """Raises InputError where the first pictures of the set have no soft label: then hardly any has one."""
    shard = int(np.flatnonzero(reader.counts)[0])
    position = np.arange(min(SOFT_LOOK, reader.counts[shard]))
    found = reader.facts(Positions(np.full_like(position, shard), position))
    if all(facts.get("soft") is None for facts in found):
        raise InputError(
            f"--train.loss soft: none of the first {len(found)} pictures of {reader.folder} has a soft label (soft in "
            "its json); use --train.loss hard, or a set that has them, as of fer-dist shards build ferplus"
        )
