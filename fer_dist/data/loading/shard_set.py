"""The set at a path or URL: its manifest, the shards of it that are meant, and whether their files are there."""

import hashlib
import os
import re
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fer_dist.config.settings import DataConfig
from fer_dist.data.loading.remote import RemoteShards, remote_config
from fer_dist.data.shards.manifest import MANIFEST, Manifest, Shard, load_manifest, parse_manifest
from fer_dist.data.shards.selection import chosen, listed, locate
from fer_dist.errors import InputError, WorkError
from fer_dist.storage.paths import Location, below, folder_at
from fer_dist.storage.store import Store

LEAST_BYTES = 512
"""Of a tar that each sample takes: the header of its image."""

SPLITS = ("train", "val", "test")
"""What a folder of a store is asked for where it is no set: stores give lists of folders slowly, or not at all."""


@dataclass(frozen=True)
class ShardSet:
    """A set of shards that was opened.

    whole:    the manifest as it stands there.
    manifest: the same with no shards but those that are meant.
    remote:   the way to their files; None for a local folder.
    """

    location: Location
    whole: Manifest
    manifest: Manifest
    remote: RemoteShards | None

    def only(self, shard: int) -> "ShardSet":
        """A set of this one shard: little to send to another process, and nothing else stays open for it."""
        manifest = replace(self.manifest, shards=(self.manifest.shards[shard],), built={}, left_out={})
        remote = self.remote and self.remote.only(manifest.shards)
        return ShardSet(self.location, manifest, manifest, remote)

    def again(self, data: DataConfig) -> "ShardSet":
        """The same for another reader, whose shards lie in a cache as these settings say, and are held by it alone."""
        way = self.remote
        return replace(self, remote=way and RemoteShards(way.store, way.name, way.shards, remote_config(data)))


def sets_at(paths: Sequence[str | Path], data: DataConfig) -> list[ShardSet]:
    """The sets at these paths or URLs, each a set or a folder of sets; each set once, of a folder train and val first.

    Raises InputError where no path is given, and as `open_set` does.
    """
    found: dict[Location, ShardSet] = {}
    for text in each_split(paths):
        opened = open_set(text, data)
        real = opened.location.folder if opened.remote else os.path.realpath(opened.location.folder)
        found.setdefault(replace(opened.location, folder=real), opened)
    if not found:
        raise InputError("name a folder of shards, or one that holds several: OUT/train, or OUT")
    return list(found.values())


def each_split(places: Iterable[str | Path]) -> tuple[str, ...]:
    """The places, and instead of a folder that is no set itself the sets in it, train and val first; also in a store.

    Raises InputError where a store does not answer.
    """
    return tuple(text for place in map(str, places) for text in _sets_in(place) or [place])


def split_folders(folder: Path) -> list[Path]:
    """The folders of sets in a local folder, train and val first."""
    folders = [path.parent for path in folder.glob(f"*/{MANIFEST}")]
    return sorted(folders, key=lambda split: (split.name != "train", split.name != "val", split))


def opened(shards: "str | Path | ShardSet") -> ShardSet:
    """A set that is open, or the one at a path or URL; what is remote is cached where the settings say by default."""
    return shards if isinstance(shards, ShardSet) else open_set(str(shards), DataConfig())


def open_set(text: str, data: DataConfig) -> ShardSet:
    """Open the set at a path or URL, and look whether all is there that is meant, as far as one question tells.

    data: of its settings, only those of the cache.

    Raises InputError where it is not a set, or a pattern names what it lacks, or a file is missing or of a wrong size.
    """
    found, stored = look_up(text, data)
    _check_counts(found)
    if stored is not None:
        _check_files(found.manifest.shards, stored, found.location)
    return found


