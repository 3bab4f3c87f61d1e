"""What a person sees of a run: curves in TensorBoard, quiet lines where there is no terminal."""

import io
import shutil

import numpy as np
import pytest
import torch
from support.runs import arguments, drawn_shards
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard import SummaryWriter

from fer_dist.cli.commands import main
from fer_dist.config.settings import Config
from fer_dist.data.loading.loader import Batch
from fer_dist.data.loading.order import Positions
from fer_dist.data.loading.reader import Samples
from fer_dist.distributed.hardware import fastest
from fer_dist.distributed.world import World
from fer_dist.errors import WorkError
from fer_dist.progress import Message, Terminal
from fer_dist.train.loop import lost_disk_named
from fer_dist.train.monitor import Monitor

EVERYTHING = {"scalars": 0, "images": 0, "tensors": 0}


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
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


def test_the_curves_that_the_design_names_are_there(curves):
    tags = set(curves.Tags()["scalars"])
    assert {"train/loss", "train/accuracy", "train/learning_rate"} <= tags
    assert {"speed/images_per_second", "speed/crops_per_second", "speed/data_wait"} <= tags
    assert {"validation/accuracy", "validation/mean_over_classes", "validation/macro_f1", "recall/fear"} <= tags
    assert {"final/accuracy"} <= tags


def test_five_crops_of_an_image_are_five_times_the_rate(curves):
    images = [event.value for event in curves.Scalars("speed/images_per_second")]
    crops = [event.value for event in curves.Scalars("speed/crops_per_second")]
    assert crops == pytest.approx([5 * rate for rate in images], rel=1e-4)


def test_the_wait_for_data_is_a_share_of_the_time(curves):
    assert all(0 <= event.value <= 1 for event in curves.Scalars("speed/data_wait"))


def test_the_sheet_of_crops_is_of_the_first_batch_that_has_any(tmp_path):
    monitor = Monitor(Config(), World(0, 1, torch.device("cpu")), tmp_path, lambda message: None, 0, 3)
    nowhere = Positions(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    for step, images in enumerate((0, 2, 1)):
        crops, labels = torch.zeros(5 * images, 3, 8, 8), torch.zeros(images, dtype=torch.int64)
        monitor.count(Batch(step, crops, labels, None, Samples([], labels.numpy(), [], []), nowhere, 0.0))
    monitor.close(None)
    events = EventAccumulator(str(tmp_path), EVERYTHING)
    events.Reload()
    assert [event.step for event in events.Images("crops")] == [1]


def test_the_learning_rate_is_that_of_the_schedule(curves):
    values = {event.step: event.value for event in curves.Scalars("train/learning_rate")}
    # Two epochs of 6 steps with two epochs of warm-up: step k of 12 has k/12 of the rate.
    assert values[6] == pytest.approx(0.1 * 6 / 12)
    assert values[12] == pytest.approx(0.1)


def test_crops_are_shown_once_and_a_confusion_matrix_each_epoch(curves):
    assert len(curves.Images("crops")) == 1
    # A row of five crops for each of eight images, 20 pixels each and 2 between.
    assert (curves.Images("crops")[0].width, curves.Images("crops")[0].height) == (5 * 22 + 2, 8 * 22 + 2)
    assert [event.step for event in curves.Images("confusion")] == [6, 12]


def test_the_table_of_runs_has_the_settings_as_they_were_resolved(curves):
    content = curves.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    settings = HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["train.precision"].string_value == fastest(torch.device("cpu")).precision


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

    sheet = Image.open(io.BytesIO(curves.Images("crops")[0].encoded_image_string))
    assert np.asarray(sheet.convert("L")).std() > 20
