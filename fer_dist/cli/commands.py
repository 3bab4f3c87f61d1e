"""The table of commands. Nothing heavy is imported before a command is chosen."""

import sys
import traceback
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated

from fer_dist import __version__
from fer_dist.bench.commands import BENCHES, bench
from fer_dist.cli.cite import cite_command
from fer_dist.cli.completion import SHELLS, completion
from fer_dist.cli.evaluate import evaluate_command
from fer_dist.cli.explain import explain_command
from fer_dist.cli.export import export_command
from fer_dist.cli.predict import predict_command
from fer_dist.cli.runs import runs_command
from fer_dist.cli.shards import SHARD_COMMANDS, shards
from fer_dist.cli.study import STUDY_COMMANDS, study_command
from fer_dist.cli.train import presets, train_command
from fer_dist.config.flags import Arguments, Command, flat, in_own_words, listing, parse, pick
from fer_dist.errors import InputError, WorkError
from fer_dist.progress import Terminal, guard_output, printable
from fer_dist.storage.paths import Output, without_secrets
from fer_dist.storage.writing import is_full

MOST_LETTERS, END_LETTERS = 1500, 300
"""Of a message that a user sees, and of its end where it is longer."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0 done, 1 the work failed, 2 the input was wrong."""
    guard_output()
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        if not arguments or arguments[0] in ("--help", "-h", "help"):
            sys.stdout.write(_overview())
            return 0 if arguments else 2
        if arguments[0] == "--version":
            sys.stdout.write(f"fer-dist {__version__}\n")
            return 0
        pick(COMMANDS, arguments[0], "command").run(arguments[1:])
        # A full disk behind it is found here, not at the interpreter's exit.
        sys.stdout.flush()
        return 0
    except (InputError, WorkError, OSError, KeyboardInterrupt) as error:
        if debug:
            sys.stderr.writelines(f"{printable(line)}\n" for line in traceback.format_exc().splitlines())
        return _report(error)


def _demo(arguments: Arguments) -> None:
    from fer_dist.study.demo import DemoConfig, demo

    with closing(Terminal()) as terminal:
        demo(parse(DemoConfig, arguments, "demo"), terminal)


def _doctor(arguments: Arguments) -> None:
    from fer_dist.doctor.finding import Asked, addressed

    @dataclass(frozen=True)
    class Doctor:
        """Look at what this machine has and what is missing, say the remedy, and at last whether it is ready.

        Exit code 0: ready, also with warnings; 1: there is a fault. What could not be looked at, and extras that only
        some commands need, count for neither.
        """

        asked: Annotated[Asked, flat()]

        json: Output = ""
        """File for the findings as JSON as well."""

    flags = parse(Doctor, arguments, "doctor")
    # Before torch is imported.
    asked = addressed(flags.asked)
    from fer_dist.doctor.doctor import doctor

    doctor(asked, Terminal(), flags.json)


COMMANDS: dict[str, Command] = {
    "shards": Command(
        "build, index, describe, audit, verify: from labelled faces to WebDataset shards",
        shards,
        lambda: SHARD_COMMANDS,
    ),
    "train": Command("PRESET: train a network; the same as python -m fer_dist.train", train_command, presets),
    "evaluate": Command("score every model on every set", evaluate_command),
    "explain": Command("where a network looks: feature maps, gates, regions, beside their controls", explain_command),
    "export": Command("RUN: write it as an ONNX or .pt2 file that agrees with it", export_command),
    "cite": Command("RUN: a paragraph of methods and a BibTeX entry, from its files", cite_command),
    "runs": Command("ROOT: list the runs there, also in a store: how far each came, what it scored", runs_command),
    "predict": Command("which emotion a network sees in the faces of images, folders and video", predict_command),
    "study": Command(
        "PLAN: train, evaluate across datasets, transfer, report; paper is the published one",
        study_command,
        lambda: STUDY_COMMANDS,
    ),
    "bench": Command("shards, loader, order, audit ...: measure side by side in one run", bench, lambda: BENCHES),
    "doctor": Command("what this machine, or each node of a cluster, has and what is missing", _doctor),
    "demo": Command("a study in small, on faces that it draws itself", _demo),
    "completion": Command(
        "bash, zsh: a script by which the shell completes all of this",
        lambda arguments: completion(arguments, COMMANDS),
        lambda: SHELLS,
    ),
}


def _overview() -> str:
    head = "usage: fer-dist COMMAND ...\n\nDistributed training for facial emotion recognition.\n\n"
    return head + listing(COMMANDS) + "\nfer-dist COMMAND --help says more. --debug shows the traceback of an error.\n"


def _report(error: BaseException) -> int:
    """One line on standard error, and the exit code."""
    if isinstance(error, KeyboardInterrupt):
        text, code = "interrupted", 1
    elif isinstance(error, InputError):
        text, code = str(error), 2
    elif is_full(error):
        name = error.filename or "a file"
        text, code = f"{name}: the disk is full ({error.strerror}); make room there, and start again", 1
    else:
        text, code = str(error), 1
    if text:
        # What a message quotes of the user's words may hold an address.
        text = printable(without_secrets(in_own_words(text)))
        if len(text) > MOST_LETTERS:
            # Or a word of any length, as a file that others wrote may have; the remedy stands at the end.
            text = f"{text[: MOST_LETTERS - END_LETTERS]} ... {text[-END_LETTERS:]}"
        sys.stderr.write(f"fer-dist: {text}\n")
    return code
