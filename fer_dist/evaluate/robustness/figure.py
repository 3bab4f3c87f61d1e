"""The figure of a model's robustness: accuracy by severity of each corruption, and the drop for each occlusion."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fer_dist.evaluate.robustness.regions import CONTROL
from fer_dist.scores.figures.canvas import AFTER, BEFORE, GAP, INK, NORMAL, SMALL, dress, name_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 6


def robustness_figure(values: dict[str, Any], title: str = "") -> "Figure":
    """Accuracy by severity in small multiples, beside clean accuracy and the most frequent emotion; below, the drops.

    values: as robustness.robustness gives them.
    """
    corruptions = values["corruptions"]
    rows = -(-len(corruptions) // COLUMNS)
    figure = new_figure(9.0, 1.35 * rows + 0.22 * len(values["regions"]) + 1.6)
    heights = (1.35 * rows + 0.5, 0.22 * len(values["regions"]) + 1.0)
    above, below = figure.subfigures(2, 1, height_ratios=heights, squeeze=False).ravel()
    above.suptitle(title, color=INK, fontsize=NORMAL, parse_math=False)
    cells = above.subplots(rows, COLUMNS, sharex=True, sharey=True).ravel()
    for cell, (name, entry) in zip(cells, corruptions.items(), strict=False):
        _draw_severities(cell, name, entry, values)
    for cell in cells[len(corruptions) :]:
        cell.set_visible(False)
    for cell in cells[len(corruptions) - COLUMNS : len(corruptions)]:
        # Where the cell beneath is empty, this one is the last of its column.
        cell.tick_params(labelbottom=True)
    above.supylabel("accuracy, %", color=INK, fontsize=NORMAL)
    above.supxlabel(
        "severity (0: clean; dashed: clean, dotted: always the most frequent emotion)", color=INK, fontsize=SMALL
    )
    _draw_regions(below.subplots(), values["regions"])
    return figure


def _draw_severities(axes: "Axes", name: str, entry: dict[str, Any], values: dict[str, Any]) -> None:
    heights = 100 * np.array([values["clean"], *entry["accuracy"]])
    axes.axhline(heights[0], linestyle="--", linewidth=0.8, color=GAP)
    axes.axhline(100 * values["chance"], linestyle=":", linewidth=0.8, color=INK)
    axes.plot(range(len(heights)), heights, marker="o", markersize=3, linewidth=1.2, color=AFTER)
    axes.set(ylim=(0, 100), xticks=range(len(heights)), yticks=(0, 50, 100))
    dress(axes)
    axes.set_title(f"{name.replace('_', ' ')}\n{entry['group']}", color=INK, fontsize=SMALL)


def _draw_regions(axes: "Axes", regions: dict[str, Any]) -> None:
    names = [name for name in regions if not name.startswith(CONTROL)]
    names = [name for part in names for name in (part, CONTROL + part) if name in regions]
    drops = 100 * np.array([regions[name]["drop"] for name in names])
    ends = 100 * np.array([regions[name]["interval"] for name in names]).T
    # A control has another colour, and is hatched for those who do not tell colours apart.
    is_control = [name.startswith(CONTROL) for name in names]
    bars = axes.barh(range(len(names)), drops, color=[BEFORE if control else AFTER for control in is_control])
    for bar, control in zip(bars, is_control, strict=True):
        bar.set_hatch("///" if control else "")
        bar.set_edgecolor("#ffffff")
    spread = np.maximum([drops - ends[0], ends[1] - drops], 0)
    axes.errorbar(drops, range(len(names)), xerr=spread, fmt="none", ecolor=INK, elinewidth=0.8, capsize=2)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    dress(axes)
    name_axes(axes, "", "points of accuracy lost when the region is occluded, with its 95 % interval", "")
