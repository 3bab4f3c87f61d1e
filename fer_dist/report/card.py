"""What is known of a run -> a model card: Markdown, with the model-index block that hubs read. Measures nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fer_dist import __version__
from fer_dist.config.settings import Config
from fer_dist.data.shards.crop_rule import NO_BOX, RELEASE
from fer_dist.data.sources.terms import terms_of
from fer_dist.errors import counted
from fer_dist.evaluate.known import Known, known_of
from fer_dist.evaluate.results import others_told
from fer_dist.progress import Cells, Message, Progress
from fer_dist.report.numbers import duration, listed, percent, span
from fer_dist.runs.folder import CARD, RunFolder
from fer_dist.runs.network import Network
from fer_dist.scores.calibration import BINS
from fer_dist.storage.untrusted import read_or_nothing
from fer_dist.storage.writing import write_atomically

HUB_MEASURES = {
    "accuracy": "accuracy", "mean_over_classes": "balanced_accuracy", "macro_f1": "f1",
    "expected_calibration_error": "expected_calibration_error",
}  # fmt: skip
"""Name in scores.json -> type of a metric in the model-index."""

RECIPE = {
    "train.epochs": "epochs", "train.batch_size": "images a step", "train.lr": "learning rate",
    "train.schedule": "schedule", "train.warmup_epochs": "warm-up, epochs", "train.momentum": "momentum",
    "train.nesterov": "Nesterov's momentum", "train.weight_decay": "weight decay",
    "train.label_smoothing": "label smoothing", "train.loss": "loss", "data.views": "crops of an image",
    "data.rotate_degrees": "rotated by up to, degrees", "data.flip": "mirrored", "data.brightness": "brightness jitter",
    "data.contrast": "contrast jitter", "data.saturation": "saturation jitter", "data.hue": "hue jitter",
    "train.precision": "precision", "train.seed": "seed",
}  # fmt: skip
"""Setting -> how a card calls it."""

RANDOM_LABELS = "Its labels were drawn at random, as frequent as the set's: it is a control, and no network to use."

PARTS = ("eyes", "nose", "mouth")

USES = """\
It gives an image of a face one word for what the face shows, in the sense of its training labels. What a face shows is
not what a person feels. It must not be used:

- to judge people: in hiring, at work, in schools, by police or courts, at borders, for insurance or credit, in
  medicine; the EU's AI Act forbids inferring emotions at work and in education, but for medical and safety reasons;
- to watch people who have not agreed to it, or to tell lies, intentions, health or character from a face;
- on faces unlike those of its data (children, other cuts, side views, masks, other cameras) before it was scored there;
- for more than the terms of its training data allow: they may bind what is derived from the images, these weights too.
"""


OURS = "---\nlibrary_name: fer_dist\n"
"""How a card begins, by which it is told from what a person wrote."""

MOST_BYTES = 16 << 20
"""Of a card: that of a run with three sets has 10 kB."""


@dataclass(frozen=True)
class File:
    """An export that a card is of. path: of the file; checked, outputs, difference: as it was held against the run.

    costs: of integers, header and rows; None without.
    """

    path: Path
    checked: str
    outputs: str
    difference: float
    costs: Cells | None = None


def save_card(home: RunFolder, show: Progress, which: str = "last", file: File | None = None) -> None:
    """Write the card of a run that was entered into its folder, or that of an export of it beside this one.

    A README that a person wrote stays, which is shown. Raises InputError where a file of the run is damaged.
    """
    target = file.path.with_name(f"{file.path.name}.md") if file else home.path / CARD
    written = read_or_nothing(target, MOST_BYTES)
    if written and not written.startswith(OURS.encode()):
        show(Message(f"note: {target} is no card of fer_dist, and stays as it is"))
        return
    write_atomically(target, card(known_of(home, which), file).encode())


def card(known: Known, file: File | None = None) -> str:
    """The Markdown of a run's card. The same files of a run give the same text."""
    parts = [
        f"# {_plain(known.name)}\n\n{_summary(known)}",
        *([f"## The file\n\n{_file(file)}"] if file else []),
        f"## What it must not be used for\n\n{USES}",
        f"## Scores\n\n{''.join(_scores(known))}",
        f"## Calibration\n\n{_calibration(known)}",
        f"## Corruptions and occlusions\n\n{_robustness(known)}",
        f"## Data\n\n{''.join(_data(known))}",
        f"## Duplicates\n\n{_duplicates(known)}",
        f"## Faces\n\n{_faces(known.network)}",
        f"## Recipe\n\n{''.join(_recipe(known))}",
    ]
    return f"---\n{_index(known)}---\n\n" + "\n".join(part.rstrip("\n") + "\n" for part in parts)


def architecture(network: Network) -> str:
    """In words."""
    return f"an SE-ResNet-18 of width {network.width}" if network.is_ours else network.architecture


