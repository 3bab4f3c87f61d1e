"""Tables of commands, flags from dataclasses by tyro (a mistyped one is answered with one line), and --json."""

import contextlib
import dataclasses
import io
import json
import os
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fer_dist.errors import InputError, nearest
from fer_dist.monitor import columns

T = TypeVar("T")
Arguments = list[str]


@dataclass(frozen=True)
class Command:
    """One row of a table of commands."""

    help: str
    run: Callable[[Arguments], None]


def listing(commands: dict[str, Command]) -> str:
    """A line for each command, more where the terminal is narrow."""
    lines, width = [], max(columns() - 2, 30)
    for name, command in commands.items():
        lines += textwrap.wrap(f"{name:<10} {command.help}", width, subsequent_indent=" " * 11)
    return textwrap.indent("".join(f"{line}\n" for line in lines), "  ")


def pick(commands: dict[str, Command], name: str, kind: str) -> Command:
    if name not in commands:
        raise InputError(f"unknown {kind} {name!r}; {nearest(name, commands)}")
    return commands[name]


def parse(kind: type[T], arguments: Arguments, command: str, default: Any = None) -> T:
    """The flags of a command as its dataclass. tyro's boxed complaint becomes one line; --help is tyro's own.

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
            return tyro.cli(kind, args=arguments, prog=f"fer-dist {command}", **start)
    except SystemExit as ended:
        if not ended.code:
            raise
        raise InputError(f"fer-dist {command}: {_one_line(complaint.getvalue())}") from None


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


def check_outputs(**files: str) -> None:
    """Try the files that a command is to write, before the long work whose end they are.

    files: name of the flag -> path, empty where it is not given. Raises InputError for one that cannot be written.
    """
    for name, path in files.items():
        if path:
            folder = Path(path).parent
            flag = f"--{name.replace('_', '-')} {path}"
            if not folder.is_dir():
                raise InputError(f"{flag}: there is no folder {folder}; make it, or choose another place")
            if Path(path).is_dir():
                raise InputError(f"{flag}: a folder; name a file in it")
            if not os.access(folder, os.W_OK):
                raise InputError(f"{flag}: {folder} cannot be written; choose another place")


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
