"""Squares of an image, turned and cut out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fer_dist.data.faces.crop import Square, cut, square_of


def dots(places: list[tuple[int, int]], width: int = 120, height: int = 90) -> Image.Image:
    """White squares of 3 pixels around these pixels, on black."""
    pixels = np.zeros((height, width), dtype=np.uint8)
    for x, y in places:
        pixels[y - 1 : y + 2, x - 1 : x + 2] = 255
    return Image.fromarray(pixels)


def brightest(image: Image.Image) -> tuple[float, float]:
    """Centre of what is bright, in pixels from the left upper corner."""
    weights = np.asarray(image.convert("L"), dtype=float)
    rows, columns = np.indices(weights.shape) + 0.5
    return float((columns * weights).sum() / weights.sum()), float((rows * weights).sum() / weights.sum())


@pytest.mark.parametrize("roll", [0, 10, -35, 45, 90, 180])
@pytest.mark.parametrize("size", [20, 40, 97])
def test_a_point_of_the_image_is_where_the_square_says_that_it_is(roll: float, size: int) -> None:
    image, square = dots([(60, 37)]), Square(55, 45, 40, roll)
    ((x, y),) = square.to_cut(np.array([[60.5, 37.5]]), size)
    assert brightest(cut(image, square, size)) == pytest.approx((x, y), abs=0.1 * max(size / 20, 1))


@given(st.floats(-180, 180), st.floats(1, 500), st.integers(1, 300))
def test_points_come_back_from_a_cut(roll: float, side: float, size: int) -> None:
    square, points = Square(12, -7, side, roll), np.array([[1.0, 2.0], [-30.0, 8.5]])
    assert np.allclose(square.to_image(square.to_cut(points, size), size), points)


def test_a_line_that_leans_as_the_square_does_is_level_in_its_cut() -> None:
    angle = math.radians(30)
    ends = np.array([[50.0, 40.0], [50 + 20 * math.cos(angle), 40 + 20 * math.sin(angle)]])
    (_, left), (_, right) = Square(55, 45, 60, 30).to_cut(ends, 60)
    assert left == pytest.approx(right)


def test_an_upright_square_of_its_own_size_is_the_image_itself() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    found = np.asarray(cut(Image.fromarray(pixels), Square(30, 25, 20), 20))
    assert np.array_equal(found, pixels[15:35, 20:40])


def test_what_lies_outside_is_filled_with_the_nearest_pixel() -> None:
    pixels = np.full((40, 40, 3), 90, dtype=np.uint8)
    pixels[:, 0], pixels[0] = (250, 10, 10), (10, 10, 250)
    found = np.asarray(cut(Image.fromarray(pixels), Square(0, 20, 40), 40))
    assert (found[20, :19] == (250, 10, 10)).all()
    assert (found[20, 22:] == 90).all()
    corner = np.asarray(cut(Image.fromarray(pixels), Square(20, 0, 40, 45), 40))
    assert (corner[0, 20] == (10, 10, 250)).all()


@given(st.floats(0, 29), st.floats(0, 19), st.floats(0.01, 300), st.floats(-180, 180), st.integers(1, 64))
def test_any_square_whose_centre_is_in_the_image_can_be_cut(
    x: float, y: float, side: float, roll: float, size: int
) -> None:
    found = cut(Image.new("RGB", (30, 20), (7, 8, 9)), Square(x, y, side, roll), size)
    assert (found.size, found.getextrema()) == ((size, size), ((7, 7), (8, 8), (9, 9)))


def test_what_becomes_one_pixel_is_averaged() -> None:
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 255
    found = np.asarray(cut(Image.fromarray(stripes), Square(32, 32, 48), 8), dtype=int)
    assert np.abs(found - 127).max() < 12


def test_a_box_becomes_the_square_of_its_longer_side_and_margins_are_shares_of_that() -> None:
    assert square_of((10, 20, 30, 50)) == Square(25, 45, 50)
    assert square_of((10, 20, 30, 50)).widened(0.1) == Square(25, 45, 60)
    assert square_of((10, 20, 30, 50)).widened(-0.2).side == pytest.approx(30)
