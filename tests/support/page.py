"""An HTML page as its tests look at it, and how well its colours can be told apart."""

from html.parser import HTMLParser
from pathlib import Path

from matplotlib.backends.backend_agg import RendererAgg

from fer_dist.report.findings import check
from fer_dist.report.page import _page
from fer_dist.report.sections import sections

VOID = {"meta", "br", "link", "img", "hr", "input"}


def rendered(study, folder="."):
    """The page of a study as text, of which nothing is written. folder: where paths of feature maps start."""
    check(study)
    return _page(study, sections(study), Path(folder))


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


def written_by_matplotlib(figure):
    """The texts of a figure in the order in which matplotlib hands them to whoever draws."""

    class Written(RendererAgg):
        def draw_text(self, gc, x, y, text, *others, **more):
            texts.append(text)

    texts = []
    figure.draw(Written(660, 660, 150))
    return texts


def contrast(first, second):
    """WCAG 2.1, written here once more, apart from the package's own."""

    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)
