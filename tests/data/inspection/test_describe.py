"""What shard sets hold is said as it is: counts, published counts, images, facts, and a contact sheet of them."""

import dataclasses
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.faces import Face, ListedSource, encoded, faces, fer2013_folders, folder_release, shard_set

from fer_dist.cli.commands import main
from fer_dist.config.settings import DataConfig
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.emotions import SEVEN
from fer_dist.data.inspection import describe as describing
from fer_dist.data.inspection.describe import DatasetDescription, Looked, Sizes, describe, evenly, sheet_rows
from fer_dist.data.loading.shard_set import sets_at
from fer_dist.data.shards.index import index_shards
from fer_dist.data.shards.manifest import index_path, load_manifest, save_manifest
from fer_dist.data.sources import fer2013
from fer_dist.data.sources.source import ALL, LeftOut, Sample, open_source
from fer_dist.errors import InputError


def fer2013_set(root: Path, val: int = 7, val_fraction: float = 0.0) -> Path:
    """A small FER2013: 42 in train, less what becomes val; 7 in test."""
    source = open_source("fer2013", str(fer2013_folders(root / "raw", 42, val, 7)))
    build_shards(source, root / "out", BuildOptions(workers=1, shard_samples=16, val_fraction=val_fraction))
    return root / "out"


def listed_set(root: Path, dataset: str, counts: dict[str, int]) -> Path:
    """A set of a dataset of this name. counts: images of each split."""
    samples = [
        Sample(f"{split}{i}", split, SEVEN[i % 7], "nowhere") for split, count in counts.items() for i in range(count)
    ]
    build_shards(ListedSource(tuple(samples), emotions=SEVEN, dataset=dataset), root, BuildOptions(workers=1))
    return root


def only(*paths: Path) -> DatasetDescription:
    (dataset,) = describe(sets_at(paths, DataConfig()))
    return dataset


def published(*paths: Path) -> dict[tuple[str, ...], tuple[int, int]]:
    """For the splits that are counted together: what is stated in all, and what was found."""
    return {known.splits: (known.stated[ALL], known.found[ALL]) for known in only(*paths).published}


def image(side: tuple[int, int], mode: str = "RGB", form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, side).save(stream, form)
    return stream.getvalue()


def test_splits_come_in_order_with_the_counts_of_their_manifests(tmp_path: Path) -> None:
    dataset = only(fer2013_set(tmp_path))
    assert dataset.dataset == "fer2013"
    assert [(split.split, split.samples, split.shards) for split in dataset.splits] == [
        ("train", 42, 3),
        ("val", 7, 1),
        ("test", 7, 1),
    ]
    train = dataset.splits[0]
    assert train.counts == dict.fromkeys(fer2013.EMOTIONS, 6)
    assert train.bytes == sum(path.stat().st_size for path in (tmp_path / "out" / "train").glob("*.tar"))


def test_a_set_comes_once_and_the_sets_of_another_place_by_themselves(tmp_path: Path) -> None:
    first, second = (listed_set(tmp_path / name, "faces", {"train": 7, "test": 7}) for name in "ab")
    found = describe(sets_at([first / "test", second, first, first / ".." / "a" / "train"], DataConfig()))
    assert [[split.folder for split in dataset.splits] for dataset in found] == [
        [str(first / "test"), str(first / "train")],
        [str(second / "train"), str(second / "test")],
    ]


def test_published_counts_stand_beside_those_found_by_emotion(tmp_path: Path) -> None:
    (train, *_) = only(fer2013_set(tmp_path)).published
    assert train.splits == ("train",)
    assert train.stated == fer2013.PUBLISHED["train"] | {ALL: 28709}
    assert train.found == dict.fromkeys(fer2013.EMOTIONS, 6) | {ALL: 42}


