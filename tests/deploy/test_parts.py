"""Predictions in parts: each input in one of them, whatever was killed, and equal to the rows that stream."""

import os
import re
import shutil
import signal
import time

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from support.faces import encoded, faces, shard_set, write
from support.ray_faults import Background
from support.runs import untrained_run

from fer_dist import api
from fer_dist.cli.commands import main
from fer_dist.deploy import parts
from fer_dist.errors import InputError

ONE_FACE = {"faces": "none", "device": "cpu", "threads": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return untrained_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def images(tmp_path):
    for i in range(10):
        write(tmp_path / "images" / f"{i}.png", encoded(i, "PNG", 24, "RGB") if i != 4 else b"words")
    return tmp_path / "images"


def stamps(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}


def rows_in(folder):
    """Of all parts together, in the order of their names."""
    tables = [pyarrow.parquet.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    return pyarrow.concat_tables(tables).to_pylist()


def test_the_parts_hold_the_rows_that_stream_each_once(run, images, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "IMAGES", 4)
    set_of = shard_set(tmp_path / "set", [faces(7)[:3], faces(7)[3:]])
    inputs = [images, set_of, images / "0.png"]
    streamed = list(api.predict(run, inputs, **ONE_FACE))
    found = list(api.predict(run, inputs, parts=str(tmp_path / "parts"), **ONE_FACE))
    assert len(stamps(tmp_path / "parts")) == 3 + 2 + 1
    assert [one.file for one in found] == [one.file for one in streamed]
    assert [one.reason for one in found] == [one.reason for one in streamed]
    for one, other in zip(found, streamed, strict=True):
        if one.probabilities:
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
    assert [row["file"] for row in rows_in(tmp_path / "parts")] == [one.file for one in found]


def test_a_part_that_stands_there_is_not_made_again_and_one_that_is_missing_is(run, images, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "IMAGES", 4)
    folder = tmp_path / "parts"
    first = list(api.predict(run, images, parts=str(folder), **ONE_FACE))
    before = stamps(folder)
    gone = sorted(before)[1]
    (folder / gone).unlink()
    write(folder / f".{gone}.0a1b2c3d.tmp", b"half of a part whose writer was killed")
    shown = []
    again = list(api.predict(run, images, parts=str(folder), show=shown.append, **ONE_FACE))
    assert again == first
    after = stamps(folder)
    assert {name for name in after if after[name] != before[name]} == {gone}
    assert "2 of 3 parts stand there already" in [message.text for message in shown]


def test_the_rate_is_that_of_the_work_and_where_parts_stood_there_none_is_given(run, images, tmp_path, monkeypatch):
    write_part = parts._write

    def write_slowly(*of):
        time.sleep(0.5)
        write_part(*of)

    monkeypatch.setattr(parts, "_write", write_slowly)
    ten_images = "10 images, 9 faces"
    for rate in (r", (\d+) images? a second", ""):
        found = api.predict(run, images, parts=str(tmp_path / "parts"), **ONE_FACE)
        assert len(list(found)) == 10
        told = re.fullmatch(ten_images + rate, found.summary)
        assert told
        assert all(int(number) <= 20 for number in told.groups())


@pytest.mark.parametrize("change", ["an input", "a setting", "the weights"])
def test_parts_of_something_else_are_refused(run, images, tmp_path, change):
    folder = str(tmp_path / "parts")
    own = shutil.copytree(run, tmp_path / "run")
    list(api.predict(own, images, parts=folder, **ONE_FACE))
    if change == "an input":
        write(images / "3b.png", encoded(20, "PNG", 24, "RGB"))
    elif change == "the weights":
        shutil.rmtree(own)
        untrained_run(own, mean=(0.1, 0.1, 0.1))
    more = {"min_confidence": 0.5} if change == "a setting" else {}
    with pytest.raises(InputError, match="is of other inputs or other settings"):
        api.predict(own, images, parts=folder, **ONE_FACE, **more)
    # What changes no row is none of them.
    if change == "a setting":
        list(api.predict(own, images, parts=folder, **{**ONE_FACE, "threads": 1, "batch_size": 3}))


def test_ray_and_drawing_say_what_they_need(run, images, tmp_path, capsys):
    words = ["predict", str(run), str(images), "--faces", "none"]
    assert main([*words, "--ray.workers", "2"]) == 2
    assert "give the folder for them: --parts FOLDER" in capsys.readouterr().err
    assert main([*words, "--parts", str(tmp_path / "p"), "--annotate", str(tmp_path / "d")]) == 2
    assert "leave --annotate or --parts out" in capsys.readouterr().err


def killed_and_resumed(run, set_of, tmp_path, shards: int) -> None:
    """Predict a set by two workers, kill one and later the driver, go on: the rows are those of one process."""
    folder = tmp_path / "parts"
    words = ["predict", str(run), str(set_of), "--device", "cpu", "--threads", "1", "--parts", str(folder)]
    on_ray = [*words, "--ray.workers", "2", "--csv", str(tmp_path / "rows.csv")]
    first = Background.fer_dist(on_ray, tmp_path / "first.log")
    try:
        first.until(lambda: len(stamps(folder)) >= shards // 4)
        first.kill_one("ray::_attempt")
        first.until(lambda: len(stamps(folder)) >= shards // 2)
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
    finally:
        first.kill_all()
    before = stamps(folder)
    assert shards // 2 <= len(before) < shards, "killed too late to show anything"
    second = Background.fer_dist(on_ray, tmp_path / "second.log")
    try:
        assert second.process.wait(timeout=600) == 0, second.text()
    finally:
        second.kill_all()
    after = stamps(folder)
    assert len(after) == shards
    # What the first driver's last tasks wrote beside it may have been written twice, whole each time.
    assert sum(after[name] != stamp for name, stamp in before.items()) <= 2
    alone = tmp_path / "alone"
    assert main([*words[:-1], str(alone)]) == 0
    assert sorted(stamps(alone)) == sorted(after)
    found, expected = rows_in(folder), rows_in(alone)
    keys = [row["file"] for row in found]
    assert len(keys) == len(set(keys))
    assert found == expected
    assert np.ptp([row["p_fear"] for row in found]) > 0.01


@pytest.mark.ray
def test_parts_of_ray_workers_that_are_killed_with_their_driver_are_those_of_one_process(run, tmp_path):
    made = faces(1200)
    set_of = shard_set(tmp_path / "set", [made[i : i + 60] for i in range(0, 1200, 60)])
    killed_and_resumed(run, set_of, tmp_path, 20)


@pytest.mark.ray
@pytest.mark.slow
def test_20_000_images_in_40_shards_are_in_the_parts_once_each(run, tmp_path):
    made = faces(20_000)
    set_of = shard_set(tmp_path / "set", [made[i : i + 500] for i in range(0, 20_000, 500)])
    killed_and_resumed(run, set_of, tmp_path, 40)
