"""The report: one whole file whose sentences follow the numbers; and the figures in it."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from fer_dist import figures, report
from fer_dist.emotions import SEVEN
from fer_dist.errors import InputError
from fer_dist.metrics import Predictions, scores
from fer_dist.report import Comparison, Model, Result, Study

SHOWN = "more than the 95 % intervals."
CONFUSED = "Largest confusion: {}.0 % of fear is taken for surprise."
NOT_SHOWN = "less than the 95 % intervals: a {} is not shown."
VOID = {"meta", "br", "link", "img", "hr", "input"}


def table(matrix, emotions=SEVEN, masked=()):
    """Predictions that have this confusion matrix, all with a top probability of 0.8."""
    matrix = np.asarray(matrix)
    cells = np.repeat(np.arange(matrix.size), matrix.ravel())
    labels, predicted = np.divmod(cells, len(emotions))
    kept = np.array([name not in masked for name in emotions])
    probabilities = np.where(kept, 0.2 / (kept.sum() - 1), 0) * np.ones((len(cells), 1))
    probabilities[np.arange(len(cells)), predicted] = 0.8
    keys = [str(number) for number in range(len(cells))]
    return Predictions(keys, labels, probabilities.astype(np.float32), emotions, masked)


def scored(right, samples=1000):
    """Two emotions with equally many pictures, of which so many are right."""
    half, first = samples // 2, right // 2
    second = right - first
    return scores(table([[first, half - first], [half - second, second]], SEVEN[:2]))


def transferred(with_right, without_right, samples=1000):
    models = (Model("wild", "wild"), Model("lab", "lab"), Model("wild to lab", "lab", started_from="wild"))
    after, before = scored(with_right, samples), scored(without_right, samples)
    results = (Result("wild to lab", "lab", after), Result("lab", "lab", before))
    return Study("S", models, results, (Comparison("wild to lab", "lab", "lab"),))


def crossed(own, other):
    results = (Result("wild", "wild", scored(own)), Result("wild", "lab", scored(other)))
    return Study("S", (Model("wild", "wild"),), results)


def whole_study():
    masked = np.diag([30, 5, 8, 9, 20, 60, 0]) + np.eye(7, k=1, dtype=int) * [3, 1, 0, 2, 5, 0, 0]
    masked[:, 6] = 0
    study = transferred(880, 760)
    models = (
        Model("wild", "wild", None, 5025.0, 11_267_143, {"epochs": "20"}),
        *study.models[1:2],
        replace(study.models[2], name='wild <to> "lab" & $x$'),
    )
    results = (
        Result(models[2].name, "lab", study.results[0].scores),
        study.results[1],
        Result("wild", "film", scores(table(masked, masked=("neutrality",)))),
    )
    return Study(
        "Wild & lab",
        models,
        results,
        (Comparison(models[2].name, "lab", "lab"),),
        class_counts={"wild-train": {"fear": 1234, "anger": 5}, "film-test": {"anger": 7}},
        commands=("fer-dist train paper --run.name wild",),
        commit="0123abc",
        versions={"torch": "2.9"},
        hardware="one H200",
    )


class Page(HTMLParser):
    """Tags, text and attributes; fails where tags are not closed in the order in which they were opened."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text, self.attributes = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def values(self, tag, attribute):
        return [value for of, name, value in self.attributes if (of, name) == (tag, attribute)]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "run" / "report.html"
    report.write_report(path, whole_study())
    return path.read_text(encoding="utf-8")


def test_the_page_is_whole_and_holds_every_figure_with_a_text(page):
    parsed = Page(page)
    texts = parsed.values("svg", "aria-label")
    assert parsed.tags.count("svg") == len(texts) == 4
    assert texts[0].startswith("Accuracy with its 95 % interval, without and with transfer.")
    assert 'Confusion matrix of wild <to> "lab" & $x$ on lab-test' in texts[1]
    assert "Recognised: surprise 96.8 %, fear 100.0 %" in texts[3]
    assert "neutrality" not in texts[3]
    ids = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"#([\w-]+)\)", page)) | {link[1:] for link in parsed.values("use", "xlink:href")}
    assert set() < used <= set(ids)


def test_every_table_has_a_caption_and_every_header_cell_a_scope(page):
    parsed = Page(page)
    assert parsed.tags.count("table") == parsed.tags.count("caption") == 4
    assert parsed.tags.count("th") == len(parsed.values("th", "scope"))


def test_the_page_asks_no_other_host_for_anything(page):
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert not re.search(r"https?:|//[a-z]|@import|<script|<link|<iframe|<img", without_names)
    links = [value for _, name, value in Page(page).attributes if name in ("src", "href", "xlink:href")]
    assert all(link.startswith("#") for link in links)


def test_the_page_holds_its_numbers_and_names(page):
    text = " ".join("".join(Page(page).text).replace("\N{NO-BREAK SPACE}", " ").split())
    for expected in (
        "Wild & lab",
        "Starting from wild instead of scratch brings 12.0 points on lab (from 76.0 % to 88.0 %, relative 15.8 %)",
        f"wild reaches 94.3 % ({report.span(whole_study().results[2].scores['accuracy_interval'])}) on film.",
        "The set lacks neutrality: masked, and never predicted.",
        "11,267,143",
        "1.4 h",
        "1,239",
        "fer-dist train paper --run.name wild",
        "0123abc",
        "torch 2.9",
        "one H200",
    ):
        assert expected in text, expected


def test_the_same_study_gives_the_same_page(page):
    assert report.render(whole_study()) == page


def test_a_page_without_transfer_and_counts_leaves_those_parts_out():
    text = report.render(crossed(850, 510))
    Page(text)
    assert "What transfer brings" not in text
    assert "Data sets" not in text


