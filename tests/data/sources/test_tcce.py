"""TCCE, read into samples."""

import io
import pickle
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from support.faces import write
from support.releases.made import Maker, image_bytes, seen
from support.releases.tcce import HEADER, MAKERS, performed_seven, performed_six, rated, table_row, write_xls

from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.sources.source import LeftOut, Sample, Source, open_source
from fer_dist.errors import InputError
from fer_dist.storage.untrusted import MOST_LINE_LENGTH


def samples_of(source: Source) -> dict[str, Sample]:
    return {sample.key: sample for sample in source.samples() if isinstance(sample, Sample)}


def left_out_of(source: Source) -> set[tuple[str, str, str]]:
    return {(entry.split, entry.name, entry.reason) for entry in source.samples() if isinstance(entry, LeftOut)}


def faces(root: Path, *names: str) -> Path:
    for name in names:
        write(root / name, image_bytes("fear", 1))
    return root


@pytest.mark.parametrize("make", MAKERS)
def test_each_layout_gives_every_image_its_label_and_names_what_it_leaves_out(tmp_path: Path, make: Maker) -> None:
    release = make(tmp_path)
    source = pickle.loads(pickle.dumps(open_source(release.source, str(release.raw), **release.options)))
    found = {}
    for sample in samples_of(source).values():
        found[sample.facts["id"]] = sample.emotion
        assert seen(Image.open(io.BytesIO(source.read(sample).content))) == sample.emotion
    assert {"test": found} == release.truth
    assert left_out_of(source) == release.left_out
    assert set(found.values()) == set(source.emotions)


def test_a_name_says_performer_view_and_performance(tmp_path: Path) -> None:
    faces(tmp_path, "0211b07.jpg", "0222C01.TIF", "1233g03.jpg", "3001a02.jpg")
    found = samples_of(open_source("tcce", str(tmp_path), emotions="seven"))
    names = ("subject", "view", "performance", "performed", "code")
    assert {key: tuple(sample.facts[name] for name in names) for key, sample in found.items()} == {
        "0211b07": ("02", "front", "theatric", "happiness", "b"),
        "0222c01": ("02", "three_quarter", "FACS", "sadness", "C"),
        "1233g03": ("12", "profile", "personal event", "surprise", "g"),
        "3001a02": ("30", "front", "neutral", "neutrality", "a"),
    }


def test_the_digit_0_is_read_as_the_letter_a_and_the_sample_says_so(tmp_path: Path) -> None:
    found = samples_of(open_source("tcce", str(performed_seven(tmp_path).raw), emotions="seven"))
    mended = {key: (sample.mended, sample.facts["code"]) for key, sample in found.items() if sample.mended}
    assert mended == {"1201003": ("digit 0 in the name read as the letter a", "0")}


def test_what_was_performed_and_what_was_rated_both_travel(tmp_path: Path) -> None:
    release = rated(tmp_path)
    by_viewers = samples_of(open_source("tcce", str(tmp_path), **release.options))
    by_performers = samples_of(open_source("tcce", str(tmp_path), label="performed"))
    assert by_viewers["0111b02"].facts["code"] == "3"
    for key in by_viewers.keys() & by_performers.keys():
        one, other = by_viewers[key], by_performers[key]
        assert (one.emotion, other.emotion) == (one.facts["rated"], one.facts["performed"])
        assert one.facts | {"code": ""} == other.facts | {"code": ""}
    assert "rated" not in by_performers["1221b05"].facts


@pytest.mark.parametrize(("view", "digit"), [("front", "1"), ("three_quarter", "2"), ("profile", "3")])
def test_one_view_can_be_taken_alone(tmp_path: Path, view: str, digit: str) -> None:
    performed_six(tmp_path)
    every, one = (open_source("tcce", str(tmp_path), views=views) for views in ("all", view))
    assert samples_of(one) == {key: sample for key, sample in samples_of(every).items() if key[3] == digit}
    assert f"another view than {view}" in {reason for _, _, reason in left_out_of(one)}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_table_may_be_written_as_excel_writes_it_in_any_country(tmp_path: Path, separator: str) -> None:
    faces(tmp_path, "0111b02.jpg", "0111c03.jpg")
    rows = [["Extra", "", ""], ["maxIntCategory", "", "File_Name"], ["1.0", "", '"0111B02.tif"'], ["6"]]
    write(tmp_path / "Image_Info.CSV", ("\ufeff" + "\r\n".join(map(separator.join, rows))).encode())
    source = open_source("tcce", str(tmp_path), label="rated")
    assert {key: sample.emotion for key, sample in samples_of(source).items()} == {"0111b02": "happiness"}


def test_the_same_image_in_two_formats_comes_into_the_shards_once(tmp_path: Path) -> None:
    faces(tmp_path / "raw", "faces/0111b02.tif", "faces_256x256/0111b02.jpg", "faces_256x256/0111c03.jpg")
    (test,) = build_shards(open_source("tcce", str(tmp_path / "raw")), tmp_path / "out", BuildOptions(workers=1))
    assert (test.split, test.samples, test.left_out) == ("test", 2, {"another image has this name": 1})


def test_shards_count_what_was_mended(tmp_path: Path) -> None:
    source = open_source("tcce", str(performed_seven(tmp_path / "raw").raw), emotions="seven")
    (test,) = build_shards(source, tmp_path / "out", BuildOptions(workers=1))
    assert test.built["mended"] == {"digit 0 in the name read as the letter a": 1}
    assert set(test.counts.values()) == {4, 5}


