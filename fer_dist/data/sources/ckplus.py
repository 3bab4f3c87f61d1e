"""CK+ (Lucey et al. 2010): image sequences, some with a label for their peak frame, or 48 pixel class folders.

Sequences go from the neutral face to the peak. Of a labelled one the last frames carry the label and the first counts
as neutral; those between are not listed, not even as left out. In a sequence too short for all of them the peak comes
first, then the neutral frame, then the frames before the peak, so that no frame is taken twice.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

from fer_dist.data.emotions import CODES, emotion_of_word
from fer_dist.data.sources.folds import FoldOptions, Folds, cut_folds
from fer_dist.data.sources.reading import MOST_NOTE_BYTES, clean_key, read_whole
from fer_dist.data.sources.source import EncodedImage, LeftOut, Published, Sample, Source
from fer_dist.errors import InputError
from fer_dist.storage.folders import entries_of, folder_at, folders_in, is_folder, names_found, readable
from fer_dist.storage.untrusted import read_regular

NEUTRAL = "0"
EIGHT = tuple(CODES["ckplus"].values())
SEVEN = tuple(emotion for code, emotion in CODES["ckplus"].items() if code != NEUTRAL)

FRAME = re.compile(r"(S[0-9]+)_([0-9]+)_([0-9]+)\.png", re.IGNORECASE)
"""A file's name: subject, sequence, number of the frame."""

LABEL = "_emotion.txt"
POINTS = 68

IMAGE_FOLDERS = ("cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images")
LABEL_FOLDERS = ("Emotion", "Emotion_labels/Emotion", "Emotion_labels")
LANDMARK_FOLDERS = ("Landmarks/Landmarks", "Landmarks")

# Lucey et al. 2010: the 327 labelled sequences. CK+48 has three frames of each, 981, and no neutral ones.
SEQUENCES = dict(zip(SEVEN, (45, 18, 59, 25, 69, 28, 83), strict=True))

# What the default options make of them: three frames with the label and one neutral of each sequence, 1,308 in all.
PUBLISHED: Published = {
    "train": {"neutrality": 327, **{emotion: 3 * sequences for emotion, sequences in SEQUENCES.items()}}
}


@dataclass(frozen=True)
class Options(FoldOptions):
    """Which frames of a labelled sequence are taken, and who is tested."""

    last: int = 3
    """Frames at the end of a labelled sequence that carry its label; 3 is usual, 1 is the peak frame alone."""

    first_neutral: bool = True
    """Take the first frame of each labelled sequence as neutral."""


DEFAULT = Options()


def open(raw: str, options: Options = DEFAULT) -> Source:
    """Open CK+ in whichever variant lies at raw, or in raw/CK+, raw/CK+48 or raw/ck/CK+48.

    raw: the folder that holds cohn-kanade-images/ and Emotion/ (or Emotion_labels/), or the one that holds the class
         folders. Where Landmarks/ is there too, each frame's points are read.
    Raises InputError where neither is there, for options that do not fit, and for an unknown class folder.
    """
    if options.last < 1:
        raise InputError(f"--last {options.last}: at least the peak frame carries the label; give 1 or more")
    given = folder_at(raw)
    for root in (given, given / "CK+"):
        if images := _folder_in(root, IMAGE_FOLDERS):
            return _open_sequences(root, images, options)
    for root in (given, given / "CK+48", given / "ck" / "CK+48"):
        if _classes(root):
            return _open_classes(root, options)
    raise InputError(
        f"{raw}: no CK+ here; looked for cohn-kanade-images/ beside Emotion/ or Emotion_labels/, also in CK+/, and "
        f"for the class folders of CK+48; found: {names_found(given)}"
    )


