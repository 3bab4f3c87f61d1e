"""A hash of the part of this program that a result depends on: comments and help do not count.

A module's part is what it imports from this package, directly or through others.
"""

import ast
import hashlib
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

from fer_dist import PACKAGE


def source_hash(modules: Collection[str]) -> str:
    """sha256 of the code of these modules, however it is laid out and commented."""
    digest = hashlib.sha256()
    for name in sorted(modules):
        digest.update(f"{name}\0{_read(_path(name).read_text()).code}\0".encode())
    return digest.hexdigest()


def reached(entries: Collection[str], less: Collection[str] = ()) -> set[str]:
    """These modules and all of the package that they import, at their top or inside a function, but for those of less.

    entries, less: dotted, below fer_dist. What those of less alone import is not reached either.
    """
    waiting, found = list(entries), set(entries)
    while waiting:
        new = _modules(_read(_path(waiting.pop()).read_text()).imports) - found - set(less)
        found |= new
        waiting += new
    return found


class _Source:
    """One file. code: as text, without docstrings; imports: dotted names of what may be modules of this package."""

    def __init__(self, text: str) -> None:
        tree = ast.parse(text)
        # An entry may call what rests on nothing here, and what is imported for types alone runs nothing.
        tree.body = [node for node in tree.body if not _is_set_apart(node)]
        self.imports = frozenset(_imports(tree))
        self.code = _without_docstrings(tree)


_read = cache(_Source)


def _is_set_apart(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("__name__ == '__main__'", "TYPE_CHECKING")


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _modules(names: Collection[str]) -> set[str]:
    """Of names such as fer_dist.data.order.Order, the files in which they lie, those of their packages as well."""
    inner = [name.split(".")[1:] for name in names if name.startswith("fer_dist.")]
    dotted = {".".join(words[:length]) for words in inner for length in range(1, len(words) + 1)}
    return {name for name in dotted if _path(name).is_file()}


def _path(name: str) -> Path:
    path = PACKAGE.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _without_docstrings(tree: ast.Module) -> str:
    """The code as text, the same however it is laid out and commented."""
    for node in ast.walk(tree):
        body: list[ast.stmt] | None = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
            body[:] = kept or [ast.Pass()]
    return ast.unparse(tree)
