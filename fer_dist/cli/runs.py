"""fer-dist runs."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

from fer_dist.config.flags import Arguments, parse, positional, write_json
from fer_dist.progress import Cells, Terminal
from fer_dist.storage.paths import Output, PathOrUrl

if TYPE_CHECKING:
    from fer_dist.evaluate.listing import Listed

AGES = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
"""Seconds of a unit, and its sign."""


def runs_command(arguments: Arguments) -> None:
    @dataclass(frozen=True)
    class Runs:
        """List the runs in a folder or a store: how far each came, how long ago it was begun, what it scored."""

        root: Annotated[PathOrUrl, positional()]
        """Folder that holds run folders, or its URL: --run.root of training."""

        json: Output = ""
        """File for the list as JSON as well."""

    flags = parse(Runs, arguments, "runs")
    from fer_dist.evaluate.listing import runs_in

    found = runs_in(flags.root)
    terminal = Terminal()
    if found:
        terminal.table(*runs_table(found, time.time()), text_columns=3)
        from fer_dist.evaluate.results import others_told

        for run in found:
            if run.others:
                terminal.say(f"{run.name}: {others_told(run.others)}")
    else:
        terminal.say(f"no runs in {flags.root}")
    if flags.json:
        write_json(flags.json, [asdict(run) for run in found])


def runs_table(found: "Sequence[Listed]", now: float) -> Cells:
    """A run a row, with its accuracy on each set."""
    sets = sorted({name for run in found for name in run.scores or ()})
    rows = []
    for run in found:
        age = "-" if run.begun is None else _age(now - run.begun)
        accuracies = [(run.scores or {}).get(name, {}).get("accuracy") for name in sets]
        told = ["-" if value is None else f"{100 * value:.2f}" for value in accuracies]
        steps = f"{run.step:,} of {run.steps:,}" if run.steps else f"{run.step:,}"
        rows.append([run.name, run.state, run.preset or "-", steps, age, *told])
    return ["run", "state", "preset", "step", "begun", *(f"{name} %" for name in sets)], rows


def _age(seconds: float) -> str:
    size, unit = next(((size, unit) for size, unit in AGES if seconds >= size), (1, "s"))
    return f"{max(seconds, 0) / size:.0f} {unit} ago"
