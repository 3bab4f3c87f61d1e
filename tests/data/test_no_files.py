"""Where a file is expected, something that is none, or has no end: nothing waits for it, and no memory is filled."""

import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.faces import encoded, faces, shard_set, write
from support.hostile import member, relabelled

from fer_dist.config.settings import DataConfig
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.emotions import SEVEN
from fer_dist.data.inspection.verify import verify_shards
from fer_dist.data.loading.shard_set import open_set
from fer_dist.data.loading.tar_view import OpenedTar
from fer_dist.data.shards.index import index_shards
from fer_dist.data.shards.leave_out import load_leave_out
from fer_dist.data.shards.manifest import (
    MANIFEST,
    Manifest,
    Member,
    Shard,
    index_path,
    load_index_lines,
    load_manifest,
    save_index,
    save_manifest,
)
from fer_dist.data.sources.excel import excel_sheets
from fer_dist.data.sources.source import open_source
from fer_dist.errors import InputError
from fer_dist.evaluate.results import load_predictions, load_scores
from fer_dist.runs.checkpoint import Checkpoints, load_network
from fer_dist.runs.curves import load_curves
from fer_dist.runs.folder import RunFolder
from fer_dist.runs.opening import load_config
from fer_dist.study.plan_file import load_plan
from fer_dist.train.zero import read_settings

TAR = "drawn-train-000000.tar"
SPARSE_BYTES = 20 << 30
GIANT_BYTES = 1 << 30
SPARE_BYTES = 3 << 30
"""Of memory that a reader may take before it fails."""


def pipe(path: Path) -> None:
    os.mkfifo(path)


def waiting_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        # The path of a socket may not be longer than 107 bytes.
        here = Path.cwd()
        os.chdir(path.parent)
        try:
            bound.bind(path.name)
        finally:
            os.chdir(here)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, SPARSE_BYTES)


def folder(path: Path) -> None:
    path.mkdir()


KINDS = (pipe, waiting_socket, endless, sparse, folder)
Put = Callable[[Path], Path]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def put(request: pytest.FixtureRequest) -> Put:
    """Makes something at a path, in the place of what stood there."""

    def at(path: Path) -> Path:
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        request.param(path)
        return path

    return at


@pytest.fixture
def in_bounds() -> Iterator[None]:
    """A reader that waits, or takes memory without end, fails here."""

    def end(number: int, frame: Any) -> None:
        raise AssertionError("it did not end")

    before, most = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    alarm = signal.signal(signal.SIGALRM, end)
    resource.setrlimit(resource.RLIMIT_AS, (used + SPARE_BYTES, most))
    signal.alarm(60)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, alarm)
        resource.setrlimit(resource.RLIMIT_AS, (before, most))


def shards(root: Path) -> Path:
    return shard_set(root / "train", [faces(6)])


def as_index(root: Path, put: Put) -> None:
    load_index_lines(put(index_path(shards(root) / TAR)).with_suffix(".tar"))


def as_manifest(root: Path, put: Put) -> None:
    load_manifest(put(shards(root) / MANIFEST).parent)


def as_tar_of_a_set(root: Path, put: Put) -> None:
    open_set(str(put(shards(root) / TAR).parent), DataConfig())


def as_tar_of_others(root: Path, put: Put) -> None:
    index_shards(put(root / "set" / "a.tar").parent, SEVEN)


def as_leave_out(root: Path, put: Put) -> None:
    load_leave_out(put(root / "clean.jsonl"), "drawn-train")


def as_plan(root: Path, put: Put) -> None:
    load_plan(put(root / "plan.yaml"))


def as_csv(root: Path, put: Put) -> None:
    open_source("csv", str(put(root / "faces.csv")))


def as_metadata(root: Path, put: Put) -> None:
    open_source("csv", str(put(root / "metadata.csv").parent))


def as_table_of_fer2013(root: Path, put: Put) -> None:
    open_source("fer2013", str(put(root / "fer2013.csv")))


def as_list_of_rafdb(root: Path, put: Put) -> None:
    open_source("rafdb", str(put(root / "EmoLabel" / "list_patition_label.txt").parent.parent))


def as_list_of_expw(root: Path, put: Put) -> None:
    open_source("expw", str(put(root / "label.lst").parent))


def as_lists_of_affectnet(root: Path, put: Put) -> None:
    open_source("affectnet", str(put(root / "Manually_Annotated_file_lists" / "training.csv").parent.parent))


def as_excel_file(root: Path, put: Put) -> None:
    excel_sheets(put(root / "Image_info.xls"))


def as_predictions(root: Path, put: Put) -> None:
    load_predictions(put(root / "faces-test.parquet"))


