"""The commands below `fer-dist bench`: each measures in one run and prints a table."""

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from fer_dist.config.flags import Arguments, Command, flat, listing, parse, pick, positional, write_json
from fer_dist.errors import InputError
from fer_dist.progress import Terminal
from fer_dist.storage.places import Output, Place


def bench(arguments: Arguments) -> None:
    if not arguments or arguments[0] in ("--help", "-h"):
        sys.stdout.write("usage: fer-dist bench WHAT ...\n\n" + listing(BENCHES))
        return
    pick(BENCHES, arguments[0], "bench").run(arguments[1:])


def _shards(arguments: Arguments) -> None:
    @dataclass(frozen=True)
    class Shards:
        """Building a release's shards beside reading and decoding its images with Pillow, in two processes each."""

        raw: Annotated[str, positional()]
        """Path of the release."""

        source: str = "fer2013"
        """Which release it is."""

        repeats: int = 5
        """Times that both are done, in turn; medians are printed."""

        json: Output = ""
        """File for the figures as JSON as well."""

    flags = parse(Shards, arguments, "bench shards")
    from fer_dist.bench.shards import bench_shards

    _at_least_one("--repeats", flags.repeats)
    with TemporaryDirectory(prefix="fer-dist-bench-") as folder:
        found = bench_shards(flags.raw, Path(folder) / "shards", flags.source, flags.repeats)
    row = [f"{found.images:,}", str(found.repeats), f"{found.build_seconds:.2f}", f"{found.pillow_seconds:.2f}"]
    Terminal().table(["images", "n", "build s", "Pillow s", "build / Pillow"], [[*row, f"{found.ratio:.2f}"]])
    if flags.json:
        write_json(flags.json, asdict(found) | {"ratio": found.ratio})


def _resize(arguments: Arguments) -> None:
    @dataclass(frozen=True)
    class Resize:
        """Building a release's shards with every image resized, in one process beside two."""

        raw: Annotated[str, positional()]
        """Path of the release."""

        source: str = "fer2013"
        """Which release it is."""

        resize: int = 224
        """Side to which the images are resized, in pixels."""

        repeats: int = 3
        """Times that both are done, in turn; medians are printed."""

        json: Output = ""
        """File for the figures as JSON as well."""

    flags = parse(Resize, arguments, "bench resize")
    from fer_dist.bench.shards import bench_resize

    _at_least_one("--repeats", flags.repeats)
    with TemporaryDirectory(prefix="fer-dist-bench-") as folder:
        found = bench_resize(flags.raw, Path(folder) / "shards", flags.source, flags.resize, flags.repeats)
    row = [f"{found.images:,}", str(found.repeats), f"{found.one_seconds:.2f}", f"{found.two_seconds:.2f}"]
    header = ["images", "n", "one process s", "two processes s", "one / two"]
    Terminal().table(header, [[*row, f"{found.ratio:.2f}"]])
    if flags.json:
        write_json(flags.json, asdict(found) | {"ratio": found.ratio})


def _audit(arguments: Arguments) -> None:
    @dataclass(frozen=True)
    class Audit:
        """Time, memory and what is found by an audit of drawn images with duplicates among them, in growing numbers."""

        counts: str = "10000,100000"
        """Numbers of images, separated by commas. A million take 5 GB in the temporary folder."""

        json: Output = ""
        """File for the figures as JSON as well."""

    flags = parse(Audit, arguments, "bench audit")
    from fer_dist.bench.audit import DUPLICATES, bench_audit

    counts = _integers("--counts", flags.counts)
    found = []
    for count in counts:
        with TemporaryDirectory(prefix="fer-dist-bench-") as folder:
            found.append(bench_audit(count, Path(folder) / "shards"))
    rows = [
        [f"{one.images:,}", f"{one.seconds:.1f}", f"{1e6 * one.seconds / one.images:.0f}"]
        + [f"{one.peak_bytes / 1e6:,.0f}"]
        + [f"{one.found[how]:,} of {one.planted[how]:,}" for how in DUPLICATES]
        + [str(one.false_alarms)]
        for one in found
    ]
    header = ["images", "seconds", "microseconds each", "peak MB", *DUPLICATES, "false alarms"]
    Terminal().table(header, rows)
    if flags.json:
        write_json(flags.json, [asdict(one) for one in found])


