"""Run folders: made once, with the resolved configuration in them, and entered again only with the same one."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from fer_dist import __version__
from fer_dist.config.settings import (
    Config,
    choices_of,
    differences,
    keeping_chosen,
    to_shown_json,
    unknown_settings,
    value_of,
)
from fer_dist.errors import InputError, WorkError
from fer_dist.runs.architecture import source_of
from fer_dist.runs.folder import CONFIG, RunFolder, check_can_write
from fer_dist.storage.paths import below, settled
from fer_dist.storage.untrusted import Count, open_regular, read_regular, record
from fer_dist.storage.writing import free_bytes

HASHED = {
    "data.leave_out": "leave_out_sha256",
    "train.deepspeed_config": "deepspeed_config_sha256",
    "model.pretrained": "pretrained_sha256",
    "model.network": "network_sha256",
}
"""Settings that name a file whose content decides as much as its path, and where its sha256 is kept."""

SETS = {"data.train": "train", "data.val": "val"}
"""Settings that name a set, known by what it holds, and where that is kept."""

REMEDY = "choose another --run.name"

MOST_CONFIG_BYTES = 1 << 20
"""Of config.json, in which all settings take 1.4 kB."""

BYTES_FREE = 512 * 2**20
"""Room for three checkpoints of the study's network (90 MB each), curves and predictions."""


def resolved(config: Config, preset: str) -> Config:
    """The configuration with absolute paths and a run name: a Ray worker runs in a folder of its own."""
    config = settled(config)
    name = config.run.name or f"{preset}-{time.strftime('%Y%m%d-%H%M%S')}"
    if Path(name).name != name or name in {".", ".."}:
        raise InputError(
            f"--run.name {name!r} is not the name of a folder; leave out slashes, and use --run.root for the path"
        )
    return replace(config, run=replace(config.run, name=name))


def going_on(config: Config) -> Config:
    """The configuration with the lanes and the block of the run that stands in its folder, where it sets none."""
    folder = run_folder(config)
    try:
        known = kept_in(folder)
    except (OSError, WorkError):
        # What is wrong with the folder is said where it is checked.
        return config
    return keeping_chosen(known.config, config) if known else config


def run_folder(config: Config, rank: int = 0) -> RunFolder:
    """The run's folder as a rank sees it: run.root and run.name together."""
    return RunFolder(below(config.run.root, config.run.name), config.run.scratch, rank)


def check_run_folder(config: Config, sets: dict[str, dict[str, Any]], resume: bool) -> None:
    """Whether the run may start in its folder, before anything is written.

    sets: what the run is trained and validated on, as `Inputs.sets`.
    Raises InputError where the folder holds a run and resume is not set, or the run's configuration or sets differ in
    more than run, ray and what changes no result (each difference is listed); or it cannot be written; or the disk is
    full.
    """
    folder = run_folder(config)
    try:
        if not folder.store and folder.path.exists() and not folder.path.is_dir():
            raise InputError(f"{folder.address}: a file stands there; choose another --run.name")
        _check_content(config, sets, folder, resume)
        check_can_write(folder)
        _check_disk(folder)
    except OSError as error:
        raise InputError(f"{folder.path}: cannot be written ({error.strerror}); choose another --run.root") from None
    except WorkError as error:
        raise InputError(f"--run.root: {error}") from None


def _check_content(config: Config, sets: dict[str, dict[str, Any]], folder: RunFolder, resume: bool) -> None:
    known = kept_in(folder)
    if known:
        found = differences(known.config, config)
        if known.sets is not None:
            found = {name: text for name, text in found.items() if name not in SETS}
            found |= _other_sets({name: asdict(held) for name, held in known.sets.items()}, sets)
        changed = list(found.values())
        if not changed:
            now = file_hashes(config)
            changed = [
                f"{setting} {_hashed_files(config)[setting]} has other lines now"
                for setting, name in HASHED.items()
                if getattr(known, name) != now.get(name, "")
            ]
        if changed:
            advice = "go on with the same settings, or choose another --run.name"
            raise InputError(
                f"{folder.address}: holds a run with another configuration ({'; '.join(changed)}); {advice}"
            )
        if not resume:
            raise InputError(
                f"{folder.address}: holds this run already; go on with it: --resume; or choose another --run.name"
            )
    elif not folder.is_empty():
        raise InputError(f"{folder.address}: not empty, and not a run folder; choose another --run.name or --run.root")


