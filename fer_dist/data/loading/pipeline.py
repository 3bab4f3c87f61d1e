"""The DALI graph: encoded images and drawn parameters in, normalised crops out. The one file that imports DALI."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from fer_dist.config.checks import decoder_on
from fer_dist.config.settings import DataConfig, Decoder
from fer_dist.data.images import fault_in
from fer_dist.data.loading.augment import CORNERS, Augmentation
from fer_dist.errors import InputError, WorkError

COLOUR_JITTER = ("brightness", "contrast", "saturation", "hue")

MOST_ENLARGED, LEAST_ENLARGED = 1.5, 128
"""How many times a fused graph's warp may enlarge an image, and the side below which it enlarges none: a small image
is sharper after one interpolation than after two, by up to 1.6 grey levels on average (FER2013), a face of 224 px by
0.3."""


ENGINE_SHARES: dict[Decoder, float] = {"cuda": 0.0, "hardware": 1.0, "shared": 0.65}
"""Decoder of a GPU -> the share of a batch that its JPEG engine is given; it takes no progressive JPEG, for example.
0.65 is DALI's own."""


NAMED = re.compile(r"Failed to decode sample #(\d+)")
"""How DALI names the first image of a batch that its decoder refuses."""

HEADER_REFUSED = re.compile(r"nvImageCodec failure: '#(?:3|4|13|14|17|19)'")
"""How DALI says that it makes nothing of an image's header, without saying which image's. Source: nvimgcodecStatus_t of
nvImageCodec 0.9; not among them are 5, 6, 15, 20 and 21 (no memory, not executed, CUDA)."""


class DecodeError(Exception):
    """A graph stopped because an image does not decode. It cannot be used again.

    sample: its place in the batch that was to come next; None where only the header's parser refused it, and so DALI
    does not name it. Others of its batch may be as bad: DALI names the first.
    """

    def __init__(self, message: str, sample: int | None) -> None:
        super().__init__(message)
        self.sample = sample


@dataclass(frozen=True)
class Graph:
    """What a graph does.

    augment:    colour jitter, rotation and mirroring are applied; off for evaluation.
    batch_size: the most samples of a batch; batches may be smaller.
    device:     where images are augmented and crops end up; data.decoder says where they are decoded.
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
    """One batch for the graph: encoded images (uint8, any length each) and their augmentation."""

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

        Raises StopIteration at the end, DecodeError at an image that does not decode, and WorkError for all else that
        breaks the graph, as where memory is short.
        """
        stream = torch.cuda.current_stream(self._graph.device) if self._graph.device.type == "cuda" else None
        try:
            (crops,) = self._pipeline.run(stream)
        except RuntimeError as error:
            failure = failure_of(error)
            if isinstance(failure, WorkError):
                raise failure from error
        else:
            return from_dlpack(crops.as_tensor())
        # Not from the error, which holds the pipeline: its memory is given back before another one is built.
        self._pipeline = None
        raise failure


def views_of(data: DataConfig) -> int:
    """V, the crops of an image."""
    return len(CORNERS) if data.views in ("expand", "fold") else 1


