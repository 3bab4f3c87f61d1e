"""A GPU's first ten minutes: what the card can, the network's step, decoding, the pixels, and all of it together.

Each result is printed when it is there, since the time on a card may end at any moment. On a CPU the same lines come,
and those that only a card can fill say so.
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fer_dist.bench.watch import Clock, Found, Show, Values, Watch
from fer_dist.config.flags import Arguments, flat, parse, positional, write_json
from fer_dist.config.settings import CacheFlags, Config, DataConfig, ModelConfig, Precision, TrainConfig, Views
from fer_dist.errors import InputError, WorkError, nearest
from fer_dist.progress import Terminal
from fer_dist.storage.places import Output, Place

if TYPE_CHECKING:
    # These take seconds to import, and --help needs the flags alone.
    from fer_dist.bench.pixels import Encoded
    from fer_dist.data.loading.loader import Batch, Loader
    from fer_dist.data.loading.reader import Reader
    from fer_dist.data.sources.source import Source
    from fer_dist.distributed.world import World
    from fer_dist.train.engine import Engine

FIRST = 4
"""Batches of a loader that pass before the clock runs: as many as it makes ahead."""

TURNS = 3
"""Times that a pipeline is timed; the median is told."""

HELD = 16
"""Batches of encoded images that are kept in memory, so that decoding is timed without reading."""

ENGINE_SHARES = (0.0, 0.25, 0.5, 0.65, 0.8, 1.0)
"""hw_decoder_load: the share of a batch that nvJPEG's hardware engine decodes. 0.65 is DALI's own choice."""

HALVES: tuple[Precision, ...] = ("bf16", "fp16")
ARITHMETICS: tuple[Precision, ...] = (*HALVES, "tf32", "fp32")

SHARES = {"step": 3.0, "decode": 1.0, "pixels": 1.0, "train": 2.0}
"""How the parts share the time: what compiles takes most of it."""

NO_CARD = "only a CUDA device has it"


@dataclass(frozen=True)
class GpuBench:
    """What is measured, and how long."""

    shards: Annotated[Place, positional()] = ""
    """Set of shards, given as for --data.train of training. Empty: faces are drawn into a temporary folder."""

    parts: str = "step,decode,pixels,train"
    """What is measured, separated by commas. step: the card and the network alone, without DALI; decode: rates of
    decoding and of the loader; pixels: formats, damage, one image in other batches, late reads; train: steps on what
    the loader gives."""

    seconds: float = 540.0
    """For everything, shared by the parts. What would not fit is left out and named."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What is measured. auto: CUDA where there is one."""

    batches: str = "100x5,128,512"
    """Images of a step, x5 where each becomes five crops, separated by commas. The first is decoded as well."""

    steps: int = 20
    """Steps or batches that are timed each time; fewer where the time would not do."""

    width: int = 64
    """Channels of the first stage; 64 is the study's network, 16 the demo's."""

    size: int = 256
    """Side to which each image is resized, in pixels."""

    crop: int = 224
    """Side of the crops, in pixels."""

    threads: str = "4,8,16"
    """Threads that decode, separated by commas, with each of which the loader is timed."""

    images: int = 512
    """Faces to draw where no set is given."""

    pixels: int = 224
    """Their side."""

    where: Annotated[CacheFlags, flat()] = field(default_factory=CacheFlags)


@dataclass(frozen=True)
class Shape:
    """A batch: so many images, each in one crop at random (1) or in five (5)."""

    images: int
    crops: int

    def __str__(self) -> str:
        return f"{self.images} x {self.crops}"

    @property
    def views(self) -> Views:
        return "expand" if self.crops == 5 else "random_one"


