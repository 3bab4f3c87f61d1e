"""Of the measurement of a GPU: what the card can, and the network alone, without DALI."""

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch

from fer_dist.bench.gpu.bench import NO_CARD, Bench, ready
from fer_dist.bench.gpu.given import Shape
from fer_dist.bench.gpu.watch import Measurement, Values
from fer_dist.config.settings import Compile, Precision
from fer_dist.distributed.hardware import HALF, cores, cost_of, fastest, float32_on_cuda
from fer_dist.evaluate.predict import evaluating
from fer_dist.train.estimate import noise

HALVES: tuple[Precision, ...] = ("bf16", "fp16")
ARITHMETICS: tuple[Precision, ...] = (*HALVES, "tf32", "fp32")


@dataclass(frozen=True)
class Variant:
    """A way to take steps. compiled: the run's own setting. tuned: cuDNN tries its algorithms, as in a run."""

    precision: Precision
    compiled: Compile = "off"
    tuned: bool = True

    def lacking(self, bench: Bench) -> str:
        """What keeps it from being measured on this device; empty where nothing does."""
        if not bench.is_cuda and self.precision == "tf32":
            return cost_of("tf32", bench.device)
        return "" if bench.is_cuda or (self.tuned and self.compiled != "graphs") else NO_CARD


VARIANTS = {
    "bf16": Variant("bf16"),
    "fp16": Variant("fp16"),
    "tf32": Variant("tf32"),
    "fp32": Variant("fp32"),
    "bf16, without cudnn.benchmark": Variant("bf16", tuned=False),
    "bf16 compiled": Variant("bf16", "on"),
    "fp16 compiled": Variant("fp16", "on"),
    "bf16 compiled to CUDA graphs": Variant("bf16", "graphs"),
}


def measurements(bench: Bench) -> Iterator[Measurement]:
    first = bench.shapes[0]
    yield Measurement("device", partial(_device, bench))
    yield Measurement("copy of memory", partial(_copy_rate, bench))
    for precision in ARITHMETICS:
        take = partial(_product_rate, bench, precision)
        yield Measurement(f"product of matrices, {precision}", take, Variant(precision).lacking(bench))
    for precision in HALVES:
        lacking = "" if bench.is_cuda else "a CPU has nothing to wait for"
        yield Measurement(f"waits of the host, {precision}", partial(_host_waits, bench, precision, first), lacking)
    yield Measurement("a look at the loss and the weights", partial(_look, bench, first))
    for precision in ARITHMETICS:
        take = partial(_evaluation_rate, bench, precision)
        yield Measurement(f"evaluation, {precision}", take, Variant(precision).lacking(bench))
    # What is compiled comes last: it takes a minute each.
    for is_compiled in (False, True):
        for shape in bench.shapes:
            for name, variant in VARIANTS.items():
                if (variant.compiled != "off") == is_compiled:
                    take = partial(_step_rate, bench, variant, shape)
                    compiled_on = bench.device.type if is_compiled else ""
                    yield Measurement(f"{name}, {shape}", take, variant.lacking(bench), compiled_on)


def _device(bench: Bench) -> Values:
    values: Values = {"torch": torch.__version__, "cores": cores(), "precision": fastest(bench.device).precision}
    if not bench.is_cuda:
        return {"name": "cpu"} | values
    card = torch.cuda.get_device_properties(bench.device)
    capability = f"{card.major}.{card.minor}"
    here: Values = {"name": card.name, "capability": capability, "GiB": card.total_memory / 2**30}
    return here | {"CUDA": str(torch.version.cuda), "cuDNN": torch.backends.cudnn.version() or 0} | values


def _copy_rate(bench: Bench) -> Values:
    size = 2**30 if bench.is_cuda else 2**26
    source = torch.zeros(size, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    # Each byte is read and written.
    return {"gigabytes_per_second": 2e-9 * size / bench.clock.one(lambda: target.copy_(source))}


def _product_rate(bench: Bench, precision: Precision) -> Values:
    side = 8192 if bench.is_cuda else 256
    matrix = torch.randn(side, side, device=bench.device).to(HALF.get(precision, torch.float32))
    with float32_on_cuda(tf32=precision == "tf32"):
        seconds = bench.clock.one(lambda: matrix @ matrix)
    return {"teraflops": 2e-12 * side**3 / seconds}


def _host_waits(bench: Bench, precision: Precision, shape: Shape) -> Values:
    """How often the host stops for the device in some steps, as torch itself warns of it."""
    config = bench.config(shape, precision)
    engine, batch = bench.engine(config), bench.noise(config, shape)
    bench.clock.seconds(lambda: engine.step(batch, config.train.lr))
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            for _ in range(bench.flags.steps):
                engine.step(batch, config.train.lr)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {"steps": bench.flags.steps, "waits": sum("synchron" in str(warning.message) for warning in raised)}


def _look(bench: Bench, shape: Shape) -> Values:
    engine = bench.engine(bench.config(shape))
    return {"milliseconds": 1e3 * bench.clock.one(lambda: engine.totals())}


def _evaluation_rate(bench: Bench, precision: Precision) -> Values:
    """fp32 is what every evaluation takes."""
    images = max(shape.images for shape in bench.shapes)
    config = bench.config(bench.shapes[0], precision)
    model, half = bench.engine(config).model, HALF.get(precision)
    crops = noise(images, 1, bench.flags.crop, bench.device).crops
    with (
        torch.inference_mode(),
        evaluating(model),
        float32_on_cuda(tf32=precision == "tf32"),
        torch.autocast(bench.device.type, half, enabled=half is not None),
    ):
        return {"images": images, "images_per_second": images / bench.clock.one(lambda: model(crops))}


def _step_rate(bench: Bench, variant: Variant, shape: Shape) -> Values:
    """first_seconds: until a step is taken, with the compilation. host_ms: until one is handed to the device."""
    config = bench.config(shape, variant.precision, variant.compiled)
    clock, batch = bench.clock, bench.noise(config, shape)
    if bench.is_cuda:
        torch.cuda.reset_peak_memory_stats(bench.device)
    with ready(config, variant.tuned):
        begun = time.perf_counter()
        engine = bench.engine(config)

        def step() -> None:
            engine.step(batch, config.train.lr)

        step()
        clock.wait()
        first = time.perf_counter() - begun
        count = clock.warm(step)
        begun = time.perf_counter()
        for _ in range(count):
            step()
        handed = time.perf_counter() - begun
        clock.wait()
        seconds = (time.perf_counter() - begun) / count
        loss = engine.totals().loss
    rate: Values = {"crops_per_second": shape.images * shape.crops / seconds, "ms": 1e3 * seconds}
    rate |= {"host_ms": 1e3 * handed / count, "first_seconds": first, "n": count, "loss": loss}
    return rate | ({"GiB": torch.cuda.max_memory_allocated(bench.device) / 2**30} if bench.is_cuda else {})
