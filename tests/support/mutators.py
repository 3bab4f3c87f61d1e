"""Structures with something wrong in them: JSON, YAML, tables of text, safetensors, parquet, zip archives, any bytes.

Each mutator takes a whole file's bytes and gives others. What it draws depends on its generator alone.
"""

import io
import json
import math
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import pyarrow
import pyarrow.parquet
import yaml
from numpy.random import Generator

CLIMBING = (
    "../../escaped",
    "/tmp/escaped-of-fer-dist",
    "..",
    ".",
    "",
    "a/../../../escaped",
    "~/escaped",
    "a\0b",
    "x" * 300,
)
"""Names that lead elsewhere, or that no file can have."""

TEXTS = (
    *CLIMBING, "x" * 100_000, "\ud800", "\udcff and \ud83d\ude00", "\x1b[31mred\x1b]0;title\7", "a\r\nb\n\nc", "=1+1",
    "%s{0}", "NaN", "1e999", "3", "true", "null", " ", "\u202e\u2028", "__class__", "happiness", "train",
)  # fmt: skip

NUMBERS = (0, -1, 1, 3, 2**31, 2**63 - 1, 2**63, -(2**63), 10**30, 10**400, 0.5, -0.0, 1e308, 5e-324)

NO_NUMBERS = (math.nan, math.inf, -math.inf)


def nested(depth: int, in_objects: bool = False) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value} if in_objects else [value]
    return value


def odd(rng: Generator) -> Any:
    """A value of any type, which is most likely not the one that is expected."""
    others = (None, True, False, [], {}, [None], [[1, 2], [3]], {"": 0}, {"a": {"b": None}}, [1, "a", None, {}])
    match rng.integers(7):
        case 0 | 1:
            return others[rng.integers(len(others))]
        case 2 | 3:
            return TEXTS[rng.integers(len(TEXTS))]
        case 4:
            return NUMBERS[rng.integers(len(NUMBERS))]
        case 5:
            return NO_NUMBERS[rng.integers(3)]
        case _:
            return nested(int(rng.choice([3, 90, 400])), bool(rng.integers(2)))


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (object or list, key) in what a JSON file holds."""
    found, waiting = [], [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, dict | list):
            for key in list(inner) if isinstance(inner, dict) else range(len(inner)):
                found.append((inner, key))
                waiting.append(inner[key])
    return found


def altered(rng: Generator, value: Any) -> Any:
    """What a JSON file holds, with one to three things wrong; may change `value` itself."""
    for _ in range(rng.integers(1, 4)):
        known = places(value)
        if not known or rng.random() < 0.02:
            return odd(rng)
        holder, key = known[rng.integers(len(known))]
        other, other_key = known[rng.integers(len(known))]
        match rng.integers(9):
            case 0 | 1 | 2:
                holder[key] = odd(rng)
            case 3:
                del holder[key]
            case 4:
                more = TEXTS[rng.integers(len(TEXTS))]
                if isinstance(holder, dict):
                    holder[more] = odd(rng)
                else:
                    holder.insert(key, odd(rng))
            case 5:
                if isinstance(holder, dict):
                    holder[TEXTS[rng.integers(len(TEXTS))]] = holder.pop(key)
                else:
                    holder.extend(holder[: int(rng.integers(3000))])
            case 6:
                # As text, so that nothing comes to hold itself.
                one, two = json.dumps(holder[key]), json.dumps(other[other_key])
                holder[key] = json.loads(two)
                if not isinstance(other, list) or other_key < len(other):
                    other[other_key] = json.loads(one)
            case 7:
                holder[key] = [holder[key]] * int(rng.integers(1, 4)) if rng.random() < 0.5 else {"0": holder[key]}
            case 8:
                holder[key] = _near(rng, holder[key])
    return value


def _near(rng: Generator, value: Any) -> Any:
    """Another value of the same type, or the same one as another type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return (-value, value + 1, value * 10**9, float(value), str(value))[rng.integers(5)]
    if isinstance(value, str):
        return (value.upper(), value + value, value[:-1], value + "\0", "../" + value, value.encode().hex())[
            rng.integers(6)
        ]
    return str(value)[:1000]


