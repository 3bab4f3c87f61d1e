"""ExpW, Expression in-the-Wild (Zhang et al. 2018): label.lst, with one line for each face, and the photographs.

One photograph may hold several faces. A sample's image is the whole photograph with the face's box; cut the faces
out with --crop-faces, or the same image comes several times, with other labels.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fer_dist.data.emotions import CODES
from fer_dist.data.sources.codes import counting_fault
from fer_dist.data.sources.reading import clean_key, finite, named_lines, read_whole
from fer_dist.data.sources.source import EncodedImage, LeftOut, Published, Sample, Source
from fer_dist.errors import InputError
from fer_dist.storage.folders import folder_at, names_found, readable
from fer_dist.storage.untrusted import lines_of, open_table

ROOTS = (".", "data", "ExpW", "ExpW/data")
LISTS = ("label/label.lst", "label.lst")
FOLDERS = ("image/origin", "image/origin.7z/origin", "origin", "image", ".")
"""Where the photographs may lie; some tools unpack the archive into a folder of its name."""

LOOKED_AT = 1000
"""First lines of the list whose labels are looked at before the rest is read."""

TRIED = 100
"""First lines of the list whose photographs are looked for, to find their folder; a few may be missing."""

EMOTIONS = tuple(CODES["expw"].values())

# The sum, 91,793, is on the authors' page (mmlab.ie.cuhk.edu.hk/projects/socialrelation); by class as a loader on
# GitHub counts the list.
PUBLISHED: Published = {"train": dict(zip(EMOTIONS, (3671, 3995, 1088, 30537, 10559, 7060, 34883), strict=True))}


@dataclass(frozen=True)
class Options:
    """What a user says of ExpW."""

    min_confidence: float = 0.0
    """Leave out faces whose box the release's detector trusts less, as its list says. 0: all stay."""


DEFAULT = Options()


def open(raw: str, options: Options = DEFAULT) -> Source:
    """Open ExpW: label.lst lies in raw or in a folder of its usual names below, the photographs beside it.

    Raises InputError where there is no list, or none of its first photographs is found.
    """
    given = folder_at(raw)
    for root in map(given.joinpath, ROOTS):
        for name in LISTS:
            if (root / name).is_file():
                _check_labels(root / name)
                return ExpW(str(root / name), str(_photographs(root, root / name)), options.min_confidence)
    raise InputError(f"{raw}: no ExpW here; looked for label/label.lst and label.lst; found: {names_found(given)}")


@dataclass(frozen=True)
class ExpW:
    """The faces of label.lst. The release has no splits: all are train.

    A line: image_name face_id_in_image box_top box_left box_right box_bottom box_confidence label. Top comes first.
    """

    listing: str
    folder: str
    min_confidence: float
    dataset: str = "expw"
    variant: str = "label.lst, whole photographs with a box for each face; no official split, all of it train"
    emotions: tuple[str, ...] = EMOTIONS
    remarks: tuple[str, ...] = ()

    def samples(self) -> Iterator[Sample | LeftOut]:
        for line, where in named_lines(self.listing):
            yield self._sample(_fields(line), where)

    def _sample(self, fields: list[str], where: str) -> Sample | LeftOut:
        if len(fields) != 8:
            return LeftOut("train", where, "not eight columns")
        name, face, *numbers, code = fields
        # The release's own name of a face: neither column is unique alone.
        identity = readable(f"{name} {face}")
        emotion = CODES["expw"].get(code)
        if emotion is None:
            return LeftOut("train", identity, "unknown code")
        try:
            top, left, right, bottom, confidence = finite(numbers)
        except ValueError:
            return LeftOut("train", identity, "box or confidence is no number")
        if confidence < self.min_confidence:
            return LeftOut("train", identity, "confidence below min_confidence")
        facts = {
            "id": identity,
            "code": code,
            "photograph": readable(name),
            "box": [left, top, right - left, bottom - top],
            "confidence": confidence,
        }
        key = clean_key(f"{os.path.splitext(name)[0]}_{face}")
        return Sample(key, "train", emotion, os.path.join(self.folder, name), facts=facts)

    def read(self, sample: Sample) -> EncodedImage:
        return read_whole(sample)


def _check_labels(listing: Path) -> None:
    with open_table(listing, "utf-8-sig", "replace") as stream:
        labels = {fields[-1] for fields in map(_fields, islice(lines_of(stream), LOOKED_AT)) if len(fields) == 8}
    if fault := counting_fault(labels, CODES["expw"]):
        raise InputError(f"{listing}: {fault}; give the list of the release")


def _fields(line: str) -> list[str]:
    # From the right, for a file name may hold blanks.
    return line.rsplit(maxsplit=7)


def _photographs(root: Path, listing: Path) -> Path:
    """The folder that holds photographs of the list's first lines. Raises InputError where none does."""
    with open_table(listing, "utf-8-sig", "surrogateescape") as stream:
        names = [_fields(line)[0] for line in islice(lines_of(stream), TRIED) if line.strip()]
    for folder in map(root.joinpath, FOLDERS):
        if any(os.path.isfile(folder / name) for name in names):
            return folder
    first = readable(names[0])[:80] if names else "an empty list"
    raise InputError(
        f"{root}: none of the first photographs of {listing.name} ({first}, ...) is here; looked in "
        f"{', '.join(FOLDERS[:-1])} and the folder itself; found: {names_found(root)}"
    )
