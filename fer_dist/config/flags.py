"""Tables of commands, flags from dataclasses by tyro (a mistyped one is answered with one line), and --json."""

import contextlib
import dataclasses
import io
import json
import re
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO, TypeVar, get_args, get_origin, get_type_hints

from fer_dist.errors import InputError, nearest
from fer_dist.progress import columns
from fer_dist.storage.paths import settled, shown

T = TypeVar("T")
Arguments = list[str]


@dataclass(frozen=True)
class Command:
    """One row of a table of commands. below: what may stand behind its name, by name, where that is a command too."""

    help: str
    run: Callable[[Arguments], None]
    below: Callable[[], Mapping[str, Any]] = dict


@dataclass(frozen=True)
class Flags:
    """What a command takes. values: flag -> the choices of its value, none where it is free; switches: without one."""

    values: dict[str, tuple[str, ...]]
    switches: tuple[str, ...]


class _Taken(Exception):
    """In the place of what a command does, where its flags are asked for."""

    def __init__(self, flags: Flags) -> None:
        self.flags = flags


_ASKED: ContextVar[bool] = ContextVar("whether the flags of a command are asked for", default=False)


def flags_taken(run: Callable[[Arguments], None], arguments: Arguments) -> Flags:
    """The flags that a command would read behind these words; it does nothing."""
    mark = _ASKED.set(True)
    try:
        run(arguments)
    except _Taken as found:
        return found.flags
    finally:
        _ASKED.reset(mark)
    raise AssertionError(f"{arguments}: reads no flags")


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


def parse(kind: type[T], arguments: Arguments, command: str, default: Any = None, others: str = "") -> T:
    """The flags of a command as its dataclass, the paths in it settled. tyro's boxed complaint becomes one line.

    default: the value of the dataclass's flattened part (a preset). others: what stands before the settings of training
    that are no flag of this command, as in --set.data.size; empty where it takes no others.
    """
    if _ASKED.get():
        raise _Taken(_taken(kind))
    import tyro

    _name_positionals(kind)
    flags = frozenset(_flags_of(kind, "--"))
    WORDS.set(Words(frozenset()))
    # Training's name for a flag is taken too: it stands in what people copy from one line to the next.
    arguments = [_SETTING.sub(Words(flags).of, word) if word.startswith("--") else word for word in arguments]
    complaint, drawn = io.StringIO(), _Drawn(sys.stdout)
    start: dict[str, Any] = {}
    if default is not None:
        values = {}
        for item in dataclasses.fields(kind):  # type: ignore[arg-type]
            if item.name == "config":
                values[item.name] = default
            elif item.default is dataclasses.MISSING:
                values[item.name] = tyro.MISSING
        start = {"default": kind(**values)}

    def read(words: Sequence[str]) -> Any:
        with contextlib.redirect_stderr(complaint), contextlib.redirect_stdout(drawn):
            return tyro.cli(kind, args=words, prog=f"fer-dist {command}", **start)

    try:
        found = read(arguments)
    except SystemExit as ended:
        if not ended.code:
            sys.stdout.write(drawn.fitted())
            raise
        visible = [shown(word) for word in arguments]
        if visible != arguments:
            # Its box breaks long words into lines, and in pieces no secret is found: let it complain of what is left.
            complaint.truncate(complaint.seek(0))
            with contextlib.suppress(SystemExit):
                read(visible)
        # tyro tells first what is missing, which may be what was mistyped.
        said = next(_unknown(visible, flags), "") or _one_line(complaint.getvalue())
        raise InputError(f"fer-dist {command}: {said}") from None
    for name in _empty(found):
        raise InputError(f"fer-dist {command}: {name} is missing; see --help")
    WORDS.set(Words(flags, others))
    return settled(found)


