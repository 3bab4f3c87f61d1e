"""The errors that a user sees as one line instead of a traceback."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


def nearest(name: str, known: Collection[str]) -> str:
    """For a message about a name that is not known: what a person may have meant, and what there is."""
    near = get_close_matches(name, known, n=1)
    return (f"did you mean {near[0]}? There are: " if near else "there are: ") + ", ".join(known)


def counted(number: int, noun: str) -> str:
    """A number and what it counts, for a message: 1 image, 2 images, 1,000 images. noun: one that takes an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class InputError(Exception):
    """What the user gave is wrong: the message says what was found, where, and what to do. Exit code 2."""


@contextmanager
def naming(flag: str) -> Iterator[None]:
    """Put the flag, or whatever else a wrong value came from, before the message of an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{flag}: {error}") from None


class WorkError(Exception):
    """The work itself failed for a reason that we know (a loss that is not finite, a stop by signal). Exit code 1."""


class SharedError(WorkError):
    """A WorkError that every rank raises at the same step, so that none is left waiting for another."""
