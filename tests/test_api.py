"""fer_dist from Python: what the README shows, batches as a training has them, help, and nothing printed or heavy."""

import ast
import inspect
import io
import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.faces import Face, encoded, faces, shard_set
from support.runs import drawn_shards, environment, ledger, untrained_run

from fer_dist import PACKAGE, api
from fer_dist.config.named import checked
from fer_dist.config.settings import DataConfig, ExplainConfig
from fer_dist.data.emotions import SEVEN
from fer_dist.errors import InputError, WorkError
from fer_dist.progress import Message, Scalars
from fer_dist.train.start import stop_on_signals

README = Path(__file__).parents[1] / "README.md"
HEAVY = ["torch", "torchvision", "nvidia", "ray", "pyarrow", "matplotlib", "deepspeed", "scipy", "pandas", "rich"]
SMALL = {
    "data_size": 24, "data_crop": 20, "data_threads": 1, "model_width": 16, "train_batch_size": 24, "run_device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return drawn_shards(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def trained(drawn, tmp_path_factory):
    """A training of two epochs, and all that it showed."""
    shown: list[Message | Scalars] = []
    sets = {"data_train": drawn / "train", "data_val": drawn / "val"}
    more = {"train_epochs": 2, "run_root": tmp_path_factory.mktemp("runs"), "run_name": "one", "run_ledger": True}
    return api.train("demo", **sets, **SMALL, **more, show=shown.append), shown


def test_the_readme_builds_reads_trains_and_scores_drawn_faces_in_20_lines(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(code.splitlines()) <= 20
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {"__name__": "__main__"}
    exec(compile(code, "README.md", "exec"), found)
    said = capsys.readouterr()
    assert said.err == ""
    assert "synthetic_wild-test [" in said.out
    (result,) = found["results"]
    assert (result.dataset, result.scores["samples"]) == ("synthetic_wild-test", 50)
    assert result.predictions.probabilities.shape == (50, 7)


def test_nothing_heavy_is_imported_before_a_function_is_called_and_nor_for_what_is_wrong(tmp_path):
    code = f"""
import sys
import fer_dist.api as api
from fer_dist.errors import InputError
def check():
    found = set({HEAVY}) & set(sys.modules)
    assert not found, found
check()
for wrong in (
    lambda: api.train("demo", data_train="missing"),
    lambda: api.train("demo", data_trian="x"),
    lambda: api.evaluate("missing", "missing"),
    lambda: api.export("missing"),
    lambda: api.export(".", formt="pt2"),
    lambda: api.write_card("missing"),
    lambda: api.predict("missing", "missing"),
    lambda: api.explain("missing", "missing"),
    lambda: api.open_shards("missing"),
    lambda: api.build_shards("folder", "missing", "out"),
):
    try:
        wrong()
    except InputError:
        check()
    else:
        raise SystemExit("no error")
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), cwd=tmp_path
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_help_is_complete():
    for name in set(api.__all__):
        thing = getattr(api, name)
        assert inspect.getdoc(thing), name
        if getattr(thing, "__module__", "") != "fer_dist.api":
            continue
        functions = [thing] if inspect.isfunction(thing) else [
            one for one in vars(thing).values() if inspect.isfunction(one) or isinstance(one, property)
        ]  # fmt: skip
        for function in functions:
            function = function.fget if isinstance(function, property) else function
            if function.__name__.startswith("__") and function.__name__ not in ("__init__", "__iter__"):
                continue
            signature = inspect.signature(function)
            assert signature.return_annotation is not inspect.Signature.empty, function
            for parameter in list(signature.parameters.values())[inspect.isclass(thing) :]:
                assert parameter.annotation is not inspect.Parameter.empty, (function, parameter)
    for function in (
        api.build_shards,
        api.open_shards,
        api.train,
        api.evaluate,
        api.export,
        api.write_card,
        api.predict,
        api.explain,
    ):
        told = inspect.getdoc(function)
        assert "Raises InputError" in told
        for name in inspect.signature(function).parameters:
            assert re.search(rf"\b{name}\b[:,]", told), (function, name)
    for kind in (api.Faces, api.Training, api.Evaluation, api.Export):
        for name in kind.__dataclass_fields__:
            assert re.search(rf"\b{name}\b[:,]", inspect.getdoc(kind)), (kind, name)


def test_the_commands_do_their_work_with_these_functions():
    uses = {
        "train": "train", "evaluate": "evaluate", "export": "export", "predict": "predict", "explain": "explain",
        "shards": "build_shards",
    }  # fmt: skip
    below = {
        "train.start", "evaluate.evaluate.evaluate", "deploy.export.export_run", "deploy.predict.answers",
        "explain.run.explain_run", "data.build.build.build_shards",
    }  # fmt: skip
    for file, function in uses.items():
        text = (PACKAGE / "cli" / f"{file}.py").read_text()
        assert f"api.{function}(" in text
        names = {
            f"{node.module.removeprefix('fer_dist.')}.{alias.name}"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }
        assert not names & (below | {"train.start.start"})


def test_a_training_is_told_by_its_folder_and_scores_and_shows_what_a_terminal_would(trained):
    run, shown = trained
    (scores,) = json.loads(Path(run.folder, "scores.json").read_text()).values()
    assert run.scores == scores
    texts = [message.text for message in shown if isinstance(message, Message)]
    assert any(text.startswith("one: accuracy ") for text in texts)
    assert [each.step for each in shown if isinstance(each, Scalars)][-1] == 12


def test_settings_are_named_with_a_dot_as_well_and_a_configuration_holds_them_all(trained, tmp_path):
    run, _ = trained
    kept = json.loads(Path(run.folder, "config.json").read_text())["config"]
    with pytest.raises(InputError, match="go on with it: --resume"):
        api.train("demo", **{f"data.{name}": kept["data"][name] for name in ("train", "val")}, **SMALL,
                  **{"train.epochs": 2, "run.root": str(Path(run.folder).parent), "run.name": "one"})  # fmt: skip
    config = api.Config()
    with pytest.raises(InputError, match=r"data\.train.* is missing"):
        api.train("mine", config, run_name="x")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_epohcs": 3}, "train: unknown setting 'epohcs'; did you mean epochs?"),
        ({"epochs": 3}, "unknown setting 'epochs'; it begins with data_, model_, train_, run_, ray_"),
        ({"train_epochs": "many"}, "train: epochs='many': input should be a valid integer"),
        ({"train_schedule": "stairs"}, "train: schedule='stairs': input should be 'step', 'cosine'"),
        ({"train_epochs": 0}, "--train.epochs 0 is too small"),
    ],
)
def test_a_wrong_setting_is_an_input_error(settings, message):
    with pytest.raises(InputError, match=re.escape(message)):
        api.train("demo", data_train="x", **settings)


def test_an_unknown_setting_of_a_build_is_answered_with_those_of_its_source_and_of_every_build(tmp_path):
    with pytest.raises(InputError, match="unknown setting 'cnt'; did you mean count") as raised:
        api.build_shards("synthetic", "wild", tmp_path, cnt=200)
    known = str(raised.value).partition("here are: ")[2].split(", ")
    assert {"count", "test_count", "val_fraction", "margin"} <= set(known)
    assert "command" not in known


def test_training_batches_are_those_of_a_training_in_their_order(trained, drawn):
    steps = ledger(Path(trained[0].folder))
    shards = api.open_shards(
        drawn / "train", training=True, preset="demo", batch_size=24, epochs=2, size=24, crop=20, device="cpu"
    )
    batches = list(shards)
    assert len(shards) == len(batches) == len(steps) == 12
    assert {batch.step: batch.keys for batch in batches} == steps
    assert [batch.epoch for batch in batches] == [0] * 6 + [1] * 6
    assert {(batch.images.shape, batch.images.dtype) for batch in batches} == {((24, 3, 20, 20), torch.float32)}
    # A second loop gives the same again, and batches that were kept are not written over.
    for kept, again in zip(batches, shards, strict=True):
        assert torch.equal(kept.images, again.images)
        assert torch.equal(kept.labels, again.labels)


def test_ranks_and_a_later_start_give_the_same_batches(drawn):
    named = {"training": True, "batch_size": 24, "size": 24, "crop": 20, "device": "cpu", "seed": 5}
    whole = list(api.open_shards(drawn / "train", **named))
    ranks = [list(api.open_shards(drawn / "train", **named, rank=rank, world=3)) for rank in range(3)]
    late = list(api.open_shards(drawn / "train", **named, start=4))
    assert [batch.step for batch in late] == [4, 5]
    for step, batch in enumerate(whole):
        assert batch.keys == [key for rank in ranks for key in rank[step].keys]
        assert torch.equal(batch.images, torch.cat([rank[step].images for rank in ranks]))
        assert step < 4 or torch.equal(batch.images, late[step - 4].images)


def test_an_evaluation_s_batches_hold_each_image_once_in_the_order_of_the_shards(tmp_path):
    made = faces(25)
    folder = shard_set(tmp_path / "test", [made[:10], made[10:]], split="test")
    named = {"batch_size": 4, "size": 24, "crop": 24, "device": "cpu", "mean": (0, 0, 0), "std": (1, 1, 1)}
    shards = api.open_shards(folder, **named)
    batches = list(shards)
    assert (len(shards), shards.images, shards.emotions) == (7, 25, SEVEN)
    assert [key for batch in batches for key in batch.keys] == [face.key for face in made]
    assert torch.cat([batch.labels for batch in batches]).tolist() == [face.label for face in made]
    pixels = batches[0].images[1].permute(1, 2, 0).numpy() * 255
    assert np.abs(pixels - np.asarray(Image.open(io.BytesIO(made[1].members["png"])))).max() < 1e-3
    ranks = [list(api.open_shards(folder, **named, rank=rank, world=2)) for rank in (0, 1)]
    assert [key for rank in ranks for batch in rank for key in batch.keys] == [face.key for face in made]
    twice = list(api.open_shards(folder, **named, epochs=2, start=6))
    assert [(batch.epoch, batch.step) for batch in twice] == [(0, 6), *((1, step) for step in range(7, 14))]


def test_five_views_are_an_axis_of_their_own_and_labels_follow_the_order_that_is_asked_for(tmp_path):
    folder = shard_set(tmp_path / "train", [faces(8)])
    order = tuple(reversed(SEVEN))
    shards = api.open_shards(
        folder, training=True, views="expand", batch_size=4, size=24, crop=20, device="cpu", emotions=order
    )
    (batch, _) = shards
    assert batch.images.shape == (4, 5, 3, 20, 20)
    labels = {face.key: face.label for face in faces(8)}
    assert [order[label] for label in batch.labels.tolist()] == [SEVEN[labels[key]] for key in batch.keys]


def test_a_damaged_image_ends_a_loop_or_is_left_out_and_named(tmp_path):
    damaged = Face("torn", 0, {"png": encoded(3, "PNG")[:60], "cls": b"0"})
    folder = shard_set(tmp_path / "test", [[*faces(3), damaged]], split="test")
    named = {"size": 24, "crop": 20, "device": "cpu"}
    with pytest.raises(WorkError, match="torn"):
        list(api.open_shards(folder, **named))
    shards = api.open_shards(folder, **named, on_bad="skip")
    assert [len(batch.keys) for batch in shards] == [3]
    assert list(shards.bad) == ["torn"]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"size": 24}, "--data.crop 224 is larger than --data.size 24"),
        ({"sise": 24}, "unknown setting 'sise'; did you mean size?"),
        ({"train": "x"}, "unknown setting 'train'"),
        ({"rank": 2, "world": 2}, "rank 2 of world 2"),
        ({"device": "tpu"}, "device='tpu': input should be 'auto', 'cpu' or 'cuda'"),
        ({"training": True}, "fewer than --train.batch-size 64"),
    ],
)
def test_what_does_not_fit_a_set_is_an_input_error(tmp_path, named, message):
    folder = shard_set(tmp_path / "train", [faces(8)])
    with pytest.raises(InputError, match=re.escape(message)):
        api.open_shards(folder, **named)


def test_one_text_where_a_list_is_asked_for_is_a_list_of_one(tmp_path):
    assert checked(ExplainConfig, {"methods": "grad-cam", "control": tmp_path}) == {
        "methods": ("grad-cam",),
        "control": str(tmp_path),
    }
    with pytest.raises(InputError, match="mean='0': input should be a valid tuple"):
        checked(DataConfig, {"mean": "0"})
    folder = shard_set(tmp_path / "test", [[face for face in faces(8) if face.label == 0]], split="test")
    named = {"size": 24, "crop": 20, "device": "cpu"}
    shards = api.open_shards(folder, emotions=SEVEN[0], drop_extra=True, **named)
    assert shards.emotions == SEVEN[:1]


@pytest.mark.parametrize(
    "ask",
    [
        lambda folder: api.evaluate([], folder),
        lambda folder: api.evaluate(folder, ()),
        lambda folder: api.explain(folder, []),
        lambda folder: api.predict(folder, []),
    ],
)
def test_none_where_one_is_needed_is_an_input_error(tmp_path, ask):
    run = untrained_run(tmp_path / "run")
    with pytest.raises(InputError, match=r"(--models|--data|INPUT\.\.\.) is missing"):
        ask(run)


def test_a_folder_of_splits_is_evaluated_split_by_split(trained, drawn, tmp_path, capsys):
    out = tmp_path / "both"
    for split in ("val", "test"):
        (out / split).parent.mkdir(exist_ok=True)
        (out / split).symlink_to(drawn / split)
    found = api.evaluate([trained[0].folder], out, device="cpu")
    assert [each.dataset for each in found] == ["synthetic_wild-val", "synthetic_wild-test"]
    assert found[0].scores["accuracy"] == pytest.approx(trained[0].scores["accuracy"])
    assert found[1].predictions.labels.shape == (50,)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(InputError, match="unknown setting 'bach_size'; did you mean batch_size"):
        api.evaluate(trained[0].folder, out, bach_size=3)


def test_signals_are_left_alone_in_another_thread_than_the_main_one():
    answers: list[bool] = []

    def listen() -> None:
        with stop_on_signals() as stop_requested:
            answers.append(stop_requested())

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert answers == [False]