def _other_sets(old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Sets that do not hold what they held: name of the setting -> what differs. Where they lie does not count."""
    found = {}
    for setting, name in SETS.items():
        before, after = old.get(name), new.get(name)
        if (before and before["hash"]) == (after and after["hash"]):
            continue
        if not before or not after:
            found[setting] = f"{setting} was {'given' if before else 'not given'}, and is {'given' if after else 'not'}"
            continue
        counts = {emotion for one in (before, after) for emotion in one["counts"]}
        other = [
            f"{emotion} {before['counts'].get(emotion, 0):,} -> {after['counts'].get(emotion, 0):,}"
            for emotion in sorted(counts)
            if before["counts"].get(emotion) != after["counts"].get(emotion)
        ]
        what = ", ".join(other) or f"as many images of each emotion, {before['samples']:,} in all, and other bytes"
        found[setting] = f"{setting} is another set: {what}"
    return found


def _check_disk(folder: RunFolder) -> None:
    """Whether the local folder can be made and has room."""
    free = free_bytes(folder.path, "--run.scratch" if folder.store else "--run.root")
    if free < BYTES_FREE:
        raise InputError(f"{folder.path}: only {free >> 20} MiB free on its disk; a run needs {BYTES_FREE >> 20} MiB")


def choices_kept(config: Config) -> dict[str, Any]:
    """What the run in the folder has chosen, by the names of the settings; nothing where there is no run yet."""
    folder = run_folder(config)
    try:
        known = kept_in(folder)
    except (OSError, WorkError) as error:
        raise InputError(f"--run.root: {error}") from None
    return choices_of(known.config) if known else {}


def open_run_folder(config: Config, preset: str, sets: dict[str, dict[str, Any]]) -> str:
    """Make the run folder and write config.json into it; one that has it is left as it is. Returns its address.

    sets: as `Inputs.sets`.
    """
    folder = run_folder(config)
    try:
        if folder.read(CONFIG) is None:
            # The number tells this run from one of the same name and settings before it.
            content = {"fer_dist": __version__, "preset": preset, "run": uuid4().hex, "config": to_shown_json(config)}
            content |= {"sets": sets, **file_hashes(config)}
            folder.put(CONFIG, json.dumps(content, indent=1).encode() + b"\n")
    except OSError as error:
        raise InputError(f"{folder.path}: cannot be made ({error.strerror}); choose another --run.root") from None
    except WorkError as error:
        raise InputError(f"--run.root: {error}") from None
    return folder.address


def run_number(folder: RunFolder) -> str:
    """What tells a run from others of its name, in all of its attempts: of what was written when it was made."""
    return hashlib.sha256(folder.read(CONFIG) or b"").hexdigest()[:32]


def load_config(folder: Path) -> Config:
    """The configuration that a run folder was made with. Raises InputError where it holds none."""
    path = folder / CONFIG
    if not path.is_file():
        raise InputError(f"{folder}: not a run folder (no {CONFIG})")
    try:
        content = read_regular(path, MOST_CONFIG_BYTES)
    except OSError as error:
        raise InputError(f"{path}: not the configuration of a run ({error.strerror})") from None
    return _kept(content, str(path)).config


@dataclass(frozen=True)
class HeldSet:
    """What a set held, as a run's configuration keeps it.

    name, variant: of the dataset and its split, and what of its release it was built from; empty in older runs.
    used: images of it without those that a setting leaves out; 0 in older runs: not known.
    """

    hash: str
    samples: Count
    counts: dict[str, Count]
    name: str = ""
    variant: str = ""
    used: Count = 0


@dataclass(frozen=True)
class Kept:
    """What config.json says of a run that counts when it goes on, and its preset."""

    config: Config
    sets: dict[str, HeldSet] | None = None
    preset: str = ""
    leave_out_sha256: str = ""
    deepspeed_config_sha256: str = ""
    pretrained_sha256: str = ""
    network_sha256: str = ""


@dataclass(frozen=True)
class _Named:
    """Its settings, known here or not."""

    config: dict[str, dict[str, Any]]


def kept_in(folder: RunFolder) -> Kept | None:
    """What config.json of a run says; None where there is no run yet.

    Raises InputError where it is none, and what reading the folder raises.
    """
    content = folder.read(CONFIG)
    return None if content is None else _kept(content, f"{folder.address}/{CONFIG}")


def _kept(content: bytes, path: str) -> Kept:
    """Raises InputError where a field is missing or of another type, or a setting is not known here."""
    source = f"{path}: not the configuration of a run"
    settings = record(_Named, content, source, REMEDY).config
    unknown = unknown_settings(settings)
    if unknown:
        raise InputError(f"{source} that this version knows: it has {', '.join(unknown)}; use a newer one")
    was_switch = settings.get("train", {}).get("compile")
    if isinstance(was_switch, bool):
        # Until 2026-11 it was a switch.
        whole = json.loads(content)
        whole["config"]["train"]["compile"] = "on" if was_switch else "off"
        content = json.dumps(whole).encode()
    kept = record(Kept, content, source, REMEDY)
    data, train = kept.config.data, kept.config.train
    if min(data.threads, data.lanes, data.block, train.threads) < 0:
        raise InputError(f"{source}: threads, lanes or block below 0; {REMEDY}")
    return kept


def _hashed_files(config: Config) -> dict[str, str]:
    """The files that settings name: of a user's own network, the one that its function stands in."""
    files = {name: value_of(config, name) for name in HASHED}
    return files | {"model.network": str(source_of(config.model.network) or "")}


def file_hashes(config: Config) -> dict[str, str]:
    """sha256 of the files that the configuration names, as config.json keeps them."""
    files = {HASHED[setting]: path for setting, path in _hashed_files(config).items() if path}
    found = {}
    for name, path in files.items():
        with open_regular(path) as stream:
            found[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found
