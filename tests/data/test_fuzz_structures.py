"""Mutated structures, through the functions behind the commands: one line, or what the file says; and nothing else.

Manifests, indexes, labels, lists, plans, configurations, checkpoints, predictions, scores, studies and their records,
and the tables of releases. Run by itself, this file is the process that takes them in.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator
from support import mutators
from support.faces import environment, faces, shard_set
from support.runs import newest

ARCHIVE = Path(__file__).parents[1] / "support" / "older.tar.xz"
SECONDS = 10
"""Of a processor that one input may take; most take some hundredths."""

MOST_SECONDS = 120
"""That one input may take where it waits, or the machine is busy."""

MORE_BYTES = 3 << 30
"""Of address space that the inputs may take, above what the libraries have."""

LONGEST_LINE = 2000
ESCAPED = Path("/tmp/escaped-of-fer-dist")


def run(seed: int, count: int, folder: Path, form: str) -> dict[str, int]:
    """Take in `count` inputs in another process. Returns how many had each outcome."""
    inside = folder / "inside"
    (inside / "home").mkdir(parents=True)
    (folder / "sentinel").write_text("untouched")
    words = [sys.executable, "-X", "faulthandler", __file__, str(seed), str(count), str(inside), form]
    more = {"TMPDIR": str(inside), "HOME": str(inside / "home"), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(words, capture_output=True, text=True, env=environment() | more, timeout=120 + 4 * count)
    last = (inside / "last").read_text()
    assert ended.returncode == 0, f"seed, number and kind {last}: exit {ended.returncode}\n{ended.stderr[-3000:]}"
    assert {path.name for path in folder.iterdir()} == {"inside", "sentinel"}
    assert (folder / "sentinel").read_text() == "untouched"
    assert not ESCAPED.exists()
    said = json.loads(ended.stdout)
    assert not said["faults"], "\n".join(said["faults"])
    found: dict[str, int] = said["outcomes"]
    return found


def test_mutated_structures_give_one_line_or_what_they_say(tmp_path: Path) -> None:
    outcomes = run(1, 45, tmp_path, "short")
    assert sum(outcomes.values()) == 45
    assert len({outcome.partition(":")[0] for outcome in outcomes}) == len(KINDS)


@pytest.mark.slow
def test_a_thousand_mutated_structures_give_one_line_or_what_they_say(tmp_path: Path) -> None:
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        parts = pool.map(lambda seed: Counter(run(seed, 250, tmp_path / str(seed), "long")), range(100, 104))
        outcomes = sum(parts, Counter())
    assert outcomes.total() == 1000
    print(json.dumps(dict(sorted(outcomes.items())), indent=1))


# What one process does.


@dataclass
class Taken:
    """What became of one input.

    is_long: whether commands that take seconds are called as well. said: the messages of errors; read: how many
    functions had none.
    """

    is_long: bool = False
    said: list[str] = field(default_factory=list)
    read: int = 0

    def by(self, action: Callable[[], Any]) -> Any:
        """Call what reads the input. Returns what it gives; None where it says in one line what is wrong."""
        from fer_dist.errors import InputError, WorkError

        try:
            found = action()
        except (InputError, WorkError) as error:
            self.check(str(error))
            return None
        self.read += 1
        return found

    def command(self, *words: str) -> None:
        """Call the whole command."""
        from fer_dist.cli.commands import main

        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(words))
        text = err.getvalue()
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", text + out.getvalue()), text
        if code == 0:
            self.read += 1
        else:
            last = text.splitlines()[-1]
            assert last.startswith("fer-dist: "), text
            assert len(last) <= LONGEST_LINE, f"{len(last)} characters: {last[:200]}"
            self.check(last)

    def check(self, text: str) -> None:
        assert text.strip(), "an error without a word"
        assert "Traceback" not in text, text
        assert len(text.splitlines()) == 1 or "\n" not in text, repr(text[:500])
        self.said.append(text)

    @property
    def outcome(self) -> str:
        return "is read" if not self.said else "is read in part" if self.read else "stops"


def copied(source: Path, target: Path, *replaced: Path) -> Path:
    """A folder whose files are those of another, but for the ones that a mutant will replace: they are not there."""
    shutil.copytree(source, target, copy_function=os.link)
    for path in replaced:
        (target / path).unlink()
    return target


@cache
def older() -> Path:
    """Shards, a run and a study."""
    folder = Path(tempfile.mkdtemp(prefix="older-"))
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    shutil.copytree(folder / "runs" / "first" / "checkpoints", folder / "study" / "runs" / "faces" / "checkpoints")
    return folder


@cache
def plain_set() -> tuple[Path, dict[str, int]]:
    """A set in two shards, and the label of each key."""
    made = [sample(face.key, face.label, face.members) for face in faces(28, side=12)]
    folder = shard_set(Path(tempfile.mkdtemp(prefix="set-")) / "train", [made[:14], made[14:]])
    return folder, {face.key: face.label for face in made}


def sample(key: str, label: int, members: dict[str, bytes]) -> Any:
    from support.faces import Face

    from fer_dist.data.emotions import SEVEN

    facts = {
        "id": key, "emotion": SEVEN[label], "dataset": "drawn", "subject": f"s{label}", "box": [1, 2, 3, 4], "age": 31,
        "soft": {SEVEN[label]: 0.7, SEVEN[label - 1]: 0.3}, "valence": -0.25, "landmarks": [[1.0, 2.0], [3.5, 4.0]],
    }  # fmt: skip
    return Face(key, label, members | {"json": json.dumps(facts).encode()})


def labels_of(folder: Path, emotions: tuple[str, ...], **more: Any) -> dict[str, str]:
    """The emotion of each key, as training would have it."""
    from fer_dist.data.loading.order import sequence
    from fer_dist.data.loading.reader import Reader

    reader = Reader(folder, emotions, **more)
    found = {}
    for positions in sequence(reader.counts, 0, 1, 64):
        samples = reader.read(positions)
        found |= {key: emotions[label] for key, label in zip(samples.keys, samples.labels.tolist(), strict=True)}
    return found


def take_set(folder: Path, taken: Taken) -> dict[str, str]:
    """What commands do with a set. Returns the emotion of each key that is delivered."""
    from fer_dist.data.emotions import SEVEN
    from fer_dist.data.inspection.describe import describe
    from fer_dist.data.inspection.verify import verify_shards

    found: dict[str, str] = taken.by(lambda: labels_of(folder, SEVEN)) or {}
    described = taken.by(lambda: describe([folder]))
    if described:
        taken.command("shards", "describe", str(folder))
    taken.by(lambda: verify_shards(folder))
    return found


def manifest(rng: Generator, root: Path, taken: Taken) -> None:
    from fer_dist.data.emotions import SEVEN
    from fer_dist.data.shards.index import index_shards

    source, labels = plain_set()
    folder = copied(source, root / "set" / "train", Path("manifest.json"))
    content = mutators.mutated_json(rng, (source / "manifest.json").read_bytes())
    (folder / "manifest.json").write_bytes(content)
    found = take_set(folder, taken)
    said = taken.by(lambda: index_shards(folder))
    if said and said.emotions == SEVEN:
        assert {key: SEVEN[labels[key]] for key in found} == found


def index(rng: Generator, root: Path, taken: Taken) -> None:
    from fer_dist.data.emotions import SEVEN

    source, labels = plain_set()
    path = sorted(source.glob("*.idx"))[0]
    folder = copied(source, root / "set" / "train", Path(path.name))
    (folder / path.name).write_bytes(mutators.mutated_table(rng, path.read_bytes(), " "))
    found = take_set(folder, taken)
    assert {key: SEVEN[labels[key]] for key in found} == found


def label(rng: Generator, root: Path, taken: Taken) -> None:
    """The .json or the .cls of a sample."""
    from fer_dist.data.emotions import SEVEN
    from fer_dist.data.loading.order import sequence
    from fer_dist.data.loading.reader import Reader
    from fer_dist.data.shards.index import index_shards
    from fer_dist.evaluate.predict import stated_of

    made = [sample(face.key, face.label, face.members) for face in faces(7, side=12)]
    extension = ("json", "json", "json", "cls")[rng.integers(4)]
    content = mutators.mutated_json(rng, made[3].members[extension])
    made[3].members[extension] = content
    folder = shard_set(root / "set" / "train", [made])
    found = take_set(folder, taken)
    if extension == "json":
        assert {face.key: SEVEN[face.label] for face in made if face.key in found} == found
    elif made[3].key in found:
        assert SEVEN[int(content)] == found[made[3].key]
    taken.by(lambda: labels_of(folder, SEVEN, soft=True))

    def stated() -> None:
        reader = Reader(folder, SEVEN)
        json.dumps(stated_of(reader, sequence(reader.counts, 0, 1, 64)), allow_nan=True).encode()

    taken.by(stated)
    (folder / "manifest.json").unlink()
    taken.by(lambda: index_shards(folder, SEVEN))


def predictions(rng: Generator, root: Path, taken: Taken) -> None:
    import pyarrow.parquet

    from fer_dist.evaluate.results import load_predictions, save_predictions
    from fer_dist.scores.compare import paired
    from fer_dist.scores.detail import detail
    from fer_dist.scores.metrics import scores

    source = older() / "runs" / "first" / "predictions" / "synthetic_wild-test.parquet"
    path = root / source.name
    path.write_bytes(mutators.mutated_parquet(rng, source.read_bytes()))
    found = taken.by(lambda: load_predictions(path))
    if found is None:
        return
    assert bool(np.isfinite(found.probabilities).all()), "probabilities that are no numbers"
    table = pyarrow.parquet.read_table(path)
    names = [found.emotions[number] if number >= 0 else None for number in found.labels]
    assert dict(zip(table["key"].to_pylist(), table["emotion"].to_pylist(), strict=True)) == dict(
        zip(found.keys, names, strict=True)
    )
    json.dumps(taken.by(lambda: scores(found)), allow_nan=False)
    # What the study measures of each attribute that its plan names.
    counts = dict.fromkeys(found.emotions, 3)
    json.dumps(taken.by(lambda: detail(found, counts)), allow_nan=False)
    taken.by(lambda: paired(found, load_predictions(source), bootstrap=10))
    taken.by(lambda: save_predictions(root / "again.parquet", found))


FINISHED = [
    "--data.size", "24", "--data.crop", "20", "--data.threads", "1", "--train.precision", "fp32", "--run.device", "cpu",
    "--resume",
]  # fmt: skip


@cache
def resumed_words() -> tuple[str, ...]:
    """The command that goes on with the older run."""
    settings = json.loads((older() / "runs" / "first" / "config.json").read_text())["config"]
    words = ["--data.train", str(older() / "shards" / "train"), "--data.val", str(older() / "shards" / "val")]
    for name in ("model.width", "model.reduction", "train.batch_size", "train.epochs"):
        section, _, key = name.partition(".")
        words += [f"--{name.replace('_', '-')}", str(settings[section][key])]
    return ("train", "demo", *words, *FINISHED, "--run.name", "first")


def checkpoint(rng: Generator, root: Path, taken: Taken) -> None:
    from fer_dist.data.emotions import SEVEN
    from fer_dist.runs.checkpoint import Checkpoints, load_model

    source = older() / "runs" / "first" / "checkpoints"
    names = ("model.safetensors", "model.safetensors", "optimizer.safetensors", "state.json", "list.json")
    name = names[rng.integers(5)]
    place = Path("checkpoints", name) if name == "list.json" else Path("checkpoints", "10", name)
    folder = copied(older() / "runs" / "first", root / "runs" / "first", place)
    content = (source.parent / place).read_bytes()
    mutator = mutators.mutated_json if name.endswith("json") else mutators.mutated_safetensors
    changed = mutator(rng, content)
    (folder / place).write_bytes(changed)
    if name != "list.json" and rng.random() < 0.85:
        # Whoever changes a file can change the list.
        listed = json.loads((source / "list.json").read_text())
        listed[-1]["files"][name] = hashlib.sha256(changed).hexdigest()
        (folder / "checkpoints" / "list.json").unlink()
        (folder / "checkpoints" / "list.json").write_text(json.dumps(listed))
    taken.by(lambda: newest(Checkpoints(folder)))
    found = taken.by(lambda: load_model(folder))
    taken.by(lambda: load_model(folder, "best"))
    taken.by(lambda: load_model(folder / "checkpoints" / "10" / "model.safetensors"))
    if taken.is_long and found and rng.random() < 0.3:
        assert found[0].emotions == SEVEN or name == "model.safetensors"
        words = ["--data", str(older() / "shards" / "test"), "--device", "cpu", "--threads", "1"]
        taken.command("evaluate", "--models", str(folder), *words)
    if taken.is_long and (name != "model.safetensors" or rng.random() < 0.2):
        taken.command(*resumed_words(), "--run.root", str(folder.parent))


def plan(rng: Generator, root: Path, taken: Taken) -> None:
    from fer_dist.study.jobs import jobs_of
    from fer_dist.study.plan import StudyConfig
    from fer_dist.study.plan_file import as_yaml, load_plan
    from fer_dist.study.setup import prepare

    path = root / "plan.yaml"
    path.write_bytes(mutators.mutated_yaml(rng, plan_content()))
    found = taken.by(lambda: load_plan(path))
    if found:
        (root / "again.yaml").write_text(as_yaml(found))
        assert repr(load_plan(root / "again.yaml")) == repr(found)
        where = StudyConfig(out=str(root / "out"), device="cpu", threads=1)
        setup = taken.by(lambda: prepare(found, where))
        if setup:
            taken.by(lambda: jobs_of(setup))
    taken.command("study", str(path), "--print")


def plan_content() -> bytes:
    text = (older() / "study" / "plan.yaml").read_text().replace("/data/older/shards", str(older() / "shards"))
    return text.encode()


def leave_out(rng: Generator, root: Path, taken: Taken) -> None:
    from fer_dist.data.emotions import SEVEN
    from fer_dist.data.shards.leave_out import LeaveOut, check_named, save_leave_out

    source, labels = plain_set()
    shards = [path.name for path in sorted(source.glob("*.tar"))]
    rows = [
        LeaveOut("drawn-train", shards[number // 14], key, SEVEN[labels[key]], "twice")
        for number, key in enumerate(labels)
    ]
    path = root / "list.jsonl"
    save_leave_out(path, rows[3:9] + rows[16:20])
    path.write_bytes(mutators.mutated_lines(rng, path.read_bytes()))
    taken.by(lambda: check_named(path, ["drawn-train"]))
    found = taken.by(lambda: labels_of(source, SEVEN, leave_out=str(path)))
    if found:
        assert {key: SEVEN[labels[key]] for key in found} == found
        named = {row["key"] for row in map(json.loads, path.read_bytes().splitlines()) if row["set"] == "drawn-train"}
        assert not named & set(found), "a listed image is read"


def config(rng: Generator, root: Path, taken: Taken) -> None:
    from dataclasses import replace

    from fer_dist.config.settings import Config
    from fer_dist.runs.opening import check_run_folder, choices_kept, going_on, load_config
    from fer_dist.study.jobs import settings_of

    folder = copied(older() / "runs" / "first", root / "runs" / "first", Path("config.json"))
    content = json.loads((older() / "runs" / "first" / "config.json").read_text())
    content["sets"] = {
        name: {"hash": "0" * 64, "samples": 40, "counts": {"fear": 6, "anger": 3}} for name in ("train", "val")
    }
    (folder / "config.json").write_bytes(mutators.mutated_json(rng, json.dumps(content).encode()))
    found = taken.by(lambda: load_config(folder))
    if found:
        taken.by(lambda: json.dumps(settings_of(found)))
    where = Config()
    where = replace(where, run=replace(where.run, root=str(folder.parent), name="first"))
    taken.by(lambda: going_on(where))
    taken.by(lambda: choices_kept(where))
    taken.by(lambda: check_run_folder(where, content["sets"], resume=True))
    if taken.is_long:
        taken.command(*resumed_words(), "--run.root", str(folder.parent))


def scores(rng: Generator, root: Path, taken: Taken) -> None:
    from fer_dist.evaluate.results import check_can_save, load_scores, save_scores

    source = older() / "runs" / "first" / "scores.json"
    (root / "scores.json").write_bytes(mutators.mutated_json(rng, source.read_bytes()))
    taken.by(lambda: load_scores(root))
    if taken.by(lambda: check_can_save(root) or True):
        save_scores(root, "drawn-test", {"accuracy": 0.5})
        assert load_scores(root)["drawn-test"] == {"accuracy": 0.5}


def study(rng: Generator, root: Path, taken: Taken) -> None:
    source = older() / "study" / "study.json"
    (root / "study.json").write_bytes(mutators.mutated_json(rng, source.read_bytes()))
    taken.command("study", "report", str(root))


@cache
def finished_study() -> tuple[Any, dict[str, bytes]]:
    """A study that has ended, as its setup and the record of each of its jobs."""
    from fer_dist.storage.writing import file_hash
    from fer_dist.study.jobs import jobs_of
    from fer_dist.study.plan import StudyConfig
    from fer_dist.study.plan_file import load_plan
    from fer_dist.study.setup import prepare

    path = older() / "whole.yaml"
    path.write_bytes(plan_content())
    setup = prepare(load_plan(path), StudyConfig(out=str(older() / "study"), device="cpu", threads=1))
    held = {
        one["kind"]: one
        for one in map(json.loads, (p.read_text() for p in (older() / "study" / "jobs").glob("*.json")))
    }
    # Jobs that the version which made it did not know.
    held["training accuracy"] = {"done": True, "training_accuracy": None}
    held["ranking"] = {"done": True, "ranking": {"best": "faces", "pairs": 0, "tests": {}}}
    held["gallery"] = {"done": True, "gallery": []}
    records = {}
    for job in jobs_of(setup):
        names = {"train": ("runs/faces/checkpoints/10/model.safetensors",), "report": ("study.json",)}.get(job.kind, ())
        files = {name: file_hash(setup.out / name) for name in names}
        records[job.key] = json.dumps(held[job.kind] | {"files": files}, indent=1).encode()
    return setup, records


def record(rng: Generator, root: Path, taken: Taken) -> None:
    """The record of a study's job."""
    from dataclasses import replace

    from fer_dist.progress import Terminal
    from fer_dist.study.jobs import jobs_of
    from fer_dist.study.records import Records
    from fer_dist.study.running import Running
    from fer_dist.study.study import study as carry_out
    from fer_dist.study.training import training_config

    setup, held = finished_study()
    out = copied(older() / "study", root / "study")
    for path in (out / "jobs").glob("*.json"):
        path.unlink()
    key = list(held)[rng.integers(len(held))]
    for name, content in held.items():
        (out / "jobs" / f"{name}.json").write_bytes(mutators.mutated_json(rng, content) if name == key else content)
    records = Records(out)
    jobs = {job.key: job for job in jobs_of(setup)}
    running = Running(replace(setup, out=out), records, jobs, Terminal(io.StringIO()), lambda: False)
    for job in jobs.values():
        taken.by(lambda job=job: records.is_done(job))
        if job.kind == "train":
            # It writes there.
            folder = os.path.realpath(records.run_folder(job))
            assert folder.startswith(f"{os.path.realpath(out / 'runs')}/"), folder
            taken.by(lambda job=job: training_config(running, job))
    report = next(job for job in jobs.values() if job.kind == "report")
    if taken.is_long and all(records.is_done(job) for job in jobs.values() if job != report):
        (out / "jobs" / f"{report.key}.json").unlink(missing_ok=True)
        taken.by(lambda: carry_out(setup.plan, replace(setup.where, out=str(out)), running.terminal))


