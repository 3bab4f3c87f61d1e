"""Predictions of images: the rows that each has, held against evaluate and against sums by hand."""

import csv
import io
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from support.faces import encoded, face, faces, shard_set, write
from support.hostile import bombs
from support.own_networks import Small
from support.runs import untrained_run
from support.scenes import Placed, needs_detector, scene

from fer_dist import api
from fer_dist.cli.commands import main
from fer_dist.config.settings import Config, DataConfig
from fer_dist.data.emotions import SEVEN
from fer_dist.data.shards.crop_rule import CropRule
from fer_dist.deploy import predict as predicting
from fer_dist.errors import InputError
from fer_dist.runs.checkpoint import Checkpoints, Snapshot
from fer_dist.runs.network import network_of

COUNTS = dict(zip(SEVEN, (10, 20, 30, 40, 50, 60, 70), strict=True))
ONE_FACE = {"faces": "none", "device": "cpu", "threads": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return untrained_run(tmp_path_factory.mktemp("runs") / "run", counts=COUNTS)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i in range(5):
        write(folder / f"{i}.png", encoded(i, "PNG", 24, "RGB"))
    return folder


def rows(run, inputs, **settings):
    return list(api.predict(run, inputs, **{**ONE_FACE, **settings}))


def table(found):
    return np.array([list(one.probabilities.values()) for one in found])


def test_predictions_of_a_set_are_the_probabilities_of_evaluate(run, tmp_path):
    folder = shard_set(tmp_path / "train", [faces(30)[:20], faces(30)[20:]])
    (evaluated,) = api.evaluate(run, folder, device="cpu")
    found = rows(run, folder, batch_size=7)
    assert [one.file.partition("/")[2] for one in found] == list(evaluated.predictions.keys)
    assert {one.file.partition("/")[0] for one in found} == {"drawn-train-000000.tar", "drawn-train-000001.tar"}
    np.testing.assert_allclose(table(found), evaluated.predictions.probabilities, atol=1e-6)
    assert np.ptp(table(found), axis=0).max() > 0.1


def test_photographs_give_the_probabilities_that_evaluate_gives_their_shards(tmp_path):
    needs_detector()
    raw = tmp_path / "raw"
    for i in range(14):
        placed = Placed(150 + 4 * (i % 5), 120 + 3 * (i % 4), 70 + 3 * (i % 6), 4 * (i % 7) - 12)
        path = raw / ("test" if i >= 8 else "train") / ("happy", "sad")[i % 2] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(320, 240, [placed], seed=i).save(path, quality=92)
    api.build_shards("folder", raw, tmp_path / "out", detect=True, margin=0.2, workers=1)
    small = {"data_size": 24, "data_crop": 20, "model_width": 16, "train_batch_size": 8, "train_epochs": 1}
    train = str(tmp_path / "out" / "train")
    trained = api.train("demo", data_train=train, run_root=str(tmp_path / "runs"), run_device="cpu", **small)
    (evaluated,) = api.evaluate(trained.folder, tmp_path / "out" / "test", device="cpu")
    # The set has no other emotions, which evaluate masks by itself.
    found = list(api.predict(trained.folder, raw / "test", emotions="happy,sad", device="cpu"))
    expected = dict(zip(evaluated.predictions.keys, evaluated.predictions.probabilities, strict=True))
    assert len(found) == len(expected) == 6
    for one in found:
        (key,) = [key for key in expected if key.endswith(f"/{Path(one.file).stem}")]
        np.testing.assert_allclose(list(one.probabilities.values()), expected[key], atol=1e-5)
    # Cut with another margin they are others: the rule of the training set was obeyed.
    path = raw / "test" / "happy" / "8.jpg"
    other = untrained_run(tmp_path / "other", crop_rule=CropRule("centerface 09189dea", 0.2, True))
    wide = untrained_run(tmp_path / "wide", crop_rule=CropRule("centerface 09189dea", 0.6, True))
    narrow, broad = (table(api.predict(one, path, device="cpu")) for one in (other, wide))
    assert np.abs(narrow - broad).max() > 1e-3


def test_each_face_of_a_photograph_has_its_row_the_largest_first(run, tmp_path):
    needs_detector()
    placed = [Placed(110, 150, 70, -20), Placed(300, 140, 110, 15)]
    scene(420, 300, placed).save(tmp_path / "two.png")
    scene(420, 300, []).save(tmp_path / "none.png")
    found = rows(run, tmp_path, faces="detect")
    assert [Path(one.file).name for one in found] == ["none.png", "two.png", "two.png"]
    assert (found[0].reason, found[0].emotion, found[0].box) == ("no face found", None, None)
    for one, place in zip(found[1:], placed[::-1], strict=True):
        x, y, width, height = one.box
        assert (x + width / 2, y + height / 2) == pytest.approx((place.x, place.y), abs=12)
        assert 0.3 < one.score <= 1
        assert sum(one.probabilities.values()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("way", ["none", "detect"])
def test_what_is_bad_in_a_folder_has_its_row_with_the_reason_and_stops_nothing(run, tmp_path, way):
    if way == "detect":
        needs_detector()
    huge = bombs()["a PNG of 40,000 x 40,000"]
    contents = {"a.png": encoded(1, "PNG", 24), "b.jpg": b"words", "c.png": huge, "d.jpg": encoded(2)[:200]}
    for name, content in {**contents, "e.jpg": encoded(3), "notes.txt": b"words"}.items():
        write(tmp_path / name, content)
    os.mkfifo(tmp_path / "f.jpg")
    found = {Path(one.file).name: one for one in rows(run, tmp_path, faces=way, batch_size=2)}
    reasons = {name: one.reason for name, one in found.items()}
    assert list(found) == ["a.png", "b.jpg", "c.png", "d.jpg", "e.jpg", "f.jpg"]
    assert reasons["b.jpg"] == reasons["d.jpg"] == "does not decode"
    assert reasons["c.png"].startswith("too large to decode")
    assert reasons["f.jpg"] == "cannot be read"
    assert reasons["a.png"] == reasons["e.jpg"] == ("" if way == "none" else "no face found")


def test_a_list_and_a_pattern_have_rows_for_what_is_missing_or_no_image(run, images, tmp_path, monkeypatch):
    note = write(tmp_path / "note.txt", b"words")
    names = [str(images / "0.png"), str(tmp_path / "gone.png"), "", str(note)]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(names) + "\n"))
    found = rows(run, ["-", str(tmp_path / "*.txt")])
    assert [one.file for one in found] == [names[0], names[1], str(note), str(note)]
    assert [one.reason for one in found[1:]] == ["no such file", *["neither an image nor a video by its name"] * 2]
    assert found[0].emotion


