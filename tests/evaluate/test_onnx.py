"""ONNX files of others: whatever they take and give, they are scored with the tables of ours, or refused in a line."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from support.faces import faces, shard_set

from fer_dist import api
from fer_dist.cli.commands import main
from fer_dist.data.emotions import SEVEN
from fer_dist.runs.onnx_file import OnnxModule

SIDE = 12
GIVEN = ["--labels", ",".join(SEVEN), "--mean", "0", "--std", "1", "--device", "cpu", "--threads", "1"]


def saved(
    path: Path,
    shape: list[str | int],
    classes: int = 7,
    softmax: bool = False,
    scale: float = 1.0,
    more: list[onnx.NodeProto] | None = None,
) -> Path:
    """A network of others: what it is given, times scale, flat, times the same random matrix each time."""
    size = int(np.prod([axis for axis in shape[1:] if isinstance(axis, int)]))
    weights = np.random.default_rng(5).normal(size=(size, classes)).astype(np.float32)
    last = "scores" if softmax else "outputs"
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["scaled"]),
        helper.make_node("Flatten", ["scaled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], [last]),
        *([helper.make_node("Softmax", ["scores"], ["outputs"])] if softmax else []),
        *(more or []),
    ]
    graph = helper.make_graph(
        nodes,
        "of others",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, [shape[0], classes])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.float32(scale), "scale")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return shard_set(tmp_path_factory.mktemp("shards") / "test", [faces(11, side=SIDE)], split="test")


def probabilities(path: Path, shards: Path, **more) -> np.ndarray:
    given = {"labels": ",".join(SEVEN), "mean": (0.0,), "std": (1.0,), "device": "cpu", "threads": 1} | more
    (found,) = api.evaluate(path, shards, **given)
    return found.predictions.probabilities


@pytest.fixture(scope="module")
def pixels(shards):
    """float32 [N, 3, H, W] from 0 to 1, as an evaluation sees them."""
    batches = api.open_shards(
        shards, batch_size=11, size=SIDE, crop=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3, device="cpu"
    )
    (batch,) = batches
    return batch.images.clone().numpy()


def expected(inputs: np.ndarray) -> np.ndarray:
    """By plain numpy what the file says of them."""
    flat = inputs.reshape(len(inputs), -1)
    logits = flat @ np.random.default_rng(5).normal(size=(flat.shape[1], 7)).astype(np.float32)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def test_layout_and_order_of_channels_are_what_the_flags_say(shards, pixels, tmp_path):
    as_is = saved(tmp_path / "rgb.onnx", ["batch", 3, SIDE, SIDE])
    last = saved(tmp_path / "last.onnx", ["batch", SIDE, SIDE, 3])
    np.testing.assert_allclose(probabilities(as_is, shards), expected(pixels), atol=1e-5)
    np.testing.assert_allclose(probabilities(as_is, shards, channels="bgr"), expected(pixels[:, ::-1]), atol=1e-5)
    np.testing.assert_allclose(
        probabilities(last, shards, layout="nhwc"), expected(pixels.transpose(0, 2, 3, 1)), atol=1e-5
    )


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_grey_network_of_so_many_images_at_a_time_gets_grey_ones_from_0_to_255(at_once, shards, pixels, tmp_path):
    path = saved(tmp_path / "grey.onnx", [at_once, 1, SIDE, SIDE], scale=1 / 255)
    grey = np.einsum("nchw,c->nhw", pixels, np.array([0.299, 0.587, 0.114], np.float32))
    found = probabilities(path, shards, channels="grey", std=(1 / 255,), batch_size=6)
    np.testing.assert_allclose(found, expected(grey), atol=1e-5)


def test_mean_and_std_are_of_red_green_and_blue_whatever_their_order_in_the_file(shards, pixels, tmp_path):
    path = saved(tmp_path / "bgr.onnx", ["batch", 3, SIDE, SIDE])
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    normal = (pixels - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    found = probabilities(path, shards, channels="bgr", mean=mean, std=std)
    np.testing.assert_allclose(found, expected(normal[:, ::-1].astype(np.float32)), atol=1e-5)


def test_probabilities_are_scored_as_such_and_never_taken_for_logits(shards, pixels, tmp_path, capsys):
    path = saved(tmp_path / "shares.onnx", ["batch", 3, SIDE, SIDE], softmax=True)
    np.testing.assert_allclose(probabilities(path, shards, outputs="probabilities"), expected(pixels), atol=1e-5)
    assert main(["evaluate", "--models", str(path), "--data", str(shards), *GIVEN]) == 2
    assert "add up to 1, as probabilities do; give --outputs probabilities" in capsys.readouterr().err


def test_all_tables_of_ours_are_made_of_a_file_of_others(shards, tmp_path, capsys):
    path = saved(tmp_path / "peer.onnx", ["batch", 3, SIDE, SIDE])
    assert main(["evaluate", "--models", str(path), "--data", str(shards), *GIVEN, "--robustness"]) == 0
    made = {str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*.json")}
    assert made == {"peer.onnx.scores/scores.json", "peer.onnx.scores/robustness/drawn-test.json"}
    assert "peer.onnx" in capsys.readouterr().out


def external(path: Path) -> Path:
    saved(path, ["batch", 3, SIDE, SIDE])
    onnx.save(onnx.load(path), path, save_as_external_data=True, size_threshold=0, location="weights.bin")
    return path


def hidden(path: Path) -> Path:
    """Weights of elsewhere in a constant within a branch, where no list of weights names them."""
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "inner")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    value = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [3])
    branch = helper.make_graph([helper.make_node("Constant", [], ["inner"], value=tensor)], "branch", [], [value])
    nodes = [
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["yes"], ["chosen"], then_branch=branch, else_branch=branch),
    ]
    return saved(path, ["batch", 3, SIDE, SIDE], more=nodes)


def damaged(path: Path) -> Path:
    content = saved(path, ["batch", 3, SIDE, SIDE]).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def foreign(path: Path) -> Path:
    node = helper.make_node("Anything", ["flat"], ["other"], domain="somebodys.own")
    return saved(path, ["batch", 3, SIDE, SIDE], more=[node])


def plain(path: Path) -> Path:
    return saved(path, ["batch", 3, SIDE, SIDE])


def without_numbers(path: Path) -> Path:
    return saved(path, ["batch", 3, SIDE, SIDE], scale=float("nan"))


def of_any_side(path: Path) -> Path:
    return saved(path, ["batch", 3, "height", "width"])


BAD = {
    "damaged": (damaged, GIVEN, "damaged, or not an ONNX file; export it again"),
    "empty": (empty, GIVEN, "damaged, or not a network that runs here"),
    "external": (external, GIVEN, "keeps weights in another file, which is not read"),
    "hidden": (hidden, GIVEN, "keeps weights in another file, which is not read"),
    "foreign": (foreign, GIVEN, "damaged, or not a network that runs here"),
    "silent": (plain, [], "does not say what it takes and gives; give --labels, --mean, --std"),
    "labels": (plain, [*GIVEN, "--labels", "fear,anger"], "gives 7 numbers for an image, and has 2 labels"),
    "twice": (plain, [*GIVEN, "--labels", "happy,joy"], "are the same class, happiness"),
    "layout": (plain, [*GIVEN, "--layout", "nhwc"], "its input is [batch, 3, 12, 12], and --layout"),
    "channels": (plain, [*GIVEN, "--channels", "grey"], "say [batch, 1, 12, 12]; give those that it has"),
    "size": (plain, [*GIVEN, "--input-size", "48"], "say [batch, 3, 48, 48]; give those that it has"),
    "side": (of_any_side, GIVEN, "its input is [batch, 3, height, width]; give --input-size"),
    "std": (plain, [*GIVEN, "--std", "0"], "--std 0.0: divides, and must be above 0"),
    "mean": (plain, [*GIVEN, "--mean", "1", "2"], "--mean: 2 numbers; give one, or one each"),
    "outputs": (plain, [*GIVEN, "--outputs", "probabilities"], "does not add up to 1, as probabilities do"),
    "nan": (without_numbers, GIVEN, "gives no numbers; export it again"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_scored_is_one_line(name, shards, tmp_path, capfd):
    make, words, said = BAD[name]
    path = make(tmp_path / "net.onnx")
    assert main(["evaluate", "--models", str(path), "--data", str(shards), *words]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line
    assert not list(tmp_path.glob("*.scores"))


def test_labels_without_an_onnx_file_are_refused(shards, tmp_path, capsys):
    (tmp_path / "model.safetensors").touch()
    assert main(["evaluate", "--models", str(tmp_path / "model.safetensors"), "--data", str(shards), *GIVEN]) == 2
    assert "--labels: is for ONNX files of others, and --models names none" in capsys.readouterr().err


def test_a_device_that_a_model_is_asked_for_is_that_of_its_input(tmp_path):
    from fer_dist.runs.network import Network

    network = Network(SEVEN, SIDE, SIDE, (0.0,) * 3, (1.0,) * 3, 1, 1, False, "onnx")
    model = OnnxModule(saved(tmp_path / "x.onnx", ["n", 3, SIDE, SIDE]).read_bytes(), "x", network)
    assert next(model.parameters()).device == torch.device("cpu")
    assert model(torch.zeros(0, 3, SIDE, SIDE)).shape == (0, 7)


def test_a_task_on_ray_scores_an_onnx_file_as_here(shards, tmp_path):
    from fer_dist.config.settings import EvaluateConfig
    from fer_dist.evaluate.evaluate import Part, predict_part

    path = saved(tmp_path / "peer.onnx", ["batch", 3, SIDE, SIDE])
    given = {"labels": ",".join(SEVEN), "mean": (0.0,), "std": (1.0,), "threads": 1, "batch_size": 4}
    config = EvaluateConfig((str(path),), (str(shards),), **given)
    table, bad = predict_part(Part(config, str(path), str(shards), range(1, 3)), "cpu")
    assert not bad
    np.testing.assert_array_equal(table.probabilities, probabilities(path, shards, batch_size=4)[4:])
