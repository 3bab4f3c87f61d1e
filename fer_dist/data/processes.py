"""A function on many tasks, in processes that end with their parent. Results come in the order of the tasks."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from fer_dist.errors import WorkError

Task = TypeVar("Task")
Result = TypeVar("Result")


def core_count() -> int:
    """Cores that this process may use, which in a container can be fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def in_processes(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Generator[Result, None, None]:
    """Yield function(task) for each task, in the order of the tasks.

    tasks are taken as they are needed, at most three for each worker at a time, so that they may be large and many.
    workers: processes; 1 means here, without another process.
    Raises WorkError where a process dies, and whatever function raises.
    """
    if workers == 1:
        yield from map(function, tasks)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_follow_parent)
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) >= 3 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise WorkError(
            "a worker process died, often for want of memory; run the same command again with fewer workers: "
            "what is finished is kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    # Ctrl-C reaches the whole group of processes: the parent alone decides, and a worker finishes its task.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A worker waits for tasks on a pipe that it holds open itself, and would outlive a killed parent for ever.
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
