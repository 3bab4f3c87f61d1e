"""Tables: the numbers of the study as CSV and LaTeX, and the published study's beside ours."""

import csv
import io
import re
from dataclasses import replace

import pytest
from support.small_studies import scored, transferred

from fer_dist.report.findings import Comparison, Model, Result, Seeds, Study
from fer_dist.report.published import (
    ACCURACIES,
    CLASS_COUNTS,
    RELATIVE_TRANSFER_GAIN,
    TRANSFER_GAIN,
    paper_tables,
    stand_in_sentence,
)
from fer_dist.report.table import Cell, Table, count, escaped, part, place_of, points, to_csv, to_latex, word
from fer_dist.report.tables import accuracy_table, comparisons_table, measures_table

REAL = {"a": "affectnet", "b": "rafdb", "c": "tcce"}


def published(**roles):
    """The study's models on sets of these names, each with 1,000 pictures: 650 right on its own set, 426 elsewhere."""
    models = (
        Model("big", roles["a"], role="a", curves={"train/accuracy": [(1, 0.2), (2, 0.79)]}),
        Model("small", roles["b"], role="b"),
        Model("moved", roles["b"], "big", role="a-b"),
    )
    rights = {("big", "a"): 565, ("big", "b"): 774, ("big", "c"): 700, ("small", "a"): 300, ("small", "b"): 656}
    results = [Result(name, roles[role], scored(right)) for (name, role), right in rights.items()]
    results += [Result("moved", roles["b"], scored(834)), Result("small", roles["b"], scored(765), "train")]
    paired = {"p": 0.001, "interval": [0.15, 0.2], "only_first_right": 3, "only_second_right": 1}
    comparisons = (Comparison("moved", "small", roles["b"], paired=paired),)
    counts = {f"{roles['b']}-train": {"fear": 281, "anger": 705}, f"{roles['b']}-test": {"fear": 74, "anger": 162}}
    return Study("S", models, tuple(results), comparisons, counts, roles=roles)