def conditions(known: Known, name: str) -> list[str]:
    """What the scores on a set are worth less for, or are without, in words. name: "<dataset>-<split>"."""
    scores, found = known.scores[name], []
    if "train" in known.sets and name == known.sets["train"].name:
        found.append("images that it was trained on")
    elif "val" in known.sets and name == known.sets["val"].name:
        found.append("looked at after each epoch of its training")
    if masked := scores.get("masked"):
        found.append(f"{listed(masked)} masked, which the set lacks")
    if extra := scores.get("extra"):
        counts = listed([f"{count:,} of {emotion}" for emotion, count in extra.items()])
        found.append(f"without {counts}, for which it has no output")
    if left_out := scores.get("left_out"):
        found.append(f"without {counted(left_out, 'image')} of a list")
    return found


def _file(file: File) -> str:
    text = (
        f"{_plain(file.path.name)} gives {file.outputs}. Over {_plain(file.checked)} they differ from the run's by at "
        f"most {file.difference:.2g}. Its metadata say what it takes, in which order, and how images are prepared.\n"
    )
    return f"{text}\nThe same in 8-bit integers:\n\n{_table(*file.costs)}" if file.costs else text


def _index(known: Known) -> str:
    """The block that hubs read. Source: Hugging Face's model cards, model-index."""
    results = []
    for name, scores in known.scores.items():
        dataset, _, split = name.rpartition("-")
        metrics = [
            {"type": kind, "name": kind.replace("_", " "), "value": round(scores[measure], 6)}
            for measure, kind in HUB_MEASURES.items()
            if scores.get(measure) is not None
        ]
        task = {"type": "image-classification", "name": "facial emotion recognition"}
        results.append({"task": task, "dataset": {"type": dataset, "name": name, "split": split}, "metrics": metrics})
    content: dict[str, Any] = {
        "library_name": "fer_dist",
        "pipeline_tag": "image-classification",
        "tags": ["facial-emotion-recognition"],
    }
    if trained := _trained_on(known):
        content["datasets"] = [trained]
    if results:
        content["model-index"] = [{"name": known.name, "results": results}]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _trained_on(known: Known) -> str:
    """The dataset; empty where that is not known."""
    return known.sets["train"].name.rpartition("-")[0] if "train" in known.sets else ""


def _summary(known: Known) -> str:
    emotions = ", ".join(map(_plain, known.network.emotions))
    trained = _trained_on(known)
    labels = "random labels of " if known.config and known.config.data.random_labels else ""
    on = f", trained on {labels}{_plain(trained)}" if trained else ""
    when = f" Begun {known.began} UTC, {duration(known.seconds)} of training." if known.began else ""
    return (
        f"This is {_plain(architecture(known.network))}{on}, for images of single faces. Classes, in the order of its "
        f"outputs: {emotions}.{when} Made with fer_dist {__version__}.\n"
    )


def _scores(known: Known) -> Iterator[str]:
    if known.others:
        yield f"{_plain(others_told(known.others))}\n\n"
    if not known.scores:
        yield "It has not been scored: fer-dist evaluate does.\n"
        return
    header = ["set", "images", "accuracy", "95 %", "balanced accuracy", "macro F1", "remarks"]
    rows = []
    for name, scores in known.scores.items():
        numbers = [percent(scores.get(measure)) for measure in ("mean_over_classes", "macro_f1")]
        remarks = "; ".join(conditions(known, name)) or "–"
        interval = span(scores["accuracy_interval"])
        rows.append([name, f"{scores['samples']:,}", percent(scores["accuracy"]), interval, *numbers, remarks])
    yield _table(header, rows)
    yield "\nIntervals are of 95 %, over images, or over people where the set names them. Balanced accuracy is the mean"
    yield " of the recalls. Scores on what its training saw, as the remarks tell, may be too high for new images.\n"
    if not any(held.name for held in known.sets.values()):
        yield "\nWhich sets its training saw is not known.\n"
    for name, classes in known.by_class.items():
        yield f"\n### By emotion, {_plain(name)}\n\n"
        header = ["emotion", "images", "recall", "95 %", "precision", "95 %", "F1", "95 %"]
        yield _table(header, [[emotion, f"{one['images']:,}", *_of_class(one)] for emotion, one in classes.items()])
    for name, attributes in known.by_attribute.items():
        for attribute, found in attributes.items():
            yield f"\n### By {_plain(attribute)}, {_plain(name)}\n\n"
            rows = [
                [group, f"{one['samples']:,}", percent(one["accuracy"]), span(one["accuracy_interval"])]
                for group, one in found["groups"].items()
            ]
            yield _table([attribute, "images", "accuracy", "95 %"], rows)
            if gap := found["gap"]:
                best, worst = map(_plain, gap["groups"])
                yield f"\nLargest gap: {best} over {worst}, {percent(gap['accuracy'])} ({span(gap['interval'])}).\n"
    if not any(known.by_attribute.values()):
        yield "\nNo set names groups of people (gender, age, ...): how it differs between them is not known.\n"


