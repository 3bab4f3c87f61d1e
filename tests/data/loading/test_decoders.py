"""What decodes an image: the same pixels in every batch, by the arguments that DALI is given on each device."""

import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.faces import encoded, face, faces, shard_set
from support.runs import SMALL

from fer_dist.bench.gpu.pixels import formats, kinds, pixels
from fer_dist.cli.commands import main
from fer_dist.config.checks import check
from fer_dist.config.settings import Config, DataConfig, Decoder, RunConfig
from fer_dist.data.emotions import SEVEN
from fer_dist.data.loading.loader import Placement, augmented_loader, evaluation_loader, training_loader
from fer_dist.data.loading.order import Order, sequence
from fer_dist.data.loading.pipeline import decoded, empty_pipeline
from fer_dist.data.loading.reader import Reader
from fer_dist.errors import InputError

PAGE = Path(__file__).parents[3] / "launch" / "DATA.md"

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def jpeg(number: int) -> np.ndarray:
    """A coloured JPEG whose colours have half the resolution, of its own size."""
    return np.frombuffer(encoded(number, "JPEG", 24 + 9 * number, "RGB"), np.uint8)


def shown(images: Sequence[Any]) -> list[bytes]:
    return [image.tobytes() for image in images]


def test_an_image_has_the_same_pixels_in_every_batch() -> None:
    images = [jpeg(number) for number in range(8)]
    alone = [pixels([image], CPU, "cpu")[0] for image in images]
    assert shown(pixels(images, CPU, "auto")) == shown(alone)
    assert shown(pixels(images[::-1] + images[:3], CPU, "cpu")) == shown(alone[::-1] + alone[:3])


def test_each_format_becomes_what_the_page_says_beside_pillow() -> None:
    table = PAGE.read_text().partition("## Image formats")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    stated = {name: value for names, value in rows for name in names.split(", ")}
    found = {name: formats(content, CPU)["cpu_from_Pillow"] for name, content in kinds(face(5, 48, "RGB")).items()}
    assert stated.keys() == found.keys()
    for name, value in found.items():
        if isinstance(value, str):
            assert (stated[name], value) == ("refused", "refused (nvImageCodec failure: '#4')")
        else:
            assert value == pytest.approx(float(stated[name]), abs=0.01), name


def test_an_evaluation_gives_the_same_crops_in_batches_of_any_size_by_any_threads(tmp_path: Path) -> None:
    reader = Reader(shard_set(tmp_path / "test", [faces(11, form="JPEG")]), SEVEN)

    def crops(batch_size: int, threads: int) -> bytes:
        loader = evaluation_loader(
            DataConfig(size=24, crop=20), reader, Placement(0, 1, CPU, False, threads), batch_size
        )
        return torch.cat([batch.crops.clone() for batch in loader]).numpy().tobytes()

    assert len({crops(batch_size, threads) for batch_size, threads in ((1, 1), (4, 2), (11, 1), (11, 3))}) == 1


def arguments(decoder: Decoder, device: torch.device) -> dict[str, Any]:
    """What the graph's serialised form says of the decoder. No GPU is needed to write it down."""
    pipeline = empty_pipeline(1, 1, CPU)
    from nvidia.dali import fn, types

    with pipeline:
        jpegs = fn.external_source(name="jpegs", dtype=types.UINT8, ndim=1)
        pipeline.set_outputs(decoded(jpegs, device, decoder))
    written = pipeline.serialize()
    start = written.index(b"decoders__Image")

    def value(pattern: bytes) -> bytes | None:
        found = re.compile(pattern, re.DOTALL).search(written, start)
        return found[1] if found else None

    share = value(rb"hw_decoder_load\x12\x05float\x1d(.{4})")
    return {
        "device": (value(rb"device\x12\x06string\*.([a-z]+)") or b"").decode(),
        "share": None if share is None else round(struct.unpack("<f", share)[0], 6),
        "fancy": value(rb"jpeg_fancy_upsampling\x12\x04bool0(.)") == b"\x01",
        "ends on": re.findall(rb"__Image_\d+\x12\x03(cpu|gpu)", written)[-1].decode(),
    }


@pytest.mark.parametrize(
    ("decoder", "device", "where", "share", "ends"),
    [
        ("auto", CPU, "cpu", None, "cpu"),
        ("cpu", CPU, "cpu", None, "cpu"),
        ("cpu", GPU, "cpu", None, "gpu"),
        ("auto", GPU, "mixed", 0.0, "gpu"),
        ("cuda", GPU, "mixed", 0.0, "gpu"),
        ("hardware", GPU, "mixed", 1.0, "gpu"),
        ("shared", GPU, "mixed", 0.65, "gpu"),
    ],
)
def test_dali_is_told_the_decoder_its_share_and_to_smooth_colours(
    decoder: Decoder, device: torch.device, where: str, share: float | None, ends: str
) -> None:
    assert arguments(decoder, device) == {
        "device": where,
        "share": share,
        "fancy": True,
        "ends on": ends,
    }


@pytest.mark.parametrize("decoder", ["cuda", "hardware", "shared"])
def test_a_decoder_of_a_gpu_is_refused_on_a_cpu(decoder: Decoder, tmp_path: Path) -> None:
    message = f"^decoder {decoder}: it is a GPU's, and this runs on the CPU; use auto or cpu$"
    data = DataConfig(train="shards", decoder=decoder)
    with pytest.raises(InputError, match=message):
        check(Config(data, run=RunConfig(device="cpu")))
    check(Config(data, run=RunConfig(device="auto")))
    reader = Reader(shard_set(tmp_path / "train", [faces(4)]), SEVEN)
    loader = training_loader(data, reader, Order(reader.counts, 2, 0), Placement(0, 1, CPU, False, 1), 0, 1)
    with pytest.raises(InputError, match=message):
        next(iter(loader))


def test_a_training_that_finds_itself_on_a_cpu_refuses_a_decoder_of_a_gpu_before_it_makes_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = shard_set(tmp_path / "train", [faces(24)])
    words = ["demo", "--data.train", str(folder), *SMALL, "--run.root", str(tmp_path / "runs"), "--run.device", "auto"]
    assert main(["train", *words, "--data.decoder", "hardware"]) == 2
    assert capsys.readouterr().err.count("decoder hardware: it is a GPU's, and this runs on the CPU") == 1
    assert not (tmp_path / "runs").exists()


def test_an_evaluation_never_lets_the_batch_decide(tmp_path: Path) -> None:
    reader = Reader(shard_set(tmp_path / "val", [faces(4)]), SEVEN)
    place, order = Placement(0, 1, GPU, False, 1), Order(reader.counts, 2, 0)
    parts = sequence(reader.counts, 0, 1, 2)
    for given, taken in (("shared", "auto"), ("hardware", "hardware"), ("cpu", "cpu")):
        data = DataConfig(decoder=given)
        assert evaluation_loader(data, reader, place, 2).graph.data.decoder == taken
        assert augmented_loader(data, reader, place, parts, 0, 0).graph.data.decoder == taken
        assert training_loader(data, reader, order, place, 0, 1).graph.data.decoder == given
