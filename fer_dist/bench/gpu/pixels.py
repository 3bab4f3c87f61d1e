"""Of the measurement of a GPU: what an image becomes there and on a CPU, in each format, damaged, and among others."""

import io
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageChops, ImageOps

from fer_dist.bench.gpu.bench import FIRST, NO_CARD, Bench, Encoded, described
from fer_dist.bench.gpu.decode import DECODERS
from fer_dist.bench.gpu.given import faces
from fer_dist.bench.gpu.watch import Measurement, Value, Values
from fer_dist.config.settings import DataConfig, Decoder
from fer_dist.data.images import decode, plain
from fer_dist.data.loading.augment import draw
from fer_dist.data.loading.loader import NO_IDS
from fer_dist.data.loading.pipeline import Crops, Graph, Inputs, Trial, decoded, empty_pipeline, failure_of
from fer_dist.data.sources.source import Sample

AMONG = 64
"""Images of the batch in which one image must have the pixels that it has alone."""


def measurements(bench: Bench) -> Iterator[Measurement]:
    device = bench.device
    yield Measurement("set", partial(described, bench))
    forms = kinds(_face(bench.flags.pixels))
    for name, content in forms.items():
        yield Measurement(name, partial(formats, content, device))
    one = forms["jpeg 4:2:0"]

    def crops() -> Values:
        return crops_in_other_batch(one, bench.held[0], bench.config(bench.shapes[0]).data, device)

    yield Measurement("one image, other batch: evaluation's crops", crops)
    for decoder in DECODERS:
        lacking = NO_CARD if decoder != "cpu" and not bench.is_cuda else ""
        measure = partial(decoded_in_other_batch, one, bench.held[0], device, decoder)
        yield Measurement(f"one image, other batch: {decoder}", measure, lacking)
    for name, content in damaged(one).items():
        yield Measurement(f"damage: {name}", partial(verdicts, content, device))
    yield Measurement("late reads equal those at once", partial(_late_reads, bench))


def _face(side: int) -> Image.Image:
    source = faces(1, side)
    (sample,) = source.samples()
    assert isinstance(sample, Sample)
    return decode(source.read(sample).content)


def _late_reads(bench: Bench) -> Values:
    """Whether crops that the device reads late, behind other work, are those that it reads at once: the loader gives
    views of DALI's own memory, and goes on."""
    config = bench.config(bench.shapes[0])
    side, count = (6144, 100) if bench.is_cuda else (64, FIRST)
    load = torch.randn(side, side, device=bench.device)

    def sums(late: bool) -> list[Any]:
        nonlocal load
        found = []
        for batch in bench.loader(config, count):
            for _ in range(4 if late else 0):
                load = (load @ load).clamp(-1, 1)
            found.append(batch.crops.sum(dim=(1, 2, 3), dtype=torch.float64))
            if not late:
                bench.clock.wait()
        return [each.cpu() for each in found]

    pairs = zip(sums(late=False), sums(late=True), strict=True)
    return {"equal": all(torch.equal(one, other) for one, other in pairs), "batches": count}


def kinds(face: Image.Image) -> dict[str, bytes]:
    """One face in every form that sets hold."""

    def coded(image: Image.Image, form: str, **how: Any) -> bytes:
        stream = io.BytesIO()
        image.save(stream, form, **how)
        return stream.getvalue()

    grey, alpha = face.convert("L"), face.convert("RGBA")
    alpha.putalpha(grey)
    deep = Image.fromarray((np.asarray(grey, dtype=np.uint16) << 8) + 77)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    # Of an Adobe file the planes are inverted, and a byte of its segment says how the first three hold the colours.
    ycck = coded(Image.merge("CMYK", [*map(ImageChops.invert, face.convert("YCbCr").split()), grey]), "JPEG")
    transform = ycck.index(b"Adobe") + 11
    return {
        "jpeg 4:2:0": coded(face, "JPEG", quality=90, subsampling=2),
        "jpeg 4:2:2": coded(face, "JPEG", quality=90, subsampling=1),
        "jpeg 4:4:4": coded(face, "JPEG", quality=90, subsampling=0),
        "jpeg progressive": coded(face, "JPEG", progressive=True),
        "jpeg grey": coded(grey, "JPEG"),
        "jpeg CMYK": coded(face.convert("CMYK"), "JPEG"),
        "jpeg YCCK": ycck[:transform] + b"\2" + ycck[transform + 1 :],
        "jpeg rotated by EXIF": coded(face, "JPEG", exif=rotated.tobytes()),
        "jpeg of odd sides": coded(face.resize((face.width - 1, face.height - 3)), "JPEG"),
        "png RGB": coded(face, "PNG"),
        "png grey": coded(grey, "PNG"),
        "png palette": coded(face.convert("P"), "PNG"),
        "png palette with transparency": coded(face.convert("P"), "PNG", transparency=0),
        "png alpha": coded(alpha, "PNG"),
        "png grey and alpha": coded(alpha.convert("LA"), "PNG"),
        "png 1 bit": coded(face.convert("1"), "PNG"),
        "png 16 bit": coded(deep, "PNG"),
        "png RGB 16 bit": _deep_png(face),
        "png rotated by EXIF": coded(face, "PNG", exif=rotated.tobytes()),
        "webp": coded(face, "WEBP"),
        "webp lossless": coded(face, "WEBP", lossless=True),
        "webp alpha": coded(alpha, "WEBP", lossless=True),
        "bmp": coded(face, "BMP"),
        "tiff": coded(face, "TIFF"),
        "tiff lzw": coded(face, "TIFF", compression="tiff_lzw"),
        "tiff 16 bit": coded(deep, "TIFF"),
        "tiff CMYK": coded(face.convert("CMYK"), "TIFF"),
        "ppm": coded(face, "PPM"),
        "pgm": coded(grey, "PPM"),
        "pgm 16 bit": coded(deep, "PPM"),
        "gif": coded(face, "GIF"),
    }


