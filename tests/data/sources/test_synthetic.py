"""The faces that the program draws: the same for everyone, and readable from the expression alone."""

import io
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context

import numpy as np
import pytest
from PIL import Image

from fer_dist.data.emotions import SEVEN
from fer_dist.data.sources.source import Sample, Source, open_source
from fer_dist.data.sources.synthetic import STYLES
from fer_dist.errors import InputError


def listed(source: Source) -> list[Sample]:
    return [sample for sample in source.samples() if isinstance(sample, Sample)]


def pixels_of(source: Source, sample: Sample) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(source.read(sample).content)), dtype=float)


@pytest.mark.parametrize("style", STYLES)
def test_an_image_has_the_same_bytes_in_any_order_in_any_process_and_in_a_larger_set(style):
    source = open_source("synthetic", style, count=6, test_count=3)
    samples = listed(source)
    forward = [source.read(sample).content for sample in samples]
    backward = [source.read(sample).content for sample in reversed(samples)]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        elsewhere = [stored.content for stored in pool.map(source.read, samples)]
    larger = open_source("synthetic", style, count=50, test_count=30)
    assert forward == backward[::-1] == elsewhere == [larger.read(sample).content for sample in samples]
    assert len(set(forward)) == len(samples)


def test_an_image_is_a_jpeg_of_the_side_that_was_asked_for():
    source = open_source("synthetic", "wild", count=1, test_count=0, pixels=48)
    stored = source.read(listed(source)[0])
    image = Image.open(io.BytesIO(stored.content))
    assert (stored.extension, image.format, image.size, image.mode) == ("jpg", "JPEG", (48, 48), "RGB")


def test_another_seed_gives_other_faces_and_other_labels():
    first, second = (open_source("synthetic", "lab", count=40, test_count=0, seed=seed) for seed in (0, 1))
    assert [s.emotion for s in first.samples()] != [s.emotion for s in second.samples()]
    assert first.read(listed(first)[0]) != second.read(listed(second)[0])


def test_the_wild_is_colourful_and_cluttered_and_the_lab_is_grey_and_plain():
    def colour_and_clutter(style: str) -> tuple[float, float]:
        source = open_source("synthetic", style, count=60, test_count=0)
        images = [pixels_of(source, sample) for sample in listed(source)]
        colour = [np.ptp(image.mean(axis=(0, 1))) for image in images]
        return float(np.mean(colour)), float(np.mean([image[:, :3].mean(axis=(1, 2)).std() for image in images]))

    wild, lab = colour_and_clutter("wild"), colour_and_clutter("lab")
    assert wild[0] > 3 * lab[0]
    assert wild[1] > 2 * lab[1]


@pytest.mark.parametrize("style", STYLES)
def test_no_subject_is_in_train_and_in_test_and_each_recurs(style):
    samples = listed(open_source("synthetic", style, count=400, test_count=100))
    train, test = (Counter(s.facts["subject"] for s in samples if s.split == split) for split in ("train", "test"))
    assert not train.keys() & test.keys()
    assert set(train.values()) == set(test.values()) == {20}


@pytest.mark.parametrize("style", STYLES)
def test_each_emotion_occurs_about_as_often_as_the_style_says(style):
    samples = listed(open_source("synthetic", style, count=4000, test_count=0))
    counts = Counter(sample.emotion for sample in samples)
    expected = 4000 * np.array(STYLES[style].shares) / sum(STYLES[style].shares)
    assert np.abs(np.array([counts[name] for name in SEVEN]) - expected).max() < 5 * np.sqrt(expected.max())


def test_keys_are_unique_and_every_sample_carries_its_facts():
    samples = listed(open_source("synthetic", "wild", count=30, test_count=10))
    assert len({sample.key for sample in samples}) == 40
    assert samples[31].key == "wild-0-test-0000001"
    assert set(samples[0].facts) == {"id", "subject", "style", "pose_degrees"}


@pytest.mark.parametrize("style", STYLES)
def test_the_emotion_cannot_be_told_from_the_border_or_the_mean_colour(style):
    source = open_source("synthetic", style, count=700, test_count=0, pixels=32)
    samples = listed(source)
    labels = np.array([SEVEN.index(sample.emotion) for sample in samples])
    images = np.stack([pixels_of(source, sample) for sample in samples]) / 255
    border = np.stack([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1).mean(axis=(1, 2))
    features = np.column_stack([border, images.mean(axis=(1, 2)), images.std(axis=(1, 2)), np.ones(len(labels))])
    train, test = slice(0, 400), slice(400, None)
    weights, *_ = np.linalg.lstsq(features[train], np.eye(7)[labels[train]], rcond=None)
    guessed = (features[test] @ weights).argmax(axis=1) == labels[test]
    majority = np.bincount(labels[test]).max() / len(labels[test])
    assert guessed.mean() < majority + 0.06  # 2.5 standard errors of 300 guesses


def test_what_there_is_not_is_named_with_what_there_is():
    with pytest.raises(InputError, match="unknown style 'studio'; RAW is one of: wild, lab"):
        open_source("synthetic", "studio")
    with pytest.raises(InputError, match="pixels 4: the side of an image is from 16 to 1024"):
        open_source("synthetic", "lab", pixels=4)
    with pytest.raises(InputError, match="count 0 and test_count 0"):
        open_source("synthetic", "lab", count=0, test_count=0)


def test_the_source_says_its_names():
    source = open_source("synthetic", "lab")
    assert (source.dataset, source.emotions) == ("synthetic_lab", SEVEN)
    assert "style lab, seed 0" in source.variant
    assert asdict(source)["count"] == 4000
