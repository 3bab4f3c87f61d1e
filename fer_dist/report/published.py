"""What the published study found, number by number, and its tables with our values beside them.

Source: Huang et al. 2023, Scientific Reports. Its models: "a" trained on AffectNet, "b" on RAF-DB, "a-b" on the first
and then the second. Its sets: "a" AffectNet, "b" RAF-DB, "c" the Asian set. Its values hold for its data. Where another
set stands in a role, a table says on which data its value was measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fer_dist.report.findings import Comparison, Model, Result, Study, gain_of, same_group, seeds_of
from fer_dist.report.numbers import listed, percent, signed_points, span
from fer_dist.report.sentences import spoken_name
from fer_dist.report.table import Cell, Row, Table, count, mark_of, part, word
from fer_dist.report.tables import asked_of
from fer_dist.scores.intervals import less_interval, wilson

THEIRS = "the study's"
AGAINST = "ours against the study's"


def paper_tables(study: Study) -> list[Table]:
    """Those of its tables that have a row here; none where no dataset has a role, or all are of other classes."""
    classes = {name for counts in study.class_counts.values() for name in counts}
    if classes and classes.isdisjoint(CLASS_COUNTS["a"]):
        return []
    tables = [
        _counts(study, "table-1-class-counts", "1", ("a", "b")),
        _cross_dataset(study),
        _own(study),
        _transfer(study),
        _counts(study, "table-5-class-counts", "5", ("c",)),
    ]
    return [table for table in tables if table.rows]


def stand_in_sentence(study: Study) -> str:
    """Which of its datasets others stand for; empty where none does."""
    strangers = [
        f"{dataset} stands for {SET_NAMES[role]}"
        for role, dataset in sorted(study.roles.items())
        if role in SET_NAMES and not is_published_set(role, dataset)
    ]
    if not strangers:
        return ""
    return (
        f"Here {listed(strangers)}: its values were measured on other images than ours, so they stand here for "
        "orientation, and none of them is marked."
    )


def role_model(study: Study, role: str) -> Model | None:
    """The first model of the role, which stands for its other seeds."""
    return next((model for model in study.models if model.role == role), None)


def role_result(
    study: Study, model_role: str, set_role: str, splits: tuple[str, ...] = ("test", "val")
) -> Result | None:
    """The result of the role's model on the role's set: on the first of the splits that has one."""
    model, dataset = role_model(study, model_role), study.roles.get(set_role)
    found = [
        result
        for split in splits
        for result in study.results
        if model and (result.model, result.dataset, result.split) == (model.name, dataset, split)
    ]
    return found[0] if found else None


def _counts(study: Study, name: str, number: str, roles: tuple[str, ...]) -> Table:
    ours, columns = {}, []
    for role in roles:
        dataset = study.roles.get(role)
        sets = [counts for of, counts in study.class_counts.items() if of.rpartition("-")[0] == dataset]
        if sets:
            ours[role] = {
                emotion: sum(counts.get(emotion, 0) for counts in sets) for counts in sets for emotion in counts
            }
            columns += [f"{dataset}, ours", f"{SET_NAMES[role]}, {THEIRS}"]
    emotions = dict.fromkeys(emotion for role in ours for emotion in (*CLASS_COUNTS[role], *ours[role]))
    rows: list[Row] = []
    for emotion in emotions:
        pairs = [(ours[role].get(emotion), CLASS_COUNTS[role].get(emotion)) for role in ours]
        rows.append((word(emotion), *(count(number) for pair in pairs for number in pair)))
    if ours:
        totals = [(sum(ours[role].values()), sum(CLASS_COUNTS[role].values())) for role in ours]
        rows.append((word("all"), *(count(total) for pair in totals for total in pair)))
    caption = f"Table {number}. Images of each emotion, all splits together, beside those that the study counts"
    extra = ". AffectNet's count holds its unreleased test set as well." if "a" in ours else "."
    return Table(name, caption + extra, ("emotion", *columns), tuple(rows), is_sortable=False)


def _cross_dataset(study: Study) -> Table:
    rows: list[Row] = []
    for roles in (("a", "b"), ("b", "a"), ("a", "c")):
        result = role_result(study, *roles)
        if result:
            names = word(spoken_name(study, result)), word(result.spoken_set)
            rows.append((*names, _ours(study, result), _balanced(study, result), *_theirs(study, *roles)))
    columns = ("model", "tested on", "our accuracy", "our balanced accuracy", THEIRS, AGAINST)
    caption = "Table 2. Models on sets that they were not trained on."
    return Table("table-2-cross-dataset", caption, columns, tuple(rows))


def _own(study: Study) -> Table:
    rows: list[Row] = []
    for role in ("a", "b"):
        result, model = role_result(study, role, role), role_model(study, role)
        if result and model:
            train = (_training(study, role), part(TRAIN_ACCURACIES[role], note=f"on {SET_NAMES[role]}"))
            rows.append(
                (
                    word(spoken_name(study, result)),
                    word(result.spoken_set),
                    *train,
                    _ours(study, result),
                    *_theirs(study, role, role),
                )
            )
    columns = ("model", "data", "our training accuracy", f"{THEIRS} in training", "our accuracy", THEIRS, AGAINST)
    caption = (
        "Table 3. Models on the sets that they were trained on. Training accuracy is of images as training shows "
        "them; of how many, and while the weights changed or afterwards, the study does not say."
    )
    return Table("table-3-own-sets", caption, columns, tuple(rows))


def _training(study: Study, role: str) -> Cell:
    """Accuracy on training images: as asked in the end, else on plain ones, else while the weights still changed."""
    model = role_model(study, role)
    asked, plain = model and model.training_accuracy, role_result(study, role, role, ("train",))
    if model and asked:
        seed = f", of seed {model.seed}" if len(same_group(study, model)) > 1 else ""
        return part(asked["accuracy"], asked["interval"], f"{asked_of(asked)}{seed}")
    if plain:
        note = f"{plain.scores['samples']:,} images, plain centre crops"
        return part(plain.scores["accuracy"], plain.scores["accuracy_interval"], note)
    running = model.curves.get("train/accuracy") if model else None
    if running:
        return part(running[-1][1], note="mean of its last steps, while the weights changed")
    return part(None)


def _transfer(study: Study) -> Table:
    without, after = role_result(study, "b", "b"), role_result(study, "a-b", "b")
    columns = ("start", "model", "our accuracy", THEIRS, AGAINST)
    caption = "Table 4. With and without the pretrained model."
    if not (without and after) or without.set_name != after.set_name:
        return Table("table-4-transfer", caption, columns, ())
    before, then = ours_of(study, without), ours_of(study, after)
    gain = _gain(study, after, without)
    published = Cell(TRANSFER_GAIN, "points", note=f"relative {percent(RELATIVE_TRANSFER_GAIN)}")
    reason = _unlike(study, "a-b", "b") or _unlike(study, "b", "b")
    theirs = [ACCURACIES[model, "b"] for model in ("a-b", "b")]
    spread = less_interval(theirs[0].accuracy, theirs[0].interval, theirs[1].accuracy, theirs[1].interval)
    verdict = word("no paired test")
    if reason:
        verdict = word(reason)
    elif gain.interval:
        verdict = _mark(gain, TRANSFER_GAIN, spread)
    relative = f"relative {percent(gain.value / before.value)}" if before.value else ""
    ours = Cell(gain.value, "points", gain.interval, "; ".join(filter(None, (gain.whose, relative))))
    rows = (
        (word("from scratch"), word(spoken_name(study, without)), _cell(before), *_theirs(study, "b", "b")),
        (word("pretrained"), word(spoken_name(study, after)), _cell(then), *_theirs(study, "a-b", "b")),
        (word("gain, points"), word(None), ours, published, verdict),
    )
    return Table("table-4-transfer", caption, columns, rows, is_sortable=False)


ONE = "one network"


@dataclass(frozen=True)
class Ours:
    """A value of ours as it is set beside the study's. interval: 95 %; None: not known. whose: of how many networks."""

    value: float
    interval: Sequence[float] | None
    whose: str


