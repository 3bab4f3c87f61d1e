"""The search for duplicates side by side with a plain one, and how near duplicates are found."""

import resource
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fer_dist.bench.measured import Measured, at_least_one, in_fresh_process, integers, scratch
from fer_dist.bench.shards import PROCESSES
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.images import decode, jpeg_bytes, png_bytes
from fer_dist.data.inspection.audit import audit
from fer_dist.data.inspection.duplicates import Features, near_pairs
from fer_dist.data.inspection.fingerprint import fingerprint
from fer_dist.data.loading.order import located
from fer_dist.data.loading.reader import Reader
from fer_dist.data.loading.shard_set import ShardSet, open_set, opened
from fer_dist.data.sources.source import EncodedImage, LeftOut, Sample
from fer_dist.errors import InputError

if TYPE_CHECKING:
    # Processes that are measured load this file, and shall not load what makes flags.
    from fer_dist.bench.flags import AuditFlags, NearFlags

DUPLICATES = ("same", "mirrored", "compressed", "smaller", "mirrored, larger and compressed")
"""How the duplicates that an audit is tried on are made; the first is exact, the others near."""

IMAGES_PER_DUPLICATE = 100


@dataclass(frozen=True)
class AuditBench:
    """An audit of drawn images, some of which are duplicates of others.

    peak_bytes: of the process that compares, its own and what it maps; each of the two that decode needs less.
    planted, found: duplicates by how they were made. false_alarms: images in a group of duplicates that belong to none.
    """

    images: int
    seconds: float
    peak_bytes: int
    planted: dict[str, int]
    found: dict[str, int]
    false_alarms: int


@dataclass(frozen=True)
class NearBench:
    """Near duplicates made of the images of a set, one kind at a time, and looked for among all of them.

    found: how many of the images were paired with their own duplicate. others: pairs of an image with the duplicate of
    another one, of which the image itself is no near duplicate: false alarms, unless a person sees the same photograph.
    """

    images: int
    found: dict[str, int]
    others: dict[str, int]


def measure_audit(flags: "AuditFlags") -> Iterator[Measured]:
    found = []
    for count in integers("--counts", flags.counts):
        with scratch() as folder:
            found.append(bench_audit(count, folder / "shards"))
    rows = [
        [f"{one.images:,}", f"{one.seconds:.1f}", f"{1e6 * one.seconds / one.images:.0f}"]
        + [f"{one.peak_bytes / 1e6:,.0f}"]
        + [f"{one.found[how]:,} of {one.planted[how]:,}" for how in DUPLICATES]
        + [str(one.false_alarms)]
        for one in found
    ]
    header = ["images", "seconds", "microseconds each", "peak MB", *DUPLICATES, "false alarms"]
    yield Measured([asdict(one) for one in found], (header, rows))


def measure_near(flags: "NearFlags") -> Iterator[Measured]:
    at_least_one(flags, "count")
    found = bench_near(open_set(flags.shards, flags.where.data), flags.count)
    rows = [
        [how, f"{found.images:,}", f"{hits:,}", f"{100 * hits / found.images:.2f}", f"{found.others[how]:,}"]
        for how, hits in found.found.items()
    ]
    yield Measured(asdict(found), (["copied", "images", "found", "found %", "taken for a duplicate of another"], rows))


def bench_audit(count: int, folder: Path) -> AuditBench:
    """Draw images with duplicates among them, build shards, and audit these in a fresh process.

    folder: for the shards, 5 KB an image; it must not exist yet.
    """
    build_shards(Drawn(count), folder, BuildOptions(workers=PROCESSES))
    return in_fresh_process(_audit_drawn, count, folder / "train")


