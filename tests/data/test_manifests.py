"""Manifests that others wrote: what they name stays in its folder, and what is none is said in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.faces import faces, shard_set, tree

from fer_dist.cli.commands import main
from fer_dist.config.settings import DataConfig
from fer_dist.data.loading.shard_set import open_set
from fer_dist.data.shards.index import index_shards
from fer_dist.data.shards.manifest import MANIFEST, index_path, parse_manifest
from fer_dist.errors import InputError

SHARD = {"file": "a.tar", "samples": 3, "bytes": 10240, "sha256": "", "counts": {"fear": 3}}
WHOLE = {"format": 1, "dataset": "faces", "split": "test", "emotions": ["fear", "anger"], "shards": [SHARD]}


def changed(**fields: Any) -> bytes:
    return json.dumps({**WHOLE, **fields}).encode()


def with_shard(**fields: Any) -> bytes:
    return changed(shards=[{**SHARD, **fields}])


OTHERS = {
    "empty": (b"", "Invalid JSON"),
    "a list": (b"[]", "Input should be an object"),
    "not UTF-8": (b'{"format": \xff}', "Invalid JSON"),
    "deep": (b"[" * 100_000, "Invalid JSON: recursion limit"),
    "deep inside": (changed(built={"a": 0}).replace(b": 0}", b": " + b"[" * 999), "Invalid JSON: recursion limit"),
    "a format in words": (changed(format="1"), "format: Input should be a valid integer"),
    "another type of name": (changed(dataset=3), "dataset: Input should be a valid string"),
    "no name": (changed(split=None), "split: Input should be a valid string"),
    "one word of emotions": (changed(emotions="fear"), "emotions: Input should be a valid array"),
    "an emotion twice": (changed(emotions=["fear", "fear"]), "emotions: 'fear' comes twice"),
    "shards by name": (changed(shards={"a.tar": SHARD}), "shards: Input should be a valid array"),
    "a shard twice": (changed(shards=[SHARD, SHARD]), r"shards: 'a\.tar' comes twice"),
    "a count in words": (
        with_shard(counts={"anger": "x"}),
        r"shards\.0\.counts\.anger: Input should be a valid int",
    ),
    "no counts": (with_shard(counts=None), r"shards\.0\.counts: Input should be an object|valid dictionary"),
    "a negative count": (with_shard(samples=-1), r"shards\.0\.samples: Input should be greater than or equal to 0"),
    "a huge count": (with_shard(samples=10**30), r"shards\.0\.samples: Input should be less than"),
    "a half sample": (with_shard(samples=2.5), r"shards\.0\.samples: Input should be a valid integer"),
    "true bytes": (with_shard(bytes=True), r"shards\.0\.bytes: Input should be a valid integer"),
    "reasons in words": (changed(left_out={"no face": "many"}), "left_out.no face: Input should be a valid integer"),
    "a share in words": (
        changed(built={"val_fraction": "a tenth"}),
        "built.val_fraction: Input should be a valid",
    ),
    "remarks of nothing": (changed(built={"remarks": None}), "built.remarks: Input should be a valid array"),
    "a variant of lists": (changed(built={"variant": [[]]}), "built.variant: Input should be a valid string"),
    "no number": (changed(built={"more": [{"share": float("nan")}]}), "built.more: NaN or an infinity in it"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_manifest_of_other_types_is_one_line_that_names_file_field_and_remedy(name: str) -> None:
    content, message = OTHERS[name]
    with pytest.raises(InputError, match=rf"^m\.json: not a manifest: (?:{message}).*; build the shards again$"):
        parse_manifest(content, "m.json")


CLIMBING = ["../../x", "a/../../x", "/etc/x", "a/b", "a\0b", "x" * 221, "ü" * 111]


@pytest.mark.parametrize("name", CLIMBING)
@pytest.mark.parametrize("field", ["dataset", "split", "file"])
def test_a_name_that_climbs_or_is_none_of_a_file_is_refused(field: str, name: str) -> None:
    content = with_shard(file=name) if field == "file" else changed(**{field: name})
    with pytest.raises(InputError, match=r"^m\.json: the name '.*' cannot be a file's; give one without slashes"):
        parse_manifest(content, "m.json")


def test_what_others_and_older_versions_wrote_is_read_with_all_it_says() -> None:
    name, built = "Gesichter ü, 2. Teil…", {"colour": ["green", None], "val_fraction": 0}
    content = changed(dataset=name, more={"x": 1}, built=built, shards=[{**SHARD, "file": "..a b.tar", "url": "x"}])
    found = parse_manifest(content, "m.json")
    assert (found.name, found.built, found.shards[0].file) == (f"{name}-test", built, "..a b.tar")
    # A path that is not UTF-8, as older builds wrote it into their command; a whole pair is a character.
    command = parse_manifest(changed(built={"command": "build \udcff/\U0001f600 \\udcff"}), "m.json").built["command"]
    assert command == "build \ufffd/\U0001f600 \\udcff"


def test_a_manifest_that_counts_more_than_its_tars_can_hold_asks_for_no_memory(tmp_path: Path) -> None:
    folder = shard_set(tmp_path / "train", [faces(3)])
    content = json.loads((folder / MANIFEST).read_text())
    for count in ({"samples": 1 << 40}, {"counts": {"fear": 1 << 62}}):
        (folder / MANIFEST).write_text(json.dumps({**content, "shards": [{**content["shards"][0], **count}]}))
        with pytest.raises(InputError, match=r"000000\.tar: its 20,480 bytes cannot hold the [\d,]+ samples that"):
            open_set(str(folder), DataConfig())


def test_an_index_is_written_into_the_folder_of_the_set_alone(tmp_path: Path) -> None:
    folder = shard_set(tmp_path / "set" / "train", [faces(3)])
    tar = next(folder.glob("*.tar"))
    elsewhere = tmp_path / "elsewhere" / "faces.tar"
    elsewhere.parent.mkdir()
    tar.rename(elsewhere)
    index_path(tar).unlink()
    outside = tree(elsewhere.parent)
    # A link in the folder is a tar of the set; its index lies beside the link.
    tar.symlink_to(elsewhere)
    (folder / "linked").symlink_to(elsewhere.parent)
    index_shards(folder)
    assert index_path(tar).is_file()
    content = json.loads((folder / MANIFEST).read_text())
    for name in ("../../elsewhere/faces.tar", "linked/faces.tar", str(elsewhere)):
        content["shards"][0]["file"] = name
        (folder / MANIFEST).write_text(json.dumps(content))
        with pytest.raises(InputError, match=r"manifest\.json: the name '.*' cannot be a file's"):
            index_shards(folder)
    assert tree(elsewhere.parent) == outside


@pytest.mark.parametrize("flags", [["--dataset", "../../x"], ["--split", "x/../.."], ["--dataset", "x" * 300]])
def test_a_name_that_climbs_is_given_to_no_set(tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list) -> None:
    folder = shard_set(tmp_path / "set" / "train", [faces(3)])
    (folder / MANIFEST).unlink()
    before = tree(tmp_path)
    assert main(["shards", "index", str(folder), "--emotions", "fear,anger,surprise", *flags]) == 2
    assert "--dataset, --split: the name '" in capsys.readouterr().err
    assert tree(tmp_path) == before
