"""The report in a real browser: wide, narrow, pale, dark and printed, without the network."""

import base64
import re

import pytest
from support.browser import Browser, browser_path
from support.made_study import made_study
from support.page import Page, contrast, rendered

TOO_SMALL = """
[...document.querySelectorAll("svg text")].filter(text => {
  const shown = text.getBoundingClientRect();
  return text.textContent.trim() && shown.width === 0 && !text.closest("details:not([open])");
}).length
"""
OVERFLOWING = """
[...document.querySelectorAll("body *")].filter(part =>
  part.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !part.closest(".scroll, svg")
).map(part => part.outerHTML.slice(0, 80))
"""
TEXT_FAULTS = """
[...document.querySelectorAll("figure svg")].filter(part => part.checkVisibility()).flatMap(svg => {
  const box = svg.getBoundingClientRect(), found = [];
  const texts = [...svg.querySelectorAll("text")].filter(text => text.textContent.trim());
  const boxes = texts.map(text => text.getBoundingClientRect());
  boxes.forEach((one, first) => {
    if (one.left < box.left - 1 || one.right > box.right + 1 || one.top < box.top - 2 || one.bottom > box.bottom + 2)
      found.push([svg.ariaLabel.slice(0, 60), texts[first].textContent, "leaves its figure"]);
    // The box of a text that stands aslant is larger than it.
    if (/rotate\\((?!-?0 )/.test(texts[first].getAttribute("transform"))) return;
    boxes.slice(first + 1).forEach((other, place) => {
      const second = texts[first + 1 + place];
      if (/rotate\\((?!-?0 )/.test(second.getAttribute("transform"))) return;
      const wide = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      const high = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
      if (wide > 1 && high > 0.35 * Math.min(one.height, other.height))
        found.push([svg.ariaLabel.slice(0, 60), texts[first].textContent, second.textContent]);
    });
  });
  return found;
})
"""
UNSEEN = """
[...document.querySelectorAll("figure svg")].filter(part => !part.closest("details")
  && part.getBoundingClientRect().width < 250).length
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    found = tmp_path_factory.mktemp("report") / "report.html"
    found.write_text(rendered(made_study(seeds=2, samples=200, sets=("affectnet", "drawn-lab"))))
    return found


@pytest.fixture(scope="module")
def browser(path, tmp_path_factory):
    found = browser_path()
    if found is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on PATH that starts")
    browser = Browser(found, tmp_path_factory.mktemp("browser"))
    browser.open(path.as_uri())
    yield browser
    browser.close()


def test_the_page_asks_for_nothing_but_itself(browser, path):
    asked = [
        event["params"]["request"]["url"] for event in browser.events if event["method"] == "Network.requestWillBeSent"
    ]
    assert asked == [path.as_uri()]


def test_the_browser_finds_no_fault(browser):
    told = [event for event in browser.events if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
    assert told == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_is_wider_than_the_screen_but_tables_in_their_own_box(browser, width, scheme):
    browser.show(width, scheme)
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.evaluate(OVERFLOWING) == []
    assert browser.evaluate(UNSEEN) == 0
    assert browser.evaluate(TOO_SMALL) == 0


def test_the_best_on_each_set_is_read_on_a_phone_without_scrolling_sideways(browser):
    browser.show(375, "light")
    box = "document.querySelector('.glance .scroll')"
    assert browser.evaluate(f"{box}.scrollWidth <= {box}.clientWidth")
    assert browser.evaluate(f"{box}.previousElementSibling.checkVisibility()") is False
    # To a screen reader it is a table still, with the name of its column before each value.
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    cells = [node["name"]["value"] for node in nodes if node["role"]["value"] == "cell"][:8]
    columns = ("best", "sure?", "ahead by, points", "accuracy")
    assert [name for cell, name in zip(cells, 2 * columns, strict=True) if not cell.startswith(f"{name} ")] == []
    assert "shown against" in cells[1]
    assert "of affectnet" in cells[2]


@pytest.mark.parametrize("width", [375, 1280])
def test_no_text_of_a_figure_leaves_it_or_lies_over_another(browser, width):
    browser.show(width, "light")
    assert browser.evaluate(TEXT_FAULTS) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_lines_can_be_read_in_both_schemes(browser, scheme):
    browser.show(375, scheme)
    names = ("page", "ink", "quiet", "rule", "band", "own", "accent", "gap", "on-pale")
    of = "getComputedStyle(document.documentElement).getPropertyValue('--{}').trim()"
    colours = {name: browser.evaluate(of.format(name)) for name in names}
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours.values())
    for ground in ("page", "band", "own"):
        assert contrast(colours["ink"], colours[ground]) >= 4.5
        assert contrast(colours["quiet"], colours[ground]) >= 4.5
    assert contrast(colours["accent"], colours["page"]) >= 4.5
    assert contrast(colours["rule"], colours["page"]) >= 3
    assert contrast(colours["ink"], colours["gap"]) >= 4.5
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)" if scheme == "light" else "rgb(23, 23, 27)"
    )


def test_every_figure_of_the_study_is_in_the_page(browser):
    # Three groups of two seeds on two sets; figures but for confusions and curves are of the first seed.
    expected = {
        "Accuracy on every set": 1, "Confusion matrix of": 12,
        "Change of the confusion matrix": 1, "Recall, precision and F1": 3, "Receiver operating": 3,
        "Training curves of": 6,
        "Error on corrupted images": 6, "Change of accuracy": 6,
        "Recall against training images": 3, "Images of each emotion": 2, "How often each emotion": 2,
        "Accuracy against stated": 2, "Accuracy of the most confident": 2, "Accuracy as it is": 1,
        "Accuracy with its": 1, "Accuracy of each seed": 1, "Accuracy on affectnet-test, by gender": 1,
        "Accuracy on drawn-lab-test, by gender": 1,
    }  # fmt: skip
    texts = browser.evaluate("[...document.querySelectorAll('figure svg[role=img]')].map(part => part.ariaLabel)")
    assert {start: sum(text.startswith(start) for text in texts) for start in expected} == expected
    assert len(texts) == sum(expected.values())


def test_every_section_of_a_whole_study_is_there_in_order(path):
    assert Page(path.read_text()).values("h2", "id") == [
        "glance", "overall", "transfer", "seeds", "confusions", "classes", "frequencies", "priors", "calibration",
        "attributes", "duplicates", "robustness", "published", "training", "data", "models", "made", "reading",
        "glossary",
    ]  # fmt: skip


def test_a_printed_page_hides_no_column_of_a_table(browser):
    browser.call("Emulation.setEmulatedMedia", media="print", features=[])
    browser.call("Emulation.setDeviceMetricsOverride", width=688, height=970, deviceScaleFactor=1, mobile=False)
    try:
        assert browser.evaluate("document.documentElement.scrollWidth") <= 688
        hidden = "[...document.querySelectorAll('.side, .menu')].map(part => getComputedStyle(part).display)"
        assert browser.evaluate(hidden) == ["none", "none"]
        # What is folded on the screen is open on paper.
        folded = "[...document.querySelectorAll('main details')].filter(part => part.clientHeight < 100).length"
        assert browser.evaluate(folded) == 0
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


def test_a_print_takes_about_half_a_page_for_each_figure_and_what_goes_with_it(browser):
    printed = base64.b64decode(browser.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    pages = len(re.findall(rb"/Type */Page\b", printed))
    figures = browser.evaluate("document.querySelectorAll('figure').length")
    assert 0 < pages < 0.6 * figures


def test_a_click_on_the_head_of_a_column_sorts_its_table_and_a_third_brings_the_order_back(browser):
    column = """(() => {
      const table = document.querySelector("#overall").parentElement.querySelectorAll("table")[1];
      const cells = [...table.tBodies[0].rows].map(row => parseFloat(row.cells[3].textContent));
      const head = table.tHead.rows[0].cells[3];
      const sort = head.getAttribute("aria-sort");
      head.querySelector("button").click();
      return {cells, sort};
    })()"""
    first, largest, smallest, again = (browser.evaluate(column) for _ in range(4))
    browser.evaluate(column), browser.evaluate(column)
    assert [found["sort"] for found in (first, largest, smallest, again)] == [None, "descending", "ascending", None]
    assert largest["cells"] == sorted(first["cells"], reverse=True) != first["cells"]
    assert smallest["cells"] == sorted(first["cells"])
    assert again["cells"] == first["cells"]


def test_the_contents_stay_in_view_beside_the_page_and_as_a_menu_on_a_phone(browser):
    shown = "[...document.querySelectorAll('.side, .menu')].map(part => part.checkVisibility())"
    top = "document.querySelector('{}').getBoundingClientRect().top"
    for width, place, expected in ((1280, ".side", [False, True]), (375, ".menu", [True, False])):
        browser.show(width, "light")
        assert browser.evaluate(shown) == expected
        browser.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
        assert browser.evaluate(top.format(place)) == 0
    browser.evaluate("scrollTo(0, 0)")


@pytest.mark.parametrize("width", [375, 1100])
def test_a_table_that_is_wider_than_the_screen_says_that_it_scrolls(browser, width):
    browser.show(width, "light")
    browser.evaluate("dispatchEvent(new Event('resize'))")
    said = """[...document.querySelectorAll('.scroll')].filter(box => box.checkVisibility()
      && (box.scrollWidth > box.clientWidth + 1) !== (box.previousElementSibling?.checkVisibility() ?? false))
      .map(box => box.ariaLabel)"""
    assert browser.evaluate(said) == []


def test_the_page_of_a_whole_study_stays_light(path):
    figures = path.read_text().count("<svg")
    # Seven models on four sets have about 110 figures; they may weigh 3 MB together.
    assert path.stat().st_size < figures * 27_000


def test_a_browser_that_does_not_start_is_as_good_as_none(tmp_path, monkeypatch):
    stub = tmp_path / "chromium"
    stub.write_text("#!/bin/sh\nexit 1\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert browser_path() is None
