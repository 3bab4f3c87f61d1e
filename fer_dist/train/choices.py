"""Settings that a run chooses by itself where they are left open: its arithmetic, its threads, and its compilation."""

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fer_dist.config.settings import Config, with_settings
from fer_dist.data.loading.pipeline import views_of
from fer_dist.distributed.hardware import HALF, cores, cost_of, fastest, weakest
from fer_dist.distributed.world import World
from fer_dist.runs.network import build_for, network_of

SECONDS_AN_IMAGE, SECONDS_A_PIXEL = 0.25e-3, 40e-9
"""What reading, decoding and augmenting an image takes one core, by the pixels that it is resized to."""

FLOPS_A_SECOND = {False: 45e9, True: 180e9}
"""What one core computes of a network in float32 (AVX2), and in half precision where it has that."""

TOLERATED = 1.05
"""How much longer the network may take where it leaves cores to decoding, over all cores with nobody ever waiting."""

COUNTED_SIDE = 64
"""Larger crops are counted by their pixels."""

MOST_DECODING = 8
"""More threads a worker do not decode faster (facts of DALI: 4 to 8)."""

CROPS_A_SECOND, SECONDS_A_STEP = 16_000, 5e-3
"""What a GPU takes uncompiled: crops of the study's network, and at least that long for a step, which some 430 kernels
are started for. Guessed for an H100 from the bytes that a step moves, and not seen: fer-dist bench gpu measures it."""

FLOPS_OF_A_CROP = 3.63e9
"""Of the study's network, 224 px, on the way there."""

COMPILED_FROM_SECONDS = 600.0
"""Of a run's steps, uncompiled: to compile takes a minute or two, and saves a quarter of what follows (a guess too)."""


@dataclass(frozen=True)
class Chosen:
    """A run's settings, none of them open. told: what was chosen and why; warnings: lines for a person."""

    config: Config
    told: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Threads:
    """Of one worker: those that decode and augment, and torch's own."""

    decode: int
    torch: int


def choose(config: Config, kept: dict[str, Any], world: World, images: int = 0) -> Chosen:
    """Choose what is left open, on all ranks by what the weakest of them can.

    kept: what the run that goes on has chosen, by the names of the settings: it stays so where the hardware allows.
    images: of the training set; 0 for a few steps that are measured.
    """
    precision, why = _precision(config, kept, world)
    config = with_settings(config, {"train.precision": precision})
    threads, note = _threads(config, kept, world)
    compiled = _compiled(config, kept, world.device, images)
    settings = {"data.threads": threads.decode, "train.threads": threads.torch, "train.compile": compiled}
    told = f"{precision} ({why}), threads: {threads.decode} decode"
    if world.device.type == "cpu":
        told += f", {threads.torch} compute"
    if compiled != "off":
        told += f", compiled{' to CUDA graphs' * (compiled == 'graphs')}"
    notes = tuple(text for text in (*world.all_gather_object(cost_of(precision, world.device))[:1], note) if text)
    return Chosen(with_settings(config, settings), told, notes)


def _precision(config: Config, kept: dict[str, Any], world: World) -> tuple[str, str]:
    """The precision, and why."""
    if config.train.precision != "auto":
        return config.train.precision, "as asked for"
    if "train.precision" in kept:
        return kept["train.precision"], "as the run began"
    mine = fastest(world.device, config.train.strategy)
    found = weakest(world.all_gather_object(mine))
    return found.precision, found.reason


def _compiled(config: Config, kept: dict[str, Any], device: torch.device, images: int) -> str:
    """off, on or graphs. A CPU takes minutes to compile and saves none; DeepSpeed's gradients would come at the end."""
    train, data = config.train, config.data
    if train.compile != "auto":
        return train.compile
    if "train.compile" in kept:
        return str(kept["train.compile"])
    if device.type != "cuda" or train.strategy != "ddp":
        return "off"
    crops = views_of(data) * train.batch_size * flops(config) / FLOPS_OF_A_CROP
    steps = train.epochs * images / train.batch_size
    return "on" if steps * max(crops / CROPS_A_SECOND, SECONDS_A_STEP) >= COMPILED_FROM_SECONDS else "off"


def _threads(config: Config, kept: dict[str, Any], world: World) -> tuple[Threads, str]:
    """The threads of each rank, and a line where a run that goes on cannot have those that it began with."""
    fewest = world.min(cores())
    rule = threads_for(config, world.device, fewest)
    began = Threads(kept.get("data.threads", rule.decode), kept.get("train.threads", rule.torch))
    note = ""
    if max(began.decode, began.torch) > fewest:
        note = (
            f"the run began with {began.decode} threads that decode and {began.torch} that compute; here are {fewest} "
            f"cores for a worker, so it goes on with {rule.decode} and {rule.torch}: weights may differ in last bits"
        )
        began = rule
    set_outside = os.environ.get("OMP_NUM_THREADS", "")
    of_torch = config.train.threads or (int(set_outside) if set_outside.isdigit() else 0) or began.torch
    return Threads(config.data.threads or began.decode, of_torch), note


def threads_for(config: Config, device: torch.device, count: int) -> Threads:
    """How a worker's cores are shared: a function of their count, the device, the network and the images alone.

    Timing a few steps would choose otherwise from run to run, and torch's sums depend on its threads.
    """
    if device.type == "cuda":
        return Threads(min(count, MOST_DECODING), count)
    decoding = SECONDS_AN_IMAGE + SECONDS_A_PIXEL * config.data.size**2
    rate = FLOPS_A_SECOND[config.train.precision in HALF]
    computing = 3 * views_of(config.data) * flops(config) / rate
    fair = (decoding + computing) / count
    decode = max(1, min(MOST_DECODING, round(decoding / fair)))
    left = count - decode
    return Threads(decode, left if left > 0 and computing / left <= TOLERATED * fair else count)


def flops(config: Config) -> int:
    """Floating-point operations of one crop on its way through the network's convolutions and linear layers, a
    multiplication and an addition as two; those of its way back are twice as many."""
    found = 0

    def count(layer: nn.Module, given: Any, made: Tensor) -> None:
        nonlocal found
        found += 2 * made.numel() * layer.get_parameter("weight")[0].numel()

    # Its weights are drawn and forgotten: what draws next must not see it.
    with torch.random.fork_rng(devices=[]):
        model = build_for(config).eval()
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(count)
    crop = config.data.crop
    # Other networks may take one size alone.
    side = min(crop, COUNTED_SIDE) if network_of(config).is_ours else crop
    with torch.no_grad():
        model(torch.zeros(1, 3, side, side))
    return round(found * (crop / side) ** 2)
