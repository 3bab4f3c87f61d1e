"""Folds by subject, for the releases that have no split of their own: nobody is trained on and tested."""

from collections.abc import Iterable
from dataclasses import dataclass

from fer_dist.errors import InputError, counted


@dataclass(frozen=True)
class FoldOptions:
    """What is tested, of a release that has no split of its own."""

    folds: int = 0
    """Folds of a cross-validation by subject. 0: no folds, everything is train. 1: everything is test."""

    fold: int = 0
    """With folds: the one whose subjects are test, from 1 to folds; all others are train."""


@dataclass(frozen=True)
class Folds:
    """Who is tested.

    tested: subjects in order; a tuple, because a source's repr must not change from one process to the next.
    words:  how the release is split, for the variant of its source.
    """

    tested: tuple[str, ...]
    words: str

    def split_of(self, subject: str) -> str:
        return "test" if subject in self.tested else "train"


def cut_folds(options: FoldOptions, subjects: Iterable[str]) -> Folds:
    """Deal the subjects, sorted by id, to the folds in turn, as is usual for CK+: subject i goes to i mod folds + 1.

    subjects: all of the release, counted from 0 once they are sorted; the same one may come often.
    Raises InputError for a fold that there is not, and for more folds than subjects.
    """
    folds, fold = options.folds, options.fold
    if folds < 0:
        raise InputError(f"--folds {folds}: give a number of folds, such as 10, or 0 for none")
    if not folds:
        if fold:
            raise InputError(f"--fold {fold}: give --folds as well, the number of folds that it is one of")
        return Folds((), "no official split, all of it train")
    if not 1 <= fold <= folds:
        raise InputError(f"--fold {fold}: choose which of the --folds {folds} is test, from 1 to {folds}")
    dealt = sorted(set(subjects))
    if folds > len(dealt):
        raise InputError(f"--folds {folds}: {counted(len(dealt), 'subject')} and no more; give at most {len(dealt)}")
    return Folds(tuple(dealt[fold - 1 :: folds]), f"fold {fold} of {folds} by subject is test")
