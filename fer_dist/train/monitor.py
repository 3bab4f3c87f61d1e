"""What TensorBoard and the terminal see of a training."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from fer_dist.config.settings import Config, to_shown_json
from fer_dist.data.loading.loader import Batch
from fer_dist.distributed.world import World
from fer_dist.progress import Message, Progress, Scalars
from fer_dist.train.engine import Totals

SHEET_IMAGES = 8


@dataclass(frozen=True)
class Rates:
    """Of the steps between two points, on this rank: how long they took, the share of that in which they waited for
    data, and the crops of an image."""

    seconds: float
    waiting: float
    views: float


class Monitor:
    """Keeps a run's curves and says how it goes. On ranks other than 0 it does nothing."""

    def __init__(self, config: Config, world: World, folder: Path, progress: Progress, start: int, steps: int) -> None:
        """start: the first step of this attempt; steps: of the whole run, to which the bar counts."""
        self.config = config
        self.world = world
        self.steps = steps
        self._progress = progress
        self._writer = _open_writer(folder, start) if world.is_main else None
        self._reset()

    def count(self, batch: Batch) -> None:
        """Take note of a batch that was trained on; of the first one with images, keep one of its crops."""
        self._images += len(batch.labels)
        self._crops += len(batch.crops)
        self._waited += batch.wait_seconds
        if self._writer and len(batch.labels) and not self._sheet_shown:
            self._sheet_shown = True
            self._writer.add_image("crops", self._sheet(batch), batch.step)

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
            "train/loss": totals.loss,
            "train/accuracy": totals.accuracy,
            "train/learning_rate": lr,
            "speed/images_per_second": images,
            "speed/crops_per_second": images * rates.views,
            "speed/data_wait": rates.waiting,
        }
        if self.world.device.type == "cuda":
            import torch

            values["memory/gpu_gib"] = torch.cuda.max_memory_allocated(self.world.device) / 2**30
        self._scalars(values, step)
        self.tell(step, totals, f", {images:,.0f} images/s")

    def tell(self, step: int, totals: Totals, rate: str = "") -> None:
        """Show how far the training is."""
        text = f"steps, loss {totals.loss:.3f}, accuracy {100 * totals.accuracy:.1f} %{rate}"
        self.say(Message(text, step, self.steps))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Around what is not training: its time is not in the rates."""
        began = time.perf_counter()
        yield
        self._since += time.perf_counter() - began

    def validated(self, step: int, epoch: int, scores: dict[str, Any]) -> None:
        """Write the validation scores of an epoch, and its confusion matrix as an image."""
        names = ("accuracy", "mean_over_classes", "macro_f1", "expected_calibration_error")
        values = {f"validation/{name}": scores[name] for name in names}
        values |= {f"recall/{name}": value for name, value in scores["recall"].items() if value is not None}
        self._scalars(values, step)
        if self._writer:
            from fer_dist.scores.figures.canvas import figure_pixels
            from fer_dist.scores.figures.confusion import confusion_figure

            figure = confusion_figure(scores["confusion"], scores["emotions"], f"epoch {epoch}", scores["masked"])
            self._writer.add_image("confusion", figure_pixels(figure), step, dataformats="HWC")
        accuracy, mean = 100 * scores["accuracy"], 100 * scores["mean_over_classes"]
        self.say(Message(f"epoch {epoch}: validation accuracy {accuracy:.2f} %, balanced accuracy {mean:.2f} %"))

    def flush(self) -> None:
        """Put the curves on the disk as far as they go."""
        if self._writer:
            self._writer.flush()

    def close(self, scores: dict[str, Any] | None) -> None:
        """Write the settings beside the last scores, for TensorBoard's table of runs."""
        if self._writer:
            if scores:
                settings = {f"{s}.{k}": v for s, part in to_shown_json(self.config).items() for k, v in part.items()}
                plain = {k: v if isinstance(v, (int, float, str, bool)) else str(v) for k, v in settings.items()}
                measures = {f"final/{name}": scores[name] for name in ("accuracy", "mean_over_classes", "macro_f1")}
                self._writer.add_hparams(plain, measures, run_name=".")
            self._writer.close()

    def say(self, message: Message) -> None:
        """Show a message once, not once a rank."""
        if self.world.is_main:
            self._progress(message)

    def _scalars(self, values: dict[str, float], step: int) -> None:
        if self._writer:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
            self._progress(Scalars(self.config.run.name, step, values))

    def _reset(self) -> None:
        self._images = self._crops = 0
        self._waited = 0.0
        self._since = time.perf_counter()

    _sheet_shown = False

    def _sheet(self, batch: Batch) -> Tensor:
        """Crops as the network gets them, brought back to 0..1: a row an image, a column a view."""
        import torch
        from torchvision.utils import make_grid

        views = len(batch.crops) // len(batch.labels)
        crops = batch.crops[: SHEET_IMAGES * views].float().cpu()
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.config.data.mean, self.config.data.std))
        return make_grid((crops * std + mean).clamp(0, 1), nrow=views if views > 1 else SHEET_IMAGES)


def _open_writer(folder: Path, start: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    # What an attempt that died wrote after the checkpoint is hidden, since it is written again.
    return SummaryWriter(str(folder), purge_step=start + 1)
