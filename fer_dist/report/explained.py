"""Where the networks look, as a report says it: the study's conclusions first, then the numbers they rest on.

Values are those that explain.explain gives of a model and a set, with the verdicts of explain.claims.decided.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from fer_dist.report.findings import Result, Study
from fer_dist.report.numbers import signed_points
from fer_dist.report.plots import PageFigure, file_name, page_figure
from fer_dist.report.table import Cell, Row, Table, count, part, word
from fer_dist.scores.figures.hidden import hidden_figure

ALL = "all emotions"

CONTROL_NETWORKS = ("random weights", "random labels")
"""What the networks have on which each method is shown as well, in place of the trained one's."""

SPOKEN = {
    "mouth and nose over eyes": "mouth and nose count for more than the eyes",
    "mouth and nose over ears": "mouth and nose count for more than the ears",
    "right half over left half": "the right half of the image counts for more than the left",
    "shallow blocks draw edges, deep ones less": "shallow blocks draw edges, deep ones less",
    "right and wrong images look alike": "maps of right and of wrong images are alike",
}
"""Claim -> what the study concludes, as a sentence has it."""

VERDICTS = {"shown": "shown", "contradicted": "contradicted", "undecided": "not shown"}
"""Contradicted: the opposite is shown. Not shown: the data cannot tell."""

ALIKE = "right and wrong images look alike"


def claim_sentences(results: Sequence[Result]) -> list[str]:
    """One for each of the study's conclusions that was tested: where it is shown, contradicted, open."""
    told: dict[str, dict[str, list[Result]]] = {}
    for result in _with(results):
        for claim, test in _whole_tests(result):
            told.setdefault(claim, {}).setdefault(test["verdict"], []).append(result)
    return [
        f"“{SPOKEN[claim].capitalize()}”: "
        + "; ".join(f"{VERDICTS[verdict]} for {_places(by[verdict], results)}" for verdict in VERDICTS if verdict in by)
        + "."
        for claim, by in told.items()
    ] + [
        f"{result.model} on {result.spoken_set}, {line}."
        for result in _with(results)
        for line in (result.explained or {}).get("not_tested", ())
    ]


def method_sentences(results: Sequence[Result]) -> list[str]:
    """Which attribution methods beat their controls where, and where they did not and are not to be believed."""
    told: dict[tuple[str, bool], list[Result]] = {}
    for result in _with(results):
        for name, is_good in (result.explained or {})["believed"].items():
            told.setdefault((name, is_good), []).append(result)
    good = "beat every control in three measures"
    bad = (
        "did not beat every control in every measure of faithfulness (marked *), so that nothing is drawn from what it "
        "says of regions"
    )
    return [
        f"{name[0].upper()}{name[1:]} {good if is_good else bad}: {_places(some, results)}."
        for (name, is_good), some in told.items()
    ]


def claims_table(results: Sequence[Result]) -> Table:
    """Each of the study's conclusions on each set, with its effect."""
    return _claims(
        "claims",
        "The study's conclusions as tests. The effect is in points of informedness (0: knows nothing), an excess over "
        "the same network with random weights and over as much of the image hidden elsewhere; of edges it is in "
        "hundredths of correlation, of maps in points of a share. One-sided p after Holm's correction over the sets. "
        '"Contradicted": the opposite is shown.',
        [(result, claim, ALL, test) for result in _with(results) for claim, test in _whole_tests(result)],
    )


def emotion_claims_table(results: Sequence[Result]) -> Table:
    """The same for each emotion alone."""
    return _claims(
        "claims-by-emotion",
        "The study's conclusions, emotion by emotion; p after Holm's correction over emotions and sets.",
        [
            (result, claim, emotion, test | (result.explained or {})["verdicts"][claim][emotion])
            for result in _with(results)
            for claim, tests in (result.explained or {})["claims"].items()
            for emotion, test in tests.items()
            if emotion != ALL
        ],
    )


def regions_tables(results: Sequence[Result]) -> Iterator[Table]:
    """For each result the regions: what methods give them, and what hiding them costs."""
    for result in _with(results):
        values: dict[str, Any] = result.explained or {}
        methods, shares = values["methods"], values["regions"]
        controls = [other for other in CONTROL_NETWORKS if methods and f"{methods[0]}, {other}" in shares]
        hidden: dict[str, Any] = next(iter(values["hidden"].values()), {})
        rows: list[Row] = []
        for region, area in shares["area"].items():
            cells = [word(region), Cell(area["mean"], "part")]
            if region in hidden:
                one = hidden[region]
                elsewhere = [control["p"] for control in one["more_than"].values()]
                cells += [_fall(one["p"]), _fall(elsewhere[0]) if elsewhere else Cell(None, "points")]
            for method in methods:
                mark = "" if values["believed"][method] else " *"
                cells.append(Cell(f"{shares[method][region]['per_area']:.2f}{mark}", "number"))
                cells += [Cell(shares[f"{method}, {other}"][region]["per_area"], "number") for other in controls]
            rows.append(tuple(cells))
        others = [f"on {other}" for other in controls]
        by_method = [column for name in methods for column in (f"{name}, share per area", *others)]
        yield Table(
            file_name("regions", result),
            f"Regions, {result.model} on {result.set_name}, placed by {_sources(values)}. Share per area: 1 where a "
            "region gets as much as its size; beside it the same method on the network with random weights, or trained "
            "on random labels. Fall: points of p that hiding costs, with 95 % intervals.",
            ("region", "area", "fall of p", "more than elsewhere", *by_method),
            tuple(rows),
        )


