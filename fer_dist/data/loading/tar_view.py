"""One mapped tar and the lines of its index: a sample's bytes, label and facts by its position.

The index is not believed: a file counts only where the tar's own header in front of it has its name and size. What was
found is kept, in 33 bytes a sample, so that the epochs after the first do not ask again.
"""

import mmap
import os
from array import array
from collections.abc import Container
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_dist.data.draws import sample_id
from fer_dist.data.images import MOST_FILE_BYTES, is_sound
from fer_dist.data.shards.labels import MOST_BYTES, emotion_in, facts_in, number_in
from fer_dist.data.shards.manifest import IMAGES, index_path, key_of, load_index_lines
from fer_dist.data.shards.tar import is_member_at
from fer_dist.errors import InputError, counted
from fer_dist.storage.untrusted import open_regular


class OpenedTar:
    """One mapped tar and the lines of its index."""

    def __init__(self, path: Path, samples: int, emotions: tuple[str, ...]) -> None:
        """samples, emotions: what the manifest says of the tar and of the set."""
        self.path = path
        self.name = path.name
        self.emotions = emotions
        self.lines = load_index_lines(path)
        if len(self.lines) != samples:
            raise self._stale(f"{counted(len(self.lines), 'sample')}, but the manifest says {samples}")
        with open_regular(path) as stream:
            is_empty = not os.fstat(stream.fileno()).st_size
            # An empty file cannot be mapped.
            self.map = mmap.mmap(-1, 1) if is_empty else mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self._begin()
        if any(one >= other for one, other in pairwise(self._starts)):
            raise self._stale("samples stand twice or out of their order")

    def sample(self, position: int) -> tuple[NDArray[np.uint8], int, bool]:
        """Encoded image and label of a sample, and whether the image's headers are sound (see images.py).

        The label is an index into the set's emotions, or a number beyond them: that of the .cls, or of the .json where
        there is no .cls. Raises InputError, naming shard and key.
        """
        size = self._sizes[position]
        if size < 0:
            self._look(position)
            size = self._sizes[position]
        image = np.frombuffer(self.map, np.uint8, size, self._images[position])
        return image, self._labels[position], bool(self._sound[position])

    def _look(self, position: int) -> None:
        """Find out where the image of a sample lies, whether it is sound, and what its label is."""
        words = self._words(position)
        key = key_of(words[3])
        image = label = None
        for at in range(0, len(words), 4):
            extension = words[at]
            if extension == "cls":
                label = self._bytes(words, at, key)
            elif extension in IMAGES:
                if image is not None:
                    raise InputError(f"{self.name}: {key}: two images")
                image = self._span(words, at, key)
        if image is None:
            raise InputError(f"{self.name}: {key}: no image")
        if not self._starts[position] <= image[0] < self._starts[position + 1]:
            # Else two lines could name one sample.
            raise self._stale(f"{key} reaches beyond the next sample")
        number = self._named(position, key) if label is None else number_in(label)
        if number is None:
            raise InputError(f"{self.name}: {key}: its .cls holds {(label or b'')[:20]!r}, not a number")
        start, size = image
        if size > MOST_FILE_BYTES:
            raise InputError(f"{self.name}: {key}: its image has {size:,} bytes, too many for one")
        self._images[position], self._sizes[position], self._labels[position] = start, size, number
        self._sound[position] = is_sound(np.frombuffer(self.map, np.uint8, size, start))

    def key(self, position: int) -> str:
        return self._key_in(self.lines[position])

    def id(self, position: int) -> int:
        """What stands for a sample in every draw."""
        if not self._ids[position]:
            self._ids[position] = sample_id(self.key(position))
        return self._ids[position]

    def facts(self, position: int) -> dict[str, Any]:
        """What the json of a sample says; nothing where it has none. Raises InputError, naming shard and key."""
        words = self._words(position)
        for at in range(0, len(words), 4):
            if words[at] == "json":
                key = key_of(words[3])
                try:
                    return facts_in(self._bytes(words, at, key))
                except ValueError as error:
                    raise InputError(f"{self.name}: {key}: {error}") from None
        return {}

    def leave_out(self, keys: Container[str]) -> None:
        """Forget the samples of these keys; positions count what is left."""
        self._keep([line for line in self.lines if self._key_in(line) not in keys])

    def keep_only(self, labels: set[int]) -> None:
        """Forget the samples of other labels; positions count what is left."""
        self._keep([line for i, line in enumerate(self.lines) if self.sample(i)[1] in labels])

    def _keep(self, lines: list[str]) -> None:
        self.lines = lines
        self._begin()

    def _begin(self) -> None:
        """Note where the first file of each sample lies, and at last where the tar ends; nothing else is known yet."""
        try:
            self._starts = array("q", [*(int(line.split(None, 2)[1]) for line in self.lines), len(self.map)])
        except (IndexError, ValueError, OverflowError):
            raise self._stale("a line is not whole") from None
        self._sizes = array("q", [-1]) * len(self.lines)
        self._images = array("q", [0]) * len(self.lines)
        self._labels = [0] * len(self.lines)
        self._ids = array("Q", [0]) * len(self.lines)
        self._sound = bytearray(len(self.lines))

    def _named(self, position: int, key: str) -> int:
        """The label that the sample's json names."""
        try:
            emotion = emotion_in(self.facts(position), self.emotions)
        except ValueError as error:
            raise InputError(f"{self.name}: {key}: {error}") from None
        if emotion is None:
            raise InputError(f"{self.name}: {key}: no label (.cls), and no emotion in its .json")
        return self.emotions.index(emotion)

    def _words(self, position: int) -> list[str]:
        words = self.lines[position].split()
        if len(words) % 4 or not words:
            raise self._stale(f"the line of sample {position} is not whole")
        return words

    def _key_in(self, line: str) -> str:
        words = line.split(None, 4)
        if len(words) < 4:
            raise self._stale(f"a line is not whole: {line[:40]!r}")
        return key_of(words[3])

    def _bytes(self, words: list[str], at: int, key: str) -> bytes:
        start, size = self._span(words, at, key)
        if size > MOST_BYTES:
            raise InputError(f"{self.name}: {key}: its .{words[at]} has {size} bytes, too many for a label")
        return self.map[start : start + size]

    def _span(self, words: list[str], at: int, key: str) -> tuple[int, int]:
        """Where a file lies: first byte and size. Raises InputError where the tar has another one there."""
        extension, name = words[at], words[at + 3]
        try:
            start, size = int(words[at + 1]), int(words[at + 2])
        except ValueError:
            start = size = -1
        if start < 0 or size < 0 or start + size > len(self.map):
            raise self._stale(f"{name} does not lie inside the tar")
        if not is_member_at(self.map, start, size, name):
            raise self._stale(f"{name} does not lie where it says; it is the index of another tar")
        if name != f"{key}.{extension}" and (key_of(name), name[len(key) + 1 :].lower()) != (key, extension):
            raise self._stale(f"{name} stands among the files of {key}")
        return start, size

    def _stale(self, what: str) -> InputError:
        remedy = f"make it anew with: fer-dist shards index {self.path.parent}"
        return InputError(f"{index_path(self.path)}: {what}; {remedy}")
