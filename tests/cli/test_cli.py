"""The command line itself, whatever the command: help without a wait, output that nobody reads, and how wide it is."""

import io
import json
import os
import re
import resource
import subprocess
import sys

import pytest
from support.faces import faces, shard_set
from support.runs import environment

from fer_dist.cli import commands
from fer_dist.cli.commands import main
from fer_dist.config.flags import Command, listing
from fer_dist.errors import InputError, counted
from fer_dist.progress import Message, Terminal, printable


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return shard_set(tmp_path_factory.mktemp("shards") / "train", [faces(4), faces(8)[4:]])


HELP = """
import contextlib, io, json, os, sys
from fer_dist.bench.commands import BENCHES
from fer_dist.cli.commands import COMMANDS, main
from fer_dist.data.sources.source import SOURCES
from fer_dist.config.presets import PRESETS
from fer_dist.cli.shards import SHARD_COMMANDS
from fer_dist.cli.study import STUDY_COMMANDS

below = {"shards": SHARD_COMMANDS, "bench": BENCHES, "study": STUDY_COMMANDS, "train": PRESETS, "shards build": SOURCES}
lines = [[], *([command] for command in COMMANDS)]
lines += [[*above.split(), name] for above, names in below.items() for name in names]
for line in lines:
    shown = []
    for width in ("80", "200"):
        os.environ["COLUMNS"] = width
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            assert main([*line, "--help"]) == 0, line
        shown.append(said.getvalue())
    found = set(sys.argv[1:]) & set(sys.modules)
    assert not found, (line, found)
    print(json.dumps([" ".join(line), *shown]))
"""
HEAVY = ["torch", "torchvision", "nvidia", "ray", "pyarrow", "matplotlib", "deepspeed", "scipy"]


@pytest.fixture(scope="module")
def helps():
    """Of each command: its help in 80 and in 200 columns, shown without importing anything heavy."""
    ended = subprocess.run([sys.executable, "-c", HELP, *HEAVY], capture_output=True, text=True, env=environment())
    assert ended.returncode == 0, ended.stderr
    return {command: shown for command, *shown in map(json.loads, ended.stdout.splitlines())}


def test_no_command_imports_anything_heavy_to_show_its_flags(helps):
    assert len(helps) > 30
    assert all("usage:" in text for shown in helps.values() for text in shown)


def test_help_fits_80_and_200_columns_and_breaks_no_word(helps):
    for command, (narrow, wide) in helps.items():
        assert max(map(len, narrow.splitlines())) <= 80, command
        assert max(map(len, wide.splitlines())) <= 200, command
        # Less the frames, which stand beside each other where there is room. A list may be broken at its commas.
        words = [sorted(word for word in re.split(r"[\s,]+", text) if word.strip("-|+")) for text in (narrow, wide)]
        assert words[0] == words[1], command


def test_help_calls_what_is_given_by_its_position_by_a_name_and_says_that_it_is_required(helps):
    for command, names in {
        "shards build csv": "RAW OUT",
        "shards index": "FOLDER",
        "shards verify": "PATH...",
        "shards audit": "PATH...",
        "bench loader": "SHARDS",
        "study report": "FOLDER",
        "predict": "RUN INPUT...",
    }.items():
        usage, _, rest = helps[command][1].partition("\n")
        assert [word for word in usage.split() if word in names.split()] == names.split(), command
        # The positional ones stand first.
        assert rest[: rest.index("--help")].count("(required)") == len(names.split()), command


