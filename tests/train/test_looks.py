"""When the loop looks at the loss: asked for after a step, read after the next, and never after a checkpoint of it."""

from types import SimpleNamespace

import pytest
import torch
from support.strategies import drawn_batch, drawn_model, settings

from fer_dist.config.settings import Config, with_settings
from fer_dist.distributed.world import World
from fer_dist.train.engine import Engine, Look
from fer_dist.train.loop import _train

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
