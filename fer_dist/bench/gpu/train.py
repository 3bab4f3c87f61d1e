"""Of the measurement of a GPU: steps on what the loader gives."""

import time
from collections.abc import Iterator
from functools import partial

from fer_dist.bench.gpu.bench import FIRST, Bench, described, ready
from fer_dist.bench.gpu.given import Shape
from fer_dist.bench.gpu.watch import Measurement, Values
from fer_dist.config.settings import Compile


def measurements(bench: Bench) -> Iterator[Measurement]:
    yield Measurement("set", partial(described, bench))
    compiles: tuple[Compile, ...] = ("off", "on")
    for compiled in compiles:
        for shape in bench.shapes:
            what = f"training{' compiled' * (compiled == 'on')}, {shape}"
            compiled_on = bench.device.type if compiled == "on" else ""
            yield Measurement(what, partial(_training_rate, bench, shape, compiled), compiled_on=compiled_on)


def _training_rate(bench: Bench, shape: Shape, compiled: Compile) -> Values:
    """Steps on what the loader gives, and the same steps on noise (images a second). efficiency: the first by the
    second; wait: the share of the time in which the loop stands still for a batch."""
    config = bench.config(shape, compiled=compiled)
    clock, noise = bench.clock, bench.noise(config, shape)
    with ready(config):
        engine = bench.engine(config)
        alone = clock.one(lambda: engine.step(noise, config.train.lr))
        count = max(1, min(bench.flags.steps, int(bench.watch.left_seconds / alone)))
        engine.totals()
        waited, begun = 0.0, time.perf_counter()
        for batch in bench.loader(config, FIRST + count):
            engine.step(batch, config.train.lr)
            waited += batch.wait_seconds
            if batch.step == FIRST - 1:
                clock.wait()
                waited, begun = 0.0, time.perf_counter()
        clock.wait()
        seconds = time.perf_counter() - begun
        loss = engine.totals().loss
    rate: Values = {"images_per_second": shape.images * count / seconds, "on_noise": shape.images / alone}
    rate |= {"efficiency": alone * count / seconds, "wait": waited / seconds, "n": count, "loss": loss}
    return rate | {
        "crops_per_second": shape.images * shape.crops * count / seconds,
        "precision": config.train.precision,
    }
