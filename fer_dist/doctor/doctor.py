"""`fer-dist doctor`: what this machine, or each node of a cluster, has and what is missing, with the remedy.

The checks are in machine.py, devices.py, storage.py and cluster.py, by their subject; here they are put together.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from fer_dist import PACKAGE, __version__
from fer_dist.config.flags import in_own_words, write_json
from fer_dist.doctor import cluster, devices, machine, storage
from fer_dist.doctor.finding import Asked, Finding, fault
from fer_dist.errors import WorkError, counted
from fer_dist.progress import Terminal

Check = Callable[[Asked], list[Finding]]

CHECKS: dict[str, Check] = {
    "python": machine.python,
    "packages": machine.packages,
    "cores": machine.cores,
    "memory": machine.memory,
    "shared memory": machine.shared_memory,
    "open files": machine.open_files,
    "clock": machine.clock,
    "GPU": devices.gpu,
    "precision": devices.precision,
    "driver": devices.driver,
    "DALI": devices.dali,
    "decoding": devices.decoding,
    "collectives": devices.collectives,
    "run root": storage.run_root,
    "disk": storage.disk,
    "cache": storage.cache,
    "data": storage.data,
    "host name": cluster.host_name,
}
"""What is looked at on this machine, or on each node; a new check is a line."""

COMPARED = ("torch", "torchvision", "ray", "numpy", "nvidia-dali-cuda120", "nvidia-dali-cuda130", "deepspeed")
ENTRY = "from fer_dist.doctor import cluster, doctor; cluster.answer(doctor.look)"


@dataclass(frozen=True)
class Row:
    """A finding, of a check, on a node; node: empty for this machine."""

    node: str
    check: str
    finding: Finding


def doctor(asked: Asked, terminal: Terminal, json: str = "") -> None:
    """Look, and print what was found, at last whether all is ready. Raises WorkError where one is a fault.

    asked: with the cluster's address (see `addressed`). json: file for the findings as well.
    """
    rows = [replace(row, finding=_in_own_words(row.finding)) for row in rows_of(asked)]
    terminal.table(["state", "check", "found"], [_cells(row) for row in _gathered(rows)], text_columns=3)
    if json:
        write_json(json, [{"node": row.node, "check": row.check} | asdict(row.finding) for row in rows])
    for row in _gathered(rows):
        if row.finding.remedy:
            terminal.say(f"{row.finding.state}: {_where(row)}: {row.finding.remedy}")
    states = [row.finding.state for row in rows]
    faults, warnings = states.count("fault"), counted(states.count("warning"), "warning")
    if faults:
        raise WorkError(f"not ready: {counted(faults, 'fault')}, {warnings}; the remedies stand above")
    terminal.say(f"ready: no fault, {warnings}")


def rows_of(asked: Asked) -> list[Row]:
    """All findings: of this machine, or of every node of the cluster."""
    rows = [] if asked.cluster else [Row("", name, item) for name in CHECKS for item in _made(name, asked)]
    rows += [Row("", "Ray token", item) for item in cluster.token(asked)]
    if asked.ray.address:
        found, nodes = cluster.ask(asked, ENTRY)
        rows += [Row("", "Ray cluster", item) for item in found]
        if asked.cluster and nodes:
            rows += [Row("", "nodes", item) for item in cluster.compare(nodes)]
            for address, node in nodes.items():
                for name, items in node.get("findings", {}).items():
                    rows += [Row(address, name, Finding(**item)) for item in items]
    return rows


def look(asked: Asked) -> dict[str, Any]:
    """What one node has, ready for json: versions, and findings by check."""
    versions = {name: machine.version_of(name) for name in COMPARED}
    python = machine.python(asked)[0].found.split()[0]
    versions |= {"python": python, "fer_dist": f"{__version__} {_code()}"}
    return {"versions": versions, "findings": {name: [asdict(item) for item in _made(name, asked)] for name in CHECKS}}


def _made(name: str, asked: Asked) -> list[Finding]:
    try:
        return CHECKS[name](asked)
    # A check that breaks tells of this machine too, and the others are still wanted.
    except Exception as error:
        return fault(
            f"the check itself broke ({type(error).__name__}: {error})", "read this message, and mend its cause"
        )


def _code() -> str:
    """The first digits of a hash over this package's files: one version may stand for several of them."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(PACKAGE)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:8]


def _gathered(rows: list[Row]) -> list[Row]:
    """Rows of nodes that say the same as one; those that are all well too, with the first node's words."""
    groups: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        finding = row.finding
        said = "" if row.node and finding.state in ("ok", "not here") else finding.found
        groups.setdefault(("nodes" if row.node else "", row.check, finding.state, said), []).append(row)
    gathered = []
    for members in groups.values():
        nodes = list(dict.fromkeys(row.node for row in members))
        first = [row for row in members if row.node == nodes[0]]
        gathered += [replace(row, node=cluster.shortened(nodes)) for row in first]
    return gathered


def _in_own_words(finding: Finding) -> Finding:
    return replace(finding, found=in_own_words(finding.found), remedy=in_own_words(finding.remedy))


def _where(row: Row) -> str:
    return f"{row.check} on {row.node}" if row.node else row.check


def _cells(row: Row) -> list[str]:
    return [row.finding.state, _where(row), row.finding.found]