def ours_of(study: Study, result: Result) -> Ours:
    """The mean over seeds with its interval over seeds and images where the study has that; else one network's."""
    several = seeds_of(study, result)
    over = several.values.get("over_images") if several else None
    if several and over and over.get("interval"):
        return Ours(over["mean"], over["interval"], f"mean of {several.values['n']} seeds")
    whose = ONE
    if several:
        seed = next(model.seed for model in study.models if model.name == result.model)
        mean = percent(several.values["accuracy"]["mean"])
        whose = f"seed {seed} alone; mean of {several.values['n']} seeds {mean}"
    return Ours(result.scores["accuracy"], result.scores["accuracy_interval"], whose)


def _balanced(study: Study, result: Result) -> Cell:
    """Balanced accuracy: the mean over seeds where there are several."""
    several = seeds_of(study, result)
    if several and (values := several.values.get("mean_over_classes")):
        return part(values["mean"], note=f"mean of {several.values['n']} seeds")
    return part(result.scores.get("mean_over_classes"), result.scores.get("mean_over_classes_interval"))


def _gain(study: Study, after: Result, without: Result) -> Ours:
    """What transfer brings: over the seeds that both have, else the paired test of one network each."""
    over_seeds = gain_of(study, Comparison(after.model, without.model, after.dataset, after.split))
    if over_seeds and over_seeds["interval"]:
        return Ours(over_seeds["difference"], over_seeds["interval"], f"of the mean of {over_seeds['n']} seeds")
    gain = after.scores["accuracy"] - without.scores["accuracy"]
    return Ours(gain, _paired(study, after, without).get("interval"), "of one network each")


