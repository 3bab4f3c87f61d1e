"""The corruptions against references, and the occluded regions against boxes by hand."""

import io

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
from PIL import Image
from support.faces import face

from fer_dist.data.draws import hashed
from fer_dist.evaluate.robustness.blurs import SOURCE_SIDE, clipped_zoom, convolved, disk, displaced, gaussian, smeared
from fer_dist.evaluate.robustness.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    contrast,
    corrupt,
    impulse_noise,
    saturate,
    shot_noise,
)
from fer_dist.evaluate.robustness.draws import Draws
from fer_dist.evaluate.robustness.regions import ALL_REGIONS, CONTROL, REGIONS, occlude, share_of
from fer_dist.evaluate.robustness.weather import plasma

IDS = np.array([7, 2**63 + 11, 2**64 - 1, 123456789], dtype=np.uint64)
UNORDERED = {"saturate", "glass_blur", "snow", "fog"}
CPU = torch.device("cpu")


def images(side: int, count: int = 4) -> torch.Tensor:
    """Colours that vary from coarse to fine, as images do."""
    drawn = [np.asarray(face(number, side, "RGB"), dtype=float) for number in range(count)]
    fine = np.random.default_rng(0).normal(0, 12, (count, side, side, 3))
    return torch.from_numpy((np.stack(drawn) + fine).clip(0, 255).astype(np.uint8)).permute(0, 3, 1, 2).contiguous()


def floats(side: int) -> torch.Tensor:
    return images(side).float() / 255


def draws(device: torch.device = CPU) -> Draws:
    return Draws(5, 99, 3, IDS, device)


def distance(name: str, severity: int, clean: torch.Tensor) -> float:
    return float((corrupt(name, severity, clean, IDS, 0).float() - clean.float()).abs().mean())


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("side", [24, 64])
def test_a_higher_severity_is_farther_from_the_clean_image(name, side):
    distances = [distance(name, severity, images(side)) for severity in SEVERITIES]
    assert 0 <= distances[0] < distances[-1]
    if name not in UNORDERED:
        assert distances == sorted(distances)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("side", [24, 33, 224])
def test_shape_type_and_input_are_kept_at_any_size(name, side):
    clean = images(side, 1)
    before = clean.clone()
    corrupted = corrupt(name, 5, clean, IDS[:1], 0)
    assert corrupted.shape == clean.shape
    assert corrupted.dtype == torch.uint8
    assert torch.equal(clean, before)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("severity", [1, 5])
def test_an_image_is_corrupted_alike_in_any_batch(name, severity):
    clean = images(48)
    whole = corrupt(name, severity, clean, IDS, 0)
    assert torch.equal(whole, corrupt(name, severity, clean, IDS, 0))
    turned = corrupt(name, severity, clean.flip(0), IDS[::-1].copy(), 0).flip(0)
    alone = torch.cat([corrupt(name, severity, clean[i : i + 1], IDS[i : i + 1], 0) for i in range(4)])
    assert torch.equal(whole, turned)
    assert torch.equal(whole, alone)


@pytest.mark.parametrize("name", [name for name, c in CORRUPTIONS.items() if c.group == "noise"] + ["snow", "fog"])
def test_noise_differs_by_seed_image_and_severity(name):
    clean = images(48, 1).expand(2, -1, -1, -1)
    one, other = corrupt(name, 3, clean, IDS[:2], 0)
    assert not torch.equal(one, other)
    assert not torch.equal(one, corrupt(name, 3, clean, IDS[:2], 1)[0])


def test_the_bits_are_those_of_the_order_and_the_numbers_have_their_distributions():
    drawn = draws().bits(2, 1000).numpy().view(np.uint64)
    expected = hashed(5, 99, 3, 2, IDS[:, None], np.arange(1000, dtype=np.uint64))
    np.testing.assert_array_equal(drawn, expected)
    assert scipy.stats.kstest(draws().uniform(0, 20_000)[1].numpy(), "uniform").pvalue > 0.001
    normal = draws().normal(0, 3, 5001)
    assert normal.shape == (4, 3, 5001)
    assert scipy.stats.kstest(normal[0].flatten().numpy(), "norm").pvalue > 0.001


@pytest.mark.parametrize("photons", [3, 60])
def test_shot_noise_is_a_poisson_variable_that_cannot_exceed_white(photons):
    grey = 153
    noisy = shot_noise(torch.full((4, 3, 100, 100), grey / 255), photons, draws()) * photons
    counted = np.bincount(noisy.round().long().flatten().numpy(), minlength=photons + 1)
    expected = scipy.stats.poisson(photons * grey / 255).pmf(np.arange(photons))
    expected = np.append(expected, 1 - expected.sum()) * counted.sum()
    often = expected >= 5
    tested = scipy.stats.chisquare(counted[often], expected[often] * counted[often].sum() / expected[often].sum())
    assert tested.pvalue > 0.001
    assert shot_noise(torch.zeros(4, 3, 8, 8), photons, draws()).abs().max() == 0


