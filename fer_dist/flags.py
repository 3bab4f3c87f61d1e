"""Tables of commands, flags from dataclasses by tyro (a mistyped one is answered with one line), and --json."""

import contextlib
import dataclasses
import io
import json
import os
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_origin, get_type_hints

from fer_dist.errors import InputError, nearest
from fer_dist.monitor import columns

T = TypeVar("T")
Arguments = list[str]


@dataclass(frozen=True)
class Command:
    """One row of a table of commands."""

    help: str
    run: Callable[[Arguments], None]


def listing(commands: Mapping[str, Command | str]) -> str:
    """A line for each command, or whatever else has a name and a text; more where the terminal is narrow."""
    lines, width = [], max(columns() - 2, 30)
    for name, command in commands.items():
        text = command.help if isinstance(command, Command) else command
        lines += textwrap.wrap(f"{name:<10} {text}", width, subsequent_indent=" " * 11)
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

    _name_places(kind)
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
            flags = tyro.cli(kind, args=arguments, prog=f"fer-dist {command}", **start)
    except SystemExit as ended:
        if not ended.code:
            raise
        raise InputError(f"fer-dist {command}: {_one_line(complaint.getvalue())}") from None
    for name in _empty(flags):
        raise InputError(f"fer-dist {command}: {name} is missing; see --help")
    return flags


def _name_places(kind: Any) -> None:
    """Let help and complaints call what is given by its place by its field: FOLDER, where tyro says STR."""
    import tyro

    for item in dataclasses.fields(kind):
        of, marks = _parts(kind, item.name)
        if dataclasses.is_dataclass(of):
            _name_places(of)
        elif positional() in marks and len(marks) == 1:
            named = tyro.conf.arg(metavar=_place_name(item.name, of))
            kind.__annotations__[item.name] = Annotated[of, positional(), named]


def _empty(flags: Any) -> Iterator[str]:
    """What must be given and may be given several times, and was given not once: tyro takes that for none."""
    for item in dataclasses.fields(flags):
        value = getattr(flags, item.name)
        if dataclasses.is_dataclass(value):
            yield from _empty(value)
        elif value == () and item.default is item.default_factory is dataclasses.MISSING:
            of, marks = _parts(type(flags), item.name)
            yield _place_name(item.name, of) if positional() in marks else f"--{item.name.replace('_', '-')}"


def _parts(kind: Any, name: str) -> tuple[Any, tuple[Any, ...]]:
    """The type of a field, and the marks that Annotated gives it."""
    hint = get_type_hints(kind, include_extras=True)[name]
    return (hint.__origin__, hint.__metadata__) if get_origin(hint) is Annotated else (hint, ())


def _place_name(name: str, of: Any) -> str:
    return f"{name.removesuffix('s').upper()}..." if get_origin(of) is tuple else name.upper()


def _one_line(box: str) -> str:
    """tyro's message without its frame, which may be of ASCII: the complaint, and the nearest flag."""
    lines = [line.strip("│|╭╮╰╯+ ") for line in box.splitlines()]
    # The first of them is a title, and says no more than the next.
    _, *lines = [line for line in lines if set(line) - set("-─ ")]
    text = " ".join(" ".join(lines).split()).split("For full helptext")[0].strip()
    if missing := re.match(r"Missing from .*?: ((?:--)?\S+)", text):
        return f"{missing[1]} is missing; see --help"
    if missing := re.match(r"Missing value for argument '(\S+)'", text):
        return f"{missing[1]} wants a value; see --help"
    if unknown := re.match(r"Unrecognized options: (\S+?),? (?:.*Perhaps you meant: (--\S+))?", text + " "):
        if not unknown[1].startswith("-"):
            return f"{unknown[1]}: one word too many; see --help"
        return f"unknown flag {unknown[1]}" + (f"; did you mean {unknown[2]}?" if unknown[2] else "; see --help")
    return re.sub(r" ?Argument helptext: .*", "", text)


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
