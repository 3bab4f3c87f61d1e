"""A compiled network: whole shares alone, by the same rule on all ranks, and none where a compiler fails."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from support.runs import arguments, drawn_shards
from support.strategies import RATE, drawn_batch, drawn_model, settings
from torch import Tensor

from fer_dist.cli.commands import main
from fer_dist.config.presets import preset
from fer_dist.config.settings import Config, with_settings
from fer_dist.distributed.hardware import Arithmetic
from fer_dist.distributed.world import World
from fer_dist.runs.opening import load_config
from fer_dist.train import choices
from fer_dist.train.choices import choose
from fer_dist.train.engine import Engine

CPU, CARD = torch.device("cpu"), torch.device("cuda", 0)
ONE = World(0, 1, CPU)
Backend = Callable[[torch.fx.GraphModule, list[Any]], Callable[..., Any]]


@pytest.fixture
def compiled_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[Backend], None]:
    """Have torch.compile hand its graphs to a function; torch's own compiler takes minutes."""
    original = torch.compile

    def set_backend(backend: Backend) -> None:
        torch.compiler.reset()
        monkeypatch.setattr(torch, "compile", lambda network, **how: original(network, backend=backend, dynamic=False))

    return set_backend


def failing(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
    raise RuntimeError("no compiler here\nand more lines about it")


def trained(engine: Engine, sizes: list[int]) -> dict[str, Tensor]:
    for step, size in enumerate(sizes):
        batch = drawn_batch(step)
        crops = batch.crops[:size].to(memory_format=torch.channels_last)
        engine.step(replace(batch, crops=crops, labels=batch.labels[:size]), 0.01)
    return engine.model.state_dict()


def test_whole_shares_are_compiled_once_and_others_go_through_as_they_are(compiled_by) -> None:
    shapes = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        shapes.append([tuple(x.shape) for x in inputs if isinstance(x, Tensor) and x.ndim == 4 and x.shape[1] == 3][-1])
        ran: Callable[..., Any] = graph.forward
        return lambda *given: (used.append(1), ran(*given))[1]

    used: list[int] = []
    compiled_by(backend)
    engine = Engine(settings(), drawn_model(), ONE)
    assert engine.compile(16) == ""
    sizes = [16, 6, 16, 1 + 9, 16]
    found = trained(engine, sizes)
    assert shapes == [(16, 3, 40, 40)]
    assert len(used) == 1 + sizes.count(16)
    plain = trained(Engine(settings(), drawn_model(), ONE), sizes)
    for name, value in plain.items():
        torch.testing.assert_close(found[name], value, msg=lambda text, name=name: f"{name}: {text}")


def test_micro_batches_are_compiled_and_what_is_left_of_a_share_is_not(compiled_by) -> None:
    seen = []
    compiled_by(lambda graph, inputs: (seen.append(1), graph.forward)[1])
    engine = Engine(settings(micro_batch=5), drawn_model(), ONE)
    assert engine.compile(16) == ""
    trained(engine, [16, 16, 3])
    assert len(seen) == 1


def test_to_compile_changes_neither_statistics_nor_weights(compiled_by) -> None:
    compiled_by(lambda graph, inputs: graph.forward)
    model = drawn_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert Engine(settings(), model, ONE).compile(16) == ""
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_compiler_that_fails_leaves_a_line_and_the_network_as_it_is(compiled_by) -> None:
    compiled_by(failing)
    engine = Engine(settings(), drawn_model(), ONE)
    fault = engine.compile(16)
    assert "no compiler here" in fault
    assert "\n" not in fault
    found, plain = trained(engine, [16, 6]), trained(Engine(settings(), drawn_model(), ONE), [16, 6])
    assert all(torch.equal(found[name], value) for name, value in plain.items())


@dataclass
class Beside(World):
    """A world of two, the other of which says something."""

    theirs: Any = ""

    def all_gather_object(self, mine: Any) -> list[Any]:
        return [mine, self.theirs]


def test_where_one_rank_cannot_compile_none_does(compiled_by) -> None:
    used: list[int] = []
    compiled_by(lambda graph, inputs: lambda *given: (used.append(1), graph.forward(*given))[1])
    engine = Engine(settings(), drawn_model(), ONE)
    engine.world = Beside(0, 1, CPU, theirs="gcc: not found")
    assert engine.compile(16) == "gcc: not found"
    trained(engine, [16])
    assert len(used) == 1


def test_a_training_whose_compiler_fails_says_so_once_and_ends(compiled_by, tmp_path, capsys) -> None:
    compiled_by(failing)
    words = arguments(drawn_shards(tmp_path), tmp_path, "run", "--train.compile", "on")
    assert main(["train", *words]) == 0
    said = capsys.readouterr().err
    assert said.count("warning: --train.compile on: not compiled, for") == 1
    assert "no compiler here" in said


@pytest.mark.parametrize(
    ("changed", "images", "expected"),
    [
        ({}, 28_709, "off"),
        ({}, 2_000_000, "on"),
        ({"train.strategy": "deepspeed"}, 2_000_000, "off"),
        ({"train.compile": "graphs"}, 1, "graphs"),
        ({"train.compile": "off"}, 2_000_000, "off"),
    ],
)
def test_on_a_gpu_a_run_is_compiled_where_it_is_long(monkeypatch, changed, images, expected) -> None:
    monkeypatch.setattr(choices, "fastest", lambda device, strategy: Arithmetic("bf16", "a card"))
    monkeypatch.setattr(choices, "cost_of", lambda precision, device: "")
    chosen = choose(with_settings(preset("demo"), changed), {}, World(0, 1, CARD), images)
    assert chosen.config.train.compile == expected
    assert (", compiled" in chosen.told) == (expected != "off")


def test_a_run_goes_on_compiled_or_not_as_it_began_and_a_cpu_compiles_nothing_unasked(monkeypatch) -> None:
    monkeypatch.setattr(choices, "fastest", lambda device, strategy: Arithmetic("fp32", "a processor"))
    assert choose(Config(), {}, ONE, 10**9).config.train.compile == "off"
    assert choose(Config(), {"train.compile": "on"}, ONE, 10**9).config.train.compile == "on"


@pytest.mark.parametrize(("switch", "word"), [(True, "on"), (False, "off")])
def test_the_switch_of_an_older_run_is_taken(tmp_path, switch, word) -> None:
    content = {"config": {"train": {"compile": switch}}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert load_config(tmp_path).train.compile == word


@pytest.mark.slow
def test_twenty_compiled_steps_end_at_the_weights_of_plain_ones_but_for_rounding() -> None:
    torch.compiler.reset()
    engine, plain = (Engine(settings(), drawn_model(), ONE) for _ in range(2))
    assert engine.compile(16) == ""
    start = [value.clone() for value in plain.model.parameters()]
    for step in range(20):
        batch = drawn_batch(step)
        batch = replace(batch, crops=batch.crops.to(memory_format=torch.channels_last))
        for one in (engine, plain):
            one.step(batch, RATE)
        assert engine.totals().loss == pytest.approx(plain.totals().loss, abs=1e-3)
    # Another number of threads takes them 0.4 % of their way apart, and the compiler's sums 2.3 %.
    assert apart(engine.model.parameters(), plain.model.parameters()) < 0.05 * apart(start, plain.model.parameters())


def apart(ours: Iterable[Tensor], theirs: Iterable[Tensor]) -> float:
    """The length of the difference of all weights."""
    return float(torch.cat([(a - b).detach().flatten() for a, b in zip(ours, theirs, strict=True)]).norm())