def methods_table(results: Sequence[Result]) -> Table:
    """Each method beside its controls, and how soon its maps change as the network's weights are drawn anew."""
    rows: list[Row] = []
    for result in _with(results):
        values: dict[str, Any] = result.explained or {}
        for name, facts in values["faithfulness"].items():
            measures = [Cell(one["mean"], "number", note=_ends(one)) for one in facts["measures"].values()]
            related = dict(values["cascade"].get(name, {}))
            of_labels = related.pop("random labels", None)
            steps = list(related.values())
            ends = [Cell(one["mean"], "number") if one else word("") for one in (*steps[:1], *steps[-1:], of_labels)]
            verdict = "" if facts["beats_controls"] is None else "yes" if values["believed"][name] else "no"
            beside = (word(""), word(""), *ends)[-3:]
            rows.append((word(name), word(result.model), word(result.set_name), *measures, word(verdict), *beside))
    return Table(
        "attribution",
        "Attribution methods beside maps that know nothing of the network, and beside what they say of it with random "
        "weights and trained on random labels: deletion (less is better), insertion and correlation (more is better). "
        "Last: how far a method's maps still correlate with themselves once the head, and once all weights, are drawn "
        "anew, and where the labels are random.",
        (
            "map",
            "model",
            "set",
            "deletion",
            "insertion",
            "correlation",
            "beats all",
            "head anew",
            "all anew",
            "random labels",
        ),
        tuple(rows),
    )


def planted_table(study: Study) -> Table:
    """How often each method finds what is known to be there."""
    rows: list[Row] = []
    for found in study.planted:
        start = (word(found["cue"]), part(found["accuracy"]), count(found["images"]))
        for name, one in found["methods"].items():
            mark = "" if one["believed"] else " *"
            controls = [part(one.get(other.replace(" ", "_"))) for other in CONTROL_NETWORKS]
            rows.append((word(name + mark), *start, part(one["found"]), *controls))
        rows.append((word("hiding"), *start, part(found["hiding"]), word(""), word("")))
    return Table(
        "planted",
        "Methods on drawn faces whose emotion shows in one part alone: in how many of the test images a method gives "
        "that part the most for its size (eyes: with the brows; of seven regions, the left half of two). Beside it the "
        "same method on the network with random weights, and trained on random labels.",
        ("method", "planted in", "accuracy", "images", "finds it", *CONTROL_NETWORKS),
        tuple(rows),
    )


def hidden_figures(results: Sequence[Result]) -> Iterator[PageFigure]:
    """For each result what hiding each region costs, beside the same area elsewhere."""
    for result in _with(results):
        for fill, hidden in (result.explained or {})["hidden"].items():
            title = f"{result.model} on {result.set_name}"
            said = ", ".join(f"{name} {signed_points(one['p']['mean'])}" for name, one in hidden.items())
            yield page_figure(
                file_name(f"hidden-{fill}", result),
                hidden_figure(hidden, title),
                f"Fall of p, in points, where a region is hidden by {fill}, {title}: {said}.",
                f"What hiding a region (by {fill}) costs the predicted emotion, beside as much of the image elsewhere.",
            )


def _places(some: Sequence[Result], results: Sequence[Result]) -> str:
    """These results in words: all of them are not named one by one."""
    count = len(_with(results))
    if len(some) == count and count > 2:
        return f"all {count} models on sets"
    return ", ".join(f"{result.model} on {result.spoken_set}" for result in some)


def _with(results: Sequence[Result]) -> list[Result]:
    return [result for result in results if result.explained]


def _whole_tests(result: Result) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each claim with its test over all emotions and what was decided."""
    values: dict[str, Any] = result.explained or {}
    for claim, tests in values["claims"].items():
        yield claim, tests[ALL] | values["verdicts"][claim][ALL]
    alike = values["right_and_wrong"]
    if alike:
        note = f"{alike['region']}, {alike['block']}"
        yield ALIKE, {"excess": alike["difference"], "note": note} | values["verdicts"][ALIKE][ALL]


def _claims(name: str, caption: str, tests: Sequence[tuple[Result, str, str, dict[str, Any]]]) -> Table:
    rows = [
        (
            word(SPOKEN[claim]),
            word(VERDICTS[test["verdict"]]),
            word(result.model),
            word(result.set_name),
            *([] if emotion == ALL else [word(emotion)]),
            Cell(test["excess"], "points", test.get("interval"), _note(test)),
            Cell(test["p"], "probability"),
        )
        for result, claim, emotion, test in tests
    ]
    by = ("emotion",) if name.endswith("emotion") else ()
    return Table(name, caption, ("the study says", "here", "model", "set", *by, "effect", "p"), tuple(rows))


def _sources(values: dict[str, Any]) -> str:
    return ", ".join(f"{source} ({count:,})" for source, count in values["points"].items())


def _fall(found: dict[str, Any]) -> Cell:
    return Cell(found["mean"], "points", found["interval"])


def _ends(found: dict[str, Any]) -> str:
    return " to ".join(f"{end:.2f}" for end in found["interval"] or ()).replace("-", "\N{MINUS SIGN}")


def _note(test: dict[str, Any]) -> str:
    return f"over {test['networks']} networks" if "networks" in test else str(test.get("note", ""))
