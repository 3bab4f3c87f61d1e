"""What a study makes of its predictions and beside them: audit, parity, robustness, measures, comparisons.

Each function does one job and gives what is recorded of it.
"""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from fer_dist.config.settings import Config, ExplainConfig, RobustnessSettings, fixed_decoder
from fer_dist.data.inspection.audit import Found, audit
from fer_dist.data.inspection.clean import images_to_leave_out
from fer_dist.data.loading.loader import Placement, open_reader
from fer_dist.data.loading.reader import Reader
from fer_dist.data.shards.leave_out import save_leave_out
from fer_dist.distributed.world import default_threads, pick_device
from fer_dist.errors import counted
from fer_dist.evaluate.parity import parity, predict_in_half
from fer_dist.evaluate.training_accuracy import Shown, training_accuracy
from fer_dist.runs.checkpoint import Checkpoints, load_model, weights_file
from fer_dist.runs.folder import RunFolder
from fer_dist.runs.network import Network, network_of, on_device
from fer_dist.scores.compare import accuracy_over_seeds, paired, paired_over_seeds, separate, without
from fer_dist.scores.detail import detail
from fer_dist.scores.metrics import accuracy, confusion, scores
from fer_dist.scores.table import Predictions
from fer_dist.storage.writing import file_hash, write_atomically
from fer_dist.study.evaluating import predictions_of
from fer_dist.study.gallery import contents_of, examples, of_data, write_thumbnails
from fer_dist.study.jobs import TRAINING_IMAGES, Job
from fer_dist.study.plan import Model, is_first_seed, model_name, seeds_of
from fer_dist.study.running import Running, finish
from fer_dist.study.setup import config_with_list, on_random_labels
from fer_dist.study.training import preset_of
from fer_dist.train.start import start

LIST = "leave-out.jsonl"
MOST_VALUES = 20
"""An attribute with more values than these (a file name, a subject) makes no groups."""


def measure(running: Running, job: Job) -> None:
    """Do one job that is neither a training nor an evaluation nor the report, and record it."""
    began = time.monotonic()
    found = MEASURING[job.kind](running, job)
    finish(running, job, {"seconds": time.monotonic() - began, **found})


def _audit(running: Running, job: Job) -> dict[str, Any]:
    """Which images of a test set have a duplicate in the train or val split of which set."""
    with closing(running.terminal):
        report = audit(list(running.setup.sets.values()), progress=running.terminal.count("images compared"))
    rows = images_to_leave_out(report)
    save_leave_out(running.setup.out / LIST, rows)
    copies: dict[str, dict[str, list[str]]] = {}
    alike: dict[str, dict[str, list[str]]] = {}
    for group in report.groups:
        seen = sorted({member.set for member in group.members if member.split != "test"})
        for member in group.members:
            if member.split == "test" and seen:
                _note_duplicates(alike if group.kind == "subject" else copies, member, seen)
    running.terminal.say(
        f"audit: {counted(len(rows), 'image')} to leave out: only listed, in {running.setup.out / LIST}; training uses "
        "what the plan's leave_out does not name"
    )
    found = {"exact": report.exact_copies, "near": report.near_copies, "subject": report.subject_copies}
    return {"copies": copies, "alike": alike, "found": found, "files": {LIST: file_hash(running.setup.out / LIST)}}


def _note_duplicates(copies: dict[str, dict[str, list[str]]], image: Found, seen: list[str]) -> None:
    held = copies.setdefault(image.set, {})
    held[image.key] = sorted({*held.get(image.key, []), *seen})


def _parity(running: Running, job: Job) -> dict[str, Any]:
    opened = _open_model(running, job, "test")
    data, precision = opened.config.data, opened.config.train.precision
    half = predict_in_half(opened.model, opened.network, opened.reader, opened.placement, data, precision)
    return {"parity": parity(predictions_of(running, job.model, job.data), half) | {"precision": precision}}


