"""What several sources share: reading an image file, keys and names, tables that are none."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from urllib.parse import quote

from fer_dist.data.images import is_image_name
from fer_dist.data.sources.source import EncodedImage, LeftOut, LeftOutError, Sample
from fer_dist.errors import InputError
from fer_dist.storage.folders import files_below, readable
from fer_dist.storage.untrusted import lines_of, open_regular, open_table, read_regular

UNREAD = ("no such file", "cannot be read")
"""Reasons of images that may be there the next time."""


def read_whole(sample: Sample) -> EncodedImage:
    """The image file of a sample, as `read_image`."""
    return read_image(sample.path)


def read_image(path: str) -> EncodedImage:
    """The image file itself: JPEG and PNG bytes unchanged, every other format as PNG without loss.

    The extension follows the first bytes, so that a PNG under the name .jpg becomes .png.
    Raises OSError where the file cannot be read, ValueError where it does not decode.
    """
    from fer_dist.data.images import MOST_FILE_BYTES

    return as_stored(read_regular(path, MOST_FILE_BYTES), os.path.basename(path))


def as_stored(content: bytes, name: str) -> EncodedImage:
    """The same of what was read already. name: of its file."""
    from fer_dist.data.images import extension_of, to_png

    extension = extension_of(content)
    if extension:
        return EncodedImage(content, extension)
    return EncodedImage(to_png(content), "png", original=readable(name))


@contextmanager
def reasons() -> Iterator[None]:
    """What is raised where an image is read, as a LeftOutError with the reason."""
    from fer_dist.data.images import TooLargeError, UnknownRangeError

    try:
        yield
    except OSError as error:
        raise LeftOutError(UNREAD[not isinstance(error, FileNotFoundError)]) from None
    except (TooLargeError, UnknownRangeError) as error:
        raise LeftOutError(str(error)) from None
    except ValueError:
        raise LeftOutError("does not decode") from None


def clean_key(name: str) -> str:
    """A key that tar readers and DALI's index agree on: dots, blanks and the like become %XX, long names are cut.

    name: a relative path without its extension.
    Returns at most 90 characters; a cut name ends in ~ and 16 digits of its hash.
    """
    key = quote(name, safe="/-_~", errors="surrogateescape").replace(".", "%2E")
    if key.startswith("__"):
        # webdataset skips members whose path begins with __NAME__, which it keeps for its own notes.
        key = "%5F" + key[1:]
    if len(key) > 90:
        key = key[:73] + "~" + hashlib.sha256(key.encode()).hexdigest()[:16]
    return key


def dataset_name(given: str, raw: Path) -> str:
    """The name of a dataset that has none of its own: what the user gave, or else the file's or folder's name.

    Raises InputError where the given name cannot be part of a file name.
    """
    if given and not re.fullmatch(r"[A-Za-z0-9_-]+", given):
        raise InputError(f"dataset {given!r}: use letters, digits, - and _ only, for it becomes part of file names")
    return given or re.sub(r"[^a-z0-9_]+", "-", raw.resolve().stem.lower()).strip("-") or "faces"


MOST_NOTE_BYTES = 1 << 20
"""Of a file that says something of one image, as its 68 landmarks."""

OTHER_KINDS = {
    b"PK\3\4": "an archive or an Excel file",
    b"\xd0\xcf\x11\xe0": "an Excel file",
    b"PAR1": "a parquet file",
    b"\x1f\x8b": "an archive",
}
"""First bytes of what people take for a csv file -> what it is."""


def images_below(folder: str | Path) -> Iterator[str]:
    """Paths of all files below a folder that are images by their extension, in order."""
    return filter(is_image_name, files_below(folder))


def match_of(name: re.Pattern[str], path: str) -> re.Match[str] | None:
    """What the name of an image says, its extension aside; None for another name. path: the file's name or path."""
    return name.fullmatch(os.path.basename(path).rpartition(".")[0]) if is_image_name(path) else None


def named_images(
    paths: Iterable[str], name: re.Pattern[str], release: str, split_of: Callable[[re.Match[str]], str]
) -> Iterator[tuple[str, re.Match[str]] | LeftOut]:
    """Files in order, each with what its name says; an image that lies in two folders, or in two formats, comes once.

    name: of the release's images, as for `match_of`. split_of: such a name, for one that comes again.
    """
    seen: set[str] = set()
    for path in sorted(paths):
        match = match_of(name, path)
        if not is_image_name(path):
            yield LeftOut("", readable(path), "not an image by its extension")
        elif not match:
            yield LeftOut("", readable(path), f"not named as an image of {release}")
        elif match[0].upper() in seen:
            yield LeftOut(split_of(match), readable(path), "another image has this name")
        else:
            seen.add(match[0].upper())
            yield path, match


def named_lines(listing: str) -> Iterator[tuple[str, str]]:
    """The lines of a list that say something, each with what a left-out row is called: `label.lst line 3`."""
    with open_table(listing, "utf-8-sig", "surrogateescape") as stream:
        for number, line in enumerate(lines_of(stream), start=1):
            if line.strip():
                yield line, f"{os.path.basename(listing)} line {number}"


def finite(fields: Iterable[str]) -> list[float]:
    """The numbers of some fields. Raises ValueError where one is none, or not finite."""
    numbers = list(map(float, fields))
    if not all(map(isfinite, numbers)):
        raise ValueError("not finite")
    return numbers


def refuse_other_kinds(table: Path) -> None:
    """Raises InputError for a file that is no text, as people give it for a csv file."""
    with open_regular(table) as stream:
        start = stream.read(4)
    if kind := next((kind for first, kind in OTHER_KINDS.items() if start.startswith(first)), ""):
        raise InputError(f"{table}: {kind}; unpack it, or save the table in it as a csv file, and give that")
