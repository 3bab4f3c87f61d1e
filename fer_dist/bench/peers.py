"""What our loader is measured against, each as its own documentation calls fast, with two workers or threads.

- torch: DataLoader over a folder of files, workers that persist, two batches ahead each (the default); images are
  decoded by torchvision's libjpeg-turbo and stay uint8 tensors until they are normalised, as torchvision advises.
- webdataset: tars shuffled, samples shuffled in a buffer of 1,000, batches made in the workers (`batched` before a
  DataLoader with batch_size=None); the same decoder and transforms.
- litdata: the encoded bytes in chunks of 64 MB, written by `optimize`; StreamingDataset with shuffle behind
  StreamingDataLoader; the same decoder and transforms.
- DALI: fn.readers.webdataset with our index files and a buffer of 1,024 to shuffle in; the very graph of our loader,
  its parameters drawn by fn.random.

Transforms of torchvision: resize with antialias, ColorJitter, RandomRotation (bilinear), FiveCrop, normalise.
"""

import random
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, default_collate
from torch.utils.dlpack import from_dlpack

from fer_dist.config.settings import DataConfig
from fer_dist.data.emotions import EIGHT
from fer_dist.data.images import extension_of
from fer_dist.data.loading.order import sequence
from fer_dist.data.loading.pipeline import Graph, augmented, decoded, draws_of, empty_pipeline
from fer_dist.data.loading.reader import Reader
from fer_dist.data.shards.manifest import Manifest, Shard, save_index, save_manifest
from fer_dist.data.shards.tar import TarWriter

WORKERS = 2
BUFFER = 1000
ENDLESS = 10**9
LONG = 16384
TARS = 8
"""Of the set that is measured: the others share tars among their workers, and need some each."""
IMAGES = "jpg;png"

Batches = Generator[int, None, None]
"""An endless stream of batches, of which it gives the number of images."""


class PeerError(Exception):
    """A peer cannot take part."""


@dataclass(frozen=True)
class Common:
    """What all are given. folder: tars/, files/ and litdata/, the same images in each."""

    folder: Path
    data: DataConfig
    batch_size: int
    threads: int

    @property
    def tars(self) -> list[str]:
        return sorted(str(path) for path in (self.folder / "tars").glob("*.tar"))


def prepare(reader: Reader, folder: Path, samples: int) -> Path:
    """Write the first images of a set anew, as TARS tars, as a folder of files, and for litdata where it is there.

    Returns the folder; there are tars/, files/ and litdata/ in it.
    """
    every = sequence(reader.counts, 0, 1, samples)[0]
    content = reader.read(every)
    tars = folder / "tars"
    for parent in (tars, folder / "files"):
        parent.mkdir(parents=True)
    written = []
    for number, part in enumerate(np.array_split(np.arange(len(content)), TARS)):
        path = tars / f"bench-train-{number:06d}.tar"
        with path.open("wb") as stream:
            writer = TarWriter(stream)
            for i in part.tolist():
                encoded, label = content.content[i].tobytes(), int(content.labels[i])
                extension = extension_of(encoded) or "jpg"
                writer.add(f"{i:08d}", {extension: encoded, "cls": str(label).encode()})
                (folder / "files" / f"{label}-{i:08d}.{extension}").write_bytes(encoded)
            writer.finish()
        save_index(path, writer.members)
        labels = content.labels[part]
        counts = {name: int((labels == label).sum()) for label, name in enumerate(EIGHT)}
        written.append(Shard(path.name, len(part), writer.bytes, writer.sha256, counts))
    save_manifest(tars, Manifest("bench", "train", EIGHT, tuple(written)))
    _write_litdata(folder / "files", folder / "litdata")
    return folder


def torchvision_transform(data: DataConfig) -> Callable[[Any], Tensor]:
    """Encoded bytes (anything that torch.frombuffer takes) -> float32 [V, 3, H, W], or [3, H, W] for one view."""
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms import v2

    side, crop = [data.size, data.size], [data.crop, data.crop]
    steps: list[Callable[..., Any]] = [
        v2.Resize(side, antialias=True),
        v2.ColorJitter(data.brightness, data.contrast, data.saturation, data.hue),
        v2.RandomRotation(data.rotate_degrees, v2.InterpolationMode.BILINEAR),
        *([v2.FiveCrop(crop), torch.stack] if data.views in ("expand", "fold") else [v2.RandomCrop(crop)]),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(data.mean), list(data.std)),
    ]

    def transform(content: Any) -> Tensor:
        image: Any = decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)
        for step in steps:
            image = step(image)
        return image

    return transform


class Files(Dataset[Any]):
    """A folder of images whose names begin with the label, each as `what` makes it."""

    def __init__(self, folder: Path, what: Callable[[bytes], Any]) -> None:
        self.paths = sorted(str(path) for path in folder.iterdir())
        self.labels = [int(Path(path).name.partition("-")[0]) for path in self.paths]
        self.what = what

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        with open(self.paths[index], "rb") as stream:
            return self.what(stream.read()), self.labels[index]


