"""Figures: the same bytes each time, legible on pale and dark pages, and right where their numbers say so."""

import re
import warnings
from dataclasses import asdict
from xml.etree import ElementTree

import numpy as np
import pytest
from support.made_study import drawn_predictions, made_curves, made_robustness
from support.page import contrast, written_by_matplotlib

from fer_dist.scores.calibration import reliability
from fer_dist.scores.figures import canvas
from fer_dist.scores.figures.confusion import MOST_CLASSES, OTHERS, condensed, confusion_change_figure, confusion_figure
from fer_dist.scores.figures.curves import (
    FEWEST_IN_BIN,
    MOST_POINTS,
    corruption_figure,
    curves_figure,
    reliability_figure,
)
from fer_dist.scores.figures.dots import Marks, Scale, dots_figure, seeds_figure, size_figure

PALE_PAGE, DARK_PAGE = "#ffffff", "#17171b"


def test_a_figure_is_saved_twice_with_the_same_bytes(tmp_path):
    figure = confusion_figure(np.array([[8, 2], [0, 0]]), ("fear", "joy"), "lab", masked=("joy",))
    contents = []
    for _ in range(2):
        canvas.save_figure(figure, tmp_path / "sub" / "lab-v1.5")
        contents.append([(tmp_path / "sub" / f"lab-v1.5.{kind}").read_bytes() for kind in ("png", "svg")])
    assert contents[0] == contents[1]
    assert contents[0][0].startswith(b"\x89PNG")


def test_a_figure_in_a_page_leaves_its_files_as_they_are(tmp_path):
    figure = confusion_figure(np.array([[8, 2], [3, 7]]), ("fear", "joy"), "lab")
    canvas.save_figure(figure, tmp_path / "before")
    canvas.inline_svg(figure, "p", "a matrix")
    canvas.save_figure(figure, tmp_path / "after")
    for kind in ("png", "svg"):
        assert (tmp_path / f"before.{kind}").read_bytes() == (tmp_path / f"after.{kind}").read_bytes()


def test_a_name_with_control_characters_and_tags_leaves_a_figure_that_parses_and_has_no_tag_of_its_own():
    name = "\x1b]0;x\x07--><script>"
    figure = confusion_figure(np.array([[8, 2], [3, 7]]), (name, "joy"), "lab")
    with warnings.catch_warnings(action="ignore"):  # such a character has no glyph
        inline = canvas.inline_svg(figure, "p", name)
        outlined = canvas._svg(figure, text_as_outlines=True)
    for content in (outlined, inline.replace("\x1b", "").replace("\x07", "")):
        assert all("script" not in element.tag for element in ElementTree.fromstring(content).iter())
    assert "&lt;script&gt;" in inline


