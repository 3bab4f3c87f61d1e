"""Figures of dots: values of several models or groups in rows, several seeds, recall against the size of a class."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_dist.scores.figures.canvas import (
    AFTER,
    GRID,
    INK,
    NORMAL,
    PAGE,
    SERIES,
    SMALL,
    WIDTH,
    add_legend,
    dress,
    name_axes,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Interval = Sequence[float]

AXES_POINTS = (270.0, 175.0)
"""About how large the axes of size_figure are, in points: what labels need to keep clear of each other."""
LETTER_POINTS, LINE_POINTS = 4.6, 9.0
RECALLS = (-5.0, 104.0)
"""Ends of its axis, in percent: dots and names of 0 and of 100 % are whole."""


@dataclass(frozen=True)
class Marks:
    """One series: a value for each row, None where it has none, and intervals, where they are known."""

    name: str
    values: Sequence[float | None]
    intervals: Sequence[Interval | None] | None = None


@dataclass(frozen=True)
class Scale:
    """The horizontal axis.

    limits:    of an axis of percent, with room beyond 100 for what is written.
    reference: where a line stands that values are held against. written: form of the values beside their dots.
    """

    name: str
    limits: tuple[float, float] | None = None
    log: bool = False
    reference: float | None = None
    written: str = ""


@dataclass(frozen=True)
class BlockRow:
    """A model in a block, in percent. floor: what its value is held against; is_own: drawn filled, else hollow."""

    name: str
    value: float
    interval: Interval
    floor: float | None
    is_own: bool


@dataclass(frozen=True)
class Block:
    """Rows under a heading of their own."""

    name: str
    rows: tuple[BlockRow, ...]


def blocks_figure(blocks: Sequence[Block], axis: str) -> "Figure":
    """Values of percent with their intervals, written beside them, in blocks: what is in one is to be compared."""
    lines = sum(len(block.rows) + 1 for block in blocks)
    figure = new_figure(WIDTH, 0.75 + 0.235 * lines)
    axes = figure.subplots()
    names: list[tuple[float, str]] = []
    top = 0.0
    for block in blocks:
        style: dict[str, Any] = {"fontsize": NORMAL, "fontweight": "bold", "color": INK, "parse_math": False}
        axes.text(0, top, shortened(block.name, 44), va="center", **style)
        if top:
            axes.axhline(top - 0.6, color=GRID, linewidth=0.8)
        for place, row in enumerate(block.rows, 1):
            _plot_row(axes, row, top + place)
            names.append((top + place, shortened(row.name)))
        top += len(block.rows) + 1.2
    axes.set_yticks([at for at, _ in names], [name for _, name in names], parse_math=False)
    axes.set_ylim(top - 0.6, -0.6)
    axes.set_xlim(0, 112)
    dress(axes, "x")
    axes.spines["bottom"].set_bounds(0, 100)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=NORMAL)
    name_axes(axes, "", axis, "")
    return figure


def shortened(name: str, letters: int = 24) -> str:
    """A name that leaves room for what is drawn beside it: its start and its end, which mostly tells it apart."""
    if len(name) <= letters:
        return name
    ending = letters // 2
    return f"{name[: letters - ending - 1]}\N{HORIZONTAL ELLIPSIS}{name[-ending:]}"


def _plot_row(axes: "Axes", row: BlockRow, height: float) -> None:
    low, high = row.interval
    if row.floor is not None:
        axes.plot([row.floor] * 2, [height - 0.5, height + 0.5], color=INK, linestyle=(0, (1, 2)), linewidth=1)
    axes.plot([low, high], [height, height], color=AFTER, linewidth=1.6)
    # A hollow mark lets no line through: it has the colour of the page, which swaps it.
    fill = AFTER if row.is_own else PAGE
    mark: dict[str, Any] = {"marker": "o", "markersize": 6, "mfc": fill, "color": AFTER, "mew": 1.4}
    axes.plot(row.value, height, linestyle="", **mark)
    style: dict[str, Any] = {"va": "center", "fontsize": SMALL, "color": INK}
    axes.annotate(f"{row.value:.1f}", (max(high, row.value), height), (6, 0), textcoords="offset points", **style)


def dots_figure(rows: Sequence[str], series: Sequence[Marks], scale: Scale, title: str = "") -> "Figure":
    """Each row's values as dots with their intervals; series have their own shape, colour and position in the row.

    rows: R labels; series: each with R values, in the unit of the axis.
    """
    count = len(series)
    pitch = max(0.27, 0.11 + 0.135 * count)
    figure = new_figure(WIDTH, 0.95 + pitch * len(rows) + (0.2 * ((count + 1) // 2) if count > 1 else 0))
    axes = figure.subplots()
    if scale.log:
        axes.set_xscale("log")
    shifts = (np.arange(count) - (count - 1) / 2) * 0.8 / max(count, 2)
    for marks, (colour, marker, _), shift in zip(series, cycle(SERIES), shifts, strict=False):
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5}
        _plot_marks(axes, marks, np.arange(len(rows)) + shift, style)
        if scale.written:
            _write_values(axes, marks, np.arange(len(rows)) + shift, scale.written)
    if scale.reference is not None:
        axes.axvline(scale.reference, color=INK, linestyle=(0, (1, 2)), linewidth=1)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    dress(axes, "x")
    if scale.limits:
        axes.set_xlim(*scale.limits)
        axes.spines["bottom"].set_bounds(0, 100)
    axes.tick_params(axis="y", length=0, labelsize=NORMAL)
    _write_plainly(axes, scale)
    name_axes(axes, title, scale.name, "")
    if count > 1:
        for between in np.arange(len(rows) - 1) + 0.5:
            axes.axhline(between, color=GRID, linewidth=0.6)
        add_legend(figure, axes)
    return figure


def seeds_figure(rows: Sequence[str], values: Sequence[Sequence[float]]) -> "Figure":
    """Each seed's accuracy as a ring, the mean of a row as a line. values: percent, one or more for each row."""
    figure = new_figure(WIDTH, 1.0 + 0.34 * len(rows))
    axes = figure.subplots()
    for row, found in enumerate(values):
        axes.plot([np.mean(found)] * 2, [row - 0.3, row + 0.3], color=INK, linewidth=1.6)
        axes.plot(found, [row] * len(found), linestyle="", marker="o", mfc="none", color=AFTER, markersize=6, mew=1.4)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    dress(axes, "x")
    axes.tick_params(axis="y", length=0, labelsize=NORMAL)
    name_axes(axes, "", "accuracy, %; a line: the mean", "")
    return figure


