"""AffectNet (Mollahosseini, Hasani and Mahoor 2017): the 2021 release, copies of it in class folders, the 2017 release.

The validation set becomes the split test: papers report on it, for the labels of the test set are not public.
The csv lists of 2017 are read by affectnet_lists.py.
"""

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fer_dist.data.emotions import CODES
from fer_dist.data.images import EXTENSIONS, is_image_name
from fer_dist.data.sources.affectnet_lists import NO_EMOTION, Remarks, code_of, fault_of, has_lists, open_lists
from fer_dist.data.sources.codes import check_counting, check_sizes, codes_of, remarks_on_unused, told
from fer_dist.data.sources.reading import MOST_NOTE_BYTES, clean_key, read_whole
from fer_dist.data.sources.source import EncodedImage, LeftOut, Published, Sample, Source
from fer_dist.data.sources.splits import check_one_each, remarks_on_unread, split_folders, split_of
from fer_dist.errors import InputError
from fer_dist.storage.folders import entries_of, folder_at, folders_in, is_folder, names_found, readable
from fer_dist.storage.untrusted import read_regular

EMOTIONS = tuple(CODES["affectnet"].values())
SEVEN = tuple(emotion for emotion in EMOTIONS if emotion != "contempt")
CLASSES = "AffectNet's codes, from 0 neutral to 7 contempt"

# The lists by expression: the seven as coder-xinxiaohai/AffectNet_Processing states them, contempt as the class weights
# of several training recipes have it. Together train is 287,651 images; some papers write 287,568.
PUBLISHED: Published = {
    "train": dict(zip(EMOTIONS, (74874, 134415, 25459, 14090, 6378, 3803, 24882, 3750), strict=True)),
    **dict.fromkeys(("val", "test"), dict.fromkeys(EMOTIONS, 500)),
}

NPY_ERRORS = (
    *(ValueError, TypeError, LookupError, ArithmeticError, SyntaxError, TokenError),
    *(MemoryError, RecursionError, SystemError),
)
"""What NumPy raises for damaged .npy files: it parses the header as Python, and trusts its sizes and its letters."""


@dataclass(frozen=True)
class Options:
    """What a user says of AffectNet."""

    emotions: Literal["seven", "eight"] = "seven"
    """seven: AffectNet-7, without contempt, as the study has it. eight: AffectNet-8."""

    lists: Literal["manual", "automatic", "both"] = "manual"
    """Of the 2017 release: the lists labelled by people, the one labelled by a network, or both."""

    codes: str = ""
    """What the numbers of class folders mean, where a copy has another order than AffectNet's own: names in the order
    of the numbers 0, 1, 2, ..., as anger,contempt,disgust,...; - for a number that is left out."""

    val_as: Literal["auto", "test", "val"] = "auto"
    """Split that the release's validation set becomes. auto: test, or val where a labelled test set stands beside."""


DEFAULT = Options()


def open(raw: str, options: Options = DEFAULT) -> Source:
    """Open AffectNet in whichever release lies at raw or in a folder of it.

    raw: the folder that holds train_set and val_set, or the lists; a single images/ with annotations/ is one split.
    Raises InputError where there is none or more than one, and where the options ask for what is not there.
    """
    given = folder_at(raw)
    roots = [given] if _is_root(given) else sorted(filter(_is_root, given.iterdir()))
    if not roots:
        raise InputError(
            f"{raw}: no AffectNet here or one folder below; looked for train_set/images and train_set/annotations, "
            "train_set/0 to 7, images and annotations, or Manually_Annotated_file_lists/training.csv; "
            f"found: {names_found(given)} (class folders named in words: use the source folder)"
        )
    if len(roots) > 1:
        raise InputError(
            f"{raw}: more than one release; give one of {', '.join(readable(path.name) for path in roots)}"
        )
    root, emotions = roots[0], SEVEN if options.emotions == "seven" else EMOTIONS
    if parts := _parts(root, _is_annotated, options):
        _refuse_codes(root, options)
        return Annotated(parts, f"the 2021 release: {_told(parts)}", emotions, remarks=_unread(root, parts))
    if parts := _parts(root, _has_classes, options):
        return _open_classes(root, parts, options.codes, emotions)
    _refuse_codes(root, options)
    return open_lists(root, options.lists, emotions, "val" if options.val_as == "val" else "test")


@dataclass(frozen=True)
class Part:
    """The folder of one split. prefix: its name below the root and a slash; empty where it is the root."""

    folder: str
    split: str
    prefix: str