def test_figure_pixels_are_what_tensorboard_takes():
    pixels = canvas.figure_pixels(confusion_figure(np.array([[8, 2], [3, 7]]), ("fear", "joy"), "lab"))
    assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3)
    assert pixels.min() < 60
    assert pixels[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("step", range(canvas.CELL_STEPS + 1))
def test_text_on_a_cell_has_a_contrast_of_at_least_four_and_a_half_in_both_schemes(step):
    pale, dark = canvas.cell_colours()[step], canvas.dark_cell_colours()[step]
    is_black = canvas.text_on_cell(pale) == canvas.ON_PALE
    # A dark page turns both: what is black on pale cells is white on dark ones.
    assert contrast("#000000" if is_black else "#ffffff", pale) >= 4.5
    assert contrast("#ffffff" if is_black else "#000000", dark) >= 4.5


@pytest.mark.parametrize("step", range(canvas.CHANGE_STEPS + 1))
def test_text_on_a_cell_of_a_change_can_be_read_in_both_schemes(step):
    pale, dark = canvas.change_colours()[step], canvas.dark_change_colours()[step]
    is_black = canvas.text_on_cell(pale) == canvas.ON_PALE
    assert contrast("#000000" if is_black else "#ffffff", pale) >= 4.5
    assert contrast("#ffffff" if is_black else "#000000", dark) >= 4.5


def test_no_colour_of_a_figure_stands_for_two_things_in_a_page():
    colours = [*canvas.cell_colours(), *canvas.change_colours(), canvas.INK, canvas.GRID, canvas.GAP, canvas.PAGE]
    colours += [canvas.ON_PALE, canvas.ON_DEEP, *(colour for colour, *_ in canvas.SERIES)]
    assert len(set(colours)) == len(colours)


def test_a_change_of_confusion_is_the_first_less_the_second_in_points_of_the_row():
    figure = confusion_change_figure(np.array([[8, 2], [0, 5]]), np.array([[5, 5], [1, 4]]), ("fear", "joy"), "t")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["+30", "\N{MINUS SIGN}30", "\N{MINUS SIGN}20", "+20"]
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["\N{MINUS SIGN}30", "0", "+30"]
    assert not re.search(r"#[0-9a-f]{6}\b", canvas.inline_svg(figure, "p", "a change"))


def test_of_a_hundred_classes_those_with_the_most_errors_keep_their_row_and_no_image_is_lost():
    random = np.random.default_rng(0)
    matrix = np.diag(random.integers(5, 50, 100))
    matrix[40, 70] = 30
    names = [f"class {number}" for number in range(100)]
    smaller, kept = condensed(matrix, names)
    assert smaller.shape == (MOST_CLASSES, MOST_CLASSES)
    assert smaller.sum() == matrix.sum()
    assert {"class 40", "class 70", OTHERS} <= set(kept)
    assert smaller[kept.index("class 40"), kept.index("class 70")] == 30
    assert len(confusion_figure(matrix, names, "t").axes[0].get_yticklabels()) == MOST_CLASSES
    assert len(confusion_change_figure(matrix, matrix, names, "t").axes[0].get_yticklabels()) == MOST_CLASSES


def test_a_bin_of_few_images_is_hollow_and_no_line_leads_to_it():
    table = asdict(reliability(drawn_predictions("affectnet", 2, 80, "m")))
    axes, beneath = reliability_figure({"m": table}, "t").axes
    _, full, few = axes.lines
    counts = table["samples"]
    accuracy = 100 * table["accuracy"]
    assert full.get_ydata().tolist() == accuracy[counts >= FEWEST_IN_BIN].tolist()
    assert few.get_ydata().tolist() == accuracy[(counts > 0) & (counts < FEWEST_IN_BIN)].tolist()
    assert (few.get_linestyle(), few.get_markerfacecolor()) == ("None", "none")
    assert len(few.get_ydata()) > 0
    assert beneath.patches[0].get_data().values.sum() == pytest.approx(100)


@pytest.mark.parametrize("page", [PALE_PAGE, DARK_PAGE])
def test_marks_have_a_contrast_of_at_least_three(page):
    assert all(contrast(colour, page) >= 3 for colour, *_ in canvas.SERIES)


def test_series_differ_in_their_shape_and_dash_as_well_as_in_colour():
    assert all(len(set(map(str, kind))) == len(canvas.SERIES) for kind in zip(*canvas.SERIES, strict=True))


def test_cells_grow_darker_on_a_pale_page_and_lighter_on_a_dark_one():
    pale = [contrast(colour, "#ffffff") for colour in canvas.cell_colours()]
    dark = [contrast(colour, "#000000") for colour in canvas.dark_cell_colours()]
    assert pale == sorted(pale)
    assert dark == sorted(dark)
    assert len(set(canvas.cell_colours())) == len(set(canvas.dark_cell_colours())) == canvas.CELL_STEPS + 1


def test_a_figure_in_a_page_has_no_colour_of_its_own_but_that_of_its_marks():
    matrix = confusion_figure(np.array([[8, 2], [0, 0]]), ("fear", "joy"), "lab")
    assert not re.search(r"#[0-9a-f]{6}\b", canvas.inline_svg(matrix, "p", "a matrix"))
    dots = dots_figure(["x", "y"], [Marks("one", [1, 2]), Marks("two", [2, None])], Scale("points"), "t")
    found = set(re.findall(r"#[0-9a-f]{6}\b", canvas.inline_svg(dots, "p", "dots")))
    assert found == {colour for colour, *_ in canvas.SERIES[:2]}


def test_dots_stand_where_their_values_are_and_a_missing_one_nowhere():
    series = [Marks("one", [10, None, 30], [(8, 15), None, (30, 30)]), Marks("two", [5, 6, 7])]
    axes = dots_figure(["a", "b", "c"], series, Scale("x")).axes[0]
    first, second = (container[0] for container in axes.containers)
    assert first.get_xdata().tolist() == [10, 30]
    assert second.get_xdata().tolist() == [5, 6, 7]
    assert np.rint(first.get_ydata()).tolist() == [0, 2]
    ends = axes.containers[0][2][0].get_segments()[0][:, 0]
    assert ends.tolist() == [8, 15]


def test_a_long_curve_keeps_its_ends_and_becomes_short_enough_for_a_page():
    curves = {"train/loss": [(step, 1 / step) for step in range(1, 10_001)]}
    line = curves_figure(curves, "long").axes[0].lines[0]
    assert len(line.get_xdata()) == MOST_POINTS
    assert line.get_xdata()[[0, -1]].tolist() == [1, 10_000]


def test_a_figure_of_curves_has_only_the_parts_that_were_written():
    both = curves_figure(made_curves(0, 0.8), "both")
    assert [axes.get_ylabel() for axes in both.axes] == ["loss", "accuracy, %"]
    only = curves_figure({"validation/accuracy": [(5, 0.5)], "train/learning_rate": [(1, 0.1)]}, "one")
    assert [axes.get_ylabel() for axes in only.axes] == ["accuracy, %", "learning\nrate"]
    speed = curves_figure({"train/images_per_second": [(1, 50.0), (2, 60.0)], "train/data_wait": [(1, 0.25)]}, "one")
    assert [axes.get_ylabel() for axes in speed.axes] == ["images\nper second", "waiting\nfor data, %"]
    assert speed.axes[1].lines[0].get_ydata().tolist() == [25]


def test_corruption_is_drawn_as_the_mean_error_of_a_group_from_clean_to_the_worst():
    found = made_robustness(0.8, 100)
    lines = {line.get_label(): line.get_ydata() for line in corruption_figure(found, "t").axes[0].lines}
    noise = [found["corruptions"][name]["accuracy"] for name in ("gaussian_noise", "shot_noise")]
    expected = [20.0, *(100 - 100 * (one + other) / 2 for one, other in zip(*noise, strict=True))]
    np.testing.assert_allclose(lines["noise"], expected)
    np.testing.assert_allclose(lines["always the most frequent emotion"], 60)


def test_names_of_emotions_keep_clear_of_dots_and_of_each_other():
    images = {"surprise": 990, "fear": 270, "disgust": 630, "anger": 640, "sadness": 1800, "neutrality": 1530}
    recall = dict(zip(images, (0.77, 0.5, 0.43, 0.44, 0.6, 0.59), strict=True))
    figure = size_figure(images, recall, "t")
    pixels = canvas.figure_pixels(figure)
    assert pixels.size
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not [1 for place, box in enumerate(boxes) for other in boxes[:place] if box.overlaps(other)]


def test_a_recall_of_nothing_and_its_name_stand_above_the_axis():
    figure = size_figure({"fear": 90, "disgust": 100, "anger": 640}, {"fear": 0.0, "disgust": 0.0, "anger": 1.0}, "t")
    canvas.figure_pixels(figure)
    axes = figure.axes[0]
    frame = axes.get_window_extent()
    assert [frame.y0 < text.get_window_extent().y0 for text in axes.texts] == [True] * 3
    dot = axes.lines[0].get_markersize() / 2 * figure.dpi / 72
    assert axes.transData.transform((90, 0))[1] - dot > frame.y0


def test_each_seed_is_a_ring_and_the_mean_a_line():
    axes = seeds_figure(["a"], [[70, 72, 77]]).axes[0]
    mean, rings = axes.lines
    assert set(mean.get_xdata()) == {73}
    assert list(rings.get_xdata()) == [70, 72, 77]


def test_a_name_with_a_dollar_sign_is_no_formula():
    figure = dots_figure(["$x$"], [Marks("$a$", [1]), Marks("$b$", [2])], Scale("$y$"), "$t$")
    svg = canvas.inline_svg(figure, "p", "dots")
    assert all(f">{name}<" in svg for name in ("$x$", "$a$", "$b$", "$y$", "$t$"))


def figures_of_every_kind(name):
    """As a page has them, with a name that holds a version and axes with labels of two decimals."""
    found, bins = made_robustness(0.8, 100), asdict(reliability(drawn_predictions("drawn-lab", 2.0, 90, "m")))
    loss = {"train/loss": [(step, 0.5 + 1.2 / step) for step in range(1, 90)]}
    figures = [
        confusion_figure(np.array([[83, 27], [41, 73]]), ("fear", "joy"), name),
        curves_figure(loss, name),
        corruption_figure(found, name),
        dots_figure([name, "y"], [Marks("one", [0.75, 1.25]), Marks("#1b1b1f", [1, None])], Scale("loss"), name),
        dots_figure(["x", "y"], [Marks(name, [0.513, 2.468])], Scale("ratio", log=True, reference=1), name),
        seeds_figure([name], [[70.125, 72.25, 77.875]]),
        size_figure({"fear": 990, "joy": 270}, {"fear": 0.77, "joy": 0.5}, name),
        reliability_figure({name: bins}, name),
    ]
    return [canvas.fix_layout(figure) for figure in figures]


def test_every_text_of_a_figure_in_a_page_is_matplotlib_s_to_the_digit():
    name = 'v1.25 of 0.750  id="x" url(#a) #1b1b1f'
    seen = set()
    for figure in figures_of_every_kind(name):
        page = ElementTree.fromstring(canvas.inline_svg(figure, "p", name))
        texts = ["".join(text.itertext()) for text in page.iter() if text.tag.endswith("text")]
        assert texts == written_by_matplotlib(figure)
        assert page.get("aria-label") == name
        seen |= set(texts)
    assert {"0.75", "1.00", "1.25", name} <= seen


def test_coordinates_of_a_figure_in_a_page_are_rounded_to_a_tenth_of_a_point_which_makes_it_lighter():
    for figure in figures_of_every_kind("v1.25"):
        page = canvas.inline_svg(figure, "p", "alt")
        with canvas._without_backgrounds(figure):
            own = canvas._svg(figure, text_as_outlines=False).decode()
        assert len(page) < 0.8 * len(own)
        rounded, exact = (
            [number for path in re.findall(r' d="(.*?)"', text, re.DOTALL) for number in re.findall(r"-?[\d.]+", path)]
            for text in (page, own)
        )
        assert not [number for number in rounded if re.search(r"\.\d\d", number)]
        np.testing.assert_allclose(np.array(rounded, float), np.array(exact, float), rtol=0, atol=0.0501)


def test_a_scale_in_a_figure_is_no_coordinate():
    assert canvas._for_page("transform", "translate(10.123 4.567) scale(0.05 -0.05)", "p") == (
        "translate(10.1 4.6) scale(0.05 -0.05)"
    )
