"""Numbers as a report writes them."""

from collections.abc import Sequence


def percent(part: float | None) -> str:
    return "–" if part is None else f"{100 * part:.1f} %"


def span(interval: Sequence[float]) -> str:
    """Both ends, in percent."""
    low, high = interval
    ends = " to ".join(_unsigned_zero(f"{100 * end:.1f}") for end in (low, high))
    return ends.replace("-", "\N{MINUS SIGN}")


def points(difference: float) -> str:
    """The size of a difference of two parts, in percentage points, without its sign."""
    return f"{abs(100 * difference):.1f}"


def signed_points(difference: float) -> str:
    text = _unsigned_zero(f"{100 * difference:+.1f}")
    return text.replace("-", "\N{MINUS SIGN}")


def probability(p: float) -> str:
    """As "p < 0.001" or "p = 0.032"."""
    if p < 0.001:
        return "p < 0.001"
    # What rounds to 0.050 must show on which side of it it lies.
    return f"p = {p:.4f}" if 0.0495 <= p < 0.0505 else f"p = {p:.3f}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    size, unit = next((pair for pair in ((3600, "h"), (60, "min")) if seconds >= pair[0]), (1, "s"))
    return f"{seconds / size:.1f} {unit}"


def listed(words: Sequence[str]) -> str:
    """As "a, b and c"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def unbroken(sentence: str) -> str:
    """Keep a percent sign on the line of its number, and a p with its value."""
    for spaced in (" %", "p < ", "p = "):
        sentence = sentence.replace(spaced, spaced.replace(" ", "\N{NO-BREAK SPACE}"))
    return sentence


def _unsigned_zero(text: str) -> str:
    return text.lstrip("+-") if text in ("-0.0", "+0.0") else text
