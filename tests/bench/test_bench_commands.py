"""What all measurements have in common: flags and a function by their name, and what is left of one that ends early."""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from support.faces import encoded, faces, shard_set, write
from support.runs import untrained_run

from fer_dist.bench import flags, order, predict, shards
from fer_dist.bench.commands import BENCHES, FILES
from fer_dist.bench.measured import Measured
from fer_dist.cli.commands import main
from fer_dist.errors import WorkError


@pytest.mark.parametrize("name", BENCHES)
def test_the_name_of_a_measurement_leads_to_its_flags_and_its_function(name: str) -> None:
    kind = getattr(flags, f"{name.title()}Flags")
    measure = getattr(import_module(f"fer_dist.bench.{FILES.get(name, name)}"), f"measure_{name}")
    assert measure.__annotations__["flags"] in (kind, kind.__name__)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [({"a": [1]}, {"b": 2}, {"a": [1], "b": 2}), ([{"n": 1}], [{"n": 2}], [{"n": 1}, {"n": 2}])],
)
def test_what_was_found_is_shown_and_written_though_the_rest_fails(
    one: Any, other: Any, both: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(flags: object) -> Iterator[Measured]:
        yield Measured(one, (["what", "n"], [["first", "1"]]), notes=("a note",))
        yield Measured(other, line="a line")
        raise WorkError("the rest is lost")

    monkeypatch.setattr(order, "measure_order", measure)
    out = tmp_path / "found.json"
    assert main(["bench", "order", "--json", str(out)]) == 1
    assert json.loads(out.read_text()) == both
    said = capsys.readouterr()
    assert said.err == "a note\nfer-dist: the rest is lost\n"
    assert "first" in said.out
    assert said.out.endswith("a line\n")


def test_nothing_is_written_where_nothing_was_found(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    assert main(["bench", "resize", str(tmp_path), "--repeats", "0", "--json", str(out)]) == 2
    assert not out.exists()


def test_a_build_and_its_measurement_have_one_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shards, "bench_shards", lambda *words: shards.ShardBench(1234, 5, 3.0, 2.0))
    (found,) = shards.measure_shards(flags.ShardsFlags(str(tmp_path)))
    assert found.table == (
        ["images", "n", "build s", "Pillow s", "build / Pillow"],
        [["1,234", "5", "3.00", "2.00", "1.50"]],
    )
    assert found.figures == {"images": 1234, "repeats": 5, "build_seconds": 3.0, "pillow_seconds": 2.0, "ratio": 1.5}


def test_predicting_is_timed_beside_a_plain_loop_that_says_the_same(tmp_path: Path) -> None:
    for i in range(12):
        write(tmp_path / "images" / f"{i}.jpg", encoded(i, "JPEG", 24, "RGB"))
    run = untrained_run(tmp_path / "run")
    (found,) = predict.measure_predict(flags.PredictFlags(str(run), str(tmp_path / "images"), repeats=2))
    assert isinstance(found.figures, dict)
    assert (found.figures["images"], len(found.figures["plain"]), len(found.figures["ours"])) == (12, 2, 2)
    # Pillow and DALI decode a JPEG alike to a grey level.
    assert found.figures["difference"] < 0.02


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["step", "--steps", "0"], "must be at least 1"),
        (["step", "--workers", "3", "--batch-size", "2"], "--batch-size at least --workers"),
        (["step", "--device", "cuda", "--workers", "64"], "--workers 64 need as many CUDA devices"),
        (["threads", "nowhere"], "no such folder of shards"),
        (["threads", "SHARDS", "--repeats", "0"], "--repeats at least 1"),
        (["threads", "SHARDS", "--steps", "3"], "--steps must be at least 8"),
        (["threads", "SHARDS", "--crop", "80"], "larger than --size 64"),
    ],
)
def test_what_cannot_be_measured_gets_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = shard_set(tmp_path / "train", [faces(4)])
    assert main(["bench", *(str(shards) if word == "SHARDS" else word for word in words)]) == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1
