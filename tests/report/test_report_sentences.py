"""The report's sentences follow the numbers."""

import re
from dataclasses import replace

import pytest
from support.small_studies import crossed, scored, table, transferred

from fer_dist.data.emotions import SEVEN
from fer_dist.report import sentences
from fer_dist.report import sentences as remarks
from fer_dist.report.differences import balance_tests, cross_dataset_tests, gap_tests, rank_tests, transfers
from fer_dist.report.findings import Comparison, Gain, Model, Result, Seeds, Study
from fer_dist.report.numbers import probability, signed_points, span
from fer_dist.report.sentences import crop_sentences
from fer_dist.report.summary import summary
from fer_dist.report.tables import attributes_table, counts_table
from fer_dist.scores.compare import separate_over_seeds
from fer_dist.scores.metrics import class_balance, scores

CONFUSED = "Largest confusion: {}.0 % of fear is taken for surprise."
UNTESTED = "; whether that is more than chance was not tested."


@pytest.mark.parametrize(
    ("after", "before", "samples", "expected"),
    [
        (880, 760, 1000, "comes with 12.0 points more on lab (from 76.0 % to 88.0 %, relative 15.8 %)"),
        (760, 880, 1000, "comes with 12.0 points less on lab (from 88.0 % to 76.0 %, relative 13.6 %)"),
        (760, 760, 1000, "makes no difference on lab: 76.0 % with both"),
        (2, 0, 2, "comes with 100.0 points more on lab (from 0.0 % to 100.0 %)"),
    ],
)
def test_the_transfer_sentence_follows_the_numbers_and_claims_nothing_without_a_test(after, before, samples, expected):
    (found,) = transfers(transferred(after, before, samples))
    assert sentences.transfer_sentence(found) == f"Starting from wild instead of scratch {expected}{UNTESTED}"


def test_models_of_different_sets_are_not_said_to_differ_by_their_start():
    study = replace(transferred(880, 760), models=(Model("wild to lab", "lab", "wild"), Model("lab", "elsewhere")))
    assert sentences.transfer_sentence(transfers(study)[0]).startswith("Using wild to lab instead of lab comes with")


def against_own(difference, p, emotions=SEVEN[:2]):
    interval = [difference - 0.03, difference + 0.03]
    return {"emotions": list(emotions), "difference": difference, "interval": interval, "p": p}


@pytest.mark.parametrize(
    ("other", "test", "expected"),
    [
        (510, None, "on lab it reaches 51.0 % ({})."),
        (
            510,
            against_own(-0.34, 1e-9),
            "on lab it reaches 51.0 % ({}), 34.0 points less than on its own set (−37.0 to −31.0 points, p < 0.001).",
        ),
        (
            950,
            against_own(0.1, 0.004, SEVEN[:1]),
            "on lab it reaches 95.0 % ({}), 10.0 points more than on its own set on the 1 emotions that both have "
            "(7.0 to 13.0 points, p = 0.004).",
        ),
        (
            840,
            against_own(-0.01, 0.3),
            "on lab it reaches 84.0 % ({}): a difference from its own set is not shown (−4.0 to 2.0 points, "
            "p = 0.300).",
        ),
    ],
)
def test_what_is_said_of_another_set_follows_the_test_of_the_difference(other, test, expected):
    study = crossed(850, other)
    own, there = study.results
    study = replace(study, results=(own, replace(there, against_own=test)))
    sentence = sentences.model_sentences(study, study.models[0])[0]
    start, _, clause = sentence.partition("; ")
    assert start == f"wild reaches 85.0 % ({span(own.scores['accuracy_interval'])}) on its own test set"
    assert clause == expected.format(span(there.scores["accuracy_interval"]))


def test_of_many_cross_dataset_evaluations_none_is_shown_by_a_p_that_one_of_them_would_have_by_chance():
    others = tuple(
        Result("wild", name, scored(830), against_own=against_own(-0.02, p))
        for name, p in (("b", 0.03), ("c", 0.2), ("d", 0.4))
    )
    study = Study("S", (Model("wild", "wild"),), (Result("wild", "wild", scored(850)), *others))
    text = sentences.model_sentences(study, study.models[0])[0]
    assert text.count("is not shown") == 3
    assert "p = 0.090" in text