@cache
def releases() -> list[Any]:
    from support.faces import fer2013_folders, fer2013_table
    from support.releases import affectnet, csv, expw, ferplus, rafdb, tcce
    from support.releases.made import Release

    makers = (
        csv.words_and_splits, csv.codes_of_a_list, affectnet.affectnet_2017, expw.expw_official,
        ferplus.table_beside_images, ferplus.labels_with_boxes, rafdb.official_aligned, rafdb.kaggle_with_tables,
        tcce.rated,
    )  # fmt: skip
    made = [maker(Path(tempfile.mkdtemp(prefix="release-")) / "raw") for maker in makers]
    book = Path(tempfile.mkdtemp(prefix="release-")) / "raw"
    shutil.copytree(made[-1].raw, book, copy_function=os.link)
    (book / "Image_info.xls").unlink()
    (book / "Image_info.xlsx").write_bytes(
        workbook([[*map(str, tcce.table_row(name, 2.0))] for name in tcce.names()], tcce.HEADER)
    )
    scratch = Path(tempfile.mkdtemp(prefix="release-"))
    table = fer2013_table(scratch / "raw" / "fer2013.csv", fer2013_folders(scratch / "folders", 3, 2, 2))
    return [*made, Release("tcce", book, {}), Release("fer2013", table.parent, {})]


