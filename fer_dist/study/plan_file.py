"""Plans as YAML: read against the dataclasses, each fault with its file, line and field; and written to be edited.

A value is read as the type of its field, not as what YAML guesses: `name: no` is a name, 1e-4 a number.
"""

import dataclasses
import re
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from fer_dist.config.settings import Config
from fer_dist.errors import InputError, nearest
from fer_dist.storage.paths import shown
from fer_dist.storage.untrusted import read_regular
from fer_dist.study.plan import Plan, Settings, faults_of

if TYPE_CHECKING:
    import yaml

OWN = {
    "data.train": "a training's data", "data.val": "a training's data", "data.leave_out": "leave_out",
    "train.seed": "seeds", "train.init_from": "a training's init_from",
}  # fmt: skip
"""Settings that a plan gives in a field of its own: setting -> the field."""

EXPECTED = {
    "int": "a whole number", "float": "a number", "bool": "true or false", "string": "text",
    "tuple": "a list ([one, another])", "dict": "fields (name: value)", "dataclass": "fields (name: value)",
}  # fmt: skip
"""First word of the kinds of errors that pydantic tells -> what a plan says there."""

MOST_BYTES = 1 << 18
"""Of a file: a thousand trainings, with what is said of each. YAML is read at some 40 kB a second."""

MOST_VALUES = 100_000
"""Of a plan, those that an alias repeats (`- *name`) counted each time: a few bytes can mean any number of them."""

HEAD = """\
# A plan of fer-dist. Start it with: fer-dist study FILE --out OUT
# Each field stands here with its value. set: takes any setting of `fer-dist train paper --help`, without the dashes,
# here for all trainings, in a training for that one. A set without an emotion is scored with that emotion masked.
"""


def load_plan(path: str | Path) -> Plan:
    """Read a plan. Raises InputError with the file, the line, the field, what was found there and what is near."""
    import yaml

    file = _File(str(path))
    try:
        node = yaml.compose(read_regular(path, MOST_BYTES).decode(), Loader=yaml.BaseLoader)
        content = file.content(node, "") if node else None
    except OSError as error:
        raise InputError(
            f"{path}: no plan there ({error.strerror}); give a file, or the built-in plan: paper"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not text; a plan is a YAML file") from None
    except RecursionError:
        raise InputError(f"{path}: nests deeper than any plan; take the brackets or dashes away") from None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path}{line}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if content is None:
        raise InputError(f"{path}: empty; write a plan with: fer-dist study paper --a SHARDS --b SHARDS --print")
    plan: Plan = file.checked(Plan, content, "")
    trainings = {
        name: dataclasses.replace(training, set=file.settings(training.set, f"trainings.{name}.set"))
        for name, training in plan.trainings.items()
    }
    plan = dataclasses.replace(plan, set=file.settings(plan.set, "set"), trainings=trainings)
    for fault in faults_of(plan):
        raise file.wrong(fault.field, fault.text)
    return plan


def setting(name: str, text: str) -> tuple[str, Any]:
    """One setting of a command line: its name in the configuration, and its value."""
    import yaml

    file = _File("")
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)
        content = file.content(node, "") if node else text
    except (yaml.YAMLError, RecursionError):
        content = text
    (found,) = file.settings({name: content}, "--set").items()
    return found


def as_yaml(plan: Plan) -> str:
    """The plan as text that `load_plan` reads back as the same plan."""
    import yaml

    content = yaml.safe_dump(_plain(dataclasses.asdict(plan)), sort_keys=False, default_flow_style=None, width=110)
    return HEAD + content


