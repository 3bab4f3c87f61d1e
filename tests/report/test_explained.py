"""Where the networks look, as the report says it: sentences, tables and the page, of values that are made here."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support.page import Page, rendered
from support.small_studies import crossed

from fer_dist.explain.claims import ALIKE as ALIKE_CLAIM
from fer_dist.explain.claims import ALL as ALL_EMOTIONS
from fer_dist.explain.claims import EDGES, OF_REGIONS, Measured, against, decided, not_tested
from fer_dist.report.explained import (
    ALIKE,
    ALL,
    SPOKEN,
    claim_sentences,
    claims_table,
    emotion_claims_table,
    method_sentences,
    methods_table,
    planted_table,
    regions_tables,
)
from fer_dist.report.sections import sections


def mean(value):
    return {"mean": value, "interval": [value - 0.01, value + 0.01]}


def values_of(excess, believed=True):
    """What an explanation gives, with an excess of 10 points here for the mouth, and one method."""
    regions = ("mouth", "eyes", "left half", "right half")
    tests = {ALL_EMOTIONS: against(Measured(excess, 1e-4), [0.01, -0.01, 0.0, 0.005])}
    values = {
        "methods": ["grad-cam"],
        "believed": {"grad-cam": believed},
        "points": {"template": 12},
        "regions": {
            "area": {name: mean(0.25) for name in regions},
            **{
                name: {region: mean(0.3) | {"per_area": 1.2, "first": 0.5} for region in regions}
                for name in ("grad-cam", "grad-cam, random weights", "grad-cam, random labels", "uniform")
            },
        },
        "hidden": {
            "mean": {
                name: {"p": mean(0.2), "more_than": {"at a random place": {"p": mean(0.1)}} if name == "mouth" else {}}
                for name in regions
            }
        },
        "faithfulness": {
            name: {
                "measures": {measure: mean(0.4) for measure in ("deletion", "insertion", "correlation")},
                "beats_controls": {"deletion": believed} if name == "grad-cam" else None,
            }
            for name in ("grad-cam", "uniform")
        },
        "cascade": {"grad-cam": {"head": mean(0.6), "conv": mean(0.1), "random labels": mean(0.3)}},
        "claims": {"mouth and nose over eyes": tests | {"fear": tests[ALL_EMOTIONS]}},
        "right_and_wrong": {
            "p": 0.3, "block": "stage 1, block 1", "region": "ears", "difference": 0.02, "at_most": 0.05,
            "images": {"right": 3, "wrong": 4},
        },
    }  # fmt: skip
    return values | {"verdicts": decided({"set": values})["set"], "not_tested": not_tested(values)}


@pytest.fixture(scope="module")
def study():
    plain = crossed(850, 510)
    first, second = plain.results
    planted = {
        "cue": "mouth", "images": 400, "accuracy": 0.6, "hiding": 0.9, "controls": {"uniform": 0.2},
        "methods": {"grad-cam": {"found": 0.7, "random_weights": 0.1, "random_labels": 0.2, "believed": False}},
    }  # fmt: skip
    found = (replace(first, explained=values_of(0.4)), replace(second, explained=values_of(-0.4, believed=False)))
    return replace(plain, results=found, planted=(planted,))


def test_each_conclusion_of_the_study_is_told_with_where_it_holds(study):
    mouth, alike = claim_sentences(study.results)
    assert mouth == (
        "“Mouth and nose count for more than the eyes”: shown for wild on wild; contradicted for wild on lab."
    )
    assert alike == "“Maps of right and of wrong images are alike”: not shown for wild on wild, wild on lab."
    untested = values_of(0.4) | {"claims": {}, "right_and_wrong": None, "verdicts": {}}
    lone = replace(study.results[0], explained=untested | {"not_tested": not_tested(untested)})
    assert claim_sentences([lone]) == [
        "wild on wild, the study's conclusions about regions: not tested, for want of images of two emotions, and "
        "three networks with random weights.",
        "wild on wild, right and wrong images look alike: not tested, for want of right images with p > 0.9 and wrong "
        "ones of the same emotion.",
    ]
    believed, not_believed = method_sentences(study.results)
    assert believed == "Grad-cam beat every control in three measures: wild on wild."
    assert not_believed.startswith("Grad-cam did not beat every control")
    assert not_believed.endswith("regions: wild on lab.")
    third = replace(study.results[0], dataset="film")
    assert claim_sentences((*study.results, third)) == [
        "“Mouth and nose count for more than the eyes”: shown for wild on wild, wild on film; contradicted for wild on "
        "lab.",
        "“Maps of right and of wrong images are alike”: not shown in any of the 3 pairs of a model and a set.",
    ]
    four = (*study.results, third, replace(third, dataset="street"))
    assert "shown in 3 of the 4 pairs of a model and a set; contradicted for wild on lab" in claim_sentences(four)[0]
    assert method_sentences([third] * 3) == [
        "Grad-cam beat every control in three measures: in each of the 3 pairs of a model and a set."
    ]


def test_a_study_from_before_the_verdicts_had_their_names_is_told_as_it_would_be_now(study):
    first = study.results[0]
    text = json.dumps(first.explained).replace('"not shown"', '"undecided"')
    before = replace(first, explained=json.loads(text))
    assert "undecided" in text
    assert claim_sentences([before]) == claim_sentences([first])
    assert claims_table([before]) == claims_table([first])
    assert emotion_claims_table([before]) == emotion_claims_table([first])


def test_effects_are_points_over_random_weights_and_what_is_not_believed_is_marked(study):
    table = claims_table(study.results)
    assert table.columns[1:] == tuple(SPOKEN[name] for name in ("mouth and nose over eyes", ALIKE_CLAIM))
    own, other = table.rows
    assert [cell.text for cell in own] == ["wild on wild-test", "+39.9", "+2.0"]
    assert [cell.text for cell in other] == ["wild on lab-test", "\N{MINUS SIGN}40.1", "+2.0"]
    assert own[1].interval is not None
    assert [row[1].note.partition(",")[0] for row in (own, other)] == ["shown", "contradicted"]
    assert own[2].note == "not shown, p = 0.300; ears, stage 1, block 1; 3 right, 4 wrong"
    # A set on which a conclusion could not be tested.
    untested = replace(study.results[1], explained=values_of(0.4) | {"right_and_wrong": None})
    assert [cell.text for cell in claims_table((study.results[0], untested)).rows[1]][1:] == ["+39.9", "–"]
    by_emotion = emotion_claims_table(study.results).rows
    assert [row[3].text for row in by_emotion] == ["fear", "fear"]
    own, other = regions_tables(study.results)
    assert [own.columns[4], other.columns[4]] == ["grad-cam", "grad-cam *"]
    assert ["nothing is drawn from it" in table.caption for table in (own, other)] == [False, True]
    assert own.rows[0][4].text == "1.20"
    assert own.rows[0][3].text == "+10.0"
    assert own.rows[1][3].text == "–"
    assert [cell.text for cell in planted_table(study).rows[0]] == [
        "grad-cam *",
        "mouth",
        "60.0 %",
        "400",
        "70.0 %",
        "10.0 %",
        "20.0 %",
    ]


def test_a_method_stands_beside_itself_on_networks_that_did_not_learn_the_emotions(study):
    own = next(regions_tables(study.results))
    assert own.rows[0][4].note == "1.20; 1.20"
    assert "beneath it the same method on the network with random weights and on random labels" in own.caption
    method, uniform = methods_table(study.results).rows[:2]
    assert [cell.text for cell in method[-3:]] == ["0.60", "0.10", "0.30"]
    assert [cell.text for cell in uniform[-3:]] == ["–", "–", "–"]
    values = values_of(0.4)
    del values["regions"]["grad-cam, random labels"], values["cascade"]["grad-cam"]["random labels"]
    without = (replace(study.results[0], explained=values),)
    assert next(regions_tables(without)).rows[0][4].note == "1.20"
    assert methods_table(without).rows[0][-1].text == "–"


def test_several_seeds_are_told_as_networks(study):
    values = values_of(0.4)
    values["claims"]["mouth and nose over eyes"][ALL_EMOTIONS]["networks"] = 3
    (row,) = claims_table([replace(study.results[0], explained=values)]).rows
    assert row[1].note.endswith("; over 3 networks")


def test_the_page_has_a_section_with_all_of_it_and_none_where_nobody_looked(study):
    (section,) = [one for one in sections(study) if one.name == "maps"]
    assert [table.name for table in (*section.tables, *section.folded)] == [
        "claims", "planted", "regions-wild-wild-test", "claims-by-emotion", "attribution", "regions-wild-lab-test",
    ]  # fmt: skip
    text = " ".join(Page(rendered(study)).text)
    assert "Where the network looks" in text
    assert "not shown" in text
    assert "maps" not in [one.name for one in sections(crossed(850, 510))]


def test_the_report_knows_every_claim_that_an_explanation_tests():
    assert set(SPOKEN) == {*OF_REGIONS, EDGES, ALIKE_CLAIM}
    assert ALL == ALL_EMOTIONS
    assert ALIKE == ALIKE_CLAIM
    assert np.isfinite(values_of(0.1)["claims"]["mouth and nose over eyes"][ALL_EMOTIONS]["p"])