def test_a_folder_of_a_store_is_read_as_one_on_a_disk(run, images, tmp_path):
    store = fsspec.filesystem("memory")
    for path in images.iterdir():
        store.pipe_file(f"/faces/below/{path.name}", path.read_bytes())
    store.pipe_file("/faces/bad.jpg", b"words")
    store.pipe_file("/faces/walk.mp4", b"frames")
    store.pipe_file("/notes/a.txt", b"words")
    (bad, *found, video), here = rows(run, "memory://faces"), rows(run, images)
    assert [one.file for one in found] == [f"memory://faces/below/{i}.png" for i in range(5)]
    assert [one.probabilities for one in found] == [one.probabilities for one in here]
    assert (bad.reason, video.reason) == ("does not decode", "a video in a store; copy it to a disk")
    in_parts = rows(run, "memory://faces", parts=str(tmp_path / "parts"))
    assert [(one.file, one.emotion) for one in in_parts[1:-1]] == [(one.file, one.emotion) for one in found]
    with pytest.raises(InputError, match="a folder of a store without an image"):
        rows(run, "memory://notes")


def test_many_images_without_a_face_do_not_wait_for_one_with_a_face(run, images, tmp_path, monkeypatch):
    monkeypatch.setattr(predicting, "MOST_WAITING", 10)
    taken = []

    def listed():
        for i in range(200):
            taken.append(i)
            yield f"{tmp_path}/gone-{i}.png\n" if i != 30 else f"{images}/1.png\n"

    monkeypatch.setattr(sys, "stdin", listed())
    most, found = 0, []
    for one in api.predict(run, "-", **ONE_FACE):
        found.append(one)
        most = max(most, len(taken) - len(found))
    assert [one.reason for one in found] == ["no such file"] * 30 + [""] + ["no such file"] * 169
    # Two groups of 16 for each of two threads and one more, and those that may wait.
    assert most <= 6 * 16 + 2 * 10


