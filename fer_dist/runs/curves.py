"""A run's curves and its time, read back from the event files that TensorBoard shows; scores that join them later."""

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fer_dist.storage.writing import write_atomically

MEASURES = {
    "loss": "negative_log_likelihood",
    "accuracy": "accuracy",
    "mean_over_classes": "mean_over_classes",
    "macro_f1": "macro_f1",
    "expected_calibration_error": "expected_calibration_error",
}
"""Name of a curve under its split -> its key among the scores."""

EARLIER = {
    "speed/images_per_second": "train/images_per_second",
    "speed/crops_per_second": "train/crops_per_second",
    "speed/data_wait": "train/data_wait",
    "memory/gpu_gib": "train/gpu_gib",
}
"""Name of a curve in runs from before 2026-11-29 -> its name."""

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
                    curves.setdefault(EARLIER.get(value.tag, value.tag), {})[event.step] = value.simple_value
    return {name: sorted(points.items()) for name, points in curves.items() if points}


def add_scores(run_folder: Path, split: str, dataset: str, scores: dict[str, Any], step: int) -> None:
    """Write scores as points "<split>/<dataset>/accuracy" ... beside the run's curves, in an event file of their own.

    step: of the checkpoint that was scored.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    room = "validation" if split == "val" else split
    named = {f"{room}/{dataset}/{name}": scores[key] for name, key in MEASURES.items() if scores.get(key) is not None}
    summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in named.items()])
    now, stream = time.time(), io.BytesIO()
    records = RecordWriter(stream)
    for event in (Event(wall_time=now, file_version="brain.Event:2"), Event(wall_time=now, step=step, summary=summary)):
        records.write(event.SerializeToString())
    name = f"events.out.tfevents.{int(now):010d}.{dataset}-{split}.{os.getpid()}"
    write_atomically(run_folder / name, stream.getvalue())


def began_at(run_folder: str | Path) -> str:
    """When the first attempt wrote its first point, as "2026-11-28 14:29" UTC; empty where there is none."""
    first = min((attempt[0].wall_time for attempt in _attempts(run_folder)), default=None)
    return "" if first is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(first))


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
