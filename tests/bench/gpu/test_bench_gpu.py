"""The script for a GPU in its CPU form: every line, with values or with the reason why there are none."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.faces import faces, shard_set

from fer_dist.bench.flags import GpuFlags
from fer_dist.bench.gpu import parts
from fer_dist.bench.gpu.bench import NO_CARD, Bench
from fer_dist.bench.gpu.step import VARIANTS
from fer_dist.bench.gpu.watch import COMPILED_SECONDS, Found, Measurement, Values, Watch
from fer_dist.cli.commands import main

WORDS = [
    "--width", "16", "--size", "24", "--crop", "20", "--pixels", "24", "--images", "8", "--batches", "2x5,4",
    "--steps", "1", "--threads", "1", "--seconds", "100",
]  # fmt: skip


def lines(flags: GpuFlags) -> list[tuple[str, str]]:
    return [(line.part, line.what) for line in parts.bench_gpu(flags)]


def test_on_a_cpu_every_line_has_values_or_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Time enough for all but what compiles, on a busy machine as well.
    monkeypatch.setitem(COMPILED_SECONDS, "cpu", 1e6)
    out = tmp_path / "found.json"
    assert main(["bench", "gpu", "--device", "cpu", *WORDS, "--seconds", "3000", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert len(capsys.readouterr().out.splitlines()) == len(found)
    assert all(bool(line["values"]) != bool(line["left_out"]) and not line["failed"] for line in found)
    by_name = {(line["part"], line["what"]): line for line in found}
    for name in ("bf16", "fp16", "fp32"):
        assert by_name["step", f"{name}, 2 x 5"]["values"]["crops_per_second"] > 0
    assert "it may take 1000000 s" in by_name["step", "bf16 compiled, 2 x 5"]["left_out"]
    assert by_name["step", "bf16, without cudnn.benchmark, 4 x 1"]["left_out"] == NO_CARD
    assert "has no TF32" in by_name["step", "tf32, 4 x 1"]["left_out"]
    assert by_name["decode", "cpu, whole graph, 2 x 5"]["values"]["images_per_second"] > 0
    assert by_name["decode", "hardware, decode alone"]["left_out"] == NO_CARD
    assert by_name["decode", "loader, 2 x 1, threads 1"]["values"]["images_per_second"] > 0
    assert by_name["pixels", "png 16 bit"]["values"]["cpu_from_Pillow"] < 1
    assert by_name["pixels", "one image, other batch: evaluation's crops"]["values"]["differ"] == 0
    assert by_name["pixels", "late reads equal those at once"]["values"]["equal"] is True
    assert by_name["pixels", "damage: none"]["values"]["cpu"] == "good"
    assert by_name["train", "training, 4 x 1"]["values"]["efficiency"] > 0


def test_the_lines_of_a_cpu_are_those_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    # There is no time for any measurement, so that no device is needed.
    flags = GpuFlags(device="cpu", batches="2x5,4", pixels=24, images=8, seconds=1e-9)
    on_cpu = lines(flags)
    monkeypatch.setattr(parts, "pick_device", lambda wanted: torch.device("cuda", 1))
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    assert lines(flags) == on_cpu
    assert {part for part, _ in on_cpu} == set(parts.PARTS)
    assert {("step", f"{name}, {shape}") for name in VARIANTS for shape in ("2 x 5", "4 x 1")} <= set(on_cpu)
    assert len(set(on_cpu)) == len(on_cpu)


def test_steps_need_torch_and_little_else(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    others = ("ray", "matplotlib", "pandas", "pyarrow", "pydantic", "tensorboard", "torchvision", "yaml")
    words = [*WORDS, "--device", "cpu", "--batches", "2", "--seconds", "15"]
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with monkeypatch.context() as patched:
        for name in others:
            patched.setitem(sys.modules, name, None)
        assert main(["bench", "gpu", *words, "--parts", "step"]) == 0
    assert main(["bench", "gpu", *words, "--parts", "decode"]) == 2
    assert "DALI is not installed" in capsys.readouterr().err


def test_a_set_that_is_given_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards, out = shard_set(tmp_path / "train", [faces(12), faces(8)]), tmp_path / "found.json"
    words = ["bench", "gpu", str(shards), *WORDS, "--device", "cpu", "--parts", "train", "--json", str(out)]
    assert main(words) == 0
    values = json.loads(out.read_text())[0]["values"]
    assert (values["images"], values["of"]) == (20, str(shards))
    assert main([*words, "--batches", "21"]) == 2
    assert "has 20 images, fewer than the 21 of --batches" in capsys.readouterr().err


def test_what_would_not_fit_is_left_out_and_time_that_is_left_passes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    found: list[Found] = []
    watch = Watch(700.0, [3.0, 1.0, 1.0, 2.0])

    def measure(what: str, seconds: float, compiled_on: str = "") -> None:
        def take() -> Values:
            nonlocal now
            now += seconds
            return {"n": 1}

        found.append(watch.measure(Measurement(what, take, compiled_on=compiled_on)))

    watch.begin("step")
    assert watch.left_seconds == 300
    measure("compiled", 200.0, "cuda")
    measure("as long as the first", 200.0, "cuda")
    measure("short", 96.0)
    measure("too late", 1.0)
    watch.begin("decode")
    # A quarter of what is left.
    assert watch.left_seconds == 101
    watch.begin("pixels")
    watch.begin("train")
    assert watch.left_seconds == 404
    assert [line.left_out for line in found] == [
        "",
        "it may take 200 s, and 100 s are left",
        "",
        "it may take 5 s, and 4 s are left",
    ]


def test_one_that_fails_is_named_and_takes_neither_the_others_nor_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> Values:
        raise torch.OutOfMemoryError("no memory\nis left")

    def part(bench: Bench) -> Iterator[Measurement]:
        yield Measurement("large", fail)
        yield Measurement("small", lambda: {"n": 1})

    monkeypatch.setitem(parts.PARTS, "step", part)
    out = tmp_path / "found.json"
    assert main(["bench", "gpu", *WORDS, "--device", "cpu", "--parts", "step", "--json", str(out)]) == 1
    said = capsys.readouterr()
    assert "FAILED: OutOfMemoryError: no memory is left" in said.out
    assert said.err == "fer-dist: bench gpu: 1 of 2 measurements failed: large (step)\n"
    assert [line["values"] for line in json.loads(out.read_text())] == [{}, {"n": 1}]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--parts", "step,decod"], "unknown part 'decod'; did you mean decode?"),
        (["--parts", ""], "unknown part ''"),
        (["--batches", "100x3"], "--batches 100x3: give numbers of images from 2"),
        (["--batches", "1"], "--batches 1: give numbers"),
        (["--batches", "8,"], "--batches : give numbers"),
        (["--steps", "0"], "--steps 0: give more than 0"),
        (["--seconds", "0"], "--seconds 0.0: give more than 0"),
        (["--width", "8"], "--width 8: give at least 16"),
        (["--crop", "300"], "--crop 300: give a side from 1 to --size 256"),
        (["--images", "20"], "--images 20: fewer than the 512 of --batches"),
        (["--threads", "2,0"], "--threads 2,0: give whole numbers from 1"),
        (["--pixels", "8"], "pixels 8: the side of an image is from 16 to 1024"),
        (["nowhere"], "no such folder of shards"),
        (["--device", "cuda"], "no CUDA device is visible here"),
    ],
)
def test_what_cannot_be_measured_gets_one_line_before_anything_is(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", "gpu", "--seconds", "5", *words]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_gpu_nothing_fails_and_one_image_has_the_same_pixels_in_every_batch(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    assert main(["bench", "gpu", "--device", "cuda", *WORDS, "--seconds", "300", "--json", str(out)]) == 0
    by_name = {line["what"]: line["values"] for line in json.loads(out.read_text())}
    assert by_name["one image, other batch: evaluation's crops"]["differ"] == 0
    assert by_name["late reads equal those at once"]["equal"] is True
    assert by_name["bf16, 2 x 5"]["crops_per_second"] > 0
