"""Which images to leave out so that scores can be trusted, and which groups of duplicates a person should look at."""

from collections.abc import Iterable

from fer_dist.data.inspection.audit import AuditReport, Found, Group, Kind
from fer_dist.data.inspection.sheets import Row, Tile
from fer_dist.data.shards.leave_out import LeaveOut
from fer_dist.errors import counted

HELD_OUT = ("val", "test")
"""Splits that training must not see; later ones weigh more: what test and val share is left out of val."""

NAMES: dict[Kind, str] = {"exact": "duplicate", "near": "near duplicate", "subject": "near duplicate"}

MOST_ROWS, MOST_TILES = 30, 10


def images_to_leave_out(report: AuditReport) -> list[LeaveOut]:
    """The images to leave out of each set, in the order of the sets' duplicates; an image once, with its first reason.

    An image that has no content or does not decode. Of each group of duplicates, exact ones first: in train and val all
    that have a duplicate in a later split (train before val before test) of any set. Of exact duplicates also: in train
    all whose label is contradicted within their dataset, and of those that are left in one set all but the first.
    """
    reasons: dict[Found, str] = {}
    for summary in report.sets:
        reasons |= dict.fromkeys(summary.undecodable, "does not decode") | dict.fromkeys(summary.blank, "blank")
    for group in sorted(report.groups, key=lambda group: group.kind):
        for image, reason in _too_many(group):
            reasons.setdefault(image, reason)
    return [LeaveOut(p.set, p.shard, p.key, p.emotion, reason) for p, reason in reasons.items()]


def worst_groups(report: AuditReport) -> list[Row]:
    """Rows for a contact sheet: the worst groups, then blank images, then what does not decode."""
    order = sorted(report.groups, key=_severity, reverse=True)
    rows = [_row(_title(group), group.members) for group in order[:MOST_ROWS]]
    blank = [image for summary in report.sets for image in summary.blank]
    broken = [image for summary in report.sets for image in summary.undecodable]
    rows += [_row(counted(len(blank), "blank image"), blank)] if blank else []
    return rows + ([_row(counted(len(broken), "undecodable image"), broken)] if broken else [])


def _too_many(group: Group) -> Iterable[tuple[Found, str]]:
    name = NAMES[group.kind]
    kept: set[str] = set()
    for image in group.members:
        later = [other for other in group.members if _rank(other) > _rank(image)]
        own = {other.emotion for other in group.members if other.dataset == image.dataset}
        if later:
            yield image, f"{name} of an image in {later[0].set}"
        elif group.kind != "exact":
            # Two expressions of one person before one wall are nearly the same image, and rightly differ in label.
            continue
        elif len(own) > 1 and _rank(image) == 0:
            yield image, f"{name} with another label"
        elif image.set in kept:
            yield image, f"{name} of another image of its set"
        else:
            kept.add(image.set)


def _rank(image: Found) -> int:
    return HELD_OUT.index(image.split) + 1 if image.split in HELD_OUT else 0


def _severity(group: Group) -> tuple[bool, bool, bool, bool, int]:
    """What makes a group worse than another: a leak and a contradiction, a leak, a contradiction, many duplicates.

    One person's images look alike and rightly differ in label: they come after all copies.
    """
    is_copy = group.kind != "subject"
    return is_copy, group.spans_splits, group.conflicts, group.kind == "exact", len(group.members)


def _title(group: Group) -> str:
    words = [f"{len(group.members)} {'alike of one subject' if group.kind == 'subject' else f'{NAMES[group.kind]}s'}"]
    sets = sorted({image.set for image in group.members})
    words.append(f"in {', '.join(sets)}")
    if group.conflicts:
        words.append(f"labels differ: {', '.join(sorted({image.emotion for image in group.members}))}")
    return "; ".join(words)


def _row(title: str, images: Iterable[Found]) -> Row:
    shown = list(images)
    more = f" (the first {MOST_TILES} are shown)" if len(shown) > MOST_TILES else ""
    tiles = [Tile(p.origin.read(), f"{p.split} {p.emotion}\n{p.key}") for p in shown[:MOST_TILES] if p.origin]
    return Row(title + more, tuple(tiles))
