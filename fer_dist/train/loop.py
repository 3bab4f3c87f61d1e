"""Training: one loop for one process, a torchrun group and Ray Train workers.

`train` is the loop. `start` is what `fer-dist train` and `python -m fer_dist.train` run: it checks everything that a
user can get wrong before a folder, a GPU or a cluster is touched, and then starts the loop where it is to run.
"""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from fer_dist.config.settings import Config, from_json, to_json, with_settings
from fer_dist.distributed.hardware import float32_on_cuda, torch_threads
from fer_dist.distributed.mailbox import Line
from fer_dist.distributed.world import World, joined, pick_device
from fer_dist.errors import WorkError
from fer_dist.progress import Message, Progress
from fer_dist.runs.opening import check_run_folder, choices_kept, going_on, open_run_folder, resolved, run_folder
from fer_dist.storage.writing import is_full
from fer_dist.train.checks import check_job
from fer_dist.train.choices import choose
from fer_dist.train.optimizer import learning_rate
from fer_dist.train.session import Job, Session, open_session


def train(job: Job, world: World) -> None:
    """Train to the last step, from the newest checkpoint of the run folder where there is one.

    Raises WorkError where the loss is not finite, the run is asked to stop or its disk is full; the last good
    checkpoint stays.
    """
    settings = job.config.train
    with (
        _full_disk_named(job.folder),
        float32_on_cuda(tf32=settings.precision == "tf32"),
        torch_threads(settings.threads),
    ):
        _train(open_session(job, world), world)


def _train(session: Session, world: World) -> None:
    job = session.job
    settings, steps_per_epoch = job.config.train, session.order.steps_per_epoch
    for batch in session.loader:
        lr = learning_rate(settings, batch.step, steps_per_epoch)
        session.engine.step(batch, lr)
        session.note(batch)
        done = batch.step + 1
        epoch_ends = done % steps_per_epoch == 0
        stop = world.any(job.stop_requested())
        save = epoch_ends or stop or is_due(done, settings.save_every_steps)
        if save or is_due(done, settings.log_every):
            session.look(done, lr)
        if save:
            session.engine.settle()
        if epoch_ends:
            session.validate(done)
        if save:
            session.save(done, scored=epoch_ends)
        if stop and done < session.steps:
            session.fail(f"stopped at step {done} of {session.steps}; its checkpoint is saved; go on with --resume")
    session.close()


@contextmanager
def _full_disk_named(folder: Path) -> Iterator[None]:
    """Curves and ledger are written as well as checkpoints: a full disk gets one line whichever it meets first."""
    before = threading.excepthook

    def note(raised: threading.ExceptHookArgs) -> None:
        # TensorBoard's thread keeps it for the next who writes, which is the loop.
        if not (raised.exc_value and is_full(raised.exc_value)):
            before(raised)

    threading.excepthook = note
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise WorkError(
                f"{error.filename or folder}: the disk is full; the newest checkpoint is kept. Make room, and go on "
                "with --resume"
            ) from None
        raise
    finally:
        threading.excepthook = before


def is_due(done: int, every: int) -> bool:
    """Whether something that comes every so many steps comes now; 0 is never."""
    return every > 0 and done % every == 0


def start(
    config: Config, preset: str, resume: bool, show: Progress, asked_to_stop: Callable[[], bool] | None = None
) -> str:
    """Check a run, make its folder, and train: here, in this torchrun group, or on Ray workers.

    asked_to_stop: of a caller who listens to signals itself; without it, Ctrl-C and SIGTERM are listened to here.
    Returns the place of the run folder. Raises InputError for what the user can mend, WorkError for a run that stopped.
    """
    config = going_on(resolved(config, preset))

    def checked(workers: int) -> dict[str, Any]:
        """What each of the workers gets, once all is looked at."""
        inputs = check_job(config, workers)
        sets = inputs.sets()
        check_run_folder(config, sets, resume)
        if inputs.mixing.remark:
            show(Message(f"warning: {inputs.mixing.remark}"))
        # From here on lanes and block are the run's, whatever a later version would choose.
        order = {"data.lanes": inputs.mixing.lanes, "data.block": inputs.mixing.block}
        return {"config": to_json(with_settings(config, order)), "preset": preset, "sets": sets}

    with nullcontext(asked_to_stop) if asked_to_stop else stop_on_signals() as stop_requested:
        if config.ray.workers:
            from fer_dist.distributed.cluster import Group
            from fer_dist.distributed.workers import run_on_workers

            group = Group(config.ray, config.run.device, config.run.timeout_seconds)
            run_on_workers(train_worker, checked(config.ray.workers), group, show, stop_requested)
        else:
            with joined(pick_device(config.run.device), config.run.timeout_seconds) as world:
                payload = json.loads(world.from_main(lambda: json.dumps(checked(world.size))))
                _enter_and_train(payload, world, show, stop_requested)
    return run_folder(config).place


def train_worker(payload: dict[str, Any], line: Line) -> None:
    """What each Ray Train worker runs; where a worker died, all of them run it again, from the newest checkpoint."""
    config = from_json(payload["config"])
    with joined(pick_device(config.run.device), config.run.timeout_seconds) as world:
        _enter_and_train(payload, world, line.progress, line.stop_requested)


def _enter_and_train(
    payload: dict[str, Any], world: World, progress: Progress, stop_requested: Callable[[], bool]
) -> None:
    """Choose what is left open, by the hardware of all ranks; make the run folder, unless it stands; and train."""
    config = from_json(payload["config"])
    kept = json.loads(world.from_main(lambda: json.dumps(choices_kept(config))))
    chosen = choose(config, kept, world)
    world.from_main(lambda: open_run_folder(chosen.config, payload["preset"], payload["sets"]))
    train(Job(chosen, run_folder(config, world.rank), progress, stop_requested), world)


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """While it is open, Ctrl-C and SIGTERM set a flag; a second Ctrl-C ends the process at once."""
    raised: list[int] = []

    def note(number: int, frame: Any) -> None:
        if raised and number == signal.SIGINT:
            raise KeyboardInterrupt
        raised.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(raised)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
