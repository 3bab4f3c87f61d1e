"""What the measurement of a GPU is asked for, read without torch, which takes seconds to import: a wrong flag is
answered at once."""

from dataclasses import dataclass

from fer_dist.bench.flags import GpuFlags
from fer_dist.config.settings import Views
from fer_dist.data.sources.source import Source, open_source
from fer_dist.errors import InputError, nearest

PARTS = ("step", "decode", "pixels", "train")
"""What may be measured, in this order by default."""


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
class Asked:
    """The parts, the batches, and the numbers of threads that decode."""

    parts: tuple[str, ...]
    shapes: tuple[Shape, ...]
    threads: tuple[int, ...]


def asked(flags: GpuFlags) -> Asked:
    """Read what the flags ask for. Raises InputError for what cannot be measured."""
    parts = tuple(flags.parts.split(","))
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
        faces(1, flags.pixels)
    if not flags.shards and set(parts) != {"step"} and flags.images < largest:
        raise InputError(f"bench gpu: --images {flags.images}: fewer than the {largest} of --batches {flags.batches}")
    if not all(word.isdecimal() and int(word) for word in flags.threads.split(",")):
        raise InputError(f"bench gpu: --threads {flags.threads}: give whole numbers from 1, separated by commas")
    return Asked(parts, shapes, tuple(map(int, flags.threads.split(","))))


def faces(count: int, side: int) -> Source:
    """The source of drawn faces. Raises InputError for a side that they cannot have."""
    return open_source("synthetic", "wild", count=count, test_count=0, pixels=side)


def _shape(word: str) -> Shape:
    images, _, crops = word.partition("x")
    # A single crop would leave BatchNorm a single value.
    if not images.isdecimal() or int(images) < 2 or crops not in ("", "1", "5"):
        raise InputError(f"bench gpu: --batches {word}: give numbers of images from 2, with x5 for five crops of each")
    return Shape(int(images), int(crops or 1))
