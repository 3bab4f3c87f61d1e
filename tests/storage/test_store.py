"""Any place of shards: what it means, the same batches from a store as from a folder, and stores that misbehave."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from support.faces import faces, shard_set
from support.stores import Web, s3_endpoint, s3_server, served

from fer_dist.config.settings import Config, DataConfig, differences
from fer_dist.data.emotions import SEVEN
from fer_dist.data.loading.loader import Batch, Placement, evaluation_loader, open_reader, training_loader
from fer_dist.data.loading.order import Order, Positions
from fer_dist.data.loading.reader import Reader
from fer_dist.data.loading.shard_set import open_set
from fer_dist.data.shards.manifest import index_path, load_manifest, save_manifest
from fer_dist.data.shards.selection import locate
from fer_dist.errors import InputError, WorkError
from fer_dist.runs.opening import resolved
from fer_dist.storage import store as stores
from fer_dist.storage.paths import folder_at, without_secrets
from fer_dist.storage.store import Patience, Store

SHARDS = 8
TAR = "drawn-train-000003.tar"
STUDY = DataConfig(size=24, crop=20, flip=True, block=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 samples in eight shards."""
    made = faces(8 * SHARDS)
    return shard_set(tmp_path_factory.mktemp("set") / "train", [made[i : i + 8] for i in range(0, len(made), 8)])


@pytest.fixture
def web(folder: Path) -> Iterator[Web]:
    with served(folder.parent) as running:
        yield running


@pytest.fixture(scope="module")
def bucket(folder: Path) -> Iterator[int]:
    """The port of an S3 server that holds the set as s3://faces/x/train."""
    files = {f"x/train/{path.name}": path.read_bytes() for path in folder.iterdir()}
    with s3_server("faces", files) as port:
        yield port


@pytest.fixture
def s3(bucket: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    with s3_endpoint(bucket, monkeypatch) as running:
        yield running


@pytest.fixture
def memory(folder: Path) -> Iterator[str]:
    store = fsspec.filesystem("memory")
    for path in folder.iterdir():
        store.pipe(f"/faces/train/{path.name}", path.read_bytes())
    yield "memory://faces/train"
    store.rm("/faces", recursive=True)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "Patience", lambda: Patience(first_seconds=0.01, longest_seconds=0.02, most_seconds=10))


def opened(place: str | Path, cache: Path, **settings: float) -> Reader:
    return open_reader(place, SEVEN, replace(STUDY, cache=str(cache), **settings), "--data.train")


def everything(reader: Reader) -> Positions:
    shard = np.repeat(np.arange(len(reader.counts)), reader.counts)
    return Positions(shard, np.concatenate([np.arange(count) for count in reader.counts]))


def train(reader: Reader, rank: int = 0, world: int = 1, start: int = 0, stop: int = 12) -> list[Batch]:
    order = Order(reader.counts, 12, seed=7, lanes=6, block=STUDY.block)
    place = Placement(rank, world, torch.device("cpu"), False, threads=1)
    return list(training_loader(STUDY, reader, order, place, start, stop))


def files(place: str | Path) -> list[str]:
    return [shard.file for shard in open_set(str(place), DataConfig()).manifest.shards]


def tar(number: int) -> str:
    return f"drawn-train-{number:06d}.tar"


