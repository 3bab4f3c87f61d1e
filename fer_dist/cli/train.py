"""fer-dist train."""

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fer_dist import api
from fer_dist.config.flags import Arguments, flat, parse
from fer_dist.config.settings import Config
from fer_dist.config.torchrun import launched
from fer_dist.errors import InputError
from fer_dist.progress import Terminal


def train_command(arguments: Arguments) -> None:
    from fer_dist.config.checks import check
    from fer_dist.config.presets import PRESETS, preset

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
    check(flags.config)
    terminal = Terminal()
    if flags.dry_run:
        from fer_dist.train.given import open_given, unscored

        # Before torch is imported.
        opened = open_given(flags.config)
        if warning := unscored(flags.config):
            terminal.say(warning)
        from fer_dist.train.estimate import dry_run

        terminal.say("timing a few steps for the estimate")
        found = dry_run(flags.config, name, terminal.count("steps"), opened)
        terminal.close()
        sys.stdout.write(found)
        return
    with closing(terminal):
        trained = api.train(name, flags.config, resume=flags.resume, show=terminal)
    if launched().rank == 0:
        for line in _ending(flags.config, trained.folder):
            terminal.say(line)


def presets() -> Mapping[str, Any]:
    """What may stand behind train."""
    from fer_dist.config.presets import PRESETS

    return PRESETS


def _ending(config: Config, folder: str) -> Iterator[str]:
    """What to do with a run next. folder: of the run."""
    from fer_dist.data.shards.manifest import MANIFEST
    from fer_dist.runs.architecture import is_own

    yield f"done:     {folder}"
    test = Path(config.data.train).parent / "test"
    shards = shlex.quote(str(test)) if (test / MANIFEST).is_file() else "SHARDS"
    network = f" --network {config.model.network}" if is_own(config.model.network) else ""
    yield f"evaluate: fer-dist evaluate --models {shlex.quote(folder)} --data {shards}{network}"
    yield f"explain:  fer-dist explain {shlex.quote(folder)} --data {shards}{network}"
    yield f"predict:  fer-dist predict {shlex.quote(folder)} IMAGES{network}"
    yield f"curves:   tensorboard --logdir {shlex.quote(folder)}"
