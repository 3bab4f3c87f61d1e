"""Random access to the samples of a shard set: from (shard, position) to bytes, label and key.

A sample costs a few microseconds: the tars are mapped into memory, the pictures are views of them, and of the index
only the lines that are asked for are parsed.
"""

import hashlib
import json
import mmap
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_dist.data.manifest import Manifest, index_path, key_of, load_index_lines, load_manifest
from fer_dist.data.order import Hashes, Integers, Positions
from fer_dist.emotions import columns_of
from fer_dist.errors import InputError

MOST_OPEN = 512
"""Tars that stay mapped: more than the shards that 128 lanes touch at once."""

PICTURES = {"jpg", "jpeg", "png"}


@dataclass(frozen=True)
class Samples:
    """The samples of one batch.

    content: the encoded picture of each, uint8, views of the mapped tars.
    labels:  int64 [n], outputs of the model.
    keys:    of each sample; ids: uint64 [n], the first 8 bytes of sha256(key).
    places:  the shard of each, for messages.
    """

    content: list[NDArray[np.uint8]]
    labels: Integers
    keys: list[str]
    ids: Hashes
    places: list[str]

    def __len__(self) -> int:
        return len(self.keys)


class Reader:
    """Reads the samples of one shard set whose emotions the model has."""

    def __init__(self, folder: str | Path, model_emotions: tuple[str, ...], drop_extra: bool = False) -> None:
        """folder: a shard set. drop_extra: samples of emotions that the model does not have are passed over.

        Raises InputError for a set that is not whole: a tar or an index is missing, or a tar has another size than its
        manifest says; and for emotions that the model does not have, unless drop_extra.
        """
        self.folder = Path(folder)
        self.manifest: Manifest = load_manifest(folder)
        present = tuple(name for name, count in self.manifest.counts.items() if count)
        columns_of(present, model_emotions, drop_extra)
        self.columns = columns_of(self.manifest.emotions, model_emotions, drop_extra=True)
        kept = {name for name, column in zip(self.manifest.emotions, self.columns, strict=True) if column is not None}
        self.counts = np.array(
            [sum(shard.counts[e] for e in shard.counts if e in kept) for shard in self.manifest.shards]
        )
        self._open: OrderedDict[int, _Tar] = OrderedDict()
        for shard in self.manifest.shards:
            self._check(shard.file, shard.bytes)
        if self.counts.sum() == 0:
            raise InputError(f"{folder}: no picture has an emotion of the model ({', '.join(model_emotions)})")

    def read(self, positions: Positions) -> Samples:
        """The samples at these positions. Raises InputError, naming shard and key, where one is not whole."""
        content, labels, keys, places = [], [], [], []
        for shard, position in zip(positions.shard.tolist(), positions.position.tolist(), strict=True):
            tar = self._tar(shard)
            key, picture, label = tar.sample(position)
            column = self.columns[label] if 0 <= label < len(self.columns) else None
            if column is None:
                raise InputError(
                    f"{tar.path.name}: {key}: label {label} is none of the manifest's emotions; "
                    f"look closer with: fer-dist shards verify {self.folder}"
                )
            content.append(picture)
            labels.append(column)
            keys.append(key)
            places.append(tar.path.name)
        ids = np.array([sample_id(key) for key in keys], dtype=np.uint64)
        return Samples(content, np.array(labels, dtype=np.int64), keys, ids, places)

    def keys(self, positions: Positions) -> list[str]:
        pairs = zip(positions.shard.tolist(), positions.position.tolist(), strict=True)
        return [self._tar(shard).key(position) for shard, position in pairs]

    def facts(self, positions: Positions) -> list[dict[str, Any]]:
        """What the json of each sample says."""
        pairs = zip(positions.shard.tolist(), positions.position.tolist(), strict=True)
        return [self._tar(shard).facts(position) for shard, position in pairs]

    def _tar(self, shard: int) -> "_Tar":
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        entry = self.manifest.shards[shard]
        tar = _Tar(self.folder / entry.file, entry.samples)
        if self.counts[shard] != entry.samples:
            tar.keep_only({label for label, column in enumerate(self.columns) if column is not None})
            if len(tar.lines) != self.counts[shard]:
                raise InputError(
                    f"{tar.path}: {len(tar.lines)} samples of the model's emotions, but the manifest says "
                    f"{self.counts[shard]}; look closer with: fer-dist shards verify {self.folder}"
                )
        self._open[shard] = tar
        if len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)
        return tar

    def _check(self, file: str, size: int) -> None:
        path = self.folder / file
        remedy = f"build the set again, or look closer with: fer-dist shards verify {self.folder}"
        if not path.is_file():
            raise InputError(f"{path}: named in the manifest but missing; {remedy}")
        if path.stat().st_size != size:
            raise InputError(f"{path}: {path.stat().st_size} bytes, but the manifest says {size}; {remedy}")
        if not index_path(path).is_file():
            raise InputError(f"{index_path(path)}: missing index; make it with: fer-dist shards index {self.folder}")


class _Tar:
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
        return key_of(self.lines[position].split()[3])

    def facts(self, position: int) -> dict[str, Any]:
        words = self.lines[position].split()
        for at in range(0, len(words) - 3, 4):
            if words[at] == "json":
                content: dict[str, Any] = json.loads(self._bytes(words, at))
                return content
        return {}

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


def sample_id(key: str) -> int:
    """The number that stands for a sample in every draw: the first 8 bytes of sha256(key)."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
