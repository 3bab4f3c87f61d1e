"""The confusion matrix as a figure, and the difference of two."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_dist.scores.figures.canvas import (
    CELL_STEPS,
    CHANGE_STEPS,
    GAP,
    INK,
    NORMAL,
    SMALL,
    Array,
    cell_colours,
    change_colours,
    name_axes,
    new_figure,
    text_on_cell,
)
from fer_dist.scores.metrics import normalised_by_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CLASSES = 20
"""Rows that can be read; of more emotions those with the most errors have their own."""
OTHERS = "all others"
BAR_STEPS = 10
"""Of a colour bar: it says what the colours mean, and need not have all of them."""


def confusion_figure(matrix: Array, emotions: Sequence[str], title: str, masked: Sequence[str] = ()) -> "Figure":
    """A confusion matrix: percent of the row, the count beneath; darker is more.

    matrix:   int [K, K], true labels in rows.
    emotions: K names, in the order of the matrix. Of more than MOST_CLASSES the others are taken together.
    masked:   emotions that the set lacks; their rows and columns are grey, as is the row of one without images.
    """
    matrix, emotions = condensed(np.asarray(matrix), emotions)
    parts = normalised_by_row(matrix)
    parts[:, [name in masked for name in emotions]] = np.nan
    counts = [[f"{count:,}" for count in row] for row in matrix]
    totals = ["masked" if name in masked else f"{n:,}" for name, n in zip(emotions, matrix.sum(axis=1), strict=True)]
    rows = [f"{name} ({total})" for name, total in zip(emotions, totals, strict=True)]
    figure, axes = _matrix_axes(emotions, rows, title)
    steps: Array = np.rint(parts * CELL_STEPS)
    _draw_cells(axes, steps, cell_colours())
    _write_cells(axes, steps, cell_colours(), [[f"{100 * part:.0f}" for part in row] for row in parts], counts)
    _add_bar(figure, axes, cell_colours(), ("0", "50", "100"), "% of the row")
    return figure


def confusion_change_figure(first: Array, second: Array, emotions: Sequence[str], title: str) -> "Figure":
    """Of two confusion matrices int [K, K] of the same images, the first's percent of each row less the second's."""
    (fewer, names), (other, _) = condensed(first, emotions, second), condensed(second, emotions, first)
    change = normalised_by_row(fewer) - normalised_by_row(other)
    most = max(10, int(np.ceil(10 * np.nanmax(np.abs(change), initial=0) - 1e-9)) * 10)
    figure, axes = _matrix_axes(names, list(names), title)
    steps: Array = np.rint((100 * change / most + 1) * CHANGE_STEPS / 2)
    _draw_cells(axes, steps, change_colours())
    texts = [["0" if abs(value) < 0.005 else f"{100 * value:+.0f}".replace("-", "\N{MINUS SIGN}") for value in row]
             for row in change]  # fmt: skip
    _write_cells(axes, steps, change_colours(), texts)
    _add_bar(figure, axes, change_colours(), (f"\N{MINUS SIGN}{most}", "0", f"+{most}"), "points of the row")
    return figure


def condensed(matrix: Array, emotions: Sequence[str], beside: Array | None = None) -> tuple[Array, tuple[str, ...]]:
    """A confusion matrix of at most MOST_CLASSES rows: the emotions with the most errors, and the others as one.

    beside: another matrix whose errors count as well, so that both keep the same rows.
    """
    if len(emotions) <= MOST_CLASSES:
        return matrix, tuple(emotions)
    both = matrix if beside is None else matrix + beside
    errors = both.sum(axis=0) + both.sum(axis=1) - 2 * np.diagonal(both)
    kept = np.sort(np.argsort(-errors, kind="stable")[: MOST_CLASSES - 1])
    group = np.full(len(emotions), MOST_CLASSES - 1)
    group[kept] = np.arange(MOST_CLASSES - 1)
    smaller = np.zeros((MOST_CLASSES, MOST_CLASSES), dtype=matrix.dtype)
    np.add.at(smaller, (group[:, None], group[None, :]), matrix)
    return smaller, (*(emotions[index] for index in kept), OTHERS)


def _matrix_axes(emotions: Sequence[str], rows: Sequence[str], title: str) -> tuple["Figure", "Axes"]:
    classes = len(emotions)
    figure = new_figure(1.85 + 0.43 * classes, 1.45 + 0.43 * classes)
    axes = figure.subplots()
    ticks = np.arange(classes) + 0.5
    axes.set_xticks(ticks, emotions, rotation=40, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(ticks, rows, parse_math=False)
    axes.tick_params(length=0, labelsize=NORMAL, colors=INK)
    axes.spines[:].set_visible(False)
    name_axes(axes, title, "predicted", "true (images)" if list(rows) != list(emotions) else "true")
    return figure, axes


def _draw_cells(axes: "Axes", steps: Array, colours: Sequence[str]) -> None:
    """steps: [K, K], of each cell its place among the colours; NaN: none."""
    from matplotlib.colors import ListedColormap

    scale = ListedColormap(colours).with_extremes(bad=GAP)
    # Cells as shapes, not as an image: they stay sharp at any size.
    axes.pcolormesh(
        np.ma.masked_invalid(steps), cmap=scale, vmin=-0.5, vmax=len(colours) - 0.5, edgecolors="face", linewidth=0.3
    )
    axes.invert_yaxis()


def _write_cells(
    axes: "Axes",
    steps: Array,
    colours: Sequence[str],
    texts: Sequence[Sequence[str]],
    counts: Sequence[Sequence[str]] | None = None,
) -> None:
    for row, column in np.ndindex(steps.shape):
        style: dict[str, Any] = {"ha": "center", "va": "center", "color": INK}
        if np.isnan(steps[row, column]):
            axes.text(column + 0.5, row + 0.5, "–", fontsize=NORMAL, **style)
            continue
        style["color"] = text_on_cell(colours[int(steps[row, column])])
        axes.text(column + 0.5, row + (0.38 if counts else 0.5), texts[row][column], fontsize=NORMAL, **style)
        if counts:
            axes.text(column + 0.5, row + 0.74, counts[row][column], fontsize=SMALL - 0.5, **style)


def _add_bar(figure: "Figure", axes: "Axes", colours: Sequence[str], ends: tuple[str, str, str], unit: str) -> None:
    """What the colours mean. ends: what stands at the lowest, the middle and the highest."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    places = np.linspace(0, len(colours) - 1, BAR_STEPS + 1).round().astype(int)
    norm = BoundaryNorm(np.arange(BAR_STEPS + 2) - 0.5, BAR_STEPS + 1)
    found = ScalarMappable(norm, ListedColormap([colours[place] for place in places]))
    bar = figure.colorbar(found, ax=axes, shrink=0.7, aspect=18, pad=0.02, ticks=[0, BAR_STEPS / 2, BAR_STEPS])
    bar.minorticks_off()
    bar.ax.set_yticklabels(ends)
    bar.ax.tick_params(length=0, labelsize=SMALL, colors=INK)
    bar.ax.set_ylabel(unit, fontsize=SMALL, color=INK)
    bar.outline.set_visible(False)
