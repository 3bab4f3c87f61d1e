"""The published study as a plan: two sets, each way across, transfer, and a third set that lacks an emotion."""

from dataclasses import dataclass

from fer_dist.config.settings import DataConfig
from fer_dist.errors import InputError, naming
from fer_dist.storage.paths import OnDisk, PathOrUrl, below
from fer_dist.study.plan import Comparison, DataSet, Explain, Plan, Robustness, Settings, Training
from fer_dist.study.plan_file import setting

SET = "--set."


@dataclass(frozen=True)
class PaperConfig:
    """What the built-in plan is made of."""

    a: PathOrUrl = ""
    """Shards of the large set, with train, val (see --whole-train) and test. The published study: AffectNet."""

    b: PathOrUrl = ""
    """Shards of the set that is transferred to, with the same splits. The published study: RAF-DB."""

    c: PathOrUrl = ""
    """Shards of a set that is only evaluated, with test; an emotion that it lacks is masked. TCCE there."""

    preset: str = "paper"
    """Settings: paper, strong or demo. Any of them changes with --set.SECTION.FIELD VALUE."""

    seeds: str = "0,1,2"
    """Seeds of every training, each of which trains all networks once more. What one seed shows holds for those
    networks alone, not for how they were trained."""

    whole_train: bool = False
    """Train on all of train, as the published study does, without a val split. That gives up the validation curves:
    nothing shows how a training goes on images that it does not learn from until the test split is read. Without this
    a val split is needed, and where that is cut from train the networks see fewer images than the study's."""

    freeze: int = 0
    """Transfer once more with this many parts frozen, counted from the input (see --train.freeze). 0: not."""

    layer_decay: float = 1.0
    """Transfer once more with learning rates that fall by this factor a part (see --train.layer-decay). 1: not."""

    audit: bool = True
    """Look for test images that a model may have seen as copies, and score without them as well."""

    leave_out: OnDisk = ""
    """List of images to leave out of training, as fer-dist shards audit --write-clean writes it."""

    robustness: bool = False
    """Measure what noise, blur, weather and occluded parts of the face cost."""

    robustness_samples: int = Robustness.samples
    """Images of each set for that at most. 0: all."""

    explain: bool = False
    """Look where the networks look, and test what the published study concludes of it (extra explain). Trains each kind
    of network once more on random labels, and six small ones on drawn faces, as controls."""

    explain_samples: int = Explain.samples
    """Images of each set for that at most. 0: all."""

    explain_methods: tuple[str, ...] = Explain.methods
    """Attribution methods for that, as --methods of fer-dist explain."""

    title: str = ""
    """Title of the report. Empty: made of the names of the sets."""


def paper_plan(config: PaperConfig, changed: Settings | None = None) -> Plan:
    """The plan for these sets, under the names that they have themselves. changed: settings of every training.

    Raises InputError where a or b is missing, a set cannot be opened, or a seed is no number.
    """
    paths = {"a": config.a, "b": config.b} | ({"c": config.c} if config.c else {})
    for role, path in paths.items():
        if not path:
            raise InputError(f"--{role} is missing; give its folder of shards, with train, val and test in it")
    names = {role: _dataset(role, path) for role, path in paths.items()}
    if len(set(names.values())) < len(names):
        raise InputError(f"two of the sets are called {names['b']}; give other sets, or build one with --dataset NAME")
    return paper_of(names, paths, config, changed or {})


def paper_of(names: dict[str, str], paths: dict[str, str], config: PaperConfig, changed: Settings) -> Plan:
    """The plan for sets of these names. names, paths: by role, a and b and perhaps c."""
    a, b = names["a"], names["b"]
    transferred = f"{a}-to-{b}"
    trainings = {a: Training(a, role="a"), b: Training(b, role="b"), transferred: Training(b, init_from=a, role="a-b")}
    if config.freeze:
        trainings[f"{transferred}-frozen"] = Training(b, set={"train.freeze": config.freeze}, init_from=a)
    if config.layer_decay != 1:
        trainings[f"{transferred}-layered"] = Training(b, set={"train.layer_decay": config.layer_decay}, init_from=a)
    return Plan(
        data={name: DataSet(paths[role], role) for role, name in names.items()},  # type: ignore[arg-type]
        trainings=trainings,
        title=config.title or f"Facial emotions: {a} and {b}, across and transferred",
        preset=config.preset,
        set=changed,
        seeds=_seeds(config.seeds),
        whole_train=config.whole_train,
        # What it brings where it was trained last, and what it costs where it came from.
        comparisons=tuple(
            Comparison(name, *pair) for name in trainings if trainings[name].init_from for pair in ((b, b), (a, a))
        ),
        audit=config.audit,
        leave_out=config.leave_out,
        robustness=Robustness(config.robustness, config.robustness_samples),
        explain=Explain(config.explain, config.explain_samples, config.explain_methods),
    )


def taken_settings(arguments: list[str]) -> tuple[list[str], Settings]:
    """Arguments without --set.SECTION.FIELD VALUE, and those settings, each of the type that it has in training."""
    rest, found = list[str](), Settings()
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith(SET):
            rest.append(word)
            continue
        name, equals, value = word.removeprefix(SET).partition("=")
        if not equals:
            if not waiting or waiting[0].startswith("--"):
                raise InputError(f"{word}: a value is missing, as --set.train.epochs 20")
            value = waiting.pop(0)
        name, content = setting(name, value)
        found[name] = content
    return rest, found


def _dataset(role: str, path: str) -> str:
    from fer_dist.data.loading.shard_set import open_set

    with naming(f"--{role}"):
        return open_set(below(path, "test"), DataConfig()).manifest.dataset


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise InputError(f"--seeds {text}: expected whole numbers with commas between them, as 0,1,2") from None
