"""Small shard sets and the command line, for tests that train."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fer_dist.config.settings import Config, DataConfig, ModelConfig
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.loading import shard_set
from fer_dist.data.sources.source import open_source
from fer_dist.runs.checkpoint import Checkpoints, Snapshot
from fer_dist.runs.network import build, network_of

SMALL = [
    "--data.size", "24", "--data.crop", "20", "--model.width", "16", "--train.batch-size", "24", "--train.epochs", "2",
    "--train.log-every", "2", "--run.device", "cpu", "--data.threads", "1", "--run.ledger",
]  # fmt: skip


def drawn_shards(folder: Path, count: int = 200, test_count: int = 50) -> Path:
    """Shards of drawn faces: train, val (a fifth of train) and test."""
    source = open_source("synthetic", "wild", count=count, test_count=test_count, seed=3, pixels=24)
    build_shards(source, folder, BuildOptions(shard_samples=64, val_fraction=0.2, workers=1))
    return folder


def arguments(shards: Path, root: Path, name: str, *more: str) -> list[str]:
    data = ["--data.train", str(shards / "train"), "--data.val", str(shards / "val")]
    return ["demo", *data, *SMALL, "--run.root", str(root), "--run.name", name, *more]


def untrained_run(folder: Path, **facts: Any) -> Path:
    """A run folder whose one checkpoint has drawn weights. facts: of its network, beside size, crop and width."""
    config = Config(data=DataConfig(size=24, crop=20), model=ModelConfig(width=16))
    network = replace(network_of(config), **facts)
    torch.manual_seed(5)
    model = build(network)
    with torch.no_grad():
        # Answers that differ: without it each probability is near 1 / K.
        model.get_parameter("head.weight").mul_(40)
    Checkpoints(folder).save(Snapshot(1, dict(model.state_dict()), {}), network)
    return folder


def newest(checkpoints: Checkpoints) -> Snapshot | None:
    """The checkpoint that a run would go on from."""
    found = checkpoints.newest()
    return found.snapshot if found else None


def environment(**more: str | None) -> dict[str, str]:
    """A quiet environment of one thread, without a torchrun or Ray around it. None: without that variable."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "WORLD_", "RANK", "LOCAL_"))}
    kept |= {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "RAY_AUTH_MODE": "disabled"}
    return {name: value for name, value in (kept | more).items() if value is not None}


def command(*words: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run `python -m fer_dist.cli` to its end."""
    line = [sys.executable, "-m", "fer_dist.cli", *words]
    return subprocess.run(
        line, capture_output=True, text=True, env=environment(), timeout=timeout, stdin=subprocess.DEVNULL
    )


@contextmanager
def counted_openings() -> Iterator[Counter[str]]:
    """How often each set is opened meanwhile in this process, by its place."""
    counted: Counter[str] = Counter()
    look_up = shard_set.look_up

    def counting(text: str, *more: Any) -> Any:
        counted[text] += 1
        return look_up(text, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_set, "look_up", counting)
        yield counted


NOTED = """
import os, sys

def note(event, arguments):
    # What is opened by a descriptor shows twice: the first time without a mode.
    if event == "open" and arguments[1] and str(arguments[0]).endswith("manifest.json"):
        os.write(notes, f"{os.environ.get('RANK')} {arguments[0]}\\n".encode())

notes = os.open({path!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
sys.addaudithook(note)
"""


def noted_openings(folder: Path) -> dict[str, str]:
    """What an environment has beside, so that its processes write into folder/openings which manifest each opens.

    A line each: its rank, and the path.
    """
    (folder / "sitecustomize.py").write_text(NOTED.replace("{path!r}", repr(str(folder / "openings"))))
    return {"PYTHONPATH": str(folder)}


def two_processes(*words: str, timeout: float = 240, **more: str) -> subprocess.CompletedProcess[str]:
    """Train to the end as a torchrun group of two. more: of their environment."""
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    line += ["-m", "fer_dist.train", *words]
    ended = subprocess.run(line, env=environment(**more), capture_output=True, text=True, timeout=timeout)
    assert ended.returncode == 0, ended.stderr
    return ended


def ledger(run: Path, ranks: int = 0, since: int = 0, until: int = 1 << 30) -> dict[int, list[str]]:
    """Step -> the keys of the global batch, rank by rank. A step that was taken again counts once, as it was last.

    ranks: how many took part, 0 for all that wrote; since, until: the steps that are asked for, until excluded.
    """
    parts = []
    for number in range(ranks or len(list((run / "ledger").glob("*.tsv")))):
        lines = [line.split("\t") for line in (run / "ledger" / f"{number}.tsv").read_text().splitlines()]
        parts.append({int(step): keys for step, *keys in lines if since <= int(step) < until})
    return {step: [key for part in parts for key in part[step]] for step in sorted(parts[0])}


def weights(run: Path) -> dict[str, str]:
    """sha256 of the files of the newest checkpoint, from the run's list."""
    newest = json.loads((run / "checkpoints" / "list.json").read_text())[-1]
    files: dict[str, str] = newest["files"]
    return {name: digest for name, digest in files.items() if name.endswith(".safetensors")}


def samples(run: Path) -> dict[int, set[str]]:
    """Step -> the keys that any rank ever took in it: for runs whose number of ranks changed."""
    found: dict[int, set[str]] = {}
    for path in (run / "ledger").glob("*.tsv"):
        for line in path.read_text().splitlines():
            step, *keys = line.split("\t")
            found.setdefault(int(step), set()).update(keys)
    return found


def taken_again(run: Path) -> int:
    """How many steps a rank took more than once, of the rank that did so most."""
    files = [path.read_text().splitlines() for path in (run / "ledger").glob("*.tsv")]
    return max(len(lines) - len({line.split("\t")[0] for line in lines}) for lines in files)
