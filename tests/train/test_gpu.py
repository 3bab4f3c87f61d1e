"""What only a GPU can show: mixed decode, half-precision crops on the device, training there. Skipped without one."""

import numpy as np
import pytest
import torch
from support.runs import arguments, drawn_shards

from fer_dist.cli.commands import main
from fer_dist.config.settings import DataConfig
from fer_dist.data.emotions import SEVEN
from fer_dist.data.loading.loader import Placement, evaluation_loader
from fer_dist.data.loading.reader import Reader
from fer_dist.evaluate.results import load_scores

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return drawn_shards(tmp_path_factory.mktemp("shards"))


def crops(shards, device: str, half: bool) -> torch.Tensor:
    reader = Reader(shards / "test", SEVEN)
    placement = Placement(0, 1, torch.device(device), half, 2)
    data = DataConfig(size=24, crop=20)
    return torch.cat([batch.crops.clone() for batch in evaluation_loader(data, reader, placement, 16)])


def test_mixed_decode_gives_nearly_the_crops_of_the_cpu(shards):
    on_cpu, on_gpu = crops(shards, "cpu", False), crops(shards, "cuda:0", False)
    assert on_gpu.device.type == "cuda"
    grey_levels = (on_cpu - on_gpu.cpu()).abs() * 255 * 0.225
    assert grey_levels.mean() < 1


def test_half_precision_crops_are_channels_last_on_the_device(shards):
    found = crops(shards, "cuda:0", True)
    assert found.dtype == torch.float16
    assert found[:16].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_training_on_a_gpu_ends_and_is_scored(shards, tmp_path, precision):
    words = arguments(shards, tmp_path, precision, "--run.device", "cuda", "--train.precision", precision)
    assert main(["train", *words]) == 0
    (scores,) = load_scores(tmp_path / precision).values()
    assert np.isfinite(scores["negative_log_likelihood"])
