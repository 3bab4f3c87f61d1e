"""What others may have written: kinds of files, names, records."""

import json
import os
import re
import socket
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import pytest

from fer_dist.errors import InputError
from fer_dist.storage.untrusted import (
    Count,
    Number,
    Value,
    file_name,
    inside,
    lines_of,
    open_regular,
    open_table,
    read_regular,
    record,
    without_halves,
)


@dataclass(frozen=True)
class Held:
    step: Count
    names: tuple[str, ...] = ()
    score: Number | None = None


def test_only_a_regular_file_of_a_sensible_length_is_read(tmp_path: Path):
    whole = tmp_path / "whole"
    whole.write_bytes(b"content")
    assert read_regular(whole, 7) == b"content"
    (tmp_path / "link").symlink_to(whole)
    assert read_regular(tmp_path / "link", 7) == b"content"
    with pytest.raises(OSError, match="7 bytes, where at most 6 make sense"):
        read_regular(whole, 6)
    os.truncate(whole, 20 << 30)
    with pytest.raises(OSError, match="21,474,836,480 bytes"):
        read_regular(whole, 1 << 20)


def test_a_small_file_takes_little_memory_however_long_it_may_be(tmp_path: Path):
    whole = tmp_path / "whole"
    whole.write_bytes(b"content")
    tracemalloc.start()
    try:
        assert read_regular(whole, 1 << 32) == b"content"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_pipe_a_socket_a_device_and_a_folder_are_told_apart_and_never_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name, words in {"pipe": "a pipe", "device": "a device", "folder": "a folder"}.items():
        with pytest.raises(OSError, match=f"{words}, where a file is needed"):
            open_regular(tmp_path / name, 100)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="No such device or address"):
            open_regular(tmp_path / "socket", 100)


def test_the_lines_of_a_table_are_those_that_the_file_gives_itself(tmp_path: Path):
    table = tmp_path / "table.csv"
    table.write_bytes('\ufeffä,1\r\n\r\nb,"2\n3"\nlast'.encode())
    with (
        table.open(encoding="utf-8-sig", newline="") as expected,
        open_table(table, "utf-8-sig", "strict", "") as found,
    ):
        assert list(lines_of(found)) == list(expected)
    with table.open("rb") as expected, open_regular(table) as found:
        assert list(lines_of(found)) == list(expected)


@pytest.mark.parametrize("start", [b"", b"a,b\n"])
def test_a_line_without_an_end_is_not_read_to_its_end(tmp_path: Path, start: bytes):
    table = tmp_path / "table.csv"
    table.write_bytes(start)
    os.truncate(table, 20 << 30)
    said = re.escape(f"{table}: a line of more than 1,048,576 letters, so no table; give ")
    with open_table(table, "utf-8", "replace") as stream, pytest.raises(InputError, match=said):
        list(lines_of(stream))
    with open_regular(table) as stream, pytest.raises(InputError, match=said):
        list(lines_of(stream))


@pytest.mark.parametrize("name", ["a", "a/b.tar", "..a", "a..b/c", "…"])
def test_a_name_below_its_folder_becomes_a_path(tmp_path: Path, name: str):
    assert inside(tmp_path, name, "list.json") == tmp_path / name


@pytest.mark.parametrize("name", ["", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/", "a\0b", "x" * 256])
def test_a_name_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str):
    with pytest.raises(InputError, match=r"list\.json: names .* which is no file below .*; do not trust it"):
        inside(tmp_path, name, "list.json")


@pytest.mark.parametrize("name", ["a", "..a", "a b…", "-", "ü" * 110])
def test_a_name_that_a_file_can_have_is_taken_as_it_is(name: str):
    assert file_name(name, "list.json") == name


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/x", "a/b", "a\0b", "x" * 221, "\ud800" * 100])
def test_a_name_that_no_file_can_have_is_refused(name: str):
    with pytest.raises(InputError, match=r"list\.json: the name .* cannot be a file's; give one without slashes"):
        file_name(name, "list.json")


def test_halves_of_surrogate_pairs_are_replaced_and_nothing_else():
    text = "a \ud800 \udfff\ud83d\ude00\ud800\ud83d\ude00 \\ud800 \\\ud800 ü \0"
    expected = "a \ufffd \ufffd\U0001f600\ufffd\U0001f600 \\ud800 \\\ufffd ü \0"
    assert json.loads(without_halves(json.dumps(text).encode())) == expected
    assert without_halves("\U0001f600".encode()) == "\U0001f600".encode()


@pytest.mark.parametrize("text", ['{"a": NaN}', '[[{"b": -Infinity}]]', "1e999"])
def test_what_json_cannot_say_is_no_value(text: str):
    assert record(Value, '{"a": [1, 0.5, null, "x"]}', "s.json") == {"a": [1, 0.5, None, "x"]}
    with pytest.raises(InputError, match=r"^s\.json: NaN or an infinity in it; write it anew$"):
        record(Value, text, "s.json", "write it anew")


def test_a_record_is_what_the_file_holds():
    text = '[{"step": 3, "names": ["a", "b"], "score": 1, "more": null}]'
    assert record(list[Held], text, "list.json") == [Held(3, ("a", "b"), 1.0)]
    with pytest.raises(InputError, match=r"^list\.json: 0\.more: not known to this version; use a newer one$"):
        record(list[Held], text, "list.json", "use a newer one", only_known=True)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"step": "3"}', "step: Input should be a valid integer"),
        ('{"step": true}', "step: Input should be a valid integer"),
        ('{"step": -1}', "step: Input should be greater than or equal to 0"),
        (f'{{"step": {10**30}}}', "step: Input should be less than"),
        (f'{{"step": {"1" * 5000}}}', "Invalid JSON: number out of range"),
        ('{"step": 1, "score": NaN}', "score: Input should be less than inf"),
        ('{"step": 1, "score": 1e999}', "score: Input should be less than inf"),
        ('{"step": 1, "names": ["\\ud800"]}', "Invalid JSON: unexpected end of hex escape"),
        ('{"step": 1, "names": [null]}', "names.0: Input should be a valid string"),
        ("[" * 100_000, "Invalid JSON: recursion limit exceeded"),
        ("[]", "Input should be a dictionary or an instance of Held|Input should be an object"),
        ("{}", "step: Field required"),
        ("", "Invalid JSON: EOF"),
    ],
)
def test_a_record_of_another_kind_is_one_line_that_names_file_and_field(text: str, complaint: str):
    with pytest.raises(InputError, match=rf"^list\.json: ({complaint}).*; write it anew$"):
        record(Held, text, "list.json", "write it anew")
