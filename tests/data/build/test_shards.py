"""A release becomes shard sets: the same bytes always, whole or not at all, and readable for others."""

import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tracemalloc
from collections import Counter, namedtuple
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.faces import (
    CountedSource,
    ListedSource,
    children,
    encoded,
    environment,
    fer2013_folders,
    folder_release,
    is_running,
    tree,
    wait_for,
    write,
)

from fer_dist.data.build import pack as pack_module
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.build.holdout import cut_validation
from fer_dist.data.build.listing import list_samples, sample_of
from fer_dist.data.shards.manifest import Manifest, index_path, load_index, load_manifest
from fer_dist.data.shards.tar import header
from fer_dist.data.sources.source import LeftOut, Sample, open_source
from fer_dist.errors import InputError
from fer_dist.storage import lines as lines_module
from fer_dist.storage.lines import LineSorter


def build(raw: Path, out: Path, source: str = "folder", **options: object) -> list[Manifest]:
    return build_shards(open_source(source, str(raw)), out, BuildOptions(**{"workers": 1, **options}))  # type: ignore


def keys_of(folder: Path) -> list[str]:
    with_names = [load_index(folder / shard.file) for shard in load_manifest(folder).shards]
    return [members[0].name.removesuffix(".cls") for samples in with_names for members in samples]


def facts_of(folder: Path) -> list[dict[str, object]]:
    found = []
    for shard in load_manifest(folder).shards:
        with tarfile.open(folder / shard.file) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    found.append(json.load(tar.extractfile(member)))  # type: ignore[arg-type]
    return found


