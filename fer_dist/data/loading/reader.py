"""Random access to the samples of a shard set: from (shard, position) to bytes, label and key.

A sample costs a few microseconds: the tars are mapped into memory, the images are views of them, and of the index
only the lines that are asked for are parsed.
"""

import resource
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fer_dist.data.draws import Hashes, Integers, hashed, sample_id, uniform
from fer_dist.data.emotions import EIGHT, class_name, columns_of
from fer_dist.data.loading.mixing import Contents
from fer_dist.data.loading.order import Positions, sequence
from fer_dist.data.loading.remote import RemoteShards
from fer_dist.data.loading.shard_set import ShardSet, opened
from fer_dist.data.loading.tar_view import OpenedTar
from fer_dist.data.shards.leave_out import Listed, check_leave_out, load_leave_out, stale
from fer_dist.data.shards.manifest import SORTED_INSIDE, Manifest
from fer_dist.errors import InputError, counted

MOST_OPEN = 512
"""Tars that stay mapped: more than the shards that 128 lanes touch at once, where blocks are not larger than usual."""

OTHER_FILES = 1024
"""Files that a process may have open beside tars. Each map holds one."""

MOST_SHARE = 1e12
"""Of a soft label, which may be given in votes: their sum is a number then."""

CHOICE = 0x726F627573740001
"""Part of the hash that picks the subset of a set: no other draw has it."""

RELABELLED = 0x6C6162656C730001
"""Part of the hash that draws random labels."""

Step = TypeVar("Step")


class Origin(Protocol):
    """Where samples are read from: a tar, or whatever else knows their names."""

    @property
    def name(self) -> str: ...

    def key(self, position: int) -> str: ...

    def id(self, position: int) -> int: ...


class Readable(Protocol):
    """What a loader reads: a set, or whatever else gives samples by their positions."""

    def read(self, positions: Positions) -> "Samples": ...


@dataclass(frozen=True)
class Samples:
    """The samples of one batch.

    content: the encoded image of each, uint8, views of the mapped tars.
    labels:  int64 [n], outputs of the model.
    sound:   whether each image may go into a batch untried (see images.py).
    origins: the tar of each, or what stands for one, and its position there.
    targets: float32 [n, K], each row sums to 1; None where soft labels were not asked for.
    """

    content: list[NDArray[np.uint8]]
    labels: Integers
    sound: list[bool]
    origins: list[tuple[Origin, int]]
    targets: NDArray[np.float32] | None = None

    @cached_property
    def ids(self) -> Hashes:
        """uint64 [n], what stands for each sample in every draw. Hashed when asked for: evaluation draws nothing."""
        return np.array([tar.id(position) for tar, position in self.origins], dtype=np.uint64)

    @cached_property
    def keys(self) -> list[str]:
        """Of each sample. Parsed when asked for: a step needs none."""
        return [tar.key(position) for tar, position in self.origins]

    @property
    def shards(self) -> list[str]:
        """The shard of each sample, for messages."""
        return [tar.name for tar, _ in self.origins]

    def __len__(self) -> int:
        return len(self.content)


