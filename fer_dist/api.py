"""fer_dist from Python: build shards, read them as batches of tensors, train, evaluate, explain, predict, export.

The commands do their work with these functions. Nothing heavy is imported before one of them is called; nothing is
printed unless `show` is given, as `show=Terminal()`. What the caller can mend is an InputError, whose message names
settings as the flags of `fer-dist train` do; what failed for a known reason is a WorkError. Nothing ends the process.
Where processes are started (a build of many images), a script needs the usual `if __name__ == "__main__":`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from os import PathLike, fspath
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from fer_dist.config.settings import Config, DataConfig, EvaluateConfig, ExplainConfig, ExportConfig, PredictConfig
from fer_dist.errors import InputError, WorkError, counted
from fer_dist.progress import Message, Progress, Scalars, Terminal, counting, warnings_to

if TYPE_CHECKING:
    from torch import Tensor

    from fer_dist.data.loading.loader import Loader
    from fer_dist.data.shards.manifest import Manifest
    from fer_dist.deploy.answers import Prediction
    from fer_dist.deploy.quantise import Cost
    from fer_dist.explain.run import RunExplained
    from fer_dist.report.card import File
    from fer_dist.scores.table import Predictions

__all__ = (
    "Config",
    "Evaluation",
    "Export",
    "Faces",
    "InputError",
    "Message",
    "Predicting",
    "Scalars",
    "Shards",
    "Terminal",
    "Training",
    "WorkError",
    "build_shards",
    "evaluate",
    "explain",
    "export",
    "open_shards",
    "predict",
    "quiet",
    "train",
    "write_card",
)

Place = str | PathLike[str]
"""A path, or the URL of a store."""


def quiet(message: Message | Scalars) -> None:
    """Show nothing: what `show` is by default."""


def build_shards(
    source: str, raw: Place, out: Place, *, show: Progress = quiet, **options: Any
) -> "dict[str, Manifest]":
    """Turn a release into shards: out/<split>/ with WebDataset tars, their indexes and a manifest.

    source:  name of the release, as `fer-dist shards build --help` lists them: fer2013, folder, synthetic ...
    raw:     path of the release; for synthetic the style, wild or lab.
    out:     folder on a disk; a killed build that is started again goes on.
    show:    called with what was found, and with the images written so far.
    options: flags of `fer-dist shards build SOURCE --help` by their names, as val_fraction=0.1, workers=1.
    Returns split -> manifest (samples, counts by emotion, shards, left_out), train first.
    Raises InputError for an unknown source or option, a release that is not understood, and shards that are there
    already without overwrite=True; WorkError where a process dies.
    """
    from fer_dist.config.named import check_known, checked
    from fer_dist.data.build import build
    from fer_dist.data.faces.fit import check_faces
    from fer_dist.data.sources.source import open_source, options_of
    from fer_dist.storage.paths import on_disk

    own = [field.name for field in fields(options_of(source))]
    # A command line is taken too, but is no setting that a person gives.
    flags = [field.name for field in fields(build.BuildFlags)]
    check_known([name for name in options if name != "command"], [*own, *flags])
    asked = {name: value for name, value in options.items() if name in own}
    others = {name: value for name, value in options.items() if name not in own}
    building = build.BuildOptions(**checked(build.BuildOptions, others))
    check_faces(building)
    found = open_source(source, fspath(raw), **checked(options_of(source), asked))
    # Before the work: what is assumed may be a reason to stop it.
    show(Message(f"{found.dataset}: found {found.variant}"))
    for remark in found.remarks:
        show(Message(f"note: {remark}"))
    folder = Path(on_disk(fspath(out), "OUT"))
    manifests = build.build_shards(found, folder, building, counting(show, "images"))
    return {manifest.split: manifest for manifest in manifests}


@dataclass(frozen=True)
class Faces:
    """A batch of images.

    images: float32 [B, 3, H, W] on the device, channels-last, normalised; [B, 5, 3, H, W] with views expand or fold.
    labels: int64 [B] on the device, indices into the emotions of the Shards.
    keys:   B names, unique in the set. epoch, step: from 0; steps count through the epochs.
    """

    images: "Tensor"
    labels: "Tensor"
    keys: list[str]
    epoch: int
    step: int


class Shards:
    """The batches of a set: each loop over it begins at its first one again. len() is how many there are.

    emotions: names of the labels. images: in the set, over all ranks.
    bad: images that did not decode and were left out (on_bad="skip"), in the last loop: key -> shard.
    """

    def __init__(
        self,
        open_loader: "Callable[[], Loader]",
        emotions: tuple[str, ...],
        images: int,
        batches: int,
        steps_per_epoch: int,
        first: int = 0,
    ) -> None:
        """Made by `open_shards`. first: step that the loader calls 0."""
        self.emotions = emotions
        self.images = images
        self.bad: dict[str, str] = {}
        self._open_loader = open_loader
        self._batches = batches
        self._steps_per_epoch = max(steps_per_epoch, 1)
        self._first = first

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Faces]:
        """Give the batches. Raises WorkError at an image that does not decode, unless on_bad="skip"."""
        from fer_dist.data.loading.pipeline import views_of

        loader = self._open_loader()
        self.bad = loader.bad
        views = views_of(loader.graph.data)
        for batch in loader:
            images = batch.crops.unflatten(0, (len(batch.labels), views)) if views > 1 else batch.crops
            step = self._first + batch.step
            yield Faces(images, batch.labels, batch.samples.keys, step // self._steps_per_epoch, step)


def open_shards(
    shards: Place,
    *,
    training: bool = False,
    preset: str = "strong",
    batch_size: int = 64,
    epochs: int = 1,
    start: int = 0,
    seed: int = 0,
    rank: int = 0,
    world: int = 1,
    device: str = "auto",
    emotions: str | Sequence[str] = (),
    **settings: Any,
) -> Shards:
    """Open a set of shards as batches of tensors, decoded and augmented by DALI.

    shards:     folder of a set (OUT/train), a pattern of tars, a manifest, or any of these at a URL.
    training:   False: each image exactly once over all ranks, in the order of the shards, its centre crop; the last
                batch may be smaller. True: as `train` reads it, shuffled anew each epoch and augmented, in whole
                batches, the same for any world size; order and augmentation depend on seed, epoch and key alone.
    preset:     recipe of size, crop and augmentation: strong, paper or demo.
    batch_size: images of a batch: of this rank; in training over all ranks.
    epochs:     passes over the set. start: batches that are left out at the beginning, as done before.
    rank, world: this process among those that share the set.
    device:     where images are decoded and come to lie: auto (CUDA where there is one), cpu, cuda.
    emotions:   names in the order of the labels. Empty: the set's own.
    settings:   of the data by name, over the preset's: size=48, crop=44 (pixels), views, mean, std, threads, on_bad,
                leave_out, drop_extra, cache ... (`fer-dist train paper --help`, --data.*).
    Raises InputError for a set that is missing or not whole, and for settings that do not fit it or each other.
    """
    from fer_dist.config import checks, named, presets
    from fer_dist.config.settings import RunConfig, TrainConfig
    from fer_dist.data.loading.shard_set import open_set
    from fer_dist.storage.paths import settled

    given = named.checked(DataConfig, settings, without=("train", "val"))
    data = settled(DataConfig(**{**vars(presets.preset(preset).data), **given, "train": fspath(shards)}))
    run = RunConfig(**named.checked(RunConfig, {"device": device}))
    checks.check(Config(data, train=TrainConfig(batch_size=batch_size, epochs=epochs, seed=seed), run=run))
    if not 0 <= rank < world or start < 0:
        raise InputError(f"rank {rank} of world {world}, start {start}: ranks count from 0, and start is at least 0")
    opened = open_set(data.train, data)

    from fer_dist.data.loading.loader import Placement, evaluation_loader, open_reader, training_loader
    from fer_dist.data.loading.order import sequence
    from fer_dist.distributed.world import default_threads, pick_device
    from fer_dist.train.inputs import open_order

    reader = open_reader(opened, _texts(emotions) or opened.manifest.emotions, data, "shards")
    placement = Placement(rank, world, pick_device(run.device), half=False, threads=data.threads or default_threads())
    images = int(reader.counts.sum())
    if training:
        order = open_order(reader, data, batch_size, seed)[1]
        order.share(rank, world)
        stop = epochs * order.steps_per_epoch

        def shuffled() -> "Loader":
            return training_loader(data, reader, order, placement, min(start, stop), stop)

        return Shards(shuffled, reader.emotions, images, max(stop - start, 0), order.steps_per_epoch)
    pass_ = sequence(reader.counts, rank, world, batch_size)
    parts = (pass_ * epochs)[start:]

    def in_order() -> "Loader":
        return evaluation_loader(data, reader, placement, batch_size, parts)

    return Shards(in_order, reader.emotions, images, len(parts), len(pass_), start)


@dataclass(frozen=True)
class Training:
    """A run that was trained to its end.

    folder: address of the run folder: checkpoints, config.json, curves, scores, predictions of the validation split.
    scores: of the validation split after the last epoch: accuracy, mean_over_classes, macro_f1 (each from 0 to 1),
            recall, confusion, ...; empty without data_val, and in a torchrun group: see its folder's scores.json.
    """

    folder: str
    scores: dict[str, Any]


def train(
    preset: str, config: Config | None = None, *, resume: bool = False, show: Progress = quiet, **settings: Any
) -> Training:
    """Train a network: in this process, in the torchrun group that it is part of, or with ray_workers=N on Ray.

    preset:   demo, paper or strong; with a config only the name of what its settings start from.
    config:   all settings, instead of the preset's.
    resume:   go on with run_name from its newest checkpoint; a run that does not exist yet is begun.
    show:     called with messages, with progress in steps, and with the numbers of the curves (Scalars).
    settings: over those of preset or config, by the section's name and their own: data_train="shards/train",
              train_batch_size=64, run_name="first"; **{"train.lr": 0.1} as well (`fer-dist train paper --help`).
    torch's seed is set by it. Ctrl-C and SIGTERM, where this is the main thread, save a checkpoint and end it.
    Raises InputError for wrong settings and sets, before anything is touched; WorkError where the loss is not finite,
    the disk is full, or it was asked to stop: the newest checkpoint stays.
    """
    from fer_dist.config import presets
    from fer_dist.config.checks import check
    from fer_dist.config.named import with_named
    from fer_dist.config.torchrun import launched
    from fer_dist.runs.opening import resolved, run_folder
    from fer_dist.train.given import open_given, unscored

    found = with_named(config or presets.preset(preset), settings)
    # What cannot be meant is answered before torch is imported.
    check(found)
    found = resolved(found, preset)
    # In a torchrun group only rank 0 opens the sets, and tells the others.
    opened = open_given(found) if launched().size == 1 else None
    warning = unscored(found)
    if warning and launched().rank == 0:
        show(Message(warning))
    from fer_dist.evaluate.results import scores_of
    from fer_dist.train.start import start

    folder = start(found, preset, resume, show, opened=opened)
    if launched().rank == 0:
        _also_card(folder, "last", show)
    validation = (opened or {}).get(found.data.val)
    known = scores_of(run_folder(found)) if validation else {}
    return Training(folder, known.get(validation.manifest.name, {}) if validation else {})


@dataclass(frozen=True)
class Evaluation:
    """One model on one set.

    model:   name of the run. dataset: "<dataset>-<split>".
    scores:  accuracy, accuracy_interval (95 %), mean_over_classes, macro_f1, expected_calibration_error (0 to 1),
             recall by emotion, confusion [K, K], samples, masked, ...: as in the run's scores.json.
    bad:     images that did not decode and have no prediction: key -> shard.
    table:   file of the predictions, parquet.
    """

    model: str
    dataset: str
    scores: dict[str, Any]
    bad: dict[str, str]
    table: Path

    @property
    def predictions(self) -> "Predictions":
        """The table, read anew each time: N keys, labels int [N], probabilities float32 [N, K], K emotions."""
        from fer_dist.evaluate.results import load_predictions

        return load_predictions(self.table)


def evaluate(
    models: Place | Sequence[Place], data: Place | Sequence[Place], *, show: Progress = quiet, **settings: Any
) -> list[Evaluation]:
    """Score every model on every set, each image once, and write tables, scores and figures into the run folders.

    models:   run folders, as `Training.folder`, also at URLs, or .safetensors files.
    data:     sets as of `open_shards`, or folders of several: OUT for every split.
    show:     called with what is done of all evaluations, and with what a person should know.
    settings: flags of `fer-dist evaluate --help` by name: checkpoint="best", batch_size=256, device="cpu" ...; not
              those of robustness and crops, nor json; those of Ray are one, ray={"workers": 2}.
    Returns the models in their order, each on the sets in theirs.
    Raises InputError where a model or a set is missing, not whole, or one does not fit the other, before any is scored;
    WorkError at an image that does not decode, unless on_bad="skip".
    """
    from fer_dist.config.named import checked
    from fer_dist.data.loading.shard_set import each_split
    from fer_dist.evaluate.given import open_given
    from fer_dist.storage.paths import settled

    names, sets = _given(models, "--models"), _given(data, "--data")
    config = settled(EvaluateConfig(names, each_split(sets), **checked(EvaluateConfig, settings, ("models", "data"))))
    # Before torch is imported.
    opened = open_given(config)
    from fer_dist.evaluate.evaluate import evaluate

    found = evaluate(config, counting(show, "evaluations"), show, opened)
    for name in names:
        _also_card(name, config.checkpoint, show)
    return [Evaluation(one.model, one.dataset, one.scores, one.bad, one.table) for one in found]


def explain(run: Place, data: Place | Sequence[Place], *, show: Progress = quiet, **settings: Any) -> "RunExplained":
    """Look where a network looks, on each set: maps, gates, regions, attribution beside its controls, conclusions.

    run:      run folder, as `Training.folder`, also at a URL, or a .safetensors file. explain/ there gets all files.
    data:     sets as of `open_shards`, or folders of several: OUT for every split.
    show:     called with what is done.
    settings: flags of `fer-dist explain --help` by name: samples=200, methods=("grad-cam",), points="template" ...;
              not json and html.
    Returns folder, where it was written, and sets: "<dataset>-<split>" -> what was found, with all numbers as `values`.
    Raises InputError where the run, a set or an extra is missing, or does not fit, before the first is looked at.
    """
    from fer_dist.config.named import checked
    from fer_dist.explain.given import open_given
    from fer_dist.storage.paths import settled

    config = settled(ExplainConfig(_given(data, "--data"), **checked(ExplainConfig, settings, ("data",))))
    # Before torch is imported.
    sets = open_given(fspath(run), config)
    from fer_dist.explain.run import explain_run

    return explain_run(fspath(run), config, sets, show)


class Predicting:
    """Predictions of images, made while they are asked for; they can be asked for once.

    emotions: the network's, in the order of its outputs. Iterating gives one Prediction after the other: file, frame,
    time, box, score, emotion, probabilities (emotion -> share), entropy, and reason where there is none.
    """

    def __init__(
        self, emotions: tuple[str, ...], images: "Iterator[tuple[Prediction, ...]]", seconds: float | None = None
    ) -> None:
        """Made by `predict`. seconds: that the images took where they were predicted before; 0: nobody knows."""
        self.emotions = emotions
        self._images = images
        self._done = self._faces = 0
        self._is_timed = seconds is None
        self._seconds = seconds or 0.0

    def __iter__(self) -> "Iterator[Prediction]":
        for predictions in self.images():
            yield from predictions

    def images(self) -> "Iterator[tuple[Prediction, ...]]":
        """The predictions of each image together: one for each face, or one that says why there is none."""
        begun = monotonic()
        for predictions in self._images:
            self._done += 1
            self._faces += sum(one.emotion is not None for one in predictions)
            yield predictions
        if self._is_timed:
            self._seconds += monotonic() - begun

    @property
    def summary(self) -> str:
        """What was done so far, in a line."""
        rate = f", {counted(round(self._done / self._seconds), 'image')} a second" if self._seconds else ""
        return f"{counted(self._done, 'image')}, {counted(self._faces, 'face')}{rate}"


def predict(
    run: Place,
    inputs: Place | Sequence[Place],
    *,
    annotate: Place = "",
    show: Progress = quiet,
    **settings: Any,
) -> Predicting:
    """Say which emotion a network sees in each face of images, one after the other, in memory that does not grow.

    run:      a run folder, as `Training.folder`, also at a URL, or a .safetensors file.
    inputs:   images, folders, patterns, videos, sets of shards; "-" for a list of paths on standard input.
    annotate: a folder for the images with boxes and bars drawn on them, contact sheets, and time lines of videos.
    show:     called with what is done, and with what a person should know.
    settings: flags of `fer-dist predict --help` by name: checkpoint="best", faces="none", emotions="happy,sad" ...;
              not jsonl, csv and parquet, for rows come back; those of Ray are one, ray={"workers": 2}.
              With parts="FOLDER" all work is done before the call returns, and goes on where a killed one stopped.
    Raises InputError where the run, an input or an extra is missing, or a setting does not fit, before any work. What
    is bad inside of an input has a prediction with its reason.
    """
    from fer_dist.config.named import checked
    from fer_dist.deploy.opening import open_given
    from fer_dist.storage.paths import absolute, settled

    config = settled(PredictConfig(**checked(PredictConfig, settings)))
    # Before torch is imported.
    given = open_given(absolute(fspath(run)), _texts(inputs), config, fspath(annotate))
    from fer_dist.deploy.predict import answers, load_trained, remarks

    trained = load_trained(given.run, config, warn=warnings_to(show))
    for remark in remarks(trained, given):
        show(Message(remark))
    if config.parts:
        from fer_dist.deploy.parts import make_parts, predictions_in

        made = make_parts(trained, given, show)
        emotions = trained.network.emotions
        return Predicting(emotions, predictions_in(made.paths, emotions), made.seconds)
    answered = answers(trained, given, keep=bool(given.annotate), show=show)
    if given.annotate:
        from fer_dist.deploy.annotate import drawn_on

        answered = drawn_on(answered, given.annotate, trained.network.emotions)
    return Predicting(trained.network.emotions, (one.predictions for one in answered))


@dataclass(frozen=True)
class Export:
    """A file that agrees with its run.

    path:       of the file. checked: over how many images of what, in words. outputs: logits or probabilities.
    difference: the largest between what the file and the run say of an image.
    others:     images with another emotion, since their two largest logits lie closer than 1e-4, in words.
    int8:       with int8=True, the file in integers. costs: of each set, float32, int8 (accuracies from 0 to 1),
                difference, interval (95 %), differing (images with another emotion) and images.
    """

    path: Path
    checked: str
    outputs: str
    difference: float
    others: tuple[str, ...]
    int8: Path | None = None
    costs: "tuple[Cost, ...]" = ()


def export(run: Place, *, show: Progress = quiet, **settings: Any) -> Export:
    """Write a network as one file, ONNX or torch.export's, and hold it against the run over sets or drawn faces.

    run:      run folder, as `Training.folder`, also at a URL, or a .safetensors file.
    show:     called with the images that were looked at.
    settings: flags of `fer-dist export --help` by name: format="pt2", data="shards/test", softmax=True, out=...; not
              json.
    Raises InputError where the run, a set or the extra is missing or does not fit; WorkError where torch cannot follow
    the network, and where the file's outputs differ by more than 1e-4.
    """
    from fer_dist.config.named import checked
    from fer_dist.deploy.given import open_given
    from fer_dist.storage.paths import settled

    if "data" in settings:
        settings["data"] = _texts(settings["data"])
    config = settled(ExportConfig(**checked(ExportConfig, settings)))
    # Before torch is imported.
    sets, calibration = open_given(fspath(run), config)
    from fer_dist.deploy.export import export_run

    found = export_run(fspath(run), config, sets, calibration, show)
    agreed = found.found
    others = tuple(map(str, agreed.others))
    from fer_dist.deploy.quantise import costs_table
    from fer_dist.report.card import File

    costs = costs_table(found.costs) if found.costs else None
    about = File(found.path, found.checked, found.outputs, agreed.difference, costs)
    _also_card(run, config.checkpoint, show, about)
    return Export(found.path, found.checked, found.outputs, agreed.difference, others, found.int8, found.costs)


def write_card(run: Place, *, checkpoint: str = "last", show: Progress = quiet) -> None:
    """Write the model card of a run, as README.md into its folder, from the files that are there.

    run:        its folder, also at a URL; a file of weights alone gets no card. checkpoint: whose weights are named.
    show:       called with a note where a README that a person wrote stays, and with a warning where the newest
                checkpoint is damaged and the one before it taken.
    `train` and `evaluate` do so themselves. Raises InputError where there is no such run, or a file of it is damaged.
    """
    _save_card(run, checkpoint, show, warn=warnings_to(show))


def _also_card(run: Place, checkpoint: str, show: Progress, file: "File | None" = None) -> None:
    """The card beside what was asked for, which is done whether or not there can be one."""
    try:
        _save_card(run, checkpoint, show, file)
    except (InputError, WorkError) as error:
        show(Message(f"note: no card is written: {error}"))


def _save_card(
    run: Place,
    checkpoint: str,
    show: Progress,
    file: "File | None" = None,
    warn: "Callable[[str], None]" = lambda text: None,
) -> None:
    from fer_dist.runs.folder import entered

    home = entered(fspath(run), warn)
    from fer_dist.report.card import save_card

    if file or home.path.is_dir():
        save_card(home, show, checkpoint, file)
        home.send()
        home.close()


def _given(places: Place | Sequence[Place], flag: str) -> tuple[str, ...]:
    """As `_texts`. Raises InputError for none."""
    if not (found := _texts(places)):
        raise InputError(f"{flag} is missing; give at least one")
    return found


def _texts(places: Place | Sequence[Place]) -> tuple[str, ...]:
    return (fspath(places),) if isinstance(places, str | PathLike) else tuple(fspath(place) for place in places)