class Trial:
    """Decodes images alone on the CPU, whatever decodes the batches: all devices leave out the same images.

    What a GPU's decoder takes and the CPU's would refuse behind a sound header is not found so.
    """

    def __init__(self) -> None:
        self._pipeline: Any = None
        self._image = np.zeros(0, np.uint8)

    def pixels(self, image: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """uint8 [H, W, 3]; None for an image that does not decode. Raises WorkError where that cannot be told.

        What Pillow does not know by its header, or what is too large, is not even tried.
        """
        if fault_in(image.tobytes()):
            return None
        self._image = image
        # One for all images, until one of them breaks it: on a machine with a GPU each costs more than a decode.
        self._pipeline = self._pipeline or _build_decoder(lambda: [self._image])
        try:
            (found,) = self._pipeline.run()
        except RuntimeError as error:
            self._pipeline = None
            failure = failure_of(error)
            if isinstance(failure, WorkError):
                raise failure from error
            return None
        return np.array(found.at(0))


def failure_of(error: RuntimeError) -> DecodeError | WorkError:
    """What an error of DALI means."""
    text = str(error)
    # In front of its own words stands where in Python the operator was made.
    said = [line.strip() for line in text.rpartition("encountered:")[2].splitlines()]
    reason = next((line for line in said if line and not line.startswith("Critical error in pipeline")), text)
    if named := NAMED.search(text):
        return DecodeError(reason, int(named[1]))
    if HEADER_REFUSED.search(text):
        return DecodeError(reason, None)
    return WorkError(f"DALI stopped, and not at an image that does not decode: {reason}; see more with --debug")


def _build(graph: Graph, source: Callable[[], Inputs]) -> Any:
    pipeline = empty_pipeline(graph.batch_size, graph.threads, graph.device)
    from nvidia.dali import fn, types
    from nvidia.dali.tensors import TensorCPU, TensorListCPU

    names = draws_of(graph)

    def give() -> list[Any]:
        inputs = source()
        # Of a list of arrays DALI looks at each in Python: 3 microseconds an image instead of 1. It copies either.
        wrapped = [TensorCPU(image) for image in inputs.content]
        encoded = TensorListCPU(wrapped, contiguous=False)  # type: ignore[call-overload]  # DALI's stub lacks it
        return [encoded, *(TensorListCPU(getattr(inputs.augmentation, name)) for name in names)]

    with pipeline:
        kinds = [types.UINT8] + [types.INT32 if name == "mirror" else types.FLOAT for name in names]
        ranks = [1] + [1 if name == "corner" else 0 for name in names]
        # Encoded images stay on the host; the decoder takes them from there.
        jpegs, *drawn = fn.external_source(source=give, num_outputs=len(kinds), batch=True, dtype=kinds, ndim=ranks)
        images = decoded(jpegs, graph.device, graph.data.decoder)
        pipeline.set_outputs(augmented(images, dict(zip(names, drawn, strict=True)), graph))
    pipeline.build()
    return pipeline


def augmented(images: Any, drawn: dict[str, Any], graph: Graph) -> Any:
    """Decoded images -> normalised crops [V, H, W, 3]. drawn: graph nodes, by the name of what was drawn."""
    for step in steps(graph).values():
        images = step(images, drawn, graph)
    return images


def steps(graph: Graph) -> dict[str, Callable[[Any, dict[str, Any], Graph], Any]]:
    """What is done to a decoded image, in order: the study's steps, or those of the fused graph."""
    if not (graph.augment and graph.data.rotate_degrees):
        return {"resize": _resize, "colour jitter": _jitter, "crop": _crop}
    if graph.data.fused:
        return {
            "shrink": _shrink,
            "colour jitter": _jitter,
            "enlarge": _enlarge,
            "rotate": _rotate_enlarged,
            "crop": _crop,
        }
    return {"resize": _resize, "colour jitter": _jitter, "rotate": _rotate, "crop": _crop}


def _resize(images: Any, drawn: dict[str, Any], graph: Graph) -> Any:
    from nvidia.dali import fn

    return fn.resize(images, size=[graph.data.size, graph.data.size])


def _shrink(images: Any, drawn: dict[str, Any], graph: Graph) -> Any:
    """Where a side is too long. The others keep their size, so that colour jitter has few pixels to change."""
    from nvidia.dali import fn, math, types

    wanted = math.min(images.shape(dtype=types.FLOAT)[0:2], float(graph.data.size))
    # What keeps its size takes each pixel from its own place, which is next to nothing beside interpolating.
    return fn.resize(images, size=wanted, mag_filter=types.INTERP_NN)


def _jitter(images: Any, drawn: dict[str, Any], graph: Graph) -> Any:
    """Brightness, contrast, saturation, hue. color_twist costs four times brightness_contrast on a CPU."""
    from nvidia.dali import fn

    jitter = {name: drawn[name] for name in COLOUR_JITTER if name in drawn}
    if "hue" in jitter or "saturation" in jitter:
        return fn.color_twist(images, **jitter)
    return fn.brightness_contrast(images, **jitter, contrast_center=128.0) if jitter else images


def _rotate(images: Any, drawn: dict[str, Any], graph: Graph) -> Any:
    from nvidia.dali import fn

    return fn.rotate(images, angle=drawn["angle"], keep_size=True, fill_value=0)


def _enlarge(images: Any, drawn: dict[str, Any], graph: Graph) -> Any:
    """Where the turn cannot do it as well: in images that are much too small, or small altogether."""
    from nvidia.dali import fn, types

    size = float(graph.data.size)
    sides = images.shape(dtype=types.FLOAT)[0:2]
    enough = max(size / MOST_ENLARGED, min(size, LEAST_ENLARGED))
    keep = fn.cast(fn.reductions.min(sides) >= enough, dtype=types.FLOAT)
    how = keep * float(types.INTERP_NN) + (1 - keep) * float(types.INTERP_LINEAR)
    how = fn.reinterpret(fn.cast(how, dtype=types.INT32), dtype=types.INTERP_TYPE)
    return fn.resize(images, size=keep * sides + (1 - keep) * size, interp_type=how)


def _rotate_enlarged(images: Any, drawn: dict[str, Any], graph: Graph) -> Any:
    """Rotate, and enlarge to the size in the same step."""
    from nvidia.dali import fn, types

    size = float(graph.data.size)
    sides = images.shape(dtype=types.FLOAT)
    # From a place in the result to the place in the image that it shows.
    matrix = fn.transforms.rotation(angle=drawn["angle"], center=[size / 2, size / 2])
    matrix = fn.transforms.scale(matrix, scale=fn.stack(sides[1], sides[0]) / size)
    if graph.device.type == "cuda":
        return fn.warp_affine(images, matrix=matrix, size=[size, size], fill_value=0)
    # OpenCV's warp: a sixth of the time of warp_affine and rotate on a CPU, and 0.001 grey levels from them.
    matrix = fn.cat(matrix, np.array([[0, 0, 1]], np.float32), axis=0)
    return fn.experimental.warp_perspective(images, matrix, size=[size, size])


def _crop(images: Any, drawn: dict[str, Any], graph: Graph) -> Any:
    """Cut, mirror and normalise: [V, H, W, 3]. Seen from torch that is channels_last, without a copy."""
    from nvidia.dali import fn, types

    data, crop = graph.data, graph.data.crop
    kind = types.FLOAT16 if graph.half else types.FLOAT
    mean, std = [255 * m for m in data.mean], [255 * s for s in data.std]
    normal = {"mean": mean, "std": std, "dtype": kind, "output_layout": "HWC", "mirror": drawn.get("mirror", 0)}
    if views_of(data) == 1:
        x, y = (drawn["corner"][0], drawn["corner"][1]) if data.views == "random_one" else CORNERS[-1]
        one = fn.crop_mirror_normalize(images, crop=(crop, crop), crop_pos_x=x, crop_pos_y=y, **normal)
        return fn.reshape(one, shape=[1, crop, crop, 3], layout="")
    # Five crops overlap: the whole is normalised once and copied five times.
    whole = fn.crop_mirror_normalize(images, **normal)
    # multi_paste knows no float16, but copies any 16 bits.
    whole = fn.reinterpret(whole, dtype=types.INT16) if graph.half else whole
    free = data.size - crop
    places = np.floor(np.array(CORNERS)[:, ::-1] * free + 0.5).astype(np.int32)
    # Mirrored, the crop at the left of an image lies at the right of its mirror image.
    across = np.stack([0 * places[:, 0], free - 2 * places[:, 1]], axis=1)
    rows = np.array([[view * crop, 0] for view in range(len(CORNERS))], np.int32)
    five = fn.multi_paste(
        *[whole] * len(CORNERS),
        in_anchors=drawn["mirror"] * across + places if "mirror" in drawn else places,
        out_anchors=rows,
        shapes=np.full_like(rows, crop),
        output_size=[len(CORNERS) * crop, crop],
    )
    five = fn.reinterpret(five, dtype=kind) if graph.half else five
    return fn.reshape(five, shape=[len(CORNERS), crop, crop, 3], layout="")


def draws_of(graph: Graph) -> list[str]:
    """Which draws the graph uses: DALI wants to be given those and no others."""
    data = graph.data
    used = []
    if graph.augment:
        used += [name for name in COLOUR_JITTER if getattr(data, name)]
        used += ["angle"] if data.rotate_degrees else []
        used += ["mirror"] if data.flip else []
    return used + (["corner"] if data.views == "random_one" else [])


def _build_decoder(source: Callable[[], list[NDArray[np.uint8]]]) -> Any:
    device = torch.device("cpu")
    pipeline = empty_pipeline(1, 1, device, ahead=1)
    from nvidia.dali import fn, types

    with pipeline:
        jpegs = fn.external_source(source=source, batch=True, dtype=types.UINT8, ndim=1)
        pipeline.set_outputs(decoded(jpegs, device))
    pipeline.build()
    return pipeline


def empty_pipeline(batch_size: int, threads: int, device: torch.device, ahead: int = 2) -> Any:
    try:
        from nvidia.dali import Pipeline
    except ModuleNotFoundError:
        extras = "'fer-dist[cuda13]', or 'fer-dist[cuda12]' where torch is built for CUDA 12"
        raise InputError(f"DALI is not installed; install it with: pip install {extras}") from None

    device_id = (device.index or 0) if device.type == "cuda" else None
    return Pipeline(batch_size=batch_size, num_threads=threads, device_id=device_id, prefetch_queue_depth=ahead, seed=0)


def decoded(jpegs: Any, device: torch.device, decoder: Decoder = "auto") -> Any:
    """Encoded images on the host -> uint8 [H, W, 3] on the device. Raises InputError for a decoder of a GPU on a CPU.

    Each decoder but the shared one gives an image the same pixels in every batch.
    """
    from nvidia.dali import fn, types

    # Without use_fast_idct: it would save a CPU 0.1 ms of a 224 px face, but is 1.6 grey levels off in FER2013.
    # Fancy upsampling is what a CPU does in any case; by default a GPU would not.
    how = {"output_type": types.RGB, "jpeg_fancy_upsampling": True}
    decoder = decoder_on(decoder, device.type)
    if decoder != "cpu":
        return fn.decoders.image(jpegs, device="mixed", hw_decoder_load=ENGINE_SHARES[decoder], **how)
    images = fn.decoders.image(jpegs, device="cpu", **how)
    return images.gpu() if device.type == "cuda" else images
