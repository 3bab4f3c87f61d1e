"""Tables of commands, flags from dataclasses by tyro (a mistyped one is answered with one line), and --json."""

import contextlib
import dataclasses
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fer_dist.data.location import settled
from fer_dist.errors import InputError, nearest

T = TypeVar("T")
Arguments = list[str]


@dataclass(frozen=True)
class Command:
    """One row of a table of commands."""

    help: str
    run: Callable[[Arguments], None]


def listing(commands: dict[str, Command]) -> str:
    return "".join(f"  {name:<10} {command.help}\n" for name, command in commands.items())


def pick(commands: dict[str, Command], name: str, kind: str) -> Command:
    if name not in commands:
        raise InputError(f"unknown {kind} {name!r}; {nearest(name, commands)}")
    return commands[name]


def parse(kind: type[T], arguments: Arguments, command: str, default: Any = None) -> T:
    """The flags of a command as its dataclass, the places in it settled. tyro's boxed complaint becomes one line.

    default: the value of the dataclass's flattened part (a preset).
    """
    import tyro

    complaint = io.StringIO()
    start: dict[str, Any] = {}
    if default is not None:
        values = {}
        for item in dataclasses.fields(kind):  # type: ignore[arg-type]
            if item.name == "config":
                values[item.name] = default
            elif item.default is dataclasses.MISSING:
                values[item.name] = tyro.MISSING
        start = {"default": kind(**values)}
    try:
        with contextlib.redirect_stderr(complaint):
            found = tyro.cli(kind, args=arguments, prog=f"fer-dist {command}", **start)
    except SystemExit as ended:
        if not ended.code:
            raise
        raise InputError(f"fer-dist {command}: {_one_line(complaint.getvalue())}") from None
    return settled(found)


def _one_line(box: str) -> str:
    """tyro's message without its frame: the complaint, and the nearest flag."""
    lines = [line.strip("│╭╮╰╯─ \n") for line in box.splitlines()]
    text = " ".join(" ".join(lines).replace("─", " ").split()).split("For full helptext")[0].strip()
    missing = re.search(r"Required options Missing from .*?: ((?:--)?\S+)", text)
    if missing:
        return f"{missing[1]} is missing; see --help"
    text = re.sub(r"^Value error |Argument helptext: .*", "", text)
    unknown = re.search(r"Unrecognized options: (\S+?),? (?:.*Perhaps you meant: (--\S+))?", text + " ")
    if unknown:
        return f"unknown flag {unknown[1]}" + (f"; did you mean {unknown[2]}?" if unknown[2] else "; see --help")
    return text


def write_json(path: str, content: Any) -> None:
    """Write what a command found to the file of its --json. Raises InputError where that cannot be."""
    from fer_dist.data.manifest import write_atomically

    try:
        write_atomically(Path(path), json.dumps(content, indent=1).encode() + b"\n")
    except OSError as error:
        raise InputError(f"--json {path}: cannot be written ({error.strerror})") from None


def positional() -> Any:
    """Marks a field that is given by its place instead of a flag."""
    import tyro

    return tyro.conf.Positional


def flat() -> Any:
    """Marks a dataclass field whose own fields become flags without its name before them."""
    import tyro

    return tyro.conf.arg(name="")