def test_a_recipe_of_several_seeds_is_compared_with_its_own_set_over_the_seeds():
    values = {"n": 2, "accuracy": {"mean": 0.76, "deviation": 0.014, "values": [0.77, 0.75]}}
    results = []
    for seed, (right, change) in enumerate(((790, -0.06), (770, -0.08))):
        test = against_own(change, 0.001) | {"subjects": [None, None], "samples": [1000, 1000], "by": "images"}
        results += [Result(f"wild-{seed}", "wild", scored(850)), Result(f"wild-{seed}", "lab", scored(right))]
        results[-1] = replace(results[-1], against_own=test)
    models = tuple(Model(f"wild-{seed}", "wild", group="wilds", seed=seed) for seed in range(2))
    seeds = tuple(Seeds("wilds", name, "test", values) for name in ("wild", "lab"))
    study = Study("S", models, tuple(results), seeds=seeds)
    found = separate_over_seeds([result.against_own for result in results if result.against_own])
    assert cross_dataset_tests(study) == {("wild-0", "lab-test"): found}
    assert found["difference"] == pytest.approx(-0.07)
    spread = "(mean of 2 seeds, standard deviation 1.4 points)"
    assert sentences.model_sentences(study, models[0])[0].startswith(
        f"wilds reaches 76.0 % {spread} on its own test set; on lab it reaches 76.0 % {spread}, 7.0 points less than "
        f"on its own set (over 2 seeds {span(found['interval'])} points, {probability(found['p'])})."
    )
    assert summary(study)[1].startswith(f"Carried over, wilds reaches 76.0 % {spread} on lab, 7.0 points less")
    # Without the test of one seed nothing is said of the recipe.
    untested = (*results[:3], replace(results[3], against_own=None))
    assert cross_dataset_tests(replace(study, results=untested)) == {}


def test_a_validation_set_is_not_called_a_test_set():
    study = Study("S", (Model("wild", "wild"),), (Result("wild", "wild", scored(850), "val"),))
    assert "on its own validation set." in sentences.model_sentences(study, study.models[0])[0]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (
            [[790, 10], [100, 100]],
            r"14.6 points below its accuracy \(−17.0 to −12.2 points, p < 0.001\): on the whole, emotions with more",
        ),
        (
            [[500, 300], [0, 200]],
            r" points above its accuracy \(9.9 to 12.6 points, p < 0.001\): on the whole, emotions with fewer",
        ),
        ([[700, 100], [25, 175]], r"that it differs from the accuracy is not shown \(−1.6 to 1.6 points, p = 1.000\)."),
    ],
)
def test_the_class_sentence_follows_the_numbers(matrix, expected):
    predictions = table(matrix, SEVEN[:2])
    result = Result("wild", "wild", scores(predictions))
    assert re.search(expected, sentences.class_balance_sentence(result, class_balance(predictions)))
    assert sentences.class_balance_sentence(result, None).endswith(").")
    assert sentences.class_balance_sentence(replace(result, scores={"accuracy": 0.8}), None) == ""


def test_of_many_models_none_favours_emotions_by_a_p_that_one_of_them_would_have_by_chance():
    predictions = table([[700, 100], [155, 45]], SEVEN[:2])
    test = class_balance(predictions) | {"p": 0.03}
    names = ("a", "b")
    results = tuple(Result(name, name, scores(predictions), detail={"class_balance": test}) for name in names)
    study = Study("S", tuple(Model(name, name) for name in names), results)
    assert [test["p"] for test in balance_tests(study).values()] == pytest.approx([0.06, 0.06])
    assert "is not shown" in sentences.model_sentences(study, study.models[0])[1]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (
            [[8, 2], [3, 7]],
            f"Recognised best: surprise, 80.0 % of 10; worst: fear, 70.0 % of 10. {CONFUSED.format(30)}",
        ),
        ([[5, 0], [0, 5]], "Every emotion is recognised equally often: 100.0 %. No image is confused."),
        ([[0, 0], [3, 1]], f"Every emotion is recognised equally often: 25.0 %. {CONFUSED.format(75)}"),
    ],
)
def test_the_confusion_sentences_follow_the_numbers(matrix, expected):
    assert sentences.confusion_sentences(Result("wild", "wild", scores(table(matrix, SEVEN[:2])))) == expected


BETWEEN = "; between these two networks a {}"


