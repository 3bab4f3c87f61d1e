"""How faces were cut: from a build into the manifest, the checkpoint, and what is said where rules differ."""

import json
from pathlib import Path

import pytest
from support.faces import folder_release

from fer_dist.config.settings import Config, with_settings
from fer_dist.data.build.build import BuildOptions, build_shards
from fer_dist.data.faces.fit import FaceFlags
from fer_dist.data.shards.crop_rule import CropRule, difference
from fer_dist.data.shards.manifest import MANIFEST, load_manifest
from fer_dist.data.sources.source import open_source
from fer_dist.errors import InputError
from fer_dist.train.inputs import open_inputs


def built(tmp_path: Path, split: str = "train", **flags: int) -> Path:
    source = open_source("folder", str(folder_release(tmp_path / "raw" / split, 12, split)))
    build_shards(source, tmp_path / "out", BuildOptions(workers=1, **flags))  # type: ignore[arg-type]
    return tmp_path / "out" / split


def test_the_flags_of_a_build_are_the_rule_of_its_manifest(tmp_path: Path) -> None:
    assert load_manifest(built(tmp_path, resize=24)).crop_rule == CropRule("none", 0.0, False, 24)
    rules = {
        FaceFlags(): "as released",
        FaceFlags(crop_faces=True, margin=0.25): "box of the release, margin 25 %",
        FaceFlags(detect=True, resize=112): "centerface 09189dea, margin 10 %, upright, 112 px",
    }
    assert {flags: str(flags.crop_rule) for flags in rules} == rules


def test_a_manifest_without_a_rule_is_read_and_one_with_a_damaged_rule_is_not(tmp_path: Path) -> None:
    folder = built(tmp_path)
    content = json.loads((folder / MANIFEST).read_text())
    rule = content["built"].pop("crop_rule")
    (folder / MANIFEST).write_text(json.dumps(content))
    assert load_manifest(folder).crop_rule is None
    content["built"]["crop_rule"] = rule | {"of a later version": 1}
    (folder / MANIFEST).write_text(json.dumps(content))
    assert load_manifest(folder).crop_rule == CropRule()
    content["built"]["crop_rule"] = rule | {"margin": "wide"}
    (folder / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"crop_rule\.margin"):
        load_manifest(folder)


def test_only_rules_that_are_known_and_differ_are_told() -> None:
    one, other = CropRule("release", 0.1), CropRule()
    assert difference(None, one) == difference(one, None) == difference(one, CropRule("release", 0.1)) == ""
    assert difference(one, other) == (
        "faces are cut otherwise (as released) than those of the training (box of the release, margin 10 %)"
    )


def test_a_training_takes_the_rule_of_its_set_and_says_where_its_validation_has_another(tmp_path: Path) -> None:
    train, val = built(tmp_path, resize=24), built(tmp_path / "other", "val")
    settings = {"data.train": str(train), "data.val": str(val), "train.batch_size": 4, "data.size": 24, "data.crop": 20}
    inputs = open_inputs(with_settings(Config(), settings))
    assert inputs.network.crop_rule == CropRule(size=24)
    assert inputs.crop_remark == (
        "--data.val val-val: faces are cut otherwise (as released) than those of the training (as released, 24 px)"
    )
    alike = built(tmp_path / "alike", "val", resize=24)
    assert open_inputs(with_settings(Config(), settings | {"data.val": str(alike)})).crop_remark == ""
    assert open_inputs(with_settings(Config(), settings | {"data.val": ""})).crop_remark == ""
