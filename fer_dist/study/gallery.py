"""Images that a report shows: the most confident errors, the least certain right answers, confusions, and the data.

What is shown is chosen by its extremity and says nothing of how frequent it is. Faces are small copies in files of
their own, so that a page can be made again without the sets, and without the faces.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_dist.data.images import jpeg_bytes, small_copy
from fer_dist.data.loading.order import Positions, located
from fer_dist.data.loading.reader import Reader
from fer_dist.scores.intervals import Array
from fer_dist.scores.metrics import confusion
from fer_dist.scores.table import Predictions, labelled, predicted
from fer_dist.storage.writing import write_atomically

FOLDER = "gallery"
SIDE, QUALITY = 64, 75
"""Pixels of a small copy, at most, and its JPEG quality: about 2 kB, so that a page of four models stays below 3 MB."""
OF_EACH, OF_DATA = 3, 6
"""Images of an emotion in each list, and of the data."""
MOST_EMOTIONS = 10
"""Of more, those with the most errors are shown; of the data those with the most images among the first."""
MOST_PAIRS, OF_PAIR = 4, 4
LOOKED_AT = 3000
"""Images of a training set among which those that show the data are looked for: shards are mixed."""


def examples(predictions: Predictions) -> list[dict[str, Any]]:
    """What is shown of a model's answers: lists of images, ready for JSON.

    Each has kind ("errors", "uncertain", "confused"), emotion, taken (for "confused"), images (how many there are in
    all) and entries: key, label, predicted, p (the probability of the predicted emotion).
    """
    chosen = labelled(predictions)
    answers, shares = predicted(chosen), chosen.probabilities.max(axis=1)
    is_right = answers == chosen.labels
    matrix = confusion(chosen)
    errors = matrix.sum(axis=1) - np.diagonal(matrix)
    emotions = np.flatnonzero(matrix.sum(axis=1))
    shown = np.sort(emotions[np.argsort(-errors[emotions], kind="stable")[:MOST_EMOTIONS]])
    found = []
    for kind, of_kind, order in (("errors", ~is_right, -shares), ("uncertain", is_right, shares)):
        for emotion in shown:
            rows = np.flatnonzero(of_kind & (chosen.labels == emotion))
            found.append(_listed(chosen, kind, rows[np.argsort(order[rows], kind="stable")], OF_EACH, int(emotion)))
    pairs = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    for place in np.argsort(-pairs, axis=None, kind="stable")[:MOST_PAIRS]:
        emotion, taken = (int(index) for index in np.unravel_index(place, pairs.shape))
        rows = np.flatnonzero((chosen.labels == emotion) & (answers == taken))
        ordered = rows[np.argsort(-shares[rows], kind="stable")]
        found.append(_listed(chosen, "confused", ordered, OF_PAIR, emotion) | {"taken": chosen.emotions[taken]})
    return [one for one in found if one["entries"]]


def of_data(reader: Reader) -> tuple[list[dict[str, Any]], list[bytes]]:
    """What is shown of a set: some images of each emotion, as of `examples`, and their content in the same order."""
    total = int(reader.counts.sum())
    looked = located(reader.counts, np.arange(min(total, LOOKED_AT), dtype=np.int64))
    samples = reader.read(looked)
    found, content = [], []
    emotions, numbers = np.unique(samples.labels, return_counts=True)
    for emotion in np.sort(emotions[np.argsort(-numbers, kind="stable")[:MOST_EMOTIONS]]):
        rows = np.flatnonzero(samples.labels == emotion)[:OF_DATA]
        name = reader.emotions[int(emotion)]
        entries = [{"key": samples.origins[row][0].key(samples.origins[row][1]), "label": name} for row in rows]
        images = reader.manifest.counts.get(name, len(entries))
        found.append({"kind": "data", "emotion": name, "images": images, "entries": entries})
        content += [samples.content[row].tobytes() for row in rows]
    return found, content


def contents_of(reader: Reader, lists: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    """The encoded image of every entry, in their order."""
    wanted = {entry["key"]: None for one in lists for entry in one["entries"]}
    places: dict[str, Positions] = {}
    indices = np.arange(int(reader.counts.sum()), dtype=np.int64)
    for start in range(0, len(indices), LOOKED_AT):
        positions = located(reader.counts, indices[start : start + LOOKED_AT])
        for row, key in enumerate(reader.keys(positions)):
            if key in wanted:
                places[key] = Positions(positions.shard[row : row + 1], positions.position[row : row + 1])
    for one in lists:
        for entry in one["entries"]:
            yield reader.read(places[entry["key"]]).content[0].tobytes()


def write_thumbnails(lists: list[dict[str, Any]], contents: Iterator[bytes], out: Path, name: str) -> list[str]:
    """Write a small copy of each entry's image below out/gallery, and its path into the entry. Returns the paths.

    An entry whose image does not decode has no file. name: of the folder there.
    """
    paths: dict[str, None] = {}
    for one in lists:
        for entry in one["entries"]:
            small, key = thumbnail(next(contents)), str(entry["key"])
            if small is not None:
                path = f"{FOLDER}/{name}/{hashlib.sha256(key.encode()).hexdigest()[:16]}.jpg"
                (out / path).parent.mkdir(parents=True, exist_ok=True)
                write_atomically(out / path, small)
                entry["file"] = path
                paths[path] = None
    return list(paths)


def thumbnail(content: bytes) -> bytes | None:
    """A small JPEG of an encoded image, upright, without anything else that the file says; None: it does not decode."""
    image = small_copy(content, SIDE)
    return None if image is None else jpeg_bytes(image, QUALITY)


def _listed(chosen: Predictions, kind: str, rows: Array, most: int, emotion: int) -> dict[str, Any]:
    answers = predicted(chosen)
    entries = [
        {
            "key": str(chosen.keys[row]),
            "label": chosen.emotions[int(chosen.labels[row])],
            "predicted": chosen.emotions[int(answers[row])],
            "p": float(chosen.probabilities[row, answers[row]]),
        }
        for row in rows[:most]
    ]
    return {"kind": kind, "emotion": chosen.emotions[emotion], "images": len(rows), "entries": entries}