def test_a_val_that_was_cut_from_train_is_added_to_it_whichever_is_described(tmp_path: Path) -> None:
    out = fer2013_set(tmp_path, val=0, val_fraction=0.2)
    assert only(out).splits[1].samples == 7
    whole = {("train", "val"): (28709, 42)}
    assert published(out) == whole | {("test",): (3589, 7)}
    assert published(out / "train") == published(out / "val") == whole
    (out / "val").rename(tmp_path / "elsewhere")
    assert published(out / "train") == {}


def test_splits_that_the_release_does_not_have_were_cut_from_its_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fer2013, "PUBLISHED", {"train": {"fear": 9}})
    assert published(listed_set(tmp_path / "fold", "fer2013", {"train": 14, "test": 7})) == {("train", "test"): (9, 21)}
    assert published(listed_set(tmp_path / "tested", "fer2013", {"test": 7})) == {("test",): (9, 7)}


def test_where_only_totals_are_published_only_totals_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fer2013, "PUBLISHED", {"train": {ALL: 45}, "val": {ALL: 7}, "test": {"contempt": 2}})
    train, val, test = only(fer2013_set(tmp_path)).published
    assert (train.stated, train.found) == ({ALL: 45}, {ALL: 42})
    assert val.stated == val.found
    assert (test.stated["contempt"], test.found["contempt"]) == (2, 0)
    assert (test.stated["fear"], test.found["fear"]) == (0, 1)


def test_a_set_that_is_no_release_has_no_published_counts(tmp_path: Path) -> None:
    assert only(listed_set(tmp_path, "mine", {"train": 7})).published == ()


def test_sizes_and_colours_are_those_of_the_headers(tmp_path: Path) -> None:
    images = [
        image((30, 20)),
        image((30, 20), "P"),
        image((20, 30), "L"),
        image((64, 64), "LA"),
        image((64, 64), "1"),
        image((64, 64), "RGBA"),
        image((99, 1), "L"),
        b"not an image",
        # Cut in the middle of its pixels: no header says so, and nothing here decodes.
        encoded(1, "PNG", 64, "RGB")[:-2000],
    ]
    made = [Face(f"{i}", 0, {"png": content, "cls": b"0"}) for i, content in enumerate(images)]
    made.append(Face("jpeg", 0, {"jpg": image((500, 400), "CMYK", "JPEG"), "cls": b"0"}))
    looked = only(shard_set(tmp_path / "train", [made])).splits[0].looked
    assert looked.images == 10
    assert looked.sizes == Sizes((99, 1), (64, 64), (500, 400), (64, 64), 4)
    assert looked.colours == {"colour": 4, "grey": 4, "palette": 1, "unreadable": 1}


def test_where_no_header_can_be_read_there_are_no_sizes(tmp_path: Path) -> None:
    looked = only(shard_set(tmp_path / "train", [[Face("a", 0, {"png": b"?", "cls": b"0"})]])).splits[0].looked
    assert looked == Looked(1, None, {"unreadable": 1}, {}, 0)


def test_facts_that_state_something_are_counted_and_different_subjects_too(tmp_path: Path) -> None:
    stated = [
        {"emotion": "fear", "dataset": "x", "subject": 7, "box": [0, 0, 9, 9], "valence": 0.0},
        {"subject": "7", "soft": {"fear": 1.0}},
        {"subject": 8, "gender": None, "race": ""},
        {"subject": None, "landmarks": []},
    ]
    made = [
        Face(f"{i}", 0, {"png": encoded(i, "PNG"), "cls": b"0", "json": json.dumps(facts).encode()})
        for i, facts in enumerate(stated)
    ]
    looked = only(shard_set(tmp_path / "train", [made])).splits[0].looked
    assert looked.facts == {"subject": 3, "box": 1, "valence": 1, "soft": 1}
    assert looked.subjects == 2


def test_of_a_large_set_images_all_over_it_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describing, "MOST_LOOKED_AT", 10)
    monkeypatch.setattr(describing, "MOST_SHARDS", 5)
    shards = [
        [Face(f"{s}-{i}", 0, {"png": encoded(i, "PNG"), "cls": b"0", "json": b'{"%d": 1}' % s}) for i in range(4)]
        for s in range(10)
    ]
    looked = only(shard_set(tmp_path / "train", shards)).splits[0].looked
    assert looked.images == 10
    assert set(looked.facts.values()) == {2}
    assert set(np.diff([int(shard) for shard in looked.facts])) == {2}