def workbook(rows: list[list[str]], header: list[list[str]]) -> bytes:
    """An .xlsx of one sheet."""

    def cell(text: str) -> str:
        is_number = re.fullmatch(r"\d+(\.\d+)?", text)
        return f"<c><v>{text}</v></c>" if is_number else f'<c t="inlineStr"><is><t>{text}</t></is></c>'

    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    relations = "http://schemas.openxmlformats.org/package/2006/relationships"
    lines = "".join(
        f'<row r="{number}">{"".join(map(cell, row))}</row>' for number, row in enumerate([*header, *rows], 1)
    )
    link = f'<Relationships xmlns="{relations}"><Relationship Id="r" Type="{office}/%s" Target="%s"/></Relationships>'
    contents = {
        "[Content_Types].xml": f'<Types xmlns="{relations.replace("relationships", "content-types")}"/>',
        "_rels/.rels": link % ("officeDocument", "xl/workbook.xml"),
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="a" sheetId="1" r:id="r"/>'
        "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": link % ("worksheet", "worksheets/a.xml"),
        "xl/worksheets/a.xml": f'<worksheet xmlns="{main}"><sheetData>{lines}</sheetData></worksheet>',
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return stream.getvalue()


TABLES = (".csv", ".txt", ".lst", ".tsv")


def release(rng: Generator, root: Path, taken: Taken) -> None:
    """A table of a release."""
    from fer_dist.data.emotions import EIGHT
    from fer_dist.data.sources.source import LeftOut, open_source

    made = releases()[rng.integers(len(releases()))]
    base = made.raw if made.raw.is_dir() else made.raw.parent
    tables = [path for path in sorted(base.rglob("*")) if path.suffix in (*TABLES, ".xls", ".xlsx", ".npy")]
    path = tables[rng.integers(len(tables))]
    folder = copied(base, root / "raw", path.relative_to(base))
    mutator = {".xls": mutators.mutated_bytes, ".npy": mutators.mutated_bytes, ".xlsx": mutators.mutated_zip}
    space = " " if path.suffix in (".txt", ".lst") else ","
    content = (
        mutator[path.suffix](rng, path.read_bytes())
        if path.suffix in mutator
        else mutators.mutated_table(rng, path.read_bytes(), space)
    )
    (folder / path.relative_to(base)).write_bytes(content)
    raw = folder / made.raw.relative_to(base)

    def whole() -> int:
        source = open_source(made.source, str(raw), **made.options)
        assert set(source.emotions) <= set(EIGHT)
        count = 0
        for one in source.samples():
            if isinstance(one, LeftOut):
                continue
            assert one.emotion in source.emotions
            assert one.split in ("train", "val", "test")
            assert not re.search(r"(^|/)\.\.(/|$)|^/", one.key), one.key
            assert os.path.abspath(one.path).startswith(f"{folder}/"), one.path
            json.dumps(one.facts).encode()
            count += 1
            if count <= 3:
                with contextlib.suppress(OSError, ValueError):
                    source.read(one)
        return count

    if taken.by(whole) is not None and taken.is_long and rng.random() < 0.25:
        options = [word for name, value in made.options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        taken.command("shards", "build", made.source, str(raw), str(root / "out"), "--workers", "1", *options)
        for split in (root / "out").glob("*/manifest.json"):
            assert labels_of(split.parent, EIGHT)


def deepspeed(rng: Generator, root: Path, taken: Taken) -> None:
    from fer_dist.train.zero import THEIRS, read_settings

    content = {"gradient_clipping": 1.0, "zero_optimization": {"overlap_comm": False, "reduce_bucket_size": 500_000}}
    (root / "ds.json").write_bytes(mutators.mutated_json(rng, json.dumps(content).encode()))
    found = taken.by(lambda: read_settings(str(root / "ds.json")))
    if found:
        json.dumps(found, allow_nan=False)
        assert {*found} - {"zero_optimization"} <= {*THEIRS}


@cache
def curves_content() -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder = Path(tempfile.mkdtemp(prefix="curves-"))
    writer = EventFileWriter(str(folder))
    for step in range(20):
        value = Summary.Value(tag="train/loss", simple_value=1.0 / (step + 1))
        writer.add_event(Event(wall_time=1e9 + step, step=step, summary=Summary(value=[value])))
    writer.close()
    return next(folder.iterdir()).read_bytes()


def curves(rng: Generator, root: Path, taken: Taken) -> None:
    from fer_dist.runs.curves import load_curves, seconds_of

    (root / "events.out.tfevents.1.x").write_bytes(mutators.mutated_bytes(rng, curves_content()))
    found = taken.by(lambda: load_curves(root))
    assert set(found) <= {"train/loss"}
    taken.by(lambda: seconds_of(root))


def demo(rng: Generator, root: Path, taken: Taken) -> None:
    from dataclasses import asdict

    from fer_dist.study.demo import DemoConfig, _open_folder

    (root / "out").mkdir()
    content = json.dumps(asdict(DemoConfig(out=""))).encode()
    (root / "out" / "demo.json").write_bytes(mutators.mutated_json(rng, content))
    taken.by(lambda: _open_folder(root / "out", DemoConfig(out=str(root / "out"))))


KINDS: dict[str, Callable[[Generator, Path, Taken], None]] = {
    "manifest": manifest, "index": index, "label": label, "predictions": predictions, "checkpoint": checkpoint,
    "plan": plan, "leave-out list": leave_out, "config": config, "scores": scores, "study": study, "record": record,
    "release": release, "deepspeed": deepspeed, "curves": curves, "demo": demo,
}  # fmt: skip
SHARES = {"manifest": 3, "label": 3, "predictions": 3, "checkpoint": 3, "plan": 2, "config": 2, "release": 4}
"""Of the inputs; 1 where nothing stands."""


def too_long(number: int, frame: Any) -> None:
    # No fault of a kind that a reader could catch.
    raise KeyboardInterrupt("longer than an input may take")


def take_in(seed: int, number: int, folder: Path, form: str, only: str) -> tuple[str, str, str]:
    """Mutate one input and have it read. Returns kind, outcome, and the fault or an empty text."""
    rng = np.random.default_rng([seed, number])
    drawn = [name for name in KINDS for _ in range(SHARES.get(name, 1))]
    kind = only or (list(KINDS)[number] if number < len(KINDS) else drawn[rng.integers(len(drawn))])
    (folder / "last").write_text(f"{seed} {number} {kind}")
    before = {path.name for path in folder.iterdir()}
    taken = Taken(form == "long")
    with tempfile.TemporaryDirectory(dir=folder, prefix="input-") as scratch:
        root = Path(scratch, "a", "b")
        root.mkdir(parents=True)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.alarm(MOST_SECONDS)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                KINDS[kind](rng, root, taken)
            fault = ""
        except (Exception, KeyboardInterrupt):
            fault = f"seed {seed}, number {number}, {kind}:\n{traceback.format_exc()[-2500:]}"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
        strays = [path for path in (Path(scratch), root.parent) if len(list(path.iterdir())) > 1]
        if strays and not fault:
            fault = f"seed {seed}, number {number}, {kind}: wrote {list(strays[0].iterdir())}"
    made = {path.name for path in folder.iterdir()} - before
    if not fault and any(not name.startswith(("older-", "set-", "release-", "curves-")) for name in made):
        fault = f"seed {seed}, number {number}, {kind}: wrote {made}"
    return kind, "fault" if fault else taken.outcome, fault


def main(seed: int, count: int, folder: Path, form: str, only: str = "") -> None:
    # Import takes seconds, and what libraries hold is not the inputs'.
    import pandas  # noqa: F401
    import pyarrow.dataset  # noqa: F401

    import fer_dist.study.study  # noqa: F401

    if form == "long":
        import torch._dynamo  # noqa: F401

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MORE_BYTES, used + MORE_BYTES))
    signal.signal(signal.SIGALRM, too_long)
    signal.signal(signal.SIGPROF, too_long)
    outcomes: Counter[str] = Counter()
    faults = []
    for number in range(count):
        kind, outcome, fault = take_in(seed, number, folder, form, only)
        outcomes[f"{kind}: {outcome}"] += 1
        faults += [fault] if fault else []
    for path in folder.glob("*-*"):
        shutil.rmtree(path)
    sys.stdout.write(json.dumps({"outcomes": outcomes, "faults": faults}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
