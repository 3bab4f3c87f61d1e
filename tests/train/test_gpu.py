"""What only a GPU can show: mixed decode, half-precision crops on the device, training there. Skipped without one."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.faces import encoded, faces, shard_set
from support.hostile import broken
from support.runs import arguments, drawn_shards
from support.strategies import RATE, drawn_batch, drawn_model, settings

from fer_dist.bench.gpu.pixels import damaged, pixels
from fer_dist.cli.commands import main
from fer_dist.config.settings import DataConfig
from fer_dist.data.emotions import SEVEN
from fer_dist.data.loading.augment import draw
from fer_dist.data.loading.loader import NO_IDS, Placement, evaluation_loader
from fer_dist.data.loading.pipeline import Crops, DecodeError, Graph, Inputs
from fer_dist.data.loading.reader import Reader
from fer_dist.distributed.world import World
from fer_dist.evaluate.results import load_scores
from fer_dist.runs.network import on_device
from fer_dist.train.engine import Engine

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


FIXED = ("cpu", "cuda", "hardware")
"""Decoders that give an image the same pixels in every batch."""

MOST_GREY_LEVELS = 1.0
"""On average, between a decoder of a GPU and the CPU's: a JPEG's transform is rounded otherwise by each."""


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return drawn_shards(tmp_path_factory.mktemp("shards"))


def crops(shards, device: str, half: bool, decoder: str = "auto", batch_size: int = 16) -> torch.Tensor:
    reader = Reader(shards / "test", SEVEN)
    placement = Placement(0, 1, torch.device(device), half, 2)
    data = DataConfig(size=24, crop=20, decoder=decoder)
    return torch.cat([batch.crops.clone() for batch in evaluation_loader(data, reader, placement, batch_size)])


@pytest.mark.parametrize("decoder", FIXED)
def test_each_fixed_decoder_gives_nearly_the_crops_of_the_cpu(shards, decoder):
    on_cpu, on_gpu = crops(shards, "cpu", False), crops(shards, "cuda:0", False, decoder)
    assert on_gpu.device.type == "cuda"
    grey_levels = (on_cpu - on_gpu.cpu()).abs() * 255 * 0.225
    assert grey_levels.mean() < MOST_GREY_LEVELS


@pytest.mark.parametrize("decoder", FIXED)
def test_an_image_has_the_same_pixels_in_every_batch_and_nearly_those_of_the_cpu(decoder):
    device = torch.device("cuda", 0)
    images = [np.frombuffer(encoded(i, "JPEG", 24 + 20 * i, "RGB"), np.uint8) for i in range(12)]
    alone = [pixels([image], device, decoder)[0] for image in images]
    for batch in (images, images[::-1], images * 8):
        places = [next(i for i, image in enumerate(images) if image is each) for each in batch]
        found = pixels(batch, device, decoder)
        assert all(np.array_equal(each, alone[i]) for each, i in zip(found, places, strict=True))
    for image, each in zip(images, alone, strict=True):
        assert np.abs(each - pixels([image], torch.device("cpu"), "cpu")[0]).mean() < MOST_GREY_LEVELS


@pytest.mark.parametrize("decoder", FIXED)
def test_crops_of_an_evaluation_are_the_same_in_batches_of_any_size(shards, decoder):
    sizes = [crops(shards, "cuda:0", False, decoder, batch_size) for batch_size in (1, 5, 16)]
    assert torch.equal(sizes[0], sizes[1])
    assert torch.equal(sizes[0], sizes[2])


def with_damage(folder, device: str) -> tuple[dict[str, str], list[torch.Tensor]]:
    """The images that an evaluation leaves out, and the crops of each batch."""
    data = DataConfig(size=24, crop=20, on_bad="skip")
    loader = evaluation_loader(data, Reader(folder, SEVEN), Placement(0, 1, torch.device(device), False, 2), 8)
    found = [batch.crops.cpu() for batch in loader]
    return loader.bad, found


def test_the_same_damaged_images_are_left_out_as_on_the_cpu(tmp_path):
    made = faces(40, form="JPEG")
    for number, content in enumerate([*damaged(made[0].members["jpg"]).values(), *broken().values()]):
        made[3 * number] = replace(made[3 * number], members={**made[3 * number].members, "jpg": content})
    folder = shard_set(tmp_path / "test", [made])
    (bad, on_cpu), (bad_on_gpu, on_gpu) = with_damage(folder, "cpu"), with_damage(folder, "cuda:0")
    assert bad == bad_on_gpu
    assert [len(crops) for crops in on_cpu] == [len(crops) for crops in on_gpu]


def test_memory_of_the_device_does_not_grow_over_two_hundred_graphs_that_an_image_broke():
    device, data = torch.device("cuda", 0), DataConfig(size=24, crop=20, views="centre")
    image = encoded(0, "JPEG", 64, "RGB")
    # Without its tables, which is seen only when it is decoded.
    content = [np.frombuffer(part, np.uint8) for part in (image, image.replace(b"\xff\xdb", b"\xff\xfe"))]
    graph = Graph(data, False, len(content), device, False, 2)
    free = []
    for _ in range(200):
        with pytest.raises(DecodeError):
            Crops(graph, lambda: Inputs(content, draw(data, 0, 0, NO_IDS))).next()
        free.append(torch.cuda.mem_get_info(device)[0])
    # The first ones fill DALI's pools, which are the process's.
    assert free[20] - free[-1] <= 64 << 20


def test_half_precision_crops_are_channels_last_on_the_device(shards):
    found = crops(shards, "cuda:0", True)
    assert found.dtype == torch.float16
    assert found[:16].is_contiguous(memory_format=torch.channels_last)


def test_a_dry_run_counts_what_decoding_and_the_context_take(shards, tmp_path, capsys):
    torch.cuda.reset_peak_memory_stats()
    assert main(["train", *arguments(shards, tmp_path, "dry", "--run.device", "cuda"), "--dry-run"]) == 0
    counted = float(re.search(r"memory: +about ([0-9.]+) GiB on the cuda", capsys.readouterr().out)[1])
    assert counted > torch.cuda.max_memory_allocated() / 2**30


@pytest.mark.parametrize("compiled", ["on", "graphs"])
def test_compiled_steps_on_a_gpu_follow_the_loss_of_plain_ones(compiled):
    world = World(0, 1, torch.device("cuda", 0))
    losses = []
    for how in ("off", compiled):
        config = settings(compile=how, precision="bf16")
        engine = Engine(config, on_device(drawn_model(), world.device), world)
        assert how == "off" or engine.compile(16) == ""
        for step in range(10):
            batch = drawn_batch(step)
            crops = batch.crops.cuda().half().to(memory_format=torch.channels_last)
            engine.step(replace(batch, crops=crops, labels=batch.labels.cuda()), RATE)
        losses.append(engine.totals().loss)
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_a_step_and_a_look_in_bf16_never_wait_for_the_gpu():
    world = World(0, 1, torch.device("cuda", 0))
    engine = Engine(settings(precision="bf16"), on_device(drawn_model(), world.device), world)
    batch = drawn_batch(0)
    batch = replace(batch, crops=batch.crops.cuda().half(), labels=batch.labels.cuda())
    engine.step(batch, RATE)
    torch.cuda.set_sync_debug_mode("error")
    try:
        engine.step(batch, RATE)
        look = engine.look()
        engine.step(batch, RATE)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert look.totals().images == 32


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_training_on_a_gpu_ends_and_is_scored(shards, tmp_path, precision):
    words = arguments(shards, tmp_path, precision, "--run.device", "cuda", "--train.precision", precision)
    assert main(["train", *words]) == 0
    (scores,) = load_scores(tmp_path / precision).values()
    assert np.isfinite(scores["negative_log_likelihood"])
