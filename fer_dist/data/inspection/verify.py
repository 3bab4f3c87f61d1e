"""Check a finished shard set against its manifest, reading every sample as others do: with the webdataset library."""

import hashlib
import json
import tempfile
import warnings
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tarfile import TarError
from typing import Any

from fer_dist.config.settings import DataConfig
from fer_dist.data.emotions import class_name
from fer_dist.data.images import MOST_FILE_BYTES, TooLargeError, decode
from fer_dist.data.loading.shard_set import ShardSet, look_up
from fer_dist.data.processes import core_count, in_processes
from fer_dist.data.shards.labels import facts_in, number_in, word_in
from fer_dist.data.shards.manifest import IMAGES, Manifest, Member, Shard, load_index
from fer_dist.data.shards.tar import leads_out, read_samples
from fer_dist.errors import InputError, WorkError, counted
from fer_dist.progress import Tally
from fer_dist.storage.lines import LineSorter
from fer_dist.storage.untrusted import open_regular


@dataclass(frozen=True)
class Fault:
    """Something wrong with a shard; key is empty where it is not one sample's fault."""

    shard: str
    key: str
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.shard, self.key, self.what) if part)


@dataclass(frozen=True)
class VerifyReport:
    """What was read, and everything that is wrong with it, in the order of the shards."""

    shards: int
    samples: int
    faults: tuple[Fault, ...]


def verify_shards(path: str | Path, progress: Tally | None = None) -> VerifyReport:
    """Check sizes, hashes, indexes, labels, counts and keys, and decode each image.

    path: or URL of a shard set (see paths.py); shards in a store are fetched for it, whatever a cache has, one by one.
    progress: called with the samples checked and their total. A fault never ends the check.
    Raises InputError only where there is no manifest to check against.
    """
    with tempfile.TemporaryDirectory(prefix="fer-dist-verify-") as scratch:
        # Without a bound: each shard goes again when it is checked.
        found, stored = look_up(str(path), DataConfig(cache=f"{scratch}/fetched", cache_gb=1e9))
        return _verified(found, stored or (), Path(scratch), progress)


