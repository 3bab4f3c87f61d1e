"""What torchrun, or whoever else starts the processes of a group, tells this one by its environment."""

import os
from dataclasses import dataclass

from fer_dist.errors import InputError

REMEDY = "start the processes with torchrun, which sets all of them, or unset {} to work in this process alone"
MOST_PORT = 65535


@dataclass(frozen=True)
class Launched:
    """This process among those of its group, and among those of the group on its host.

    local_rank, local_size: stand in the environment of side-by-side trainings too, each of which is a group of one.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


def launched() -> Launched:
    """Read WORLD_SIZE, RANK, LOCAL_RANK and LOCAL_WORLD_SIZE, and see that a group can meet. Empty means not set.

    Raises InputError that names the variable which is wrong, or which is missing beside another one.
    """
    size, rank = _number("WORLD_SIZE", 1), _number("RANK", 0)
    if size is None and rank is not None:
        raise InputError(f"RANK is {rank} in the environment, but WORLD_SIZE is not set; {REMEDY.format('RANK')}")
    size = size or 1
    if size > 1:
        port = _number("MASTER_PORT", 1, MOST_PORT)
        for name, value in {"RANK": rank, "MASTER_ADDR": _set("MASTER_ADDR"), "MASTER_PORT": port}.items():
            if value is None:
                raise InputError(
                    f"WORLD_SIZE is {size} in the environment, but {name} is not set; {REMEDY.format('WORLD_SIZE')}"
                )
    local_size, local_rank = _number("LOCAL_WORLD_SIZE", 1), _number("LOCAL_RANK", 0)
    found = Launched(rank or 0, size, local_rank or 0, local_size or 1)
    _check_below("RANK", found.rank, "WORLD_SIZE", found.size)
    if local_size is not None:
        _check_below("LOCAL_RANK", found.local_rank, "LOCAL_WORLD_SIZE", local_size)
    return found


def _set(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None


def _number(name: str, least: int, most: int = 10**9) -> int | None:
    text = _set(name)
    if text is None:
        return None
    # int() alone would take 1_0 as well, and refuses thousands of digits with an error of its own.
    if not (text.isascii() and text.isdigit() and len(text) < 11 and least <= int(text) <= most):
        raise InputError(
            f"{name} is {text[:20]!r} in the environment, not a whole number from {least} to {most:,}; "
            f"{REMEDY.format(name)}"
        )
    return int(text)


def _check_below(name: str, value: int, other: str, limit: int) -> None:
    if value >= limit:
        raise InputError(
            f"{name} is {value} in the environment, but {other} is {limit} and ranks count from 0; "
            f"{REMEDY.format(f'{name} and {other}')}"
        )
