"""What happens to a sample is drawn from its own number, and from nothing around it."""

from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fer_dist.config.settings import DataConfig
from fer_dist.data.draws import hashed, sample_id
from fer_dist.data.loading.augment import CORNERS, Augmentation, draw

CONFIG = DataConfig(flip=True, views="random_one")
RANGES = {"angle": (0, 30), "brightness": (1, 0.2), "contrast": (1, 0.2), "saturation": (1, 0.2), "hue": (0, 18)}
"""Centre and spread of each continuous draw under CONFIG."""

NAMES = [item.name for item in fields(Augmentation)]
IDS = hashed(np.arange(4000, dtype=np.uint64))


def drawn(config: DataConfig = CONFIG, seed: int = 3, epoch: int = 5, ids: NDArray[np.uint64] = IDS) -> Augmentation:
    return draw(config, seed, epoch, ids)


def values(augmentation: Augmentation) -> dict[str, NDArray]:
    return {name: getattr(augmentation, name) for name in NAMES}


def test_a_samples_draws_do_not_depend_on_the_batch_that_it_comes_in() -> None:
    together = values(drawn())
    chosen = np.random.default_rng(0).permutation(len(IDS))[:50]
    for name, part in values(drawn(ids=IDS[chosen])).items():
        np.testing.assert_array_equal(part, together[name][chosen])
    for i in chosen[:10]:
        for name, alone in values(drawn(ids=IDS[i : i + 1])).items():
            np.testing.assert_array_equal(alone, together[name][i : i + 1])


@pytest.mark.parametrize("name", RANGES)
def test_a_draw_is_uniform_over_its_range(name: str) -> None:
    centre, spread = RANGES[name]
    unit = (getattr(drawn(), name) - centre) / spread
    assert unit.dtype == np.float32
    assert np.abs(unit).max() <= 1 + 1e-6
    # Chi-squared over 20 cells: mean 19, standard deviation 6.2.
    found, _ = np.histogram(unit, 20, (-1.000001, 1.000001))
    assert ((found - 200.0) ** 2 / 200).sum() < 19 + 4 * 6.2


def test_half_of_the_images_are_mirrored_and_each_corner_comes_as_often() -> None:
    augmentation = drawn()
    assert abs(augmentation.mirror.mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)
    assert set(augmentation.mirror) == {0, 1}
    corners, times = np.unique(augmentation.corner, axis=0, return_counts=True)
    assert {tuple(corner) for corner in corners.tolist()} == set(CORNERS)
    assert np.abs(times - 800).max() < 4 * np.sqrt(4000 * 0.2 * 0.8)


def test_no_two_things_that_are_drawn_go_together() -> None:
    augmentation = drawn()
    columns = [getattr(augmentation, name) for name in (*RANGES, "mirror")] + list(augmentation.corner.T)
    correlation = np.corrcoef(np.array(columns, dtype=np.float64)) - np.eye(len(columns))
    assert np.abs(correlation).max() < 4 / np.sqrt(4000)


def test_epochs_and_seeds_draw_anew() -> None:
    reference = drawn()
    for other in (drawn(epoch=6), drawn(seed=4)):
        for name in NAMES:
            assert not np.array_equal(getattr(other, name), getattr(reference, name))
        for name in RANGES:
            correlation = np.corrcoef(getattr(other, name), getattr(reference, name))[0, 1]
            assert abs(correlation) < 4 / np.sqrt(4000)


def test_a_spread_of_zero_gives_exactly_the_centre() -> None:
    still = drawn(DataConfig(rotate_degrees=0, brightness=0, contrast=0, saturation=0, hue=0, flip=False))
    for name, (centre, _) in RANGES.items():
        assert set(getattr(still, name).tolist()) == {centre}
    assert not still.mirror.any()


def test_one_setting_changes_no_other_draw() -> None:
    reference, other = values(drawn()), values(drawn(replace(CONFIG, rotate_degrees=0.0, flip=False)))
    for name in set(NAMES) - {"angle", "mirror"}:
        np.testing.assert_array_equal(reference[name], other[name])


def test_the_kinds_are_those_that_the_graph_is_told() -> None:
    augmentation = drawn(ids=IDS[:3])
    assert {name: (value.dtype, value.shape) for name, value in values(augmentation).items()} == {
        **dict.fromkeys(RANGES, (np.float32, (3,))),
        "mirror": (np.int32, (3,)),
        "corner": (np.float32, (3, 2)),
    }


def test_the_corners_are_a_row_above_a_row_below_and_the_centre() -> None:
    assert CORNERS == ((0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5))


def test_a_samples_number_is_the_first_eight_bytes_of_the_sha256_of_its_key() -> None:
    # echo -n happiness/000417 | sha256sum
    assert sample_id("happiness/000417") == 0x8AD9B91F3F3B7D55
