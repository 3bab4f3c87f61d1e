"""The attribution methods that there are, by name, known without torch."""

from importlib.util import find_spec
from typing import Literal, cast, get_args

from fer_dist.config.settings import ExplainConfig
from fer_dist.errors import InputError

Method = Literal["grad-cam", "hirescam", "integrated-gradients", "occlusion"]
METHODS: tuple[Method, ...] = get_args(Method)


def chosen_methods(config: ExplainConfig) -> tuple[Method, ...]:
    """The methods that a user asks for. Raises InputError for one that there is not."""
    names = [name for name in config.methods if name != "none"]
    for name in names:
        if name not in METHODS:
            raise InputError(f"--methods {name}: no such method; there are {', '.join(METHODS)}, and none")
    return cast(tuple[Method, ...], tuple(names))


def check_captum() -> None:
    """Raises InputError with the remedy where captum is not installed."""
    if find_spec("captum") is None:
        raise InputError("--methods: captum is not installed; pip install 'fer-dist[explain]', or give --methods none")
