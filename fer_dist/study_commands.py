"""The command `fer-dist study`."""

import shlex
import sys
from dataclasses import dataclass
from typing import Annotated, Any

from fer_dist.data.location import Output, on_disk
from fer_dist.errors import InputError
from fer_dist.flags import Arguments, flat, parse, write_json

USAGE = """\
usage: fer-dist study paper --a SHARDS --b SHARDS [--c SHARDS] [--flag VALUE ...]
       fer-dist study PLAN.yaml [--flag VALUE ...]

Trains, crosses, transfers, measures and reports. Started again, it does only what is missing.

  paper       the published study: a plan that is built in; --print shows it as YAML, to be edited
  PLAN.yaml   a plan of your own

fer-dist study paper --help lists the flags
"""


def study_command(arguments: Arguments) -> None:
    if not arguments or arguments[0] in ("--help", "-h"):
        sys.stdout.write(USAGE)
        if not arguments:
            raise InputError("name a plan: paper, or a YAML file")
        return
    from fer_dist.study_check import StudyConfig

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

    line = shlex.join(["fer-dist", "study", *arguments])
    name, rest = arguments[0], arguments[1:]
    plan, flags = _built_in(Flags, rest) if name == "paper" else _of_file(Flags, name, rest)
    if flags.print:
        from fer_dist.study_yaml import as_yaml

        sys.stdout.write(as_yaml(plan))
    elif flags.dry_run:
        _dry_run(plan, flags)
    else:
        _run(plan, flags.config, line)


def _built_in(Flags: Any, arguments: Arguments) -> tuple[Any, Any]:
    from fer_dist.study_paper import SET, PaperConfig, paper_plan, taken_settings
    from fer_dist.study_plan import check_plan

    @dataclass(frozen=True)
    class Paper:
        """The published study: train on a and on b, cross both, transfer a to b, evaluate all on c as well."""

        paper: Annotated[PaperConfig, flat()]
        flags: Annotated[Flags, flat()]

    arguments, settings = taken_settings(arguments)
    found = parse(Paper, arguments, "study paper", others=SET)
    plan = paper_plan(found.paper, settings)
    check_plan(plan)
    return plan, found.flags


def _of_file(Flags: Any, path: str, arguments: Arguments) -> tuple[Any, Any]:
    from fer_dist.study_yaml import load_plan

    if path.startswith("-"):
        raise InputError(f"{path}: name a plan first: fer-dist study paper, or fer-dist study PLAN.yaml")
    if any(word.startswith("--set.") for word in arguments):
        raise InputError(f"--set. is for the built-in plan; in {path} write it below set:")
    return load_plan(on_disk(path, "PLAN")), parse(Flags, arguments, "study PLAN", others="set: ")


def _dry_run(plan: Any, flags: Any) -> None:
    from fer_dist.monitor import Terminal
    from fer_dist.study import job_rows
    from fer_dist.study_check import prepare

    rows = job_rows(prepare(plan, flags.config))
    Terminal().table(["job", "state", "about"], rows)
    if flags.json:
        write_json(flags.json, [dict(zip(("job", "state", "about"), row, strict=True)) for row in rows])


def _run(plan: Any, config: Any, line: str) -> None:
    from fer_dist.monitor import Terminal
    from fer_dist.study import study

    terminal = Terminal()
    try:
        report = study(plan, config, terminal, (line,))
    finally:
        terminal.close()
    terminal.say(f"report:  {report}")
    terminal.say(f"curves:  tensorboard --logdir {report.parent / 'runs'}")
