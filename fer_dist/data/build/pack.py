"""One shard: the images of one list of samples, read, checked and written into one tar. Runs in worker processes."""

import hashlib
import json
import os
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from fer_dist.data.build.listing import name_of, sample_of
from fer_dist.data.faces.fit import FaceFlags, fitted
from fer_dist.data.faces.photograph import faces_of
from fer_dist.data.shards.manifest import Shard, index_path, save_index
from fer_dist.data.shards.tar import TarWriter
from fer_dist.data.sources.reading import UNREAD, reasons
from fer_dist.data.sources.source import EncodedImage, LeftOutError, Sample, Source
from fer_dist.storage.writing import replacing, write_atomically

_encode = json.JSONEncoder(sort_keys=True).encode


@dataclass(frozen=True)
class PackTask:
    """What becomes one shard.

    stem:     path of the tar without .tar; the index and the record stand beside it.
    lines:    the samples, as the listing writes them.
    faces:    how images are cut and resized.
    versions: of the programs that write; a shard that other versions left behind is written anew.
    """

    source: Source
    split: str
    stem: Path
    lines: list[str]
    faces: FaceFlags
    versions: dict[str, str]

    @property
    def tar(self) -> Path:
        return self.stem.with_suffix(".tar")

    @property
    def record(self) -> Path:
        return self.stem.with_suffix(".json")


@dataclass(frozen=True)
class Packed:
    """A finished shard.

    left_out: name, reason and, of UNREAD, the path that was tried. mended: name and reason.
    warned:   images that Pillow decoded with a warning.
    """

    shard: Shard
    left_out: list[list[str]] = field(default_factory=list)
    mended: list[list[str]] = field(default_factory=list)
    warned: int = 0


def pack(task: PackTask) -> Packed:
    """Write one shard with its index and its record, or take what a killed build finished from the same samples.

    An image that cannot be read or decoded is left out. Raises OSError where the tar cannot be written.
    """
    samples = [sample_of(line, task.split) for line in task.lines]
    identity = _identity(task, samples)
    finished = _finished(task, identity)
    if finished is not None:
        return finished
    task.record.unlink(missing_ok=True)
    with replacing(task.tar) as stream:
        packed = _write(task, samples, stream)
    # The record comes last: where it stands, the tar and its index are whole.
    write_atomically(task.record, json.dumps({"identity": identity, **asdict(packed)}).encode())
    return packed


def _write(task: PackTask, samples: list[Sample], stream: BinaryIO) -> Packed:
    counts: Counter[str] = Counter()
    left_out, mended = [], []
    warned = 0
    labels = {emotion: b"%d" % label for label, emotion in enumerate(task.source.emotions)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tar = TarWriter(stream)
        for sample in samples:
            caught.clear()
            try:
                images = _read(task, sample)
            except LeftOutError as fault:
                left_out.append([name_of(sample), str(fault), sample.path if str(fault) in UNREAD else ""])
                continue
            for key, image in _named(sample.key, images).items():
                mended += [[name_of(sample), reason] for reason in (sample.mended, image.mended) if reason]
                facts = image.facts | {"emotion": sample.emotion, "dataset": task.source.dataset}
                if caught:
                    facts["decoding_warning"] = str(caught[0].message)
                    warned += 1
                contents = {"cls": labels[sample.emotion], "json": _encode(facts).encode()}
                tar.add(key, {**contents, image.extension: image.content})
                counts[sample.emotion] += 1
        tar.finish()
    save_index(task.tar, tar.members)
    by_emotion = {emotion: counts[emotion] for emotion in task.source.emotions}
    shard = Shard(task.tar.name, len(tar.members), tar.bytes, tar.sha256, by_emotion)
    return Packed(shard, left_out, mended, warned)


def _named(key: str, images: list[EncodedImage]) -> dict[str, EncodedImage]:
    """The images of a sample by their keys: its own, or with +1, +2, ... behind it, which no source writes in a key."""
    if len(images) == 1:
        return {key: images[0]}
    return {f"{key}+{number}": image for number, image in enumerate(images, 1)}


def _read(task: PackTask, sample: Sample) -> list[EncodedImage]:
    """The image, known to decode, cut and resized as asked, with all facts; or each face of it that was asked for.

    Raises LeftOutError with the reason.
    """
    with reasons():
        image = task.source.read(sample)
    facts = sample.facts | image.facts
    if image.original:
        facts["original"] = image.original
    image = replace(image, facts=facts)
    return faces_of(image, task.faces) if task.faces.detect else [fitted(image, task.faces)]


def _finished(task: PackTask, identity: str) -> Packed | None:
    try:
        record = json.loads(task.record.read_text())
        shard = Shard(**record["shard"])
        whole = task.tar.stat().st_size == shard.bytes and index_path(task.tar).is_file()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # What could not be read may have been mended since, and permissions leave no trace in the identity.
    retried = any(reason in UNREAD for _, reason, _ in record["left_out"])
    if record["identity"] != identity or not whole or retried:
        return None
    return Packed(shard, record["left_out"], record["mended"], record["warned"])


def _identity(task: PackTask, samples: list[Sample]) -> str:
    """A hash of all that the shard's bytes depend on; of the images their size and the time of their last change."""
    source = [task.source.dataset, task.source.variant, task.source.emotions]
    settings = [*source, task.split, asdict(task.faces), task.versions]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    before = ""
    for line, sample in zip(task.lines, samples, strict=True):
        digest.update(line.encode())
        if sample.path != before:
            before = sample.path
            try:
                status = os.stat(sample.path)
            except (OSError, ValueError):
                continue
            digest.update(b"%d %d" % (status.st_size, status.st_mtime_ns))
    return digest.hexdigest()
