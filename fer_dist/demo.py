"""The whole study in small: draw faces, build shards, train on each style, cross them, transfer, evaluate, report."""

import json
import platform
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fer_dist import __version__
from fer_dist.checkpoint import load_model
from fer_dist.config import Config
from fer_dist.data.manifest import MANIFEST, load_manifest, write_atomically
from fer_dist.data.shards import BuildOptions, build_shards
from fer_dist.data.sources import open_source
from fer_dist.errors import InputError
from fer_dist.evaluate import EvaluateConfig, evaluate
from fer_dist.evaluate import Result as Evaluated
from fer_dist.monitor import Terminal
from fer_dist.presets import preset
from fer_dist.report import Comparison, Model, Result, Study, write_report
from fer_dist.train import start

SETTINGS = "demo.json"
WILD, LAB = "synthetic_wild", "synthetic_lab"


@dataclass(frozen=True)
class DemoConfig:
    """Draw faces in two styles, train on each, cross them, transfer one to the other, and write a report.

    Takes minutes on two cores. Started again, it does only what is missing.
    """

    out: str = "demo"
    """Folder for all that the demo makes."""

    seed: int = 0
    """Seed of the faces and of the training."""

    wild_count: int = 4400
    """Faces drawn in the wild style for training, a tenth of them for validation."""

    lab_count: int = 780
    """Faces drawn in the lab style, a tenth of them for validation: few, so that transfer has work to do."""

    test_count: int = 1000
    """Faces drawn in each style for testing."""


@dataclass(frozen=True)
class _Training:
    """One of the demo's models: its name, the set that it is trained on, the model that it starts from, its epochs."""

    name: str
    dataset: str
    epochs: int
    lr: float
    started_from: str = ""


TRAININGS = (
    _Training("wild", WILD, 20, 0.1),
    _Training("lab", LAB, 34, 0.05),
    _Training("wild-to-lab", LAB, 34, 0.05, "wild"),
)


def demo(config: DemoConfig, terminal: Terminal) -> Path:
    """Run the demo. Returns the path of its report. Raises InputError where the folder holds another demo."""
    began = time.monotonic()
    out = Path(config.out).resolve()
    _open_folder(out, config)
    for style, count in (("wild", config.wild_count), ("lab", config.lab_count)):
        _draw(out, style, count, config, terminal)
    for training in TRAININGS:
        _train(out, training, config, terminal)
    evaluated = _evaluate(out, terminal)
    report = out / "report.html"
    write_report(report, _study(out, config, evaluated))
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
            if json.loads((out / SETTINGS).read_text()) != content:
                raise InputError(f"{out}: holds a demo with other settings; choose another --out, or remove it")
        elif any(out.iterdir()):
            raise InputError(f"{out}: not empty, and not a demo; choose another --out")
        else:
            write_atomically(out / SETTINGS, json.dumps(content).encode())
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); choose another --out") from None


def _draw(out: Path, style: str, count: int, config: DemoConfig, terminal: Terminal) -> None:
    target = out / "shards" / style
    if (target / "test" / MANIFEST).is_file():
        return
    terminal.say(f"drawing {count + config.test_count:,} faces, {style}")
    source = open_source("synthetic", style, count=count, test_count=config.test_count, seed=config.seed)
    options = BuildOptions(shard_samples=512, val_fraction=0.1, command="fer-dist demo")
    build_shards(source, target, options, terminal.count("faces drawn"))
    terminal.close()


def _train(out: Path, training: _Training, config: DemoConfig, terminal: Terminal) -> None:
    """Train one model; a finished one is left as it is, an interrupted one goes on."""
    began = time.monotonic()
    start(_config(out, training, config), "demo", resume=True, show=terminal)
    terminal.close()
    note = out / "runs" / training.name / "seconds.json"
    if not note.is_file():
        write_atomically(note, json.dumps(time.monotonic() - began).encode())


def _config(out: Path, training: _Training, config: DemoConfig) -> Config:
    base = preset("demo")
    style = training.dataset.removeprefix("synthetic_")
    shards = out / "shards" / style
    init_from = str(out / "runs" / training.started_from) if training.started_from else ""
    return replace(
        base,
        data=replace(base.data, train=str(shards / "train"), val=str(shards / "val")),
        train=replace(base.train, epochs=training.epochs, lr=training.lr, seed=config.seed, init_from=init_from),
        run=replace(base.run, root=str(out / "runs"), name=training.name),
    )


def _evaluate(out: Path, terminal: Terminal) -> list[Evaluated]:
    models = tuple(str(out / "runs" / training.name) for training in TRAININGS)
    data = tuple(str(out / "shards" / style / "test") for style in ("wild", "lab"))
    results = evaluate(EvaluateConfig(models=models, data=data), terminal.count("evaluations"))
    terminal.close()
    for result in results:
        low, high = (100 * end for end in result.scores["accuracy_interval"])
        accuracy = 100 * result.scores["accuracy"]
        terminal.say(f"{result.model:<12} on {result.dataset}: {accuracy:.1f} % ({low:.1f} to {high:.1f})")
    return results


def _study(out: Path, config: DemoConfig, evaluated: list[Evaluated]) -> Study:
    import torch

    _, network = load_model(out / "runs" / "wild")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    models = []
    for training in TRAININGS:
        settings = _config(out, training, config).train
        seconds = json.loads((out / "runs" / training.name / "seconds.json").read_text())
        shown = {"epochs": str(settings.epochs), "learning rate": f"{settings.lr:g}", "batch": str(settings.batch_size)}
        models.append(Model(training.name, training.dataset, training.started_from or None, seconds, parameters, shown))
    counts = {}
    for style in ("wild", "lab"):
        for split in ("train", "val", "test"):
            manifest = load_manifest(out / "shards" / style / split)
            counts[manifest.name] = manifest.counts
    return Study(
        title="A study in small, on drawn faces",
        models=tuple(models),
        results=tuple(Result(r.model, r.dataset.removesuffix("-test"), r.scores) for r in evaluated),
        comparisons=(Comparison("wild-to-lab", "lab", LAB),),
        class_counts=counts,
        commands=(f"fer-dist demo --seed {config.seed}",),
        versions={"fer_dist": __version__, "torch": torch.__version__, "python": platform.python_version()},
        hardware=f"{platform.machine()}, {torch.get_num_threads()} threads",
    )
