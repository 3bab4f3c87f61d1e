"""The commands below `fer-dist bench`: each measures in one run and prints a table."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from fer_dist.errors import InputError
from fer_dist.flags import Arguments, Command, check_outputs, listing, parse, pick, positional, write_json


def bench(arguments: Arguments) -> None:
    if not arguments or arguments[0] in ("--help", "-h"):
        sys.stdout.write("usage: fer-dist bench WHAT ...\n\n" + listing(BENCHES))
        return
    pick(BENCHES, arguments[0], "bench").run(arguments[1:])


def _shards(arguments: Arguments) -> None:
    from fer_dist.bench import bench_shards
    from fer_dist.monitor import Terminal

    @dataclass(frozen=True)
    class Shards:
        """Building a release's shards beside reading and decoding its pictures with Pillow, in two processes each."""

        raw: Annotated[str, positional()]
        """Path of the release."""

        source: str = "fer2013"
        """Which release it is."""

        repeats: int = 5
        """Times that both are done, in turn; medians are printed."""

        json: str = ""
        """File for the figures as JSON as well."""

    flags = parse(Shards, arguments, "bench shards")
    check_outputs(json=flags.json)
    with TemporaryDirectory(prefix="fer-dist-bench-") as folder:
        found = bench_shards(flags.raw, Path(folder) / "shards", flags.source, flags.repeats)
    row = [f"{found.pictures:,}", str(found.repeats), f"{found.build_seconds:.2f}", f"{found.pillow_seconds:.2f}"]
    Terminal().table(["pictures", "n", "build s", "Pillow s", "build / Pillow"], [[*row, f"{found.ratio:.2f}"]])
    if flags.json:
        write_json(flags.json, asdict(found) | {"ratio": found.ratio})


def _resize(arguments: Arguments) -> None:
    from fer_dist.bench import bench_resize
    from fer_dist.monitor import Terminal

    @dataclass(frozen=True)
    class Resize:
        """Building a release's shards with every picture resized, in one process beside two."""

        raw: Annotated[str, positional()]
        """Path of the release."""

        source: str = "fer2013"
        """Which release it is."""

        resize: int = 224
        """Side to which the pictures are resized, in pixels."""

        repeats: int = 3
        """Times that both are done, in turn; medians are printed."""

        json: str = ""
        """File for the figures as JSON as well."""

    flags = parse(Resize, arguments, "bench resize")
    check_outputs(json=flags.json)
    with TemporaryDirectory(prefix="fer-dist-bench-") as folder:
        found = bench_resize(flags.raw, Path(folder) / "shards", flags.source, flags.resize, flags.repeats)
    row = [f"{found.pictures:,}", str(found.repeats), f"{found.one_seconds:.2f}", f"{found.two_seconds:.2f}"]
    header = ["pictures", "n", "one process s", "two processes s", "one / two"]
    Terminal().table(header, [[*row, f"{found.ratio:.2f}"]])
    if flags.json:
        write_json(flags.json, asdict(found) | {"ratio": found.ratio})


def _audit(arguments: Arguments) -> None:
    from fer_dist.bench import COPIES, bench_audit
    from fer_dist.monitor import Terminal

    @dataclass(frozen=True)
    class Audit:
        """Time, memory and what is found by an audit of drawn pictures with copies among them, in growing numbers."""

        counts: str = "10000,100000"
        """Numbers of pictures, separated by commas. A million take 5 GB in the temporary folder."""

        json: str = ""
        """File for the figures as JSON as well."""

    flags = parse(Audit, arguments, "bench audit")
    check_outputs(json=flags.json)
    try:
        counts = [int(word) for word in flags.counts.split(",")]
    except ValueError:
        raise InputError(f"--counts {flags.counts}: give whole numbers separated by commas") from None
    found = []
    for count in counts:
        with TemporaryDirectory(prefix="fer-dist-bench-") as folder:
            found.append(bench_audit(count, Path(folder) / "shards"))
    rows = [
        [f"{one.pictures:,}", f"{one.seconds:.1f}", f"{1e6 * one.seconds / one.pictures:.0f}"]
        + [f"{one.peak_bytes / 1e6:,.0f}"]
        + [f"{one.found[how]:,} of {one.planted[how]:,}" for how in COPIES]
        + [str(one.false_alarms)]
        for one in found
    ]
    header = ["pictures", "seconds", "microseconds each", "peak MB", *COPIES, "false alarms"]
    Terminal().table(header, rows)
    if flags.json:
        write_json(flags.json, [asdict(one) for one in found])


def _near(arguments: Arguments) -> None:
    from fer_dist.bench import bench_near
    from fer_dist.monitor import Terminal

    @dataclass(frozen=True)
    class Near:
        """Near copies made of a set's own pictures: how many an audit finds, and what else it takes for a copy."""

        folder: Annotated[str, positional()]
        """Folder of shards."""

        count: int = 5000
        """Pictures that are copied in each way, spread evenly over the set."""

        json: str = ""
        """File for the figures as JSON as well."""

    flags = parse(Near, arguments, "bench near")
    check_outputs(json=flags.json)
    found = bench_near(Path(flags.folder), flags.count)
    rows = [
        [how, f"{found.pictures:,}", f"{hits:,}", f"{100 * hits / found.pictures:.2f}", f"{found.others[how]:,}"]
        for how, hits in found.found.items()
    ]
    Terminal().table(["copied", "pictures", "found", "found %", "taken for a copy of another"], rows)
    if flags.json:
        write_json(flags.json, asdict(found))


BENCHES = {
    "shards": Command("RAW: building shards beside reading and decoding the same pictures with Pillow", _shards),
    "resize": Command("RAW: building shards of resized pictures in one process beside two", _resize),
    "near": Command("FOLDER: near copies made of a set's own pictures, and how many are found", _near),
    "audit": Command("an audit of drawn pictures: time, memory, and what it finds of planted copies", _audit),
}
