"""When the loop looks at the loss: asked for after a step, read after the next, and never after a checkpoint of it."""

from types import SimpleNamespace

import pytest
import torch
from support.strategies import drawn_batch, drawn_model, settings

from fer_dist.config.settings import Config, with_settings
from fer_dist.distributed.world import World
from fer_dist.train.engine import Engine, Look, Totals
from fer_dist.train.loop import _train, is_due
from fer_dist.train.monitor import Rates
from fer_dist.train.session import Session

ONE = World(0, 1, torch.device("cpu"))


class Recorded:
    """A session of four steps in two epochs that writes down what it is asked."""

    def __init__(self, log_every: int, save_every: int) -> None:
        settings = {"train.log_every": log_every, "train.save_every_steps": save_every}
        self.calls: list[str] = []
        self.steps = 4
        self.order = SimpleNamespace(steps_per_epoch=2)
        self.loader = [SimpleNamespace(step=step) for step in range(4)]
        self.job = SimpleNamespace(config=with_settings(Config(), settings), stop_requested=lambda: False)
        self.engine = SimpleNamespace(step=lambda batch, lr: self.calls.append(f"step {batch.step}"), settle=list)
        self.waiting = False

    def look(self, done: int, lr: float) -> None:
        self.calls.append(f"ask {done}")
        self.waiting = True

    def read_look(self) -> None:
        if self.waiting:
            self.calls.append("read")
        self.waiting = False

    def save(self, done: int, scored: bool) -> None:
        assert not self.waiting
        self.calls.append(f"save {done}")

    def note(self, batch: object) -> None: ...

    def validate(self, done: int) -> None: ...

    def close(self) -> None:
        assert not self.waiting


def test_a_look_is_read_when_the_next_step_is_on_its_way_and_at_once_before_a_checkpoint() -> None:
    session = Recorded(log_every=1, save_every=0)
    _train(session, ONE)  # type: ignore[arg-type]
    assert session.calls == [
        *("step 0", "ask 1", "step 1", "read", "ask 2", "read", "save 2"),
        *("step 2", "ask 3", "step 3", "read", "ask 4", "read", "save 4"),
    ]


def test_a_look_holds_what_was_when_it_was_asked_for_and_the_next_one_begins_anew() -> None:
    engine, other = (Engine(settings(), drawn_model(), ONE) for _ in range(2))
    engine.step(drawn_batch(0), 0.01)
    other.step(drawn_batch(0), 0.01)
    asked = engine.look()
    engine.step(drawn_batch(1), 0.01)
    assert asked.totals() == other.totals()
    assert engine.totals().images == 16


def test_a_look_that_does_not_forget_leaves_its_steps_to_the_next_one() -> None:
    engine, other = (Engine(settings(), drawn_model(), ONE) for _ in range(2))
    for number in range(2):
        engine.step(drawn_batch(number), 0.01)
        other.step(drawn_batch(number), 0.01)
        seen = engine.look(forget=False).totals()
    assert seen == engine.look().totals() == other.totals()


class Points:
    """A session's monitor and engine in one, which count the steps of each point of the curves."""

    def __init__(self, log_every: int, steps_per_epoch: int, begun: int = 0) -> None:
        self.order = SimpleNamespace(steps_per_epoch=steps_per_epoch)
        home = SimpleNamespace(is_ours=lambda: True)
        self.job = SimpleNamespace(config=with_settings(Config(), {"train.log_every": log_every}), home=home)
        self.world, self.engine, self.monitor = ONE, self, self
        self.looking, self.pointed, self.steps = None, begun, 4 * steps_per_epoch
        self.since, self.done, self.checked, self.told = 0, 0, 0, 0
        self.points: list[tuple[int, int]] = []

    def run(self, save_every: int = 0, begun: int = 0) -> list[tuple[int, int]]:
        """(steps done, steps that it is the mean of) of each point. A checkpoint needs a look at all that was done."""
        log_every = self.job.config.train.log_every
        for done in range(begun + 1, self.steps + 1):
            self.since, self.done = self.since + 1, done
            save = done % self.order.steps_per_epoch == 0 or is_due(done, save_every)
            if save or is_due(done, log_every):
                Session.look(self, done, 0.1)  # type: ignore[arg-type]
                Session.read_look(self)  # type: ignore[arg-type]
            assert not save or self.checked == done
        assert self.told == self.steps
        return self.points

    def rates(self) -> Rates:
        return Rates(1.0, 0.0, 1.0)

    def look(self, forget: bool) -> SimpleNamespace:
        found = Totals(self.since, 0.0, 1, -1, True)
        self.since = 0 if forget else self.since

        def totals() -> Totals:
            self.checked = self.done
            return found

        return SimpleNamespace(totals=totals)

    def log(self, done: int, totals: Totals, lr: float, rates: Rates) -> None:
        self.points.append((done, int(totals.loss)))
        self.tell(done, totals)

    def tell(self, done: int, totals: Totals) -> None:
        self.told = done


@pytest.mark.parametrize(
    ("log_every", "steps_per_epoch", "save_every", "expected"),
    [
        (2, 5, 0, [(2, 2), (4, 2), (6, 2), (8, 2), (10, 2), (12, 2), (14, 2), (16, 2), (18, 2), (20, 2)]),
        (8, 6, 0, [(6, 6), (12, 6), (18, 6), (24, 6)]),
        (
            10,
            25,
            7,
            [(10, 10), (20, 10), (30, 10), (40, 10), (50, 10), (60, 10), (70, 10), (80, 10), (90, 10), (100, 10)],
        ),
        (100, 3, 0, [(3, 3), (6, 3), (9, 3), (12, 3)]),
        (3, 4, 1, [(3, 3), (6, 3), (9, 3), (12, 3), (15, 3)]),
    ],
)
def test_no_point_of_the_curves_is_the_mean_of_fewer_steps_than_it_should_be(
    log_every: int, steps_per_epoch: int, save_every: int, expected: list[tuple[int, int]]
) -> None:
    assert Points(log_every, steps_per_epoch).run(save_every) == expected


def test_the_points_of_an_attempt_that_goes_on_are_whole_too() -> None:
    assert Points(10, 25, begun=25).run(begun=25)[:2] == [(40, 15), (50, 10)]
    assert Points(2, 4, begun=3).run(1, begun=3)[:2] == [(6, 3), (8, 2)]


def test_a_weight_that_is_no_number_and_the_step_of_the_first_bad_loss_are_seen() -> None:
    engine = Engine(settings(), drawn_model(), ONE)
    engine.step(drawn_batch(0), 0.01)
    assert (engine.totals().bad_step, engine.totals().is_finite) == (-1, True)
    with torch.no_grad():
        engine.model.head.bias[0] = float("nan")
    assert not engine.totals().is_finite
    engine.step(drawn_batch(7), 0.01)
    engine.step(drawn_batch(8), 0.01)
    assert engine.totals().bad_step == 7


@pytest.mark.parametrize("bad", [-1, 3])
def test_the_first_bad_step_of_all_ranks_counts(bad: int) -> None:
    class Two(World):
        def min(self, value: int) -> int:
            return min(value, 2)

    look = Look(Two(0, 1, torch.device("cpu")), torch.tensor([0.0, 0, 0, bad, 1], dtype=torch.float64), None)
    assert look.totals().bad_step == 2
