"""The network beside independent ones: the block by hand in numpy, the whole as torchvision's ResNet-18."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from fer_dist.model import Block, ChannelMean, SEResNet18, SqueezeExcitation


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class ReferenceBlock(BasicBlock):
    """torchvision's block with torchvision's squeeze and excitation on the residual branch."""

    def attach(self, reduction: int) -> None:
        channels = self.bn2.num_features
        self.se = torchvision.ops.SqueezeExcitation(channels, channels // reduction)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        residual = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.se(self.bn2(self.conv2(residual))) + shortcut)


def reference(model: SEResNet18, classes: int, reduction: int = 16) -> nn.Module:
    """torchvision's ResNet-18 with SE blocks and the weights of ours."""
    network = torchvision.models.resnet18(num_classes=classes)
    copied(model.conv, network.conv1)
    copied(model.norm, network.bn1)
    copied(model.head, network.fc)
    for number, stage in enumerate(model.stages, 1):
        for ours, theirs in zip(stage, getattr(network, f"layer{number}"), strict=True):
            theirs.__class__ = ReferenceBlock
            theirs.attach(reduction)
            for name, counterpart in (("conv1", "conv1"), ("norm1", "bn1"), ("conv2", "conv2"), ("norm2", "bn2")):
                copied(getattr(ours, name), getattr(theirs, counterpart))
            if theirs.downsample is not None:
                copied(ours.shortcut, theirs.downsample)
            excited(ours.se, theirs.se)
    return network


def copied(source: nn.Module, target: nn.Module) -> None:
    target.load_state_dict(source.state_dict())


def excited(source: SqueezeExcitation, target: torchvision.ops.SqueezeExcitation) -> None:
    """Linear layers become 1x1 convolutions, which have a bias of 0 where ours have none."""
    for ours, theirs in ((source.reduce, target.fc1), (source.expand, target.fc2)):
        theirs.weight.data = ours.weight.data[:, :, None, None].clone()
        theirs.bias.data = torch.zeros(len(theirs.bias)) if ours.bias is None else ours.bias.data.clone()


