"""fer-dist completion: one script that completes commands, subcommands, presets, flags and their choices in a shell."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fer_dist.config.flags import Arguments, Command, Flags, flags_taken, listing, parse, pick

SHELLS = {
    "bash": 'for bash: eval "$(fer-dist completion bash)" in ~/.bashrc, or the script in a file that is sourced there',
    "zsh": 'for zsh: eval "$(fer-dist completion zsh)" in ~/.zshrc, below compinit',
}
EVERYWHERE = ("--help", "--debug")

# In words that stand for commands, a path is the words before: " train demo". Where nothing fits, files are offered.
SCRIPT = """\
_fer_dist() {
    local number path="" words="" current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"
    COMPREPLY=()
    for ((number = 1; number < COMP_CWORD; number++)); do
        case "$path ${COMP_WORDS[number]}" in
            @PATHS@) path="$path ${COMP_WORDS[number]}" ;;
            *) break ;;
        esac
    done
    case "$path $before" in
@CHOICES@
        *)
            case "$before" in
                @SWITCHES@) ;;
                --*) [[ "$current" == -* ]] || return 0 ;;
            esac
            case "$path" in
@WORDS@
            esac ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _fer_dist fer-dist
"""
BEFORE = {"bash": "", "zsh": "autoload -U +X bashcompinit && bashcompinit\n"}


def completion(arguments: Arguments, commands: Mapping[str, Command]) -> None:
    """Write the script of a shell to standard output. commands: the whole table."""
    if not arguments or arguments[0] in ("--help", "-h"):
        sys.stdout.write("usage: fer-dist completion SHELL\n\n" + listing(SHELLS))
        return

    @dataclass(frozen=True)
    class Completion:
        """Write a script that completes the words of fer-dist in this shell."""

    shell = arguments[0]
    pick({name: Command(text, print) for name, text in SHELLS.items()}, shell, "shell")
    parse(Completion, arguments[1:], f"completion {shell}")
    sys.stdout.write(BEFORE[shell] + script(commands))


def script(commands: Mapping[str, Command]) -> str:
    """What completes these commands, made from the parsers of each."""
    below: dict[str, list[str]] = {"": [*commands, "--help", "--version"]}
    choices: dict[tuple[str, ...], list[str]] = {}
    switches = set(EVERYWHERE)
    words: dict[tuple[str, ...], list[str]] = {}
    for path, names, flags in _tree(commands):
        if names:
            below[path] = [*names, "--help"]
            continue
        words.setdefault((*flags.values, *flags.switches, *EVERYWHERE), []).append(path)
        switches |= set(flags.switches)
        for flag, known in flags.values.items():
            if known:
                choices.setdefault(known, []).append(f"{path} {flag}")
    paths = [*filter(None, below), *(path for same in words.values() for path in same)]
    for path, found in below.items():
        words.setdefault(tuple(found), []).append(path)
    cases = {"@CHOICES@": (8, choices), "@WORDS@": (16, words)}
    text = SCRIPT.replace("@PATHS@", _pattern(paths)).replace("@SWITCHES@", _pattern(sorted(switches)))
    for name, (indent, table) in cases.items():
        lines = [f'{" " * indent}{_pattern(same)}) words="{" ".join(found)}" ;;' for found, same in table.items()]
        text = text.replace(name, "\n".join(lines))
    return text


def _pattern(words: list[str]) -> str:
    return "|".join(f'"{word}"' for word in words)


def _tree(commands: Mapping[str, Command]) -> Iterator[tuple[str, tuple[str, ...], Flags]]:
    """Each line of words that is a command: as " train demo", what may stand behind it, and else its flags."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((name,), command) for name, command in commands.items()]
    while waiting:
        line, command = waiting.pop(0)
        inner = command.below() if isinstance(command, Command) else {}
        waiting += [((*line, name), one) for name, one in inner.items()]
        flags = Flags({}, ()) if inner else flags_taken(commands[line[0]].run, list(line[1:]))
        yield "".join(f" {word}" for word in line), tuple(inner), flags
