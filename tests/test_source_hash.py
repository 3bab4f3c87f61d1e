"""The hash of the program behind a result: what counts and what does not."""

import ast

import pytest

from fer_dist import source_hash as module
from fer_dist.study_jobs import SOURCES


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PACKAGE", tmp_path)
    (tmp_path / "top.py").write_text("from fer_dist.below import number\n\nanswer = number + 1\n")
    (tmp_path / "below.py").write_text("number = 1\n")
    (tmp_path / "beside.py").write_text("number = 1\n")
    module.source_hash.cache_clear()
    yield tmp_path
    module.source_hash.cache_clear()


def of(*names, less=()):
    module.source_hash.cache_clear()
    return module.source_hash(names, less)


def test_what_a_module_rests_on_counts_and_what_stands_beside_does_not(package):
    before = of("top")
    (package / "beside.py").write_text("number = 2\n")
    assert of("top") == before
    (package / "below.py").write_text("number = 2\n")
    assert of("top") != before


def test_comments_docstrings_and_layout_do_not_count(package):
    before = of("top")
    (package / "below.py").write_text('"""Numbers."""\n# Because.\nnumber = (\n    1\n)\n"""Of this."""\n')
    assert of("top") == before


def test_what_is_left_out_does_not_count(package):
    before = of("top", less=("below",))
    (package / "below.py").write_text("number = 2\n")
    assert of("top", less=("below",)) == before


def test_the_modules_that_jobs_and_exceptions_name_are_there():
    names = {name for modules, less in SOURCES.values() for name in (*modules, *less)} | module.CHANGES_NO_RESULT
    assert [name for name in sorted(names) if not module._path(name).is_file()] == []


def test_a_trainings_hash_covers_the_network_the_step_and_the_data():
    seen, waiting = set(), list(SOURCES["train"][0])
    while waiting:
        name = waiting.pop()
        seen.add(name)
        waiting += module._imports(module._parsed(name)) - seen - module.CHANGES_NO_RESULT
    assert {"model", "engine", "session", "schedule", "data.order", "data.augment", "data.pipeline"} <= seen
    assert isinstance(module._parsed("train"), ast.Module)
