"""What `fer-dist bench order` and `bench shuffle` found, as the rows of tables."""

from fer_dist.bench.order import FirstBatchBench, OrderBench, RealBench
from fer_dist.bench.shuffle import MARKS, CoverageBench, MixBench

Table = tuple[list[str], list[list[str]]]
"""The header, and a list of cells a row."""


def order_table(found: list[OrderBench]) -> Table:
    """A size of set a row."""
    header = [
        "samples",
        "shards",
        "manifest MB",
        "open s",
        "first batch of an epoch ms",
        "worst",
        "any other ms",
        "worst",
    ]
    rows = []
    for one in found:
        times = [one.first_milliseconds, one.first_worst_milliseconds]
        times += [one.later_milliseconds, one.later_worst_milliseconds]
        size = [f"{one.samples:,}", f"{one.shards:,}", f"{one.manifest_bytes / 1e6:.1f}", f"{one.open_seconds:.3f}"]
        rows.append([*size, *(f"{time:.2f}" for time in times), f"{one.peak_bytes / 1e6:,.0f}"])
    return [*header, "peak MB"], rows


def real_table(found: RealBench) -> Table:
    """A set that was really read, in one row; times a sample in microseconds."""
    row = {
        "samples": f"{found.samples:,}",
        "shards": f"{found.shards:,}",
        "tars MB": f"{found.tar_bytes / 1e6:,.0f}",
        "write s": f"{found.write_seconds:.1f}",
        "open s": f"{found.open_seconds:.3f}",
        "order µs each": f"{found.order_microseconds:.2f}",
        "read µs each": f"{found.read_microseconds:.2f}",
        "delivered": f"{found.delivered:,}",
        "once and whole": f"{found.right:,}",
        "own MB": f"{found.own_bytes / 1e6:,.0f}",
    }
    return list(row), [list(row.values())]


def first_batch_table(found: FirstBatchBench) -> Table:
    """The wait for the first crops, in one row."""
    row = [f"{found.pictures:,}", str(found.repeats), f"{found.start_seconds:.4f}", f"{found.resumed_seconds:.4f}"]
    header = ["pictures", "n", "first batch at step 0 s", "in the middle of the last epoch s", "ratio"]
    return header, [[*row, f"{found.ratio:.3f}"]]


def mix_table(expected: MixBench, found: list[MixBench]) -> Table:
    """The expectation, and then an order on a layout a row; pairs that meet again as a multiple of the expectation."""
    header = ["set", "lanes", "block", "chi-square", "worst batch", "neighbours' correlation", "pairs met again"]
    rows = [[expected.layout, "", "", f"{expected.chi_square:.2f}", "", f"{expected.correlation:.3f}", "1.00"]]
    for one in found:
        order = [f"{one.lanes}", f"{one.block:,}"] if one.lanes else ["", ""]
        mix = [f"{one.chi_square:.2f}", f"{one.worst_chi_square:.1f}", f"{one.correlation:.3f}"]
        rows.append([one.layout, *order, *mix, f"{one.pairs / expected.pairs:.2f}"])
    return header, rows


def coverage_table(found: list[CoverageBench]) -> Table:
    """A layout a row: the share of the samples that were never seen."""
    header = ["never seen, %", "seeds", *(f"after {mark} epoch{'s' * (mark > 1)}" for mark in MARKS)]
    return header, [[one.layout, str(one.seeds), *(f"{100 * share:.4f}" for share in one.unseen)] for one in found]
