"""fer-dist cite."""

import sys
from dataclasses import dataclass
from typing import Annotated

from fer_dist.config.flags import Arguments, parse, positional
from fer_dist.progress import Terminal, printable, warnings_to
from fer_dist.storage.paths import PathOrUrl


def cite_command(arguments: Arguments) -> None:
    @dataclass(frozen=True)
    class Cite:
        """Print what a paper says of a run: a paragraph of methods, and a BibTeX entry, made from its files."""

        run: Annotated[PathOrUrl, positional()]
        """Run folder, also at a URL, or a .safetensors file."""

        checkpoint: str = "last"
        """Which checkpoint: last, best, or a step."""

    flags = parse(Cite, arguments, "cite")
    from fer_dist.runs.folder import entered

    terminal = Terminal()
    home = entered(flags.run, warnings_to(terminal))
    from fer_dist.evaluate.known import known_of
    from fer_dist.evaluate.results import others_told
    from fer_dist.report.cite import bibtex, methods

    known = known_of(home, flags.checkpoint)
    if known.others:
        terminal.say(f"note: {others_told(known.others)}")
    for line in (methods(known), "", *bibtex(known).splitlines()):
        sys.stdout.write(f"{printable(line)}\n")
