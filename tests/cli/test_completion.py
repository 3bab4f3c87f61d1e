"""The script for a shell, tried in bash itself, and held against the help of each command."""

import contextlib
import io
import re
import subprocess
from pathlib import Path

import pytest

from fer_dist.cli.commands import COMMANDS, main
from fer_dist.cli.completion import SHELLS, script
from fer_dist.config.flags import Command, flags_taken

ROW = r"^[│|]? {0,2}(?:-h, )?(--[a-z][\w.-]*(?:, --[a-z][\w.-]*)*)"
"""Of a help, with the frame of whatever encoding or none."""

TRY = """
source "$1"
while IFS= read -r line; do
    IFS=' ' read -r -a COMP_WORDS <<< "$line"
    # A blank at the end begins a new word.
    [[ "$line" == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _fer_dist
    echo "${COMPREPLY[*]}"
done
"""


@pytest.fixture(scope="module")
def completed(tmp_path_factory):
    """What bash makes of lines, each up to the cursor."""
    path = tmp_path_factory.mktemp("completion") / "script.sh"
    path.write_text(script(COMMANDS))

    def ask(*lines: str) -> list[list[str]]:
        given = "".join(f"{line}\n" for line in lines)
        ended = subprocess.run(["bash", "-c", TRY, "bash", str(path)], input=given, capture_output=True, text=True)
        assert (ended.returncode, ended.stderr) == (0, "")
        return [line.split() for line in ended.stdout.splitlines()]

    return ask


def leaves() -> list[list[str]]:
    """Every line of words that is a whole command, from the tables themselves."""
    waiting, found = [([name], command) for name, command in COMMANDS.items()], []
    while waiting:
        line, command = waiting.pop()
        inner = command.below() if isinstance(command, Command) else {}
        waiting += [([*line, name], one) for name, one in inner.items()]
        if not inner:
            found.append(line)
    return found


def test_bash_completes_commands_presets_flags_and_choices(completed):
    known = {
        "fer-dist tr": "train",
        "fer-dist train ": "demo paper strong --help",
        "fer-dist train demo --train.str": "--train.strategy",
        "fer-dist train demo --train.strategy ": "ddp deepspeed",
        "fer-dist train demo --train.epochs 3 --train.schedule co": "cosine constant",
        "fer-dist shards build fer": "fer2013 ferplus",
        "fer-dist shards build folder raw out --val": "--val-fraction",
        "fer-dist bench gp": "gpu",
        "fer-dist study ": "paper report --help",
        "fer-dist evaluate --no-": "--no-drop-extra --no-robustness --no-crops",
        "fer-dist evaluate --robustness --dev": "--device",
        "fer-dist completion z": "zsh",
    }
    assert dict(zip(known, map(" ".join, completed(*known)), strict=True)) == known


def test_where_a_value_is_free_files_are_left_to_the_shell(completed):
    assert completed("fer-dist train demo --data.train ", "fer-dist train demo --data.train sh") == [[], []]
    assert "complete -o default -F _fer_dist fer-dist" in script(COMMANDS)


def test_each_command_completes_the_flags_that_its_help_lists(completed, monkeypatch):
    # So narrow that no frame stands beside another.
    monkeypatch.setenv("COLUMNS", "80")
    lines = leaves()
    assert len(lines) > 35
    for line, words in zip(lines, completed(*(f"fer-dist {' '.join(line)} --" for line in lines)), strict=True):
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            assert main([*line, "--help"]) == 0
        # A text that begins with a flag is indented.
        rows = re.findall(ROW, said.getvalue(), flags=re.MULTILINE)
        assert set(words) == {flag for row in rows for flag in row.split(", ")} | {"--debug"}, line


def test_to_ask_for_flags_does_nothing_and_what_runs_next_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert flags_taken(COMMANDS["train"].run, ["demo"]).values["--train.strategy"] == ("ddp", "deepspeed")
    assert list(Path().iterdir()) == []
    assert main(["train", "demo"]) == 2
    assert "--data.train is missing" in capsys.readouterr().err


def test_a_shell_that_is_not_known_is_one_line(capsys):
    assert main(["completion", "bahs"]) == 2
    assert capsys.readouterr().err == "fer-dist: unknown shell 'bahs'; did you mean bash? There are: bash, zsh\n"
    for shell in SHELLS:
        assert main(["completion", shell]) == 0
        assert capsys.readouterr().out.endswith(script(COMMANDS))
