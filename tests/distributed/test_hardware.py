"""What hardware is good for: stubs of processors and cards, since a test machine is one of them only."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.runs import environment

from fer_dist.config.settings import TrainConfig
from fer_dist.distributed import hardware
from fer_dist.distributed.hardware import Arithmetic, cores, cost_of, fastest, float32_on_cuda, torch_for, weakest

CPU, CARD = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch):
    """Sets the compute capability of every card."""
    return lambda *capability: monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Sets the flags of the processor, and how far torch goes with it."""

    def put(flags: str, capability: str) -> None:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu avx2 {flags} sha_ni\n")
        monkeypatch.setattr(hardware, "CPUINFO", tmp_path / "cpuinfo")
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)

    return put


@pytest.mark.parametrize(
    ("capability", "strategy", "expected"),
    [
        ((12, 0), "ddp", "bf16"),
        ((9, 0), "deepspeed", "bf16"),
        ((8, 0), "ddp", "bf16"),
        ((7, 5), "ddp", "fp16"),
        ((7, 0), "ddp", "fp16"),
        ((7, 5), "deepspeed", "fp32"),
        ((6, 1), "ddp", "fp32"),
    ],
)
def test_a_card_trains_in_what_its_compute_capability_has(card, capability, strategy, expected) -> None:
    card(*capability)
    found = fastest(CARD, strategy)
    assert found.precision == expected
    assert f"compute capability {capability[0]}.{capability[1]}" in found.reason


@pytest.mark.parametrize(
    ("flags", "capability", "expected", "reason"),
    [
        ("avx512f avx512_bf16", "AVX512", "bf16", "a processor with AVX512-BF16"),
        ("avx512f avx512_bf16 amx_bf16 amx_tile", "AVX512", "bf16", "a processor with AVX512-BF16 and AMX"),
        ("avx512f avx512_vnni", "AVX512", "fp32", "a processor without AVX512-BF16 and AMX"),
        ("", "AVX2", "fp32", "a processor without AVX512-BF16 and AMX"),
        ("avx512f avx512_bf16", "AVX2", "fp32", "torch takes no more than AVX2"),
        ("avx512f avx512_bf16", "DEFAULT", "fp32", "torch takes no more than DEFAULT"),
    ],
)
def test_a_processor_has_bf16_where_its_flags_and_torch_both_say_so(
    processor, flags, capability, expected, reason
) -> None:
    processor(flags, capability)
    found = fastest(CPU)
    assert found.precision == expected
    assert reason in found.reason
    assert bool(cost_of("bf16", CPU)) == (expected == "fp32")


def test_torch_that_is_held_back_trains_in_float32_on_any_processor() -> None:
    code = (
        "import torch; from fer_dist.distributed.hardware import fastest; print(fastest(torch.device('cpu')).precision)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment(ATEN_CPU_CAPABILITY="avx2"), capture_output=True, text=True
    )
    assert ended.stdout == "fp32\n", ended.stderr


def test_what_one_cannot_none_takes() -> None:
    bf16, fp16, fp32 = (Arithmetic(name, name) for name in ("bf16", "fp16", "fp32"))
    assert weakest([bf16, fp16, bf16]) == fp16
    assert weakest([bf16, fp32, fp16]) == fp32
    assert weakest([bf16]) == bf16


def test_what_is_dear_on_a_device_is_said_and_what_is_at_home_is_not(card, processor) -> None:
    processor("", "AVX2")
    assert "bf16 is emulated on this processor" in cost_of("bf16", CPU)
    assert "float32 takes its place" in cost_of("tf32", CPU)
    assert cost_of("fp32", CPU) == ""
    card(7, 5)
    assert cost_of("bf16", CARD) == "bf16 at compute capability 7.5 is emulated, slower than fp32"
    assert "does not exist" in cost_of("tf32", CARD)
    assert cost_of("fp16", CARD) == cost_of("fp32", CARD) == ""
    card(9, 0)
    assert not any(cost_of(name, CARD) for name in ("bf16", "fp16", "tf32", "fp32"))


def test_float32_on_cuda_is_whole_or_tf32_in_products_and_convolutions_and_as_before_afterwards() -> None:
    def now() -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    before = now()
    for tf32 in (True, False):
        with float32_on_cuda(tf32):
            assert now() == (tf32, tf32)
            with float32_on_cuda(not tf32):
                assert now() == (not tf32, not tf32)
            assert now() == (tf32, tf32)
    assert now() == before


def test_torch_is_as_before_after_a_training() -> None:
    def now() -> tuple[int, bool, bool]:
        return torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32

    before = now()
    with torch_for(TrainConfig(threads=before[0] + 1, precision="tf32")):
        assert now() == (before[0] + 1, True, True)
        with torch_for(TrainConfig(threads=1, precision="fp32"), tuned=False):
            assert now() == (1, False, False)
    assert now() == before


@pytest.mark.parametrize(
    ("quota", "ranks", "expected"),
    [
        ("max 100000", "1", 8),
        ("250000 100000", "1", 2),
        ("50000 100000", "1", 1),
        ("max 100000", "4", 2),
        (None, "", 8),
    ],
)
def test_a_ranks_cores_are_its_share_of_what_the_container_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str | None, ranks: str, expected: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    if quota:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert cores(tmp_path) == expected
