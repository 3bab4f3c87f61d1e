"""What a check of `fer-dist doctor` says, and what it is asked about."""

import os
from dataclasses import dataclass, field, replace
from typing import Literal

from fer_dist.errors import InputError
from fer_dist.storage.paths import OnDisk, PathOrUrl

State = Literal["ok", "warning", "fault", "not here"]


@dataclass(frozen=True)
class Finding:
    """One row. state: not here where the check could not be made, which is no fault. remedy: one sentence."""

    found: str
    state: State = "ok"
    remedy: str = ""


@dataclass(frozen=True)
class RayAddress:
    """Which Ray cluster is asked."""

    address: str = ""
    """Address of a Ray cluster, as for training: whether it answers, and takes the token that is set here."""


@dataclass(frozen=True)
class Asked:
    """What the checks look at."""

    run_root: PathOrUrl = "runs"
    """Folder, or URL (s3://, gs://), that is to hold run folders. A probe is written there, read, and removed."""

    data: tuple[PathOrUrl, ...] = ()
    """Sets of shards that must open, given as for --data.train."""

    cache: OnDisk = ""
    """Folder for shards that come from a URL. Empty: the usual one."""

    ray: RayAddress = field(default_factory=RayAddress)

    cluster: bool = False
    """Make the checks on every node of the Ray cluster, at --ray.address or $RAY_ADDRESS, and compare the nodes."""


def addressed(asked: Asked) -> Asked:
    """The same with the cluster's address. Raises InputError where a cluster is meant and none named."""
    address = asked.ray.address or (os.environ.get("RAY_ADDRESS", "") if asked.cluster else "")
    if asked.cluster and not address:
        raise InputError("--cluster: name the cluster with --ray.address HOST:PORT, or RAY_ADDRESS")
    if address and address != "auto" and not address.rpartition(":")[2].isdigit():
        raise InputError(f"--ray.address {address}: give HOST:PORT of the head, as 10.0.0.1:6379, or auto")
    return replace(asked, ray=replace(asked.ray, address=address))


def ok(found: str) -> list[Finding]:
    return [Finding(found)]


def warning(found: str, remedy: str) -> list[Finding]:
    return [Finding(found, "warning", remedy)]


def fault(found: str, remedy: str) -> list[Finding]:
    return [Finding(found, "fault", remedy)]


def not_here(why: str) -> list[Finding]:
    return [Finding(why, "not here")]


def from_message(text: str) -> list[Finding]:
    """A fault from one of our own errors, whose last part is the remedy."""
    found, _, remedy = text.rpartition("; ")
    return fault(found or text, remedy if found else "see what the message says")
