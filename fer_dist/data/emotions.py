"""Emotion names and the label table of each dataset. Names travel everywhere; a bare index never leaves its table.

A user's own classes are names like any other: `class_names` says what may be one.

Label order is this field's most repeated silent bug, so each table stands here once, with its source.
"""

import unicodedata
from collections.abc import Collection, Iterable, Sequence

from fer_dist.errors import InputError

SEVEN = ("surprise", "fear", "disgust", "anger", "sadness", "happiness", "neutrality")
"""The study's classes, in the order in which it lists them. Source: Huang et al. 2023, table 1."""

EIGHT = (*SEVEN, "contempt")
"""The seven and contempt, as in AffectNet-8 and FER+."""

CODES: dict[str, dict[str, str]] = {
    # kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge, data page
    "fer2013": {
        "0": "anger",
        "1": "disgust",
        "2": "fear",
        "3": "happiness",
        "4": "sadness",
        "5": "surprise",
        "6": "neutrality",
    },
    # Li, Deng and Du 2017, readme of RAF-DB basic
    "rafdb": {
        "1": "surprise",
        "2": "fear",
        "3": "disgust",
        "4": "happiness",
        "5": "sadness",
        "6": "anger",
        "7": "neutrality",
    },
    # Mollahosseini, Hasani and Mahoor 2017, readme of AffectNet; 8 none, 9 uncertain and 10 no-face are no emotions
    "affectnet": {
        "0": "neutrality",
        "1": "happiness",
        "2": "sadness",
        "3": "surprise",
        "4": "fear",
        "5": "disgust",
        "6": "anger",
        "7": "contempt",
    },
    # Barsoum et al. 2016, order of the vote columns in microsoft/FERPlus; then unknown and NF (not a face)
    "ferplus": {
        "0": "neutrality",
        "1": "happiness",
        "2": "surprise",
        "3": "sadness",
        "4": "anger",
        "5": "disgust",
        "6": "fear",
        "7": "contempt",
    },
    # Lucey et al. 2010, readme of CK+
    "ckplus": {
        "0": "neutrality",
        "1": "anger",
        "2": "contempt",
        "3": "disgust",
        "4": "fear",
        "5": "happiness",
        "6": "sadness",
        "7": "surprise",
    },
    # Lyons et al. 1998, file names of JAFFE
    "jaffe": {
        "AN": "anger",
        "DI": "disgust",
        "FE": "fear",
        "HA": "happiness",
        "NE": "neutrality",
        "SA": "sadness",
        "SU": "surprise",
    },
    # Lundqvist, Flykt and Oehman 1998, file names of KDEF
    "kdef": {
        "AF": "fear",
        "AN": "anger",
        "DI": "disgust",
        "HA": "happiness",
        "NE": "neutrality",
        "SA": "sadness",
        "SU": "surprise",
    },
    # Zhang et al. 2015, readme of ExpW
    "expw": {
        "0": "anger",
        "1": "disgust",
        "2": "fear",
        "3": "happiness",
        "4": "sadness",
        "5": "surprise",
        "6": "neutrality",
    },
    # Chen, Cho and Tseng 2013, the letter in a file name of TCCE
    "tcce": {
        "a": "neutrality",
        "b": "happiness",
        "c": "sadness",
        "d": "anger",
        "e": "disgust",
        "f": "fear",
        "g": "surprise",
    },
}
"""For each dataset: the release's own code, as text -> our name. Source: facts named beside each table."""

WORDS: dict[str, str] = {
    **dict.fromkeys(("surprise", "surprised"), "surprise"),
    **dict.fromkeys(("fear", "fearful", "afraid", "scared"), "fear"),
    **dict.fromkeys(("disgust", "disgusted"), "disgust"),
    **dict.fromkeys(("anger", "angry"), "anger"),
    **dict.fromkeys(("sadness", "sad"), "sadness"),
    **dict.fromkeys(("happiness", "happy", "joy"), "happiness"),
    **dict.fromkeys(("neutrality", "neutral"), "neutrality"),
    **dict.fromkeys(("contempt", "contemptuous"), "contempt"),
}
"""Class names in the wild, lower case -> our name."""


def emotion_of_word(word: str) -> str | None:
    """Our name for a class name in the wild, in any case; None where the word names no emotion that we know."""
    return WORDS.get(word.strip().lower())


