"""Checks of GPU, DALI and collectives for `fer-dist doctor`: each does in small what training does."""

import glob
import shutil
import subprocess
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.distributed as dist
from packaging.version import Version

from fer_dist.config.settings import DataConfig
from fer_dist.data.images import decode, jpeg_bytes
from fer_dist.data.loading.augment import draw
from fer_dist.data.loading.pipeline import Crops, DecodeError, Graph, Inputs
from fer_dist.distributed.hardware import fastest
from fer_dist.doctor.finding import Asked, Finding, fault, not_here, ok, warning
from fer_dist.doctor.machine import version_of
from fer_dist.errors import InputError, WorkError

LEAST_DRIVER = {13: 580, 12: 525}
"""Major version of CUDA -> of the oldest driver that runs it. Source: NVIDIA, CUDA Compatibility, table 1."""

SIDE = 64
MOST_GREY_LEVELS = 2.0
"""Between our graph's crops and Pillow's pixels, on average: decoders round differently."""


def gpu(asked: Asked) -> list[Finding]:
    """Whether torch sees a GPU, and a kernel runs on each."""
    devices = glob.glob("/dev/nvidia[0-9]*")
    if not torch.cuda.is_available():
        if not devices:
            return not_here("no GPU here")
        if not torch.version.cuda:
            return fault("a GPU that this torch is not built for", "install torch's build for CUDA, from its website")
        return fault(
            f"{len(devices)} GPU here, and torch {torch.__version__} for CUDA {torch.version.cuda} cannot use it",
            "compare the driver with the row below, and look at CUDA_VISIBLE_DEVICES",
        )
    found = []
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        name = f"{number}: {about.name}, {about.total_memory / 2**30:.0f} GiB, compute {about.major}.{about.minor}"
        try:
            assert torch.ones(1000, device=f"cuda:{number}").sum().item() == 1000
            found += ok(name)
        except RuntimeError as error:
            cause = str(error).splitlines()[0]
            found += fault(f"{name}: {cause}", "free the GPU, or install a torch that is built for this kind of it")
    return found


def precision(asked: Asked) -> list[Finding]:
    """What `train.precision auto` takes on the CPU and on each GPU."""
    names = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    chosen = {name: fastest(torch.device(name)) for name in names}
    return ok("; ".join(f"{name}: {one.precision} ({one.reason})" for name, one in chosen.items()))


def driver(asked: Asked) -> list[Finding]:
    """The driver's version beside what torch and DALI were built for."""
    if not shutil.which("nvidia-smi"):
        return not_here("no nvidia-smi here, so no driver to ask")
    line = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=60)
    if ended.returncode:
        said = (ended.stdout + ended.stderr).strip().splitlines()
        return fault(
            f"nvidia-smi: {said[0] if said else f'exit code {ended.returncode}'}",
            "load or install the driver: the module of the kernel and nvidia-smi must be of one version",
        )
    return driver_fits(ended.stdout.split()[0], {"torch": torch.version.cuda or "", "DALI": dali_cuda()})


def driver_fits(version: str, built_for: dict[str, str]) -> list[Finding]:
    """version: of the driver, as 580.65.06. built_for: name -> version of CUDA, empty for none."""
    found = f"{version}; " + ", ".join(f"{name} for CUDA {cuda}" for name, cuda in built_for.items() if cuda)
    for name, cuda in built_for.items():
        least = LEAST_DRIVER.get(Version(cuda).major) if cuda else None
        if least and Version(version).major < least:
            return fault(
                found,
                f"{name} needs a driver of at least {least}: install one, or torch and fer-dist[cuda12] for CUDA 12",
            )
    return ok(found)


def dali_cuda() -> str:
    """The CUDA that the installed DALI is built for, as 13; empty without DALI."""
    return "13" if version_of("nvidia-dali-cuda130") else "12" if version_of("nvidia-dali-cuda120") else ""


def dali(asked: Asked) -> list[Finding]:
    """Which DALI is installed, beside the CUDA of torch."""
    installed = {major: version_of(f"nvidia-dali-cuda{major}0") for major in ("12", "13")}
    return dali_fits({major: version for major, version in installed.items() if version}, torch.version.cuda or "")