def _deep_png(face: Image.Image) -> bytes:
    """In RGB of 16 bits, which Pillow reads and does not write."""
    rows = (np.asarray(face).astype(">u2") << 8) + 77
    lines = np.concatenate([np.zeros((face.height, 1), np.uint8), rows.view(np.uint8).reshape(face.height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", face.width, face.height, 16, 2, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(lines.tobytes()), b"IEND": b""}
    sealed = (
        struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c)) for kind, c in chunks.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(sealed)


def damaged(whole: bytes) -> dict[str, bytes]:
    """A JPEG in ways that are not seen in its header."""
    half, some = len(whole) // 2, len(whole) // 8
    noise = np.random.default_rng(1).integers(0, 255, some, dtype=np.uint8).tobytes()
    return {
        "none": whole,
        "cut in half": whole[:half] + b"\xff\xd9",
        "noise in the scan": whole[:half] + noise + whole[half + some :],
        "bytes behind the end": whole + bytes(100),
    }


def formats(content: bytes, device: torch.device) -> Values:
    """Mean distance in grey levels of the CPU decoder's pixels from Pillow's, and of the card's from the CPU's."""
    reference = plain(ImageOps.exif_transpose(decode(content))).convert("RGB")
    on_cpu = _decoded_or_refused(content, torch.device("cpu"), "cpu")
    values: Values = {"cpu_from_Pillow": _distance(on_cpu, np.asarray(reference, dtype=np.int16))}
    for decoder in DECODERS[1:]:
        found = "no CUDA" if device.type == "cpu" else _decoded_or_refused(content, device, decoder)
        values[f"{decoder}_from_cpu"] = _distance(found, on_cpu)
    return values


def crops_in_other_batch(one: bytes, others: list[Encoded], data: DataConfig, device: torch.device) -> Values:
    """The crops of one image as an evaluation takes them, alone and among others."""
    data = replace(data, views="centre")

    def crops(content: list[Encoded]) -> Any:
        graph = Graph(data, False, len(content), device, False, 1)
        # In grey levels.
        return Crops(graph, lambda: Inputs(content, draw(data, 0, 0, NO_IDS))).next().cpu().numpy() * 255 * data.std

    return _differing(crops([_array(one)])[0], crops(_among(one, others))[::2])


def decoded_in_other_batch(one: bytes, others: list[Encoded], device: torch.device, decoder: Decoder) -> Values:
    """The pixels of one image, alone and among others."""
    among = pixels(_among(one, others), device, decoder)
    return _differing(pixels([_array(one)], device, decoder)[0], among[::2])


def verdicts(content: bytes, device: torch.device) -> Values:
    """Whether the loader would leave it out, as the CPU says, and in what time; and whether the device decodes it."""
    begun = time.perf_counter()
    values: Values = {"cpu": "bad" if Trial().pixels(_array(content)) is None else "good"}
    values["cpu_ms"] = 1e3 * (time.perf_counter() - begun)
    if device.type != "cpu":
        found = _decoded_or_refused(content, device, "auto")
        values[device.type] = "bad" if isinstance(found, str) else "good"
    return values


def _decoded_or_refused(content: bytes, device: torch.device, decoder: Decoder) -> Any:
    try:
        return pixels([_array(content)], device, decoder)[0]
    except RuntimeError as error:
        return f"refused ({failure_of(error)})"


def pixels(content: list[Encoded], device: torch.device, decoder: Decoder) -> list[Any]:
    """The pixels of each image, int16 [H, W, 3]."""
    pipeline = empty_pipeline(len(content), 1, device, ahead=1)
    from nvidia.dali import fn, types

    with pipeline:
        encoded = fn.external_source(source=lambda: content, batch=True, dtype=types.UINT8, ndim=1)
        pipeline.set_outputs(decoded(encoded, device, decoder))
    pipeline.build()
    (images,) = pipeline.run()
    return [np.asarray(image).astype(np.int16) for image in images.as_cpu()]


def _distance(found: Any, reference: Any) -> Value:
    """In grey levels; or why there is none. found, reference: pixels, or why there are none."""
    for pixels in (found, reference):
        if isinstance(pixels, str):
            return pixels
    if found.shape != reference.shape:
        return f"{found.shape} not {reference.shape}"
    return float(np.abs(found - reference).mean())


def _differing(alone: Any, among: Any) -> Values:
    most = [float(np.abs(alone - other).max()) for other in among]
    return {"differ": sum(value > 0 for value in most), "of": len(most), "grey_levels_at_most": max(most)}


def _among(one: bytes, others: list[Encoded]) -> list[Encoded]:
    """AMONG images, each second of which is this one."""
    feed = cycle(others)
    return [_array(one) if place % 2 == 0 else next(feed) for place in range(AMONG)]


def _array(content: bytes) -> Encoded:
    return np.frombuffer(content, np.uint8)
