"""A path or URL means the same in every flag of every command, and in plans; an address is never made a path."""

import dataclasses
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import tyro
from braceexpand import braceexpand
from hypothesis import given
from hypothesis import strategies as st
from support.faces import faces, shard_set, write

from fer_dist.bench.commands import BENCHES
from fer_dist.cli.commands import COMMANDS, main
from fer_dist.cli.shards import SHARD_COMMANDS
from fer_dist.config.flags import flat
from fer_dist.config.settings import CacheFlags, Config, DataConfig, RunConfig
from fer_dist.data.inspection.audit import audit
from fer_dist.data.inspection.describe import describe, sheet_rows
from fer_dist.data.inspection.verify import verify_shards
from fer_dist.data.loading.shard_set import each_split, open_set, sets_at
from fer_dist.data.shards.selection import MOST_NAMES, chosen, locate, names_of
from fer_dist.data.sources.source import SOURCES
from fer_dist.errors import InputError
from fer_dist.runs.folder import RunFolder
from fer_dist.runs.opening import resolved, run_folder
from fer_dist.storage.paths import Location, OnDisk, Output, PathOrUrl, absolute, below, kind_of, settled
from fer_dist.study.plan import DataSet, Plan

NO_PATHS = {
    "run.name", "ray.address", "ray.resources", "checkpoint", "emotions", "dataset", "split", "codes", "preset",
    "seeds", "title", "counts", "lanes", "blocks", "source", "set", "attributes", "batches", "threads",
    "model.emotions", "model.network", "network", "methods", "fills", "run.loggers", "labels", "prior",
    # Of predict: a pattern or - as well as a path, and a word as well as a file, both made whole where they are read.
    "inputs", "faces",
    # Names of attribution methods.
    "explain_methods", "explain.methods",
    # Elsewhere a folder.
    "fer-dist bench gpu parts",
    "image_column", "emotion_column", "split_column", "subject_column", "key_column",
    # Of plans: names of what the plan itself defines.
    "trainings.data", "trainings.preset", "trainings.set", "trainings.init_from", "evaluations.models",
    "evaluations.data", "comparisons.with_model", "comparisons.without_model", "comparisons.data",
    # Of synthetic it is a style; open_source makes a path of the others'.
    "raw",
}  # fmt: skip
"""Fields of text that name no file, folder or set. A new one is a path, or stands here."""


class Caught(Exception):
    """Instead of the work of a command."""


def commands(folder: Path) -> Iterator[list[str]]:
    """Every command, up to its flags."""
    raw, plan = str(folder), str(write(folder / "plan.yaml", b"data: {a: {shards: s}}\ntrainings: {a: {data: a}}\n"))
    tables = {"shards": SHARD_COMMANDS, "bench": BENCHES}
    for name in COMMANDS:
        if name == "completion":  # it takes a word and no flag
            continue
        for below_it in tables.get(name, {"": None}):
            words = [word for word in (name, below_it) if word]
            if words == ["shards", "build"]:
                yield from ([*words, source, raw, str(folder / "out")] for source in SOURCES)
            elif words == ["study"]:
                yield from (["study", "paper"], ["study", plan])
            else:
                yield [*words, "paper"] if words == ["train"] else words


