"""The DALI graph: encoded pictures and drawn parameters in, normalised crops out. The one file that imports DALI."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from fer_dist.config import DataConfig
from fer_dist.data.augment import CORNERS, Augmentation
from fer_dist.errors import InputError

TONE = ("brightness", "contrast", "saturation", "hue")


class DecodeError(Exception):
    """A graph stopped, most likely because a picture does not decode. It cannot be used again."""


@dataclass(frozen=True)
class Graph:
    """What a graph does.

    augment:    tone, rotation and mirroring are applied; off for evaluation.
    batch_size: the most samples of a batch; batches may be smaller.
    device:     where pictures are decoded (nvJPEG on CUDA) and crops end up.
    half:       crops are float16 instead of float32.
    """

    data: DataConfig
    augment: bool
    batch_size: int
    device: torch.device
    half: bool
    threads: int


@dataclass(frozen=True)
class Inputs:
    """One batch for the graph: encoded pictures (uint8, any length each) and their augmentation."""

    content: Sequence[NDArray[np.uint8]]
    augmentation: Augmentation


class Crops:
    """Runs a graph over what `source` gives, two batches ahead of what is asked for.

    source is called in this thread when the graph wants its next batch; it raises StopIteration at the end.
    """

    def __init__(self, graph: Graph, source: Callable[[], Inputs]) -> None:
        self._graph = graph
        self._pipeline = _build(graph, source)

    def next(self) -> Tensor:
        """The crops of the next batch: float [B, V, H, W, 3] on the device, a view of DALI's own memory.

        Raises StopIteration at the end and DecodeError where the graph broke.
        """
        stream = torch.cuda.current_stream(self._graph.device) if self._graph.device.type == "cuda" else None
        try:
            (crops,) = self._pipeline.run(stream)
        except RuntimeError as error:
            raise DecodeError(str(error)) from error
        return from_dlpack(crops.as_tensor())


def views_of(data: DataConfig) -> int:
    """V, the crops of a picture."""
    return len(CORNERS) if data.views in ("expand", "fold") else 1


def looks_whole(picture: NDArray[np.uint8]) -> bool:
    """Whether an encoded picture begins and ends as a JPEG or a PNG does; what does not is worth a look of its own."""
    head, tail = picture[:8].tobytes(), picture[-64:].tobytes()
    return (head[:3] == b"\xff\xd8\xff" and b"\xff\xd9" in tail) or (head == b"\x89PNG\r\n\x1a\n" and b"IEND" in tail)


def find_bad(content: Sequence[NDArray[np.uint8]], device: torch.device) -> list[int]:
    """Which of these pictures do not decode. Each is decoded alone, since DALI does not say which one broke a batch."""
    bad = []
    feed: list[NDArray[np.uint8]] = []
    pipeline = None
    for i, picture in enumerate(content):
        feed[:] = [picture]
        pipeline = pipeline or _build_decoder(device, feed)
        try:
            pipeline.run()
        except RuntimeError:
            bad.append(i)
            pipeline = None
    return bad


def _build(graph: Graph, source: Callable[[], Inputs]) -> Any:
    pipeline = _pipeline(graph.batch_size, graph.threads, graph.device)
    from nvidia.dali import fn, types

    names = _drawn(graph)

    def give() -> list[Any]:
        inputs = source()
        return [list(inputs.content), *(getattr(inputs.augmentation, name) for name in names)]

    with pipeline:
        kinds = [types.UINT8] + [types.INT32 if name == "mirror" else types.FLOAT for name in names]
        ranks = [1] + [1 if name == "corner" else 0 for name in names]
        # Encoded pictures stay on the host; the decoder takes them from there ("mixed" on a GPU).
        jpegs, *drawn = fn.external_source(source=give, num_outputs=len(kinds), batch=True, dtype=kinds, ndim=ranks)
        pictures = _decode(jpegs, graph.device)
        pipeline.set_outputs(_augmented(pictures, dict(zip(names, drawn, strict=True)), graph))
    pipeline.build()
    return pipeline


def _augmented(pictures: Any, drawn: dict[str, Any], graph: Graph) -> Any:
    """Resize, tone, rotate, cut and normalise: the study's order. drawn: graph nodes, by the name of what was drawn."""
    from nvidia.dali import fn, types

    data = graph.data
    pictures = fn.resize(pictures, size=[data.size, data.size])
    pictures = _tone(pictures, drawn)
    if "angle" in drawn:
        pictures = fn.rotate(pictures, angle=drawn["angle"], keep_size=True, fill_value=0)
    places: Sequence[tuple[Any, Any]] = CORNERS
    if data.views == "random_one":
        places = [(drawn["corner"][0], drawn["corner"][1])]
    elif data.views == "centre":
        places = [CORNERS[-1]]
    crops = [
        fn.crop_mirror_normalize(
            pictures,
            crop=(data.crop, data.crop),
            crop_pos_x=x,
            crop_pos_y=y,
            mirror=drawn.get("mirror", 0),
            mean=[255 * m for m in data.mean],
            std=[255 * s for s in data.std],
            dtype=types.FLOAT16 if graph.half else types.FLOAT,
            # Height, width, channels: seen from torch that is channels_last, without a copy.
            output_layout="HWC",
        )
        for x, y in places
    ]
    return fn.stack(*crops)


def _tone(pictures: Any, drawn: dict[str, Any]) -> Any:
    """Brightness, contrast, saturation, hue. color_twist costs four times brightness_contrast on a CPU."""
    from nvidia.dali import fn

    tone = {name: drawn[name] for name in TONE if name in drawn}
    if "hue" in tone or "saturation" in tone:
        return fn.color_twist(pictures, **tone)
    return fn.brightness_contrast(pictures, **tone, contrast_center=128.0) if tone else pictures


def _drawn(graph: Graph) -> list[str]:
    """Which draws the graph uses: DALI wants to be given those and no others."""
    data = graph.data
    used = []
    if graph.augment:
        used += [name for name in TONE if getattr(data, name)]
        used += ["angle"] if data.rotate_degrees else []
        used += ["mirror"] if data.flip else []
    return used + (["corner"] if data.views == "random_one" else [])


def _build_decoder(device: torch.device, feed: list[NDArray[np.uint8]]) -> Any:
    pipeline = _pipeline(1, 1, device, ahead=1)
    from nvidia.dali import fn, types

    with pipeline:
        jpegs = fn.external_source(source=lambda: [feed[0]], batch=True, dtype=types.UINT8, ndim=1)
        pipeline.set_outputs(_decode(jpegs, device))
    pipeline.build()
    return pipeline


def _pipeline(batch_size: int, threads: int, device: torch.device, ahead: int = 2) -> Any:
    try:
        from nvidia.dali import Pipeline
    except ModuleNotFoundError:
        extras = "'fer-dist[cuda13]', or 'fer-dist[cuda12]' where torch is built for CUDA 12"
        raise InputError(f"DALI is not installed; install it with: pip install {extras}") from None

    device_id = (device.index or 0) if device.type == "cuda" else None
    return Pipeline(batch_size=batch_size, num_threads=threads, device_id=device_id, prefetch_queue_depth=ahead, seed=0)


def _decode(jpegs: Any, device: torch.device) -> Any:
    from nvidia.dali import fn, types

    where = "mixed" if device.type == "cuda" else "cpu"
    return fn.decoders.image(jpegs, device=where, output_type=types.RGB)
