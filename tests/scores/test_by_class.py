"""Each emotion by itself: against scikit-learn, and intervals that hold what they should."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score, roc_curve
from support.made_study import drawn_predictions

from fer_dist.scores.by_class import against_rest, by_class
from fer_dist.scores.intervals import wilson
from fer_dist.scores.metrics import confusion, f1
from fer_dist.scores.roc import FALSE_RATES
from fer_dist.scores.table import Predictions, predicted


@pytest.mark.parametrize("dataset", ["affectnet", "tcce"])
def test_measures_of_an_emotion_are_scikit_learn_s(dataset):
    table = drawn_predictions(dataset, 2, 400, "m")
    found = by_class(table)
    assert [name for name in table.emotions if name not in found] == list(table.masked)
    of_all = precision_recall_fscore_support(table.labels, predicted(table), labels=range(7), zero_division=0)
    for index, name in enumerate(table.emotions):
        if name in found:
            has, share = table.labels == index, table.probabilities[:, index]
            measured = [found[name][of] for of in ("precision", "recall", "f1", "images")]
            assert measured == pytest.approx([float(values[index]) for values in of_all])
            assert found[name]["auc"] == pytest.approx(roc_auc_score(has, share))
            false, right, _ = roc_curve(has, share, drop_intermediate=False)
            at = [right[false <= rate + 1e-12].max() for rate in FALSE_RATES]
            assert found[name]["roc"] == pytest.approx(at, abs=1e-4)
            for of in ("precision", "recall", "f1", "auc"):
                low, high = found[name][f"{of}_interval"]
                assert 0 <= low <= found[name][of] <= high <= 1
            right, of_label = (has & (predicted(table) == index)).sum(), has.sum()
            assert found[name]["recall_interval"] == pytest.approx([float(end) for end in wilson(right, of_label)])


def test_one_emotion_against_the_rest_keeps_every_image():
    matrix = np.arange(2 * 16).reshape(2, 4, 4)
    for index in range(4):
        one = against_rest(matrix, index)
        assert (one.sum(axis=(-2, -1)) == matrix.sum(axis=(-2, -1))).all()
        assert one[:, 0, 0].tolist() == matrix[:, index, index].tolist()
        assert f1(one)[:, 0] == pytest.approx(f1(matrix)[:, index])


def test_what_has_no_value_is_none():
    probabilities = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0]], dtype=np.float32)
    table = Predictions(["a", "b"], np.array([0, 0]), probabilities, ("x", "y", "z"))
    found = by_class(table)
    assert (found["x"]["recall"], found["x"]["auc"], found["x"]["roc"]) == (1, None, None)
    assert (found["y"]["recall"], found["y"]["precision"], found["y"]["f1"]) == (None, None, None)
    assert (found["y"]["f1_interval"], found["x"]["auc_interval"]) == (None, None)


def test_intervals_over_subjects_are_wider_where_images_of_one_are_alike():
    table = drawn_predictions("affectnet", 2, 300, "m")
    rows = np.repeat(np.arange(300), 4)
    many = Predictions(
        [str(place) for place in range(1200)], table.labels[rows], table.probabilities[rows], table.emotions
    )
    alone = by_class(many)["happiness"]
    people = by_class(Predictions(many.keys, many.labels, many.probabilities, many.emotions, (), {"subject": rows}))
    for of in ("recall", "precision", "f1", "auc"):
        widths = [np.ptp(found[f"{of}_interval"]) for found in (alone, people["happiness"])]
        assert 1.6 < widths[1] / widths[0] < 2.4


def test_the_interval_of_f1_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    truth = np.array([[0.14, 0.04, 0.02], [0.05, 0.3, 0.05], [0.02, 0.08, 0.3]])
    wanted, held = f1(truth), np.zeros(3)
    for _ in range(400):
        cells = random.multinomial(150, truth.ravel()).reshape(3, 3)
        labels, answers = (np.repeat(index.ravel(), cells.ravel()) for index in np.indices((3, 3)))
        shares = (0.1 + 0.7 * np.eye(3)[answers]).astype(np.float32)
        table = Predictions([str(place) for place in range(150)], labels, shares, ("x", "y", "z"))
        assert (confusion(table) == cells).all()
        for place, entry in enumerate(by_class(table).values()):
            low, high = entry["f1_interval"]
            held[place] += low <= wanted[place] <= high
    assert ((held / 400 > 0.91) & (held / 400 < 0.99)).all(), held / 400
