"""Plans as YAML: read against the dataclasses, each fault with its file, line and field; and written to be edited.

A value is read as the type of its field, not as what YAML guesses: `name: no` is a name, 1e-4 a number.
"""

import dataclasses
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from fer_dist.config.settings import Config
from fer_dist.errors import InputError, nearest
from fer_dist.storage.places import shown
from fer_dist.storage.untrusted import read_regular
from fer_dist.study.plan import Plan, Settings, faults_of

if TYPE_CHECKING:
    import yaml

OWN = {
    "data.train": "a training's data", "data.val": "a training's data", "data.leave_out": "leave_out",
    "train.seed": "seeds", "train.init_from": "a training's init_from",
}  # fmt: skip
"""Settings that a plan gives in a field of its own: setting -> the field."""

YES, NO = ("true", "yes", "on"), ("false", "no", "off")

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

    try:
        content = read_regular(path, MOST_BYTES)
        node = yaml.compose(content.decode(), Loader=yaml.SafeLoader)
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
    if node is None:
        raise InputError(f"{path}: empty; write a plan with: fer-dist study paper --a SHARDS --b SHARDS --print")
    read = _Reading(str(path))
    plan: Plan = read.value(node, Plan, "")
    for fault in faults_of(plan):
        raise read.wrong(fault.field, fault.text)
    return plan


def setting(name: str, text: str, place: str) -> tuple[str, Any]:
    """One setting of a command line: its name in the configuration, and its value. place: for messages."""
    import yaml

    try:
        node = yaml.compose(text if text else "''", Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        node = yaml.ScalarNode("tag:yaml.org,2002:str", text)
    return _Reading("").setting(name, node, place)


def as_yaml(plan: Plan) -> str:
    """The plan as text that `load_plan` reads back as the same plan."""
    import yaml

    content = yaml.safe_dump(_plain(dataclasses.asdict(plan)), sort_keys=False, default_flow_style=None, width=110)
    return HEAD + content


class _Reading:
    """The conversion of one file's nodes. lines: field -> the line that it stands on."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[str, int] = {}
        self.values = 0

    def wrong(self, place: str, text: str) -> InputError:
        """The error for a field; its line is its own, or that of what it stands in."""
        known = place
        while known and known not in self.lines:
            known = known.rpartition(".")[0]
        line = f":{self.lines[known]}" if self.file and known in self.lines else ""
        return InputError(": ".join(part for part in (f"{self.file}{line}", place, text) if part))

    def value(self, node: "yaml.Node", kind: Any, place: str) -> Any:
        self.lines[place] = node.start_mark.line + 1 if node.start_mark else 1
        self.values += 1
        if self.values > MOST_VALUES:
            raise self.wrong(place, f"more than {MOST_VALUES:,} values up to here; write fewer, without aliases")
        if dataclasses.is_dataclass(kind):
            return self._dataclass(node, kind, place)
        if kind == Settings:
            return dict(self.setting(name, child, place) for name, child in self._entries(node, place))
        if get_origin(kind) is dict:
            inner = get_args(kind)[1]
            return {name: self.value(child, inner, _join(place, name)) for name, child in self._entries(node, place)}
        if get_origin(kind) is tuple:
            return self._tuple(node, get_args(kind), place)
        return self._scalar(node, kind, place)

    def setting(self, name: str, node: "yaml.Node", place: str) -> tuple[str, Any]:
        """A setting of a training, of the type that it has in the configuration."""
        name = name.replace("-", "_")
        section = name.partition(".")[0]
        self.lines[_join(place, name)] = node.start_mark.line + 1 if node.start_mark else 1
        place = _join(place, name)
        if name in OWN:
            raise self.wrong(place, f"a plan says this with {OWN[name]}")
        if section in ("run", "ray"):
            raise self.wrong(place, "where it runs is no part of a plan; see fer-dist study --help for its flags")
        known = {
            f"{part.name}.{one.name}": get_type_hints(type(getattr(Config(), part.name)))[one.name]
            for part in dataclasses.fields(Config)
            if part.name not in ("run", "ray")
            for one in dataclasses.fields(getattr(Config(), part.name))
        }
        if name not in known:
            raise self.wrong(place, f"no such setting; {nearest(name, [k for k in known if k not in OWN])}")
        return name, self.value(node, known[name], place)

    def _dataclass(self, node: "yaml.Node", kind: Any, place: str) -> Any:
        hints = get_type_hints(kind)
        values = {}
        for name, child in self._entries(node, place):
            if name not in hints:
                self.lines[_join(place, name)] = child.start_mark.line + 1
                raise self.wrong(_join(place, name), f"no such field; {nearest(name, list(hints))}")
            values[name] = self.value(child, hints[name], _join(place, name))
        for item in dataclasses.fields(kind):
            needed = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
            if needed and item.name not in values:
                raise self.wrong(place, f"{item.name} is missing")
        return kind(**values)

    def _entries(self, node: "yaml.Node", place: str) -> list[tuple[str, "yaml.Node"]]:
        import yaml

        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(place, f"expected fields (name: value), found {_found(node)}")
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.wrong(place, f"line {key.start_mark.line + 1}: a field's name is one word")
            if key.value in seen:
                self.lines[_join(place, key.value)] = key.start_mark.line + 1
                raise self.wrong(_join(place, key.value), "stands here a second time")
            seen.add(key.value)
        return [(key.value, child) for key, child in node.value]

    def _tuple(self, node: "yaml.Node", kinds: tuple[Any, ...], place: str) -> tuple[Any, ...]:
        import yaml

        if not isinstance(node, yaml.SequenceNode):
            raise self.wrong(place, f"expected a list ([one, another]), found {_found(node)}")
        length = len(node.value)
        if kinds[-1] is not ...:
            if length != len(kinds):
                raise self.wrong(place, f"expected {len(kinds)} values, found {length}")
        else:
            kinds = (kinds[0],) * length
        pairs = zip(node.value, kinds, strict=True)
        return tuple(self.value(child, kind, _join(place, str(i))) for i, (child, kind) in enumerate(pairs))

    def _scalar(self, node: "yaml.Node", kind: Any, place: str) -> Any:
        import yaml

        expected = _spoken(kind)
        if not isinstance(node, yaml.ScalarNode) or (node.tag.endswith(":null") and kind is not str):
            raise self.wrong(place, f"expected {expected}, found {_found(node)}")
        text = "" if node.tag.endswith(":null") and node.value in ("~", "null") else node.value
        try:
            if kind is bool:
                return {**dict.fromkeys(YES, True), **dict.fromkeys(NO, False)}[text.lower()]
            if get_origin(kind) is Literal:
                if text not in get_args(kind):
                    raise ValueError
                return text
            return kind(text)
        except (ValueError, KeyError):
            hint = f"; {nearest(text, get_args(kind))}" if get_origin(kind) is Literal else ""
            raise self.wrong(place, f"expected {expected}, found {shown(text)[:60]!r}{hint}") from None


def _spoken(kind: Any) -> str:
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(choice or repr(choice) for choice in get_args(kind))
    assert not isinstance(kind, UnionType), "plans hold no unions"
    return names[kind]


def _found(node: "yaml.Node") -> str:
    import yaml

    if isinstance(node, yaml.ScalarNode):
        return repr(shown(node.value)[:60]) if node.value else "nothing"
    return "a list" if isinstance(node, yaml.SequenceNode) else "fields"


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _plain(value: Any) -> Any:
    """Tuples as lists, which YAML knows."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (tuple, list)) else value