class Reader:
    """Reads the samples of one shard set whose emotions the model has, less those of a list.

    counts: samples of each shard; left_out: how many more there were without the list; extra: how many there are of
    each emotion that the model does not have.
    """

    def __init__(
        self,
        shards: str | Path | ShardSet,
        model_emotions: tuple[str, ...],
        drop_extra: bool = False,
        leave_out: str = "",
        soft: bool = False,
        random_labels: int | None = None,
    ) -> None:
        """shards: path or URL of a set (paths.py), or what `open_set` gave; a remote one is cached where the settings
        say by default. drop_extra: samples of emotions that the model does not have are passed over.

        leave_out: file of images to leave out (see leave_out.py), empty for none. soft: samples come with targets.
        random_labels: a seed by which labels, as frequent as the set's, are drawn in place of the set's own.
        Raises InputError for a set that is not whole: a tar or an index is missing, or a tar has another size than its
        manifest says; for emotions that the model does not have, unless drop_extra; and for a list that does not fit.
        """
        found = opened(shards)
        self.remote = found.remote
        self.folder = folder = found.location.shown
        """Path of a local set, address of a remote one."""
        self.emotions = model_emotions
        self.leave_out = leave_out
        self.soft = soft
        self.random_labels = random_labels
        self.manifest: Manifest = found.manifest
        present = tuple(name for name, count in self.manifest.counts.items() if count)
        try:
            columns_of(present, model_emotions, drop_extra)
        except InputError as error:
            raise InputError(f"{folder}: {error}") from None
        self.columns = columns_of(self.manifest.emotions, model_emotions, drop_extra=True)
        kept = {name for name, column in zip(self.manifest.emotions, self.columns, strict=True) if column is not None}
        self.extra = {name: count for name, count in self.manifest.counts.items() if count and name not in kept}
        self._counts = np.array(
            [sum(shard.counts[e] for e in shard.counts if e in kept) for shard in self.manifest.shards]
        )
        """Without the list."""
        self._listed: Listed = {}
        if leave_out:
            self._listed = load_leave_out(leave_out, self.manifest.name)
            check_leave_out(leave_out, self._listed, found.whole)
        # From the list alone: to open every index would take as long as the set is large.
        listed = [self._listed.get(shard.file, {}).values() for shard in self.manifest.shards]
        self.counts = self._counts - np.array([sum(e in kept for e in emotions) for emotions in listed])
        self.left_out = int(self._counts.sum() - self.counts.sum())
        self._kept = kept
        self.most_open = MOST_OPEN
        self._open: OrderedDict[int, OpenedTar] = OrderedDict()
        if self._counts.sum() == 0:
            raise InputError(f"{folder}: no image has an emotion of the model ({', '.join(model_emotions)})")
        if self.counts.sum() == 0:
            every = counted(self.left_out, "image")
            raise InputError(f"{folder}: {leave_out} leaves out all there is, {every}; give another list")

    def counts_of_emotions(self) -> dict[str, int]:
        """How many samples of each of the model's emotions are read; 0 of one that the set does not have."""
        found = dict(zip(sorted(self._kept), self._by_class.sum(axis=0).tolist(), strict=True))
        return {emotion: found.get(emotion, 0) for emotion in self.emotions}

    def contents(self) -> Contents:
        """What the manifest and the list tell of the samples that are read, without opening a tar."""
        is_sorted = bool(self.manifest.built.get(SORTED_INSIDE))
        return Contents(self._by_class, np.array([shard.bytes for shard in self.manifest.shards]), is_sorted)

    @cached_property
    def _by_class(self) -> Integers:
        """[shards, K]: samples that are read, of the emotions that set and model share, in their alphabet's order."""
        return np.array(
            [
                [shard.counts.get(emotion, 0) - held.count(emotion) for emotion in sorted(self._kept)]
                for shard in self.manifest.shards
                for held in [list(self._listed.get(shard.file, {}).values())]
            ]
        )

    def keep_open(self, tars: int) -> None:
        """Let so many tars stay mapped, as an order draws from them at once; fewer where the system allows fewer."""
        if tars > self.most_open:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            most = hard if hard != resource.RLIM_INFINITY else tars + OTHER_FILES
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(most, tars + OTHER_FILES)), hard))
            self.most_open = max(MOST_OPEN, min(tars, most - OTHER_FILES))

    def read(self, positions: Positions) -> Samples:
        """The samples at these positions. Raises InputError, naming shard and key, where one is not whole."""
        content, labels, sound, targets = [], [], [], []
        origins: list[tuple[Origin, int]] = []
        for shard, position in zip(positions.shard.tolist(), positions.position.tolist(), strict=True):
            tar = self._tar(shard)
            image, label, is_sound = tar.sample(position)
            column = self.columns[label] if 0 <= label < len(self.columns) else None
            if column is None:
                raise InputError(
                    f"{tar.name}: {tar.key(position)}: label {label} is none of the manifest's emotions; "
                    f"look closer with: fer-dist shards verify {self.folder}"
                )
            if self.soft:
                targets.append(self._target(tar, position, column))
            content.append(image)
            labels.append(column)
            sound.append(is_sound)
            origins.append((tar, position))
        shares = np.array(targets, dtype=np.float32) if self.soft else None
        samples = Samples(content, np.array(labels, dtype=np.int64), sound, origins, shares)
        return samples if self.random_labels is None else self._relabelled(samples, self.random_labels)

    def ahead(
        self, steps: Iterable[Step], positions_of: Callable[[Step], Positions]
    ) -> Iterator[tuple[Step, Positions]]:
        """Each step with its positions. The shards of a remote set are fetched before the steps that need them."""
        if self.remote:
            return self.remote.ahead(steps, positions_of, self._close)
        return ((step, positions_of(step)) for step in steps)

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which maps the tars itself."""
        return self.__dict__ | {"_open": OrderedDict()}

    def keys(self, positions: Positions) -> list[str]:
        pairs = zip(positions.shard.tolist(), positions.position.tolist(), strict=True)
        return [self._tar(shard).key(position) for shard, position in pairs]

    def facts(self, positions: Positions) -> list[dict[str, Any]]:
        """What the json of each sample says. Raises InputError, naming shard and key, where one does not parse."""
        pairs = zip(positions.shard.tolist(), positions.position.tolist(), strict=True)
        return [self._tar(shard).facts(position) for shard, position in pairs]

    def _relabelled(self, samples: Samples, seed: int) -> Samples:
        """The same samples with labels that their ids draw: each has its own, in any batch and epoch."""
        ends = np.cumsum(list(self.counts_of_emotions().values()))
        labels = np.searchsorted(ends[:-1], uniform(seed, RELABELLED, samples.ids) * ends[-1], side="right")
        targets = np.eye(len(ends), dtype=np.float32)[labels] if self.soft else None
        return replace(samples, labels=labels, targets=targets)

    def _target(self, tar: OpenedTar, position: int, column: int) -> list[float]:
        soft = tar.facts(position).get("soft")
        try:
            shares = None if soft is None else shares_of(soft, self.emotions, self.manifest.emotions)
        except ValueError as error:
            where = f"{tar.name}: {tar.key(position)}"
            raise InputError(
                f"{where}: its soft label {error}; mend its json, or train with --train.loss hard"
            ) from None
        return shares or [float(index == column) for index in range(len(self.emotions))]

    def _tar(self, shard: int) -> OpenedTar:
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        entry = self.manifest.shards[shard]
        tar = self._opened(shard)
        listed = self._listed.get(entry.file, {})
        if listed:
            tar.leave_out(listed)
        if self._counts[shard] != entry.samples:
            tar.keep_only({label for label, column in enumerate(self.columns) if column is not None})
        if len(tar.lines) != self.counts[shard]:
            said = f"{counted(len(tar.lines), 'sample')} of the model's emotions"
            if listed:
                raise InputError(
                    f"{self.leave_out}: leaves {said} in {tar.path} instead of {self.counts[shard]}; "
                    f"{stale(self.manifest.name)}"
                )
            raise InputError(
                f"{tar.path}: {said}, but the manifest says {self.counts[shard]}; "
                f"look closer with: fer-dist shards verify {self.folder}"
            )
        self._open[shard] = tar
        while len(self._open) > self.most_open or (self.remote and self._is_too_much(self.remote)):
            self._close(next(iter(self._open)))
        return tar

    def _opened(self, shard: int) -> OpenedTar:
        entry, emotions = self.manifest.shards[shard], self.manifest.emotions
        if not self.remote:
            return OpenedTar(Path(self.folder) / entry.file, entry.samples, emotions)
        was_discarded = False
        while True:
            path = self.remote.path(shard)
            try:
                return OpenedTar(path, entry.samples, emotions)
            except (InputError, FileNotFoundError) as error:
                self.remote.release(shard)
                # Gone again where other processes needed the room; else the index is damaged, here or in the store.
                if self.remote.has(shard):
                    self.remote.discard_index(shard)
                    if was_discarded:
                        raise InputError(f"{self.folder}/{entry.file}: in its copy here: {error}") from None
                    was_discarded = True

    def _is_too_much(self, remote: RemoteShards) -> bool:
        """Whether more of the cache is mapped than this reader's share; what it needs at once may be more."""
        return len(self._open) > 1 and sum(self.manifest.shards[shard].bytes for shard in self._open) > remote.share

    def _close(self, shard: int) -> None:
        if self._open.pop(shard, None) and self.remote:
            self.remote.release(shard)


