"""The words for splits, one table for all sources, and what lies beside the folders that are read."""

import re
from collections.abc import Collection
from pathlib import Path

from fer_dist.data.sources.reading import images_below
from fer_dist.errors import InputError
from fer_dist.storage.folders import folders_in, readable

WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "PublicTest"), "val"),
    **dict.fromkeys(("test", "testing", "PrivateTest"), "test"),
}
"""Words for a split in the wild -> our name. Eval is none of them: it is validation to some and test to others."""

_PLAIN = {word.lower(): split for word, split in WORDS.items()}


def split_of(word: str) -> str | None:
    """The split that a folder's or a file's name or a cell of a table means, also as Train_Set or val-images.

    None where it means none.
    """
    plain = re.sub(r"[\s_-]+", "", word.lower())
    return _PLAIN.get(plain) or _PLAIN.get(re.sub("(set|data|images)$", "", plain))


def split_folders(root: Path) -> dict[str, str]:
    """Name of a folder in the root -> the split that it means, in order; those that mean none are not there."""
    words = {name: split_of(name) for name in folders_in(root)}
    return {name: split for name, split in words.items() if split}


def check_one_each(root: Path, folders: dict[str, str]) -> None:
    """Raises InputError where two folders mean the same split. folders: name -> split."""
    first: dict[str, str] = {}
    for name, split in folders.items():
        if split in first:
            raise InputError(
                f"{root}: {readable(first[split])} and {readable(name)} are both the split {split!r}; "
                "put them into one folder, or move one away"
            )
        first[split] = name


def remarks_on_unread(root: Path, read: Collection[str]) -> tuple[str, ...]:
    """A remark on each folder beside the split folders that are read which holds images. read: names of folders."""
    remarks = []
    for name in folders_in(root):
        count = 0 if name in read else sum(1 for _ in images_below(root / name))
        if count:
            why = "not laid out as a split" if split_of(name) else f"its name means no split ({', '.join(WORDS)})"
            remarks.append(f"{root / readable(name)}: not read, {why}; images in it: {count:,}")
    return tuple(remarks)
