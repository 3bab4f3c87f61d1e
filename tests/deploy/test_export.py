"""A network that is handed on as a file says what the run says: ONNX, torch.export's, integers; a wrong one is seen."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from support.faces import faces, shard_set
from support.runs import arguments, drawn_shards
from torch import Tensor, nn

from fer_dist import api
from fer_dist.cli.commands import main
from fer_dist.config.settings import Config, DataConfig, ModelConfig
from fer_dist.deploy import export, formats
from fer_dist.deploy.agreement import TOLERANCE, agreement, check_agreement
from fer_dist.errors import InputError, WorkError
from fer_dist.runs import architecture
from fer_dist.runs.checkpoint import Checkpoints, Snapshot, load_model
from fer_dist.runs.network import build, network_of


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return drawn_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def run(shards, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    assert main(["train", *arguments(shards, root, "trained")]) == 0
    return root / "trained"


@pytest.fixture(scope="module")
def exported(run, shards):
    return api.export(run, data=shards / "test", threads=1)


def drawn_run(folder: Path, network: str = "seresnet18", crop: int = 20) -> Path:
    """A run folder of a network as it was drawn."""
    described = network_of(Config(DataConfig(size=crop, crop=crop), ModelConfig(network=network, width=8)))
    torch.manual_seed(0)
    weights = dict(build(described, (network,)).state_dict())
    Checkpoints(folder).save(Snapshot(1, weights, {}), described)
    return folder


def images(count: int, crop: int = 20) -> Tensor:
    return torch.randn(count, 3, crop, crop, generator=torch.Generator().manual_seed(count))


def test_an_onnx_file_agrees_with_its_run_over_a_whole_test_split_and_takes_any_batch(run, exported):
    assert exported.path == run / "export" / "trained.onnx"
    assert (exported.checked, exported.others) == ("50 images of synthetic_wild-test", ())
    assert exported.difference <= TOLERANCE
    _, model = load_model(run)
    session = onnxruntime.InferenceSession(exported.path)
    for count in (1, 5, 33):
        (found,) = session.run(["logits"], {"images": images(count).numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(found, model(images(count)).numpy(), atol=TOLERANCE)


def test_an_onnx_file_says_what_it_takes_and_gives_and_nothing_of_this_machine(run, exported):
    known = onnxruntime.InferenceSession(exported.path).get_modelmeta().custom_metadata_map
    network, _ = load_model(run)
    stored = json.loads(known["network"])
    assert [stored[name] for name in ("emotions", "size", "crop", "mean", "std")] == [
        list(network.emotions), 24, 20, list(network.mean), list(network.std)
    ]  # fmt: skip
    (entry,) = json.loads((run / "checkpoints" / "list.json").read_text())[-1:]
    assert json.loads(known["source"])["weights_sha256"] == entry["files"]["model.safetensors"]
    scores = json.loads((run / "scores.json").read_text())["synthetic_wild-val"]
    assert json.loads(known["scores"])["synthetic_wild-val"]["accuracy"] == scores["accuracy"]
    assert known["checked"] == "50 images of synthetic_wild-test"
    assert str(Path(formats.__file__).parents[2]).encode() not in exported.path.read_bytes()


def test_evaluate_scores_our_onnx_file_as_the_run_without_a_flag(run, exported, shards):
    ours, theirs = api.evaluate([run, exported.path], shards / "test", device="cpu", threads=1)
    assert theirs.table == exported.path.parent / "trained.onnx.scores/predictions/synthetic_wild-test.parquet"
    assert theirs.scores["confusion"] == ours.scores["confusion"]
    difference = theirs.predictions.probabilities - ours.predictions.probabilities
    assert np.abs(difference).max() <= TOLERANCE


def test_a_pt2_file_agrees_with_its_run_and_gives_probabilities_where_asked(run, shards, capsys):
    words = ["export", str(run), "--format", "pt2", "--data", str(shards / "test"), "--softmax", "--threads", "1"]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert "50 images of synthetic_wild-test: probabilities differ by at most" in said
    assert ", no image with another emotion\n" in said
    path = run / "export" / "trained.pt2"
    extra = {formats.METADATA: ""}
    loaded = torch.export.load(path, extra_files=extra).module()
    assert json.loads(extra[formats.METADATA])["outputs"] == "probabilities"
    assert str(Path(formats.__file__).parents[2]).encode() not in path.read_bytes()
    _, model = load_model(run)
    for count in (1, 5):
        with torch.no_grad():
            torch.testing.assert_close(loaded(images(count)), model(images(count)).softmax(1), atol=1e-6, rtol=0)


def test_probabilities_of_an_onnx_file_are_scored_as_the_run(tmp_path, shards):
    run = drawn_run(tmp_path / "run")
    found = api.export(run, softmax=True)
    assert found.checked == "64 drawn faces, no photographs"
    ours, theirs = api.evaluate([run, found.path], shards / "test", device="cpu", threads=1)
    np.testing.assert_allclose(theirs.predictions.probabilities, ours.predictions.probabilities, atol=TOLERANCE)


ALONE = """
import runpy, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in {"numpy", "PIL", "onnxruntime"} | sys.stdlib_module_names:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