def _of_class(one: dict[str, Any]) -> Iterator[str]:
    for measure in ("recall", "precision", "f1"):
        yield percent(one[measure])
        yield span(one[f"{measure}_interval"]) if one[f"{measure}_interval"] else "–"


def _calibration(known: Known) -> str:
    name = "expected_calibration_error"
    rows = [
        [one, *(percent(scores.get(key)) for key in (name, f"{name}_floor", f"{name}_debiased"))]
        for one, scores in known.scores.items()
    ]
    if not rows:
        return "Not measured.\n"
    table = _table(["set", "ECE", "ECE of a calibrated network, by chance", "ECE, debiased"], rows)
    return (
        f"{table}\nThe expected calibration error (ECE) is how far its confidence is from the share of right answers, "
        f"in {BINS} bins. By chance alone a perfectly calibrated network has one as well; debiased, it is the error "
        "that gives the ECE found once chance is added, which is not their difference. Nothing was fitted after "
        "training.\n"
    )


def _robustness(known: Known) -> str:
    if not known.robustness:
        return "Not measured: fer-dist evaluate --robustness does.\n"
    rows = []
    for name, values in known.robustness.items():
        regions = values["regions"]
        drops = [percent(regions[part]["drop"]) if part in regions else "–" for part in PARTS]
        clean, corrupted = percent(1 - values["clean"]), percent(values["mean_corruption_error"])
        rows.append([name, f"{values['samples']:,}", clean, corrupted, *drops])
    header = ["set", "images", "error", "error under corruptions"]
    return _table([*header, *(f"lost without the {part}" for part in PARTS)], rows)


def _data(known: Known) -> Iterator[str]:
    if not known.sets:
        yield "Not known: the weights came without their run.\n"
        return
    rows = []
    for role, held in known.sets.items():
        counts = ", ".join(f"{emotion} {count:,}" for emotion, count in held.counts.items())
        names = held.name or "not known", held.variant or "not known"
        rows.append([role, *names, f"{held.samples:,}", counts, held.hash])
    yield _table(["role", "set", "built from", "images", "of each emotion", "sha256 of the manifest's content"], rows)
    if used := known.network.counts:
        yield f"\nOf the training set {sum(used.values()):,} images were used.\n"
    if known.config and known.config.data.random_labels:
        yield f"\n{RANDOM_LABELS}\n"
    if trained := _trained_on(known):
        yield f"\nTerms of {_plain(trained)}, as its source states them: {terms_of(trained)}.\n"
    yield "\nThe labels are what annotators saw, or actors were asked for; they err, and differ between cultures.\n"


def _duplicates(known: Known) -> str:
    leave_out = known.config.data.leave_out if known.config else ""
    used = sum((known.network.counts or {}).values())
    held = known.sets["train"].samples if "train" in known.sets else 0
    lines = []
    if leave_out:
        lines.append(f"A list of images to leave out was given to training: {held - used:,} of {held:,} were left out.")
    else:
        lines.append("No list of duplicates was given to training: images of a test set may have copies among those")
        lines.append("that it was trained on, and its scores be too high for it. fer-dist shards audit finds them.")
    return "\n".join(lines) + "\n"


def _faces(network: Network) -> str:
    rule = network.crop_rule
    words = f"How the faces of its training set were cut out: {rule or 'not known'}. " + (
        f"The image is resized to {network.size} x {network.size} pixels, and its centre of {network.crop} x "
        f"{network.crop} is seen, as RGB from 0 to 1, less mean {_numbers(network.mean)}, divided by std "
        f"{_numbers(network.std)}."
    )
    if rule and rule.box not in (NO_BOX, RELEASE):
        return f"{words} The boxes are those of {rule.box.partition(' ')[0]}, a detector trained on WIDER FACE.\n"
    if rule is None:
        return f"{words} Whether a detector had a part in it is not known.\n"
    return (
        f"{words} No detector had a part in it; the one that fer_dist brings, CenterFace, was trained on WIDER FACE.\n"
    )


def _recipe(known: Known) -> Iterator[str]:
    rows = [["weights, sha256", known.weights_sha256]]
    if known.run:
        rows += [["run", known.run], ["step", f"{known.step:,}"]]
    if known.config:
        rows.append(["preset", known.preset or "–"])
        rows += [[spoken, _spoken(known.config, name)] for name, spoken in RECIPE.items()]
        start = known.config.train.init_from or known.config.model.pretrained
        rows.append(["first weights", "of another network" if start else "drawn at random"])
    yield _table(["what", "value"], rows)
    yield "\nAll settings stand in the run's config.json.\n" if known.config else ""


def _spoken(config: Config, setting: str) -> str:
    section, _, name = setting.partition(".")
    value = getattr(getattr(config, section), name)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(_plain(cell) for cell in line)} |\n" for line in lines)


def _plain(text: str) -> str:
    """Words of others as words, and not as Markdown or HTML."""
    line = " ".join(str(text).split())
    for sign in "\\`*_[]<>|#":
        line = line.replace(sign, f"\\{sign}")
    return line
