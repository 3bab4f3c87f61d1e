"""What is known of where a network looks, as files in its run folder: a JSON for each set, tables and figures."""

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_dist.explain.claims import ALIKE, ALL
from fer_dist.explain.explain import Explained
from fer_dist.explain.figures import averages_figure, gates_figure, maps_figure, points_sheet
from fer_dist.explain.maps import GROUPS
from fer_dist.scores.figures.canvas import figure_pixels, fix_layout, save_figure
from fer_dist.scores.figures.hidden import hidden_figure
from fer_dist.storage.writing import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "explain"
PAGE_WIDTH = 860
"""Pixels of a figure on a page, at most."""


def save_explained(run_folder: Path, name: str, found: Explained, drawn: dict[str, "Figure"]) -> None:
    """Write what was found of a set. name: "<dataset>-<split>"; drawn: its `figures`."""
    folder = run_folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{name}.json", json.dumps(found.values, indent=1, allow_nan=False).encode() + b"\n")
    for table, (header, rows) in tables(found.values).items():
        lines = io.StringIO()
        csv.writer(lines, lineterminator="\n").writerows([header, *rows])
        write_atomically(folder / f"{name}-{table}.csv", lines.getvalue().encode())
    for kind, figure in drawn.items():
        save_figure(figure, folder / f"{name}-{kind}")


def figures(title: str, found: Explained) -> dict[str, "Figure"]:
    """Name -> figure, of those that a set has."""
    values, drawn = found.values, {}
    blocks = [block for block, facts in values["blocks"].items() if facts["shape"]]
    if blocks:
        for group, short in zip(GROUPS, ("right", "misclassified"), strict=True):
            named = (values["emotions"], blocks, f"{title}: {group}")
            drawn[f"maps-{short}"] = maps_figure(found.averages, group, *named)
            drawn[f"averages-{short}"] = averages_figure(found.averages, group, *named)
    if found.gates:
        drawn["gates"] = gates_figure(values["blocks"], values["emotions"], title)
    for fill, hidden in values["hidden"].items():
        drawn[f"hidden-{fill}"] = hidden_figure(hidden, f"{title}, hidden by {fill}")
    if found.points:
        drawn["points"] = points_sheet(found.points, f"{title}: where the regions are taken to be")
    return drawn


PAGE_FIGURES = "maps-right", "maps-misclassified", "points"
"""Which a page shows: the study's, and where the regions are."""


def page_images(drawn: dict[str, "Figure"]) -> dict[str, bytes]:
    """Name -> WebP of those among the `figures` of a set, small enough for a page: half the bytes of a JPEG."""
    from PIL import Image

    images = {}
    for name, figure in drawn.items():
        if name in PAGE_FIGURES:
            image = Image.fromarray(figure_pixels(fix_layout(figure)))
            image.thumbnail((PAGE_WIDTH, PAGE_WIDTH))
            stream = io.BytesIO()
            image.save(stream, "WEBP", quality=60, method=6)
            images[name] = stream.getvalue()
    return images


