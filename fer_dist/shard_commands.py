"""The commands below `fer-dist shards`."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fer_dist.errors import InputError
from fer_dist.flags import Arguments, Command, flat, listing, parse, pick, positional


def shards(arguments: Arguments) -> None:
    if not arguments or arguments[0] in ("--help", "-h"):
        sys.stdout.write("usage: fer-dist shards COMMAND ...\n\n" + listing(SHARD_COMMANDS))
        return
    pick(SHARD_COMMANDS, arguments[0], "shards command").run(arguments[1:])


def _build(arguments: Arguments) -> None:
    from fer_dist.data.shards import BuildFlags, BuildOptions, build_shards
    from fer_dist.data.sources import SOURCES, open_source
    from fer_dist.monitor import Terminal

    @dataclass(frozen=True)
    class Build:
        """Turn a release into shards: OUT/<split>/ with tars, their indexes and a manifest."""

        source: Annotated[str, positional()]
        """Which release it is; see the list above."""

        raw: Annotated[str, positional()]
        """Path of the release (for synthetic: the style, wild or lab)."""

        out: Annotated[str, positional()]
        """Folder for the shards; each split becomes a folder in it."""

        flags: Annotated[BuildFlags, flat()]
        dataset: str = ""
        """Name of the data set (folder only). Empty: the name of RAW."""

        count: int = 4000
        """Training pictures to draw (synthetic only)."""

        test_count: int = 1000
        """Test pictures to draw (synthetic only)."""

        pixels: int = 64
        """Side of the pictures to draw (synthetic only)."""

        seed: int = 0
        """Seed of the drawing (synthetic only)."""

    Build.__doc__ = f"{Build.__doc__}\n\nSources:\n" + "\n".join(
        f"  {name:<10} {text}" for name, text in SOURCES.items()
    )
    chosen = parse(Build, arguments, "shards build")
    own = {"folder": ("dataset",), "synthetic": ("count", "test_count", "pixels", "seed")}
    source = open_source(
        chosen.source, chosen.raw, **{name: getattr(chosen, name) for name in own.get(chosen.source, ())}
    )
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
