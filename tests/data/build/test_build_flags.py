"""Flags of `fer-dist shards build`: mended rows, faces cut and resized, options of a source, whole photographs."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from support.faces import CountedSource, ListedSource, encoded, folder_release, members, tree, write

from fer_dist.cli.commands import main
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.shards.manifest import load_manifest
from fer_dist.data.sources.source import EncodedImage, Sample, open_source

EDGE = "face box reached beyond the image: cut at its edge"


@dataclass(frozen=True)
class BoxedSource(ListedSource):
    """Images of 32 pixels whose facts are the sample's own; reading adds one fact and one remark."""

    def read(self, sample: Sample) -> EncodedImage:
        made = EncodedImage(encoded(int(sample.path), "PNG", side=32), "png")
        return EncodedImage(made.content, "png", facts={"read": True}, mended="said while reading")


def boxed(number: int, **facts: object) -> Sample:
    emotion = ("happiness", "sadness", "fear")[number % 3]
    return Sample(f"k{number}", "train", emotion, str(number), facts={"id": f"face {number}", **facts})


def test_mended_rows_are_counted_and_listed_beside_the_manifest(tmp_path: Path) -> None:
    said_before = Sample("k3", "train", "happiness", "3", facts={"id": "face 3"}, mended="said while listing")
    source = BoxedSource((boxed(0, box=[-5, 0, 20, 20]), boxed(1, box=[0, 0, 20, 20]), said_before))
    (manifest,) = build_shards(source, tmp_path / "out", BuildOptions(workers=1))
    reasons = {f"said while reading; {EDGE}": 1, "said while reading": 2, "said while listing": 1}
    assert (manifest.left_out, manifest.built["mended"]) == ({}, dict(sorted(reasons.items())))
    rows = [json.loads(line) for line in (tmp_path / "out" / "train" / "mended.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == ["face 0", "face 1", "face 3", "face 3"]
    facts = json.loads(members(tmp_path / "out" / "train")["k0.json"])
    assert (facts["box"], facts["read"]) == ([0, 0, 15, 20], True)
    assert not (tmp_path / "out" / "train" / "left_out.jsonl").exists()


def test_a_set_with_mended_rows_is_overwritten_like_any_other(tmp_path: Path) -> None:
    source = BoxedSource((boxed(0), boxed(1)))
    build_shards(source, tmp_path / "out", BuildOptions(workers=1))
    build_shards(BoxedSource((boxed(2),)), tmp_path / "out", BuildOptions(workers=1, overwrite=True))
    assert load_manifest(tmp_path / "out" / "train").samples == 1


@pytest.mark.parametrize(("count", "shards"), [(200, 1), (600, 3), (4800, 16)])
def test_small_sets_have_enough_shards_for_all_cores(tmp_path: Path, count: int, shards: int) -> None:
    source = CountedSource(count=count)
    (manifest,) = build_shards(source, tmp_path / "out", BuildOptions(workers=1))
    assert len(manifest.shards) == shards
    assert manifest.built["shard_samples"] == max(256, count // 16)


def test_faces_are_cut_resized_and_their_facts_moved(tmp_path: Path) -> None:
    source = BoxedSource((boxed(0, box=[8, 8, 16, 16], landmarks=[[8, 8]]), boxed(1)))
    options = BuildOptions(workers=1, crop_faces=True, margin=0.0, resize=32, quality=90)
    (manifest,) = build_shards(source, tmp_path / "out", options)
    assert manifest.left_out == {"no usable face box to cut out": 1}
    content = members(tmp_path / "out" / "train")
    facts = json.loads(content["k0.json"])
    assert (facts["cut"], facts["box"], facts["landmarks"]) == ([8, 8, 16, 16], [0, 0, 32, 32], [[0, 0]])
    with Image.open(io.BytesIO(content["k0.jpg"])) as image:
        assert image.size == (32, 32)


def test_resized_images_have_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    source = open_source("folder", str(folder_release(tmp_path / "raw", 30)))
    for workers in (1, 2):
        build_shards(source, tmp_path / str(workers), BuildOptions(workers=workers, shard_samples=7, resize=24))
    assert tree(tmp_path / "1") == tree(tmp_path / "2")


def test_shards_that_a_killed_build_left_are_not_taken_for_images_of_another_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source("folder", str(folder_release(tmp_path / "raw", 12)))
    with monkeypatch.context() as patch:
        patch.setattr("fer_dist.data.build.build._stage", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_shards(source, tmp_path / "out", BuildOptions(workers=1))
    build_shards(source, tmp_path / "out", BuildOptions(workers=1, resize=24))
    build_shards(source, tmp_path / "undisturbed", BuildOptions(workers=1, resize=24))
    assert tree(tmp_path / "out") == tree(tmp_path / "undisturbed")


def test_faces_of_one_photograph_stay_on_one_side_of_the_cut(tmp_path: Path) -> None:
    source = BoxedSource(tuple(boxed(n, photograph=f"street {n // 4}") for n in range(80)))
    train, val = build_shards(source, tmp_path / "out", BuildOptions(workers=1, val_fraction=0.25))
    sides = []
    for manifest in (train, val):
        content = members(tmp_path / "out" / manifest.split)
        names = [name for name in content if name.endswith(".json")]
        sides.append({json.loads(content[name])["photograph"] for name in names})
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a source first: fer-dist shards build SOURCE RAW OUT"),
        (["--count", "4"], "name a source first"),
        (["rafbd", "raw", "out"], "unknown source 'rafbd'; did you mean rafdb?"),
        (["folder", "raw", "out", "--count", "4"], "unknown flag --count; see --help"),
        (["folder", "raw", "out", "--datset", "x"], "unknown flag --datset; did you mean --dataset?"),
        (["folder", "{raw}", "{out}", "--resize", "-3"], "--resize -3: give a side of 1 to 8192 pixels"),
        (["folder", "{raw}", "{out}", "--quality", "500"], "--quality 500: JPEG quality is from 1 to 100"),
    ],
)
def test_wrong_words_are_one_line_and_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    write(tmp_path / "raw" / "happy" / "a.png", encoded(1, "PNG"))
    words = [word.format(raw=tmp_path / "raw", out=tmp_path / "out") for word in arguments]
    assert main(["shards", "build", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_help_of_a_source_shows_its_own_flags_and_no_others(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {}
    for source in ("synthetic", "folder"):
        with pytest.raises(SystemExit):
            main(["shards", "build", source, "--help"])
        shown[source] = capsys.readouterr().out
    assert "--test-count" in shown["synthetic"]
    assert "--dataset" not in shown["synthetic"]
    assert "--dataset" in shown["folder"]
    assert "--crop-faces" in shown["folder"]