SCRIPT = Path(__file__).parents[2] / "launch" / "onnx_faces.py"


def alone(*words: Path) -> "subprocess.CompletedProcess[str]":
    """The script where nothing but what it names can be imported."""
    command = [sys.executable, "-I", "-c", ALONE, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_short_script_with_numpy_pillow_and_onnxruntime_alone_says_what_evaluate_says(exported, tmp_path):
    assert len(SCRIPT.read_text().splitlines()) <= 45
    # Smaller than the input, as large, and larger.
    members = {side: faces(6, side=side, form="JPEG") for side in (16, 24, 60)}
    jpgs = {}
    for side, made in members.items():
        for index, face in enumerate(made):
            jpgs[f"{side}-{index}"] = tmp_path / f"{side}-{index}.jpg"
            jpgs[f"{side}-{index}"].write_bytes(face.members["jpg"])
    named = [replace(face, key=f"{side}-{index}") for side in members for index, face in enumerate(members[side])]
    shards = shard_set(tmp_path / "test", [named], split="test")
    ended = alone(exported.path, *jpgs.values())
    assert ended.returncode == 0
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    (scored,) = api.evaluate(exported.path, shards, device="cpu", threads=1)
    table = scored.predictions
    rows = dict(zip(table.keys, table.probabilities, strict=True))
    for line in lines:
        name = Path(line.pop("image")).stem
        assert tuple(line) == table.emotions
        # What the script's page states. Where nothing is resized, only rounding differs.
        tolerance = 1e-5 if name.startswith("24-") else 0.02
        np.testing.assert_allclose(list(line.values()), rows[name], atol=tolerance)
    assert len(lines) == len(rows)


def test_the_script_takes_grey_of_16_bits_as_predict_does_and_names_what_does_not_decode(run, exported, tmp_path):
    grey = np.random.default_rng(0).integers(0, 1 << 16, (24, 24), dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    Image.fromarray(grey.astype(np.float32)).save(tmp_path / "floats.tif")
    (tmp_path / "cut.png").write_bytes((tmp_path / "deep.png").read_bytes()[:500])
    ended = alone(exported.path, *(tmp_path / name for name in ("cut.png", "floats.tif", "deep.png")))
    assert ended.returncode == 1
    cut, floats = ended.stderr.splitlines()
    assert cut.startswith(f"{tmp_path / 'cut.png'}: ")
    assert floats.startswith(f"{tmp_path / 'floats.tif'}: has floats")
    (one,) = api.predict(run, tmp_path / "deep.png", faces="none", device="cpu", threads=1)
    said = json.loads(ended.stdout)
    assert said.pop("image") == str(tmp_path / "deep.png")
    assert said == pytest.approx(one.probabilities, abs=1e-5)


def test_a_file_that_says_something_else_gets_no_name(run, exported, monkeypatch, capsys):
    before = exported.path.read_bytes()

    def disturbed(path, model, crop, facts):
        path.write_bytes(b"written")
        return lambda x: model(x) + 0.01 * torch.arange(7)

    monkeypatch.setitem(export.WRITERS, "onnx", disturbed)
    assert main(["export", str(run)]) == 1
    said = capsys.readouterr().err
    assert (
        "trained.unchecked.onnx: does not say what the run says on 64 images: its logits differ by up to 0.06" in said
    )
    assert exported.path.read_bytes() == before


def test_another_emotion_is_a_fault_but_where_the_two_largest_logits_are_as_good_as_equal():
    def held(gap: float):
        model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2, bias=False))
        nn.init.constant_(model[1].weight, 0.0)
        answers = lambda x: torch.tensor([[0.0, 1e-6]])  # noqa: E731
        model.append(Added(torch.tensor([gap, 0.0])))
        return agreement(model, answers, ("fear", "anger"), "logits", [(["one"], torch.zeros(1, 3, 1, 1))])

    close = held(TOLERANCE / 2)
    assert [(other.key, other.network, other.file) for other in close.others] == [("one", "fear", "anger")]
    check_agreement(close, "logits", "x.onnx")
    wide = replace(held(TOLERANCE * 2), difference=0.0)
    with pytest.raises(WorkError, match=r"another emotion for 1 image: one \(fear, the file anger"):
        check_agreement(wide, "logits", "x.onnx")
    with pytest.raises(WorkError, match="logits differ by up to nan"):
        check_agreement(replace(close, difference=float("nan")), "logits", "x.onnx")


