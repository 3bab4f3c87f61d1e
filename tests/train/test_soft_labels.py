"""Soft labels: from the json of a sample to the step that they take, beside the same step done by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from support.faces import Face, faces, shard_set
from support.runs import arguments, ledger, weights
from torch import nn

from fer_dist.cli.commands import main
from fer_dist.config.settings import Config, DataConfig, TrainConfig
from fer_dist.data.emotions import EIGHT, SEVEN
from fer_dist.data.loading.loader import Batch, Loader, Placement, training_loader
from fer_dist.data.loading.order import Order, Positions
from fer_dist.data.loading.pipeline import views_of
from fer_dist.data.loading.reader import Reader, Samples
from fer_dist.distributed.world import World, joined
from fer_dist.errors import InputError
from fer_dist.evaluate.results import load_predictions, load_scores
from fer_dist.model import SEResNet18
from fer_dist.runs.checkpoint import Checkpoints
from fer_dist.train.engine import Engine

CPU = torch.device("cpu")
ONE = World(0, 1, CPU)
IMAGES, CROP = 6, 4

# What a json may say, and what the study's seven make of it: surprise, fear, disgust, anger, sadness, happiness,
# neutrality. None: the image counts with its emotion alone.
CASES: tuple[tuple[dict[str, float] | None, list[float] | None], ...] = (
    ({"fear": 0.25, "anger": 0.75}, [0, 0.25, 0, 0.75, 0, 0, 0]),
    ({"happiness": 6, "sadness": 2, "disgust": 0}, [0, 0, 0, 0, 0.25, 0.75, 0]),
    ({"contempt": 0.5, "surprise": 0.4, "neutrality": 0.1}, [0.8, 0, 0, 0, 0, 0, 0.2]),
    ({"contempt": 1.0}, None),
    (None, None),
)


def softly(made: list[Face]) -> list[Face]:
    """The same samples, whose soft labels are those of CASES in turn."""
    soft = [CASES[number % len(CASES)][0] for number in range(len(made))]
    return [said(sample, {} if shares is None else {"soft": shares}) for sample, shares in zip(made, soft, strict=True)]


def said(sample: Face, facts: object) -> Face:
    return replace(sample, members={**sample.members, "json": json.dumps(facts).encode()})


def loader_of(reader: Reader, rank: int = 0, world: int = 1, on_bad: str = "stop") -> Loader:
    data = DataConfig(size=24, crop=20, on_bad=on_bad)
    return training_loader(data, reader, Order(reader.counts, 12, seed=7), Placement(rank, world, CPU, False, 1), 0, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight emotions in three shards, of which a model of seven drops contempt."""
    made = softly(faces(45, emotions=8))
    return shard_set(tmp_path_factory.mktemp("set") / "train", [made[:20], made[20:21], made[21:]], EIGHT)


@pytest.mark.parametrize("world", [1, 3])
def test_an_images_target_is_its_soft_label_among_the_emotions_of_the_model(folder: Path, world: int) -> None:
    expected = {}
    for number, sample in enumerate(faces(45, emotions=8)):
        shares = CASES[number % len(CASES)][1]
        expected[sample.key] = shares or [float(label == sample.label) for label in range(7)]
    reader = Reader(folder, SEVEN, drop_extra=True, soft=True)
    seen = 0
    for batch in (batch for rank in range(world) for batch in loader_of(reader, rank, world)):
        assert batch.targets is not None
        assert batch.targets.dtype == torch.float32
        np.testing.assert_allclose(batch.targets, [expected[key] for key in batch.samples.keys], atol=1e-7)
        seen += len(batch.targets)
    assert seen == 48


def test_an_image_that_does_not_decode_takes_its_target_with_it(tmp_path: Path) -> None:
    made = softly(faces(24))
    made[8] = replace(made[8], members={**made[8].members, "png": b"no image"})
    reader = Reader(shard_set(tmp_path / "train", [made]), SEVEN, soft=True)
    every = Positions(np.zeros(24, dtype=np.int64), np.arange(24))
    samples = reader.read(every)
    assert samples.targets is not None
    expected = dict(zip(samples.keys, samples.targets, strict=True))
    batches = list(loader_of(reader, on_bad="skip"))
    assert sum(len(batch.labels) for batch in batches) == 48 - 2
    for batch in batches:
        np.testing.assert_array_equal(batch.targets, [expected[key] for key in batch.samples.keys])


def test_the_json_is_read_for_soft_labels_alone(tmp_path: Path) -> None:
    made = [replace(sample, members={**sample.members, "json": b"no json"}) for sample in faces(12)]
    folder = shard_set(tmp_path / "train", [made])
    assert {batch.targets for batch in loader_of(Reader(folder, SEVEN))} == {None}
    with pytest.raises(InputError, match=r"^drawn-train-000000\.tar: face-00\d\d: its \.json does not parse"):
        list(loader_of(Reader(folder, SEVEN, soft=True)))


