"""Accuracy on training images: the images, crops and answers are those of training, and the interval is over images."""

import numpy as np
import pytest
import torch
from support.faces import faces, shard_set

from fer_dist.config.settings import DataConfig
from fer_dist.data.emotions import SEVEN
from fer_dist.data.loading.loader import Placement, training_loader
from fer_dist.data.loading.order import Order
from fer_dist.data.loading.reader import Reader, choose
from fer_dist.evaluate.predict import correct_of_each
from fer_dist.evaluate.training_accuracy import Shown, image_interval, training_accuracy
from fer_dist.runs.network import Network, build, on_device

CPU = torch.device("cpu")
HERE = Placement(0, 1, CPU, half=False, threads=1)
NETWORK = Network(SEVEN, 24, 20, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 16, 16, False)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return Reader(shard_set(tmp_path_factory.mktemp("set") / "train", [faces(40)]), SEVEN)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return on_device(build(NETWORK), CPU)


def asked(views, images, seed=3, epoch=2):
    return Shown(DataConfig(size=24, crop=20, views=views), seed, epoch, images)


@pytest.mark.parametrize(("views", "answers"), [("expand", 5), ("fold", 1), ("random_one", 1)])
def test_it_is_what_the_network_says_of_the_crops_that_a_training_would_see_in_that_epoch(
    reader, model, views, answers
):
    shown = asked(views, images=0)
    order = Order(reader.counts, 40, shown.seed)
    # The third epoch of a training, whose batch is the whole set.
    (batch,) = training_loader(shown.data, reader, order, HERE, 2, 3)
    model.eval()
    with torch.no_grad():
        logits = model(batch.crops).unflatten(0, (40, -1))
    answered = logits.mean(1, keepdim=True) if views == "fold" else logits
    expected = (answered.argmax(2) == batch.labels[:, None]).float().mean()
    found = training_accuracy(model.train(), reader, shown, HERE)
    assert (found["images"], found["answers"]) == (40, answers)
    assert found["accuracy"] == pytest.approx(float(expected), abs=1e-6)
    assert model.training


def test_the_images_are_always_the_same_and_their_number_is_said(reader, model):
    keys = reader.keys(choose(reader, 12))
    assert len(set(keys)) == 12
    assert set(keys) < set(reader.keys(choose(reader, 25)))
    found = [training_accuracy(model, reader, asked("expand", 12), HERE) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0]["images"] == 12


def test_an_answer_counts_once_or_its_image_does():
    logits = torch.tensor([[[2.0, 0.0], [0.0, 1.0], [0.0, 1.5]], [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]])
    labels = torch.tensor([1, 0])
    assert correct_of_each(logits, labels, "expand").tolist() == [pytest.approx(2 / 3), 0]
    assert correct_of_each(logits, labels, "fold").tolist() == [1, 0]


@pytest.mark.parametrize("alike", [0.0, 0.5, 1.0])
def test_the_interval_holds_the_truth_whether_the_crops_of_an_image_are_alike_or_not(alike):
    # A crop is right as its image is, or for itself. Of 400 runs, 2.3 deviations to each side of 95 %.
    random, truth, held = np.random.default_rng(1), 0.8, 0
    for _ in range(400):
        image = random.random((200, 1)) < truth
        crops = np.where(random.random((200, 5)) < alike, image, random.random((200, 5)) < truth)
        low, high = image_interval(crops.mean(axis=1), 5)
        held += low <= truth <= high
    assert 0.925 <= held / 400 <= 0.975


def test_images_that_are_all_right_or_one_alone_still_have_an_interval():
    low, high = image_interval(np.ones(100), 5)
    assert (low, high) == (pytest.approx(0.963, abs=1e-3), 1)
    low, high = image_interval(np.array([0.6]), 5)
    assert low < 0.6 < high
