"""A run's curves and its time, read back from the event files that TensorBoard shows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

Curves = dict[str, list[tuple[int, float]]]
"""Name of a scalar -> its points: (step, value)."""


def load_curves(run_folder: str | Path) -> Curves:
    """The scalars of a run, in the order of the steps, each step once.

    An attempt that goes on from a checkpoint hides what the one before wrote after it, for it writes that again; here
    as in TensorBoard.
    """
    curves: dict[str, dict[int, float]] = {}
    for attempt in _attempts(run_folder):
        for event in attempt:
            if event.HasField("session_log") and event.session_log.status == event.session_log.START:
                for name, points in curves.items():
                    curves[name] = {step: value for step, value in points.items() if step < event.step}
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    curves.setdefault(value.tag, {})[event.step] = value.simple_value
    return {name: sorted(points.items()) for name, points in curves.items() if points}


def seconds_of(run_folder: str | Path) -> float:
    """How long a run wrote its curves, summed over its attempts: also of one that was killed, to its last point."""
    return sum(attempt[-1].wall_time - attempt[0].wall_time for attempt in _attempts(run_folder))


def _attempts(run_folder: str | Path) -> list[list[Any]]:
    """The events of each file, the files in the order of time. What a killed process left half written is not there."""
    found = [list(_events(path)) for path in Path(run_folder).glob("events.out.tfevents.*") if path.is_file()]
    return sorted((events for events in found if events), key=lambda events: events[0].wall_time)


def _events(path: Path) -> Iterator[Any]:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    return LegacyEventFileLoader(str(path)).Load()
