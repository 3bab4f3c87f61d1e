"""The list of images to leave out: what an audit of shard sets wrote, one JSON object a line.

Lists name images of several sets; each reader takes the lines of its own. The shards stay as they are.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from fer_dist.data.shards.manifest import Manifest
from fer_dist.errors import InputError
from fer_dist.storage.untrusted import open_regular, record
from fer_dist.storage.writing import write_output

MOST_BYTES = 16 << 30
"""Of a list, where an image takes some 150."""

REMEDY = "write it anew with: fer-dist shards audit PATH... --write-clean FILE"

Listed = dict[str, dict[str, str]]
"""The images of one set that are left out: file name of the shard -> key -> emotion."""


@dataclass(frozen=True)
class LeaveOut:
    """One image to leave out, and why. set: "<dataset>-<split>"; shard: file name of the tar."""

    set: str
    shard: str
    key: str
    emotion: str
    reason: str


def save_leave_out(path: str | Path, rows: Iterable[LeaveOut]) -> None:
    """Write a list in one step, in the order given. Raises InputError where that cannot be."""
    try:
        write_output(Path(path), "".join(json.dumps(asdict(row)) + "\n" for row in rows).encode())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None


def load_leave_out(path: str | Path, set_name: str) -> Listed:
    """The lines of one set; an image that is listed for several reasons counts once. set_name: "<dataset>-<split>".

    Raises InputError, naming file and line, for a line that is not one of a list, and where there is no such file.
    """
    return _sets_of(path).get(set_name, {})


def check_named(path: str | Path, set_names: Iterable[str]) -> None:
    """Raises InputError where a list names images, but none of any of these sets: it would leave out nothing."""
    wanted = sorted(set(set_names))
    named = _sets_of(path)
    if named and not set(named) & set(wanted):
        raise InputError(
            f"{path}: names images of {', '.join(sorted(named))} and none of {', '.join(wanted)}; "
            "give the list of these sets, or leave the flag away"
        )


def check_leave_out(path: str | Path, listed: Listed, manifest: Manifest) -> None:
    """Raises InputError where a list names a shard that the set lacks, or more images of an emotion than it holds."""
    counts = {shard.file: shard.counts for shard in manifest.shards}
    for file, emotions in listed.items():
        if file not in counts:
            raise InputError(f"{path}: names {file}, which {manifest.name} does not have; {stale(manifest.name)}")
        for emotion, count in Counter(emotions.values()).items():
            held = counts[file].get(emotion, 0)
            if count > held:
                raise InputError(
                    f"{path}: names {count} of {emotion} in {file}, which holds {held}; {stale(manifest.name)}"
                )


def stale(set_name: str) -> str:
    """What is the matter with a list that does not fit its set, and what to do."""
    return f"the list was made for another build of {set_name}: {REMEDY}"


def _sets_of(path: str | Path) -> dict[str, Listed]:
    try:
        state = os.stat(path)
        return _parsed(str(path), (state.st_ino, state.st_mtime_ns, state.st_size))
    except OSError as error:
        raise InputError(f"{path}: no list of images to leave out ({error.strerror}); {REMEDY}") from None


@lru_cache(maxsize=1)
def _parsed(path: str, stamp: tuple[int, ...]) -> dict[str, Listed]:
    """The images of each set, read once for all the readers of a command. stamp: another one after any change."""
    sets: dict[str, Listed] = {}
    with open_regular(path, MOST_BYTES) as stream:
        for number, line in enumerate(stream, 1):
            row = _row(line, f"{path}:{number}")
            sets.setdefault(row.set, {}).setdefault(row.shard, {})[row.key] = row.emotion
    return sets


def _row(line: bytes, where: str) -> LeaveOut:
    return record(LeaveOut, line, f"{where}: not a line of a list of images to leave out", REMEDY)