def dali_fits(installed: dict[str, str], torch_cuda: str) -> list[Finding]:
    """installed: major version of CUDA -> DALI's version. torch_cuda: as 13.0; empty for a torch without."""
    major = str(Version(torch_cuda).major) if torch_cuda else ""
    wanted = major if major in ("12", "13") else "13"
    found = " and ".join(f"{version} for CUDA {cuda}" for cuda, version in installed.items())
    if not installed:
        return fault("not installed", f"pip install 'fer-dist[cuda{wanted}]'")
    if len(installed) > 1:
        return fault(
            f"{found}: both hold the same module",
            f"pip uninstall nvidia-dali-cuda120 nvidia-dali-cuda130, then pip install 'fer-dist[cuda{wanted}]'",
        )
    if major and major not in installed:
        return warning(
            f"{found}, torch for CUDA {torch_cuda}",
            f"pip uninstall nvidia-dali-cuda{next(iter(installed))}0, then pip install 'fer-dist[cuda{wanted}]'",
        )
    return ok(found)


def decoding(asked: Asked) -> list[Finding]:
    """A drawn JPEG through the graph that training uses, on the CPU and on each GPU, beside Pillow's pixels."""
    names = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    found = []
    for name in names:
        try:
            difference = _grey_levels(torch.device(name))
        except (RuntimeError, DecodeError, InputError, WorkError) as error:
            found += fault(
                f"{name}: {str(error).strip().splitlines()[0]}",
                "install DALI's package that fits torch and the driver, as the rows of DALI and driver say",
            )
            continue
        text = f"{name}: a JPEG, {difference:.2f} grey levels from Pillow's"
        broken = fault(text, "install another version of DALI: this one decodes wrongly")
        found += broken if difference > MOST_GREY_LEVELS else ok(text)
    return found if len(names) > 1 else found + not_here("on a GPU: no GPU here")


def _grey_levels(device: torch.device) -> float:
    """Mean difference between our graph's crop of a smooth image and Pillow's pixels."""
    from PIL import Image

    rows, columns = np.mgrid[0:SIDE, 0:SIDE] * 255.0 / SIDE
    drawn = np.stack([rows, columns, 255 - rows], axis=2).astype(np.uint8)
    content = jpeg_bytes(Image.fromarray(drawn), 95)
    data = DataConfig(size=SIDE, crop=SIDE, views="centre", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    graph = Graph(data, augment=False, batch_size=1, device=device, half=False, threads=1)
    inputs = Inputs([np.frombuffer(content, dtype=np.uint8)], draw(data, 0, 0, np.zeros(1, dtype=np.uint64)))
    crop = Crops(graph, lambda: inputs).next().float().cpu().numpy()[0, 0]
    return float(np.abs(crop * 255 - np.asarray(decode(content), dtype=np.float32)).mean())


def collectives(asked: Asked) -> list[Finding]:
    """A sum over a group of this one process: gloo on the CPU, nccl on a GPU."""
    found = _summed("gloo", torch.device("cpu"), "map this machine's own name to an address in /etc/hosts")
    if not torch.cuda.is_available():
        return found + not_here("nccl: no GPU here")
    version = ".".join(str(number) for number in torch.cuda.nccl.version())
    remedy = "give /dev/shm 1 GB, and read what NCCL_DEBUG=INFO says"
    return found + _summed("nccl", torch.device("cuda", 0), remedy, version)


def _summed(backend: str, device: torch.device, remedy: str, version: str = "") -> list[Finding]:
    name = f"{backend} {version}".strip()
    try:
        with TemporaryDirectory(prefix="fer-dist-") as folder:
            dist.init_process_group(backend, init_method=f"file://{folder}/meet", rank=0, world_size=1)
            value = torch.full((4,), 2.0, device=device)
            dist.all_reduce(value)
        text = f"{name}: all_reduce on {device.type}"
        return ok(text) if value.tolist() == [2.0] * 4 else fault(f"{text} gave {value.tolist()}", remedy)
    except RuntimeError as error:
        return fault(f"{name}: {str(error).strip().splitlines()[0]}", remedy)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