class _File:
    """What one file says. lines: field -> the line that it stands on; values: how many there are so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[str, int] = {}
        self.values = 0

    def wrong(self, where: str, text: str) -> InputError:
        """The error for a field; its line is its own, or that of what it stands in."""
        known = where
        while known and known not in self.lines:
            known = known.rpartition(".")[0]
        line = f":{self.lines[known]}" if self.name and known in self.lines else ""
        return InputError(": ".join(part for part in (f"{self.name}{line}", where, text) if part))

    def content(self, node: "yaml.Node", where: str, around: tuple["yaml.Node", ...] = ()) -> Any:
        """A node as texts, lists and dicts. around: the nodes that it stands in."""
        import yaml

        self.lines[where] = node.start_mark.line + 1
        self.values += 1
        if self.values > MOST_VALUES:
            raise self.wrong(where, f"more than {MOST_VALUES:,} values up to here; write fewer, without aliases")
        if node in around:
            raise self.wrong(where, "an alias of what it stands in; write it out")
        around = (*around, node)
        if isinstance(node, yaml.SequenceNode):
            return [self.content(child, _join(where, str(number)), around) for number, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            # YAML's words for nothing, where they stand without quotation marks.
            return "" if node.style is None and node.value in ("~", "null") else node.value
        fields: dict[str, Any] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.wrong(where, f"line {key.start_mark.line + 1}: a field's name is one word")
            inner = _join(where, key.value)
            if key.value in fields:
                self.lines[inner] = key.start_mark.line + 1
                raise self.wrong(inner, "stands here a second time")
            fields[key.value] = self.content(child, inner, around)
        return fields

    def checked(self, kind: Any, content: Any, where: str) -> Any:
        """What stands there, as the type of it."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(kind).validate_python(content, extra="forbid")
        except ValidationError as error:
            # A name that is mistyped is missing as well, and what it is says more.
            first = min(error.errors(include_url=False), key=lambda one: one["type"] == "missing")
        fault, loc, value = first["type"], first["loc"], first["input"]
        if fault == "missing":
            *outer, name = loc
            text = f"{name} is missing" if isinstance(name, str) else f"more than {name} values are needed"
            raise self.wrong(reduce(_join, map(str, outer), where), text)
        where = reduce(_join, map(str, loc), where)
        if fault == "unexpected_keyword_argument":
            raise self.wrong(where, f"no such field; {nearest(str(loc[-1]), _fields_at(kind, loc[:-1]))}")
        if fault == "too_long":
            raise self.wrong(where, f"expected {first['ctx']['max_length']} values, found {len(value)}")
        if fault == "literal_error":
            choices = [choice.strip("'") or "''" for choice in re.split(", | or ", first["ctx"]["expected"])]
            near = nearest(str(value), choices)
            raise self.wrong(where, f"expected one of {', '.join(choices)}, found {_found(value)}; {near}")
        raise self.wrong(where, f"expected {EXPECTED[fault.partition('_')[0]]}, found {_found(value)}")

    def settings(self, given: Settings, where: str) -> Settings:
        """Settings of a training, each of the type that it has in the configuration."""
        known = {
            f"{part.name}.{name}": hint
            for part in dataclasses.fields(Config)
            if part.name not in ("run", "ray")
            for name, hint in get_type_hints(type(getattr(Config(), part.name))).items()
        }
        found: Settings = {}
        for written, content in given.items():
            here, name = _join(where, written), written.replace("-", "_")
            if name in OWN:
                raise self.wrong(here, f"a plan says this with {OWN[name]}")
            if name.partition(".")[0] in ("run", "ray"):
                raise self.wrong(here, "where it runs is no part of a plan; see fer-dist study --help for its flags")
            if name not in known:
                raise self.wrong(here, f"no such setting; {nearest(name, [k for k in known if k not in OWN])}")
            if get_origin(known[name]) is Literal and isinstance(content, str):
                # Some choices are numbers.
                content = {str(choice): choice for choice in get_args(known[name])}.get(content, content)
            found[name] = self.checked(known[name], content, here)
        return found


def _fields_at(kind: Any, loc: tuple[int | str, ...]) -> list[str]:
    """The names of the fields of what stands there in a type. loc: as pydantic's errors have it."""
    for part in loc:
        inner = get_args(kind)
        kind = get_type_hints(kind)[str(part)] if not inner else inner[get_origin(kind) is dict]
    return list(get_type_hints(kind))


def _found(content: Any) -> str:
    if isinstance(content, str):
        return repr(shown(content)[:60]) if content else "nothing"
    return "a list" if isinstance(content, list) else "fields"


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _plain(value: Any) -> Any:
    """Tuples as lists, which YAML knows."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (tuple, list)) else value
