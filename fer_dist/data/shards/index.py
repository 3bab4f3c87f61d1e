"""An index and a manifest for tars that others made, and lost indexes of our own sets anew."""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tarfile import TarError
from tempfile import TemporaryDirectory
from typing import BinaryIO

from fer_dist.data.emotions import class_names
from fer_dist.data.images import MOST_FILE_BYTES
from fer_dist.data.processes import core_count, in_processes
from fer_dist.data.shards.labels import MOST_BYTES, emotion_in, facts_in, number_in
from fer_dist.data.shards.manifest import (
    IMAGES,
    MANIFEST,
    SORTED_INSIDE,
    Manifest,
    Member,
    Shard,
    index_path,
    key_of,
    load_index,
    load_index_lines,
    load_manifest,
    save_index,
    save_manifest,
)
from fer_dist.data.shards.tar import leads_out, read_members, read_samples
from fer_dist.errors import InputError, counted
from fer_dist.progress import Tally
from fer_dist.storage.folders import names_found
from fer_dist.storage.lines import LineSorter
from fer_dist.storage.untrusted import file_name, open_regular

LABELS = ("cls", "json")


def index_shards(
    folder: Path,
    emotions: Sequence[str] | None = None,
    dataset: str = "",
    split: str = "",
    progress: Tally | None = None,
) -> Manifest:
    """Make a folder of tars a shard set.

    emotions: names in the order of the numbers in .cls: any word that we know for an emotion, or classes of one's own.
    dataset, split: by default the names of the folder above and of the folder.
    Where a manifest stands already, it stays as it is, and only indexes that are missing or damaged are made anew.
    Raises InputError, which names the shard and the key, for a damaged tar, a sample without an image, or without a
    label among the emotions in its .cls or its .json.
    """
    names = class_names(emotions or (), f"--emotions {','.join(emotions or ())}")
    if (folder / MANIFEST).is_file():
        return _mend(folder, names, progress)
    if not folder.is_dir():
        hint = f"; give the folder of the tars itself, as {folder.parent}" if folder.parent.is_dir() else ""
        raise InputError(f"{folder}: no such folder of shards{hint}")
    tars = sorted(folder.glob("*.tar"))
    if not tars:
        raise InputError(f"{folder}: no .tar in it; found: {names_found(folder)}")
    if not names:
        raise InputError(f"{folder}: no manifest; say what the labels 0, 1, 2, ... mean: --emotions NAME,NAME,...")
    where = folder.resolve()
    dataset, split = dataset or where.parent.name, split or where.name
    for name, source in ((f"{dataset}-{split}", "--dataset, --split"), *((tar.name, str(folder)) for tar in tars)):
        file_name(name, source)
    shards: list[Shard] = []
    sorted_inside = True
    with closing(in_processes(_index, (IndexTask(tar, names) for tar in tars), _workers(tars))) as results:
        for shard, is_sorted in results:
            shards.append(shard)
            sorted_inside &= is_sorted
            if progress:
                progress(len(shards), len(tars))
    _check_keys(folder, tars)
    built = {"variant": "indexed", SORTED_INSIDE: sorted_inside}
    manifest = Manifest(dataset, split, names, tuple(shards), built)
    if not manifest.samples:
        raise InputError(f"{folder}: there is no sample in its {counted(len(tars), 'tar')}")
    save_manifest(folder, manifest)
    return manifest


def _check_keys(folder: Path, tars: list[Path]) -> None:
    """Raises InputError where a key comes twice in the set: tables by key could not tell the two apart."""
    with TemporaryDirectory(prefix="fer-dist-index-") as scratch:
        keys = LineSorter(Path(scratch), "keys")
        for tar in tars:
            for line in load_index_lines(tar):
                keys.add(json.dumps([key_of(line.split()[3]), tar.name]) + "\n")
        before = ["", ""]
        for line in keys:
            key, name = json.loads(line)
            if key == before[0]:
                raise InputError(
                    f"{folder}: key {key} comes twice, in {before[1]} and {name}; keys must be unique in a set"
                )
            before = [key, name]


@dataclass(frozen=True)
class IndexTask:
    """One tar, and what its labels mean."""

    tar: Path
    emotions: tuple[str, ...]


