"""What the hardware of a process is good for: the arithmetic that is fast on its device."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from fer_dist.config.settings import TrainConfig
from fer_dist.config.torchrun import launched

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Precision -> type of what passes through the network, where that is half of float32."""

WEAKEST_FIRST = ("fp32", "fp16", "bf16")
"""What `train.precision auto` may choose, so that what one rank lacks no rank takes."""

BF16_FLAGS = {"avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX"}
"""Flags of a processor that computes in bfloat16, as Linux names them -> as their maker does."""

LEAST_CAPABILITY = {
    "bf16": ((8, 0), "is emulated, slower than fp32"),
    "fp16": ((7, 0), "is slow"),
    "tf32": ((8, 0), "does not exist: float32 takes its place"),
}
"""Precision -> compute capability from which CUDA devices have it, and what it is like on one below."""

CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Arithmetic:
    """The fastest arithmetic that trains as well as float32 on a device. reason: what of the hardware says so."""

    precision: str
    reason: str


def fastest(device: torch.device, strategy: str = "ddp") -> Arithmetic:
    """What `train.precision auto` means on a device."""
    if device.type == "cpu":
        has_bf16, reason = _bf16_on_cpu()
        return Arithmetic("bf16" if has_bf16 else "fp32", reason)
    capability = torch.cuda.get_device_capability(device)
    reason = f"compute capability {capability[0]}.{capability[1]}"
    if capability >= LEAST_CAPABILITY["bf16"][0]:
        return Arithmetic("bf16", reason)
    if capability < LEAST_CAPABILITY["fp16"][0]:
        return Arithmetic("fp32", reason)
    if strategy == "deepspeed":
        return Arithmetic("fp32", f"{reason}, and DeepSpeed takes no fp16 here")
    return Arithmetic("fp16", reason)


def weakest(found: Iterable[Arithmetic]) -> Arithmetic:
    """What all of those can that were asked."""
    return min(found, key=lambda one: WEAKEST_FIRST.index(one.precision))


def cost_of(precision: str, device: torch.device) -> str:
    """What a precision that was asked for costs on a device that does not have it; empty where it has it."""
    if device.type == "cpu":
        emulated = f"{precision} is emulated on this processor, 7 to 13 times slower than fp32"
        whole = "a processor has no TF32: float32 takes its place"
        has_bf16, _ = _bf16_on_cpu()
        return {"bf16": "" if has_bf16 else emulated, "fp16": emulated, "tf32": whole}.get(precision, "")
    least, cost = LEAST_CAPABILITY.get(precision, ((0, 0), ""))
    capability = torch.cuda.get_device_capability(device)
    return "" if capability >= least else f"{precision} at compute capability {capability[0]}.{capability[1]} {cost}"


def takes_half(precision: str, device: torch.device) -> bool:
    """Whether crops come as float16: half the bytes, where the network makes half of them at once."""
    return device.type == "cuda" and precision in HALF


@contextmanager
def float32_on_cuda(tf32: bool) -> Iterator[None]:
    """While it is open, float32 products and convolutions on CUDA take TF32 (inputs of 10 bits), or stay whole.

    torch's own default is TF32 in convolutions and whole products.
    """
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def torch_for(train: TrainConfig, tuned: bool = True) -> Iterator[None]:
    """While it is open, torch computes as a training is to, its precision and threads chosen.

    tuned: cuDNN tries its algorithms on each new shape, and takes the fastest.
    """
    threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    torch.set_num_threads(train.threads)
    torch.backends.cudnn.benchmark = tuned
    try:
        with float32_on_cuda(tf32=train.precision == "tf32"):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = benchmark


def cores(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores of this rank: those that the process may use, or what its container's time is worth, shared by the ranks
    of its host."""
    here = len(os.sched_getaffinity(0))
    quota = quota_of(groups)
    allowed = here if quota is None else max(1, min(here, int(quota)))
    return max(1, allowed // launched().local_size)


def quota_of(groups: Path) -> float | None:
    """Cores' worth of time that the container may use; None where nothing limits it."""
    with_one_file, with_two = groups / "cpu.max", groups / "cpu" / "cpu.cfs_quota_us"
    try:
        if with_one_file.exists():
            most, period = with_one_file.read_text().split()
        else:
            most, period = with_two.read_text(), with_two.with_name("cpu.cfs_period_us").read_text()
        return float(most) / float(period) if most.strip() not in ("max", "-1") else None
    except OSError:
        return None


def _bf16_on_cpu() -> tuple[bool, str]:
    """Whether the processor computes in bfloat16 and torch uses that, and what says so."""
    lines = CPUINFO.read_text().splitlines()
    flags = next((line.split(":")[1].split() for line in lines if line.startswith("flags")), [])
    names = [name for flag, name in BF16_FLAGS.items() if flag in flags]
    if not names:
        return False, f"a processor without {' and '.join(BF16_FLAGS.values())}"
    capability = torch.backends.cpu.get_cpu_capability()
    # ATEN_CPU_CAPABILITY holds torch back where it is set.
    if not capability.startswith("AVX512"):
        return False, f"a processor with {' and '.join(names)}, of which torch takes no more than {capability}"
    return True, f"a processor with {' and '.join(names)}"
