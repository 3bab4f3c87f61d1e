"""The trainings of a study, one by one."""

import json
import os
from dataclasses import replace
from pathlib import Path

from fer_dist.config.settings import Config
from fer_dist.errors import InputError, WorkError
from fer_dist.runs.checkpoint import STATE, Checkpoints, load_model
from fer_dist.runs.curves import seconds_of
from fer_dist.runs.folder import CONFIG
from fer_dist.runs.network import network_of
from fer_dist.runs.opening import load_config
from fer_dist.storage.writing import file_hash
from fer_dist.study.jobs import Job, settings_of
from fer_dist.study.records import differing
from fer_dist.study.running import Running, finish
from fer_dist.study.setup import config_with_list
from fer_dist.train.start import start


def train(running: Running, job: Job) -> None:
    """Train one network in this process, or on Ray workers, from its newest checkpoint where there is one."""
    config = training_config(running, job)
    try:
        start(config, preset_of(running, job), True, running.terminal, running.stop, running.setup.opened)
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
    config = running.setup.configs[job.model]
    network, trained = load_model(file, given=(config.model.network,))
    wanted = network_of(config).emotions
    if network.emotions != wanted:
        raise WorkError(f"{job.model}: its file says {', '.join(network.emotions)}, the study {', '.join(wanted)}")
    parameters = sum(parameter.numel() for parameter in trained.parameters())
    worlds = json.loads((file.parent / STATE).read_text()).get("worlds", {})
    found = {"folder": folder.name, "seconds": seconds_of(folder), "parameters": parameters, "worlds": worlds}
    found["images"] = _images(running, job, wanted)
    finish(running, job, {**found, "files": {str(file.relative_to(running.setup.out)): file_hash(file)}})


def _images(running: Running, job: Job, emotions: tuple[str, ...]) -> int:
    """How many a training is given: those of its emotions, less those that the plan's list names."""
    counts = running.setup.manifests[job.data, "train"].counts
    listed = [emotion for keys in running.setup.listed(job.data, "train").values() for emotion in keys.values()]
    return sum(counts.get(emotion, 0) - listed.count(emotion) for emotion in emotions)


def _say_what_changed(running: Running, job: Job, folder: Path) -> None:
    """One line where the model's plain folder holds a training of other settings, which stays as it is."""
    plain = running.setup.out / "runs" / job.model
    if folder == plain or not (plain / CONFIG).is_file():
        return
    try:
        changed = differing(settings_of(load_config(plain)), settings_of(running.setup.configs[job.model]))
    except InputError:
        # Another version's: nothing goes on with it, so it need not be read.
        changed = ["its configuration cannot be read here"]
    what = "; ".join(changed) or "what its sets hold, its start, or the program"
    running.terminal.say(f"{job.model}: changed since {plain.name} ({what}); it goes into {os.path.relpath(folder)}")