def text_fields(kind: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of a dataclass, and of those in it, that hold text: name and type."""
    hints = get_type_hints(kind, include_extras=True)
    for item in dataclasses.fields(kind):
        hint = hints[item.name]
        inner = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        held = [part for part in (inner, *get_args(inner)) if dataclasses.is_dataclass(part)]
        if held:
            is_flat = hint is not inner
            yield from text_fields(held[0], name if is_flat else f"{name}{item.name}.")
        elif inner is str or (get_origin(inner) in (tuple, dict) and not re.search("Literal|float|int", str(inner))):
            yield f"{name}{item.name}", hint


def test_every_flag_of_every_command_that_holds_text_is_a_path_or_known_to_be_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: dict[str, Any] = {}

    def catch(kind: Any, **rest: Any) -> Any:
        kinds[rest["prog"]] = kind
        raise Caught

    monkeypatch.setattr(tyro, "cli", catch)
    for words in commands(tmp_path):
        with pytest.raises(Caught):
            main(words)
    assert len(kinds) == len(COMMANDS) - 3 + len(SHARD_COMMANDS) - 1 + len(SOURCES) + len(BENCHES) + 1
    for command, kind in [*kinds.items(), ("a plan", Plan)]:
        found = dict(text_fields(kind))
        none = {name for name in found if {name, f"{command} {name}"} & NO_PATHS}
        unknown = [name for name, hint in found.items() if not kind_of(hint) and name not in none]
        assert not unknown, f"{command}: neither PathOrUrl, OnDisk, Output nor in NO_PATHS: {unknown}"
        assert not [name for name, hint in found.items() if kind_of(hint) and name in none]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder, with a set in it; the work is done beside it."""
    home = tmp_path / "home"
    shard_set(home / "s" / "train", [faces(7)[:4], faces(7)[4:]])
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("DATA", str(home))
    monkeypatch.setenv("STORE", "s3://bucket/faces")
    monkeypatch.delenv("NOTHING", raising=False)
    monkeypatch.setenv("EMPTY", "")
    return home


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("runs", "{work}/runs"),
        ("./a/../runs/", "{work}/runs"),
        ("~", "{home}"),
        ("~/s/train", "{home}/s/train"),
        ("~//s/train//", "{home}/s/train"),
        (r"~\s\train", "{home}/s/train"),
        (r"~/s\train", "{home}/s/train"),
        ("$DATA/s", "{home}/s"),
        ("${DATA}/s", "{home}/s"),
        ("$STORE/train", "s3://bucket/faces/train"),
        ("file://{home}/s", "{home}/s"),
        ("FILE://localhost{home}/s", "{home}/s"),
        ("file:{home}/s", "{home}/s"),
        ("file://~/s", "{home}/s"),
        ("file://{home}/a%20%C3%A4/n%25.json", "{home}/a ä/n%.json"),
        ("{home}/a%20b", "{home}/a%20b"),
        ("local://{home}/s", "{home}/s"),
        ("//{home}/s", "{home}/s"),
        (r"out\new\x.json", "{work}/out/new/x.json"),
        ("~/s/train/drawn-train-{{000000..000001}}.tar", "{home}/s/train/drawn-train-{{000000..000001}}.tar"),
        ("~/s/train/*.tar", "{home}/s/train/*.tar"),
        ("s3://bucket/faces/", "s3://bucket/faces/"),
        (r"s3://bucket/a\b/~/$DATA", r"s3://bucket/a\b/~/$DATA"),
        ("https://me:secret@host/s?Signature=a$b&x=~", "https://me:secret@host/s?Signature=a$b&x=~"),
        ("memory://faces//train", "memory://faces//train"),
    ],
)
def test_a_path_is_absolute_however_it_is_written_and_an_address_stays_as_it_is(
    home: Path, text: str, expected: str
) -> None:
    folders = {"home": str(home), "work": os.getcwd()}
    text = text.replace("{{", "{").replace("}}", "}") if "home" not in text or "~" in text else text.format(**folders)
    expected = expected.format(**folders)
    assert absolute(text) == expected
    assert absolute(expected) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$NOTHING/s", r"^\$NOTHING/s: the variable NOTHING is not set; set it, or write the path out"),
        ("${EMPTY}/s", r"the variable EMPTY is not set"),
        ("~nobody-of-this-name/s", "there is no user nobody-of-this-name with a home folder here"),
        ("s3:/bucket/x", r"^s3:/bucket/x: neither a path nor an address; an address begins with s3://"),
        (r"https:\\host\x", "an address begins with https://"),
        (r"C:\Users\me\faces", r"a path of Windows; .* in WSL /mnt/c/Users/me/faces"),
        ("D:/faces", "a path of Windows; .* in WSL /mnt/d/faces"),
        ("a\0b", "leave the zero byte out"),
        ("file:///a%00b", "leave the zero byte out"),
    ],
)
def test_what_can_be_no_path_is_said_with_the_remedy(home: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        absolute(text)


def test_a_name_that_is_really_there_is_taken_as_it_stands(home: Path) -> None:
    for name in (r"a\b", "$NOTHING", "s3:", "~old", "a%20b"):
        Path(name).mkdir()
        write(Path(name) / "x.json", b"")
        assert absolute(name) == f"{os.getcwd()}/{name}"
        assert absolute(f"{name}/x.json") == f"{os.getcwd()}/{name}/x.json"
    assert absolute(f"file://{os.getcwd()}/a%20b") == f"{os.getcwd()}/a%20b"
    assert absolute(r"a\b/new.json") == rf"{os.getcwd()}/a\b/new.json"
    # Who made a folder of this name meant the home folder.
    Path("~").mkdir()
    assert absolute("~/s") == str(home / "s")


def test_a_link_is_followed_and_a_pipe_stays(home: Path) -> None:
    Path("now").symlink_to(home / "s")
    assert absolute("now/train") == str(home / "s" / "train")
    reading, writing = os.pipe()
    try:
        assert os.path.exists(absolute(f"/dev/fd/{reading}"))
    finally:
        os.close(reading)
        os.close(writing)


def test_what_a_command_found_goes_into_a_pipe_that_stays_one(home: Path) -> None:
    pipe = home / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reading = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reading.start()
    assert main(["shards", "describe", "~/s", "--json", str(pipe)]) == 0
    reading.join(20)
    assert json.loads(read[0])[0]["dataset"] == "drawn"
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", 1),
        ("{0..9}{a..z..2}", 130),
        ("{9..0..3}", 4),
        ("{Z..a}", 2),
        ("{a,b{1..3},}", 5),
        ("{{0..9},{0..9}}{1,2}", 40),
        ("{{a,b}}", 2),
        ("{,}", 2),
        ("{}", 1),
        ("{a..z}" * 6, MOST_NAMES + 1),
        ("{0..9}" * 5000, MOST_NAMES + 1),
        ("{0..1" + "0" * 4000 + "}", MOST_NAMES + 1),
        ("{{a..z}{a..z}{a..z}{a..z}{a..z},b}", MOST_NAMES + 1),
    ],
)
def test_the_names_of_a_brace_pattern_are_counted_before_they_are_made(pattern: str, names: int) -> None:
    assert names_of(pattern) == names
    if names <= MOST_NAMES:
        assert len(list(braceexpand(pattern))) == names