@dataclass(frozen=True)
class Bench:
    """What the parts are given. folder: for faces that are drawn."""

    flags: GpuBench
    shapes: tuple[Shape, ...]
    threads: tuple[int, ...]
    world: "World"
    watch: Watch
    folder: Path

    @property
    def device(self) -> Any:
        return self.world.device

    @property
    def is_cuda(self) -> bool:
        return bool(self.device.type == "cuda")

    @cached_property
    def clock(self) -> Clock:
        return Clock(self.device, self.flags.steps, self.watch)

    @cached_property
    def reader(self) -> "Reader":
        """Of the set, which is drawn where none was given."""
        return _open(self.flags.shards or str(_drawn(self.flags, self.folder)), self.flags)

    @cached_property
    def held(self) -> "list[list[Encoded]]":
        """Encoded images in batches of the first shape."""
        from fer_dist.data.loading.order import sequence

        size = self.shapes[0].images
        samples = self.reader.read(sequence(self.reader.counts, 0, 1, HELD * size)[0])
        sound = [image.copy() for image, is_sound in zip(samples.content, samples.sound, strict=True) if is_sound]
        if len(sound) < size:
            raise InputError(
                f"bench gpu: of the first {len(samples)} images of {self.reader.folder} only {len(sound)} are built as "
                "JPEG or PNG; look closer with fer-dist shards verify"
            )
        return [sound[begin : begin + size] for begin in range(0, len(sound) - size + 1, size)]

    def config(self, shape: Shape, precision: Precision = "auto", compiled: bool = False) -> Config:
        """The settings of a training, none of them open."""
        from fer_dist.train.choices import choose

        data = DataConfig(size=self.flags.size, crop=self.flags.crop, views=shape.views)
        train = TrainConfig(batch_size=shape.images, precision=precision, compile=compiled)
        return choose(Config(data, ModelConfig(width=self.flags.width), train), {}, self.world).config

    def engine(self, config: Config) -> "Engine":
        import torch

        from fer_dist.runs.network import build, network_of, on_device
        from fer_dist.train.engine import Engine

        torch.manual_seed(0)
        return Engine(config, on_device(build(network_of(config)), self.device), self.world)

    def noise(self, config: Config, shape: Shape) -> "Batch":
        """A batch as the loader gives one in this arithmetic."""
        from fer_dist.train.estimate import noise

        batch = noise(shape.images, shape.crops, self.flags.crop, self.device)
        return replace(batch, crops=batch.crops.half()) if self.takes_half(config) else batch

    def takes_half(self, config: Config) -> bool:
        from fer_dist.distributed.hardware import HALF

        return self.is_cuda and config.train.precision in HALF

    def loader(self, config: Config, stop: int, threads: int = 0) -> "Loader":
        """The loader of a training run, whose steps end at `stop`. threads: that decode; 0: as the run chooses."""
        from fer_dist.data.loading.loader import Placement, training_loader
        from fer_dist.data.loading.order import Order

        placement = Placement(0, 1, self.device, self.takes_half(config), threads or config.data.threads)
        order = Order(self.reader.counts, config.train.batch_size, seed=0)
        return training_loader(config.data, self.reader, order, placement, 0, stop)