def _mark(ours: Ours, theirs: float, theirs_interval: Sequence[float], note: str = "") -> Cell:
    """Where ours lies against the study's value, whose mark it is, and the difference in points."""
    assert ours.interval
    difference = less_interval(ours.value, ours.interval, theirs, theirs_interval)
    told = f"{ours.whose}: {signed_points(ours.value - theirs)} points ({span(difference)})"
    mark = mark_of(difference)
    return Cell(mark, mark=mark, note="; ".join(text for text in (told, note) if text))


def _ours(study: Study, result: Result) -> Cell:
    return _cell(ours_of(study, result))


def _cell(ours: Ours) -> Cell:
    return part(ours.value, ours.interval, ours.whose)


def _theirs(study: Study, model_role: str, set_role: str) -> tuple[Cell, Cell]:
    """Its accuracy, and where ours lies against it, if ours was measured as its was; else why that is not said."""
    published = ACCURACIES[model_role, set_role]
    value = part(published.accuracy, published.interval, note=f"of {published.samples:,}")
    reason = _unlike(study, model_role, set_role)
    if reason:
        return value, word(reason)
    result = role_result(study, model_role, set_role)
    assert result is not None
    samples = result.scores["samples"]
    note = "" if samples == published.samples else f"ours has {samples:,} images"
    return value, _mark(ours_of(study, result), published.accuracy, published.interval, note)


def _unlike(study: Study, model_role: str, set_role: str) -> str:
    """In what a value of ours is not made as the study's was; empty where data, labels, splits and settings are its."""
    if not _is_published(study, model_role, set_role):
        return _measured_on(model_role, set_role)
    result = role_result(study, model_role, set_role)
    assert result is not None
    samples, published = result.scores["samples"], ACCURACIES[model_role, set_role].samples
    if result.split != "test":
        return f"not marked: ours is of its {result.split} split"
    if abs(samples - published) > OTHER_SPLIT * published:
        return f"not marked: tested on {samples:,} images, the study on {published:,}"
    if set_role == "c" and not study.variants.get(result.set_name, "").startswith(RATED):
        return "not marked: the study's labels are what viewers rated, and ours are not known to be"
    return next(filter(None, (_unlike_training(study, role) for role in _lineage(model_role))), "")


def _unlike_training(study: Study, role: str) -> str:
    """In what a training is not the study's."""
    model, where = role_model(study, role), SET_NAMES[role[-1]]
    if model is None:
        return f"not marked: not known how the model of {where} was trained"
    images, theirs = _trained_images(study, model), TRAIN_SAMPLES[role[-1]]
    if images is None:
        return f"not marked: not known on how many images of {where} it was trained"
    if abs(images - theirs) > OTHER_TRAINING * theirs:
        return f"not marked: trained on {images:,} images of {where}, {percent(images / theirs)} of {theirs:,}"
    if model.departures is None:
        return "not marked: not known whether it was trained with the study's settings"
    if model.departures:
        count = len(model.departures)
        of = "setting that is" if count == 1 else "settings that are"
        return f"not marked: trained with {count} {of} not the study's, as {model.departures[0]}"
    return ""


def _trained_images(study: Study, model: Model) -> int | None:
    counts = study.class_counts.get(f"{model.trained_on}-train")
    return model.images if model.images is not None else sum(counts.values()) if counts else None


