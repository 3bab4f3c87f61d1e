"""Trainings of a study side by side, each a `python -m fer_dist.train` of its own with its own log."""

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fer_dist.config.presets import preset
from fer_dist.config.settings import Config
from fer_dist.errors import InputError, WorkError
from fer_dist.study.jobs import Job
from fer_dist.study.running import Running
from fer_dist.study.training import preset_of, record_training, training_config

POLL_SECONDS = 0.2


@dataclasses.dataclass
class _Child:
    """A training in a process. rank: which of the --side-by-side trainings it is."""

    job: Job
    process: subprocess.Popen[bytes]
    log: Path
    rank: int


def train_side_by_side(running: Running, jobs: list[Job], lock: int) -> None:
    """Train these jobs, as many at once as the study may; one that starts from another waits for it.

    lock: descriptor of the study's lock. The processes hold it as well: should this one be killed, a new study waits
    for their end instead of writing into the same run folders.
    Where one fails, those at work go on to their end, no other is started, and the first failure is raised.
    """
    waiting, children, failures = list(jobs), list[_Child](), list[Exception]()
    asked = False
    try:
        while children or (waiting and not failures):
            if running.stop() and not asked:
                asked = True
                waiting.clear()
                for child in children:
                    child.process.terminate()
            if not asked and not failures:
                _fill(running, waiting, children, lock)
            time.sleep(POLL_SECONDS)
            for child in [child for child in children if child.process.poll() is not None]:
                children.remove(child)
                failure = _ended(running, child)
                failures += [failure] if failure else []
    finally:
        for child in children:
            child.process.terminate()
    running.check_stop()
    if failures:
        raise failures[0]


def flags_of(config: Config, name: str) -> list[str]:
    """The flags by which `fer-dist train NAME` has this configuration. name: of a preset."""
    flags: list[str] = []
    base = preset(name)
    for section in dataclasses.fields(Config):
        mine, theirs = getattr(config, section.name), getattr(base, section.name)
        for item in dataclasses.fields(mine):
            value = getattr(mine, item.name)
            if value != getattr(theirs, item.name):
                flags += _flag(section.name, item.name.replace("_", "-"), value)
    return flags


def _flag(section: str, name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{section}.{'' if value else 'no-'}{name}"]
    return [f"--{section}.{name}", *map(str, value if isinstance(value, tuple) else (value,))]


def _fill(running: Running, waiting: list[Job], children: list[_Child], lock: int) -> None:
    """Start what can be started: what it starts from is done, and a rank is free."""
    free = [rank for rank in range(running.setup.where.side_by_side) if rank not in {c.rank for c in children}]
    busy = {child.job.key for child in children} | {job.key for job in waiting}
    for job in [job for job in waiting if not busy & set(job.after)][: len(free)]:
        waiting.remove(job)
        children.append(_start(running, job, free.pop(0), lock))


def _start(running: Running, job: Job, rank: int, lock: int) -> _Child:
    config, name = training_config(running, job), preset_of(running, job)
    log = running.setup.out / "logs" / f"{config.run.name}.log"
    log.parent.mkdir(exist_ok=True)
    # Which of the GPUs is its own, and how many share the cores: as torchrun says it, without a group.
    variables = {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(running.setup.where.side_by_side)}
    words = [sys.executable, "-m", "fer_dist.train", name, *flags_of(config, name), "--resume"]
    with log.open("ab") as stream:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=os.environ | variables,
            pass_fds=(lock,),
            # A Ctrl-C in the terminal reaches this process alone, which asks each training to save and end.
            start_new_session=True,
        )
    running.terminal.say(f"{job.name}: process {process.pid}, log {log}")
    return _Child(job, process, log, rank)


def _ended(running: Running, child: _Child) -> Exception | None:
    code = child.process.returncode
    if code == 0:
        record_training(running, child.job)
        running.terminal.say(f"{child.job.name}: done")
        return None
    lines = child.log.read_text(errors="replace").splitlines()
    last = lines[-1].removeprefix("fer-dist: ") if lines else ""
    kind = InputError if code == 2 else WorkError
    return kind(f"{child.job.model}: ended with {code}: {last} (log: {child.log})")
