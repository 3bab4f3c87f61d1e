"""`fer-dist study`: carry a plan out, job by job, and go on where an earlier start of it ended."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fer_dist.config.settings import fixed_decoder
from fer_dist.errors import InputError, counted
from fer_dist.progress import Terminal
from fer_dist.report.card import save_card
from fer_dist.report.numbers import duration
from fer_dist.report.page import NO_PAGE, REPORT, STUDY, write_report
from fer_dist.runs.folder import RunFolder
from fer_dist.storage.paths import shown
from fer_dist.storage.writing import file_hash, write_atomically
from fer_dist.study.evaluating import evaluate_jobs
from fer_dist.study.gathering import findings
from fer_dist.study.given import Sets
from fer_dist.study.jobs import Job, jobs_of, settings_of
from fer_dist.study.measuring import measure
from fer_dist.study.plan import Plan, StudyConfig, seeds_of
from fer_dist.study.plan_file import as_yaml
from fer_dist.study.records import Records, locked
from fer_dist.study.running import Running, finish
from fer_dist.study.setup import PLAN, Setup, prepare
from fer_dist.study.side_by_side import train_side_by_side
from fer_dist.study.training import train
from fer_dist.train.estimate import estimate
from fer_dist.train.inputs import open_inputs
from fer_dist.train.start import stop_on_signals


def study(
    plan: Plan, where: StudyConfig, terminal: Terminal, commands: tuple[str, ...] = (), sets: Sets | None = None
) -> Path:
    """Carry a plan out in where.out. Returns the path of its report. sets: as of `prepare`.

    Everything is checked before anything is written. What is done already, by its key, is left as it is. Ctrl-C and
    SIGTERM let the running training save a checkpoint and raise WorkError; the same call goes on from there.
    """
    setup = prepare(plan, where, sets)
    _check_folder(setup.out)
    with locked(setup.out) as lock, stop_on_signals() as stop:
        write_atomically(setup.out / PLAN, as_yaml(_without_secrets(setup.plan)).encode())
        jobs = jobs_of(setup)
        running = Running(setup, Records(setup.out), {job.key: job for job in jobs}, terminal, stop)
        missing = [job for job in jobs if not running.records.is_done(job)]
        terminal.say(f"{counted(len(jobs), 'job')}, {len(jobs) - len(missing)} of them done already")
        for job in [job for job in missing if job.kind == "audit"]:
            measure(running, job)
        _train_all(running, [job for job in missing if job.kind == "train"], lock)
        for group in _evaluation_groups(running, [job for job in missing if job.kind == "evaluate"]):
            running.check_stop()
            evaluate_jobs(running, group)
            terminal.close()
        for job in [job for job in missing if job.kind not in ("audit", "train", "evaluate", "report")]:
            running.check_stop()
            measure(running, job)
        if missing:
            _report(running, jobs[-1], commands)
            # No job: they hang on nothing that the jobs do not, and nothing hangs on them.
            for model in setup.models:
                save_card(RunFolder(str(running.run_folder(model.name))), terminal, setup.plan.checkpoint)
    return setup.out / REPORT


@dataclass(frozen=True)
class Overview:
    """What a dry run shows. rows: each job, whether it is done, about how long; trainings: how many there are, and of
    those that are not done about how long, in words."""

    rows: list[list[str]]
    trainings: str


def overview(setup: Setup) -> Overview:
    """The jobs in their order, for a dry run; writes nothing.

    A training's time is that of its steps, from a few on noise; decoding beside them and validation come on top.
    """
    records, rows, known = Records(setup.out), list[list[str]](), dict[str, float]()
    seconds = 0.0
    for job in jobs_of(setup):
        state = "done" if records.is_done(job) else "to go on" if records.read(job.key) else "to do"
        about = ""
        if job.kind in ("train", "control") and state != "done":
            config = setup.configs[job.model]
            same = {name: value for name, value in settings_of(config).items() if name != "train.seed"}
            kind = str((job.data, same))
            if kind not in known:
                known[kind] = estimate(config, open_inputs(config, setup.opened), lambda done, total: None).seconds
            about = f"{duration(known[kind])} of steps"
            seconds += known[kind]
        rows.append([job.name, state, about])
    left = f", {duration(seconds)} of steps in all" if seconds else ", all of them done"
    return Overview(rows, f"{_trainings_told(setup.plan)}{left}")


def _trainings_told(plan: Plan) -> str:
    """As "9 trainings: 3 networks with 3 seeds each"."""
    seeds = [len(seeds_of(plan, name)) for name in plan.trainings]
    each = f"{counted(seeds[0], 'seed')} each" if len(set(seeds)) == 1 else f"{min(seeds)} to {max(seeds)} seeds"
    return f"{counted(sum(seeds), 'training')}: {counted(len(seeds), 'network')} with {each}"


def _train_all(running: Running, jobs: list[Job], lock: int) -> None:
    if running.setup.where.side_by_side > 1:
        train_side_by_side(running, jobs, lock)
        return
    for job in jobs:
        running.check_stop()
        train(running, job)


def _evaluation_groups(running: Running, jobs: Sequence[Job]) -> list[list[Job]]:
    """One job at a time; with Ray, all models that lack the same sets at once, for Ray takes seconds to come up."""
    if not running.setup.where.ray.workers:
        return [[job] for job in jobs]
    sets: dict[str, list[str]] = {}
    for job in jobs:
        sets.setdefault(job.model, []).append(job.data)
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        data = running.setup.configs[job.model].data
        settings = sets[job.model], data.drop_extra, data.on_bad, fixed_decoder(data.decoder)
        groups.setdefault(str(settings), []).append(job)
    return list(groups.values())


def _report(running: Running, job: Job, commands: tuple[str, ...]) -> None:
    began, out = time.monotonic(), running.setup.out
    try:
        found = findings(running, commands)
        write_report(out / REPORT, found, running.setup.where.images)
    except NO_PAGE as error:
        said = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{running.records.folder}: records hold values that make no page ({said}); remove those of another hand, "
            "and start the study again"
        ) from error
    files = {name: file_hash(out / name) for name in (STUDY, REPORT)}
    finish(running, job, {"files": files, "seconds": time.monotonic() - began})


def _without_secrets(plan: Plan) -> Plan:
    """The plan as it is kept: what it says of an address that needs a signature needs a new one to be run again."""
    data = {name: replace(one, shards=shown(one.shards)) for name, one in plan.data.items()}
    return replace(plan, data=data)


def _check_folder(out: Path) -> None:
    """Raises InputError where the folder holds something else than a study."""
    if out.is_dir() and any(out.iterdir()) and not (out / "jobs").is_dir():
        raise InputError(f"{out}: not empty, and not a study; choose another --out")
