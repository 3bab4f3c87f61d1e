"""FER2013 and any folder, read into samples."""

import io
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.faces import encoded, face, fer2013_folders, fer2013_table, folder_release, write
from support.releases.made import Release, seen

from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.emotions import CODES
from fer_dist.data.faces.fit import FaceFlags, fitted
from fer_dist.data.shards.manifest import key_of
from fer_dist.data.sources.reading import clean_key, read_whole
from fer_dist.data.sources.source import LeftOut, Sample, Source, open_source
from fer_dist.errors import InputError


def samples_of(source: Source) -> list[Sample]:
    return [entry for entry in source.samples() if isinstance(entry, Sample)]


def left_out_of(source: Source) -> set[tuple[str, str, str]]:
    return {(entry.split, entry.name, entry.reason) for entry in source.samples() if isinstance(entry, LeftOut)}


def samples_as_released(name: str, release: Release) -> list[Sample]:
    """The samples of a made release, once they, their images and what is left out are seen to be what it holds."""
    source = open_source(name, str(release.raw), **release.options)
    samples = samples_of(source)
    found: dict[str, dict[str, str]] = {split: {} for split in release.truth}
    for sample in samples:
        found[sample.split][sample.facts["id"]] = sample.emotion
        assert seen(Image.open(io.BytesIO(source.read(sample).content))) == sample.emotion
    assert found == release.truth
    assert left_out_of(source) == release.left_out
    assert len({sample.key for sample in samples}) == len(samples)
    return samples


def pixels_of(source: Source) -> dict[tuple[str, str], list[bytes]]:
    """By split and emotion, the decoded pixels of all images, in any order."""
    found: dict[tuple[str, str], list[bytes]] = {}
    for sample in samples_of(source):
        image = Image.open(io.BytesIO(source.read(sample).content))
        assert (image.mode, image.size) == ("L", (48, 48))
        found.setdefault((sample.split, sample.emotion), []).append(np.asarray(image).tobytes())
    return {key: sorted(images) for key, images in found.items()}


def test_both_variants_of_fer2013_give_the_same_pixels_splits_and_labels(tmp_path: Path) -> None:
    folders = fer2013_folders(tmp_path / "folders")
    table = fer2013_table(tmp_path / "table" / "fer2013.csv", folders)
    in_folders, in_table = open_source("fer2013", str(folders)), open_source("fer2013", str(table))
    assert pixels_of(in_folders) == pixels_of(in_table)
    assert sum(map(len, pixels_of(in_table).values())) == 35
    assert in_folders.variant != in_table.variant
    assert in_folders.emotions == in_table.emotions == tuple(CODES["fer2013"].values())


def test_the_csv_is_found_in_its_folder_and_in_a_folder_above(tmp_path: Path) -> None:
    fer2013_table(tmp_path / "fer2013" / "fer2013.csv", fer2013_folders(tmp_path / "folders", 7, 0, 0))
    for raw in (tmp_path, tmp_path / "fer2013", tmp_path / "fer2013" / "fer2013.csv"):
        assert len(samples_of(open_source("fer2013", str(raw)))) == 7


def test_columns_of_the_csv_may_stand_in_another_order_and_be_quoted(tmp_path: Path) -> None:
    pixels = " ".join(["7"] * 2304)
    table = write(tmp_path / "icml.csv", f'\ufeffemotion, Usage, pixels\r\n3,Training,"{pixels}"\r\n'.encode())
    source = open_source("fer2013", str(table))
    (sample,) = samples_of(source)
    assert (sample.emotion, sample.facts) == ("happiness", {"id": "0", "code": "3"})
    assert set(np.asarray(Image.open(io.BytesIO(source.read(sample).content))).ravel()) == {7}


def test_wrong_rows_of_the_csv_are_left_out_each_with_its_reason(tmp_path: Path) -> None:
    good = " ".join(["7"] * 2304)
    rows = [
        "emotion,pixels,Usage",
        f"3,{good},Training",
        f"9,{good},Training",
        f"3,{good} 8,PublicTest",
        f"3,{good},Mine",
        "3",
    ]
    source = open_source("fer2013", str(write(tmp_path / "fer2013.csv", "\n".join(rows).encode())))
    assert len(samples_of(source)) == 1
    assert left_out_of(source) == {
        ("train", "fer2013.csv row 1", "unknown code"),
        ("val", "fer2013.csv row 2", "wrong number of pixels"),
        ("", "fer2013.csv row 3", "unknown Usage"),
        ("", "fer2013.csv row 4", "columns are missing"),
    }


