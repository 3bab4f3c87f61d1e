"""Everything that a training run holds on one rank: opened from a checkpoint or afresh, saved, validated."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer_dist.config.settings import Config, EvaluateConfig
from fer_dist.data.inspection.sheets import Tile
from fer_dist.data.loading.loader import Batch, Loader, Placement, evaluation_loader, name_bad, training_loader
from fer_dist.data.loading.order import Order, Positions
from fer_dist.data.loading.reader import Reader
from fer_dist.distributed.hardware import takes_half
from fer_dist.distributed.world import World
from fer_dist.errors import SharedError, WorkError, counted
from fer_dist.evaluate.predict import predict
from fer_dist.evaluate.results import load_scores, save_evaluation, scored
from fer_dist.progress import Message, Progress
from fer_dist.runs.checkpoint import Checkpoints, Saver, Snapshot, model_content, snapshot_of
from fer_dist.runs.folder import CHECKPOINTS, SCORES, RunFolder
from fer_dist.runs.listing import MODEL
from fer_dist.runs.network import Network, build_for, check_weights, on_device
from fer_dist.runs.opening import run_number
from fer_dist.scores.table import Predictions
from fer_dist.train.choices import Chosen
from fer_dist.train.engine import Engine, Look
from fer_dist.train.inputs import Inputs, open_inputs, start_from
from fer_dist.train.monitor import EXAMPLES, Course, Monitor, Rates


@dataclass(frozen=True)
class Job:
    """One training run, as a worker gets it. chosen: its settings; home: its run folder, which holds them.

    preset: that the settings start from; empty: not known.
    inputs: where this process has opened them already, to check them.
    """

    chosen: Chosen
    home: RunFolder
    progress: Progress
    stop_requested: Callable[[], bool]
    inputs: Inputs | None = None
    preset: str = ""

    @property
    def config(self) -> Config:
        return self.chosen.config

    @property
    def folder(self) -> Path:
        """On a local disk: the run folder, or the copy of one in a store."""
        return self.home.path


@dataclass(frozen=True)
class _Looking:
    """A look at the loss on its way: of so many steps done, at the learning rate of the last.

    rates: where it makes a point of the curves; None: it is looked at whether the loss is finite, and no more.
    """

    done: int
    lr: float
    look: Look
    rates: Rates | None


@dataclass
class Session:
    """A run on one rank. steps: of the whole run; the loader begins where the newest checkpoint ended."""

    job: Job
    world: World
    network: Network
    engine: Engine
    order: Order
    loader: Loader
    validation: Loader | None
    checkpoints: Checkpoints
    saver: Saver
    monitor: Monitor
    steps: int
    worlds: dict[str, int]
    """First step -> ranks, for each number of them that the run has had: batch statistics are of a rank's share."""

    pointed: int
    """Steps that were done at the last point of the curves, or where this attempt began."""

    ledger: Path | None = None
    looking: "_Looking | None" = None
    scores: dict[str, Any] | None = None
    """Of the last validation, in this attempt."""

    def note(self, batch: Batch) -> None:
        """Count the batch for the curves and, where a ledger is kept, write its step and its keys in their order."""
        self.monitor.count(batch)
        if self.ledger:
            with self.job.home.held() as is_ours:
                if is_ours:
                    with self.ledger.open("a") as stream:
                        stream.write("\t".join([str(batch.step), *batch.samples.keys]) + "\n")

    def look(self, done: int, lr: float) -> None:
        """Ask how the loss is, which `read_look` reads once the next step is on its way.

        Each log_every steps, or each epoch where that is shorter, it makes a point of the curves, at the same steps of
        every attempt, but none of fewer steps than that: a mean of one or two would stand out. The steps of a look that
        makes none go into the next point.
        """
        fewest = _point_steps(self.job.config, self.order.steps_per_epoch)
        is_point = done % fewest == 0 and done - self.pointed >= fewest
        rates = self.monitor.rates() if is_point else None
        self.looking = _Looking(done, lr, self.engine.look(forget=is_point), rates)
        self.pointed = done if is_point else self.pointed

    def read_look(self) -> None:
        """Look at the loss where that was asked for, and write the point of the curves that it makes.

        Raises SharedError where a loss since the last look was not finite, and where the run is another process's now.
        """
        if not self.looking:
            return
        asked, self.looking = self.looking, None
        if self.world.min(int(self.job.home.is_ours())) == 0:
            self.fail(self.job.home.lost)
        totals = asked.look.totals()
        if totals.bad_step >= 0 or not totals.is_finite:
            self.fail(self._not_finite(totals.bad_step if totals.bad_step >= 0 else asked.done - 1))
        if asked.rates:
            self.monitor.log(asked.done, totals, asked.lr, asked.rates)
        elif asked.done == self.steps:
            self.monitor.tell(asked.done, totals)

    def validate(self, done: int) -> None:
        """Score the validation split; the last epoch's table and scores go into the run folder."""
        if not self.validation:
            return
        with self.monitor.paused():
            predictions = predict(self.engine.model, self.network, self.validation, self.world)
            self.scores = scored(predictions, self.validation.reader)
            examples = self._examples(predictions) if self.world.is_main else ()
            self.monitor.validated(done, self.scores, examples)
        if done == self.steps and self.world.is_main:
            with self.job.home.held() as is_ours:
                if is_ours:
                    name = self.validation.reader.manifest.name
                    content = model_content(dict(self.engine.model.state_dict()), self.network)
                    of = {"step": done, "weights_sha256": hashlib.sha256(content).hexdigest()}
                    save_evaluation(self.job.folder, name, predictions, self.scores | of)

    def save(self, done: int, scored: bool) -> None:
        """Have rank 0 save a checkpoint, beside the next steps. scored: the last validation is of this very step."""
        for found in self.world.all_gather_object(self.loader.bad):
            self.loader.bad |= found
        optimizer = self.engine.state()
        if self.ledger:
            self.job.home.send_ledger()
            self.world.barrier()
        if self.world.is_main:
            precision = self.job.config.train.precision
            scaler, bad = self.engine.scaler_state(), self.loader.bad
            state = {"scaler": scaler, "bad": bad, "precision": precision, "worlds": self.worlds}
            score = self.scores["accuracy"] if self.scores and scored else None
            weights = dict(self.engine.model.state_dict())
            self.monitor.flush()
            self.saver.save(Snapshot(done, weights, optimizer, state, score))
        else:
            self.job.home.send()

    def close(self) -> None:
        """End the curves, name the images that were left out, and wait for disk, store and the other ranks."""
        self.saver.close()
        self.monitor.close(self.scores)
        self.job.home.close()
        bad = self.loader.bad | (self.validation.bad if self.validation else {})
        if bad and self.world.is_main:
            text = f"left out {counted(len(bad), 'image')} that did not decode: {name_bad(bad)}"
            self.job.progress(Message(text))
        if self.scores and self.validation and self.world.is_main:
            accuracy, mean = (100 * self.scores[name] for name in ("accuracy", "mean_over_classes"))
            self.job.progress(
                Message(
                    f"{self.job.config.run.name}: accuracy {accuracy:.2f} %, balanced accuracy {mean:.2f} % on "
                    f"{self.validation.reader.manifest.name} after the last epoch"
                )
            )
        self.world.barrier()

    def fail(self, text: str) -> None:
        """Raise SharedError on every rank; only rank 0's has the text, so that a user reads it once."""
        # First all are here, so that rank 0 has its checkpoint on disk before the first error ends the others.
        try:
            self.saver.close()
            self.job.home.close()
        except WorkError as error:
            text = text if text == str(error) else f"{text}; but {error}"
        self.world.barrier()
        raise SharedError(text if self.world.is_main else "")

    def _examples(self, predictions: Predictions) -> list[Tile]:
        """Some images of the validation split, each with its label and its prediction; the same after each epoch."""
        assert self.validation
        reader = self.validation.reader
        found = np.arange(min(EXAMPLES, int(reader.counts[0])))
        samples = reader.read(Positions(np.zeros_like(found), found))
        wanted = set(samples.keys)
        rows = {key: row for row, key in enumerate(predictions.keys) if key in wanted}
        tiles = []
        for key, content in zip(samples.keys, samples.content, strict=True):
            if key in rows:  # else it does not decode
                label, shares = int(predictions.labels[rows[key]]), predictions.probabilities[rows[key]]
                best = int(shares.argmax())
                name = predictions.emotions[label] if label >= 0 else "no label"
                wrong = "! " if label not in (best, -1) else ""
                said = f"{wrong}{predictions.emotions[best]} {100 * shares[best]:.0f} %"
                tiles.append(Tile(content.tobytes(), f"{name}\n{said}"))
        return tiles

    def _not_finite(self, step: int) -> str:
        samples = self.loader.reader.read(self.order.batch(step))
        kept = self.checkpoints.entries()
        last = f"the checkpoint of step {kept[-1].step} is kept" if kept else "no checkpoint was saved before it"
        return (
            f"the loss of step {step}, or what it made of the weights, is not finite; {last}. "
            "Start anew under another --run.name with a lower --train.lr, or look at the step's images: "
            f"shards {', '.join(sorted(set(samples.shards)))}; keys {', '.join(samples.keys)}"
        )


