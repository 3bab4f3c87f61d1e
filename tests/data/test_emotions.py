"""The label tables and the matching of emotions by name."""

import pytest

from fer_dist.data.emotions import (
    CODES,
    EIGHT,
    MOST_CLASSES,
    SEVEN,
    WORDS,
    class_names,
    columns_of,
    emotion_of_word,
    model_classes,
)
from fer_dist.errors import InputError

PUBLISHED = {
    # Each as one line in the order of the release's codes, typed from the sources named in emotions.py.
    "fer2013": "0 anger 1 disgust 2 fear 3 happiness 4 sadness 5 surprise 6 neutrality",
    "rafdb": "1 surprise 2 fear 3 disgust 4 happiness 5 sadness 6 anger 7 neutrality",
    "affectnet": "0 neutrality 1 happiness 2 sadness 3 surprise 4 fear 5 disgust 6 anger 7 contempt",
    "ferplus": "0 neutrality 1 happiness 2 surprise 3 sadness 4 anger 5 disgust 6 fear 7 contempt",
    "ckplus": "0 neutrality 1 anger 2 contempt 3 disgust 4 fear 5 happiness 6 sadness 7 surprise",
    "jaffe": "AN anger DI disgust FE fear HA happiness NE neutrality SA sadness SU surprise",
    "kdef": "AF fear AN anger DI disgust HA happiness NE neutrality SA sadness SU surprise",
    "expw": "0 anger 1 disgust 2 fear 3 happiness 4 sadness 5 surprise 6 neutrality",
    "tcce": "a neutrality b happiness c sadness d anger e disgust f fear g surprise",
}


def test_the_study_has_seven_emotions_and_contempt_is_the_eighth() -> None:
    assert len(set(SEVEN)) == 7
    assert (*SEVEN, "contempt") == EIGHT


@pytest.mark.parametrize("dataset", CODES)
def test_each_code_means_one_emotion_and_each_emotion_has_one_code(dataset: str) -> None:
    emotions = list(CODES[dataset].values())
    assert len(set(emotions)) == len(emotions)
    assert set(emotions) in (set(SEVEN), set(EIGHT))


@pytest.mark.parametrize("dataset", CODES)
def test_the_table_is_the_published_one(dataset: str) -> None:
    words = PUBLISHED[dataset].split()
    assert CODES[dataset] == dict(zip(words[::2], words[1::2], strict=True))


@pytest.mark.parametrize("dataset", ["affectnet", "ferplus", "ckplus"])
def test_the_sets_with_contempt_are_those_with_eight_codes(dataset: str) -> None:
    assert [name for name, table in CODES.items() if len(table) == 8] == ["affectnet", "ferplus", "ckplus"]
    assert "contempt" in CODES[dataset].values()


def test_every_word_names_one_of_the_eight_and_every_emotion_its_own_name() -> None:
    assert set(WORDS.values()) == set(EIGHT)
    assert all(emotion_of_word(name) == name for name in EIGHT)
    assert all(word == word.lower().strip() for word in WORDS)


@pytest.mark.parametrize(
    ("word", "emotion"),
    [
        ("angry", "anger"),
        ("Happy", "happiness"),
        (" NEUTRAL\n", "neutrality"),
        ("scared", "fear"),
        ("joy", "happiness"),
        ("surprised", "surprise"),
        ("Contempt", "contempt"),
        ("sad", "sadness"),
        ("disgusted", "disgust"),
    ],
)
def test_a_class_name_in_the_wild_is_known_in_any_case(word: str, emotion: str) -> None:
    assert emotion_of_word(word) == emotion


@pytest.mark.parametrize("word", ["", "none", "uncertain", "happ", "3", "surprise!"])
def test_a_word_that_names_no_emotion_gives_none(word: str) -> None:
    assert emotion_of_word(word) is None


def test_columns_are_matched_by_name_whatever_the_order() -> None:
    emotions = tuple(reversed(SEVEN))
    columns = columns_of(emotions, EIGHT)
    assert [EIGHT[column] for column in columns if column is not None] == list(emotions)


def test_a_set_may_have_fewer_emotions_than_the_model() -> None:
    assert columns_of(("anger", "surprise"), SEVEN) == [3, 0]


def test_an_emotion_that_the_model_does_not_have_is_an_error_that_names_it_and_the_remedy() -> None:
    with pytest.raises(InputError, match=r"the data has contempt, which the model does not have .*--data\.drop-extra"):
        columns_of(EIGHT, SEVEN)


def test_drop_extra_gives_no_column_to_an_emotion_that_the_model_does_not_have() -> None:
    assert columns_of(("contempt", *SEVEN), SEVEN, drop_extra=True) == [None, *range(7)]


def test_classes_of_ones_own_keep_their_order_and_words_for_an_emotion_that_we_know_mean_it() -> None:
    assert class_names(("weak", " In\tPain ", "Happy"), "--emotions") == ("weak", "in pain", "happiness")
    assert model_classes("seven", "--model.emotions") == SEVEN
    assert model_classes(" eight ", "--model.emotions") == EIGHT
    assert model_classes("weak, Engaged,pain", "--model.emotions") == ("weak", "engaged", "pain")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "weak, WEAK",
            r"^--model\.emotions weak, WEAK: 'weak' and 'WEAK' are the same class, weak: case and blanks do",
        ),
        ("in pain,in  pain", r"'in pain' and 'in  pain' are the same class, in pain"),
        ("joy,weak,happy", r"'joy' and 'happy' are the same class, happiness"),
        ("e\u0301lan,\u00e9lan", r"are the same class, \u00e9lan"),
        ("weak,,pain", r"'' is no name; give names with commas between, as weak,engaged$"),
        ("weak,a\x07", r"'a\\x07' has a sign that no name has"),
        ("weak,-", r"'-' means no class"),
        (f"weak,{'x' * 41}", r"has 41 letters, and a name has at most 40"),
        ("weak", r"^--model\.emotions weak: give seven, eight, or the names of your classes, as weak,engaged,pain$"),
        (",".join(map(str, range(MOST_CLASSES + 1))), r": 101 classes, and there can be 100; leave some out$"),
    ],
)
def test_classes_that_cannot_be_told_apart_or_are_no_names_are_refused(given: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        model_classes(given, "--model.emotions")


def test_a_set_and_a_model_without_a_common_class_are_refused_whether_or_not_others_may_be_dropped() -> None:
    for drop_extra in (False, True):
        with pytest.raises(
            InputError, match=r"has weak, pain, the model fear: .* no class in .* --model.emotions weak,pain"
        ):
            columns_of(("weak", "pain"), ("fear",), drop_extra)
    assert columns_of(("weak", "pain"), ("pain", "fear"), drop_extra=True) == [None, 0]
