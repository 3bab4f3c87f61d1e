"""The two files beside the tars: the manifest of a shard set, and the index of one shard."""

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fer_dist.data.emotions import fault_of_names
from fer_dist.data.shards.crop_rule import CropRule, stated
from fer_dist.errors import InputError
from fer_dist.storage.store import MOST_MANIFEST_BYTES
from fer_dist.storage.untrusted import Count, Number, Value, file_name, read_regular, record, without_halves
from fer_dist.storage.writing import write_atomically

MANIFEST = "manifest.json"
FORMAT = 1
INDEX_VERSION = "v1.2"
SORTED_INSIDE = "sorted_inside"
"""What `built` says of tars that others made, true where the samples of each stand emotion by emotion."""

IMAGES = ("jpg", "jpeg", "png")
"""Extensions of a sample's image, of which it has one."""

MOST_INDEX_BYTES = 1 << 30
"""Of an index, which is read whole: 0.8 MB are usual."""

REMEDY = "build the shards again"


@dataclass(frozen=True)
class Shard:
    """One tar. counts: samples of each emotion, by name; bytes and sha256 are of the tar file."""

    file: str
    samples: Count
    bytes: Count
    sha256: str
    counts: dict[str, Count]


@dataclass(frozen=True)
class Manifest:
    """What a shard set holds: a folder of tars of one dataset and one split."""

    dataset: str
    split: str
    emotions: tuple[str, ...]
    shards: tuple[Shard, ...]
    built: dict[str, Value] = field(default_factory=dict)
    left_out: dict[str, Count] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)

    @property
    def counts(self) -> dict[str, int]:
        """Samples of each emotion over all shards, in the order of the emotions."""
        return {name: sum(shard.counts.get(name, 0) for shard in self.shards) for name in self.emotions}

    @property
    def name(self) -> str:
        return f"{self.dataset}-{self.split}"

    @property
    def crop_rule(self) -> CropRule | None:
        """How its faces were cut; None where that is not known: of tars of others, and of older builds."""
        return stated(self.built)

    def content_hash(self) -> str:
        """sha256 of what the set holds, wherever it lies: names, emotions, and each shard with its own sha256."""
        content = [self.dataset, self.split, self.emotions, [vars(shard) for shard in self.shards]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json into the folder in one step: a reader sees the old one or the new one."""
    # Not asdict, whose copies of every dict take longer than all the rest: 4.1 s against 1.8 s for 100,000 shards.
    shards = [vars(shard) for shard in manifest.shards]
    content = {
        "format": FORMAT,
        "dataset": manifest.dataset,
        "split": manifest.split,
        "emotions": list(manifest.emotions),
        "samples": manifest.samples,
        "shards": shards,
        "built": manifest.built,
        "left_out": manifest.left_out,
    }
    write_atomically(folder / MANIFEST, json.dumps(content, indent=1).encode() + b"\n")


def load_manifest(folder: str | Path, name: str = MANIFEST) -> Manifest:
    """Read the manifest of a shard set. name: of its file.

    Raises InputError where the folder, the manifest or one of its fields is missing, or it holds no sample.
    """
    path = Path(folder) / name
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder of shards; make one with: fer-dist shards build SOURCE RAW OUT")
    if not path.is_file():
        splits = sorted(entry.parent.name for entry in Path(folder).glob(f"*/{MANIFEST}"))
        if splits:
            raise InputError(f"{folder}: holds the splits {', '.join(splits)}; name one, as {Path(folder) / splits[0]}")
        raise InputError(
            f"{folder}: no {name}; for tars of others: fer-dist shards index {folder} --emotions NAME,NAME,..."
        )
    try:
        return parse_manifest(read_regular(path, MOST_MANIFEST_BYTES), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from None


@dataclass(frozen=True)
class _Built:
    """Of what `built` says, that which is used again."""

    command: str = ""
    variant: str = ""
    remarks: tuple[str, ...] = ()
    val_fraction: Number = 0.0
    mended: dict[str, Count] = field(default_factory=dict)
    sorted_inside: bool = False
    crop_rule: CropRule | None = None


@dataclass(frozen=True)
class _Head:
    """What tells whether the rest can be read."""

    format: int
    built: _Built = field(default_factory=_Built)


def parse_manifest(text: bytes, path: str) -> Manifest:
    """The manifest that a file holds. path: of the file, for messages. Raises InputError as `load_manifest`."""
    text, source = without_halves(text), f"{path}: not a manifest"
    head = record(_Head, text, source, REMEDY)
    if head.format != FORMAT:
        raise InputError(f"{path}: format {head.format}, but this version reads format {FORMAT}")
    manifest = record(Manifest, text, source, REMEDY)
    _check(manifest, path)
    return manifest


def _check(manifest: Manifest, path: str) -> None:
    """Raises InputError where a name could lead elsewhere or comes twice, and where there is no sample."""
    # It is part of the names of tables and figures.
    file_name(manifest.name, path)
    for shard in manifest.shards:
        file_name(shard.file, path)
    for what, names in (("emotions", manifest.emotions), ("shards", [shard.file for shard in manifest.shards])):
        if len(set(names)) < len(names):
            twice = Counter(names).most_common(1)[0][0]
            raise InputError(f"{path}: not a manifest: {what}: {twice[:80]!r} comes twice; {REMEDY}")
    if fault := fault_of_names(manifest.emotions):
        raise InputError(f"{path}: not a manifest: emotions: {fault}; {REMEDY}")
    if manifest.samples == 0:
        raise InputError(f"{path}: the split {manifest.split!r} is empty; it holds no image")


@dataclass(frozen=True)
class Member:
    """One file of a sample inside a tar: where its bytes lie, and its extension without the leading dot."""

    extension: str
    offset: int
    size: int
    name: str


def index_path(tar: Path) -> Path:
    return tar.with_suffix(".idx")


def save_index(tar: Path, samples: list[list[Member]]) -> None:
    """Write the index beside a tar, in the form that DALI's wds2idx writes (v1.2)."""
    lines = [f"{INDEX_VERSION} {len(samples)}"]
    for members in samples:
        lines.append(" ".join(f"{m.extension} {m.offset} {m.size} {m.name}" for m in members))
    write_atomically(index_path(tar), "\n".join(lines).encode() + b"\n")


def load_index(tar: Path) -> list[list[Member]]:
    """Read the index of a tar, one list of members for each sample.

    Raises InputError where it is missing (with the command that makes it) or does not parse.
    """
    return [_members(line, index_path(tar), tar) for line in load_index_lines(tar)]


def load_index_lines(tar: Path) -> list[str]:
    """The lines of a tar's index, one a sample, not parsed: `extension offset size name` for each member.

    Raises InputError where it is missing (with the command that makes it) or cut short.
    """
    path = index_path(tar)
    try:
        lines = read_regular(path, _most_bytes(tar)).decode().splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: missing index; make it with: fer-dist shards index {tar.parent}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); put a file there") from None
    except UnicodeDecodeError:
        lines = []
    header = lines[0].split() if lines else []
    if len(header) != 2 or header[0] != INDEX_VERSION or header[1] != str(len(lines) - 1):
        raise InputError(
            f"{path}: not a whole {INDEX_VERSION} index; make it anew with: fer-dist shards index {tar.parent}"
        )
    return lines[1:]


def _most_bytes(tar: Path) -> int:
    """Of its index, which has four words of a file; the tar has a header of 512 bytes, and a long name as well."""
    try:
        return min(MOST_INDEX_BYTES, 4096 + 4 * os.path.getsize(tar))
    except OSError:
        return MOST_INDEX_BYTES


def _members(line: str, path: Path, tar: Path) -> list[Member]:
    words = line.split()
    try:
        if len(words) % 4:
            raise ValueError("fields are missing")
        return [Member(words[i], int(words[i + 1]), int(words[i + 2]), words[i + 3]) for i in range(0, len(words), 4)]
    except ValueError as error:
        raise InputError(
            f"{path}: a line does not parse ({error}); make it anew with: fer-dist shards index {tar.parent}"
        ) from None


def key_of(name: str) -> str:
    """The key of a tar member: its name up to the first dot of the last path component, as WebDataset cuts it."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.split(".", 1)[0]
