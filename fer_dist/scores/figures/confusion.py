"""The confusion matrix as a figure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_dist.scores.figures.canvas import (
    CELL_STEPS,
    GAP,
    INK,
    NORMAL,
    SMALL,
    Array,
    cell_colours,
    name_axes,
    new_figure,
    text_on_cell,
)
from fer_dist.scores.metrics import normalised_by_row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion_figure(matrix: Array, emotions: Sequence[str], title: str, masked: Sequence[str] = ()) -> "Figure":
    """A confusion matrix: percent of the row, the count beneath; darker is more.

    matrix:   int [K, K], true labels in rows.
    emotions: K names, in the order of the matrix.
    masked:   emotions that the set lacks; their rows and columns are grey, as is the row of one without images.
    """
    from matplotlib.colors import ListedColormap

    matrix = np.asarray(matrix)
    classes = len(emotions)
    parts = normalised_by_row(matrix)
    parts[:, [name in masked for name in emotions]] = np.nan
    figure = new_figure(1.45 + 0.43 * classes, 1.45 + 0.43 * classes)
    axes = figure.subplots()
    colours = ListedColormap(cell_colours()).with_extremes(bad=GAP)
    steps: Array = np.rint(parts * CELL_STEPS)
    # Cells as shapes, not as an image: they stay sharp at any size.
    axes.pcolormesh(
        np.ma.masked_invalid(steps), cmap=colours, vmin=-0.5, vmax=CELL_STEPS + 0.5, edgecolors="face", linewidth=0.3
    )
    for row, column in np.ndindex(classes, classes):
        part = parts[row, column]
        style: dict[str, Any] = {"ha": "center", "va": "center", "color": INK}
        if np.isnan(part):
            axes.text(column + 0.5, row + 0.5, "–", fontsize=NORMAL, **style)
            continue
        style["color"] = text_on_cell(cell_colours()[int(steps[row, column])])
        axes.text(column + 0.5, row + 0.38, f"{100 * part:.0f}", fontsize=NORMAL, **style)
        axes.text(column + 0.5, row + 0.74, f"{matrix[row, column]:,}", fontsize=SMALL - 0.5, **style)
    totals = ["masked" if name in masked else f"{n:,}" for name, n in zip(emotions, matrix.sum(axis=1), strict=True)]
    ticks = np.arange(classes) + 0.5
    axes.set_xticks(ticks, emotions, rotation=40, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(ticks, [f"{emotions[row]} ({totals[row]})" for row in range(classes)], parse_math=False)
    axes.tick_params(length=0, labelsize=NORMAL, colors=INK)
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    name_axes(axes, title, "predicted", "true (images)")
    return figure