def _training_accuracy(running: Running, job: Job) -> dict[str, Any]:
    opened = _open_model(running, job, "train")
    config = opened.config
    # Of the epoch that would have come next.
    shown = Shown(config.data, config.train.seed, config.train.epochs, TRAINING_IMAGES)
    with closing(running.terminal):
        found = training_accuracy(opened.model, opened.reader, shown, opened.placement, _stopping(running, job))
    return {"training_accuracy": found}


def _robustness(running: Running, job: Job) -> dict[str, Any]:
    from fer_dist.evaluate.results import weights_stated
    from fer_dist.evaluate.robustness.measure import robustness, save_robustness

    opened = _open_model(running, job, "test")
    settings = RobustnessSettings(
        samples=running.setup.plan.robustness.samples,
        threads=running.setup.where.threads,
        on_bad=opened.config.data.on_bad,
        decoder=fixed_decoder(opened.config.data.decoder),
    )
    with closing(running.terminal):
        found = robustness(opened.model, opened.network, opened.reader, settings, _stopping(running, job))
    home = RunFolder(str(running.run_folder(job.model)))
    stated = weights_stated(home, weights_file(home, running.setup.plan.checkpoint))
    save_robustness(home.path, opened.reader.manifest.name, found | stated)
    return {"robustness": found}


def _stopping(running: Running, job: Job) -> Callable[[int, int | None], None]:
    """Shows how a job goes on. Raises WorkError where the study is asked to end."""
    show = running.terminal.count(f"batches, {job.name}")

    def progress(done: int, total: int | None) -> None:
        running.check_stop()
        show(done, total)

    return progress


@dataclass(frozen=True)
class _Opened:
    """A trained network, on the placement's device, and a set of its job. config: that of its training."""

    config: Config
    network: Network
    model: torch.nn.Module
    reader: Reader
    placement: Placement


def _open_model(running: Running, job: Job, split: str) -> _Opened:
    """The network of a job, and one split of its data set: what it was trained on is without what the list names."""
    setup = running.setup
    config = setup.configs[job.model] if split == "test" else config_with_list(setup, running.model(job.model))
    network, model = load_model(running.run_folder(job.model), setup.plan.checkpoint, (config.model.network,))
    device = pick_device(setup.where.device)
    reader = open_reader(setup.sets[job.data, split], network.emotions, config.data, f"data.{job.data}")
    placement = Placement(0, 1, device, half=False, threads=config.data.threads or default_threads())
    return _Opened(config, network, on_device(model, device), reader, placement)


def _measures(running: Running, job: Job) -> dict[str, Any]:
    setup, model = running.setup, running.model(job.model)
    predictions = predictions_of(running, job.model, job.data)
    found: dict[str, Any] = {
        "detail": detail(
            predictions, _trained_counts(running, model), attributes=_grouping(predictions, setup.plan.attributes)
        )
    }
    own = setup.data_of(model)
    if job.data != own and (model, own) in setup.evaluations:
        found["against_own"] = separate(predictions, predictions_of(running, job.model, own))
    copies = _duplicates(running, job)
    if copies is not None:
        alike = _duplicates(running, job, "alike") or set()
        rest = without(predictions, copies | alike)
        left_out = len(predictions.keys) - len(rest.keys)
        of_subjects = left_out - (len(predictions.keys) - len(without(predictions, copies).keys))
        counts = {"left_out": left_out, "one_subject": of_subjects}
        found["without_copies"] = scores(rest) | counts if (rest.labels >= 0).any() else None
    return found