@pytest.mark.parametrize(
    ("after", "paired", "expected"),
    [
        (880, {"p": 0.0004, "interval": [0.095, 0.145]}, "gain is shown (9.5 to 14.5 points, p < 0.001)."),
        (770, {"p": 0.42, "interval": [-0.01, 0.03]}, "gain is not shown (−1.0 to 3.0 points, p = 0.420)."),
        (750, {"p": 0.0401, "interval": [-0.02, -0.001]}, "loss is shown (−2.0 to −0.1 points, p = 0.040)."),
        (760, {"p": 1.0, "interval": [-0.01, 0.01]}, "difference is not shown (−1.0 to 1.0 points, p = 1.000)."),
    ],
)
def test_with_one_seed_a_paired_test_decides_and_speaks_of_two_networks(after, paired, expected):
    study = transferred(after, 760)
    study = replace(study, comparisons=(replace(study.comparisons[0], paired=paired),))
    assert sentences.transfer_sentence(transfers(study)[0]).endswith(BETWEEN.format("") + expected)


def test_what_a_transfer_costs_where_it_came_from_is_called_forgetting():
    models = (Model("wild", "wild"), Model("wild to lab", "lab", started_from="wild"))
    results = (Result("wild to lab", "wild", scored(500)), Result("wild", "wild", scored(800)))
    paired = {"p": 1e-5, "interval": [-0.35, -0.25]}
    study = Study("S", models, results, (Comparison("wild to lab", "wild", "wild", paired=paired),))
    assert sentences.transfer_sentence(transfers(study)[0]) == (
        "After its training on lab, wild to lab instead of wild costs 30.0 points on wild (from 80.0 % to 50.0 %, "
        "relative 37.5 %); between these two networks forgetting is shown (−35.0 to −25.0 points, p < 0.001)."
    )


def test_the_summary_is_three_sentences_on_own_sets_on_other_sets_and_on_transfer():
    lab = replace(transferred(880, 760), results=(*transferred(880, 760).results, *crossed(850, 510).results))
    found = summary(lab)
    assert [text.split(",")[0].split(" instead")[0] for text in found] == [
        "On their own test sets",
        "Carried over",
        "Starting from wild",
    ]
    assert all(text.endswith(".") for text in found)
    assert "Carried over, wild reaches 51.0 %" in found[1]


def test_a_model_is_not_said_to_be_carried_over_to_what_its_start_was_trained_on():
    study = transferred(880, 760)
    study = replace(study, results=(*study.results, Result("wild to lab", "wild", scored(500))))
    assert not any("Carried" in text for text in summary(study))
    study = replace(study, results=(*study.results, Result("wild to lab", "film", scored(500))))
    assert "on film" in next(text for text in summary(study) if "Carried" in text)


def carried_over(changes, group=""):
    """One model on its own set and on others, on which it differs by so much on the emotions of both."""
    others = zip("bcd", changes, (860, 500, 660), strict=True)
    results = [
        Result("wild", name, scored(right), against_own=None if change is None else against_own(change, 0.01))
        for name, change, right in others
    ]
    models = (Model("wild", "wild", group=group),)
    return Study("S", models, (Result("wild", "wild", scored(800)), *results))


def test_of_many_cross_dataset_evaluations_the_summary_gives_the_range_of_what_was_tested_and_the_largest_fall():
    start = "Carried over to other sets, accuracy"
    number = "(3 cross-dataset evaluations, each tested below)"
    study = carried_over((0.05, -0.31, -0.2), "wilds")
    assert summary(study)[1] == (
        f"{start} changes by −31.0 to 5.0 points on the emotions that both sets have {number}; the largest fall of "
        "these is that of wild on c, −31.0 points."
    )
    assert "the smallest rise of these is that of wild on b, +1.0 points." in summary(carried_over((0.01, 0.1, 0.2)))[1]
    assert summary(carried_over((0.05, None, -0.2)))[1] == (
        "Carried over to other sets, accuracies lie from 50.0 to 86.0 % (3 of them, differences not tested)."
    )