@dataclass(frozen=True)
class Annotated:
    """The 2021 release: <id>.jpg in images/, and <id>_exp.npy and its like in annotations/. Ids have gaps."""

    parts: tuple[Part, ...]
    variant: str
    emotions: tuple[str, ...]
    dataset: str = "affectnet"
    remarks: tuple[str, ...] = ()

    def samples(self) -> Iterator[Sample | LeftOut]:
        for part in self.parts:
            for entry in entries_of(f"{part.folder}/images"):
                yield self._entry(entry, part)
            yield from _without_image(part)

    def _entry(self, entry: os.DirEntry[str], part: Part) -> Sample | LeftOut:
        name = readable(f"{part.prefix}images/{entry.name}")
        if fault := _stray(entry):
            return LeftOut(part.split, name, fault)
        stem = os.path.splitext(entry.name)[0]
        try:
            code = code_in(read_regular(f"{part.folder}/annotations/{stem}_exp.npy", MOST_NOTE_BYTES))
        except FileNotFoundError:
            return LeftOut(part.split, name, "_exp.npy is missing")
        except (OSError, ValueError):
            return LeftOut(part.split, name, "_exp.npy cannot be read")
        if fault := fault_of(code, self.emotions):
            return LeftOut(part.split, name, fault)
        facts = {"id": name, "code": code}
        return Sample(clean_key(stem), part.split, CODES["affectnet"][code], entry.path, facts=facts)

    def read(self, sample: Sample) -> EncodedImage:
        image = read_whole(sample)
        folder, file = os.path.split(sample.path)
        start = os.path.join(os.path.dirname(folder), "annotations", os.path.splitext(file)[0])
        remarks = Remarks()
        remarks.add_landmarks(_array_at(f"{start}_lnd.npy"))
        for name, ending in (("valence", "val"), ("arousal", "aro")):
            array = _array_at(f"{start}_{ending}.npy")
            remarks.add_rating(name, None if array is None else _text(array))
        return replace(image, facts=remarks.facts, mended=remarks.mended)


@dataclass(frozen=True)
class Classes:
    """Copies of the 2021 release in class folders. codes: number of a folder -> our name; empty: it is left out."""

    parts: tuple[Part, ...]
    variant: str
    emotions: tuple[str, ...]
    codes: dict[str, str]
    dataset: str = "affectnet"
    remarks: tuple[str, ...] = ()

    def samples(self) -> Iterator[Sample | LeftOut]:
        for part in self.parts:
            for entry in entries_of(part.folder):
                yield from self._class_samples(entry, part)

    def _class_samples(self, folder: os.DirEntry[str], part: Part) -> Iterator[Sample | LeftOut]:
        code, inside = folder.name, readable(part.prefix + folder.name)
        fault = fault_of(code, self.emotions, self.codes)
        if not is_folder(folder):
            yield LeftOut(part.split, inside, "not in a class folder")
        elif fault == "unknown code":
            yield LeftOut(part.split, inside, fault)
        else:
            for entry in entries_of(folder.path):
                name = f"{inside}/{readable(entry.name)}"
                if reason := _stray(entry) or fault:
                    yield LeftOut(part.split, name, reason)
                else:
                    key = clean_key(f"{code}/{os.path.splitext(entry.name)[0]}")
                    facts = {"id": name, "code": code}
                    yield Sample(key, part.split, self.codes[code], entry.path, facts=facts)

    def read(self, sample: Sample) -> EncodedImage:
        return read_whole(sample)


# The 288,000 files are of a few kinds; to parse each anew takes 60 microseconds a file, to read and look up 13.
@lru_cache(maxsize=256)
def code_in(content: bytes) -> str:
    """The label in the bytes of an _exp.npy: text or a number, alone or in an array of one. Raises ValueError."""
    return code_of(_text(_array_in(content)))


def _array_in(content: bytes) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
        array.tolist()  # NumPy looks at the letters of a text only when they are taken out
    except NPY_ERRORS as error:
        raise ValueError(f"not a whole .npy file ({type(error).__name__})") from error
    if array.dtype.kind not in "iufUS":
        raise ValueError(f"neither numbers nor text ({array.dtype})")
    return array