@pytest.mark.parametrize(
    ("soft", "message"),
    [
        ([0.5, 0.5], "is a list, not shares by emotion"),
        ({"anger": 0.5, "boredom": 0.5}, "names 'boredom', which is no emotion that we know and no class of the set"),
        ({"anger": 1.5, "fear": -0.5}, "gives fear the share -0.5"),
        ({"anger": "all"}, "gives anger the share 'all'"),
        ({"anger": float("nan")}, "gives anger the share nan"),
        ({"anger": 0, "contempt": 0}, "has no share above 0"),
        ({}, "has no share above 0"),
    ],
)
def test_a_malformed_soft_label_is_one_line_with_its_shard_and_key(tmp_path: Path, soft: object, message: str) -> None:
    made = faces(6)
    made[4] = said(made[4], {"soft": soft})
    reader = Reader(shard_set(tmp_path / "train", [made]), SEVEN, soft=True)
    with pytest.raises(InputError, match=rf"^drawn-train-000000\.tar: face-0004: its soft label {message}; .*hard"):
        reader.read(Positions(np.zeros(6, dtype=np.int64), np.arange(6)))


# The step, of a network that can be done by hand: one linear layer.


def settings(views: str, micro_batch: int = 0, smoothing: float = 0.1, lacking: int = 0) -> Config:
    """lacking: images of the batch that did not decode and were left out."""
    plain = TrainConfig(batch_size=IMAGES + lacking, micro_batch=micro_batch, momentum=0, weight_decay=0)
    data = DataConfig(size=CROP, crop=CROP, views=views, on_bad="skip" if lacking else "stop")
    return Config(data=data, train=replace(plain, label_smoothing=smoothing, precision="fp32"))


def drawn_batch(config: Config, channels: int = 3) -> Batch:
    draws = np.random.default_rng(0)
    count, side = IMAGES * views_of(config.data), config.data.crop
    crops = torch.from_numpy(draws.normal(size=(count, channels, side, side)).astype(np.float32))
    labels = torch.from_numpy(draws.integers(0, 7, IMAGES))
    targets = torch.from_numpy(draws.dirichlet(np.full(7, 0.5), IMAGES).astype(np.float32))
    return Batch(0, crops, labels, targets, Samples([], labels.numpy(), [], []), nowhere(), 0.0)


def nowhere() -> Positions:
    return Positions(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * CROP * CROP, 7))


def by_hand(config: Config, batch: Batch, lr: float) -> tuple[np.ndarray, float]:
    """The weights after one step, and its loss: softmax and its gradient in float64."""
    layer = linear()[1]
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    x = batch.crops.double().numpy().reshape(IMAGES, views_of(config.data), -1)
    if config.data.views == "fold":
        # The mean of an image's logits is the logit of its mean crop.
        x = x.mean(axis=1, keepdims=True)
    exponents = np.exp(x @ weight.T + bias)
    shares = exponents / exponents.sum(axis=2, keepdims=True)
    smoothing = config.train.label_smoothing
    targets = (1 - smoothing) * batch.targets.double().numpy()[:, None] + smoothing / 7
    slope = (shares - targets) / (x.shape[0] * x.shape[1])
    loss = -(targets * np.log(shares)).sum() / (x.shape[0] * x.shape[1])
    return weight - lr * np.einsum("nvk,nvd->kd", slope, x), float(loss)


@pytest.mark.parametrize("views", ["expand", "fold", "random_one"])
@pytest.mark.parametrize("micro_batch", [0, 2, 5])
@pytest.mark.parametrize("lacking", [0, 3])
def test_a_step_is_the_one_done_by_hand_over_the_images_that_are_there(
    views: str, micro_batch: int, lacking: int
) -> None:
    config = settings(views, micro_batch, lacking=lacking)
    batch = drawn_batch(config)
    model = linear()
    engine = Engine(config, model, ONE)
    engine.step(batch, 0.5)
    expected, loss = by_hand(config, batch, 0.5)
    np.testing.assert_allclose(model[1].weight.detach().numpy(), expected, atol=1e-6)
    assert engine.totals().loss == pytest.approx(loss, abs=1e-6)


def step_of_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    with joined(CPU, 300.0) as world:
        take_part(world, folder)
        world.barrier()
    dist.destroy_process_group()


def take_part(world: World, folder: str) -> None:
    """Two of the images on rank 0, the other four on rank 1; rank 0 leaves its weights in a file."""
    for lacking in (0, 3):
        config = settings("expand", micro_batch=1, lacking=lacking)
        whole, views = drawn_batch(config), views_of(config.data)
        mine = slice(0, 2) if world.is_main else slice(2, 6)
        crops = whole.crops[mine.start * views : mine.stop * views]
        model = linear()
        engine = Engine(config, model, world)
        engine.step(replace(whole, crops=crops, labels=whole.labels[mine], targets=whole.targets[mine]), 0.5)
        loss = engine.totals().loss
        if world.is_main:
            np.savez(f"{folder}/{lacking}.npz", weight=model[1].weight.detach().numpy(), loss=loss)


