"""fer-dist explain."""

from contextlib import closing
from dataclasses import dataclass
from typing import Annotated

from fer_dist.config.flags import Arguments, flat, parse, positional, write_json
from fer_dist.progress import Terminal
from fer_dist.storage.paths import Output, PathOrUrl


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

    flags = parse(Explain, arguments, "explain")
    from fer_dist.explain.given import open_given

    # Before torch is imported.
    sets = open_given(flags.run, flags.config)
    from fer_dist.explain.run import explain_run

    terminal = Terminal()
    with closing(terminal):
        found = explain_run(flags.run, flags.config, sets, terminal.count("batches"))
    from fer_dist.explain.results import NOT_BELIEVED, claim_lines, summary_table

    for name, (values, folder) in found.items():
        points = ", ".join(f"{source} of {count:,}" for source, count in values["points"].items())
        accuracy = f"{100 * values['accuracy']:.1f} %"
        terminal.say(f"{name}: {values['images']:,} images, accuracy {accuracy}; regions by {points}")
        for group, counts in values["groups"].items():
            terminal.say(f"  {group}: {', '.join(f'{emotion} {count:,}' for emotion, count in counts.items())}")
        terminal.table(*summary_table(values))
        for line in claim_lines(values):
            terminal.say(line)
        if not all(values["believed"].values()):
            terminal.say(NOT_BELIEVED)
        terminal.say(f"written: {folder}")
    if flags.json:
        write_json(flags.json, {name: values for name, (values, _) in found.items()})
