"""Any csv file: how columns, codes, splits and paths are understood, and what is refused."""

import io
import json
import os
import tarfile
import unicodedata
from pathlib import Path

import pytest
from PIL import Image
from support.faces import encoded, write
from support.releases.csv import AFFECTNET, MAKERS, codes_of_a_list, codes_of_a_table, words_and_splits
from support.releases.made import Maker, Release, seen
from test_sources import left_out_of, samples_of

from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.sources.source import Sample, Source, open_source
from fer_dist.errors import InputError


def opened(release: Release) -> Source:
    return open_source(release.source, str(release.raw), **release.options)


def table(path: Path, *rows: str, **options: str) -> Source:
    return open_source("csv", str(write(path / "t.csv", "\n".join(rows).encode())), **options)


def numbered(first: int, last: int) -> list[str]:
    return ["image,label", *(f"{number}.jpg,{number}" for number in range(first, last + 1))]


def only(source: Source) -> Sample:
    (sample,) = samples_of(source)
    return sample


@pytest.mark.parametrize("maker", MAKERS)
def test_every_row_of_a_csv_comes_out_with_its_split_and_label_or_is_left_out(tmp_path: Path, maker: Maker) -> None:
    release = maker(tmp_path)
    source = opened(release)
    found: dict[str, dict[str, str]] = {split: {} for split in release.truth}
    for sample in samples_of(source):
        found[sample.split][sample.facts["id"]] = sample.emotion
        assert seen(Image.open(io.BytesIO(source.read(sample).content))) == sample.emotion
    assert found == release.truth
    assert left_out_of(source) == release.left_out
    assert set(source.emotions) == {emotion for labels in release.truth.values() for emotion in labels.values()}


def test_emotions_stand_in_the_order_of_the_codes(tmp_path: Path) -> None:
    assert opened(codes_of_a_table(tmp_path)).emotions == AFFECTNET
    assert table(tmp_path, "path,label", "a,2", "b,0", codes="sad,fear,happy").emotions == ("sadness", "happiness")


def test_labels_of_ones_own_are_classes_in_the_order_that_is_given(tmp_path: Path) -> None:
    source = table(
        tmp_path, "path,label", "a,PAIN", "b,weak", "c,happy", "d,in  pain", emotions="weak,in pain,pain,dizzy"
    )
    assert source.emotions == ("weak", "in pain", "pain")
    assert {sample.path[-1]: sample.emotion for sample in samples_of(source)} == {
        "a": "pain",
        "b": "weak",
        "d": "in pain",
    }
    assert {reason for _, _, reason in left_out_of(source)} == {"not among --emotions"}
    coded = table(tmp_path, "path,label", "a,1", "b,0", emotions="weak,pain", codes="pain,weak")
    assert coded.emotions == ("weak", "pain")
    assert [sample.emotion for sample in samples_of(coded)] == ["weak", "pain"]


def test_the_variant_says_which_columns_were_taken_and_how_labels_are_read(tmp_path: Path) -> None:
    assert opened(words_and_splits(tmp_path / "a")).variant == (
        "csv, image in Image, emotion in Label, split in Split, subject in Subject; labels are words"
    )
    source = opened(codes_of_a_table(tmp_path / "b"))
    assert source.variant.endswith("labels by affectnet; no column of splits, all of it train")
    assert source.dataset == "like-affectnet"


def test_other_columns_travel_as_numbers_or_text_and_shaped_facts_keep_their_shape(tmp_path: Path) -> None:
    sample = only(
        table(
            tmp_path,
            "file,expression,Room No.,id,votes,gender,valence,arousal,nothing,weight,number,number,person",
            "a/b.c.jpg,joy,7,x1,3,1,0.5,-2,,1.5e3,007,-4,12",
        )
    )
    assert sample.facts == {
        "id": "a/b.c.jpg",
        "code": "joy",
        "subject": "12",
        "room_no": 7,
        "column_id": "x1",
        "column_votes": 3,
        "gender": "1",
        "valence": 0.5,
        "weight": 1500.0,
        "number": "007",
        "number_11": -4,
    }
    assert sample.key == "a/b%2Ec"


@pytest.mark.parametrize(
    "names", ["x,y,width,height", "box_x,box_y,box_w,box_h", "Face X,face-y,face_width,FACE_HEIGHT"]
)
def test_four_box_columns_become_one_box(tmp_path: Path, names: str) -> None:
    source = table(tmp_path, f"path,label,{names}", "a.jpg,fear,1,-2,30.5,40", "b.jpg,fear,NULL,1,2,3")
    good, bad = samples_of(source)
    assert (good.facts["box"], good.mended) == ([1, -2, 30.5, 40], "")
    assert ("box" in bad.facts, bad.mended) == (False, "face box without numbers: dropped")


