"""Three tiny sets of drawn faces, and the command line of a study on them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_dist.data.shards import BuildOptions, build_shards
from fer_dist.data.sources import open_source
from fer_dist.emotions import SEVEN

SETTINGS = [
    "--preset", "demo", "--set.data.size", "24", "--set.data.crop", "20", "--set.train.batch-size", "20",
    "--set.train.epochs", "2", "--set.train.log-every", "2", "--threads", "1", "--device", "cpu",
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
    return content