def test_emotions_that_are_not_asked_for_are_masked_and_the_others_sum_to_1(run, images):
    whole, some = rows(run, images), rows(run, images, emotions="sad, happy,fear")
    kept = [SEVEN.index(name) for name in ("fear", "happiness", "sadness")]
    expected = np.zeros_like(table(whole))
    expected[:, kept] = table(whole)[:, kept] / table(whole)[:, kept].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(table(some), expected, atol=1e-6)
    assert {one.emotion for one in some} <= {"fear", "happiness", "sadness"}


def test_the_prior_of_the_training_is_taken_away_and_another_put_in(run, images):
    whole = table(rows(run, images))
    prior = np.array([COUNTS[name] for name in SEVEN]) / sum(COUNTS.values())
    even = whole / prior
    np.testing.assert_allclose(table(rows(run, images, prior="even")), even / even.sum(1, keepdims=True), atol=1e-6)
    own = whole[:, :2] * (3, 1) / prior[:2]
    text = f"{SEVEN[0]}=3,{SEVEN[1]}=1"
    found = table(rows(run, images, prior=text, emotions=f"{SEVEN[0]},{SEVEN[1]}"))
    np.testing.assert_allclose(found[:, :2], own / own.sum(1, keepdims=True), atol=1e-6)


def test_below_a_confidence_the_emotion_is_unsure_and_the_probabilities_stay(run, images):
    sure = rows(run, images)
    highest = sorted(max(one.probabilities.values()) for one in sure)
    found = rows(run, images, min_confidence=(highest[1] + highest[2]) / 2)
    assert sorted(one.emotion == "unsure" for one in found) == [False] * 3 + [True] * 2
    assert [one.probabilities for one in found] == [one.probabilities for one in sure]
    for one in sure:
        p = np.array(list(one.probabilities.values()))
        assert one.entropy == pytest.approx(-(p * np.log(p)).sum(), abs=1e-5)


def test_the_files_hold_the_same_rows_and_the_terminal_a_table(run, images, tmp_path, capsys):
    bad = write(tmp_path / "bad.jpg", b"words")
    paths = {kind: tmp_path / f"rows.{kind}" for kind in ("jsonl", "csv", "parquet")}
    flags = [f"--{kind}={path}" for kind, path in paths.items()]
    words = ["predict", str(run), str(images), str(bad), "--faces", "none", "--device", "cpu"]
    assert main([*words, *flags]) == 0
    lines = [json.loads(text) for text in paths["jsonl"].read_text().splitlines()]
    found = rows(run, [images, bad])
    assert [line["file"] for line in lines] == [one.file for one in found]
    assert [line["p_fear"] for line in lines[:-1]] == [one.probabilities["fear"] for one in found[:-1]]
    assert (lines[-1]["reason"], lines[-1]["p_fear"]) == ("does not decode", None)
    parquet = pyarrow.parquet.read_table(paths["parquet"])
    assert parquet.column_names == list(lines[0])
    for own, line in zip(parquet.to_pylist(), lines, strict=True):
        assert {name: value for name, value in own.items() if isinstance(value, str | None)} == {
            name: value for name, value in line.items() if isinstance(value, str | None)
        }
        assert own["p_fear"] == (None if line["p_fear"] is None else pytest.approx(line["p_fear"]))
    with paths["csv"].open(newline="") as stream:
        for own, line in zip(csv.DictReader(stream), lines, strict=True):
            assert own == {name: "" if value is None else str(value) for name, value in line.items()}
    said = capsys.readouterr()
    assert said.out == ""
    assert "6 images, 5 faces" in said.err
    assert "1: does not decode" in said.err
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "does not decode" in said
    assert found[0].emotion in said


