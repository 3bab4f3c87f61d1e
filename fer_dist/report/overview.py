"""What stands at the top of a report: what was trained on what, and which model is best on which set."""

from collections.abc import Iterator, Sequence

from fer_dist.errors import counted
from fer_dist.report.differences import best_tests, is_shown
from fer_dist.report.findings import Model, Ranking, Result, Study, first_models, same_group
from fer_dist.report.numbers import duration, listed, probability
from fer_dist.report.plots import PageFigure, page_figure, percents
from fer_dist.report.published import ONE, ours_of
from fer_dist.report.table import Cell, Row, Table, part, word
from fer_dist.scores.figures.dots import Block, BlockRow, blocks_figure

MOST_LISTED = 6
"""Trainings, or sets, that the head names one by one."""
MOST_ROWS = 40
"""Of an overview figure; what is more goes into a second one."""


def head(study: Study) -> list[tuple[str, str]]:
    """What a reader asks before all else: trained on what, tested on what, when, where and with which program."""
    found = [("trained", _trained(study)), ("tested on", _tested_on(study)), ("when", _when(study))]
    found += [("hardware", study.hardware), ("commit", _commit(study))]
    return [(name, text) for name, text in found if text]


def best_table(study: Study) -> Table:
    """Which is the best on each set, by how much, and whether that is sure. Sets with one kind of model have no row."""
    rows: list[Row] = []
    for name, results in _by_set(study).items():
        if len(results) > 1:
            order = sorted(results, key=lambda result: -ours_of(study, result).value)
            rows.append(_best_row(study, name, order))
    caption = "The best on each set: by how much it is ahead of the next, and whether that is sure."
    if study.rankings:
        caption += (
            " Tested on the same images, over seeds where there are several, else of these networks alone; p is "
            "raised for all pairs on all sets (Bonferroni), because the best was picked after seeing the results; each "
            "interval is of that pair alone."
        )
    return Table("best", caption, ("tested on", "best", "sure?", "ahead by, points", "accuracy"), tuple(rows))


def overview_figures(study: Study) -> Iterator[PageFigure]:
    """Every kind of model on every set with its interval, beside what the majority class alone would give."""
    blocks = [
        Block(name, tuple(_block_row(study, result) for result in results)) for name, results in _by_set(study).items()
    ]
    for number, some in enumerate(_portions(blocks)):
        said = "; ".join(
            f"{block.name}: " + ", ".join(f"{row.name} {row.value:.1f} %" for row in block.rows) for block in some
        )
        floors = any(row.floor is not None for block in some for row in block.rows)
        caption = "Accuracy with its 95 % interval; of several seeds their mean, the interval over seeds and images."
        caption += " Filled: tested on the set that it was trained on; hollow: on another."
        if floors:
            caption += " Dotted line: the floor, always answering the set's majority class."
        name = f"overview-{number + 1}" if number else "overview"
        yield page_figure(name, blocks_figure(some, "accuracy, %"), f"Accuracy on every set. {said}.", caption)


def floor_of(result: Result) -> float | None:
    """The accuracy of always answering the majority class of the set; None: not known."""
    counts = [number for number in (result.scores.get("support") or {}).values() if number]
    return max(counts) / sum(counts) if counts else None


def _by_set(study: Study) -> dict[str, list[Result]]:
    """Set -> the results of the first model of each group there, in the order of the models."""
    order = {model.name: place for place, model in enumerate(first_models(study))}
    sets: dict[str, list[Result]] = {}
    for result in study.results:
        if result.model in order:
            sets.setdefault(result.set_name, []).append(result)
    return {name: sorted(results, key=lambda result: order[result.model]) for name, results in sets.items()}


