"""The faces that the program draws: the same for everyone, and readable from the expression alone."""

import hashlib
import io
import json
import tarfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.emotions import SEVEN
from fer_dist.data.sources.drawn.face import FACE, Actions, Expression, Identity, Look, View, draw_face, landmarks
from fer_dist.data.sources.source import Sample, Source, open_source
from fer_dist.data.sources.synthetic import (
    ALONE,
    PROTOTYPES,
    STYLES,
    Cue,
    SyntheticSource,
    draw_actions,
    draw_identity,
)
from fer_dist.errors import InputError

BYTES = {
    ("wild", 48): "d53b970c8b5ef81d3a9a827ad4ae80f9939b02259ea09010fdc31d95a6d2e9aa",
    ("wild", 64): "f90d02af0adad24812d7cd0b19dc7c6f8e1774909174a86e3154554707bc1a3b",
    ("lab", 48): "7f9df55161ce0fa6ba914e0699826ca498b4bdce39e75fd345819d66a8f91826",
    ("lab", 64): "a60f793901564dafc3e6465edee3b4de3f03b04a098a1e48ac5dbb9fef7a0236",
}
"""Style and side -> sha256 of 30 training and 3 test images one behind the other, drawn before there were cues."""

NUMBERS = range(0, 240, 20)
"""Of images with other people in them."""


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


@pytest.mark.parametrize(("style", "pixels"), BYTES)
def test_without_a_cue_the_images_are_those_that_were_drawn_before_there_were_cues(style, pixels):
    source = open_source("synthetic", style, count=30, test_count=3, seed=3, pixels=pixels)
    content = b"".join(source.read(sample).content for sample in listed(source))
    assert hashlib.sha256(content).hexdigest() == BYTES[style, pixels]


def with_cue(style: str, cue: Cue, pixels: int = 64) -> SyntheticSource:
    source = open_source("synthetic", style, count=240, test_count=0, pixels=pixels, cue=cue)
    assert isinstance(source, SyntheticSource)
    return source


def where_the_label_shows(source: SyntheticSource, number: int) -> np.ndarray:
    """bool [H, W]: whether a pixel, before it is encoded, is another one with another label."""
    images = np.stack([np.asarray(source.draw("train", number, emotion).image) for emotion in SEVEN])
    shows: np.ndarray = (images != images[:1]).any(axis=(0, 3))
    return shows


def along_and_across(source: SyntheticSource, number: int) -> tuple[np.ndarray, np.ndarray, float]:
    """[H, W] of each pixel: how far it is down the face, 0 at the eyes and 1 at the mouth, and how far from its middle
    line; and how far down the nose's tip is."""
    points = source.draw("train", number, "neutrality").landmarks
    eyes, mouth = points[:2].mean(), points[3:].mean()
    across, along = np.meshgrid(*2 * [np.arange(source.pixels) + 0.5])
    place = (across + 1j * along - eyes) / (mouth - eyes)
    return place.real, np.abs(place.imag), ((points[2] - eyes) / (mouth - eyes)).real


@pytest.mark.parametrize("style", STYLES)
def test_with_the_mouth_as_the_cue_two_labels_differ_around_the_mouth_and_nowhere_else(style):
    source = with_cue(style, "mouth")
    for number in NUMBERS:
        shows = where_the_label_shows(source, number)
        along, across, nose = along_and_across(source, number)
        assert shows.sum() > 40
        assert along[shows].min() > nose - 0.15  # what blur carries further
        assert across[shows].max() < 0.9


@pytest.mark.parametrize("style", STYLES)
def test_with_the_eyes_as_the_cue_two_labels_differ_around_the_eyes_and_brows_and_nowhere_else(style):
    source = with_cue(style, "eyes")
    for number in NUMBERS:
        shows = where_the_label_shows(source, number)
        along, across, nose = along_and_across(source, number)
        assert shows.sum() > 80
        assert along[shows].max() < nose
        assert along[shows].min() > -0.95
        assert across[shows].max() < 1.15


