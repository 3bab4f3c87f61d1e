"""Boxes and landmarks held against their image; faces cut out and resized."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.releases.made import image, seen

from fer_dist.data.faces.fit import FaceFlags, check_faces, fitted, mend_box, square_around
from fer_dist.data.images import png_bytes
from fer_dist.data.sources.source import EncodedImage, LeftOutError
from fer_dist.errors import InputError


def png(image: Image.Image, **facts: Any) -> EncodedImage:
    return EncodedImage(png_bytes(image), "png", facts=facts)


def opened(found: EncodedImage) -> Image.Image:
    return Image.open(io.BytesIO(found.content))


def test_without_a_flag_the_bytes_stay_as_they_are() -> None:
    given_image = png(image("fear", 1), box=[4, 5, 20, 20], landmarks=[[5, 6]])
    assert fitted(given_image, FaceFlags()) == given_image


@pytest.mark.parametrize(
    ("box", "kept", "reason"),
    [
        ([4, 5, 20, 20], [4, 5, 20, 20], ""),
        ([-4, 5, 20, 20], [0, 5, 16, 20], "face box reached beyond the image: cut at its edge"),
        ([40, 40, 20, 20], [40, 40, 8, 8], "face box reached beyond the image: cut at its edge"),
        ([48, 0, 20, 20], None, "face box outside the image: dropped"),
        ([-30, -30, 20, 20], None, "face box outside the image: dropped"),
        ([4, 5, 0, 20], None, "face box without an area: dropped"),
        ([4, 5, 20, -3], None, "face box without an area: dropped"),
        ([float("nan"), 5, 20, 3], None, "face box without an area: dropped"),
    ],
)
def test_a_box_that_does_not_fit_is_mended_by_rule(box: list[float], kept: list[float] | None, reason: str) -> None:
    facts, mended = mend_box({"box": box, "id": "x"}, 48, 48)
    assert (facts.get("box"), facts["id"], mended) == (kept, "x", reason)


@given(st.tuples(*[st.decimals(0, 40, places=2).map(float)] * 2, *[st.decimals("0.01", 40, places=2).map(float)] * 2))
def test_a_box_inside_the_image_is_left_as_it_is(box: tuple[float, ...]) -> None:
    assert mend_box({"box": list(box)}, 80, 80) == ({"box": list(box)}, "")


def test_a_mended_box_is_told_beside_what_the_source_mended() -> None:
    found = fitted(
        EncodedImage(png_bytes(image("fear", 1)), "png", "", {"box": [-1, 0, 9, 9]}, "said before"), FaceFlags()
    )
    assert found.mended == "said before; face box reached beyond the image: cut at its edge"


def test_the_face_is_cut_out_of_the_right_place() -> None:
    wall = Image.new("RGB", (200, 100), (90, 90, 90))
    wall.paste(image("anger", 7), (120, 30))
    found = fitted(png(wall, box=[120, 30, 48, 48]), FaceFlags(crop_faces=True, margin=0.0))
    assert (found.extension, opened(found).size, seen(opened(found))) == ("jpg", (48, 48), "anger")
    assert found.facts == {"box": [0, 0, 48, 48], "cut": [120, 30, 48, 48]}


def test_landmarks_and_box_move_with_the_image_that_is_cut_and_resized() -> None:
    image = Image.new("L", (120, 80), 0)
    image.putpixel((50, 40), 255)
    found = fitted(
        png(image, box=[40, 30, 20, 10], landmarks=[[50.5, 40.5]]), FaceFlags(crop_faces=True, margin=0.25, resize=90)
    )
    # Longer side 20 and a quarter of it on each side: 30 pixels around (50, 35), then three times as large.
    assert found.facts["cut"] == [35, 20, 30, 30]
    assert found.facts["box"] == [15.0, 30.0, 60.0, 30.0]
    assert found.facts["landmarks"] == [[46.5, 61.5]]
    row, column = np.unravel_index(np.asarray(opened(found)).argmax(), (90, 90))
    assert abs(column + 0.5 - 46.5) <= 1
    assert abs(row + 0.5 - 61.5) <= 1


@given(
    st.tuples(st.floats(0, 99), st.floats(0, 59), st.floats(0.01, 99), st.floats(0.01, 59)),
    st.floats(0, 10),
)
def test_the_square_lies_in_the_image_and_holds_the_box(box: tuple[float, ...], margin: float) -> None:
    x, y, width, height = box
    width, height = min(width, 100 - x), min(height, 60 - y)
    left, top, right, bottom = square_around([x, y, width, height], margin, 100, 60)
    assert 0 <= left < right <= 100
    assert 0 <= top < bottom <= 60
    assert left <= x + 0.5
    assert top <= y + 0.5
    assert right >= x + width - 0.5
    assert bottom >= y + height - 0.5


def test_an_image_without_a_usable_box_is_left_out_where_faces_are_cut() -> None:
    for facts in ({}, {"box": [0, 0, 0, 5]}, {"box": [500, 0, 5, 5]}):
        with pytest.raises(LeftOutError, match="no usable face box to cut out"):
            fitted(png(image("fear", 1), **facts), FaceFlags(crop_faces=True))


@pytest.mark.parametrize(("mode", "after"), [("L", "L"), ("1", "L"), ("RGBA", "RGB"), ("CMYK", "RGB"), ("P", "RGB")])
def test_every_kind_of_image_becomes_grey_or_rgb(mode: str, after: str) -> None:
    stream = io.BytesIO()
    image("sadness", 3).convert(mode).save(stream, "TIFF")
    found = opened(fitted(EncodedImage(stream.getvalue(), "tif"), FaceFlags(resize=30)))
    assert (found.mode, found.size, seen(found)) == (after, (30, 30), "sadness")


def test_sixteen_bits_are_scaled_and_not_cut_off() -> None:
    deep = np.asarray(image("contempt", 2, mode="L")).astype(np.uint16) * 257
    stream = io.BytesIO()
    Image.fromarray(deep).save(stream, "PNG")
    flags = FaceFlags(resize=48, quality=100)
    found = np.asarray(opened(fitted(EncodedImage(stream.getvalue(), "png"), flags)), dtype=int)
    assert np.abs(found - np.asarray(image("contempt", 2, mode="L"), dtype=int)).max() <= 3


def test_a_turned_photograph_is_upright_before_its_box_is_looked_at() -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    stream = io.BytesIO()
    # Stored lying on its side; a reader turns it a quarter clockwise.
    upright = Image.new("RGB", (60, 120), (90, 90, 90))
    upright.paste(image("disgust", 4), (6, 66))
    upright.transpose(Image.Transpose.ROTATE_90).save(stream, "PNG", exif=tags)
    flags = FaceFlags(crop_faces=True, margin=0.0)
    found = fitted(EncodedImage(stream.getvalue(), "png", facts={"box": [6, 66, 48, 48]}), flags)
    assert (found.mended, seen(opened(found)), found.facts["cut"]) == ("", "disgust", [6, 66, 48, 48])
    assert not opened(found).getexif()


def test_what_does_not_decode_is_left_out() -> None:
    for flags in (FaceFlags(), FaceFlags(resize=8)):
        with pytest.raises(LeftOutError, match="does not decode"):
            fitted(EncodedImage(b"\xff\xd8\xff no image", "jpg"), flags)


def test_a_higher_quality_is_nearer_to_the_original() -> None:
    face = image("happiness", 5, side=96)
    errors = []
    for quality in (30, 95):
        found = np.asarray(opened(fitted(png(face), FaceFlags(resize=96, quality=quality))), dtype=float)
        errors.append(np.abs(found - np.asarray(face)).mean())
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (FaceFlags(margin=-0.1), r"--margin -0\.1: give a share of the box from 0 to 10"),
        (FaceFlags(margin=float("nan")), r"--margin nan"),
        (FaceFlags(resize=-1), r"--resize -1: give a side of 1 to 8192 pixels, or 0"),
        (FaceFlags(resize=100_000), r"--resize 100000"),
        (FaceFlags(quality=0), r"--quality 0: JPEG quality is from 1 to 100"),
    ],
)
def test_flags_that_cannot_be_meant_are_refused(flags: FaceFlags, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_faces(flags)
