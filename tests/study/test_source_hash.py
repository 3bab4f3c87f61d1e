"""The hash of the program behind a result: what counts and what does not."""

import shutil
from functools import cache

import pytest

from fer_dist.study import source_hash as module
from fer_dist.study.jobs import BESIDE_WEIGHTS, CHANGES_NO_RESULT, DRAWS, SOURCES
from fer_dist.study.source_hash import reached, source_hash


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PACKAGE", tmp_path)
    (tmp_path / "top.py").write_text("from fer_dist.below import number\n\nanswer = number + 1\n")
    (tmp_path / "below.py").write_text("number = 1\n")
    (tmp_path / "beside.py").write_text("number = 1\n")
    return tmp_path


def of(*names, less=()):
    return source_hash(reached(names, less))


def test_what_a_module_rests_on_counts_and_what_stands_beside_does_not(package):
    before = of("top")
    (package / "beside.py").write_text("number = 2\n")
    assert of("top") == before
    (package / "below.py").write_text("number = 2\n")
    assert of("top") != before


@pytest.mark.parametrize(
    "text",
    [
        "from fer_dist import below",
        "from fer_dist import below as under",
        "import fer_dist.below",
        "import fer_dist.below as under",
        "from fer_dist.below import *",
        "def late():\n    from fer_dist import below",
        "try:\n    from fer_dist.below import number\nexcept ImportError:\n    pass",
    ],
)
def test_every_way_to_import_a_module_is_followed(package, text):
    (package / "top.py").write_text(text + "\n")
    assert reached(["top"]) == {"top", "below"}


@pytest.mark.parametrize(
    "text", ["from fer_dist.inner import number", "from fer_dist import inner", "from fer_dist.inner.leaf import Leaf"]
)
def test_the_file_of_a_package_counts_as_what_lies_in_it(package, text):
    (package / "inner").mkdir()
    (package / "inner" / "__init__.py").write_text("from fer_dist.below import number\n")
    (package / "inner" / "leaf.py").write_text("class Leaf: ...\n")
    (package / "top.py").write_text(text + "\n")
    leaf = {"inner.leaf"} if "leaf" in text else set()
    assert reached(["top"]) == {"top", "below", "inner"} | leaf


def test_what_is_imported_for_types_alone_or_by_an_entry_does_not_count(package):
    before = of("top")
    text = (package / "top.py").read_text()
    apart = "    from fer_dist.beside import number\n"
    (package / "top.py").write_text(f"{text}if TYPE_CHECKING:\n{apart}if __name__ == '__main__':\n{apart}")
    assert of("top") == before
    (package / "top.py").write_text(f"{text}if number:\n{apart}")
    assert reached(["top"]) == {"top", "below", "beside"}


def test_comments_docstrings_and_layout_do_not_count(package):
    before = of("top")
    (package / "below.py").write_text('"""Numbers."""\n# Because.\nnumber = (\n    1\n)\n"""Of this."""\n')
    assert of("top") == before


def test_what_is_left_out_does_not_count(package):
    before = of("top", less=("below",))
    (package / "below.py").write_text("number = 2\n")
    assert of("top", less=("below",)) == before


def test_the_modules_that_jobs_and_exceptions_name_are_there():
    named = {name for sources in SOURCES.values() for name in (*sources.entries, *sources.alone)}
    names = named | CHANGES_NO_RESULT | DRAWS | BESIDE_WEIGHTS
    assert [name for name in sorted(names) if not module._path(name).is_file()] == []


def test_a_trainings_hash_covers_the_network_the_step_and_the_data():
    wanted = {"model", "train.engine", "train.session", "train.optimizer"} | {
        f"data.loading.{name}" for name in ("order", "augment", "pipeline")
    }
    assert wanted <= SOURCES["train"].modules


def test_a_reports_hash_covers_its_figures_and_not_what_trains():
    modules = SOURCES["report"].modules
    assert {"scores.figures.canvas", "scores.figures.dots", "report.plots", "report.summary"} <= modules
    assert not [name for name in modules if name.startswith("train.")]
    assert not {"evaluate.evaluate", "data.loading.pipeline", "evaluate.robustness.corruptions"} & modules


def test_an_edit_of_any_file_changes_the_hashes_of_the_jobs_that_count_it_and_no_other(tmp_path, monkeypatch):
    shutil.copytree(module.PACKAGE, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    counted = {kind: sources.modules for kind, sources in SOURCES.items()}
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "copy")

    def hashes():
        return {kind: source_hash(sources.modules) for kind, sources in SOURCES.items()}

    # Otherwise each of a thousand readings would ask the disk for hundreds of names.
    monkeypatch.setattr(module, "_modules", cache(module._modules))
    before = hashes()
    for name in set().union(*counted.values()) | DRAWS | {"progress", "study.study"}:
        path = module._path(name)
        text = path.read_text()
        path.write_text(text + "\nedited = 1\n")
        after = hashes()
        changed = {kind for kind in after if after[kind] != before[kind]}
        assert changed == {kind for kind, modules in counted.items() if name in modules}, name
        path.write_text(text)
    assert hashes() == before
