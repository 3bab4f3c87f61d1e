"""ExpW in its official folders and flat, with several faces in a photograph and the wrong rows that a list can have."""

from pathlib import Path

from support.faces import write
from support.releases.made import Maker, Release, image_bytes

LABELS = {
    "0": "anger",
    "1": "disgust",
    "2": "fear",
    "3": "happiness",
    "4": "sadness",
    "5": "surprise",
    "6": "neutrality",
}
"""Readme of the release: for expression label: "0" "angry", "1" "disgust", ..., "6" "neutral"."""


def expw_official(root: Path) -> Release:
    """The folders of the release, below the one that its archives are unpacked into."""
    data = root / "ExpW" / "data"
    truth = _release(data / "image" / "origin", data / "label" / "label.lst")
    return Release("expw", root, truth, left_out=_wrong_rows())


def expw_flat(root: Path) -> Release:
    """The list beside the photographs."""
    return Release("expw", root, _release(root, root / "label.lst"), left_out=_wrong_rows())


def expw_trusted(root: Path) -> Release:
    """Faces whose box is trusted with 80 or more: those of the photographs, but not the second ones."""
    truth = _release(root / "origin", root / "label.lst")
    second = {name for name in truth["train"] if name.endswith(" 1")}
    left_out = _wrong_rows() | {("train", name, "confidence below min_confidence") for name in second}
    sure = {name: emotion for name, emotion in truth["train"].items() if name not in second}
    return Release("expw", root, {"train": sure}, options={"min_confidence": 80.0}, left_out=left_out)


def _release(photographs: Path, listing: Path) -> dict[str, dict[str, str]]:
    """Two photographs of each code; in one of them two faces of the same expression, for all of it is one image."""
    truth, rows = {}, []
    for number in range(14):
        code = str(number % 7)
        # A blank in a name must not move the columns.
        name = f"amazed_teacher_{number}.jpg" if number else "böser mann_0.jpg"
        write(photographs / name, image_bytes(LABELS[code], number, side=96))
        for face in range(2 if number < 7 else 1):
            # Top, left, right, bottom.
            rows.append(f"{name} {face} {10 + face} {20 + face} {70 + face} {60 + face} {80.5 - 20 * face} {code}")
            truth[f"{name} {face}"] = LABELS[code]
    rows += ["nobody_1.jpg 0 10 20 70 60 80.5 7", "nobody_2.jpg 0 10 20 70 60 80.5", "nobody_3.jpg 0 10 x 70 60 80.5 3"]
    write(listing, "\n".join([*rows, ""]).encode())
    return {"train": truth}


def _wrong_rows() -> set[tuple[str, str, str]]:
    return {
        ("train", "nobody_1.jpg 0", "unknown code"),
        ("train", "label.lst line 23", "not eight columns"),
        ("train", "nobody_3.jpg 0", "box or confidence is no number"),
    }


MAKERS: tuple[Maker, ...] = (expw_official, expw_flat, expw_trusted)