@pytest.mark.parametrize("value", ["256", "-1", "x", "7.5"])
def test_a_pixel_that_is_no_byte_is_a_value_error_for_the_reader(tmp_path: Path, value: str) -> None:
    row = " ".join([value] + ["7"] * 2303)
    source = open_source(
        "fer2013", str(write(tmp_path / "fer2013.csv", f"emotion,pixels,Usage\n0,{row},Training".encode()))
    )
    (sample,) = samples_of(source)
    with pytest.raises(ValueError, match=r"range\(0, 256\)|invalid literal"):
        source.read(sample)


def test_two_photographs_of_fer2013_with_the_same_file_name_have_different_keys(tmp_path: Path) -> None:
    # So in the release: Training_8475486.jpg is in angry and, another face, in surprise.
    for number, word in enumerate(("angry", "surprise")):
        write(tmp_path / "train" / word / "Training_8475486.jpg", encoded(number))
    assert len({sample.key for sample in samples_of(open_source("fer2013", str(tmp_path)))}) == 2


def test_strange_files_in_the_folders_of_fer2013_are_left_out(tmp_path: Path) -> None:
    fer2013_folders(tmp_path, 7, 7, 7)
    for name in ("train/angry/notes.txt", "train/angry/mine.jpg", "train/readme.txt"):
        write(tmp_path / name, b"?")
    assert left_out_of(open_source("fer2013", str(tmp_path))) == {
        ("", "train/angry/notes.txt", "not an image by its extension"),
        ("", "train/angry/mine.jpg", "unknown Usage"),
        ("", "train/readme.txt", "not in a class folder"),
    }


@pytest.mark.parametrize("place", ["icml_face_data.csv", "fer2013/icml_face_data.csv"])
def test_the_table_as_kaggles_page_names_it_is_read(tmp_path: Path, place: str) -> None:
    pixels = " ".join(["7"] * 2304)
    rows = [f"{code}, {usage},{pixels}" for code, usage in ((3, "Training"), (6, "PrivateTest"))]
    write(tmp_path / place, "\n".join(["emotion, Usage, pixels", *rows]).encode())
    write(tmp_path / "example_submission.csv", b"emotion\n0\n")
    found = {(sample.split, sample.emotion) for sample in samples_of(open_source("fer2013", str(tmp_path)))}
    assert found == {("train", "happiness"), ("test", "neutrality")}


def test_a_table_that_counts_from_1_or_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    rows = [f"{code},7 7,Training" for code in range(1, 8)]
    table = write(tmp_path / "fer2013.csv", "\n".join(["emotion,pixels,Usage", *rows]).encode())
    with pytest.raises(InputError, match=r"the labels are 1 to 7 and not 0 anger, 1 disgust, .*; give the csv"):
        open_source("fer2013", str(table))
    write(table, b"emotion,pixels,Usage,emotion\n0,7 7,Training,1\n")
    with pytest.raises(InputError, match=r"emotion, pixels, Usage, each once; found: emotion,pixels,Usage,emotion"):
        open_source("fer2013", str(table))


def test_a_val_folder_of_fer2013_is_val_whatever_its_names_say(tmp_path: Path) -> None:
    for name in ("train/sad/Training_1.jpg", "val/sad/Training_2.jpg", "val/sad/PublicTest_3.jpg"):
        write(tmp_path / name, encoded(1))
    told = {
        sample.facts["id"]: (sample.split, sample.mended)
        for sample in samples_of(open_source("fer2013", str(tmp_path)))
    }
    assert told == {
        "train/sad/Training_1.jpg": ("train", ""),
        "val/sad/Training_2.jpg": ("val", "its folder says val, its name train: val is taken"),
        "val/sad/PublicTest_3.jpg": ("val", ""),
    }


