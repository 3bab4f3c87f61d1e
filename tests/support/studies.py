"""Three tiny sets of drawn faces, and the command line of a study on them."""

import json
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.emotions import SEVEN
from fer_dist.data.shards.manifest import load_manifest, save_manifest
from fer_dist.data.sources.source import open_source
from fer_dist.study import study as study_module
from fer_dist.study.jobs import CHANGES_NO_RESULT, DRAWS, SOURCES
from fer_dist.study.source_hash import PACKAGE

SETTINGS = [
    "--preset", "demo", "--seeds", "0", "--set.data.size", "24", "--set.data.crop", "20",
    "--set.train.batch-size", "20", "--set.train.epochs", "2", "--set.train.log-every", "2",
    "--set.train.precision", "bf16", "--threads", "1", "--device", "cpu",
]  # fmt: skip


@dataclass(frozen=True)
class Six:
    """A source less its neutral faces."""

    source: Any
    dataset: str = "six"
    emotions: tuple[str, ...] = SEVEN[:-1]
    variant: str = "without neutrality"
    remarks: tuple[str, ...] = ()

    def samples(self) -> Any:
        return (sample for sample in self.source.samples() if sample.emotion in self.emotions)

    def read(self, sample: Any) -> Any:
        return self.source.read(sample)


def three_sets(root: Path) -> Path:
    """root/a and root/b with train, val and test; root/c has a test split only, and no neutrality."""
    options = BuildOptions(shard_samples=64, val_fraction=0.2, workers=1)
    for name, style in (("a", "wild"), ("b", "lab")):
        build_shards(open_source("synthetic", style, count=100, test_count=40, seed=3, pixels=24), root / name, options)
    six = Six(open_source("synthetic", "lab", count=0, test_count=40, seed=4, pixels=24))
    build_shards(six, root / "c", BuildOptions(shard_samples=64, workers=1))
    return root


def whole(sets: Path, root: Path) -> Path:
    """root/a: the set a of which nothing was cut out for validation: the same train and test, and no val."""
    for split in ("train", "test"):
        copied = shutil.copytree(sets / "a" / split, root / "a" / split)
        manifest = load_manifest(copied)
        save_manifest(copied, replace(manifest, built=manifest.built | {"val_fraction": 0.0}))
    return root


def paper(sets: Path, out: Path, *more: str) -> list[str]:
    places = ["--a", str(sets / "a"), "--b", str(sets / "b"), "--c", str(sets / "c")]
    return ["study", "paper", *places, *SETTINGS, "--out", str(out), *more]


def found(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "study.json").read_text())
    return content


def measured(out: Path) -> dict[str, Any]:
    """What a study found, less what every run of it has of its own: times, and the commands that made it."""
    content = found(out)
    for name in ("commands", "seconds", "commit"):
        content.pop(name)
    for model in content["models"]:
        model.pop("seconds")
        model.pop("began")
        for name in ("images_per_second", "crops_per_second", "data_wait"):
            model["curves"].pop(f"train/{name}", None)
    return content


@contextmanager
def traced() -> Iterator[dict[str, set[str]]]:
    """What the first job of each kind runs: kind -> the modules of the package in which a function was called."""
    found: dict[str, set[str]] = {}

    def watched(work: Any) -> Any:
        def wrapped(running: Any, job: Any, *more: Any) -> Any:
            kind = job[0].kind if isinstance(job, list) else job.kind
            if kind in found:
                return work(running, job, *more)
            files: set[str] = set()

            def note(frame: Any, event: str, argument: Any) -> None:
                files.add(frame.f_code.co_filename)

            before = sys.gettrace()
            # The threads of loader and saver as well.
            threading.settrace(note)
            sys.settrace(note)
            try:
                return work(running, job, *more)
            finally:
                sys.settrace(before)
                threading.settrace(before)  # type: ignore[arg-type]
                found[kind] = _modules_of(files)

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        for name in ("train", "evaluate_jobs", "measure", "_report"):
            patch.setattr(study_module, name, watched(getattr(study_module, name)))
        yield found


def _modules_of(files: set[str]) -> set[str]:
    paths = [Path(file) for file in files if file.endswith(".py")]
    names = (path.relative_to(PACKAGE).with_suffix("") for path in paths if path.is_relative_to(PACKAGE))
    return {".".join(name.parts).removesuffix(".__init__") for name in names}


def uncounted(ran: dict[str, set[str]]) -> dict[str, set[str]]:
    """Of what `traced` saw, the modules that neither count in the job's key nor are known to change no result."""
    # What puts a study's jobs together: what it asks of them are settings, which count by their values. Any job asks
    # train.start whether a signal came.
    parts = ("study", "running", "training", "evaluating", "jobs", "records", "setup", "plan")
    puts_together = {"train.start", *(f"study.{part}" for part in parts)}
    left = {kind: modules - puts_together - CHANGES_NO_RESULT - DRAWS for kind, modules in ran.items()}
    return {kind: modules - SOURCES[kind].modules - SOURCES[kind].less for kind, modules in left.items()}  # type: ignore[index]
