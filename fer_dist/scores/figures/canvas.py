"""Figures as matplotlib objects without its global state, and their forms: files, pixels, SVG for a page.

What all figures share is here; the files beside it have one kind each.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from fer_dist.storage.writing import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]

INK = "#1b1b1f"
"""Colour of all that is neither a cell nor a mark. No other part uses it: a page swaps it for its own text colour."""
GRID = "#d8d8dd"
"""Colour of lines that only guide the eye; a page swaps it too."""
GAP = "#d9d9de"
"""Colour of a cell that has no value; a page swaps it too."""
PAGE = "#fffffd"
"""Inside of a hollow mark: the colour of the paper in all but name, so that a page can swap it."""
ON_PALE, ON_DEEP = "#000001", "#fffffe"
"""Text on a cell: black and white in all but name, so that a page can swap them where its cells run the other way."""
DARK_GAP = "#3a3a42"
DARK_SCALE = (0.0, "#1d2530"), (0.72, "#3e78ad"), (1.0, "#d3e8fb")
"""Cells on a dark page: part of the row -> colour. White text can be read up to where a light page turns to it."""
CELL_STEPS = 50
CHANGE_STEPS = 40
"""Even, so that the one in the middle is no change."""
SERIES = (
    ("#2f6fb3", "o", "-"),
    ("#b8580a", "s", "--"),
    ("#2e8b57", "^", "-."),
    ("#9a5fc0", "D", ":"),
    ("#c9475b", "v", (0, (5, 1, 1, 1, 1, 1))),
    ("#1f8a8c", "P", (0, (8, 2))),
    ("#857445", "X", (0, (2, 1))),
)
"""Colour, marker and dash of the series of a figure. Colours have 3:1 or more on a white and on a dark page."""
AFTER, BEFORE = SERIES[0][0], SERIES[1][0]
"""With and without transfer; training and validation."""
SMALL, NORMAL, LARGE = 7.5, 9.0, 10.5
WIDTH = 4.4
"""Of a figure, in inches: at its full size where a page has two columns, and still legible on a phone."""
DOTS_PER_INCH = 150
CSS_PIXELS_PER_POINT = 96 / 72
COORDINATES = frozenset(
    {"d", "points", "viewBox", "x", "y", "width", "height", "x1", "x2", "y1", "y2", "cx", "cy", "r"}
)
"""Attributes of an SVG that hold nothing but lengths and places."""
TEXTS = "text", "tspan"
"""Elements of an SVG whose text is read; a tspan is a part of a text."""


@lru_cache(maxsize=1)
def cell_colours() -> tuple[str, ...]:
    """Colours of a matrix's cells on a light page, from none of its row to all of it."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return tuple(to_hex(colormaps["Blues"](step / CELL_STEPS)) for step in range(CELL_STEPS + 1))


@lru_cache(maxsize=1)
def dark_cell_colours() -> tuple[str, ...]:
    """The same on a dark page."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    scale = LinearSegmentedColormap.from_list("dark", list(DARK_SCALE))
    return tuple(to_hex(scale(step / CELL_STEPS)) for step in range(CELL_STEPS + 1))


@lru_cache(maxsize=1)
def change_colours() -> tuple[str, ...]:
    """Colours of cells that hold a change on a light page: from the largest fall over none to the largest rise.

    None of them is a colour of cell_colours: a page knows them apart by that.
    """
    return _changes(("#7f2704", "#f16913", "#fdd0a2", "#fffffb", "#c6dbee", "#4292c5", "#08306a"))


@lru_cache(maxsize=1)
def dark_change_colours() -> tuple[str, ...]:
    """The same on a dark page. White text can be read up to where a light page turns to it."""
    places = (0, 0.12, 0.3, 0.5, 0.7, 0.86, 1)
    colours = ("#fbdcc0", "#ad6324", "#6b3d12", "#17171b", "#24496b", "#3e78ad", "#d3e8fb")
    return _changes(list(zip(places, colours, strict=True)))


def _changes(stops: Any) -> tuple[str, ...]:
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    scale = LinearSegmentedColormap.from_list("changes", stops, N=1024)
    return tuple(to_hex(scale(step / CHANGE_STEPS)) for step in range(CHANGE_STEPS + 1))


def text_on_cell(background: str) -> str:
    """ON_PALE or ON_DEEP, whichever has the higher contrast."""
    return max((ON_PALE, ON_DEEP), key=lambda ink: contrast(ink, background))


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours "#rrggbb", from 1 to 21. Source: WCAG 2.1, relative luminance."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Write a figure as <path>.png and <path>.svg; the same figure gives the same bytes. path: without suffix."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fix_layout(figure)
    for kind, content in (("png", _png(figure)), ("svg", _svg(figure, text_as_outlines=True))):
        write_atomically(path.with_name(f"{path.name}.{kind}"), content)


def figure_pixels(figure: "Figure") -> npt.NDArray[np.uint8]:
    """uint8 [H, W, 3]: the figure as TensorBoard takes it, in the figure's own resolution."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)  # untyped in matplotlib
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def inline_svg(figure: "Figure", prefix: str, alt: str) -> str:
    """One <svg> element for an HTML page: real text, the page's own text colour, no background.

    prefix: makes its ids unique in the page. alt: what a reader who does not see it is told.
    The page gives the colours --page, --grid, --gap, --on-pale, --on-deep, --cell-0 to --cell-50 and --change-0 to
    --change-40.
    """
    with _without_backgrounds(figure):
        drawing = _parsed(_svg(figure, text_as_outlines=False))
    for element in drawing.iter():
        if element.tag not in TEXTS:  # between other elements there are only line ends
            element.text = None
        if element.tag not in TEXTS[1:]:  # what follows a part of a text is text
            element.tail = None
        element.attrib = {name: _for_page(name, value, prefix) for name, value in element.attrib.items()}
    width, height = (f"{size * 72 * CSS_PIXELS_PER_POINT:.0f}" for size in figure.get_size_inches())
    drawing.attrib |= {"width": width, "height": height, "role": "img", "aria-label": alt}
    return ElementTree.tostring(drawing, encoding="unicode")


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure. width and height in inches."""
    from matplotlib.figure import Figure

    return Figure((width, height), dpi=DOTS_PER_INCH, layout="constrained")


def fix_layout(figure: "Figure") -> "Figure":
    """Place the parts once and for all: each drawing would do it again, and a little differently in each form."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    return figure


