"""The images that a report shows: chosen as they say, small, upright, and without what else their files hold."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.made_study import drawn_predictions
from support.page import Page, rendered
from support.small_studies import transferred

from fer_dist.report.findings import Gallery
from fer_dist.scores.table import Predictions, predicted
from fer_dist.study.gallery import MOST_EMOTIONS, OF_EACH, SIDE, examples, thumbnail, write_thumbnails


def test_the_most_confident_errors_and_the_least_certain_right_answers_are_shown():
    table = drawn_predictions("affectnet", 2, 300, "m")
    answers, shares = predicted(table), table.probabilities.max(axis=1)
    rows = {key: row for row, key in enumerate(table.keys)}
    for one in examples(table):
        chosen = [rows[entry["key"]] for entry in one["entries"]]
        assert {table.emotions[table.labels[row]] for row in chosen} == {one["emotion"]}
        assert [entry["p"] for entry in one["entries"]] == [float(shares[row]) for row in chosen]
        is_right = answers == table.labels
        of_kind = (is_right if one["kind"] == "uncertain" else ~is_right) & (
            table.labels == table.emotions.index(one["emotion"])
        )
        if one["kind"] == "confused":
            of_kind &= answers == table.emotions.index(one["taken"])
        wanted = np.sort(shares[of_kind]) if one["kind"] == "uncertain" else -np.sort(-shares[of_kind])
        assert [entry["p"] for entry in one["entries"]] == wanted[: len(chosen)].tolist()
        assert one["images"] == of_kind.sum()
        assert len(chosen) == min(one["images"], 4 if one["kind"] == "confused" else OF_EACH)
    kinds = [one["kind"] for one in examples(table)]
    assert set(kinds) == {"errors", "uncertain", "confused"}


def test_of_a_hundred_classes_those_with_the_most_errors_are_shown():
    random = np.random.default_rng(0)
    labels = random.integers(0, 100, 2000)
    probabilities = random.dirichlet(np.ones(100), 2000).astype(np.float32)
    names = tuple(f"class {number}" for number in range(100))
    table = Predictions([str(row) for row in range(2000)], labels, probabilities, names)
    lists = [one for one in examples(table) if one["kind"] == "errors"]
    assert len(lists) == MOST_EMOTIONS
    errors = np.bincount(labels[predicted(table) != labels], minlength=100)
    assert min(one["images"] for one in lists) >= np.sort(errors)[-MOST_EMOTIONS]


def encoded(size, **more):
    stream = io.BytesIO()
    Image.new("RGB", size, "#a03020").save(stream, "JPEG", **more)
    return stream.getvalue()


@pytest.mark.parametrize(("size", "small"), [((200, 100), (64, 32)), ((48, 48), (64, 64)), ((3, 900), (1, 64))])
def test_a_thumbnail_is_as_large_as_fits(size, small):
    assert Image.open(io.BytesIO(thumbnail(encoded(size)))).size == small
    assert max(small) == SIDE


def test_a_thumbnail_is_upright_and_says_nothing_else_of_its_image():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "somebody's camera"
    found = thumbnail(encoded((200, 100), exif=exif))
    assert Image.open(io.BytesIO(found)).size == (32, 64)
    assert b"camera" not in found


def test_an_image_that_does_not_decode_has_no_file_and_its_entry_stays(tmp_path):
    lists = [{"entries": [{"key": "a"}, {"key": "../b"}]}]
    (path,) = write_thumbnails(lists, iter([b"no image", encoded((64, 64))]), tmp_path, "one")
    assert [entry.get("file") for entry in lists[0]["entries"]] == [None, path]
    assert (tmp_path / path).resolve().parent == tmp_path / "gallery" / "one"


def shown(file):
    entry = {"key": "<b>1", "label": "x", "predicted": "weak & y", "p": 0.876, "file": file}
    one = {"kind": "errors", "emotion": "x", "images": 7, "entries": [entry]}
    study = transferred(880, 760)
    return Gallery("lab", "lab-test", (one,)), study


def test_a_page_shows_the_face_the_answer_its_probability_and_the_key_and_does_without_the_face(tmp_path):
    gallery, study = shown("gallery/x.jpg")
    study = replace(study, galleries=(gallery,))
    without = rendered(study, tmp_path)
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / "x.jpg").write_bytes(thumbnail(encoded((64, 64))))
    page = rendered(study, tmp_path)
    assert Page(page).values("img", "src")[0].startswith("data:image/jpeg;base64,/9j/")
    assert Page(page).values("img", "alt") == ["a face labelled x, taken for weak & y"]
    assert Page(without).values("img", "src") == []
    for text in (page, without):
        said = " ".join("".join(Page(text).text).split())
        assert "weak & y 88 %" in said.replace("\N{NO-BREAK SPACE}", " ")
        assert "<b>1" in said
        assert "1 of 7" in said
    (tmp_path / "gallery" / "x.jpg").write_bytes(b"GIF89a")
    assert rendered(study, tmp_path) == without
