"""What a model makes of corrupted images and of occluded faces: accuracy under each, in one pass over a set.

Each image is decoded once, and the crop that the network would see is perturbed. Nothing here trains or tunes.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_dist.config.settings import DataConfig, EvaluateConfig, RobustnessSettings
from fer_dist.data.draws import Hashes
from fer_dist.data.loading.loader import Placement, evaluation_loader
from fer_dist.data.loading.order import cut
from fer_dist.data.loading.reader import Reader, choose
from fer_dist.distributed.world import default_threads
from fer_dist.errors import InputError, counted
from fer_dist.evaluate.pairs import pairs_of
from fer_dist.evaluate.predict import evaluating, evaluation_data, mask_of
from fer_dist.evaluate.results import results_folder, weights_stated
from fer_dist.evaluate.robustness.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from fer_dist.evaluate.robustness.figure import robustness_figure
from fer_dist.evaluate.robustness.regions import ALL_REGIONS, occlude, share_of
from fer_dist.runs.network import Network
from fer_dist.scores.figures.canvas import save_figure
from fer_dist.storage.writing import write_atomically

Perturbation = Callable[[Tensor, Hashes, int], Tensor]
"""From images (uint8 [B, 3, H, W]), ids and seed to the same images perturbed."""


@dataclass(frozen=True)
class Robustness:
    """One model on one set. values: as `robustness` gives them."""

    model: str
    dataset: str
    values: dict[str, Any]


@torch.inference_mode()
def robustness(
    model: nn.Module,
    network: Network,
    reader: Reader,
    settings: RobustnessSettings,
    progress: Callable[[int, int | None], None] | None = None,
) -> dict[str, Any]:
    """Accuracy on clean images, under each corruption and severity, and with each region occluded; ready for JSON.

    model: on its device. "error" of a corruption is the mean over its severities, "mean_corruption_error" that over all
    corruptions: plain errors, not divided by AlexNet's as ImageNet-C's mCE is. A region's "drop" is the clean accuracy
    less its own, with a 95 % interval over images. Emotions that the set does not have are masked. Float32.
    """
    device = next(model.parameters()).device
    chosen = choose(reader, settings.samples)
    placement = Placement(0, 1, device, half=False, threads=settings.threads or default_threads())
    data = DataConfig(decoder=settings.decoder, on_bad="skip" if settings.on_bad == "skip" else "stop")
    data = evaluation_data(network, data)
    loader = evaluation_loader(data, reader, placement, settings.batch_size, cut(chosen, settings.batch_size))
    mask = mask_of(network, reader).to(device)
    perturbations = all_perturbations()
    total = -(-len(chosen) // settings.batch_size) * len(perturbations)
    labels: list[NDArray[np.int64]] = []
    winners: list[NDArray[np.int64]] = []
    with evaluating(model):
        for batch in loader:
            pixels, ids = to_pixels(batch.crops, network), batch.samples.ids
            found = [_winners(model, batch.crops.float(), mask)]
            for perturbation in perturbations.values():
                found.append(_winners(model, to_crops(perturbation(pixels, ids, settings.seed), network), mask))
                if progress:
                    progress(len(winners) * len(perturbations) + len(found) - 1, total)
            labels.append(batch.samples.labels)
            winners.append(np.stack(found, axis=1))
    if not labels:
        raise InputError(f"{reader.manifest.name}: of {counted(len(chosen), 'image')} none decodes")
    values = summary(np.concatenate(labels), np.concatenate(winners), list(perturbations))
    return values | {"seed": settings.seed}


def evaluate_robustness(
    config: EvaluateConfig, settings: RobustnessSettings, progress: Callable[[int, int | None], None] | None = None
) -> list[Robustness]:
    """Test every model on every set, and write robustness/<set>.json and a figure into the run folders.

    Batch size, threads, decoder and what is done with bad images are those of config.
    """
    settings = replace(
        settings,
        batch_size=min(config.batch_size, settings.batch_size),
        threads=config.threads,
        on_bad=config.on_bad,
        decoder=config.decoder,
    )
    results = []
    for pair in pairs_of(config):
        path, name = pair.home.path, pair.reader.manifest.name
        values = robustness(pair.model, pair.network, pair.reader, settings, progress)
        values |= weights_stated(pair.home, pair.file)
        save_robustness(path, name, values)
        results.append(Robustness(path.name, name, values))
    return results


def save_robustness(run: str | Path, name: str, values: dict[str, Any]) -> None:
    """Write what `robustness` gave and its figure. run: its folder or .safetensors file; name: "<dataset>-<split>"."""
    path = Path(run)
    folder = results_folder(path)
    (folder / "robustness").mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "robustness" / f"{name}.json", json.dumps(values, indent=1).encode() + b"\n")
    save_figure(robustness_figure(values, f"{path.stem} on {name}"), folder / "figures" / f"robustness-{name}")


def robustness_table(results: list[Robustness]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: errors by group of corruptions, and what occluding a part of the face costs, in points."""
    groups = list(dict.fromkeys(corruption.group for corruption in CORRUPTIONS.values()))
    parts = ["eyes", "nose", "mouth"]
    header = ["model", "data", "images", "error %", "corrupted %", *(f"{group} %" for group in groups)]
    header += [f"without {part}" for part in parts]
    rows = []
    for result in results:
        values = result.values
        entries = list(values["corruptions"].values())
        errors = [1 - values["clean"], values["mean_corruption_error"]]
        errors += [float(np.mean([entry["error"] for entry in entries if entry["group"] == group])) for group in groups]
        drops = [f"{-100 * values['regions'][part]['drop']:+.2f}" for part in parts]
        numbers = [f"{100 * error:.2f}" for error in errors]
        rows.append([result.model, result.dataset, str(values["samples"]), *numbers, *drops])
    return header, rows


