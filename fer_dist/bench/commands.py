"""The commands below `fer-dist bench`: each measures in one run and prints a table."""

import sys
from functools import partial
from importlib import import_module
from typing import Any

from fer_dist.config.flags import Arguments, Command, listing, parse, pick, write_json
from fer_dist.errors import naming
from fer_dist.progress import Terminal

FILES = {"resize": "shards", "near": "audit", "gpu": "gpu.parts"}
"""Where a measurement stands that has no file of its name."""

CHECKED = {"gpu": "gpu.given"}
"""Where the flags of a measurement are read before what measures is imported."""


def bench(arguments: Arguments) -> None:
    if not arguments or arguments[0] in ("--help", "-h"):
        sys.stdout.write("usage: fer-dist bench WHAT ...\n\n" + listing(BENCHES))
        return
    pick(BENCHES, arguments[0], "bench").run(arguments[1:])


def _run(name: str, arguments: Arguments) -> None:
    """Show each part of a measurement when it is there, and write what there is to --json, also of one that ends early.

    Of `order`, the flags are OrderFlags of bench/flags.py, and measure_order of bench/order.py measures.
    """
    from fer_dist.bench import flags as kinds

    flags = parse(getattr(kinds, f"{name.title()}Flags"), arguments, f"bench {name}")
    if place := getattr(flags, "shards", ""):
        # What measures imports torch, which takes seconds.
        from fer_dist.config.settings import CacheFlags
        from fer_dist.data.loading.shard_set import open_set

        with naming("SHARDS"):
            open_set(place, getattr(flags, "where", CacheFlags()).data)
    if name in CHECKED:
        import_module(f"fer_dist.bench.{CHECKED[name]}").asked(flags)
    measure = getattr(import_module(f"fer_dist.bench.{FILES.get(name, name)}"), f"measure_{name}")
    figures: Any = None
    notes, lines = Terminal(), Terminal(sys.stdout)
    try:
        for part in measure(flags):
            figures = part.figures if figures is None else _joined(figures, part.figures)
            for note in part.notes:
                notes.say(note)
            if part.table:
                header, rows = part.table
                lines.table(header, rows, part.text_columns)
            else:
                lines.say(part.line)
    finally:
        if flags.json and figures is not None:
            write_json(flags.json, figures)


def _joined(one: Any, other: Any) -> Any:
    return one | other if isinstance(one, dict) else one + other


BENCHES = {
    name: Command(text, partial(_run, name))
    for name, text in {
        "loader": "SHARDS: our loader beside others on the same images, and each of its stages",
        "step": "steps with ddp and deepspeed side by side: time, and bytes of the optimiser",
        "gpu": "[SHARDS]: a GPU's first ten minutes: the card, steps, decoding, pixels, training",
        "threads": "SHARDS: every way to share the cores between decoding and the network, in turn",
        "predict": "RUN IMAGES: predicting faces beside a plain loop of onnxruntime over the same files",
        "shards": "RAW: building shards beside reading and decoding the same images with Pillow",
        "resize": "RAW: building shards of resized images in one process beside two",
        "near": "SHARDS: near duplicates made of a set's own images, and how many are found",
        "audit": "an audit of drawn images: time, memory, and what it finds of planted duplicates",
        "order": "what up to a billion samples cost to open and to draw from, and a resumed loader's wait",
        "shuffle": "how well the order mixes sets, also sorted ones, beside a true permutation",
        "checkpoint": "what a checkpoint costs the training beside which it is written",
    }.items()
}
