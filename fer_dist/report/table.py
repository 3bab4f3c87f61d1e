"""Tables as values, and as CSV with exact numbers or LaTeX (booktabs) with printed ones. Pages draw their own."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fer_dist.report.numbers import percent, signed_points, span

Kind = Literal["word", "count", "part", "points", "number", "probability"]

WITHIN, ABOVE, BELOW = "within", "above", "below"
SHAPES = {WITHIN: "●", ABOVE: "▲", BELOW: "▼"}
"""A mark is a word and a shape, so that it needs no colour."""
LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "\N{MINUS SIGN}": "$-$",
    "\N{NO-BREAK SPACE}": "~",
    "\n": " ",
}
"""Character -> what stands for it in LaTeX's text."""
FORMULA = ("=", "+", "-", "@", "\t", "\n", *"＝＋－＠")
"""How a cell begins that a spreadsheet carries out; the wide ones count where text is Japanese."""


@dataclass(frozen=True)
class Cell:
    """One value. value: None where there is none; parts are of 1, points are differences of parts.

    interval: its 95 % interval, in the unit of the value. note: words beneath. mark: WITHIN, ABOVE or BELOW.
    is_own:   measured on the set that the model was trained on.
    """

    value: str | float | None
    kind: Kind = "word"
    interval: Sequence[float] | None = None
    note: str = ""
    mark: str = ""
    is_own: bool = False

    @property
    def text(self) -> str:
        value = self.value
        if value is None or value == "":
            return "–"
        if isinstance(value, str):
            return value
        if self.kind == "part":
            return percent(value)
        if self.kind == "points":
            return signed_points(value)
        if self.kind == "probability":
            return "< 0.001" if value < 0.001 else f"{value:.3f}"
        return f"{value:,}" if self.kind == "count" else f"{value:.2f}".replace("-", "\N{MINUS SIGN}")

    @property
    def interval_text(self) -> str:
        return span(self.interval) if self.interval else ""

    @property
    def is_word(self) -> bool:
        return self.kind == "word"


Row = tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Rows under columns; the first cell of a row names it. name: of its files, without suffix.

    is_sortable: whether rows may stand in another order: there is no total among them, and a column has one unit.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    is_sortable: bool = True

    def is_word(self, column: int) -> bool:
        """Whether a column holds words, which stand to the left."""
        return all(row[column].is_word for row in self.rows)


def word(text: str | None) -> Cell:
    return Cell(text)


def count(number: int | None) -> Cell:
    return Cell(number, "count")


def part(value: float | None, interval: Sequence[float] | None = None, note: str = "", is_own: bool = False) -> Cell:
    return Cell(value, "part", interval if value is not None else None, note, is_own=is_own)


def points(value: float | None, interval: Sequence[float] | None = None) -> Cell:
    return Cell(value, "points", interval if value is not None else None)


def mark_of(difference: Sequence[float]) -> str:
    """Where our value lies, by the interval of ours less another's: WITHIN where it holds 0, else ABOVE or BELOW."""
    low, high = difference
    return ABOVE if low > 0 else BELOW if high < 0 else WITHIN


def to_csv(table: Table) -> str:
    """Numbers in full; an interval is two columns more, a note is one. No word is a formula to a spreadsheet."""
    has_interval = [any(row[column].interval for row in table.rows) for column in range(len(table.columns))]
    has_note = [any(row[column].note for row in table.rows) for column in range(len(table.columns))]
    header: list[str] = []
    for column, name in enumerate(table.columns):
        header.append(name)
        header += [f"{name}, low", f"{name}, high"] if has_interval[column] else []
        header += [f"{name}, note"] if has_note[column] else []
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(_harmless, header))
    for row in table.rows:
        written: list[object] = []
        for column, cell in enumerate(row):
            written.append("" if cell.value is None else _harmless(cell.value))
            written += list(cell.interval or ("", "")) if has_interval[column] else []
            written += [_harmless(cell.note)] if has_note[column] else []
        writer.writerow(written)
    return stream.getvalue()


def _harmless(value: str | float) -> str | float:
    """A cell that no spreadsheet carries out: words that begin as a formula does get the quote that makes them text.

    Names of models, sets and attributes may come out of files that others made. Source: OWASP, CSV Injection.
    """
    if not isinstance(value, str):
        return value
    # The writer quotes the one line end and not the other, after which a reader begins a row.
    value = value.replace("\r", "\n")
    return f"'{value}" if value.startswith(FORMULA) and not re.fullmatch(r"[+-]?\d+(\.\d+)?", value) else value


def to_latex(table: Table) -> str:
    """A table environment that needs the package booktabs."""
    columns = "".join("l" if column == 0 or table.is_word(column) else "r" for column in range(len(table.columns)))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(table.caption)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(escaped, table.columns)) + r" \\",
        r"\midrule",
        *(" & ".join(map(_latex_cell, row)) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(LATEX.get(character, character) for character in text)


def _latex_cell(cell: Cell) -> str:
    more = [escaped(text) for text in (cell.interval_text, cell.note) if text]
    beneath = rf" {{\scriptsize ({'; '.join(more)})}}" if more else ""
    return escaped(cell.text) + beneath
