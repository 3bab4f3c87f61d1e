"""The commands below `fer-dist shards`."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fer_dist.errors import InputError
from fer_dist.flags import Arguments, Command, flat, listing, parse, pick, positional


def shards(arguments: Arguments) -> None:
    if not arguments or arguments[0] in ("--help", "-h"):
        sys.stdout.write("usage: fer-dist shards COMMAND ...\n\n" + listing(SHARD_COMMANDS))
        return
    pick(SHARD_COMMANDS, arguments[0], "shards command").run(arguments[1:])


def _build(arguments: Arguments) -> None:
    from fer_dist.data.shards import BuildFlags, BuildOptions, build_shards
    from fer_dist.data.sources import SOURCES, open_source, options_of
    from fer_dist.monitor import Terminal

    name = arguments[0] if arguments else ""
    if not name or name.startswith("-"):
        sys.stdout.write("usage: fer-dist shards build SOURCE RAW OUT [--flag VALUE ...]\n\nsources:\n")
        sys.stdout.write("".join(f"  {source:<10} {text}\n" for source, text in SOURCES.items()))
        sys.stdout.write("\nfer-dist shards build SOURCE --help lists the flags\n")
        if name not in ("--help", "-h"):
            raise InputError("name a source first: fer-dist shards build SOURCE RAW OUT")
        return
    Options: Any = options_of(name)

    @dataclass(frozen=True)
    class Build:
        """Turn a release into shards: OUT/<split>/ with tars, their indexes and a manifest."""

        raw: Annotated[str, positional()]
        """Path of the release (for synthetic: the style, wild or lab)."""

        out: Annotated[str, positional()]
        """Folder for the shards; each split becomes a folder in it."""

        options: Annotated[Options, flat()]
        flags: Annotated[BuildFlags, flat()]

    chosen = parse(Build, arguments[1:], f"shards build {name}")
    source = open_source(name, chosen.raw, **vars(chosen.options))
    terminal = Terminal()
    options = BuildOptions(**vars(chosen.flags), command=shlex.join(["fer-dist", "shards", "build", *arguments]))
    try:
        manifests = build_shards(source, Path(chosen.out), options, terminal.count("pictures"))
    finally:
        terminal.close()
    terminal.say(f"{source.dataset}: found {source.variant}")
    for manifest in manifests:
        counts = ", ".join(f"{name} {count:,}" for name, count in manifest.counts.items())
        place = Path(chosen.out) / manifest.split
        terminal.say(f"{place}: {manifest.samples:,} pictures in {len(manifest.shards)} shards ({counts})")
        for reason, count in manifest.left_out.items():
            terminal.say(f"{place}: left out {count:,}: {reason}")
        for reason, count in manifest.built["mended"].items():
            terminal.say(f"{place}: mended {count:,}: {reason}")


def _index(arguments: Arguments) -> None:
    from fer_dist.data.index import index_shards
    from fer_dist.monitor import Terminal

    @dataclass(frozen=True)
    class Index:
        """Give tars that others made an index and a manifest; or make the indexes of a set anew."""

        folder: Annotated[str, positional()]
        """Folder of tars."""

        emotions: str = ""
        """Names in the order of the labels, as anger,disgust,...; needed where there is no manifest."""

        dataset: str = ""
        """Name of the data set. Empty: the name of the folder above."""

        split: str = ""
        """Name of the split. Empty: the name of the folder."""

    flags = parse(Index, arguments, "shards index")
    emotions = [name.strip() for name in flags.emotions.split(",") if name.strip()]
    terminal = Terminal()
    try:
        manifest = index_shards(Path(flags.folder), emotions, flags.dataset, flags.split, terminal.count("tars"))
    finally:
        terminal.close()
    terminal.say(f"{flags.folder}: {manifest.samples:,} pictures in {len(manifest.shards)} shards")


def _verify(arguments: Arguments) -> None:
    from fer_dist.data.verify import verify_shards
    from fer_dist.monitor import Terminal

    @dataclass(frozen=True)
    class Verify:
        """Read whole shard sets and compare them with their manifests: sizes, sha256, indexes, labels, pictures."""

        folders: Annotated[tuple[str, ...], positional()]
        """Folders of shards."""

    flags = parse(Verify, arguments, "shards verify")
    terminal = Terminal()
    faults = 0
    for folder in flags.folders:
        try:
            report = verify_shards(Path(folder), terminal.count("samples"))
        finally:
            terminal.close()
        for fault in report.faults:
            terminal.say(str(fault))
        faults += len(report.faults)
        terminal.say(f"{folder}: {report.samples:,} samples read, {len(report.faults)} faults")
    if faults:
        raise InputError(f"{faults} faults; build the shards again, or take them from where they are whole")


SHARD_COMMANDS = {
    "build": Command("SOURCE RAW OUT: turn a release into shards", _build),
    "index": Command("FOLDER: give tars that others made an index and a manifest", _index),
    "verify": Command("FOLDER...: compare shards with their manifest, and decode each picture", _verify),
}
