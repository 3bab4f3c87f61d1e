"""Tiny images, the same on every run, and releases made of them."""

import hashlib
import io
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fer_dist.data.emotions import SEVEN
from fer_dist.data.shards.manifest import Manifest, Member, Shard, save_index, save_manifest
from fer_dist.data.sources.reading import read_whole
from fer_dist.data.sources.source import EncodedImage, LeftOut, Sample

WORDS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER2013's class folders, in the order of its codes."""


def face(number: int, side: int = 48, mode: str = "L") -> Image.Image:
    """A grey or coloured image that no other number gives."""
    noise = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((side, side), Image.Resampling.BILINEAR).convert(mode)


def encoded(number: int, form: str = "JPEG", side: int = 48, mode: str = "L") -> bytes:
    stream = io.BytesIO()
    face(number, side, mode).save(stream, form)
    return stream.getvalue()


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def fer2013_folders(root: Path, train: int = 21, val: int = 7, test: int = 7) -> Path:
    """FER2013's folder variant; the classes take turns."""
    for usage, folder, count in (
        ("Training", "train", train),
        ("PublicTest", "test", val),
        ("PrivateTest", "test", test),
    ):
        for i in range(count):
            write(root / folder / WORDS[i % 7] / f"{usage}_{i}.jpg", encoded(1000 * len(usage) + i, side=48))
    return root


def fer2013_table(path: Path, folders: Path) -> Path:
    """FER2013's csv variant with the pixels of the folder variant."""
    lines = ["emotion,pixels,Usage"]
    for image in sorted(folders.rglob("*.jpg")):
        pixels = " ".join(map(str, np.asarray(Image.open(image)).ravel().tolist()))
        lines.append(f"{WORDS.index(image.parent.name)},{pixels},{image.name.partition('_')[0]}")
    return write(path, "\n".join(lines).encode() + b"\n")


def folder_release(
    root: Path, count: int, split: str = "train", words: tuple[str, ...] = ("happy", "sad", "fear")
) -> Path:
    """count images in one split of class folders; the classes take turns. Small, for there may be thousands."""
    for i in range(count):
        write(root / split / words[i % len(words)] / f"{i:05d}.jpg", encoded(i, side=16))
    return root


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def members(folder: Path) -> dict[str, bytes]:
    """What the tars of a folder hold, by name."""
    found = {}
    for path in folder.glob("*.tar"):
        with tarfile.open(path) as tar:
            found |= {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    return found


@dataclass(frozen=True)
class ListedSource:
    """A source that yields what it is given, with the same small image for all."""

    entries: tuple[Sample | LeftOut, ...] = ()
    emotions: tuple[str, ...] = ("happiness", "sadness", "fear")
    dataset: str = "listed"
    variant: str = "given by the test"
    remarks: tuple[str, ...] = ()

    def samples(self) -> Iterator[Sample | LeftOut]:
        yield from self.entries

    def read(self, sample: Sample) -> EncodedImage:
        return EncodedImage(encoded(0, "PNG", side=8), "png")


@dataclass(frozen=True)
class CountedSource(ListedSource):
    """count samples that exist in no memory."""

    count: int = 0

    def samples(self) -> Iterator[Sample]:
        for i in range(self.count):
            yield Sample(f"image-{i:08d}", "train", self.emotions[i % 3], "nowhere.png", facts={"id": str(i)})


@dataclass(frozen=True)
class SlowSource:
    """Another source, whose images take their time: there is something to kill."""

    source: object
    seconds: float

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or name == "source":
            raise AttributeError(name)
        return getattr(self.source, name)

    def read(self, sample: Sample) -> EncodedImage:
        time.sleep(self.seconds)
        return read_whole(sample)


def children(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def environment() -> dict[str, str]:
    """For a subprocess that imports the package and what tests share."""
    tests = Path(__file__).parents[1]
    return {**os.environ, "PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}"}


@dataclass(frozen=True)
class Face:
    """One sample of a hand-made shard: members by extension, whatever is wrong with them."""

    key: str
    label: int
    members: dict[str, bytes]


def faces(count: int, side: int = 24, form: str = "PNG", emotions: int = 7) -> list[Face]:
    """Coloured samples whose labels take turns."""
    extension = {"PNG": "png", "JPEG": "jpg"}[form]
    made = []
    for i in range(count):
        label = i % emotions
        members = {extension: encoded(i, form, side, "RGB"), "cls": str(label).encode(), "json": b'{"id": "%d"}' % i}
        made.append(Face(f"face-{i:04d}", label, members))
    return made


def shard_set(folder: Path, shards: list[list[Face]], emotions: tuple[str, ...] = SEVEN, split: str = "train") -> Path:
    """A shard set written with tarfile, which takes what our own build would leave out: damaged images, wrong labels.

    Returns the folder, OUT/<split>.
    """
    folder.mkdir(parents=True)
    written = []
    for number, content in enumerate(shards):
        path = folder / f"drawn-{split}-{number:06d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in content:
                for extension, member in sorted(sample.members.items()):
                    info = tarfile.TarInfo(f"{sample.key}.{extension}")
                    info.size = len(member)
                    tar.addfile(info, io.BytesIO(member))
        index: dict[str, list[Member]] = {sample.key: [] for sample in content}
        with tarfile.open(path) as tar:
            for info in tar:
                key, _, extension = info.name.partition(".")
                index[key].append(Member(extension, info.offset_data, info.size, info.name))
        save_index(path, list(index.values()))
        counts = {name: sum(sample.label == label for sample in content) for label, name in enumerate(emotions)}
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        written.append(Shard(path.name, len(content), path.stat().st_size, digest, counts))
    save_manifest(folder, Manifest("drawn", split, emotions, tuple(written)))
    return folder
