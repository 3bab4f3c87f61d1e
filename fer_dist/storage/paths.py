"""What a path or URL that a user gives means: a file or a folder, a set of shards, on a local disk or in a store.

Every field that holds one is a PathOrUrl, an OnDisk or an Output, and every dataclass of flags or of a plan passes
through `settled`; so a path means the same in each of them. Nothing is opened here; see store.py.
"""

import dataclasses
import os
import re
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import quote, unquote, urlsplit

from fer_dist.errors import InputError

WEB = ("http", "https")

# Bounded, or a search would try each letter of a long word with all that follow: 20 s for 100,000.
SCHEME = "[A-Za-z][A-Za-z0-9+.-]{0,40}://"
HIDDEN = "(hidden)"
ENDS = "'\"`)]}>,.;:"

T = TypeVar("T")


@dataclass(frozen=True)
class Kind:
    """What a field names. may_be_url: else it lies on a disk. is_written: a file that comes into being at the end."""

    may_be_url: bool
    is_written: bool = False


PathOrUrl = Annotated[str, Kind(may_be_url=True)]
"""A set of shards, a run, or a folder of these: on a disk or at a URL."""

OnDisk = Annotated[str, Kind(may_be_url=False)]
"""A file or a folder on a disk of this machine, or one that all machines see."""

Output = Annotated[str, Kind(may_be_url=False, is_written=True)]
"""A file to which a command writes what it found."""


@dataclass(frozen=True)
class Location:
    """Where the files of a set lie, and which of its shards are meant.

    protocol: of the URL, as s3; empty for a local folder.
    folder:   local path, or URL without query, that holds tars, indexes and manifest.
    manifest: file name of the manifest; empty for the usual one.
    pattern:  of the file names of the shards that are meant; empty for all of the manifest.
    query:    of a web address, with its "?": a signature, say. It is added to the address of each file.
    """

    protocol: str
    folder: str
    manifest: str = ""
    pattern: str = ""
    query: str = ""

    def of(self, name: str) -> str:
        """Path or URL of a file of the set."""
        if self.protocol in WEB:
            return f"{self.folder}/{quote(name)}{self.query}"
        return f"{self.folder}/{name}"

    @property
    def shown(self) -> str:
        """The folder for a message: without user, password and query."""
        return shown(self.folder + self.query)

    def __str__(self) -> str:
        last = self.pattern or self.manifest
        if not last or self.protocol in WEB:
            return shown(f"{self.folder}{'/' * bool(last)}{last}{self.query}")
        # Of a store's names the question mark is a letter, and no query follows it.
        return shown(f"{self.folder}/{last}".replace("?", "\0")).replace("\0", "?")


def settled(value: T, name: str = "") -> T:
    """A dataclass with every path in it, and in the dataclasses that it holds, absolute; an empty default stays so.

    name: what the dataclass is called in messages. Raises InputError as `absolute` does, where a path is empty that is
    needed, and where an Output cannot be written: worth asking before the long work whose end it is.
    """
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    hints = get_type_hints(type(value), include_extras=True)
    changed: dict[str, Any] = {}
    for item in dataclasses.fields(value):
        held, label = getattr(value, item.name), f"{name}.{item.name}".lstrip(".")
        kind = kind_of(hints[item.name])
        if kind and isinstance(held, tuple):
            changed[item.name] = tuple(_settled(text, kind, label, None) for text in held)
        elif kind:
            changed[item.name] = _settled(held, kind, label, item.default)
        elif isinstance(held, dict):
            changed[item.name] = {key: settled(one, f"{label}.{key}") for key, one in held.items()}
        else:
            changed[item.name] = settled(held, label)
    return dataclasses.replace(value, **changed)


def on_disk(text: str, label: str) -> str:
    """One file or folder that lies on a disk, absolute. label: what it is called in messages; raises as `settled`."""
    return _settled(text, Kind(may_be_url=False), label, None)


def kind_of(hint: Any) -> Kind | None:
    """How a field of that type names a path or URL, or a tuple of them; None where it names none."""
    marks = [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Kind)]
    if marks:
        return marks[0]
    inner = get_args(hint)[:1] if get_origin(hint) in (Annotated, tuple) else ()
    return kind_of(inner[0]) if inner else None


def absolute(text: str) -> str:
    """A path or URL that means the same in every folder: a path from the root, or a URL as it is.

    Understood: ~, variables that a shell left alone ($DATA, ${DATA}), file://, links, back slashes where no file is
    called so. Raises InputError for what can be neither here: another system's, a half address, an unset variable.
    """
    text = text if is_url(text) else _with_variables(text)
    address, text = text, re.sub(r"^(file|local)://(localhost(?=/))?|^file:(?=/[^/])", "", text, flags=re.IGNORECASE)
    if text != address and not os.path.lexists(text):
        # As file managers copy them: a blank as %20.
        text = unquote(text, errors="surrogateescape")
    if "\0" in text:
        raise InputError(f"{shown(text)!r}: no file can be called so; leave the zero byte out")
    if not text or is_url(text):
        return text
    text = _with_home(text)
    if not os.path.lexists(text):
        _check_half_address(text)
        folder = text.rpartition("/")[0]
        text = text if "\\" in folder and os.path.lexists(folder) else text.replace("\\", "/")
    full = os.path.realpath(text)
    if os.path.exists(text) and not os.path.exists(full):
        # A pipe, as of <(...), whose link leads nowhere that has a name.
        full = os.path.abspath(text)
    return re.sub("^/+", "/", full)