def mutated_json(rng: Generator, content: bytes) -> bytes:
    """As a structure, as text that JSON's readers disagree about, or as bytes."""
    kind = rng.random()
    if kind < 0.65:
        return json.dumps(altered(rng, json.loads(content)), ensure_ascii=bool(rng.random() < 0.8)).encode(
            "utf-8", "surrogatepass"
        )
    return mutated_json_text(rng, content) if kind < 0.82 else mutated_bytes(rng, content)


def mutated_json_text(rng: Generator, content: bytes) -> bytes:
    text = content.decode()
    numbers = list(re.finditer(r"(?<=[\s:\[,])-?\d[\d.e+-]*", text))
    pairs = list(re.finditer(r'"[^"\\]*"\s*:\s*("[^"\\]*"|-?[\d.]+|true|false|null)', text))
    match rng.integers(7):
        case 0 if numbers:
            found = numbers[rng.integers(len(numbers))]
            tokens = ("9" * 5000, "1e400", "NaN", "-Infinity", "00", "0x10", "1_0", "+1", "1.", "١")
            text = text[: found.start()] + tokens[rng.integers(len(tokens))] + text[found.end() :]
        case 1 if pairs:
            # The same key twice: the last one counts to Python.
            found = pairs[rng.integers(len(pairs))]
            name = found[0].partition(":")[0]
            text = text[: found.end()] + f", {name}: {json.dumps(odd(rng))}" + text[found.end() :]
        case 2:
            at = int(rng.integers(len(text)))
            text = text[:at] + ("[" * 100_000, '{"a":' * 100_000)[rng.integers(2)] + text[at:]
        case 3:
            text = text.replace('"', "'", int(rng.integers(1, 9)))
        case 4:
            at = int(rng.integers(len(text)))
            text = (
                text[:at]
                + ("\\ud800", "\0", "\x1b[2J", "\n// more\n", "\ufeff", ",,", "\\u0000")[rng.integers(7)]
                + text[at:]
            )
        case 5:
            text = ("", "null", "[]", "{}", '""', "0", "true", "\ufeff" + text, text + text, "[" + text + "]")[
                rng.integers(10)
            ]
        case _:
            return text.encode(("utf-16", "utf-32", "latin-1")[rng.integers(3)], "replace")
    return text.encode("utf-8", "surrogatepass")


