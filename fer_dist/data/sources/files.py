"""The files of a release on disk: what is walked, and what is passed over as junk, by one rule for all sources."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from fer_dist.data.pictures import is_picture_name

JUNK = frozenset(
    (
        *("__macosx", "icon\r"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
        "@eadir",
    )
)
"""What macOS, Windows and Synology's boxes leave in folders and archives, in lower case."""


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
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_junk(name))
        yield from (os.path.join(place, name) for name in sorted(names) if not is_junk(name))


def images_below(folder: str | Path) -> Iterator[str]:
    """Paths of all files below a folder that are images by their extension, in order."""
    return filter(is_picture_name, files_below(folder))


def path_below(given: str, *roots: str) -> str:
    """A path out of a table, as one below the root that it starts from; empty where it leaves all of the roots.

    given: relative, or absolute where it lies in a root. Windows' separators are understood.
    roots: absolute paths of the same folder; the first one is where a relative path starts.
    """
    path = given
    if "\\" in given and not os.path.lexists(os.path.join(roots[0], given)):
        path = given.replace("\\", "/")
    if re.match("[A-Za-z]:/", path):
        return ""
    for root in roots:
        full = os.path.normpath(os.path.join(root, path))
        if full.startswith(root.rstrip("/") + "/"):
            return os.path.relpath(full, root)
    return ""