def test_copies_of_fer2013_whose_names_say_no_usage_are_split_by_their_folders(tmp_path: Path) -> None:
    for name in ("train/sad/im1.png", "test/sad/im2.png"):
        write(tmp_path / name, encoded(1))
    source = open_source("fer2013", str(tmp_path))
    assert {sample.facts["id"]: sample.split for sample in samples_of(source)} == {
        "train/sad/im1.png": "train",
        "test/sad/im2.png": "test",
    }
    (remark,) = source.remarks
    assert "test may hold PublicTest and PrivateTest together" in remark
    write(tmp_path / "PublicTest" / "sad" / "im3.png", encoded(1))
    source = open_source("fer2013", str(tmp_path))
    assert {sample.split for sample in samples_of(source)} == {"train", "val", "test"}
    assert not source.remarks


def test_errors_of_fer2013_name_what_was_looked_for_and_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent: no such file or folder"):
        open_source("fer2013", str(tmp_path / "absent"))
    for i in range(10):
        write(tmp_path / f"{i}.txt", b"")
    expected = (
        r"looked for fer2013\.csv or icml_face_data\.csv, or train/<class>/.* and .*; found: 0\.txt, .* and 2 more$"
    )
    with pytest.raises(InputError, match=expected):
        open_source("fer2013", str(tmp_path))
    with pytest.raises(InputError, match=r"first line should name emotion, pixels, Usage, each once; found: a,b"):
        open_source("fer2013", str(write(tmp_path / "other.csv", b"a,b\n")))
    write(tmp_path / "train" / "contempt" / "Training_1.jpg", b"")
    with pytest.raises(
        InputError, match=r"train/contempt: not a class of FER2013; its class folders are angry, disgust"
    ):
        open_source("fer2013", str(tmp_path))


def test_class_words_and_split_words_in_the_wild_are_understood(tmp_path: Path) -> None:
    for name in ("Training/Joy/a.jpg", "validation/afraid/deep/er/b.PNG", "testing/Neutral/c.jpeg"):
        write(tmp_path / name, encoded(1))
    source = open_source("folder", str(tmp_path), dataset="mine")
    assert {(sample.split, sample.emotion, sample.key) for sample in samples_of(source)} == {
        ("train", "happiness", "Joy/a"),
        ("val", "fear", "afraid/deep/er/b"),
        ("test", "neutrality", "Neutral/c"),
    }
    assert (source.dataset, source.emotions) == ("mine", ("fear", "happiness", "neutrality"))


def test_class_folders_without_split_folders_are_train(tmp_path: Path) -> None:
    for name in ("happy/a.jpg", "sad/a.jpg"):
        write(tmp_path / "My Faces (2)" / name, encoded(1))
    source = open_source("folder", str(tmp_path / "My Faces (2)"))
    assert {(sample.split, sample.emotion) for sample in samples_of(source)} == {
        ("train", "happiness"),
        ("train", "sadness"),
    }
    assert source.dataset == "my-faces-2"


def test_numbers_as_class_folders_are_read_by_the_codes_that_the_user_names(tmp_path: Path) -> None:
    for digit in "1234567":
        write(tmp_path / "train" / digit / f"train_{digit}.jpg", encoded(1))
    source = open_source("folder", str(tmp_path), codes="rafdb")
    assert {sample.facts["code"]: sample.emotion for sample in samples_of(source)} == CODES["rafdb"]
    assert source.emotions == tuple(CODES["rafdb"].values())
    assert not source.remarks
    assert source.variant.endswith(
        "classes are codes: 1 surprise, 2 fear, 3 disgust, 4 happiness, 5 sadness, 6 anger, 7 neutrality"
    )
    source = open_source("folder", str(tmp_path), codes="-,sad,happy,-,fear,anger,neutral,-")
    assert {sample.facts["code"]: sample.emotion for sample in samples_of(source)} == {
        "1": "sadness",
        "2": "happiness",
        "4": "fear",
        "5": "anger",
        "6": "neutrality",
    }
    assert {(name, reason) for _, name, reason in left_out_of(source)} == {
        (f"train/{digit}/train_{digit}.jpg", "a code that --codes leaves out") for digit in "37"
    }
    with pytest.raises(
        InputError, match=r"train/3: the class '3' is not among --codes -,sad,happy: 0 left out, 1 sadn"
    ):
        open_source("folder", str(tmp_path), codes="-,sad,happy")


