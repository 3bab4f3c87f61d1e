"""How much a network has right of the images that it was trained on, as training shows them and its loss takes them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fer_dist.config.settings import DataConfig
from fer_dist.data.loading.loader import Placement, augmented_loader
from fer_dist.data.loading.order import cut
from fer_dist.data.loading.pipeline import views_of
from fer_dist.data.loading.reader import Reader, choose
from fer_dist.errors import InputError
from fer_dist.evaluate.predict import correct_of_each, evaluating
from fer_dist.scores.intervals import wilson

BATCH = 64


@dataclass(frozen=True)
class Shown:
    """What a network is shown of its training set.

    data:        the settings of its training, whose views and augmentation it is.
    seed, epoch: give the draws of the augmentation; of an epoch after the last one they are new to the network.
    images:      at most so many, always the same. 0: all.
    """

    data: DataConfig
    seed: int
    epoch: int
    images: int


@torch.inference_mode()
def training_accuracy(
    model: nn.Module,
    reader: Reader,
    shown: Shown,
    placement: Placement,
    progress: Callable[[int, int | None], None] | None = None,
) -> dict[str, Any]:
    """Ask a network, whose weights and running statistics stand still, about images of its training set, in float32.

    model: on the placement's device. Gives, ready for JSON: images that were asked about; answers on each of them, five
    where each crop counts for itself; accuracy, the part of all answers that is correct; interval, its 95 % interval.
    Raises InputError where none of the images decodes.
    """
    data = shown.data
    parts = cut(choose(reader, shown.images), BATCH)
    loader = augmented_loader(data, reader, placement, parts, shown.seed, shown.epoch)
    found: list[NDArray[np.float64]] = []
    with evaluating(model):
        for batch in loader:
            logits = model(batch.crops.float()).unflatten(0, (-1, views_of(data)))
            found.append(correct_of_each(logits, batch.labels, data.views).cpu().numpy())
            if progress:
                progress(len(found), len(parts))
    if not found:
        raise InputError(f"{reader.manifest.name}: none of the images that were asked about decodes")
    correct = np.concatenate(found)
    answers = views_of(data) if data.views == "expand" else 1
    return {
        "images": len(correct),
        "answers": answers,
        "accuracy": float(correct.mean()),
        "interval": image_interval(correct, answers),
    }


def image_interval(correct: NDArray[np.float64], answers: int) -> list[float]:
    """The 95 % interval of the mean: Wilson's, of as many independent answers as the images are worth.

    correct: [N], the correct part of each image's answers. The answers about one image are alike, so that N images
    are worth between N of them and N times as many as each has: p (1 - p) over the variance of the mean.
    Source: Kish 1965, "Survey sampling", effective sample size.
    """
    images, part = len(correct), float(correct.mean())
    variance = float(correct.var(ddof=1)) / images if images > 1 else 0.0
    worth = part * (1 - part) / variance if variance > 0 else 0.0
    worth = min(max(worth, images), images * answers)
    low, high = wilson(np.array(part * worth), np.array(worth))
    return [float(low), float(high)]
