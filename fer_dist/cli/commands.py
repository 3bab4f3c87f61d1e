"""The table of commands. Nothing heavy is imported before a command is chosen."""

import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fer_dist import __version__
from fer_dist.bench.commands import bench
from fer_dist.cli.shards import shards
from fer_dist.cli.study import study_command
from fer_dist.config.flags import Arguments, Command, flat, in_own_words, listing, parse, pick, write_json
from fer_dist.config.torchrun import launched
from fer_dist.errors import InputError, WorkError
from fer_dist.progress import Terminal, guard_output
from fer_dist.storage.places import Output


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
            traceback.print_exc()
        return _report(error)


def _train(arguments: Arguments) -> None:
    from fer_dist.config.checks import check
    from fer_dist.config.presets import PRESETS, preset
    from fer_dist.config.settings import Config

    @dataclass(frozen=True)
    class Train:
        """Train a network."""

        config: Annotated[Config, flat()]
        resume: bool = False
        """Go on with run.name from its newest checkpoint; a run that does not exist yet is begun."""

        dry_run: bool = False
        """Print the configuration, the steps, and an estimate of time and memory, and stop."""

    name = arguments[0] if arguments else ""
    if name in ("", "--help", "-h"):
        sys.stdout.write(f"usage: fer-dist train PRESET [--section.field VALUE ...]\n\npresets: {', '.join(PRESETS)}\n")
        sys.stdout.write("fer-dist train PRESET --help lists the flags\n")
        if not name:
            raise InputError(f"name a preset: {', '.join(PRESETS)}")
        return
    flags = parse(Train, arguments[1:], f"train {name}", preset(name))
    # What reads the flags is light; a setting that cannot be meant is answered before what trains is imported.
    check(flags.config)
    terminal = Terminal()
    if flags.dry_run:
        from fer_dist.train.estimate import dry_run

        terminal.say("timing a few steps for the estimate")
        found = dry_run(flags.config, name, terminal.count("steps"))
        terminal.close()
        sys.stdout.write(found)
        return
    from fer_dist.train.start import start

    try:
        folder = start(flags.config, name, flags.resume, terminal)
    finally:
        terminal.close()
    if launched().rank == 0:
        terminal.say(f"done: {folder}; curves: tensorboard --logdir {folder}")


def _evaluate(arguments: Arguments) -> None:
    from fer_dist.config.settings import EvaluateConfig, RobustnessSettings

    @dataclass(frozen=True)
    class Evaluate:
        """Score every model on every set. Writes predictions, scores and confusion matrices into the run folders."""

        config: Annotated[EvaluateConfig, flat()]
        robustness: bool = False
        """Test each model also on harmed pictures and hidden regions of the face. Writes robustness/ and a figure."""

        robustness_samples: int = RobustnessSettings.samples
        """Pictures of each set for that, at most, the same ones each time; each goes through 96 times. 0: all."""

        json: Output = ""
        """File for the table of scores as JSON as well."""

    flags = parse(Evaluate, arguments, "evaluate")
    from fer_dist.data.loading.loader import name_bad
    from fer_dist.evaluate.evaluate import evaluate
    from fer_dist.evaluate.robustness.measure import Robustness, evaluate_robustness, robustness_table

    robustness = RobustnessSettings(samples=flags.robustness_samples)
    terminal = Terminal()
    harmed: list[Robustness] = []
    try:
        results = evaluate(flags.config, terminal.count("evaluations"), terminal)
        if flags.robustness:
            harmed = evaluate_robustness(flags.config, robustness, terminal.count("harmed batches"))
    finally:
        terminal.close()
    for result in results:
        if result.bad:
            named = name_bad(result.bad)
            terminal.say(f"{result.model} on {result.dataset}: left out {len(result.bad)} that did not decode: {named}")
    measures = ("accuracy", "mean_over_classes", "macro_f1", "expected_calibration_error")
    rows = []
    for result in results:
        low, high = result.scores["accuracy_interval"]
        interval = f"{100 * low:.2f} to {100 * high:.2f}"
        numbers = [f"{100 * result.scores[name]:.2f}" for name in measures]
        masked = ", ".join(result.scores["masked"]) or "-"
        rows.append(
            [result.model, result.dataset, str(result.scores["samples"]), numbers[0], interval, *numbers[1:], masked]
        )
    header = ["model", "data", "pictures", "accuracy %", "95 %", "mean over classes %", "macro F1 %", "ECE %", "masked"]
    terminal.table(header, rows)
    if harmed:
        terminal.table(*robustness_table(harmed))
    if flags.json:
        write_json(flags.json, [{"model": r.model, "data": r.dataset, "scores": r.scores} for r in results])


def _demo(arguments: Arguments) -> None:
    from fer_dist.study.demo import DemoConfig, demo

    terminal = Terminal()
    try:
        demo(parse(DemoConfig, arguments, "demo"), terminal)
    finally:
        terminal.close()


def _doctor(arguments: Arguments) -> None:
    from fer_dist.doctor.finding import Asked

    @dataclass(frozen=True)
    class Doctor:
        """Look at what this machine has and what is missing, and say the remedy. Exit code 1 where something is."""

        asked: Annotated[Asked, flat()]

        json: Output = ""
        """File for the findings as JSON as well."""

    flags = parse(Doctor, arguments, "doctor")
    from fer_dist.doctor.doctor import doctor

    doctor(flags.asked, Terminal(), flags.json)


COMMANDS = {
    "shards": Command("build, index, describe, audit, verify: from labelled faces to WebDataset shards", shards),
    "train": Command("PRESET: train a network; the same as python -m fer_dist.train", _train),
    "evaluate": Command("score every model on every set", _evaluate),
    "study": Command("PLAN: train, cross, transfer, measure and report; paper is the published study", study_command),
    "bench": Command("shards, loader, order, audit ...: measure side by side in one run", bench),
    "doctor": Command("what this machine, or each node of a cluster, has and what is missing", _doctor),
    "demo": Command("the whole study in small, on faces that it draws itself", _demo),
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
    else:
        text, code = str(error), 1
    if text:
        sys.stderr.write(f"fer-dist: {in_own_words(text)}\n")
    return code
