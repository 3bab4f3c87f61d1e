"""What a person sees of any work: a progress bar, plain lines, tables. The one file that prints."""

import io
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TextIO

SECONDS_BETWEEN_LINES = 10.0
COLUMNS_WITHOUT_TERMINAL = 120
LONGEST_WORDS = (24, 12)
"""Characters of a word that a table does not cut, and where they have no room; with too little for those, rows become
lines."""


@dataclass(frozen=True)
class Message:
    """Something to show: a line that stays, or progress: done, of a total that is 0 while it is not known."""

    text: str
    done: int | None = None
    total: int = 0


@dataclass(frozen=True)
class Scalars:
    """Numbers of a run for a machine that watches it: name -> value, as they stand after a step. Nobody reads them."""

    run: str
    step: int
    values: dict[str, float]


UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line ends, those that turn the direction of a text, and halves of characters."""

Cells = tuple[list[str], list[list[str]]]
"""A table: the header, and a list of cells a row."""

Progress = Callable[[Message | Scalars], None]

Tally = Callable[[int, int | None], None]
"""Called with what is done and the total, None where that is not known."""


def counting(show: Progress, text: str) -> Tally:
    """A tally that shows itself under this text."""
    return lambda done, total: show(Message(text, done, total or 0))


def warnings_to(show: Progress) -> Callable[[str], None]:
    """Shows a text as a warning."""
    return lambda text: show(Message(f"warning: {text}"))


def printable(text: str) -> str:
    r"""One line for a terminal: what could move its cursor, colour it or name its window reads as \x1b instead.

    Keys, file names and the like are others' words. Those in any script stay as they are.
    """
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def columns() -> int:
    """How wide a person reads: COLUMNS, the terminal's width, or 120 where there is none."""
    return shutil.get_terminal_size((COLUMNS_WITHOUT_TERMINAL, 24)).columns


class StandardStream(io.FileIO):
    """What is written to standard output or error. It goes nowhere once nobody reads it any more (`... | head`), so
    that the work goes on to its end; a full disk behind it fails once, and not again at the interpreter's exit."""

    _is_lost = False

    def write(self, content: Any) -> int:
        try:
            if not self._is_lost:
                return super().write(content)
        except BrokenPipeError:
            self._is_lost = True
        except OSError as error:
            self._is_lost = True
            raise OSError(error.errno, error.strerror, f"standard {'output' if self.name == 1 else 'error'}") from None
        return len(content)


def guard_output() -> None:
    """Make standard output and error streams that outlive their reader; one that is closed (`>&-`) gets nowhere."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        # What someone else put in its place, as a test does, is theirs.
        elif stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
            stream.flush()
            raw = StandardStream(stream.fileno(), "w", closefd=False)
            is_buffered = isinstance(stream.buffer, io.BufferedWriter)
            guarded = io.TextIOWrapper(
                io.BufferedWriter(raw) if is_buffered else raw,
                stream.encoding,
                stream.errors,
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, guarded)


class Terminal:
    """Shows messages: a bar where there is a terminal, else a quiet line now and then."""

    def __init__(self, stream: TextIO | None = None) -> None:
        from rich.console import Console

        self._console = Console(file=stream or sys.stderr, highlight=False)
        self._bar: Any = None
        self._shown = self._started = 0.0
        self._first: int | None = None

    def __call__(self, message: Message | Scalars) -> None:
        if isinstance(message, Scalars):
            return
        message = replace(message, text=printable(message.text))
        if message.done is None:
            self._console.print(message.text, markup=False, soft_wrap=True)
        elif self._console.is_terminal:
            self._show_bar(message)
        else:
            self._show_line(message)

    def close(self) -> None:
        """Take the bar away, so that what is printed next stands by itself."""
        if self._bar:
            self._bar.stop()
            self._bar = None
        self._first = None

    def say(self, text: str) -> None:
        """A line that stays."""
        self(Message(text))

    def table(self, header: list[str], rows: list[list[str]], text_columns: int = 2) -> None:
        """A table on standard output, numbers to the right, as wide as `columns` says: words wrap, and where the
        numbers would not fit even so, each cell is a line.

        text_columns: how many at the left hold words.
        """
        from rich.console import Console
        from rich.table import Table

        console = Console(width=columns(), highlight=False, markup=False, emoji=False)
        header, *rows = [[printable(cell) for cell in row] for row in (header, *rows)]
        widths = _column_widths(header, rows, text_columns, console.width - 3 * len(header) - 1)
        if widths:
            table = Table()
            for number, (name, width) in enumerate(zip(header, widths, strict=True)):
                justify: Any = "left" if number < text_columns else "right"
                table.add_column(name, width=width, justify=justify, overflow="fold")
            for row in rows:
                table.add_row(*row)
            console.print(table)
            return
        for row in rows:
            for name, cell in zip(header, row, strict=True):
                console.print(f"{name}: {cell}")
            console.print()

    def count(self, text: str) -> Tally:
        """A `progress(done, total)` callable that shows itself under this text."""
        return counting(self, text)

    def _show_bar(self, message: Message) -> None:
        from rich import progress

        if self._bar is None:
            columns = (
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TimeRemainingColumn(),
                progress.TextColumn("{task.description}", markup=False),
            )
            self._bar = progress.Progress(*columns, console=self._console, transient=True)
            self._bar.start()
            self._bar.add_task(message.text, total=None)
        self._bar.update(0, description=message.text, completed=message.done, total=message.total or None)

    def _show_line(self, message: Message) -> None:
        now, done, total = time.monotonic(), message.done or 0, message.total
        if self._first is None:
            self._started = self._shown = now
            self._first = done
        if now - self._shown < SECONDS_BETWEEN_LINES:
            return
        self._shown = now
        left = ""
        if self._first < done < total:
            left = f", {_clock((now - self._started) / (done - self._first) * (total - done))} left"
        self._console.print(f"{done}{f'/{total}' if total else ''} {message.text}{left}", markup=False, soft_wrap=True)


def _column_widths(header: list[str], rows: list[list[str]], text_columns: int, room: int) -> list[int]:
    """What each column of a table gets of so many characters; empty where they are too few."""
    from rich.cells import cell_len

    def longest_word(cells: Sequence[str]) -> int:
        return max((cell_len(word) for cell in cells for word in cell.split()), default=1)

    cells = list(zip(header, *rows, strict=True))
    texts, numbers = cells[:text_columns], cells[text_columns:]
    full = [max(map(cell_len, column)) for column in cells]
    for most in LONGEST_WORDS:
        least = [min(longest_word(column), most) for column in texts]
        # A number that is cut in two reads as another one, so of its column only the heading wraps.
        least += [max([longest_word(column[:1]), *map(cell_len, column[1:])]) for column in numbers]
        spare = room - sum(least)
        if spare >= 0:
            break
    else:
        return []
    # Who wants little gets it, and the rest share what is left.
    hungry = sorted(range(len(full)), key=lambda number: full[number] - least[number])
    for index, number in enumerate(hungry):
        more = min(full[number] - least[number], spare // (len(hungry) - index))
        least[number] += more
        spare -= more
    return least


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
