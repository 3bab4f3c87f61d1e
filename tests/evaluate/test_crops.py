"""What wrong crops cost: each face cut as asked, and compared with the right one on the same images."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fer_dist.cli.commands import main
from fer_dist.config.settings import DataConfig, EvaluateConfig
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.emotions import SEVEN
from fer_dist.data.loading.reader import Reader
from fer_dist.data.loading.shard_set import open_set
from fer_dist.data.shards.crop_rule import CropRule
from fer_dist.data.sources.source import open_source
from fer_dist.errors import InputError, WorkError
from fer_dist.evaluate.crops import MARGINS, ROLLS, Crop, CropCosts, crop_costs, crops_table, right_crop
from fer_dist.evaluate.given import check_whole
from fer_dist.runs.checkpoint import Checkpoints, Snapshot
from fer_dist.runs.network import Network, build

RULE = CropRule("release", 0.0)
NETWORK = Network(SEVEN, 24, 24, (0.5,) * 3, (0.25,) * 3, 16, 16, False, crop_rule=RULE)
CONFIG = EvaluateConfig((), (), threads=1)


class WholeFace(nn.Module):
    """Happiness where all four corners are white, as they are where a crop shows the face and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        corners = x.mean(1)[:, [0, 0, -1, -1], [0, -1, 0, -1]].amin(1) * self.scale
        return 9 * torch.stack([corners if name == "happiness" else -corners for name in SEVEN], dim=1)


def boxed(folder: Path, count: int = 6, **flags: float) -> Path:
    """Happy white faces of 60 pixels on black, each in another place, and a sad image without a box."""
    folder.mkdir(parents=True)
    lines = ["path,emotion,split,subject,x,y,width,height"]
    for number in range(count):
        x, y = 25 + number, 35 - number
        pixels = np.zeros((120, 130), dtype=np.uint8)
        pixels[y : y + 60, x : x + 60] = 255
        pixels[0, number] = 1
        Image.fromarray(pixels).save(folder / f"{number}.png")
        box = f"{x},{y},60,60" if number else ",,,"
        lines.append(f"{number}.png,{'happy' if number else 'sad'},test,s{number // 2},{box}")
    (folder / "faces.csv").write_text("\n".join(lines))
    source = open_source("csv", str(folder / "faces.csv"))
    build_shards(source, folder / "out", BuildOptions(workers=1, **flags))  # type: ignore[arg-type]
    return folder / "out" / "test"


def test_each_crop_is_cut_as_it_says_and_compared_with_the_right_one(tmp_path: Path) -> None:
    values = crop_costs(WholeFace(), NETWORK, Reader(boxed(tmp_path / "raw"), SEVEN), CONFIG)
    assert (values["samples"], values["skipped"]) == (5, 1)
    assert values["right"] == {"margin": 0.0, "roll": 0.0, "accuracy": 1.0}
    found = {(entry["margin"], entry["roll"]): entry for entry in values["others"]}
    assert found.keys() == {(m, 0.0) for m in MARGINS if m} | {(0.0, degrees) for degrees in ROLLS}
    expected = {key: float(key[0] < 0) for key in found}
    assert {key: entry["accuracy"] for key, entry in found.items()} == expected
    assert {key: entry["difference"] for key, entry in found.items()} == {k: v - 1 for k, v in expected.items()}
    assert all(entry["interval"][0] <= entry["difference"] <= entry["interval"][1] for entry in found.values())


def test_the_right_crop_is_that_of_the_training_or_of_a_build_by_default() -> None:
    rules = {None: 0.1, CropRule(): 0.1, CropRule("release", 0.3): 0.3, CropRule("centerface 0", 0.2, True): 0.2}
    for rule, margin in rules.items():
        network = Network(SEVEN, 24, 24, (0.5,) * 3, (0.25,) * 3, 16, 16, False, crop_rule=rule)
        assert right_crop(network) == Crop(margin)


def test_the_table_has_a_row_for_each_crop() -> None:
    other = {"margin": 0.2, "roll": 0.0, "accuracy": 0.5, "difference": -0.25, "interval": [-0.5, 0.1], "p": 0.04}
    turned = other | {"margin": 0.1, "roll": -10.0}
    right = {"margin": 0.1, "roll": 0.0, "accuracy": 0.75}
    header, rows = crops_table([CropCosts("m", "d", {"samples": 8, "right": right, "others": [other, turned]})])
    assert [dict(zip(header, row, strict=True))["crop"] for row in rows] == [
        "right: margin +10 %", "margin +20 %", "roll -10",
    ]  # fmt: skip
    assert rows[1] == ["m", "d", "margin +20 %", "8", "50.00", "-25.00", "-50.00 to +10.00", "0.04"]


def test_sets_of_faces_that_are_cut_already_or_have_no_box_are_refused(tmp_path: Path) -> None:
    cut = boxed(tmp_path / "cut", crop_faces=True)
    with pytest.raises(InputError, match=r"--crops: faces-test holds faces that are cut already \(box of the release"):
        check_whole([open_set(str(cut), DataConfig())])
    whole = boxed(tmp_path / "whole", count=1)
    check_whole([open_set(str(whole), DataConfig())])
    with pytest.raises(InputError, match="--crops: faces-test: none of the 1 images has a face box in its json"):
        crop_costs(WholeFace(), NETWORK, Reader(whole, SEVEN), CONFIG)


def test_an_image_that_does_not_decode_stops_or_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(boxed(tmp_path / "raw"), SEVEN)
    real = Reader.read

    def read(self: Reader, positions):  # type: ignore[no-untyped-def]
        samples = real(self, positions)
        samples.content[samples.keys.index("3")] = np.zeros(9, np.uint8)
        return samples

    monkeypatch.setattr(Reader, "read", read)
    with pytest.raises(WorkError, match=r"\.tar: 3: the image does not decode .*--on-bad skip"):
        crop_costs(WholeFace(), NETWORK, reader, CONFIG)
    values = crop_costs(WholeFace(), NETWORK, reader, EvaluateConfig((), (), threads=1, on_bad="skip"))
    assert (values["samples"], values["skipped"]) == (4, 2)


def test_the_command_prints_and_writes_what_crops_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    run, shards = tmp_path / "run", boxed(tmp_path / "raw")
    Checkpoints(run).save(Snapshot(1, dict(build(NETWORK).state_dict()), {}), NETWORK)
    words = ["--models", str(run), "--data", str(shards), "--device", "cpu", "--threads", "1"]
    assert main(["evaluate", *words, "--crops", "--json", str(tmp_path / "scores.json")]) == 0
    shown = capsys.readouterr()
    assert "right: margin" in shown.out
    assert "run on faces-test: faces are cut otherwise (as released) than those of the training (box" in shown.err
    (row,) = json.loads((tmp_path / "scores.json").read_text())
    assert row["crops"]["samples"] == 5
    cut = boxed(tmp_path / "cut", crop_faces=True)
    assert main(["evaluate", "--models", str(run), "--data", str(cut), "--crops"]) == 2
    assert "cut already" in capsys.readouterr().err
    assert main(["evaluate", *words, "--crops", "--crops-samples", "-1"]) == 2
    assert "--crops-samples -1" in capsys.readouterr().err