@pytest.mark.parametrize(
    ("words", "unwanted", "seconds"),
    [
        ([], ["numpy", "tyro", "rich", "PIL"], 0.5),
        (["evaluate"], ["numpy", "rich"], 1.5),
        (["shards", "audit"], [], 1.5),
        (["predict"], ["numpy", "rich"], 1.5),
    ],
)
def test_help_is_there_without_a_wait(words, unwanted, seconds):
    code = (
        f"import sys; from fer_dist.cli.commands import main; code = main([*{words}, '--help']);"
        f"sys.exit(code or (set({unwanted + HEAVY}) & set(sys.modules)) or 0)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "usage:" in ended.stdout
    # The promise holds on a quiet machine; processor time of a busy one gets four times that before this fails.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 4 * seconds


def unread(*words: str) -> subprocess.CompletedProcess[str]:
    """A process whose standard output is a pipe that nobody reads any more."""
    read, write = os.pipe()
    os.close(read)
    try:
        return subprocess.run(
            [sys.executable, *words], stdout=write, stderr=subprocess.PIPE, text=True, env=environment(), timeout=240
        )
    finally:
        os.close(write)


@pytest.mark.parametrize("words", [["--help"], ["shards", "index", "--help"], ["shards", "describe", "SHARDS"]])
def test_output_that_nobody_reads_ends_a_command_with_code_0_and_without_a_trace(shards, words):
    ended = unread("-m", "fer_dist.cli", *(str(shards) if word == "SHARDS" else word for word in words))
    assert (ended.returncode, "Error" in ended.stderr, "Exception" in ended.stderr) == (0, False, False), ended.stderr


def test_the_work_goes_on_where_nobody_reads_and_a_broken_pipe_of_its_own_is_an_error(tmp_path):
    code = (
        "import sys; from fer_dist.progress import Terminal, guard_output; guard_output();"
        "print('x' * 1_000_000); Terminal().table(['a'], [['b']]); sys.stdout.flush(); open(sys.argv[1], 'w');"
        "from fer_dist.cli import commands as cli; cli.COMMANDS['x'] = cli.Command('', lambda words: (_ for _ in ())"
        ".throw(BrokenPipeError(32, 'the store hung up'))); sys.exit(cli.main(['x']))"
    )
    ended = unread("-c", code, str(tmp_path / "done"))
    assert (tmp_path / "done").exists()
    assert (ended.returncode, ended.stderr) == (1, "fer-dist: [Errno 32] the store hung up\n")


def test_standard_output_that_is_closed_or_on_a_full_disk_is_no_trace():
    line = f"{sys.executable} -m fer_dist.cli --help"
    for redirected, code, said in (
        (">&-", 0, ""),
        (">/dev/full", 1, "standard output: the disk is full (No space left"),
    ):
        ended = subprocess.run(
            ["bash", "-c", f"{line} {redirected}"], capture_output=True, text=True, env=environment()
        )
        assert ended.returncode == code, ended.stderr
        assert said in ended.stderr
        assert len(ended.stderr.splitlines()) == code


HEADER = ["model", "data", "images", "accuracy %", "95 %", "balanced accuracy %"]
ROW = ["runs/a [bold]name[/bold] of more words", "rafdb-test", "3,068", "86.13", "84.11 to 88.77", "77.12"]


def table(capsys, monkeypatch, width: str, header=HEADER, row=ROW, text_columns: int = 2) -> str:
    monkeypatch.setenv("COLUMNS", width)
    Terminal().table(header, [row], text_columns)
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 200])
def test_a_table_fits_the_width_and_cuts_no_number(capsys, monkeypatch, width):
    text = table(capsys, monkeypatch, str(width))
    assert max(map(len, text.splitlines())) <= width
    for number in ROW[2:]:
        assert number in text or width < len(number) + 10
    words = "".join(text.replace("│", " ").split())
    for word in (*ROW[0].split(), *" ".join(HEADER).split()):
        assert word in words


@pytest.mark.parametrize("width", ["", "0", "wide"])
def test_without_a_terminal_a_table_is_at_most_120_wide(capsys, monkeypatch, width):
    text = table(capsys, monkeypatch, width, ["state", "found"], ["ok", "word " * 100 + "/a/long/path" * 30])
    assert max(map(len, text.splitlines())) == 120
    assert text.count("word") == 100


def test_headings_wrap_only_where_they_must(capsys, monkeypatch):
    assert "balanced accuracy %" in table(capsys, monkeypatch, "200")
    assert "balanced accuracy %" not in table(capsys, monkeypatch, "85")
    # Where not even the numbers fit beside each other, each has a line of its own.
    assert "balanced accuracy %: 77.12" in table(capsys, monkeypatch, "40")


def test_words_are_cut_only_where_a_table_would_not_fit_and_else_get_the_room_that_is_left(capsys, monkeypatch):
    header, row = ["name", "what", "n"], ["of_eighteen_letters", "some words that wrap", "1,234"]
    assert "of_eighteen_letters" in table(capsys, monkeypatch, "42", header, row)
    assert "some words that wrap" in table(capsys, monkeypatch, "54", header, row)
    narrow = table(capsys, monkeypatch, "36", header, row)
    assert "of_eighteen_letters" not in narrow
    assert "1,234" in narrow


