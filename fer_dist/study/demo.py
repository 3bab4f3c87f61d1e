"""A study in small: draw faces, build shards, and carry out the published study's plan on them."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.emotions import SEVEN
from fer_dist.data.shards.manifest import MANIFEST
from fer_dist.data.sources.source import EncodedImage, LeftOut, Sample, Source, open_source
from fer_dist.errors import InputError
from fer_dist.progress import Terminal
from fer_dist.storage.paths import OnDisk, settled
from fer_dist.storage.untrusted import Value, read_regular, record
from fer_dist.storage.writing import write_atomically
from fer_dist.study.paper import PaperConfig, paper_of
from fer_dist.study.plan import Plan, StudyConfig

SETTINGS = "demo.json"
MOST_BYTES = 1 << 20
NAMES = {"a": "wild", "b": "lab", "c": "six"}
"""Sets by their role in the published study; six is of the lab's style, other people, without neutrality."""

EPOCHS = {
    "wild": {"train.epochs": 20, "train.lr": 0.1},
    "lab": {"train.epochs": 34, "train.lr": 0.05},
    "wild-to-lab": {"train.epochs": 34, "train.lr": 0.05},
}


@dataclass(frozen=True)
class DemoConfig:
    """Draw faces in two styles, train on each, evaluate across them, transfer one to the other, and write a report.

    Takes minutes on two cores. Started again, it does only what is missing.
    """

    out: OnDisk = "demo"
    """Folder for all that the demo makes."""

    seed: int = 0
    """Seed of the faces and of the training."""

    wild_count: int = 4400
    """Faces drawn in the wild style for training, a tenth of them for validation."""

    lab_count: int = 780
    """Faces drawn in the lab style, a tenth of them for validation: few, so that transfer has work to do."""

    test_count: int = 1000
    """Faces drawn in each style for testing."""

    six_count: int = 300
    """Faces drawn for the third set, of which those of neutrality are left away."""


@dataclass(frozen=True)
class _WithoutNeutrality:
    """The test faces of a source, less the neutral ones, as a dataset of its own."""

    source: Source
    dataset: str = "synthetic_six"
    emotions: tuple[str, ...] = SEVEN[:-1]
    remarks: tuple[str, ...] = ()

    @property
    def variant(self) -> str:
        return f"{self.source.variant}, without neutrality"

    def samples(self) -> Iterator[Sample | LeftOut]:
        for sample in self.source.samples():
            if isinstance(sample, LeftOut) or sample.emotion in self.emotions:
                yield sample

    def read(self, sample: Sample) -> EncodedImage:
        return self.source.read(sample)


def demo(config: DemoConfig, terminal: Terminal) -> Path:
    """Run the demo. Returns the path of its report. Raises InputError where the folder holds another demo."""
    from fer_dist.study.study import study

    began = time.monotonic()
    config = settled(config)
    out = Path(config.out)
    _open_folder(out, config)
    for name, count, test_count in (
        ("wild", config.wild_count, config.test_count),
        ("lab", config.lab_count, config.test_count),
        ("six", 0, config.six_count),
    ):
        _draw(out, name, (count, test_count), config, terminal)
    commands = (f"fer-dist demo --seed {config.seed}",)
    report = study(_plan(out, config), StudyConfig(out=str(out)), terminal, commands)
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    terminal.say(f"done in {minutes} min {seconds} s")
    terminal.say(f"report:  {report}")
    terminal.say(f"scores:  {out}/runs/*/scores.json, figures and predictions beside them")
    terminal.say(f"curves:  tensorboard --logdir {out / 'runs'}")
    return report


def _open_folder(out: Path, config: DemoConfig) -> None:
    content = asdict(replace(config, out=""))
    try:
        out.mkdir(parents=True, exist_ok=True)
        if (out / SETTINGS).is_file():
            remedy = "choose another --out, or remove it"
            if (
                record(dict[str, Value], read_regular(out / SETTINGS, MOST_BYTES), f"{out / SETTINGS}", remedy)
                != content
            ):
                raise InputError(f"{out}: holds a demo with other settings; {remedy}")
        elif any(out.iterdir()):
            raise InputError(f"{out}: not empty, and not a demo; choose another --out")
        else:
            write_atomically(out / SETTINGS, json.dumps(content).encode())
        # What a study takes for its own.
        (out / "jobs").mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); choose another --out") from None


def _draw(out: Path, name: str, counts: tuple[int, int], config: DemoConfig, terminal: Terminal) -> None:
    """Draw a set of so many faces for training and for testing, unless it stands."""
    target = out / "shards" / name
    if (target / "test" / MANIFEST).is_file():
        return
    terminal.say(f"drawing {sum(counts):,} faces, {name}")
    style, seed = (name, config.seed) if name != "six" else ("lab", config.seed + 1)
    source = open_source("synthetic", style, count=counts[0], test_count=counts[1], seed=seed)
    val_fraction = 0.1 if counts[0] else 0.0
    options = BuildOptions(shard_samples=512, val_fraction=val_fraction, command="fer-dist demo")
    chosen = _WithoutNeutrality(source) if name == "six" else source
    build_shards(chosen, target, options, terminal.count("faces drawn"))
    terminal.close()


def _plan(out: Path, config: DemoConfig) -> Plan:
    title = "A study in small, on drawn faces"
    paper = PaperConfig(preset="demo", seeds=str(config.seed), title=title)
    plan = paper_of(NAMES, {role: str(out / "shards" / name) for role, name in NAMES.items()}, paper, {})
    trainings = {name: replace(training, set=EPOCHS[name]) for name, training in plan.trainings.items()}
    return replace(plan, trainings=trainings)
