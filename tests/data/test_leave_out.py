"""Images that a list leaves out: nothing reads them, and a list that does not fit is named before it does harm."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.faces import Face, faces, shard_set
from support.runs import arguments, drawn_shards, ledger

from fer_dist.cli.commands import main
from fer_dist.config.settings import DataConfig
from fer_dist.data.emotions import EIGHT, SEVEN
from fer_dist.data.loading.loader import Placement, evaluation_loader, open_reader, training_loader
from fer_dist.data.loading.order import Order, Positions
from fer_dist.data.loading.reader import Reader
from fer_dist.data.shards import leave_out as leaving_out
from fer_dist.data.shards.leave_out import LeaveOut, check_named, load_leave_out, save_leave_out
from fer_dist.data.shards.manifest import index_path, load_manifest
from fer_dist.errors import InputError
from fer_dist.evaluate.listing import runs_in
from fer_dist.evaluate.results import load_predictions, load_scores
from fer_dist.scores.table import select

SMALL = DataConfig(size=24, crop=20)
CUTS = ((0, 9), (9, 16), (16, 18), (18, 40))
MADE = faces(40, emotions=8)


def row(number: int, shard: int, reason: str = "copy", emotions: tuple[str, ...] = EIGHT) -> LeaveOut:
    sample = MADE[number]
    return LeaveOut("drawn-train", f"drawn-train-{shard:06d}.tar", sample.key, emotions[sample.label], reason)


# Some of the first shard (7 is contempt, once for each of two reasons), all of the third, and another set's.
ROWS = (
    row(3, 0),
    row(7, 0),
    row(7, 0, "leak"),
    row(16, 2),
    row(17, 2),
    row(30, 3),
    LeaveOut("drawn-val", "drawn-val-000000.tar", "face-0001", "fear", "leak"),
)
LISTED = {3, 7, 16, 17, 30}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 samples of eight emotions in four uneven shards."""
    root = tmp_path_factory.mktemp("set")
    return shard_set(root / "train", [MADE[start:stop] for start, stop in CUTS], EIGHT)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("list") / "clean.jsonl"
    save_leave_out(path, ROWS)
    return str(path)


def written(path: Path, *rows: LeaveOut) -> str:
    save_leave_out(path, rows)
    return str(path)


def place(rank: int = 0, world: int = 1) -> Placement:
    return Placement(rank, world, torch.device("cpu"), False, threads=1)


def everything(reader: Reader) -> Positions:
    shard = np.repeat(np.arange(len(reader.counts)), reader.counts)
    return Positions(shard, np.concatenate([np.arange(count) for count in reader.counts]))


def keys_of(made: list[Face]) -> list[str]:
    return [sample.key for sample in made]


def test_a_list_comes_back_by_set_shard_and_key(clean: str) -> None:
    assert [json.loads(line) for line in Path(clean).read_text().splitlines()] == [asdict(each) for each in ROWS]
    assert load_leave_out(clean, "drawn-train") == {
        "drawn-train-000000.tar": {"face-0003": "anger", "face-0007": "contempt"},
        "drawn-train-000002.tar": {"face-0016": "surprise", "face-0017": "fear"},
        "drawn-train-000003.tar": {"face-0030": "neutrality"},
    }
    assert load_leave_out(clean, "drawn-val") == {"drawn-val-000000.tar": {"face-0001": "fear"}}
    assert load_leave_out(clean, "drawn") == {}