def dress(axes: "Axes", grid: str = "") -> None:
    """The look of all axes. grid: "x", "y" or "both" for lines that guide the eye."""
    axes.tick_params(length=3, labelsize=SMALL, colors=INK, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    if grid:
        axes.grid(True, axis=grid, color=GRID, linewidth=0.6)  # type: ignore[arg-type]
        axes.set_axisbelow(True)


def name_axes(axes: "Axes", title: str, below: str, beside: str) -> None:
    # Names come from users: a dollar sign is no formula.
    axes.set_title(title, color=INK, fontsize=LARGE, parse_math=False)
    axes.set_xlabel(below, color=INK, fontsize=NORMAL, parse_math=False)
    axes.set_ylabel(beside, color=INK, fontsize=NORMAL, parse_math=False)


def add_legend(figure: "Figure", axes: "Axes", columns: int = 2) -> None:
    """Beneath the axes, each series once."""
    handles, labels = axes.get_legend_handles_labels()
    legend = figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=SMALL, labelcolor=INK
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


# The canvases' own writers draw a figure once; Figure.savefig draws it twice.


def _png(figure: "Figure") -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream)
    return stream.getvalue()


def _svg(figure: "Figure", text_as_outlines: bool) -> bytes:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    stream, dots = io.BytesIO(), figure.dpi
    # The salt makes ids, and with them the file, the same in every run.
    with rc_context({"svg.fonttype": "path" if text_as_outlines else "none", "svg.hashsalt": "fer_dist"}):
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None})
    figure.dpi = dots  # which the writer sets to its own
    # XML has no way to write these, and a name may hold them.
    return re.sub(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]", "\N{REPLACEMENT CHARACTER}".encode(), stream.getvalue())


def _parsed(svg: bytes) -> ElementTree.Element:
    """The drawing without what a page does not need: namespaces, metadata, its own style sheet."""
    drawing = ElementTree.fromstring(svg)
    for parent in list(drawing.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in drawing.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(name): value for name, value in element.attrib.items()}
    return drawing


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _for_page(name: str, value: str, prefix: str) -> str:
    """The value of an attribute as a page has it. What is text of the figure never comes here."""
    if name == "id":
        return f"{prefix}-{value}"
    if name == "href":
        return value.replace("#", f"#{prefix}-", 1)
    if name in COORDINATES:
        return _rounded(" ".join(value.split()))
    if name == "transform":
        return re.sub(r"(?:translate|rotate)\(.*?\)", lambda found: _rounded(found.group()), value)
    if name == "style":
        value = value.replace("'DejaVu Sans', 'Bitstream Vera Sans', 'Computer Modern Sans Serif', ", "")
        value = re.sub(r"'Lucida Grande'.*?, sans-serif", "system-ui, sans-serif", value)
        value = re.sub(r"#[0-9a-f]{6}\b", lambda found: _page_colours().get(found.group(), found.group()), value)
    return value.replace("url(#", f"url(#{prefix}-")


def _rounded(coordinates: str) -> str:
    # A tenth of a point is finer than a screen's pixel; figures are most of a page's weight.
    return re.sub(r"-?\d+\.\d{2,}", lambda found: f"{float(found.group()):.1f}", coordinates)


@contextmanager
def _without_backgrounds(figure: "Figure") -> Iterator[None]:
    backgrounds = [figure.patch, *(axes.patch for axes in figure.axes)]
    for background in backgrounds:
        background.set_visible(False)
    yield
    for background in backgrounds:
        background.set_visible(True)


@lru_cache(maxsize=1)
def _page_colours() -> dict[str, str]:
    """Colour of a figure -> what stands for it in a page."""
    names = {INK: "currentColor", GRID: "var(--grid)", GAP: "var(--gap)", PAGE: "var(--page)"}
    names |= {ON_PALE: "var(--on-pale)", ON_DEEP: "var(--on-deep)"}
    names |= {colour: f"var(--change-{step})" for step, colour in enumerate(change_colours())}
    return names | {colour: f"var(--cell-{step})" for step, colour in enumerate(cell_colours())}


def _luminance(colour: str) -> float:
    channels = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
