"""Figures of scores, as matplotlib objects without its global state, and their forms: files, pixels, SVG for a page."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fer_dist.data.manifest import write_atomically
from fer_dist.metrics import Predictions, normalised_by_row, reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]

INK = "#1b1b1f"
"""Colour of all that is neither a cell nor a mark. No other part uses it: a page swaps it for its own text colour."""
GAP = "#d9d9de"
"""Colour of a cell that has no value."""
BEFORE, AFTER = "#b8580a", "#2f6fb3"
"""Without and with transfer: both at 3:1 or more against white and against a dark page; shapes tell them apart too."""
SMALL, NORMAL, LARGE = 7.5, 9.0, 11.0
DOTS_PER_INCH = 150
CSS_PIXELS_PER_POINT = 96 / 72


def confusion_figure(matrix: Array, emotions: Sequence[str], title: str, masked: Sequence[str] = ()) -> "Figure":
    """A confusion matrix: percent of the row, the count beneath; darker is more.

    matrix:   int [K, K], true labels in rows.
    emotions: K names, in the order of the matrix.
    masked:   emotions that the set lacks; their rows and columns are grey, as is the row of one without pictures.
    """
    from matplotlib import colormaps

    matrix = np.asarray(matrix)
    classes = len(emotions)
    parts = normalised_by_row(matrix)
    parts[:, [name in masked for name in emotions]] = np.nan
    figure = new_figure(1.45 + 0.43 * classes, 1.45 + 0.43 * classes)
    axes = figure.subplots()
    colours = colormaps["Blues"].with_extremes(bad=GAP)
    # Cells as shapes, not as an image: they stay sharp at any size.
    axes.pcolormesh(np.ma.masked_invalid(parts), cmap=colours, vmin=0, vmax=1, edgecolors="face", linewidth=0.3)
    for row, column in np.ndindex(classes, classes):
        part = parts[row, column]
        style: dict[str, Any] = {"ha": "center", "va": "center"}
        if np.isnan(part):
            axes.text(column + 0.5, row + 0.5, "–", color="#000000", fontsize=NORMAL, **style)
            continue
        style["color"] = _text_colour(colours(part))
        axes.text(column + 0.5, row + 0.38, f"{100 * part:.0f}", fontsize=NORMAL, **style)
        axes.text(column + 0.5, row + 0.74, f"{matrix[row, column]:,}", fontsize=SMALL - 1, **style)
    totals = ["masked" if name in masked else f"{n:,}" for name, n in zip(emotions, matrix.sum(axis=1), strict=True)]
    places = np.arange(classes) + 0.5
    axes.set_xticks(places, emotions, rotation=40, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(places, [f"{emotions[row]} ({totals[row]})" for row in range(classes)], parse_math=False)
    axes.tick_params(length=0, labelsize=NORMAL, colors=INK)
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    name_axes(axes, title, "predicted; % of the row, count beneath", "true (pictures)")
    return figure


def reliability_figure(predictions: Predictions, title: str = "") -> "Figure":
    """Accuracy against the stated probability, bin by bin, and beneath it how many pictures each bin holds."""
    table = reliability(predictions)
    figure = new_figure(4.2, 4.2)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.plot([0, 1], [0, 1], linestyle="--", linewidth=1, color=INK, label="perfect")
    filled = table.samples > 0
    axes.plot(table.confidence[filled], table.accuracy[filled], marker="o", color=AFTER, label="measured")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(frameon=False, fontsize=SMALL, labelcolor=INK)
    below.bar(table.edges[:-1], table.samples, width=np.diff(table.edges), align="edge", color=AFTER, edgecolor=GAP)
    for part in (axes, below):
        dress(part)
    name_axes(axes, title, "", "accuracy")
    name_axes(below, "", "top probability", "pictures")
    return figure


def transfer_figure(
    labels: Sequence[str], without: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]], title: str = ""
) -> "Figure":
    """Accuracy without and with transfer, with its 95 % interval: one line for each comparison.

    labels: one for each comparison; without and after: the scores of its two models, in the same order.
    """
    figure = new_figure(4.6, 1.5 + 0.6 * len(labels))
    axes = figure.subplots()
    series = [("without", without, BEFORE, "o", "none", -0.14), ("with transfer", after, AFTER, "s", AFTER, 0.14)]
    for name, scores, colour, marker, face, shift in series:
        values = np.array([100 * entry["accuracy"] for entry in scores])
        ends = 100 * np.array([entry["accuracy_interval"] for entry in scores]).T
        places = np.arange(len(labels)) + shift
        # An interval by resampling need not hold its value; a bar of negative length is an error.
        spread = np.maximum([values - ends[0], ends[1] - values], 0)
        axes.errorbar(values, places, xerr=spread, fmt=marker, color=colour, mfc=face, capsize=3, label=name)
        for value, place, end in zip(values, places, ends[1], strict=True):
            at = (max(value, end), place)
            style: dict[str, Any] = {"va": "center", "fontsize": SMALL, "color": INK}
            axes.annotate(f"{value:.1f} %", at, (6, 0), textcoords="offset points", **style)
    axes.set_yticks(range(len(labels)), labels, parse_math=False)
    axes.set(xlim=(0, 115), ylim=(len(labels) - 0.5, -0.5), xticks=range(0, 101, 20))
    dress(axes)
    axes.spines["bottom"].set_bounds(0, 100)
    name_axes(axes, title, "accuracy, %", "")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=SMALL, labelcolor=INK)
    return figure


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Write a figure as <path>.png and <path>.svg; the same figure gives the same bytes. path: without suffix."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for kind in ("png", "svg"):
        stream = io.BytesIO()
        undated = {"Date": None} if kind == "svg" else {}
        with _settings(text_as_outlines=True):
            figure.savefig(stream, format=kind, dpi=DOTS_PER_INCH, metadata=undated)
        write_atomically(path.with_name(f"{path.name}.{kind}"), stream.getvalue())


def figure_pixels(figure: "Figure") -> npt.NDArray[np.uint8]:
    """uint8 [H, W, 3]: the figure as TensorBoard takes it, in the figure's own resolution."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)  # untyped in matplotlib
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def inline_svg(figure: "Figure", prefix: str, alt: str) -> str:
    """One <svg> element for an HTML page: real text, the page's own text colour, no background.

    prefix: makes its ids unique in the page. alt: what a reader who does not see it is told.
    """
    stream = io.StringIO()
    with _settings(text_as_outlines=False):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    source = stream.getvalue()
    svg = source[source.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace(INK, "currentColor")
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'url\(#|xlink:href="#', lambda found: f"{found.group()}{prefix}-", svg)
    width, height = figure.get_size_inches() * 72 * CSS_PIXELS_PER_POINT
    size = f'width="{width:.0f}" height="{height:.0f}"'
    opening = re.sub(r'width="[^"]*pt"|height="[^"]*pt"', "", svg[: svg.index(">")])
    return f'{opening} {size} role="img" aria-label="{escape(alt, quote=True)}"' + svg[svg.index(">") :].strip()


@contextmanager
def _settings(text_as_outlines: bool) -> Iterator[None]:
    from matplotlib import rc_context

    # The salt makes ids, and with them the file, the same in every run.
    with rc_context({"svg.fonttype": "path" if text_as_outlines else "none", "svg.hashsalt": "fer_dist"}):
        yield


def new_figure(width: float, height: float) -> "Figure":
    """width and height in inches."""
    from matplotlib.figure import Figure

    return Figure((width, height), dpi=DOTS_PER_INCH, layout="constrained")


def dress(axes: "Axes") -> None:
    axes.tick_params(length=3, labelsize=SMALL, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)


def name_axes(axes: "Axes", title: str, below: str, beside: str) -> None:
    # Names come from users: a dollar sign is no formula.
    axes.set_title(title, color=INK, fontsize=LARGE, parse_math=False)
    axes.set_xlabel(below, color=INK, fontsize=NORMAL)
    axes.set_ylabel(beside, color=INK, fontsize=NORMAL)


def _text_colour(background: Sequence[float] | Array) -> str:
    """Black or white, whichever has the higher contrast. Source: WCAG 2.1, relative luminance."""
    channels = np.asarray(background)[:3]
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return "#000000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "#ffffff"
