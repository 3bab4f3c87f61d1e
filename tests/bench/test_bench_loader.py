"""The benchmark of loaders: all get the same images and the same transforms, and none of them runs dry."""

import hashlib
import json
import sys
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from support.faces import encoded, faces, shard_set
from torch import Tensor

from fer_dist.bench import loader, peers
from fer_dist.bench.flags import LoaderFlags
from fer_dist.bench.loader import FIRST, Contest, contest_table, our_batches, our_bytes
from fer_dist.bench.peers import Batches, Common
from fer_dist.cli.commands import main
from fer_dist.config.settings import DataConfig
from fer_dist.data.draws import hashed
from fer_dist.data.emotions import EIGHT
from fer_dist.data.loading.augment import draw
from fer_dist.data.loading.pipeline import Crops, Graph, Inputs
from fer_dist.data.loading.reader import Reader
from fer_dist.errors import InputError

IMAGES = 22
HAS_LITDATA = find_spec("litdata") is not None
PLAIN = DataConfig(size=24, crop=20, brightness=0, contrast=0, saturation=0, hue=0, rotate_degrees=0)

# litdata leaves its files to the garbage collector, and its worker warns that it was forked among threads.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    # torchvision is to lose its decoders to torchcodec; they are still what people use.
    pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = faces(IMAGES + 8, form="JPEG")
    return shard_set(tmp_path_factory.mktemp("set") / "train", [made[:13], made[13:]])