def open_session(job: Job, world: World) -> Session:
    """Open a run where its newest checkpoint left it, or at step 0 with fresh weights or those of train.init_from."""
    config = job.config
    inputs = job.inputs or open_inputs(config)
    network, reader, order = inputs.network, inputs.reader, inputs.order
    _stop_with(job, reader)

    def warn(text: str) -> None:
        if world.is_main:
            job.progress(Message(f"warning: {text}"))

    job.home.warn = warn
    for text in job.chosen.warnings:
        warn(text)
    checkpoints = Checkpoints(job.folder, config.train.keep_last, warn, job.home)
    snapshot = _enter(job, world, checkpoints)
    share = len(order.share(world.rank, world.size)) * order.per_lane
    engine = _open_engine(job, world, network, snapshot)
    begun = snapshot.step if snapshot else 0
    steps = config.train.epochs * order.steps_per_epoch
    if config.train.compile != "off" and begun < steps and (fault := engine.compile(share)):
        warn(f"--train.compile {config.train.compile}: not compiled, for {fault}")
    number = run_number(job.home) if world.is_main else ""
    course = Course(begun, steps, order.steps_per_epoch, network.emotions, job.preset, number)
    monitor = Monitor(config, world, job.folder, job.progress, course)
    monitor.say(Message(_opening(job, world, reader, course)))
    half = takes_half(config.train.precision, world.device)
    placement = Placement(world.rank, world.size, world.device, half, config.data.threads)
    loader = training_loader(config.data, reader, order, placement, begun, steps)
    loader.bad.update(snapshot.state.get("bad", {}) if snapshot else {})
    validation = _open_validation(job, inputs.validation, placement)
    ledger = job.folder / job.home.ledger if config.run.ledger else None
    if ledger:
        _open_ledger(ledger)
    saver = Saver(checkpoints, network, job.home.send)
    worlds = dict(snapshot.state.get("worlds", {})) if snapshot else {}
    if list(worlds.values())[-1:] != [world.size]:
        worlds[str(begun)] = world.size
    return Session(
        job,
        world,
        network,
        engine,
        order,
        loader,
        validation,
        checkpoints,
        saver,
        monitor,
        steps,
        worlds,
        begun,
        ledger,
    )


