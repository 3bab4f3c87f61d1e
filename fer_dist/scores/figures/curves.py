"""Figures of lines: training curves, reliability, selective accuracy, growing corruption."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_dist.scores.figures.canvas import (
    AFTER,
    BEFORE,
    INK,
    SERIES,
    SMALL,
    WIDTH,
    add_legend,
    dress,
    name_axes,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Points = Sequence[tuple[int, float]]

MOST_POINTS = 150
"""Of a curve: more cannot be seen at this width."""
MARKED_POINTS = 25
"""A curve of as many points or fewer shows each."""
FEWEST_IN_BIN = 10
"""Images of a bin whose accuracy means something: of ten, five of which are right, it is known to 25 points."""
SIDE_CURVES = {
    "train/learning_rate": (1.0, "learning\nrate"),
    "train/images_per_second": (1.0, "images\nper second"),
    "train/data_wait": (100.0, "waiting\nfor data, %"),
}
"""Name of a curve -> what its values are multiplied by, and what stands beside it."""


def curves_figure(curves: Mapping[str, Points], title: str) -> "Figure":
    """Loss and accuracy as training goes on, learning rate, speed and waiting beneath: what of these there is.

    curves: "train/loss", "validation/accuracy" ... -> (step, value).
    """
    parts = [part for part in ("loss", "accuracy") if any(_curve(curves, of, part) for of in ("train", "validation"))]
    beneath = [name for name in SIDE_CURVES if curves.get(name)]
    heights = [1.45] * len(parts) + [0.85] * len(beneath)
    figure = new_figure(WIDTH, 0.9 + sum(heights))
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for part, axes in zip(parts, panels, strict=False):
        scale = 100 if part == "accuracy" else 1
        series = (("train", "training", AFTER, "o", "-"), ("validation", "validation", BEFORE, "s", "--"))
        for of, label, colour, marker, dash in series:
            points = _curve(curves, of, part)
            if points:
                steps, values = np.array(points, dtype=float).T
                shown = marker if len(points) <= MARKED_POINTS else ""
                style: dict[str, Any] = {"color": colour, "linestyle": dash, "marker": shown, "markersize": 3.5}
                axes.plot(steps, scale * values, label=label, linewidth=1.4, **style)
        dress(axes, "y")
        name_axes(axes, "", "", "accuracy, %" if part == "accuracy" else part)
    for name, axes in zip(beneath, panels[len(parts) :], strict=True):
        steps, values = np.array(_curve(curves, *name.split("/")), dtype=float).T
        unit, spoken = SIDE_CURVES[name]
        axes.plot(steps, unit * values, color=INK, linewidth=1.1)
        dress(axes, "y")
        axes.set_ylim(bottom=0)
        name_axes(axes, "", "", spoken)
        axes.yaxis.label.set_fontsize(SMALL)
    panels[0].set_title(title, color=INK, fontsize=10.5, parse_math=False)
    panels[-1].set_xlabel("optimiser steps", color=INK, fontsize=9)
    if parts:
        add_legend(figure, panels[len(parts) - 1])
    return figure


def reliability_figure(tables: dict[str, dict[str, Any]], title: str) -> "Figure":
    """Accuracy against the stated probability, bin by bin. tables: name of a model -> its reliability, as in detail.

    Beneath, how many of the images each bin has. A bin of fewer than FEWEST_IN_BIN is a hollow mark that no line
    leads to: what it holds is chance.
    """
    figure = new_figure(WIDTH, 4.4 + 0.2 * ((len(tables) + 2) // 2))
    axes, beneath = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
    axes.plot([0, 100], [0, 100], linestyle=(0, (1, 2)), linewidth=1, color=INK, label="as stated")
    for (name, table), (colour, marker, dash) in zip(tables.items(), cycle(SERIES), strict=False):
        samples = np.array(table["samples"], dtype=float)
        confidence, accuracy = (100 * np.array(table[of], dtype=float) for of in ("confidence", "accuracy"))
        full, few = samples >= FEWEST_IN_BIN, (samples > 0) & (samples < FEWEST_IN_BIN)
        mark: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4.5}
        axes.plot(confidence[full], accuracy[full], linestyle=dash, linewidth=1.2, label=name, **mark)
        axes.plot(confidence[few], accuracy[few], linestyle="", mfc="none", mew=0.8, **mark)
        edges = 100 * np.linspace(0, 1, len(samples) + 1)
        beneath.stairs(100 * samples / max(samples.sum(), 1), edges, color=colour, linestyle=dash, linewidth=1.2)
    axes.set(xlim=(0, 101), ylim=(0, 102))
    beneath.set_ylim(bottom=0)
    for panel in (axes, beneath):
        dress(panel, "both")
    name_axes(axes, title, "", "accuracy, %")
    name_axes(beneath, "", "stated probability of the prediction, %", "images, %")
    add_legend(figure, axes)
    return figure


def roc_figure(curves: Mapping[str, Sequence[float]], false_rates: Sequence[float], title: str) -> "Figure":
    """Recall of each emotion against the part of the others' images that is taken for it.

    curves: emotion -> recall at each of false_rates, all as parts of 1; at most as many as there are SERIES.
    """
    figure = new_figure(WIDTH, 3.6 + 0.2 * ((len(curves) + 2) // 2))
    axes = figure.subplots()
    across = 100 * np.array(false_rates)
    axes.plot([0, 100], [0, 100], linestyle=(0, (1, 2)), linewidth=1, color=INK, label="guessing")
    for (name, recalls), (colour, _, dash) in zip(curves.items(), SERIES, strict=False):
        axes.plot(across, 100 * np.array(recalls), color=colour, linestyle=dash, linewidth=1.4, label=name)
    axes.set(xlim=(0, 100), ylim=(0, 102))
    dress(axes, "both")
    name_axes(axes, title, "false positive rate, %", "recall, %")
    add_legend(figure, axes)
    return figure


def selective_figure(curves: dict[str, list[dict[str, Any]]], title: str) -> "Figure":
    """Accuracy of predictions that are confident enough. curves: name of a model -> selective_curve, as in detail."""
    figure = new_figure(WIDTH, 3.6 + 0.2 * ((len(curves) + 1) // 2))
    axes = figure.subplots()
    for (name, curve), (colour, marker, dash) in zip(curves.items(), cycle(SERIES), strict=False):
        points = [(100 * at["coverage"], 100 * at["accuracy"]) for at in curve if at["accuracy"] is not None]
        style: dict[str, Any] = {"color": colour, "linestyle": dash, "marker": marker, "markersize": 3.5}
        axes.plot(*zip(*points, strict=True), linewidth=1.2, label=name, **style)
    axes.set_xlim(103, -3)
    axes.set_ylim(top=101)
    dress(axes, "both")
    name_axes(axes, title, "predictions kept, the most confident first, %", "accuracy of those, %")
    add_legend(figure, axes)
    return figure


def corruption_figure(robustness: dict[str, Any], title: str) -> "Figure":
    """Error by severity, a line for each group of corruptions: the mean over those of the group."""
    groups: dict[str, list[list[float]]] = {}
    for entry in robustness["corruptions"].values():
        groups.setdefault(entry["group"], []).append(entry["accuracy"])
    figure = new_figure(WIDTH, 3.4)
    axes = figure.subplots()
    for (group, accuracies), (colour, marker, dash) in zip(groups.items(), cycle(SERIES), strict=False):
        errors = 100 * (1 - np.array([robustness["clean"], *np.mean(accuracies, axis=0)]))
        style: dict[str, Any] = {"color": colour, "linestyle": dash, "marker": marker, "markersize": 4}
        axes.plot(np.arange(len(errors)), errors, linewidth=1.3, label=group, **style)
    if robustness.get("chance") is not None:
        style = {"color": INK, "linestyle": (0, (1, 2)), "linewidth": 1}
        axes.axhline(100 * (1 - robustness["chance"]), label="always the most frequent emotion", **style)
    axes.set_ylim(bottom=0)
    axes.set_xticks(range(6), ["clean", *"12345"])
    dress(axes, "y")
    name_axes(axes, title, "severity", "error, %")
    add_legend(figure, axes, columns=3)
    return figure


def _curve(curves: Mapping[str, Points], of: str, part: str) -> Points:
    """At most MOST_POINTS points, the first and the last among them."""
    points = curves.get(f"{of}/{part}", [])
    if len(points) <= MOST_POINTS:
        return points
    return [points[index] for index in np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int)]
