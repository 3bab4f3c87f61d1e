"""Run a given function as Ray tasks, one for each payload, again where a worker died."""

from collections.abc import Callable, Sequence
from typing import Any

from fer_dist.distributed.cluster import Group, connected, device_in, shortly
from fer_dist.errors import InputError, WorkError
from fer_dist.progress import Message

POLL_SECONDS = 0.5


def run_tasks(
    function: Callable[[Any, str], Any],
    payloads: Sequence[Any],
    group: Group,
    progress: Callable[[Message], None],
) -> list[Any]:
    """The function's results, in the order of the payloads. At most ray.workers tasks run at a time.

    function: importable by name on the workers; is given a payload, which says everything it needs, paths absolute, and
    the kind of its device, cpu or cuda. A task whose worker dies is run again, up to ray.max_failures times. A
    WorkError or an InputError of a task is raised here.
    """
    with connected(group, progress) as needs:
        # Not before: what it reads when it is imported, a cluster of one's own has set.
        import ray

        others = {name: amount for name, amount in needs.items() if name not in ("CPU", "GPU")}
        options = {"num_cpus": needs["CPU"], "num_gpus": needs.get("GPU", 0), "resources": others}
        # Ray ends a process after each task on a GPU, unless it is told: the next would make all on the device anew.
        task = ray.remote(max_retries=group.ray.max_failures, max_calls=0, **options)(_attempt)
        results: list[Any] = [None] * len(payloads)
        waiting = list(enumerate(payloads))[::-1]
        running: dict[Any, int] = {}
        while waiting or running:
            while waiting and len(running) < group.ray.workers:
                index, payload = waiting.pop()
                running[task.remote(function, payload, device_in(needs))] = index
            for ended in ray.wait(list(running), timeout=POLL_SECONDS)[0]:
                results[running.pop(ended)] = _result(ended)
                progress(Message("tasks", len(payloads) - len(waiting) - len(running), len(payloads)))
        return results


def _attempt(function: Callable[[Any, str], Any], payload: Any, device: str) -> tuple[str, Any]:
    """What a task runs: the errors that a user can read come back as text, and are not tried again."""
    try:
        return "result", function(payload, device)
    except (WorkError, InputError) as error:
        return ("work" if isinstance(error, WorkError) else "input"), str(error)


def _result(reference: Any) -> Any:
    import ray

    try:
        kind, content = ray.get(reference)
    except ray.exceptions.RayError as error:
        raise WorkError(f"a Ray task failed: {shortly(error)}") from error
    if kind == "result":
        return content
    raise WorkError(content) if kind == "work" else InputError(content)
