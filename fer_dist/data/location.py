"""What a place of shards means: a folder, a pattern, a manifest or a single tar, on a local disk or at a URL.

Nothing is opened here; see store.py.
"""

import fnmatch
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import quote

from braceexpand import braceexpand

from fer_dist.errors import InputError

MOST_NAMES = 10_000_000
"""Names of one brace pattern: more is a slip of the keyboard, and would fill the memory."""

SHOWN = 3
"""Names that a message lists before it counts the others."""

WEB = ("http", "https")


@dataclass(frozen=True)
class Location:
    """Where the files of a set lie, and which of its shards are meant.

    protocol: of the URL, as s3; empty for a local folder.
    folder:   local path, or URL without query, that holds tars, indexes and manifest.
    manifest: file name of the manifest; empty for the usual one.
    pattern:  of the file names of the shards that are meant; empty for all of the manifest.
    query:    of a web address, with its "?": a signature, say. It is added to the address of each file.
    """

    protocol: str
    folder: str
    manifest: str = ""
    pattern: str = ""
    query: str = ""

    def of(self, name: str) -> str:
        """Path or URL of a file of the set."""
        if self.protocol in WEB:
            return f"{self.folder}/{quote(name)}{self.query}"
        return f"{self.folder}/{name}"

    @property
    def shown(self) -> str:
        """The folder for a message: without user, password and query."""
        return without_secrets(self.folder)

    def __str__(self) -> str:
        last = self.pattern or self.manifest
        return f"{self.shown}/{last}" if last else self.shown


def locate(text: str) -> Location:
    """Read what a user gave as a place of shards. Raises InputError where no such place can be meant."""
    protocol, _, rest = text.rpartition("://") if is_url(text) else ("", "", text)
    protocol = protocol.lower()
    if protocol in ("file", "local"):
        protocol, text = "", rest
    if not protocol and os.path.isdir(text):
        return Location("", os.path.normpath(text))
    query = ""
    if protocol in WEB:
        text, mark, query = text.partition("?")
        query = mark + query
    folder, _, last = text.rstrip("/").rpartition("/") if not text.endswith("/") else (text.rstrip("/"), "", "")
    if last.endswith(".json"):
        return Location(protocol, folder or ".", last, query=query)
    if not (re.search(r"[*?\[{]", last) or last.endswith(".tar")):
        return Location(protocol, text.rstrip("/") or "/", query=query)
    if re.search(r"[*{]", folder) and not os.path.isdir(folder):
        raise InputError(
            f"{without_secrets(text)}: a pattern may stand for file names only, and the shards of a set lie in one "
            "folder; give each folder by itself"
        )
    return Location(protocol, folder or ".", pattern=last, query=query)


def is_url(text: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def user_cache() -> str:
    """The folder for all that can be fetched or made again, in the user's cache folder; it need not exist."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(root, "fer-dist")


def without_secrets(text: str) -> str:
    """A text without the user, password and query of the URLs in it."""
    text = re.sub(r"(\w://)[^/\s'\"@]*@", r"\1", text)
    return re.sub(r"(\w+://[^\s'\"?]*)\?[^\s'\"<>)]*", r"\1", text)


def chosen(location: Location, files: Collection[str], stored: Collection[str] = ()) -> set[str]:
    """The file names that the location means.

    files: names in the manifest. stored: names in the store, where it can be listed.
    Raises InputError that names what the pattern means and the manifest lacks, or where nothing is meant.
    """
    if not location.pattern:
        return set(files)
    known = set(files)
    meant: set[str] = set()
    for pattern in _expanded(location):
        if re.search(r"[*?\[]", pattern):
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
