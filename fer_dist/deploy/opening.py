"""What a prediction is given, looked at without torch, which takes seconds to import: a wrong path is answered at
once."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fer_dist.config.checks import check_ray
from fer_dist.config.settings import PredictConfig
from fer_dist.deploy.inputs import Entry, check_inputs
from fer_dist.errors import InputError, naming
from fer_dist.runs.architecture import check_architecture
from fer_dist.runs.folder import find_run
from fer_dist.storage.paths import on_disk
from fer_dist.storage.writing import free_bytes

if TYPE_CHECKING:
    from fer_dist.deploy.boxes import Boxes

WAYS = ("auto", "detect", "none")


@dataclass(frozen=True, eq=False)
class Given:
    """What was asked for and is there. boxes: those of --faces, where it is a file."""

    run: str
    config: PredictConfig
    named: tuple[str | Entry, ...]
    boxes: "Boxes | None" = None
    annotate: str = ""
    """Folder for what is drawn; empty where nothing is."""


def open_given(run: str, inputs: Sequence[str], config: PredictConfig, annotate: str = "") -> Given:
    """Look for the run, but not into it, and for every input.

    Raises InputError where one is not there or of no known kind, a number makes no sense, or an extra is missing.
    """
    least = {"--batch-size": 1, "--threads": 0, "--frames-per-second": 0, "--smallest-face": 1}
    for flag, fewest in least.items():
        value = getattr(config, flag.removeprefix("--").replace("-", "_"))
        if not value >= fewest:
            raise InputError(f"{flag} {value} is too small; it must be at least {fewest}")
    if not 0 <= config.min_confidence <= 1:
        raise InputError(f"--min-confidence {config.min_confidence} is out of range; it must lie in 0..1")
    check_ray(config.ray)
    if config.ray.workers and not config.parts:
        raise InputError("--ray.workers: tasks write parts; give the folder for them: --parts FOLDER")
    if config.parts and annotate:
        raise InputError("--annotate draws while rows come, which parts do not; leave --annotate or --parts out")
    for name in config.network:
        check_architecture(name, "--network")
    find_run(run)
    named = check_inputs(inputs, config)
    if not named:
        raise InputError("INPUT... is missing; see --help")
    boxes = None if config.faces in WAYS else _boxes(config.faces)
    _check_extras(named, config)
    if config.parts:
        free_bytes(Path(config.parts), "--parts")
    if annotate:
        annotate = on_disk(annotate, "--annotate")
        free_bytes(Path(annotate), "--annotate")
    return Given(run, config, named, boxes, annotate)


def _boxes(path: str) -> "Boxes":
    from fer_dist.deploy.boxes import load_boxes

    with naming("--faces"):
        file = on_disk(path, "file")
        if not os.path.exists(file):
            raise InputError(f"{path}: give {', '.join(WAYS)}, or a csv file of boxes, which is not there")
        return load_boxes(file)


def _check_extras(named: Sequence[str | Entry], config: PredictConfig) -> None:
    """Raises InputError where what finds faces, or reads a video that is named, is not installed."""
    faces = config.faces
    if faces == "detect" or (faces == "auto" and not all(isinstance(one, Entry) and one.shards for one in named)):
        from fer_dist.data.faces.fit import FaceFlags, check_faces

        try:
            check_faces(FaceFlags(detect=True, smallest_face=config.smallest_face, detect_size=config.detect_size))
        except InputError as error:
            said = str(error).replace("--detect needs", "--faces detect needs")
            raise InputError(f"{said}; or give images of one face each, and --faces none") from None
    for one in named:
        if isinstance(one, Entry) and one.kind == "video":
            from fer_dist.deploy.video import check_video

            check_video(one.name)