WRONG = {
    "shards verify": "PATH... is missing; see --help",
    "shards describe": "PATH... is missing; see --help",
    "shards index": "FOLDER is missing; see --help",
    "shards build csv": "RAW is missing; see --help",
    "bench loader": "SHARDS is missing; see --help",
    "study report": "FOLDER is missing; see --help",
    "evaluate --models --data x": "--models is missing; see --help",
    "evaluate --models x --data": "--data is missing; see --help",
    "evaluate --models x --data y --json": "--json wants a value; see --help",
    "evaluate --models x --data y --device tpu": (
        "invalid choice 'tpu' for argument '--device'. Expected one of ('auto', 'cpu', 'cuda')."
    ),
    "shards index x y": "y: one word too many; see --help",
    "shards index x --emotion y": "unknown flag --emotion; did you mean --emotions?",
    "shards index x --zzz": "unknown flag --zzz; see --help",
    "train demo --train.epochs x": "Error parsing --train.epochs: 'x' is no whole number",
    "train demo --train.lr x": "Error parsing --train.lr: 'x' is no number",
}


@pytest.mark.parametrize("width", ["24", "200"])
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_wrong_line_is_one_line_that_says_what_is_wrong_in_any_encoding_and_width(
    capsys, monkeypatch, encoding, width
):
    monkeypatch.setenv("COLUMNS", width)
    # tyro draws its frames by the encoding of standard output.
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    for line, message in WRONG.items():
        assert main(line.split()) == 2
        said = capsys.readouterr().err
        assert said.endswith(f": {message}\n"), line
        assert len(said.splitlines()) == 1


STEERING = "\x1b]0;owned\x07\x1b[31mx\x9b2J\r\n\x08\u202egpj\u2069\udce9"
"""Names the window, colours, clears and overwrites; turns the direction; a byte that is no UTF-8."""

SHOWN = r"\x1b]0;owned\x07\x1b[31mx\x9b2J\r\n\x08\u202egpj\u2069\udce9"
NAMES = "Gesichter-Ärger 怒り гнев غضب 🙂 👩‍🔬"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_nothing_that_a_name_holds_steers_the_terminal_and_names_in_any_script_are_shown(
    capsys, monkeypatch, is_terminal
):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("fer_dist.progress.SECONDS_BETWEEN_LINES", -1)
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: is_terminal)
    terminal = Terminal(stream)
    terminal.say(f"{STEERING} {NAMES}")
    terminal(Message(f"{STEERING} {NAMES}", 1, 2))
    terminal.close()
    said = stream.getvalue()
    assert said.count(f"{SHOWN} {NAMES}") >= 2
    assert not any(part in said for part in ("\x1b]", "\x1b[31m", "\x07", "\x9b", "\u202e", "\udce9"))
    terminal.table([STEERING, NAMES], [[NAMES, STEERING]])
    said = capsys.readouterr().out
    assert (said.count(SHOWN), said.count(NAMES)) == (2, 2)
    assert printable(said.replace("\n", "")) == said.replace("\n", "")


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_nothing_that_an_error_tells_steers_the_terminal(capsys, monkeypatch, debug):
    def fail(arguments: list[str]) -> None:
        raise InputError(f"{STEERING} {NAMES}: not a set")

    monkeypatch.setitem(commands.COMMANDS, "x", Command("", fail))
    assert main(["x", *debug]) == 2
    lines = capsys.readouterr().err.split("\n")
    assert lines[-2:] == [f"fer-dist: {SHOWN} {NAMES}: not a set", ""]
    assert (len(lines) > 2) == bool(debug)
    assert all(printable(line) == line for line in lines)


@pytest.mark.parametrize("word", ["x" * 100_000, "\x1b" * 100_000])
def test_an_error_that_quotes_a_word_of_any_length_stays_short_and_keeps_its_remedy(capsys, monkeypatch, word):
    def fail(arguments):
        raise InputError(f"plan.yaml:3: no dataset {word}; name one of the plan's")

    monkeypatch.setitem(commands.COMMANDS, "fail", Command("fails", fail))
    assert main(["fail"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("fer-dist: plan.yaml:3: no dataset ")
    assert told.endswith("; name one of the plan's\n")
    assert len(told) < 2000


def test_a_number_and_its_noun_agree():
    assert [counted(number, "image") for number in (0, 1, 2, 1000)] == [
        "0 images",
        "1 image",
        "2 images",
        "1,000 images",
    ]


def test_the_list_of_commands_fits_the_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = listing({"build": Command("SOURCE RAW OUT: turn a release into shards, and more of it", print)})
    assert max(map(len, text.splitlines())) <= 40
    assert " ".join(text.split()) == "build SOURCE RAW OUT: turn a release into shards, and more of it"