def test_three_box_columns_are_columns_like_others(tmp_path: Path) -> None:
    facts = only(table(tmp_path, "path,label,x,y,width", "a.jpg,fear,1,2,3")).facts
    assert (facts["x"], facts["y"], facts["width"], "box" in facts) == (1, 2, 3, False)


def test_keys_and_subjects_come_from_the_columns_that_were_given(tmp_path: Path) -> None:
    samples = samples_of(opened(codes_of_a_list(tmp_path)))
    assert [(sample.key, sample.facts["subject"]) for sample in samples[:2]] == [("000", "0"), ("001", "1")]
    assert samples[0].facts["note"] == 'says "so"\tand more'


def test_paths_may_be_absolute_windows_or_through_a_link_as_long_as_they_stay_in_the_root(tmp_path: Path) -> None:
    root = tmp_path / "real"
    write(root / "sub" / "a.jpg", b"")
    os.symlink(root, tmp_path / "link")
    paths = (f"{root}/sub/a.jpg", f"{tmp_path}/link/sub/a.jpg", "sub\\a.jpg", "./sub/x/../a.jpg", "sub//a.jpg")
    for path in paths:
        sample = only(table(tmp_path, "path,label", f"{path},fear", root=str(tmp_path / "link")))
        assert (sample.key, Path(sample.path).is_file()) == ("sub/a", True)
    for path in (f"{root}x/a.jpg", "sub/../../a.jpg", "..", "."):
        source = table(tmp_path, "path,label", f"{path},fear", root=str(tmp_path / "link"))
        assert left_out_of(source) == {("train", path, "path leaves the root")}


def test_a_quote_that_never_ends_costs_its_own_row_alone(tmp_path: Path) -> None:
    rows = [f"c{n}.jpg,fear" for n in range(2000)]
    source = table(tmp_path, "path,label", "a.jpg,fear", '"b.jpg,fear', *rows)
    assert [sample.key for sample in samples_of(source)] == ["a", *(f"c{n}" for n in range(2000))]
    assert {reason for _, _, reason in left_out_of(source)} == {"columns are missing"}


@pytest.mark.parametrize("header", ["caption,path,label", "path,caption,label", "path,label,caption"])
def test_a_field_in_quotes_may_go_on_in_the_next_lines(tmp_path: Path, header: str) -> None:
    texts = [
        '"a face,\nwide ""smile""\n\n.jpg,sad"',
        '"\r\n"',
        '5" tall',
        '"one line"',
        '"never closed',
        "plain",
        '6" tall',
    ]
    cells = [{"path": f"{number}.jpg", "label": "joy", "caption": text} for number, text in enumerate(texts)]
    source = table(tmp_path, header, *(",".join(row[name] for name in header.split(",")) for row in cells))
    found = {sample.key: sample.facts.get("caption") for sample in samples_of(source)}
    assert found.pop("4", "never closed") == "never closed"
    assert found == {
        "0": 'a face,\nwide "smile"\n\n.jpg,sad',
        "2": '5" tall',
        "3": "one line",
        "5": "plain",
        "6": '6" tall',
    } | {"1": None}
    assert len(left_out_of(source)) == (0 if header.endswith("caption") else 1)


def test_two_quotes_that_never_close_cost_no_rows_between_them(tmp_path: Path) -> None:
    source = table(tmp_path, "path,label", '"a.jpg,fear', "b.jpg,joy", '"c.jpg,fear', "d.jpg,sad")
    assert {sample.key: sample.emotion for sample in samples_of(source)} == {"b": "happiness", "d": "sadness"}
    assert {name for _, name, _ in left_out_of(source)} == {"t.csv line 2", "t.csv line 4"}


