"""Where the networks look, as a report says it: the study's conclusions first, then the numbers they rest on.

Values are those that explain.explain gives of a model and a set, with the verdicts of explain.claims.decided.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from fer_dist.report.findings import Result, Study
from fer_dist.report.numbers import probability, signed_points
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

VERDICTS = ("shown", "contradicted", "not shown")
"""In the order of a sentence. Contradicted: the opposite is shown. Not shown: the data cannot tell."""

ALIKE = "right and wrong images look alike"

NOT_BELIEVED = "*: does not beat every control, so that nothing is drawn from it."

MOST_NAMED = 2
"""Pairs of a model and a set that a sentence names."""


def claim_sentences(results: Sequence[Result]) -> list[str]:
    """One for each of the study's conclusions that was tested: where it is shown, contradicted, open."""
    told: dict[str, dict[str, list[Result]]] = {}
    for result in _with(results):
        for claim, test in _whole_tests(result):
            told.setdefault(claim, {}).setdefault(test["verdict"], []).append(result)
    return [
        f"“{SPOKEN[claim].capitalize()}”: "
        + "; ".join(
            f"{verdict} {_places(by[verdict], results, 'any' if verdict == 'not shown' else 'each')}"
            for verdict in VERDICTS
            if verdict in by
        )
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
        f"{name[0].upper()}{name[1:]} {good if is_good else bad}: {_places(some, results).removeprefix('for ')}."
        for (name, is_good), some in told.items()
    ]


def claims_table(results: Sequence[Result]) -> Table:
    """Each of the study's conclusions, a column each, on each set, with its effect and what became of it."""
    told = [(result, dict(_whole_tests(result))) for result in _with(results)]
    claims = [claim for claim in SPOKEN if any(claim in tests for _, tests in told)]
    references = max(((result.explained or {}).get("references", 0) for result, _ in told), default=0)
    rows = [
        (
            word(f"{result.model} on {result.set_name}"),
            *(_claim(tests.get(claim)) for claim in claims),
        )
        for result, tests in told
    ]
    return Table(
        "claims",
        "The study's conclusions as tests: the effect with its 95 % interval, and what becomes of the conclusion. The "
        f"effect is in points of informedness (0: knows nothing), an excess over {references or 'several'} such "
        "networks with random weights, whose spread counts in the interval, and over as much of the image hidden "
        "elsewhere; of edges it is in hundredths of correlation, of maps in points of a share, the largest of all "
        "blocks and regions. Two-sided p after Holm's correction over the sets. Contradicted: the opposite is shown; "
        "not shown: the data cannot tell.",
        ("model and set", *(SPOKEN[claim] for claim in claims)),
        tuple(rows) if claims else (),
    )


def emotion_claims_table(results: Sequence[Result]) -> Table:
    """The same for each emotion alone, a row each."""
    rows = [
        (
            word(SPOKEN[claim]),
            word(result.model),
            word(result.set_name),
            word(emotion),
            _claim(test | _decided(result, claim, emotion)),
        )
        for result in _with(results)
        for claim, tests in (result.explained or {})["claims"].items()
        for emotion, test in tests.items()
        if emotion != ALL
    ]
    return Table(
        "claims-by-emotion",
        "The study's conclusions, emotion by emotion; p after Holm's correction over emotions and sets.",
        ("the study says", "model", "set", "emotion", "effect"),
        tuple(rows),
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
                beside = (f"{shares[f'{method}, {other}'][region]['per_area']:.2f}" for other in controls)
                cells.append(Cell(shares[method][region]["per_area"], "number", note="; ".join(beside)))
            rows.append(tuple(cells))
        marks = {method: "" if values["believed"][method] else " *" for method in methods}
        yield Table(
            file_name("regions", result),
            f"Regions, {result.model} on {result.set_name}, placed by {_sources(values)}. Fall: points of p that "
            "hiding costs, with 95 % intervals. By a method: the share of its maps, per area, 1 where a region gets as "
            f"much as its size; beneath it the same method on the network with {' and on '.join(controls)}. "
            f"{NOT_BELIEVED if any(marks.values()) else ''}".rstrip(),
            ("region", "area", "fall of p", "more than elsewhere", *(f"{name}{mark}" for name, mark in marks.items())),
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
            steps = list(related.values()) or [None]
            ends = [Cell(one["mean"], "number") if one else word("") for one in (steps[0], steps[-1], of_labels)]
            verdict = "" if facts["beats_controls"] is None else "yes" if values["believed"][name] else "no"
            rows.append((word(name), word(result.model), word(result.set_name), *measures, word(verdict), *ends))
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


def _places(some: Sequence[Result], results: Sequence[Result], of_all: str = "each") -> str:
    """These results in words: many are not named one by one. of_all: how it is said where these are all."""
    count = len(_with(results))
    if len(some) > MOST_NAMED:
        return f"in {of_all if len(some) == count else len(some)} of the {count} pairs of a model and a set"
    return "for " + ", ".join(f"{result.model} on {result.spoken_set}" for result in some)


def _with(results: Sequence[Result]) -> list[Result]:
    return [result for result in results if result.explained]


def _whole_tests(result: Result) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each claim with its test over all emotions and what was decided."""
    values: dict[str, Any] = result.explained or {}
    for claim, tests in values["claims"].items():
        yield claim, tests[ALL] | _decided(result, claim)
    alike = values["right_and_wrong"]
    if alike:
        images = alike["images"]
        note = f"{alike['region']}, {alike['block']}; {images['right']:,} right, {images['wrong']:,} wrong"
        yield ALIKE, {"excess": alike["difference"], "note": note} | _decided(result, ALIKE)


def _decided(result: Result, claim: str, emotion: str = ALL) -> dict[str, Any]:
    """p and verdict."""
    found: dict[str, Any] = (result.explained or {})["verdicts"][claim][emotion]
    # The name of a verdict in studies from before 2026-11-29.
    return found | {"verdict": found["verdict"].replace("undecided", "not shown")}


def _claim(test: dict[str, Any] | None) -> Cell:
    """The effect, its interval, and what becomes of a conclusion; None: it was not tested."""
    if test is None:
        return Cell(None, "points")
    networks = f"over {test['networks']} networks" if "networks" in test else ""
    said = (f"{test['verdict']}, {probability(test['p'])}", networks, test.get("note"))
    return Cell(test["excess"], "points", test.get("interval"), "; ".join(filter(None, said)))


def _sources(values: dict[str, Any]) -> str:
    return ", ".join(f"{source} ({count:,})" for source, count in values["points"].items())


def _fall(found: dict[str, Any]) -> Cell:
    return Cell(found["mean"], "points", found["interval"])


def _ends(found: dict[str, Any]) -> str:
    return " to ".join(f"{end:.2f}" for end in found["interval"] or ()).replace("-", "\N{MINUS SIGN}")
