"""Any folder of labelled faces: <split>/<class>/<image>, <class>/<split>/<image>, or <class>/<image> for one split."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fer_dist.data.emotions import EIGHT, WORDS, class_of_label, emotion_of_word
from fer_dist.data.images import is_image_name
from fer_dist.data.sources.codes import (
    ask_for_codes,
    check_counting,
    codes_of,
    own_classes,
    plain_code,
    remarks_on_unused,
    told,
)
from fer_dist.data.sources.reading import clean_key, dataset_name, images_below, read_whole
from fer_dist.data.sources.source import EncodedImage, LeftOut, Published, Sample, Source
from fer_dist.data.sources.splits import check_one_each, remarks_on_unread, split_folders, split_of
from fer_dist.errors import InputError
from fer_dist.storage.folders import entries_of, folder_at, folders_in, is_folder, names_found, readable

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Tables of file names and labels, as hubs write them beside images that lie in no class folders."""

BESIDE_SPLITS = "beside the split folders of its class folder"

PUBLISHED: Published = {}


@dataclass(frozen=True)
class Options:
    """What a user says of a folder."""

    dataset: str = ""
    """Name of the dataset. Empty: the name of RAW, in lower case."""

    emotions: str = ""
    """Classes of your own, in the order of their labels, as weak,engaged,pain. Empty: the emotions that we know, by any
    usual word for them."""

    codes: str = ""
    """What class folders mean that are numbers: a dataset's table, such as rafdb, or names in the order of the numbers
    0, 1, 2, ..., as neutral,happy,sad; - for a number that is left out."""


DEFAULT = Options()


def open(raw: str, options: Options = DEFAULT) -> Source:
    """Open a folder whose class folders are words, or numbers that `codes` explains.

    Raises InputError where a class folder names no emotion that we know, where there is none at all, and for numbers
    without `codes`, since each dataset has an order of its own.
    """
    root = folder_at(raw)
    dataset = dataset_name(options.dataset, root)
    own = own_classes(options.emotions)
    codes = codes_of(options.codes, own) if options.codes else {}
    splits = split_folders(root)
    check_one_each(root, splits)
    # Whoever gives the folder of a test split alone must not train on it unawares.
    alone = split_of(root.resolve().name) or "train"
    folders = {root / name: split for name, split in splits.items()} or {root: alone}
    _refuse_outer_folder(root, own)
    _refuse_metadata(root, folders)
    classes = [
        one for folder, split in folders.items() for one in _class_folders(folder, split, codes, own, options.codes)
    ]
    layout = "<split>/<class>" if splits else f"<class>, all of it {alone}"
    if not splits and (inside := _split_inside(classes)):
        classes, layout = inside, "<class>/<split>"
    return Folder(
        root=str(root),
        dataset=dataset,
        variant=f"folders {layout}; classes are {f'codes: {told(codes)}' if codes else 'words'}",
        emotions=tuple(
            name
            for name in dict.fromkeys(own or codes.values() or EIGHT)
            if any(folder.emotion == name for folder in classes)
        ),
        classes=tuple(classes),
        own=own,
        remarks=(
            *(remarks_on_unread(root, splits) if splits else ()),
            *_remarks_on_empty(classes),
            *remarks_on_unused(
                root, (plain_code(folder.inside.partition("/")[0]) for folder in classes), codes, options.codes
            ),
        ),
    )


@dataclass(frozen=True)
class ClassFolder:
    """One folder of images with the same label. emotion: empty where the user's codes leave it out.

    inside: its path below `base`, which begins with the class folder's name: happy, or happy/train.
    """

    path: Path
    split: str
    emotion: str
    inside: str

    @property
    def base(self) -> Path:
        """The folder that holds the class folders: the split's, or the root."""
        return self.path.parents[self.inside.count("/")]


@dataclass(frozen=True)
class Folder:
    """Images in class folders, also in folders inside those. The key keeps the class folder's name.

    own: the user's own classes; empty where they are the emotions that we know.
    """

    root: str
    dataset: str
    variant: str
    emotions: tuple[str, ...]
    classes: tuple[ClassFolder, ...]
    remarks: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    def samples(self) -> Iterator[Sample | LeftOut]:
        yield from self._strays()
        for folder in self.classes:
            yield from self._walk(str(folder.path), folder.inside, folder)

    def _strays(self) -> Iterator[LeftOut]:
        """Files that lie beside the class folders or beside the split folders."""
        parents = {Path(self.root): ("", "not in a class folder")}
        for folder in self.classes:
            is_class = folder.path.parent == folder.base
            parents[folder.path.parent] = (folder.split, "not in a class folder") if is_class else ("", BESIDE_SPLITS)
        for parent, (split, reason) in parents.items():
            for entry in entries_of(parent):
                if not is_folder(entry):
                    yield LeftOut(split, self._name(parent, entry.name), reason)

    def _walk(self, path: str, inside: str, folder: ClassFolder, fault: str = "") -> Iterator[Sample | LeftOut]:
        """inside: the path below the split's folder, which begins with the class folder's name.

        fault: why no file in here can be a sample.
        """
        for entry in entries_of(path):
            name = f"{inside}/{entry.name}"
            if is_folder(entry) and not entry.is_symlink():
                yield from self._walk(entry.path, name, folder, fault or _contradiction(entry.name, folder, self.own))
            elif reason := _fault(entry) or fault or ("" if folder.emotion else "a code that --codes leaves out"):
                yield LeftOut(folder.split, self._name(folder.base, name), reason)
            else:
                label = folder.inside.partition("/")[0]
                facts = {"id": self._name(folder.base, name), "code": readable(label)}
                key = clean_key(name.rpartition(".")[0])
                yield Sample(key, folder.split, folder.emotion, entry.path, facts=facts)

    def _name(self, parent: Path, name: str) -> str:
        """The path below the root, which is the release's own name for a file."""
        above = "" if parent == Path(self.root) else f"{parent.name}/"
        return readable(above + name)

    def read(self, sample: Sample) -> EncodedImage:
        return read_whole(sample)