def bench_near(shards: str | Path | ShardSet, count: int) -> NearBench:
    """Make near duplicates of images of a set, spread evenly over it, and look for them. Blank ones are not taken.

    shards: path or URL of a set, or what `open_set` gave. count: how many images at most.
    """
    found = opened(shards)
    originals = [content for content in _images_of(found, count) if not fingerprint(content).is_blank]
    if not originals:
        raise InputError(f"{found.location}: all of its images are blank")
    features = _features_of(originals)
    before = near_pairs(features)
    known = set(zip(before.first.tolist(), before.second.tolist(), strict=True))
    hit, others = {}, {}
    for how in DUPLICATES[1:]:
        copies = _features_of([changed(_grey_or_rgb(decode(content)), how).content for content in originals])
        pairs = near_pairs(np.concatenate([features, copies]))
        first, second = pairs.first, pairs.second - len(originals)
        across = (first < len(originals)) & (second >= 0)
        hits = set(zip(first[across].tolist(), second[across].tolist(), strict=True))
        hit[how] = sum(one == other for one, other in hits)
        others[how] = sum(one != other and (min(one, other), max(one, other)) not in known for one, other in hits)
    return NearBench(len(originals), hit, others)


@dataclass(frozen=True)
class Drawn:
    """Images of random light and shade, 40x40; after every hundredth comes a duplicate of it."""

    count: int
    dataset: str = "drawn"
    variant: str = "random images with duplicates among them"
    emotions: tuple[str, ...] = ("happiness",)
    remarks: tuple[str, ...] = ()

    def samples(self) -> Iterator[Sample | LeftOut]:
        for number in range(self.count):
            yield Sample(f"{number:09d}", "train", "happiness", str(number))

    def read(self, sample: Sample) -> EncodedImage:
        number = int(sample.path)
        how = copied(number)
        return changed(_draw(number - 1 if how else number), how)


def copied(number: int) -> str:
    """How the drawn image of this number was copied from the one before it; empty where it was not."""
    turn, rest = divmod(number, IMAGES_PER_DUPLICATE)
    return DUPLICATES[turn % len(DUPLICATES)] if rest == 1 else ""


def changed(image: Image.Image, how: str) -> EncodedImage:
    """A duplicate of an image, made in one of the ways of DUPLICATES. image: grey or RGB."""
    if "mirrored" in how:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if how == "smaller" or "larger" in how:
        scale = 0.75 if how == "smaller" else 1.5
        image = image.resize((round(scale * image.width), round(scale * image.height)), Image.Resampling.BICUBIC)
    if "compressed" in how:
        return EncodedImage(jpeg_bytes(image, 50), "jpg")
    return EncodedImage(png_bytes(image), "png")


def _draw(number: int) -> Image.Image:
    noise = np.random.default_rng(number).integers(0, 256, (7, 7), dtype=np.uint8)
    return Image.fromarray(noise).resize((40, 40), Image.Resampling.BICUBIC)


def _audit_drawn(count: int, folder: Path) -> AuditBench:
    start = time.perf_counter()
    report = audit([folder], workers=PROCESSES)
    seconds = time.perf_counter() - start
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    planted = {how: sum(copied(number) == how for number in _duplicates(count)) for how in DUPLICATES}
    found = dict.fromkeys(DUPLICATES, 0)
    false_alarms = 0
    for group in report.groups:
        numbers = sorted(int(image.key) for image in group.members)
        how = copied(numbers[-1])
        if how and numbers == [numbers[-1] - 1, numbers[-1]]:
            found[how] += 1
        else:
            false_alarms += len(numbers)
    return AuditBench(count, seconds, peak_bytes, planted, found, false_alarms)


def _images_of(shards: ShardSet, count: int) -> Iterator[bytes]:
    reader = Reader(shards, shards.manifest.emotions)
    total = int(reader.counts.sum())
    indices = np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64))
    for content in reader.read(located(reader.counts, indices)).content:
        yield content.tobytes()


def _features_of(images: list[bytes]) -> Features:
    return np.stack([fingerprint(content).features for content in images]).astype(np.float16)


def _grey_or_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _duplicates(count: int) -> range:
    return range(1, count, IMAGES_PER_DUPLICATE)
