"""What freezing and layer-wise rates do to a network, in one process."""

from dataclasses import replace

import pytest
import torch
from support.strategies import drawn_batch, drawn_model, settings
from torch import Tensor, nn

from fer_dist.distributed.world import World
from fer_dist.evaluate.predict import evaluating
from fer_dist.model import SEResNet18
from fer_dist.train.engine import Engine

ONE = World(0, 1, torch.device("cpu"))


def values(modules: list[nn.Module]) -> list[Tensor]:
    """Weights and batch statistics, copied."""
    return [value.clone() for module in modules for value in module.state_dict().values()]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_frozen_parts_keep_weights_and_statistics_to_the_bit_and_the_others_move(count: int) -> None:
    model = drawn_model()
    engine = Engine(settings(freeze=count), model, ONE)
    before = [values(part) for part in model.parts()]
    for step in range(3):
        engine.step(drawn_batch(step), 0.01)
    engine.settle()
    for number, (part, old) in enumerate(zip(model.parts(), before, strict=True)):
        same = [torch.equal(a, b) for a, b in zip(old, values(part), strict=True)]
        assert all(same) if number < count else not any(same)


def test_frozen_statistics_are_left_out_of_the_mean_over_the_ranks() -> None:
    averaged: list[Tensor] = []

    class Recording(World):
        def mean(self, tensors: list[Tensor]) -> None:
            averaged.extend(tensors)

    model = drawn_model()
    Engine(settings(freeze=2), model, Recording(0, 1, torch.device("cpu"))).settle()
    moving = [buffer for part in model.parts()[2:] for module in part for buffer in module.buffers()]
    assert [id(tensor) for tensor in averaged] == [id(buffer) for buffer in moving]


def test_a_frozen_network_gives_the_logits_of_evaluation_up_to_where_it_trains() -> None:
    model = drawn_model()
    engine = Engine(settings(freeze=5), model, ONE)
    crops = drawn_batch(0).crops
    with torch.no_grad():
        expected = model.eval()(crops)
    seen: list[Tensor] = []
    hook = model.head.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    engine.step(drawn_batch(0), 0.01)
    hook.remove()
    torch.testing.assert_close(seen[0], expected)


def test_after_an_evaluation_what_is_frozen_is_still_in_evaluation_mode_and_the_rest_trains() -> None:
    model = drawn_model()
    Engine(settings(freeze=2), model, ONE)
    modes = [module.training for module in model.modules()]
    assert len(set(modes)) == 2
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_each_part_moves_at_its_share_of_the_rate(decay: float) -> None:
    config = settings(layer_decay=decay, momentum=0.0, nesterov=False, weight_decay=0.0)
    model, reference = drawn_model(), drawn_model()
    before = [[p.detach().clone() for module in part for p in module.parameters()] for part in model.parts()]
    batch = drawn_batch(0)
    Engine(config, model, ONE).step(batch, 0.1)
    nn.functional.cross_entropy(reference.train()(batch.crops), batch.labels).backward()
    for number, (part, old) in enumerate(zip(model.parts(), before, strict=True)):
        gradients = [p.grad for module in reference.parts()[number] for p in module.parameters()]
        moved = [p for module in part for p in module.parameters()]
        for now, was, gradient in zip(moved, old, gradients, strict=True):
            assert gradient is not None
            torch.testing.assert_close(now.detach(), was - 0.1 * decay ** (5 - number) * gradient, rtol=1e-5, atol=1e-6)


def test_weight_decay_spares_normalisation_layers_and_biases_also_with_layer_wise_rates() -> None:
    model = drawn_model()
    engine = Engine(settings(layer_decay=0.9, weight_decay=0.25), model, ONE)
    decays = {id(p): group["weight_decay"] for group in engine.optimizer.param_groups for p in group["params"]}
    assert {decays[id(p)] for p in model.parameters() if p.ndim > 1} == {0.25}
    assert {decays[id(p)] for p in model.parameters() if p.ndim <= 1} == {0.0}
    assert len(decays) == len(list(model.parameters()))


def test_a_checkpoint_of_a_partly_frozen_network_holds_the_momentum_of_what_trains() -> None:
    model = drawn_model()
    engine = Engine(settings(freeze=4), model, ONE)
    engine.step(drawn_batch(0), 0.01)
    state = engine.state()
    assert {name.split(".")[0] for name in state} == {"stages", "head"}
    assert all(name.startswith(("stages.3.", "head.")) for name in state)
    fresh = Engine(settings(freeze=4), drawn_model(), ONE)
    fresh.load_state(state)
    assert all(torch.equal(fresh.state()[name], value) for name, value in state.items())


def test_another_network_is_one_part_and_trains_whole() -> None:
    config = settings(momentum=0.0, nesterov=False)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 40 * 40, 7))
    before = model[1].weight.detach().clone()
    Engine(replace(config), model, ONE).step(drawn_batch(0), 0.01)
    assert not torch.equal(model[1].weight, before)


def test_the_parts_hold_every_weight_once() -> None:
    model = SEResNet18(7, width=16)
    held = [id(p) for part in model.parts() for module in part for p in module.parameters()]
    assert len(model.parts()) == 6
    assert sorted(held) == sorted(id(p) for p in model.parameters())
