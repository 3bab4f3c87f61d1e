"""Checks of the machine for `fer-dist doctor`: Python, packages, cores, memory, open files, shared memory, clock."""

import glob
import os
import platform
import re
import resource
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from fer_dist import PACKAGE
from fer_dist.distributed.hardware import quota_of
from fer_dist.doctor.finding import Asked, Finding, fault, not_here, ok, warning
from fer_dist.errors import counted

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "fer-dist"
OPTIONAL = {
    "deepspeed": "--train.strategy deepspeed",
    "faces": "faces found by a detector: shards build --detect, predict",
    "export": "export, and evaluate of ONNX files",
    "video": "video in predict",
    "explain": "attribution in explain",
    "timm": "--model.network timm:NAME",
    "s3": "s3:// addresses",
    "gcs": "gs:// addresses",
    "mlflow": "--run.loggers mlflow",
    "wandb": "--run.loggers wandb",
}
"""Extras of pyproject.toml that a user may want, and what for. cuda12 and cuda13 have a check of their own."""

FEWEST_FILES, ENOUGH_FILES = 1024, 8192
"""Open files: what Linux gives by default, and what Ray recommends."""

LEAST_MEMORY, ENOUGH_MEMORY = 2 << 30, 4 << 30
NCCL_BYTES, RAY_SHARE, RAY_MOST_BYTES = 10**9, 0.3, 200 * 10**9
"""Shared memory: NCCL's manual asks for 1 GB in a container; Ray takes 30 % of the memory, up to 200 GB."""


def python(asked: Asked, version: tuple[int, int, int] = sys.version_info[:3]) -> list[Finding]:
    found = f"{version[0]}.{version[1]}.{version[2]} on {platform.system()} {platform.machine()}"
    if version < (3, 11):
        return fault(found, "make the virtual environment anew with Python 3.11 or newer")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return fault(found, "use Linux on x86-64: DALI and Ray exist for nothing else that we support")
    return ok(found)