def bench_gpu(flags: GpuBench, show: Show) -> None:
    """Take every measurement of the parts that are asked for. show: is given each when it is there.

    Raises InputError for flags, devices and sets that will not do, before anything is measured.
    """
    parts, shapes, threads = _checked(flags)
    import torch

    from fer_dist.distributed.world import World, pick_device

    device = pick_device(flags.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if flags.shards and set(parts) != {"step"}:
        _check_size(_open(flags.shards, flags), shapes, flags.shards)
    watch = Watch(flags.seconds, [SHARES[part] for part in parts], show)
    with TemporaryDirectory(prefix="fer-dist-bench-") as folder:
        bench = Bench(flags, shapes, threads, World(0, 1, device), watch, Path(folder) / "faces")
        for part in parts:
            watch.begin(part)
            PARTS[part](bench)


def command(arguments: Arguments) -> None:
    @dataclass(frozen=True)
    class Gpu:
        """A GPU's first ten minutes, a line a result: the card, the network's step, decoding, pixels, training."""

        config: Annotated[GpuBench, flat()]
        json: Output = ""
        """File for the figures as JSON as well."""

    flags = parse(Gpu, arguments, "bench gpu")
    found: list[Found] = []
    terminal = Terminal(sys.stdout)

    def show(line: Found) -> None:
        found.append(line)
        terminal.say(str(line))

    try:
        bench_gpu(flags.config, show)
    finally:
        if flags.json and found:
            write_json(flags.json, [asdict(line) for line in found])
    failed = [f"{line.what} ({line.part})" for line in found if line.failed]
    if failed:
        raise WorkError(f"bench gpu: {len(failed)} of {len(found)} measurements failed: {'; '.join(failed)}")


def _checked(flags: GpuBench) -> tuple[list[str], tuple[Shape, ...], tuple[int, ...]]:
    """Parts, batches and threads, read. Raises InputError for what cannot be measured."""
    parts = flags.parts.split(",")
    for part in parts:
        if part not in PARTS:
            raise InputError(f"bench gpu: --parts {flags.parts}: unknown part {part!r}; {nearest(part, PARTS)}")
    for name in ("steps", "seconds"):
        if getattr(flags, name) <= 0:
            raise InputError(f"bench gpu: --{name} {getattr(flags, name)}: give more than 0")
    if flags.width < 16:
        raise InputError(f"bench gpu: --width {flags.width}: give at least 16")
    if not 1 <= flags.crop <= flags.size:
        raise InputError(f"bench gpu: --crop {flags.crop}: give a side from 1 to --size {flags.size}")
    shapes = tuple(map(_shape, flags.batches.split(",")))
    largest = max(shape.images for shape in shapes)
    if set(parts) != {"step"}:
        _faces(1, flags.pixels)
    if not flags.shards and set(parts) != {"step"} and flags.images < largest:
        raise InputError(f"bench gpu: --images {flags.images}: fewer than the {largest} of --batches {flags.batches}")
    if not all(word.isdecimal() and int(word) for word in flags.threads.split(",")):
        raise InputError(f"bench gpu: --threads {flags.threads}: give whole numbers from 1, separated by commas")
    return parts, shapes, tuple(map(int, flags.threads.split(",")))


def _shape(word: str) -> Shape:
    images, _, crops = word.partition("x")
    # A single crop would leave BatchNorm a single value.
    if not images.isdecimal() or int(images) < 2 or crops not in ("", "1", "5"):
        raise InputError(f"bench gpu: --batches {word}: give numbers of images from 2, with x5 for five crops of each")
    return Shape(int(images), int(crops or 1))


def _check_size(reader: "Reader", shapes: tuple[Shape, ...], place: str) -> None:
    images, largest = int(reader.counts.sum()), max(shape.images for shape in shapes)
    if images < largest:
        raise InputError(f"bench gpu: {place} has {images} images, fewer than the {largest} of --batches; give less")


def _open(place: str, flags: GpuBench) -> "Reader":
    from fer_dist.data.emotions import EIGHT
    from fer_dist.data.loading.loader import open_reader

    return open_reader(place, EIGHT, replace(flags.where.data, drop_extra=True), "SHARDS")


def _drawn(flags: GpuBench, folder: Path) -> Path:
    """A set of drawn faces."""
    from fer_dist.data.build.build import BuildOptions, build_shards
    from fer_dist.data.processes import core_count

    # A process takes as long to start as it takes to draw some 64 faces.
    workers = max(1, min(core_count(), flags.images // 64))
    build_shards(_faces(flags.images, flags.pixels), folder, BuildOptions(shard_samples=64, workers=workers))
    return folder / "train"


def _faces(count: int, side: int) -> "Source":
    from fer_dist.data.sources.source import open_source

    return open_source("synthetic", "wild", count=count, test_count=0, pixels=side)


@dataclass(frozen=True)
class Variant:
    """A way to take steps. compiled: by the run's own setting, or to CUDA graphs. tuned: cuDNN tries its algorithms."""

    precision: Precision
    compiled: Literal["no", "yes", "graphs"] = "no"
    tuned: bool = False

    def lacking(self, bench: Bench) -> str:
        """What keeps it from being measured on this device; empty where nothing does."""
        from fer_dist.distributed.hardware import cost_of

        if not bench.is_cuda and self.precision == "tf32":
            return cost_of("tf32", bench.device)
        return "" if bench.is_cuda or not (self.tuned or self.compiled == "graphs") else NO_CARD


VARIANTS = {
    "bf16": Variant("bf16"),
    "fp16": Variant("fp16"),
    "tf32": Variant("tf32"),
    "fp32": Variant("fp32"),
    "bf16, cudnn.benchmark": Variant("bf16", tuned=True),
    "bf16 compiled": Variant("bf16", "yes"),
    "bf16 compiled, cudnn.benchmark": Variant("bf16", "yes", tuned=True),
    "fp16 compiled": Variant("fp16", "yes"),
    "bf16 compiled to CUDA graphs": Variant("bf16", "graphs"),
}


def _part_step(bench: Bench) -> None:
    watch, first = bench.watch, bench.shapes[0]
    watch.measure("device", partial(_device, bench))
    watch.measure("copy of memory", partial(_copy_rate, bench))
    for precision in ARITHMETICS:
        variant = Variant(precision)
        watch.measure(
            f"product of matrices, {precision}", partial(_product_rate, bench, precision), variant.lacking(bench)
        )
    for precision in HALVES:
        lacking = "" if bench.is_cuda else "a CPU has nothing to wait for"
        watch.measure(f"waits of the host, {precision}", partial(_host_waits, bench, precision, first), lacking)
    watch.measure("a look at the loss and the weights", partial(_look, bench, first))
    for precision in ARITHMETICS:
        take = partial(_evaluation_rate, bench, precision)
        watch.measure(f"evaluation, {precision}", take, Variant(precision).lacking(bench))
    # What is compiled comes last: it takes a minute each.
    for is_compiled in (False, True):
        for shape in bench.shapes:
            for name, variant in VARIANTS.items():
                if (variant.compiled != "no") == is_compiled:
                    take = partial(_step_rate, bench, variant, shape)
                    compiled_on = bench.device.type if is_compiled else ""
                    watch.measure(f"{name}, {shape}", take, variant.lacking(bench), compiled_on)


def _device(bench: Bench) -> Values:
    import torch

    from fer_dist.distributed.hardware import cores, fastest

    values: Values = {"torch": torch.__version__, "cores": cores(), "precision": fastest(bench.device).precision}
    if not bench.is_cuda:
        return {"name": "cpu"} | values
    card = torch.cuda.get_device_properties(bench.device)
    capability = f"{card.major}.{card.minor}"
    here: Values = {"name": card.name, "capability": capability, "GiB": card.total_memory / 2**30}
    return here | {"CUDA": str(torch.version.cuda), "cuDNN": torch.backends.cudnn.version() or 0} | values


def _copy_rate(bench: Bench) -> Values:
    import torch

    size = 2**30 if bench.is_cuda else 2**26
    source = torch.zeros(size, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    # Each byte is read and written.
    return {"gigabytes_per_second": 2e-9 * size / bench.clock.one(lambda: target.copy_(source))}


def _product_rate(bench: Bench, precision: Precision) -> Values:
    import torch

    from fer_dist.distributed.hardware import HALF, float32_on_cuda

    side = 8192 if bench.is_cuda else 256
    matrix = torch.randn(side, side, device=bench.device).to(HALF.get(precision, torch.float32))
    with float32_on_cuda(tf32=precision == "tf32"):
        seconds = bench.clock.one(lambda: matrix @ matrix)
    return {"teraflops": 2e-12 * side**3 / seconds}


def _host_waits(bench: Bench, precision: Precision, shape: Shape) -> Values:
    """How often the host stops for the device in some steps, as torch itself warns of it."""
    import torch

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
    return {"milliseconds": 1e3 * bench.clock.one(lambda: (engine.totals(), engine.is_finite()))}


def _evaluation_rate(bench: Bench, precision: Precision) -> Values:
    """fp32 is what every evaluation takes."""
    import torch

    from fer_dist.distributed.hardware import HALF, float32_on_cuda
    from fer_dist.evaluate.predict import evaluating
    from fer_dist.train.estimate import noise

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
    """first_seconds: of the first step, with its compilation. host_ms: until a step is handed to the device."""
    import torch

    config = bench.config(shape, variant.precision, compiled=variant.compiled == "yes")
    clock, batch = bench.clock, bench.noise(config, shape)
    if bench.is_cuda:
        torch.cuda.reset_peak_memory_stats(bench.device)
    with _ready(config, variant.tuned, variant.compiled != "no"):
        engine = bench.engine(config)
        if variant.compiled == "graphs":
            engine.strategy.network = torch.compile(engine.model, mode="reduce-overhead")

        def step() -> None:
            engine.step(batch, config.train.lr)

        first = clock.seconds(step)
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


@contextmanager
def _ready(config: Config, tuned: bool = False, compiled: bool = False) -> Iterator[None]:
    """torch as a training has it; what was compiled is forgotten afterwards."""
    import torch

    from fer_dist.distributed.hardware import float32_on_cuda, torch_threads

    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = tuned
    try:
        with float32_on_cuda(tf32=config.train.precision == "tf32"), torch_threads(config.train.threads):
            yield
    finally:
        torch.backends.cudnn.benchmark = before
        if compiled:
            torch.compiler.reset()


def _set(bench: Bench) -> Values:
    """What is read, drawn here where it is not there yet."""
    begun = time.perf_counter()
    images = int(bench.reader.counts.sum())
    place = bench.flags.shards or f"drawn, {bench.flags.pixels} px"
    return {"images": images, "of": place, "seconds": time.perf_counter() - begun}


def _part_decode(bench: Bench) -> None:
    watch, first = bench.watch, bench.shapes[0]
    watch.measure("set", partial(_set, bench))
    ways: dict[str, dict[str, Any]] = {"host's cores": {"device": "cpu"}}
    for share in ENGINE_SHARES:
        ways[f"mixed, hw_decoder_load {share}"] = {"device": "mixed", "hw_decoder_load": share}
    for name, how in ways.items():
        lacking = NO_CARD if how["device"] == "mixed" and not bench.is_cuda else ""
        for whole in (False, True):
            what = f"{name}, {f'whole graph, {first}' if whole else 'decode alone'}"
            watch.measure(what, partial(_graph_rate, bench, how, whole), lacking)
    for shape in dict.fromkeys((first, replace(first, crops=6 - first.crops))):
        for threads in bench.threads:
            watch.measure(f"loader, {shape}, threads {threads}", partial(_loader_rate, bench, shape, threads))


def _graph_rate(bench: Bench, how: dict[str, Any], whole: bool) -> Values:
    """Of encoded images from memory: decoding alone, or all that a training does to them."""
    from fer_dist.bench.peers import dali_draws
    from fer_dist.data.loading.pipeline import Graph, augmented, draws_of, empty_pipeline
    from fer_dist.distributed.hardware import cores

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


def _part_pixels(bench: Bench) -> None:
    import torch

    from fer_dist.bench import pixels

    watch, device, cpu = bench.watch, bench.device, torch.device("cpu")
    watch.measure("set", partial(_set, bench))
    kinds = pixels.kinds(_face(bench.flags.pixels))
    for name, content in kinds.items():
        watch.measure(name, partial(pixels.formats, content, device))
    one = kinds["jpeg 4:2:0"]

    def crops() -> Values:
        return pixels.crops_in_other_batch(one, bench.held[0], bench.config(bench.shapes[0]).data, device)

    def decoded(where: Any, how: dict[str, Any]) -> Values:
        return pixels.decoded_in_other_batch(one, bench.held[0], where, how)

    watch.measure("one image, other batch: evaluation's crops", crops)
    watch.measure("one image, other batch: cpu", partial(decoded, cpu, {}))
    for name, how in pixels.DECODERS.items():
        lacking = "" if bench.is_cuda else NO_CARD
        watch.measure(f"one image, other batch: {name}", partial(decoded, device, how), lacking)
    for name, content in pixels.damaged(one).items():
        watch.measure(f"damage: {name}", partial(pixels.verdicts, content, device))
    watch.measure("late reads equal those at once", partial(_late_reads, bench))


def _face(side: int) -> Any:
    """One face, as Pillow has it."""
    from fer_dist.data.images import decode
    from fer_dist.data.sources.source import Sample

    source = _faces(1, side)
    (sample,) = source.samples()
    assert isinstance(sample, Sample)
    return decode(source.read(sample).content)


def _late_reads(bench: Bench) -> Values:
    """Whether crops that the device reads late, behind other work, are those that it reads at once: the loader gives
    views of DALI's own memory, and goes on."""
    import torch

    config = bench.config(bench.shapes[0])
    side, count = (6144, 100) if bench.is_cuda else (64, FIRST)
    load = torch.randn(side, side, device=bench.device)

    def sums(late: bool) -> list[Any]:
        nonlocal load
        found = []
        for batch in bench.loader(config, count):
            for _ in range(4 if late else 0):
                load = (load @ load).clamp(-1, 1)
            found.append(batch.crops.sum(dim=(1, 2, 3), dtype=torch.float64))
            if not late:
                bench.clock.wait()
        return [each.cpu() for each in found]

    pairs = zip(sums(late=False), sums(late=True), strict=True)
    return {"equal": all(torch.equal(one, other) for one, other in pairs), "batches": count}


def _part_train(bench: Bench) -> None:
    bench.watch.measure("set", partial(_set, bench))
    for compiled in (False, True):
        for shape in bench.shapes:
            what = f"training{' compiled' if compiled else ''}, {shape}"
            compiled_on = bench.device.type if compiled else ""
            bench.watch.measure(what, partial(_training_rate, bench, shape, compiled), compiled_on=compiled_on)


def _training_rate(bench: Bench, shape: Shape, compiled: bool) -> Values:
    """Steps on what the loader gives, and the same steps on noise (images a second). efficiency: the first by the
    second; wait: the share of the time in which the loop stands still for a batch."""
    config = bench.config(shape, compiled=compiled)
    clock, noise = bench.clock, bench.noise(config, shape)
    with _ready(config, compiled=compiled):
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


PARTS: dict[str, Callable[[Bench], None]] = {
    "step": _part_step,
    "decode": _part_decode,
    "pixels": _part_pixels,
    "train": _part_train,
}