def size_figure(images: dict[str, int], recall: dict[str, float], title: str) -> "Figure":
    """Recall of each emotion against its images in the training set, the emotion's name beside its dot."""
    figure = new_figure(WIDTH, 3.3)
    axes = figure.subplots()
    names = [name for name in recall if images.get(name)]
    across, up = np.array([images[name] for name in names]), 100 * np.array([recall[name] for name in names])
    axes.plot(across, up, linestyle="", marker="o", color=AFTER, markersize=5.5)
    axes.set_xscale("log")
    axes.set_ylim(*RECALLS)
    axes.set_xlim(across.min() / 1.6, across.max() * 1.6)
    for name, x, y, (right, over, anchor) in zip(names, across, up, _label_offsets(names, across, up), strict=True):
        style: dict[str, Any] = {"ha": anchor, "va": "center", "parse_math": False, "color": INK}
        axes.annotate(name, (x, y), (right, over), textcoords="offset points", fontsize=SMALL, **style)
    dress(axes, "both")
    _write_plainly(axes, Scale("", log=True))
    name_axes(axes, title, "images in the training set", "recall, %")
    return figure


def _plot_marks(axes: "Axes", marks: Marks, heights: Any, style: dict[str, Any]) -> None:
    known = [row for row, value in enumerate(marks.values) if value is not None]
    values = np.array([marks.values[row] for row in known], dtype=float)
    spread = None
    if marks.intervals is not None:
        ends = np.array([marks.intervals[row] or (marks.values[row],) * 2 for row in known], dtype=float).reshape(-1, 2)
        # An interval that does not hold its value would be a bar of negative length, which is an error.
        spread = np.maximum([values - ends[:, 0], ends[:, 1] - values], 0)
    axes.errorbar(
        values, heights[known], xerr=spread, linestyle="", capsize=2, elinewidth=1.1, label=marks.name, **style
    )


def _write_values(axes: "Axes", marks: Marks, heights: Any, form: str) -> None:
    for row, value in enumerate(marks.values):
        if value is not None:
            ends = (marks.intervals[row] if marks.intervals else None) or (value,)
            text: dict[str, Any] = {"va": "center", "fontsize": SMALL, "color": INK}
            at = (max(value, *ends) if len(ends) > 1 else value, heights[row])
            axes.annotate(form.format(value), at, (5, 0), textcoords="offset points", **text)


def _label_offsets(names: Sequence[str], across: Any, up: Any) -> list[tuple[float, float, str]]:
    """For each name an offset from its dot in points, and how it is anchored there: clear of dots and other names."""
    width, height = AXES_POINTS
    logs = np.log(across)
    horizontal = width * (logs - logs.min() + np.log(1.6)) / (np.ptp(logs) + 2 * np.log(1.6))
    vertical = height * (up - RECALLS[0]) / (RECALLS[1] - RECALLS[0])
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in zip(horizontal, vertical, strict=True)]
    offsets: list[tuple[float, float, str]] = []
    for name, x, y in zip(names, horizontal, vertical, strict=True):
        length = LETTER_POINTS * len(name)
        offers = []
        for over in (0, 9, -9, 18, -18, 27, -27):
            offers += [(7, over, "left", x + 7), (-7, over, "right", x - 7 - length)]
        boxes = [
            (left, y + over - LINE_POINTS / 2, left + length, y + over + LINE_POINTS / 2) for _, over, _, left in offers
        ]
        hits = [sum(_overlap(box, other) for other in taken) + 9 * (min(box) < 0 or box[2] > width) for box in boxes]
        best = int(np.argmin(hits))
        taken.append(boxes[best])
        offsets.append(offers[best][:3])
    return offsets


def _overlap(first: Sequence[float], second: Sequence[float]) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _write_plainly(axes: "Axes", scale: Scale) -> None:
    """A logarithmic axis with 1,000 instead of a power of ten."""
    if scale.log:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        low, high = axes.get_xlim()
        marks = (1.0, 2.0, 5.0) if high < 100 * low else (1.0, 3.0) if high < 3000 * low else (1.0,)
        axes.xaxis.set_major_locator(LogLocator(10, subs=marks, numticks=12))
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:,.3g}" if value < 10 else f"{value:,.0f}")
        )
        axes.xaxis.set_minor_formatter(NullFormatter())
