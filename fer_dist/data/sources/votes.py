"""The ten votes that FER+ has for an image: read from its files, and judged by the rules of the authors' own reader.

Source: microsoft/FERPlus, src/ferplus.py, `_process_data` for the rules and `load_folders` for what is left out.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from fer_dist.data.emotions import CODES, emotion_of_word
from fer_dist.data.sources import fer2013
from fer_dist.data.sources.source import LeftOut
from fer_dist.data.sources.splits import split_of
from fer_dist.errors import InputError
from fer_dist.storage.untrusted import lines_of, open_table

TABLE = "fer2013new.csv"
LABELS = "label.csv"

EMOTIONS = tuple(CODES["ferplus"].values())

VOTES = (*EMOTIONS, "unknown", "NF")
"""What people could say of an image, in the order of the release's columns; NF is not a face."""

Rule = Literal["majority", "probability", "crossentropy", "multi_target"]

WHOLE = (0, 0, fer2013.SIDE, fer2013.SIDE)
"""The box of every image in the release: left, top, right, bottom."""


@dataclass(frozen=True)
class Row:
    """One line of votes. name: the file name of its image. mended: as a sample's."""

    split: str
    name: str
    votes: tuple[int, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    mended: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the votes on one image come to.

    emotion: the winner; empty where the image is left out.
    soft:    a share for each of the eight emotions; the shares sum to 1.
    reason:  why the image is left out, in a few words.
    """

    emotion: str = ""
    soft: tuple[float, ...] = ()
    reason: str = ""


def judge(votes: Sequence[int], rule: Rule) -> Verdict:
    """Decide one image. votes: ten counts in the order of VOTES.

    An answer that one person alone gave is taken for a mistake and does not count. Of equal counts the first wins.
    The shares are those that the authors train on; for `majority`, where they train on the winner alone, they are
    the shares of all counted votes for emotions.
    """
    counts = [count if count > 1 else 0 for count in votes]
    kept = _RULES[rule](counts)
    most = max(kept)
    if not most:
        return Verdict(reason=_UNDECIDED[rule])
    winner = VOTES[kept.index(most)]
    if winner not in EMOTIONS:
        answer = "not a face" if winner == "NF" else winner
        return Verdict(reason=f"{'majority' if rule == 'majority' else 'top vote'} says {answer}")
    shared = (counts if rule == "majority" else kept)[: len(EMOTIONS)]
    return Verdict(winner, tuple(count / sum(shared) for count in shared))


def table_columns(table: Path) -> tuple[int, ...]:
    """Where Usage, the image name and the ten votes stand in fer2013new.csv."""
    with open_table(table, "utf-8-sig", "replace") as stream:
        header = stream.readline(4096)
    found = [emotion_of_word(name) or name.lower() for name in _fields(header)]
    wanted = ["usage", "image name", *(name.lower() for name in VOTES)]
    if any(found.count(name) != 1 for name in wanted):
        raise InputError(
            f"{table}: not FER+'s table; its first line should name Usage, Image name, neutral, happiness, surprise, "
            f"sadness, anger, disgust, fear, contempt, unknown, NF, each once; "
            f"found: {header.strip()[:80] or 'an empty line'}"
        )
    return tuple(map(found.index, wanted))


def table_rows(table: Path, columns: tuple[int, ...]) -> Iterator[Row | LeftOut]:
    with open_table(table, "utf-8-sig", "replace") as stream:
        lines = lines_of(stream)
        next(lines, None)
        for number, line in enumerate(filter(str.strip, lines)):
            fields = _fields(line)
            where = f"{TABLE} row {number}"
            if len(fields) <= max(columns):
                yield LeftOut("", where, "columns are missing")
                continue
            usage, name, *votes = (fields[column] for column in columns)
            split = split_of(usage) or ""
            if not split:
                yield LeftOut("", name or where, "unknown Usage")
            elif not name:
                # All ten said of these that there is no face.
                yield LeftOut(split, where, "without an image name: dropped by the authors")
            else:
                yield _row(split, name, votes)


def label_rows(path: Path, split: str) -> Iterator[Row | LeftOut]:
    """Lines of name, votes; or of name, box, votes, as older files have them."""
    with open_table(path, "utf-8-sig", "replace") as stream:
        for number, line in enumerate(filter(str.strip, lines_of(stream))):
            name, *rest = _fields(line)
            if len(rest) in (len(VOTES), len(VOTES) + 4):
                yield _row(split, name, rest[-len(VOTES) :], rest[: -len(VOTES)])
            else:
                yield LeftOut(split, f"{path.parent.name}/{LABELS} row {number}", "wrong number of columns")


def _row(split: str, name: str, votes: list[str], box: list[str] | None = None) -> Row | LeftOut:
    """box: left, top, right, bottom. Source: microsoft/FERPlus, src/rect_util.py."""
    counts = _numbers(votes)
    if not counts or min(counts) < 0:
        return LeftOut(split, name, "votes are not numbers")
    row = Row(split, name, counts)
    if not box:
        return row
    edges = _numbers(box)
    if not edges:
        return replace(row, mended="face box is not four numbers: dropped")
    left, top, right, bottom = edges
    # The box of every image in the release is the whole of it, which says nothing and does not become a fact.
    return row if edges == WHOLE else replace(row, facts={"box": [left, top, right - left, bottom - top]})


def _numbers(fields: list[str]) -> tuple[int, ...]:
    """Whole numbers; none where a field is not one."""
    return tuple(map(int, fields)) if all(re.fullmatch("-?[0-9]{1,9}", field) for field in fields) else ()


def _fields(line: str) -> list[str]:
    # Nothing but the quoted box holds a comma, and as four fields it is as good.
    return [field.strip(' "()\r\n') for field in line.split(",")]


def _majority(counts: list[int]) -> list[int]:
    """The answer with more than half of the votes; nothing where there is none."""
    most = max(counts)
    return [count if count == most and most > 0.5 * sum(counts) else 0 for count in counts]


def _leading(counts: list[int]) -> list[int]:
    """The leading answers until they hold 75 % of the votes, at most three; nothing where they do not hold half.

    Equal counts come together, and nothing where that makes more than three. An answer that is no emotion ends it:
    it is kept where it leads alone, and does not count where emotions lead it.
    """
    kept = [0] * len(counts)
    total = sum(counts)
    for count in sorted({*counts} - {0}, reverse=True):
        if sum(kept) >= 0.75 * total or sum(map(bool, kept)) >= 3:
            break
        tied = [answer for answer, other in enumerate(counts) if other == count]
        emotions = [answer for answer in tied if answer < len(EMOTIONS)]
        has_ended = len(emotions) < len(tied)
        for answer in emotions if emotions or any(kept) else tied[:1]:
            kept[answer] = count
        if has_ended:
            break
    return kept if sum(kept) > 0.5 * total and sum(map(bool, kept)) <= 3 else [0] * len(counts)


def _frequent(counts: list[int]) -> list[int]:
    """The answers with at least 30 % of the votes each; nothing where they do not hold more than half together."""
    kept = [count if count >= 0.3 * sum(counts) else 0 for count in counts]
    return kept if sum(kept) > 0.5 * sum(counts) else [0] * len(counts)


_RULES: dict[Rule, Callable[[list[int]], list[int]]] = {
    "majority": _majority,
    "probability": _leading,
    "crossentropy": _leading,
    "multi_target": _frequent,
}

_UNDECIDED: dict[Rule, str] = {
    "majority": "no majority",
    "probability": "no one, two or three emotions lead",
    "crossentropy": "no one, two or three emotions lead",
    "multi_target": "no emotions with 30 % of the votes each hold more than half",
}