def test_what_is_not_understood_is_one_clear_line(tmp_path: Path) -> None:
    write(tmp_path / "0111b02.txt", b"")
    with pytest.raises(InputError, match=r"no TCCE here; looked for .* 1201a02\.jpg; found: 0111b02\.txt$"):
        open_source("tcce", str(tmp_path))
    faces(tmp_path, "0111b02.jpg")
    with pytest.raises(InputError, match=r"--label rated needs Image_info\.xls, .* found: 0111b02\.jpg, 0111b02\.txt$"):
        open_source("tcce", str(tmp_path), label="rated")
    write(tmp_path / "Image_info.csv", b"a,b\nc,d\n1,2\n")
    with pytest.raises(InputError, match=r"csv: not TCCE's table; .* file_name and maxIntCategory; found: a, b$"):
        open_source("tcce", str(tmp_path))
    write(tmp_path / "Image_info.csv", b"file_name,maxIntCategory\n" + b"x" * (MOST_LINE_LENGTH + 1))
    with pytest.raises(InputError, match=r"csv: a line of more than 1,048,576 letters, so no table; give the list as"):
        open_source("tcce", str(tmp_path))


def test_a_table_that_cannot_be_read_is_one_clear_line_whatever_its_bytes_do_to_the_reader(tmp_path: Path) -> None:
    faces(tmp_path, "0111b02.jpg")
    table = tmp_path / "table" / "Image_info.xls"
    write_xls(table, HEADER)
    whole = table.read_bytes()
    # The last has a cell in row and column 65,535, which asks for 471 GB and ends the process that reads it.
    cell = whole.index(b"\xfd\0\x0a\0") + 4
    for content in (b"", whole[:3000], whole[:cell] + b"\xff\xff\xff\xff" + whole[cell + 4 :]):
        write(table, content)
        with pytest.raises(
            InputError, match=r"Image_info\.xls: cannot be read as an Excel file; .* Image_info\.csv from"
        ):
            open_source("tcce", str(tmp_path))


def test_with_the_table_at_hand_the_label_is_the_studys_and_the_choice_is_told(tmp_path: Path) -> None:
    release = rated(tmp_path / "with")
    source = open_source("tcce", str(release.raw))
    (remark,) = source.remarks
    assert remark.endswith("labels are what viewers rated, as in the study; --label performed takes what was performed")
    assert source.variant == "labels are what was rated, with Image_info.xls"
    assert samples_of(source) == samples_of(open_source("tcce", str(release.raw), label="rated"))
    release = performed_six(tmp_path / "without")
    source = open_source("tcce", str(release.raw))
    (remark,) = source.remarks
    assert "no Image_info.xls here, so that labels are what was performed" in remark
    assert source.variant == "labels are what was performed, without Image_info.xls"
    assert not open_source("tcce", str(release.raw), label="performed").remarks


def test_neutral_faces_stay_neutral_among_seven_although_viewers_had_no_such_answer(tmp_path: Path) -> None:
    release = rated(tmp_path)
    six, seven = (samples_of(open_source("tcce", str(release.raw), emotions=name)) for name in ("six", "seven"))
    more = {key: sample for key, sample in seven.items() if key not in six}
    assert {sample.emotion for sample in more.values()} == {"neutrality"}
    assert {key[4] for key in more} == {"a", "0"}
    assert all(sample.facts["rated"] != "neutrality" for sample in more.values())


def test_the_table_is_read_as_excel_writes_it_today_too(tmp_path: Path) -> None:
    faces(tmp_path, "0111b02.jpg")
    rows = [*HEADER, table_row("0111B02", 6)]
    cells = ["".join(f'<c t="inlineStr"><is><t>{value}</t></is></c>' for value in row) for row in rows]
    xml = "".join(f"<row>{row}</row>" for row in cells)
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    links = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    with zipfile.ZipFile(tmp_path / "image_info.XLSX", "w") as file:
        types = "http://schemas.openxmlformats.org/package/2006/content-types"
        file.writestr(
            "[Content_Types].xml", f'<Types xmlns="{types}"><Default Extension="xml" ContentType="a/b"/></Types>'
        )
        file.writestr(
            "_rels/.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="r1" Type="{links}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        file.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{links}">'
            '<sheets><sheet name="a" sheetId="1" r:id="r1"/></sheets></workbook>',
        )
        file.writestr(
            "xl/_rels/workbook.xml.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="r1" Type="{links}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        )
        file.writestr("xl/worksheets/sheet1.xml", f'<worksheet xmlns="{main}"><sheetData>{xml}</sheetData></worksheet>')
    found = samples_of(open_source("tcce", str(tmp_path)))
    assert {key: sample.emotion for key, sample in found.items()} == {"0111b02": "surprise"}


def test_the_tables_own_format_counts_before_what_somebody_saved_of_it(tmp_path: Path) -> None:
    faces(tmp_path, "0111b02.jpg")
    write(tmp_path / "Image_info.csv", b"file_name,maxIntCategory\n0111b02.tif,2\n")
    write_xls(tmp_path / "more" / "Image_info.xls", [*HEADER, table_row("0111b02", 4)])
    (sample,) = samples_of(open_source("tcce", str(tmp_path))).values()
    assert sample.emotion == "disgust"