def below(address: str, name: str) -> str:
    """A folder or a file in a folder, of which the address is a path or a URL."""
    folder, mark, query = address.partition("?") if protocol_of(address) in WEB else (address, "", "")
    return f"{folder.rstrip('/')}/{name}{mark}{query}"


def folder_at(url: str) -> Location:
    """A folder of a store, whatever its name looks like."""
    protocol = protocol_of(url)
    address, mark, query = url.partition("?") if protocol in WEB else (url, "", "")
    return Location(protocol, address.rstrip("/"), query=mark + query)


def is_url(text: str) -> bool:
    return re.match(SCHEME, text) is not None


def user_cache() -> str:
    """The folder for all that can be fetched or made again, in the user's cache folder; it need not exist."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(root, "fer-dist")


def shown(address: str) -> str:
    """A path or URL as messages and files may show it: of a URL in it no user, password, query or fragment."""
    found = re.search(SCHEME, address)
    return address[: found.end()] + _public(found[0], address[found.end() :]) if found else address


def without_secrets(text: str) -> str:
    """A text without the secrets of the URLs in it. Each ends at a blank: of one that stands alone, use `shown`."""

    def of(found: re.Match[str]) -> str:
        # What a sentence puts behind an address, a quote or a bracket, says nothing of what was cut.
        address = found[2].rstrip(ENDS)
        return found[1] + _public(found[1], address) + found[2][len(address) :]

    return re.sub(rf"({SCHEME})(\S*)", of, text)


def protocol_of(text: str) -> str:
    """Of a URL, in lower case; empty for a path."""
    return text.partition("://")[0].lower() if is_url(text) else ""


def _public(scheme: str, address: str) -> str:
    """What may be seen of a URL behind its scheme://; rather too little than a part of a password."""
    is_web = protocol_of(scheme) in WEB
    before, _, rest = address.rpartition("@")
    if ":" in before:
        # A password should have no @ / ? # but has them where it was pasted: it ends at the last @ of all.
        if "?" in before or "#" in before:
            # Unless that @ stands in the query, which goes on behind it.
            return HIDDEN
        address = rest
    try:
        parts = urlsplit(f"//{address}", allow_fragments=is_web)
    except ValueError:
        return HIDDEN
    host = parts.netloc.rpartition("@")[2]
    if is_web and not re.fullmatch(r"(\[[^\]]*\]|[^:]*)(:\d*)?", host):
        # Where no number stands behind the colon, it was a user and the beginning of a password.
        return HIDDEN
    return host + parts.path


def _settled(text: str, kind: Kind, label: str, default: Any) -> str:
    if not text:
        if default == "":
            return text
        raise InputError(f"{label}: an empty name; give a path{' or an address' if kind.may_be_url else ''}")
    if kind.is_written and text == "-":
        raise InputError(f"--{label.replace('_', '-')} -: name a file; standard output is /dev/stdout")
    found = absolute(text)
    if is_url(found) and not kind.may_be_url:
        raise InputError(f"{label}: {shown(found)} is an address, but this must lie on a disk; give a path")
    if kind.is_written:
        _check_output(f"--{label.replace('_', '-')} {found}", found, is_folder=text.endswith(("/", "\\")))
    return found


def _check_output(flag: str, path: str, is_folder: bool) -> None:
    folder = os.path.dirname(path)
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path) and os.access(path, os.W_OK):
        # A pipe or a terminal, as /dev/stdout.
        return
    if is_folder or os.path.isdir(path):
        raise InputError(f"{flag}: a folder; name a file in it")
    if not os.path.isdir(folder):
        raise InputError(f"{flag}: there is no folder {folder}; make it, or choose another path")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{flag}: {folder} cannot be written; choose another path")


def _with_variables(text: str) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        # An empty one would make $DATA/train the folder /train.
        if not os.environ.get(name):
            raise InputError(f"{text}: the variable {name} is not set; set it, or write the path out")
        return os.environ[name]

    if os.path.lexists(text):
        return text
    return re.sub(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})", value, text)


def _with_home(text: str) -> str:
    """~ is the home folder even where something is called so: who made that meant the home folder."""
    if not text.startswith("~"):
        return text
    user, slash, rest = re.sub(r"^(~[^/\\]*)\\", r"\1/", text).partition("/")
    home = os.path.expanduser(user)
    if home.startswith("~"):
        if os.path.lexists(user):
            return text
        raise InputError(f"{text}: there is no user {user[1:]} with a home folder here; write the path out")
    return f"{home}{slash}{rest}"


def _check_half_address(text: str) -> None:
    """Raises InputError for a path of Windows, and for an address that lost a slash where a tool took it for a path."""
    if re.match(r"[A-Za-z]:[/\\]", text):
        here = f"/mnt/{text[0].lower()}/" + text[3:].replace("\\", "/")
        raise InputError(f"{text}: a path of Windows; give it as this system has it, in WSL {here}")
    half = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):[/\\]+", text)
    if half:
        meant = shown(f"{half[1]}://{text[half.end() :]}").replace("://", half[0][len(half[1]) :], 1)
        raise InputError(f"{meant}: neither a path nor an address; an address begins with {half[1]}://")
