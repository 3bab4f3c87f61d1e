"""The command `fer-dist study`."""

import shlex
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fer_dist.config.flags import Arguments, flat, listing, parse, positional, write_json
from fer_dist.errors import InputError, nearest
from fer_dist.progress import Terminal
from fer_dist.storage.paths import OnDisk, Output, on_disk, settled, shown

USAGE = """\
usage: fer-dist study paper --a SHARDS --b SHARDS [--c SHARDS] [--flag ...]
       fer-dist study PLAN.yaml [--flag ...]
       fer-dist study report FOLDER

Trains, evaluates across datasets, transfers, measures and reports.
Started again, it does only what is missing.

"""
MOST_STUDY_BYTES = 1 << 30
WORDS = {
    "paper": "the published study's, built in, its feature maps with --explain; --print shows it as YAML, to be edited",
    "PLAN.yaml": "a plan of your own",
    "report": "the page of a finished study once more, from its study.json and the images beside it",
}


def study_command(arguments: Arguments) -> None:
    if not arguments or arguments[0] in ("--help", "-h"):
        sys.stdout.write(f"{USAGE}{listing(WORDS)}\nfer-dist study paper --help lists the flags\n")
        if not arguments:
            raise InputError("name a plan: paper, or a YAML file")
        return
    STUDY_COMMANDS.get(arguments[0], _carry_out)(arguments)


def _carry_out(arguments: Arguments) -> None:
    from fer_dist.study.plan import StudyConfig

    @dataclass(frozen=True)
    class Flags:
        """Carry a plan out. Started again, it does only what is missing."""

        config: Annotated[StudyConfig, flat()]
        dry_run: bool = False
        """Show the jobs in their order, what is done of them, and an estimate of their time, and stop."""

        print: bool = False
        """Write the plan as YAML to standard output, and stop."""

        json: Output = ""
        """With --dry-run: file for the jobs as JSON as well."""

    line = shlex.join(["fer-dist", "study", *map(shown, arguments)])
    name, rest = arguments[0], arguments[1:]
    plan, flags = _built_in(Flags, rest) if name == "paper" else _of_file(Flags, name, rest)
    if flags.print:
        from fer_dist.study.plan_file import as_yaml

        sys.stdout.write(as_yaml(plan))
        return
    from fer_dist.study.given import open_given

    # Before torch is imported.
    sets = open_given(settled(plan), flags.config)
    if flags.dry_run:
        _dry_run(plan, flags, sets)
    else:
        _run(plan, flags.config, line, sets)


def _built_in(Flags: Any, arguments: Arguments) -> tuple[Any, Any]:
    from fer_dist.study.paper import SET, PaperConfig, paper_plan, taken_settings
    from fer_dist.study.plan import check_plan

    @dataclass(frozen=True)
    class Paper:
        """The published study's plan: train on a and on b, evaluate each on both and on c, transfer a to b.

        Its feature maps are not made.
        """

        paper: Annotated[PaperConfig, flat()]
        flags: Annotated[Flags, flat()]

    arguments, settings = taken_settings(arguments)
    found = parse(Paper, arguments, "study paper", others=SET)
    plan = paper_plan(found.paper, settings)
    check_plan(plan)
    return plan, found.flags


def _of_file(Flags: Any, path: str, arguments: Arguments) -> tuple[Any, Any]:
    from fer_dist.study.plan_file import load_plan

    if path.startswith("-"):
        raise InputError(f"{path}: name a plan first: fer-dist study paper, or fer-dist study PLAN.yaml")
    if any(word.startswith("--set.") for word in arguments):
        raise InputError(f"--set. is for the built-in plan; in {path} write it below set:")
    found = on_disk(path, "PLAN")
    if not Path(path).suffix and not Path(found).exists():
        raise InputError(f"{path}: no plan there; {nearest(path, WORDS)}")
    return load_plan(found), parse(Flags, arguments, "study PLAN", others="set: ")


def _dry_run(plan: Any, flags: Any, sets: Any) -> None:
    from fer_dist.study.setup import prepare
    from fer_dist.study.study import overview

    found, terminal = overview(prepare(plan, flags.config, sets)), Terminal()
    terminal.table(["job", "state", "about"], found.rows)
    terminal.say(found.trainings)
    if flags.json:
        write_json(flags.json, [dict(zip(("job", "state", "about"), row, strict=True)) for row in found.rows])


def _run(plan: Any, config: Any, line: str, sets: Any) -> None:
    from fer_dist.study.study import study

    with closing(Terminal()) as terminal:
        report = study(plan, config, terminal, (line,), sets)
    terminal.say(f"report:  {report}")
    terminal.say(f"curves:  tensorboard --logdir {report.parent / 'runs'}")


def _report(arguments: Arguments) -> None:
    @dataclass(frozen=True)
    class Report:
        """Make the page of a finished study again, and figures and tables beside it, from its study.json.

        Neither shards nor models are needed.
        """

        folder: Annotated[OnDisk, positional()]
        """Folder of the study, as --out named it."""

        images: bool = True
        """Show the faces that lie in its folder gallery. --no-images leaves them out, where a licence asks for it."""

    flags = parse(Report, arguments[1:], "study report")
    from fer_dist.report.findings import from_json
    from fer_dist.report.page import NO_PAGE, REPORT, STUDY, write_report
    from fer_dist.storage.untrusted import read_regular

    path = Path(flags.folder) / STUDY
    try:
        content = read_regular(path, MOST_STUDY_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name the folder of a finished study") from None
    study = from_json(content, str(path))
    try:
        write_report(path.with_name(REPORT), study, flags.images)
    # The page is a function of this file, so what it cannot be made of stands there.
    except NO_PAGE as error:
        said = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: holds values that make no page ({said}); make the study again") from error
    Terminal().say(f"report:  {path.with_name(REPORT)}")


STUDY_COMMANDS = {"paper": _carry_out, "report": _report}
"""The plan that is built in, and what is done without a plan; any other word is the file of one."""