def test_blanks_behind_delimiters_change_nothing(tmp_path: Path) -> None:
    source = table(tmp_path, '"path", "label", "note"', '"a.jpg", "joy", "one, two"', 'b.jpg,  fear, ""')
    assert {sample.key: (sample.emotion, sample.facts.get("note")) for sample in samples_of(source)} == {
        "a": ("happiness", "one, two"),
        "b": ("fear", None),
    }


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            ["image,label,label", "a.jpg,joy,sad"],
            {"emotion_column": "label"},
            r"2 columns are called label, and each could be the emotion; rename all but the one that is meant$",
        ),
        (
            ["image,label", "a.jpg,3", "b.jpg,0"],
            {},
            r"the labels are numbers \(0, 3\), and each dataset orders them in its own way; say which with --codes: "
            r"fer2013, rafdb, affectnet, ferplus, ckplus, expw, or the names in the order",
        ),
        (["image,label", "a.jpg,3.0", "b.jpg,04"], {}, r"the labels are numbers \(3, 4\)"),
        (
            ["image,label", "a.jpg;sad", "b.jpg;fear"],
            {},
            r"no row that fits its first line; columns are missing in line 2$",
        ),
        (["image,label"], {}, r"no row that fits its first line; there are none$"),
        (["image,label", "a.jpg,3-sad"], {}, r"no label names an emotion .* found: 3-sad; classes of your"),
        (
            ["image,label", "a.jpg,bored"],
            {},
            r"no label names an emotion .* surprise, surprised, .* found: bored; classes",
        ),
        (
            ["image,label", "a.jpg,bored"],
            {"emotions": "weak,pain"},
            r"no label names a class of --emotions; .* weak, pain;",
        ),
        (["image,label", "a.jpg,fear"], {"codes": "rafdb"}, r"looked for 1, 2, 3, 4, 5, 6, 7; found: fear$"),
        (["image,label", "a.jpg,1"], {"codes": "rafbd"}, r"--codes rafbd: no such table; there are fer2013, rafdb"),
        (["image,label", "a.jpg,1"], {"codes": "happy,bored"}, r"--codes: 'bored' names no emotion .* use - or one of"),
        (
            ["image,mood", "a.jpg,fear"],
            {},
            r"no column for the emotion; looked for emotion, .* names: image, mood; say",
        ),
        (["a.jpg,fear"], {}, r"no column for the image; looked for path, image, .* names: a\.jpg, fear; say which"),
        ([""], {}, r"no column for the image; .* names: nothing; say which with --image-column"),
        (
            ["path,image,label", "a,b,fear"],
            {},
            r"path and image could each be the image; say which with --image-col",
        ),
        (["path,label", "a,fear"], {"split_column": "fold"}, r"no column for the split; looked for fold; the first"),
        (
            ["image,pixels,label", "a,1 2,3"],
            {"image_column": "file"},
            r"names: image, pixels, label; .* source fer2013\)$",
        ),
        ([",image,label", "0,a.jpg,fear"], {"emotion_column": "###"}, r"no column for the emotion; looked for ###; "),
        (
            numbered(1, 7),
            {"codes": "fer2013"},
            r"with --codes fer2013, the labels are 1 to 7 and not 0 a",
        ),
        (
            numbered(0, 6),
            {"codes": "rafdb"},
            r"with --codes rafdb, the labels are 0 to 6 and not 1",
        ),
        (
            numbered(1, 3),
            {"codes": "sad,fear,happy"},
            r"labels are 1 to 3 and not 0 sadness, .* counted from another number, .* -,neutral,happy,sad$",
        ),
        (["path,label", "a,fear"], {"root": "absent"}, r"root absent: no such folder; give the folder that the paths"),
        (["path,label", "a,fear"], {"dataset": "a/b"}, r"'a/b': use letters, digits"),
    ],
)
def test_a_csv_that_is_not_understood_is_one_clear_line(
    tmp_path: Path, rows: list[str], options: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        table(tmp_path, *rows, **options)
    assert "\n" not in str(error.value)


def test_a_csv_that_is_a_folder_or_absent_is_one_clear_line(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", b"")
    with pytest.raises(
        InputError, match=r"a folder without metadata\.csv, .* give the csv file itself; found: t\.csv$"
    ):
        open_source("csv", str(tmp_path))
    with pytest.raises(InputError, match=r"absent\.csv: no such file$"):
        open_source("csv", str(tmp_path / "absent.csv"))


def test_a_csv_becomes_shards_with_its_columns_in_the_json(tmp_path: Path) -> None:
    release = words_and_splits(tmp_path / "raw")
    manifests = build_shards(opened(release), tmp_path / "out", BuildOptions(workers=1))
    assert {manifest.split: manifest.samples for manifest in manifests} == {"train": 16, "val": 16, "test": 16}
    with tarfile.open(tmp_path / "out" / "val" / "labels-val-000000.tar") as tar:
        facts = json.load(tar.extractfile("faces/val_5_1.json"))
    assert facts == {
        "id": "faces/val_5_1.png",
        "code": "joy",
        "emotion": "happiness",
        "dataset": "labels",
        "subject": "s5",
        "box": [4, 5, 30, 31],
        "room": 1,
    }


def test_a_column_without_a_name_is_none_that_a_user_did_not_name(tmp_path: Path) -> None:
    # As pandas writes its index, and Excel the columns that somebody emptied.
    source = table(tmp_path, ",image,emotion,,subject,key,split,", "0,a.jpg,fear,x,,,test,7", "1,b.jpg,joy,y,,,val,")
    assert {sample.key: (sample.emotion, sample.split) for sample in samples_of(source)} == {
        "a": ("fear", "test"),
        "b": ("happiness", "val"),
    }
    coded = table(
        tmp_path, ",image,label,split", "5,a.jpg,3,train", "4,b.jpg,0,train", codes="fer2013", split_column="split"
    )
    assert {sample.key: sample.emotion for sample in samples_of(coded)} == {"a": "happiness", "b": "anger"}


def test_a_column_that_the_user_names_is_found_by_its_very_name_first(tmp_path: Path) -> None:
    rows = ("image,Felt It,felt it,label", "a.jpg,fear,joy,sad")
    assert only(table(tmp_path, *rows, emotion_column="felt it")).emotion == "happiness"
    assert only(table(tmp_path, "image,Felt-It,label", "a.jpg,fear,sad", emotion_column="felt_it")).emotion == "fear"


@pytest.mark.parametrize(
    "content",
    [
        b"sep=;\nimage;emotion\na.jpg;fear\n",
        b"\xef\xbb\xbfSEP=|\r\nimage|emotion\r\na.jpg|fear\r\n",
        b"image|emotion\na.jpg|fear\n",
        "image\temotion\na.jpg\tfear\n".encode("utf-16"),
        b"\xfe\xff" + "image;emotion\r\na.jpg;fear\r\n".encode("utf-16-be"),
    ],
)
def test_a_table_is_read_as_excel_writes_it(tmp_path: Path, content: bytes) -> None:
    source = open_source("csv", str(write(tmp_path / "t.csv", content)))
    assert not left_out_of(source)
    sample = only(source)
    assert (sample.key, sample.emotion, sample.facts) == ("a", "fear", {"id": "a.jpg", "code": "fear"})


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"PK\3\4", "an archive or an Excel file"), (b"\xd0\xcf\x11\xe0", "an Excel file"), (b"PAR1", "a parquet file")],
)
def test_a_file_that_is_no_csv_is_called_what_it_is(tmp_path: Path, content: bytes, kind: str) -> None:
    with pytest.raises(InputError, match=rf"t\.csv: {kind}; unpack it, or save the table in it as a csv"):
        open_source("csv", str(write(tmp_path / "t.csv", content + bytes(100))))
    with pytest.raises(InputError, match=f"t.csv: {kind}; unpack it"):
        open_source("fer2013", str(tmp_path / "t.csv"))