def test_two_ranks_of_uneven_shares_take_the_step_done_by_hand_over_the_images_that_are_there(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(step_of_rank, (str(tmp_path),), nprocs=2)
    config = settings("expand")
    expected, loss = by_hand(config, drawn_batch(config), 0.5)
    for lacking in (0, 3):
        found = np.load(tmp_path / f"{lacking}.npz")
        np.testing.assert_allclose(found["weight"], expected, atol=1e-6)
        assert found["loss"] == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("views", ["expand", "fold"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_soft_labels_that_are_certain_train_as_hard_ones_do(views: str, smoothing: float) -> None:
    base = settings(views, smoothing=smoothing)
    config = replace(base, data=replace(base.data, size=32, crop=32))
    soft = drawn_batch(config)
    soft = replace(soft, targets=nn.functional.one_hot(soft.labels, 7).float())

    def trained(batch: Batch) -> torch.Tensor:
        torch.manual_seed(0)
        model = SEResNet18(7, width=16)
        engine = Engine(config, model, ONE)
        for _ in range(3):
            engine.step(batch, 0.05)
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    torch.testing.assert_close(trained(soft), trained(replace(soft, targets=None)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("views", ["random_one", "expand", "fold"])
def test_the_accuracy_of_the_curves_is_that_of_the_emotion_over_the_answers_that_the_loss_takes(views: str) -> None:
    config = settings(views)
    batch = drawn_batch(config)
    with torch.no_grad():
        logits = linear()(batch.crops).unflatten(0, (IMAGES, -1))
    # By hand: fold asks an image once, by the mean of its crops; else each crop is asked.
    answers = logits.mean(1, keepdim=True).argmax(2) if views == "fold" else logits.argmax(2)
    labels = answers[:, 0].clone()
    labels[:2] = (labels[:2] + 1) % 7
    right = [(answers[number] == labels[number]).float().mean() for number in range(IMAGES)]
    assert views != "expand" or any(0 < part < 1 for part in right)
    engine = Engine(config, linear(), ONE)
    engine.step(replace(batch, labels=labels), 0.5)
    assert engine.totals().accuracy == pytest.approx(sum(right) / IMAGES)


# Whole runs.


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training set with soft labels, and a validation set whose soft labels would stop a run that reads them."""
    root = tmp_path_factory.mktemp("shards")
    made = softly(faces(60))
    shard_set(root / "train", [made[:40], made[40:]], EIGHT)
    shard_set(root / "val", [[said(sample, {"soft": "wrong"}) for sample in faces(14)]], SEVEN, split="val")
    return root


def run(shards: Path, root: Path, name: str, *more: str) -> Path:
    assert main(["train", *arguments(shards, root, name, *more)]) == 0
    return root / name


def test_a_soft_run_takes_the_images_of_a_hard_one_to_other_weights(shards: Path, tmp_path: Path) -> None:
    hard, soft = run(shards, tmp_path, "hard"), run(shards, tmp_path, "soft", "--train.loss", "soft")
    assert ledger(soft) == ledger(hard)
    assert weights(soft) != weights(hard)
    (name,) = load_scores(soft)
    tables = [load_predictions(folder / "predictions" / f"{name}.parquet") for folder in (hard, soft)]
    np.testing.assert_array_equal(tables[0].labels, tables[1].labels)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_soft_run_that_is_resumed_equals_an_undisturbed_one(shards: Path, tmp_path: Path, precision: str) -> None:
    more = ["--train.loss", "soft", "--train.save-every-steps", "1", "--train.precision", precision]
    folder = run(shards, tmp_path, "soft", *more)
    undisturbed = weights(folder)
    newest = Checkpoints(folder).model_file("last")
    newest.write_bytes(newest.read_bytes()[:-1])
    assert weights(run(shards, tmp_path, "soft", *more, "--resume")) == undisturbed


def test_a_hard_run_is_not_resumed_as_a_soft_one(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run(shards, tmp_path, "hard")
    assert main(["train", *arguments(shards, tmp_path, "hard", "--train.loss", "soft", "--resume")]) == 2
    assert "train.loss hard -> soft" in capsys.readouterr().err


@pytest.mark.parametrize("facts", [{"id": "7"}, {"soft": None}])
def test_a_set_without_soft_labels_is_named_with_flag_and_remedy_before_anything_starts(
    tmp_path: Path, facts: dict[str, object], capsys: pytest.CaptureFixture
) -> None:
    shard_set(tmp_path / "train", [[said(sample, facts) for sample in faces(40)]])
    shard_set(tmp_path / "val", [faces(7)], split="val")
    assert main(["train", *arguments(tmp_path, tmp_path / "root", "none", "--train.loss", "soft")]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert f"--train.loss soft: of the first 40 images of {tmp_path / 'train'} none has a soft label" in text
    assert "--train.loss hard" in text
    assert "fer-dist shards build ferplus" in text
    assert not (tmp_path / "root").exists()