@dataclass(frozen=True)
class Sequences:
    """The official layout: a folder for each sequence, and the same again for labels and for landmarks.

    landmarks: empty where the release has none. last, first_neutral: as the options say.
    """

    images: str
    labels: str
    landmarks: str
    last: int
    first_neutral: bool
    folds: Folds
    variant: str
    emotions: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    dataset: str = "ckplus"

    def samples(self) -> Iterator[Sample | LeftOut]:
        for subject in _folders(Path(self.images), Path(self.labels)):
            for number in _folders(Path(self.images, subject), Path(self.labels, subject)):
                yield from self._sequence(subject, number)

    def _sequence(self, subject: str, number: str) -> Iterator[Sample | LeftOut]:
        folder = f"{subject}/{number}"
        files = _files(Path(self.images, folder))
        labels = _label_files(Path(self.labels, folder))
        # Who has no label is in no fold.
        split = self.folds.split_of(subject) if labels else ""
        for name in files:
            if not FRAME.fullmatch(name):
                yield LeftOut(split, readable(f"{folder}/{name}"), "not a frame by its name")
        frames = sorted(filter(FRAME.fullmatch, files), key=lambda name: (_number(name), name))
        code = _code(Path(self.labels, folder, labels[0])) if len(labels) == 1 else ""
        if reason := _fault(labels, frames, code):
            yield LeftOut(split, readable(folder), reason)
            return
        names_last = labels[0].removesuffix(LABEL) == frames[-1].rpartition(".")[0]
        mended = "" if names_last else "label file names another frame: the last one is taken as the peak"
        skipped = 1 if self.first_neutral and len(frames) > 1 else 0
        if skipped:
            yield self._sample(folder, frames[0], NEUTRAL, "first")
        for name in frames[skipped:][-self.last :]:
            frame = "peak" if name == frames[-1] else str(_number(name))
            yield replace(self._sample(folder, name, code, frame), mended=mended)

    def _sample(self, folder: str, name: str, code: str, frame: str) -> Sample:
        subject, _, number = folder.partition("/")
        facts = {
            "id": readable(f"{folder}/{name}"),
            "code": code,
            "subject": readable(subject),
            "sequence": readable(f"{subject}_{number}"),
            "frame": frame,
        }
        key = clean_key(f"{folder}/{name.rpartition('.')[0]}")
        path = os.path.join(self.images, folder, name)
        return Sample(key, self.folds.split_of(subject), CODES["ckplus"][code], path, facts=facts)

    def read(self, sample: Sample) -> EncodedImage:
        image = read_whole(sample)
        if not self.landmarks:
            return image
        stem = os.path.relpath(sample.path, self.images).rpartition(".")[0]
        try:
            return replace(image, facts={"landmarks": _points(Path(self.landmarks, f"{stem}_landmarks.txt"))})
        except FileNotFoundError:
            return replace(image, mended="landmarks are missing")
        except (OSError, ValueError):
            return replace(image, mended="landmarks are damaged")


@dataclass(frozen=True)
class Classes:
    """CK+48, a copy of many: the last three frames of each labelled sequence, cut to 48x48, in class folders."""

    root: str
    folds: Folds
    variant: str
    dataset: str = "ckplus"
    emotions: tuple[str, ...] = SEVEN
    remarks: tuple[str, ...] = ()

    def samples(self) -> Iterator[Sample | LeftOut]:
        for name in _files(Path(self.root)):
            yield LeftOut("", readable(name), "not in a class folder")
        for folder, emotion in _classes(Path(self.root)).items():
            for name in _files(Path(self.root, folder)):
                yield self._sample(folder, name, emotion)

    def _sample(self, folder: str, name: str, emotion: str) -> Sample | LeftOut:
        match = FRAME.fullmatch(name)
        if not match:
            return LeftOut("", readable(f"{folder}/{name}"), "not a frame by its name")
        subject = match[1].upper()
        facts = {
            "id": f"{folder}/{name}",
            "code": folder,
            "subject": subject,
            "sequence": f"{subject}_{match[2]}",
            "frame": str(_number(name)),
        }
        key = clean_key(f"{folder}/{name.rpartition('.')[0]}")
        return Sample(key, self.folds.split_of(subject), emotion, os.path.join(self.root, folder, name), facts=facts)

    def read(self, sample: Sample) -> EncodedImage:
        return read_whole(sample)


