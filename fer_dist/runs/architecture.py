"""The names that a network's architecture has, looked at without torch: ours, one of timm's, or a user's own.

What a file says is never imported: a user's own is imported where the user names it, in this very process.
"""

import importlib
import os
import re
import sys
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fer_dist.errors import InputError

OURS = "seresnet18"
"""As settings have it."""

TIMM = "timm:"

LONGEST = 200
"""Characters of a name."""

_OF_TIMM = re.compile(r"timm:[a-z0-9_]+(\.[a-z0-9_]+)?")
_OWN = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*)")


def check_architecture(name: str, flag: str) -> None:
    """Whether a name can be that of a network, and what it names is at hand, as far as a look can tell.

    flag: that it was given with. Raises InputError with the remedy.
    """
    if name == OURS:
        return
    if is_of_timm(name):
        if find_spec("timm") is None:
            raise InputError(f"{flag} {name}: timm is not installed; pip install 'fer-dist[timm]'")
        return
    if not is_own(name):
        raise InputError(
            f"{flag} {name[:80]}: no network; give {OURS}, timm:NAME (timm:resnet18), or package.module:function for "
            "one of your own"
        )
    _look_in_working_folder()
    top = name.partition(":")[0].partition(".")[0]
    if find_spec(top) is None:
        raise InputError(f"{flag} {name}: no module {top} here; {_WHERE}")


def check_onnx(what: str, more: tuple[str, ...] = ()) -> None:
    """Raises InputError where a library of the extra export is missing. what: that needs it; more: beside the usual."""
    missing = [name for name in ("onnx", "onnxruntime", *more) if find_spec(name) is None]
    if missing:
        raise InputError(f"{what}: needs {', '.join(missing)}, not installed here; pip install 'fer-dist[export]'")


def is_own(name: str) -> bool:
    """Whether a name is that of a user's own network: package.module:function."""
    return len(name) <= LONGEST and not name.startswith(TIMM) and _OWN.fullmatch(name) is not None


def is_of_timm(name: str) -> bool:
    """Whether a name is that of a network of timm, and of none that it would fetch from a hub."""
    return len(name) <= LONGEST and _OF_TIMM.fullmatch(name) is not None


def own_maker(name: str, given: Iterable[str]) -> Callable[[int], Any]:
    """The function that makes a user's own network, imported.

    given: the names that the user gave in this process: what only a file says is not imported.
    Raises InputError where it is not among them, or there is no such function.
    """
    if name not in given:
        raise InputError(
            f"its network is {name}, which is not of fer_dist and not imported because a file says so; give it with "
            f"--network {name}, where you trust that code"
        )
    _look_in_working_folder()
    module, _, function = name.partition(":")
    try:
        maker = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name and module.startswith(error.name):
            raise InputError(f"{name}: no module {error.name} here; {_WHERE}") from None
        raise
    except AttributeError:
        raise InputError(f"{name}: {module} has no {function}; give a function (classes: int) -> nn.Module") from None
    if not callable(maker):
        raise InputError(f"{name}: {function} is no function; give one (classes: int) -> nn.Module")
    found: Callable[[int], Any] = maker
    return found


def source_of(name: str) -> Path | None:
    """The file that a user's own network stands in; None for other networks, and where there is no file of Python."""
    if not is_own(name):
        return None
    _look_in_working_folder()
    spec = find_spec(name.partition(":")[0])
    return Path(spec.origin) if spec and spec.origin and spec.has_location else None


_WHERE = "it is looked for in the working folder, in PYTHONPATH and among what is installed, on each worker"


def _look_in_working_folder() -> None:
    """As python -m does and a console script does not; last, so that nothing there hides what is installed."""
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())
