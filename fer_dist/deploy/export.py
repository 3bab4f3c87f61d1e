"""A run as one file that others can use, held against the run before it gets its name."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fer_dist import __version__
from fer_dist.config.settings import DataConfig, ExportConfig
from fer_dist.data.images import decode
from fer_dist.data.loading.loader import Placement, evaluation_loader, open_reader
from fer_dist.data.loading.order import Positions, cut
from fer_dist.data.loading.reader import Reader, choose
from fer_dist.data.loading.shard_set import ShardSet
from fer_dist.data.sources.source import Sample, open_source
from fer_dist.deploy.agreement import Agreement, Batches, agreement, check_agreement
from fer_dist.deploy.formats import WRITERS, Facts
from fer_dist.deploy.quantise import Cost, costs_of, quantise
from fer_dist.distributed.world import default_threads
from fer_dist.errors import InputError, counted
from fer_dist.evaluate.predict import evaluating, evaluation_data
from fer_dist.evaluate.results import scores_of_weights
from fer_dist.evaluate.robustness.measure import to_crops
from fer_dist.progress import Progress, Tally, counting, warnings_to
from fer_dist.runs.checkpoint import load_model, weights_file
from fer_dist.runs.folder import EXPORT, RunFolder, entered
from fer_dist.runs.network import Network
from fer_dist.runs.opening import run_number
from fer_dist.storage.writing import file_hash, free_bytes

DRAWN = 64
"""Faces that are drawn where no set is given."""

DRAWN_PIXELS = (16, 1024)
"""Sides that the synthetic source draws."""

KEPT_SCORES = (
    "samples", "accuracy", "accuracy_interval", "mean_over_classes", "macro_f1", "expected_calibration_error", "recall",
)  # fmt: skip
"""What a file says of the scores of its run, of each set."""


@dataclass(frozen=True)
class Exported:
    """path: of the file; checked: over what, in words; outputs: logits or probabilities; found: how it agreed.

    int8: the file in integers, where one was asked for, and costs: what these cost on each set.
    """

    path: Path
    checked: str
    outputs: str
    found: Agreement
    int8: Path | None = None
    costs: tuple[Cost, ...] = ()


def export_run(
    run: str,
    config: ExportConfig,
    sets: Sequence[ShardSet],
    calibration: ShardSet | None = None,
    show: Progress = lambda message: None,
) -> Exported:
    """Write a run as a file, and hold it against the run over every image of the sets, or over drawn faces.

    sets, calibration: of config, opened. The file gets its name once it has agreed.
    Raises InputError where run or sets do not fit; WorkError where the network cannot be exported or the file differs.
    """
    home = entered(run, warnings_to(show))
    weights = weights_file(home, config.checkpoint)
    network, model = load_model(weights, given=config.network)
    readers = [open_reader(found, network.emotions, config.reading, "--data") for found in sets]
    ranges = calibration and open_reader(calibration, network.emotions, config.reading, "--calibration")
    path = _place(home, config)
    outputs = "probabilities" if config.softmax else "logits"
    images = sum(int(reader.counts.sum()) for reader in readers) or DRAWN
    names = ", ".join(reader.manifest.name for reader in readers)
    checked = f"{counted(images, 'image')} of {names}" if names else f"{images} drawn faces, no photographs"
    facts = _facts(home, weights, network, outputs, checked)
    unchecked = path.with_name(f"{path.stem}.unchecked{path.suffix}")
    given = nn.Sequential(model, nn.Softmax(1)) if config.softmax else model
    answers = WRITERS[config.format](unchecked, given.eval(), network.crop, facts)
    of_sets = chain.from_iterable(_of_set(network, reader, config) for reader in readers)
    batches = _counted(of_sets if readers else _drawn(network), images, counting(show, "images"))
    with evaluating(model):
        found = agreement(model, answers, network.emotions, outputs, batches)
    check_agreement(found, outputs, str(unchecked))
    unchecked.replace(path)
    done = Exported(path, checked, outputs, found)
    if ranges:
        target = path.with_name(f"{path.stem}.int8{path.suffix}")
        chosen = cut(choose(ranges, config.calibration_samples), config.batch_size)
        quantise(path, target, _of_set(network, ranges, config, chosen), facts)
        done = replace(done, int8=target, costs=tuple(costs_of(target, network, model, readers, config)))
    home.send()
    home.close()
    return done


def _place(home: RunFolder, config: ExportConfig) -> Path:
    """Where the file goes, which can be written. Raises InputError."""
    ending = f".{config.format}"
    if config.out and not config.out.endswith(ending):
        raise InputError(f"--out {config.out}: give a name that ends with {ending}, or another --format")
    beside = home.path / EXPORT if home.path.is_dir() else home.path.parent
    path = Path(config.out) if config.out else beside / f"{home.path.stem}{ending}"
    free_bytes(path.parent, "--out")
    if path.is_dir():
        raise InputError(f"--out {path}: a folder stands there; give the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _facts(home: RunFolder, weights: Path, network: Network, outputs: str, checked: str) -> Facts:
    """What a file says of itself, each as text or JSON. weights: their file; its scores are those of these weights."""
    sha256 = file_hash(weights)
    source = {"name": home.path.name, "weights_sha256": sha256}
    if home.path.is_dir():
        source |= {"run": run_number(home), "step": weights.parent.name}
    known = scores_of_weights(home, sha256)[0] if home.path.is_dir() else {}
    scores = {name: {key: values[key] for key in KEPT_SCORES if key in values} for name, values in known.items()}
    steps = (
        f"the whole image resized to {network.size} x {network.size} pixels, its centre of {network.crop} x "
        f"{network.crop}, as RGB from 0 to 1, less mean, divided by std; float32 [batch, 3, {network.crop}, "
        f"{network.crop}]"
    )
    return {
        "network": json.dumps(asdict(network)),
        "emotions": ",".join(network.emotions),
        "input": steps,
        "faces": str(network.crop_rule or "not known"),
        "outputs": outputs,
        "source": json.dumps(source),
        "scores": json.dumps(scores),
        "checked": checked,
        "fer_dist": __version__,
    }


def _of_set(network: Network, reader: Reader, config: ExportConfig, parts: list[Positions] | None = None) -> Batches:
    """The images of a set as an evaluation sees them: all of them, or those batches."""
    data = evaluation_data(network, DataConfig(on_bad=config.on_bad))
    placement = Placement(0, 1, torch.device("cpu"), half=False, threads=config.threads or default_threads())
    for batch in evaluation_loader(data, reader, placement, config.batch_size, parts):
        # A view of the loader's memory, of which the next batch makes use.
        yield batch.samples.keys, batch.crops.float().clone()


def _drawn(network: Network) -> Batches:
    """Drawn faces, which every network can be shown, whatever its classes are."""
    least, most = DRAWN_PIXELS
    source = open_source("synthetic", "wild", count=0, test_count=DRAWN, pixels=min(max(network.crop, least), most))
    samples = [sample for sample in source.samples() if isinstance(sample, Sample)]
    side = (network.crop, network.crop)
    images = [decode(source.read(sample).content).convert("RGB").resize(side) for sample in samples]
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
    yield [sample.key for sample in samples], to_crops(pixels.permute(0, 3, 1, 2), network)


def _counted(batches: Batches, total: int, progress: Tally) -> Iterator[tuple[list[str], Tensor]]:
    done = 0
    for keys, crops in batches:
        yield keys, crops
        done += len(keys)
        progress(done, total)
