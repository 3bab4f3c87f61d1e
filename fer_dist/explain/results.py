"""What is known of where a network looks, as files in its run folder: a JSON for each set, tables and figures."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from fer_dist.explain.claims import ALIKE, ALL, LEVEL
from fer_dist.explain.explain import Explained
from fer_dist.explain.figures import averages_figure, gates_figure, hidden_figure, maps_figure, points_sheet
from fer_dist.explain.maps import GROUPS, RIGHT
from fer_dist.scores.figures.canvas import save_figure
from fer_dist.storage.writing import write_atomically

FOLDER = "explain"


def save_explained(run_folder: Path, name: str, found: Explained) -> list[Path]:
    """Write what was found of a set. name: "<dataset>-<split>". Returns the files, without the suffixes of figures."""
    folder = run_folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    values = found.values
    written = [folder / f"{name}.json"]
    write_atomically(written[0], json.dumps(values, indent=1, allow_nan=False).encode() + b"\n")
    for table, (header, rows) in tables(values).items():
        path = folder / f"{name}-{table}.csv"
        lines = io.StringIO()
        csv.writer(lines, lineterminator="\n").writerows([header, *rows])
        write_atomically(path, lines.getvalue().encode())
        written.append(path)
    emotions, title = values["emotions"], f"{run_folder.name} on {name}"
    blocks = [block for block, facts in values["blocks"].items() if facts["shape"]]
    figures = {}
    if blocks:
        for group in GROUPS:
            short = "right" if group == RIGHT else "misclassified"
            figures[f"maps-{short}"] = maps_figure(found.averages, group, emotions, blocks, f"{title}: {group}")
            figures[f"averages-{short}"] = averages_figure(found.averages, group, emotions, blocks, f"{title}: {group}")
    if found.gates:
        figures["gates"] = gates_figure(values["blocks"], emotions, title)
    for fill, hidden in values["hidden"].items():
        figures[f"hidden-{fill}"] = hidden_figure(hidden, f"{title}, hidden by {fill}")
    if found.points:
        figures["points"] = points_sheet(found.points, f"{title}: where the regions are taken to be")
    for figure, drawn in figures.items():
        save_figure(drawn, folder / f"{name}-{figure}")
        written.append(folder / f"{name}-{figure}")
    return written


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
    marks = {method: "" if is_believed(values, method) else " *" for method in methods}
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
        where = f"{alike['block']}, {alike['region']}"
        verdict = "contradicted" if alike["p"] < LEVEL else "undecided"
        found.append(
            f"{ALIKE}: {verdict} (largest difference of a share {100 * alike['difference']:+.1f} points, in {where}, "
            f"p {alike['p']:.2g}; none is above {100 * alike['at_most']:.1f})"
        )
    return found


def is_believed(values: dict[str, Any], method: str) -> bool:
    """Whether a method beats its controls in every measure of faithfulness; not known is not."""
    found = values["faithfulness"].get(method)
    return bool(found) and all(found["beats_controls"].values())


def _points(found: dict[str, Any]) -> str:
    """A fall of p in points, with its interval."""
    ends = found["interval"]
    return f"{100 * found['mean']:+.1f}" + (f" ({100 * ends[0]:+.1f} to {100 * ends[1]:+.1f})" if ends else "")


def _ends(found: dict[str, Any]) -> list[Any]:
    return [found["mean"], *(found["interval"] or ("", ""))]


def _separating(gates: dict[str, Any]) -> list[Any]:
    found = gates["separating"]
    return [found["channels"], found["p"]] if found else ["", ""]
