"""The fused graph beside the study's steps one by one, and the crops that both end with."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from support.faces import face
from torch import Tensor

from fer_dist.config.settings import Config, DataConfig, differences
from fer_dist.data.draws import hashed
from fer_dist.data.loading.augment import CORNERS, Augmentation, draw
from fer_dist.data.loading.pipeline import Crops, Graph, Inputs

CPU = torch.device("cpu")
GREY_LEVELS = DataConfig(mean=(0, 0, 0), std=(1 / 255, 1 / 255, 1 / 255), flip=True)
"""Everything that the study does, and mirroring; the crops are the pixels from 0 to 255."""


def image(number: int, width: int, height: int, noise: float = 0) -> NDArray[np.uint8]:
    """Light and shade as in `face`, an encoded PNG. noise: grey levels from pixel to pixel."""
    smooth = np.asarray(face(number, 256, "RGB").resize((width, height)), np.float64)
    rough = np.random.default_rng(number).normal(0, noise, (height, width, 1)) if noise else 0
    stream = io.BytesIO()
    Image.fromarray(np.clip(smooth + rough, 0, 255).astype(np.uint8)).save(stream, "PNG")
    return np.frombuffer(stream.getvalue(), np.uint8)


def drawn(data: DataConfig, count: int) -> Augmentation:
    return draw(data, 0, 0, hashed(np.arange(count)))


def crops_of(
    images: list[NDArray[np.uint8]],
    data: DataConfig,
    augmentation: Augmentation | None = None,
    augment: bool = True,
    half: bool = False,
    threads: int = 1,
) -> Tensor:
    """One batch through the graph. [B, V, H, W, 3]"""
    waiting = iter([Inputs(images, augmentation or drawn(data, len(images)))])
    return Crops(Graph(data, augment, len(images), CPU, half, threads), lambda: next(waiting)).next()


@pytest.mark.parametrize(
    ("width", "height", "size", "noise"),
    [
        (48, 48, 48, 20),
        (48, 48, 64, 20),
        (48, 48, 256, 20),
        (100, 80, 128, 20),
        (224, 224, 256, 2),
        (224, 160, 224, 2),
        (256, 256, 256, 20),
        (400, 300, 256, 20),
    ],
)
def test_fused_steps_stay_within_one_grey_level_on_average(width: int, height: int, size: int, noise: float) -> None:
    data = replace(GREY_LEVELS, size=size, crop=size - 8)
    images = [image(i, width, height, noise) for i in range(12)]
    fused, apart = (crops_of(images, replace(data, fused=choice)) for choice in (True, False))
    distance = (fused - apart).abs().mean((1, 2, 3, 4))
    assert distance.mean() < 1
    assert distance.max() < 1.5


def test_without_tone_and_resize_a_fused_rotation_is_dalis_own() -> None:
    data = replace(GREY_LEVELS, size=96, crop=96, views="centre", brightness=0, contrast=0, saturation=0, hue=0)
    images = [image(i, 96, 96, noise=30) for i in range(6)]
    fused, apart = (crops_of(images, replace(data, fused=choice)) for choice in (True, False))
    assert (fused - apart).abs().max() <= 1
    assert (fused - apart).abs().mean() < 0.01


def test_an_enlarged_small_image_has_no_dark_edge() -> None:
    data = replace(GREY_LEVELS, size=64, crop=64, views="centre", brightness=0, contrast=0, saturation=0, hue=0)
    stream = io.BytesIO()
    Image.new("RGB", (48, 48), (200, 200, 200)).save(stream, "PNG")
    level = replace(drawn(data, 1), angle=np.zeros(1, np.float32))
    assert (crops_of([np.frombuffer(stream.getvalue(), np.uint8)], data, level) == 200).all()


@pytest.mark.parametrize("views", ["expand", "random_one"])
def test_fused_pixels_depend_neither_on_the_batch_nor_on_the_threads(views: str) -> None:
    data = replace(GREY_LEVELS, size=64, crop=56, views=views)
    images = [image(i, side, side, 20) for i, side in enumerate((48, 64, 100, 60, 48, 200))]
    augmentation = drawn(data, 6)
    together = crops_of(images, data, augmentation, threads=3)
    for i in range(6):
        own = Augmentation(**{name: values[i : i + 1] for name, values in vars(augmentation).items()})
        assert torch.equal(crops_of(images[i : i + 1], data, own)[0], together[i])


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("crop", [55, 56])
def test_each_of_five_crops_is_the_single_crop_of_its_corner_also_when_mirrored(crop: int, fused: bool) -> None:
    data = replace(GREY_LEVELS, size=64, crop=crop, fused=fused)
    images = [image(i, 64, 64, 20) for i in range(8)]
    augmentation = drawn(data, 8)
    assert 0 < augmentation.mirror.sum() < 8
    five = crops_of(images, data, augmentation)
    for view, corner in enumerate(CORNERS):
        one = replace(augmentation, corner=np.tile(np.array(corner, np.float32), (8, 1)))
        assert torch.equal(five[:, view], crops_of(images, replace(data, views="random_one"), one)[:, 0])


@pytest.mark.parametrize("views", ["expand", "random_one"])
def test_half_precision_is_the_rounded_single_precision(views: str) -> None:
    data = replace(DataConfig(flip=True), size=64, crop=56, views=views)
    images = [image(i, 64, 64, 20) for i in range(4)]
    found = crops_of(images, data, half=True)
    assert found.dtype == torch.float16
    assert torch.equal(found, crops_of(images, data).half())


def test_an_evaluation_is_the_same_fused_or_not() -> None:
    data = replace(GREY_LEVELS, size=64, crop=56, views="centre")
    images = [image(i, 48, 80) for i in range(3)]
    fused, apart = (crops_of(images, replace(data, fused=choice), augment=False) for choice in (True, False))
    assert torch.equal(fused, apart)


def test_a_resumed_run_may_not_change_it() -> None:
    changed = list(differences(Config(), Config(data=DataConfig(fused=not DataConfig().fused))).values())
    assert changed == [f"data.fused {DataConfig().fused} -> {not DataConfig().fused}"]