def _point_steps(config: Config, steps_per_epoch: int) -> int:
    """Steps between two points of the curves."""
    return min(config.train.log_every, steps_per_epoch)


def _open_ledger(path: Path) -> None:
    """Make a place for the ledger; a last line that a full disk or a kill cut short goes, or the next would join it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        with path.open("r+b") as stream:
            stream.seek(max(stream.seek(0, os.SEEK_END) - 1, 0))
            # A long run's ledger is large: it is read where its last byte says so.
            if stream.read() not in (b"", b"\n"):
                stream.seek(0)
                stream.truncate(stream.read().rfind(b"\n") + 1)


def _enter(job: Job, world: World, checkpoints: Checkpoints) -> Snapshot | None:
    """Make the run folder ready, on rank 0 first, and give every rank the checkpoint that rank 0 finds there.

    So all ranks go on from the same one, and only rank 0 needs to see the folder.
    """
    found, owner = None, ""
    if world.is_main:
        job.home.enter()
        owner = job.home.claim()
        if job.config.data.val and (job.folder / SCORES).exists():
            # What the last validation adds to: better found now than at the end.
            load_scores(job.folder)
        found = checkpoints.newest()
    entry, contents = (found.entry, found.contents) if found else (None, {})
    owner, entry, names = world.broadcast((owner, entry, list(contents)))
    if not world.is_main:
        job.home.enter()
        job.home.adopt(owner)
    if entry is None:
        return None
    # One file at a time: each is held several times over while it travels.
    contents = {name: world.broadcast(contents.get(name, b"")) for name in names}
    return found.snapshot if found else snapshot_of(entry, contents)


def _open_engine(job: Job, world: World, network: Network, snapshot: Snapshot | None) -> Engine:
    config = job.config
    torch.manual_seed(config.train.seed)
    model = on_device(build_for(config), world.device)
    if snapshot:
        check_weights(model, snapshot.model, f"{job.folder}/{CHECKPOINTS}/{snapshot.step}/{MODEL}")
        model.load_state_dict(snapshot.model)
    else:
        note = start_from(model, network, config)
        if note and world.is_main:
            job.progress(Message(note))
    engine = Engine(config, model, world)
    if snapshot:
        engine.load_state(snapshot.optimizer)
        engine.load_scaler_state(snapshot.state.get("scaler", {}))
    return engine


def _open_validation(job: Job, reader: Reader | None, placement: Placement) -> Loader | None:
    if not reader:
        return None
    _stop_with(job, reader)
    # Float32, as every evaluation: half precision there would cost accuracy without a word.
    return evaluation_loader(job.config.data, reader, replace(placement, half=False), EvaluateConfig.batch_size)


def _stop_with(job: Job, reader: Reader) -> None:
    """Let a run that is asked to stop not wait for a store that does not answer."""
    if reader.remote:
        reader.remote.stop_requested = job.stop_requested


def _opening(job: Job, world: World, reader: Reader, course: Course) -> str:
    """What is trained on what. How fast is not known before some steps are measured: from which on it is shown."""
    config, start, steps = job.config, course.start, course.steps
    every = _point_steps(config, course.steps_per_epoch)
    first = (-(-start // every) + 1) * every
    rate = f"; images/s from step {first} on" if first <= steps else ""
    less = f" ({reader.left_out:,} left out)" if reader.left_out else ""
    images = f"{counted(int(reader.counts.sum()), 'image')}{less}"
    done = f", from step {start}" if start else ""
    return (
        f"{config.run.name}: {images}, {counted(steps, 'step')} in {counted(config.train.epochs, 'epoch')}{done}, "
        f"{counted(world.size, 'worker')} on {world.device.type}, {job.chosen.told}{rate}"
    )
