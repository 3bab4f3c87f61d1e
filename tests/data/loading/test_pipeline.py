"""The real DALI graph on the CPU, beside torchvision and beside matrices done by hand."""

import io
import re
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from nvidia.dali import Pipeline
from PIL import Image
from support.faces import Face, encoded, face, faces, shard_set
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from fer_dist.config.settings import DataConfig
from fer_dist.data.emotions import SEVEN
from fer_dist.data.loading import pipeline
from fer_dist.data.loading.augment import CORNERS, Augmentation
from fer_dist.data.loading.loader import Batch, Loader, Placement, evaluation_loader, training_loader
from fer_dist.data.loading.order import Order, Positions
from fer_dist.data.loading.pipeline import Crops, DecodeError, Graph, Inputs, Trial, views_of
from fer_dist.data.loading.reader import Reader
from fer_dist.errors import WorkError

CPU = torch.device("cpu")
SIDE = 64
GREY_LEVELS = DataConfig(
    size=SIDE,
    crop=SIDE,
    views="centre",
    rotate_degrees=0,
    brightness=0,
    contrast=0,
    saturation=0,
    hue=0,
    mean=(0, 0, 0),
    std=(1 / 255, 1 / 255, 1 / 255),
)
"""Nothing is done, and the crops are the pixels from 0 to 255."""

YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.321], [0.211, -0.523, 0.311]])
"""RGB to YIQ as DALI writes it, and many a textbook; NTSC's own has one digit more."""


def pixels(count: int = 3, side: int = SIDE) -> NDArray[np.uint8]:
    """The images that `pngs` holds. [n, H, W, 3]"""
    return np.stack([np.asarray(face(i, side, "RGB")) for i in range(count)])


def pngs(count: int = 3, side: int = SIDE) -> list[bytes]:
    return [encoded(i, "PNG", side, "RGB") for i in range(count)]


