"""Contact sheets: many images on one, in rows under titles, for a person to look at."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from fer_dist.data.images import jpeg_bytes, png_bytes, small_copy
from fer_dist.errors import InputError
from fer_dist.storage.writing import write_output

SIDE = 96
"""Side of a tile in pixels: twice that of FER2013's faces, and enough to judge an expression."""

COLUMNS = 12
"""Tiles beside each other; a sheet is 1,256 pixels wide, which a browser shows whole."""

GAP = 8
TITLE_SIZE, CAPTION_SIZE = 15, 11
PAPER, INK, MISSING = "#ffffff", "#1b1b1f", "#d9d9de"
JPEG_QUALITY = 90
FORMS = (".png", ".jpg", ".jpeg")
LONGEST_JPEG = 65_500
"""Pixels; libjpeg writes no image that is higher or wider."""


@dataclass(frozen=True)
class Tile:
    """One image and what stands below it.

    content: the encoded image, as a shard holds it; one that does not decode gets a grey tile that says so.
    caption: ASCII, for Pillow's own font has little more; keys are. Each of its lines is cut at its start to fit, for
             names mostly differ at their end.
    """

    content: bytes
    caption: str


@dataclass(frozen=True)
class Row:
    """Images that belong together, below a title; those that do not fit beside each other go on in the next line."""

    title: str
    tiles: tuple[Tile, ...]


def contact_sheet(rows: Iterable[Row], path: Path, columns: int = COLUMNS) -> None:
    """Draw rows of images into one image file, whole or not at all.

    rows: any iterable; of a generator one row at a time is held with its encoded images. The sheet grows with them,
          so the caller says how many there are.
    path: its extension is one of FORMS.
    Images keep their shape, are made as large as fits in a tile, and are centred.
    Raises InputError where the sheet cannot be written there, or is higher than a JPEG can be.
    """
    check_sheet_path(path)
    strips = [drawn(row, columns) for row in rows] or [drawn(Row("nothing to show", ()), columns)]
    width = max(strip.width for strip in strips) + 2 * GAP
    height = sum(strip.height + GAP for strip in strips) + GAP
    is_jpeg = path.suffix.lower() != ".png"
    if is_jpeg and height > LONGEST_JPEG:
        raise InputError(f"{path}: {height} pixels high, and a JPEG has at most {LONGEST_JPEG}; name it .png")
    sheet = Image.new("RGB", (width, height), PAPER)
    top = GAP
    for strip in strips:
        sheet.paste(strip, (GAP, top))
        top += strip.height + GAP
    try:
        write_output(path, jpeg_bytes(sheet, JPEG_QUALITY) if is_jpeg else png_bytes(sheet))
    except OSError as error:
        raise InputError(f"{path}: the sheet cannot be written ({error.strerror}); choose another path") from error


def check_sheet_path(path: Path) -> None:
    """Raises InputError where no sheet can be written: worth asking before long work whose end the sheet is."""
    if path.suffix.lower() not in FORMS:
        raise InputError(f"{path}: a sheet is an image; give it one of the extensions {', '.join(FORMS)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: no folder {path.parent} for the sheet; make it, or choose another path")


def drawn(row: Row, columns: int = COLUMNS) -> Image.Image:
    """A row's title, and below it its tiles in as many lines as they need: RGB."""
    title_font, font = ImageFont.load_default(TITLE_SIZE), ImageFont.load_default(CAPTION_SIZE)
    title = _cut_at_end(row.title, title_font, columns * (SIDE + GAP) - GAP)
    captions = [tile.caption.split("\n") for tile in row.tiles]
    cell = SIDE + max(map(len, captions), default=0) * _line_height(font) + GAP
    head = _line_height(title_font) + GAP // 2
    tiles_width = min(columns, len(row.tiles)) * (SIDE + GAP) - GAP
    width = max(tiles_width, round(title_font.getlength(title)) + 1)
    strip = Image.new("RGB", (width, head + -(-len(row.tiles) // columns) * cell), PAPER)
    draw = ImageDraw.Draw(strip)
    draw.text((0, 0), title, INK, title_font)
    for number, (tile, lines) in enumerate(zip(row.tiles, captions, strict=True)):
        left, top = number % columns * (SIDE + GAP), head + number // columns * cell
        image = small_copy(tile.content, SIDE) or _missing()
        strip.paste(image, (left + (SIDE - image.width) // 2, top + (SIDE - image.height) // 2))
        for index, line in enumerate(lines):
            y = top + SIDE + index * _line_height(font)
            draw.text((left + SIDE / 2, y), _cut_at_start(line, font, SIDE), INK, font, anchor="ma")
    return strip


def _missing() -> Image.Image:
    tile = Image.new("RGB", (SIDE, SIDE), MISSING)
    font = ImageFont.load_default(CAPTION_SIZE)
    ImageDraw.Draw(tile).text((SIDE / 2, SIDE / 2), "does not\ndecode", INK, font, anchor="mm", align="center")
    return tile


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _line_height(font: Font) -> int:
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow without FreeType: its one font has no sizes"
    return sum(font.getmetrics())


def _cut_at_start(text: str, font: Font, width: int) -> str:
    cuts = (f"…{text[start:]}" if start else text for start in range(len(text)))
    return next((cut for cut in cuts if font.getlength(cut) <= width), "")


def _cut_at_end(text: str, font: Font, width: int) -> str:
    cuts = (f"{text[:end]}…" if end < len(text) else text for end in range(len(text), 0, -1))
    return next((cut for cut in cuts if font.getlength(cut) <= width), "")