def test_a_folder_in_a_class_folder_that_contradicts_it_gives_no_labels(tmp_path: Path) -> None:
    for name in ("happy/a.jpg", "happy/deep/b.jpg", "happy/happiness/c.jpg", "happy/sad/d.jpg", "happy/test/x/e.jpg"):
        write(tmp_path / name, encoded(1))
    source = open_source("folder", str(tmp_path))
    assert {sample.key for sample in samples_of(source)} == {"happy/a", "happy/deep/b", "happy/happiness/c"}
    assert left_out_of(source) == {
        ("train", "happy/sad/d.jpg", "in a folder in its class folder that means another emotion"),
        ("train", "happy/test/x/e.jpg", "in a folder in its class folder that means another split"),
    }


@pytest.mark.parametrize("name", ["{split}/{label}", "{label}/{split}"])
def test_a_split_without_an_image_is_told(tmp_path: Path, name: str) -> None:
    for label in ("happy", "sad"):
        write(tmp_path / name.format(split="train", label=label) / "a.jpg", encoded(1))
        write(tmp_path / name.format(split="val", label=label) / "a.txt", b"")
    first = tmp_path / name.format(split="val", label="happy")
    (remark,) = open_source("folder", str(tmp_path)).remarks
    assert remark == f"{first}: no image in it or in another class folder of val: there will be no val"
    write(first / "deep" / "b.jpg", encoded(1))
    assert not open_source("folder", str(tmp_path)).remarks


@pytest.mark.parametrize("codes", ["", "sad,happy"])
def test_splits_inside_the_class_folders_are_read_as_those_around_them(tmp_path: Path, codes: str) -> None:
    sad, happy = ("0", "1") if codes else ("Sad", "happy")
    names = [f"{label}/{split}/a.jpg" for label in (sad, happy) for split in ("Train", "test")] + [
        f"{sad}/valid/x/b.jpg"
    ]
    for name in (*names, f"{happy}/stray.jpg", f"{happy}/test/train/c.jpg"):
        write(tmp_path / name, encoded(1))
    source = open_source("folder", str(tmp_path), codes=codes)
    assert {(sample.split, sample.key, sample.emotion, sample.facts["code"]) for sample in samples_of(source)} == {
        ("train", f"{sad}/Train/a", "sadness", sad),
        ("test", f"{sad}/test/a", "sadness", sad),
        ("val", f"{sad}/valid/x/b", "sadness", sad),
        ("train", f"{happy}/Train/a", "happiness", happy),
        ("test", f"{happy}/test/a", "happiness", happy),
    }
    assert left_out_of(source) == {
        ("", f"{happy}/stray.jpg", "beside the split folders of its class folder"),
        ("test", f"{happy}/test/train/c.jpg", "in a folder in its class folder that means another split"),
    }
    assert source.variant.startswith("folders <class>/<split>; ")
    assert not source.remarks


@pytest.mark.parametrize("place", ["happy", "train/happy", "3"])
def test_a_folder_around_the_one_that_is_meant_is_answered_with_that_one(tmp_path: Path, place: str) -> None:
    for around in ("archive", "archive/images"):
        root = tmp_path / around.replace("/", "-")
        write(root / around / place / "a.jpg", encoded(1))
        with pytest.raises(
            InputError, match=rf"its folders name no split and no class; did you mean {root}/{around}\?$"
        ):
            open_source("folder", str(root))


def test_zeros_before_a_number_change_nothing(tmp_path: Path) -> None:
    for digit in "01234567":
        write(tmp_path / "train" / f"0{digit}" / "a.jpg", encoded(1))
    source = open_source("folder", str(tmp_path), codes="affectnet")
    found = samples_of(source)
    assert not source.remarks
    assert {sample.facts["code"][1]: sample.emotion for sample in found} == CODES["affectnet"]


