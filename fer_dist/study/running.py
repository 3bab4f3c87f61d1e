"""A study at work: its trainings and evaluations, whose products go into its folder and whose findings into records."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fer_dist.config.settings import Config, EvaluateConfig
from fer_dist.data.loading.loader import name_bad
from fer_dist.errors import InputError, WorkError
from fer_dist.evaluate.evaluate import Result, evaluate
from fer_dist.evaluate.results import load_predictions, predictions_path
from fer_dist.progress import Terminal
from fer_dist.runs.checkpoint import Checkpoints, load_network
from fer_dist.runs.curves import seconds_of
from fer_dist.runs.folder import CONFIG
from fer_dist.runs.network import network_of
from fer_dist.runs.opening import load_config
from fer_dist.scores.table import Predictions
from fer_dist.storage.places import below
from fer_dist.storage.writing import file_hash
from fer_dist.study.jobs import Job, Records, differing, settings_of
from fer_dist.study.plan import Model
from fer_dist.study.setup import Setup, config_with_list
from fer_dist.train.start import start


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
        return next(
            job for job in self.jobs.values() if (job.kind, job.model) == (kind, model) and data in ("", job.data)
        )

    def model(self, name: str) -> Model:
        return next(model for model in self.setup.models if model.name == name)

    def check_stop(self) -> None:
        """Raises WorkError where the study is asked to end."""
        if self.stop():
            raise WorkError(f"stopped; what is done is kept in {self.setup.out}. The same command goes on from there")


def finish(running: Running, job: Job, found: dict[str, Any]) -> None:
    """Record a job whose products stand."""
    running.records.write(job, {"done": True, **found})


def train(running: Running, job: Job) -> None:
    """Train one network in this process, or on Ray workers, from its newest checkpoint where there is one."""
    config = training_config(running, job)
    try:
        start(config, preset_of(running, job), True, running.terminal, running.stop)
    except (WorkError, InputError) as error:
        running.check_stop()
        raise type(error)(f"{job.model}: {error}") from error
    finally:
        running.terminal.close()
    record_training(running, job)


def preset_of(running: Running, job: Job) -> str:
    """The preset that a training starts from; it names what is resolved elsewhere."""
    plan = running.setup.plan
    return plan.trainings[running.model(job.model).training].preset or plan.preset


def training_config(running: Running, job: Job) -> Config:
    """The configuration of a training job as `train.start` takes it: its folder, and the weights that it starts from.

    Reserves the run folder in the job's record.
    """
    model, folder = running.model(job.model), running.records.run_folder(job)
    if not running.records.read(job.key):
        _say_what_changed(running, job, folder)
        running.records.write(job, {"folder": folder.name})
    config = config_with_list(running.setup, model)
    init_from = ""
    if model.parent:
        init_from = str(running.run_folder(model.parent))
        if running.setup.plan.checkpoint != "last":
            init_from = str(Checkpoints(Path(init_from)).model_file(running.setup.plan.checkpoint))
    return replace(config, train=replace(config.train, init_from=init_from), run=replace(config.run, name=folder.name))


def record_training(running: Running, job: Job) -> None:
    """Record a training that has ended. Its time is read from its curves: other attempts count as well."""
    folder = running.records.run_folder(job)
    file = Checkpoints(folder).model_file(running.setup.plan.checkpoint)
    network, tensors = load_network(file)
    wanted = network_of(running.setup.configs[job.model]).emotions
    if network.emotions != wanted:
        raise WorkError(f"{job.model}: its file says {', '.join(network.emotions)}, the study {', '.join(wanted)}")
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    parameters = sum(tensor.numel() for name, tensor in tensors.items() if not name.endswith(buffers))
    found = {"folder": folder.name, "seconds": seconds_of(folder), "parameters": parameters}
    finish(running, job, {**found, "files": {str(file.relative_to(running.setup.out)): file_hash(file)}})


def evaluate_jobs(running: Running, jobs: Sequence[Job]) -> None:
    """Score the models of some jobs, all on the same sets, and record each.

    jobs: every one of their models with every one of their sets. With Ray they are its tasks, side by side.
    """
    setup, where = running.setup, running.setup.where
    folders = {running.run_folder(job.model): job.model for job in jobs}
    places = {job.data: below(setup.plan.data[job.data].shards, "test") for job in jobs}
    data = setup.configs[jobs[0].model].data
    config = EvaluateConfig(
        models=tuple(str(folder) for folder in folders),
        data=tuple(places.values()),
        checkpoint=setup.plan.checkpoint,
        device=where.device,
        threads=where.threads,
        drop_extra=data.drop_extra,
        on_bad=data.on_bad,
        cache=data.cache,
        cache_gb=data.cache_gb,
    )
    if where.ray.workers:
        config = replace(config, ray=where.ray)
    began = time.monotonic()
    results = evaluate(config, running.terminal.count("evaluations"), running.terminal)
    seconds = (time.monotonic() - began) / len(jobs)
    by_place = {(result.model, result.dataset): result for result in results}
    for job in jobs:
        folder = running.run_folder(job.model)
        record_evaluation(running, job, by_place[folder.name, setup.manifests[job.data, "test"].name], seconds)


def record_evaluation(running: Running, job: Job, result: Result, seconds: float) -> None:
    """Record the scores of an evaluation. Raises WorkError where a picture of the set is missing or counted twice."""
    emotions = network_of(running.setup.configs[job.model]).emotions
    counts = running.setup.manifests[job.data, "test"].counts
    expected = sum(count for emotion, count in counts.items() if emotion in emotions)
    scored = result.scores["samples"] + len(result.bad)
    if scored != expected:
        raise WorkError(f"{job.model} on {result.dataset}: {scored} pictures scored, but the set holds {expected}")
    path = predictions_path(running.run_folder(job.model), result.dataset)
    files = {str(path.relative_to(running.setup.out)): file_hash(path)}
    finish(running, job, {"scores": result.scores, "bad": result.bad, "files": files, "seconds": seconds})
    low, high = (100 * end for end in result.scores["accuracy_interval"])
    accuracy, bad = 100 * result.scores["accuracy"], f"; did not decode: {name_bad(result.bad)}" if result.bad else ""
    running.terminal.say(f"{job.model} on {result.dataset}: {accuracy:.1f} % ({low:.1f} to {high:.1f}){bad}")


def predictions_of(running: Running, model: str, data: str) -> Predictions:
    """What an evaluation of the study said of each picture."""
    return load_predictions(predictions_path(running.run_folder(model), running.setup.manifests[data, "test"].name))


def _say_what_changed(running: Running, job: Job, folder: Path) -> None:
    """One line where the model's plain folder holds a training of other settings, which stays as it is."""
    plain = running.setup.out / "runs" / job.model
    if folder == plain or not (plain / CONFIG).is_file():
        return
    changed = differing(settings_of(load_config(plain)), settings_of(running.setup.configs[job.model]))
    what = "; ".join(changed) or "what its sets hold, its start, or the program"
    running.terminal.say(f"{job.model}: changed since {plain.name} ({what}); it goes into {os.path.relpath(folder)}")
