"""Finished sets are checked, and tars that others made become sets."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from support.faces import encoded, faces, folder_release, shard_set, tree, write

from fer_dist.cli.commands import main
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.inspection.verify import verify_shards
from fer_dist.data.shards.index import index_shards
from fer_dist.data.shards.manifest import index_path, load_index, load_manifest, save_manifest
from fer_dist.data.sources.source import open_source
from fer_dist.errors import InputError

EMOTIONS = ("fear", "sad", "happy")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    source = open_source("folder", str(folder_release(tmp_path / "raw", 24)))
    build_shards(source, tmp_path / "out", BuildOptions(workers=1, shard_samples=8))
    return tmp_path / "out" / "train"


def tar_of(path: Path, members: dict[str, bytes], form: int = tarfile.GNU_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def faults_of(folder: Path) -> list[str]:
    return [str(fault) for fault in verify_shards(folder).faults]


def test_a_set_as_built_has_no_fault(shards: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    report = verify_shards(shards, lambda *call: calls.append(call))
    assert (report.shards, report.samples, report.faults) == (3, 24, ())
    assert calls == [(8, 24), (16, 24), (24, 24)]


def test_a_folder_of_splits_is_verified_split_by_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("test", "train"):
        shard_set(tmp_path / split, [faces(2)], split=split)
    assert main(["shards", "verify", str(tmp_path)]) == 0
    said = [f"{tmp_path / split}: 2 samples read, 0 faults" for split in ("train", "test")]
    assert capsys.readouterr().err.splitlines() == said


def test_every_single_damaged_byte_of_a_tar_is_found(shards: Path) -> None:
    tar = shards / "raw-train-000001.tar"
    content = tar.read_bytes()
    for position in range(0, len(content), len(content) // 7):
        tar.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        assert "raw-train-000001.tar: its sha256 is not the manifest's" in faults_of(shards)


def test_all_faults_are_listed_and_none_ends_the_check(shards: Path) -> None:
    first, second, third = (shards / f"raw-train-{i:06d}.tar" for i in range(3))
    first.unlink()
    second.write_bytes(second.read_bytes()[:5000])
    index_path(third).write_text("v1.2 0\n")
    write(shards / "more.tar", b"")
    faults = "\n".join(faults_of(shards))
    for expected in (
        "more.tar: a tar that the manifest does not name",
        "raw-train-000000.tar: missing",
        "raw-train-000001.tar: 5000 bytes, but the manifest says",
        "raw-train-000001.tar: not a whole tar",
        "samples, but the manifest says 8",
        "raw-train-000002.tar: its index is not that of this tar",
    ):
        assert expected in faults


def test_wrong_labels_images_and_repeated_keys_are_named_with_shard_and_key(tmp_path: Path) -> None:
    good = {"jpg": encoded(1), "cls": b"0", "json": b'{"emotion": "fear"}'}
    wrong = {
        "a": good,
        "other-label": {**good, "cls": b"1"},
        "no-number": {**good, "cls": b"fear"},
        "too-large": {**good, "cls": b"3", "json": b"{}"},
        "no-json": {**good, "json": b"{"},
        "cut": {**good, "jpg": encoded(1)[:-200]},
        "bare": {"cls": b"0"},
    }
    rows = {f"{key}.{extension}": content for key, files in wrong.items() for extension, content in files.items()}
    tar_of(tmp_path / "a.tar", {"a.jpg": encoded(1), "a.cls": b"0"})
    tar_of(tmp_path / "b.tar", {"b.jpg": encoded(1), "b.cls": b"0"})
    index_shards(tmp_path, EMOTIONS)
    tar_of(tmp_path / "b.tar", rows)
    faults = "\n".join(faults_of(tmp_path))
    for expected in (
        "b.tar: other-label: its .cls means sadness, its .json says fear",
        "b.tar: no-number: its .cls b'fear' is not a number from 0 to 2",
        "b.tar: too-large: its .cls b'3' is not a number from 0 to 2",
        "b.tar: no-json: its .json is not an object",
        "b.tar: cut: its .jpg does not decode",
        "b.tar: bare: 0 images",
        "b.tar: a: key comes twice in the set",
        "b.tar: 7 samples, but the manifest says 1",
        "b.tar: 4 of fear, but the manifest says 1",
    ):
        assert expected in faults


def test_a_lost_or_cut_index_is_made_anew_with_the_same_bytes(shards: Path) -> None:
    before = tree(shards)
    index_path(shards / "raw-train-000000.tar").unlink()
    index_path(shards / "raw-train-000001.tar").write_text("v1.2 8\n")
    manifest = index_shards(shards)
    assert manifest == load_manifest(shards)
    assert tree(shards) == before


def test_an_index_is_not_made_for_a_tar_that_is_not_the_manifests(shards: Path) -> None:
    (shards / "raw-train-000000.tar").write_bytes((shards / "raw-train-000001.tar").read_bytes())
    index_path(shards / "raw-train-000000.tar").unlink()
    with pytest.raises(InputError, match=r"raw-train-000000\.tar: not the tar of the manifest"):
        index_shards(shards)
    assert not index_path(shards / "raw-train-000000.tar").exists()


def test_other_emotions_than_the_manifests_are_refused(shards: Path) -> None:
    with pytest.raises(
        InputError, match=r"says that the labels are fear,sadness,happiness, --emotions says sadness,fear"
    ):
        index_shards(shards, ("sad", "fear"))
    assert index_shards(shards, EMOTIONS).emotions == ("fear", "sadness", "happiness")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_that_others_made_become_a_set_that_verifies(tmp_path: Path, form: int) -> None:
    folder = tmp_path / "faces" / "train"
    long = "d" * 60 + "/" + "x" * 80
    first = {
        "with blank.jpg": encoded(1),
        "with blank.cls": b"2\n",
        f"{long}.PNG": encoded(2, "PNG"),
        f"{long}.cls": b"0",
    }
    tar_of(folder / "a.tar", first, form)
    tar_of(folder / "b.tar", {"b.jpg": encoded(3), "b.json": json.dumps({"emotion": "Happy"}).encode()}, form)
    manifest = index_shards(folder, EMOTIONS)
    assert (manifest.name, manifest.samples, manifest.emotions) == ("faces-train", 3, ("fear", "sadness", "happiness"))
    assert manifest.counts == {"fear": 1, "sadness": 0, "happiness": 2}
    content = (folder / "a.tar").read_bytes()
    for members in load_index(folder / "a.tar"):
        for member in members:
            whole = member.name.replace("%20", " ")
            assert content[member.offset : member.offset + member.size] == first[whole]
    assert verify_shards(folder).faults == ()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.jpg": b"", "a.cls": b"7"}, r"a\.tar: a: the label '7' is not a number from 0 to 2"),
        ({"a.jpg": b"", "a.cls": b"-1"}, r"a\.tar: a: the label '-1' is not a number"),
        ({"a.jpg": b"", "a.txt": b"7"}, r"a\.tar: a: no label; expected a number in \.cls or an emotion in \.json"),
        ({"a.gif": b"", "a.cls": b"0"}, r"a\.tar: a: no image among gif, cls; expected one of jpg, jpeg, png"),
        ({"a.jpg": b"", "a.JPG": b""}, r"a\.tar: a: two files with the same extension"),
        ({"a.jpg": b"", "a.json": b"{"}, r"a\.tar: a: its \.json does not parse"),
        (
            {"a.jpg": b"", "a.json": b'{"emotion": "bored"}'},
            r"the emotion 'bored' is not among fear, sadness, happiness",
        ),
        (
            {"a.jpg": b"", "a.cls": b"0", "a.json": b'{"emotion": "sad"}'},
            r"its \.cls means fear, its \.json says sadness",
        ),
        ({}, r"there is no sample in its 1 tar"),
    ],
)
def test_a_sample_without_a_clear_label_or_image_is_named(
    tmp_path: Path, members: dict[str, bytes], message: str
) -> None:
    tar_of(tmp_path / "a.tar", members)
    with pytest.raises(InputError, match=message):
        index_shards(tmp_path, EMOTIONS)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        # As a tool writes them that packs one kind of file after the other.
        (
            ["a.jpg", "b.jpg", "a.cls", "b.cls"],
            r"a: its files stand apart, a\.jpg here and a\.cls elsewhere in the tar",
        ),
        (
            ["a.cls", "b.cls", "a.jpg", "b.jpg"],
            r"a: its files stand apart, a\.cls here and a\.jpg elsewhere in the tar",
        ),
        (
            ["a.jpg", "a.cls", "b.jpg", "b.cls", "a.json"],
            r"a: its files stand apart, a\.json here and a\.jpg elsewhere",
        ),
        (["i/a.jpg", "i/b.jpg", "l/a.cls", "l/b.cls"], r"i/a: its files lie in two folders, i/a\.jpg and l/a\.cls"),
        (["l/a.cls", "i/a.png"], r"l/a: its files lie in two folders, l/a\.cls and i/a\.png"),
        # Another sample of the same name is none of its files.
        (["happy/a.jpg", "sad/a.jpg", "sad/a.cls"], r"happy/a: no label"),
    ],
)
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_files_of_a_sample_that_do_not_stand_together_are_named_with_the_remedy(
    tmp_path: Path, names: list[str], message: str, form: int
) -> None:
    content = {"jpg": encoded(1), "png": encoded(1, "PNG"), "cls": b"0", "json": b"{}"}
    tar_of(tmp_path / "x.tar", {name: content[name.rpartition(".")[2]] for name in names}, form)
    remedy = "" if "no label" in message else ".*next to each other.*tar --sort=name"
    with pytest.raises(InputError, match=rf"^x\.tar: {message}{remedy}"):
        index_shards(tmp_path, EMOTIONS)


def test_folders_and_names_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent: no such folder of shards"):
        index_shards(tmp_path / "absent", EMOTIONS)
    with pytest.raises(InputError, match=r"no \.tar in it; found: nothing"):
        index_shards(tmp_path, EMOTIONS)
    tar = tar_of(tmp_path / "a.tar", {"a.jpg": encoded(1), "a.cls": b"0"})
    with pytest.raises(InputError, match=r"no manifest; say what the labels 0, 1, 2, \.\.\. mean"):
        index_shards(tmp_path)
    with pytest.raises(InputError, match=r"--emotions fear,\?\x07: '\?\\x07' has a sign that no name has"):
        index_shards(tmp_path, ("fear", "?\7"))
    with pytest.raises(InputError, match=r"--emotions joy,happy: 'joy' and 'happy' are the same class, happiness"):
        index_shards(tmp_path, ("joy", "happy"))
    tar.write_bytes(tar.read_bytes()[:700])
    with pytest.raises(InputError, match=r"a\.tar: not a whole, uncompressed tar"):
        index_shards(tmp_path, EMOTIONS)


def test_a_manifest_that_counts_wrongly_is_found(shards: Path) -> None:
    from dataclasses import replace

    manifest = load_manifest(shards)
    wrong = replace(manifest.shards[0], counts={**manifest.shards[0].counts, "fear": 99})
    save_manifest(shards, replace(manifest, shards=(wrong, *manifest.shards[1:])))
    assert any("of fear, but the manifest says 99" in fault for fault in faults_of(shards))
