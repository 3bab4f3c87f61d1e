"""What lies at a place of shards: the manifest, the shards of it that are meant, and whether their files are there."""

import hashlib
import os
import re
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from fer_dist.config import DataConfig
from fer_dist.data.location import Location, chosen, listed, locate
from fer_dist.data.manifest import MANIFEST, Manifest, Shard, load_manifest, parse_manifest
from fer_dist.data.remote import RemoteShards, remote_config
from fer_dist.data.store import Store
from fer_dist.errors import InputError


@dataclass(frozen=True)
class ShardSet:
    """An opened place.

    whole:    the manifest as it stands there.
    manifest: the same with no shards but those that are meant.
    remote:   the way to their files; None for a local folder.
    """

    location: Location
    whole: Manifest
    manifest: Manifest
    remote: RemoteShards | None


def open_set(text: str, data: DataConfig) -> ShardSet:
    """Open a place of shards, and look whether all is there that is meant, as far as one question tells.

    data: of its settings, only those of the cache.

    Raises InputError where it is not a set, or a pattern names what it lacks, or a file is missing or of a wrong size.
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
    if stored is not None:
        _check_files(shards, stored, location)
    remote = RemoteShards(store, _set_name(whole), shards, remote_config(data)) if store else None
    return ShardSet(location, whole, replace(whole, shards=shards), remote)


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
    """Raises InputError where a file name would lead out of the cache, or is none."""
    for shard in manifest.shards:
        if not re.fullmatch(r"[^/\0.][^/\0]*\.tar", shard.file) or len(shard.file) > 200:
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
