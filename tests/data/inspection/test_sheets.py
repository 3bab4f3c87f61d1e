"""Contact sheets show each image in its place, whatever the images and their names are like."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.faces import encoded, face

from fer_dist.data.inspection.sheets import COLUMNS, GAP, MISSING, SIDE, Row, Tile, contact_sheet
from fer_dist.errors import InputError

Pixels = NDArray[np.uint8]


def tile(number: int, caption: str = "") -> Tile:
    """An image that fills its tile as it is."""
    return Tile(encoded(number, "PNG", SIDE, "RGB"), caption)


def pixels(content: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def drawn(rows: list[Row], path: Path, columns: int = COLUMNS) -> Pixels:
    contact_sheet(iter(rows), path, columns=columns)
    return pixels(path.read_bytes())


def place(sheet: Pixels, image: Pixels) -> tuple[int, int]:
    """Left and top of an image on a sheet that shows it once."""
    height, width = image.shape[:2]
    corners = np.argwhere((sheet == image[0, 0]).all(axis=2))
    found = [(x, y) for y, x in corners.tolist() if np.array_equal(sheet[y : y + height, x : x + width], image)]
    assert len(found) == 1
    return found[0]


def test_tiles_stand_from_left_to_right_and_go_on_below_and_each_row_below_the_one_before(tmp_path: Path) -> None:
    tiles = [tile(number) for number in range(6)]
    sheet = drawn([Row("first", tuple(tiles[:5])), Row("second", (tiles[5],))], tmp_path / "a.png", columns=3)
    lefts, tops = zip(*(place(sheet, pixels(one.content)) for one in tiles), strict=True)
    assert lefts == (GAP, 2 * GAP + SIDE, 3 * GAP + 2 * SIDE, GAP, 2 * GAP + SIDE, GAP)
    assert tops[0] == tops[1] == tops[2] < tops[3] - SIDE
    assert tops[3] == tops[4] < tops[5] - SIDE
    assert sheet.shape[1] == 3 * SIDE + 4 * GAP


def test_a_title_stands_at_the_left_above_its_tiles(tmp_path: Path) -> None:
    plain = drawn([Row("", (tile(0), tile(1)))], tmp_path / "plain.png")
    titled = drawn([Row("title", (tile(0), tile(1)))], tmp_path / "titled.png")
    rows, columns = np.nonzero((plain != titled).any(axis=2))
    assert rows.max() < place(titled, pixels(tile(0).content))[1]
    assert GAP <= columns.min() < GAP + 4


def test_a_caption_stands_below_its_tile_and_no_part_of_a_long_one_beside_it(tmp_path: Path) -> None:
    bare = drawn([Row("", (tile(0), tile(1, "\n"), tile(2)))], tmp_path / "bare.png")
    sheet = drawn([Row("", (tile(0), tile(1, "W" * 400 + "\nw"), tile(2)))], tmp_path / "named.png")
    rows, columns = np.nonzero((bare != sheet).any(axis=2))
    left, top = place(sheet, pixels(tile(1).content))
    assert left <= columns.min() < columns.max() < left + SIDE
    assert columns.max() - columns.min() > SIDE - 12
    assert rows.min() >= top + SIDE
    assert rows.max() - rows.min() > 15, "both lines are there"


def test_of_a_long_caption_the_end_stays_and_of_a_long_title_the_beginning(tmp_path: Path) -> None:
    def sheet(title: str, caption: str) -> Pixels:
        return drawn([Row(title, (tile(0, caption),))], tmp_path / "a.png", columns=1)

    assert np.array_equal(sheet("", "1" * 400 + "-end"), sheet("", "2" + "1" * 400 + "-end"))
    assert not np.array_equal(sheet("", "1" * 400 + "-end"), sheet("", "1" * 400 + "-and"))
    assert np.array_equal(sheet("start-" + "1" * 400, ""), sheet("start-" + "1" * 400 + "2", ""))
    assert sheet("start-" + "1" * 400, "").shape[1] == SIDE + 2 * GAP


def test_an_image_keeps_its_shape_is_as_large_as_fits_and_stands_in_the_middle(tmp_path: Path) -> None:
    red = io.BytesIO()
    Image.new("RGB", (200, 50), (255, 0, 0)).save(red, "PNG")
    sheet = drawn([Row("", (tile(0), Tile(red.getvalue(), "")))], tmp_path / "a.png")
    rows, columns = np.nonzero((sheet == (255, 0, 0)).all(axis=2))
    _, top = place(sheet, pixels(tile(0).content))
    assert (columns.min(), columns.max()) == (2 * GAP + SIDE, 2 * GAP + 2 * SIDE - 1)
    assert (rows.min() - top, rows.max() - top) == (36, 59)


def test_a_small_grey_image_is_enlarged(tmp_path: Path) -> None:
    sheet = drawn([Row("", (Tile(encoded(3, "PNG", SIDE // 2), ""),))], tmp_path / "a.png")
    expected = face(3, SIDE // 2).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    place(sheet, np.asarray(expected))


def test_a_turned_image_is_shown_upright(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    turned = io.BytesIO()
    face(1, SIDE, "RGB").save(turned, "PNG", exif=tags)
    sheet = drawn([Row("", (Tile(turned.getvalue(), ""),))], tmp_path / "a.png")
    place(sheet, np.rot90(np.asarray(face(1, SIDE, "RGB")), k=-1))


def test_of_sixteen_bits_the_upper_eight_are_shown(tmp_path: Path) -> None:
    grey = np.asarray(face(1, SIDE))
    deep = io.BytesIO()
    Image.fromarray(grey.astype(np.uint16) * 256 + 200).save(deep, "PNG")
    sheet = drawn([Row("", (Tile(deep.getvalue(), ""),))], tmp_path / "a.png")
    place(sheet, np.stack([grey] * 3, axis=2))


BROKEN = {"empty": b"", "text": b"not an image", "cut jpeg": encoded(1)[:-100], "cut png": encoded(1, "PNG")[:60]}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_an_image_that_does_not_decode_gets_a_grey_tile_with_words_on_it(tmp_path: Path, content: bytes) -> None:
    sheet = drawn([Row("", (tile(0), Tile(content, ""), tile(1)))], tmp_path / "a.png")
    left, top = place(sheet, pixels(tile(0).content))
    missing = sheet[top : top + SIDE, left + SIDE + GAP : left + 2 * SIDE + GAP]
    is_grey = (missing == [int(MISSING[i : i + 2], 16) for i in (1, 3, 5)]).all(axis=2)
    assert is_grey[[0, -1]].all()
    assert 0.7 < is_grey.mean() < 0.97
    assert place(sheet, pixels(tile(1).content)) == (left + 2 * (SIDE + GAP), top)


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG"])
def test_the_extension_makes_it_a_jpeg(tmp_path: Path, name: str) -> None:
    contact_sheet([Row("title", (tile(0),))], tmp_path / name)
    with Image.open(tmp_path / name) as sheet:
        assert sheet.format == "JPEG"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_sheet_without_rows_says_so(tmp_path: Path) -> None:
    sheet = drawn([], tmp_path / "a.png")
    assert (sheet < 100).any()


def test_a_sheet_that_cannot_be_written_is_one_line_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken.png").mkdir()
    rows = [Row("", (tile(0),))]
    with pytest.raises(InputError, match=r"a\.gif: a sheet is an image; give it one of .* \.png, \.jpg, \.jpeg"):
        contact_sheet(rows, tmp_path / "a.gif")
    with pytest.raises(InputError, match=r"absent/a\.png: no folder .*absent for the sheet"):
        contact_sheet(rows, tmp_path / "absent" / "a.png")
    with pytest.raises(InputError, match=r"taken\.png: the sheet cannot be written \(Is a directory\)"):
        contact_sheet(rows, tmp_path / "taken.png")
    with pytest.raises(InputError, match=r"a\.jpg: \d+ pixels high, and a JPEG has at most 65500; name it \.png"):
        contact_sheet([Row("", (tile(0),))] * 600, tmp_path / "a.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.png"]
