"""The glossary: each measure that a page has, once, in words."""

import re
from dataclasses import replace

import pytest
from support.made_study import made_study
from support.page import Page, rendered
from support.small_studies import transferred

from fer_dist.report.glossary import GLOSSARY, glossary
from fer_dist.report.sections import all_tables, sections

PLAIN = {
    "seeds",
    "images",
    "parameters",
    "duplicates",
    "neutrality, ratio",
    "its ratio",
    "the study's",
    "the study's in training",
}
"""Numbers that say themselves what they are, or are said by the caption."""


@pytest.fixture(scope="module")
def study():
    return made_study(seeds=2, samples=100, sets=("affectnet", "drawn-lab"))


def terms_of(page):
    part = page[page.index('<h2 id="glossary">') :]
    return [re.sub(r"&#39;", "'", term) for term in re.findall(r"<dt>(.*?)</dt>", part)]


def test_every_column_of_a_measure_has_an_entry(study):
    measured = {
        column
        for table in all_tables(sections(study))
        for place, column in enumerate(table.columns)
        if any(row[place].kind in ("part", "points", "number", "probability") for row in table.rows)
    }
    models = {model.name for model in study.models} | {result.set_name for result in study.results}
    assert [column for column in measured - models - PLAIN if not glossary([column])] == []


def test_a_page_has_each_measure_of_its_own_once_and_no_other(study):
    whole, small = terms_of(rendered(study)), terms_of(rendered(transferred(880, 760)))
    assert len(whole) == len(set(whole))
    assert {"macro F1", "expected calibration error (ECE)", "Holm's correction", "selective accuracy"} <= set(whole)
    assert {"corruption error", "occlusion", "Spearman's r", "gap between groups"} <= set(whole) - set(small)
    assert {"accuracy", "transfer", "points"} <= set(small) < set(whole)


def test_nothing_is_defined_twice_in_a_page(study):
    page = rendered(study)
    terms = re.findall(r"<dt>(.*?)</dt>", page[page.index('<h2 id="made">') :])
    assert len(terms) == len(set(terms))


def test_a_page_that_measures_nothing_has_no_glossary():
    empty = replace(transferred(880, 760), models=(), results=(), comparisons=())
    assert "glossary" not in Page(rendered(empty)).values("h2", "id")


def test_entries_are_whole_sentences_under_terms_that_differ():
    terms = [entry.term.lower() for entry in GLOSSARY]
    assert len(terms) == len(set(terms))
    assert all(entry.meaning.endswith(".") and entry.meaning[0].isupper() for entry in GLOSSARY)
