"""Feature maps, gates and regions as figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fer_dist.explain.maps import Averages
from fer_dist.explain.regions import ALL_REGIONS, POINTS
from fer_dist.scores.figures.canvas import GRID, INK, NORMAL, SERIES, SMALL, dress, name_axes, new_figure
from fer_dist.scores.figures.dots import Marks, Scale, dots_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = "magma"
"""Of maps: dark is 0, and light is 1; brightness alone tells it too."""

CELL = 0.95
"""Inches of an image in a grid."""

MOST_ROWS = 12
"""Emotions in a grid; more are in the tables."""


def maps_figure(averages: Averages, group: str, emotions: Sequence[str], blocks: Sequence[str], title: str) -> "Figure":
    """For each emotion the image that the network is surest of, and each block's map drawn over it.

    An emotion without an image in the group says so. Source of the layout: Huang et al. 2023, figures 6 and 9.
    """
    shown = range(min(len(emotions), MOST_ROWS))
    figure, cells = _grid(len(shown), ["image", *blocks], title)
    for row in shown:
        example, count = averages.examples.get((group, row)), averages.counts.get((group, row), 0)
        _name_row(cells[row][0], emotions[row], count)
        if example is None:
            _write(cells[row][0], "none")
            continue
        image = example.pixels.transpose(1, 2, 0)
        cells[row][0].imshow(image)
        said = "" if example.label == example.predicted else f"{emotions[example.predicted]} "
        cells[row][0].set_xlabel(f"{said}{100 * example.p:.0f} %", fontsize=SMALL, color=INK, parse_math=False)
        for axes, block in zip(cells[row][1:], blocks, strict=True):
            _overlay(axes, image, example.maps.get(block))
    _add_scale(figure, cells)
    return figure


def averages_figure(
    averages: Averages, group: str, emotions: Sequence[str], blocks: Sequence[str], title: str
) -> "Figure":
    """For each emotion the mean image of the group, and the mean map of each block. Counts stand beside the names."""
    shown = range(min(len(emotions), MOST_ROWS))
    figure, cells = _grid(len(shown), ["mean image", *blocks], title)
    for row in shown:
        count = averages.counts.get((group, row), 0)
        _name_row(cells[row][0], emotions[row], count)
        if not count:
            _write(cells[row][0], "none")
            continue
        image = (averages.images[group, row] / count).round().astype(np.uint8).transpose(1, 2, 0)
        cells[row][0].imshow(image)
        for axes, block in zip(cells[row][1:], blocks, strict=True):
            found = averages.mean(group, row, block)
            if found is not None:
                axes.imshow(found, cmap=COLOURS, vmin=0, vmax=1, interpolation="nearest")
    _add_scale(figure, cells)
    return figure


def gates_figure(blocks: dict[str, dict[str, Any]], emotions: Sequence[str], title: str) -> "Figure":
    """The mean gate of each block, by emotion."""
    shown = {name: block["gates"] for name, block in blocks.items() if block["gates"]}
    figure = new_figure(4.4, 2.9)
    axes = figure.add_subplot()
    dress(axes, "y")
    for number, emotion in enumerate(emotions[: len(SERIES)]):
        colour, marker, dash = SERIES[number]
        values = [gates["by_emotion"].get(emotion, {}).get("mean", np.nan) for gates in shown.values()]
        axes.plot(range(len(values)), values, color=colour, marker=marker, linestyle=dash, markersize=3, label=emotion)
    axes.set_xticks(range(len(shown)), list(shown), rotation=40, ha="right", fontsize=SMALL)
    name_axes(axes, title, "", "mean excitation")
    axes.legend(fontsize=SMALL, frameon=False, ncols=2, labelcolor=INK)
    return figure


def hidden_figure(hidden: dict[str, dict[str, Any]], title: str) -> "Figure":
    """What hiding each region costs, beside the same area elsewhere: falls of p with their 95 % intervals."""
    regions = [name for name in ALL_REGIONS if name in hidden]
    own = [hidden[name]["p"] for name in regions]
    series = [_marks("the region hidden", own)]
    controls = dict.fromkeys(where for name in regions for where in hidden[name]["more_than"])
    for where in controls:
        found = [hidden[name]["more_than"].get(where, {}).get("p") for name in regions]
        series.append(_marks(f"more than {where}", found))
    return dots_figure(regions, series, Scale("fall of p", reference=0), title)


def points_sheet(points: Sequence[tuple[NDArray[np.uint8], NDArray[np.float64], str]], title: str) -> "Figure":
    """Crops with the five points from which their regions follow, so that a person can see whether they are right."""
    columns = 8
    rows = -(-len(points) // columns)
    figure = new_figure(CELL * columns, CELL * rows + 0.4)
    figure.suptitle(title, fontsize=NORMAL, color=INK, parse_math=False)
    for number, (pixels, five, _) in enumerate(points):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.imshow(pixels.transpose(1, 2, 0))
        for (x, y), (colour, marker, _) in zip(five, SERIES[: len(POINTS)], strict=True):
            axes.plot(
                x - 0.5,
                y - 0.5,
                marker=marker,
                color=colour,
                markersize=3,
                markeredgecolor="white",
                markeredgewidth=0.4,
            )
        _bare(axes)
    return figure


def _marks(name: str, found: Sequence[dict[str, Any] | None]) -> Marks:
    values = [None if one is None else one["mean"] for one in found]
    return Marks(name, values, [None if one is None else one["interval"] for one in found])


def _grid(rows: int, heads: Sequence[str], title: str) -> "tuple[Figure, Any]":
    figure = new_figure(CELL * len(heads) + 1.2, CELL * rows + 0.7)
    figure.suptitle(title, fontsize=NORMAL, color=INK, parse_math=False)
    cells = figure.subplots(rows, len(heads), squeeze=False)
    for axes in cells.ravel():
        _bare(axes)
    for axes, head in zip(cells[0], heads, strict=True):
        axes.set_title(head, fontsize=SMALL, color=INK, parse_math=False)
    return figure, cells


def _name_row(axes: Any, emotion: str, count: int) -> None:
    axes.set_ylabel(
        f"{emotion}\n{count:,}", fontsize=SMALL, color=INK, rotation=0, ha="right", va="center", parse_math=False
    )


def _overlay(axes: Any, image: NDArray[np.uint8], found: NDArray[np.float32] | None) -> None:
    if found is None:
        return
    height, width = image.shape[:2]
    axes.imshow(image.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    axes.imshow(found, cmap=COLOURS, vmin=0, vmax=1, alpha=0.6, extent=(-0.5, width - 0.5, height - 0.5, -0.5))


def _add_scale(figure: "Figure", cells: Any) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), COLOURS), ax=cells, shrink=0.5, pad=0.01)
    bar.ax.tick_params(labelsize=SMALL, colors=INK)
    bar.set_label("map, from its least to its most", fontsize=SMALL, color=INK)


def _bare(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(GRID)


def _write(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=SMALL, color=INK)
