"""What the design says of the package's structure, held against the code itself."""

import ast
from pathlib import Path

import fer_dist

PACKAGE = Path(fer_dist.__file__).parent
FLOORS = [
    {
        "errors", "config.settings", "config.checks", "config.presets", "data.emotions", "schedule", "scores.metrics", "data.loading.order", "data.loading.augment",
        "storage.places", "data", "scores.intervals", "scores.priors", "scores.imbalance", "scores.groups", "scores.detail", "scores.compare",
        "config_changes", "report.findings", "paper_values", "config.torchrun"},
    {
        "data.shards.manifest", "data.build.listing", "data.build.holdout", "data.shards.tar", "data.build.pack", "data.build.faces", "data.images",
        "data.processes", "data.build.build", "data.inspection.verify", "data.shards.index", "data.loading.reader", "data.loading.pipeline", "data.loading.loader",
        "data.sources", "model", "train.engine", "distributed.world", "runs.checkpoint", "progress", "evaluate.results", "scores.figures.canvas",
        "distributed.cluster", "distributed.mailbox", "distributed.workers", "distributed.tasks",
        "runs.opening", "data.shards.leave_out", "data.inspection.describe", "data.inspection.sheets", "data.inspection.fingerprint", "data.inspection.copies", "data.inspection.scan",
        "data.inspection.audit", "data.inspection.clean", "data.loading.tar_view", "storage.store", "storage.cache", "data.loading.remote", "data.loading.shard_set",
        "data.headers", "data.shards.labels", "data.loading.mixing", "runs.folder", "saver", "train.optimizer", "ddp", "train.zero",
        "runs.curves", "study.source_hash", "distributed.hardware",
     "evaluate.robustness.draws", "evaluate.robustness.blurs", "evaluate.robustness.weather", "evaluate.robustness.corruptions", "evaluate.robustness.regions", "evaluate.robustness.figure",
     "scores.figures.curves", "scores.figures.dots"},
    {"train.loop", "train.session", "train.checks", "train.inputs", "train.choices", "train.estimate", "evaluate.evaluate", "evaluate.predict", "report.page",
     "evaluate.robustness.measure", "evaluate.parity",
     "report.numbers", "report.sentences", "report.summary", "report_remarks", "report.plots",
     "report_group_pictures", "report.sections", "report.table", "report.tables", "report.published"},
    {"cli.commands", "config.flags", "cli.shards", "cli.shard_tables", "study.demo", "bench.shards", "bench.commands", "bench.order",
     "bench.shuffle", "bench_tables", "bench.loader", "bench.peers", "bench.checkpoint", "bench.step", "bench.threads",
     "doctor.doctor", "doctor.finding", "doctor.machine", "doctor.devices", "doctor.places", "doctor.cluster",
     "study.study", "study.plan", "study.plan_file", "study.paper", "study.setup", "study.jobs", "study.running", "study.side_by_side",
     "study.measuring", "study.gathering", "cli.study"},
]  # fmt: skip
DOORS = {
    "ray": {"distributed.cluster", "distributed.mailbox", "distributed.workers", "distributed.tasks"},
    "nvidia": {"data.loading.pipeline"},
    "deepspeed": {"train.zero"},
}
ANYTHING = {"bench.shards", "bench.loader", "bench.peers", "doctor.doctor", "doctor.cluster"}


def modules() -> dict[str, ast.Module]:
    """Dotted name below the package -> parsed file, less its `if __name__` block: an entry may call what is above."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = (
            ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__").replace("__init__", "")
        )
        tree = ast.parse(path.read_text())
        tree.body = [
            node for node in tree.body if not (isinstance(node, ast.If) and "__name__" in ast.unparse(node.test))
        ]
        found[name] = tree
    return found


def imported(tree: ast.AST) -> set[str]:
    """Every module that a file imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_imports(tree: ast.AST, known: set[str]) -> set[str]:
    short = {name.removeprefix("fer_dist.") for name in imported(tree) if name.startswith("fer_dist.")}
    return {name for name in short if name in known}


def floor_of(name: str) -> int:
    name = "data.sources" if name.startswith("data.sources") else name
    return next(number for number, names in enumerate(FLOORS) if name in names)


def test_each_file_imports_its_own_floor_or_a_lower_one():
    known = modules()
    wrong = [
        f"{name} imports {other}"
        for name, tree in known.items()
        if name
        for other in own_imports(tree, set(known))
        if floor_of(other) > floor_of(name)
    ]
    assert not wrong


def test_no_file_imports_itself_through_others():
    known = modules()
    edges = {name: own_imports(tree, set(known)) - {name} for name, tree in known.items()}

    def reaches(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(edges[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += edges[name]
        return seen

    # A package's __init__ is imported by what lies in it; only files count here.
    assert not [name for name in edges if name not in ("", "data", "data.sources") and name in reaches(name)]


def test_each_framework_has_one_door():
    wrong = []
    for name, tree in modules().items():
        for framework in {other.split(".")[0] for other in imported(tree)} & set(DOORS):
            if name not in DOORS[framework] | ANYTHING:
                wrong.append(f"{name} imports {framework}")
    assert not wrong


def test_nothing_unpickles():
    wrong = [name for name, tree in modules().items() if imported(tree) & {"pickle", "cloudpickle", "dill", "joblib"}]
    text = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    assert not wrong
    assert "torch.load" not in text
    assert "torch.save(" not in text


def test_python_m_enters_through_the_importable_name():
    text = (PACKAGE / "train" / "__main__.py").read_text()
    assert "from fer_dist.cli.commands import main" in text
    assert text.index("__main__") < text.index("from fer_dist.cli.commands import main")
