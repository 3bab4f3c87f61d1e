"""Feature maps, gates and regions as figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fer_dist.explain.maps import Averages
from fer_dist.explain.regions import POINTS
from fer_dist.scores.figures.canvas import INK, NORMAL, SERIES, SMALL, dress, name_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = "magma"
"""Of maps: dark is 0, and light is 1; brightness alone tells it too."""

CELL = 0.95
"""Inches of an image in a grid."""

SIDE, GAP = 128, 6
"""Pixels of an image in a grid, and between two."""

MOST_ROWS = 12
"""Emotions in a grid; more are in the tables."""


def maps_figure(averages: Averages, group: str, emotions: Sequence[str], blocks: Sequence[str], title: str) -> "Figure":
    """For each emotion the image that the network is surest of, and each block's map drawn over it.

    Emotions without an image in the group are named beneath the title. Source of the layout: Huang et al. 2023, figures
    6 and 9.
    """
    rows: list[tuple[str, Cells]] = []
    for label, emotion in enumerate(emotions[:MOST_ROWS]):
        example, name = averages.examples.get((group, label)), _row_name(averages, group, label, emotion)
        if example is None:
            continue
        said = "" if example.label == example.predicted else f"as {emotions[example.predicted]} "
        image = example.pixels.transpose(1, 2, 0)
        overlays = [_overlay(image, example.maps.get(block)) for block in blocks]
        rows.append((f"{name}\n{said}{100 * example.p:.0f} %", [image, *overlays]))
    return _grid(rows, ["image", *blocks], f"{title}{_without(averages, group, emotions)}")


def averages_figure(
    averages: Averages, group: str, emotions: Sequence[str], blocks: Sequence[str], title: str
) -> "Figure":
    """For each emotion the mean image of the group, and the mean map of each block. Counts stand beside the names."""
    rows: list[tuple[str, Cells]] = []
    for label, emotion in enumerate(emotions[:MOST_ROWS]):
        count, name = averages.counts.get((group, label), 0), _row_name(averages, group, label, emotion)
        if not count:
            continue
        image = (averages.images[group, label] / count).round().astype(np.uint8).transpose(1, 2, 0)
        means = [averages.mean(group, label, block) for block in blocks]
        rows.append((name, [image, *(None if mean is None else _coloured(mean) for mean in means)]))
    return _grid(rows, ["mean image", *blocks], f"{title}{_without(averages, group, emotions)}")


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


def points_sheet(points: Sequence[tuple[NDArray[np.uint8], NDArray[np.float64], str]], title: str) -> "Figure":
    """Crops with the five points from which their regions follow, so that a person can see whether they are right."""
    columns = 8
    cells = [pixels.transpose(1, 2, 0) for pixels, _, _ in points]
    rows = [("", cells[first : first + columns]) for first in range(0, len(cells), columns)]
    figure = _grid(rows, [""] * min(columns, len(cells)), title, with_scale=False)
    for kind, (colour, marker, _) in enumerate(SERIES[: len(POINTS)]):
        places = np.array(
            [
                (np.array([number % columns, number // columns]) * (SIDE + GAP))
                + five[kind] * SIDE / pixels.shape[-1]
                - 0.5
                for number, (pixels, five, _) in enumerate(points)
            ]
        )
        style: Any = {"color": colour, "marker": marker, "markersize": 3, "markeredgecolor": "white"}
        figure.axes[0].plot(places[:, 0], places[:, 1], linestyle="none", markeredgewidth=0.4, **style)
    return figure


Cells = Sequence["NDArray[np.uint8] | None"]


def _grid(rows: Sequence[tuple[str, Cells]], heads: Sequence[str], title: str, with_scale: bool = True) -> "Figure":
    """Images, uint8 [h, w, 3], in rows with their names, under heads; without rows the title alone.

    One image in all: an axes for each would take a quarter of a minute to lay out.
    """
    figure = new_figure(CELL * len(heads) + 1.2, CELL * len(rows) + 0.7)
    figure.suptitle(title, fontsize=NORMAL, color=INK, parse_math=False)
    if not rows:
        return figure
    axes = figure.add_subplot()
    step = SIDE + GAP
    whole = np.full((len(rows) * step - GAP, len(heads) * step - GAP, 4), 0, dtype=np.uint8)
    for row, (_, cells) in enumerate(rows):
        for column, cell in enumerate(cells):
            if cell is not None:
                whole[row * step :, column * step :][:SIDE, :SIDE] = _enlarged(cell)
    axes.imshow(whole, interpolation="nearest")
    middles = SIDE / 2 + step * np.arange(max(len(heads), len(rows)))
    axes.xaxis.tick_top()
    axes.set_xticks(middles[: len(heads)], heads, fontsize=SMALL, color=INK, parse_math=False)
    axes.set_yticks(middles[: len(rows)], [name for name, _ in rows], fontsize=SMALL, color=INK, parse_math=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if with_scale:
        _add_scale(figure, axes)
    return figure


def _without(averages: Averages, group: str, emotions: Sequence[str]) -> str:
    """A line more of a title: the emotions that have no image in the group."""
    missing = [name for label, name in enumerate(emotions[:MOST_ROWS]) if not averages.counts.get((group, label))]
    return f"\nno image: {', '.join(missing)}" if missing else ""


def _row_name(averages: Averages, group: str, label: int, emotion: str) -> str:
    return f"{emotion}\n{averages.counts.get((group, label), 0):,}"


def _enlarged(cell: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [SIDE, SIDE, 4], opaque. Photographs are smoothed, and maps of few pixels show them."""
    from PIL import Image

    how = Image.Resampling.NEAREST if cell.shape[0] < SIDE // 4 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(cell).resize((SIDE, SIDE), how).convert("RGBA"))


def _coloured(found: NDArray[Any]) -> NDArray[np.uint8]:
    """A map from 0 to 1 as colours, uint8 [h, w, 3]."""
    from matplotlib import colormaps

    colours: NDArray[np.uint8] = colormaps[COLOURS](found, bytes=True)[..., :3]
    return colours


def _overlay(image: NDArray[np.uint8], found: NDArray[np.float32] | None) -> NDArray[np.uint8] | None:
    """A map in colours, through which the image is seen in grey."""
    if found is None:
        return None
    grey = _enlarged(image)[..., :3].mean(axis=2, keepdims=True)
    return (0.4 * grey + 0.6 * _enlarged(_coloured(found))[..., :3]).round().astype(np.uint8)


def _add_scale(figure: "Figure", axes: Any) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), COLOURS), ax=axes, shrink=0.5, pad=0.01)
    bar.ax.tick_params(labelsize=SMALL, colors=INK)
    bar.set_label("map, from its least to its most", fontsize=SMALL, color=INK)