def _lineage(model_role: str) -> tuple[str, ...]:
    """Roles of the models that one is made of: "a-b" starts from "a"."""
    return ("a", "a-b") if model_role == "a-b" else (model_role,)


def _is_published(study: Study, model_role: str, set_role: str) -> bool:
    """Whether all data that the model and the test are made of are those of the study."""
    roles = {*model_role.split("-"), set_role}
    return all(is_published_set(role, study.roles.get(role, "")) for role in roles)


def _measured_on(model_role: str, set_role: str) -> str:
    tested = SET_NAMES[set_role]
    trained = MODEL_NAMES[model_role]
    return f"the study's value was measured on {tested}" + (f", trained on {trained}" if trained != tested else "")


def _paired(study: Study, after: Result, without: Result) -> dict[str, list[float]]:
    """The paired test of the two, if there is one."""
    for comparison in study.comparisons:
        key = (comparison.with_model, comparison.without_model, comparison.dataset, comparison.split)
        if key == (after.model, without.model, after.dataset, after.split) and comparison.paired:
            return comparison.paired
    return {}


SOURCE = "Huang et al. 2023"


SET_NAMES = {"a": "AffectNet", "b": "RAF-DB", "c": "the Asian set"}


MODEL_NAMES = {"a": "AffectNet", "b": "RAF-DB", "a-b": "AffectNet, then RAF-DB"}


DATASETS = {"a": ("affectnet",), "b": ("rafdb",), "c": ("tcce",)}
"""Role -> names that our own shard sets of its data carry."""


@dataclass(frozen=True)
class Published:
    """An accuracy as printed, as a part of 1. samples: of the set that it was measured on."""

    accuracy: float
    samples: int

    @property
    def interval(self) -> list[float]:
        """Its 95 % interval over test images, Wilson's; how it moves with the seed the study does not say."""
        low, high = wilson(np.array(self.accuracy * self.samples), np.array(self.samples))
        return [float(low), float(high)]


ACCURACIES = {
    ("a", "a"): Published(0.5654, 3500),
    ("b", "b"): Published(0.6567, 3068),
    ("a", "b"): Published(0.7737, 3068),
    ("b", "a"): Published(0.426, 3500),
    ("a-b", "b"): Published(0.8337, 3068),
    ("a", "c"): Published(0.6199, 1197),
}
"""(role of the model, role of the set) -> what the study reports: its tables 2, 3 and 4 and its Asian set."""


TRAIN_SAMPLES = {"a": 283_901, "b": 12_271}
"""Role of the set -> images of its training split. RAF-DB's own; of AffectNet the manually labelled ones of the seven
emotions that can be downloaded."""


OTHER_TRAINING, OTHER_SPLIT = 0.01, 0.05
"""From this part of images more or less on it is another training set, another test set. A release lacks some files;
of the Asian set we know 1,154 front views where the study counts 1,197 images."""


RATED = "labels are what was rated"
"""How the variant of the Asian set begins whose labels are the study's."""


TRAIN_ACCURACIES = {"a": 0.7908, "b": 0.7651}
"""Role of the model -> accuracy on its own training set. Table 3."""


TRANSFER_GAIN, RELATIVE_TRANSFER_GAIN = 0.1770, 0.2695
"""What starting from "a" brings "b" on its own set, in parts of 1, and as a part of what it was. Table 4."""


CLASS_COUNTS = {
    "a": {
        "surprise": 16_288,
        "fear": 8_191,
        "disgust": 5_264,
        "happiness": 146_198,
        "sadness": 29_487,
        "anger": 28_130,
        "neutrality": 80_276,
    },
    "b": {
        "surprise": 1_619,
        "fear": 355,
        "disgust": 877,
        "happiness": 5_957,
        "sadness": 2_460,
        "anger": 867,
        "neutrality": 3_204,
    },
    "c": {"surprise": 220, "fear": 27, "disgust": 199, "happiness": 243, "sadness": 263, "anger": 245},
}
"""Role of the set -> emotion -> images of all its splits together. Tables 1 and 5.

AffectNet's counts are of all manual labels, the unreleased test set among them: more than anyone can download.
"""


def is_published_set(role: str, dataset: str) -> bool:
    """Whether a dataset of this name is the one that the study used in the role, by the name that our shards give."""
    return dataset.lower() in DATASETS.get(role, ())
