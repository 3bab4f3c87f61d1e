"""The audit of shard sets: copies, leaks, contradictions, what to leave out, and what a user sees of it."""

import io
import json
import re
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.faces import Face, encoded, face, shard_set
from support.runs import command
from test_duplicates import CHANGES

from fer_dist.cli.commands import main
from fer_dist.cli.shard_tables import audit_json, copy_table, shared_table
from fer_dist.data.emotions import SEVEN
from fer_dist.data.inspection.audit import AuditReport, Group, audit
from fer_dist.data.inspection.clean import images_to_leave_out, worst_groups
from fer_dist.data.loading.reader import Reader
from fer_dist.data.shards.index import index_shards
from fer_dist.data.shards.leave_out import LeaveOut, load_leave_out, save_leave_out
from fer_dist.data.shards.manifest import load_manifest
from fer_dist.errors import InputError


def sample(key: str, label: int, content: bytes) -> Face:
    extension = "jpg" if content.startswith(b"\xff\xd8") else "png"
    return Face(key, label, {extension: content, "cls": str(label).encode(), "json": b"{}"})


def drawn(number: int) -> bytes:
    return encoded(number, "PNG", side=32)


def changed(number: int, change: str) -> bytes:
    return CHANGES[change](face(number, side=64))


def keys_of(group: Group) -> list[str]:
    return [image.key for image in group.members]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two datasets with every fault of the audit in them; what does not matter has images of its own."""
    root = tmp_path_factory.mktemp("audited")
    train = [
        [sample(f"own-{n}", n % 7, drawn(n)) for n in range(20)],
        [
            sample("twin-a", 1, drawn(100)),
            sample("twin-b", 1, drawn(100)),
            sample("quarrel-a", 2, drawn(101)),
            sample("quarrel-b", 3, drawn(101)),
            sample("leak-val", 4, drawn(102)),
            sample("leak-test", 5, drawn(103)),
            sample("near", 0, encoded(104, "PNG", side=64)),
            sample("blank", 6, encoded_plain(90)),
            sample("broken", 6, b"\xff\xd8\xff\xe0 broken"),
        ],
    ]
    val = [[sample("leak-val", 4, drawn(102)), sample("both", 1, drawn(105)), sample("alone", 2, drawn(200))]]
    test = [
        [
            sample("leak-test", 5, drawn(103)),
            sample("both", 1, drawn(105)),
            sample("near-mirror", 0, changed(104, "all of it")),
            sample("twin-in-test", 3, drawn(106)),
            sample("twin-in-test-2", 3, drawn(106)),
        ]
    ]
    folders = [
        shard_set(root / "a" / split, shards, split=split)
        for split, shards in (("train", train), ("val", val), ("test", test))
    ]
    # Another dataset, with the first one's photographs under its own labels.
    other = [[sample("renamed", 6, drawn(0)), sample("new", 1, drawn(300))]]
    folders.append(shard_set(root / "b" / "test", other, split="test"))
    manifest = folders[-1] / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"drawn"', '"other"'))
    return folders


def encoded_plain(grey: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (32, 32), grey).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def report(sets: list[Path]) -> AuditReport:
    return audit(sets)


def test_every_group_of_exact_copies_is_found_with_what_is_wrong_with_it(report: AuditReport) -> None:
    found = {
        frozenset(keys_of(group)): (group.spans_splits, group.spans_datasets, group.conflicts)
        for group in report.of("exact")
    }
    assert found == {
        frozenset(("twin-a", "twin-b")): (False, False, False),
        frozenset(("quarrel-a", "quarrel-b")): (False, False, True),
        frozenset(("leak-val",)): (True, False, False),
        frozenset(("leak-test",)): (True, False, False),
        frozenset(("both",)): (True, False, False),
        frozenset(("twin-in-test", "twin-in-test-2")): (False, False, False),
        frozenset(("own-0", "renamed")): (False, True, False),
    }
    assert report.exact_copies == 7


def test_the_mirrored_scaled_and_compressed_copy_is_near(report: AuditReport) -> None:
    (group,) = report.of("near")
    assert keys_of(group) == ["near", "near-mirror"]
    assert (group.spans_splits, report.near_copies, report.mirrored_pairs) == (True, 1, 1)


def test_images_of_one_subject_that_look_alike_are_counted_apart_from_near_copies(tmp_path: Path) -> None:
    def of(key: str, content: bytes, subject: object) -> Face:
        face = sample(key, 0, content)
        return Face(key, 0, face.members | {"json": json.dumps({"subject": subject} if subject else {}).encode()})

    alike = [(encoded(n, "PNG", side=64), changed(n, "larger")) for n in range(4)]
    train = [
        *(of("posed-a", alike[0][0], "KA"), of("posed-b", alike[0][1], "KA")),
        *(of("two-a", alike[1][0], "KA"), of("two-b", alike[1][1], "KB")),
        *(of("unsaid-a", alike[2][0], None), of("unsaid-b", alike[2][1], None)),
        of("split-a", alike[3][0], 7),
    ]
    folders = [
        shard_set(tmp_path / "train", [train]),
        shard_set(tmp_path / "test", [[of("split-b", alike[3][1], 7)]], split="test"),
    ]
    report = audit(folders)
    found = {kind: [keys_of(group) for group in report.of(kind)] for kind in ("near", "subject")}
    assert found == {
        "near": [["two-a", "two-b"], ["unsaid-a", "unsaid-b"]],
        "subject": [["posed-a", "posed-b"], ["split-a", "split-b"]],
    }
    assert (report.near_copies, report.subject_copies) == (2, 2)
    assert [(shared.exact, shared.near, shared.subject) for shared in report.shared] == [(0, 0, 1), (0, 0, 1)]
    assert [(row.key, row.reason) for row in images_to_leave_out(report)] == [
        ("split-a", f"near duplicate of an image in {report.sets[1].name}")
    ]
    assert "alike of one subject" in worst_groups(report)[-1].title
    assert copy_table(report)[1][-1] == ["subject", "as near, but of one person", "2", "2", "1", "0", "0", "2"]
    assert [row[-1] for row in shared_table(report)[1]] == ["1", "1"]
    assert audit_json(report)["subject_copies"] == 2


def test_one_name_of_a_subject_in_two_datasets_is_two_people(tmp_path: Path) -> None:
    for name, content in (("a", encoded(1, "PNG", side=64)), ("b", changed(1, "larger"))):
        face = sample(name, 0, content)
        folder = shard_set(tmp_path / name, [[Face(name, 0, face.members | {"json": b'{"subject": "1"}'})]])
        manifest = folder / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"drawn"', f'"{name}"'))
    report = audit([tmp_path / "a", tmp_path / "b"])
    assert (report.near_copies, report.subject_copies) == (1, 0)


def test_a_near_copy_of_one_of_two_twins_is_near_both(tmp_path: Path) -> None:
    content = [sample("a", 0, changed(1, "larger")), sample("b", 0, changed(1, "larger"))]
    content += [sample("c", 0, changed(1, "compressed")), sample("d", 0, drawn(2))]
    found = audit([shard_set(tmp_path / "train", [content])])
    assert [(group.kind, keys_of(group)) for group in found.groups] == [
        ("exact", ["a", "b"]),
        ("near", ["a", "b", "c"]),
    ]
    assert (found.exact_copies, found.near_copies) == (1, 1)


def test_each_set_says_how_many_of_its_images_another_one_has(report: AuditReport) -> None:
    shared = {(s.name, s.other): (s.exact, s.near) for s in report.shared}
    assert shared == {
        ("drawn-train", "drawn-val"): (1, 0),
        ("drawn-train", "drawn-test"): (1, 1),
        ("drawn-train", "other-test"): (1, 0),
        ("drawn-val", "drawn-train"): (1, 0),
        ("drawn-val", "drawn-test"): (1, 0),
        ("drawn-test", "drawn-train"): (1, 1),
        ("drawn-test", "drawn-val"): (1, 0),
        ("other-test", "drawn-train"): (1, 0),
    }


def test_blank_and_broken_images_sizes_and_balance_are_told_by_set(report: AuditReport) -> None:
    train = report.sets[0]
    assert [p.key for p in train.blank] == ["blank"]
    assert [p.key for p in train.undecodable] == ["broken"]
    assert (train.name, train.samples, train.grey) == ("drawn-train", 29, 28)
    assert train.sizes == {(32, 32): 27, (64, 64): 1}
    counts = Counter(n % 7 for n in range(20)) + Counter((1, 1, 2, 3, 4, 5, 0, 6, 6))
    assert train.imbalance == max(counts.values()) / min(counts.values())


def test_the_list_keeps_held_out_images_and_one_of_each_set(report: AuditReport) -> None:
    listed = {(row.set, row.key): row.reason for row in images_to_leave_out(report)}
    assert listed == {
        ("drawn-train", "blank"): "blank",
        ("drawn-train", "broken"): "does not decode",
        ("drawn-train", "twin-b"): "duplicate of another image of its set",
        ("drawn-train", "quarrel-a"): "duplicate with another label",
        ("drawn-train", "quarrel-b"): "duplicate with another label",
        ("drawn-train", "leak-val"): "duplicate of an image in drawn-val",
        ("drawn-train", "leak-test"): "duplicate of an image in drawn-test",
        ("drawn-train", "own-0"): "duplicate of an image in other-test",
        ("drawn-train", "near"): "near duplicate of an image in drawn-test",
        ("drawn-val", "both"): "duplicate of an image in drawn-test",
        ("drawn-test", "twin-in-test-2"): "duplicate of another image of its set",
    }


def test_near_copies_in_one_set_stay_whatever_their_labels(tmp_path: Path) -> None:
    # Two expressions of one person before one wall are as near as this, and neither is wrong.
    content = [sample("neutral", 6, changed(1, "larger")), sample("peak", 0, changed(1, "compressed"))]
    found = audit([shard_set(tmp_path / "train", [content])])
    assert [(group.kind, group.conflicts) for group in found.groups] == [("near", True)]
    assert images_to_leave_out(found) == []


def test_without_the_listed_images_there_is_nothing_left_to_list(tmp_path: Path) -> None:
    lots = np.random.default_rng(3)
    folders = []
    for split, count in (("train", 60), ("val", 20), ("test", 20)):
        content = [sample(f"{split}-{n}", int(lots.integers(7)), drawn(int(lots.integers(60)))) for n in range(count)]
        folders.append(shard_set(tmp_path / "all" / split, [content[: count // 2], content[count // 2 :]], split=split))
    rows = images_to_leave_out(audit(folders))
    assert len(rows) > 20
    left_out = {row.key for row in rows}
    clean = []
    for folder in folders:
        reader = Reader(folder, SEVEN)
        kept = []
        for entry in reader.manifest.shards:
            for key, content, label in samples_in(folder / entry.file):
                if key not in left_out:
                    kept.append(sample(key, label, content))
        clean.append(shard_set(tmp_path / "clean" / folder.name, [kept], split=folder.name))
    again = audit(clean)
    assert images_to_leave_out(again) == []
    assert (again.exact_copies, again.shared) == (0, ())


def samples_in(tar: Path) -> list[tuple[str, bytes, int]]:
    with tarfile.open(tar) as stream:
        files = {member.name: stream.extractfile(member).read() for member in stream}  # type: ignore[union-attr]
    keys = sorted({name.partition(".")[0] for name in files})
    return [(key, files[f"{key}.png"], int(files[f"{key}.cls"])) for key in keys]


def test_any_number_of_workers_and_any_order_of_shards_finds_the_same(tmp_path: Path) -> None:
    content = [sample(f"{n}", n % 7, drawn(n % 50)) for n in range(120)]
    one = audit([shard_set(tmp_path / "one" / "train", [content])], workers=1)
    two = audit([shard_set(tmp_path / "two" / "train", [content[:70], content[70:]])], workers=2)
    assert [keys_of(group) for group in one.groups] == [keys_of(group) for group in two.groups]
    assert one.exact_copies == two.exact_copies == 70


def test_a_list_that_was_written_is_read_back(report: AuditReport, tmp_path: Path) -> None:
    rows = images_to_leave_out(report)
    save_leave_out(tmp_path / "clean.jsonl", rows)
    listed = load_leave_out(tmp_path / "clean.jsonl", "drawn-test")
    assert {key for keys in listed.values() for key in keys} == {"twin-in-test-2"}
    assert rows[0] == LeaveOut("drawn-train", "drawn-train-000001.tar", "broken", "neutrality", "does not decode")


def test_the_sheet_shows_the_worst_first(report: AuditReport) -> None:
    titles = [row.title for row in worst_groups(report)]
    assert titles[0].startswith("2 duplicates; in drawn-")
    assert titles[-2:] == ["1 blank image", "1 undecodable image"]
    assert any("labels differ: anger, disgust" in title for title in titles)
    assert len(titles) == len(report.groups) + 2


def test_the_command_prints_tables_and_writes_what_it_is_asked_for(
    sets: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: str(tmp_path / name) for name in ("found.json", "sheet.png", "clean.jsonl")}
    arguments = ["shards", "audit", str(sets[0].parent), str(sets[3]), "--json", files["found.json"]]
    assert main([*arguments, "--sheet", files["sheet.png"], "--write-clean", files["clean.jsonl"]]) == 0
    shown = capsys.readouterr().out
    assert "drawn-train" in shown
    assert "same pixels" in shown
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["exact_copies"], found["near_copies"], len(found["groups"])) == (7, 1, 8)
    assert {"set": "other-test", "shard": "drawn-test-000000.tar", "key": "renamed", "emotion": "neutrality"} in found[
        "groups"
    ][0]["images"]
    with Image.open(files["sheet.png"]) as sheet:
        assert sheet.height > 500
    assert len((tmp_path / "clean.jsonl").read_text().splitlines()) == 11


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--similar", "0.5"], r"--similar 0\.5: give a similarity from 0\.9"),
        (["--sheet", "sheet.gif"], r"sheet\.gif"),
        (["--json", "/nowhere/found.json"], r"--json /nowhere/found\.json: there is no folder /nowhere; make it"),
        (
            ["--write-clean", "/nowhere/clean.jsonl"],
            r"--write-clean /nowhere/clean\.jsonl: there is no folder /nowhere; make it",
        ),
    ],
)
def test_wrong_flags_are_one_line(sets: list[Path], arguments: list[str], message: str) -> None:
    ended = command("shards", "audit", str(sets[1]), *arguments)
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1
    assert re.search(message, ended.stderr), ended.stderr


def test_labels_that_only_a_json_names_are_read_as_in_training(tmp_path: Path) -> None:
    words = {"a": "happy", "b": "Sad", "c": "happiness"}
    made = [[Face(key, 0, {"png": drawn(n), "json": json.dumps({"emotion": word}).encode()})]
            for n, (key, word) in enumerate(words.items())]  # fmt: skip
    made[2].append(Face("d", 0, {"png": drawn(0), "cls": b"4"}))
    folder = tmp_path / "theirs" / "train"
    shard_set(folder, made)
    (folder / "manifest.json").unlink()
    assert index_shards(folder, SEVEN).counts == {**dict.fromkeys(SEVEN, 0), "happiness": 2, "sadness": 2}
    report = audit([folder])
    assert report.sets[0].counts == load_manifest(folder).counts
    (group,) = report.groups
    assert [(image.key, image.emotion) for image in group.members] == [("a", "happiness"), ("d", "sadness")]
    assert group.conflicts


def test_two_sets_of_one_name_and_a_set_that_is_not_whole_are_refused(sets: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"drawn-train: two of the sets have this name, .*/a/train and .*/train; give"):
        audit([sets[0], shard_set(tmp_path / "train", [[sample("a", 0, drawn(1))]])])
    wrong = Face("a", 0, sample("a", 9, drawn(1)).members)
    folder = shard_set(tmp_path / "again" / "train", [[wrong]])
    with pytest.raises(InputError, match=r"drawn-train-000000\.tar: a: label 9 is none of the manifest's emotions"):
        audit([folder])
    folder = shard_set(tmp_path / "uncounted" / "train", [[sample("a", 9, drawn(1)), sample("b", 0, drawn(2))]])
    with pytest.raises(InputError, match=r"000000\.tar: its manifest says 2 samples, but 1 of all emotions; .*"):
        audit([folder])
    with pytest.raises(InputError, match=r"no such folder of shards"):
        audit([tmp_path / "absent"])
