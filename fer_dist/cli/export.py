"""fer-dist export."""

from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Annotated

from fer_dist import api
from fer_dist.config.flags import Arguments, flat, parse, positional, write_json
from fer_dist.errors import counted
from fer_dist.progress import Terminal
from fer_dist.storage.paths import Output, PathOrUrl


def export_command(arguments: Arguments) -> None:
    from fer_dist.config.settings import ExportConfig

    @dataclass(frozen=True)
    class Export:
        """Write a network as one file that others can use, ONNX or torch.export's, and hold it against the run.

        The file gets its name once its outputs have agreed with the run's within 1e-4 on every image.
        """

        run: Annotated[PathOrUrl, positional()]
        """Run folder, also at a URL, or a .safetensors file."""

        config: Annotated[ExportConfig, flat()]

        json: Output = ""
        """File for what was found as JSON as well."""

    flags = parse(Export, arguments, "export")
    terminal = Terminal()
    with closing(terminal):
        found = api.export(flags.run, **vars(flags.config), show=terminal)
    differing = counted(len(found.others), "image") if found.others else "no image"
    told = f"{found.outputs} differ by at most {found.difference:.2g}, {differing} with another emotion"
    terminal.say(f"checked on {found.checked}: {told}")
    for other in found.others:
        terminal.say(f"note: another emotion, whose two largest logits are as good as equal: {other}")
    terminal.say(f"written: {found.path}")
    if found.int8:
        from fer_dist.deploy.quantise import costs_table

        terminal.table(*costs_table(found.costs))
        terminal.say(f"written: {found.int8}")
    if flags.json:
        paths = {"path": str(found.path), "int8": found.int8 and str(found.int8)}
        write_json(flags.json, asdict(found) | paths)