@pytest.mark.parametrize("name", ["test", "val_set", "PublicTest"])
def test_class_folders_in_a_folder_that_is_called_as_a_split_are_that_split(tmp_path: Path, name: str) -> None:
    write(tmp_path / name / "happy" / "a.jpg", encoded(1))
    source = open_source("folder", str(tmp_path / name))
    split = "test" if name == "test" else "val"
    assert {sample.split for sample in samples_of(source)} == {split}
    assert f"<class>, all of it {split}" in source.variant


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "metadata.csv",
            r"metadata\.csv in place of class folders; build it with .*: fer-dist shards build csv .* OUT$",
        ),
        ("metadata.jsonl", r"; write it as metadata\.csv with the columns file_name and label and build it with"),
    ],
)
def test_images_beside_a_hubs_table_are_answered_with_the_command_that_reads_it(
    tmp_path: Path, table: str, message: str
) -> None:
    for place in ("", "train/"):
        root = tmp_path / f"one{len(place)}"
        write(root / f"{place}a.jpg", encoded(1))
        write(root / place / table, b"")
        with pytest.raises(InputError, match=message):
            open_source("folder", str(root))


def test_files_that_are_no_images_and_links_to_folders_are_left_out(tmp_path: Path) -> None:
    folder_release(tmp_path, 3)
    for name in ("labels.csv", "train/labels.csv", "train/happy/notes.txt"):
        write(tmp_path / name, b"")
    os.symlink(tmp_path, tmp_path / "train" / "happy" / "up")
    source = open_source("folder", str(tmp_path))
    assert len(samples_of(source)) == 3
    assert left_out_of(source) == {
        ("", "labels.csv", "not in a class folder"),
        ("train", "train/labels.csv", "not in a class folder"),
        ("train", "train/happy/notes.txt", "not an image by its extension"),
        ("train", "train/happy/up", "a link to a folder"),
    }