def as_scores(root: Path, put: Put) -> None:
    load_scores(put(root / "scores.json").parent)


def as_config(root: Path, put: Put) -> None:
    load_config(put(root / "config.json").parent)


def as_settings_of_deepspeed(root: Path, put: Put) -> None:
    read_settings(str(put(root / "zero.json")))


READERS = (
    as_index, as_manifest, as_tar_of_a_set, as_tar_of_others, as_leave_out,
    as_plan, as_csv, as_metadata, as_table_of_fer2013, as_list_of_rafdb, as_list_of_expw, as_lists_of_affectnet,
    as_excel_file, as_predictions, as_scores, as_config, as_settings_of_deepspeed,
)  # fmt: skip


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_what_is_no_file_and_what_has_no_end_is_one_line(
    tmp_path: Path, put: Put, read: Callable[[Path, Put], None], in_bounds: None
) -> None:
    with pytest.raises(InputError) as raised:
        read(tmp_path, put)
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value) or "/dev/zero" in str(raised.value)


def test_in_place_of_a_model_it_is_one_line(tmp_path: Path, put: Put) -> None:
    # Without bounds: the file is mapped, which takes no memory.
    with pytest.raises(InputError, match=r"no such run folder|not a model of fer_dist|not a run folder|no checkpoint"):
        load_network(put(tmp_path / "model.safetensors"))


def test_among_images_it_is_left_out_of_a_build(tmp_path: Path, put: Put, in_bounds: None) -> None:
    for emotion in ("happy", "sad"):
        write(tmp_path / "raw" / "train" / emotion / "good.jpg", encoded(1))
    put(tmp_path / "raw" / "train" / "sad" / "none.jpg")
    (manifest,) = build_shards(open_source("folder", str(tmp_path / "raw")), tmp_path / "out", BuildOptions(workers=1))
    assert manifest.samples == 2
    assert set(manifest.left_out) <= {"cannot be read", "not a file"}


def test_beside_tars_it_is_found_by_verify_and_made_anew_by_index(tmp_path: Path, put: Put, in_bounds: None) -> None:
    index = put(index_path(shards(tmp_path) / TAR))
    assert [fault.shard for fault in verify_shards(index.parent).faults] == [TAR]
    if index.is_dir():
        return
    index_shards(index.parent)
    assert not verify_shards(index.parent).faults


def test_in_place_of_a_tar_it_is_found_by_verify(tmp_path: Path, put: Put, in_bounds: None) -> None:
    tar = put(shards(tmp_path) / TAR)
    assert {fault.shard for fault in verify_shards(tar.parent).faults} == {TAR}


def test_an_image_of_gigabytes_in_a_sparse_tar_is_read_by_nobody(tmp_path: Path, in_bounds: None) -> None:
    tar = tmp_path / "a.tar"
    label = member("a.cls", b"1")
    head = relabelled(member("a.jpg", b"\xff\xd8"), size=b"%011o\0" % GIANT_BYTES)[:512]
    tar.write_bytes(label + head)
    os.truncate(tar, len(label) + 512 + GIANT_BYTES + 10240)
    with pytest.raises(InputError, match=r"a\.tar: a: its image has 1,073,741,824 bytes, too many for one"):
        index_shards(tmp_path, SEVEN)
    size = tar.stat().st_size
    save_index(tar, [[Member("cls", 512, 1, "a.cls"), Member("jpg", 1536, GIANT_BYTES, "a.jpg")]])
    with pytest.raises(InputError, match=r"a\.tar: a: its image has 1,073,741,824 bytes, too many for one"):
        OpenedTar(tar, 1, SEVEN).sample(0)
    counts = dict.fromkeys(SEVEN, 0) | {SEVEN[1]: 1}
    save_manifest(tmp_path, Manifest("a", "b", SEVEN, (Shard("a.tar", 1, size + 1, "", counts),)))
    assert "a.jpg has 1,073,741,824 bytes, too many" in str(verify_shards(tmp_path).faults[1])


def test_in_a_run_folder_it_is_no_checkpoint_no_configuration_and_no_curve(
    tmp_path: Path, put: Put, in_bounds: None
) -> None:
    put(tmp_path / "checkpoints" / "list.json")
    put(tmp_path / "events.out.tfevents.1.here.1.0")
    assert Checkpoints(tmp_path).entries() == []
    assert load_curves(tmp_path) == {}
    config = put(tmp_path / "config.json")
    if config.is_file():
        with pytest.raises(OSError, match="at most"):
            RunFolder(str(tmp_path)).read("config.json")
    else:
        assert RunFolder(str(tmp_path)).read("config.json") is None