@given(st.integers(0, 10**9), st.integers(1, 500), st.integers(0, 10**9))
def test_numbers_that_are_spread_evenly_differ_and_leave_no_gap(total: int, count: int, seed: int) -> None:
    numbers = evenly(total, count, seed).tolist()
    assert len(numbers) == min(total, count)
    if numbers:
        around = [*numbers, numbers[0] + total]
        steps = np.diff(around)
        assert 0 <= numbers[0] < numbers[-1] + 1 <= total
        assert steps.min() >= 1
        assert steps.max() - steps.min() <= 1


def in_tars(folder: Path) -> dict[str, list[tuple[str, bytes]]]:
    """Emotion by its json -> key and image of its samples, in the order of the tars, read with tarfile."""
    found: dict[str, list[tuple[str, bytes]]] = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            files = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
        for name in files:
            if name.endswith(".json"):
                key = name.removesuffix(".json")
                found.setdefault(json.loads(files[name])["emotion"], []).append((key, files[f"{key}.jpg"]))
    return found


@pytest.mark.parametrize("seed", [0, 1])
def test_the_sheet_has_a_row_for_each_split_and_emotion_with_images_spread_evenly_over_it(
    tmp_path: Path, seed: int
) -> None:
    out = fer2013_set(tmp_path)
    rows = list(sheet_rows(sets_at([out], DataConfig()), 4, seed))
    titles = [f"fer2013-train: {emotion}, 4 of 6" for emotion in fer2013.EMOTIONS]
    titles += [f"fer2013-{split}: {emotion}, 1 of 1" for split in ("val", "test") for emotion in fer2013.EMOTIONS]
    assert [row.title for row in rows] == titles
    samples = in_tars(out / "train")
    for emotion, row in zip(fer2013.EMOTIONS, rows, strict=False):
        shown = [(tile.caption, tile.content) for tile in row.tiles]
        assert shown == [samples[emotion][place] for place in evenly(6, 4, seed)]


def test_another_seed_shows_other_images_and_the_same_one_the_same(tmp_path: Path) -> None:
    folders = sets_at([fer2013_set(tmp_path) / "train"], DataConfig())
    first = list(sheet_rows(folders, 2))
    assert list(sheet_rows(folders, 2)) == first
    assert any(list(sheet_rows(folders, 2, seed)) != first for seed in range(1, 5))


