"""The commands below `fer-dist shards`."""

import shlex
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fer_dist import api
from fer_dist.config.flags import Arguments, Command, flat, listing, parse, pick, positional, write_json
from fer_dist.errors import InputError, counted
from fer_dist.progress import Terminal
from fer_dist.storage.paths import OnDisk, Output, PathOrUrl, shown


def shards(arguments: Arguments) -> None:
    if not arguments or arguments[0] in ("--help", "-h"):
        sys.stdout.write("usage: fer-dist shards COMMAND ...\n\n" + listing(SHARD_COMMANDS))
        return
    pick(SHARD_COMMANDS, arguments[0], "shards command").run(arguments[1:])


def _build(arguments: Arguments) -> None:
    from fer_dist.data.build.build import BuildFlags
    from fer_dist.data.sources.source import SOURCES, options_of

    name = arguments[0] if arguments else ""
    if not name or name.startswith("-"):
        sys.stdout.write("usage: fer-dist shards build SOURCE RAW OUT [--flag VALUE ...]\n\nsources:\n")
        sys.stdout.write(listing(SOURCES))
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

        out: Annotated[OnDisk, positional()]
        """Folder for the shards; each split becomes a folder in it."""

        options: Annotated[Options, flat()]
        flags: Annotated[BuildFlags, flat()]

    chosen = parse(Build, arguments[1:], f"shards build {name}")
    options = {**vars(chosen.options), **vars(chosen.flags)}
    line = shlex.join(["fer-dist", "shards", "build", *arguments])
    with closing(Terminal()) as terminal:
        manifests = api.build_shards(name, chosen.raw, chosen.out, show=terminal, command=line, **options)
    for manifest in manifests.values():
        counts = ", ".join(f"{name} {count:,}" for name, count in manifest.counts.items())
        folder = Path(chosen.out) / manifest.split
        terminal.say(f"{folder}: {_size(manifest)} ({counts})")
        for reason, count in manifest.left_out.items():
            terminal.say(f"{folder}: left out {count:,}: {reason}")
        for reason, count in manifest.built["mended"].items():
            terminal.say(f"{folder}: mended {count:,}: {reason}")


def _sources() -> Mapping[str, Any]:
    from fer_dist.data.sources.source import SOURCES

    return SOURCES


def _index(arguments: Arguments) -> None:
    @dataclass(frozen=True)
    class Index:
        """Give tars that others made an index and a manifest; or make the indexes of a set anew."""

        folder: Annotated[OnDisk, positional()]
        """Folder of tars."""

        emotions: str = ""
        """Names in the order of the labels, as anger,disgust,...; needed where there is no manifest."""

        dataset: str = ""
        """Name of the dataset. Empty: the name of the folder above."""

        split: str = ""
        """Name of the split. Empty: the name of the folder."""

    flags = parse(Index, arguments, "shards index")
    from fer_dist.data.shards.index import index_shards

    emotions = [name.strip() for name in flags.emotions.split(",") if name.strip()]
    with closing(Terminal()) as terminal:
        manifest = index_shards(Path(flags.folder), emotions, flags.dataset, flags.split, terminal.count("tars"))
    terminal.say(f"{flags.folder}: {_size(manifest)}")


def _size(manifest: Any) -> str:
    return f"{counted(manifest.samples, 'image')} in {counted(len(manifest.shards), 'shard')}"


def _describe(arguments: Arguments) -> None:
    from fer_dist.config.settings import CacheFlags

    @dataclass(frozen=True)
    class Describe:
        """Say what shard sets hold: counts beside the published ones, what the images are like, what was left out."""

        paths: Annotated[tuple[PathOrUrl, ...], positional()]
        """Sets of shards, given as for --data.train of training, or folders that hold several: OUT for every split."""

        json: Output = ""
        """File for all of it as JSON as well."""

        sheet: Output = ""
        """File, .png or .jpg, for a contact sheet as well: a row of images for each split and emotion."""

        per_emotion: int = 12
        """Images in a row of the sheet, spread evenly over all of the emotion."""

        seed: int = 0
        """Another number puts other images on the sheet."""

        where: Annotated[CacheFlags, flat()] = field(default_factory=CacheFlags)

    flags = parse(Describe, arguments, "shards describe")
    from fer_dist.data.loading.shard_set import sets_at

    sets = sets_at(flags.paths, flags.where.data)
    from fer_dist.cli.shard_tables import count_table, property_table
    from fer_dist.data.inspection.describe import describe, sheet_rows
    from fer_dist.data.inspection.sheets import check_sheet_path, contact_sheet

    if flags.per_emotion < 1:
        raise InputError(f"--per-emotion {flags.per_emotion}: show at least 1 image of each")
    if flags.sheet:
        check_sheet_path(Path(flags.sheet))
    found = describe(sets)
    terminal = Terminal()
    for dataset in found:
        terminal.table(*count_table(dataset))
        terminal.table(*property_table(dataset))
        if any(known.stated != {name: known.found[name] for name in known.stated} for known in dataset.published):
            terminal.say("published: the whole release as its authors count it, with the default flags of its source")
        for split in dataset.splits:
            words = [split.built.get("variant"), split.built.get("command")]
            terminal.say(f"{split.folder}: from {'; '.join(filter(None, words)) or 'an unknown source'}")
        for remark in dict.fromkeys(remark for split in dataset.splits for remark in split.built.get("remarks", ())):
            terminal.say(f"note: {remark}")
    if flags.json:
        write_json(flags.json, [asdict(dataset) for dataset in found])
    if flags.sheet:
        contact_sheet(sheet_rows(sets, flags.per_emotion, flags.seed), Path(flags.sheet))
        terminal.say(f"{flags.sheet}: contact sheet, {flags.per_emotion} or fewer of each split and emotion")


