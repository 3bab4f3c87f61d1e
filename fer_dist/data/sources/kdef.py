"""KDEF (Lundqvist, Flykt and Oehman 1998): images whose names say all, such as AF01ANS.JPG.

Sessions A and B show the same people, so the subject is sex and number. What the release itself spoils is left out:
two images whose names were cut (AF31V.JPG and AM31H.JPG), and ten that are black.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fer_dist.data.emotions import CODES
from fer_dist.data.sources.folds import FoldOptions, Folds, cut_folds
from fer_dist.data.sources.reading import match_of, named_images, read_whole
from fer_dist.data.sources.source import EncodedImage, LeftOut, Published, Sample, Source
from fer_dist.errors import InputError
from fer_dist.storage.folders import entries_of, folder_at, is_folder, names_found, readable

GENDERS = {"F": "female", "M": "male"}

VIEWS = {"FL": "full left", "HL": "half left", "S": "straight", "HR": "half right", "FR": "full right"}

ANGLES = {"all": tuple(VIEWS), "half": ("HL", "S", "HR"), "straight": ("S",)}

EMOTIONS = tuple(CODES["kdef"].values())
NAME = re.compile(rf"([AB])([FM])([0-9]{{2}})({'|'.join(CODES['kdef'])})({'|'.join(VIEWS)})", re.IGNORECASE)
"""A file's name without its extension: session, sex, number of the person, expression, angle."""

DARKEST = 10
"""Mean brightness, of 255, below which an image is black. Loaders found 0.6 in the black ones, 55 or more in faces."""

# kdef.se: 70 people, each with 7 expressions from 5 angles in 2 sessions. Two of them have cut names, SA and SU.
PUBLISHED: Published = {"train": dict.fromkeys(EMOTIONS, 700)}


@dataclass(frozen=True)
class Options(FoldOptions):
    """Which images are taken, and which of them are tested."""

    angles: Literal["all", "half", "straight"] = "all"
    """all: the five angles. half: straight and the two half profiles. straight: that one alone."""


DEFAULT = Options()


def open(raw: str, options: Options = DEFAULT) -> Source:
    """Open KDEF at raw, or at KDEF/ or KDEF_and_AKDEF/KDEF/ in it, in folders such as AF01 or all in one.

    Raises InputError where no file is named as KDEF's are, and for angles and folds that there are not.
    """
    if options.angles not in ANGLES:
        raise InputError(f"--angles {options.angles}: choose one of {', '.join(ANGLES)}")
    given = folder_at(raw)
    for root in (given / "KDEF_and_AKDEF" / "KDEF", given / "KDEF", given):
        subjects, in_folders = set(), False
        for path in _files(root):
            if match := match_of(NAME, path):
                subjects.add((match[2] + match[3]).upper())
                in_folders |= "/" in path
        if subjects:
            folds = cut_folds(options, subjects)
            layout = "a folder for each person and session" if in_folders else "one folder of images"
            return Kdef(str(root), options.angles, folds, f"{layout}; angles: {options.angles}; {folds.words}")
    raise InputError(
        f"{raw}: no KDEF here; looked for images named as AF01ANS.JPG is, also in folders, in KDEF/ and in "
        f"KDEF_and_AKDEF/KDEF/; found: {names_found(given)}"
    )


@dataclass(frozen=True)
class Kdef:
    """The release, in either layout. angles: as the option says."""

    root: str
    angles: str
    folds: Folds
    variant: str
    dataset: str = "kdef"
    emotions: tuple[str, ...] = EMOTIONS
    remarks: tuple[str, ...] = ()

    def samples(self) -> Iterator[Sample | LeftOut]:
        # By name, whatever the folder.
        for found in named_images(_files(Path(self.root)), NAME, "KDEF", self._split_of):
            yield found if isinstance(found, LeftOut) else self._sample(*found)

    def _split_of(self, match: re.Match[str]) -> str:
        return self.folds.split_of((match[2] + match[3]).upper())

    def _sample(self, path: str, match: re.Match[str]) -> Sample | LeftOut:
        session, sex, number, code, angle = (part.upper() for part in match.groups())
        subject = sex + number
        split = self._split_of(match)
        if angle not in ANGLES[self.angles]:
            return LeftOut(split, readable(path), "another angle")
        facts = {
            "id": readable(path),
            "code": code,
            "subject": subject,
            "gender": GENDERS[sex],
            "view": VIEWS[angle],
            "session": session,
        }
        return Sample(match[0].upper(), split, CODES["kdef"][code], os.path.join(self.root, path), facts=facts)

    def read(self, sample: Sample) -> EncodedImage:
        """Raises LeftOutError, which the packer takes as a reason, for a black image."""
        from PIL import ImageStat

        from fer_dist.data.images import decode
        from fer_dist.data.sources.source import LeftOutError

        image = read_whole(sample)
        if ImageStat.Stat(decode(image.content).convert("L")).mean[0] < DARKEST:
            raise LeftOutError("black image")
        return image


def _files(root: Path) -> Iterator[str]:
    """Files in the root and in the folders in it, as paths below the root."""
    if root.is_dir():
        for entry in entries_of(root):
            if is_folder(entry):
                yield from (f"{entry.name}/{file.name}" for file in entries_of(entry.path))
            else:
                yield entry.name