PARTS = st.sampled_from(
    ["{", "}", ",", "..", "a", "1", "12", "z", "\\", "{a..c}", "{1..3}", "{03..01..2}", "{q,w}", "-"]
)


@given(st.lists(PARTS, max_size=14).map("".join))
def test_no_brace_pattern_stands_for_more_names_than_are_counted(pattern: str) -> None:
    try:
        made = list(braceexpand(pattern))
    except ValueError:
        return
    assert len(made) <= names_of(pattern)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("x{a..z}{a..z}{a..z}{a..z}{a..z}{a..z}.tar", "stands for more than the 1,000,000 names that make sense"),
        ("{0..1000}*.tar", "stands for more than the 1,000 names that make sense"),
        ("{0..9}" * 5000, r"\{0\.\.9\}\{.{,200}\.\.\.: stands for more than the 1,000,000 names"),
        ("{0..999}" + "x" * 1_000_000, "stands for more than"),
        ("{0.." + "9" * 5000 + "}", "a brace is missing"),
        ("{" * 5000 + "a,b" + "}" * 5000, "a brace is missing"),
    ],
)
def test_a_pattern_beyond_sense_is_one_line_at_once(pattern: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        chosen(Location("", "/s", pattern=pattern), ["x.tar"])


@dataclasses.dataclass(frozen=True)
class Inner:
    root: PathOrUrl = "runs"
    name: str = "~"


@dataclasses.dataclass(frozen=True)
class Outer:
    sets: tuple[PathOrUrl, ...]
    inner: Annotated[Inner, flat()] = dataclasses.field(default_factory=Inner)
    listed: OnDisk = ""
    json: Output = ""
    many: dict[str, DataSet] = dataclasses.field(default_factory=dict)


def test_all_paths_of_a_dataclass_are_settled_and_nothing_else(home: Path) -> None:
    found = settled(Outer(("~/s", "s3://b/x/"), listed="~/l", json="j.json", many={"a": DataSet("~/s", "a")}))
    work = os.getcwd()
    assert found == Outer(
        (f"{home}/s", "s3://b/x/"), Inner(f"{work}/runs", "~"), f"{home}/l", f"{work}/j.json",
        {"a": DataSet(f"{home}/s", "a")},
    )  # fmt: skip
    assert settled(found) == found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sets": ("",)}, "^sets: an empty name; give a path or an address"),
        ({"inner": Inner("")}, "^inner.root: an empty name"),
        ({"many": {"a": DataSet("")}}, "^many.a.shards: an empty name"),
        ({"listed": "s3://me:secret@b/l"}, "^listed: s3://b/l is an address, but this must lie on a disk; give a path"),
        ({"json": "gs://b/x.json"}, "^json: gs://b/x.json is an address"),
        ({"json": "~/none/x.json"}, "^--json .*/none/x.json: there is no folder .*/home/none; make it, or choose"),
        ({"json": "~"}, "^--json .*home: a folder; name a file in it"),
        ({"json": "out/"}, "^--json .*/out: a folder; name a file in it"),
    ],
)
def test_a_path_that_a_field_cannot_have_is_said_with_its_name(
    home: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        settled(dataclasses.replace(Outer(("~",)), **change))


def test_a_configuration_of_training_is_settled_as_flags_are(home: Path) -> None:
    data = DataConfig(train="~/s/train", val="s3://b/val/*.tar", cache="$DATA/c", leave_out="~/l")
    config = resolved(Config(data, run=RunConfig(root="~/runs", scratch="x")), "paper")
    assert (config.data.train, config.data.val) == (f"{home}/s/train", "s3://b/val/*.tar")
    assert (config.data.cache, config.data.leave_out) == (f"{home}/c", f"{home}/l")
    assert (config.run.root, config.run.scratch) == (f"{home}/runs", f"{os.getcwd()}/x")


def test_names_below_an_address_go_before_its_query(home: Path) -> None:
    assert below("https://host/set/?sig=a/b", "test") == "https://host/set/test?sig=a/b"
    assert below("s3://bucket/set/", "test") == "s3://bucket/set/test"
    assert below("/data/set", "test") == "/data/set/test"
    location = locate("https://host/set/test?sig=a/b")
    assert location.of("manifest.json") == "https://host/set/test/manifest.json?sig=a/b"
    assert RunFolder("S3://bucket/runs/a/").store.location.of("config.json") == "S3://bucket/runs/a/config.json"  # type: ignore[union-attr]
    config = Config(run=RunConfig(root="s3://bucket/runs/", name="a"))
    assert run_folder(config).address == "s3://bucket/runs/a"


def test_a_file_that_is_called_like_a_pattern_is_meant_by_its_name(tmp_path: Path) -> None:
    folder = shard_set(tmp_path / "set[1]" / "train", [faces(5)[:2], faces(5)[2:]])
    plain, odd = "drawn-train-000000.tar", "drawn[1]{2,3}.tar"
    for extension in (".tar", ".idx"):
        (folder / plain).with_suffix(extension).rename((folder / odd).with_suffix(extension))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][0]["file"] = odd
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert [shard.file for shard in open_set(f"{folder}/{odd}", DataConfig()).manifest.shards] == [odd]
    assert open_set(f"{folder}/*.tar", DataConfig()).manifest.samples == 5