def test_codes_that_hardly_fit_are_told(tmp_path: Path) -> None:
    rows = ["image,label", *(f"{n}.jpg,{n % 4}" for n in range(8)), "x.jpg,happy"]
    source = table(tmp_path, *rows, codes="ferplus")
    (remark,) = source.remarks
    assert remark.endswith(
        "nothing has the labels 4 anger, 5 disgust, 6 fear, 7 contempt of --codes ferplus, and rows with happy are "
        "left out: is it the right table?"
    )
    assert not table(tmp_path, "image,label", "a.jpg,0", "b.jpg,1", "c.jpg,9", codes="sad,happy").remarks
    (remark,) = table(tmp_path, "image,label", "a.jpg,0", "b.jpg,", codes="sad,happy").remarks
    assert "and rows with no label are left out" in remark


def test_without_a_column_of_splits_folders_of_the_paths_or_the_files_name_say_it(tmp_path: Path) -> None:
    rows = [
        "image,label",
        "data/train/a.jpg,fear",
        "data/Test/b.jpg,fear",
        "data/valid/x/c.jpg,fear",
        "d/test.jpg,fear",
    ]
    source = table(tmp_path, *rows)
    assert {sample.key: sample.split for sample in samples_of(source)} == {
        "data/train/a": "train",
        "data/Test/b": "test",
        "data/valid/x/c": "val",
        "d/test": "train",
    }
    assert source.variant.endswith("no column of splits, folders of the paths say it")
    (remark,) = source.remarks
    assert (
        "rows whose paths lie in a folder that means one (test, train, val) are of that split, all others train"
        in remark
    )
    source = open_source("csv", str(write(tmp_path / "test_set.csv", b"image,label\na.jpg,fear\n")))
    assert (only(source).split, source.variant[-21:]) == ("test", "/test_set.csv as test")
    source = table(tmp_path, "image,label,split", "test/a.jpg,fear,val")
    assert (only(source).split, source.remarks) == ("val", ())