MOST_CLASSES = 100
"""Of one network or set: a confusion matrix of more is 40 inches wide."""

LONGEST_NAME = 40
"""Letters of a class's name, which heads columns and stands beside bars."""

SHOWN = 12
"""Names that a message lists before it counts the others."""

NAMED_SETS = {"seven": SEVEN, "eight": EIGHT}


def class_name(word: str) -> str:
    """Our name for any class: that of an emotion we know, else the word itself, whose case and blanks do not count."""
    plain = " ".join(unicodedata.normalize("NFC", word).split()).lower()
    return WORDS.get(plain, plain)


def class_names(words: Iterable[str], source: str) -> tuple[str, ...]:
    """The names of classes that a user lists, in their order. source: the flag and what it was given, for messages.

    Raises InputError for what is no name, for names that mean the same class, and for too many.
    """
    found: dict[str, str] = {}
    for word in words:
        name = class_name(word)
        if fault := fault_of_name(name):
            raise InputError(
                f"{source}: {word.strip()[:80]!r} {fault}; give names with commas between, as weak,engaged"
            )
        if name in found:
            raise InputError(
                f"{source}: {found[name].strip()!r} and {word.strip()!r} are the same class, {name}: case and blanks "
                "do not count, and words for an emotion that we know mean that one; leave one out"
            )
        found[name] = word
    if len(found) > MOST_CLASSES:
        raise InputError(f"{source[:80]}: {len(found)} classes, and there can be {MOST_CLASSES}; leave some out")
    return tuple(found)


def class_of_label(label: str, classes: tuple[str, ...]) -> str | None:
    """Our name for what a release writes; None where it means none.

    classes: those that a user lists for it; empty where they are the emotions that we know.
    """
    if not classes:
        return emotion_of_word(label)
    name = class_name(label)
    return name if name in classes else None


def fault_of_name(name: str) -> str:
    """Why this cannot be the name of a class; empty where it can."""
    if not name.strip():
        return "is no name"
    if len(name) > LONGEST_NAME:
        return f"has {len(name)} letters, and a name has at most {LONGEST_NAME}"
    if not name.isprintable() or "," in name:
        return "has a sign that no name has"
    return "" if name != "-" else "means no class"


def fault_of_names(names: Collection[str]) -> str:
    """Why these cannot be the classes of a set or a network, by what a file says of them; empty where they can."""
    faults = [f"{name[:80]!r} {fault}" for name in names if (fault := fault_of_name(name))]
    if len(names) > MOST_CLASSES:
        faults.append(f"{len(names)}, and there can be {MOST_CLASSES}")
    return faults[0] if faults else ""


def model_classes(given: str, flag: str) -> tuple[str, ...]:
    """The classes of a network: seven, eight, or names with commas between. Raises InputError for what names none."""
    if given.strip() in NAMED_SETS:
        return NAMED_SETS[given.strip()]
    if "," not in given:
        raise InputError(f"{flag} {given[:80]}: give seven, eight, or the names of your classes, as weak,engaged,pain")
    return class_names(given.split(","), f"{flag} {given[:80]}")


def columns_of(
    emotions: tuple[str, ...], model_emotions: tuple[str, ...], drop_extra: bool = False
) -> list[int | None]:
    """For each emotion of a set, the output of the model that stands for it.

    emotions:       the set's names, in the order of its labels.
    model_emotions: the model's names, in the order of its outputs.
    Returns one entry for each name of the set: an output's index, or None where drop_extra leaves the name out.
    Raises InputError for a name that the model does not have, unless drop_extra, and where it has none of them.
    """
    missing = [name for name in emotions if name not in model_emotions]
    if emotions and len(missing) == len(emotions):
        raise InputError(
            f"the data has {_few(missing)}, the model {_few(model_emotions)}: they have no class in common; give a set "
            f"or a model with some of the same names (in training: --model.emotions {','.join(missing[:SHOWN])})"
        )
    if missing and not drop_extra:
        raise InputError(
            f"the data has {_few(missing)}, which the model does not have ({_few(model_emotions)}); "
            "add --data.drop-extra to leave those images out, or train with all of them in --model.emotions"
        )
    return [model_emotions.index(name) if name in model_emotions else None for name in emotions]


def _few(names: Sequence[str]) -> str:
    """The names, as many as a line can hold."""
    shown = ", ".join(names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