def all_perturbations() -> dict[tuple[str, int], Perturbation]:
    """Every corruption in every severity, and every region (with severity 0)."""
    perturbations: dict[tuple[str, int], Perturbation] = {
        (name, severity): partial(corrupt, name, severity) for name in CORRUPTIONS for severity in SEVERITIES
    }
    return perturbations | {(name, 0): partial(occlude, name) for name in ALL_REGIONS}


def summary(
    labels: NDArray[np.int64], winners: NDArray[np.int64], perturbations: list[tuple[str, int]]
) -> dict[str, Any]:
    """The measures, from the predicted emotions. labels: [N]; winners: [N, 1 + perturbations], clean images first."""
    is_correct = winners == labels[:, None]
    clean, accuracy = (
        float(is_correct[:, 0].mean()),
        dict(zip(perturbations, is_correct[:, 1:].mean(axis=0).tolist(), strict=True)),
    )
    corruptions = {}
    for name, corruption in CORRUPTIONS.items():
        values = [accuracy[name, severity] for severity in SEVERITIES]
        corruptions[name] = {"group": corruption.group, "accuracy": values, "error": 1 - float(np.mean(values))}
    regions = {}
    for column, (name, severity) in enumerate(perturbations, 1):
        if severity == 0:
            interval = _drop_interval(is_correct[:, 0], is_correct[:, column])
            value = accuracy[name, 0]
            regions[name] = {"accuracy": value, "drop": clean - value, "interval": interval, "share": share_of(name)}
    return {
        "clean": clean,
        "samples": len(labels),
        "chance": float(np.bincount(labels).max() / len(labels)),
        "corruptions": corruptions,
        "mean_corruption_error": float(np.mean([entry["error"] for entry in corruptions.values()])),
        "regions": regions,
    }


def to_pixels(crops: Tensor, network: Network) -> Tensor:
    """uint8 [B, 3, H, W]: the pixels that the loader's crops were made of, exactly. crops: float [B, 3, H, W]."""
    mean, std = (torch.tensor(values, device=crops.device).view(1, 3, 1, 1) for values in (network.mean, network.std))
    return ((crops.float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)


def to_crops(pixels: Tensor, network: Network) -> Tensor:
    """float32 [B, 3, H, W], channels last: pixels as the network sees them."""
    mean, std = (torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) for values in (network.mean, network.std))
    return ((pixels.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def _winners(model: nn.Module, crops: Tensor, mask: Tensor) -> NDArray[np.int64]:
    # Of the probabilities and not the logits, as metrics.predicted does it: rounding can make two of them equal.
    found: NDArray[np.int64] = (model(crops) + mask).softmax(1).argmax(1).cpu().numpy()
    return found


def _drop_interval(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> list[float]:
    """95 % interval of the drop in accuracy, from images drawn with replacement, each with both its answers."""
    lost, won = (before & ~after).mean(), (after & ~before).mean()
    counts = np.random.default_rng(0).multinomial(len(before), [lost, won, max(0.0, 1 - lost - won)], size=1000)
    low, high = np.quantile((counts[:, 0] - counts[:, 1]) / len(before), (0.025, 0.975))
    return [float(low), float(high)]