@pytest.mark.parametrize(
    ("last", "numbers"),
    [
        ("", range(8)),
        ("/", range(8)),
        ("/manifest.json", range(8)),
        ("/*.tar", range(8)),
        ("/drawn-*[2-4].tar", [2, 3, 4]),
        ("/drawn-train-{000005..000007}.tar", [5, 6, 7]),
        ("/drawn-train-00000{7,1}.tar", [1, 7]),
        ("/drawn-{train,train}-00000[01].tar", [0, 1]),
        ("/drawn-train-000004.tar", [4]),
    ],
)
def test_a_place_means_the_same_shards_on_a_disk_and_in_every_store(
    folder: Path, web: Web, s3: Web, memory: str, tmp_path: Path, last: str, numbers: list[int], monkeypatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for place in (str(folder), f"file://{folder}", f"{web.url}/train", "s3://faces/x/train", memory):
        assert files(place + last) == [tar(number) for number in numbers], place


def test_a_manifest_of_another_name_is_a_set_of_its_own(folder: Path, tmp_path: Path) -> None:
    manifest = load_manifest(folder)
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "manifest.json").unlink()
    save_manifest(tmp_path, replace(manifest, shards=manifest.shards[:2]))
    (tmp_path / "manifest.json").rename(tmp_path / "few.json")
    assert files(tmp_path / "few.json") == [tar(0), tar(1)]


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path: Path) -> None:
    folder = shard_set(tmp_path / "set[1]{a,b}" / "train*", [faces(3)])
    assert files(folder) == [tar(0)]
    assert files(folder / "*.tar") == [tar(0)]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (
            "{folder}/drawn-train-{000006..000011}.tar",
            r"does not have .*08\.tar, .*09\.tar, .*10\.tar and 1 more; give a pat",
        ),
        ("{folder}/other-*.tar", r"/other-\*\.tar: matches nothing of 8 shards there, as drawn-train-000000\.tar"),
        ("{folder}/drawn-{0..9.tar", "a brace is missing, or too many are there; as faces-train-"),
        ("{folder}/{0..99999999999}.tar", "stands for more than the 1,000,000 names that make sense"),
        ("{folder}/../t*n/*.tar", "a pattern may stand for file names only"),
        ("{folder}/nothing", "no such folder of shards"),
        ("smb2://there/faces", r"no store is known as smb2://; there are s3, gs, https"),
    ],
)
def test_a_place_that_is_none_is_named_in_one_line(folder: Path, place: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        open_set(place.replace("{folder}", str(folder)), DataConfig())
    assert "\n" not in str(raised.value)


def test_a_tar_that_a_glob_finds_and_the_manifest_lacks_is_named(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "drawn-train-000099.tar").write_bytes(b"")
    assert len(files(tmp_path)) == SHARDS
    with pytest.raises(InputError, match=r"\*\.tar: the manifest beside it does not have drawn-train-000099\.tar;"):
        open_set(f"{tmp_path}/*.tar", DataConfig())


def test_files_that_the_store_lacks_are_named_before_one_is_fetched(folder: Path, memory: str, tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    store.rm(f"/faces/train/{tar(2)}")
    store.rm(f"/faces/train/{tar(5)}")
    with pytest.raises(
        InputError, match=r"train/drawn-train-000002\.tar, drawn-train-000005\.tar: named in the manifest"
    ):
        opened(memory, tmp_path)
    for number in (2, 5):
        store.pipe(f"/faces/train/{tar(number)}", (folder / tar(number)).read_bytes()[: 100 + number])
    with pytest.raises(InputError, match=r"drawn-train-000002\.tar: 102 bytes, but the manifest says \d+; upload"):
        opened(memory, tmp_path)
    assert len(opened(f"{memory}/*[34].tar", tmp_path).counts) == 2
    store.rm(f"/faces/train/{index_path(Path(tar(4)))}")
    with pytest.raises(InputError, match=r"drawn-train-000004\.idx: missing index; make it where the tars are"):
        opened(f"{memory}/*[34].tar", tmp_path)


def test_a_list_of_a_large_folder_is_asked_for_in_one_go(s3: Web, tmp_path: Path) -> None:
    opened("s3://faces/x/train", tmp_path)
    assert s3.log == ["manifest.json", "faces"]


@pytest.mark.parametrize("kind", ["http", "s3", "memory"])
@pytest.mark.parametrize("world", [1, 2])
def test_training_batches_of_a_remote_set_are_those_of_the_folder_bit_for_bit(
    folder: Path, web: Web, s3: Web, memory: str, tmp_path: Path, kind: str, world: int
) -> None:
    place = {"http": f"{web.url}/train", "s3": "s3://faces/x/train", "memory": memory}[kind]
    for rank in range(world):
        pairs = list(
            zip(train(opened(place, tmp_path), rank, world), train(Reader(folder, SEVEN), rank, world), strict=True)
        )
        assert len(pairs) == 12
        for remote, local in pairs:
            assert remote.samples.keys == local.samples.keys
            assert torch.equal(remote.crops, local.crops)
            assert torch.equal(remote.labels, local.labels)


def test_an_evaluation_of_a_remote_set_takes_every_image_once(web: Web, tmp_path: Path) -> None:
    reader = opened(f"{web.url}/train", tmp_path)
    place = Placement(0, 1, torch.device("cpu"), False, threads=1)
    found = [key for batch in evaluation_loader(STUDY, reader, place, 10) for key in batch.samples.keys]
    assert found == [face.key for face in faces(8 * SHARDS)]
    assert set(web.asked("").values()) == {1}


@pytest.mark.parametrize("fault", [["cut"], ["short"], ["garbage"], [500, 503, 429], ["cut", 500, "short"]])
@pytest.mark.parametrize("kind", ["http", "s3"])
def test_a_store_that_fails_for_a_while_is_asked_again(
    folder: Path, web: Web, s3: Web, tmp_path: Path, kind: str, fault: list[int | str]
) -> None:
    front = web if kind == "http" else s3
    reader = opened(f"{web.url}/train" if kind == "http" else "s3://faces/x/train", tmp_path)
    front.faults[TAR] = list(fault)
    read = reader.read(everything(reader))
    whole = Reader(folder, SEVEN)
    pairs = zip(read.content, whole.read(everything(whole)).content, strict=True)
    assert all(np.array_equal(ours, theirs) for ours, theirs in pairs)
    assert front.asked()[TAR] == len(fault) + 1
    assert (next(tmp_path.glob(f"*/{TAR}"))).read_bytes() == (folder / TAR).read_bytes()


@pytest.mark.parametrize(
    ("fault", "said", "tries"),
    [
        (404, "cannot be had: not found;", 1),
        (403, "cannot be had: HTTP 403 Forbidden; .*credentials", 1),
        (500, "cannot be had in 6 tries: HTTP 500 Internal Server Error; look at the store", 6),
        ("cut", "cannot be had in 6 tries: ClientPayloadError: .*; look at the store", 6),
        ("short", "cannot be had in 2 tries: it has 15,360 bytes, but the manifest says 30,720; upload the set", 2),
        ("garbage", "cannot be had in 2 tries: its sha256 is not the manifest's; upload the set again", 2),
    ],
)
def test_a_store_that_fails_for_good_gives_one_line_that_names_the_shard_the_store_and_the_cause(
    web: Web, tmp_path: Path, fault: int | str, said: str, tries: int
) -> None:
    place = web.url.replace("//", "//user:hidden@") + "/train?signature=hidden"
    reader = opened(place, tmp_path)
    web.always[TAR] = fault
    start = rf"^{TAR} in {re.escape(web.url)}/train: "
    with pytest.raises(WorkError, match=start + said) as raised:
        reader.read(everything(reader))
    assert "hidden" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert web.asked()[TAR] == tries
    assert not list(tmp_path.glob(f"*/*{TAR}*"))


@pytest.mark.parametrize(
    ("fault", "said"),
    [(403, "access denied"), (500, "Internal Server Error"), ("garbage", "Checksum|sha256"), (404, "not found")],
)
def test_an_s3_store_that_fails_for_good_gives_one_line(s3: Web, tmp_path: Path, fault: int | str, said: str) -> None:
    reader = opened("s3://faces/x/train", tmp_path)
    s3.always[TAR] = fault
    with pytest.raises(WorkError, match=rf"^{TAR} in s3://faces/x/train: cannot be had.*({said})") as raised:
        reader.read(everything(reader))
    assert "not-to-be-shown" not in str(raised.value)
    with pytest.raises(
        InputError, match=r"^--data.train: manifest\.json in s3://nobodys/train: cannot be had: not found"
    ):
        opened("s3://nobodys/train", tmp_path)


def test_a_server_that_nobody_runs_is_named_with_the_flag(tmp_path: Path) -> None:
    said = r"^--data.train: manifest\.json in http://127\.0\.0\.1:9/train: cannot be had in 6 tries: Client.*Error"
    with pytest.raises(InputError, match=said):
        opened("http://127.0.0.1:9/train", tmp_path)


def test_a_longer_file_than_it_should_be_is_not_taken_whole(web: Web, folder: Path, tmp_path: Path) -> None:
    manifest = load_manifest(folder)
    (tmp_path / "web" / "train").mkdir(parents=True)
    for path in folder.iterdir():
        (tmp_path / "web" / "train" / path.name).symlink_to(path)
    (tmp_path / "web" / "train" / "manifest.json").unlink()
    (tmp_path / "web" / "train" / TAR).unlink()
    (tmp_path / "web" / "train" / TAR).write_bytes(bytes(30 << 20))
    save_manifest(tmp_path / "web" / "train", manifest)
    with served(tmp_path / "web") as endless:
        reader = opened(f"{endless.url}/train", tmp_path / "cache")
        with pytest.raises(WorkError, match=r"in 2 tries: it has more than the 30,720 bytes that it should have"):
            reader.read(everything(reader))


@pytest.mark.parametrize("kind", ["http", "s3", "memory"])
def test_a_file_that_may_be_there_is_read_up_to_its_bound(kind: str, s3: Web, tmp_path: Path) -> None:
    (tmp_path / "list.json").write_bytes(bytes(2 << 20))
    with served(tmp_path) as web:
        place = {"http": web.url, "s3": "s3://faces/bounded", "memory": "memory://bounded"}[kind]
        store = Store(folder_at(place))
        if kind != "http":
            store.put("list.json", bytes(2 << 20))
        assert store.read_if_there("list.json") == bytes(2 << 20)
        assert store.read_if_there("no.json") is None
        with pytest.raises(WorkError, match=r"list\.json in .* in 2 tries: it has more than the 1,000 bytes that it"):
            store.read_if_there("list.json", 1_000)


@pytest.mark.parametrize("name", ["../../out.tar", "/out.tar", "a/b.tar", ".out.tar", "out.sh", "out\0.tar", ""])
def test_a_remote_manifest_whose_names_lead_out_of_the_cache_is_refused(
    folder: Path, name: str, tmp_path: Path
) -> None:
    manifest = load_manifest(folder)
    (tmp_path / "web").mkdir()
    save_manifest(tmp_path / "web", replace(manifest, shards=(replace(manifest.shards[0], file=name),)))
    message = "expected plain names of tars|cannot be a file's; give one without slashes"
    with served(tmp_path / "web") as web, pytest.raises(InputError, match=message):
        opened(web.url, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_without_its_package_a_store_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*words: object, **options: object) -> None:
        raise ImportError("no such package")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(
        InputError, match=r"^gs://faces/train: gs:// needs another package: pip install 'fer-dist\[gcs\]'"
    ):
        open_set("gs://faces/train", DataConfig())


def test_secrets_of_an_address_are_not_shown() -> None:
    place = "https://me:hidden@host/faces/train/*-{0..9}.tar?X-Amz-Signature=hidden&a=b"
    assert str(locate(place)) == "https://host/faces/train/*-{0..9}.tar"
    assert locate(place).of("a b#.tar") == "https://me:hidden@host/faces/train/a%20b%23.tar?X-Amz-Signature=hidden&a=b"
    assert without_secrets("403, url='https://h/x?sig=hidden' (s3://k:hidden@b)") == "403, url='https://h/x' (s3://b)"
    old, new = (Config(data=DataConfig(train=f"https://me:hidden@h/{name}?s=hidden")) for name in "ab")
    assert differences(old, new) == {"data.train": "data.train https://h/a -> https://h/b"}


def test_a_resolved_run_keeps_urls_and_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = resolved(Config(data=DataConfig(train="s3://b//x/*.tar", val="a/b-{0..3}.tar", cache="c")), "paper")
    assert config.data.train == "s3://b//x/*.tar"
    assert config.data.val == str(tmp_path / "a" / "b-{0..3}.tar")
    assert config.data.cache == str(tmp_path / "c")


def test_a_run_that_is_told_to_stop_does_not_wait_for_a_shard(web: Web, tmp_path: Path) -> None:
    reader = opened(f"{web.url}/train", tmp_path)
    assert reader.remote
    web.always[TAR] = "hang"
    reader.remote.stop_requested = lambda: web.asked()[TAR] > 0
    began = time.monotonic()
    with pytest.raises(WorkError, match=rf"^stopped while waiting for {TAR} in {re.escape(web.url)}/train; go on with"):
        reader.read(everything(reader))
    assert time.monotonic() - began < 5