@pytest.fixture(scope="module")
def common(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Common:
    folder = peers.prepare(Reader(shards, EIGHT, drop_extra=True), tmp_path_factory.mktemp("bench") / "set", IMAGES)
    return Common(folder, replace(PLAIN, rotate_degrees=30, hue=0.05), batch_size=4, threads=1)


def sums(contents: list[bytes]) -> Counter[str]:
    return Counter(hashlib.sha256(content).hexdigest() for content in contents)


def test_tars_files_and_chunks_hold_the_same_images(shards: Path, common: Common) -> None:
    def in_tars(folder: Path) -> list[bytes]:
        found = []
        for path in sorted(folder.glob("*.tar")):
            with tarfile.open(path) as tar:
                found += [tar.extractfile(name).read() for name in tar.getnames() if name.endswith(".jpg")]
        return found

    taken = sums(in_tars(shards)[:IMAGES])
    assert sums(in_tars(common.folder / "tars")) == taken
    assert sums([path.read_bytes() for path in (common.folder / "files").iterdir()]) == taken
    if not HAS_LITDATA:
        pytest.skip("litdata is not installed, which the extra peers brings; the tars and files are checked")
    streamed = peers._litdata().StreamingDataset(str(common.folder / "litdata"))
    assert sums([sample["image"] for sample in streamed]).keys() == taken.keys()


def in_crops(batches: Callable[..., Batches]) -> Callable[[Common], Batches]:
    return lambda common: batches(common, peers.torchvision_transform(common.data), peers.WORKERS)


STREAMS: dict[str, Callable[[Common], Batches]] = {
    "torch": in_crops(peers.torch_batches),
    "webdataset": in_crops(peers.webdataset_batches),
    "litdata": in_crops(peers.litdata_batches),
    "dali": peers.dali_batches,
    "ours": our_batches,
    "torch bytes": lambda common: peers.torch_batches(common, zlib.crc32, 0),
    "webdataset bytes": lambda common: peers.webdataset_batches(common, zlib.crc32, 0),
    "litdata bytes": lambda common: peers.litdata_batches(common, zlib.crc32, 0),
    "dali bytes": peers.dali_bytes,
    "our bytes": lambda common: our_bytes(common, shuffled=True),
    "our bytes in sequence": lambda common: our_bytes(common, shuffled=False),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_goes_on_behind_the_end_of_the_set(common: Common, name: str) -> None:
    if name.startswith("litdata") and not HAS_LITDATA:
        pytest.skip("litdata is not installed, which the extra peers brings")
    stream = STREAMS[name](common)
    given = [next(stream) for _ in range(4 * IMAGES // common.batch_size)]
    stream.close()
    assert max(given) == common.batch_size
    assert sum(given) > 2 * IMAGES


@pytest.mark.parametrize("views", ["expand", "centre"])
def test_torchvisions_steps_are_those_of_our_graph(views: str) -> None:
    data = replace(PLAIN, views=views, crop=20 if views == "expand" else 24)
    images = [encoded(i, "JPEG", 48, "RGB") for i in range(4)]
    waiting = iter([Inputs([np.frombuffer(p, np.uint8) for p in images], draw(data, 0, 0, hashed(np.arange(4))))])
    ours = Crops(Graph(data, True, 4, torch.device("cpu"), False, 1), lambda: next(waiting)).next()
    transform = peers.torchvision_transform(data)
    theirs: Tensor = torch.stack([transform(image) for image in images])
    theirs = theirs if views == "expand" else theirs[:, None]
    # In standard deviations, of about 57 grey levels.
    assert (ours.permute(0, 1, 4, 2, 3) - theirs).abs().mean() < 1 / 57


def test_a_ratio_compares_within_each_repeat() -> None:
    contest = Contest("drawn", {"a": (1.0, 10.0, 100.0), "b": (2.0, 20.0, 50.0)}, ("a",))
    assert contest.ratio("b", "a") == 2
    assert contest_table(contest)[1][1] == ["b", "20.0", "2.0 to 50.0", "50,000", "2.00"]


def test_each_has_a_turn_of_its_own_and_runs_warm() -> None:
    events: list[str] = []

    def stream(name: str) -> Batches:
        events.append(f"{name} opens")
        try:
            while True:
                events.append(name)
                yield 8
        finally:
            events.append(f"{name} closes")

    contest = loader.compare("drawn", {"a": lambda: stream("a"), "b": lambda: stream("b")}, ("a",), 16, 2)
    turns = [[f"{name} opens", *[name] * (FIRST + 2), f"{name} closes"] for name in "abab"]
    assert events == [event for turn in turns for event in turn]
    assert [len(times) for times in contest.microseconds.values()] == [2, 2]


def test_everything_is_measured_and_a_peer_that_is_missing_is_named(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "litdata", None)
    flags = LoaderFlags(str(shards), size=24, crop=20, samples=IMAGES, images=8, batch_size=4, threads=1, repeats=1)
    contests = list(loader.bench_loader(flags, tmp_path / "set"))
    assert [contest.title for contest in contests] == [
        "the same transforms",
        "reading alone, in one process",
        "reading alone, the peers by 2 workers",
        "five crops",
        "five crops, fused",
        "one crop",
        "one crop, fused",
    ]
    for contest in contests[:3]:
        assert next(iter(contest.microseconds)) == "ours"
        assert len(contest.microseconds) >= 4
        assert contest.skipped[0].startswith("litdata")
        assert "pip install 'fer-dist[peers]'" in contest.skipped[0]
    assert list(contests[4].microseconds) == [
        "decode",
        "to shrink",
        "to colour jitter",
        "to enlarge",
        "to rotate",
        "to crop",
    ]


def test_the_command_writes_what_it_prints(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--size",
        "24",
        "--crop",
        "20",
        "--samples",
        "22",
        "--images",
        "8",
        "--batch-size",
        "4",
        "--repeats",
        "2",
        "--parts",
        "stages",
        "--json",
    ]
    assert main(["bench", "loader", str(shards), *words, str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert [len(contest["microseconds"]["decode"]) for contest in found] == [2, 2, 2, 2]
    assert "to enlarge" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"repeats": 0}, "--repeats 0: give at least 1"),
        ({"crop": 25}, "--crop 25: give a side from 1 to --size 24"),
        ({"batch_size": 64}, "--batch-size 64: more than the images that are taken"),
        ({"shards": "nowhere"}, "nowhere"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_written(
    shards: Path, tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    flags = replace(LoaderFlags(str(shards), size=24, crop=20), **changed)
    with pytest.raises(InputError, match=message):
        next(loader.bench_loader(flags, tmp_path / "set"))
    assert not (tmp_path / "set").exists()
