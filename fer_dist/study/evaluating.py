"""The evaluations of a study, and the predictions tables that they leave."""

import time
from collections.abc import Sequence
from dataclasses import replace

from fer_dist.config.settings import EvaluateConfig, fixed_decoder
from fer_dist.data.loading.loader import name_bad
from fer_dist.errors import WorkError, counted
from fer_dist.evaluate.evaluate import Result, evaluate
from fer_dist.evaluate.results import load_predictions, predictions_path
from fer_dist.runs.network import network_of
from fer_dist.scores.table import Predictions
from fer_dist.storage.paths import below
from fer_dist.storage.writing import file_hash
from fer_dist.study.jobs import Job
from fer_dist.study.running import Running, finish


def evaluate_jobs(running: Running, jobs: Sequence[Job]) -> None:
    """Score the models of some jobs, all on the same sets, and record each.

    jobs: every one of their models with every one of their sets. With Ray they are its tasks, side by side.
    """
    setup, where = running.setup, running.setup.where
    folders = {running.run_folder(job.model): job.model for job in jobs}
    paths = {job.data: below(setup.plan.data[job.data].shards, "test") for job in jobs}
    data = setup.configs[jobs[0].model].data
    networks = dict.fromkeys(setup.configs[job.model].model.network for job in jobs)
    config = EvaluateConfig(
        models=tuple(str(folder) for folder in folders),
        data=tuple(paths.values()),
        checkpoint=setup.plan.checkpoint,
        network=tuple(networks),
        device=where.device,
        threads=where.threads,
        decoder=fixed_decoder(data.decoder),
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
    found = {(result.model, result.dataset): result for result in results}
    for job in jobs:
        folder = running.run_folder(job.model)
        record_evaluation(running, job, found[folder.name, setup.manifests[job.data, "test"].name], seconds)


def record_evaluation(running: Running, job: Job, result: Result, seconds: float) -> None:
    """Record the scores of an evaluation. Raises WorkError where an image of the set is missing or counted twice."""
    emotions = network_of(running.setup.configs[job.model]).emotions
    counts = running.setup.manifests[job.data, "test"].counts
    expected = sum(count for emotion, count in counts.items() if emotion in emotions)
    scored = result.scores["samples"] + len(result.bad)
    if scored != expected:
        images = counted(scored, "image")
        raise WorkError(f"{job.model} on {result.dataset}: {images} scored, but the set holds {expected}")
    path = predictions_path(running.run_folder(job.model), result.dataset)
    files = {str(path.relative_to(running.setup.out)): file_hash(path)}
    finish(running, job, {"scores": result.scores, "bad": result.bad, "files": files, "seconds": seconds})
    low, high = (100 * end for end in result.scores["accuracy_interval"])
    accuracy, bad = 100 * result.scores["accuracy"], f"; did not decode: {name_bad(result.bad)}" if result.bad else ""
    running.terminal.say(f"{job.model} on {result.dataset}: {accuracy:.1f} % ({low:.1f} to {high:.1f}){bad}")


def predictions_of(running: Running, model: str, data: str) -> Predictions:
    """What an evaluation of the study said of each image."""
    return load_predictions(predictions_path(running.run_folder(model), running.setup.manifests[data, "test"].name))
