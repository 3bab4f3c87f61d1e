"""The flags of each measurement, by its name: LoaderFlags are those of `fer-dist bench loader`.

They stand apart from the work: --help needs them alone, and the processes that some measurements start and time would
load what makes flags of them.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from fer_dist.config.flags import flat, positional
from fer_dist.config.settings import CacheFlags, Views
from fer_dist.errors import InputError
from fer_dist.storage.paths import OnDisk, Output, PathOrUrl

Json = Annotated[Output, tyro.conf.arg(help="File for the figures as JSON as well.")]


@dataclass(frozen=True)
class LoaderFlags:
    """Our loader beside DALI's reader, torch, webdataset and litdata, with the same transforms and without any."""

    shards: Annotated[PathOrUrl, positional()]
    """Set of shards, given as for --data.train of training."""

    json: Json = ""

    size: int = 256
    """Side to which each image is resized."""

    crop: int = 224
    """Side of the crops."""

    views: Views = "expand"
    """Crops of an image: expand (five) or random_one."""

    samples: int = 2000
    """Images of the set that are taken."""

    images: int = 512
    """Images that each gives while the clock runs, in each repeat; of those that only read, 16 times as many."""

    batch_size: int = 64
    """Images of a batch."""

    threads: int = 2
    """Threads of our graph and of DALI's. The others have two workers."""

    repeats: int = 5
    """Times that each has its turn; medians are printed."""

    parts: tuple[Literal["transforms", "readers", "stages"], ...] = ("transforms", "readers", "stages")
    """What is measured."""

    where: Annotated[CacheFlags, flat()] = field(default_factory=CacheFlags)


@dataclass(frozen=True)
class StepFlags:
    """Steps with ddp and deepspeed side by side, on noise: their time, and what each rank's optimiser holds."""

    json: Json = ""

    workers: int = 2
    """Processes of one torchrun group on this machine."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of all of them; CUDA needs one for each."""

    width: int = 64
    """Channels of the first stage; 64 is the study's network, 16 the demo's."""

    crop: int = 224
    """Side of the crops, one for each image."""

    batch_size: int = 100
    """Images of a step over all workers."""

    precision: Literal["auto", "bf16", "tf32", "fp32"] = "auto"
    """Arithmetic of the forward and backward pass; auto: as of a training with DeepSpeed, which takes no fp16."""

    steps: int = 5
    """Steps between two looks at the clock."""

    repeats: int = 5
    """Times that each strategy has its turn; medians are printed."""

    def __post_init__(self) -> None:
        smallest = min(self.workers, self.steps, self.repeats, self.crop)
        if smallest < 1 or self.batch_size < self.workers or self.width < 16:
            raise InputError(
                "bench step: --workers, --steps, --repeats and --crop must be at least 1, --width at least 16, and "
                "--batch-size at least --workers"
            )


@dataclass(frozen=True)
class GpuFlags:
    """A GPU's first ten minutes, a line a result: the card, the network's step, decoding, pixels, training."""

    shards: Annotated[PathOrUrl, positional()] = ""
    """Set of shards, given as for --data.train of training. Empty: faces are drawn into a temporary folder."""

    json: Json = ""

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
class ThreadsFlags:
    """Every way to share this machine's cores between decoding and the network, beside what a run chooses."""

    shards: Annotated[PathOrUrl, positional()]
    """Training shards, as for --data.train."""

    json: Json = ""

    preset: Literal["demo", "paper", "strong"] = "demo"
    """Preset whose network and augmentation are taken."""

    size: int = 64
    """Side to which images are resized."""

    crop: int = 56
    """Side of the crops."""

    views: Views = "random_one"
    """Crops of an image."""

    batch_size: int = 32
    """Images of a step."""

    steps: int = 80
    """Steps of a turn."""

    repeats: int = 5
    """Times that each split has its turn; medians are printed."""


