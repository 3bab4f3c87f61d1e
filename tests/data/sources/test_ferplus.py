"""FER+: its votes, judged as the authors judge them, and its files, read into samples."""

import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.faces import write
from support.releases.ferplus import (
    COLUMNS,
    MAKERS,
    labels_with_boxes,
    table_beside_images,
    table_beside_table,
    votes,
)
from support.releases.made import Maker, image_bytes, seen

from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.sources.source import LeftOut, Sample, Source, open_source
from fer_dist.data.sources.votes import Rule, judge
from fer_dist.errors import InputError

RULES = get_args(Rule)
ORDER = ("neutrality", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
HEADER = f"Usage,Image name,{','.join(COLUMNS)}\n"


def samples_of(source: Source) -> dict[str, Sample]:
    return {sample.key: sample for sample in source.samples() if isinstance(sample, Sample)}


def left_out_of(source: Source) -> set[tuple[str, str, str]]:
    return {(entry.split, entry.name, entry.reason) for entry in source.samples() if isinstance(entry, LeftOut)}


def counts(line: str) -> list[int]:
    return [int(word) for word in line.split(",")]


def labels(root: Path, *lines: str) -> Path:
    """A release of one folder; every image that a line names is there."""
    for line in lines:
        write(root / "FER2013Train" / line.partition(",")[0], image_bytes("fear", 1, "PNG"))
    write(root / "FER2013Train" / "label.csv", "\n".join(lines).encode())
    return root


def authors_target(votes: list[int], rule: str) -> list[float] | None:
    """What _process_data of src/ferplus.py does, step after step, and load_folders after it; None: left out."""
    left = [float(count) if count > 1 else 0.0 for count in votes]
    everyone = sum(left)
    target = [0.0] * 10
    if rule == "majority":
        if max(left) > 0.5 * everyone:
            target[left.index(max(left))] = 1.0
    elif rule == "multi_target":
        target = [count if count >= 0.3 * everyone else 0.0 for count in left]
        if sum(target) <= 0.5 * everyone:
            target = [0.0] * 10
    else:
        integrated, taken, going_on = 0.0, 0, True
        while integrated < 0.75 * everyone and taken < 3 and going_on:
            peak = max(left)
            for answer in range(10):
                if left[answer] == peak:
                    target[answer], left[answer] = peak, 0.0
                    integrated += peak
                    taken += 1
                    if answer >= 8:
                        going_on = False
                        if sum(target) > peak:
                            target[answer] = 0.0
                            taken -= 1
                        break
        if sum(target) <= 0.5 * everyone or taken > 3:
            target = [0.0] * 10
    if not any(target) or target.index(max(target)) >= 8:
        return None
    return [share / sum(target[:8]) for share in target[:8]]


@pytest.mark.parametrize("rule", RULES)
@given(
    st.one_of(
        # What ten people say, and any counts at all.
        st.lists(st.integers(0, 9), min_size=10, max_size=10).map(lambda said: [said.count(i) for i in range(10)]),
        st.lists(st.integers(0, 3), min_size=10, max_size=10).map(lambda said: [said.count(i) for i in range(10)]),
        st.lists(st.integers(6, 9), min_size=10, max_size=10).map(lambda said: [said.count(i) for i in range(10)]),
        st.lists(st.integers(0, 12), min_size=10, max_size=10),
    )
)
def test_votes_are_judged_as_the_authors_judge_them(rule: Rule, votes: list[int]) -> None:
    target, verdict = authors_target(votes, rule), judge(votes, rule)
    if target is None:
        assert (verdict.emotion, bool(verdict.reason)) == ("", True)
    else:
        assert verdict.emotion == ORDER[target.index(max(target))]
        assert sum(verdict.soft) == pytest.approx(1)
        if rule != "majority":
            assert verdict.soft == pytest.approx(target)


@pytest.mark.parametrize(
    ("line", "by_rule"),
    [
        (votes(anger=5, fear=5), ["", "anger", "anger", "anger"]),
        (votes(fear=4, anger=3, sadness=2, NF=1), ["", "fear", "fear", "fear"]),
        (votes(fear=2, anger=2, sadness=2, disgust=2, NF=2), ["", "", "", ""]),
        (votes(fear=4, anger=2, sadness=2, NF=2), ["", "fear", "fear", ""]),
        (votes(fear=5, unknown=5), ["", "", "", "fear"]),
        (votes(unknown=4, fear=3, anger=3), ["", "", "", ""]),
        (votes(NF=10), ["", "", "", ""]),
        (",".join("1" * 10), ["", "", "", ""]),
    ],
)
def test_rules_differ_on_votes_worked_by_hand(line: str, by_rule: list[str]) -> None:
    assert [judge(counts(line), rule).emotion for rule in RULES] == by_rule


def test_each_rule_says_why_it_leaves_an_image_out() -> None:
    lines = (votes(fear=2, anger=2, sadness=2, disgust=2, NF=2), votes(unknown=8, fear=2), votes(NF=8, fear=2))
    reasons = {rule: [judge(counts(line), rule).reason for line in lines] for rule in RULES}
    top = ["top vote says unknown", "top vote says not a face"]
    assert reasons == {
        "majority": ["no majority", "majority says unknown", "majority says not a face"],
        "probability": ["no one, two or three emotions lead", *top],
        "crossentropy": ["no one, two or three emotions lead", *top],
        "multi_target": ["no emotions with 30 % of the votes each hold more than half", *top],
    }


@pytest.mark.parametrize("make", MAKERS)
def test_each_layout_gives_every_image_its_label_and_names_what_it_leaves_out(tmp_path: Path, make: Maker) -> None:
    release = make(tmp_path)
    source = pickle.loads(pickle.dumps(open_source(release.source, str(release.raw), **release.options)))
    found = {split: {} for split in release.truth}
    for sample in samples_of(source).values():
        found[sample.split][sample.facts["id"]] = sample.emotion
        image = Image.open(io.BytesIO(source.read(sample).content))
        assert (image.mode, image.size, seen(image)) == ("L", (48, 48), sample.emotion)
    assert found == release.truth
    assert left_out_of(source) == release.left_out
    assert source.emotions == ORDER


def test_all_layouts_agree_on_keys_votes_and_shares(tmp_path: Path) -> None:
    found = []
    for make in MAKERS:
        source = open_source("ferplus", str(make(tmp_path / make.__name__).raw))
        found.append({key: (s.split, s.facts["votes"], s.facts["soft"]) for key, s in samples_of(source).items()})
    assert all(other == found[0] for other in found)


def test_facts_tell_votes_shares_code_and_row(tmp_path: Path) -> None:
    line = f"Training,fer0000031.png,{votes(surprise=6, fear=2, anger=1, NF=1)}\n"
    write(tmp_path / "fer2013new.csv", (HEADER + f"Training,,{votes(NF=10)}\n" + line).encode())
    pixels = " ".join(["7"] * 2304)
    write(tmp_path / "fer2013.csv", f"emotion,pixels,Usage\n0,{pixels},Training\n0,{pixels},Training\n".encode())
    source = open_source("ferplus", str(tmp_path))
    (sample,) = samples_of(source).values()
    assert sample.key == "fer0000031"
    nobody = dict.fromkeys(("neutrality", "happiness", "sadness", "disgust", "contempt"), 0)
    assert sample.facts == {
        "id": "fer0000031.png",
        "code": "2",
        "votes": {**nobody, "surprise": 6, "fear": 2, "anger": 1, "unknown": 0, "NF": 1},
        "soft": {**nobody, "surprise": 0.75, "fear": 0.25, "anger": 0},
        "row": "1",
    }
    assert source.read(sample).original == "fer2013.csv row 1"


def test_seven_emotions_leave_contempt_out_and_share_its_votes_among_the_others(tmp_path: Path) -> None:
    raw = labels(tmp_path, f"a.png,{votes(anger=6, contempt=2, fear=2)}", f"b.png,{votes(contempt=8, anger=2)}")
    source = open_source("ferplus", str(raw), emotions="seven")
    (sample,) = samples_of(source).values()
    assert sample.facts["soft"] == pytest.approx({**dict.fromkeys(ORDER[:7], 0), "anger": 0.75, "fear": 0.25})
    assert left_out_of(source) == {("train", "b.png", "contempt is not among the seven")}
    assert source.emotions == ORDER[:7]


def test_another_rule_keeps_other_images(tmp_path: Path) -> None:
    raw = labels(tmp_path, f"a.png,{votes(anger=5, fear=5)}", f"b.png,{votes(fear=5, unknown=5)}")
    found = {rule: set(samples_of(open_source("ferplus", str(raw), votes=rule))) for rule in RULES}
    assert found == {"majority": set(), "probability": {"a"}, "crossentropy": {"a"}, "multi_target": {"a", "b"}}


def test_a_box_that_is_the_whole_image_says_nothing_and_any_other_is_left_top_width_height(tmp_path: Path) -> None:
    boxes = ("(0, 0, 48, 48)", "(4, 6, 40, 46)", "(a, 6, 40, 46)")
    raw = labels(tmp_path, *(f'{i}.png,"{box}",{votes(fear=10)}' for i, box in enumerate(boxes)))
    found = samples_of(open_source("ferplus", str(raw)))
    assert [found[key].facts.get("box") for key in "012"] == [None, [4, 6, 36, 40], None]
    assert [found[key].mended for key in "012"] == ["", "", "face box is not four numbers: dropped"]


def test_wrong_lines_are_left_out_each_with_its_reason(tmp_path: Path) -> None:
    raw = labels(tmp_path / "labels", "a.png,1,2", f"b.png,{votes(fear=9)[:-1]}x", f"c.png,{votes(fear=-9)}")
    write(raw / "FER2013Train" / "d.png", b"")
    assert left_out_of(open_source("ferplus", str(raw))) == {
        ("train", "FER2013Train/label.csv row 0", "wrong number of columns"),
        ("train", "b.png", "votes are not numbers"),
        ("train", "c.png", "votes are not numbers"),
        *(("train", f"{name}.png", "no row in label.csv") for name in "ad"),
    }
    lines = [f"Mine,a.png,{votes(fear=9)}", "Training", f"PublicTest,b.png,{votes(fear=9)}", ""]
    table = tmp_path / "table"
    write(table / "fer2013new.csv", (HEADER + "\n".join(lines)).encode())
    for place in ("one", "two", "__MACOSX", ".hidden"):
        write(table / place / "b.png", image_bytes("fear", 1, "PNG"))
    source = open_source("ferplus", str(table))
    assert set(samples_of(source)) == {"b"}
    assert left_out_of(source) == {
        ("", "a.png", "unknown Usage"),
        ("", "fer2013new.csv row 1", "columns are missing"),
        ("", "two/b.png", "another image has this name"),
    }


def test_columns_of_the_table_are_found_by_their_names(tmp_path: Path) -> None:
    write(tmp_path / "fer0000000.png", image_bytes("fear", 1, "PNG"))
    header = "NF,unknown,contempt,fear,disgust,anger,sadness,surprise,happiness,neutral,Image name,Usage"
    write(tmp_path / "fer2013new.csv", f"\ufeff{header}\r\n0,0,0,1,0,0,9,0,0,0,fer0000000.png,Training\r\n".encode())
    (sample,) = samples_of(open_source("ferplus", str(tmp_path))).values()
    assert sample.emotion == "sadness"


def test_the_table_above_the_data_folder_counts_and_not_the_older_label_files(tmp_path: Path) -> None:
    release = table_beside_images(tmp_path)
    source = open_source("ferplus", str(tmp_path / "data"))
    assert {sample.facts["id"]: sample.emotion for sample in samples_of(source).values()} == {
        name: emotion for split in release.truth.values() for name, emotion in split.items()
    }
    assert source.variant == "fer2013new.csv and the images that it names"


@pytest.mark.parametrize(("longer", "word"), [("fer2013new.csv", "more"), ("fer2013.csv", "fewer")])
def test_two_tables_of_unequal_length_are_refused(tmp_path: Path, longer: str, word: str) -> None:
    table_beside_table(tmp_path)
    with (tmp_path / longer).open("a") as stream:
        pixels = " ".join(["7"] * 2304)
        stream.write(f"Training,x.png,{votes(fear=10)}" if word == "more" else f"0,{pixels},Training")
    with pytest.raises(InputError, match=rf"fer2013new\.csv: has {word} rows than fer2013\.csv .* same order"):
        list(open_source("ferplus", str(tmp_path)).samples())


@pytest.mark.parametrize("junk", ["\0\0\0\n", ",,,,,,,,,,,\n", "</html>\n", "Total,35887\n"])
@pytest.mark.parametrize("file", ["fer2013new.csv", "fer2013.csv"])
def test_junk_behind_the_end_of_a_table_is_left_out_and_in_its_midst_refused(
    tmp_path: Path, file: str, junk: str
) -> None:
    release = table_beside_table(tmp_path)
    before = samples_of(open_source("ferplus", str(release.raw)))
    lines = (tmp_path / file).read_text().splitlines(keepends=True)
    write(tmp_path / file, "".join([*lines[:-1], lines[-1].rstrip("\n") + "\n", junk, junk]).encode())
    assert samples_of(open_source("ferplus", str(release.raw))) == before
    # Rows go together by their position: one line too many, and all that follow have the labels of their neighbours.
    write(tmp_path / file, "".join([*lines[:9], junk, *lines[9:]]).encode())
    with pytest.raises(InputError, match=r"(more|fewer) rows than fer2013\.csv beside it at .*, but they must be"):
        list(open_source("ferplus", str(release.raw)).samples())


def test_two_rows_of_one_name_give_the_first_that_has_a_label(tmp_path: Path) -> None:
    lines = [f"Training,a.png,{votes(fear=10)}\n", f"Training,a.png,{votes(anger=10)}\n"]
    write(tmp_path / "fer2013new.csv", (HEADER + "".join(lines)).encode())
    rows = "".join(f"0,{' '.join([str(pixel)] * 2304)},Training\n" for pixel in (7, 8))
    write(tmp_path / "fer2013.csv", f"emotion,pixels,Usage\n{rows}".encode())
    source = open_source("ferplus", str(tmp_path))
    assert {key: sample.emotion for key, sample in samples_of(source).items()} == {"a": "fear"}
    assert left_out_of(source) == {("train", "a.png", "image name comes twice")}


def test_a_row_whose_usage_or_pixels_are_wrong_in_the_other_table_is_left_out(tmp_path: Path) -> None:
    lines = [f"Training,{name}.png,{votes(fear=10)}\n" for name in "abc"]
    write(tmp_path / "fer2013new.csv", (HEADER + "".join(lines)).encode())
    pixels = " ".join(["7"] * 2304)
    old = f"emotion,pixels,Usage\n0,{pixels},Training\n0,{pixels},PublicTest\n0,7 7,Training\n"
    write(tmp_path / "fer2013.csv", old.encode())
    source = open_source("ferplus", str(tmp_path))
    assert set(samples_of(source)) == {"a"}
    assert left_out_of(source) == {
        ("train", "b.png", "Usage is another than in fer2013.csv"),
        ("train", "c.png", "wrong number of pixels"),
    }


def test_what_is_not_understood_is_one_clear_line(tmp_path: Path) -> None:
    write(tmp_path / "label.csv", b"")
    with pytest.raises(InputError, match=r"no FER\+ here; looked for fer2013new\.csv .* found: label\.csv$"):
        open_source("ferplus", str(tmp_path))
    write(tmp_path / "fer2013new.csv", HEADER.encode())
    with pytest.raises(InputError, match=r"labels without images; looked for fer2013new\.csv with fer2013\.csv"):
        open_source("ferplus", str(tmp_path))
    write(tmp_path / "fer2013new.csv", b"a,b\n")
    with pytest.raises(InputError, match=r"fer2013new\.csv: not FER\+'s table; .* NF, each once; found: a,b$"):
        open_source("ferplus", str(tmp_path))


def test_shards_hold_the_soft_label_and_say_what_was_left_out(tmp_path: Path) -> None:
    release = labels_with_boxes(tmp_path / "raw")
    source = open_source("ferplus", str(release.raw), votes="crossentropy")
    train, val, test = build_shards(source, tmp_path / "out", BuildOptions(workers=1))
    assert (train.samples, val.samples, test.samples) == (25, 25, 25)
    assert train.left_out == {
        "no one, two or three emotions lead": 1,
        "no image of this name": 1,
        "no row in label.csv": 1,
        "top vote says not a face": 1,
        "top vote says unknown": 1,
    }
    with tarfile.open(tmp_path / "out" / "train" / train.shards[0].file) as tar:
        facts = [json.load(tar.extractfile(name)) for name in tar.getnames() if name.endswith(".json")]  # type: ignore
    assert all(sum(fact["soft"].values()) == pytest.approx(1) for fact in facts)