class Added(nn.Module):
    def __init__(self, what: Tensor) -> None:
        super().__init__()
        self.what = what

    def forward(self, x: Tensor) -> Tensor:
        return x + self.what


def test_an_output_that_is_no_number_is_no_agreement():
    found = agreement(
        nn.Flatten(),
        lambda x: x.flatten(1) * float("nan"),
        ("a", "b"),
        "logits",
        [(["one"], torch.ones(1, 2, 1, 1))] * 2,
    )
    with pytest.raises(WorkError):
        check_agreement(found, "logits", "x.onnx")


def test_integers_cost_what_evaluate_says_and_leave_float32_as_it_was(run, exported, shards):
    found = api.export(run, data=shards / "test", int8=True, calibration=shards / "val", threads=1)
    assert found.int8 == run / "export" / "trained.int8.onnx"
    assert exported.path.read_bytes() == found.path.read_bytes()
    kinds = {node.op_type for node in onnx.load(found.int8).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    (cost,) = found.costs
    results = api.evaluate([run, found.int8], shards / "test", device="cpu", threads=1)
    assert [cost.float32, cost.int8] == pytest.approx([result.scores["accuracy"] for result in results])
    assert cost.interval[0] <= cost.difference <= cost.interval[1]


def test_a_users_own_network_and_one_of_timm_are_exported(tmp_path):
    own = "support.own_networks:Small"
    run = drawn_run(tmp_path / "own", own)
    with pytest.raises(InputError, match=f"--network {own}"):
        api.export(run, format="pt2")
    assert api.export(run, format="pt2", network=(own,)).difference <= TOLERANCE
    assert api.export(drawn_run(tmp_path / "timm", "timm:resnet18", crop=32)).difference <= TOLERANCE


def test_a_network_that_torch_cannot_follow_is_a_line(tmp_path, capsys, monkeypatch):
    run = drawn_run(tmp_path / "run", "support.own_networks:Small")
    network, _ = load_model(run, given=("support.own_networks:Small",))
    monkeypatch.setattr(export, "load_model", lambda *more, **given: (network, Branch()))
    assert main(["export", str(run), "--format", "pt2", "--network", "support.own_networks:Small"]) == 1
    said = capsys.readouterr().err
    assert "torch.export cannot follow this network" in said
    assert len(said.splitlines()) == 1


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :7] if float(x.sum()) > 0 else x.flatten(1)[:, 7:14]


BAD = {
    "export missing": "missing: no such run folder",
    "export empty": "empty: no checkpoint; is this a run folder",
    "export run --data missing": "--data: missing: no such folder of shards",
    "export run --out x.txt": "--out x.txt: give a name that ends with .onnx",
    "export run --int8": "--int8: wants --calibration, and --data to say what it costs",
    "export run --int8 --format pt2": "--int8 --format pt2: only onnx is quantised",
    "export run --int8 --data set/test --calibration set/test": "--calibration: synthetic_wild-test is a test split",
    "export run --batch-size 0": "--batch-size 0 is too small",
    "export net.onnx": "trained.onnx: is exported already; give the run",
}


@pytest.mark.parametrize("line", BAD)
def test_wrong_input_of_export_is_one_line(line, run, exported, shards, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("run").symlink_to(run)
    Path("set").symlink_to(shards)
    Path("net.onnx").symlink_to(exported.path)
    Path("empty").mkdir()
    assert main(line.split()) == 2
    said = capsys.readouterr().err
    assert BAD[line] in said.replace(f"{tmp_path}/", "").replace(f"{run}", "run").replace(f"{shards}", "set")
    assert len(said.splitlines()) == 1


def test_a_missing_extra_is_named(run, exported, shards, monkeypatch, capsys):
    find = architecture.find_spec
    monkeypatch.setattr(architecture, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    for words in (["export", str(run)], ["evaluate", "--models", str(exported.path), "--data", str(shards / "test")]):
        assert main(words) == 2
        assert "needs onnxruntime, not installed here; pip install 'fer-dist[export]'" in capsys.readouterr().err