def test_a_list_is_read_once_for_all_sets_and_anew_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[bytes] = []
    read_row = leaving_out._row

    def counted(line: bytes, where: str) -> LeaveOut:
        lines.append(line)
        return read_row(line, where)

    monkeypatch.setattr(leaving_out, "_row", counted)
    path = written(tmp_path / "clean.jsonl", *ROWS)
    for name in ("drawn-train", "drawn-val", "drawn-train"):
        load_leave_out(path, name)
        check_named(path, ["drawn-val", name])
    assert len(lines) == len(ROWS)
    written(tmp_path / "clean.jsonl", *ROWS[:1])
    assert load_leave_out(path, "drawn-val") == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"not json", "Invalid JSON"),
        (b"", "Invalid JSON"),
        (b"[1]", "Input should be an object"),
        (b"\xff", "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON: recursion limit"),
        (b'{"set": "drawn-train", "shard": "a.tar", "emotion": "fear", "reason": ""}', "key: Field required"),
        (b'{"set": "drawn-train", "shard": "a.tar", "key": 7, "emotion": "fear"}', "key: Input should be a valid str"),
        (
            b'{"set": "drawn-train", "shard": null, "key": "k", "emotion": "fear", "reason": ""}',
            "shard: Input should be",
        ),
        (b'{"set": "\\ud800", "shard": "a.tar", "key": "k", "emotion": "fear", "reason": ""}', "Invalid JSON"),
    ],
)
def test_a_line_that_is_none_of_a_list_is_named_by_file_and_number(
    tmp_path: Path, folder: Path, line: bytes, message: str
) -> None:
    path = tmp_path / "clean.jsonl"
    path.write_bytes(json.dumps(asdict(ROWS[0])).encode() + b"\n" + line + b"\n")
    with pytest.raises(InputError, match=rf"clean\.jsonl:2: not a line of a list .*: {message}.*; .*audit .*--write-c"):
        Reader(folder, EIGHT, leave_out=str(path))


def test_a_list_that_is_not_there_is_named_with_the_command_that_makes_it(folder: Path, tmp_path: Path) -> None:
    data = replace(SMALL, leave_out=str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"^--data\.val: .*nowhere: no list of images .*No such file.*shards audit"):
        open_reader(folder, EIGHT, data, "--data.val")


@pytest.mark.parametrize("drop_extra", [False, True])
def test_the_reader_gives_all_but_the_listed_images_in_order(folder: Path, clean: str, drop_extra: bool) -> None:
    """Of two reasons to leave an image out, its emotion and the list, either is enough, and both count once."""
    reader = Reader(folder, SEVEN if drop_extra else EIGHT, drop_extra, clean)
    expected = [sample for i, sample in enumerate(MADE) if i not in LISTED and not (drop_extra and sample.label == 7)]
    assert reader.counts.tolist() == ([7, 6, 0, 18] if drop_extra else [7, 7, 0, 21])
    assert reader.left_out == (4 if drop_extra else 5)
    samples = reader.read(everything(reader))
    assert samples.keys == keys_of(expected) == reader.keys(everything(reader))
    assert [bytes(content) for content in samples.content] == [sample.members["png"] for sample in expected]
    assert samples.labels.tolist() == [sample.label for sample in expected]
    assert [fact["id"] for fact in reader.facts(everything(reader))] == [str(MADE.index(s)) for s in expected]


def test_counts_come_from_the_list_and_no_index_is_read_for_them(tmp_path: Path, clean: str) -> None:
    folder = shard_set(tmp_path / "train", [MADE[start:stop] for start, stop in CUTS], EIGHT)
    for tar in folder.glob("*.tar"):
        index_path(tar).write_text("unreadable")
    assert Reader(folder, EIGHT, leave_out=clean).counts.tolist() == [7, 7, 0, 21]


def test_a_set_without_a_line_in_the_list_is_whole(folder: Path, tmp_path: Path) -> None:
    reader = Reader(folder, EIGHT, leave_out=written(tmp_path / "other", ROWS[-1]))
    assert (reader.counts.tolist(), reader.left_out) == ([9, 7, 2, 22], 0)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_loaders_of_every_world_size_give_all_but_the_listed_images(folder: Path, clean: str, world: int) -> None:
    expected = keys_of([sample for i, sample in enumerate(MADE) if i not in LISTED])
    reader = Reader(folder, EIGHT, leave_out=clean)
    passes = [evaluation_loader(SMALL, reader, place(rank, world), 4) for rank in range(world)]
    assert [key for loader in passes for batch in loader for key in batch.samples.keys] == expected
    order = Order(reader.counts, 7, seed=1, lanes=7, block=2)
    for epoch in range(3):
        steps = range(5 * epoch, 5 * epoch + 5)
        loaders = [
            training_loader(SMALL, reader, order, place(rank, world), steps[0], steps[-1] + 1) for rank in range(world)
        ]
        # 35 images are five whole batches: an epoch takes every one.
        assert sorted(key for loader in loaders for batch in loader for key in batch.samples.keys) == expected


