"""Curves read back from event files: an attempt that goes on hides what it writes again, and time adds up."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from fer_dist.runs.curves import add_scores, load_curves, seconds_of


def write(folder, steps, start, wall_time):
    writer = SummaryWriter(str(folder), purge_step=start + 1)
    for i, step in enumerate(steps):
        writer.add_scalar("train/loss", step + wall_time / 1e4, step, walltime=wall_time + i)
    writer.close()


def test_steps_that_were_taken_again_stand_once_as_they_were_last(tmp_path):
    write(tmp_path, [1, 2, 3, 4], 0, 4e9)
    write(tmp_path, [3, 4, 5], 2, 5e9)
    curves = load_curves(tmp_path)
    assert [step for step, _ in curves["train/loss"]] == [1, 2, 3, 4, 5]
    assert [value > 450_000 for _, value in curves["train/loss"]] == [False, False, True, True, True]


def test_what_a_killed_attempt_wrote_beyond_its_checkpoint_is_gone_even_where_the_next_one_is_short(tmp_path):
    write(tmp_path, [1, 2, 3, 4], 0, 4e9)
    write(tmp_path, [3], 2, 5e9)
    assert [step for step, _ in load_curves(tmp_path)["train/loss"]] == [1, 2, 3]


def test_a_file_that_was_cut_short_gives_what_is_whole(tmp_path):
    write(tmp_path, range(1, 50), 0, 4e9)
    (path,) = tmp_path.glob("events*")
    path.write_bytes(path.read_bytes()[:-7])
    assert [step for step, _ in load_curves(tmp_path)["train/loss"]] == list(range(1, 49))


def test_the_speed_of_a_run_from_before_its_curves_were_renamed_is_read(tmp_path):
    writer = SummaryWriter(str(tmp_path))
    writer.add_scalar("speed/images_per_second", 300.0, 1)
    writer.close()
    assert load_curves(tmp_path) == {"train/images_per_second": [(1, 300.0)]}


def test_a_folder_without_curves_has_none(tmp_path):
    assert load_curves(tmp_path) == {}
    assert seconds_of(tmp_path) == 0


@pytest.mark.parametrize(("split", "room"), [("test", "test"), ("val", "validation")])
def test_scores_join_the_curves_under_their_split_and_set_at_the_step_of_their_checkpoint(
    tmp_path, split, room, monkeypatch
):
    write(tmp_path, [1, 2, 3, 4], 0, 4e9)
    before = seconds_of(tmp_path)
    # TensorBoard reads files in the order of their names, which begin with their second: a later one than the run's.
    monkeypatch.setattr("fer_dist.runs.curves.time.time", lambda: 5e9)
    scores = {"accuracy": 0.75, "negative_log_likelihood": 0.5, "macro_f1": None}
    add_scores(tmp_path, split, "lab", scores, 4)
    curves = load_curves(tmp_path)
    assert curves[f"{room}/lab/accuracy"] == [(4, 0.75)]
    assert curves[f"{room}/lab/loss"] == [(4, 0.5)]
    assert len(curves["train/loss"]) == 4
    assert f"{room}/lab/macro_f1" not in curves
    assert seconds_of(tmp_path) == before
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [event.value for event in events.Scalars(f"{room}/lab/accuracy")] == [0.75]


def test_a_training_that_goes_on_hides_scores_of_what_it_does_again(tmp_path):
    add_scores(tmp_path, "test", "lab", {"accuracy": 0.75}, 4)
    write(tmp_path, [3, 4], 2, 5e9)
    assert set(load_curves(tmp_path)) == {"train/loss"}