@given(st.from_regex(r"[A-Za-z0-9%~/_-]{1,90}\.(jpg|png|cls|json)", fullmatch=True), st.integers(0, 8**11 - 1))
def test_a_header_is_what_tarfile_writes(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    assert header(name, size) == info.tobuf(tarfile.USTAR_FORMAT)


def test_a_tar_is_byte_for_byte_what_tarfile_makes_of_the_same_members(tmp_path: Path) -> None:
    build(folder_release(tmp_path / "raw", 20), tmp_path / "out")
    (path,) = (tmp_path / "out" / "train").glob("*.tar")
    again = io.BytesIO()
    with tarfile.open(path) as tar, tarfile.open(fileobj=again, mode="w", format=tarfile.USTAR_FORMAT) as copy:
        for member in tar:
            info = tarfile.TarInfo(member.name)
            info.size = member.size
            copy.addfile(info, tar.extractfile(member))
    assert again.getvalue() == path.read_bytes()


def test_the_members_of_a_sample_stand_together_in_the_order_of_their_names(tmp_path: Path) -> None:
    build(folder_release(tmp_path / "raw", 20), tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "train" / "raw-train-000000.tar") as tar:
        names = tar.getnames()
    assert [names[i : i + 3] for i in range(0, 60, 3)] == [
        [f"{key}.cls", f"{key}.jpg", f"{key}.json"] for key in keys_of(tmp_path / "out" / "train")
    ]


def test_the_index_is_what_wds2idx_writes(tmp_path: Path) -> None:
    build(folder_release(tmp_path / "raw", 20), tmp_path / "out")
    (path,) = (tmp_path / "out" / "train").glob("*.tar")
    subprocess.run(
        [sys.executable, shutil.which("wds2idx", path=Path(sys.executable).parent), path, tmp_path / "x"], check=True
    )
    assert (tmp_path / "x").read_bytes() == index_path(path).read_bytes()


def test_the_same_input_gives_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    raw = folder_release(tmp_path / "raw", 60)
    write(raw / "train" / "sad" / "broken.jpg", b"no image")
    for workers in (1, 2):
        build(raw, tmp_path / str(workers), shard_samples=7, val_fraction=0.2, workers=workers)
    assert tree(tmp_path / "1") == tree(tmp_path / "2")
    assert {name.split("/")[0] for name in tree(tmp_path / "1")} == {"train", "val"}


def test_samples_stand_in_the_order_of_the_hash_of_their_key(tmp_path: Path) -> None:
    build(folder_release(tmp_path / "raw", 30), tmp_path / "out", shard_samples=8)
    keys = keys_of(tmp_path / "out" / "train")
    assert keys == sorted(keys, key=lambda key: hashlib.sha256(key.encode()).digest())
    assert [shard.samples for shard in load_manifest(tmp_path / "out" / "train").shards] == [8, 8, 8, 6]


def test_the_order_does_not_depend_on_the_memory_that_sorting_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = folder_release(tmp_path / "raw", 60)
    build(raw, tmp_path / "plenty", val_fraction=0.3)
    monkeypatch.setattr(lines_module, "RUN_BYTES", 500)
    monkeypatch.setattr(lines_module, "FAN_IN", 3)
    build(raw, tmp_path / "little", val_fraction=0.3)
    assert tree(tmp_path / "plenty") == tree(tmp_path / "little")


SLOW_BUILD = """
import sys
from pathlib import Path
from support.faces import SlowSource
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.sources.source import open_source
if __name__ == "__main__":
    source = SlowSource(open_source("folder", sys.argv[1]), 0.002)
    build_shards(source, Path(sys.argv[2]), BuildOptions(workers=2, shard_samples=20))
"""


def test_a_build_that_was_killed_goes_on_and_gives_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    raw = folder_release(tmp_path / "raw", 600)
    out = tmp_path / "out"
    script = write(tmp_path / "slow_build.py", SLOW_BUILD.encode())
    process = subprocess.Popen([sys.executable, script, raw, out], env=environment())
    finished = out / ".building" / "shards" / "train"
    wait_for(lambda: len(list(finished.glob("*.json"))) >= 3)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(workers) >= 2
    wait_for(lambda: not any(map(is_running, workers)))
    assert not (out / "train").exists()
    kept = {record.with_suffix(".tar").stat().st_ino for record in finished.glob("*.json")}
    assert 3 <= len(kept) < 30
    build(raw, out, shard_samples=20)
    build(raw, tmp_path / "undisturbed", shard_samples=20)
    assert tree(out) == tree(tmp_path / "undisturbed")
    assert kept <= {tar.stat().st_ino for tar in (out / "train").glob("*.tar")}, "finished shards were written again"


def interrupt(monkeypatch: pytest.MonkeyPatch, raw: Path, out: Path, **options: object) -> None:
    """Build, and fail as a killed process would once every shard is written."""
    with monkeypatch.context() as patch:
        patch.setattr("fer_dist.data.build.build._stage", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build(raw, out, **options)


def test_what_a_killed_build_left_half_written_does_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, raw = tmp_path / "out", folder_release(tmp_path / "raw", 8)
    interrupt(monkeypatch, raw, out)
    half = out / ".building" / "shards" / "train" / ".000000.tar.0123abcd.tmp"
    half.touch()
    interrupt(monkeypatch, raw, out)
    assert half.parent.is_dir()
    assert not half.exists()


def test_shards_of_a_killed_build_are_not_taken_for_another_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    raw = folder_release(tmp_path / "raw", 20)
    interrupt(monkeypatch, raw, out)
    write(raw / "train" / "happy" / "00000.jpg", encoded(77, side=16))
    build(raw, out)
    build(raw, tmp_path / "undisturbed")
    assert tree(out) == tree(tmp_path / "undisturbed")
    interrupt(monkeypatch, raw, tmp_path / "other", shard_samples=4)
    build(raw, tmp_path / "other")
    assert tree(tmp_path / "other") == tree(tmp_path / "undisturbed")


def test_shards_of_a_killed_build_are_not_taken_for_drawn_faces_of_another_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = (open_source("synthetic", "lab", count=6, test_count=0, pixels=pixels) for pixels in (16, 24))
    with monkeypatch.context() as patch:
        patch.setattr("fer_dist.data.build.build._stage", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_shards(small, tmp_path / "out", BuildOptions(workers=1))
    for place in ("out", "undisturbed"):
        build_shards(large, tmp_path / place, BuildOptions(workers=1))
    assert tree(tmp_path / "out") == tree(tmp_path / "undisturbed")


@pytest.mark.parametrize("renames", [1, 2, 3, 4])
def test_a_build_killed_while_it_publishes_is_finished_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    raw = fer2013_folders(tmp_path / "raw")
    out = tmp_path / "out"
    build(raw, out, "fer2013", shard_samples=3)
    left = [renames]
    rename = Path.rename

    def rename_and_die(path: Path, target: Path) -> Path:
        if path.is_dir():
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename_and_die)
        with pytest.raises(KeyboardInterrupt):
            build(raw, out, "fer2013", overwrite=True)
    assert [manifest.samples for manifest in build(raw, out, "fer2013")] == [21, 7, 7]
    build(raw, tmp_path / "undisturbed", "fer2013")
    assert tree(out) == tree(tmp_path / "undisturbed")


def images_as_webdataset_reads_them(folder: Path) -> dict[str, tuple[bytes, bytes, bytes]]:
    import webdataset

    tars = [str(folder / shard.file) for shard in load_manifest(folder).shards]
    read = webdataset.WebDataset(tars, shardshuffle=False)
    return {s["__key__"]: (s.get("jpg") or s["png"], s["cls"], s["json"]) for s in read}


def images_as_dali_reads_them(folder: Path) -> list[tuple[bytes, bytes, bytes]]:
    from nvidia.dali import fn, pipeline_def

    tars = [folder / shard.file for shard in load_manifest(folder).shards]

    @pipeline_def(batch_size=1, num_threads=1, device_id=None)
    def read():  # type: ignore[no-untyped-def]
        indexes = [str(index_path(tar)) for tar in tars]
        return tuple(
            fn.readers.webdataset(paths=[str(tar) for tar in tars], index_paths=indexes, ext=["jpg;png", "cls", "json"])
        )

    pipeline = read()
    pipeline.build()
    samples = load_manifest(folder).samples
    return [tuple(bytes(output.at(0)) for output in pipeline.run()) for _ in range(samples)]  # type: ignore[misc]


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset leaves its tars to the collector
def test_webdataset_and_dali_read_the_same_samples_and_bytes_as_lie_in_the_release(tmp_path: Path) -> None:
    raw = folder_release(tmp_path / "raw", 12)
    for name in ("a.b.c", "with blank", "grüße 😀", "x" * 200, "__meta__", "50%", "tab\tand\nline"):
        write(raw / "train" / "happy" / f"{name}.jpg", encoded(len(name), side=16))
    write(raw / "train" / "sad" / "deep" / "er" / "p.png", encoded(5, "PNG"))
    build(raw, tmp_path / "out", shard_samples=6)
    folder = tmp_path / "out" / "train"
    emotions = load_manifest(folder).emotions
    by_key = images_as_webdataset_reads_them(folder)
    assert list(by_key) == keys_of(folder)
    assert images_as_dali_reads_them(folder) == list(by_key.values())
    assert len(by_key) == 20
    for image, label, content in by_key.values():
        facts = json.loads(content)
        assert (raw / facts["id"]).read_bytes() == image
        assert emotions[int(label)] == facts["emotion"]


def test_counts_by_class_and_facts_are_those_of_the_release(tmp_path: Path) -> None:
    train, val, test = build(fer2013_folders(tmp_path / "raw", 24, 7, 9), tmp_path / "out", "fer2013", shard_samples=5)
    assert (train.samples, val.samples, test.samples) == (24, 7, 9)
    assert list(train.counts.values()) == [4, 4, 4, 3, 3, 3, 3]
    for manifest in (train, val, test):
        facts = facts_of(tmp_path / "out" / manifest.split)
        assert Counter(fact["emotion"] for fact in facts) == Counter(manifest.counts)
        assert all(set(fact) == {"id", "code", "emotion", "dataset"} for fact in facts)
        for shard in manifest.shards:
            content = (tmp_path / "out" / manifest.split / shard.file).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (shard.bytes, shard.sha256)


def test_the_manifest_says_how_it_was_built(tmp_path: Path) -> None:
    (manifest,) = build(folder_release(tmp_path / "raw", 6), tmp_path / "out", command="fer-dist shards build ...")
    assert manifest.built["command"] == "fer-dist shards build ..."
    assert manifest.built["variant"] == "folders <split>/<class>; classes are words"
    assert set(manifest.built["versions"]) == {"fer_dist", "pillow", "python"}


def test_bad_images_are_left_out_and_named_and_the_rest_is_built(tmp_path: Path) -> None:
    raw = folder_release(tmp_path / "raw", 12)
    happy = raw / "train" / "happy"
    write(happy / "empty.jpg", b"")
    write(happy / "cut.jpg", encoded(1)[:-200])
    write(happy / "cut.png", encoded(1, "PNG")[:-60])
    write(happy / "note.txt", b"")
    os.symlink("nowhere", happy / "gone.jpg")
    # Nobody writes into these: to open them as files are opened would wait for ever.
    os.mkfifo(happy / "pipe.jpg")
    os.mkfifo(happy / "pipe.png")
    (manifest,) = build(raw, tmp_path / "out", shard_samples=4)
    assert manifest.samples == 12
    assert manifest.left_out == {
        "cannot be read": 2,
        "does not decode": 3,
        "no such file": 1,
        "not an image by its extension": 1,
    }
    lines = [json.loads(line) for line in (tmp_path / "out" / "train" / "left_out.jsonl").read_text().splitlines()]
    assert lines == sorted(lines, key=lambda line: line["name"])
    tried = {"name": "train/happy/gone.jpg", "reason": "no such file", "path": str(happy / "gone.jpg")}
    assert {"split": "train", **tried} in lines
    assert len(lines) == 7


def test_of_two_samples_with_one_key_one_is_kept_wherever_they_stand(tmp_path: Path) -> None:
    samples = [Sample("a", "train", "fear", "x", facts={"id": name}) for name in ("second", "first", "third")]
    for entries in (samples, samples[::-1]):
        out = tmp_path / str(entries[0].facts["id"])
        (manifest,) = build_shards(ListedSource(tuple(entries)), out, BuildOptions(workers=1))
        assert (manifest.samples, manifest.left_out) == (1, {"key comes twice": 2})
        assert facts_of(out / "train")[0]["id"] == "first"


@pytest.mark.parametrize("source", ["folder", "fer2013"])
def test_two_images_of_one_stem_both_stay_with_keys_that_are_always_the_same(tmp_path: Path, source: str) -> None:
    for name in ("train/sad/Training_1.jpg", "train/happy/Training_1.jpg", "test/happy/PrivateTest_1.jpg"):
        write(tmp_path / "raw" / name, encoded(len(name)))
    write(tmp_path / "raw/train/sad/Training_1.png", encoded(7, "PNG"))
    write(tmp_path / "raw/train/sad/Training_1.bmp.png", encoded(8, "PNG"))
    kept = []
    for out in ("one", "two"):
        train, _ = build(tmp_path / "raw", tmp_path / out, source)
        assert (train.samples, train.left_out) == (4, {})
        assert train.built["mended"] == {"another image has its key: the hash of its bytes is added": 1}
        kept.append((tmp_path / out / "train" / train.shards[0].file).read_bytes())
    assert kept[0] == kept[1]


def test_the_same_name_in_two_folders_that_share_a_split_is_one_image_only_where_its_bytes_are(tmp_path: Path) -> None:
    for folder in ("train", "test"):
        write(tmp_path / "raw" / folder / "sad" / "Training_1.jpg", encoded(1))
        write(tmp_path / "raw" / folder / "sad" / "Training_2.jpg", encoded(2 + len(folder)))
    (train,) = build(tmp_path / "raw", tmp_path / "out", "fer2013")
    assert (train.samples, train.left_out) == (3, {"key comes twice": 1})


@pytest.mark.parametrize("val_fraction", [0.0, 0.5])
def test_of_two_samples_with_one_key_and_two_labels_none_is_kept(tmp_path: Path, val_fraction: float) -> None:
    emotions = ("happiness", "sadness", "fear")
    clear = [Sample(f"k{n}", "train", emotions[n % 3], "x", facts={"id": str(n)}) for n in range(12)]
    doubtful = [Sample("a", "train", emotion, "x", facts={"id": emotion}) for emotion in ("sadness", "fear", "fear")]
    source = ListedSource((*clear, *doubtful))
    train, *rest = build_shards(source, tmp_path / "out", BuildOptions(workers=1, val_fraction=val_fraction))
    assert sum(manifest.samples for manifest in (train, *rest)) == 12
    assert train.left_out == {"key comes twice, with other labels": 3}


def test_a_shard_whose_images_are_all_bad_leaves_no_gap(tmp_path: Path) -> None:
    raw = folder_release(tmp_path / "raw", 10)
    build(raw, tmp_path / "whole", shard_samples=1)
    third = facts_of(tmp_path / "whole" / "train")[2]["id"]
    write(raw / str(third), b"broken")
    (manifest,) = build(raw, tmp_path / "out", shard_samples=1)
    assert [shard.file for shard in manifest.shards] == [f"raw-train-{i:06d}.tar" for i in range(9)]
    assert {shard.samples for shard in manifest.shards} == {1}


def test_a_changed_format_is_named_in_the_json(tmp_path: Path) -> None:
    raw = folder_release(tmp_path / "raw", 3)
    write(raw / "train" / "sad" / "a.bmp", encoded(1, "BMP"))
    build(raw, tmp_path / "out")
    assert [f["original"] for f in facts_of(tmp_path / "out" / "train") if "original" in f] == ["a.bmp"]


def test_an_image_that_decodes_with_a_warning_is_kept_and_noted(tmp_path: Path) -> None:
    raw = folder_release(tmp_path / "raw", 3)
    # A table of further images that cannot be read, which Pillow remarks and passes over.
    plain, body = encoded(1), b"MPF\0garbage"
    odd = plain[:2] + b"\xff\xe2" + (len(body) + 2).to_bytes(2, "big") + body + plain[2:]
    write(raw / "train" / "sad" / "odd.jpg", odd)
    (manifest,) = build(raw, tmp_path / "out")
    assert (manifest.samples, manifest.built["decoding_warnings"]) == (4, 1)
    (warned,) = [fact for fact in facts_of(tmp_path / "out" / "train") if "decoding_warning" in fact]
    assert (warned["id"], "malformed MPO" in str(warned["decoding_warning"])) == ("train/sad/odd.jpg", True)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_the_validation_split_is_stratified_exactly(tmp_path: Path, fraction: float) -> None:
    raw = tmp_path / "raw"
    sizes = {"happy": 41, "sad": 17, "fear": 4}
    for word, count in sizes.items():
        for i in range(count):
            write(raw / "train" / word / f"{i}.jpg", encoded(1, side=8))
    train, val = build(raw, tmp_path / "out", val_fraction=fraction)
    wanted = {"happiness": round(41 * fraction), "sadness": round(17 * fraction), "fear": round(4 * fraction)}
    assert val.counts == wanted
    assert train.samples + val.samples == sum(sizes.values())
    assert not set(keys_of(tmp_path / "out" / "train")) & set(keys_of(tmp_path / "out" / "val"))


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=40, max_size=80), st.floats(0.2, 0.5))
def test_no_subject_is_in_train_and_in_val(rows: list[tuple[int, int]], fraction: float) -> None:
    import tempfile

    emotions = ListedSource().emotions
    samples = [Sample(f"k{i}", "train", emotions[e], "x", facts={"subject": s}) for i, (s, e) in enumerate(rows)]
    with tempfile.TemporaryDirectory() as folder:
        listing = list_samples(ListedSource(tuple(samples)), Path(folder))
        try:
            cut_validation(listing, fraction)
        except InputError:
            # So few subjects that none comes near the fraction.
            assert max(Counter(subject for subject, _ in rows).values()) > fraction * len(rows)
            return
        split = {name: [sample_of(line, name) for line in listing.unique(name)] for name in ("train", "val")}
    subjects = {name: {sample.facts["subject"] for sample in found} for name, found in split.items()}
    assert not subjects["train"] & subjects["val"]
    assert sorted(sample.key for found in split.values() for sample in found) == sorted(s.key for s in samples)