def test_impulse_noise_turns_that_share_black_or_white_and_leaves_the_rest():
    grey = torch.full((4, 3, 200, 200), 0.5)
    noisy = impulse_noise(grey, 0.2, draws())
    assert set(noisy.unique().tolist()) == {0.0, 0.5, 1.0}
    assert abs(float((noisy == 0).float().mean()) - 0.1) < 0.005
    assert abs(float((noisy == 1).float().mean()) - 0.1) < 0.005


@pytest.mark.parametrize(
    ("sigma", "truncate", "edge", "mode"), [(2.5, 4, "edge", "nearest"), (9, 3, "symmetric", "reflect")]
)
def test_the_gaussian_blur_is_that_of_scipy(sigma, truncate, edge, mode):
    clean = floats(40)
    expected = scipy.ndimage.gaussian_filter(clean.numpy(), (0, 0, sigma, sigma), truncate=truncate, mode=mode)
    np.testing.assert_allclose(gaussian(clean, sigma, truncate, edge).numpy(), expected, atol=1e-5)


def test_the_disk_holds_the_area_of_its_circle_and_the_blur_is_a_convolution():
    kernel = disk(4.3)
    assert kernel.shape == (11, 11)
    assert abs(1 / kernel.max() - np.pi * 4.3**2) < 0.1
    clean = floats(40)
    expected = scipy.ndimage.convolve(clean.numpy(), kernel[None, None], mode="mirror")
    np.testing.assert_allclose(convolved(clean, torch.from_numpy(kernel)[None], "reflect").numpy(), expected, atol=1e-5)


def test_motion_is_a_weighted_mean_of_moved_images():
    clean = floats(SOURCE_SIDE)[:1, :, :, :]
    weights = np.exp(-(np.arange(21) ** 2) / (2 * 3**2))
    for degrees, axis in ((0.0, 3), (-90.0, 2)):
        places = np.arange(SOURCE_SIDE)
        moved = [clean.numpy().take((places + (1 if axis == 3 else -1) * i).clip(0, 223), axis) for i in range(21)]
        expected = np.average(moved, axis=0, weights=weights)
        np.testing.assert_allclose(smeared(clean, (10, 3), torch.tensor([degrees])).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("factor", [1, 1.06, 1.3, 4.5])
def test_the_zoom_is_that_of_scipy(factor):
    side = 64
    clean = floats(side)
    cut = int(np.ceil(side / factor))
    first = (side - cut) // 2
    middle = clean.numpy()[..., first : first + cut, first : first + cut]
    large = scipy.ndimage.zoom(middle, (1, 1, factor, factor), order=1)
    trim = (large.shape[-1] - side) // 2
    expected = large[..., trim : trim + side, trim : trim + side]
    np.testing.assert_allclose(clipped_zoom(clean, factor).numpy(), expected, atol=1e-5)


def test_displacing_is_the_interpolation_of_scipy():
    clean = floats(32)
    offsets = 3 * (draws().uniform(0, 2, 32, 32) - 0.5)
    grid = np.stack(np.meshgrid(np.arange(32), np.arange(32), indexing="ij"))
    for i in range(4):
        for channel in range(3):
            expected = scipy.ndimage.map_coordinates(
                clean[i, channel].numpy(), grid + offsets[i].numpy(), order=1, mode="reflect"
            )
            found = displaced(clean, offsets, "reflection")[i, channel].numpy()
            np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["glass_blur", "elastic_transform", "motion_blur", "defocus_blur", "gaussian_blur", "snow"]
)
def test_a_face_is_corrupted_by_the_same_share_of_its_width_at_any_size(name):
    small, large = (
        torch.from_numpy(np.asarray(face(1, side, "RGB")).copy()).permute(2, 0, 1)[None].expand(4, -1, -1, -1)
        for side in (112, 224)
    )
    at_large, at_small = distance(name, 5, large), distance(name, 5, small)
    assert 0.75 < at_small / at_large < 1.33


