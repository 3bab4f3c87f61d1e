"""Batches of real shards: the same for every number of ranks and after a resume; and what is wrong is named."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.faces import Face, faces, folder_release, shard_set

from fer_dist.config.settings import DataConfig
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.draws import sample_id
from fer_dist.data.emotions import EIGHT, SEVEN
from fer_dist.data.loading.loader import Batch, Placement, evaluation_loader, open_reader, training_loader
from fer_dist.data.loading.order import Order, Positions
from fer_dist.data.loading.reader import Reader
from fer_dist.data.shards.manifest import MANIFEST, index_path, load_manifest, save_manifest
from fer_dist.data.sources.source import open_source
from fer_dist.errors import InputError

STUDY = DataConfig(size=24, crop=20, flip=True, block=4)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """41 samples in four uneven shards."""
    made = faces(41)
    return shard_set(tmp_path_factory.mktemp("set") / "train", [made[:17], made[17:18], made[18:30], made[30:]])


def place(rank: int = 0, world: int = 1) -> Placement:
    return Placement(rank, world, CPU, False, threads=1)


def train(folder: Path, rank: int = 0, world: int = 1, start: int = 0, stop: int = 8) -> list[Batch]:
    reader = Reader(folder, SEVEN)
    order = Order(reader.counts, 12, seed=7, lanes=6, block=STUDY.block)
    return list(training_loader(STUDY, reader, order, place(rank, world), start, stop))


def evaluate(folder: Path, rank: int = 0, world: int = 1, batch_size: int = 6, data: DataConfig = STUDY) -> list[Batch]:
    return list(evaluation_loader(data, Reader(folder, SEVEN, data.drop_extra), place(rank, world), batch_size))


def keys(batches: list[Batch]) -> list[str]:
    return [key for batch in batches for key in batch.samples.keys]


def everything(reader: Reader) -> Positions:
    shard = np.repeat(np.arange(len(reader.counts)), reader.counts)
    return Positions(shard, np.concatenate([np.arange(count) for count in reader.counts]))


def with_faces(root: Path, *changed: Face, count: int = 6, emotions: tuple[str, ...] = SEVEN) -> Path:
    """A set of one shard, in which some samples are replaced."""
    made = {sample.key: sample for sample in faces(count, emotions=len(emotions))}
    made.update({sample.key: sample for sample in changed})
    return shard_set(root / "train", [list(made.values())], emotions)


def spoilt(number: int, **members: bytes | None) -> Face:
    """A sample of `faces` with other members; None takes one away."""
    sample = faces(number + 1)[number]
    return replace(sample, members={e: m for e, m in {**sample.members, **members}.items() if m is not None})


def read_all(folder: Path, model: tuple[str, ...] = SEVEN, drop_extra: bool = False) -> None:
    reader = Reader(folder, model, drop_extra)
    reader.read(everything(reader))


@pytest.mark.parametrize("world", [2, 3, 4])
def test_the_ranks_batches_make_the_batch_of_one_rank_bit_for_bit(folder: Path, world: int) -> None:
    ranks = [train(folder, rank, world) for rank in range(world)]
    for whole, *parts in zip(train(folder), *ranks, strict=True):
        assert {part.step for part in parts} == {whole.step}
        assert keys(parts) == whole.samples.keys
        assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)
        assert torch.equal(torch.cat([part.crops for part in parts]), whole.crops)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_resumed_loader_gives_the_batches_of_an_uninterrupted_one(folder: Path, step: int) -> None:
    # Three steps are an epoch: the resume falls in the middle of the first, on the border, and in the second.
    for resumed, whole in zip(train(folder, start=step), train(folder)[step:], strict=True):
        assert (resumed.step, resumed.samples.keys) == (whole.step, whole.samples.keys)
        assert torch.equal(resumed.labels, whole.labels)
        assert torch.equal(resumed.crops, whole.crops)


def test_a_run_of_three_ranks_that_two_ranks_resume_is_the_run_of_one(folder: Path) -> None:
    three = [train(folder, rank, 3, stop=4) for rank in range(3)]
    two = [train(folder, rank, 2, start=4) for rank in range(2)]
    found = [keys(list(parts)) for ranks in (three, two) for parts in zip(*ranks, strict=True)]
    assert found == [batch.samples.keys for batch in train(folder)]


def test_an_epoch_has_no_sample_twice_and_epochs_augment_it_anew(folder: Path) -> None:
    batches = train(folder, stop=6)
    first, second = batches[:3], batches[3:]
    assert max(Counter(keys(first)).values()) == max(Counter(keys(second)).values()) == 1
    before, after = (
        dict(zip(keys(part), torch.cat([b.crops for b in part]).split(5), strict=True)) for part in (first, second)
    )
    assert len(before.keys() & after.keys()) > 20
    assert not any(torch.equal(before[key], after[key]) for key in before.keys() & after.keys())


def test_labels_and_keys_are_those_of_the_tar(folder: Path) -> None:
    expected = {sample.key: sample.label for sample in faces(41)}
    for batch in (*train(folder), *evaluate(folder)):
        assert [expected[key] for key in batch.samples.keys] == batch.labels.tolist()
        assert [sample_id(key) for key in batch.samples.keys] == batch.samples.ids.tolist()
        shards = [f"drawn-train-{shard:06d}.tar" for shard in batch.positions.shard]
        assert batch.samples.shards == shards


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_an_evaluation_sees_each_sample_exactly_once(folder: Path, world: int) -> None:
    ranks = [evaluate(folder, rank, world) for rank in range(world)]
    assert keys([batch for rank in ranks for batch in rank]) == [sample.key for sample in faces(41)]


def test_an_evaluation_hashes_no_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    monkeypatch.setattr("fer_dist.data.loading.tar_view.sample_id", lambda key: hashed.append(key) or 0)
    assert len(keys(evaluate(folder))) == 41
    assert not hashed
    train(folder, stop=1)
    assert hashed


def test_an_evaluation_has_the_same_pixels_for_every_world_size(folder: Path) -> None:
    whole = torch.cat([batch.crops for batch in evaluate(folder, batch_size=41)])
    parts = [batch.crops for rank in range(3) for batch in evaluate(folder, rank, 3, batch_size=4)]
    assert torch.equal(torch.cat(parts), whole)
    assert whole.shape == (41, 3, 20, 20)


def test_a_rank_without_a_sample_has_no_batch(tmp_path: Path) -> None:
    folder = with_faces(tmp_path, count=2)
    assert [len(evaluate(folder, rank, 4)) for rank in range(4)] == [0, 1, 0, 1]


def test_a_set_that_our_build_made_is_read_whole(tmp_path: Path) -> None:
    (manifest,) = build_shards(
        open_source("folder", str(folder_release(tmp_path / "raw", 20))),
        tmp_path / "out",
        BuildOptions(shard_samples=7, workers=1),
    )
    reader = Reader(tmp_path / "out" / "train", SEVEN)
    samples, facts = reader.read(everything(reader)), reader.facts(everything(reader))
    assert [SEVEN[label] for label in samples.labels] == [fact["emotion"] for fact in facts]
    assert len(set(samples.keys)) == manifest.samples == 20
    assert reader.keys(everything(reader)) == samples.keys


def test_the_reader_gives_the_bytes_of_the_image(folder: Path) -> None:
    reader = Reader(folder, SEVEN)
    samples = reader.read(everything(reader))
    assert [bytes(content) for content in samples.content] == [sample.members["png"] for sample in faces(41)]
    assert [fact["id"] for fact in reader.facts(everything(reader))] == [str(i) for i in range(41)]


def test_labels_are_matched_by_name_whatever_the_order_of_the_set(tmp_path: Path) -> None:
    emotions = ("happiness", "anger", "surprise")
    folder = with_faces(tmp_path, count=9, emotions=emotions)
    found = [SEVEN[label] for batch in evaluate(folder) for label in batch.labels.tolist()]
    assert found == [emotions[i % 3] for i in range(9)]


def test_an_emotion_that_the_model_does_not_have_is_an_error_that_names_flag_and_remedy(tmp_path: Path) -> None:
    folder = with_faces(tmp_path, count=16, emotions=EIGHT)
    with pytest.raises(InputError, match=r"^--data\.val: .*: the data has contempt, .*--data\.drop-extra"):
        open_reader(folder, SEVEN, DataConfig(), "--data.val")


def test_an_emotion_that_the_set_only_lists_is_no_error(tmp_path: Path) -> None:
    folder = shard_set(tmp_path / "train", [faces(7)], EIGHT)
    assert len(keys(evaluate(folder))) == 7


def test_drop_extra_leaves_out_exactly_the_emotion_that_the_model_does_not_have(tmp_path: Path) -> None:
    made = faces(40, emotions=8)
    folder = shard_set(tmp_path / "train", [made[:9], made[9:16], made[15:16], made[16:]], EIGHT)
    data = replace(STUDY, drop_extra=True)
    reader = Reader(folder, SEVEN, drop_extra=True)
    expected = [sample.key for sample in made if sample.label != 7]
    assert reader.counts.tolist() == [8, 6, 0, 21]
    for world in (1, 3):
        found = [batch for rank in range(world) for batch in evaluate(folder, rank, world, data=data)]
        assert keys(found) == expected
        assert [label for batch in found for label in batch.labels.tolist()] == [s.label for s in made if s.label != 7]
    order = Order(reader.counts, 12, seed=7)
    epoch = keys(list(training_loader(data, reader, order, place(), 0, 2)))
    assert len(set(epoch)) == 24
    assert set(epoch) <= set(expected)


def test_a_set_without_any_emotion_of_the_model_is_an_error(tmp_path: Path) -> None:
    folder = shard_set(tmp_path / "train", [faces(3, emotions=1)], ("contempt",))
    with pytest.raises(
        InputError, match=r"the data has contempt, the model surprise, .*: they have no class in common"
    ):
        Reader(folder, SEVEN, drop_extra=True)


def test_a_missing_index_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    folder = with_faces(tmp_path)
    index_path(folder / "drawn-train-000000.tar").unlink()
    with pytest.raises(InputError, match=rf"drawn-train-000000\.idx: missing index; .*fer-dist shards index {folder}"):
        Reader(folder, SEVEN)


@pytest.mark.parametrize("change", [-512, 512])
def test_a_tar_of_another_size_than_its_manifest_says_is_named_with_both(tmp_path: Path, change: int) -> None:
    folder = with_faces(tmp_path)
    tar = folder / "drawn-train-000000.tar"
    size = tar.stat().st_size
    tar.write_bytes((tar.read_bytes() + bytes(512))[: size + change])
    with pytest.raises(
        InputError, match=rf"000000\.tar: {size + change} bytes, but the manifest says {size}; .*verify"
    ):
        Reader(folder, SEVEN)


def test_a_missing_tar_is_named(tmp_path: Path) -> None:
    folder = with_faces(tmp_path)
    (folder / "drawn-train-000000.tar").unlink()
    with pytest.raises(InputError, match=r"000000\.tar: named in the manifest but missing; build the set again"):
        Reader(folder, SEVEN)


def test_an_index_of_another_number_of_samples_is_an_error_with_the_command(tmp_path: Path) -> None:
    folder = with_faces(tmp_path)
    index = index_path(folder / "drawn-train-000000.tar")
    lines = index.read_text().splitlines()
    index.write_text("\n".join(["v1.2 5", *lines[1:6]]) + "\n")
    with pytest.raises(InputError, match=r"000000\.idx: 5 samples, but the manifest says 6; make it anew"):
        read_all(folder)


def test_an_index_that_was_cut_short_is_an_error_with_the_command(tmp_path: Path) -> None:
    folder = with_faces(tmp_path)
    index = index_path(folder / "drawn-train-000000.tar")
    index.write_text("\n".join(index.read_text().splitlines()[:4]) + "\n")
    with pytest.raises(InputError, match=r"000000\.idx: not a whole v1\.2 index; make it anew with: fer-dist"):
        read_all(folder)


@pytest.mark.parametrize("number", ["999999999", "-512", "here"])
def test_an_index_that_points_outside_its_tar_is_an_error_with_the_command(tmp_path: Path, number: str) -> None:
    folder = with_faces(tmp_path)
    index = index_path(folder / "drawn-train-000000.tar")
    lines = index.read_text().splitlines()
    words = lines[1].split()
    words[words.index("png") + 1] = number
    index.write_text("\n".join([lines[0], " ".join(words), *lines[2:]]) + "\n")
    with pytest.raises(InputError, match=r"000000\.idx: face-0000\.png does not lie inside the tar; make it anew"):
        read_all(folder)


@pytest.mark.parametrize("label", [b"7", b"-1", b"1000"])
def test_a_label_out_of_range_is_named_with_its_shard_and_key(tmp_path: Path, label: bytes) -> None:
    folder = with_faces(tmp_path, spoilt(4, cls=label))
    with pytest.raises(InputError, match=rf"^drawn-train-000000\.tar: face-0004: label {int(label)} is none of "):
        read_all(folder)


@pytest.mark.parametrize("label", [b"", b"happy", b"1.5", b"\xff\xfe"])
def test_a_cls_that_is_not_a_number_is_named_with_its_shard_and_key(tmp_path: Path, label: bytes) -> None:
    folder = with_faces(tmp_path, spoilt(4, cls=label))
    with pytest.raises(InputError, match=r"^drawn-train-000000\.tar: face-0004: its \.cls holds b.*, not a number"):
        read_all(folder)


@pytest.mark.parametrize(("member", "what"), [("png", "image"), ("cls", r"label \(\.cls\)")])
def test_a_sample_that_lacks_a_member_is_named_with_its_shard_and_key(tmp_path: Path, member: str, what: str) -> None:
    folder = with_faces(tmp_path, spoilt(4, **{member: None}))
    with pytest.raises(InputError, match=rf"^drawn-train-000000\.tar: face-0004: no {what}"):
        read_all(folder)


def test_a_wrong_label_that_comes_up_in_the_middle_of_a_run_is_the_same_error(tmp_path: Path) -> None:
    folder = with_faces(tmp_path, spoilt(30, cls=b"9"), count=36)
    with pytest.raises(InputError, match=r"^drawn-train-000000\.tar: face-0030: label 9 is none of"):
        train(folder)
    with pytest.raises(InputError, match=r"^drawn-train-000000\.tar: face-0030: label 9 is none of"):
        evaluate(folder)


def test_labels_that_are_not_as_the_manifest_counts_them_are_an_error_where_some_are_dropped(tmp_path: Path) -> None:
    extra = replace(spoilt(4, cls=b"7"), label=7)
    folder = shard_set(tmp_path / "train", [[*faces(4), extra, spoilt(5, cls=b"7")]], EIGHT)
    with pytest.raises(InputError, match=r"000000\.tar: 4 samples of the model's emotions, but the manifest says 5"):
        read_all(folder, drop_extra=True)


def test_images_that_are_known_not_to_decode_are_left_out_from_the_start(folder: Path) -> None:
    reader = Reader(folder, SEVEN)
    loader = evaluation_loader(replace(STUDY, on_bad="skip"), reader, place(), 6)
    loader.bad["face-0003"] = "drawn-train-000000.tar"
    assert keys(list(loader)) == [sample.key for sample in faces(41) if sample.key != "face-0003"]


def test_an_evaluation_skips_a_batch_of_which_nothing_decodes(tmp_path: Path) -> None:
    folder = with_faces(tmp_path, spoilt(6, png=b"no image"), count=7)
    loader = evaluation_loader(replace(STUDY, on_bad="skip"), Reader(folder, SEVEN), place(), 6)
    assert keys(list(loader)) == [sample.key for sample in faces(6)]


def test_a_folder_above_the_splits_and_one_without_a_manifest_are_named(tmp_path: Path) -> None:
    folder = with_faces(tmp_path)
    with pytest.raises(InputError, match=rf"holds the splits train; name one, as {folder}"):
        Reader(tmp_path, SEVEN)
    (folder / MANIFEST).unlink()
    with pytest.raises(InputError, match=r"no manifest\.json; .*fer-dist shards index .* --emotions"):
        Reader(folder, SEVEN)
    with pytest.raises(InputError, match=r"no such folder of shards; make one with: fer-dist shards build"):
        Reader(tmp_path / "nowhere", SEVEN)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"format": 1}', '{"format": 1, "dataset": "d", "split": "s", "emotions": [], "shards": [{}]}'],
)
def test_a_file_that_is_no_manifest_is_an_error(tmp_path: Path, content: str) -> None:
    folder = with_faces(tmp_path)
    (folder / MANIFEST).write_text(content)
    with pytest.raises(InputError, match=r"manifest\.json: not a manifest: .*build the shards again"):
        Reader(folder, SEVEN)


def test_a_manifest_of_another_format_and_an_empty_one_are_named(tmp_path: Path) -> None:
    folder = with_faces(tmp_path)
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**content, "format": 2}))
    with pytest.raises(InputError, match=r"format 2, but this version reads format 1"):
        Reader(folder, SEVEN)
    (folder / MANIFEST).write_text(json.dumps({**content, "shards": []}))
    with pytest.raises(InputError, match=r"the split 'train' is empty"):
        Reader(folder, SEVEN)


def test_a_manifest_comes_back_as_it_was_saved(tmp_path: Path, folder: Path) -> None:
    before = replace(load_manifest(folder), built={"command": "by hand"}, left_out={"no face": 3})
    save_manifest(tmp_path, before)
    assert load_manifest(tmp_path) == before
    assert before.counts == {name: 41 // 7 + (i < 41 % 7) for i, name in enumerate(SEVEN)}
    assert (before.samples, before.name) == (41, "drawn-train")
