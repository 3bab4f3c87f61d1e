"""Any folder of labelled faces: <split>/<class>/<picture>, or <class>/<picture> for one training set."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fer_dist.data.pictures import is_picture_name
from fer_dist.data.sources import (
    LeftOut,
    Picture,
    Published,
    Sample,
    Source,
    clean_key,
    dataset_name,
    is_folder,
    is_hidden,
    names_found,
    read_whole,
    readable,
)
from fer_dist.emotions import CODES, EIGHT, WORDS, emotion_of_word
from fer_dist.errors import InputError

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of split folders, lower case -> our name."""

PUBLISHED: Published = {}


@dataclass(frozen=True)
class Options:
    """What a user says of a folder."""

    dataset: str = ""
    """Name of the data set. Empty: the name of RAW, in lower case."""


DEFAULT = Options()


def open(raw: str, options: Options = DEFAULT) -> Source:
    """Open a folder whose class folders are words, or the digits 1 to 7 of RAF-DB.

    Raises InputError where a class folder names no emotion that we know, and where there is none at all.
    """
    root = Path(raw)
    if not root.is_dir():
        raise InputError(f"{raw}: no such folder")
    dataset = dataset_name(options.dataset, root)
    classes: list[ClassFolder] = []
    for split, path in _split_folders(root):
        classes += _class_folders(path, split)
    by_digits = any(folder.by_digit for folder in classes)
    order = tuple(CODES["rafdb"].values()) if by_digits else EIGHT
    levels = "<split>/<class>" if classes[0].path.parent != root else "<class>, all of it train"
    return Folder(
        root=str(root),
        dataset=dataset,
        variant=f"folders {levels}; classes are {'the digits of RAF-DB' if by_digits else 'words'}",
        emotions=tuple(name for name in order if any(folder.emotion == name for folder in classes)),
        classes=tuple(classes),
    )


@dataclass(frozen=True)
class ClassFolder:
    """One folder of pictures with the same label. by_digit: its name is a code of RAF-DB, not a word."""

    path: Path
    split: str
    emotion: str
    by_digit: bool


@dataclass(frozen=True)
class Folder:
    """Pictures in class folders, also in folders inside those. The key keeps the class folder's name."""

    root: str
    dataset: str
    variant: str
    emotions: tuple[str, ...]
    classes: tuple[ClassFolder, ...]

    def samples(self) -> Iterator[Sample | LeftOut]:
        yield from self._strays()
        for folder in self.classes:
            yield from self._walk(str(folder.path), folder.path.name, folder)

    def _strays(self) -> Iterator[LeftOut]:
        """Files that lie beside the class folders or beside the split folders."""
        splits = {folder.path.parent: folder.split for folder in self.classes}
        for parent, split in {Path(self.root): "", **splits}.items():
            with os.scandir(parent) as entries:
                for entry in entries:
                    if not is_folder(entry):
                        yield LeftOut(split, self._name(parent, entry.name), "not in a class folder")

    def _walk(self, path: str, inside: str, folder: ClassFolder) -> Iterator[Sample | LeftOut]:
        """inside: the path below the split's folder, which begins with the class folder's name."""
        with os.scandir(path) as entries:
            for entry in entries:
                name = f"{inside}/{entry.name}"
                if is_folder(entry) and not entry.is_symlink() and not is_hidden(entry.name):
                    yield from self._walk(entry.path, name, folder)
                elif reason := _fault(entry):
                    yield LeftOut(folder.split, self._name(folder.path.parent, name), reason)
                else:
                    facts = {"id": self._name(folder.path.parent, name), "code": readable(folder.path.name)}
                    key = clean_key(name.rpartition(".")[0])
                    yield Sample(key, folder.split, folder.emotion, entry.path, facts=facts)

    def _name(self, parent: Path, name: str) -> str:
        """The path below the root, which is the release's own name for a file."""
        above = "" if parent == Path(self.root) else f"{parent.name}/"
        return readable(above + name)

    def read(self, sample: Sample) -> Picture:
        return read_whole(sample)


def _fault(entry: os.DirEntry[str]) -> str:
    """Why a file does not become a sample; empty where it does."""
    if is_hidden(entry.name):
        return "hidden"
    if is_folder(entry):
        # A link may lead back up, and the walk would never end.
        return "a link to a folder"
    return "" if is_picture_name(entry.name) else "not a picture by its extension"


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not is_hidden(entry.name))


def _split_folders(root: Path) -> list[tuple[str, Path]]:
    """Split and folder; the root itself, as train, where no folder in it is named after a split."""
    found: dict[str, Path] = {}
    folders = _folders(root)
    if not any(path.name.lower() in SPLITS for path in folders):
        return [("train", root)]
    for path in folders:
        split = SPLITS.get(path.name.lower())
        if split is None:
            raise InputError(f"{path}: stands beside split folders but names no split; there are: {', '.join(SPLITS)}")
        if split in found:
            raise InputError(f"{found[split]} and {path.name} are both the split {split!r}; put them into one folder")
        found[split] = path
    return list(found.items())


def _class_folders(parent: Path, split: str) -> list[ClassFolder]:
    folders = _folders(parent)
    if not folders:
        raise InputError(
            f"{parent}: no class folders; expected <split>/<class>/<picture> or <class>/<picture>; "
            f"found: {names_found(parent)}"
        )
    by_digit = all(path.name in CODES["rafdb"] for path in folders)
    classes = []
    for path in folders:
        emotion = CODES["rafdb"][path.name] if by_digit else emotion_of_word(path.name)
        if emotion is None:
            raise InputError(
                f"{path}: the class {readable(path.name)!r} names no emotion that we know; rename the folder to one of "
                f"{', '.join(WORDS)}, or use the digits 1 to 7 of RAF-DB for all classes"
            )
        classes.append(ClassFolder(path, split, emotion, by_digit))
    return classes