def rows_of(study, name):
    table = next(table for table in paper_tables(study) if table.name == name)
    return {row[0].text: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_the_published_accuracies_are_whole_numbers_of_pictures():
    rights = {place: value.accuracy * value.samples for place, value in ACCURACIES.items()}
    assert abs(rights["a", "a"] - 1979) < 0.2
    assert abs(rights["b", "a"] - 1491) < 0.2
    assert abs(rights["a", "c"] - 742) < 0.2
    gain = ACCURACIES["a-b", "b"].accuracy - ACCURACIES["b", "b"].accuracy
    assert gain == pytest.approx(TRANSFER_GAIN)
    assert gain / ACCURACIES["b", "b"].accuracy == pytest.approx(RELATIVE_TRANSFER_GAIN, abs=5e-5)


def test_the_published_counts_add_up_to_the_published_totals():
    assert sum(CLASS_COUNTS["b"].values()) == 15_339
    assert sum(CLASS_COUNTS["c"].values()) == ACCURACIES["a", "c"].samples == 1_197
    # Contempt, none, uncertain and no face are the rest of AffectNet.
    assert sum(CLASS_COUNTS["a"].values()) + 5_135 + 35_322 + 13_163 + 88_895 == 456_349


@pytest.mark.parametrize(
    ("value", "place"), [(0.4, "within"), (0.6, "within"), (0.5, "within"), (0.39, "below"), (0.61, "above")]
)
def test_a_value_lies_within_above_or_below_an_interval(value, place):
    assert place_of(value, (0.4, 0.6)) == place


def test_on_the_study_s_own_data_its_values_are_marked():
    crossings = rows_of(published(**REAL), "table-2-crossings")
    assert crossings["small"]["the study's"].text == "42.6 %"
    marks = [row[5].mark for row in next(t for t in paper_tables(published(**REAL)) if "crossings" in t.name).rows]
    assert marks == ["within", "above", "below"]
    assert crossings["small"]["the study's against our interval"].note == "ours has 1,000 pictures"
    own = rows_of(published(**REAL), "table-3-own-sets")
    assert own["big"]["our training accuracy"].text == "79.0 %"
    assert own["big"]["our training accuracy"].note == "last point of its curve"
    assert own["small"]["our training accuracy"].text == "76.5 %"
    assert own["small"]["our training accuracy"].interval is not None
    transfer = rows_of(published(**REAL), "table-4-transfer")
    assert transfer["gain, points"]["our accuracy"].text == "+17.8"
    assert transfer["gain, points"]["the study's against our interval"].mark == "within"
    assert stand_in_sentence(published(**REAL)) == ""


def test_on_other_data_no_value_is_marked_and_the_table_says_where_it_was_measured():
    study = published(a="synthetic_wild", b="rafdb", c="tcce")
    assert stand_in_sentence(study).startswith("Here synthetic_wild stands for AffectNet")
    crossings = rows_of(study, "table-2-crossings")
    assert crossings["small"]["the study's against our interval"].text == (
        "the study's value was measured on AffectNet, trained on RAF-DB"
    )
    own = rows_of(study, "table-3-own-sets")
    assert own["big"]["the study's against our interval"].text == "the study's value was measured on AffectNet"
    assert own["small"]["the study's against our interval"].mark == "within"
    transfer = rows_of(study, "table-4-transfer")
    assert transfer["from scratch"]["the study's against our interval"].mark == "within"
    assert not transfer["pretrained"]["the study's against our interval"].mark
    assert not transfer["gain, points"]["the study's against our interval"].mark


def test_our_counts_of_all_splits_stand_beside_the_published_ones():
    rows = rows_of(published(**REAL), "table-1-class-counts")
    assert [rows["fear"][name].value for name in ("rafdb, ours", "RAF-DB, the study's")] == [355, 355]
    assert rows["all"]["RAF-DB, the study's"].value == 15_339
    assert rows["happiness"]["rafdb, ours"].value is None
    assert not [table for table in paper_tables(published(**REAL)) if "table-5" in table.name]


def test_without_roles_there_are_no_published_tables():
    assert paper_tables(transferred(880, 760)) == []


def test_several_seeds_show_their_mean_beside_the_first():
    values = {"n": 3, "accuracy": {"mean": 0.651, "deviation": 0.01, "values": [0.64, 0.65, 0.663]}}
    study = replace(published(**REAL), seeds=(Seeds("small", "rafdb", "test", values),))
    assert rows_of(study, "table-3-own-sets")["small"]["our accuracy"].note == "mean of 3 seeds 65.1 %"


def test_a_csv_file_holds_the_numbers_in_full_and_intervals_in_columns_of_their_own():
    study = transferred(880, 760)
    found = list(csv.DictReader(io.StringIO(to_csv(measures_table(study)))))
    for row, result in zip(found, study.results, strict=True):
        assert (row["model"], row["tested on"]) == (result.model, result.set_name)
        assert float(row["macro F1"]) == result.scores["macro_f1"]
        assert [float(row[f"macro F1, {end}"]) for end in ("low", "high")] == result.scores["macro_f1_interval"]
        assert int(row["pictures"]) == 1000
    accuracies = list(csv.DictReader(io.StringIO(to_csv(accuracy_table(study)))))
    assert [row["lab-test"] for row in accuracies] == ["", "0.76", "0.88"]


def test_a_csv_file_keeps_commas_quotes_and_line_ends_of_names_in_one_cell():
    name = 'a "b", c\nd'
    assert name in to_csv(Table("t", "", ("model",), ((word(name.replace("\n", "\r")),),))).replace('""', '"')
    table = Table("t", "", ("model", "x"), ((word(name), count(1)),))
    assert list(csv.reader(io.StringIO(to_csv(table))))[1] == [name, "1"]


FORMULAS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+A1",
    "-A1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "-1+A1",
    "-0.5e",
    "＝1",
    "-",
    "+",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_a_csv_file_is_a_formula_to_a_spreadsheet_whatever_a_name_begins_with(text):
    rows = ((word(text), word("plain", note=text)),)
    (header, row) = csv.reader(io.StringIO(to_csv(Table("t", "", (text, "y"), rows)), newline=""))
    harmless = f"'{text}".replace("\r", "\n")
    assert (header, row) == ([harmless, "y", "y, note"], [harmless, "plain", harmless])


def test_numbers_in_a_csv_file_stay_numbers_and_words_that_are_none_of_it_stay_as_they_are():
    cells = (
        points(-0.5, (-0.7, -0.3)),
        count(-1),
        word("-0.5"),
        word("+3"),
        word("a=b"),
        word("faces-wild"),
        word(None),
    )
    table = Table("t", "", tuple("abcdefg"), (cells,))
    assert list(csv.reader(io.StringIO(to_csv(table))))[1] == [
        *("-0.5", "-0.7", "-0.3", "-1", "-0.5", "+3", "a=b", "faces-wild", "")
    ]  # fmt: skip


def test_latex_prints_every_special_character():
    special = r"50 % & $x_1$ #2 {a} ~b^c \d <e>"
    meant = {r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^"}
    meant |= {r"\textless{}": "<", r"\textgreater{}": ">"} | {f"\\{letter}": letter for letter in "&%$#_{}"}
    pattern = "|".join(re.escape(command) for command in sorted(meant, key=len, reverse=True))
    assert re.sub(pattern, lambda found: meant[found.group()], escaped(special)) == special
    rest = re.sub(pattern, "", escaped(special))
    assert not set(rest) & set("&%$#_{}~^\\<>")


def test_a_latex_table_has_as_many_cells_in_a_row_as_columns():
    study = replace(transferred(880, 760), models=tuple(replace(m, name=m.name) for m in transferred(880, 760).models))
    for table in (
        accuracy_table(study),
        measures_table(study),
        comparisons_table(study),
        *paper_tables(published(**REAL)),
    ):
        lines = to_latex(table).splitlines()
        columns = re.search(r"\{tabular\}\{([lr]+)\}", to_latex(table)).group(1)
        assert len(columns) == len(table.columns)
        rows = [line for line in lines if line.endswith(r"\\")]
        assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {len(columns)}
        assert len(rows) == len(table.rows) + 1
        rules = [line for line in lines if line.endswith("rule")]
        assert rules == [r"\toprule", r"\midrule", r"\bottomrule"]
        assert to_latex(table).count("{") - to_latex(table).count(r"\{") == to_latex(table).count("}")


@pytest.mark.parametrize(
    ("cell", "text", "latex"),
    [
        (part(0.8766, (0.85, 0.9)), "87.7 %", r"87.7 \% {\scriptsize (85.0 to 90.0)}"),
        (part(None, (0.85, 0.9)), "–", "--"),
        (points(-0.012), "−1.2", "$-$1.2"),
        (count(11_267_143), "11,267,143", "11,267,143"),
        (Cell(0.0004, "probability"), "< 0.001", r"\textless{} 0.001"),
        (Cell(-0.55, "number"), "−0.55", "$-$0.55"),
        (word("a_b", note="50 %"), "a_b", r"a\_b {\scriptsize (50 \%)}"),
    ],
)
def test_a_cell_is_printed_as_its_kind_asks(cell, text, latex):
    assert cell.text == text
    assert to_latex(Table("t", "", ("x",), ((cell,),))).splitlines()[8] == latex + r" \\"
