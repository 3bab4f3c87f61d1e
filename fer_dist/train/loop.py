"""Training: one loop for one process, a torchrun group and Ray Train workers.

`train` is the loop. `start` is what `fer-dist train` and `python -m fer_dist.train` run: it checks everything that a
user can get wrong before a folder, a GPU or a cluster is touched, and then starts the loop where it is to run.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fer_dist.config.checks import decoder_on
from fer_dist.config.settings import from_json
from fer_dist.distributed.hardware import torch_for
from fer_dist.distributed.world import World
from fer_dist.errors import WorkError
from fer_dist.progress import Progress
from fer_dist.runs.opening import choices_kept, open_run_folder, run_folder
from fer_dist.storage.writing import is_full
from fer_dist.train.choices import choose
from fer_dist.train.inputs import Inputs
from fer_dist.train.optimizer import learning_rate
from fer_dist.train.session import Job, Session, open_session


def train(job: Job, world: World) -> None:
    """Train to the last step, from the newest checkpoint of the run folder where there is one.

    Raises WorkError where the loss is not finite, the run is asked to stop or its disk is full; the last good
    checkpoint stays.
    """
    with lost_disk_named(job.folder), torch_for(job.config.train):
        session = open_session(job, world)
        with session.monitor.loggers:
            _train(session, world)


def _train(session: Session, world: World) -> None:
    job = session.job
    settings, steps_per_epoch = job.config.train, session.order.steps_per_epoch
    for batch in session.loader:
        lr = learning_rate(settings, batch.step, steps_per_epoch)
        session.engine.step(batch, lr)
        session.note(batch)
        session.read_look()
        done = batch.step + 1
        epoch_ends = done % steps_per_epoch == 0
        stop = world.any(job.stop_requested())
        save = epoch_ends or stop or is_due(done, settings.save_every_steps)
        if save or is_due(done, settings.log_every):
            session.look(done, lr)
        if save:
            session.read_look()
            session.engine.settle()
        if epoch_ends:
            session.validate(done)
        if save:
            session.save(done, scored=epoch_ends)
        if stop and done < session.steps:
            session.fail(f"stopped at step {done} of {session.steps}; its checkpoint is saved; go on with --resume")
    session.close()


@contextmanager
def lost_disk_named(folder: Path) -> Iterator[None]:
    """Curves and ledger are written as well as checkpoints: where the disk is full, or the folder was removed, there is
    one line about it, whichever meets it first."""
    before = threading.excepthook

    def note(raised: threading.ExceptHookArgs) -> None:
        # TensorBoard's thread keeps it for the next who writes, which is the loop.
        is_kept = type(raised.thread).__module__.startswith("tensorboard.") and isinstance(raised.exc_value, OSError)
        if not is_kept:
            before(raised)

    threading.excepthook = note
    try:
        yield
    except OSError as error:
        # TensorBoard names its file in bytes.
        name = os.fsdecode(error.filename or folder)
        if is_full(error):
            raise WorkError(
                f"{name}: the disk is full; the newest checkpoint is kept. Make room, and go on with --resume"
            ) from None
        if isinstance(error, FileNotFoundError) and name.startswith(f"{folder}/"):
            raise WorkError(f"{name}: was removed while the run wrote it; begin the run again") from None
        raise
    finally:
        threading.excepthook = before


def is_due(done: int, every: int) -> bool:
    """Whether something that comes every so many steps comes now; 0 is never."""
    return every > 0 and done % every == 0


def enter_and_train(
    payload: dict[str, Any],
    world: World,
    progress: Progress,
    stop_requested: Callable[[], bool],
    inputs: Inputs | None = None,
) -> None:
    """Choose what is left open, by the hardware of all ranks; make the run folder, unless it stands; and train.

    inputs: of this configuration, where this process has opened them already.
    """
    config = from_json(payload["config"])
    kept = world.from_main(lambda: choices_kept(config))
    decoder_on(config.data.decoder, world.device.type)
    chosen = choose(config, kept, world, payload["sets"]["train"]["samples"])
    world.from_main(lambda: open_run_folder(chosen.config, payload["preset"], payload["sets"]))
    train(Job(chosen, run_folder(config, world.rank), progress, stop_requested, inputs, payload["preset"]), world)