def _verified(found: ShardSet, stored: Collection[str], scratch: Path, progress: Tally | None) -> VerifyReport:
    """stored: names of the files that lie there."""
    manifest = found.manifest
    unnamed = {name for name in stored if name.endswith(".tar")} - {shard.file for shard in found.whole.shards}
    faults = [Fault(name, "", "a tar that the manifest does not name") for name in sorted(unnamed)]
    alone = (found.only(number) for number in range(len(manifest.shards)))
    # webdataset imports torch, which takes each process seconds: small sets are read here.
    workers = min(core_count(), 1 + sum(shard.bytes for shard in manifest.shards) // (64 << 20))
    samples = 0
    keys = LineSorter(scratch, "keys")
    with closing(in_processes(_check, alone, workers)) as results:
        for checked in results:
            faults += checked.faults
            samples += len(checked.keys)
            for key in checked.keys:
                keys.add(json.dumps([key, checked.shard]) + "\n")
            if progress:
                progress(samples, manifest.samples)
    faults += _repeated(keys)
    return VerifyReport(len(manifest.shards), samples, tuple(faults))


@dataclass(frozen=True)
class Checked:
    """The keys that webdataset read from one shard, and the faults found on the way."""

    shard: str
    keys: list[str]
    faults: list[Fault]


def _repeated(keys: LineSorter) -> Iterator[Fault]:
    before = ""
    for line in keys:
        key, shard = json.loads(line)
        if key == before:
            yield Fault(shard, key, "key comes twice in the set")
        before = key


def _check(shards: ShardSet) -> Checked:
    """shards: one shard, as a set of its own."""
    remote, name = shards.remote, shards.manifest.shards[0].file
    if not remote:
        return _check_at(Path(shards.location.folder, name), shards.manifest)
    try:
        return _check_at(remote.path(0), shards.manifest)
    except (InputError, WorkError) as error:
        return Checked(name, [], [Fault(name, "", str(error))])
    finally:
        for entry in remote.entries(0):
            remote.cache.discard(entry)


def _check_at(path: Path, manifest: Manifest) -> Checked:
    (shard,) = manifest.shards
    name = shard.file
    if not path.is_file():
        return Checked(name, [], [Fault(name, "", "missing")])
    faults = [Fault(name, "", what) for what in _check_file(path, shard)]
    keys: list[str] = []
    counts: Counter[str] = Counter()
    try:
        samples = list(read_samples(path))
        # webdataset reads each of them whole.
        if large := next((member for sample in samples for member in sample if member.size > MOST_FILE_BYTES), None):
            raise ValueError(f"{large.name} has {large.size:,} bytes, too many for an image")
        if samples != _index_of(path):
            faults.append(Fault(name, "", "its index is not that of this tar; make it with: fer-dist shards index"))
        for sample in _read(path):
            keys.append(sample["__key__"])
            emotion, wrong = _check_sample(sample, manifest.emotions)
            counts[emotion] += 1
            faults += [Fault(name, sample["__key__"], what) for what in wrong]
    except (TarError, EOFError, OSError, ValueError) as error:
        # webdataset reads with tarfile alone, which some headers keep busy for ever: it gets what we have read whole.
        faults.append(Fault(name, keys[-1] if keys else "", f"not a whole tar ({error})"))
    if len(keys) != shard.samples:
        faults.append(Fault(name, "", f"{counted(len(keys), 'sample')}, but the manifest says {shard.samples}"))
    for emotion in manifest.emotions:
        said = shard.counts.get(emotion, 0)
        if counts[emotion] != said:
            faults.append(Fault(name, "", f"{counts[emotion]} of {emotion}, but the manifest says {said}"))
    return Checked(name, keys, faults)


def _index_of(path: Path) -> list[list[Member]] | None:
    try:
        return load_index(path)
    except InputError:
        return None


def _read(path: Path) -> Iterator[dict[str, Any]]:
    from webdataset.tariterators import group_by_keys, tar_file_expander

    # Opened here, because webdataset takes a name with braces for a pattern and one with a colon for a protocol.
    with open_regular(path) as stream:
        yield from group_by_keys(tar_file_expander([{"url": path.name, "stream": stream}]))


def _check_file(path: Path, shard: Shard) -> Iterator[str]:
    size = path.stat().st_size
    if size != shard.bytes:
        # Its hash would take as long as it is large, and say the same.
        yield f"{size} bytes, but the manifest says {shard.bytes}"
        return
    with open_regular(path) as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != shard.sha256:
            yield "its sha256 is not the manifest's"


def _check_sample(sample: dict[str, Any], emotions: tuple[str, ...]) -> tuple[str, list[str]]:
    """The sample's emotion by its .cls, or by its .json where it has none; and what is wrong."""
    wrong = ["its name leads out of the folder that it would be unpacked in"] if leads_out(sample["__key__"]) else []
    by_number = by_name = ""
    if "cls" in sample:
        number = number_in(sample["cls"])
        if number is not None and 0 <= number < len(emotions):
            by_number = emotions[number]
        else:
            wrong.append(f"its .cls {sample['cls'].strip()[:20]!r} is not a number from 0 to {len(emotions) - 1}")
    if "json" in sample:
        try:
            by_name = word_in(facts_in(sample["json"]))
        except ValueError:
            wrong.append("its .json is not an object")
    by_name = by_name if by_name in emotions else class_name(by_name)
    if by_number and by_name and by_number != by_name:
        wrong.append(f"its .cls means {by_number}, its .json says {by_name}")
    if "cls" not in sample and by_name not in emotions:
        wrong.append("no label (.cls), and no emotion in its .json")
    return by_number if "cls" in sample else by_name, wrong + _check_images(sample)


def _check_images(sample: dict[str, Any]) -> list[str]:
    images = [extension for extension in IMAGES if extension in sample]
    wrong = [] if len(images) == 1 else [counted(len(images), "image")]
    for extension in images:
        try:
            with warnings.catch_warnings():
                # An image that decodes with a warning was noted when it was built, and is no fault.
                warnings.simplefilter("ignore")
                decode(sample[extension])
        except TooLargeError as error:
            wrong.append(f"its .{extension} is {error}")
        except ValueError:
            wrong.append(f"its .{extension} does not decode")
    return wrong
