"""All that the files of a run say of it, gathered: no set is opened, no network is built, nothing is measured anew."""

from dataclasses import dataclass, field
from typing import Any

from fer_dist.config.settings import Config
from fer_dist.evaluate.results import is_of_weights, load_predictions, predictions_path, scores_of_weights
from fer_dist.runs.checkpoint import description_of, weights_file
from fer_dist.runs.curves import began_at, seconds_of
from fer_dist.runs.folder import CONFIG, RunFolder
from fer_dist.runs.network import Network
from fer_dist.runs.opening import HeldSet, kept_in, run_number
from fer_dist.scores.by_class import by_class
from fer_dist.scores.groups import by_attribute
from fer_dist.scores.table import labelled
from fer_dist.storage.untrusted import Value, read_or_nothing, record
from fer_dist.storage.writing import file_hash

MOST_ROBUSTNESS_BYTES = 1 << 20

MEASURES_WITHOUT_GROUPS = {"subject"}
"""Attributes that name people, of whom a card says nothing one by one."""


@dataclass(frozen=True)
class Known:
    """One run, or a file of weights, of which less is known.

    run, step:   its number, and that of the checkpoint; empty and 0 of a file.
    config:      None of a file. sets: "train" and "val" -> what they held.
    began:       as "2026-11-28 14:29" UTC; seconds: of training.
    scores:      "<dataset>-<split>" -> as in scores.json; by_class, by_attribute and robustness likewise, of the sets
                 whose tables and measurements are there; all of these weights.
    others:      sets whose scores are of other weights of the run -> of which step.
    """

    name: str
    network: Network
    weights_sha256: str
    run: str = ""
    step: int = 0
    config: Config | None = None
    preset: str = ""
    sets: dict[str, HeldSet] = field(default_factory=dict)
    began: str = ""
    seconds: float = 0.0
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_class: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_attribute: dict[str, dict[str, Any]] = field(default_factory=dict)
    robustness: dict[str, dict[str, Any]] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)


def known_of(home: RunFolder, which: str = "last") -> Known:
    """What is known of a run that was entered, or a file of weights. which: checkpoint, as for load_model.

    Raises InputError where a file is damaged, or there is no such checkpoint.
    """
    if not home.path.is_dir():
        return Known(home.path.stem, description_of(home.path), file_hash(home.path))
    weights = weights_file(home, which)
    sha256 = file_hash(weights)
    kept = kept_in(home) if home.read(CONFIG) is not None else None
    scores, others = scores_of_weights(home, sha256)
    classes, attributes, robustness = {}, {}, {}
    for name in scores:
        if _is_here(home, f"predictions/{name}.parquet"):
            table = labelled(load_predictions(predictions_path(home.path, name)))
            classes[name] = by_class(table)
            names = set(table.attributes) - MEASURES_WITHOUT_GROUPS
            attributes[name] = by_attribute(table, names)
        file = f"robustness/{name}.json"
        if _is_here(home, file):
            content = read_or_nothing(home.path / file, MOST_ROBUSTNESS_BYTES)
            values = record(dict[str, Value], content, str(home.path / file))
            if is_of_weights(values, sha256):
                robustness[name] = values
    return Known(
        name=home.path.name,
        network=description_of(weights),
        weights_sha256=sha256,
        run=run_number(home),
        step=int(weights.parent.name),
        config=kept.config if kept else None,
        preset=kept.preset if kept else "",
        sets=(kept.sets if kept else None) or {},
        began=began_at(home.path),
        seconds=seconds_of(home.path),
        scores=scores,
        by_class=classes,
        by_attribute=attributes,
        robustness=robustness,
        others=others,
    )


def _is_here(home: RunFolder, name: str) -> bool:
    return (home.path / name).is_file() or home.bring(name)