def _open_sequences(root: Path, images: Path, options: Options) -> Sequences:
    labels = _folder_in(root, LABEL_FOLDERS)
    if labels is None:
        raise InputError(
            f"{root}: cohn-kanade-images/ is here but not its labels; put Emotion/ or Emotion_labels/ beside it; "
            f"found: {names_found(root)}"
        )
    # Only 118 of the 123 people have a labelled sequence, and the usual folds are of those.
    labelled = (
        subject
        for subject in _folders(labels)
        if any(_label_files(labels / subject / number) for number in _folders(labels / subject))
    )
    folds = cut_folds(options, labelled)
    landmarks = _folder_in(root, LANDMARK_FOLDERS)
    variant = (
        f"image sequences {'with' if landmarks else 'without'} landmarks, last frames: {options.last}, "
        f"{'the first one is' if options.first_neutral else 'none'} neutral; {folds.words}"
    )
    emotions = EIGHT if options.first_neutral else SEVEN
    folders = (str(images), str(labels), str(landmarks or ""))
    return Sequences(*folders, options.last, options.first_neutral, folds, variant, emotions)


def _open_classes(root: Path, options: Options) -> Classes:
    classes = _classes(root)
    if unknown := [name for name in _folders(root) if name not in classes]:
        known = "anger, contempt, disgust, fear, happy, sadness, surprise"
        raise InputError(f"{root / readable(unknown[0])}: not a class of CK+48; its class folders are {known}")
    if options.last != DEFAULT.last:
        raise InputError(f"--last {options.last}: {root} is CK+48, which was cut to 3 frames; leave the flag out")
    subjects = (
        match[1].upper() for folder in classes for name in _files(root / folder) if (match := FRAME.fullmatch(name))
    )
    folds = cut_folds(options, subjects)
    return Classes(str(root), folds, f"CK+48, class folders of 48x48 images without neutral; {folds.words}")


def _classes(root: Path) -> dict[str, str]:
    """Class folder of CK+48 -> emotion."""
    words = {name: emotion_of_word(name) for name in _folders(root)}
    return {name: emotion for name, emotion in words.items() if emotion and emotion in SEVEN}


def _folder_in(root: Path, names: tuple[str, ...]) -> Path | None:
    return next(filter(Path.is_dir, map(root.joinpath, names)), None)


def _folders(*parents: Path) -> list[str]:
    """Names of the folders in any of the parents, in order; parents that are not there do not count."""
    return sorted({name for parent in parents if parent.is_dir() for name in folders_in(parent)})


def _files(parent: Path) -> list[str]:
    """Names of the files in a folder, in order; none where there is no such folder."""
    return sorted(entry.name for entry in entries_of(parent) if not is_folder(entry)) if parent.is_dir() else []


def _label_files(folder: Path) -> list[str]:
    return [name for name in _files(folder) if name.endswith(LABEL)]


def _number(name: str) -> int:
    return int(name.rpartition(".")[0].rpartition("_")[2])


def _code(path: Path) -> str:
    """The label as the table of codes writes it, from a file's `   3.0000000e+00`; empty where it is no number."""
    try:
        text = read_regular(path, MOST_NOTE_BYTES).decode().strip()
        return str(int(float(text))) if float(text).is_integer() else text
    except (OSError, ValueError):
        return ""


def _fault(labels: list[str], frames: list[str], code: str) -> str:
    """Why a sequence is left out; empty where it is not."""
    if not labels:
        return "no label file"
    if len(labels) > 1:
        return "several label files"
    if not frames:
        return "no images"
    if not code:
        return "label file does not hold one number"
    if code == NEUTRAL:
        return "label 0, no emotion at the peak"
    return "" if code in CODES["ckplus"] else "unknown label"


def _points(path: Path) -> list[list[float]]:
    lines = read_regular(path, MOST_NOTE_BYTES).decode().splitlines()
    points = [[float(number) for number in line.split()] for line in lines if line.strip()]
    if len(points) != POINTS or any(len(point) != 2 or not all(map(isfinite, point)) for point in points):
        raise ValueError(f"{path}: not {POINTS} lines of x and y")
    return points