def test_describe_audit_and_verify_take_every_path_that_training_takes(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    folder, store = home / "s" / "train", fsspec.filesystem("memory")
    for path in folder.iterdir():
        store.pipe(f"/places/train/{path.name}", path.read_bytes())
    data = CacheFlags(cache=str(tmp_path / "cache")).data
    try:
        for start in (str(home / "s"), "memory://places"):
            for last, samples in {"": 7, "/train": 7, "/train/*-000001.tar": 3, "/train/manifest.json": 7}.items():
                (opened,) = sets_at([f"{start}{last}"], data)
                (dataset,) = describe([opened])
                assert dataset.splits[0].samples == samples, (start, last)
                assert sum(len(row.tiles) for row in sheet_rows([opened], 2)) == samples
                assert audit([opened]).sets[0].samples == samples
                (place,) = each_split([f"{start}{last}"])
                report = verify_shards(place)
                assert (report.samples, report.faults) == (samples, ()), (start, last)
        assert each_split([home / "s", "memory://places"]) == (str(folder), "memory://places/train")
        assert main(["shards", "verify", "memory://places"]) == 0
        assert each_split(["memory://nowhere"]) == ("memory://nowhere",)
        store.pipe("/places/train/drawn-train-000001.tar", b"x" * 10240)
        faults = "\n".join(map(str, verify_shards("memory://places/train").faults))
        assert "drawn-train-000001.tar: drawn-train-000001.tar in memory://places/train: cannot be had" in faults
        assert not verify_shards("memory://places/train/*000000.tar").faults
    finally:
        store.rm("/places", recursive=True)


def test_commands_understand_the_home_folder_in_sets_and_in_files(home: Path) -> None:
    assert main(["shards", "describe", "~/s", "--sheet=~/sheet.png", "--json", r"~\found.json"]) == 0
    assert main(["shards", "audit", r"$DATA\s/train/", "--json=$DATA/audit.json", "--write-clean", "clean.jsonl"]) == 0
    assert main(["shards", "verify", "file://~/s/train"]) == 0
    assert main(["shards", "build", "synthetic", "wild", "~/drawn", "--count", "14", "--test-count", "7",
                 "--pixels", "24", "--workers", "1"]) == 0  # fmt: skip
    assert main(["shards", "index", "~/s/train/"]) == 0
    made = {path.name for path in [*home.iterdir(), *Path().iterdir()]}
    assert made == {"s", "sheet.png", "found.json", "audit.json", "clean.jsonl", "drawn"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shards", "build", "folder", "s3://b/faces", "out"], "RAW: s3://b/faces is an address"),
        (["shards", "build", "folder", "~/s", "s3://b/out"], "out: s3://b/out is an address"),
        (["shards", "build", "csv", "~/x.csv", "out", "--root", "s3://b"], "options.root|root: s3://b is an address"),
        (["shards", "index", "s3://b/x"], "folder: s3://b/x is an address"),
        (
            ["shards", "index", "~/s/train/*.tar", "--emotions", "fear"],
            "home/s/train/*.tar: no such folder of shards; give",
        ),
        (["shards", "describe", "s3:/b/x"], "an address begins with s3://"),
        (["shards", "describe", "$NOTHING/x"], "the variable NOTHING is not set"),
        (["study", "s3://b/plan.yaml"], "PLAN: s3://b/plan.yaml is an address"),
        (["study", "paper", "--a", "~/s", "--b", "~/s", "--out", "s3://b/out"], "out: s3://b/out is an address"),
        (["demo", "--out", "gs://b/demo"], "out: gs://b/demo is an address"),
        (["bench", "shards", "s3://b/raw"], "RAW: s3://b/raw is an address"),
    ],
)
def test_an_address_where_none_can_be_is_refused_and_makes_nothing(
    home: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert any(part in line for part in message.split("|")), line
    assert not list(Path().iterdir())