WRONG = {
    "RUN nowhere.png": "nowhere.png: no such file or folder",
    "RUN IMAGES/*.webp": "no file is called so",
    "RUN note.txt": "note.txt: neither an image nor a video by its name",
    "RUN empty": "empty: a folder without an image, a video or a set of shards",
    "RUN": "INPUT... is missing",
    "RUN - -": "standard input can be read once",
    "RUN IMAGES --emotions happy,angst": "the model has no 'angst'",
    "RUN IMAGES --prior happy": "give even, or a share for each emotion, as happiness=3,neutral=1",
    "RUN IMAGES --prior happy=1": "gives surprise no share",
    "RUN IMAGES --prior happy=-1": "must be a number from 0 on",
    "RUN IMAGES --prior happy=0": "no share is above 0",
    "RUN IMAGES --min-confidence 2": "must lie in 0..1",
    "RUN IMAGES --batch-size 0": "must be at least 1",
    "RUN IMAGES --faces boxes.csv": "or a csv file of boxes, which is not there",
    "RUN IMAGES --faces note.txt": "no column file",
    "RUN IMAGES --checkpoint 7": "no checkpoint '7'",
    "RUN IMAGES --csv no/rows.csv": "there is no folder",
    "empty IMAGES": "no checkpoint",
    "nowhere IMAGES": "no such run folder or .safetensors file",
    "RUN set.tar": "INPUT: ",
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_is_one_line_and_exit_code_2(run, images, tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "note.txt", b"words\n")
    (tmp_path / "empty").mkdir()
    known = {"RUN": str(run)}
    given = [known.get(word, word.replace("IMAGES", str(images))) for word in words.split()]
    assert main(["predict", *given, *([] if "--faces" in words else ["--faces", "none"])]) == 2
    said = capsys.readouterr().err
    assert WRONG[words] in said
    assert said.count("\n") == 1


def test_a_prior_is_refused_where_the_checkpoint_does_not_know_its_own(images, tmp_path):
    with pytest.raises(InputError, match="does not say how many images"):
        rows(untrained_run(tmp_path / "run"), images, prior="even")


def test_faces_that_are_cut_otherwise_than_those_of_the_training_are_told(images, tmp_path):
    needs_detector()
    shown = []
    whole, found = (
        untrained_run(tmp_path / name, crop_rule=rule)
        for name, rule in (("whole", CropRule()), ("found", CropRule("centerface 09189dea", 0.3, True)))
    )
    for one in (found, whole):
        api.predict(one, images, device="cpu", show=shown.append)
    (said,) = [message.text for message in shown]
    assert said == (
        "note: outside of shards, faces are cut otherwise (centerface 09189dea, margin 10 %, upright) than those of "
        "the training (as released); where each image is one face already, give --faces none"
    )


def test_a_network_of_ones_own_is_imported_where_it_is_named(images, tmp_path):
    network = replace(network_of(Config(data=DataConfig(size=24, crop=20))), architecture="support.own_networks:Small")
    torch.manual_seed(1)
    model = Small(7)
    Checkpoints(tmp_path / "run").save(Snapshot(1, dict(model.state_dict()), {}), network)
    with pytest.raises(InputError, match="own_networks:Small"):
        rows(tmp_path / "run", images)
    found = rows(tmp_path / "run", images, network=("support.own_networks:Small",))
    assert [one.reason for one in found] == [""] * 5


def test_the_callers_number_of_threads_stays(run, images):
    before = torch.get_num_threads()
    rows(run, images)
    assert torch.get_num_threads() == before


def test_faces_are_given_by_a_file_of_boxes(run, tmp_path):
    image = face(1, 60, "RGB")
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.png")
    write(tmp_path / "c.png", b"words")
    boxes = write(
        tmp_path / "boxes.csv", b"file,x,y,width,height\na.png,10,10,20,20\na.png,50,50,40,40\na.png,90,0,9,9\n"
    )
    found = rows(run, tmp_path, faces=str(boxes))
    assert [(one.box, one.reason) for one in found] == [
        ((10, 10, 20, 20), ""),
        ((50, 50, 10, 10), ""),
        ((90, 0, 9, 9), "face box outside the image"),
        (None, "no box given for it"),
        (None, "does not decode"),
    ]
    # The square of a build with --crop-faces: a margin of a tenth on each side.
    cut = Image.fromarray(np.asarray(image)[8:32, 8:32])
    cut.save(tmp_path / "cut.jpg", quality=95, subsampling=0)
    np.testing.assert_allclose(table(found[:1]), table(rows(run, tmp_path / "cut.jpg")), atol=1e-6)


def test_rows_of_a_prediction_are_boxes_for_the_next(run, tmp_path):
    needs_detector()
    scene(420, 300, [Placed(110, 150, 70), Placed(300, 140, 110)]).save(tmp_path / "two.png")
    first = tmp_path / "first.csv"
    assert main(["predict", str(run), str(tmp_path / "two.png"), "--device", "cpu", "--csv", str(first)]) == 0
    found = rows(run, tmp_path / "two.png", faces=str(first))
    with first.open(newline="") as stream:
        assert [one.box for one in found] == [
            tuple(float(row[name]) for name in ("x", "y", "width", "height")) for row in csv.DictReader(stream)
        ]