def look_up(text: str, data: DataConfig) -> tuple[ShardSet, Mapping[str, int] | None]:
    """The same without a look at its files, and what lies there, as name -> bytes: of tars, and 0 for local others.

    None where a store gives no lists. Raises InputError where it is not a set, or a pattern names what it lacks.
    """
    location = locate(text)
    name = location.manifest or MANIFEST
    store = Store(location) if location.protocol else None
    if store:
        whole = parse_manifest(store.read(name), f"{location.shown}/{name}")
        _check_names(whole, location)
        stored = store.sizes()
        names: Collection[str] = stored or ()
    else:
        whole = load_manifest(location.folder, name)
        names = os.listdir(location.folder)
        stored = None
    meant = chosen(location, {shard.file for shard in whole.shards}, names)
    shards = tuple(shard for shard in whole.shards if shard.file in meant)
    if not store:
        stored = _local_sizes(location.folder, shards, set(names))
    remote = RemoteShards(store, _set_name(whole), shards, remote_config(data)) if store else None
    return ShardSet(location, whole, replace(whole, shards=shards), remote), stored


def _sets_in(path: str) -> list[str]:
    """The sets in a folder that is none itself; none where the path is no such folder."""
    location = locate(path)
    if location.pattern or location.manifest:
        return []
    if not location.protocol:
        is_set = os.path.isfile(location.of(MANIFEST))
        return [] if is_set else [str(folder) for folder in split_folders(Path(location.folder))]
    try:
        if Store(location).read_if_there(MANIFEST) is not None:
            return []
        splits = [below(path, split) for split in SPLITS]
        return [split for split in splits if Store(folder_at(split)).read_if_there(MANIFEST) is not None]
    except WorkError as error:
        raise InputError(str(error)) from None


def _local_sizes(folder: str, shards: tuple[Shard, ...], names: Collection[str]) -> dict[str, int]:
    """Name -> bytes of the tars and 0 for the indexes: one question for each tar, since a set may have 100,000."""
    found = dict.fromkeys(names, 0)
    for shard in shards:
        if shard.file in found:
            try:
                state = os.stat(f"{folder}/{shard.file}")
                is_file, size = stat.S_ISREG(state.st_mode), state.st_size
            except FileNotFoundError:
                is_file, size = False, 0
            if is_file:
                found[shard.file] = size
            else:
                del found[shard.file]
    return found


def _check_counts(found: ShardSet) -> None:
    """Raises InputError where a manifest counts more samples than a tar can hold: positions would fill the memory."""
    for shard in found.manifest.shards:
        counted = max(shard.samples, sum(shard.counts.values()))
        if counted * LEAST_BYTES > shard.bytes:
            raise InputError(
                f"{found.location.shown}/{shard.file}: its {shard.bytes:,} bytes cannot hold the {counted:,} samples "
                "that the manifest counts; build the set again"
            )


def _check_files(shards: tuple[Shard, ...], stored: Mapping[str, int], location: Location) -> None:
    folder = location.shown
    remedy = f"build the set again, or look closer with: fer-dist shards verify {folder}"
    if location.protocol:
        remedy = "upload the set again"
    missing = [shard.file for shard in shards if shard.file not in stored]
    if missing:
        raise InputError(f"{folder}/{listed(missing)}: named in the manifest but missing; {remedy}")
    for shard in shards:
        if stored[shard.file] != shard.bytes:
            raise InputError(
                f"{folder}/{shard.file}: {stored[shard.file]} bytes, but the manifest says {shard.bytes}; {remedy}"
            )
    without = [name for shard in shards if (name := shard.file.rpartition(".")[0] + ".idx") not in stored]
    if without:
        where = "where the tars are, and upload it: fer-dist shards index FOLDER"
        command = where if location.protocol else f"with: fer-dist shards index {folder}"
        raise InputError(f"{folder}/{listed(without)}: missing index; make it {command}")


def _check_names(manifest: Manifest, location: Location) -> None:
    """Raises InputError where a file name is none of a tar, or the cache has names like it for something else."""
    for shard in manifest.shards:
        if not re.fullmatch(r"[^.].*\.tar", shard.file, re.DOTALL) or len(shard.file) > 200:
            raise InputError(
                f"{location.shown}: its manifest names {shard.file[:60]!r}; expected plain names of tars, "
                "as faces-train-000000.tar"
            )


def _set_name(manifest: Manifest) -> str:
    """The same set in two stores is one in the cache, and a set that is built anew is another one."""
    digest = hashlib.sha256()
    for shard in manifest.shards:
        digest.update(f"{shard.file}\0{shard.bytes}\0{shard.sha256}\0".encode())
    return digest.hexdigest()[:24]
