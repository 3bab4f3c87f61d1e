"""Fingerprints that survive small changes, and copies found by them without comparing all pairs."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from support.faces import encoded, face
from support.releases.made import image

from fer_dist.data.inspection.duplicates import SIMILAR, exact_groups, joined, near_pairs
from fer_dist.data.inspection.fingerprint import FEATURES, Fingerprint, fingerprint, mirrored
from fer_dist.data.sources.source import Sample, open_source

MIRROR = Image.Transpose.FLIP_LEFT_RIGHT
BICUBIC = Image.Resampling.BICUBIC


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def jpeg(image: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "compressed": lambda image: jpeg(image, 40),
    "smaller": lambda image: png(image.resize((40, 40), BICUBIC)),
    "larger": lambda image: png(image.resize((150, 150), BICUBIC)),
    "mirrored": lambda image: png(image.transpose(MIRROR)),
    "all of it": lambda image: jpeg(image.transpose(MIRROR).resize((96, 96), BICUBIC), 60),
}


@pytest.fixture(scope="module")
def drawn() -> list[Image.Image]:
    """Faces of one style; no two of them are the same drawing."""
    source = open_source("synthetic", "wild", count=400, test_count=0, seed=5)
    samples = [sample for sample in source.samples() if isinstance(sample, Sample)]
    return [Image.open(io.BytesIO(source.read(sample).content)) for sample in samples]


def features_of(prints: list[Fingerprint]) -> np.ndarray:
    return np.stack([found.features for found in prints]).astype(np.float16)


def test_the_features_are_the_low_frequencies_of_the_cosine_transform() -> None:
    image = face(3, side=16)
    expected = dctn(np.asarray(image, dtype=float), norm="ortho")[:8, :8].ravel()[1:]
    found = fingerprint(png(image)).features
    assert np.allclose(found, expected / np.linalg.norm(expected), atol=1e-5)


def test_the_features_of_a_mirror_image_are_those_of_the_image_with_some_signs_turned() -> None:
    image = face(4, side=64)
    turned = fingerprint(png(image.transpose(MIRROR))).features
    assert np.allclose(turned, mirrored(fingerprint(png(image)).features), atol=1e-4)


def test_the_same_pixels_have_the_same_hash_in_any_form_that_loses_nothing() -> None:
    image = face(5)
    forms = [png(image), png(image.convert("RGB")), encoded(5, "BMP"), encoded(5, "TIFF")]
    assert len({fingerprint(form).pixels for form in forms}) == 1
    others = [png(face(6)), png(image.transpose(MIRROR)), png(image.resize((24, 96)))]
    assert len({fingerprint(form).pixels for form in [forms[0], *others]}) == 4


def test_a_turned_photograph_has_the_hash_of_the_upright_one() -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    stream = io.BytesIO()
    image = face(7).resize((30, 40))
    image.transpose(Image.Transpose.ROTATE_90).save(stream, "PNG", exif=tags)
    assert fingerprint(stream.getvalue()).pixels == fingerprint(png(image)).pixels


def test_images_of_16_bits_are_told_apart_and_are_not_blank() -> None:
    def deep(number: int) -> bytes:
        return png(Image.fromarray(np.asarray(face(number)).astype(np.uint16) * 257))

    first, second = fingerprint(deep(1)), fingerprint(deep(2))
    assert first.pixels != second.pixels
    assert not first.is_blank
    assert first.pixels == fingerprint(png(face(1))).pixels


def test_colour_size_and_emptiness_are_seen() -> None:
    colourful, grey = fingerprint(png(image("fear", 1))), fingerprint(png(face(1, mode="RGB").convert("L")))
    assert (colourful.is_grey, grey.is_grey, grey.is_blank) == (False, True, False)
    assert fingerprint(png(Image.new("RGB", (20, 10), (9, 9, 9)))).is_blank
    assert (colourful.width, fingerprint(png(Image.new("L", (20, 10)))).height) == (48, 10)
    with pytest.raises(ValueError, match="does not decode"):
        fingerprint(b"no image")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_exact_groups_are_named_after_their_first_image(hashes: list[tuple[int, int]]) -> None:
    pixels = np.array(hashes, dtype=np.uint64).reshape(-1, 2)
    assert exact_groups(pixels).tolist() == [hashes.index(pair) for pair in hashes]


@given(st.data(), st.integers(1, 30))
def test_joined_images_are_the_connected_components(data: st.DataObject, count: int) -> None:
    place = st.integers(0, count - 1)
    pairs = np.array(data.draw(st.lists(st.tuples(place, place), max_size=40)), dtype=np.int64).reshape(-1, 2)
    roots = joined(count, pairs[:, 0], pairs[:, 1])
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1].tolist()
    assert roots.tolist() == [labels.index(label) for label in labels]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_other_faces_are_not(drawn: list[Image.Image], change: str) -> None:
    features = features_of([fingerprint(png(image)) for image in drawn])
    copies = features_of([fingerprint(CHANGES[change](image)) for image in drawn])
    pairs = near_pairs(np.concatenate([features, copies]))
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    wanted = {(place, place + len(drawn)) for place in range(len(drawn))}
    assert len(wanted & found) >= 0.995 * len(wanted)
    assert found <= wanted
    assert set(pairs.is_mirrored.tolist()) == {"mirrored" in change or change == "all of it"}


def test_the_index_finds_what_comparing_all_pairs_finds(drawn: list[Image.Image]) -> None:
    # Crops by a pixel or two give similarities all around the threshold.
    crops = [image.crop((n % 3, 0, 64, 64 - n % 2)) for n, image in enumerate(drawn[:100])]
    features = features_of([fingerprint(png(image)) for image in drawn + crops])
    exact = features.astype(np.float32)
    similar = np.maximum(exact @ exact.T, exact @ mirrored(exact).T) >= SIMILAR
    everything = {(int(one), int(other)) for one, other in np.argwhere(np.triu(similar, 1))}
    pairs = near_pairs(features)
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert found <= everything
    assert len(everything) > 50
    assert len(found) >= 0.99 * len(everything)


@pytest.mark.parametrize("others", [0, 1, 5])
def test_a_copy_is_found_among_few_images(drawn: list[Image.Image], others: int) -> None:
    images = [png(drawn[0]), CHANGES["all of it"](drawn[0]), *(png(image) for image in drawn[1 : others + 1])]
    pairs = near_pairs(features_of([fingerprint(image) for image in images]))
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == [(0, 1)]


def test_blank_images_and_none_at_all_have_no_near_copies() -> None:
    assert len(near_pairs(np.zeros((50, FEATURES), dtype=np.float16)).first) == 0
    assert len(near_pairs(np.zeros((0, FEATURES), dtype=np.float16)).first) == 0
    assert len(near_pairs(np.zeros((1, FEATURES), dtype=np.float16)).first) == 0