@pytest.mark.parametrize("source", ["folder", "affectnet", "kdef", "ckplus"])
def test_a_link_to_itself_stops_no_build(tmp_path: Path, source: str) -> None:
    names = {
        "folder": "train/happy/{}.jpg",
        "affectnet": "train_set/1/{}.jpg",
        "kdef": "AF01/{}.JPG",
        "ckplus": "CK+48/happy/{}.png",
    }
    stem = {"kdef": "AF01HAS", "ckplus": "S010_004_00000017"}.get(source, "a")
    path = write(tmp_path / names[source].format(stem), encoded(1))
    for folder in (path.parent, path.parent.parent):
        os.symlink("loop", folder / "loop")
    found = samples_of(open_source(source, str(tmp_path)))
    assert [sample.emotion for sample in found if sample.path == str(path)] == ["happiness"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["train/bored/a.jpg"],
            r"the class 'bored' names no emotion that we know; rename .* surprise, .* --emotions .* your own$",
        ),
        (
            ["train/0/a.jpg", "train/1/a.jpg"],
            r"train: the labels are numbers \(0, 1\), and each dataset orders them .* --codes: fer2013, rafdb,",
        ),
        (["val/happy/a.jpg", "valid/happy/a.jpg"], r"val and valid are both the split 'val'"),
        (["train/a.jpg"], r"train: no class folders; expected <split>/<class>/<image> .* found: a\.jpg"),
        (["a.txt"], r"no class folders; .* found: a\.txt"),
    ],
)
def test_a_folder_that_is_not_understood_is_one_clear_line(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        write(tmp_path / name, encoded(1))
    with pytest.raises(InputError, match=message) as error:
        open_source("folder", str(tmp_path))
    assert "\n" not in str(error.value)


def test_class_folders_of_ones_own_are_classes_in_the_order_that_is_given(tmp_path: Path) -> None:
    folder_release(tmp_path, 8, words=("pain", "WEAK", "0", "Happy"))
    source = open_source("folder", str(tmp_path), emotions="weak,0, in pain,pain,joy")
    assert source.emotions == ("weak", "0", "pain", "happiness")
    assert {Path(sample.path).parent.name: sample.emotion for sample in samples_of(source)} == {
        "pain": "pain", "WEAK": "weak", "0": "0", "Happy": "happiness",
    }  # fmt: skip
    write(tmp_path / "train" / "pain" / "weak" / "b.jpg", encoded(1))
    assert {
        reason for _, _, reason in left_out_of(open_source("folder", str(tmp_path), emotions="weak,0,pain,joy"))
    } == {"in a folder in its class folder that means another emotion"}
    with pytest.raises(InputError, match=r"the class 'Happy' is not among --emotions weak, 0; name it there too"):
        open_source("folder", str(tmp_path), emotions="weak,0")
    named = open_source("folder", str(folder_release(tmp_path / "n", 4, words=("0", "1"))), emotions="a,b", codes="b,a")
    assert {sample.facts["code"]: sample.emotion for sample in samples_of(named)} == {"0": "b", "1": "a"}
    with pytest.raises(InputError, match=r"--codes: 'c' is not among --emotions; use - or one of a, b$"):
        open_source("folder", str(tmp_path / "n"), emotions="a,b", codes="c,a")


def test_a_folder_that_is_absent_or_a_name_that_is_no_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent: no such folder"):
        open_source("folder", str(tmp_path / "absent"))
    with pytest.raises(InputError, match=r"'a/b': use letters, digits, - and _ only"):
        open_source("folder", str(folder_release(tmp_path, 3)), dataset="a/b")


@pytest.mark.parametrize(("form", "extension"), [("JPEG", "jpg"), ("PNG", "png")])
def test_jpeg_and_png_bytes_pass_unchanged_whatever_their_name_says(tmp_path: Path, form: str, extension: str) -> None:
    for name in ("a.jpg", "a.png", "a.bmp"):
        content = encoded(1, form)
        stored = read_whole(Sample("a", "train", "fear", str(write(tmp_path / name, content))))
        assert (stored.content, stored.extension, stored.original) == (content, extension, "")


@pytest.mark.parametrize(
    ("form", "mode"), [("BMP", "RGB"), ("TIFF", "L"), ("TIFF", "P"), ("WEBP", "RGB"), ("GIF", "L"), ("PPM", "RGB")]
)
def test_other_formats_become_png_with_the_same_pixels_and_keep_their_name(
    tmp_path: Path, form: str, mode: str
) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    path = tmp_path / f"face.{form.lower()}"
    face(1, mode=mode).save(path, **options)
    stored = read_whole(Sample("a", "train", "fear", str(path)))
    assert (stored.extension, stored.original) == ("png", path.name)
    with Image.open(path) as before:
        after = Image.open(io.BytesIO(stored.content))
        assert after.format == "PNG"
        assert np.array_equal(np.asarray(after.convert("RGB")), np.asarray(before.convert("RGB")))


RAMP = np.tile(np.linspace(0, 65535, 48).astype(np.uint16), (48, 1))


def tiff(values: np.ndarray, order: str, bits: int, kind: int = 1, photometric: int = 1) -> bytes:
    """A TIFF of one strip of grey, by its specification. order: < or >. kind: 1 unsigned, 2 signed, 3 floats."""
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    height, width = values.shape
    short = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 277: 1, 278: height, 339: kind}
    tags = {**{tag: (3, value) for tag, value in short.items()}, 273: (4, 8), 279: (4, len(data))}
    table = struct.pack(f"{order}H", len(tags))
    for tag, (form, value) in sorted(tags.items()):
        packed = struct.pack(f"{order}HH", value, 0) if form == 3 else struct.pack(f"{order}I", value)
        table += struct.pack(f"{order}HHI", tag, form, 1) + packed
    return {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8 + len(data)) + data + table + bytes(4)


def pgm(values: np.ndarray, largest: int) -> bytes:
    return b"P5\n48 48\n%d\n" % largest + values.astype(">u2").tobytes()


@pytest.mark.parametrize(
    ("name", "content", "near"),
    [
        ("little.tif", tiff(RAMP, "<", 16), 0),
        ("big.tif", tiff(RAMP, ">", 16), 0),
        ("white is zero.tif", tiff(65535 - RAMP, "<", 16, photometric=0), 0),
        ("deep.pgm", pgm(RAMP, 65535), 0),
        ("12 bits.pgm", pgm(RAMP >> 4, 4095), 16),
    ],
)
def test_grey_of_sixteen_bits_keeps_its_values_in_any_order_of_bytes(
    tmp_path: Path, name: str, content: bytes, near: int
) -> None:
    stored = read_whole(Sample("a", "train", "fear", str(write(tmp_path / name, content))))
    image = Image.open(io.BytesIO(stored.content))
    assert (image.format, image.mode, stored.original) == ("PNG", "I;16", name)
    assert np.abs(np.asarray(image).astype(int) - RAMP).max() <= near