def _duplicates(running: Running, job: Job, kind: Literal["copies", "alike"] = "copies") -> set[str] | None:
    """Keys of a test set that the model, or one that it starts from, may have seen; None where nobody looked.

    kind: copies, with those of the plan's list; or images that look alike because they are of one subject.
    """
    setup = running.setup
    audits = [one for one in running.jobs.values() if one.kind == "audit"]
    if not audits and not setup.plan.leave_out:
        return None
    listed = setup.listed(job.data, "test").values() if kind == "copies" else ()
    copies = {key for keys in listed for key in keys}
    trained_on = {setup.data_of(model) for model in setup.lineage(running.model(job.model))}
    seen = {setup.manifests[data, split].name for data in trained_on for split in setup.plan.training_splits}
    name = setup.manifests[job.data, "test"].name
    for one in audits:
        held = running.records.read(one.key).get(kind, {}).get(name, {})
        copies |= {key for key, sets in held.items() if seen & set(sets)}
    return copies


def _trained_counts(running: Running, model: Model) -> dict[str, int]:
    """Images of each emotion that the model was trained on last."""
    data = running.setup.data_of(model)
    counts = dict(running.setup.manifests[data, "train"].counts)
    for emotions in running.setup.listed(data, "train").values():
        for emotion in emotions.values():
            counts[emotion] -= 1
    return counts


def _grouping(predictions: Predictions, attributes: tuple[str, ...]) -> tuple[str, ...]:
    """The attributes that the plan names, or those that make groups. The others stay in the table: subjects count."""
    known = predictions.attributes.items()
    return attributes or tuple(name for name, values in known if len({str(value) for value in values}) <= MOST_VALUES)


def _compare(running: Running, job: Job) -> dict[str, Any]:
    tables = [predictions_of(running, model, job.data) for model in (job.model, job.other)]
    return {"paired": paired(tables[0], tables[1])}


def _over_seeds(running: Running, job: Job) -> dict[str, Any]:
    """Of the trainings of a recipe, seed by seed; beside those of another one where the job names it."""

    def tables(training: str) -> list[Predictions]:
        plan = running.setup.plan
        # A start without seeds of its own is the same for each of them.
        names = [model_name(plan, training, seed) for seed in seeds_of(plan, job.model)]
        return [predictions_of(running, name, job.data) for name in names]

    if not job.other:
        return {"over_images": accuracy_over_seeds(tables(job.model))}
    return {"over_images": paired_over_seeds(tables(job.model), tables(job.other))}


