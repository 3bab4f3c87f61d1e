"""Who takes part: rank, size and device, and the few things that ranks tell each other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from fer_dist.config.torchrun import launched
from fer_dist.distributed.hardware import cores
from fer_dist.errors import InputError, counted

T = TypeVar("T")

MOST_THREADS = 8
"""More threads a GPU do not decode faster (facts of DALI: 4 to 8)."""


@dataclass
class World:
    """One process among `size`. With a size of 1 nothing here costs anything."""

    rank: int
    size: int
    device: torch.device
    host_group: dist.ProcessGroup | None = None
    """A gloo group for small host-side messages, which must not wait for the GPU."""

    _asked: tuple[Tensor, dist.Work | None] | None = field(default=None, repr=False)

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the ranks, elementwise. values: float64 on the host, any shape."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values, group=self.host_group)
        return values

    def any(self, flag: bool) -> bool:
        """Whether any rank raised its flag at the call before this one.

        One call late, so that the answer travels while the step computes. Every rank gets the same answer.
        """
        if self.size == 1:
            return flag
        answer = False
        if self._asked:
            value, work = self._asked
            if work:
                work.wait()
            answer = bool(value.item())
        value = torch.tensor([float(flag)])
        self._asked = value, dist.all_reduce(value, group=self.host_group, async_op=True)
        return answer

    def mean(self, tensors: list[Tensor]) -> None:
        """Replace floating-point tensors by their mean over the ranks, in place."""
        tensors = [tensor for tensor in tensors if tensor.is_floating_point()]
        if self.size > 1 and tensors:
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            dist.all_reduce(flat)
            flat /= self.size
            for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def all_gather(self, rows: NDArray) -> NDArray:
        """The rows of all ranks, in the order of the ranks; each rank may bring another number of them."""
        if self.size == 1:
            return rows
        counts = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(counts, torch.tensor([len(rows)]), group=self.host_group)
        longest = max(int(count) for count in counts)
        padded = np.zeros((longest, *rows.shape[1:]), dtype=rows.dtype)
        padded[: len(rows)] = rows
        # As bytes, since gloo does not know every type.
        mine = torch.from_numpy(padded.view(np.uint8).reshape(-1).copy())
        parts = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(parts, mine, group=self.host_group)
        arrays = [part.numpy().view(rows.dtype).reshape(padded.shape) for part in parts]
        return np.concatenate([array[: int(count)] for array, count in zip(arrays, counts, strict=True)])

    def all_gather_object(self, mine: T) -> list[T]:
        """The object of each rank, on every rank."""
        everyone = [mine] * self.size
        if self.size > 1:
            dist.all_gather_object(everyone, mine, group=self.host_group)
        return everyone

    def broadcast(self, mine: T) -> T:
        """Rank 0's object, on every rank."""
        shared = [mine]
        if self.size > 1:
            dist.broadcast_object_list(shared, 0, group=self.host_group)
        return shared[0]

    def min(self, value: int) -> int:
        """The smallest of the ranks' values."""
        return int(self.all_gather(np.array([value], dtype=np.int64)).min())

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier(group=self.host_group)

    def from_main(self, ask: Callable[[], T]) -> T:
        """What `ask` gives on rank 0, on every rank. Where it raises InputError there, every rank does.

        Only rank 0's error has its text, so that a user reads it once.
        """
        answer, fault = None, ""
        if self.is_main:
            try:
                answer = ask()
            except InputError as error:
                fault = str(error)
        answer, fault = self.broadcast((answer, fault))
        if fault:
            raise InputError(fault if self.is_main else "")
        return cast(T, answer)


def default_threads() -> int:
    """Threads for decoding: one for each core of this rank, at most 8."""
    return min(cores(), MOST_THREADS)


def pick_device(wanted: str) -> torch.device:
    """The device for this process: auto, cpu or cuda.

    Raises InputError where there is no CUDA device, or fewer than the ranks that a group has on this host: NCCL takes
    one rank a device. Processes that are no group may share one.
    """
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError("device cuda: no CUDA device is visible here; use cpu")
    here, devices = launched(), torch.cuda.device_count()
    if here.size > 1 and here.local_size > devices:
        raise InputError(
            f"device cuda: {here.local_size} ranks on this host, but {counted(devices, 'CUDA device')}, and "
            f"each rank needs its own; start at most {devices} (torchrun --nproc-per-node {devices}), or use cpu"
        )
    return torch.device("cuda", here.local_rank % devices)


@contextmanager
def joined(device: torch.device, timeout_seconds: float) -> Iterator[World]:
    """Join the group that this process is part of: an open one (Ray Train), torchrun's (WORLD_SIZE), or none.

    A group that is opened here, or by what runs inside, is closed again on the way out.
    timeout_seconds: how long a rank waits for another one.
    """
    timeout = timedelta(seconds=timeout_seconds)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    was_open = dist.is_initialized()
    if not was_open and launched().size > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timeout)
    try:
        if dist.is_initialized() and dist.get_world_size() > 1:
            host_group = cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=timeout))
            yield World(dist.get_rank(), dist.get_world_size(), device, host_group)
        else:
            yield World(0, 1, device)
    finally:
        if not was_open and dist.is_initialized():
            dist.destroy_process_group()
