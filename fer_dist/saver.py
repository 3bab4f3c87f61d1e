"""Checkpoints written beside the training: the loop waits for a copy in memory, not for the disk or a store."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import torch
from torch import Tensor

from fer_dist.runs.checkpoint import Checkpoints, Network, Snapshot


class Saver:
    """Writes one checkpoint at a time, in their order. What goes wrong is raised at the next call."""

    def __init__(self, checkpoints: Checkpoints, network: Network, written: Callable[[], None]) -> None:
        """written: called in the writing thread after each checkpoint that is complete."""
        self._checkpoints = checkpoints
        self._network = network
        self._written = written
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="save")
        self._writing: Future[None] | None = None

    def save(self, snapshot: Snapshot) -> None:
        """Copy a checkpoint's tensors and have them written. Waits where the one before is still being written."""
        self.wait()
        held = replace(snapshot, model=_copies(snapshot.model), optimizer=_copies(snapshot.optimizer))
        self._writing = self._worker.submit(self._write, held)

    def wait(self) -> None:
        """Until the checkpoint is on the disk. Raises WorkError where it cannot be."""
        if self._writing:
            writing, self._writing = self._writing, None
            writing.result()

    def close(self) -> None:
        try:
            self.wait()
        finally:
            self._worker.shutdown()

    def _write(self, snapshot: Snapshot) -> None:
        self._checkpoints.save(snapshot, self._network)
        self._written()


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Row-major, as they are written: the writing thread must not compute with torch.

    Torch would open a second team of threads for it, and once there are more of them than cores those of the training
    no longer wait for each other awake: each step of a small network then takes half as long again, to the end.
    """
    return {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