def _workers(tars: list[Path]) -> int:
    # Below some hundred megabytes the start of processes takes longer than the work.
    return min(core_count(), 1 + sum(tar.stat().st_size for tar in tars) // (256 << 20))


def _mend(folder: Path, names: tuple[str, ...], progress: Tally | None) -> Manifest:
    manifest = load_manifest(folder)
    if names and names != manifest.emotions:
        raise InputError(
            f"{folder / MANIFEST}: says that the labels are {','.join(manifest.emotions)}, --emotions says "
            f"{','.join(names)}; leave --emotions away, or remove the manifest if it is wrong"
        )
    for done, shard in enumerate(manifest.shards, 1):
        tar = folder / shard.file
        if not is_indexed(tar):
            # Only the tar that the manifest speaks of gets an index: another one would hide its damage.
            found, _ = _index(IndexTask(tar, manifest.emotions))
            if found.sha256 != shard.sha256:
                index_path(tar).unlink()
                raise InputError(f"{tar}: not the tar of the manifest (its sha256 differs); build the set again")
        if progress:
            progress(done, len(manifest.shards))
    return manifest


def is_indexed(tar: Path) -> bool:
    """Whether the index beside a tar is the one that would be written for it now. A damaged tar has none."""
    try:
        return load_index(tar) == list(read_samples(tar))
    except (InputError, TarError, OSError):
        return False


def _index(task: IndexTask) -> tuple[Shard, bool]:
    """Write the index of one tar and count its emotions. Also whether its samples stand emotion by emotion."""
    tar = task.tar
    samples: list[list[Member]] = []
    counts: Counter[str] = Counter()
    runs, before = 0, ""
    try:
        with open_regular(tar) as stream:
            for sample in read_samples(tar):
                emotion = _emotion(stream, sample, task)
                counts[emotion] += 1
                runs += emotion != before
                before = emotion
                samples.append(sample)
            stream.seek(0)
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except (TarError, EOFError, OSError) as error:
        raise InputError(f"{tar}: not a whole, uncompressed tar ({error})") from error
    save_index(tar, samples)
    by_emotion = {emotion: counts[emotion] for emotion in task.emotions}
    return Shard(tar.name, len(samples), tar.stat().st_size, digest, by_emotion), runs == len(counts)


def _emotion(stream: BinaryIO, sample: list[Member], task: IndexTask) -> str:
    """The sample's emotion by its .cls, by its .json, or by both where they agree."""
    where = f"{task.tar.name}: {key_of(sample[0].name)}"
    members = {member.extension: member for member in sample}
    if len(members) < len(sample):
        raise InputError(f"{where}: two files with the same extension")
    if leads_out(sample[0].name):
        raise InputError(f"{where}: the name leads out of the folder that it would be unpacked in; name the files anew")
    images = [extension for extension in IMAGES if extension in members]
    if len(images) > 1:
        raise InputError(f"{where}: {len(images)} images ({', '.join(images)}); expected one")
    if not images:
        raise InputError(
            _apart(task.tar, sample, IMAGES)
            or f"{where}: no image among {', '.join(members)}; expected one of {', '.join(IMAGES)}"
        )
    if members[images[0]].size > MOST_FILE_BYTES:
        raise InputError(f"{where}: its image has {members[images[0]].size:,} bytes, too many for one")
    try:
        found = [_by_number(_content(stream, members["cls"]), task.emotions)] if "cls" in members else []
        named = emotion_in(facts_in(_content(stream, members["json"])), task.emotions) if "json" in members else None
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    found += [named] if named else []
    if not found:
        raise InputError(
            _apart(task.tar, sample, LABELS) or f"{where}: no label; expected a number in .cls or an emotion in .json"
        )
    if len(set(found)) > 1:
        raise InputError(f"{where}: its .cls means {found[0]}, its .json says {found[1]}; mind the order of --emotions")
    return found[0]


def _apart(tar: Path, sample: list[Member], wanted: Collection[str]) -> str:
    """What to say where a file that a sample lacks stands elsewhere in its tar; empty where none does.

    wanted: extensions, of which one is enough. The tar is read once more, for this message alone.
    """
    first, own = sample[0].name, {member.extension for member in sample}
    key = key_of(first)
    others: dict[str, dict[str, str]] = {}
    for member in read_members(tar):
        other = key_of(member.name)
        if other.rpartition("/")[2] == key.rpartition("/")[2]:
            others.setdefault(other, {}).setdefault(member.extension, member.name)
    for extension in wanted:
        if extension not in own and extension in others.get(key, {}):
            return (
                f"{tar.name}: {key}: its files stand apart, {first} here and {others[key][extension]} elsewhere in the "
                "tar; those of a sample must stand next to each other: write the tar anew with tar --sort=name"
            )
        for files in others.values():
            # With a file of one kind more, it would be a sample of its own.
            if extension in files and own.isdisjoint(files):
                return (
                    f"{tar.name}: {key}: its files lie in two folders, {first} and {files[extension]}; those of a "
                    f"sample must be called alike up to the first point, folders included ({key}), and stand next to "
                    "each other: put them into one folder, and write the tar anew with tar --sort=name"
                )
    return ""


def _by_number(content: bytes, emotions: tuple[str, ...]) -> str:
    number = number_in(content)
    if number is None or not 0 <= number < len(emotions):
        shown = content.strip()[:20].decode("utf-8", "replace")
        raise ValueError(f"the label {shown!r} is not a number from 0 to {len(emotions) - 1}")
    return emotions[number]


def _content(stream: BinaryIO, member: Member) -> bytes:
    if member.size > MOST_BYTES:
        raise ValueError(f"its .{member.extension} has {member.size} bytes, too many for a label")
    stream.seek(member.offset)
    return stream.read(member.size)