@pytest.mark.parametrize("pixels", [48, 65])
@pytest.mark.parametrize("style", STYLES)
def test_with_the_left_half_as_the_cue_two_labels_differ_left_of_the_middle_and_nowhere_else(style, pixels):
    source = with_cue(style, "left", pixels)
    for number in NUMBERS[:6]:
        shows = where_the_label_shows(source, number)
        assert shows[:, : pixels // 2].sum() > 40
        assert not shows[:, pixels // 2 :].any()


@pytest.mark.parametrize("cue", ["mouth", "eyes", "left"])
def test_what_is_around_the_cue_is_no_face_at_rest_and_does_not_follow_the_label(cue):
    source, plain = with_cue("lab", cue), with_cue("lab", "none")
    others = {"mouth": slice(0, 28), "eyes": slice(42, 64), "left": slice(0, 64)}[cue]
    unlike = 0
    for number in NUMBERS:
        at_rest = np.asarray(plain.draw("train", number, "neutrality").image, dtype=float)[others, 32:]
        unlike += np.abs(np.asarray(source.draw("train", number, "neutrality").image)[others, 32:] - at_rest).max() > 40
    assert unlike > len(NUMBERS) / 2


def test_a_set_with_a_cue_has_the_people_labels_and_views_of_the_set_without_one():
    plain, mouth = (listed(with_cue("wild", cue)) for cue in ("none", "mouth"))
    assert [sample.emotion for sample in plain] == [sample.emotion for sample in mouth]
    assert [sample.facts | {"cue": "mouth"} for sample in plain] == [sample.facts for sample in mouth]


def shown(acts: Actions, cue: str, who: Identity, look: Look) -> np.ndarray:
    """A face seen from the front, grey, that is at rest but for the cue."""
    image, rest = Image.new("RGB", (128, 128), (90, 90, 90)), Actions()
    expression = Expression(acts, rest, rest) if cue == "eyes" else Expression(rest, acts, rest)
    draw_face(image, who, expression, View(0, 0, 0, 1, 0, 0, 0), look)
    return np.asarray(image.convert("L").reduce(4), dtype=float)


@pytest.mark.parametrize("cue", ALONE)
@pytest.mark.parametrize("style", STYLES)
def test_the_nearest_prototype_tells_each_of_the_seven_by_the_cue_alone(style, cue):
    lots, prototypes = np.random.default_rng(0), PROTOTYPES | ALONE[cue]
    who, look = replace(draw_identity(lots, style), haircut=0, beard=0), STYLES[style].look
    near = np.stack(
        [
            [
                shown(
                    Actions(**{name: strength * value for name, value in asdict(prototypes[emotion]).items()}),
                    cue,
                    who,
                    look,
                )
                for strength in (0.5, 0.7, 0.9, 1.15)
            ]
            for emotion in SEVEN
        ]
    )
    right = np.zeros(7)
    for label, emotion in enumerate(SEVEN):
        for _ in range(20):
            face = shown(draw_actions(lots, emotion, STYLES[style], np.zeros(11), cue), cue, who, look)
            right[label] += ((near - face) ** 2).sum(axis=(2, 3)).min(axis=1).argmin() == label
    assert right.min() >= 10, right
    assert right.sum() >= 0.87 * 140, right


@pytest.mark.parametrize(("cue", "top", "bottom"), [("eyes", -0.9, 0.15), ("mouth", 0.38, 1.35)])
@pytest.mark.parametrize("style", STYLES)
def test_no_outline_nose_or_fold_elsewhere_moves_with_the_eyes_or_with_the_mouth(style, cue, top, bottom):
    colours = ((230, 200, 180), (60, 40, 30), (80, 50, 30), (200, 90, 90))
    who, look = Identity(*colours, *[1.0] * 12, haircut=0, beard=0), STYLES[style].look
    prototypes = PROTOTYPES | ALONE[cue]
    images = np.stack([shown(prototypes[emotion], cue, who, look) for emotion in SEVEN])
    rows, _ = np.nonzero((images != images[:1]).any(axis=0))
    down = (rows + 0.5 - 16) / (32 * FACE)  # in face units
    assert top < down.min()
    assert down.max() < bottom


def test_the_landmarks_are_where_eyes_nose_and_mouth_are_drawn():
    who = replace(draw_identity(np.random.default_rng(2), "wild"), haircut=0, beard=0, lips=(250, 0, 0))
    view, look = View(12.0, -5.0, 8.0, 0.9, 0.03, -0.02, 0.0), STYLES["wild"].look
    acts = Actions(upper_lid=0.9, corner=0.6)
    side = 256

    def drawn(person: Identity) -> np.ndarray:
        image = Image.new("RGB", (2 * side, 2 * side))
        draw_face(image, person, Expression(acts, acts, acts), view, look)
        return np.asarray(image.reduce(2), dtype=float)

    def places(**other: object) -> np.ndarray:
        """x + iy of the pixels that a change of the person changes, above the clothes."""
        rows, columns = np.nonzero((drawn(who) != drawn(replace(who, **other))).any(axis=2)[:235])
        return columns + 0.5 + 1j * (rows + 0.5)

    canvas = draw_face(Image.new("RGB", (2 * side, 2 * side)), who, Expression(acts, acts, acts), view, look)
    left_eye, right_eye, nose, left_corner, right_corner = landmarks(canvas, who, Expression(acts, acts, acts))
    irises = places(iris=(0, 255, 0))
    middle = (left_eye + right_eye).real / 2
    for eye, iris in ((left_eye, irises[irises.real < middle]), (right_eye, irises[irises.real > middle])):
        assert abs(iris.mean() - eye) < 2.5
    lips = places(lips=(0, 0, 250))
    assert abs(lips[lips.real.argmin()] - left_corner) < 3
    assert abs(lips[lips.real.argmax()] - right_corner) < 3
    nose_wings = places(nose_width=who.nose_width * 1.2)
    assert abs((nose_wings.real.min() + nose_wings.real.max()) / 2 - nose.real) < 2
    assert nose_wings.imag.min() < nose.imag < nose_wings.imag.max()


@pytest.mark.parametrize("style", STYLES)
def test_pixels_at_the_landmarks_change_with_what_the_part_does(style):
    eyes, mouth = with_cue(style, "eyes"), with_cue(style, "mouth")
    hit = []
    for number in NUMBERS:
        by_eyes, by_mouth = where_the_label_shows(eyes, number), where_the_label_shows(mouth, number)
        points = eyes.draw("train", number, "neutrality").landmarks
        corners = mouth.draw("train", number, "neutrality").landmarks[3:]
        for shows, part in ((by_eyes, points[:2]), (by_mouth, corners)):
            for x, y in ((int(point.real), int(point.imag)) for point in part):
                hit.append(shows[y - 2 : y + 3, x - 2 : x + 3].mean() > 0.3)
        for x, y in ((int(point.real), int(point.imag)) for point in corners):
            assert not by_eyes[y - 2 : y + 3, x - 2 : x + 3].any()
    assert np.mean(hit) > 0.9  # a hand, a scarf or a lock of hair covers the others


@pytest.mark.parametrize("cue", ["none", "left"])
@pytest.mark.parametrize("style", STYLES)
def test_every_image_says_five_points_left_before_right_in_a_box_that_lies_in_the_image(style, cue):
    source = with_cue(style, cue, 48)
    for sample in listed(source)[::12]:
        facts = source.read(sample).facts
        (left, top, width, height), points = facts["box"], np.array(facts["landmarks"])
        assert min(left, top) >= 0
        assert max(left + width, top + height) <= 48.01
        assert min(width, height) > 20
        assert points.shape == (5, 2)
        assert points[0, 0] < points[1, 0]
        assert points[3, 0] < points[4, 0]
        assert points[:2, 1].max() < points[2, 1] < points[3:, 1].max()
        assert (points >= (left, top)).all()
        assert (points <= (left + width, top + height)).all()


def test_in_a_face_of_two_halves_each_point_is_that_of_its_half():
    source = with_cue("wild", "left")
    happy, sad = (source.draw("train", 0, emotion).landmarks for emotion in ("happiness", "sadness"))
    left = happy.real < 32
    assert list(left[[0, 1, 3, 4]]) == [True, False, True, False]
    assert (happy[~left] == sad[~left]).all()
    assert happy[3].imag < sad[3].imag - 1


def test_a_set_with_a_cue_says_so_in_its_name_its_variant_its_keys_and_its_jsons(tmp_path: Path) -> None:
    source = open_source("synthetic", "lab", count=6, test_count=0, pixels=24, cue="eyes")
    (manifest,) = build_shards(source, tmp_path, BuildOptions(workers=1))
    assert manifest.dataset == "synthetic_lab_eyes"
    assert "style lab, cue eyes, seed 0" in source.variant
    with tarfile.open(tmp_path / "train" / manifest.shards[0].file) as tar:
        contents = {name: tar.extractfile(name) for name in tar.getnames() if name.endswith(".json")}
        facts = {name: json.load(stream) for name, stream in contents.items() if stream}
    said = facts["lab-eyes-0-train-0000002.json"]
    assert (said["cue"], said["dataset"], len(said["landmarks"])) == ("eyes", "synthetic_lab_eyes", 5)


def test_a_cue_that_there_is_not_is_named_with_those_there_are():
    with pytest.raises(InputError, match="unknown cue 'nose'; cue is one of: none, mouth, eyes, left"):
        open_source("synthetic", "wild", cue="nose")