@pytest.mark.parametrize(
    ("after", "before", "samples", "expected"),
    [
        (880, 760, 1000, f"brings 12.0 points on lab (from 76.0 % to 88.0 %, relative 15.8 %), {SHOWN}"),
        (760, 880, 1000, f"costs 12.0 points on lab (from 88.0 % to 76.0 %, relative 13.6 %), {SHOWN}"),
        (
            770,
            760,
            1000,
            f"brings 1.0 points on lab (from 76.0 % to 77.0 %, relative 1.3 %), {NOT_SHOWN.format('gain')}",
        ),
        (
            760,
            770,
            1000,
            f"costs 1.0 points on lab (from 77.0 % to 76.0 %, relative 1.3 %), {NOT_SHOWN.format('loss')}",
        ),
        (760, 760, 1000, "makes no difference on lab: 76.0 % with both."),
        (2, 0, 2, f"brings 100.0 points on lab (from 0.0 % to 100.0 %), {NOT_SHOWN.format('gain')}"),
    ],
)
def test_the_transfer_sentence_follows_the_numbers(after, before, samples, expected):
    study = transferred(after, before, samples)
    found = report.transfer_sentence(study, study.comparisons[0])
    assert found == f"Starting from wild instead of scratch {expected}"


def test_models_of_different_sets_are_not_said_to_differ_by_their_start():
    study = replace(transferred(880, 760), models=(Model("wild to lab", "lab", "wild"), Model("lab", "elsewhere")))
    assert report.transfer_sentence(study, study.comparisons[0]).startswith("Using wild to lab instead of lab brings")


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (510, "on lab it falls to 51.0 % ({}), 34.0 points less."),
        (950, "on lab it rises to 95.0 % ({}), 10.0 points more."),
        (840, "on lab it falls to 84.0 % ({}), 1.0 points less, within the 95 % intervals."),
        (850, "on lab it stays at 85.0 % ({})."),
    ],
)
def test_the_crossing_sentence_follows_the_numbers(other, expected):
    study = crossed(850, other)
    sentence = report.model_sentences(study, study.models[0])[0]
    start, _, clause = sentence.partition("; ")
    assert (
        start
        == f"wild reaches 85.0 % ({report.span(study.results[0].scores['accuracy_interval'])}) on its own test set"
    )
    assert clause == expected.format(report.span(study.results[1].scores["accuracy_interval"]))


def test_a_validation_set_is_not_called_a_test_set():
    study = Study("S", (Model("wild", "wild"),), (Result("wild", "wild", scored(850), "val"),))
    assert "on its own validation set." in report.model_sentences(study, study.models[0])[0]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[790, 10], [100, 100]], "14.6 points below its accuracy: frequent emotions do better than rare ones."),
        ([[500, 300], [0, 200]], " points above its accuracy: rare emotions do better than frequent ones."),
        ([[700, 100], [25, 175]], "a difference between frequent and rare emotions is not shown."),
    ],
)
def test_the_class_sentence_follows_the_numbers(matrix, expected):
    result = Result("wild", "wild", scores(table(matrix, SEVEN[:2])))
    assert re.search(expected, report.class_balance_sentence(result))


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (
            [[8, 2], [3, 7]],
            f"Recognised best: surprise, 80.0 % of 10; worst: fear, 70.0 % of 10. {CONFUSED.format(30)}",
        ),
        ([[5, 0], [0, 5]], "Every emotion is recognised equally often: 100.0 %. No picture is confused."),
        ([[0, 0], [3, 1]], f"Every emotion is recognised equally often: 25.0 %. {CONFUSED.format(75)}"),
    ],
)
def test_the_confusion_sentences_follow_the_numbers(matrix, expected):
    assert report.confusion_sentences(Result("wild", "wild", scores(table(matrix, SEVEN[:2])))) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"results": (Result("other", "lab", scored(5, 10)),)}, "'other', which is not among its models: wild, lab"),
        ({"comparisons": (Comparison("wild", "lab", "lab"),)}, "'wild' is compared on lab-test, but has no result"),
        ({"models": (Model("lab", "lab"), Model("lab", "lab"))}, "comes twice"),
    ],
)
def test_a_study_that_does_not_fit_together_is_an_input_error(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        report.write_report(tmp_path / "report.html", replace(transferred(880, 760), **change))
    assert not (tmp_path / "report.html").exists()


def test_a_figure_is_saved_twice_with_the_same_bytes(tmp_path):
    figure = figures.confusion_figure(np.array([[8, 2], [0, 0]]), ("fear", "joy"), "lab", masked=("joy",))
    contents = []
    for _ in range(2):
        figures.save_figure(figure, tmp_path / "sub" / "lab-v1.5")
        contents.append([(tmp_path / "sub" / f"lab-v1.5.{kind}").read_bytes() for kind in ("png", "svg")])
    assert contents[0] == contents[1]
    assert contents[0][0].startswith(b"\x89PNG")


def test_figure_pixels_are_what_tensorboard_takes():
    predictions = table([[8, 2], [3, 7]], SEVEN[:2])
    pixels = figures.figure_pixels(figures.reliability_figure(predictions, "lab"))
    assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3)
    assert pixels.min() < 60
    assert pixels[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("level", np.linspace(0, 1, 11))
def test_text_on_a_cell_has_a_contrast_of_at_least_four_and_a_half(level):
    from matplotlib import colormaps

    def luminance(colour):
        channels = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
        return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]

    background = colormaps["Blues"](level)
    ink = {"#000000": 0.0, "#ffffff": 1.0}[figures._text_colour(background)]
    lighter, darker = max(ink, luminance(background)), min(ink, luminance(background))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5
