"""Secrets stay where the user put them: in no file of a run and in nothing that is printed."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from support.runs import arguments, drawn_shards
from support.stores import served

from fer_dist.cli.commands import main
from fer_dist.config.settings import Config, DataConfig, differences, to_json, to_shown_json
from fer_dist.data.shards.selection import locate
from fer_dist.errors import InputError
from fer_dist.storage.paths import shown, without_secrets
from fer_dist.storage.store import cause_of
from fer_dist.study.plan import DataSet, Plan, Training
from fer_dist.study.plan_file import load_plan
from fer_dist.study.study import _without_secrets

SIGNED = "https://bucket.example/faces/train?X-Amz-Signature=0123hidden"


def test_a_signed_address_with_a_new_signature_is_no_difference_and_with_another_path_is_one() -> None:
    old = Config(data=DataConfig(train=SIGNED))
    assert not differences(old, replace(old, data=replace(old.data, train=SIGNED + "4")))
    other = replace(old, data=replace(old.data, train=SIGNED.replace("faces", "others")))
    (text,) = differences(old, other).values()
    assert "others" in text
    assert "hidden" not in text


def test_what_is_shown_of_a_configuration_has_no_signature_and_what_workers_get_has() -> None:
    config = Config(data=DataConfig(train=SIGNED))
    assert "hidden" in str(to_json(config))
    assert "hidden" not in str(to_shown_json(config))
    assert to_shown_json(Config()) == to_json(Config())


def test_no_file_of_a_run_and_no_line_of_it_holds_the_signature_of_an_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = drawn_shards(tmp_path / "shards", 60, 20)
    with served(shards) as web:
        words = arguments(shards, tmp_path, "signed", "--train.epochs", "1", "--data.cache", str(tmp_path / "cache"))
        words[words.index("--data.train") + 1] = f"{web.url}/train?signature=0123hidden"
        assert main(["train", *words]) == 0
        assert main(["train", *words, "--resume"]) == 0
        assert main(["train", *words, "--dry-run"]) == 0
    printed = "".join(capsys.readouterr())
    assert "signed: " in printed
    assert "0123hidden" not in printed
    files = [path for path in (tmp_path / "signed").rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if b"0123hidden" in path.read_bytes()]


PRINTED = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x2FF, exclude_categories=["Z", "C"]), max_size=12)
SPECIAL = st.text("@/?#[]{}()<>'\":;,&=%+\\|`^$!*~1", max_size=12)
PART = PRINTED | SPECIAL
"""What stands before and behind SECRET in a password or a query; without blanks, at which an address ends in a text."""

SENTENCES = (
    "{}",
    "cannot connect to {}: timed out",
    "403, message='Forbidden', url='{}' (tried again)",
    "ClientResponseError: url=URL('{}')",
    '{{"train": "{}", "val": 3}}',
    "look at <{}>, and at s3://other/place.",
)


WEB = ("https", "http", "simplecache::https")
STORES = ("s3", "memory", "gs")


@st.composite
def addresses(draw: st.DrawFn, schemes: tuple[str, ...], has_query: bool = True) -> str:
    scheme = draw(st.sampled_from(schemes))
    host = draw(st.sampled_from(["bucket", "host.example:9000", "[::1]:80"]))
    user = draw(st.just("") | st.tuples(PRINTED, PART).map(lambda of: f"{of[0]}:{of[1]}SECRET{draw(PART)}@"))
    query = f"?{draw(PART)}SECRET{draw(PART)}" if has_query and draw(st.booleans()) else ""
    return f"{scheme}://{user}{host}/faces/train{query}"


@given(address=addresses(WEB + STORES), sentence=st.sampled_from(SENTENCES))
@example("memory://user:pass@SECRET@bucket/x", "{}")
@example("https://user:pass/SECRET@bucket/x?y=SECRET", "{}")
@example("https://user:12/SECRET?SECRET#@bucket/x", "{}")
@example("https://host:80/x?a='SECRET')&b=[SECRET]@SECRET", "url='{}'")
def test_no_part_of_a_password_or_a_query_is_shown_wherever_the_address_stands(address: str, sentence: str) -> None:
    assert "SECRET" not in shown(address)
    assert "SECRET" not in without_secrets(sentence.format(address))
    assert "SECRET" not in str(to_shown_json(Config(data=DataConfig(train=address))))


# Of a store that is not the web, a question mark stands for a letter of a file's name.
@given(addresses(WEB[:2]) | addresses(STORES, has_query=False))
@example("s3://user:SECRET{0..9}[a@bucket")
@example("s3://user:SECRET@bucket.tar")
@example("s3://user:a/SECRET?*@bucket")
@example("https://user:1[?SECRET@host/x")
@example("https://?:SECRET@bucket/faces/train")
def test_no_part_of_a_password_or_a_query_is_said_of_a_place_of_shards(address: str) -> None:
    try:
        found = str(locate(address))
    except InputError as error:
        found = str(error)
    assert "SECRET" not in found


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("s3://bucket/lr@0.1/faces-{0..9}.tar", "s3://bucket/lr@0.1/faces-{0..9}.tar"),
        ("s3://key:hidden@bucket/a#1", "s3://bucket/a#1"),
        ("s3://arn:aws:s3:us-west-2:123:accesspoint/a/b", "s3://arn:aws:s3:us-west-2:123:accesspoint/a/b"),
        ("http://[::1]:80/a?b", "http://[::1]:80/a"),
        ("https://token@host:9000/a b", "https://host:9000/a b"),
        ("https://host/a?Id=me@project.example&Signature=hidden", "https://host/a"),
        ("https://me:hid den@host/a", "https://host/a"),
        ("https://me:hidden?@host/a", "https://(hidden)"),
        ("https://me:hidden", "https://(hidden)"),
        ("/data/a?b@c", "/data/a?b@c"),
        ("--a=s3://k:hidden@b/x", "--a=s3://b/x"),
    ],
)
def test_of_an_address_so_much_is_seen_as_holds_no_secret(address: str, seen: str) -> None:
    assert shown(address) == seen


def test_a_pattern_is_seen_whole() -> None:
    assert str(locate("s3://k:hidden@b/faces/train-?{0..9}*.tar")) == "s3://b/faces/train-?{0..9}*.tar"
    assert str(locate("https://k:hidden@h/faces/train-{0..9}*.tar?a=hidden")) == "https://h/faces/train-{0..9}*.tar"


def test_what_stands_around_an_address_in_a_text_stays() -> None:
    text = "403, url='https://h/x?sig=hidden' (s3://k:hidden@b), see https://docs.example/a: or s3://b/x."
    assert without_secrets(text) == "403, url='https://h/x' (s3://b), see https://docs.example/a: or s3://b/x."


def test_a_client_that_takes_an_address_apart_in_its_own_way_is_not_quoted() -> None:
    # s3fs calls a user and a password a bucket, without a scheme; yarl calls the password a port.
    for text in ('Invalid bucket name "me:hidden@bucket"', "Port could not be cast to integer value as 'hidden'"):
        assert cause_of(ValueError(text), locate("s3://me:hidden@bucket/x")) == "ValueError"
        assert "hidden" in cause_of(ValueError(text), locate("s3://bucket/x"))
        assert cause_of(ValueError("no answer"), locate("s3://me:hidden@bucket/x")) == "ValueError: no answer"
    assert cause_of(PermissionError("me:hidden@bucket"), locate("s3://me:hidden@bucket/x")) == "access denied"


@pytest.mark.parametrize(
    "words",
    [
        ["--data.train", "https:/me:hidden@host/x"],
        ["--data.train", "s3://me:hid@hidden@host/x\0"],
        ["--data.trian=https://me:hidden@host/x"],
        ["--train.lr", f"https://me:{'x' * 90}hidden@host/{'y' * 90}?{'z' * 90}hidden"],
        ["--train.epochs", "https://me:hid hidden@host/x"],
        ["https://me:hidden@host/x"],
        ["--data.leave-out", "https://me:hidden@host/x"],
    ],
)
def test_a_complaint_about_flags_quotes_no_secret(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "demo", *words, "--dry-run"]) == 2
    assert "hid" not in capsys.readouterr().err


def test_a_study_keeps_and_quotes_no_secret_of_its_plan(tmp_path: Path) -> None:
    address = "https://me:hid@hidden@host/faces?sig=hidden"
    kept = _without_secrets(Plan(data={"a": DataSet(address)}, trainings={"a": Training("a")}))
    assert kept.data["a"].shards == "https://host/faces"
    path = tmp_path / "plan.yaml"
    path.write_text(
        yaml.safe_dump({"data": {"a": {"shards": "x"}}, "trainings": {"a": {"data": "a"}}, "seeds": [address]})
    )
    with pytest.raises(InputError, match=r"seeds\.0: expected a whole number, found 'https://host/faces'"):
        load_plan(path)
