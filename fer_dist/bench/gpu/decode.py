"""Of the measurement of a GPU: rates of decoding, and of the loader."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from statistics import median
from typing import Any, get_args

from fer_dist.bench.gpu.bench import FIRST, NO_CARD, Bench, described
from fer_dist.bench.gpu.given import Shape
from fer_dist.bench.gpu.watch import Measurement, Values
from fer_dist.bench.peers import dali_draws
from fer_dist.config.settings import Decoder
from fer_dist.data.loading.pipeline import Graph, augmented, decoded, draws_of, empty_pipeline
from fer_dist.distributed.hardware import cores

TURNS = 3
"""Times that a pipeline is timed; the median is told."""

DECODERS: tuple[Decoder, ...] = get_args(Decoder)[1:]
"""The values of data.decoder but auto, which is one of them."""


def measurements(bench: Bench) -> Iterator[Measurement]:
    first = bench.shapes[0]
    yield Measurement("set", partial(described, bench))
    for decoder in DECODERS:
        lacking = NO_CARD if decoder != "cpu" and not bench.is_cuda else ""
        for whole in (False, True):
            what = f"{decoder}, {f'whole graph, {first}' if whole else 'decode alone'}"
            yield Measurement(what, partial(_graph_rate, bench, decoder, whole), lacking)
    for shape in dict.fromkeys((first, replace(first, crops=6 - first.crops))):
        for threads in bench.threads:
            yield Measurement(f"loader, {shape}, threads {threads}", partial(_loader_rate, bench, shape, threads))


def _graph_rate(bench: Bench, decoder: Decoder, whole: bool) -> Values:
    """Of encoded images from memory: decoding alone, or all that a training does to them."""
    shape = bench.shapes[0]
    config = bench.config(shape)
    threads = cores() if decoder == "cpu" else config.data.threads
    graph = Graph(config.data, True, shape.images, bench.device, bench.takes_half(config), threads)
    feed = cycle(bench.held)
    pipeline = empty_pipeline(shape.images, threads, graph.device)
    from nvidia.dali import fn, types

    with pipeline:
        encoded = fn.external_source(source=lambda: next(feed), batch=True, dtype=types.UINT8, ndim=1)
        images = decoded(encoded, graph.device, decoder)
        drawn = dali_draws(graph.data, draws_of(graph)) if whole else {}
        pipeline.set_outputs(augmented(images, drawn, graph) if whole else images)
    pipeline.build()
    count = bench.clock.warm(pipeline.run)
    rates = [shape.images * count / bench.clock.seconds(pipeline.run, count) for _ in range(TURNS)]
    rate: Values = {"images_per_second": median(rates), "least": min(rates), "most": max(rates), "n": TURNS}
    return rate | {"threads": threads}


def _loader_rate(bench: Bench, shape: Shape, threads: int) -> Values:
    """Of the loader of a training, with nobody who takes long over a batch. next_ms: how long the host is held."""
    config = bench.config(shape)
    loader = bench.loader(config, FIRST + TURNS * bench.flags.steps, threads)
    stream: Any = iter(loader)
    with closing(stream) as batches:
        for _ in islice(batches, FIRST):
            pass
        bench.clock.wait()
        begun, count, held = time.perf_counter(), 0, 0.0
        for batch in batches:
            held += batch.wait_seconds
            count += 1
            if bench.watch.left_seconds < 0:
                break
        bench.clock.wait()
        seconds = time.perf_counter() - begun
    return {"images_per_second": shape.images * count / seconds, "next_ms": 1e3 * held / count, "n": count}
