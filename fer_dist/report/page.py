"""report.html: what a study found, in one file that needs nothing else; its figures, tables and values beside it.

It measures nothing: scores come with the study. sections.py puts it together from sentences, tables and figures.
The same study gives the same bytes.
"""

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fer_dist import PACKAGE
from fer_dist.errors import InputError
from fer_dist.report.findings import Study, check, to_json
from fer_dist.report.glossary import glossary
from fer_dist.report.numbers import duration, listed, unbroken
from fer_dist.report.overview import head
from fer_dist.report.sections import Section, all_figures, all_tables, all_texts, sections
from fer_dist.report.table import SHAPES, to_csv, to_latex
from fer_dist.scores.figures.canvas import (
    DARK_GAP,
    GAP,
    GRID,
    cell_colours,
    change_colours,
    dark_cell_colours,
    dark_change_colours,
    inline_svg,
    save_figure,
)
from fer_dist.storage.untrusted import file_name, inside, read_or_nothing, read_regular
from fer_dist.storage.writing import write_atomically

STUDY, REPORT, SCRIPT = "study.json", "report.html", "report.js"
TEMPLATES = PACKAGE / "report" / "templates"
PNG_START = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8\xff"
MOST_MAP_BYTES = 64 << 20
MAPS = {
    "maps-right": "Feature maps of images that are right with p > 0.9, the surest of each emotion",
    "maps-misclassified": "Feature maps of misclassified images, the surest of each emotion",
    "points": "Where the regions of faces are taken to be",
}
"""How the name of a figure ends -> what it shows."""
MOST_FACE_BYTES = 1 << 16
"""Of a small copy of a face; ours have 2 kB."""

NO_PAGE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What is raised where a page is made of values of other kinds, such as a score that is a word."""


@dataclass(frozen=True)
class FeatureMap:
    """An image of where a network looks, as a page holds it. data: base64; kind: png or jpeg."""

    data: str
    text: str
    kind: str


def write_report(path: str | Path, study: Study, images: bool = True, beside: str = "") -> None:
    """Write the page at path, and figures/, tables/ and study.json beside it; the page last.

    images: whether it shows faces, where small copies of them lie beside it. beside: a folder there for all but the
    page, that has a place of its own among other files.
    Raises InputError where results, models and comparisons do not fit together, or a feature map is no PNG.
    """
    check(study)
    path = Path(path)
    folder = path.parent / beside
    found = sections(study)
    page = _page(study, found, folder, images, f"{quote(beside)}/" if beside else "")
    for figure in all_figures(found):
        file_name(figure.name, STUDY)
    folder.mkdir(parents=True, exist_ok=True)
    for figure in all_figures(found):
        save_figure(figure.figure, folder / "figures" / figure.name)
    (folder / "tables").mkdir(exist_ok=True)
    for table in all_tables(found):
        for kind, written in (("csv", to_csv(table)), ("tex", to_latex(table))):
            write_atomically(folder / "tables" / f"{table.name}.{kind}", written.encode())
    write_atomically(folder / STUDY, to_json(study).encode())
    write_atomically(path, page.encode())


def seeds_told(study: Study) -> str:
    """How many seeds each training has, as "3 seeds for each training"; empty where there is none."""
    seeds = Counter(model.group_name for model in study.models)

    def told(number: int) -> str:
        return f"{number} seed{'s' * (number > 1)}"

    if len(set(seeds.values())) > 1:
        return listed([f"{told(number)} for {group}" for group, number in seeds.items()])
    return f"{told(max(seeds.values()))} for each training" if seeds else ""


def _page(study: Study, found: list[Section], folder: Path, images: bool = True, links: str = "") -> str:
    """links: what stands before the paths of files."""
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    numbers = {figure.name: number for number, figure in enumerate(all_figures(found))}

    def svg(figure: Any) -> Any:
        return markupsafe.Markup(inline_svg(figure.figure, f"p{numbers[figure.name]}", figure.alt))

    environment.filters.update(duration=duration, unbroken=unbroken, svg=svg)
    script = (TEMPLATES / SCRIPT).read_text()
    return environment.get_template("report.html.jinja").render(
        links=links,
        study=study,
        seeds=seeds_told(study),
        head=head(study),
        results=[section for section in found if not section.is_background],
        background=[section for section in found if section.is_background],
        glossary=glossary(all_texts(found)),
        maps=[_feature_map(inside(folder, name, STUDY)) for name in study.maps] if images else [],
        faces=_faces(study, folder) if images else {},
        shapes=SHAPES,
        script=markupsafe.Markup(script),
        # What a browser may run of the page: this script, and nothing that a name could bring in.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        light=_colours(GRID, GAP, "#000000", "#ffffff", cell_colours(), change_colours()),
        dark=_colours("#3a3a44", DARK_GAP, "#ffffff", "#000000", dark_cell_colours(), dark_change_colours()),
    )


def _colours(grid: str, gap: str, on_pale: str, on_deep: str, cells: tuple[str, ...], changes: tuple[str, ...]) -> str:
    """The properties that a figure's colours stand for in one scheme."""
    names = {"grid": grid, "gap": gap, "on-pale": on_pale, "on-deep": on_deep}
    names |= {f"cell-{step}": colour for step, colour in enumerate(cells)}
    names |= {f"change-{step}": colour for step, colour in enumerate(changes)}
    return " ".join(f"--{name}: {colour};" for name, colour in names.items())


def _faces(study: Study, folder: Path) -> dict[str, str]:
    """Path of a small copy -> base64 of it. One that was taken away, or is no JPEG, is not shown."""
    found = {}
    entries = [entry for gallery in study.galleries for one in gallery.lists for entry in one["entries"]]
    for name in {entry["file"]: None for entry in entries if entry.get("file")}:
        content = read_or_nothing(inside(folder, name, STUDY), MOST_FACE_BYTES)
        if content.startswith(JPEG_START):
            found[name] = base64.b64encode(content).decode()
    return found


def _feature_map(path: Path) -> FeatureMap:
    try:
        content = read_regular(path, MOST_MAP_BYTES)
    except OSError as error:
        raise InputError(f"{path}: the figure of a feature map cannot be read ({error.strerror})") from None
    starts = (("png", 0, PNG_START), ("jpeg", 0, JPEG_START), ("webp", 8, b"WEBP"))
    kinds = [kind for kind, at, start in starts if content.startswith(start, at)]
    if not kinds:
        raise InputError(f"{path}: neither PNG nor JPEG nor WebP, as the figures of feature maps are")
    kind = next((kind for kind in MAPS if path.stem.endswith(kind)), "")
    of = path.stem.removesuffix(kind).replace("-", " ").replace("_", " ").strip()
    return FeatureMap(base64.b64encode(content).decode(), f"{MAPS.get(kind, 'Feature maps')}: {of}", kinds[0])