def _near(arguments: Arguments) -> None:
    from fer_dist.config.settings import CacheFlags

    @dataclass(frozen=True)
    class Near:
        """Near duplicates made of a set's own images: how many an audit finds, and its false alarms."""

        shards: Annotated[Place, positional()]
        """Set of shards, given as for --data.train of training."""

        count: int = 5000
        """Images that are copied in each way, spread evenly over the set."""

        where: Annotated[CacheFlags, flat()] = field(default_factory=CacheFlags)

        json: Output = ""
        """File for the figures as JSON as well."""

    flags = parse(Near, arguments, "bench near")
    from fer_dist.bench.audit import bench_near
    from fer_dist.data.loading.shard_set import open_set

    _at_least_one("--count", flags.count)
    found = bench_near(open_set(flags.shards, flags.where.data), flags.count)
    rows = [
        [how, f"{found.images:,}", f"{hits:,}", f"{100 * hits / found.images:.2f}", f"{found.others[how]:,}"]
        for how, hits in found.found.items()
    ]
    Terminal().table(["copied", "images", "found", "found %", "taken for a duplicate of another"], rows)
    if flags.json:
        write_json(flags.json, asdict(found))


def _order(arguments: Arguments) -> None:
    @dataclass(frozen=True)
    class Order:
        """What sets of growing size cost to open and to draw batches from, and what a resumed loader waits for."""

        counts: str = "10000,100000,1000000,10000000,100000000,1000000000"
        """Numbers of samples, separated by commas, 10,000 a shard. Only their manifests are written."""

        real: int = 0
        """Samples of a set that is really written and read as well, 2 KB each in the temporary folder. 0: none."""

        repeats: int = 31
        """Times that a loader is opened at step 0 and in the middle of the last epoch, in turn; medians are printed."""

        json: Output = ""
        """File for the figures as JSON as well."""

    flags = parse(Order, arguments, "bench order")
    from fer_dist.bench.order import (
        bench_first_batch,
        bench_order,
        bench_real,
        first_batch_table,
        order_table,
        real_table,
    )

    counts = _integers("--counts", flags.counts)
    if min(counts) < 1 or flags.real < 0 or flags.repeats < 1:
        raise InputError("bench order: --counts and --repeats must be at least 1, and --real at least 0")
    sizes, terminal = [], Terminal()
    for count in counts:
        with TemporaryDirectory(prefix="fer-dist-bench-") as folder:
            sizes.append(bench_order(count, Path(folder)))
    terminal.table(*order_table(sizes))
    content: dict[str, Any] = {"sizes": [asdict(one) for one in sizes]}
    if flags.real:
        with TemporaryDirectory(prefix="fer-dist-bench-") as folder:
            real = bench_real(flags.real, Path(folder))
        terminal.table(*real_table(real))
        content["real"] = asdict(real)
    with TemporaryDirectory(prefix="fer-dist-bench-") as folder:
        first = bench_first_batch(20_000, Path(folder), flags.repeats)
    terminal.table(*first_batch_table(first))
    if flags.json:
        write_json(flags.json, content | {"first_batch": asdict(first) | {"ratio": first.ratio}})


