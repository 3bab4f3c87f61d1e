"""What the published study found, number by number, and on which data. Source: Huang et al. 2023, Scientific Reports.

Its models: "a" trained on AffectNet, "b" on RAF-DB, "a-b" on the first and then the second.
Its sets: "a" AffectNet, "b" RAF-DB, "c" the Asian set.
"""

from dataclasses import dataclass

SOURCE = "Huang et al. 2023"
SET_NAMES = {"a": "AffectNet", "b": "RAF-DB", "c": "the Asian set"}
MODEL_NAMES = {"a": "AffectNet", "b": "RAF-DB", "a-b": "AffectNet, then RAF-DB"}

DATASETS = {"a": ("affectnet",), "b": ("rafdb",), "c": ("tcce",)}
"""Role -> names that our own shard sets of its data carry."""


@dataclass(frozen=True)
class Published:
    """An accuracy as printed, as a part of 1. samples: of the set that it was measured on."""

    accuracy: float
    samples: int


ACCURACIES = {
    ("a", "a"): Published(0.5654, 3500),
    ("b", "b"): Published(0.6567, 3068),
    ("a", "b"): Published(0.7737, 3068),
    ("b", "a"): Published(0.426, 3500),
    ("a-b", "b"): Published(0.8337, 3068),
    ("a", "c"): Published(0.6199, 1197),
}
"""(role of the model, role of the set) -> what the study reports: its tables 2, 3 and 4 and its Asian set."""

TRAIN_ACCURACIES = {"a": 0.7908, "b": 0.7651}
"""Role of the model -> accuracy on its own training set. Table 3."""

TRANSFER_GAIN, RELATIVE_TRANSFER_GAIN = 0.1770, 0.2695
"""What starting from "a" brings "b" on its own set, in parts of 1, and as a part of what it was. Table 4."""

CLASS_COUNTS = {
    "a": {
        "surprise": 16_288,
        "fear": 8_191,
        "disgust": 5_264,
        "happiness": 146_198,
        "sadness": 29_487,
        "anger": 28_130,
        "neutrality": 80_276,
    },
    "b": {
        "surprise": 1_619,
        "fear": 355,
        "disgust": 877,
        "happiness": 5_957,
        "sadness": 2_460,
        "anger": 867,
        "neutrality": 3_204,
    },
    "c": {"surprise": 220, "fear": 27, "disgust": 199, "happiness": 243, "sadness": 263, "anger": 245},
}
"""Role of the set -> emotion -> pictures of all its splits together. Tables 1 and 5.

AffectNet's counts are of all manual labels, the unreleased test set among them: more than anyone can download.
"""


def is_published_set(role: str, dataset: str) -> bool:
    """Whether a data set of this name is the one that the study used in the role, by the name that our shards give."""
    return dataset.lower() in DATASETS.get(role, ())
