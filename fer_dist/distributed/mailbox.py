"""The mailbox between a driver and its workers, an actor of Ray's: messages come back, a wish to stop goes out.

Ray's own reports are not used for that, since each is a barrier of about two seconds. The mailbox lives on the
driver's node, and as long as the driver.
"""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from fer_dist.progress import Scalars

STOP_POLL_SECONDS = 1.0

Kind = Literal["message", "started", "left", "shared", "work", "input"]
"""What a letter is: something to show; the workers that start and their room; why they stop: a node that leaves, a
SharedError, a WorkError, an InputError."""


class Mailbox:
    """What the actor runs."""

    def __init__(self) -> None:
        self.letters: list[tuple[Kind, Any]] = []
        self.stop = False
        self.starts = 0
        self.heard = time.monotonic()

    def begin(self, workers: int, room: Any, controller: Any) -> int:
        """Note that workers start: earlier ones are not heard any more. Returns the start's number, from 1.

        room: Ray's placement group that they live in; controller: Ray Train's actor that runs them.
        """
        self.starts += 1
        self.heard = time.monotonic()
        self.letters.append(("started", (workers, room, controller)))
        return self.starts

    def is_newest(self, number: int) -> bool:
        """Whether no other start came after this one."""
        return number == self.starts

    def put(self, number: int, kind: Kind, content: Any) -> None:
        """Take a letter of the workers of a start. One that stood still while others took over is not heard."""
        if self.is_newest(number):
            self.letters.append((kind, content))

    def drain(self) -> list[tuple[Kind, Any]]:
        letters, self.letters = self.letters, []
        return letters

    def ask_to_stop(self) -> None:
        self.stop = True

    def stops(self) -> bool:
        """Asked by each worker each second."""
        self.heard = time.monotonic()
        return self.stop

    def silent_seconds(self) -> float:
        """How long no worker has asked."""
        return time.monotonic() - self.heard


def open_mailbox() -> Any:
    """A mailbox on this node: another one's death must not take it away."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Mailbox).remote()


@dataclass
class Line:
    """One worker's line to the driver. number: of its start, as the mailbox counts them."""

    mailbox: Any
    number: int
    node_leaves: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)
    _gauges: dict[str, Any] = field(default_factory=dict)

    def open(self) -> None:
        """Start to listen for a wish to stop, and for the notice that a node is about to be taken away."""
        for listen in (self._listen, self._watch_nodes):
            threading.Thread(target=listen, daemon=True).start()

    def close(self) -> None:
        self._ended.set()

    def progress(self, message: Any) -> None:
        """Show a message at the driver; numbers go to Ray's metrics instead, from here."""
        if isinstance(message, Scalars):
            self._measure(message)
        else:
            self.put("message", message)

    def put(self, kind: Kind, content: Any) -> Any:
        """Send a letter. Gives Ray's reference to its arrival."""
        return self.mailbox.put.remote(self.number, kind, content)

    def stop_requested(self) -> bool:
        return self._stop.is_set()

    def _listen(self) -> None:
        import ray

        while not self._ended.wait(STOP_POLL_SECONDS):
            try:
                if ray.get(self.mailbox.stops.remote()):
                    self._stop.set()
            except ray.exceptions.RayError:
                return  # the driver is gone, and Ray ends this worker

    def _watch_nodes(self) -> None:
        """Stop where a node of the group is drained: its cloud takes it back, or a person asked for it."""
        import ray
        import ray.train

        ask: Callable[[], Any] | None = getattr(ray.train, "get_preemption_info", None)
        while ask and not self._ended.wait(STOP_POLL_SECONDS):
            try:
                # Waits for this thread's like in each worker, and gives all of them the same answer.
                if ask():
                    self.node_leaves = True
                    self._stop.set()
                    return
            except ray.exceptions.RayError:
                return

    def _measure(self, scalars: Scalars) -> None:
        from ray.util.metrics import Gauge

        values = {"step": scalars.step, **scalars.values}
        for name, value in values.items():
            known = "fer_dist_" + re.sub(r"\W", "_", name)
            if known not in self._gauges:
                self._gauges[known] = Gauge(known, f"{name} of a run", tag_keys=("run",))
            self._gauges[known].set(float(value), tags={"run": scalars.run})
