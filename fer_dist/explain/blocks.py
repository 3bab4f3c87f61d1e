"""The blocks of a network whose feature maps are looked at, and what goes through them.

B batch, C channels, H height and W width of a block's output.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fer_dist.model import Block as OurBlock
from fer_dist.model import SEResNet18, SqueezeExcitation
from fer_dist.runs.network import own_parts


@dataclass(frozen=True)
class Block:
    """name: for figures and files. module: whose output is the block's feature map; where it is an SE block, the map is
    the SE-scaled output of the residual branch, before the sum, as the study shows it."""

    name: str
    module: nn.Module

    @property
    def has_gates(self) -> bool:
        return isinstance(self.module, SqueezeExcitation)


@dataclass
class Seen:
    """What went through the blocks in the last forward pass, by their names.

    before, after: [B, C, H, W], into the module and out of it. gates: [B, C], the excitation, of blocks that have one.
    """

    before: dict[str, Tensor] = field(default_factory=dict)
    after: dict[str, Tensor] = field(default_factory=dict)
    gates: dict[str, Tensor] = field(default_factory=dict)


def blocks_of(model: nn.Module) -> list[Block]:
    """From the input to the head: the eight SE blocks of ours, the stages that timm names, the parts of a user's own.

    Of a part, the last of its modules; the head has no map. None where the network says nothing of its parts.
    """
    if isinstance(model, SEResNet18):
        return [
            Block(f"stage {stage + 1}, block {number + 1}", block.se)
            for stage, blocks in enumerate(model.stages)
            for number, block in enumerate(blocks.children())
            if isinstance(block, OurBlock)
        ]
    stages = getattr(model, "feature_info", None)
    if stages:
        names = (
            stages.module_name() if callable(getattr(stages, "module_name", None)) else [s["module"] for s in stages]
        )
        return [Block(name, model.get_submodule(name)) for name in names]
    return [Block(f"part {number + 1}", part[-1]) for number, part in enumerate(own_parts(model)[:-1]) if part]


@contextmanager
def watched(blocks: list[Block]) -> Iterator[Seen]:
    """While it is open, each forward pass leaves here what goes through the blocks. Outputs that are no map, of blocks
    of another kind than convolutions, are passed over."""
    seen = Seen()

    def note(name: str, given: tuple[Tensor, ...], made: Tensor) -> None:
        if isinstance(made, Tensor) and made.ndim == 4:
            seen.before[name], seen.after[name] = given[0], made

    def note_gates(name: str, made: Tensor) -> None:
        seen.gates[name] = torch.sigmoid(made)

    handles = []
    for block in blocks:
        name, module = block.name, block.module
        handles.append(module.register_forward_hook(lambda m, given, made, name=name: note(name, given, made)))
        if isinstance(module, SqueezeExcitation):
            handles.append(
                module.expand.register_forward_hook(lambda m, given, made, name=name: note_gates(name, made))
            )
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