def test_a_list_that_leaves_nothing_is_an_error(tmp_path: Path) -> None:
    folder = shard_set(tmp_path / "train", [MADE[:2]], EIGHT)
    with pytest.raises(InputError, match=r"train: .*clean leaves out all there is, 2 images; give another list"):
        Reader(folder, EIGHT, leave_out=written(tmp_path / "clean", row(0, 0), row(1, 0)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (row(3, 9), r"names drawn-train-000009\.tar, which drawn-train does not have"),
        (replace(row(17, 2), key="another", emotion="anger"), r"names 1 of anger in drawn-train-000002\.tar, .* 0"),
        (replace(row(17, 2), emotion="boredom"), r"names 1 of boredom in drawn-train-000002\.tar, which holds 0"),
    ],
)
def test_a_list_that_the_manifest_contradicts_is_an_error_at_once(
    folder: Path, tmp_path: Path, wrong: LeaveOut, message: str
) -> None:
    path = written(tmp_path / "clean", ROWS[0], wrong)
    with pytest.raises(InputError, match=rf"clean: {message}; .*another build of drawn-train: .*shards audit"):
        Reader(folder, EIGHT, leave_out=path)


@pytest.mark.parametrize("wrong", [replace(row(3, 0), key="face-0030"), replace(row(3, 0), emotion="contempt")])
def test_a_list_of_another_build_is_an_error_when_its_shard_opens(
    folder: Path, tmp_path: Path, wrong: LeaveOut
) -> None:
    reader = Reader(folder, SEVEN, True, written(tmp_path / "clean", wrong))
    with pytest.raises(InputError, match=r"clean: leaves \d samples .*000000\.tar instead of \d; .*another build of"):
        reader.read(everything(reader))


# Whole runs.


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_shards(tmp_path_factory.mktemp("shards"))


def rows_of(folder: Path, numbers: list[int]) -> list[LeaveOut]:
    """Lines for some of a set's images, which are counted over its shards."""
    reader, manifest = Reader(folder, SEVEN), load_manifest(folder)
    every = everything(reader)
    samples = reader.read(Positions(every.shard[numbers], every.position[numbers]))
    return [
        LeaveOut(manifest.name, shard, key, SEVEN[label], "copy")
        for shard, key, label in zip(samples.shards, samples.keys, samples.labels, strict=True)
    ]


@pytest.fixture(scope="module")
def rows(shards: Path) -> list[LeaveOut]:
    """Every fifth image of train and a few of val and test."""
    train = rows_of(shards / "train", list(range(0, load_manifest(shards / "train").samples, 5)))
    return train + rows_of(shards / "val", [2, 3, 11]) + rows_of(shards / "test", [0, 17, 49])