def test_a_hubs_folder_with_its_table_is_read_with_one_split_or_all(tmp_path: Path) -> None:
    rows = b"file_name,label\n1.jpg,happy\nsub/2.jpg,sad\n"
    write(tmp_path / "faces" / "metadata.csv", rows)
    source = open_source("csv", str(tmp_path / "faces"))
    assert {(sample.split, sample.key, sample.emotion) for sample in samples_of(source)} == {
        ("train", "1", "happiness"),
        ("train", "sub/2", "sadness"),
    }
    assert source.dataset == "faces"
    assert {sample.path for sample in samples_of(source)} == {f"{tmp_path}/faces/1.jpg", f"{tmp_path}/faces/sub/2.jpg"}
    for name in ("train", "validation", "test"):
        write(tmp_path / "split" / name / "metadata.csv", rows)
    write(tmp_path / "split" / "more" / "3.jpg", b"")
    source = open_source("csv", str(tmp_path / "split"))
    assert len(samples_of(source)) == 6
    assert {sample.split for sample in samples_of(source)} == {"train", "val", "test"}
    assert source.variant.endswith(
        "test/metadata.csv as test, train/metadata.csv as train, validation/metadata.csv as val"
    )
    (remark,) = source.remarks
    assert remark.startswith(f"{tmp_path}/split/more: not read")
    assert {sample.split for sample in samples_of(open_source("csv", str(tmp_path / "split" / "test")))} == {"test"}
    write(tmp_path / "coded" / "metadata.csv", b"file_name,label\n1.jpg,0\n")
    with pytest.raises(InputError, match=r"the labels are numbers \(0\), and each dataset orders them"):
        open_source("csv", str(tmp_path / "coded"))


def test_a_path_of_another_machine_is_named_and_mixed_separators_are_understood(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "c.jpg", b"")
    assert only(table(tmp_path, "path,label", "a\\b/c.jpg,fear")).key == "a/b/c"
    for path in ("C:\\data\\c.jpg", "D:/data/c.jpg", "/home/somebody/c.jpg"):
        assert left_out_of(table(tmp_path, "path,label", f"{path},fear")) == {("train", path, "path leaves the root")}
    odd = write(tmp_path / "a" / "odd\\name.jpg", b"")
    assert only(table(tmp_path, "path,label", "a/odd\\name.jpg,fear")).path == str(odd)


def test_letters_with_marks_are_found_whether_they_are_one_sign_or_two(tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "Müller/bär.jpg") for form in ("NFC", "NFD")]
    for on_disk, in_table in (forms, forms[::-1]):
        write(tmp_path / str(len(on_disk)) / on_disk, b"")
        source = table(tmp_path / str(len(on_disk)), "path,label", f"{in_table},fear")
        assert Path(only(source).path).is_file()


def test_a_table_that_is_not_utf8_is_told_and_read_as_windows_writes_it(tmp_path: Path) -> None:
    western = write(tmp_path / "Müller" / "bär.jpg", b"")
    bytewise = write(tmp_path / os.fsdecode(b"\xe4.jpg"), b"")
    rows = "path,label\nMüller\\bär.jpg,fear\nä.jpg,joy\n".encode("cp1252")
    source = open_source("csv", str(write(tmp_path / "t.csv", rows)))
    assert [sample.path for sample in samples_of(source)] == [str(western), str(bytewise)]
    (remark,) = source.remarks
    assert remark.startswith(f"{tmp_path}/t.csv: not in UTF-8: ")
    assert remark.endswith("where such images are not found, save the table as UTF-8")
    assert not table(tmp_path, "path,label", "Müller/bär.jpg,fear").remarks
    korean = open_source("csv", str(write(tmp_path / "k.csv", "path,label\n얼굴.jpg,fear\n".encode("euc-kr"))))
    assert len(samples_of(korean)) == len(korean.remarks) == 1


def test_rows_of_one_image_are_one_sample_and_images_of_one_stem_are_two(tmp_path: Path) -> None:
    for number, name in enumerate(("a.jpg", "a.png", "b.jpg", "c.jpg")):
        write(tmp_path / name, encoded(number, "PNG" if name.endswith("png") else "JPEG"))
    rows = ["path,label", "a.jpg,fear", "./a.jpg,fear", "a.png,joy", "b.jpg,fear", "b.jpg,joy", "c.jpg,sad"]
    (train,) = build_shards(table(tmp_path, *rows), tmp_path / "out", BuildOptions(workers=1))
    assert train.left_out == {"key comes twice": 1, "key comes twice, with other labels": 2}
    assert {name: count for name, count in train.counts.items() if count} == {"fear": 1, "happiness": 1, "sadness": 1}