@dataclass(frozen=True)
class PredictFlags:
    """Predicting images of one face each beside the best plain loop of onnxruntime over the same files, on a CPU."""

    run: Annotated[PathOrUrl, positional()]
    """Run folder or .safetensors file."""

    images: Annotated[OnDisk, positional()]
    """Folder of images, each of one face."""

    samples: int = 2000
    """Images that are taken, at most; a quarter of them for the search of the best loop. 0: all."""

    repeats: int = 5
    """Times that each has its turn; medians are printed."""

    json: Json = ""


@dataclass(frozen=True)
class ShardsFlags:
    """Building a release's shards beside reading and decoding its images with Pillow, in two processes each."""

    raw: Annotated[str, positional()]
    """Path of the release."""

    source: str = "fer2013"
    """Which release it is."""

    repeats: int = 5
    """Times that both are done, in turn; medians are printed."""

    json: Json = ""


@dataclass(frozen=True)
class ResizeFlags:
    """Building a release's shards with every image resized, in one process beside two."""

    raw: Annotated[str, positional()]
    """Path of the release."""

    source: str = "fer2013"
    """Which release it is."""

    resize: int = 224
    """Side to which the images are resized, in pixels."""

    repeats: int = 3
    """Times that both are done, in turn; medians are printed."""

    json: Json = ""


@dataclass(frozen=True)
class NearFlags:
    """Near duplicates made of a set's own images: how many an audit finds, and its false alarms."""

    shards: Annotated[PathOrUrl, positional()]
    """Set of shards, given as for --data.train of training."""

    count: int = 5000
    """Images that are copied in each way, spread evenly over the set."""

    where: Annotated[CacheFlags, flat()] = field(default_factory=CacheFlags)

    json: Json = ""


@dataclass(frozen=True)
class AuditFlags:
    """Time, memory and what is found by an audit of drawn images with duplicates among them, in growing numbers."""

    counts: str = "10000,100000"
    """Numbers of images, separated by commas. A million take 5 GB in the temporary folder."""

    json: Json = ""


@dataclass(frozen=True)
class OrderFlags:
    """What sets of growing size cost to open and to draw batches from, and what a resumed loader waits for."""

    counts: str = "10000,100000,1000000,10000000,100000000,1000000000"
    """Numbers of samples, separated by commas, 10,000 a shard. Only their manifests are written."""

    real: int = 0
    """Samples of a set that is really written and read as well, 2 KB each in the temporary folder. 0: none."""

    repeats: int = 31
    """Times that a loader is opened at step 0 and in the middle of the last epoch, in turn; medians are printed."""

    json: Json = ""


@dataclass(frozen=True)
class ShuffleFlags:
    """How well the order mixes sets that are mixed and sorted by class, beside a true permutation."""

    samples: int = 290_000
    """Samples of the set: in 29 shards, and in one single tar."""

    batch_size: int = 640
    """Samples of a batch."""

    lanes: str = "1,20,128"
    """Lanes that are tried beside what is chosen, separated by commas; each divides the batch size."""

    blocks: str = "1024,4096,65536"
    """Blocks that are tried with each of them."""

    json: Json = ""


@dataclass(frozen=True)
class CheckpointFlags:
    """What a checkpoint costs the training beside which it is written."""

    json: Json = ""

    root: PathOrUrl = ""
    """Folder or URL (s3://...) of the run folder. Empty: a folder for temporary files."""

    crop: int = 64
    """Side of the crops, in pixels."""

    batch_size: int = 32
    """Crops of a step."""

    steps: int = 40
    """Steps of a turn; they should outlast the writing of a checkpoint."""

    repeats: int = 7
    """Turns with a checkpoint and turns without, one after the other."""

    def __post_init__(self) -> None:
        if min(self.repeats, self.steps, self.batch_size) < 1:
            raise InputError("bench checkpoint: --repeats, --steps and --batch-size must be at least 1")
