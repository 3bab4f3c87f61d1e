"""What a person sees of a run: curves in TensorBoard, quiet lines where there is no terminal."""

import io
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.runs import arguments, drawn_shards
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard import SummaryWriter

from fer_dist.cli.commands import main
from fer_dist.config.presets import PRESETS
from fer_dist.config.settings import Config, with_settings
from fer_dist.data.emotions import SEVEN
from fer_dist.data.inspection.sheets import GAP, SIDE
from fer_dist.data.loading.loader import Batch
from fer_dist.data.loading.order import Positions
from fer_dist.data.loading.reader import Reader, Samples
from fer_dist.data.loading.shard_set import opened
from fer_dist.distributed.hardware import fastest
from fer_dist.distributed.world import World
from fer_dist.errors import WorkError
from fer_dist.progress import Message, Terminal
from fer_dist.runs.curves import MEASURES
from fer_dist.scores.table import Predictions
from fer_dist.train.loop import lost_disk_named
from fer_dist.train.monitor import ALWAYS_TOLD, EXAMPLES, Course, Monitor, told_settings
from fer_dist.train.session import Session

EVERYTHING = {"scalars": 0, "images": 0, "tensors": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def curves(folder):
    shards = drawn_shards(folder / "shards")
    assert main(["train", *arguments(shards, folder, "run", "--data.views", "expand")]) == 0
    events = EventAccumulator(str(folder / "run"), EVERYTHING)
    events.Reload()
    return events


def test_a_run_folder_that_vanishes_is_one_line_and_no_trace_of_the_thread_that_writes_curves(tmp_path, capsys):
    folder = tmp_path / "run"
    writer = SummaryWriter(str(folder))
    shutil.rmtree(folder)
    writer.add_scalar("train/loss", 1.0, 1)
    with (
        pytest.raises(WorkError, match=r"/run/events\.out\..*: was removed while the run wrote it"),
        lost_disk_named(folder),
    ):
        writer.flush()
    assert "Traceback" not in capsys.readouterr().err


def test_the_curves_are_named_by_their_split(curves):
    tags = set(curves.Tags()["scalars"])
    assert {name for name in tags if name.startswith("train/")} == {
        "train/epoch", "train/loss", "train/accuracy", "train/learning_rate", "train/images_per_second",
        "train/crops_per_second", "train/data_wait",
    }  # fmt: skip
    assert {name for name in tags if name.startswith("validation/") and "/recall/" not in name} == {
        "validation/epoch", "validation/loss", "validation/accuracy", "validation/mean_over_classes",
        "validation/macro_f1", "validation/expected_calibration_error",
    }  # fmt: skip
    assert {name for name in tags if "recall" in name} == {f"validation/recall/{name}" for name in SEVEN}
    # TensorBoard opens two groups.
    assert {name.split("/")[0] for name in tags} == {"train", "validation"}
    assert set(curves.Tags()["images"]) == {"train/images", "validation/images", "validation/confusion"}


def test_the_last_scores_stand_under_their_split_at_the_last_step(curves, folder):
    scores = json.loads((folder / "run" / "scores.json").read_text())["synthetic_wild-val"]
    for name, key in MEASURES.items():
        last = curves.Scalars(f"validation/{name}")[-1]
        assert (last.step, last.value) == (12, pytest.approx(scores[key], rel=1e-5))
    assert len(list((folder / "run").glob("events.out.tfevents.*"))) == 1


def test_the_epoch_is_a_curve_beside_the_step(curves):
    points = {event.step: event.value for event in curves.Scalars("train/epoch")}
    assert points == {step: pytest.approx(step / 6) for step in (2, 4, 6, 8, 10, 12)}
    assert [(event.step, event.value) for event in curves.Scalars("validation/epoch")] == [(6, 1), (12, 2)]


def test_five_crops_of_an_image_are_five_times_the_rate(curves):
    images = [event.value for event in curves.Scalars("train/images_per_second")]
    crops = [event.value for event in curves.Scalars("train/crops_per_second")]
    assert crops == pytest.approx([5 * rate for rate in images], rel=1e-4)


def test_the_wait_for_data_is_a_share_of_the_time(curves):
    assert all(0 <= event.value <= 1 for event in curves.Scalars("train/data_wait"))


def test_the_sheet_of_crops_is_of_the_first_batch_that_has_any(tmp_path):
    course = Course(0, 3, 3, SEVEN)
    monitor = Monitor(Config(), World(0, 1, torch.device("cpu")), tmp_path, lambda message: None, course)
    nowhere = Positions(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    for step, images in enumerate((0, 2, 1)):
        crops, labels = torch.zeros(5 * images, 3, 8, 8), torch.zeros(images, dtype=torch.int64)
        monitor.count(Batch(step, crops, labels, None, Samples([], labels.numpy(), [], []), nowhere, 0.0))
    monitor.close(None)
    events = EventAccumulator(str(tmp_path), EVERYTHING)
    events.Reload()
    assert [event.step for event in events.Images("train/images")] == [1]


def test_the_learning_rate_is_that_of_the_schedule(curves):
    values = {event.step: event.value for event in curves.Scalars("train/learning_rate")}
    # Two epochs of 6 steps with two epochs of warm-up: step k of 12 has k/12 of the rate.
    assert values[6] == pytest.approx(0.1 * 6 / 12)
    assert values[12] == pytest.approx(0.1)


def test_images_are_shown_with_their_labels_in_a_sheet_that_fills_the_panel(curves):
    (crops,) = curves.Images("train/images")
    # Five crops of an image in a line; four images of the validation split in one.
    assert (crops.width, crops.height > 5 * SIDE) == (5 * (SIDE + GAP) - GAP, True)
    for name in ("validation/images", "validation/confusion"):
        assert [event.step for event in curves.Images(name)] == [6, 12]
    sheet = curves.Images("validation/images")[-1]
    assert (sheet.width, sheet.height > 5 * SIDE) == (4 * (SIDE + GAP) - GAP, True)


def test_each_image_of_the_validation_has_its_label_and_its_prediction(tmp_path):
    shards = drawn_shards(tmp_path / "shards")
    reader = Reader(opened(shards / "val"), SEVEN)
    everything = Positions(np.zeros(reader.counts[0], dtype=np.int64), np.arange(reader.counts[0]))
    samples = reader.read(everything)
    shares = np.full((len(samples.keys), 7), 0.05, dtype=np.float32)
    shares[:, 2] = 0.7
    # In another order, and without the first image, which does not decode.
    rows = np.arange(len(samples.keys))[:0:-1]
    table = Predictions([samples.keys[row] for row in rows], samples.labels[rows], shares[rows], SEVEN)
    session = SimpleNamespace(validation=SimpleNamespace(reader=reader))
    tiles = Session._examples(session, table)
    said = [f"{SEVEN[label]}\n{'' if label == 2 else '! '}disgust 70 %" for label in samples.labels[1:EXAMPLES]]
    assert [tile.caption for tile in tiles] == said
    assert [tile.content for tile in tiles] == [content.tobytes() for content in samples.content[1:EXAMPLES]]


def test_the_table_of_runs_has_the_settings_that_are_not_the_preset_s_as_they_were_resolved(curves):
    content = curves.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    settings = HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["preset"].string_value == "demo"
    assert settings["data.views"].string_value == "expand"
    assert settings["train.precision"].string_value == fastest(torch.device("cpu")).precision
    assert not [name for name in settings if name.startswith(("run.", "ray.", "data.train", "data.val"))]
    assert "train.label_smoothing" not in settings
    experiment = curves.summary_metadata["_hparams_/experiment"].plugin_data.content
    found = HParamsPluginData.FromString(experiment).experiment
    metrics = {metric.name.tag for metric in found.metric_infos}
    assert metrics == {f"validation/{name}" for name in MEASURES} <= set(curves.Tags()["scalars"])
    assert [info.name for info in found.hparam_infos][:3] == ["preset", "train.lr", "train.batch_size"]


def test_settings_of_the_recipe_come_first_in_the_table_of_runs():
    changed = {"data.threads": 3, "data.views": "fold", "train.momentum": 0.5, "train.lr": 0.3, "run.name": "x"}
    told = list(told_settings(with_settings(PRESETS["demo"](), changed), "demo"))
    assert told[:2] == ["preset", "train.lr"]
    assert told[-2:] == ["data.views", "train.momentum"]


def test_every_run_has_a_column_for_what_others_may_change_since_tensorboard_takes_the_columns_of_one(tmp_path):
    course = Course(0, 3, 3, SEVEN, "demo")
    monitor = Monitor(PRESETS["demo"](), World(0, 1, torch.device("cpu")), tmp_path, lambda message: None, course)
    monitor.close(None)
    events = EventAccumulator(str(tmp_path), EVERYTHING)
    events.Reload()
    content = events.summary_metadata["_hparams_/experiment"].plugin_data.content
    columns = {info.name for info in HParamsPluginData.FromString(content).experiment.hparam_infos}
    assert columns == {"preset", *ALWAYS_TOLD}


def test_without_a_terminal_lines_come_seldom_and_without_colour():
    stream = io.StringIO()
    terminal = Terminal(stream)
    for done in range(100):
        terminal(Message("steps", done, 100))
    terminal.say("[bold]done[/bold]")
    assert stream.getvalue() == "[bold]done[/bold]\n"


def test_a_line_says_how_far_it_is_and_what_is_left(monkeypatch):
    clock = iter([0.0, 50.0])
    monkeypatch.setattr("fer_dist.progress.time.monotonic", lambda: next(clock))
    stream = io.StringIO()
    terminal = Terminal(stream)
    terminal(Message("steps", 0, 400))
    terminal(Message("steps", 100, 400))
    assert stream.getvalue() == "100/400 steps, 2:30 left\n"


def test_the_sheet_brings_crops_back_to_colours(curves):
    from PIL import Image

    sheet = Image.open(io.BytesIO(curves.Images("train/images")[0].encoded_image_string))
    assert np.asarray(sheet.convert("L")).std() > 20