def version_of(package: str) -> str:
    """The installed version; empty where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def packages(asked: Asked, requirements: Sequence[str] | None = None) -> list[Finding]:
    """What pyproject.toml asks for beside what is installed. requirements: as in its metadata, by default ours."""
    if requirements is None:
        try:
            requirements = metadata.requires(DISTRIBUTION) or []
        except metadata.PackageNotFoundError:
            return not_here("fer_dist itself is not installed with pip, so what it needs is not written anywhere")
    from packaging.requirements import Requirement

    good: list[str] = []
    optional: list[str] = []
    missing: list[str] = []
    wrong: list[Finding] = []
    for requirement in map(Requirement, requirements):
        extra = _extra_of(requirement)
        if extra and extra not in OPTIONAL:
            continue
        name, version = requirement.name, version_of(requirement.name)
        requirement.marker = None
        if version and not requirement.specifier.contains(version, prereleases=True):
            found = f"{name} {version}, but {requirement.specifier} is needed"
            remedy = f"pip install '{requirement}'"
            # Who does not use an extra need not care.
            wrong += warning(f"{found} for {OPTIONAL[extra]}", remedy) if extra else fault(found, remedy)
        elif version:
            (optional if extra else good).append(f"{name} {version}")
        elif extra:
            missing.append(f"{name}, for {OPTIONAL[extra]}: pip install '{requirement}'")
        else:
            wrong += fault(f"{name} is not installed", f"pip install '{requirement}'")
    # Two extras may ask for one package.
    extras = ok(f"optional: {', '.join(dict.fromkeys(optional))}") if optional else []
    return (
        wrong
        + (ok(", ".join(good)) if good else [])
        + extras
        + [Finding(f"optional: {name}", "not here") for name in missing]
    )


def _extra_of(requirement: "Requirement") -> str:
    """The extra of pyproject.toml that asks for it; empty where it is always asked for."""
    match = re.search(r"extra == ['\"](\w+)", str(requirement.marker))
    return match[1] if match else ""


def cores(
    asked: Asked, groups: Path = Path("/sys/fs/cgroup"), load: Callable[[], float] | None = None
) -> list[Finding]:
    """Cores that this process may use, beside the threads that torch would start."""
    here = len(os.sched_getaffinity(0))
    quota = quota_of(groups)
    share = here if quota is None else max(1, min(here, int(quota)))
    busy = load() if load else os.getloadavg()[0]
    threads = os.environ.get("OMP_NUM_THREADS", "")
    found = f"{counted(here, 'core')}, {busy:.1f} of them busy, OMP_NUM_THREADS {threads or 'not set'}"
    if share < here:
        found += f", {quota:g} cores' time allowed"
    wanted = int(threads) if threads.isdigit() else here
    if wanted > share:
        return warning(found, f"export OMP_NUM_THREADS={share}: torch would start {wanted} threads that wait in turn")
    if not threads and here > 1 and busy > here / 2:
        # Seen on two cores that others used too: two threads of torch had a tenth of the rate of one.
        return warning(found, "export OMP_NUM_THREADS=1 while others compute here: torch's threads wait for each other")
    return ok(found)


def memory(asked: Asked, available: int | None = None) -> list[Finding]:
    """available: in bytes, by default what this machine and its container leave."""
    left = _available() if available is None else available
    found = f"{left / 2**30:.1f} GiB available"
    remedy = "end what else runs here, or give the container more: each worker loads torch, DALI and Ray of its own"
    if left < LEAST_MEMORY:
        return fault(found, remedy)
    return warning(found, remedy) if left < ENOUGH_MEMORY else ok(found)


def _available() -> int:
    groups = Path("/sys/fs/cgroup")
    lines = Path("/proc/meminfo").read_text().splitlines()
    left = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    try:
        most, used = ((groups / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return left
    return left if most == "max" else min(left, int(most) - int(used))


def open_files(asked: Asked) -> list[Finding]:
    # Ray raises its own limit to the hard one; our readers and torch go by the soft one.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft:,} at once, {hard:,} at most"
    remedy = f"ulimit -n {ENOUGH_FILES}, and nofile in /etc/security/limits.conf or docker run --ulimit to keep it"
    if soft < FEWEST_FILES:
        return fault(found, remedy)
    return warning(found, remedy) if soft < ENOUGH_FILES else ok(found)


def shared_memory(
    asked: Asked, size: int | None = None, available: int | None = None, gpus: int | None = None
) -> list[Finding]:
    """size: free bytes of /dev/shm; available: bytes of memory. By default, as gpus, what this machine has."""
    if size is None:
        state = os.statvfs("/dev/shm")
        size = state.f_bavail * state.f_frsize
    gpus = len(glob.glob("/dev/nvidia[0-9]*")) if gpus is None else gpus
    wanted = min(RAY_SHARE * (_available() if available is None else available), RAY_MOST_BYTES)
    found = f"/dev/shm has {size / 1e9:.1f} GB free, Ray wants {wanted / 1e9:.1f} GB"
    remedy = (
        f"give it {max(wanted, NCCL_BYTES) / 1e9:.0f} GB: docker run --shm-size, an emptyDir of medium Memory at "
        "/dev/shm in Kubernetes, or mount -o remount,size=... /dev/shm"
    )
    if gpus and size < NCCL_BYTES:
        return fault(found, remedy)
    # With less than it wants, Ray keeps its objects on a disk: slower, and right.
    return warning(found, remedy) if size < wanted else ok(found)


def clock(asked: Asked, now: float | None = None) -> list[Finding]:
    """Whether it is later than the newest file of this package; stores refuse requests from another quarter-hour."""
    now = time.time() if now is None else now
    found = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    newest = max(path.stat().st_mtime for path in PACKAGE.rglob("*.py"))
    if now < newest - 60:
        return fault(f"{found}, earlier than the files of fer_dist", "set the clock: timedatectl set-ntp true")
    return ok(found)
