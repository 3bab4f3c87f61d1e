"""What the published study found, number by number, and its tables with our values beside them.

Source: Huang et al. 2023, Scientific Reports. Its models: "a" trained on AffectNet, "b" on RAF-DB, "a-b" on the first
and then the second. Its sets: "a" AffectNet, "b" RAF-DB, "c" the Asian set. Its values hold for its data. Where another
set stands in a role, a table says on which data its value was measured.
"""

from dataclasses import dataclass

from fer_dist.report.findings import Model, Result, Study
from fer_dist.report.numbers import listed, percent
from fer_dist.report.table import Cell, Row, Table, count, marked, part, place_of, points, word

THEIRS = "the study's"
AGAINST = "the study's against our interval"


def paper_tables(study: Study) -> list[Table]:
    """Those of its tables that have a row here; none where no data set has a role."""
    tables = [
        _counts(study, "table-1-class-counts", "1", ("a", "b")),
        _crossings(study),
        _own(study),
        _transfer(study),
        _counts(study, "table-5-class-counts", "5", ("c",)),
    ]
    return [table for table in tables if table.rows]


def stand_in_sentence(study: Study) -> str:
    """Which of its data sets others stand for; empty where none does."""
    strangers = [
        f"{dataset} stands for {SET_NAMES[role]}"
        for role, dataset in sorted(study.roles.items())
        if role in SET_NAMES and not is_published_set(role, dataset)
    ]
    if not strangers:
        return ""
    return (
        f"Here {listed(strangers)}: its values were measured on other pictures than ours, so they stand here for "
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
    caption = f"Table {number}. Pictures of each emotion, all splits together, beside those that the study counts"
    extra = ". AffectNet's count holds its unreleased test set as well." if "a" in ours else "."
    return Table(name, caption + extra, ("emotion", *columns), tuple(rows))


def _crossings(study: Study) -> Table:
    rows: list[Row] = []
    for roles in (("a", "b"), ("b", "a"), ("a", "c")):
        result = role_result(study, *roles)
        if result:
            scores = result.scores
            mean = part(scores.get("mean_over_classes"), scores.get("mean_over_classes_interval"))
            rows.append(
                (word(result.model), word(result.spoken_set), _ours(study, result), mean, *_theirs(study, *roles))
            )
    columns = ("model", "tested on", "our accuracy", "our mean over classes", THEIRS, AGAINST)
    return Table("table-2-crossings", "Table 2. Models on sets that they were not trained on.", columns, tuple(rows))


def _own(study: Study) -> Table:
    rows: list[Row] = []
    for role in ("a", "b"):
        result, model = role_result(study, role, role), role_model(study, role)
        if result and model:
            trained = role_result(study, role, role, ("train",))
            running = model.curves.get("train/accuracy")
            fitted = part(None)
            if trained:
                fitted = part(trained.scores["accuracy"], trained.scores["accuracy_interval"])
            elif running:
                fitted = part(running[-1][1], note="last point of its curve")
            train = (fitted, part(TRAIN_ACCURACIES[role], note=f"on {SET_NAMES[role]}"))
            rows.append(
                (word(result.model), word(result.spoken_set), *train, _ours(study, result), *_theirs(study, role, role))
            )
    columns = ("model", "data", "our training accuracy", f"{THEIRS} in training", "our accuracy", THEIRS, AGAINST)
    return Table("table-3-own-sets", "Table 3. Models on the sets that they were trained on.", columns, tuple(rows))


def _transfer(study: Study) -> Table:
    without, after = role_result(study, "b", "b"), role_result(study, "a-b", "b")
    columns = ("start", "model", "our accuracy", THEIRS, AGAINST)
    caption = "Table 4. With and without the pretrained model."
    if not (without and after) or without.set_name != after.set_name:
        return Table("table-4-transfer", caption, columns, ())
    before, then = without.scores["accuracy"], after.scores["accuracy"]
    paired = _paired(study, after, without)
    gain = points(then - before, paired.get("interval"))
    published = Cell(TRANSFER_GAIN, "points", note=f"relative {percent(RELATIVE_TRANSFER_GAIN)}")
    verdict = word(_measured_on("a-b", "b"))
    if _is_published(study, "a-b", "b") and gain.interval:
        verdict = marked(place_of(TRANSFER_GAIN, gain.interval))
    elif _is_published(study, "a-b", "b"):
        verdict = word("no paired test")
    relative = f"relative {percent((then - before) / before)}" if before else ""
    ours = Cell(gain.value, "points", gain.interval, relative)
    rows = (
        (word("from scratch"), word(without.model), _ours(study, without), *_theirs(study, "b", "b")),
        (word("pretrained"), word(after.model), _ours(study, after), *_theirs(study, "a-b", "b")),
        (word("gain, points"), word(None), ours, published, verdict),
    )
    return Table("table-4-transfer", caption, columns, rows)


def _ours(study: Study, result: Result) -> Cell:
    """Our accuracy; beneath it the mean over seeds, where there are several."""
    scores = result.scores
    model = next(model for model in study.models if model.name == result.model)
    seeds = [s for s in study.seeds if (s.group, s.set_name) == (model.group_name, result.set_name)]
    note = ""
    if seeds and seeds[0].values["n"] > 1:
        note = f"mean of {seeds[0].values['n']} seeds {percent(seeds[0].values['accuracy']['mean'])}"
    return part(scores["accuracy"], scores["accuracy_interval"], note)


def _theirs(study: Study, model_role: str, set_role: str) -> tuple[Cell, Cell]:
    """Its accuracy, and where that lies against our interval, if our data are its data."""
    published = ACCURACIES[model_role, set_role]
    value = part(published.accuracy, note=f"of {published.samples:,}")
    if not _is_published(study, model_role, set_role):
        return value, word(_measured_on(model_role, set_role))
    result = role_result(study, model_role, set_role)
    assert result is not None
    samples = result.scores["samples"]
    note = "" if samples == published.samples else f"ours has {samples:,} pictures"
    return value, marked(place_of(published.accuracy, result.scores["accuracy_interval"]), note)


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
        place = (comparison.with_model, comparison.without_model, comparison.dataset, comparison.split)
        if place == (after.model, without.model, after.dataset, after.split) and comparison.paired:
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


ACCURACIES = {
    ("a", "a"): Published(0.5654, 3500),
    ("b", "b"): Published(0.6567, 3068),
    ("a", "b"): Published(0.7737, 3068),
    ("b", "a"): Published(0.426, 3500),
    ("a-b", "b"): Published(0.8337, 3068),
    ("a", "c"): Published(0.6199, 1197),
}
"""(role of the model, role of the set) -> what the study reports: its tables 2, 3 and 4 and its Asian set."""


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
"""Role of the set -> emotion -> pictures of all its splits together. Tables 1 and 5.

AffectNet's counts are of all manual labels, the unreleased test set among them: more than anyone can download.
"""


def is_published_set(role: str, dataset: str) -> bool:
    """Whether a data set of this name is the one that the study used in the role, by the name that our shards give."""
    return dataset.lower() in DATASETS.get(role, ())
