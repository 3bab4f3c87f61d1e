"""A study at work: its trainings and evaluations, whose products go into its folder and whose findings into records."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_dist.errors import WorkError
from fer_dist.progress import Terminal
from fer_dist.study.jobs import Job
from fer_dist.study.plan import Model
from fer_dist.study.records import Records
from fer_dist.study.setup import Setup


@dataclass(frozen=True)
class Running:
    """A study at work. stop: whether it is asked to end; jobs: all of them, by key."""

    setup: Setup
    records: Records
    jobs: dict[str, Job]
    terminal: Terminal
    stop: Callable[[], bool]

    def run_folder(self, model: str) -> Path:
        return self.records.run_folder(self.job("train", model))

    def job(self, kind: str, model: str, data: str = "") -> Job:
        """The job of a model, or of a recipe, by itself; data is empty where there is one such job only."""
        of = (kind, model, "")
        return next(
            job for job in self.jobs.values() if (job.kind, job.model, job.other) == of and data in ("", job.data)
        )

    def found(self, kind: str, model: str, data: str = "") -> dict[str, Any]:
        """What is recorded of that job."""
        return self.records.read(self.job(kind, model, data).key)

    def model(self, name: str) -> Model:
        return self.setup.model(name)

    def check_stop(self) -> None:
        """Raises WorkError where the study is asked to end."""
        if self.stop():
            raise WorkError(f"stopped; what is done is kept in {self.setup.out}. The same command goes on from there")


def finish(running: Running, job: Job, found: dict[str, Any]) -> None:
    """Record a job whose products stand."""
    running.records.write(job, {"done": True, **found})
