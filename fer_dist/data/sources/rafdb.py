"""RAF-DB basic (Li, Deng and Du 2017): the official layout, or Kaggle's class folders with their csv files.

Who is in an image is unknown. The release's 37 automatic landmarks are not read: the five manual ones are.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fer_dist.data.emotions import CODES
from fer_dist.data.images import is_image_name
from fer_dist.data.sources.codes import counting_fault
from fer_dist.data.sources.reading import MOST_NOTE_BYTES, clean_key, finite, named_lines, read_whole
from fer_dist.data.sources.source import EncodedImage, LeftOut, Published, Sample, Source
from fer_dist.data.sources.splits import check_one_each, remarks_on_unread, split_folders
from fer_dist.errors import InputError
from fer_dist.storage.folders import entries_of, folder_at, folders_in, is_folder, names_found, readable
from fer_dist.storage.untrusted import lines_of, open_regular, open_table, read_regular

ROOTS = (".", "basic", "raf-basic", "RAF-DB", "RAF-DB/basic")
"""Where EmoLabel may stand below RAW."""

LISTS = ("list_patition_label.txt", "list_partition_label.txt")
"""The list of labels: as the release spells it, and as some copies do."""

KAGGLE_ROOTS = (".", "DATASET", "RAF-DB/DATASET")
SPLITS = ("train", "test")
"""What the names of the release's images begin with."""

BOXES = ("Annotation/boundingbox", "boundingbox")
CODES_OF_COMPOUND = frozenset(("8", "9", "10", "11"))

# The readme of the release, section ANNOTATION.
GENDERS = {"0": "male", "1": "female", "2": "unsure"}
RACES = {"0": "Caucasian", "1": "African-American", "2": "Asian"}
AGE_GROUPS = {"0": "0-3", "1": "4-19", "2": "20-39", "3": "40-69", "4": "70+"}

EMOTIONS = tuple(CODES["rafdb"].values())

# The readme of the release says 12,271 and 3,068; by class as loaders on GitHub count its list.
PUBLISHED: Published = {
    "train": dict(zip(EMOTIONS, (1290, 281, 717, 4772, 1982, 705, 2524), strict=True)),
    "test": dict(zip(EMOTIONS, (329, 74, 160, 1185, 478, 162, 680), strict=True)),
}


@dataclass(frozen=True)
class Options:
    """What a user says of RAF-DB."""

    images: Literal["aligned", "original"] = "aligned"
    """aligned: faces of 100x100 pixels, as most studies use. original: photographs, with face box and landmarks."""


DEFAULT = Options()


def open(raw: str, options: Options = DEFAULT) -> Source:
    """Open RAF-DB basic in whichever variant lies at raw or in a folder of its usual names below.

    Raises InputError where neither is there, for the compound release, and where the wanted images are missing.
    """
    given = folder_at(raw)
    for root in map(given.joinpath, ROOTS):
        for name in LISTS:
            if (root / "EmoLabel" / name).is_file():
                return _open_official(root, root / "EmoLabel" / name, options)
    for root in map(given.joinpath, KAGGLE_ROOTS):
        if root.is_dir() and (folders := split_folders(root)):
            return _open_kaggle(root, folders, options)
    raise InputError(
        f"{raw}: no RAF-DB here; looked for EmoLabel/{LISTS[0]} (also in {', '.join(ROOTS[1:])}), or "
        f"DATASET/train/<1 to 7>/train_00001_aligned.jpg; found: {names_found(given)}"
    )