def tables(values: dict[str, Any]) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """Name -> header and rows, of the tables that a set has."""
    found: dict[str, tuple[list[str], list[list[Any]]]] = {}
    regions = values["regions"]
    found["regions"] = (
        ["map", "region", "area", "share", "low", "high", "share per area"],
        [
            [
                name,
                region,
                regions["area"][region]["mean"],
                one["mean"],
                *(one["interval"] or ("", "")),
                one["per_area"],
            ]
            for name, parts in regions.items()
            if name != "area"
            for region, one in parts.items()
        ],
    )
    found["hidden"] = (
        ["fill", "region", "area", "beside", "fall of p", "low", "high", "fall of accuracy", "low", "high"],
        [
            [fill, region, one["area"], beside, *_ends(both["p"]), *_ends(both["accuracy"])]
            for fill, parts in values["hidden"].items()
            for region, one in parts.items()
            for beside, both in {"": one, **one["more_than"]}.items()
        ],
    )
    found["faithfulness"] = (
        ["map", "measure", "mean", "low", "high", "beats every control"],
        [
            [name, measure, *_ends(one), "" if facts["beats_controls"] is None else facts["beats_controls"][measure]]
            for name, facts in values["faithfulness"].items()
            for measure, one in facts["measures"].items()
        ],
    )
    found["cascade"] = (
        ["map", "drawn anew up to", "correlation", "low", "high"],
        [[name, part, *_ends(one)] for name, parts in values["cascade"].items() for part, one in parts.items()],
    )
    found["claims"] = (
        ["claim", "emotion", "value", "random weights", "excess", "low", "high", "p", "verdict"],
        [
            [
                claim,
                emotion,
                test["value"],
                test["random_weights"],
                test["excess"],
                *test["interval"],
                verdict["p"],
                verdict["verdict"],
            ]
            for claim, tests in values["claims"].items()
            for emotion, test in tests.items()
            if (verdict := values["verdicts"][claim][emotion])
        ],
    )
    found["gates"] = (
        ["block", "channels", "mean", "spread", "entropy", "channels that separate emotions", "p of the first"],
        [
            [block, g["channels"], g["mean"], g["spread"], g["entropy"], *_separating(g)]
            for block, facts in values["blocks"].items()
            if (g := facts["gates"])
        ],
    )
    return {name: table for name, table in found.items() if table[1]}


NOT_BELIEVED = "* does not beat its controls in every measure of faithfulness; draw nothing from it"


def summary_table(values: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """For the terminal: each region's share by each method, and what hiding it costs."""
    methods = values["methods"]
    marks = {method: "" if values["believed"][method] else " *" for method in methods}
    first: dict[str, Any] = next(iter(values["hidden"].values()), {})
    rows = []
    for region, one in first.items():
        row = [region, f"{100 * values['regions']['area'][region]['mean']:.1f}"]
        row += [f"{values['regions'][method][region]['per_area']:.2f}{marks[method]}" for method in methods]
        more = [found["p"] for found in one["more_than"].values()]
        rows.append([*row, _points(one["p"]), _points(more[0]) if more else "-"])
    shares = [f"{method}, share per area" for method in methods]
    return ["region", "area %", *shares, "fall of p, points", "more than elsewhere"], rows


def claim_lines(values: dict[str, Any]) -> list[str]:
    """For the terminal: what becomes of each of the study's conclusions on this set."""
    found = []
    for claim, tests in values["claims"].items():
        test, verdict = tests[ALL], values["verdicts"][claim][ALL]
        low, high = test["interval"]
        emotions = [
            name for name, one in values["verdicts"][claim].items() if one["verdict"] == "shown" and name != ALL
        ]
        excess = f"excess {test['excess']:+.3f}, {low:+.3f} to {high:+.3f}, p {verdict['p']:.2g}"
        line = f"{claim}: {verdict['verdict']} ({excess})"
        found.append(line + (f"; of single emotions in {', '.join(emotions)}" if emotions else ""))
    alike = values["right_and_wrong"]
    if alike:
        verdict, where = values["verdicts"][ALIKE][ALL], f"{alike['block']}, {alike['region']}"
        found.append(
            f"{ALIKE}: {verdict['verdict']} (of {alike['images']['right']:,} and {alike['images']['wrong']:,}; largest "
            f"difference of a share {100 * alike['difference']:+.1f} points, in {where}, p {verdict['p']:.2g}; none is "
            f"above {100 * alike['at_most']:.1f})"
        )
    return found + values["not_tested"]


def _points(found: dict[str, Any]) -> str:
    """A fall of p in points, with its interval."""
    ends = found["interval"]
    return f"{100 * found['mean']:+.1f}" + (f" ({100 * ends[0]:+.1f} to {100 * ends[1]:+.1f})" if ends else "")


def _ends(found: dict[str, Any]) -> list[Any]:
    return [found["mean"], *(found["interval"] or ("", ""))]


def _separating(gates: dict[str, Any]) -> list[Any]:
    found = gates["separating"]
    return [found["channels"], found["p"]] if found else ["", ""]