def _ranking(running: Running, job: Job) -> dict[str, Any]:
    """The most accurate training on a set, and its test against each other one that saw the same images and seeds."""
    plan = running.setup.plan
    trainings = dict.fromkeys(model.training for model, data in running.setup.evaluations if data == job.data)
    tables = {
        name: [predictions_of(running, model_name(plan, name, seed), job.data) for seed in seeds_of(plan, name)]
        for name in trainings
    }
    means = {name: float(np.mean([accuracy(confusion(table)) for table in some])) for name, some in tables.items()}
    best = max(means, key=lambda name: means[name])
    images = {name: _images(some[0]) for name, some in tables.items()}
    tests = {}
    for name in tables:
        if name != best and images[name] == images[best] and seeds_of(plan, name) == seeds_of(plan, best):
            one, other = tables[best], tables[name]
            seeds = {"seeds": len(one)}
            tests[name] = (paired_over_seeds(one, other) if len(one) > 1 else paired(one[0], other[0])) | seeds
    return {"ranking": {"best": best, "pairs": len(tables) * (len(tables) - 1) // 2, "tests": tests}}


def _images(predictions: Predictions) -> set[tuple[str, str]]:
    """Key and emotion of each: a model without an emotion may have left its images out."""
    names = np.array([*predictions.emotions, ""])[predictions.labels]
    return {(str(key), str(name)) for key, name in zip(predictions.keys, names, strict=True)}


def _gallery(running: Running, job: Job) -> dict[str, Any]:
    """Small copies of images that say something of a model on its own set, or of the set that a job has alone."""
    setup, split = running.setup, "test" if job.model else "train"
    opened, model = setup.sets[job.data, split], job.model or _trained_on(running, job.data)
    config = setup.configs[model]
    reader = open_reader(opened, network_of(config).emotions, config.data, f"data.{job.data}")
    if job.model:
        lists = examples(predictions_of(running, job.model, job.data))
        contents = contents_of(reader, lists)
    else:
        lists, found = of_data(reader)
        contents = iter(found)
    paths = write_thumbnails(lists, contents, setup.out, job.key[:16]) if setup.where.images else []
    return {"gallery": lists, "files": {path: file_hash(setup.out / path) for path in paths}}


def _control(running: Running, job: Job) -> dict[str, Any]:
    """A network of a job's settings, trained on random labels in OUT/controls; what stands there is gone on with."""
    setup, model = running.setup, running.model(job.model)
    config = on_random_labels(config_with_list(setup, model))
    where = replace(config.run, root=str(setup.out / "controls"), name=f"{job.model}-{job.key[:8]}")
    with closing(running.terminal):
        preset = preset_of(running, job)
        folder = Path(start(replace(config, run=where), preset, True, running.terminal, running.stop, setup.opened))
    file = Checkpoints(folder).model_file("last")
    return {"folder": folder.name, "files": {str(file.relative_to(setup.out)): file_hash(file)}}


def _explain(running: Running, job: Job) -> dict[str, Any]:
    """Where a model looks on a set; with figures, which lie in its run folder, where methods are asked for."""
    from fer_dist.explain.claims import decided, not_tested
    from fer_dist.explain.control_networks import trained_on_random_labels
    from fer_dist.explain.explain import explain
    from fer_dist.explain.results import figures, page_images, save_explained

    opened, plan = _open_model(running, job, "test"), running.setup.plan
    model, data = running.model(job.model), opened.config.data
    is_first = is_first_seed(plan, model)
    controls = [running.records.read(key)["folder"] for key in job.after if running.jobs[key].kind == "control"]
    config = ExplainConfig(
        (),
        network=(opened.config.model.network,),
        samples=plan.explain.samples,
        methods=plan.explain.methods if is_first else ("none",),
        control=str(running.setup.out / "controls" / controls[0]) if controls else "",
        threads=running.setup.where.threads,
        drop_extra=data.drop_extra,
        on_bad=data.on_bad,
    )
    with closing(running.terminal):
        control = trained_on_random_labels(opened.network, config)
        found = explain(opened.model, opened.network, opened.reader, config, _stopping(running, job), control)
    name, files = opened.reader.manifest.name, {}
    # On this set alone; the report decides over all of them.
    verdicts = decided({name: found.values})[name]
    found.values |= {"verdicts": verdicts, "not_tested": not_tested(found.values)}
    drawn = figures(f"{job.model} on {name}", found) if is_first else {}
    if is_first:
        save_explained(running.run_folder(job.model), name, found, drawn)
    if job.data == running.setup.data_of(model) and running.setup.where.images:
        for figure, image in page_images(drawn).items():
            path = f"maps/{job.key[:16]}/{job.model}-{name}-{figure}.webp"
            (running.setup.out / path).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(running.setup.out / path, image)
            files[path] = file_hash(running.setup.out / path)
    return {"explained": found.values, "files": files}


def _planted(running: Running, job: Job) -> dict[str, Any]:
    from fer_dist.study.planted import planted

    with closing(running.terminal):
        return planted(running, job)


def _trained_on(running: Running, data: str) -> str:
    """The first model that is trained on a set."""
    return next(model.name for model in running.setup.models if running.setup.data_of(model) == data)


MEASURING: dict[str, Callable[[Running, Job], dict[str, Any]]] = {
    "audit": _audit,
    "training accuracy": _training_accuracy,
    "parity": _parity,
    "robustness": _robustness,
    "measures": _measures,
    "compare": _compare,
    "seeds": _over_seeds,
    "ranking": _ranking,
    "gallery": _gallery,
    "control": _control,
    "explain": _explain,
    "planted": _planted,
}
