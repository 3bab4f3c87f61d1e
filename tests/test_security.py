"""Secrets stay where the user put them: in no file of a run and in nothing that is printed."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.runs import arguments, drawn_shards
from support.stores import served

from fer_dist.cli.commands import main
from fer_dist.config.settings import Config, DataConfig, differences, to_json, to_shown_json

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
