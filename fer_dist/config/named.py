"""Settings that Python code gives by name, checked as flags are: an unknown name or a value of another type is said."""

import os
from collections.abc import Collection, Mapping
from typing import Any, get_args, get_origin, get_type_hints

from fer_dist.config.settings import Config, with_settings
from fer_dist.errors import InputError, nearest

SECTIONS = tuple(get_type_hints(Config))


def checked(kind: type, given: Mapping[str, Any], without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Values of some fields of a dataclass, each as the type of its field. A path may be a Path.

    without: fields that are given elsewhere. Raises InputError for a name that is no field, and a value that does not
    fit.
    """
    hints = {name: hint for name, hint in get_type_hints(kind).items() if name not in without}
    check_known(given, hints)
    return {name: _as(hints[name], value, name) for name, value in given.items()}


def check_known(given: Collection[str], known: Collection[str]) -> None:
    """Raises InputError for the first name that is no setting, with the nearest that is one, and all that are."""
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        raise InputError(f"unknown setting {unknown!r}; {nearest(unknown, known)}")


def with_named(config: Config, given: Mapping[str, Any]) -> Config:
    """A configuration with other values of some settings.

    given: `train_batch_size` or `train.batch_size` -> value. Raises InputError as `checked` does.
    """
    settings = {}
    for name, value in given.items():
        section, _, item = name.replace(".", "_", 1).replace("-", "_").partition("_")
        if section not in SECTIONS or not item:
            raise InputError(f"unknown setting {name!r}; it begins with {', '.join(f'{one}_' for one in SECTIONS)}")
        try:
            (found,) = checked(type(getattr(config, section)), {item: value}).values()
        except InputError as error:
            raise InputError(f"{section}: {error}") from None
        settings[f"{section}.{item}"] = found
    return with_settings(config, settings)


def _as(hint: Any, value: Any, name: str) -> Any:
    from pydantic import TypeAdapter, ValidationError

    if isinstance(value, str | os.PathLike) and get_origin(hint) is tuple and get_args(hint)[1] is Ellipsis:
        # Or it would be taken for a list of its letters, or refused.
        value = (value,)
    if isinstance(value, tuple | list):
        value = tuple(os.fspath(one) if isinstance(one, os.PathLike) else one for one in value)
    elif isinstance(value, os.PathLike):
        value = os.fspath(value)
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        said = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise InputError(f"{name}={value!r}: {said[:1].lower()}{said[1:]}") from None
