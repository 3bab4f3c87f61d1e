"""A record of a study's job that another hand wrote is as good as none, and leads to no place outside of the study."""

import json
from pathlib import Path
from typing import Any

import pytest

from fer_dist.study.jobs import SOURCES, Job, Kind
from fer_dist.study.records import NEEDED, Records

FILLED: dict[str, Any] = {
    "folder": "wild",
    "seconds": 1.5,
    "parameters": 7,
    "scores": {"accuracy": 0.5},
    "copies": {"wild-test": {"face-1": ["wild-train"]}},
    "parity": {"difference": 0.0},
    "robustness": {"clean": 0.5},
    "detail": {"prior": None},
    "paired": {"p": 0.5},
    "over_images": {"n": 3, "p": None},
    "training_accuracy": {"images": 1000, "accuracy": 0.5},
    "ranking": {"best": "wild", "pairs": 1, "tests": {}},
    "gallery": [{"kind": "data", "entries": []}],
    "explained": {"images": 3},
    "planted": {"cue": "mouth"},
    "files": {},
}


def job(kind: Kind = "train") -> Job:
    return Job(kind, f"{kind} wild", "k" * 64, model="wild")


@pytest.mark.parametrize("kind", SOURCES)
def test_a_job_is_done_where_its_record_holds_all_that_is_read_of_it(tmp_path: Path, kind: Kind) -> None:
    records, whole = Records(tmp_path), {name: FILLED[name] for name in NEEDED[kind]}
    records.write(job(kind), {"done": True, **whole, "more": [1, None]})
    assert records.is_done(job(kind))
    assert records.read("k" * 64)["more"] == [1, None]
    for name in whole:
        records.write(job(kind), {"done": True, **{other: value for other, value in whole.items() if other != name}})
        assert not records.is_done(job(kind))


OTHERS = [
    *("", "[]", "null", "{", "[" * 100_000, '{"a": NaN}', '{"a": "\\ud800"}'),
    *(json.dumps({"done": True, "folder": "wild", "files": {}, "seconds": 1, "parameters": 1} | change) for change in (
        {"folder": "../../x"}, {"folder": "/tmp/x"}, {"folder": "a/b"}, {"folder": ""}, {"folder": 3}, {"folder": []},
        {"files": {"../x": ""}}, {"files": {"/etc/passwd": ""}}, {"files": ["a"]}, {"files": {"a": None}},
        {"files": None}, {"seconds": "1"}, {"seconds": None}, {"parameters": -1}, {"parameters": 10**30}, {"done": 1},
        {"scores": []}, {"scores": {"a": float("inf")}}, {"copies": {"a": ["b"]}}, {"paired": 3}, {"bad": {"a": 1}},
    )),
]  # fmt: skip


@pytest.mark.parametrize("content", OTHERS)
def test_a_record_of_other_types_or_with_paths_that_climb_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    records = Records(tmp_path)
    records.folder.mkdir()
    (records.folder / f"{'k' * 64}.json").write_text(content)
    assert records.read("k" * 64) == {}
    assert not records.is_done(job())
    assert records.run_folder(job()) == tmp_path / "runs" / "wild"