def mutated_bytes(rng: Generator, content: bytes, other: bytes = b"") -> bytes:
    """Flipped, cut, doubled, inserted, zeroed, or spliced with another file."""
    found = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(found) + 1))
        until = at + int(rng.integers(1, max(len(found) // 4, 2)))
        match rng.integers(8):
            case 0 | 1:
                if at < len(found):
                    found[at] ^= 1 << int(rng.integers(8))
            case 2:
                del found[at:until]
            case 3:
                found[at:at] = found[at:until]
            case 4:
                found[at:at] = rng.bytes(int(rng.integers(1, 40)))
            case 5:
                found[at:until] = bytes(len(found[at:until]))
            case 6:
                del found[at:]
            case 7:
                tail = other or content
                found[at:] = tail[int(rng.integers(len(tail) + 1)) :]
    return bytes(found)


def mutated_lines(rng: Generator, content: bytes) -> bytes:
    """A file of one JSON object a line."""
    lines = content.splitlines(keepends=True)
    at = int(rng.integers(len(lines)))
    match rng.integers(6):
        case 0 | 1 | 2:
            lines[at] = mutated_json(rng, lines[at]).replace(b"\n", b" ") + b"\n"
        case 3:
            lines[at] = (b"\n", b"\0\n", b"\r", lines[at] * 3)[rng.integers(4)]
        case 4:
            lines[at] = lines[at].rstrip(b"\n") + lines[at]
        case 5:
            return mutated_bytes(rng, content)
    return b"".join(lines)


def mutated_yaml(rng: Generator, content: bytes) -> bytes:
    kind = rng.random()
    if kind < 0.6:
        value = altered(rng, yaml.safe_load(content))
        try:
            return yaml.safe_dump(value, sort_keys=False, allow_unicode=bool(rng.integers(2))).encode(
                "utf-8", "surrogatepass"
            )
        except (yaml.YAMLError, RecursionError):
            return json.dumps(value).encode()
    if kind < 0.85:
        text = content.decode()
        values = list(re.finditer(r"(?<=: )[^\n{}\[\],#]+", text))
        found = values[rng.integers(len(values))]
        more = (
            "!!python/object/apply:os.system ['touch /tmp/escaped-of-fer-dist']", "!!binary |\n  AAAA", "&a [*a]", "@",
            "*nothing", "!!set {a, b}", "{? [a, b] : c}", "<<: *x", "|\n  a\n b", "\t- a", "!<tag:yaml.org,2002:null>",
            "2001-01-01", "[" * 3000, "{" * 3000, "%", "? ", "- -", "'", '"\\ud800"', '"\\x00"', "0o17", "1:30:00",
            ".nan", "~", "9" * 5000, "&a {<<: *a}", "!!int 'x'", "!!float []", "!!timestamp 9999-99-99", "---\nb: 1",
        )  # fmt: skip
        return (text[: found.start()] + more[rng.integers(len(more))] + text[found.end() :]).encode(
            "utf-8", "surrogatepass"
        )
    return mutated_bytes(rng, content)


def mutated_table(rng: Generator, content: bytes, delimiter: str = ",") -> bytes:
    """A file of text with a row a line: cells, rows, columns, encodings, or bytes."""
    if rng.random() < 0.2:
        return mutated_bytes(rng, content)
    rows = [line.split(delimiter) for line in content.decode("utf-8", "surrogateescape").splitlines()]
    for _ in range(rng.integers(1, 4)):
        row = rows[0 if rng.random() < 0.3 else rng.integers(len(rows))]
        at = int(rng.integers(len(row)))
        match rng.integers(9):
            case 0 | 1 | 2:
                cells = (*TEXTS, '"', '"open', "'", "\0", "-1", "9" * 400, "1e5", ",", ";;", "\u0661", "nan")
                row[at] = cells[rng.integers(len(cells))]
            case 3:
                del row[at]
                row = row or [""]
            case 4:
                row.insert(at, row[at] * int(rng.integers(1, 3)))
            case 5:
                for one in rows:
                    if at < len(one) > 1:
                        del one[at]
            case 6:
                row[at:] = row[at:] * int(rng.choice([2, 3000]))
            case 7:
                other = rows[rng.integers(len(rows))]
                row[at], other[at % max(len(other), 1)] = other[at % max(len(other), 1)], row[at]
            case 8:
                rows.insert(int(rng.integers(len(rows))), list(row))
        if not all(rows):
            rows = [one or [""] for one in rows]
    text = ("\n", "\r\n", "\r", "\n\n")[rng.choice(4, p=(0.7, 0.1, 0.1, 0.1))].join(map(delimiter.join, rows))
    if rng.random() < 0.1:
        return text.encode(("utf-16", "utf-8-sig")[rng.integers(2)], "replace")
    return text.encode("utf-8", "surrogatepass" if any("\ud800" <= c < "\udc80" for c in text) else "surrogateescape")


def mutated_safetensors(rng: Generator, content: bytes) -> bytes:
    """Its header as a structure, the JSON in its metadata, its length, or bytes."""
    kind = rng.random()
    if kind > 0.8:
        return mutated_bytes(rng, content)
    (length,) = struct.unpack("<Q", content[:8])
    header, tensors = content[8 : 8 + length], content[8 + length :]
    parsed = json.loads(header)
    if kind < 0.35 and "network" in parsed.get("__metadata__", {}):
        parsed["__metadata__"]["network"] = mutated_json(rng, parsed["__metadata__"]["network"].encode()).decode(
            "utf-8", "replace"
        )
        header = json.dumps(parsed).encode()
    elif kind < 0.5:
        names = [name for name in parsed if name != "__metadata__"]
        one, two = (names[number] for number in rng.integers(len(names), size=2))
        match rng.integers(5):
            case 0:
                parsed[one], parsed[two] = parsed[two], parsed[one]
            case 1:
                del parsed[one]
                tensors = tensors if rng.random() < 0.5 else tensors[:-4]
            case 2:
                parsed[one]["dtype"] = ("F64", "I64", "BF16", "BOOL", "F8_E4M3", "C64", "X", "U8")[rng.integers(8)]
            case 3:
                parsed[one]["shape"] = [
                    [],
                    [0],
                    [1, *parsed[one]["shape"]],
                    [2**40, 2**40],
                    [-1],
                    parsed[one]["shape"][::-1],
                ][rng.integers(6)]
            case 4:
                parsed[f"{one}.more"] = parsed.pop(one)
        header = json.dumps(parsed).encode()
    elif kind < 0.55:
        tensors = (b"\x00\x00\xc0\x7f" * (len(tensors) // 4 + 1))[: len(tensors)]
    else:
        header = mutated_json(rng, header)
    said = len(header) if rng.random() < 0.9 else int(rng.choice([0, 1, 2**40, 2**62, len(content)]))
    return struct.pack("<Q", said) + header + tensors


def mutated_parquet(rng: Generator, content: bytes) -> bytes:
    """Its metadata, its columns, or bytes."""
    if rng.random() < 0.3:
        return mutated_bytes(rng, content)
    table = pyarrow.parquet.read_table(io.BytesIO(content))
    metadata = dict(table.schema.metadata)
    if rng.random() < 0.5:
        name = (b"emotions", b"masked")[rng.integers(2)]
        match rng.integers(4):
            case 0:
                del metadata[name]
            case 1:
                metadata[b"emotions"], metadata[b"masked"] = metadata[b"masked"], metadata[b"emotions"]
            case _:
                metadata[name] = mutated_json(rng, metadata[name])
    else:
        table = _other_columns(rng, table)
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), sink)
    return sink.getvalue()


def _other_columns(rng: Generator, table: pyarrow.Table) -> pyarrow.Table:
    at, rows = int(rng.integers(table.num_columns)), table.num_rows
    name = table.column_names[at]
    texts = [text.encode("utf-8", "replace").decode() for text in TEXTS]
    columns: tuple[Callable[[], Any], ...] = (
        lambda: pyarrow.nulls(rows),
        lambda: pyarrow.array([texts[number % len(texts)] for number in range(rows)]),
        lambda: pyarrow.array([2**62 + number for number in range(rows)]),
        lambda: pyarrow.array([None if number % 2 else math.nan for number in range(rows)]),
        lambda: pyarrow.array([math.inf, -math.inf, -1.0, 1e308][rng.integers(4)] for _ in range(rows)),
        lambda: pyarrow.array([[number, None] for number in range(rows)]),
        lambda: pyarrow.array([{"a": number} for number in range(rows)]),
        lambda: pyarrow.array([b"\xff\xfe"] * rows),
        lambda: pyarrow.array([bool(number % 2) for number in range(rows)]),
        lambda: pyarrow.array(list(range(rows)), pyarrow.timestamp("ns")),
        lambda: pyarrow.array(["x"] * rows).dictionary_encode(),
        lambda: pyarrow.array(list(range(rows)), pyarrow.decimal128(38, 10)),
        lambda: pyarrow.array([0.1] * rows, pyarrow.float16()),
    )
    match rng.integers(6):
        case 0:
            return table.drop_columns([name])
        case 1:
            names = list(table.column_names)
            names[at] = (*texts, table.column_names[0], "p_", "a_", "a_../../x")[rng.integers(len(texts) + 4)]
            return table.rename_columns(names)
        case 2:
            return table.append_column(
                ("a_more", "a_", "a_\x1b[1m", "p_rage", "key")[rng.integers(5)], columns[rng.integers(13)]()
            )
        case 3:
            return (table.slice(0, 0), table.slice(0, 1), pyarrow.concat_tables([table, table]))[rng.integers(3)]
        case _:
            return table.set_column(at, name, columns[rng.integers(13)]())


def mutated_zip(rng: Generator, content: bytes) -> bytes:
    """An archive of texts, as an .xlsx: one of them, its name, or bytes."""
    if rng.random() < 0.3:
        return mutated_bytes(rng, content)
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as other:
        chosen = int(rng.integers(len(archive.namelist())))
        for number, name in enumerate(archive.namelist()):
            inner = archive.read(name)
            if number == chosen:
                match rng.integers(5):
                    case 0:
                        continue
                    case 1:
                        inner = bytes(50_000_000)
                    case 2:
                        inner = inner.replace(b'r="', b'r="XFD104857', 1)
                    case _:
                        inner = mutated_bytes(rng, inner)
            other.writestr(name, inner)
    return sink.getvalue()
