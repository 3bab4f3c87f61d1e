"""The top of a report: which model is best on which set, by how much, and whether that is sure."""

from dataclasses import replace

import pytest
from support.made_study import made_study
from support.small_studies import transferred

from fer_dist.errors import InputError
from fer_dist.report.findings import Ranking, Result, Study, check
from fer_dist.report.overview import MOST_ROWS, best_table, floor_of, overview_figures
from fer_dist.report.sections import sections
from fer_dist.scores.figures.dots import shortened


def ranked(p, difference=0.12):
    """Two networks on one set, and the test of the better one."""
    study = transferred(880, 760)
    test = {"difference": difference, "interval": [0.09, 0.15], "p": p, "seeds": 1}
    return replace(study, rankings=(Ranking("lab", "test", "wild to lab", 1, {"lab": test}),))


@pytest.mark.parametrize(
    ("study", "told"),
    [
        (ranked(0.0001), ("wild to lab", "+12.0", "9.0 to 15.0", "yes", "shown against the other one, p < 0.001")),
        (ranked(0.2), ("wild to lab", "+12.0", "9.0 to 15.0", "no", "not shown against lab, p = 0.200")),
        (transferred(880, 760), ("wild to lab", "+12.0", "", "not tested", "")),
    ],
)
def test_the_best_on_a_set_is_told_with_how_much_and_how_sure(study, told):
    (row,) = best_table(study).rows
    assert (row[1].text, row[3].text, row[3].interval_text, row[2].text, row[2].note) == told
    assert row[3].note == "ahead of lab"


def test_that_the_best_was_found_by_looking_is_corrected_for_over_all_pairs_on_all_sets():
    study, one = ranked(0.03), ranked(0.03).rankings[0]
    others = (replace(one, dataset="other", tests={}, pairs=2),)
    (row,) = best_table(study).rows
    assert row[2].text == "yes"
    (row,) = best_table(replace(study, rankings=(one, *others))).rows
    assert (row[2].text, row[2].note) == ("no", "not shown against lab, p = 0.090")


def test_a_ranking_that_names_another_best_than_the_scores_is_not_believed():
    (row,) = best_table(ranked(0.001, difference=-0.1)).rows
    assert row[1].text == "wild to lab"
    study = ranked(0.001)
    swapped = replace(study.rankings[0], best="lab", tests={"wild to lab": study.rankings[0].tests["lab"]})
    (row,) = best_table(replace(study, rankings=(swapped,))).rows
    assert (row[1].text, row[2].text) == ("wild to lab", "not tested")


def test_a_ranking_of_a_stranger_is_an_input_error():
    study = ranked(0.01)
    with pytest.raises(InputError, match="a ranking of 'nobody', which is no group"):
        check(replace(study, rankings=(replace(study.rankings[0], best="nobody"),)))


def test_of_one_model_alone_none_is_called_the_best():
    study = transferred(880, 760)
    study = Study("S", study.models[1:2], study.results[1:2])
    assert best_table(study).rows == ()
    assert len(list(overview_figures(study))) == 1


def test_the_overview_has_every_kind_of_model_on_every_set_once_with_the_floor_of_the_majority_class():
    study = made_study(2, 80)
    (figure,) = overview_figures(study)
    texts = [text.get_text() for text in figure.figure.axes[0].texts]
    assert [text for text in texts if text.endswith("-test")] == ["affectnet-test", "drawn-lab-test", "tcce-test"]
    labels = [label.get_text() for label in figure.figure.axes[0].get_yticklabels()]
    assert labels == 3 * ["affectnet", "lab", "affectnet-to-lab"]
    result = study.results[0]
    counts = result.scores["support"].values()
    assert floor_of(result) == max(counts) / 80
    assert floor_of(Result("m", "s", {"samples": 1})) is None
    assert "majority class" in figure.caption


def test_an_overview_of_many_models_is_cut_into_figures_that_can_be_read():
    study = transferred(880, 760)
    models = tuple(replace(study.models[1], name=f"lab {number}") for number in range(2 * MOST_ROWS + 5))
    results = tuple(replace(study.results[1], model=model.name) for model in models)
    figures = list(overview_figures(Study("S", models, results)))
    assert [len(figure.figure.axes[0].get_yticks()) for figure in figures] == [MOST_ROWS, MOST_ROWS, 5]
    assert len({figure.name for figure in figures}) == 3


def test_a_long_name_keeps_its_start_and_its_end():
    assert shortened("short") == "short"
    assert shortened("a" * 40 + "-seed7") == "aaaaaaaaaaa\N{HORIZONTAL ELLIPSIS}aaaaaa-seed7"


def test_settings_that_differ_stand_open_and_those_that_do_not_are_folded():
    study = made_study(1, 60, ("affectnet", "drawn-lab"))
    assert not [table for one in sections(study) if one.name == "models" for table in one.folded]
    models = tuple(
        replace(model, config={"train.lr": 0.1 * place, "data.mean": [0.5, 0.25], "data.flip": "none"})
        for place, model in enumerate(study.models, 1)
    )
    (section,) = [one for one in sections(replace(study, models=models)) if one.name == "models"]
    (*_, differing), (whole,) = section.tables, section.folded
    assert [[cell.text for cell in row] for row in differing.rows] == [["train.lr", "0.1", "0.2", "0.3"]]
    assert [[cell.text for cell in row] for row in whole.rows] == [["data.mean", "0.5, 0.25"], ["data.flip", "none"]]
