"""What a paper says of a run: a paragraph of methods, and a BibTeX entry."""

import re

from fer_dist import __version__
from fer_dist.config.settings import Config
from fer_dist.errors import counted
from fer_dist.evaluate.known import Known
from fer_dist.report.card import RANDOM_LABELS, architecture, conditions
from fer_dist.report.numbers import listed, percent, span

SOURCE = "He et al. 2016; Hu et al. 2018; Huang et al. 2023"


def methods(known: Known) -> str:
    """The paragraph."""
    network = known.network
    made = f"The network is {architecture(network)}"
    made += f" ({SOURCE})" if network.is_ours else ""
    sides = f"{network.size} x {network.size} pixels, of which it saw {network.crop} x {network.crop}"
    sentences = [
        f"{made}, with {len(network.emotions)} outputs: {listed(network.emotions)}.",
        f"Images were resized to {sides}.",
    ]
    if rule := network.crop_rule:
        sentences.append(f"How faces were cut: {rule}.")
    if "train" in known.sets:
        held, used = known.sets["train"], sum((network.counts or {}).values())
        of = f" of the {held.samples:,}" if used and used != held.samples else ""
        name = f" of {held.name}" if held.name else ""
        sentences.append(
            f"It was trained on {used or held.samples:,}{of} images{name} (sha256 of the set {held.hash[:16]})."
        )
    if known.config:
        if known.config.data.random_labels:
            sentences.append(RANDOM_LABELS)
        sentences.append(_recipe(known.config))
    for name, scores in known.scores.items():
        of = "; ".join([counted(scores["samples"], "image"), *conditions(known, name)])
        sentences.append(
            f"On {name} ({of}) its accuracy is {percent(scores['accuracy'])} (95 % interval "
            f"{span(scores['accuracy_interval'])}), its balanced accuracy {percent(scores['mean_over_classes'])}."
        )
    where = f"step {known.step:,} of run {known.run[:16]}, " if known.run else ""
    weights = f"sha256 {known.weights_sha256[:16]}, made with fer_dist {__version__}"
    sentences.append(f"These are the weights of {where}{weights}.")
    return " ".join(sentences)


def bibtex(known: Known) -> str:
    """The entry. Whoever trained it puts a name there: the run knows none."""
    key = re.sub(r"[^A-Za-z0-9:._-]", "", known.name) or "run"
    title = re.sub(r"[\\{}$&#%_^~]", " ", known.name)
    year = known.began[:4]
    lines = [
        f"@misc{{{key},",
        f"  title        = {{{title}: a network for facial emotion recognition}},",
        *([f"  year         = {{{year}}},"] if year else []),
        f"  howpublished = {{fer\\_dist {__version__}}},",
        f"  note         = {{weights: sha256 {known.weights_sha256}}}",
        "}",
    ]
    return "\n".join(lines)


def _recipe(config: Config) -> str:
    train, data = config.train, config.data
    changes = [f"rotated by up to {data.rotate_degrees:g} degrees"] if data.rotate_degrees else []
    jitter = [name for name in ("brightness", "contrast", "saturation", "hue") if getattr(data, name)]
    changes += [f"changed in {listed(jitter)}"] if jitter else []
    changes += ["mirrored at random"] if data.flip else []
    is_given = train.init_from or config.model.pretrained
    start = "weights of another network" if is_given else "weights drawn at random"
    unit = "epoch" if train.warmup_epochs == 1 else "epochs"
    warm_up = f", after {train.warmup_epochs:g} {unit} of warm-up" if train.warmup_epochs else ""
    momentum = f"{'Nesterov ' if train.nesterov else ''}momentum {train.momentum:g}"
    smoothing = f", label smoothing {train.label_smoothing:g}" if train.label_smoothing else ""
    augmented = f"; images were {listed(changes)}" if changes else ""
    return (
        f"It was trained from {start} for {counted(train.epochs, 'epoch')} by SGD with {momentum}, batches of "
        f"{train.batch_size}, a learning rate of {train.lr:g} ({train.schedule}{warm_up}), weight decay "
        f"{train.weight_decay:g}{smoothing}, "
        f"{train.loss} labels, precision {train.precision} and seed {train.seed}{augmented}."
    )