def _array_at(path: str) -> NDArray[Any] | None:
    """The array in a file; an empty one where that cannot be read, None where there is no such file."""
    try:
        return _array_in(read_regular(path, MOST_NOTE_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return np.empty(0)


def _text(array: NDArray[Any]) -> str:
    """The only value of an array, as text; empty where there is none or more than one."""
    if array.size != 1:
        return ""
    # str() gives the shortest text of a float32, where .item() would add the digits of a float64.
    value = array.reshape(-1)[0]
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _without_image(part: Part) -> Iterator[LeftOut]:
    for entry in entries_of(f"{part.folder}/annotations"):
        stem = entry.name.removesuffix("_exp.npy")
        if stem != entry.name and not _has_image(f"{part.folder}/images/{stem}"):
            yield LeftOut(part.split, readable(f"{part.prefix}annotations/{entry.name}"), "image is missing")


def _has_image(start: str) -> bool:
    names = ("jpg", *EXTENSIONS)  # jpg first, which nearly all have: one call to the disk is then enough
    return any(os.path.exists(f"{start}.{case}") for name in names for case in (name, name.upper()))


def _is_root(folder: Path) -> bool:
    return any(_parts(folder, fits, DEFAULT) for fits in (_is_annotated, _has_classes)) or has_lists(folder)


def _parts(root: Path, fits: Callable[[Path], bool], options: Options) -> tuple[Part, ...]:
    """The split folders of one layout; the root itself, where it is one. Empty where there is none."""
    if not root.is_dir():
        return ()
    if found := {name: split for name, split in split_folders(root).items() if fits(root / name)}:
        check_one_each(root, found)
        val = _val_split(options, {"val", "test"} <= set(found.values()))
        return tuple(
            Part(str(root / name), val if split == "val" else split, f"{name}/")
            for name, split in sorted(found.items(), key=lambda item: ("train", "val", "test").index(item[1]))
        )
    # Whoever gives val_set alone must not train on it unawares. Numbered folders alone may be anything.
    split = split_of(root.resolve().name) or ("train" if fits is _is_annotated else "")
    if split and fits(root):
        return (Part(str(root), _val_split(options, False) if split == "val" else split, ""),)
    return ()


def _open_classes(root: Path, parts: tuple[Part, ...], given: str, emotions: tuple[str, ...]) -> Classes:
    codes = codes_of(given) if given else CODES["affectnet"]
    remarks = _unread(root, parts)
    alphabet = sorted(EMOTIONS if any(os.path.isdir(f"{part.folder}/7") for part in parts) else SEVEN)
    if given:
        labels = {name for part in parts for name in folders_in(part.folder)}
        remarks += remarks_on_unused(root, labels, codes, given)
        for part in parts:
            check_counting(
                part.folder, [name for name in folders_in(part.folder) if name not in NO_EMOTION], codes, given
            )
    else:
        for part in parts:
            if part.split == "train":
                sizes = {code: sum(1 for _ in entries_of(f"{part.folder}/{code}")) for code in _classes_in(part.folder)}
                check_sizes(part.folder, sizes, codes, PUBLISHED["train"])
        remarks += (
            f"{root}: class folders are read by AffectNet's codes ({told(codes)}); nothing here tells a copy that "
            "was numbered in another order, whose labels would then be wrong: look at a sheet of shards describe, and "
            f"give --codes {','.join(alphabet)} where the order is that of the alphabet",
        )
    variant = f"class folders by {f'the codes {told(codes)}' if given else CLASSES}: {_told(parts)}"
    # A table of somebody's own orders the emotions too.
    ours = tuple(emotion for emotion in dict.fromkeys(codes.values()) if emotion in emotions)
    return Classes(parts, variant, ours, codes, remarks=remarks)


def _refuse_codes(root: Path, options: Options) -> None:
    if options.codes:
        raise InputError(f"{root}: --codes is for class folders; the labels here are the release's own; leave it out")


def _val_split(options: Options, has_test: bool) -> str:
    if options.val_as == "test" and has_test:
        raise InputError("--val-as test: beside the validation set stands a labelled test set; leave the flag out")
    return options.val_as if options.val_as != "auto" else "val" if has_test else "test"


def _told(parts: tuple[Part, ...]) -> str:
    """What is read as what."""
    return ", ".join(f"{readable(os.path.basename(part.folder))} as {part.split}" for part in parts)


def _unread(root: Path, parts: tuple[Part, ...]) -> tuple[str, ...]:
    """Remarks on split folders that are not read; none where the root itself is read as one split."""
    return remarks_on_unread(root, [part.prefix.rstrip("/") for part in parts]) if parts[0].prefix else ()


def _is_annotated(folder: Path) -> bool:
    """Whether the images of a split and at least one label are here; the release's own test set has no labels."""
    if not (os.path.isdir(folder / "images") and os.path.isdir(folder / "annotations")):
        return False
    with os.scandir(folder / "annotations") as entries:
        return any(entry.name.endswith("_exp.npy") for entry in entries)


def _has_classes(folder: Path) -> bool:
    return folder.is_dir() and bool(_classes_in(folder))


def _classes_in(folder: str | Path) -> list[str]:
    """Names of the folders that are codes of AffectNet, those without an emotion too."""
    return [name for name in folders_in(folder) if name in CODES["affectnet"] or name in NO_EMOTION]


def _stray(entry: os.DirEntry[str]) -> str:
    """Why a file among the images is none; empty where it is one."""
    if is_folder(entry):
        return "a folder among the images"
    return "" if is_image_name(entry.name) else "not an image by its extension"
