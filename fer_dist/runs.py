"""Run folders: made once, with the resolved configuration in them, and entered again only with the same one."""

import hashlib
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer_dist import __version__
from fer_dist.config import Config, differences, from_json, to_shown_json
from fer_dist.data.location import is_url
from fer_dist.data.manifest import write_atomically
from fer_dist.errors import InputError

CONFIG = "config.json"
LIST_HASH = "leave_out_sha256"
BYTES_FREE = 512 * 2**20
"""Room for three checkpoints of the study's network (90 MB each), curves and predictions."""


def resolved(config: Config, preset: str) -> Config:
    """The configuration with absolute paths and a run name: a Ray worker runs in a folder of its own."""
    data = replace(
        config.data,
        train=_absolute(config.data.train),
        val=_absolute(config.data.val),
        cache=_absolute(config.data.cache),
        leave_out=_absolute(config.data.leave_out),
    )
    train = replace(config.train, init_from=_absolute(config.train.init_from))
    name = config.run.name or f"{preset}-{time.strftime('%Y%m%d-%H%M%S')}"
    if Path(name).name != name or name in {".", ".."}:
        raise InputError(
            f"--run.name {name!r} is not the name of a folder; leave out slashes, and use --run.root for the place"
        )
    return replace(config, data=data, train=train, run=replace(config.run, root=_absolute(config.run.root), name=name))


def run_folder(config: Config) -> Path:
    return Path(config.run.root) / config.run.name


def check_run_folder(config: Config, resume: bool) -> None:
    """Whether the run may start in its folder, before anything is written.

    Raises InputError where the folder holds a run and resume is not set, or the run's configuration differs in more
    than run, ray and what changes no result (each difference is listed); or it cannot be written; or the disk is full.
    """
    folder = run_folder(config)
    try:
        _check_folder(config, folder, resume)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another --run.root") from None


def _check_folder(config: Config, folder: Path, resume: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: a file stands there; choose another --run.name")
    if (folder / CONFIG).is_file():
        changed = differences(load_config(folder), config)
        if not changed and _content(folder).get(LIST_HASH, "") != _list_hash(config):
            changed = [f"data.leave_out {config.data.leave_out} has other lines now"]
        if changed:
            advice = "go on with the same settings, or choose another --run.name"
            raise InputError(f"{folder}: holds a run with another configuration ({'; '.join(changed)}); {advice}")
        if not resume:
            raise InputError(f"{folder}: holds this run already; go on with it: --resume; or choose another --run.name")
    elif folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: not empty, and not a run folder; choose another --run.name or --run.root")
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise InputError(f"{nearest}: a file, but --run.root needs a folder there")
    _check_writable(nearest, folder)
    free = shutil.disk_usage(nearest).free
    if free < BYTES_FREE:
        raise InputError(f"{folder}: only {free >> 20} MiB free on its disk; a run needs {BYTES_FREE >> 20} MiB")


def open_run_folder(config: Config, preset: str) -> Path:
    """Make the run folder and write config.json into it; a folder that has one is left as it is."""
    folder = run_folder(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); choose another --run.root") from None
    if not (folder / CONFIG).is_file():
        content = {"fer_dist": __version__, "preset": preset, "config": to_shown_json(config)}
        if config.data.leave_out:
            content[LIST_HASH] = _list_hash(config)
        write_atomically(folder / CONFIG, json.dumps(content, indent=1).encode() + b"\n")
    return folder


def load_config(folder: Path) -> Config:
    """The configuration that a run folder was made with. Raises InputError where it holds none."""
    path = folder / CONFIG
    try:
        return from_json(_content(folder)["config"])
    except FileNotFoundError:
        raise InputError(f"{folder}: not a run folder (no {CONFIG})") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the configuration of a run ({error})") from None


def _content(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / CONFIG).read_text())
    return content


def _list_hash(config: Config) -> str:
    """sha256 of the list of pictures to leave out: its lines decide the order as much as its path."""
    path = config.data.leave_out
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""


def _absolute(path: str) -> str:
    """A path that means the same in every folder; a URL does already."""
    return str(Path(path).expanduser().resolve()) if path and not is_url(path) else path


def _check_writable(nearest: Path, folder: Path) -> None:
    # Trying is the only sure test: permission bits say nothing to root, and a file system may be read-only.
    probe = nearest / f".{folder.name}.probe"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another --run.root") from None
