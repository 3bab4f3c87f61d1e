"""A hash of the part of this program that a result depends on: comments, help and what only shows do not count.

A module's part is what it imports from this package, directly or through others, less what changes no result.
"""

import ast
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
CHANGES_NO_RESULT = {
    "errors", "monitor", "figures", "flags", "presets", "config", "config_checks", "runs", "checkpoint", "predictions",
    "run_folder", "saver", "job_checks", "ray_jobs", "ray_cluster", "ray_tasks", "mailbox",
    "data.cache", "data.remote", "data.store", "data.location", "data.shard_set",
}  # fmt: skip
"""They show, store, fetch or refuse. Presets and settings count by their values, which stand in a job's key."""


@cache
def source_hash(modules: tuple[str, ...], less: tuple[str, ...] = ()) -> str:
    """sha256 of these modules of the package and all that they rest on. modules, less: dotted, below fer_dist."""
    waiting, seen = list(modules), {*modules, *less}
    digest = hashlib.sha256()
    found = {}
    while waiting:
        name = waiting.pop()
        tree = _parsed(name)
        found[name] = _without_docstrings(tree)
        new = _imports(tree) - seen - CHANGES_NO_RESULT
        seen |= new
        waiting += sorted(new)
    for name in sorted(found):
        digest.update(f"{name}\0{found[name]}\0".encode())
    return digest.hexdigest()


def _parsed(name: str) -> ast.Module:
    """A file, less its `if __name__` block: an entry may call what rests on nothing here."""
    tree = ast.parse(_path(name).read_text())
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and "__name__" in ast.unparse(node.test))]
    return tree


def _imports(tree: ast.AST) -> set[str]:
    """The files of this package that a file imports, at its top or inside a function; packages themselves are empty."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fer_dist."):
            module = (node.module or "").removeprefix("fer_dist.")
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return {name for name in names if _path(name).is_file()}


def _path(name: str) -> Path:
    return PACKAGE.joinpath(*name.split(".")).with_suffix(".py")


def _without_docstrings(tree: ast.Module) -> str:
    """The code as text, the same however it is laid out and commented."""
    for node in ast.walk(tree):
        body: Sequence[ast.stmt] | None = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
            body[:] = kept or [ast.Pass()]
    return ast.unparse(tree)