@dataclass(frozen=True)
class Official:
    """The official layout: a list names images and labels, the name's first part the split.

    attributes: folder of the manual annotations, empty where there is none; boxes: likewise, and empty for aligned
    images, since boxes and landmarks are those of the original photographs.
    """

    listing: str
    folder: str
    images: str
    attributes: str
    boxes: str
    variant: str
    dataset: str = "rafdb"
    emotions: tuple[str, ...] = EMOTIONS
    remarks: tuple[str, ...] = ()

    def samples(self) -> Iterator[Sample | LeftOut]:
        for line, where in named_lines(self.listing):
            yield self._sample(line.split(), where)

    def _sample(self, fields: list[str], where: str) -> Sample | LeftOut:
        if len(fields) != 2:
            return LeftOut("", where, "not a name and a label")
        name, code = fields
        split = name.partition("_")[0]
        if split not in SPLITS:
            return LeftOut("", readable(name), "names neither train nor test")
        emotion = CODES["rafdb"].get(code)
        if emotion is None:
            return LeftOut(split, readable(name), "unknown code")
        stem, extension = os.path.splitext(name)
        file = f"{stem}_aligned{extension}" if self.images == "aligned" else name
        facts = {"id": readable(name), "code": code}
        return Sample(clean_key(stem), split, emotion, os.path.join(self.folder, file), facts=facts)

    def read(self, sample: Sample) -> EncodedImage:
        image = read_whole(sample)
        stem = os.path.splitext(os.path.basename(sample.path))[0].removesuffix("_aligned")
        facts: dict[str, Any] = {}
        faults = []
        if self.attributes:
            facts, fault = _beside(_attributes, Path(self.attributes) / f"{stem}_manu_attri.txt", "attributes")
            faults.append(fault)
        if self.images == "aligned":
            facts.pop("landmarks", None)
        if self.boxes:
            box, fault = _beside(_box, Path(self.boxes) / f"{stem}_boundingbox.txt", "the face box's numbers")
            facts |= box
            faults.append(fault)
        return replace(image, facts=facts, mended="; ".join(filter(None, faults)))


@dataclass(frozen=True)
class Kaggle:
    """Kaggle's layout: split and class are folders.

    splits: name of a split folder -> what it means. tables: split -> its csv, which says the label once more.
    The rows of one csv, which stands apart from the images, are held in memory: 12,271 in the release.
    """

    root: str
    splits: dict[str, str]
    tables: dict[str, str]
    variant: str
    remarks: tuple[str, ...]
    dataset: str = "rafdb"
    emotions: tuple[str, ...] = EMOTIONS

    def samples(self) -> Iterator[Sample | LeftOut]:
        for folder, split in self.splits.items():
            yield from self._split_samples(folder, split)

    def _split_samples(self, folder: str, split: str) -> Iterator[Sample | LeftOut]:
        labels = _labels(self.tables[folder]) if folder in self.tables else None
        unseen = set(labels or ())
        for entry in entries_of(os.path.join(self.root, folder)):
            if is_folder(entry):
                for image in entries_of(entry.path):
                    unseen.discard(image.name)
                    yield _kaggle_sample(image, folder, split, labels)
            elif entry.name != _table_name(folder):
                yield LeftOut(split, readable(f"{folder}/{entry.name}"), "not in a class folder")
        for name in sorted(unseen):
            yield LeftOut(split, readable(name), "in the csv, but there is no such image")

    def read(self, sample: Sample) -> EncodedImage:
        return read_whole(sample)


def _open_official(root: Path, listing: Path, options: Options) -> Official:
    with open_regular(listing) as stream:
        found = {fields[-1].decode("utf-8", "replace") for fields in map(bytes.split, lines_of(stream)) if fields}
    if found >= CODES_OF_COMPOUND:
        raise InputError(f"{listing}: has the labels 8 to 11 of RAF-DB compound; give the folder of RAF-DB basic")
    if fault := counting_fault(found, CODES["rafdb"]):
        raise InputError(f"{listing}: {fault}; give the list of the release")
    wanted, images = options.images, root / "Image"
    if not (images / wanted).is_dir():
        other = "original" if wanted == "aligned" else "aligned"
        if (images / other).is_dir():
            raise InputError(f"{images}: has no {wanted} images but {other} ones; build with --images {other}")
        searched = images if images.is_dir() else root
        raise InputError(
            f"{searched}: no images; looked for Image/aligned/train_00001_aligned.jpg and Image/original/"
            f"train_00001.jpg; found: {names_found(searched)}; unpack the release's zip files there"
        )
    attributes = root / "Annotation" / "manual"
    boxes = next(filter(Path.is_dir, map(root.joinpath, BOXES)), None) if wanted == "original" else None
    parts = [f"the official layout, {wanted} images", "attributes" if attributes.is_dir() else "no attribute files"]
    if wanted == "original":
        parts.append("face boxes" if boxes else "no face boxes")
    return Official(
        listing=str(listing),
        folder=str(images / wanted),
        images=wanted,
        attributes=str(attributes) if attributes.is_dir() else "",
        boxes=str(boxes or ""),
        variant=", ".join(parts),
    )