def several_seeds(gain=None):
    models, results, comparisons = [], [], []
    for seed, (before, after) in enumerate(((760, 880), (740, 900))):
        models += [
            Model(f"lab-{seed}", "lab", group="labs"),
            Model(f"to-{seed}", "lab", "wild", group="tos", role="a-b"),
        ]
        results += [Result(f"lab-{seed}", "lab", scored(before)), Result(f"to-{seed}", "lab", scored(after))]
        test = {"p": 0.01 if seed else 0.2, "difference": (after - before) / 1000, "interval": [0, 1]}
        comparisons.append(Comparison(f"to-{seed}", f"lab-{seed}", "lab", paired=test))
    values = {"n": 2, "accuracy": {"mean": 0.75, "deviation": 0.0141, "values": [0.76, 0.74]}}
    seeds = (Seeds("labs", "lab", "test", values),)
    gains = (Gain("tos", "labs", "lab", "test", gain),) if gain else ()
    return Study("S", tuple(models), tuple(results), tuple(comparisons), seeds=seeds, gains=gains)


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        (None, "whether that is more than chance was not tested"),
        ({"p": None, "interval": None}, "whether that is more than chance was not tested"),
        ({"p": 0.2, "interval": [-0.05, 0.3]}, "over 2 seeds a gain is not shown (−5.0 to 30.0 points, p = 0.200)"),
        ({"p": 0.02, "interval": [0.05, 0.2]}, "over 2 seeds a gain is shown (5.0 to 20.0 points, p = 0.020)"),
    ],
)
def test_of_several_seeds_the_summary_gives_means_and_the_test_over_them(gain, verdict):
    own, transfer = summary(several_seeds(gain))
    assert "labs reaches 75.0 % (mean of 2 seeds, standard deviation 1.4 points)" in own
    change = "brings 14.0 points" if "a gain is shown" in verdict else "comes with 14.0 points more"
    assert transfer == (
        f"Using tos instead of labs {change} on lab, as the mean of 2 seeds (from 75.0 % to 89.0 %, relative 18.7 %); "
        f"{verdict}."
    )


def test_other_comparisons_are_counted_and_corrected_together():
    study = several_seeds({"p": 0.02, "interval": [0.05, 0.2]})
    test = {"p": 0.9, "interval": [-0.1, 0.1]}
    more = Comparison("to-0", "lab-1", "lab", "val", test), Comparison("lab-0", "to-1", "lab", "val", test)
    vals = tuple(replace(result, split="val") for result in study.results)
    study = replace(study, results=(*study.results, *vals), comparisons=(*study.comparisons, *more))
    # 0.02 is the least of three p: three times as much after the correction.
    assert summary(study)[1].endswith("not shown (5.0 to 20.0 points, p = 0.060) (2 other comparisons below).")


def remarked(**parts):
    return Result("wild", "lab", scored(800) | parts.pop("scores", {}), **parts)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"spearman": 0.786, "p": 0.04, "classes": 7}, "7 emotions: Spearman's r 0.79, p = 0.040: emotions with more "),
        ({"spearman": -0.9, "p": 0.0001, "classes": 6}, "r −0.90, p < 0.001: emotions with fewer training images"),
        ({"spearman": 0.5, "p": 0.3, "classes": 7}, "p = 0.300: an order by training images is not shown."),
    ],
)
def test_the_correlation_sentence_follows_the_numbers(found, expected):
    result = remarked(detail={"rank_correlation": found})
    assert expected in remarks.correlation_sentence(result, rank_tests([result])["wild", "lab-test"])


def test_ranks_of_several_models_are_corrected_together():
    found = {"spearman": 0.8, "p": 0.02, "classes": 7}
    results = [Result(name, "lab", scored(800), detail={"rank_correlation": found}) for name in ("a", "b", "c")]
    tests = rank_tests(results)
    assert [test["p"] for test in tests.values()] == pytest.approx([0.06] * 3)
    assert "is not shown" in remarks.correlation_sentence(results[0], tests["a", "lab-test"])


GROUPS = {name: {"accuracy": accuracy, "samples": 400} for name, accuracy in (("young", 0.8), ("old", 0.75))}


def gap(p, adjusted=None):
    values = {"groups": ["young", "old"], "accuracy": 0.05, "interval": [0.01, 0.09], "p": p, "adjusted": adjusted}
    return {"age_group": {"gap": values, "groups": GROUPS}}


