"""What folders hold: what is walked and what is passed over as junk by one rule, and names for messages."""

import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from fer_dist.errors import InputError

JUNK = frozenset(
    (
        *("__macosx", "icon\r"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
        "@eadir",
    )
)
"""What macOS, Windows and Synology's boxes leave in folders and archives, in lower case."""

MOST_NAMES = 8
"""That a message lists of a folder."""


def is_junk(name: str) -> bool:
    """Whether a file or folder is no part of any release: hidden (`._a.jpg`, `.DS_Store`), or one of JUNK."""
    return name.startswith(".") or name.lower() in JUNK


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is one itself; a link that leads back to itself is not, where is_dir() raises."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def entries_of(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """What a folder holds, junk passed over. In the order of the disk, since a release's folder may have millions."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not is_junk(entry.name):
                yield entry


def folders_in(folder: str | Path) -> list[str]:
    """Names of the folders in a folder, in order."""
    return sorted(entry.name for entry in entries_of(folder) if is_folder(entry))


def files_below(folder: str | Path) -> Iterator[str]:
    """Paths of all files below a folder, in order; links to folders are not followed, for they may lead back."""
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_junk(name))
        yield from (os.path.join(path, name) for name in sorted(names) if not is_junk(name))


def is_foreign(text: str) -> bool:
    """Whether a text from a file that was opened as UTF-8 holds bytes of another encoding, as surrogates."""
    return not text.isascii() and re.search("[\udc80-\udcff]", text) is not None


def path_below(given: str, *roots: str) -> str:
    """A path out of a table, as one below the root that it starts from; empty where it leaves all of the roots.

    given: relative, or absolute where it lies in a root. Windows' separators are understood, and letters with marks
           whether they are one sign or two: a Mac's file system takes them apart, and a table may not. Bytes that are
           not UTF-8 (as surrogates) are a name's own where a file has them, else those of Western Windows, as Excel
           writes a csv there.
    roots: absolute paths of the same folder; the first one is where a relative path starts.
    """
    path = given
    if "\\" in given or not given.isascii():
        slashes = given.replace("\\", "/")
        western = (
            slashes.encode("utf-8", "surrogateescape").decode("cp1252", "replace") if is_foreign(slashes) else slashes
        )
        spellings = (given, slashes, *(unicodedata.normalize(form, western) for form in ("NFC", "NFD")))
        path = next((path for path in spellings if os.path.lexists(os.path.join(roots[0], path))), slashes)
    if re.match("[A-Za-z]:/", path):
        return ""
    for root in roots:
        full = os.path.normpath(os.path.join(root, path))
        if full.startswith(root.rstrip("/") + "/"):
            return os.path.relpath(full, root)
    return ""


def readable(name: str) -> str:
    """A file name as text that every JSON reader takes: bytes that are not UTF-8 become the replacement character."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def names_found(folder: Path) -> str:
    """What lies in a folder, for an error message: the first names in order, and how many more."""
    names = sorted(readable(name) for name in os.listdir(folder))
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more if names else "nothing"


def folder_at(raw: str) -> Path:
    """The folder of a release. Raises InputError where there is none."""
    folder = Path(raw)
    if not folder.is_dir():
        is_file = "a file, but this release is a folder; unpack it first where it is an archive"
        raise InputError(f"{raw}: {is_file if folder.exists() else 'no such folder'}")
    return folder
