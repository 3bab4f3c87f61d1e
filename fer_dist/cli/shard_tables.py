"""What `fer-dist shards describe` and `audit` found, as the rows of tables and as JSON."""

from dataclasses import asdict
from typing import Any

from fer_dist.data.inspection.audit import AuditReport, Found, Kind, SetSummary
from fer_dist.data.inspection.describe import DatasetDescription, SplitDescription
from fer_dist.data.shards.crop_rule import stated
from fer_dist.errors import counted
from fer_dist.progress import Cells


def count_table(dataset: DatasetDescription) -> Cells:
    """An emotion a row, a split a column; after the last split that they are about, the published counts."""
    header = ["data", "emotion"]
    columns: list[dict[str, str]] = []
    for split in dataset.splits:
        header.append(split.split)
        columns.append({name: f"{count:,}" for name, count in split.counts.items()} | {"all": f"{split.samples:,}"})
        for known in dataset.published:
            if split == [other for other in dataset.splits if other.split in known.splits][-1]:
                header.append("published" if len(known.splits) == 1 else f"published, {' + '.join(known.splits)}")
                more = {name: known.found[name] - stated for name, stated in known.stated.items()}
                columns.append({n: f"{known.stated[n]:,} {f'({more[n]:+,})' if more[n] else '='}" for n in more})
    names = [name for name in dict.fromkeys(name for column in columns for name in column) if name != "all"]
    return header, [[dataset.dataset, name, *(column.get(name, "-") for column in columns)] for name in [*names, "all"]]


def property_table(dataset: DatasetDescription) -> Cells:
    """A property a row, a split a column; shares are of the images looked at."""
    columns = [_properties(split) for split in dataset.splits]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [[dataset.dataset, name, *(column.get(name, "-") for column in columns)] for name in names]
    return ["data", "images", *(split.split for split in dataset.splits)], rows


def set_table(report: AuditReport) -> Cells:
    """A set a row: how even its emotions are, how large its images, and what is wrong with them."""
    header = ["data", "emotions, images of each", "images", "largest / smallest", "most common size", "grey %"]
    return [*header, "blank", "do not decode"], [_set_row(summary) for summary in report.sets]


def copy_table(report: AuditReport) -> Cells:
    """A kind of duplicates a row."""
    header = ["duplicates", "how", "images", "groups", "in two splits", "in two datasets", "labels differ", "largest"]
    rows = [
        _duplicate_row(report, "exact", "same pixels", report.exact_copies),
        _duplicate_row(report, "near", f"similarity {report.similar} and above", report.near_copies),
    ]
    if report.subject_copies:
        # Frames of one person, posed and lit alike, look alike without being copies of each other.
        rows.append(_duplicate_row(report, "subject", "as near, but of one person", report.subject_copies))
    return header, rows


def shared_table(report: AuditReport) -> Cells:
    """Two sets a row: how many images of the first have a duplicate in the second."""
    sizes = {summary.name: summary.samples for summary in report.sets}
    rows = []
    for shared in report.shared:
        share = f"{100 * (shared.exact + shared.near) / sizes[shared.name]:.2f}"
        numbers = [f"{sizes[shared.name]:,}", f"{shared.exact:,}", f"{shared.near:,}", share, f"{shared.subject:,}"]
        rows.append([shared.name, shared.other, *numbers])
    return ["images of", "with a duplicate in", "images", "exact", "near", "together %", "alike, of one person"], rows


def audit_json(report: AuditReport) -> dict[str, Any]:
    """All that was found, every group with its images."""
    sets = []
    for summary in report.sets:
        sizes = {f"{width}x{height}": count for (width, height), count in summary.sizes.items()}
        named = {"blank": _named(summary.blank), "undecodable": _named(summary.undecodable)}
        sets.append(asdict(summary) | {"sizes": sizes, "imbalance": summary.imbalance} | named)
    groups = [
        {
            "kind": group.kind,
            "spans_splits": group.spans_splits,
            "spans_datasets": group.spans_datasets,
            "conflicts": group.conflicts,
            "images": _named(group.members),
        }
        for group in report.groups
    ]
    counted = ("similar", "exact_copies", "near_copies", "subject_copies", "mirrored_pairs")
    counts = {name: getattr(report, name) for name in counted}
    return {**counts, "sets": sets, "shared": [asdict(shared) for shared in report.shared], "groups": groups}


def _properties(split: SplitDescription) -> dict[str, str]:
    looked = split.looked

    def share(count: int) -> str:
        # Only all of them are 100 %.
        return "100 %" if count == looked.images else f"{min(100 * count / looked.images, 99.9):.1f} %"

    found = {"shards": f"{split.shards:,}", "MB": f"{split.bytes / 1e6:,.1f}"}
    found["looked at"] = f"{looked.images:,} of {split.samples:,}"
    if looked.sizes:
        for name in ("smallest", "median", "largest", "most common"):
            width, height = getattr(looked.sizes, name.replace(" ", "_"))
            found[name] = f"{width}x{height}"
        found["most common"] += f" ({share(looked.sizes.common)})"
    found |= {colour: share(count) for colour, count in looked.colours.items()}
    found["soft labels"] = share(looked.facts["soft"]) if "soft" in looked.facts else "none"
    found |= {f"with {name}": share(count) for name, count in looked.facts.items() if name != "soft"}
    if looked.subjects:
        found["different subjects"] = f"{looked.subjects:,}"
    if rule := stated(split.built):
        found["faces cut"] = str(rule)
    found |= {f"left out: {reason}": f"{count:,}" for reason, count in split.left_out.items()}
    return found | {f"mended: {reason}": f"{count:,}" for reason, count in split.built.get("mended", {}).items()}


def _set_row(summary: SetSummary) -> list[str]:
    decoded = summary.samples - len(summary.undecodable)
    (width, height), common = next(iter(summary.sizes.items()), ((0, 0), 0))
    counts = ", ".join(f"{name} {count:,}" for name, count in summary.counts.items())
    size = f"{width}x{height} ({100 * common / max(decoded, 1):.0f} %), {counted(len(summary.sizes), 'size')}"
    numbers = [f"{summary.samples:,}", f"{summary.imbalance:.1f}", size, f"{100 * summary.grey / max(decoded, 1):.0f}"]
    return [summary.name, counts, *numbers, f"{len(summary.blank):,}", f"{len(summary.undecodable):,}"]


def _duplicate_row(report: AuditReport, kind: Kind, how: str, duplicates: int) -> list[str]:
    groups = report.of(kind)
    counts = [
        duplicates,
        len(groups),
        sum(group.spans_splits for group in groups),
        sum(group.spans_datasets for group in groups),
        sum(group.conflicts for group in groups),
        max((len(group.members) for group in groups), default=0),
    ]
    return [kind, how, *(f"{count:,}" for count in counts)]


def _named(images: tuple[Found, ...]) -> list[dict[str, str]]:
    return [{"set": p.set, "shard": p.shard, "key": p.key, "emotion": p.emotion} for p in images]
