"""The tars that a place means: a folder, a pattern, a manifest, here or in a store."""

import fnmatch
import os
import re
from collections.abc import Collection

from braceexpand import braceexpand

from fer_dist.errors import InputError
from fer_dist.storage.places import WEB, Location, absolute, protocol_of, shown

MOST_NAMES = 10_000_000
"""Names of one brace pattern: more is a slip of the keyboard, and would fill the memory."""


SHOWN = 3
"""Names that a message lists before it counts the others."""


def locate(text: str) -> Location:
    """Read what a user gave as a place of shards. Raises InputError where no such place can be meant."""
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
        raise InputError(f"{location}: matches none of the {len(known)} shards there, as {min(known)}")
    return meant & known


def listed(names: Collection[str]) -> str:
    """The first names, and how many there are beside them."""
    first = sorted(names)[:SHOWN]
    return ", ".join(first) + (f" and {len(names) - len(first)} more" if len(names) > len(first) else "")


def _expanded(location: Location) -> list[str]:
    """The patterns without braces that a pattern with braces stands for."""
    names = 1
    for start, end in re.findall(r"\{(-?\d+)\.\.(-?\d+)[.}]", location.pattern):
        names *= abs(int(end) - int(start)) + 1
    if names > MOST_NAMES:
        raise InputError(f"{location}: stands for {names:,} names; at most {MOST_NAMES:,} make sense")
    try:
        return list(braceexpand(location.pattern))
    except ValueError:
        raise InputError(f"{location}: a brace is missing; as faces-train-{{000000..000063}}.tar") from None
