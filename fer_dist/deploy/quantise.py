"""An exported ONNX file in 8-bit integers, and what that costs: accuracy on the same images, before and after."""

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fer_dist.config.settings import DataConfig, EvaluateConfig, ExportConfig
from fer_dist.data.loading.loader import Placement, evaluation_loader
from fer_dist.data.loading.reader import Reader
from fer_dist.deploy.agreement import Batches
from fer_dist.deploy.formats import INPUT, Facts, with_facts
from fer_dist.distributed.world import World, default_threads
from fer_dist.evaluate.parity import parity
from fer_dist.evaluate.predict import evaluation_data, predict
from fer_dist.progress import Cells
from fer_dist.runs.network import Network
from fer_dist.runs.onnx_file import load_onnx
from fer_dist.scores.compare import paired
from fer_dist.storage.writing import write_atomically


@dataclass(frozen=True)
class Cost:
    """Of a set: accuracies from 0 to 1, their difference (below 0 where integers are worse) with a 95 % interval."""

    dataset: str
    images: int
    float32: float
    int8: float
    difference: float
    interval: tuple[float, float]
    differing: int


def quantise(path: Path, target: Path, batches: Batches, facts: Facts) -> None:
    """Write a float32 file once more, with weights and activations as integers, by static quantisation.

    batches: of the images whose activations give the ranges. Weights have one range a channel.
    Source: onnxruntime's own advice, QDQ with signed integers for both.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.waiting = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            found = next(self.waiting, None)
            return found and {INPUT: found[1].contiguous().numpy()}

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared, made = Path(folder, "prepared.onnx"), Path(folder, "int8.onnx")
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        kinds = {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}
        quantize_static(str(prepared), str(made), Images(), QuantFormat.QDQ, per_channel=True, **kinds)
        proto = onnx.load(made)
    write_atomically(target, with_facts(proto, facts | {"precision": "int8"}))


def costs_of(
    path: Path, network: Network, model: nn.Module, readers: Sequence[Reader], config: ExportConfig
) -> list[Cost]:
    """What the integers of a file cost on each set. model: the network that it was made from."""
    _, integers = load_onnx(path, EvaluateConfig((), ()))
    device = torch.device("cpu")
    data = evaluation_data(network, DataConfig(on_bad=config.on_bad))
    placement = Placement(0, 1, device, half=False, threads=config.threads or default_threads())
    found = []
    for reader in readers:
        tables = [
            predict(one, network, evaluation_loader(data, reader, placement, config.batch_size), World(0, 1, device))
            for one in (model, integers)
        ]
        values, (low, high) = parity(*tables), paired(tables[1], tables[0])["interval"]
        accuracies = values["float32"], values["half"], values["difference"]
        found.append(Cost(reader.manifest.name, values["samples"], *accuracies, (low, high), values["differing"]))
    return found


def costs_table(costs: Sequence[Cost]) -> Cells:
    """A set a row; the cost in points."""
    header = ["data", "images", "float32 %", "int8 %", "change, points", "95 %", "another emotion"]
    rows = []
    for cost in costs:
        low, high = cost.interval
        numbers = [f"{100 * cost.float32:.2f}", f"{100 * cost.int8:.2f}", f"{100 * cost.difference:+.2f}"]
        numbers += [f"{100 * low:+.2f} to {100 * high:+.2f}", f"{cost.differing:,}"]
        rows.append([cost.dataset, f"{cost.images:,}", *numbers])
    return header, rows