def _open_kaggle(root: Path, splits: dict[str, str], options: Options) -> Kaggle:
    if options.images != "aligned":
        raise InputError(f"{root}: Kaggle's layout has aligned images only; leave --images {options.images} out")
    check_one_each(root, splits)
    tables: dict[str, str] = {}
    for split in splits:
        for name in folders_in(root / split):
            if name not in CODES["rafdb"]:
                raise InputError(
                    f"{root / split / name}: not a class of RAF-DB; its class folders are the digits 1 to 7 (the "
                    "source `folder` reads folders that are named after emotions)"
                )
        # In the wild they lie beside DATASET, in it, and in the split's folder.
        for parent in (root, root.resolve().parent, root / split):
            if (parent / _table_name(split)).is_file():
                tables.setdefault(split, str(parent / _table_name(split)))
    labels = f"labels from the folders and {', '.join(map(_table_name, tables))}" if tables else "labels from folders"
    variant = f"Kaggle's layout, aligned images; {labels}"
    return Kaggle(str(root), splits, tables, variant, remarks_on_unread(root, splits))


def _table_name(split: str) -> str:
    return f"{split}_labels.csv"


def _labels(path: str) -> dict[str, str]:
    """File name -> code. A name with two labels agrees with no folder; a line that is no pair names no image."""
    labels: dict[str, str] = {}
    with open_table(path, "utf-8-sig", "surrogateescape") as stream:
        for line in lines_of(stream):
            name, _, code = (part.strip(' "\r\n') for part in line.rpartition(","))
            if name and code != "label":
                labels[name] = code if labels.get(name, code) == code else "two labels"
    return labels


def _kaggle_sample(entry: os.DirEntry[str], folder: str, split: str, labels: dict[str, str] | None) -> Sample | LeftOut:
    code = os.path.basename(os.path.dirname(entry.path))
    name = readable(f"{folder}/{code}/{entry.name}")
    if not is_image_name(entry.name):
        return LeftOut(split, name, "not an image by its extension")
    # A val of somebody's own making was cut from one of the two.
    if split in SPLITS and entry.name.partition("_")[0] in set(SPLITS) - {split}:
        return LeftOut(split, name, "its name is of the other split")
    label = code if labels is None else labels.get(entry.name)
    if label not in (code, None):
        return LeftOut(split, name, "folder and csv disagree")
    key = clean_key(os.path.splitext(entry.name)[0].removesuffix("_aligned"))
    mended = "" if label else "not in the csv: the label is its folder's"
    facts = {"id": name, "code": code}
    return Sample(key, split, CODES["rafdb"][code], entry.path, facts=facts, mended=mended)


def _beside(parse: Callable[[str], dict[str, Any]], path: Path, what: str) -> tuple[dict[str, Any], str]:
    """The facts of a file beside the image; where there are none, what is the matter."""
    try:
        return parse(read_regular(path, MOST_NOTE_BYTES).decode(errors="replace")), ""
    except OSError:
        return {}, f"{what} are missing"
    except ValueError:
        return {}, f"{what} are damaged"


def _attributes(text: str) -> dict[str, Any]:
    """Five lines of x and y, then a code each for gender, race and age."""
    fields = re.split(r"[\s,;]+", text.strip())
    if len(fields) != 13:
        raise ValueError("not ten coordinates and three codes")
    words = [table.get(code) for table, code in zip((GENDERS, RACES, AGE_GROUPS), fields[10:], strict=True)]
    if None in words:
        raise ValueError("unknown code")
    numbers = finite(fields[:10])
    landmarks = [list(point) for point in zip(numbers[::2], numbers[1::2], strict=True)]
    return dict(zip(("gender", "race", "age_group"), words, strict=True)) | {"landmarks": landmarks}


def _box(text: str) -> dict[str, Any]:
    """The first four numbers are corners: left, top, right, bottom. The readme does not say so.

    Source: five loaders on GitHub, written apart from each other, read it so.
    """
    left, top, right, bottom = finite(text.split()[:4])
    return {"box": [left, top, right - left, bottom - top]}