def shares_of(soft: Any, emotions: tuple[str, ...], others: tuple[str, ...] = ()) -> list[float] | None:
    """A soft label as shares of the model's emotions, which sum to 1; None where it gives them nothing.

    soft: {emotion: share}, as the json of a sample has it; shares of emotions that the model lacks fall away.
    others: classes that it may name as well, those of the set.
    Raises ValueError that says what is wrong with it.
    """
    if not isinstance(soft, dict):
        raise ValueError(f"is a {type(soft).__name__}, not shares by emotion")
    shares = [0.0] * len(emotions)
    total = 0.0
    for word, share in soft.items():
        name = word if word in others else class_name(word)
        if not (name in emotions or name in others or name in EIGHT):
            raise ValueError(f"names {word[:20]!r}, which is no emotion that we know and no class of the set")
        if not isinstance(share, int | float) or not 0 <= share <= MOST_SHARE:
            # What is nested just deep enough to be read can be too deep to be written.
            shown = repr(share)[:20] if isinstance(share, str | int | float) else f"of a {type(share).__name__}"
            raise ValueError(f"gives {word} the share {shown}")
        total += share
        if name in emotions:
            shares[emotions.index(name)] += share
    if not total > 0:
        raise ValueError("has no share above 0")
    left = sum(shares)
    return [share / left for share in shares] if left > 0 else None


def choose(reader: Reader, samples: int) -> Positions:
    """At most that many samples of a set, in the order of the shards; 0: all of them."""
    (everything,) = sequence(reader.counts, 0, 1, int(reader.counts.sum()))
    if not 0 < samples < len(everything):
        return everything
    ids = np.array([sample_id(key) for key in reader.keys(everything)], dtype=np.uint64)
    first = np.sort(np.argsort(hashed(CHOICE, ids), kind="stable")[:samples])
    return Positions(everything.shard[first], everything.position[first])
