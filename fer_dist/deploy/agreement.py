"""Whether a file that was exported says what the network says, image by image."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fer_dist.errors import WorkError, counted

TOLERANCE = 1e-4
"""Largest difference of an output, in float32, and between two logits that may change places."""

MOST_NAMED = 5

Answers = Callable[[Tensor], Tensor]
"""From normalised images, float32 [B, 3, H, W], to outputs [B, K]."""

Batches = Iterable[tuple[list[str], Tensor]]
"""Keys of images, and the images, normalised float32 [B, 3, H, W]."""


@dataclass(frozen=True)
class Other:
    """An image for which the file predicts another emotion. gap: between the network's two largest logits."""

    key: str
    network: str
    file: str
    gap: float

    def __str__(self) -> str:
        return f"{self.key} ({self.network}, the file {self.file}, {self.gap:.1e} apart)"


@dataclass(frozen=True)
class Agreement:
    """images: that were looked at; difference: the largest of an output; others: see there."""

    images: int
    difference: float
    others: tuple[Other, ...]


def agreement(
    model: nn.Module, answers: Answers, emotions: tuple[str, ...], outputs: str, batches: Batches
) -> Agreement:
    """Hold what a file answers against a network, on the CPU, in float32.

    outputs: what the file gives, logits or probabilities.
    """
    images, difference, others = 0, 0.0, []
    with torch.inference_mode():
        for keys, crops in batches:
            logits = model(crops)
            found = answers(crops)
            expected = logits if outputs == "logits" else logits.softmax(1)
            # NaN is larger than any number here, and stays so.
            difference = float(torch.maximum((found - expected).abs().max(), torch.tensor(difference)))
            images += len(keys)
            first, second = logits.topk(2, dim=1).values.unbind(1)
            for index in (logits.argmax(1) != found.argmax(1)).nonzero().flatten().tolist():
                ours, theirs = (emotions[int(one[index].argmax())] for one in (logits, found))
                others.append(Other(keys[index], ours, theirs, float(first[index] - second[index])))
    return Agreement(images, difference, tuple(others))


def check_agreement(found: Agreement, outputs: str, file: str) -> None:
    """Raises WorkError where the file says something else. file: where it lies."""
    wrong = [other for other in found.others if other.gap >= TOLERANCE]
    faults = []
    if not found.difference <= TOLERANCE:
        faults.append(f"its {outputs} differ by up to {found.difference:.2g} (at most {TOLERANCE:g})")
    if wrong:
        named = ", ".join(map(str, wrong[:MOST_NAMED]))
        faults.append(f"it predicts another emotion for {counted(len(wrong), 'image')}: {named}")
    if faults:
        raise WorkError(
            f"{file}: does not say what the run says on {counted(found.images, 'image')}: {'; '.join(faults)}; it is "
            "kept under this name, and should not be used"
        )
