"""The predictions table and scores.json on disk."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from support.disks import fill, small_disk

from fer_dist.cli.commands import COMMANDS, main
from fer_dist.config.flags import Command
from fer_dist.errors import InputError
from fer_dist.evaluate.results import load_predictions, load_scores, predictions_path, save_predictions, save_scores
from fer_dist.scores.figures.canvas import save_figure
from fer_dist.scores.figures.confusion import confusion_figure
from fer_dist.scores.metrics import scores
from fer_dist.scores.table import Predictions

EMOTIONS = ("happiness", "anger", "neutrality")


def example():
    probabilities = np.array([[0.7, 0.3, 0], [0.1, 0.9, 0], [0.25, 0.75, 0]], dtype=np.float32)
    attributes = {
        "subject": np.array(["s1", "s2", "s1"]),
        "age": np.array([31, 4, 70]),
        "valence": np.array([0.5, np.nan, -1.0], dtype=np.float32),
        "is_frontal": np.array([True, False, True]),
        "source": np.array(["a.csv", None, "b.csv"], dtype=object),
    }
    return Predictions(["a/1", "a/2", "ü"], np.array([0, -1, 1]), probabilities, EMOTIONS, ("neutrality",), attributes)


def test_a_table_comes_back_as_it_was(tmp_path):
    before = example()
    path = predictions_path(tmp_path, "film-test")
    save_predictions(path, before)
    after = load_predictions(path)
    assert path == tmp_path / "predictions" / "film-test.parquet"
    assert (list(after.keys), after.emotions, after.masked) == (before.keys, before.emotions, before.masked)
    np.testing.assert_array_equal(after.labels, before.labels)
    np.testing.assert_array_equal(after.probabilities, before.probabilities)
    assert after.probabilities.dtype == np.float32
    assert list(after.attributes) == list(before.attributes)
    for name, values in before.attributes.items():
        np.testing.assert_array_equal(after.attributes[name], values)
        assert after.attributes[name].dtype.kind == values.dtype.kind
    assert scores(after) == scores(before)


def test_other_readers_find_the_promised_columns(tmp_path):
    save_predictions(tmp_path / "t.parquet", example())
    content = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    assert content.column_names[:5] == ["key", "emotion", "p_happiness", "p_anger", "p_neutrality"]
    assert content.column_names[5:] == ["a_subject", "a_age", "a_valence", "a_is_frontal", "a_source"]
    assert content["emotion"].to_pylist() == ["happiness", None, "anger"]
    assert content.schema.field("p_anger").type == pyarrow.float32()
    assert json.loads(content.schema.metadata[b"emotions"]) == list(EMOTIONS)
    assert json.loads(content.schema.metadata[b"masked"]) == ["neutrality"]


def test_the_same_table_is_the_same_bytes_and_leaves_nothing_else_behind(tmp_path):
    save_predictions(tmp_path / "t.parquet", example())
    first = (tmp_path / "t.parquet").read_bytes()
    save_predictions(tmp_path / "t.parquet", example())
    assert (tmp_path / "t.parquet").read_bytes() == first
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.parquet"]


def test_a_failed_save_keeps_the_old_table(tmp_path):
    save_predictions(tmp_path / "t.parquet", example())
    with pytest.raises(InputError, match="the key 'a/1' comes twice; every image counts exactly once"):
        save_predictions(tmp_path / "t.parquet", replace(example(), keys=["a/1", "a/2", "a/1"]))
    assert list(load_predictions(tmp_path / "t.parquet").keys) == ["a/1", "a/2", "ü"]


def test_a_missing_table_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(InputError, match="no such predictions table; make it with: fer-dist evaluate"):
        load_predictions(tmp_path / "none.parquet")


@pytest.mark.parametrize("content", [b"", b"not parquet at all", b"PAR1 cut short"])
def test_a_file_that_is_no_parquet_is_an_error_of_one_line(tmp_path, content):
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"t\.parquet: not a parquet file") as caught:
        load_predictions(tmp_path / "t.parquet")
    assert "\n" not in str(caught.value)


def test_a_table_cut_short_is_an_input_error(tmp_path):
    save_predictions(tmp_path / "t.parquet", example())
    whole = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a parquet file"):
        load_predictions(tmp_path / "t.parquet")


def said(field: str, text: str | bytes):
    """Gives a table other metadata in one field."""
    return lambda table: table.replace_schema_metadata({**table.schema.metadata, field.encode(): text})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns(["p_anger"]), "not a predictions table, no column p_anger"),
        (lambda table: table.drop_columns(["key", "emotion"]), "no column key, emotion"),
        (lambda table: table.replace_schema_metadata(None), "no emotions in its metadata"),
        (
            lambda table: table.set_column(1, "emotion", pyarrow.array(["joy", None, "anger"])),
            "the emotions joy are not in its list: happiness, anger, neutrality",
        ),
        (lambda table: table.set_column(3, "p_anger", pyarrow.array(["a", "b", "c"])), "not a predictions table"),
        (lambda table: table.set_column(3, "p_anger", pyarrow.array([0.3, 0.9, 5.0])), "not parts of 1"),
        (lambda table: pyarrow.concat_tables([table, table]), "the key 'a/1' comes twice"),
        (lambda table: table.set_column(0, "key", pyarrow.array(["a", None, "b"])), "a key is no text"),
        (lambda table: table.set_column(0, "key", pyarrow.array([[1], [2], [3]])), "a key is no text"),
        (lambda table: table.set_column(1, "emotion", pyarrow.array([["anger"]] * 3)), "not a predictions table"),
        (lambda table: table.set_column(3, "p_anger", pyarrow.array([{"a": 1}] * 3)), "not a predictions table"),
        (lambda table: table.set_column(3, "p_anger", pyarrow.array([None, 1.0, 1.0])), "not parts of 1"),
        (lambda table: table.set_column(3, "p_anger", pyarrow.array([1e300, 1.0, 1.0])), "not parts of 1"),
        (lambda table: table.append_column("p_anger", table["p_anger"]), "Multiple matches for"),
        (
            lambda table: table.append_column("a_x", pyarrow.array([[[1]]] * 3)),
            "the column a_x holds list<.*, not plain",
        ),
        (lambda table: table.append_column("a_x", pyarrow.array([b"x"] * 3)), "the column a_x holds binary, not plain"),
        (said("masked", "null"), "masked in its metadata: Input should be a valid"),
        (said("masked", '["x"]'), r"masked \(x\) must be among distinct emotions"),
        (said("masked", "[null]"), r"masked in its metadata: 0: Input should be a valid string"),
        (said("emotions", '"anger"'), "emotions in its metadata: Input should be a valid"),
        (said("emotions", "[" * 100_000), "emotions in its metadata: Invalid JSON: recursion limit"),
        (said("emotions", '["\\ud800"]'), "emotions in its metadata: Invalid JSON"),
        (said("emotions", "[]"), "not a predictions table"),
        (said("emotions", b"\xff"), "emotions in its metadata: Invalid JSON"),
    ],
)
def test_another_parquet_file_is_an_error_of_one_line(tmp_path, change, message):
    path = tmp_path / "t.parquet"
    save_predictions(path, example())
    pyarrow.parquet.write_table(change(pyarrow.parquet.read_table(path)), path)
    with pytest.raises(InputError, match=message) as caught:
        load_predictions(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_scores_of_one_set_leave_those_of_the_others(tmp_path):
    save_scores(tmp_path / "run", "lab-val", {"accuracy": 0.5})
    save_scores(tmp_path / "run", "lab-test", {"accuracy": 0.25})
    save_scores(tmp_path / "run", "lab-val", {"accuracy": 0.75})
    assert load_scores(tmp_path / "run") == {"lab-val": {"accuracy": 0.75}, "lab-test": {"accuracy": 0.25}}


SAVERS = {
    "predictions/lab-test.parquet": lambda run: save_predictions(predictions_path(run, "lab-test"), example()),
    "scores.json": lambda run: save_scores(run, "lab-test", {"accuracy": 0.5}),
    "figures/lab.png": lambda run: save_figure(
        confusion_figure(np.eye(2), ("fear", "joy"), "lab"), run / "figures/lab"
    ),
}
"""What an evaluation leaves in a run folder: file -> what writes it."""


@pytest.mark.parametrize("name", SAVERS)
def test_a_disk_that_is_full_is_one_line_that_names_the_file_that_was_to_be_written(
    tmp_path, capsys, monkeypatch, name
):
    disk = tmp_path / "disk"
    with small_disk(disk):
        fill(disk)
        monkeypatch.setitem(COMMANDS, "save", Command("", lambda _: SAVERS[name](disk)))
        assert main(["save"]) == 1
    told = f"{disk / name}: the disk is full (No space left on device); make room there, and start again"
    assert capsys.readouterr().err == f"fer-dist: {told}\n"


def test_scores_saved_at_the_same_time_are_all_kept(tmp_path):
    names = [f"set{number}-test" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: save_scores(tmp_path, name, {"accuracy": 0.5}), names))
    assert sorted(load_scores(tmp_path)) == sorted(names)


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"a": 1}', '{"a": {"accuracy": NaN}}', '{"a": [0.5]}', '{"a": {"x": 1e999}}', "[" * 100_000],
)
def test_damaged_scores_are_an_input_error_and_stay_as_they_are(tmp_path, content):
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(InputError, match=r"scores\.json: .*remove it and make it with"):
        save_scores(tmp_path, "lab-test", {"accuracy": 0.5})
    assert (tmp_path / "scores.json").read_text() == content


def test_a_run_without_scores_names_the_command_that_makes_them(tmp_path):
    with pytest.raises(InputError, match="no scores yet; make it with: fer-dist evaluate"):
        load_scores(tmp_path)
