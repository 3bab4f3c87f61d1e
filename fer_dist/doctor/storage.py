"""Checks of the storage that a run reads and writes, for `fer-dist doctor`: run root, disk, cache, sets of shards."""

import os
import secrets
from pathlib import Path

from fer_dist.config.settings import DataConfig
from fer_dist.data.loading.shard_set import open_set
from fer_dist.doctor.finding import Asked, Finding, fault, from_message, not_here, ok, warning
from fer_dist.errors import InputError, WorkError, counted
from fer_dist.storage.cache import Cache, default_folder
from fer_dist.storage.paths import folder_at, is_url
from fer_dist.storage.store import PROBE, Patience, Store
from fer_dist.storage.writing import free_on

LEAST_DISK, ENOUGH_DISK = 10**9, 5 * 10**9
"""Free bytes for run folders: a checkpoint of the study's network with its optimiser has 90 MB, and three are kept."""

REMOTE_SYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "lustre", "beegfs", "ceph", "glusterfs", "gpfs", "9p", "fuse.sshfs")


def run_root(asked: Asked) -> list[Finding]:
    """Write a probe where run folders are to go, read it, and remove it."""
    if is_url(asked.run_root):
        return _probe_store(asked.run_root)
    root = Path(asked.run_root)
    # The root itself is made by the first run: here nothing is to stay.
    nearest = next(folder for folder in (root, *root.parents) if os.path.lexists(folder))
    probe = nearest / f".fer-dist-probe-{secrets.token_hex(4)}"
    try:
        with probe.open("xb") as stream:
            stream.write(PROBE)
            stream.flush()
            os.fsync(stream.fileno())
        content = probe.read_bytes()
        probe.unlink()
    except OSError as error:
        remedy = "choose another --run.root, or mend its rights or its mount"
        return fault(f"{root}: {nearest} cannot be written ({error.strerror})", remedy)
    if content != PROBE:
        return fault(f"{root}: what is read back is not what was written", "look at that disk before anything is kept")
    return ok(f"{root}: a probe was written, read and removed" + ("" if nearest == root else f" in {nearest}"))


def _probe_store(address: str) -> list[Finding]:
    """The same in a store, which is asked once."""
    store = Store(folder_at(address), Patience(tries=1))
    try:
        is_sound = store.probe()
    except (InputError, WorkError) as error:
        return from_message(str(error))
    if not is_sound:
        return fault(f"{store.location.shown}: what is read back is not what was written", "look at the store")
    return ok(f"{store.location.shown}: a probe was written, read and removed")


def disk(asked: Asked, free: int | None = None) -> list[Finding]:
    """Room for run folders. free: bytes, by default those of the run root's disk."""
    if is_url(asked.run_root):
        return not_here("run folders go to a store")
    free = free_on(Path(asked.run_root)) if free is None else free
    found = f"{free / 1e9:.1f} GB free for run folders"
    remedy = "free some, or choose another --run.root"
    if free < LEAST_DISK:
        return fault(found, remedy)
    return warning(found, remedy) if free < ENOUGH_DISK else ok(found)


def cache(asked: Asked, free: int | None = None, system: str = "") -> list[Finding]:
    """The folder for shards that come from a URL. free, system: of its disk, by default as they are."""
    try:
        folder = Path(asked.cache) if asked.cache else default_folder()
        Cache(folder, 0)
    except InputError as error:
        return from_message(str(error))
    system = system or _file_system_of(folder)
    if system in REMOTE_SYSTEMS:
        return fault(
            f"{folder}: on {system}, whose locks do not hold between processes as the cache needs it",
            "choose a folder on a disk of this node: --data.cache",
        )
    free = free_on(folder) if free is None else free
    wanted = DataConfig().cache_gb
    found = f"{folder}: {free / 1e9:.1f} GB free on {system}"
    if free < wanted * 1e9:
        return warning(found, f"give less than the {wanted:g} GB of the default, --data.cache-gb, or a larger disk")
    return ok(found)


def _file_system_of(folder: Path) -> str:
    """The type of the file system that holds a folder, as /proc/mounts names it."""
    real = str(folder.resolve())
    best, found = "", ""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        mount = mount.encode().decode("unicode_escape")
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        # Of two mounts at one path the later one is seen.
        if inside and len(mount) >= len(best):
            best, found = mount, kind
    return found


def data(asked: Asked) -> list[Finding]:
    """Whether the sets open: manifest, tars and indexes are there, in their sizes."""
    if not asked.data:
        return not_here("no set was named; give --data")
    found = []
    for path in asked.data:
        try:
            opened = open_set(path, DataConfig(cache=asked.cache)).manifest
        except (InputError, WorkError) as error:
            found += from_message(str(error))
            continue
        counts = f"{counted(opened.samples, 'image')} in {counted(len(opened.shards), 'shard')}"
        found += ok(f"{opened.name}: {counts}")
    return found