@pytest.mark.parametrize(
    ("p", "adjusted", "expected"),
    [
        (
            0.01,
            {"accuracy": 0.04, "interval": [0.01, 0.07], "p": 0.02},
            "by age group: young is 5.0 points above old (1.0 to 9.0 points, p = 0.020), shown; with the same mix of "
            "emotions in both, 4.0 points above (1.0 to 7.0 points, p = 0.020), shown.",
        ),
        (
            0.001,
            {"accuracy": -0.01, "interval": [-0.03, 0.01], "p": 0.4},
            "(1.0 to 9.0 points, p = 0.002), shown; with the same mix of emotions in both, 1.0 points below (−3.0 to "
            "1.0 points, p = 0.400), not shown.",
        ),
        (
            0.2,
            None,
            "(1.0 to 9.0 points, p = 0.200), not shown; the two have no emotion in common.",
        ),
    ],
)
def test_the_gap_sentence_follows_the_numbers(p, adjusted, expected):
    result = remarked(detail={"by_attribute": gap(p, adjusted)})
    tested = gap_tests([result])["wild", "lab-test", "age_group"]
    assert remarks.gap_sentence(result, "age_group", tested).endswith(expected)


def test_gaps_of_all_models_sets_and_attributes_are_corrected_together():
    adjusted = {"accuracy": 0.04, "interval": [0.01, 0.07], "p": 0.03}
    results = [remarked(detail={"by_attribute": gap(0.02, adjusted)}), Result("b", "lab", scored(800), detail={})]
    results[1].detail["by_attribute"] = gap(0.01) | {"gender": gap(0.5)["age_group"]}
    tests = gap_tests(results)
    assert tests["wild", "lab-test", "age_group"]["p"] == pytest.approx(0.06)
    assert tests["wild", "lab-test", "age_group"]["adjusted"]["p"] == pytest.approx(0.06)
    assert tests["b", "lab-test", "age_group"]["p"] == pytest.approx(0.04)
    assert tests["b", "lab-test", "gender"]["p"] == pytest.approx(0.5)
    table = attributes_table(results)
    assert [row[6].text for row in table.rows] == ["0.060", "0.040", "0.500"]


def test_a_gap_without_a_test_stands_in_the_table_and_nothing_is_claimed_of_it():
    untested = {"groups": ["young", "old"], "accuracy": 0.05, "interval": [0.01, 0.09]}
    result = remarked(detail={"by_attribute": {"age_group": {"gap": untested, "groups": GROUPS}}})
    assert gap_tests([result]) == {}
    (row,) = attributes_table([result]).rows
    assert [cell.text for cell in row[5:]] == ["+5.0", "–", "–", "–"]


def test_the_occluded_region_is_judged_by_its_control():
    regions = {
        "left half": {"drop": 0.3},
        "mouth": {"drop": 0.2},
        "random place, as mouth": {"drop": 0.15},
        "nose": {"drop": 0.1},
        "random place, as nose": {"drop": -0.01},
    }
    text = remarks.occlusion_sentence(remarked(robustness={"clean": 0.8, "regions": regions}))
    assert (
        "occluding the nose exceeds its control most, and stands out: −10.0 points, as much of the image else" in text
    )
    assert text.endswith("elsewhere by +1.0.")
    regions["nose"]["interval"], regions["random place, as nose"]["interval"] = [0.02, 0.18], [-0.05, 0.03]
    text = remarks.occlusion_sentence(remarked(robustness={"clean": 0.8, "regions": regions}))
    assert "occluding the nose exceeds its control most, and does not stand out: −10.0 points" in text


@pytest.mark.parametrize(
    ("accuracy", "samples", "expected"),
    [
        (0.78, 990, "Without 10 duplicates, wild reaches 78.0 % on lab instead of 80.0 % (2.0 points less)."),
        (0.8, 999, "Without 1 duplicate, wild reaches 80.0 % on lab instead of 80.0 % (no change)."),
        (0.8, 1000, ""),
    ],
)
def test_the_duplicates_sentence_follows_the_numbers(accuracy, samples, expected):
    assert remarks.duplicates_sentence(remarked(without_copies={"samples": samples, "accuracy": accuracy})) == expected


def test_evaluations_without_duplicates_are_counted_in_one_sentence():
    none, some = (remarked(without_copies={"samples": samples, "accuracy": 0.8}) for samples in (1000, 990))
    assert remarks.no_duplicates_sentence([none]) == "No duplicate was found in the one evaluation."
    assert remarks.no_duplicates_sentence([none, none]) == "No duplicate was found in any of the 2 evaluations."
    assert remarks.no_duplicates_sentence([none, some]) == "No duplicate was found for wild on lab."
    assert remarks.no_duplicates_sentence([some, remarked()]) == ""


