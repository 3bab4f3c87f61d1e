"""Makers of predictions tables, for tests of measures: random, degenerate, and drawn from a known truth."""

import numpy as np
from hypothesis import strategies as st

from fer_dist.data.emotions import SEVEN
from fer_dist.scores.table import Predictions

RAFDB_TEST = (329, 74, 160, 1185, 478, 162, 680)
"""Images by emotion of RAF-DB's test split, the most uneven of the sets in use."""


def table(labels, probabilities, masked=(), **attributes):
    """A table of named emotions; attributes: name -> values."""
    probabilities = np.asarray(probabilities, dtype=np.float32)
    keys = [f"{number:06}" for number in range(len(labels))]
    known = {name: np.asarray(values) for name, values in attributes.items()}
    return Predictions(keys, np.asarray(labels), probabilities, SEVEN[: probabilities.shape[1]], masked, known)


def certain(labels, predicted, classes, **attributes):
    """A table that predicts these classes with probability 1."""
    return table(labels, np.eye(classes)[np.asarray(predicted)], **attributes)


def from_truth(seed, samples=2000, sharpness=0.4):
    """A calibrated table of seven emotions: each label is drawn from its own row of probabilities."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(7, sharpness), samples)
    labels = (rng.random((samples, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(max=6)
    return table(labels, probabilities)


@st.composite
def tables(draw):
    """1 to 30 images, some without label, up to seven emotions, at times one masked, ties and certainty allowed."""
    classes = draw(st.integers(2, 7))
    masked = draw(st.sampled_from([None, *range(classes)])) if classes > 2 else None
    left = [place for place in range(classes) if place != masked]
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from([-1, *left]), st.lists(st.integers(0, 3), min_size=classes, max_size=classes)),
            min_size=1,
            max_size=30,
        )
    )
    labels = [label for label, _ in rows]
    # Scores are about images with a label: the first one has one.
    labels[0] = max(labels[0], left[0])
    weights = np.array([row for _, row in rows], dtype=float)
    if masked is not None:
        weights[:, masked] = 0
    weights[weights.sum(axis=1) == 0, left[-1]] = 1
    names = () if masked is None else (SEVEN[masked],)
    group = draw(st.lists(st.sampled_from(["a", "b", None]), min_size=len(rows), max_size=len(rows)))
    return table(labels, weights / weights.sum(axis=1, keepdims=True), names, group=np.array(group, dtype=object))
