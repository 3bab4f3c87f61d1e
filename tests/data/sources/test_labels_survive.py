"""Labels by name from a release's files to a predictions table, for every source and variant.

The images show their emotion, the truth is typed by hand beside each release, and a network that has learned to see
it is asked: an error in any table of codes, in shards, loader, checkpoint or predictions makes the names disagree.
"""

import importlib
import io
import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.faces import write
from support.releases.made import EMOTIONS, Maker, Release, image_bytes
from support.runs import command

from fer_dist.config.settings import DataConfig, EvaluateConfig
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.loading.loader import Placement, evaluation_loader
from fer_dist.data.loading.reader import Reader
from fer_dist.data.shards.manifest import load_manifest
from fer_dist.data.sources.source import SOURCES, open_source
from fer_dist.errors import InputError
from fer_dist.evaluate.evaluate import evaluate
from fer_dist.evaluate.results import load_predictions
from fer_dist.runs.checkpoint import load_network
from fer_dist.storage.untrusted import MOST_LINE_LENGTH

WITHOUT_RELEASE = {"fer2013", "folder", "synthetic"}
"""Sources that have no release file: the first two are made below, and synthetic faces have no codes."""

READ_BY_LINE = {
    "affectnet": {"training.csv", "validation.csv"}, "csv": set(), "expw": {"label.lst"}, "fer2013": {"fer2013.csv"},
    "ferplus": {"fer2013new.csv", "fer2013.csv", "label.csv"}, "rafdb": {"list_patition_label.txt", "train_labels.csv"},
}  # fmt: skip
"""Source -> files that some of its releases have, of a line for each image."""

SIDE = 24


def fer2013(root: Path) -> Release:
    """The folders of FER2013; the words are those of its data page."""
    words = dict(
        zip(("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"), EMOTIONS_OF_WORDS, strict=True)
    )
    truth: dict[str, dict[str, str]] = {"train": {}, "val": {}, "test": {}}
    for number, (word, emotion) in enumerate(words.items()):
        for usage, folder, split in (
            ("Training", "train", "train"),
            ("PublicTest", "test", "val"),
            ("PrivateTest", "test", "test"),
        ):
            name = f"{folder}/{word}/{usage}_{number}.jpg"
            write(root / name, image_bytes(emotion, number, mode="L"))
            truth[split][name] = emotion
    return Release("fer2013", root, truth)


EMOTIONS_OF_WORDS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutrality")