def unsettled(model: nn.Module) -> nn.Module:
    """Normalisation as after some training, so that a mistake in it would show."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


@pytest.mark.parametrize("bias", [False, True])
def test_squeeze_and_excitation_is_equations_1_to_3_by_hand(bias: bool) -> None:
    block = SqueezeExcitation(32, 8, bias)
    x = torch.randn(3, 32, 5, 7)
    maps = x.double().numpy()
    first, second = block.reduce.weight.detach().double().numpy(), block.expand.weight.detach().double().numpy()
    b1 = block.reduce.bias.detach().double().numpy() if bias else 0
    b2 = block.expand.bias.detach().double().numpy() if bias else 0
    z = maps.sum(axis=(2, 3)) / 35
    s = 1 / (1 + np.exp(-(np.maximum(z @ first.T + b1, 0) @ second.T + b2)))
    expected = maps * s[:, :, None, None]
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    assert (first.shape, second.shape) == ((4, 32), (32, 4))


def test_squeeze_and_excitation_is_torchvisions() -> None:
    block, theirs = SqueezeExcitation(64, 16, bias=True), torchvision.ops.SqueezeExcitation(64, 4)
    excited(block, theirs)
    x = torch.randn(2, 64, 6, 6)
    torch.testing.assert_close(block(x), theirs(x))


@pytest.mark.parametrize("bias", [False, True])
def test_the_whole_network_gives_the_logits_of_torchvisions_resnet18_with_se_blocks(bias: bool) -> None:
    model = unsettled(SEResNet18(7, bias=bias)).eval()
    theirs = reference(model, 7).eval()
    x = torch.randn(2, 3, 96, 80)
    with torch.no_grad():
        torch.testing.assert_close(model(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_training_gives_the_gradients_and_the_statistics_of_torchvisions() -> None:
    model = unsettled(SEResNet18(7)).train()
    theirs = reference(model, 7).train()
    x, labels = torch.randn(4, 3, 64, 64), torch.tensor([0, 3, 6, 3])
    for network in (model, theirs):
        nn.functional.cross_entropy(network(x), labels).backward()
    torch.testing.assert_close(model.conv.weight.grad, theirs.conv1.weight.grad, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(model.head.weight.grad, theirs.fc.weight.grad, rtol=1e-4, atol=1e-6)
    ours, other = model.stages[3][1].se.reduce.weight.grad, theirs.layer4[1].se.fc1.weight.grad
    torch.testing.assert_close(ours, other[:, :, 0, 0], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(model.stages[2][0].norm2.running_var, theirs.layer3[0].bn2.running_var)


def test_the_mean_of_channels_gives_torchs_values_and_a_gradient_that_takes_no_room() -> None:
    x = torch.randn(3, 8, 5, 4).to(memory_format=torch.channels_last).requires_grad_()
    weights, found, gradients = torch.randn(3, 8), [], []
    for mean in (ChannelMean.apply, lambda x: x.mean(dim=(2, 3))):
        before = x * 1
        before.register_hook(gradients.append)
        found.append(mean(before))
        (found[-1] * weights).sum().backward()
    assert torch.equal(*found)
    torch.testing.assert_close(*gradients)
    assert gradients[0].stride()[2:] == (0, 0)
    assert torch.autograd.gradcheck(ChannelMean.apply, torch.randn(2, 3, 4, 2, dtype=torch.float64, requires_grad=True))


def test_twenty_steps_end_at_the_weights_that_torchs_own_mean_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    def trained() -> Iterator[Tensor]:
        torch.manual_seed(0)
        model = SEResNet18(7, width=16).to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), lr=2e-4, momentum=0.9)
        for _ in range(20):
            x, labels = torch.randn(8, 3, 40, 40).to(memory_format=torch.channels_last), torch.randint(7, (8,))
            nn.functional.cross_entropy(model(x), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
        yield from model.state_dict().values()

    ours = list(trained())
    monkeypatch.setattr(ChannelMean, "apply", lambda x: x.mean(dim=(2, 3)))
    for value, theirs in zip(ours, trained(), strict=True):
        torch.testing.assert_close(value, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("classes", "options", "parameters"),
    [
        (7, {}, 11_267_143),
        (7, {"bias": True}, 11_269_183),
        (8, {}, 11_267_143 + 513),
        (7, {"reduction": 8}, 11_267_143 + 87_040),
    ],
)
def test_the_network_has_the_parameters_of_the_study(classes: int, options: dict[str, int], parameters: int) -> None:
    model = SEResNet18(classes, **options)  # type: ignore[arg-type]
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_convolutions_are_drawn_as_he_fan_out_and_the_rest_as_usual() -> None:
    model = SEResNet18(7)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 20
    for module in convolutions:
        weights = module.weight.detach()
        expected = math.sqrt(2 / (module.out_channels * module.kernel_size[0] * module.kernel_size[1]))
        # Five standard errors of the deviation and of the mean.
        assert abs(weights.std().item() / expected - 1) < 5 / math.sqrt(2 * weights.numel())
        assert abs(weights.mean().item() / expected) < 5 / math.sqrt(weights.numel())
        assert module.bias is None
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()


@pytest.mark.parametrize("width", [16, 24])
def test_the_width_scales_every_stage_and_the_depth_stays(width: int) -> None:
    model = SEResNet18(5, width=width)
    assert [stage[1].conv2.out_channels for stage in model.stages] == [width, 2 * width, 4 * width, 8 * width]
    assert sum(isinstance(module, Block) for module in model.modules()) == 8
    assert model.eval()(torch.randn(2, 3, 40, 40)).shape == (2, 5)


def test_each_stage_but_the_first_halves_the_map_and_the_network_divides_by_32() -> None:
    model = SEResNet18(7, width=16).eval()
    sides = []
    for stage in model.stages:
        stage.register_forward_hook(lambda module, inputs, output: sides.append(tuple(output.shape[2:])))
    model(torch.randn(1, 3, 224, 224))
    assert sides == [(56, 56), (28, 28), (14, 14), (7, 7)]


def test_channels_last_gives_the_same_logits() -> None:
    model = unsettled(SEResNet18(7, width=16)).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(x)
        last = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-5)


def test_an_image_gets_the_same_logits_alone_shuffled_and_beside_others() -> None:
    torch.manual_seed(0)
    model = SEResNet18(7, width=16).eval()
    images = torch.randn(24, 3, 40, 40)
    order = torch.randperm(24)
    with torch.inference_mode():
        together = model(images)
        shuffled = model(images[order])
        sorted_by_class = model(images[together.argmax(1).argsort()])
        alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(shuffled, together[order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sorted_by_class, together[together.argmax(1).argsort()], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)