@pytest.mark.parametrize(
    "content",
    [
        tiff(RAMP.astype(np.uint32) << 16, "<", 32),
        tiff(RAMP.astype(np.int32), ">", 32, kind=2),
        tiff((RAMP >> 1).astype(np.int16), "<", 16, kind=2),
        tiff(RAMP.astype(np.float32) / 65535, "<", 32, kind=3),
        tiff(RAMP.astype(np.float32), ">", 32, kind=3),
        b"Pf\n48 48\n-1.0\n" + (RAMP / 65535).astype("<f4").tobytes(),
    ],
)
def test_numbers_of_no_known_range_are_left_out_with_that_reason(tmp_path: Path, content: bytes) -> None:
    raw = folder_release(tmp_path / "raw", 3)
    write(raw / "train" / "sad" / "deep.tif", content)
    (train,) = build_shards(open_source("folder", str(raw)), tmp_path / "out", BuildOptions(workers=1))
    reason = "has floats, signed or 32-bit numbers, of no known range: save it with 8 or 16 bits"
    assert (train.samples, train.left_out) == (3, {reason: 1})


def test_deep_grey_is_made_upright_and_resized_by_its_upper_eight_bits(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.fromarray(RAMP[:24]).save(tmp_path / "a.tif", exif=tags)
    stored = read_whole(Sample("a", "train", "fear", str(tmp_path / "a.tif")))
    turned = np.asarray(Image.open(io.BytesIO(stored.content)))
    assert np.array_equal(turned, np.rot90(RAMP[:24], -1))
    small = Image.open(io.BytesIO(fitted(stored, FaceFlags(resize=24, quality=100)).content))
    assert abs(float(np.asarray(small).mean()) - 127) < 2


def test_a_turned_image_is_upright_after_its_change_into_png(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    face(1, mode="RGB").resize((20, 10)).save(tmp_path / "a.webp", exif=tags)
    stored = read_whole(Sample("a", "train", "fear", str(tmp_path / "a.webp")))
    assert Image.open(io.BytesIO(stored.content)).size == (10, 20)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # Pillow's words for a TIFF that is cut in its table of contents
@pytest.mark.parametrize("content", [b"", b"not an image", encoded(1, "BMP")[:200], encoded(1, "TIFF")[:60]])
def test_what_does_not_become_a_png_is_a_value_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match="does not"):
        read_whole(Sample("a", "train", "fear", str(write(tmp_path / "a.bmp", content))))


@given(st.lists(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1), min_size=1).map("/".join))
def test_a_key_is_short_plain_and_whole_for_every_reader(name: str) -> None:
    key = clean_key(name)
    assert re.fullmatch(r"[A-Za-z0-9_/%~-]{1,90}", key)
    assert key_of(f"{key}.jpg") == key
    assert not re.match(r"__[^/]*__($|/)", key), "webdataset skips such members"


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8"), min_size=1))
def test_different_names_have_different_keys(one: str, other: str) -> None:
    assert (clean_key(one) == clean_key(other)) == (one == other)


def test_file_names_that_are_not_utf8_become_keys_and_readable_ids(tmp_path: Path) -> None:
    write(tmp_path / "happy" / "plain.jpg", encoded(1))
    with open(os.fsencode(tmp_path / "happy") + b"/\xff.jpg", "wb") as stream:
        stream.write(encoded(1))
    source = open_source("folder", str(tmp_path))
    assert {(sample.key, sample.facts["id"]) for sample in samples_of(source)} == {
        ("happy/plain", "happy/plain.jpg"),
        ("happy/%FF", "happy/\ufffd.jpg"),
    }
    assert all(source.read(sample).content == encoded(1) for sample in samples_of(source))


def test_an_unknown_source_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown source 'fer2014'; did you mean fer2013\? There are: "):
        open_source("fer2014", "anywhere")
