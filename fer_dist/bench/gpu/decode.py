"""Of the measurement of a GPU: rates of decoding, and of the loader."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from statistics import median
from typing import Any

from fer_dist.bench.gpu.bench import FIRST, NO_CARD, Bench, Shape, described
from fer_dist.bench.gpu.watch import Measurement, Values
from fer_dist.bench.peers import dali_draws
from fer_dist.data.loading.pipeline import Graph, augmented, draws_of, empty_pipeline
from fer_dist.distributed.hardware import cores

TURNS = 3
"""Times that a pipeline is timed; the median is told."""

ENGINE_SHARES = (0.0, 0.25, 0.5, 0.65, 0.8, 1.0)
"""hw_decoder_load: the share of a batch that nvJPEG's hardware engine decodes. 0.65 is DALI's own choice."""


def measurements(bench: Bench) -> Iterator[Measurement]:
    first = bench.shapes[0]
    yield Measurement("set", partial(described, bench))
    ways: dict[str, dict[str, Any]] = {"host's cores": {"device": "cpu"}}
    for share in ENGINE_SHARES:
        ways[f"mixed, hw_decoder_load {share}"] = {"device": "mixed", "hw_decoder_load": share}
    for name, how in ways.items():
        lacking = NO_CARD if how["device"] == "mixed" and not bench.is_cuda else ""
        for whole in (False, True):
            what = f"{name}, {f'whole graph, {first}' if whole else 'decode alone'}"
            yield Measurement(what, partial(_graph_rate, bench, how, whole), lacking)
    for shape in dict.fromkeys((first, replace(first, crops=6 - first.crops))):
        for threads in bench.threads:
            yield Measurement(f"loader, {shape}, threads {threads}", partial(_loader_rate, bench, shape, threads))


def _graph_rate(bench: Bench, how: dict[str, Any], whole: bool) -> Values:
    """Of encoded images from memory: decoding alone, or all that a training does to them."""
    shape = bench.shapes[0]
    config = bench.config(shape)
    threads = cores() if how["device"] == "cpu" else config.data.threads
    graph = Graph(config.data, True, shape.images, bench.device, bench.takes_half(config), threads)
    feed = cycle(bench.held)
    pipeline = empty_pipeline(shape.images, threads, graph.device)
    from nvidia.dali import fn, types

    with pipeline:
        encoded = fn.external_source(source=lambda: next(feed), batch=True, dtype=types.UINT8, ndim=1)
        images = fn.decoders.image(encoded, output_type=types.RGB, **how)
        images = images.gpu() if bench.is_cuda and how["device"] == "cpu" else images
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
