"""One mapped tar and the lines of its index: a sample's bytes, label and facts by its position."""

import json
import mmap
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_dist.data.manifest import index_path, key_of, load_index_lines
from fer_dist.errors import InputError

PICTURES = {"jpg", "jpeg", "png"}


class OpenedTar:
    """One mapped tar and the lines of its index."""

    def __init__(self, path: Path, samples: int) -> None:
        self.path = path
        self.lines = load_index_lines(path)
        if len(self.lines) != samples:
            raise InputError(
                f"{index_path(path)}: {len(self.lines)} samples, but the manifest says {samples}; "
                f"make it anew with: fer-dist shards index {path.parent}"
            )
        with path.open("rb") as stream:
            self.map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def sample(self, position: int) -> tuple[str, NDArray[np.uint8], int]:
        """Key, encoded picture and label of a sample."""
        words = self.lines[position].split()
        picture = label = None
        for at in range(0, len(words) - 3, 4):
            extension = words[at]
            if extension == "cls":
                label = self._bytes(words, at)
            elif extension in PICTURES:
                picture = self._span(words, at)
        key = key_of(words[3]) if len(words) > 3 else f"sample {position}"
        if picture is None or label is None:
            raise InputError(f"{self.path.name}: {key}: no {'picture' if picture is None else 'label (.cls)'}")
        try:
            number = int(label)
        except ValueError:
            raise InputError(f"{self.path.name}: {key}: its .cls holds {label[:20]!r}, not a number") from None
        start, size = picture
        return key, np.frombuffer(self.map, dtype=np.uint8, count=size, offset=start), number

    def key(self, position: int) -> str:
        return _key_in(self.lines[position])

    def facts(self, position: int) -> dict[str, Any]:
        words = self.lines[position].split()
        for at in range(0, len(words) - 3, 4):
            if words[at] == "json":
                try:
                    content = json.loads(self._bytes(words, at))
                except ValueError:
                    content = None
                if not isinstance(content, dict):
                    raise InputError(f"{self.path.name}: {self.key(position)}: its .json is not an object")
                return content
        return {}

    def leave_out(self, keys: Container[str]) -> None:
        """Forget the samples of these keys; positions count what is left."""
        self.lines = [line for line in self.lines if _key_in(line) not in keys]

    def keep_only(self, labels: set[int]) -> None:
        """Forget the samples of other labels; positions count what is left."""
        self.lines = [line for i, line in enumerate(self.lines) if self.sample(i)[2] in labels]

    def _bytes(self, words: list[str], at: int) -> bytes:
        start, size = self._span(words, at)
        return self.map[start : start + size]

    def _span(self, words: list[str], at: int) -> tuple[int, int]:
        try:
            start, size = int(words[at + 1]), int(words[at + 2])
        except ValueError:
            start = size = -1
        if start < 0 or size < 0 or start + size > len(self.map):
            raise InputError(
                f"{index_path(self.path)}: {words[at + 3]} does not lie inside the tar; "
                f"make it anew with: fer-dist shards index {self.path.parent}"
            )
        return start, size


def _key_in(line: str) -> str:
    return key_of(line.split(None, 4)[3])
