"""What the label files of a sample say: the number in .cls, the emotion by name in .json."""

import json
from typing import Any

from fer_dist.data.emotions import class_name

LONGEST = 64
"""Bytes of a .cls that are read; Python refuses numbers of thousands of digits with an error of its own."""

MOST_BYTES = 16 << 20
"""Of a .cls or a .json that is read into memory."""


def number_in(content: bytes) -> int | None:
    """The number in a .cls, with blanks around it and zeros before it or not; None where it holds no decimal number."""
    if len(content) > LONGEST:
        return None
    # int() alone would take +3 and 1_0 as well.
    return int(content) if content.isdigit() or content.strip().removeprefix(b"-").isdigit() else None


def facts_in(content: bytes) -> dict[str, Any]:
    """What a .json says. Raises ValueError, which says what is wrong with it, where it is no JSON object."""
    try:
        facts = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("its .json does not parse") from None
    if not isinstance(facts, dict):
        raise ValueError("its .json is not an object")
    return facts


def emotion_in(facts: dict[str, Any], emotions: tuple[str, ...]) -> str | None:
    """The emotion that a .json names; None where it names none. Raises ValueError where that is none of the set's."""
    if "emotion" not in facts:
        return None
    word = word_in(facts)
    emotion = word if word in emotions else class_name(word)
    if emotion not in emotions:
        raise ValueError(f"the emotion {word[:20]!r} is not among {', '.join(emotions)}")
    return emotion


def word_in(facts: dict[str, Any]) -> str:
    """What a .json says under emotion, as text; empty where it says nothing there."""
    word = facts.get("emotion", "")
    # What is nested just deep enough to be read can be too deep to be written.
    return str(word) if isinstance(word, str | int | float | None) else f"a {type(word).__name__}"
