"""JAFFE (Lyons et al. 1998): one folder of images whose names say the woman and her expression, XX.EEn.NNN.tiff."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fer_dist.data.emotions import CODES
from fer_dist.data.sources.folds import FoldOptions, Folds, cut_folds
from fer_dist.data.sources.reading import clean_key, match_of, named_images, read_whole
from fer_dist.data.sources.source import EncodedImage, LeftOut, Published, Sample, Source
from fer_dist.errors import InputError
from fer_dist.storage.folders import entries_of, folder_at, names_found

EMOTIONS = tuple(CODES["jaffe"].values())
NAME = re.compile(rf"([A-Z]{{2}})\.({'|'.join(CODES['jaffe'])})[0-9]\.[0-9]{{1,3}}", re.IGNORECASE)
"""A file's name without its extension: the subject, the code, which try of it, and the image's number."""

# Lyons et al. 1998 state the sum, 213; by expression it was counted over the names of the release's files.
PUBLISHED: Published = {"train": dict(zip(EMOTIONS, (30, 29, 32, 31, 30, 31, 30), strict=True))}

Options = FoldOptions
DEFAULT = Options()


def open(raw: str, options: Options = DEFAULT) -> Source:
    """Open JAFFE at raw, or at jaffe/ or jaffedbase/ in it.

    Raises InputError where no file is named as JAFFE's are, and for folds that do not fit its subjects.
    """
    given = folder_at(raw)
    for root in (given, given / "jaffe", given / "jaffedbase"):
        subjects = {match[1].upper() for name in _names(root) if (match := match_of(NAME, name))}
        if subjects:
            folds = cut_folds(options, subjects)
            return Jaffe(str(root), folds, f"one folder of images; {folds.words}")
    raise InputError(
        f"{raw}: no JAFFE here; looked for images named as KA.AN1.39.tiff is, also in jaffe/ and jaffedbase/; "
        f"found: {names_found(given)}"
    )


@dataclass(frozen=True)
class Jaffe:
    """The release, also where its TIFF files have been changed into another format under the same names."""

    root: str
    folds: Folds
    variant: str
    dataset: str = "jaffe"
    emotions: tuple[str, ...] = EMOTIONS
    remarks: tuple[str, ...] = ()

    def samples(self) -> Iterator[Sample | LeftOut]:
        names = _names(Path(self.root))
        for found in named_images(names, NAME, "JAFFE", lambda match: self.folds.split_of(match[1].upper())):
            yield found if isinstance(found, LeftOut) else self._sample(*found)

    def _sample(self, name: str, match: re.Match[str]) -> Sample:
        subject, code = match[1].upper(), match[2].upper()
        facts = {"id": name, "code": code, "subject": subject, "gender": "female"}
        path = os.path.join(self.root, name)
        key, split = clean_key(match[0].upper()), self.folds.split_of(subject)
        return Sample(key, split, CODES["jaffe"][code], path, facts=facts)

    def read(self, sample: Sample) -> EncodedImage:
        return read_whole(sample)


def _names(folder: Path) -> Iterator[str]:
    if folder.is_dir():
        yield from (entry.name for entry in entries_of(folder))