def _fault(entry: os.DirEntry[str]) -> str:
    """Why a file does not become a sample; empty where it does."""
    if is_folder(entry):
        # A link may lead back up, and the walk would never end.
        return "a link to a folder"
    return "" if is_image_name(entry.name) else "not an image by its extension"


def _contradiction(name: str, folder: ClassFolder, own: tuple[str, ...]) -> str:
    """Why nothing in a folder of this name inside a class folder can be taken for that class in that split."""
    if split_of(name) not in (None, folder.split):
        return "in a folder in its class folder that means another split"
    if class_of_label(name, own) not in (None, folder.emotion):
        return "in a folder in its class folder that means another emotion"
    return ""


def _refuse_outer_folder(root: Path, own: tuple[str, ...]) -> None:
    """Raises InputError for a folder around the release, as archives unpack into, with the one that is meant."""
    folders = [root]
    for depth in range(3):
        known = next((folder for folder in folders if any(_is_known(name, own) for name in folders_in(folder))), None)
        if known and depth:
            raise InputError(f"{root}: its folders name no split and no class; did you mean {known}?")
        if known:
            return
        folders = [folder / name for folder in folders for name in folders_in(folder)]


def _is_known(name: str, own: tuple[str, ...]) -> bool:
    return bool(split_of(name) or class_of_label(name, own) or emotion_of_word(name) or name.isdecimal())


def _refuse_metadata(root: Path, folders: Iterable[Path]) -> None:
    """Raises InputError for images whose labels stand in a table beside them, with the command that reads it."""
    for folder in folders:
        table = next((name for name in METADATA if (folder / name).is_file()), "")
        if table and not folders_in(folder):
            first = (
                "" if table == METADATA[0] else f"write it as {METADATA[0]} with the columns file_name and label and "
            )
            raise InputError(
                f"{folder}: {table} in place of class folders; {first}build it with the source csv: "
                f"fer-dist shards build csv {root} OUT"
            )


def _class_folders(
    parent: Path, split: str, codes: dict[str, str], own: tuple[str, ...], given: str
) -> list[ClassFolder]:
    """The class folders of a split. own: the user's own classes; given: as --codes."""
    names = folders_in(parent)
    if not names:
        raise InputError(
            f"{parent}: no class folders; expected <split>/<class>/<image> or <class>/<image>; "
            f"found: {names_found(parent)}"
        )
    if codes:
        check_counting(parent, map(plain_code, names), codes, given)
    elif any(name.isdecimal() and name not in own for name in names):
        raise ask_for_codes(parent, map(readable, names))
    classes = []
    for name in names:
        emotion = codes.get(plain_code(name)) if codes else class_of_label(name, own)
        if emotion is None:
            fault = (
                f"is not among --codes {given}: {told(codes)}"
                if codes
                else f"is not among --emotions {', '.join(own)}; name it there too, or move the folder away"
                if own
                else f"names no emotion that we know; rename the folder to one of {', '.join(WORDS)}, or give --codes "
                "where all classes are numbers, or --emotions with all classes where they are your own"
            )
            raise InputError(f"{parent / name}: the class {readable(name)!r} {fault}")
        classes.append(ClassFolder(parent / name, split, emotion, name))
    return classes


def _remarks_on_empty(classes: list[ClassFolder]) -> Iterator[str]:
    """A remark on each split whose class folders hold no image, where others do: it would be missed later on."""
    by_split: dict[str, list[Path]] = {}
    for folder in classes:
        by_split.setdefault(folder.split, []).append(folder.path)
    empty = [name for name in by_split if not any(next(images_below(path), None) for path in by_split[name])]
    for name in empty if len(empty) < len(by_split) else ():
        first = readable(str(by_split[name][0]))
        yield f"{first}: no image in it or in another class folder of {name}: there will be no {name}"


def _split_inside(classes: list[ClassFolder]) -> list[ClassFolder]:
    """The split folders in the class folders, as <class>/<split>; empty unless each holds such and no other folders."""
    inside = []
    for folder in classes:
        splits = split_folders(folder.path)
        if not splits or len(splits) < len(folders_in(folder.path)):
            return []
        check_one_each(folder.path, splits)
        inside += [
            ClassFolder(folder.path / name, split, folder.emotion, f"{folder.inside}/{name}")
            for name, split in splits.items()
        ]
    return inside