def _shuffle(arguments: Arguments) -> None:
    @dataclass(frozen=True)
    class Shuffle:
        """How well the order mixes sets that are mixed and sorted by class, beside a true permutation."""

        samples: int = 290_000
        """Samples of the set: in 29 shards, and in one single tar."""

        batch_size: int = 640
        """Samples of a batch."""

        lanes: str = "1,20,128"
        """Lanes that are tried beside what is chosen, separated by commas; each divides the batch size."""

        blocks: str = "1024,4096,65536"
        """Blocks that are tried with each of them."""

        json: Output = ""
        """File for the figures as JSON as well."""

    flags = parse(Shuffle, arguments, "bench shuffle")
    from fer_dist.bench.shuffle import bench_coverage, bench_shuffle, coverage_table, expected, mix_table

    lanes, blocks = _integers("--lanes", flags.lanes), _integers("--blocks", flags.blocks)
    if min(*lanes, *blocks, flags.batch_size) < 1:
        raise InputError("bench shuffle: --lanes, --blocks and --batch-size must be at least 1")
    mixes = list(bench_shuffle(flags.samples, flags.batch_size, lanes, blocks))
    average = expected(flags.samples, flags.batch_size)
    Terminal().table(*mix_table(average, mixes))
    # A third of the samples is the tail: in a batch of the usual size it would be too small to be counted.
    coverage = bench_coverage(shards=29, shard_samples=100, batch_size=1000, seeds=100)
    Terminal().table(*coverage_table(coverage))
    if flags.json:
        rows = {"mix": [asdict(one) for one in mixes], "coverage": [asdict(one) for one in coverage]}
        write_json(flags.json, {"expected": asdict(average)} | rows)


def _loader(arguments: Arguments) -> None:
    from fer_dist.bench.loader import LoaderBench, bench_loader, contest_table

    @dataclass(frozen=True)
    class Loader:
        """Our loader beside DALI's reader, torch, webdataset and litdata, with the same transforms and without any."""

        config: Annotated[LoaderBench, flat()]
        json: Output = ""
        """File for the figures as JSON as well."""

    flags = parse(Loader, arguments, "bench loader")
    terminal, contests = Terminal(), []
    with TemporaryDirectory(prefix="fer-dist-bench-") as folder:
        for contest in bench_loader(flags.config, Path(folder) / "set"):
            for text in contest.skipped:
                terminal.say(text)
            terminal.table(*contest_table(contest))
            contests.append(asdict(contest))
    if flags.json:
        write_json(flags.json, contests)


def _checkpoint(arguments: Arguments) -> None:
    from fer_dist.bench.checkpoint import command

    command(arguments)


def _step(arguments: Arguments) -> None:
    from fer_dist.bench.step import command

    command(arguments)


def _gpu(arguments: Arguments) -> None:
    from fer_dist.bench.gpu import command

    command(arguments)


def _threads(arguments: Arguments) -> None:
    from fer_dist.bench.threads import command

    command(arguments)


def _integers(flag: str, text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"{flag} {text}: give whole numbers separated by commas") from None


def _at_least_one(flag: str, value: int) -> None:
    if value < 1:
        raise InputError(f"{flag} {value}: give at least 1")


BENCHES = {
    "loader": Command("SHARDS: our loader beside others on the same images, and each of its stages", _loader),
    "step": Command("steps with ddp and deepspeed side by side: time, and bytes of the optimiser", _step),
    "gpu": Command("[SHARDS]: a GPU's first ten minutes: the card, steps, decoding, pixels, training", _gpu),
    "threads": Command("SHARDS: every way to share the cores between decoding and the network, in turn", _threads),
    "shards": Command("RAW: building shards beside reading and decoding the same images with Pillow", _shards),
    "resize": Command("RAW: building shards of resized images in one process beside two", _resize),
    "near": Command("SHARDS: near duplicates made of a set's own images, and how many are found", _near),
    "audit": Command("an audit of drawn images: time, memory, and what it finds of planted duplicates", _audit),
    "order": Command("what up to a billion samples cost to open and to draw from, and a resumed loader's wait", _order),
    "shuffle": Command("how well the order mixes sets, also sorted ones, beside a true permutation", _shuffle),
    "checkpoint": Command("what a checkpoint costs the training beside which it is written", _checkpoint),
}
