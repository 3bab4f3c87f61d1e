"""What the design says of the package's structure, held against the code itself."""

import ast
from collections.abc import Mapping
from pathlib import Path

from fer_dist import PACKAGE

FLOORS = (
    {"cli"},
    {"api"},
    {"study", "bench"},
    {"train", "explain", "deploy", "report"},
    {"evaluate"},
    {"runs", "doctor"},
    {"data", "distributed"},
    {"scores", "config"},
    {"storage"},
    {"model", "progress", "errors"},
)
"""Packages and files of the root, from the top: each imports only what lies below it."""

ENTRY = ("train.__main__", "cli.commands")
"""The one arrow upward: python -m fer_dist.train is the command."""

DOORS = {
    "ray": {"distributed.cluster", "distributed.mailbox", "distributed.workers", "distributed.tasks"},
    "nvidia": {"data.loading.pipeline"},
    "deepspeed": {"train.zero"},
}
ANYTHING = {
    "bench.shards",
    "bench.loader",
    "bench.peers",
    "bench.gpu.decode",
    "bench.gpu.pixels",
    "doctor.doctor",
    "doctor.cluster",
}

MOST_NAMES = 20


def modules() -> dict[str, ast.Module]:
    """Dotted name below the package -> parsed file, whole. A package's own file has the package's name."""
    paths = {path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py")}
    return {name.removesuffix("__init__").rstrip("."): ast.parse(path.read_text()) for path, name in paths.items()}


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


def arrows() -> set[tuple[str, str]]:
    """(file, file that it imports), but for ENTRY and the files of packages, which hold a docstring."""
    known = modules()
    packages = {".".join(path.parent.relative_to(PACKAGE).parts) for path in PACKAGE.rglob("__init__.py")}
    found = {
        (name, other)
        for name, tree in known.items()
        for other in {module.removeprefix("fer_dist.") for module in imported(tree) if module.startswith("fer_dist.")}
        if other in known and other not in packages
    }
    return found - {ENTRY}


def circles(edges: set[tuple[str, str]]) -> list[str]:
    """Names from which arrows lead back to themselves."""
    below: dict[str, set[str]] = {}
    for one, other in edges:
        below.setdefault(one, set()).add(other)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(below[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += below.get(name, ())
        return seen

    return sorted(name for name in below if name in reached(name))


def floors() -> Mapping[str, int]:
    return {name: number for number, names in enumerate(FLOORS) for name in names}


def test_every_package_has_a_floor_and_imports_only_lower_ones():
    of, top = floors(), {name.split(".")[0] for name in modules()} - {""}
    assert top == set(of)
    wrong = [
        f"{one} imports {other}"
        for one, other in arrows()
        if one.split(".")[0] != other.split(".")[0] and of[one.split(".")[0]] >= of[other.split(".")[0]]
    ]
    assert not wrong


def test_no_file_and_no_package_imports_itself_through_others():
    edges = arrows()
    assert circles(edges) == []
    # A file of the root stands for itself: api at the top, the others at the bottom.
    folders = {(one.rpartition(".")[0] or one, other.rpartition(".")[0] or other) for one, other in edges}
    assert circles({(one, other) for one, other in folders if one != other}) == []


def test_a_circle_is_seen():
    assert circles({("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")}) == ["b", "c"]


def test_the_root_stays_small_and_a_package_says_what_it_is_for():
    # py.typed is a mark for type checkers, in which there is nothing to read.
    assert len([path for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "py.typed")]) <= MOST_NAMES
    for path in PACKAGE.rglob("__init__.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        assert path.parent == PACKAGE or len(tree.body) == 1, f"{path}: holds more than its docstring"


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
    text = Path(PACKAGE / "train" / "__main__.py").read_text()
    assert "from fer_dist.cli.commands import main" in text
    assert text.index("__main__") < text.index("from fer_dist.cli.commands import main")