def fer2013_table(root: Path) -> Release:
    """The csv of FER2013; codes 0 to 6 are those of its data page."""
    usages = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
    rows, truth = ["emotion,pixels,Usage"], {split: {} for split in usages.values()}  # type: ignore[var-annotated]
    for number in range(21):
        code, usage = number % 7, list(usages)[number // 7]
        image = Image.open(io.BytesIO(image_bytes(EMOTIONS_OF_WORDS[code], number, "PNG", mode="L")))
        rows.append(f"{code},{' '.join(map(str, np.asarray(image).ravel().tolist()))},{usage}")
        truth[usages[usage]][str(number)] = EMOTIONS_OF_WORDS[code]
    return Release("fer2013", write(root / "fer2013.csv", "\n".join(rows).encode()), truth)


def folder(root: Path) -> Release:
    truth = {}
    for number, emotion in enumerate(EMOTIONS):
        name = f"train/{emotion}/{number}.png"
        write(root / name, image_bytes(emotion, number, "PNG"))
        truth[name] = emotion
    return Release("folder", root, {"train": truth})


def makers() -> dict[str, Maker]:
    found: list[Maker] = [fer2013, fer2013_table, folder]
    for source in sorted(set(SOURCES) - WITHOUT_RELEASE):
        found += importlib.import_module(f"support.releases.{source}").MAKERS
    return {f"{maker.__module__.rpartition('.')[2]}-{maker.__name__}": maker for maker in found}


MAKERS = makers()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has learned which cell is bright, trained by the command line on a folder of eight classes."""
    root = tmp_path_factory.mktemp("seeing")
    for number in range(480):
        emotion = EMOTIONS[number % 8]
        write(root / "raw" / "train" / emotion / f"{number}.png", image_bytes(emotion, number, "PNG"))
    build_shards(open_source("folder", str(root / "raw")), root / "shards", BuildOptions(workers=1))
    flags = {
        "data.train": root / "shards" / "train",
        "run.root": root,
        "run.name": "run",
        "model.emotions": "eight",
        "model.width": 16,
        "data.size": SIDE,
        "data.crop": SIDE,
        "data.rotate-degrees": 5,
        "data.views": "centre",
        "train.batch-size": 32,
        "train.epochs": 6,
        "train.lr": 0.1,
        "train.schedule": "cosine",
        "data.threads": 1,
    }
    words = [str(word) for name, value in flags.items() for word in (f"--{name}", value)]
    # Mirrored, the cell of one emotion is that of another.
    ended = command("train", "demo", *words, "--data.no-flip")
    assert ended.returncode == 0, ended.stderr
    return max((root / "run" / "checkpoints").glob("*/model.safetensors"), key=lambda path: int(path.parent.name))


@dataclass(frozen=True)
class Built:
    release: Release
    out: Path


@pytest.fixture(scope="module", params=MAKERS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    root = tmp_path_factory.mktemp(request.param)
    release = MAKERS[request.param](root / "raw")
    source = open_source(release.source, str(release.raw), **release.options)
    build_shards(source, root / "shards", BuildOptions(workers=1))
    return Built(release, root / "shards")


def told(folder: Path) -> dict[str, tuple[str, str, str]]:
    """Of each key: the release's id, the emotion in the json, and the one that .cls means."""
    emotions = load_manifest(folder).emotions
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        for name in [name for name in files if name.endswith(".json")]:
            key, facts = name.removesuffix(".json"), json.loads(files[name])
            label = emotions[int(files[f"{key}.cls"])]
            found[key] = (str(facts["id"]), facts["emotion"], label)
    return found


def test_every_source_has_a_release_to_test_its_labels_with() -> None:
    sources = {name.partition("-")[0] for name in MAKERS}
    assert sources >= set(SOURCES) - WITHOUT_RELEASE


@pytest.mark.parametrize("source", READ_BY_LINE)
def test_a_line_without_an_end_in_any_list_is_one_clear_line(source: str, tmp_path: Path) -> None:
    found = {}
    for name in [name for name in MAKERS if name.startswith(source) or name.endswith(f"-{source}_table")]:
        release = MAKERS[name](tmp_path / name)
        places = [release.raw, *release.raw.rglob("*")]
        for path in [path for path in places if path.is_file() and path.suffix in (".csv", ".txt", ".lst")]:
            content = path.read_bytes()
            path.write_bytes(content + b"x" * (MOST_LINE_LENGTH + 1))
            try:
                list(open_source(release.source, str(release.raw), **release.options).samples())
            # A file that is read whole or not at all says nothing of its lines.
            except InputError as error:
                found[path.name] = str(error).removeprefix(f"{path}: ")
            path.write_bytes(content)
    assert set(found) >= READ_BY_LINE[source]
    (said,) = set(found.values())
    assert said.startswith("a line of more than 1,048,576 letters, so no table; give the list as")


def test_the_shards_say_what_the_release_says(built: Built) -> None:
    assert sorted(path.name for path in built.out.iterdir()) == sorted(built.release.truth)
    for split, truth in built.release.truth.items():
        found = told(built.out / split)
        assert {name: by_json for name, by_json, _ in found.values()} == truth
        assert {name: by_number for name, _, by_number in found.values()} == truth
        counts = load_manifest(built.out / split).counts
        assert {name: count for name, count in counts.items() if count} == tally(truth)


def tally(truth: dict[str, str]) -> dict[str, int]:
    return {emotion: list(truth.values()).count(emotion) for emotion in truth.values()}


def test_the_loader_gives_each_image_with_the_output_of_its_emotion(built: Built, model: Path) -> None:
    network, _ = load_network(str(model))
    for split, truth in built.release.truth.items():
        names = {key: name for key, (name, *_) in told(built.out / split).items()}
        reader = Reader(built.out / split, network.emotions)
        placement = Placement(0, 1, torch.device("cpu"), half=False, threads=1)
        loader = evaluation_loader(DataConfig(size=SIDE, crop=SIDE), reader, placement, 16)
        seen_keys = []
        for batch in loader:
            for key, label in zip(batch.samples.keys, batch.labels.tolist(), strict=True):
                assert network.emotions[label] == truth[names[key]]
            seen_keys += batch.samples.keys
        assert sorted(seen_keys) == sorted(names)


def test_the_network_sees_the_emotion_that_the_release_states(built: Built, model: Path, tmp_path: Path) -> None:
    weights = Path(shutil.copy(model, tmp_path))
    for split, truth in built.release.truth.items():
        evaluate(EvaluateConfig((str(weights),), (str(built.out / split),), device="cpu", threads=1))
        table = load_predictions(next((tmp_path / "predictions").glob(f"*-{split}.parquet")))
        names = {key: name for key, (name, *_) in told(built.out / split).items()}
        assert set(table.keys) == set(names)
        for key, label, probabilities in zip(table.keys, table.labels, table.probabilities, strict=True):
            assert table.emotions[label] == truth[names[str(key)]]
            assert table.emotions[int(probabilities.argmax())] == truth[names[str(key)]], names[str(key)]
