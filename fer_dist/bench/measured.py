"""What a measurement gives, and what several of them do alike before and while they take it."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from fer_dist.errors import InputError
from fer_dist.progress import Cells

Found = TypeVar("Found")


@dataclass(frozen=True)
class Measured:
    """What was found, or a part of it, shown when it is there.

    figures: for --json, in which the lists or the mappings of all parts become one.
    table: its first text_columns hold words. Without one, the line is what is shown.
    notes: lines that stand before it, and not on standard output.
    """

    figures: list[Any] | dict[str, Any]
    table: Cells | None = None
    text_columns: int = 2
    line: str = ""
    notes: tuple[str, ...] = ()


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for as long as it is used."""
    with TemporaryDirectory(prefix="fer-dist-bench-") as folder:
        yield Path(folder)


def in_fresh_process(function: Callable[..., Found], *arguments: object) -> Found:
    """What a function gives in a process that has nothing loaded but the function's file."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def integers(flag: str, text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"{flag} {text}: give whole numbers separated by commas") from None


def at_least_one(flags: Any, *names: str) -> None:
    """Raises InputError where a flag of these is less."""
    for name in names:
        if getattr(flags, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(flags, name)}: give at least 1")