@pytest.fixture(scope="module")
def trained(shards: Path, rows: list[LeaveOut], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the list, which lies beside it as clean.jsonl."""
    root = tmp_path_factory.mktemp("runs")
    path = written(root / "clean.jsonl", *rows)
    assert main(["train", *arguments(shards, root, "clean", "--data.leave-out", path)]) == 0
    return root / "clean"


def test_a_run_never_touches_a_listed_image(trained: Path, shards: Path, rows: list[LeaveOut]) -> None:
    listed = {each.key for each in rows if each.set == "synthetic_wild-train"}
    left = load_manifest(shards / "train").samples - len(listed)
    taken = ledger(trained)
    seen = {key for keys in taken.values() for key in keys}
    assert len(taken) == 2 * (left // 24)
    assert len(seen) > left // 24 * 24 - 1
    assert not seen & listed


def test_runs_are_listed_with_the_steps_of_the_images_that_were_used(trained: Path, tmp_path: Path) -> None:
    (run,) = [one for one in runs_in(str(trained.parent)) if one.name == trained.name]
    assert (run.state, run.step, run.steps) == ("done", max(ledger(trained)) + 1, max(ledger(trained)) + 1)
    older = Path(shutil.copytree(trained, tmp_path / "older"))
    content = json.loads((older / "config.json").read_text())
    for held in content["sets"].values():
        assert held.pop("used") < held["samples"]
    (older / "config.json").write_text(json.dumps(content))
    (run,) = runs_in(str(tmp_path))
    assert (run.state, run.steps) == ("done", 0), "how many it used is not known"


def test_validation_in_training_leaves_out_the_images_of_its_own_set(
    trained: Path, shards: Path, rows: list[LeaveOut]
) -> None:
    name = "synthetic_wild-val"
    reader = Reader(shards / "val", SEVEN)
    listed = {each.key for each in rows if each.set == name}
    table = load_predictions(trained / "predictions" / f"{name}.parquet")
    assert list(table.keys) == [key for key in reader.keys(everything(reader)) if key not in listed]
    scores = load_scores(trained)[name]
    assert (scores["samples"], scores["left_out"]) == (len(table.keys), 3)


def test_evaluation_with_a_list_is_the_table_without_those_images(
    trained: Path, shards: Path, rows: list[LeaveOut]
) -> None:
    words = ["evaluate", "--models", str(trained), "--data", str(shards / "test"), "--device", "cpu"]
    path = trained / "predictions" / "synthetic_wild-test.parquet"
    assert main(words) == 0
    whole, before = load_predictions(path), load_scores(trained)["synthetic_wild-test"]
    # The name of training's flag will do as well.
    assert main([*words, "--data.leave-out", str(trained.parent / "clean.jsonl")]) == 0
    part, after = load_predictions(path), load_scores(trained)["synthetic_wild-test"]
    listed = {each.key for each in rows}
    expected = select(whole, np.array([key not in listed for key in whole.keys]))
    assert list(part.keys) == list(expected.keys)
    np.testing.assert_array_equal(part.labels, expected.labels)
    np.testing.assert_allclose(part.probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_array_equal(part.attributes["subject"], expected.attributes["subject"])
    assert (before["samples"], before["left_out"]) == (50, 0)
    assert (after["samples"], after["left_out"]) == (47, 3)


def test_a_list_of_other_sets_is_no_list_for_these(
    trained: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "other.jsonl"
    written(path, LeaveOut("rafdb-train", "rafdb-train-000000.tar", "a", "fear", "blank"))
    message = "names images of rafdb-train and none of synthetic_wild-"
    assert main(["train", *arguments(shards, tmp_path, "new", "--data.leave-out", str(path))]) == 2
    assert message in capsys.readouterr().err
    words = ["evaluate", "--models", str(trained), "--data", str(shards / "test"), "--device", "cpu"]
    assert main([*words, "--leave-out", str(path)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_run_is_resumed_with_the_same_list_alone(
    trained: Path, shards: Path, rows: list[LeaveOut], capsys: pytest.CaptureFixture
) -> None:
    root, path = trained.parent, trained.parent / "clean.jsonl"
    words = arguments(shards, root, "clean", "--data.leave-out", str(path), "--resume")
    assert main(["train", *words]) == 0
    capsys.readouterr()
    before = path.read_bytes()
    try:
        written(path, *rows[1:])
        assert main(["train", *words]) == 2
        text = capsys.readouterr().err
        assert text.count("\n") == 1
        assert f"another configuration (data.leave_out {path} has other lines now); go on with the same" in text
    finally:
        path.write_bytes(before)
    assert main(["train", *arguments(shards, root, "clean", "--resume")]) == 2
    assert f"data.leave_out {path} -> " in capsys.readouterr().err


def test_the_configuration_names_the_list_by_its_whole_path(
    trained: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.parent)
    assert (
        main(["train", *arguments(shards, trained.parent, "clean", "--data.leave-out", "clean.jsonl", "--resume")]) == 0
    )
    saved = json.loads((trained / "config.json").read_text())["config"]
    assert saved["data"]["leave_out"] == str(trained.parent / "clean.jsonl")


def test_a_list_that_does_not_fit_is_one_line_before_anything_starts(
    shards: Path, tmp_path: Path, rows: list[LeaveOut], capsys: pytest.CaptureFixture
) -> None:
    path = written(tmp_path / "clean", replace(rows[0], shard="synthetic_wild-train-000077.tar"))
    assert main(["train", *arguments(shards, tmp_path / "root", "stale", "--data.leave-out", path)]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert text.startswith(f"fer-dist: --data.train: {path}: names synthetic_wild-train-000077.tar")
    assert not (tmp_path / "root").exists()


def test_the_images_of_each_emotion_that_a_network_is_trained_on_are_counted_without_listed_and_dropped_ones(
    folder: Path, clean: str
) -> None:
    reader = Reader(folder, ("anger", "absent", "fear"), drop_extra=True, leave_out=clean)
    listed = [sample.key for sample in MADE if sample.key in {"face-0003", "face-0017"}]
    kept = [EIGHT[sample.label] for sample in MADE if sample.key not in listed]
    assert reader.counts_of_emotions() == {name: kept.count(name) for name in ("anger", "absent", "fear")}
    assert sum(reader.counts_of_emotions().values()) == reader.counts.sum()