def torch_batches(common: Common, what: Callable[[bytes], Any], workers: int) -> Batches:
    files = Files(common.folder / "files", what)
    loader = DataLoader(
        files,
        batch_size=common.batch_size,
        sampler=RandomSampler(files, num_samples=ENDLESS),
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    yield from _endless(loader)


def webdataset_batches(common: Common, what: Callable[[bytes], Any], workers: int) -> Batches:
    import webdataset

    dataset = (
        webdataset.WebDataset(common.tars, shardshuffle=len(common.tars), seed=0)
        .repeat()
        .shuffle(BUFFER, rng=random.Random(0))
        .to_tuple(IMAGES, "cls")
        .map_tuple(what, int)
        .batched(common.batch_size, collation_fn=default_collate)
    )
    yield from _endless(DataLoader(dataset, batch_size=None, num_workers=workers, persistent_workers=workers > 0))


def _write_litdata(files: Path, folder: Path) -> None:
    """The files as litdata's chunks, so often that its epochs are long; nothing where litdata is not installed."""
    try:
        litdata = _litdata()
    except PeerError:
        return
    paths = sorted(str(path) for path in files.iterdir())
    # At each start of an epoch litdata stands still for about a second, which a set of the usual size hardly notices.
    paths *= -(-LONG // len(paths))
    litdata.optimize(
        _for_litdata, paths, str(folder), chunk_bytes="64MB", num_workers=1, verbose=False, start_method="fork"
    )


def _for_litdata(path: str) -> dict[str, Any]:
    return {"image": Path(path).read_bytes(), "label": int(Path(path).name.partition("-")[0])}


def litdata_batches(common: Common, what: Callable[[bytes], Any], workers: int) -> Batches:
    litdata = _litdata()

    def change(sample: dict[str, Any]) -> tuple[Any, int]:
        return what(sample["image"]), sample["label"]

    dataset = litdata.StreamingDataset(str(common.folder / "litdata"), shuffle=True, transform=change)
    loader = litdata.StreamingDataLoader(
        dataset, batch_size=common.batch_size, num_workers=workers, persistent_workers=workers > 0
    )
    yield from _endless(loader)


def _litdata() -> Any:
    try:
        import litdata
    except ModuleNotFoundError:
        raise PeerError("litdata is not installed; install it with: pip install 'fer-dist[peers]'") from None
    return litdata


def _endless(loader: Any) -> Batches:
    """One epoch after the other. The workers end with it, and not when it is collected, in another's turn."""
    from torch.utils.data import _utils

    try:
        while True:
            for _, labels in loader:
                yield len(labels)
    finally:
        # litdata's workers do not end when they are asked to; torch would wait five seconds for each.
        patience, _utils.MP_STATUS_CHECK_INTERVAL = _utils.MP_STATUS_CHECK_INTERVAL, 0.1
        if loader.num_workers:
            loader._iterator._shutdown_workers()
        _utils.MP_STATUS_CHECK_INTERVAL = patience


def dali_batches(common: Common) -> Batches:
    """DALI's own reader before our graph."""
    graph = Graph(common.data, True, common.batch_size, torch.device("cpu"), False, common.threads)
    pipeline = empty_pipeline(common.batch_size, common.threads, graph.device)
    with pipeline:
        encoded, labels = _read(common)
        drawn = dali_draws(common.data, draws_of(graph))
        pipeline.set_outputs(augmented(decoded(encoded, graph.device), drawn, graph), labels)
    pipeline.build()
    while True:
        crops, _ = pipeline.run()
        yield len(from_dlpack(crops.as_tensor()))


def dali_bytes(common: Common) -> Batches:
    pipeline = empty_pipeline(common.batch_size, common.threads, torch.device("cpu"))
    with pipeline:
        pipeline.set_outputs(*_read(common))
    pipeline.build()
    while True:
        encoded, _ = pipeline.run()
        for content in encoded:
            zlib.crc32(memoryview(content))
        yield len(encoded)


def dali_draws(data: DataConfig, names: list[str]) -> dict[str, Any]:
    """The same distributions as augment.draw, from DALI's own generator."""
    from nvidia.dali import fn

    def between(centre: float, spread: float) -> Any:
        return fn.random.uniform(range=[centre - spread, centre + spread])

    draws: dict[str, Callable[[], Any]] = {
        "angle": lambda: between(0, data.rotate_degrees),
        "brightness": lambda: between(1, data.brightness),
        "contrast": lambda: between(1, data.contrast),
        "saturation": lambda: between(1, data.saturation),
        "hue": lambda: between(0, data.hue * 360),
        "mirror": lambda: fn.random.coin_flip(),
        "corner": lambda: fn.random.uniform(range=[0, 1], shape=[2]),
    }
    return {name: draws[name]() for name in names}


def _read(common: Common) -> Any:
    from nvidia.dali import fn

    return fn.readers.webdataset(
        paths=common.tars,
        index_paths=[str(Path(path).with_suffix(".idx")) for path in common.tars],
        ext=[IMAGES, "cls"],
        missing_component_behavior="error",
        random_shuffle=True,
        initial_fill=1024,
        name="reader",
    )