def test_the_other_remarks_follow_the_numbers():
    prior = {"uniform": {"accuracy": 0.75}, "em": {"accuracy": 0.8}}
    assert remarks.prior_sentence(remarked(detail={"prior": prior})).endswith(
        "80.0 % as it is, 75.0 % with the training prior removed (5.0 points less), 80.0 % with the target prior "
        "estimated (no change)."
    )
    neutral = {"neutrality": {"true": 100, "predicted": 142, "ratio": 1.42, "false_rate": 0.183}}
    assert remarks.neutral_sentence(remarked(detail={"over_predicted": neutral})).endswith(
        "neutrality 1.42 times as often as it occurs (142 for 100), and for 18.3 % of the others' images."
    )
    certain = {"above": 0.9, "samples": 5, "coverage": 0.45, "accuracy": 0.93}
    name = "expected_calibration_error"
    older = dict.fromkeys((f"{name}_floor", f"{name}_debiased", f"{name}_interval"))
    assert remarks.calibration_sentence(remarked(scores={"selective": certain, name: 0.1} | older)) == (
        "wild on lab: expected calibration error 10.0 %; 45.0 % of the predictions are above 90 %, 93.0 % of them "
        "right."
    )
    chance = {f"{name}_floor": 0.02, f"{name}_debiased": 0.085, f"{name}_interval": [0.07, 0.1]}
    assert remarks.calibration_sentence(remarked(scores={"selective": None, name: 0.1} | chance)) == (
        "wild on lab: expected calibration error 10.0 % where a calibrated model would have 2.0 % by chance, 8.5 % "
        "without chance (7.0 to 10.0)."
    )
    corrupted = {"clean": 0.8, "mean_corruption_error": 0.42, "regions": {}}
    assert "error 20.0 % on clean images, 42.0 % on corrupted" in remarks.corruption_sentence(
        remarked(robustness=corrupted)
    )
    seeds = several_seeds().seeds[0]
    assert remarks.seeds_sentence(seeds, Model("lab-0", "lab")).endswith(
        "standard deviation 1.4 points, from 74.0 to 76.0 %."
    )


def test_what_was_not_measured_is_not_said():
    result = remarked(scores=dict.fromkeys(("expected_calibration_error", "selective")))
    said = (
        remarks.prior_sentence,
        remarks.neutral_sentence,
        remarks.calibration_sentence,
        remarks.corruption_sentence,
        remarks.occlusion_sentence,
        remarks.duplicates_sentence,
    )
    assert [sentence(result) for sentence in said] == [""] * len(said)
    assert remarks.correlation_sentence(result, None) == ""
    assert rank_tests([result]) == {}


def test_a_difference_that_rounds_to_nothing_has_no_sign():
    assert [signed_points(value) for value in (-0.0001, 0.0001, 0.01, -0.01)] == ["0.0", "0.0", "+1.0", "−1.0"]
    assert span((-0.0001, 0.02)) == "0.0 to 2.0"


def test_a_set_whose_faces_are_cut_otherwise_than_those_of_the_training_is_named_once():
    study = transferred(880, 760)
    assert crop_sentences(study) == []
    rules = {f"{result.dataset}-{result.split}": "as released" for result in study.results}
    trained = {f"{model.trained_on}-train": "box of the release, margin 10 %" for model in study.models}
    same = dict.fromkeys(rules | trained, "as released")
    assert crop_sentences(replace(study, crop_rules=same)) == []
    assert crop_sentences(replace(study, crop_rules=rules)) == []
    (first, *_) = crop_sentences(replace(study, crop_rules=rules | trained))
    assert "are cut otherwise (as released) than those of" in first
    assert "(box of the release, margin 10 %)" in first


def test_the_table_of_sets_says_how_their_faces_were_cut_where_that_is_known():
    study = replace(transferred(880, 760), class_counts={"wild-train": {"fear": 2}, "lab-test": {"fear": 1}})
    assert "faces cut" not in counts_table(study).columns
    table = counts_table(replace(study, crop_rules={"wild-train": "as released"}))
    assert [row[-1].text for row in table.rows] == ["as released", "unknown"]
