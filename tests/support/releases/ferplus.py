"""FER+ in its layouts: label.csv in Microsoft's folders, and fer2013new.csv beside fer2013.csv or beside images."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from support.faces import write
from support.releases.made import Maker, Release, image, image_bytes

COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
"""Order of the votes, from the readme of microsoft/FERPlus."""

MEANING = {word: word for word in COLUMNS[1:8]} | {"neutral": "neutrality"}

SPLITS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
FOLDERS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}


@dataclass(frozen=True)
class Face:
    """One line of votes. emotion: what the image shows. reason: why the majority rule leaves it out."""

    usage: str
    name: str
    votes: str
    emotion: str
    reason: str = ""

    @property
    def split(self) -> str:
        return SPLITS[self.usage]


def votes(**counts: int) -> str:
    assert set(counts) <= set(COLUMNS)
    return ",".join(str(counts.get(column, 0)) for column in COLUMNS)


def faces() -> Iterator[Face]:
    """Each emotion three times in each split, and each way to be left out once."""
    number = 7
    for usage in SPLITS:
        lines = []
        for word, emotion in MEANING.items():
            other = "fear" if word != "fear" else "anger"
            lines += [
                (votes(**{word: 10}), emotion, ""),
                (votes(**{word: 6, other: 4}), emotion, ""),
                # The single votes do not count, so that four of seven are more than half.
                (
                    votes(**{word: 4, other: 3, "unknown": 1, "NF": 1, "neutral" if word != "neutral" else "anger": 1}),
                    emotion,
                    "",
                ),
            ]
        lines += [
            (votes(neutral=5, sadness=5), "neutrality", "no majority"),
            (votes(happiness=1, surprise=1, sadness=1), "happiness", "no majority"),
            (votes(unknown=7, happiness=3), "happiness", "majority says unknown"),
            (votes(NF=9, contempt=1), "contempt", "majority says not a face"),
        ]
        for line, emotion, reason in lines:
            yield Face(usage, f"fer{number:07d}.png", line, emotion, reason)
            number += 1


def release(raw: Path, left_out: set[tuple[str, str, str]]) -> Release:
    truth: dict[str, dict[str, str]] = {split: {} for split in SPLITS.values()}
    for face in faces():
        if face.reason:
            left_out.add((face.split, face.name, face.reason))
        else:
            truth[face.split][face.name] = face.emotion
    return Release("ferplus", raw, truth, left_out=left_out)


def write_images(data: Path) -> None:
    for number, face in enumerate(faces()):
        write(data / FOLDERS[face.usage] / face.name, image_bytes(face.emotion, number, "PNG", mode="L"))


def write_labels(data: Path, box: str) -> set[tuple[str, str, str]]:
    """label.csv in each folder, with one line that has no image and one image that has no line."""
    left_out = set()
    for usage, folder in FOLDERS.items():
        split = SPLITS[usage]
        lines = [f"{face.name}{box},{face.votes}" for face in faces() if face.usage == usage]
        lines.append(f"fer0035000.png{box},{votes(fear=10)}")
        write(data / folder / "label.csv", "\r\n".join(lines).encode() + b"\r\n")
        write(data / folder / "fer0035001.png", image_bytes("fear", 900, "PNG"))
        left_out |= {
            (split, "fer0035000.png", "no image of this name"),
            (split, "fer0035001.png", "no row in label.csv"),
        }
    return left_out


def labels_with_boxes(root: Path) -> Release:
    """The label.csv files of the repository; RAW is the folder above data/."""
    write_images(root / "data")
    return release(root, write_labels(root / "data", ',"(0, 0, 48, 48)"'))


def labels_as_generated(root: Path) -> Release:
    """What generate_training_data.py writes: no boxes; RAW is data/ itself."""
    write_images(root / "data")
    return release(root / "data", write_labels(root / "data", ""))


def table_beside_images(root: Path) -> Release:
    """fer2013new.csv above data/, whose label.csv files hold other votes, as in the repository."""
    write_images(root / "data")
    for folder in FOLDERS.values():
        write(root / "data" / folder / "label.csv", f'fer0000007.png,"(0, 0, 48, 48)",{votes(fear=10)}\n'.encode())
    write(root / "FER+vsFER.png", image_bytes("fear", 900, "PNG"))
    write(root / "README.md", b"# FER+\n")
    lines = [f"{face.usage},{face.name},{face.votes}" for face in faces()]
    # As in the release: rows without a name, and a name that comes again with other votes.
    lines.insert(3, f"Training,,{votes(NF=10)}")
    lines += [f"Training,fer0000007.png,{votes(NF=10)}", f"PrivateTest,fer0035887.png,{votes(fear=10)}"]
    write(root / "fer2013new.csv", "\r\n".join([f"Usage,Image name,{','.join(COLUMNS)}", *lines]).encode())
    return release(
        root,
        {
            ("train", "fer2013new.csv row 3", "without an image name: dropped by the authors"),
            ("train", "fer0000007.png", "image name comes twice"),
            ("test", "fer0035887.png", "no image of this name"),
            ("", "FER+vsFER.png", "no row in fer2013new.csv"),
        },
    )


def table_beside_table(root: Path) -> Release:
    """fer2013new.csv beside fer2013.csv, whose own labels are others; the number in a name is not the row."""
    new, old = [f"Usage,Image name,{','.join(COLUMNS)}"], ["emotion,pixels,Usage"]

    def add(usage: str, name: str, line: str, emotion: str) -> None:
        pixels = np.asarray(image(emotion, len(new), mode="L")).ravel().tolist()
        new.append(f"{usage},{name},{line}")
        old.append(f"{len(new) % 7},{' '.join(map(str, pixels))},{usage}")

    add("Training", "", votes(NF=10), "contempt")
    for face in faces():
        add(face.usage, face.name, face.votes, face.emotion)
    add("PrivateTest", "fer0000007.png", votes(NF=10), "contempt")
    write(root / "fer2013new.csv", "\n".join(new).encode() + b"\n")
    write(root / "fer2013.csv", "\n".join(old).encode() + b"\n")
    return release(
        root,
        {
            ("train", "fer2013new.csv row 0", "without an image name: dropped by the authors"),
            ("test", "fer0000007.png", "majority says not a face"),
        },
    )


MAKERS: tuple[Maker, ...] = (labels_with_boxes, labels_as_generated, table_beside_images, table_beside_table)
