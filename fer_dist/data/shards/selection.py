"""The tars that a path or URL selects: those of a folder, of a manifest or of a pattern, here or in a store."""

import fnmatch
import os
import re
import string
from collections.abc import Collection

from braceexpand import braceexpand

from fer_dist.errors import InputError, counted
from fer_dist.storage.paths import WEB, Location, absolute, protocol_of, shown

MOST_NAMES = 1_000_000
"""Names of one brace pattern, ten times the shards of a set of a billion images: more is a slip of the keyboard."""

MOST_PATTERNS = 1_000
"""Of these with a wildcard, each of which is compared with every name of the set."""

MOST_DEPTH = 20
"""Braces in braces."""

MOST_LETTERS = 1 << 28
"""Of all names together: they stand in memory."""


_BRACE = re.compile(r"\\.|[{},]", re.DOTALL)
"""What parts a pattern, and signs with a back slash before them, which do not."""


SHOWN = 3
"""Names that a message lists before it counts the others."""


def locate(text: str) -> Location:
    """Read the path or URL of shards that a user gave. Raises InputError where none can be meant."""
    protocol = protocol_of(text)
    if protocol in ("file", "local"):
        protocol, text = "", absolute(text)
    if not protocol and os.path.isdir(text):
        return Location("", os.path.normpath(text))
    query = ""
    if protocol in WEB:
        text, mark, query = text.partition("?")
        query = mark + query
    folder, _, last = text.rstrip("/").rpartition("/") if not text.endswith("/") else (text.rstrip("/"), "", "")
    is_folder = not (re.search(r"[*?\[{]", last) or last.endswith((".tar", ".json")))
    if protocol and "://" not in (text.rstrip("/") if is_folder else folder):
        raise InputError(f"{shown(text + query)}: names no folder; as {protocol}://bucket/faces/train")
    if is_folder:
        return Location(protocol, text.rstrip("/") or "/", query=query)
    if last.endswith(".json"):
        return Location(protocol, folder or ".", last, query=query)
    if re.search(r"[*{]", folder) and not os.path.isdir(folder):
        raise InputError(
            f"{shown(text + query)}: a pattern may stand for file names only, and the shards of a set lie in one "
            "folder; give each folder by itself"
        )
    return Location(protocol, folder or ".", pattern=last, query=query)


def chosen(location: Location, files: Collection[str], stored: Collection[str] = ()) -> set[str]:
    """The file names that the location means.

    files: names in the manifest. stored: names in the store, where it can be listed.
    Raises InputError that names what the pattern means and the manifest lacks, or where nothing is meant.
    """
    if not location.pattern:
        return set(files)
    known = set(files)
    meant: set[str] = set()
    # A file may be called as if it were a pattern.
    for pattern in [location.pattern] if location.pattern in known else _expanded(location):
        if pattern not in known and re.search(r"[*?\[]", pattern):
            meant.update(fnmatch.filter(known, pattern), fnmatch.filter(stored, pattern))
        else:
            meant.add(pattern)
    lacking = sorted(name for name in meant - known if name.endswith(".tar") or name not in stored)
    if lacking:
        raise InputError(
            f"{location}: the manifest beside it does not have {listed(lacking)}; "
            "give a pattern of shards that it has, or index the set again"
        )
    if not meant & known:
        raise InputError(f"{location}: matches nothing of {counted(len(known), 'shard')} there, as {min(known)}")
    return meant & known


def listed(names: Collection[str]) -> str:
    """The first names, and how many there are beside them."""
    first = sorted(names)[:SHOWN]
    return ", ".join(first) + (f" and {len(names) - len(first)} more" if len(names) > len(first) else "")


def _expanded(location: Location) -> list[str]:
    """The patterns without braces that a pattern with braces stands for."""
    pattern = location.pattern
    most = MOST_PATTERNS if re.search(r"[*?\[]", pattern) else MOST_NAMES
    try:
        names = names_of(pattern)
        if names > most or names * len(pattern) > MOST_LETTERS:
            shown = str(location) if len(pattern) < 200 else f"{location.shown}/{pattern[:200]}..."
            raise InputError(
                f"{shown}: stands for more than the {most:,} names that make sense; give fewer, or a folder"
            )
        return list(braceexpand(pattern))
    except ValueError:
        raise InputError(
            f"{location}: a brace is missing, or too many are there; as faces-train-{{000000..000063}}.tar"
        ) from None


def names_of(pattern: str) -> int:
    """How many names braceexpand would make of a pattern, or of a part of one; any number above MOST_NAMES is as good.

    Raises ValueError where a number has thousands of digits, or braces stand in braces without end.
    """
    names, depth, start = 1, 0, 0
    for found in _BRACE.finditer(pattern):
        if found[0] == "{":
            start = found.end() if not depth else start
            depth += 1
            if depth > MOST_DEPTH:
                raise ValueError("braces in braces without end")
        elif found[0] == "}":
            depth -= 1
            if not depth:
                names = min(names * _choices_of(pattern[start : found.start()]), MOST_NAMES + 1)
    return names


def _choices_of(inside: str) -> int:
    """The same of what stands between two braces: a range of numbers or letters, or parts with commas between them."""
    if numbers := re.fullmatch(r"(-?\d+)\.\.(-?\d+)(?:\.\.-?(\d+))?", inside):
        return abs(int(numbers[2]) - int(numbers[1])) // (int(numbers[3] or 1) or 1) + 1
    if letters := re.fullmatch(r"([A-Za-z])\.\.([A-Za-z])(?:\.\.-?(\d+))?", inside):
        first, last = (string.ascii_letters.swapcase().index(letter) for letter in letters.groups()[:2])
        return abs(last - first) // (int(letters[3] or 1) or 1) + 1
    names, depth, start = 0, 0, 0
    for found in _BRACE.finditer(inside):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if found[0] == "," and not depth:
            names += names_of(inside[start : found.start()])
            start = found.end()
    return names + names_of(inside[start:])
