"""fer-dist explain."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fer_dist import api
from fer_dist.config.flags import Arguments, flat, parse, positional, write_json
from fer_dist.errors import counted
from fer_dist.progress import Terminal
from fer_dist.storage.paths import Output, PathOrUrl

if TYPE_CHECKING:
    from fer_dist.explain.run import RunExplained


def explain_command(arguments: Arguments) -> None:
    from fer_dist.config.settings import ExplainConfig

    @dataclass(frozen=True)
    class Explain:
        """Look where a network looks: feature maps, gates, attribution by region, and what hiding a region costs.

        Each number stands beside its controls. Writes RUN/explain/: a JSON, tables and figures of each set.
        """

        run: Annotated[PathOrUrl, positional()]
        """Run folder, also at a URL, or a .safetensors file."""

        config: Annotated[ExplainConfig, flat()]

        json: Output = ""
        """File for all numbers as JSON as well."""

        html: Output = ""
        """File for a page of all that was found as well; its tables and figures are put into a folder beside it, called
        as the page and -files."""

    flags = parse(Explain, arguments, "explain")
    terminal = Terminal()
    with closing(terminal):
        found = api.explain(flags.run, show=terminal, **vars(flags.config))
    from fer_dist.explain.results import NOT_BELIEVED, claim_lines, summary_table

    for name, explained in found.sets.items():
        values = explained.values
        points = ", ".join(f"{source} of {count:,}" for source, count in values["points"].items())
        accuracy = f"{100 * values['accuracy']:.1f} %"
        terminal.say(f"{name}: {counted(values['images'], 'image')}, accuracy {accuracy}; regions by {points}")
        for group, counts in values["groups"].items():
            terminal.say(f"  {group}: {', '.join(f'{emotion} {count:,}' for emotion, count in counts.items())}")
        terminal.table(*summary_table(values))
        for line in claim_lines(values):
            terminal.say(line)
        if not all(values["believed"].values()):
            terminal.say(NOT_BELIEVED)
        terminal.say(f"written: {found.folder}")
    if flags.json:
        write_json(flags.json, {name: explained.values for name, explained in found.sets.items()})
    if flags.html:
        terminal.say(f"page: {_write_page(Path(flags.html), flags.run, found)}")


def _write_page(path: Path, run: str, found: "RunExplained") -> Path:
    """The report of one run: what was found of it, and its accuracy on the images that were looked at, in a folder with
    what belongs to it."""
    import numpy as np

    from fer_dist.explain.results import page_images
    from fer_dist.report.findings import Model, Result, Study
    from fer_dist.report.page import write_report
    from fer_dist.runs.curves import began_at, seconds_of
    from fer_dist.runs.folder import entered
    from fer_dist.runs.opening import kept_in
    from fer_dist.scores.intervals import wilson
    from fer_dist.storage.writing import write_atomically

    name, results, maps, beside = Path(run.rstrip("/")).name, [], [], f"{path.stem}-files"
    for one, explained in found.sets.items():
        values, (dataset, _, split) = explained.values, one.rpartition("-")
        count = np.array(float(values["images"]))
        ends = [float(end) for end in wilson(values["accuracy"] * count, count)]
        scores = {"samples": values["images"], "accuracy": values["accuracy"], "accuracy_interval": ends}
        results.append(Result(name, dataset, scores, split, explained=values))
        for figure, image in page_images(found.figures[one]).items():
            place = path.parent / beside / "maps" / f"{name}-{one}-{figure}.webp"
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, image)
            maps.append(f"maps/{place.name}")
    home = entered(run)
    kept = kept_in(home) if home.path.is_dir() else None
    trained = (kept.sets or {}).get("train") if kept else None
    model = Model(
        name,
        trained.name.rpartition("-")[0] if trained else "",
        seconds=seconds_of(home.path) or None if kept else None,
        images=trained.samples if trained else None,
        began=began_at(home.path) if kept else "",
    )
    write_report(path, Study(f"Where {name} looks", (model,), tuple(results), maps=tuple(maps)), beside=beside)
    return path