class _Drawn(io.StringIO):
    """What tyro draws, with the frames and colours that it chooses for a stream."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fitted(self) -> str:
        """The same, its help as wide as the terminal: tyro wraps what stands in frames, but not what stands above."""
        text, width = self.getvalue(), columns()
        if not _COLOUR.sub("", text).startswith("usage:"):
            return text
        lines = []
        for line in text.split("\n"):
            is_long = len(_COLOUR.sub("", line)) > width
            lines += textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) if is_long else [line]
        return "\n".join(lines)


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def _name_positionals(kind: Any) -> None:
    """Let help and complaints call what is given by its position by its field: FOLDER, where tyro says STR."""
    import tyro

    for item in dataclasses.fields(kind):
        of, marks = _parts(kind, item.name)
        if dataclasses.is_dataclass(of):
            _name_positionals(of)
        elif positional() in marks:
            is_needed = item.default is item.default_factory is dataclasses.MISSING
            # Of several words tyro takes none as the default.
            hint = "(required)" if is_needed else None
            named = tyro.conf.arg(metavar=_positional_name(item.name, of), help_behavior_hint=hint)
            # A dataclass that was parsed before has its name.
            if named not in marks:
                kind.__annotations__[item.name] = Annotated[of, *marks, named]


def _empty(flags: Any) -> Iterator[str]:
    """What must be given and may be given several times, and was given not once: tyro takes that for none."""
    for item in dataclasses.fields(flags):
        value = getattr(flags, item.name)
        if dataclasses.is_dataclass(value):
            yield from _empty(value)
        elif value == () and item.default is item.default_factory is dataclasses.MISSING:
            of, marks = _parts(type(flags), item.name)
            yield _positional_name(item.name, of) if positional() in marks else f"--{item.name.replace('_', '-')}"


def _parts(kind: Any, name: str) -> tuple[Any, tuple[Any, ...]]:
    """The type of a field, and the marks that Annotated gives it."""
    hint = get_type_hints(kind, include_extras=True)[name]
    return (hint.__origin__, hint.__metadata__) if get_origin(hint) is Annotated else (hint, ())


def _positional_name(name: str, of: Any) -> str:
    return f"{name.removesuffix('s').upper()}..." if get_origin(of) is tuple else name.upper()


@dataclass(frozen=True)
class Words:
    """What the settings of training are called where a command takes them. flags: all that it has."""

    flags: frozenset[str]
    others: str = ""

    def of(self, found: re.Match[str]) -> str:
        """The flag for a setting, as --drop-extra for --data.drop-extra; the same where there is none."""
        flag = found[0]
        name = flag.removeprefix("--")
        for known in (flag, f"--{name.partition('.')[2]}", f"--{name.replace('.', '-')}"):
            if known.replace("_", "-") in self.flags:
                return known
        is_own = name.replace("-", "_") in PLANNED or name.startswith(("run.", "ray."))
        return flag if is_own or not self.others else f"{self.others}{name}"


PLANNED = ("data.train", "data.val", "data.leave_out", "train.seed", "train.init_from")
"""Settings for which a plan of a study has words of its own."""

WORDS: ContextVar[Words] = ContextVar("the flags of the command that runs")

_SETTING = re.compile(r"(?<![\w-])--(?:data|model|train|run|ray)\.[a-z0-9_-]*[a-z0-9]")


def in_own_words(text: str) -> str:
    """A message, in which settings have the names that they have in training, with the flags of the command that runs.

    What reads sets and trains knows no command: a remedy that it names must be one that the user can type.
    """
    words = WORDS.get(None)
    if words is None:
        return text
    if "--run.name" not in words.flags:
        text = text.replace("another --run.name", "another run")
    return _SETTING.sub(words.of, text)


def _unknown(words: Sequence[str], flags: Collection[str]) -> Iterator[str]:
    """A message for each of the words that is a flag that there is not, with the nearest that there is."""
    names = {flag.removeprefix("--") for flag in flags}
    for word in words:
        flag = word.partition("=")[0]
        name = flag.removeprefix("--").replace("_", "-")
        if word.startswith("--") and name not in names and re.sub(r"(^|\.)no-", r"\1", name) not in names:
            near = get_close_matches(name, names, n=1)
            yield f"unknown flag {flag}; " + (f"did you mean --{near[0]}?" if near else "see --help")


def _flags_of(kind: Any, prefix: str) -> Iterator[str]:
    """All flags that a dataclass becomes."""
    for item in dataclasses.fields(kind):
        inner, marks = _parts(kind, item.name)
        if dataclasses.is_dataclass(inner):
            yield from _flags_of(inner, prefix if marks else f"{prefix}{item.name}.".replace("_", "-"))
        elif positional() not in marks:
            yield f"{prefix}{item.name}".replace("_", "-")


def _taken(kind: Any, prefix: str = "--") -> Flags:
    """The flags of a dataclass, with what may stand behind each."""
    values: dict[str, tuple[str, ...]] = {}
    switches: tuple[str, ...] = ()
    for item in dataclasses.fields(kind):
        inner, marks = _parts(kind, item.name)
        name = f"{prefix}{item.name}".replace("_", "-")
        if dataclasses.is_dataclass(inner):
            below = _taken(inner, prefix if marks else f"{name}.")
            values |= below.values
            switches += below.switches
        elif inner is bool:
            room, _, last = name.rpartition(".")
            switches += (name, f"{room}.no-{last}" if room else f"--no-{last.removeprefix('--')}")
        elif positional() not in marks:
            of = get_args(inner)[0] if get_origin(inner) is tuple else inner
            values[name] = tuple(map(str, get_args(of))) if get_origin(of) is Literal else ()
    return Flags(values, switches)


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
    if unknown := re.match(r"Unrecognized options: (\S+)", text):
        is_flag = unknown[1].startswith("-")
        return f"{f'unknown flag {unknown[1]}' if is_flag else f'{unknown[1]}: one word too many'}; see --help"
    text = re.sub(r" ?Argument helptext: .*", "", text)
    text = re.sub(r"invalid literal for int\(\) with base 10: (.*)", r"\1 is no whole number", text)
    return re.sub(r"could not convert string to float: (.*)", r"\1 is no number", text)


def write_json(path: str, content: Any) -> None:
    """Write what a command found to the file of its --json. Raises InputError where that cannot be."""
    from fer_dist.storage.writing import write_output

    try:
        write_output(Path(path), json.dumps(content, indent=1).encode() + b"\n")
    except OSError as error:
        raise InputError(f"--json {path}: cannot be written ({error.strerror})") from None


def positional() -> Any:
    """Marks a field that is given by its position instead of a flag."""
    import tyro

    return tyro.conf.Positional


def flat() -> Any:
    """Marks a dataclass field whose own fields become flags without its name before them."""
    import tyro

    return tyro.conf.arg(name="")
