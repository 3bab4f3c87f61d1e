"""What labels mean that are no words: a dataset's own table, or names in the order of the numbers.

Each dataset orders the same emotions in its own way, so that a number alone is never guessed at.
"""

import re
from collections.abc import Iterable
from math import log

from fer_dist.data.emotions import CODES, WORDS, class_names, class_of_label
from fer_dist.errors import InputError

FEWEST = 1000
"""Images, below which the sizes of class folders say nothing about the order of their numbers."""


def own_classes(given: str) -> tuple[str, ...]:
    """A user's own classes. given: as --emotions; empty for none. Raises InputError as `class_names`."""
    return class_names(given.split(","), f"--emotions {given[:80]}") if given else ()


def codes_of(given: str, classes: tuple[str, ...] = ()) -> dict[str, str]:
    """Label -> our name, by what a user gave as --codes; empty text for a number whose rows are to be left out.

    given: the name of a table in CODES, or names in the order of the numbers 0, 1, 2, ... with - for one to leave out.
    classes: the user's own; empty where the names are emotions that we know.
    """
    if given in CODES:
        return CODES[given]
    if "," not in given:
        raise InputError(f"--codes {given}: no such table; there are {', '.join(CODES)}; or give a list of names")
    codes = {}
    for number, word in enumerate(map(str.strip, given.split(","))):
        emotion = class_of_label(word, classes)
        if emotion is None and word != "-":
            what = "is not among --emotions" if classes else "names no emotion that we know"
            raise InputError(f"--codes: {word!r} {what}; use - or one of {', '.join(classes or WORDS)}")
        codes[str(number)] = emotion or ""
    return codes


def plain_code(label: str) -> str:
    """A number as the tables write it: 3 for 03 and for the 3.0 of tables that went through floats; others stay."""
    return re.sub(r"^0+(?=\d+$)", "", re.sub(r"^(\d+)\.0+$", r"\1", label.strip()))


def told(codes: dict[str, str]) -> str:
    """The table for a person: 0 neutrality, 1 happiness, ..."""
    return ", ".join(f"{code} {emotion or 'left out'}" for code, emotion in codes.items())


def ask_for_codes(where: object, labels: Iterable[str]) -> InputError:
    """The error for labels that are numbers, where nothing says what they mean."""
    tables = ", ".join(name for name, table in CODES.items() if "1" in table)
    return InputError(
        f"{where}: the labels are numbers ({', '.join(labels)}), and each dataset orders them in its own way; say "
        f"which with --codes: {tables}, or the names in the order of the numbers 0, 1, 2, ..., as neutral,happy,sad"
    )


def counting_fault(labels: Iterable[str], codes: dict[str, str]) -> str:
    """What is wrong with labels that do not fit the codes but would if they were counted from another number.

    labels: all that there are. Empty where they fit, or where they are too few to say so.
    """
    found, known = ({int(label) for label in table if label.isdecimal()} for table in (labels, codes))
    fits_moved = any({number + step for number in found} <= known for step in (-1, 1))
    if found <= known or not fits_moved or 2 * len(found) <= len(known):
        return ""
    return (
        f"the labels are {min(found)} to {max(found)} and not {told(codes)}: they seem to be counted from another "
        "number, so that every name would be another one than is meant"
    )


def check_counting(where: object, labels: Iterable[str], codes: dict[str, str], given: str) -> None:
    """Raises InputError where labels seem to be counted from another number than the codes. given: as --codes."""
    if fault := counting_fault(labels, codes):
        raise InputError(
            f"{where}: with --codes {given}, {fault}; give the names in their order, with - for a number that has "
            "none, as -,neutral,happy,sad"
        )


def remarks_on_unused(where: object, labels: Iterable[str], codes: dict[str, str], given: str) -> tuple[str, ...]:
    """A remark where the user's codes name more than there is: they may be those of another set. given: as --codes."""
    found = set(labels)
    unused = {code: emotion for code, emotion in codes.items() if emotion and code not in found}
    return (f"{where}: nothing has the labels {told(unused)} of --codes {given}",) if unused else ()


def check_sizes(where: object, sizes: dict[str, int], codes: dict[str, str], published: dict[str, int]) -> None:
    """Raises InputError where the sizes of classes are those of the release with its names in alphabetical order.

    A copy that a program numbered by the names of its folders has the right numbers and the wrong names; that shows
    where it kept the release's proportions. Of classes of one size nobody can tell.
    sizes: label -> images. codes: label -> name, as the release has them. published: name -> images of the release.
    """
    labels = [label for label in codes if sizes.get(label)]
    names = [codes[label] for label in labels]

    def distance(order: list[str]) -> float:
        shares = [sizes[label] / sum(sizes[one] for one in labels) for label in labels]
        wanted = [published[name] / sum(published[one] for one in names) for name in order]
        return sum(abs(log(share / want)) for share, want in zip(shares, wanted, strict=True))

    if sum(sizes.values()) >= FEWEST and distance(sorted(names)) < distance(names) / 2:
        raise InputError(
            f"{where}: the sizes of the class folders are those of the release's classes in alphabetical order, not "
            f"by its codes: give --codes {','.join(_by_number(labels, sorted(names)))}; or --codes "
            f"{','.join(_by_number(labels, names))} where they are the release's codes all the same"
        )


def _by_number(labels: list[str], names: list[str]) -> list[str]:
    order = dict(zip(labels, names, strict=True))
    return [order.get(str(number), "-") for number in range(max(map(int, labels)) + 1)]