def test_val_of_whole_subjects_comes_near_the_fraction_in_size_and_in_every_emotion(tmp_path: Path) -> None:
    emotions = ListedSource().emotions
    samples = [Sample(f"k{i}", "train", emotions[i % 3], "x", facts={"subject": i // 9}) for i in range(900)]
    listing = list_samples(ListedSource(tuple(samples)), tmp_path)
    cut_validation(listing, 0.2)
    counts = Counter(sample_of(line, "val").emotion for line in listing.unique("val"))
    assert all(abs(count - 60) <= 3 for count in counts.values())


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=8), max_size=60))
def test_a_sorter_sorts_as_sorted_does_however_little_it_holds(words: list[str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "RUN_BYTES", 20)
        patch.setattr(lines_module, "FAN_IN", 2)
        lines = LineSorter(Path(folder), "x")
        for word in words:
            lines.add(f"{word}\n")
        wanted = sorted(f"{word}\n" for word in words)
        assert list(lines) == wanted
        assert list(lines) == wanted, "the second time"


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "RUN_BYTES", 100_000)
    monkeypatch.setattr(lines_module, "FAN_IN", 8)
    peaks = []
    for count in (2_000, 20_000):
        (tmp_path / str(count)).mkdir()
        tracemalloc.start()
        listing = list_samples(CountedSource(count=count), tmp_path / str(count))
        cut_validation(listing, 0.1)
        assert sum(1 for split in ("train", "val") for _ in listing.unique(split)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.6 * peaks[0], peaks


def test_progress_counts_every_sample_once(tmp_path: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    source = open_source("folder", str(folder_release(tmp_path / "raw", 20)))
    build_shards(source, tmp_path / "out", BuildOptions(workers=1, shard_samples=6), lambda *call: calls.append(call))
    assert [call for call in calls if call[1] is not None] == [(6, 20), (12, 20), (18, 20), (20, 20)]


def test_a_finished_set_is_kept_unless_it_shall_be_overwritten(tmp_path: Path) -> None:
    raw, out = folder_release(tmp_path / "raw", 6), tmp_path / "out"
    build(raw, out)
    before = tree(out)
    with pytest.raises(InputError, match=r"out/train: holds a finished set already; add --overwrite to replace it"):
        build(raw, out)
    assert tree(out) == before
    folder_release(raw, 9)
    assert build(raw, out, overwrite=True)[0].samples == 9
    assert set(os.listdir(out)) == {"train"}


def test_files_that_no_build_wrote_are_never_removed(tmp_path: Path) -> None:
    raw, out = folder_release(tmp_path / "raw", 6), tmp_path / "out"
    write(out / "train" / "diary.txt", b"dear")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"out/train: holds what no build wrote \(diary\.txt\)"):
            build(raw, out, overwrite=overwrite)
    assert tree(out) == {"train/diary.txt": b"dear"}
    build(raw, tmp_path / "other")
    write(tmp_path / "other" / "train" / "diary.txt", b"dear")
    with pytest.raises(InputError, match=r"holds what no build wrote \(diary\.txt, "):
        build(raw, tmp_path / "other", overwrite=True)


def test_a_val_that_was_cut_from_train_does_not_stay_beside_a_new_train(tmp_path: Path) -> None:
    raw, out = folder_release(tmp_path / "raw", 12), tmp_path / "out"
    build(raw, out, val_fraction=0.5)
    with pytest.raises(InputError, match=r"out/val: left from another build of raw, and this one writes train only"):
        build(raw, out, overwrite=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard_samples": -1}, r"--shard-samples -1: a shard holds at least 1 image"),
        ({"val_fraction": 1.0}, r"--val-fraction 1\.0: give a share from 0 to less than 1"),
        ({"val_fraction": -0.1}, r"--val-fraction -0\.1: give a share"),
        ({"val_fraction": 0.01}, r"--val-fraction 0\.01 of 6 images leaves val empty; choose another"),
        ({"workers": -1}, r"--workers -1: give a number of processes, or 0"),
    ],
)
def test_options_that_do_not_fit_are_refused_and_leave_nothing(
    tmp_path: Path, options: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build(folder_release(tmp_path / "raw", 6), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_release_with_a_val_split_or_without_a_train_split_is_not_cut(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the release has a val split already; leave --val-fraction at 0"):
        build(fer2013_folders(tmp_path / "raw"), tmp_path / "out", "fer2013", val_fraction=0.1)
    with pytest.raises(InputError, match=r"there is no train split to cut; there is test"):
        build(folder_release(tmp_path / "test", 6, "test"), tmp_path / "out", val_fraction=0.1)


def test_an_empty_split_is_an_error_that_says_what_was_left_out(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"listed \(given by the test\): no image at all; left out: 1 'unknown Usage'"):
        build_shards(ListedSource((LeftOut("", "row 1", "unknown Usage"),)), out, BuildOptions(workers=1))
    raw = folder_release(tmp_path / "raw", 6)
    write(raw / "val" / "happy" / "a.txt", b"")
    with pytest.raises(InputError, match=r"the split 'val' is empty; left out: 1 'not an image by its extension'"):
        build(raw, out)
    write(raw / "val" / "happy" / "a.jpg", b"broken")
    with pytest.raises(InputError, match=r"left out: 1 'does not decode', as val/happy/a\.jpg; 1 'not an im"):
        build(raw, out)


def test_of_a_build_that_fails_for_want_of_images_the_lists_stay_until_one_succeeds(tmp_path: Path) -> None:
    raw, out = folder_release(tmp_path / "raw", 6), tmp_path / "out"
    write(raw / "val" / "happy" / "a.txt", b"")
    os.symlink("nowhere", raw / "val" / "happy" / "gone.jpg")
    tried = str(raw / "val" / "happy" / "gone.jpg")
    told = rf"1 'no such file', as {tried}; 1 'not an image .*; all of them are listed in {out}/left_out\.jsonl$"
    with pytest.raises(InputError, match=told):
        build(raw, out)
    assert os.listdir(out) == ["left_out.jsonl"]
    lines = [json.loads(line) for line in (out / "left_out.jsonl").read_text().splitlines()]
    assert {"split": "val", "name": "val/happy/gone.jpg", "reason": "no such file", "path": tried} in lines
    assert len(lines) == 2
    write(raw / "val" / "happy" / "b.jpg", encoded(1))
    build(raw, out)
    assert sorted(os.listdir(out)) == ["train", "val"]


def test_what_nobody_listed_as_a_sample_is_told_with_an_example_of_each_reason(tmp_path: Path) -> None:
    rows = [
        LeftOut("", name, reason) for reason in ("unknown Usage", "columns are missing") for name in ("b", "a", "c")
    ]
    with pytest.raises(
        InputError, match=r"no image at all; left out: 3 'columns are missing', as a; 3 'unknown Usage', as a; all of"
    ):
        build_shards(ListedSource(tuple(rows)), tmp_path / "out", BuildOptions(workers=1))
    assert len((tmp_path / "out" / "left_out.jsonl").read_text().splitlines()) == 6


def test_an_out_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    raw = folder_release(tmp_path / "raw", 6)
    write(tmp_path / "file", b"")
    for out in (tmp_path / "file", tmp_path / "file" / "out", Path("/proc/out")):
        with pytest.raises(InputError, match=rf"{out}: cannot be written \(.*\); choose another OUT"):
            build(raw, out)
    assert (tmp_path / "file").is_file()


def test_two_builds_do_not_write_into_one_out(tmp_path: Path) -> None:
    raw, out = folder_release(tmp_path / "raw", 6), tmp_path / "out"
    write(out / ".building" / "lock", b"")
    with (out / ".building" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"out: another build is writing here; wait for it or choose another OUT"):
            build(raw, out)
    build(raw, out)


def test_too_little_room_is_seen_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")(60_000)
    monkeypatch.setattr("fer_dist.data.build.build.shutil.disk_usage", lambda _: usage)
    build(folder_release(tmp_path / "raw", 6), tmp_path / "out")
    with pytest.raises(InputError, match=r"full: 60 images would take about 0\.0 GB, and 0\.0 GB are free; make room"):
        build(folder_release(tmp_path / "raw", 60), tmp_path / "full")
    assert not (tmp_path / "full").exists()


def test_a_disk_that_becomes_full_is_one_clear_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pack_module, "save_index", full)
    with pytest.raises(
        InputError, match=r"out: the disk is full \(No space left on device\); nothing of this build was"
    ):
        build(folder_release(tmp_path / "raw", 6), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_mistyped_second_command_does_not_cost_the_first_ones_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, out = folder_release(tmp_path / "raw", 6), tmp_path / "out"
    interrupt(monkeypatch, raw, out)
    with pytest.raises(InputError, match="leaves val empty"):
        build(raw, out, val_fraction=0.001)
    assert len(list(out.glob(".building/shards/train/*.tar"))) == 1