def test_brightness_and_saturation_are_those_of_hsv():
    clean = images(48)
    hsv = np.stack([np.asarray(Image.fromarray(p.permute(1, 2, 0).numpy()).convert("HSV"), dtype=int) for p in clean])
    for name, channel, change in (("brightness", 2, lambda v: v + 0.2 * 255), ("saturate", 1, lambda s: 0.3 * s)):
        severity = {"brightness": 2, "saturate": 1}[name]
        wanted = hsv.copy()
        wanted[..., channel] = change(wanted[..., channel]).clip(0, 255).round()
        expected = [np.asarray(Image.fromarray(p.astype(np.uint8), "HSV").convert("RGB"), dtype=int) for p in wanted]
        found = corrupt(name, severity, clean, IDS, 0).permute(0, 2, 3, 1).numpy().astype(int)
        # Pillow keeps hue and saturation in whole numbers, which moves a colour by some levels.
        assert np.abs(found - np.stack(expected)).max() <= 8
        assert np.abs(found - np.stack(expected)).mean() <= 1.5


def test_black_and_grey_have_no_hue_and_are_defined_all_the_same():
    plain = torch.tensor([0, 128, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 3, 8, 8)
    brighter = corrupt("brightness", 1, plain, IDS[:3], 0)
    assert brighter[:, :, 0, 0].tolist() == [[26] * 3, [154] * 3, [255] * 3]
    assert torch.equal(corrupt("saturate", 1, plain, IDS[:3], 0), plain)
    redder = saturate(plain.float() / 255, (5, 0.1), draws())
    np.testing.assert_allclose(redder[1, :, 0, 0].numpy() * 255, [128, 115.2, 115.2], atol=1e-3)


def test_contrast_shrinks_each_channel_about_its_mean():
    clean = floats(24)
    mean = clean.numpy().mean(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(contrast(clean, 0.3, draws()).numpy(), 0.3 * clean.numpy() + 0.7 * mean, atol=1e-6)


def test_jpeg_and_pixels_are_those_of_pillow():
    clean = images(50)
    compressed, coarse = corrupt("jpeg_compression", 3, clean, IDS, 0), corrupt("pixelate", 3, clean, IDS, 0)
    for i, image in enumerate(Image.fromarray(p.permute(1, 2, 0).numpy()) for p in clean):
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=15)
        np.testing.assert_array_equal(compressed[i].permute(1, 2, 0).numpy(), np.asarray(Image.open(stream)))
        small = image.resize((20, 20), Image.Resampling.BOX).resize((50, 50), Image.Resampling.BOX)
        np.testing.assert_array_equal(coarse[i].permute(1, 2, 0).numpy(), np.asarray(small))


def test_a_cloud_fills_its_range_and_is_smoother_where_its_roughness_falls_faster():
    rough, smooth = plasma(draws(), 64, 1.4), plasma(draws(), 64, 3)
    for cloud in (rough, smooth):
        assert torch.equal(cloud.amin(dim=(1, 2)), torch.zeros(4))
        assert torch.equal(cloud.amax(dim=(1, 2)), torch.ones(4))
    assert (smooth.diff(dim=1).abs().mean(dim=(1, 2)) < 0.5 * rough.diff(dim=1).abs().mean(dim=(1, 2))).all()


@pytest.mark.parametrize("name", ALL_REGIONS)
def test_a_region_covers_its_share_with_the_mean_colour_and_nothing_else(name):
    clean = images(100)
    occluded = occlude(name, clean, IDS, 0)
    changed = (occluded != clean).any(dim=1)
    mean = clean.float().mean(dim=(2, 3)).round().to(torch.uint8)
    for i in range(4):
        assert (occluded[i][:, changed[i]] == mean[i][:, None]).all()
    # What has the mean colour already does not change, and two boxes at random places may overlap.
    least = 0.5 if name == CONTROL + "ears" else 0.95
    assert least * share_of(name) < float(changed.float().mean()) <= share_of(name) + 0.001


def test_the_halves_are_halves_and_a_control_lies_elsewhere_in_each_image():
    clean = torch.zeros(4, 3, 50, 50, dtype=torch.uint8)
    clean[..., ::2] = 200
    changed = {name: (occlude(name, clean, IDS, 0) != clean).any(dim=1) for name in ALL_REGIONS}
    assert changed["left half"][:, :, :25].all()
    assert not changed["left half"][:, :, 25:].any()
    assert torch.equal(changed["left half"], ~changed["right half"])
    left, top, right, bottom = (round(50 * share) for share in REGIONS["mouth"][0])
    assert changed["mouth"][:, top:bottom, left:right].all()
    control = changed[CONTROL + "mouth"]
    assert control.sum(dim=(1, 2)).tolist() == [(bottom - top) * (right - left)] * 4
    assert len({tuple(place.nonzero()[0].tolist()) for place in control}) == 4
    assert torch.equal(
        occlude(CONTROL + "mouth", clean[2:3], IDS[2:3], 0), occlude(CONTROL + "mouth", clean, IDS, 0)[2:3]
    )
