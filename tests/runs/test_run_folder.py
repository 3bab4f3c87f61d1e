"""Runs whose folder lies in a store: whole there at any moment, gone on with from another host, and one owner each."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
import torch
from support.faces import tree
from support.runs import arguments, command, drawn_shards, environment, ledger, newest, weights
from support.stores import Web, s3_endpoint, s3_server

from fer_dist.cli.commands import main
from fer_dist.data.emotions import SEVEN
from fer_dist.data.loading.loader import Batch
from fer_dist.errors import WorkError
from fer_dist.runs.checkpoint import Checkpoints, Saver, Snapshot, load_model
from fer_dist.runs.folder import LIST, RunFolder, entered
from fer_dist.runs.network import Network
from fer_dist.storage import store as stores
from fer_dist.storage.store import Patience, Store
from fer_dist.train.session import Session

NETWORK = Network(SEVEN, 24, 20, (0.5,) * 3, (0.2,) * 3, 16, 16, False)
STEPS = ["--train.save-every-steps", "2"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def local(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run on a local disk."""
    root = tmp_path_factory.mktemp("local")
    assert main(["train", *arguments(shards, root, "run", *STEPS)]) == 0
    return root / "run"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with s3_server("runs", {}) as port:
        yield port


@pytest.fixture
def s3(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    with s3_endpoint(port, monkeypatch) as web:
        yield web


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stores are asked twice, and no copy of a run stays in the user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(stores, "Patience", lambda: Patience(2, first_seconds=0.01, longest_seconds=0.02))


def words(shards: Path, root: str, scratch: Path, *more: str) -> list[str]:
    found = arguments(shards, scratch, "run", *STEPS, "--run.scratch", str(scratch), *more)
    found[found.index("--run.root") + 1] = root
    return found


def copy_of(place: str, target: Path) -> Path:
    """All that the store has of a run, as a local folder."""
    store = fsspec.filesystem("s3", use_listings_cache=False)
    store.get(place, str(target), recursive=True)
    return target


def snapshot(step: int, value: float = 0.0) -> Snapshot:
    return Snapshot(step, {"weight": torch.full((3,), value)}, {"weight": torch.zeros(3)})


def test_a_run_in_a_store_leaves_there_what_a_run_on_a_disk_leaves_in_its_folder(s3, shards, local, tmp_path):
    assert main(["train", *words(shards, "s3://runs/whole", tmp_path / "scratch")]) == 0
    found = copy_of("s3://runs/whole/run", tmp_path / "copy")
    passing = ("tfevents", ".lock")
    names = [{name for name in tree(folder) if not any(part in name for part in passing)} for folder in (found, local)]
    assert names[0] == names[1]
    assert any("tfevents" in name for name in tree(found))
    assert weights(found) == weights(local)
    assert ledger(found) == ledger(local)
    mine, theirs = load_model("s3://runs/whole/run"), load_model(local)
    assert all(torch.equal(a, b) for a, b in zip(mine[1].parameters(), theirs[1].parameters(), strict=True))


def test_an_evaluation_of_a_run_in_a_store_leaves_its_results_there_and_its_checkpoints_alone(s3, shards, tmp_path):
    place = "s3://runs/evaluated/run"
    assert main(["train", *words(shards, "s3://runs/evaluated", tmp_path / "scratch", "--train.epochs", "1")]) == 0
    store = fsspec.filesystem("s3", use_listings_cache=False)
    entered(place)
    # The training goes on elsewhere: the list is newer than the copy here.
    newer = store.cat(f"{place}/checkpoints/list.json") + b" "
    store.pipe_file(f"{place}/checkpoints/list.json", newer)
    assert main(["evaluate", "--models", place, "--data", str(shards / "test")]) == 0
    assert store.exists(f"{place}/predictions/synthetic_wild-test.parquet")
    assert store.exists(f"{place}/figures/confusion-synthetic_wild-test.svg")
    assert set(json.loads(store.cat(f"{place}/scores.json"))) == {"synthetic_wild-val", "synthetic_wild-test"}
    assert store.cat(f"{place}/checkpoints/list.json") == newer


def test_a_run_killed_on_one_host_goes_on_on_another_to_the_same_end(s3, shards, local, tmp_path):
    line = [sys.executable, "-m", "fer_dist.train", *words(shards, "s3://runs/killed", tmp_path / "one")]
    store = fsspec.filesystem("s3", use_listings_cache=False)
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(line, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while not store.exists("runs/killed/run/checkpoints/list.json"):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    shutil.rmtree(tmp_path / "one")
    again = command("train", *words(shards, "s3://runs/killed", tmp_path / "two", "--resume"))
    assert again.returncode == 0, again.stderr
    assert ", from step " in again.stderr
    found = copy_of("s3://runs/killed/run", tmp_path / "copy")
    assert weights(found) == weights(local)
    # The first host's ledger stands up to its last checkpoint, and the second one's after it.
    assert ledger(found) == ledger(local)


def test_a_store_that_refuses_for_a_while_gets_everything_later(s3, shards, local, tmp_path, capsys):
    line = words(shards, "s3://runs/refused", tmp_path / "scratch")
    write, refused = Store._write, []

    def refusing(store: Store, name: str, content: bytes, condition: dict) -> None:
        if name.startswith("checkpoints/2/") and len(refused) < 3:
            refused.append(name)
            raise WorkError(f"{name}: cannot be written")
        write(store, name, content, condition)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "_write", refusing)
        assert main(["train", *line]) == 0
    assert refused
    assert "the run goes on, and tries again later" in capsys.readouterr().err
    assert weights(copy_of("s3://runs/refused/run", tmp_path / "copy")) == weights(local)


def test_a_store_that_refuses_to_the_end_costs_nothing_and_is_told_where_everything_is(
    s3, shards, local, tmp_path, capsys
):
    line = words(shards, "s3://runs/down", tmp_path / "scratch")
    opened = RunFolder.enter

    def then_down(folder: RunFolder) -> None:
        opened(folder)
        s3.refuses = 503

    with pytest.MonkeyPatch.context() as patch:
        # From the claim on: the folder's configuration stands in the store already.
        patch.setattr(RunFolder, "enter", then_down)
        patch.setattr(RunFolder, "claim", lambda folder: "")
        assert main(["train", *line]) == 1
    text = capsys.readouterr().err
    assert "cannot be written in 2 tries" in text
    assert f"All is in {tmp_path / 'scratch'}" in text
    s3.refuses = 0
    assert main(["train", *line, "--resume"]) == 0
    assert weights(copy_of("s3://runs/down/run", tmp_path / "copy")) == weights(local)


def test_a_damaged_checkpoint_in_the_store_gives_the_one_before_with_a_warning(s3, shards, local, tmp_path, capsys):
    line = words(shards, "s3://runs/damaged", tmp_path / "one")
    assert main(["train", *line]) == 0
    store = fsspec.filesystem("s3", use_listings_cache=False)
    last = json.loads(store.cat("runs/damaged/run/checkpoints/list.json"))[-1]["step"]
    name = f"runs/damaged/run/checkpoints/{last}/optimizer.safetensors"
    content = bytearray(store.cat(name))
    content[-1] ^= 1
    store.pipe_file(name, bytes(content))
    capsys.readouterr()
    line = [word.replace(str(tmp_path / "one"), str(tmp_path / "two")) for word in line]
    assert main(["train", *line, "--resume"]) == 0
    text = capsys.readouterr().err
    assert f"optimizer.safetensors: damaged; checkpoint {last} is passed over" in text
    assert f"from step {last - 2}" in text
    assert weights(copy_of("s3://runs/damaged/run", tmp_path / "copy")) == weights(local)


@pytest.mark.parametrize(
    ("root", "said"),
    [
        ("s3://nowhere/runs", "--run.root: .*s3://nowhere/runs/run: cannot be written"),
        ("https://runs.example/x", "https:// can be read only; write to s3:// or gs://"),
        ("lost://runs", "no store is known as lost://"),
    ],
)
def test_a_store_that_cannot_be_written_gets_one_line_before_anything_starts(
    s3, shards, tmp_path, capsys, monkeypatch, root, said
):
    # Nothing answers to an https:// name here, and whether a run is there already is not the question.
    monkeypatch.setattr(
        Store, "read_if_there", lambda store, name: None if "https" in root else store._files() and None
    )
    monkeypatch.setattr(Store, "names", lambda store: set())
    assert main(["train", *words(shards, root, tmp_path / "scratch")]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert re.search(said, text), text
    assert not (tmp_path / "scratch").exists()


def test_the_store_never_lists_a_checkpoint_that_it_does_not_hold(tmp_path, monkeypatch):
    folder = RunFolder("memory://listed/run", str(tmp_path))
    write, lacking = Store._write, []

    def watched(store: Store, name: str, content: bytes, condition: dict) -> None:
        if name == LIST:
            for entry in json.loads(content):
                names = {f"checkpoints/{entry['step']}/{file}" for file in entry["files"]}
                lacking.extend(names - store.names())
        write(store, name, content, condition)

    monkeypatch.setattr(Store, "_write", watched)
    folder.put("config.json", b"{}")
    folder.enter()
    folder.claim()
    checkpoints = Checkpoints(folder.path, 2, home=folder)
    for step in range(1, 20):
        checkpoints.save(snapshot(step), NETWORK)
        folder.send()
    folder.close()
    assert not lacking
    stored = Store(folder.store.location).names()
    assert {name.split("/")[1] for name in stored if name.count("/") == 2} == {"18", "19"}
    assert LIST in stored


def leave(folder: RunFolder, value: float) -> None:
    """What a training leaves at its second step: a checkpoint, and beside it ledger, scores and curves."""
    (folder.path / "ledger").mkdir(exist_ok=True)
    for name in ("ledger/0.tsv", "scores.json", "events.out.tfevents.1"):
        (folder.path / name).write_text(str(value))
    Checkpoints(folder.path, home=folder).save(snapshot(2, value), NETWORK)


def sent(folder: RunFolder) -> None:
    folder.send()
    if folder._sending:
        folder._sending.result()


@pytest.mark.parametrize(
    "moment",
    ["checkpoints/2/model", "checkpoints/2/state", LIST, "ledger/0.tsv", "scores.json", "events.out", "afterwards"],
)
def test_a_process_that_loses_a_run_in_a_store_while_it_sends_changes_nothing_there(s3, tmp_path, monkeypatch, moment):
    place = f"s3://runs/lost-{moment.replace('/', '-')}/run"
    old, new = (RunFolder(place, str(tmp_path / scratch)) for scratch in ("old", "new"))
    old.put("config.json", b"{}")
    write, came = Store._write, []

    def take_over() -> None:
        came.append(moment)
        new.enter()
        new.claim()
        leave(new, one_bit_more(1.0))
        sent(new)

    def interrupted(store: Store, name: str, content: bytes, condition: dict) -> None:
        if store is old.store and name.startswith(moment) and not came:
            take_over()
        write(store, name, content, condition)

    old.enter()
    old.claim()
    monkeypatch.setattr(Store, "_write", interrupted)
    leave(old, 1.0)
    sent(old)
    if moment == "afterwards":
        take_over()
        # Its own disk does not tell; the store does.
        leave(old, 1.0)
        sent(old)
    with pytest.raises(WorkError, match="another process goes on with this run; this one stops, and saves no more"):
        old.close()
    new.close()
    stored, kept = tree(copy_of(place, tmp_path / "copy")), tree(new.path)
    assert came
    assert {name: stored[name] for name in stored} == {name: kept[name] for name in kept if ".lock" not in name}
    third = RunFolder(place, str(tmp_path / "third"))
    third.enter()
    found = newest(Checkpoints(third.path, home=third))
    assert found.step == 2
    assert found.model["weight"].tolist() == [one_bit_more(1.0)] * 3


def one_bit_more(value: float) -> float:
    return float(torch.nextafter(torch.tensor(value), torch.tensor(2.0)))


def test_a_process_that_loses_a_run_on_a_shared_disk_changes_nothing_there(tmp_path):
    old, new = (RunFolder(str(tmp_path / "run")) for _ in range(2))
    for folder, value in ((old, 1.0), (new, one_bit_more(1.0))):
        folder.enter()
        folder.claim()
        leave(folder, value)
    before = tree(tmp_path / "run")
    for step in (2, 3):
        with pytest.raises(WorkError, match="another process goes on with this run; this one stops, and saves no more"):
            Checkpoints(old.path, home=old).save(snapshot(step, 1.0), NETWORK)
    with old.held() as is_ours:
        assert not is_ours
    with new.held() as is_ours:
        assert is_ours
    assert tree(tmp_path / "run") == before


def test_a_claim_waits_until_a_checkpoint_that_is_being_listed_stands(tmp_path):
    old, new = (RunFolder(str(tmp_path / "run")) for _ in range(2))
    old.enter()
    old.claim()
    with old.held() as is_ours:
        claiming = threading.Thread(target=new.claim)
        claiming.start()
        claiming.join(0.2)
        assert claiming.is_alive()
        assert is_ours
        assert old.is_ours()
    claiming.join(10)
    assert not old.is_ours()


def test_a_training_whose_run_another_process_takes_stops_and_leaves_it_alone(shards, tmp_path, capsys, monkeypatch):
    note, taken = Session.note, []

    def taking(session: Session, batch: Batch) -> None:
        note(session, batch)
        if batch.step == 2:
            other = RunFolder(str(session.job.folder))
            other.claim()
            taken.append(tree(session.job.folder))

    monkeypatch.setattr(Session, "note", taking)
    assert main(["train", *arguments(shards, tmp_path, "run", *STEPS, "--train.log-every", "1")]) == 1
    assert "another process goes on with this run; this one stops" in capsys.readouterr().err
    after = tree(tmp_path / "run")
    differing = {name for name in after if after[name] != taken[0].get(name)}
    # What was on its way before: the curves of the second step, in a file that no other process writes.
    assert all("tfevents" in name for name in differing), differing


def test_a_copy_of_another_run_of_that_name_is_not_gone_on_with(tmp_path):
    folder = RunFolder("memory://again/run", str(tmp_path))
    folder.put("config.json", b'{"run": 1}')
    folder.enter()
    Checkpoints(folder.path, home=folder).save(snapshot(5), NETWORK)
    folder.store._files().rm("/again", recursive=True)
    anew = RunFolder("memory://again/run", str(tmp_path))
    anew.put("config.json", b'{"run": 2}')
    anew.enter()
    assert newest(Checkpoints(anew.path, home=anew)) is None


def test_what_changes_after_a_save_is_not_in_the_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    saver = Saver(checkpoints, NETWORK, lambda: None)
    live = torch.ones(1_000_000)
    saver.save(Snapshot(1, {"weight": live}, {"weight": live}))
    live.zero_()
    saver.close()
    assert newest(checkpoints).model["weight"].eq(1).all()
    assert newest(checkpoints).optimizer["weight"].eq(1).all()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted where Linux lists them")
def test_writing_takes_no_threads_of_torch_beside_those_of_the_training(tmp_path):
    threads_before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        live = torch.ones(64, 64, 16, 16).to(memory_format=torch.channels_last)
        assert live.contiguous().sum() == live.numel()
        saver = Saver(Checkpoints(tmp_path), NETWORK, lambda: None)
        at_first = set(os.listdir("/proc/self/task"))
        saver.save(Snapshot(1, {"weight": live}, {"weight": live}))
        saver.wait()
        # Its own thread, and no team of torch's: with more of them than cores, each step of the training is slower.
        assert len(set(os.listdir("/proc/self/task")) - at_first) == 1
        saver.close()
    finally:
        torch.set_num_threads(threads_before)


def test_what_goes_wrong_in_writing_is_raised_at_the_next_save(tmp_path, monkeypatch):
    saver = Saver(Checkpoints(tmp_path), NETWORK, lambda: None)

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("fer_dist.runs.checkpoint.write_atomically", full)
    saver.save(snapshot(1))
    with pytest.raises(WorkError, match="no room for the checkpoint of step 1"):
        saver.save(snapshot(2))
    saver.close()
