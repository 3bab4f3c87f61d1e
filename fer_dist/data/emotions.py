"""Emotion names and the label table of each dataset. Names travel everywhere; a bare index never leaves its table.

Label order is this field's most repeated silent bug, so each table stands here once, with its source.
"""

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


def columns_of(
    emotions: tuple[str, ...], model_emotions: tuple[str, ...], drop_extra: bool = False
) -> list[int | None]:
    """For each emotion of a set, the output of the model that stands for it.

    emotions:       the set's names, in the order of its labels.
    model_emotions: the model's names, in the order of its outputs.
    Returns one entry for each name of the set: an output's index, or None where drop_extra leaves the name out.
    Raises InputError for a name that the model does not have, unless drop_extra.
    """
    missing = [name for name in emotions if name not in model_emotions]
    if missing and not drop_extra:
        raise InputError(
            f"the data has {', '.join(missing)}, which the model does not have ({', '.join(model_emotions)}); "
            "add --data.drop-extra to leave those images out"
        )
    return [model_emotions.index(name) if name in model_emotions else None for name in emotions]