def fixed(count: int, **chosen: float) -> Augmentation:
    """The same augmentation for each of n samples: none but what is chosen."""
    plain = {"angle": 0.0, "brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    drawn = {name: np.full(count, value, np.float32) for name, value in {**plain, **chosen}.items()}
    return Augmentation(**drawn, mirror=np.zeros(count, np.int32), corner=np.full((count, 2), 0.5, np.float32))


def crops_of(
    images: list[bytes],
    data: DataConfig,
    augmentation: Augmentation | None = None,
    augment: bool = True,
    half: bool = False,
) -> Tensor:
    """One batch through the graph. [B, V, H, W, 3]"""
    inputs = Inputs([np.frombuffer(p, np.uint8) for p in images], augmentation or fixed(len(images)))
    waiting = iter([inputs])
    graph = Graph(data, augment, len(images), CPU, half, threads=1)
    return Crops(graph, lambda: next(waiting)).next()


def by_torchvision(images: NDArray[np.uint8]) -> Tensor:
    """[n, H, W, 3] -> [n, 3, H, W]"""
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def rounded(images: Tensor) -> NDArray[np.float64]:
    """Float images of 0..1 as torchvision has them -> whole grey levels, [n, H, W, 3]."""
    return (images * 255).round().permute(0, 2, 3, 1).double().numpy()


def assert_within(found: Tensor, expected: NDArray | Tensor, levels: float, mean: float) -> None:
    """No pixel further than `levels` grey levels, and `mean` on average."""
    distance = np.abs(found[:, 0].double().numpy() - np.asarray(expected, dtype=np.float64))
    assert distance.max() <= levels
    assert distance.mean() <= mean


def test_an_image_of_the_right_size_comes_through_unchanged() -> None:
    assert_within(crops_of(pngs(), GREY_LEVELS), pixels(), 0, 0)


def test_a_jpeg_is_decoded_as_pillow_does() -> None:
    images = [encoded(i, "JPEG", SIDE, "RGB") for i in range(3)]
    expected = np.stack([np.asarray(Image.open(io.BytesIO(image))) for image in images])
    # Measured: equal. Decoders may round otherwise in other versions.
    assert_within(crops_of(images, GREY_LEVELS), expected, 1, 0.01)


@pytest.mark.parametrize("size", [40, 48, 96, 128])
def test_resizing_is_torchvisions_bilinear_with_antialias(size: int) -> None:
    data = replace(GREY_LEVELS, size=size, crop=size)
    expected = F.resize(by_torchvision(pixels()).float() / 255, [size, size], antialias=True)
    assert_within(crops_of(pngs(), data), rounded(expected), 1, 0.1)


def test_an_image_that_is_not_square_is_squeezed_into_one() -> None:
    stream = io.BytesIO()
    wide = face(0, SIDE, "RGB").resize((100, 50))
    wide.save(stream, "PNG")
    expected = F.resize(by_torchvision(np.array(wide)[None]).float() / 255, [SIDE, SIDE], antialias=True)
    assert_within(crops_of([stream.getvalue()], GREY_LEVELS), rounded(expected), 1, 0.1)


@pytest.mark.parametrize("name", ["brightness", "saturation"])
@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_brightness_and_saturation_are_torchvisions(name: str, factor: float) -> None:
    data = replace(GREY_LEVELS, **{name: 0.2})
    expected = getattr(F, f"adjust_{name}")(by_torchvision(pixels()).float() / 255, factor)
    assert_within(crops_of(pngs(), data, fixed(3, **{name: factor})), rounded(expected), 1, 0.1)


@pytest.mark.parametrize("with_hue", [False, True])
@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_contrast_is_a_stretch_about_grey_128(factor: float, with_hue: bool) -> None:
    # Hue brings another DALI operator; the contrast stays the same.
    data = replace(GREY_LEVELS, contrast=0.2, hue=0.05 if with_hue else 0)
    expected = np.clip(np.rint(128 + factor * (pixels() - 128.0)), 0, 255)
    assert_within(crops_of(pngs(), data, fixed(3, contrast=factor)), expected, 0, 0)


def turned(degrees: float) -> NDArray[np.float64]:
    """The matrix on RGB that turns the colour plane of YIQ."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.linalg.inv(YIQ) @ np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]]) @ YIQ


@pytest.mark.parametrize("degrees", [18, -18, 120])
def test_hue_is_a_rotation_in_yiq(degrees: float) -> None:
    data = replace(GREY_LEVELS, hue=0.05)
    expected = np.clip(np.rint(pixels() @ turned(degrees).T), 0, 255)
    assert_within(crops_of(pngs(), data, fixed(3, hue=degrees)), expected, 1, 0.01)


def test_hue_turns_in_the_sense_of_torchvision() -> None:
    found = crops_of(pngs(), replace(GREY_LEVELS, hue=0.05), fixed(3, hue=18))[:, 0].numpy()
    same, other = (
        rounded(F.adjust_hue(by_torchvision(pixels()).float() / 255, share)) for share in (18 / 360, -18 / 360)
    )
    assert np.abs(found - same).mean() < 0.6 * np.abs(found - other).mean()


def test_the_whole_tone_is_saturation_and_hue_then_contrast_then_brightness() -> None:
    data = replace(GREY_LEVELS, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05)
    found = crops_of(pngs(), data, fixed(3, brightness=1.2, contrast=0.8, saturation=1.2, hue=-18))
    colours = np.linalg.inv(YIQ) @ np.diag([1, 1.2, 1.2]) @ YIQ @ turned(-18)
    expected = 1.2 * (128 + 0.8 * (pixels() @ colours.T - 128))
    assert_within(found, np.clip(np.rint(expected), 0, 255), 1, 0.01)


@pytest.mark.parametrize("angle", [10, 30, -30])
def test_rotation_is_torchvisions_counter_clockwise_with_black_corners(angle: float) -> None:
    found = crops_of(pngs(), replace(GREY_LEVELS, rotate_degrees=30), fixed(3, angle=angle))
    expected = F.rotate(by_torchvision(pixels()).float() / 255, angle, F.InterpolationMode.BILINEAR)
    assert_within(found, rounded(expected), 1, 0.01)
    corners = found[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 0).all()


def test_a_quarter_turn_is_numpys() -> None:
    found = crops_of(pngs(), replace(GREY_LEVELS, rotate_degrees=90), fixed(3, angle=90))
    assert_within(found, np.rot90(pixels(), axes=(1, 2)), 0, 0)


@pytest.mark.parametrize("views", ["expand", "fold"])
def test_five_crops_are_torchvisions_in_its_order(views: str) -> None:
    data = replace(GREY_LEVELS, crop=56, views=views)
    found = crops_of(pngs(), data)
    expected = torch.stack(v2.FiveCrop(56)(by_torchvision(pixels())), dim=1)
    assert torch.equal(found, expected.permute(0, 1, 3, 4, 2).float())


def test_the_centre_is_torchvisions_centre_crop() -> None:
    found = crops_of(pngs(), replace(GREY_LEVELS, crop=40))
    expected = F.center_crop(by_torchvision(pixels()), [40, 40])
    assert torch.equal(found[:, 0], expected.permute(0, 2, 3, 1).float())


def test_random_one_cuts_the_crop_that_was_drawn_for_each_image() -> None:
    augmentation = replace(fixed(5), corner=np.array(CORNERS, np.float32)[[4, 2, 0, 3, 1]])
    found = crops_of(pngs(5), replace(GREY_LEVELS, crop=56, views="random_one"), augmentation)
    five = crops_of(pngs(5), replace(GREY_LEVELS, crop=56, views="expand"))
    assert found.shape == (5, 1, 56, 56, 3)
    assert torch.equal(found[:, 0], five[range(5), [4, 2, 0, 3, 1]])


def test_mirroring_turns_each_crop_left_to_right_where_it_was_drawn() -> None:
    data = replace(GREY_LEVELS, crop=56, views="expand", flip=True)
    augmentation = replace(fixed(3), mirror=np.array([1, 0, 1], np.int32))
    found = crops_of(pngs(), data, augmentation)
    plain = crops_of(pngs(), data)
    assert torch.equal(found[0], plain[0].flip(2))
    assert torch.equal(found[1], plain[1])
    assert torch.equal(found[2], plain[2].flip(2))


def test_normalising_subtracts_the_mean_and_divides_by_the_deviation() -> None:
    default = DataConfig()
    data = replace(GREY_LEVELS, mean=default.mean, std=default.std)
    expected = F.normalize(by_torchvision(pixels()).double() / 255, default.mean, default.std).permute(0, 2, 3, 1)
    found = crops_of(pngs(), data)
    torch.testing.assert_close(found[:, 0].double(), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(crops_of(pngs(), data, half=True), found.half())


def test_evaluation_neither_turns_nor_tones_nor_mirrors() -> None:
    data = replace(DataConfig(flip=True), size=SIDE, crop=SIDE, views="centre", mean=(0, 0, 0), std=(1 / 255,) * 3)
    strong = fixed(3, angle=30, brightness=1.2, contrast=0.8, saturation=1.2, hue=18)
    mirrored = replace(strong, mirror=np.ones(3, np.int32))
    assert_within(crops_of(pngs(), data, mirrored, augment=False), pixels(), 0, 0)


@pytest.mark.parametrize(("mode", "form"), [("L", "JPEG"), ("L", "PNG"), ("1", "PNG"), ("P", "PNG")])
def test_an_image_without_three_channels_gives_three(mode: str, form: str) -> None:
    found = crops_of([encoded(0, form, SIDE, mode)], GREY_LEVELS)
    stream = io.BytesIO(encoded(0, form, SIDE, mode))
    assert_within(found, np.asarray(Image.open(stream).convert("RGB"))[None], 0, 0)
    if mode != "P":
        assert torch.equal(found[..., 0], found[..., 1])
        assert torch.equal(found[..., 0], found[..., 2])


# Through the loader: whole batches, and images that do not decode.

STUDY = DataConfig(size=24, crop=20, flip=True)


def load(folder: Path, data: DataConfig, steps: int = 4, batch_size: int = 6) -> tuple[Loader, list[Batch]]:
    """The batches of a run on one rank, kept as they came: nothing is copied."""
    reader = Reader(folder, SEVEN)
    order = Order(reader.counts, batch_size, seed=0)
    loader = training_loader(data, reader, order, Placement(0, 1, CPU, False, threads=1), 0, steps)
    return loader, list(loader)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = faces(20, form="JPEG")
    return shard_set(tmp_path_factory.mktemp("good") / "train", [made[:9], made[9:]])


@pytest.mark.parametrize(("views", "count"), [("expand", 5), ("fold", 5), ("random_one", 1), ("centre", 1)])
def test_a_batch_is_channels_last_with_the_views_of_an_image_in_a_row(good: Path, views: str, count: int) -> None:
    data = replace(STUDY, views=views)
    _, batches = load(good, data, steps=1)
    crops = batches[0].crops
    assert views_of(data) == count
    assert crops.shape == (6 * count, 3, 20, 20)
    assert crops.is_contiguous(memory_format=torch.channels_last)
    assert crops.dtype == torch.float32
    alone = load(good, replace(data, views="expand"), steps=1)[1][0].crops
    if views in ("expand", "fold"):
        assert torch.equal(crops, alone)
    if views == "centre":
        assert torch.equal(crops, alone[4::5])


def test_the_crops_of_a_batch_are_the_memory_that_dali_wrote(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    run = Pipeline.run

    def watched(pipeline: Pipeline, *args: object) -> object:
        (crops,) = run(pipeline, *args)
        given.append(crops.as_tensor().data_ptr())
        return (crops,)

    monkeypatch.setattr(Pipeline, "run", watched)
    _, batches = load(good, STUDY)
    assert [batch.crops.data_ptr() for batch in batches] == given


def test_a_batch_keeps_its_pixels_while_later_ones_are_made(good: Path) -> None:
    reader = Reader(good, SEVEN)
    loader = training_loader(STUDY, reader, Order(reader.counts, 6, 0), Placement(0, 1, CPU, False, 1), 0, 9)
    kept = [(batch, batch.crops.clone()) for batch in loader]
    assert all(torch.equal(batch.crops, copy) for batch, copy in kept)


def test_the_number_of_threads_changes_no_pixel(good: Path) -> None:
    reader = Reader(good, SEVEN)
    runs = []
    for threads in (1, 3):
        loader = training_loader(STUDY, reader, Order(reader.counts, 6, 0), Placement(0, 1, CPU, False, threads), 0, 3)
        runs.append([batch.crops for batch in loader])
    assert all(torch.equal(one, three) for one, three in zip(*runs, strict=True))


def test_the_last_batch_of_an_evaluation_may_be_smaller(good: Path) -> None:
    reader = Reader(good, SEVEN)
    batches = list(evaluation_loader(STUDY, reader, Placement(0, 1, CPU, False, 1), 8))
    assert [len(batch.crops) for batch in batches] == [8, 8, 4]
    at_once = next(iter(evaluation_loader(STUDY, reader, Placement(0, 1, CPU, False, 1), 20)))
    assert torch.equal(torch.cat([batch.crops for batch in batches]), at_once.crops)


def damaged(kind: str, image: bytes) -> bytes:
    return {
        "truncated": image[: len(image) // 2],
        "zeros": bytes(len(image)),
        "garbage": b"no image at all",
        # Built as a JPEG is, but without its tables, so that it is found only when it breaks the graph.
        "hollow": image.replace(b"\xff\xdb", b"\xff\xfe"),
        "empty": b"",
        # Which decoders do not mind; nothing says so before one is asked.
        "behind": image + bytes(100),
    }[kind]


KINDS = ("truncated", "zeros", "garbage", "hollow", "empty")


def set_with_bad(folder: Path, bad: dict[int, str]) -> Path:
    """The samples of `good`, some of them damaged."""
    made = faces(20, form="JPEG")
    for i, kind in bad.items():
        made[i] = Face(made[i].key, made[i].label, {**made[i].members, "jpg": damaged(kind, made[i].members["jpg"])})
    return shard_set(folder / "train", [made[:9], made[9:]])


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_does_not_decode_stops_the_run_and_is_named(tmp_path: Path, kind: str) -> None:
    folder = set_with_bad(tmp_path, {11: kind})
    with pytest.raises(WorkError, match=r"^drawn-train-000001\.tar: face-0011: the image does not decode; .*skip"):
        load(folder, STUDY)


@pytest.mark.parametrize(
    "bad", [{11: "truncated"}, {3: "garbage"}, {19: "empty"}, {3: "garbage", 4: "truncated", 17: "empty"}]
)
def test_an_image_that_does_not_decode_is_left_out_and_nothing_else_changes(
    tmp_path: Path, good: Path, bad: dict[int, str]
) -> None:
    data = replace(STUDY, on_bad="skip")
    _, expected = load(good, data, steps=9)
    loader, found = load(set_with_bad(tmp_path, bad), data, steps=9)
    names = {f"face-{i:04d}" for i in bad}
    assert set(loader.bad) == names & {key for batch in expected for key in batch.samples.keys}
    assert loader.bad.items() <= {f"face-{i:04d}": f"drawn-train-00000{int(i >= 9)}.tar" for i in bad}.items()
    assert [batch.step for batch in found] == list(range(9))
    for ours, theirs in zip(found, expected, strict=True):
        keep = [i for i, key in enumerate(theirs.samples.keys) if key not in names]
        assert ours.samples.keys == [theirs.samples.keys[i] for i in keep]
        assert torch.equal(ours.labels, theirs.labels[keep])
        assert torch.equal(ours.crops.unflatten(0, (-1, 5)), theirs.crops.unflatten(0, (-1, 5))[keep])
        assert ours.positions.position.tolist() == theirs.positions.position[keep].tolist()


def test_an_image_that_is_known_not_to_decode_breaks_no_graph_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    monkeypatch.setattr(
        "fer_dist.data.loading.loader.Crops", lambda graph, source: built.append(graph) or Crops(graph, source)
    )
    loader, batches = load(set_with_bad(tmp_path, {3: "hollow"}), replace(STUDY, on_bad="skip"), steps=12)
    assert len(batches) == 12
    assert loader.bad == {"face-0003": "drawn-train-000000.tar"}
    assert len(built) == 2
    assert len(list(loader)) == 12
    assert len(built) == 3


def test_a_batch_of_which_nothing_decodes_stops_the_run(tmp_path: Path) -> None:
    folder = set_with_bad(tmp_path, dict.fromkeys(range(20), "garbage"))
    with pytest.raises(WorkError, match=r"step 0: of the batch's 6 images none decodes"):
        load(folder, replace(STUDY, on_bad="skip"))


def test_a_trial_gives_the_pixels_of_what_decodes_and_none_of_what_does_not(capfd: pytest.CaptureFixture[str]) -> None:
    image, png = encoded(0, "JPEG", 24, "RGB"), encoded(1, "PNG")
    content = [image, b"", image, *(damaged(kind, image) for kind in KINDS), b"no image at all", png + png, image[:-90]]
    trial = Trial()
    found = [trial.pixels(np.frombuffer(part, np.uint8)) for part in [*content, png]]
    assert [pixels is not None for pixels in found] == [True, False, True, *[False] * 6, True, False, True]


@pytest.mark.parametrize(
    ("kinds", "tries", "graphs", "decoders"),
    [
        ({}, 0, 1, 0),
        ({3: "behind", 5: "behind", 17: "behind"}, 3, 1, 1),
        # Found before it meets a batch, by its header.
        ({3: "behind", 5: "truncated"}, 2, 1, 1),
        # Found by the graph, which names it, so that no other image of its batch is tried; it breaks what tries it.
        ({3: "behind", 5: "hollow"}, 2, 2, 1),
        ({2: "hollow", 3: "behind", 5: "hollow", 11: "truncated", 17: "behind"}, 5, 3, 2),
    ],
)
def test_in_two_epochs_an_image_is_tried_once_and_a_pipeline_built_where_one_broke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: dict[int, str], tries: int, graphs: int, decoders: int
) -> None:
    built, tried = [], []
    build, pixels_of = pipeline.empty_pipeline, Trial.pixels
    monkeypatch.setattr(
        pipeline, "empty_pipeline", lambda size, *more, **how: built.append(size) or build(size, *more, **how)
    )
    monkeypatch.setattr(Trial, "pixels", lambda trial, image: tried.append(image) or pixels_of(trial, image))
    loader, batches = load(set_with_bad(tmp_path, kinds), replace(STUDY, on_bad="skip"), steps=10, batch_size=4)
    assert len(batches) == 10
    assert loader.bad.keys() == {f"face-{i:04d}" for i, kind in kinds.items() if kind != "behind"}
    assert len(tried) == tries
    assert (built.count(4), built.count(1)) == (graphs, decoders)


class Refusing(Crops):
    """The graph of a GPU whose decoder refuses some images that a CPU's takes."""

    refused: tuple[bytes, ...] = ()
    built = 0

    def __init__(self, graph: Graph, source: Callable[[], Inputs]) -> None:
        self.given: deque[Inputs] = deque()
        Refusing.built += 1

        def watched() -> Inputs:
            self.given.append(source())
            return self.given[-1]

        super().__init__(graph, watched)

    def next(self) -> Tensor:
        crops = super().next()
        for i, image in enumerate(self.given.popleft().content):
            if image.tobytes() in self.refused or (self.refused == (b"all",)):
                raise DecodeError(f"Failed to decode sample #{i} : ", i)
        return crops


def test_what_only_the_decoder_of_a_gpu_refuses_is_trained_on_with_the_pixels_of_the_cpu(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, expected = load(good, STUDY, steps=8, batch_size=5)
    reader = Reader(good, SEVEN)
    content = reader.read(Positions(np.array([0, 0, 1]), np.array([2, 7, 5]))).content
    monkeypatch.setattr(Refusing, "refused", tuple(image.tobytes() for image in content))
    monkeypatch.setattr(Refusing, "built", 0)
    monkeypatch.setattr("fer_dist.data.loading.loader.Crops", Refusing)
    loader, found = load(good, STUDY, steps=8, batch_size=5)
    assert loader.bad == {}
    assert Refusing.built == 1 + len(content)
    assert [batch.samples.keys for batch in found] == [batch.samples.keys for batch in expected]
    assert all(torch.equal(ours.crops, theirs.crops) for ours, theirs in zip(found, expected, strict=True))


def test_a_decoder_that_refuses_what_the_cpu_made_of_an_image_stops_the_run(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Refusing, "refused", (b"all",))
    monkeypatch.setattr("fer_dist.data.loading.loader.Crops", Refusing)
    with pytest.raises(WorkError, match=r"^the decoder stopped, though each image of the batch decodes alone: Fai"):
        load(good, replace(STUDY, on_bad="skip"))


def error_of_dali(said: str) -> RuntimeError:
    where = "Critical error in pipeline:\nCritical error in pipeline:\nError in GPU operator `nvidia.dali.fn.x`,\n"
    frames = 'which was used in the pipeline definition with the following traceback:\n\n  File "x.py", line 3, in x\n'
    return RuntimeError(f"{where}{frames}\nencountered:\n\n{said}\nCurrent pipeline object is no longer valid.")


@pytest.mark.parametrize(
    "said",
    [
        "CUDA runtime API error cudaErrorIllegalAddress (700):\nan illegal memory access was encountered",
        "Can't allocate 1073741824 bytes on device 0.",
        "nvImageCodec failure: '#5'",
        "nvImageCodec failure: '#21'",
        "std::bad_alloc",
    ],
)
def test_what_is_no_image_s_fault_stops_the_run_and_is_told_in_dali_s_own_words(
    good: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    def broken(pipeline: Pipeline, *args: object) -> None:
        raise error_of_dali(said)

    monkeypatch.setattr(Pipeline, "run", broken)
    monkeypatch.setattr(Trial, "pixels", None)
    line = re.escape(said.splitlines()[0])
    with pytest.raises(WorkError, match=f"^DALI stopped, and not at an image that does not decode: {line}; see more"):
        load(good, replace(STUDY, on_bad="skip"))


def test_memory_that_is_short_is_no_image_that_does_not_decode(good: Path) -> None:
    with pytest.raises(WorkError, match=r"^DALI stopped, and not at an image that does not decode: .*bad_alloc; see"):
        load(good, replace(STUDY, on_bad="skip", size=10_000_000))


def test_a_trial_that_is_stopped_by_something_else_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(pipeline: Pipeline, *args: object) -> None:
        raise error_of_dali("std::bad_alloc")

    monkeypatch.setattr(Pipeline, "run", broken)
    with pytest.raises(WorkError, match=r"std::bad_alloc; see more with --debug"):
        Trial().pixels(np.frombuffer(encoded(0), np.uint8))