def _best_row(study: Study, name: str, order: Sequence[Result]) -> Row:
    """order: the results on the set, the best first."""
    groups = {model.name: model.group_name for model in study.models}
    ranking = next((one for one in study.rankings if one.set_name == name), None)
    best, second = ours_of(study, order[0]), ours_of(study, order[1])
    group, other = groups[order[0].model], groups[order[1].model]
    accuracy = part(best.value, best.interval, "" if best.whose == ONE else best.whose)
    ahead, interval, sure = best.value - second.value, None, word("not tested")
    if ranking and ranking.best == group:
        tests = {of: test for (where, of), test in best_tests(study).items() if where == name}
        sure = _sure(ranking, tests)
        if test := ranking.tests.get(other):
            ahead, interval = test["difference"], test["interval"]
    return (word(name), word(group), sure, Cell(ahead, "points", interval, f"ahead of {other}"), accuracy)


def _sure(ranking: Ranking, tests: dict[str, dict[str, float]]) -> Cell:
    """Against how many of the others it is shown, and against which it is not."""
    unshown = [group for group in ranking.tests if group not in tests or not is_shown(tests[group])]
    if not tests:
        return word("not tested")
    worst = probability(max(test["p"] for test in tests.values()))
    if not unshown:
        against = {1: "the other one", 2: "both others"}.get(len(tests), f"all {len(tests)} others")
        return Cell("yes", note=f"shown against {against}, {worst}")
    named = listed(unshown) if len(unshown) <= 3 else f"{len(unshown)} of the {len(ranking.tests)} others"
    return Cell("no", note=f"not shown against {named}, {worst}")


def _block_row(study: Study, result: Result) -> BlockRow:
    model = next(model for model in study.models if model.name == result.model)
    ours, floor = ours_of(study, result), floor_of(result)
    ends = percents(ours.interval) or (100 * ours.value, 100 * ours.value)
    is_own = result.dataset == model.trained_on
    return BlockRow(model.group_name, 100 * ours.value, ends, None if floor is None else 100 * floor, is_own)


def _portions(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Blocks of at most MOST_ROWS rows together; a longer one is cut."""
    some: list[Block] = []
    for block in blocks:
        for start in range(0, len(block.rows), MOST_ROWS):
            piece = Block(block.name, block.rows[start : start + MOST_ROWS])
            if some and sum(len(one.rows) for one in some) + len(piece.rows) > MOST_ROWS:
                yield some
                some = []
            some.append(piece)
    if some:
        yield some


def _trained(study: Study) -> str:
    kinds = first_models(study)
    if len(kinds) > MOST_LISTED:
        sets = list(dict.fromkeys(model.trained_on for model in kinds))
        return f"{len(kinds)} kinds of networks on {listed(sets[:MOST_LISTED])}" + (
            f" and {len(sets) - MOST_LISTED} more" if len(sets) > MOST_LISTED else ""
        )
    return "; ".join(_told(study, model) for model in kinds)


def _told(study: Study, model: Model) -> str:
    """As "lab on rafdb (12,271 images, 20 epochs, 3 seeds), starting from wild"."""
    seeds = len(same_group(study, model))
    facts = [f"{model.images:,} images"] if model.images else []
    epochs = model.config.get("train.epochs")
    facts += [counted(epochs, "epoch")] if isinstance(epochs, int) else []
    facts += [f"{seeds} seeds"] if seeds > 1 else []
    start = next((other.group_name for other in study.models if other.name == model.started_from), model.started_from)
    told = f"{model.group_name} on {model.trained_on}" + (f" ({', '.join(facts)})" if facts else "")
    return told + (f", starting from {start}" if start else "")


def _tested_on(study: Study) -> str:
    sets = {result.set_name: result.scores["samples"] for result in study.results}
    if len(sets) > MOST_LISTED:
        return f"{len(sets)} sets"
    return "; ".join(f"{name} ({samples:,} images)" for name, samples in sets.items())


def _when(study: Study) -> str:
    began = min((model.began for model in study.models if model.began), default="")
    lasted = f"{duration(study.seconds)} of work" if study.seconds is not None else ""
    return ", ".join(filter(None, (f"begun {began} UTC" if began else "", lasted)))


def _commit(study: Study) -> str:
    if study.commit.endswith("+"):
        return f"{study.commit} (+: the program's files differed from that commit, so it alone does not give them)"
    return study.commit
