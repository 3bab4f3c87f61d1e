"""The list of a run's complete checkpoints: what each consists of. Whoever can write a run can write its list."""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from fer_dist.errors import InputError
from fer_dist.storage.untrusted import Count, Number, record

MOST_BYTES = 16 << 20
"""Of a list: that of a run with three checkpoints has 700."""

MODEL = "model.safetensors"
"""File of a checkpoint that holds its weights."""

NO_CHECKPOINT = "no checkpoint; is this a run folder, and did the run get that far?"

MOST_FILE_BYTES = 8 << 30
"""Of a file of a checkpoint, which is held whole: the study's network has 45 MB."""


@dataclass(frozen=True)
class Entry:
    """One complete checkpoint. files: name -> sha256; score: validation accuracy at that step, if it was measured."""

    step: Count
    files: dict[str, str]
    score: Number | None = None


def parsed(content: bytes, source: str) -> list[Entry]:
    """The checkpoints of a list, oldest first. Raises InputError where it is none, or names a file of elsewhere."""
    entries = record(list[Entry], content, source)
    for entry in entries:
        for name, digest in entry.files.items():
            if not re.fullmatch(r"\w+\.(safetensors|json)", name) or not re.fullmatch("[0-9a-f]{64}", digest):
                raise InputError(f"{source}: names {name[:80]!r} as a file of checkpoint {entry.step}")
    return sorted(entries, key=lambda entry: entry.step)


def as_text(entries: Iterable[Entry]) -> bytes:
    """A list as it is written."""
    return json.dumps([asdict(entry) for entry in entries], indent=1).encode()