def _audit(arguments: Arguments) -> None:
    from fer_dist.config.settings import CacheFlags
    from fer_dist.data.inspection.duplicates import SIMILAR

    @dataclass(frozen=True)
    class Audit:
        """Look for what makes scores wrong: duplicates within and between sets, contradicting labels, blank images."""

        paths: Annotated[tuple[PathOrUrl, ...], positional()]
        """Sets of shards, given as for --data.train of training, or folders that hold several: OUT for every split."""

        similar: float = SIMILAR
        """Similarity of two images, mirrored or not, from which they are near duplicates: 0.9 to 1."""

        json: Output = ""
        """File for all of it as JSON as well, every group of duplicates with its keys."""

        sheet: Output = ""
        """File, .png or .jpg, for a contact sheet of the worst groups as well."""

        write_clean: Output = ""
        """File for the list of images to leave out; train takes it as --data.leave-out, evaluate as --leave-out."""

        workers: int = 0
        """Processes that decode; 0 means one for each core."""

        where: Annotated[CacheFlags, flat()] = field(default_factory=CacheFlags)

    flags = parse(Audit, arguments, "shards audit")
    from fer_dist.data.loading.shard_set import sets_at

    sets = sets_at(flags.paths, flags.where.data)
    from fer_dist.cli.shard_tables import audit_json, copy_table, set_table, shared_table
    from fer_dist.data.inspection.audit import audit
    from fer_dist.data.inspection.clean import images_to_leave_out, worst_groups
    from fer_dist.data.inspection.sheets import check_sheet_path, contact_sheet
    from fer_dist.data.shards.leave_out import save_leave_out

    if flags.sheet:
        check_sheet_path(Path(flags.sheet))
    terminal = Terminal()
    with closing(terminal):
        report = audit(sets, flags.similar, flags.workers, terminal.count("images"))
    for table in (set_table(report), copy_table(report), shared_table(report)):
        if table[1]:
            terminal.table(*table)
    if flags.json:
        write_json(flags.json, audit_json(report))
    if flags.write_clean:
        rows = images_to_leave_out(report)
        save_leave_out(flags.write_clean, rows)
        terminal.say(f"{flags.write_clean}: {counted(len(rows), 'image')} to leave out")
    if flags.sheet:
        contact_sheet(worst_groups(report), Path(flags.sheet))
        terminal.say(f"{flags.sheet}: contact sheet of the worst groups")


def _verify(arguments: Arguments) -> None:
    @dataclass(frozen=True)
    class Verify:
        """Read whole shard sets and compare them with their manifests: sizes, sha256, indexes, labels, images."""

        paths: Annotated[tuple[PathOrUrl, ...], positional()]
        """Sets of shards, given as for --data.train of training, or folders that hold several: OUT for every split.
        What lies in a store is fetched for it."""

    flags = parse(Verify, arguments, "shards verify")
    from fer_dist.data.inspection.verify import verify_shards
    from fer_dist.data.loading.shard_set import each_split

    terminal = Terminal()
    faults = 0
    for path in each_split(flags.paths):
        with closing(terminal):
            report = verify_shards(path, terminal.count("samples"))
        for fault in report.faults:
            terminal.say(str(fault))
        faults += len(report.faults)
        terminal.say(f"{shown(path)}: {counted(report.samples, 'sample')} read, {counted(len(report.faults), 'fault')}")
    if faults:
        raise InputError(f"{counted(faults, 'fault')}; build the shards again, or take them from where they are whole")


SHARD_COMMANDS = {
    "build": Command("SOURCE RAW OUT: turn a release into shards", _build, _sources),
    "index": Command("FOLDER: give tars that others made an index and a manifest", _index),
    "describe": Command("PATH...: counts beside the published ones, sizes, colours, facts; a contact sheet", _describe),
    "audit": Command("PATH...: duplicates, leaks, contradicting labels and blank images in and between sets", _audit),
    "verify": Command("PATH...: compare shards with their manifest, and decode each image", _verify),
}