def test_tars_that_others_made_are_described_and_shown(tmp_path: Path) -> None:
    folder = tmp_path / "theirs" / "test"
    folder.mkdir(parents=True)
    for number, name in enumerate(("a.tar", "b.tar")):
        with tarfile.open(folder / name, "w") as tar:
            for i in range(3):
                for extension, content in (("PNG", encoded(3 * number + i, "PNG")), ("cls", b"%d" % number)):
                    info = tarfile.TarInfo(f"some {number}{i}.{extension}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    index_shards(folder, ("happy", "sad"))
    split = only(folder).splits[0]
    assert (split.split, split.counts, split.built["variant"]) == ("test", {"happiness": 3, "sadness": 3}, "indexed")
    assert split.looked.facts == {}
    rows = {row.title: row.tiles for row in sheet_rows([folder], 3)}
    assert [tile.content for tile in rows["theirs-test: sadness, 3 of 3"]] == [encoded(i, "PNG") for i in (3, 4, 5)]


def test_what_is_no_whole_shard_set_is_one_clear_line(tmp_path: Path) -> None:
    folder = shard_set(tmp_path / "out" / "train", [faces(7)])
    with pytest.raises(InputError, match=r"absent: no such folder of shards; make one with: fer-dist shards build"):
        only(tmp_path / "absent")
    with pytest.raises(InputError, match=r"no manifest\.json; for tars of others: fer-dist shards index"):
        only(tmp_path)
    with pytest.raises(InputError, match=r"name a folder of shards"):
        sets_at([], DataConfig())
    manifest = load_manifest(folder)
    wrong = dataclasses.replace(manifest.shards[0], counts={**manifest.counts, SEVEN[0]: 2, SEVEN[1]: 0})
    save_manifest(folder, dataclasses.replace(manifest, shards=(wrong,)))
    with pytest.raises(InputError, match=r"000000\.tar: 1 of surprise, fewer than the manifest says; .* verify"):
        list(sheet_rows([folder], 7))
    index_path(folder / manifest.shards[0].file).unlink()
    with pytest.raises(InputError, match=r"000000\.idx: missing index; make it with"):
        only(folder)


def test_the_command_prints_counts_differences_and_what_was_left_out_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fer2013, "PUBLISHED", {"train": {"fear": 1, "sadness": 1500, "contempt": 2}})
    entries = (
        Sample("a", "train", "fear", "nowhere", facts={"subject": "A", "soft": {"fear": 1.0}}),
        Sample("b", "train", "sadness", "nowhere", facts={"subject": "A"}, mended="box cut at the edge"),
        Sample("c", "test", "sadness", "nowhere"),
        LeftOut("test", "d", "unknown code"),
    )
    options = BuildOptions(workers=1, command="fer-dist shards build listed")
    build_shards(ListedSource(entries, ("fear", "sadness"), "fer2013"), tmp_path / "out", options)
    assert main(["shards", "describe", str(tmp_path / "out"), "--json", str(tmp_path / "out.json")]) == 0
    said = capsys.readouterr()
    rows = [[cell.strip() for cell in line.split("│")[2:-1]] for line in said.out.splitlines() if line.startswith("│")]
    assert "published, train + test" in said.out
    for row in (
        ["fear", "1", "0", "1 ="],
        ["sadness", "1", "1", "1,500 (-1,498)"],
        ["contempt", "-", "-", "2 (-2)"],
        ["all", "2", "1", "1,503 (-1,500)"],
        ["looked at", "2 of 2", "1 of 1"],
        ["most common", "8x8 (100 %)", "8x8 (100 %)"],
        ["grey", "100 %", "100 %"],
        ["soft labels", "50.0 %", "none"],
        ["with subject", "100 %", "-"],
        ["different subjects", "1", "-"],
        ["left out: unknown code", "-", "1"],
        ["mended: box cut at the edge", "1", "-"],
    ):
        assert row in rows
    assert f"{tmp_path}/out/train: from given by the test; fer-dist shards build listed\n" in said.err
    (dataset,) = json.loads((tmp_path / "out.json").read_text())
    assert dataset == json.loads(json.dumps(dataclasses.asdict(only(tmp_path / "out"))))


def test_the_command_draws_a_sheet_of_as_many_images_as_asked(tmp_path: Path) -> None:
    source = open_source("folder", str(folder_release(tmp_path / "raw", 9)))
    build_shards(source, tmp_path / "out", BuildOptions(workers=1))
    sizes = []
    for count in ("1", "3"):
        sheet = tmp_path / f"{count}.png"
        assert main(["shards", "describe", str(tmp_path / "out"), "--sheet", str(sheet), "--per-emotion", count]) == 0
        with Image.open(sheet) as image:
            sizes.append(image.size)
    assert sizes[0][0] < sizes[1][0] == 3 * 96 + 4 * 8
    assert sizes[0][1] == sizes[1][1]


def test_a_sheet_in_an_impossible_place_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shard_set(tmp_path / "train", [faces(7)])
    for name, reason in (("absent/a.png", "no folder"), ("a.pdf", "a sheet is an image")):
        assert main(["shards", "describe", str(folder), "--sheet", str(tmp_path / name)]) == 2
        said = capsys.readouterr()
        assert reason in said.err
        assert said.err.count("\n") == 1
        assert said.out == ""
