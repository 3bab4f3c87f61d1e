"""Curves read back from event files: an attempt that goes on hides what it writes again, and time adds up."""

from torch.utils.tensorboard import SummaryWriter

from fer_dist.runs.curves import load_curves, seconds_of


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


def test_a_folder_without_curves_has_none(tmp_path):
    assert load_curves(tmp_path) == {}
    assert seconds_of(tmp_path) == 0
