"""What a wrong crop costs: accuracy on faces that are cut wider, narrower or turned, beside the right crop.

It takes sets that hold whole images with a box for each face, as a build without --crop-faces and --detect leaves them,
and cuts each face as asked. Nothing here trains or tunes.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_dist.config.settings import CropSettings, EvaluateConfig
from fer_dist.data.faces import crop
from fer_dist.data.faces.fit import FaceFlags, mend_box, standing
from fer_dist.data.images import decode
from fer_dist.data.loading.order import Positions
from fer_dist.data.loading.order import cut as parts_of
from fer_dist.data.loading.reader import Reader, choose
from fer_dist.data.shards.crop_rule import NO_BOX
from fer_dist.distributed.world import default_threads
from fer_dist.errors import InputError, WorkError
from fer_dist.evaluate.pairs import pairs_of
from fer_dist.evaluate.predict import evaluating, mask_of
from fer_dist.progress import Cells
from fer_dist.runs.network import Network
from fer_dist.scores.compare import paired
from fer_dist.scores.subjects import ATTRIBUTE
from fer_dist.scores.table import Predictions

MARGINS = (-0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.6)
"""Added to the box on each side, as shares of its longer side."""

ROLLS = (-20.0, -10.0, -5.0, 5.0, 10.0, 20.0)
"""Degrees, clockwise, by which the right crop is turned."""

BATCH = 16
"""Images at once, each in some 15 crops."""

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Crop:
    """margin: as for the shards; roll_degrees: by how much the square is turned."""

    margin: float
    roll_degrees: float = 0.0

    def __str__(self) -> str:
        return f"roll {self.roll_degrees:+g}" if self.roll_degrees else f"margin {100 * self.margin:+g} %"


@dataclass(frozen=True)
class CropCosts:
    """One model on one set. values: as `crop_costs` gives them."""

    model: str
    dataset: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Faces:
    """Some faces of a set, each in all crops. pixels: uint8 [B, V, crop, crop, 3]; facts: of those images."""

    keys: list[str]
    labels: list[int]
    facts: list[dict[str, Any]]
    pixels: NDArray[np.uint8]


def evaluate_crops(
    config: EvaluateConfig, settings: CropSettings, progress: Callable[[int, int | None], None] | None = None
) -> list[CropCosts]:
    """Every model on every set. Threads and what is done with bad images are those of config."""
    found = []
    for pair in pairs_of(config):
        values = crop_costs(pair.model, pair.network, pair.reader, config, settings.samples, progress)
        found.append(CropCosts(pair.home.path.name, pair.reader.manifest.name, values))
    return found


@torch.inference_mode()
def crop_costs(
    model: nn.Module,
    network: Network,
    reader: Reader,
    config: EvaluateConfig,
    samples: int = 0,
    progress: Callable[[int, int | None], None] | None = None,
) -> dict[str, Any]:
    """Accuracy of the right crop and of each other, and what that costs on the same images; ready for JSON.

    model: on its device. The right crop has the margin of the model's training set, or of a build by default where that
    is not known. Of another crop, difference, interval and p are those of `compare.paired`: its accuracy less that of
    the right one. samples: images at most, the same for each model; 0: all.
    Raises InputError where no image has a box; WorkError for one that does not decode, unless config skips it.
    """
    right = right_crop(network)
    crops = [right, *(Crop(margin) for margin in MARGINS if margin != right.margin)]
    crops += [Crop(right.margin, degrees) for degrees in ROLLS]
    parts = parts_of(choose(reader, samples), BATCH)
    faces, probabilities, skipped = [], [], 0
    mask, device = mask_of(network, reader), next(model.parameters()).device
    with ThreadPoolExecutor(config.threads or default_threads()) as pool, evaluating(model):
        for done, positions in reader.ahead(range(len(parts)), parts.__getitem__):
            found = _cut_all(reader, positions, network, crops, config.on_bad, pool)
            skipped += len(positions.shard) - len(found.keys)
            if found.keys:
                inputs = _normalised(found.pixels.reshape(-1, *found.pixels.shape[2:]), network).to(device)
                answers = (model(inputs) + mask.to(device)).softmax(1).cpu().numpy()
                probabilities.append(answers.reshape(len(found.keys), len(crops), -1))
                faces.append(found)
            if progress:
                progress(done + 1, len(parts))
    if not faces:
        raise InputError(
            f"--crops: {reader.manifest.name}: none of the {skipped:,} images has a face box in its json; give a set "
            "of whole images with their boxes, as from expw or a csv with columns of boxes"
        )
    tables = _tables(faces, np.concatenate(probabilities), network, reader)
    accuracies = [float((table.probabilities.argmax(1) == table.labels).mean()) for table in tables]
    others = []
    for which, table, accuracy in zip(crops[1:], tables[1:], accuracies[1:], strict=True):
        test = paired(table, tables[0])
        compared = {name: test[name] for name in ("difference", "interval", "p", "by")}
        others.append({"margin": which.margin, "roll": which.roll_degrees, "accuracy": accuracy, **compared})
    others.sort(key=lambda entry: (entry["roll"] != 0, entry["roll"], entry["margin"]))
    right_one = {"margin": right.margin, "roll": 0.0, "accuracy": accuracies[0]}
    return {"samples": len(tables[0].keys), "skipped": skipped, "right": right_one, "others": others}


def right_crop(network: Network) -> Crop:
    rule = network.crop_rule
    return Crop(rule.margin if rule and rule.box != NO_BOX else FaceFlags.margin)


def crops_table(found: list[CropCosts]) -> Cells:
    """A crop a row: its accuracy, and what it costs beside the right one, in points."""
    header = ["model", "data", "crop", "images", "accuracy %", "change, points", "95 %", "p"]
    rows = []
    for costs in found:
        right, images = costs.values["right"], f"{costs.values['samples']:,}"
        start = [costs.model, costs.dataset]
        rows.append(
            [*start, f"right: {Crop(right['margin'])}", images, f"{100 * right['accuracy']:.2f}", "-", "-", "-"]
        )
        for entry in costs.values["others"]:
            low, high = entry["interval"]
            numbers = [f"{100 * entry['accuracy']:.2f}", f"{100 * entry['difference']:+.2f}"]
            numbers += [f"{100 * low:+.2f} to {100 * high:+.2f}", f"{entry['p']:.3g}"]
            rows.append([*start, str(Crop(entry["margin"], entry["roll"])), images, *numbers])
    return header, rows


def _cut_all(
    reader: Reader, positions: Positions, network: Network, crops: list[Crop], on_bad: str, pool: ThreadPoolExecutor
) -> Faces:
    """The faces at these positions, less those without a box and those that are bad, where these are skipped."""
    samples, facts = reader.read(positions), reader.facts(positions)

    def cut_one(index: int) -> Image | None:
        try:
            return _crops_of(samples.content[index].tobytes(), facts[index], network, crops)
        except ValueError as error:
            if on_bad == "skip":
                return None
            raise WorkError(
                f"{samples.shards[index]}: {samples.keys[index]}: the image {error}; look closer with fer-dist shards "
                "verify, or go on without it: --on-bad skip"
            ) from None

    cuts = dict(enumerate(pool.map(cut_one, range(len(samples)))))
    kept = {index: pixels for index, pixels in cuts.items() if pixels is not None}
    keys, labels = samples.keys, samples.labels.tolist()
    stacked = np.stack(list(kept.values())) if kept else np.zeros(0, np.uint8)
    return Faces([keys[i] for i in kept], [labels[i] for i in kept], [facts[i] for i in kept], stacked)


def _crops_of(content: bytes, facts: dict[str, Any], network: Network, crops: list[Crop]) -> Image | None:
    """uint8 [V, crop, crop, 3], the centres of the squares in the network's size; None without a box in the image.

    Raises ValueError, which says what is wrong, for an image that does not decode.
    """
    if not _is_box(facts.get("box")):
        return None
    image = standing(decode(content))
    facts, _ = mend_box(facts, *image.size)
    if "box" not in facts:
        return None
    square, first = crop.square_of(facts["box"]), (network.size - network.crop) // 2
    found = []
    for which in crops:
        wanted = square.widened(which.margin).turned(which.roll_degrees)
        pixels = np.asarray(crop.cut(image, wanted, network.size).convert("RGB"))
        found.append(pixels[first : first + network.crop, first : first + network.crop])
    return np.stack(found)


def _is_box(box: Any) -> bool:
    """Whether a json, which others may have written, has four numbers there."""
    return isinstance(box, list) and len(box) == 4 and all(isinstance(value, int | float) for value in box)


def _normalised(pixels: Image, network: Network) -> Tensor:
    """float32 [N, 3, H, W], channels last, as the network sees them. pixels: uint8 [N, H, W, 3]."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (network.mean, network.std))
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std


def _tables(
    faces: list[Faces], probabilities: NDArray[np.float32], network: Network, reader: Reader
) -> list[Predictions]:
    """A table of each crop. probabilities: float32 [N, V, K]."""
    keys = [key for part in faces for key in part.keys]
    labels = np.array([label for part in faces for label in part.labels], dtype=np.int64)
    subjects = [facts.get(ATTRIBUTE) for part in faces for facts in part.facts]
    attributes = {ATTRIBUTE: np.array(subjects, dtype=object)} if any(subjects) else {}
    masked = tuple(name for name in network.emotions if name not in reader.manifest.emotions)
    return [
        Predictions(keys, labels, probabilities[:, view], network.emotions, masked, attributes)
        for view in range(probabilities.shape[1])
    ]
