"""How a training starts: checked, then here, in this torchrun group, or on Ray workers."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from fer_dist.config.checks import rate_remark
from fer_dist.config.settings import Config, from_json, to_json, with_settings
from fer_dist.distributed.mailbox import Line
from fer_dist.distributed.world import joined, pick_device
from fer_dist.progress import Message, Progress
from fer_dist.runs.opening import check_run_folder, going_on, resolved, run_folder
from fer_dist.train.checks import check_job
from fer_dist.train.given import Opened
from fer_dist.train.inputs import Inputs
from fer_dist.train.loop import enter_and_train


def start(
    config: Config,
    preset: str,
    resume: bool,
    show: Progress,
    asked_to_stop: Callable[[], bool] | None = None,
    opened: Opened | None = None,
) -> str:
    """Check a run, make its folder, and train: here, in this torchrun group, or on Ray workers.

    asked_to_stop: of a caller who listens to signals itself; without it, Ctrl-C and SIGTERM are listened to here.
    opened: sets that this process need not open again.
    Returns the run folder's address. Raises InputError for what the user can mend, WorkError for a run that stopped.
    """
    config = going_on(resolved(config, preset))

    def payload_of(inputs: Inputs) -> dict[str, Any]:
        """What each of the workers gets, once the run folder is looked at as well."""
        sets = inputs.sets()
        check_run_folder(config, sets, resume)
        remarks = (inputs.label_remark, rate_remark(config.train), inputs.mixing.remark, inputs.crop_remark)
        for remark in filter(None, remarks):
            show(Message(f"warning: {remark}"))
        # From here on lanes and block are the run's, whatever a later version would choose.
        order = {"data.lanes": inputs.mixing.lanes, "data.block": inputs.mixing.block}
        return {"config": to_json(with_settings(config, order)), "preset": preset, "sets": sets}

    with nullcontext(asked_to_stop) if asked_to_stop else stop_on_signals() as stop_requested:
        if config.ray.workers:
            from fer_dist.distributed.cluster import Group
            from fer_dist.distributed.workers import run_on_workers

            group = Group(config.ray, config.run.device, config.run.timeout_seconds)
            payload = payload_of(check_job(config, config.ray.workers, opened))
            run_on_workers(train_worker, payload, group, show, stop_requested)
        else:
            with joined(pick_device(config.run.device), config.run.timeout_seconds) as world:
                inputs: Inputs | None = None

                def checked() -> dict[str, Any]:
                    nonlocal inputs
                    inputs = check_job(config, world.size, opened)
                    return payload_of(inputs)

                enter_and_train(world.from_main(checked), world, show, stop_requested, inputs)
    return run_folder(config).address


def train_worker(payload: dict[str, Any], line: Line, device: str) -> None:
    """What each Ray Train worker runs, on cpu or cuda.

    Where a worker died, all of them run it again, from the newest checkpoint.
    """
    config = from_json(payload["config"])
    with joined(pick_device(device), config.run.timeout_seconds) as world:
        enter_and_train(payload, world, line.progress, line.stop_requested)


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """While it is open, Ctrl-C and SIGTERM set a flag; a second Ctrl-C ends the process at once.

    In another thread than the main one nothing is listened to, for Python lets none.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
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
