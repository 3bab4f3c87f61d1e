"""What TensorBoard and the terminal see of a training."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_dist.config.checks import loggers_of
from fer_dist.config.presets import PRESETS
from fer_dist.config.settings import MAY_DIFFER, Config, to_shown_json
from fer_dist.data.images import png_bytes
from fer_dist.data.inspection.sheets import Row, Tile, drawn
from fer_dist.data.loading.loader import Batch
from fer_dist.distributed.world import World
from fer_dist.progress import Message, Progress, Scalars
from fer_dist.runs.curves import MEASURES
from fer_dist.train.engine import Totals
from fer_dist.train.loggers import Loggers

SHEET_COLUMNS, SHEET_LINES = 4, 5
"""Of images in a sheet: it fills a card of TensorBoard, 350 pixels wide, and what stands below them can be read."""

EXAMPLES = SHEET_COLUMNS * SHEET_LINES

RECIPE = (
    "train.lr", "train.batch_size", "train.epochs", "train.schedule", "train.weight_decay", "train.label_smoothing",
    "train.seed", "train.init_from", "data.views", "data.size", "data.crop", "data.flip", "model.network",
    "model.width",
)  # fmt: skip
"""Settings that a table of runs shows first."""

ALWAYS_TOLD = {"train.lr", "train.batch_size", "train.epochs", "train.seed", "train.init_from"}
"""TensorBoard takes the columns of its table from one run alone: what that run lacks is shown of no other."""

NO_SETTING = MAY_DIFFER | {"data.lanes", "data.block"}


@dataclass(frozen=True)
class Course:
    """What an attempt does. start: its first step; steps: of the whole run, to which the bar counts.

    emotions: names of the labels, in the order of the network's outputs. preset: that the settings start from.
    """

    start: int
    steps: int
    steps_per_epoch: int
    emotions: tuple[str, ...]
    preset: str = ""
    number: str = ""
    """Tells the run from others of its name."""


@dataclass(frozen=True)
class Rates:
    """Of the steps between two points, on this rank: how long they took, the share of that in which they waited for
    data, and the crops of an image."""

    seconds: float
    waiting: float
    views: float


class Monitor:
    """Keeps a run's curves and says how it goes. On ranks other than 0 it does nothing."""

    def __init__(self, config: Config, world: World, folder: Path, progress: Progress, course: Course) -> None:
        self.config = config
        self.world = world
        self.course = course
        self._progress = progress
        self._writer = _open_writer(folder, course.start) if world.is_main else None
        self.loggers = Loggers(
            loggers_of(config.run.loggers) if world.is_main else (),
            folder,
            (config.run.name, course.number),
            told_settings(config, course.preset),
            lambda text: self.say(Message(f"warning: {text}")),
        )
        """To be entered while the training runs, so that they learn how it ends."""
        self._reset()

    def count(self, batch: Batch) -> None:
        """Take note of a batch that was trained on; of the first one with images, show crops with their labels."""
        self._images += len(batch.labels)
        self._crops += len(batch.crops)
        self._waited += batch.wait_seconds
        if self._writer and len(batch.labels) and not self._sheet_shown:
            self._sheet_shown = True
            self._add_image("train/images", self._sheet(batch), batch.step)

    def rates(self) -> Rates:
        """What was counted since the last time, and how long it took; counting begins anew."""
        seconds = time.perf_counter() - self._since
        found = Rates(seconds, self._waited / seconds, self._crops / max(self._images, 1))
        self._reset()
        return found

    def log(self, step: int, totals: Totals, lr: float, rates: Rates) -> None:
        """Write a point of the training curves. step: how many steps were done."""
        # Shares may differ by a sample, so the rates are of the global batch: this rank's share times the ranks.
        images = totals.images / rates.seconds
        values = {
            "train/epoch": step / self.course.steps_per_epoch,
            "train/loss": totals.loss,
            "train/accuracy": totals.accuracy,
            "train/learning_rate": lr,
            # In the group of the rest: TensorBoard opens the first two groups by name, which are train and validation.
            "train/images_per_second": images,
            "train/crops_per_second": images * rates.views,
            "train/data_wait": rates.waiting,
        }
        if self.world.device.type == "cuda":
            import torch

            values["train/gpu_gib"] = torch.cuda.max_memory_allocated(self.world.device) / 2**30
        self._scalars(values, step)
        self.tell(step, totals, f", {images:,.0f} images/s")

    def tell(self, step: int, totals: Totals, rate: str = "") -> None:
        """Show how far the training is."""
        text = f"steps, loss {totals.loss:.3f}, accuracy {100 * totals.accuracy:.1f} %{rate}"
        self.say(Message(text, step, self.course.steps))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Around what is not training: its time is not in the rates."""
        began = time.perf_counter()
        yield
        self._since += time.perf_counter() - began

    def validated(self, step: int, scores: dict[str, Any], examples: Sequence[Tile] = ()) -> None:
        """Write the validation scores of an epoch, its confusion matrix, and examples, each as an image."""
        epoch = step // self.course.steps_per_epoch
        values = {f"validation/{name}": scores[key] for name, key in MEASURES.items()}
        values |= {f"validation/recall/{name}": value for name, value in scores["recall"].items() if value is not None}
        self._scalars({"validation/epoch": epoch, **values}, step)
        if self._writer:
            from fer_dist.scores.figures.canvas import figure_pixels
            from fer_dist.scores.figures.confusion import confusion_figure

            figure = confusion_figure(scores["confusion"], scores["emotions"], f"epoch {epoch}", scores["masked"])
            self._add_image("validation/confusion", figure_pixels(figure), step)
            if examples:
                title = f"epoch {epoch}: label, prediction; ! where they differ"
                self._add_image(
                    "validation/images", np.asarray(drawn(Row(title, tuple(examples)), SHEET_COLUMNS)), step
                )
        accuracy, mean = 100 * scores["accuracy"], 100 * scores["mean_over_classes"]
        self.say(Message(f"epoch {epoch}: validation accuracy {accuracy:.2f} %, balanced accuracy {mean:.2f} %"))

    def flush(self) -> None:
        """Put the curves on the disk as far as they go."""
        if self._writer:
            self._writer.flush()

    def close(self, scores: dict[str, Any] | None) -> None:
        """Write the settings beside the last scores, for TensorBoard's table of runs.

        scores: of the last validation, which stand in the curves as they are; None: the table has the training's.
        """
        if self._writer:
            from torch.utils.tensorboard.summary import hparams

            names = [f"validation/{name}" for name in MEASURES] if scores else ["train/accuracy", "train/loss"]
            settings = told_settings(self.config, self.course.preset)
            # TensorBoard opens five columns, the first by name, and cuts a path after the part that all runs share.
            told = {name: value for name, value in settings.items() if name not in ("data.train", "data.val")}
            # add_hparams would write the scores once more, to a file of their own.
            for part in hparams(told, dict.fromkeys(names, 0.0)):
                self._writer.file_writer.add_summary(part)
            self._writer.close()

    def say(self, message: Message) -> None:
        """Show a message once, not once a rank."""
        if self.world.is_main:
            self._progress(message)

    def _scalars(self, values: dict[str, float], step: int) -> None:
        if self._writer:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
            self.loggers.scalars(values, step)
            self._progress(Scalars(self.config.run.name, step, values))

    def _reset(self) -> None:
        self._images = self._crops = 0
        self._waited = 0.0
        self._since = time.perf_counter()

    _sheet_shown = False

    def _add_image(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        assert self._writer
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def _sheet(self, batch: Batch) -> NDArray[np.uint8]:
        """[H, W, 3]: crops as the network gets them, brought back to 0..1: the views of an image beside each other."""
        import torch

        views = len(batch.crops) // len(batch.labels)
        in_line = max(SHEET_COLUMNS // views, 1)
        crops = batch.crops[: SHEET_LINES * in_line * views].float().cpu()
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.config.data.mean, self.config.data.std))
        pixels = (255 * (crops * std + mean)).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        names = [self.course.emotions[label] for label in batch.labels.tolist() for _ in range(views)]
        tiles = [Tile(png_bytes(Image.fromarray(crop)), name) for crop, name in zip(pixels, names, strict=False)]
        title = f"step {batch.step}: crops for the network, and labels"
        return np.asarray(drawn(Row(title, tuple(tiles)), in_line * views))


def told_settings(config: Config, name: str) -> dict[str, str | int | float | bool]:
    """The preset, ALWAYS_TOLD, and the other settings that are not the preset's, those that matter most first.

    None of what may differ in a run that goes on, of where it stands and in which order it reads.
    """
    settings = _flat(config)
    preset = _flat(PRESETS[name]()) if name in PRESETS else {}
    # TensorBoard orders them by name, and shows the first few: what is no part of the recipe would hide the rest.
    names = [name for name in settings if not name.startswith(("run.", "ray.")) and name not in NO_SETTING]
    order = dict.fromkeys((*RECIPE, *names))
    told = {key: settings[key] for key in order if key in ALWAYS_TOLD or settings[key] != preset.get(key)}
    plain = {key: value if isinstance(value, str | int | float | bool) else str(value) for key, value in told.items()}
    return {"preset": name or "none", **plain}


def _flat(config: Config) -> dict[str, Any]:
    return {f"{s}.{name}": value for s, part in to_shown_json(config).items() for name, value in part.items()}


def _open_writer(folder: Path, start: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    # What an attempt that died wrote after the checkpoint is hidden, since it is written again.
    return SummaryWriter(str(folder), purge_step=start + 1)
