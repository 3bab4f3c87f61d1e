"""Small releases of JAFFE: as it comes, and as copies of it come."""

from pathlib import Path

from support.faces import write
from support.releases.made import Maker, Release, image_bytes

# The readme of JAFFE: "NE neutral, HA happy, SA sad, SU surprise, AN anger, DI disgust, FE fear".
CODES = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "NE": "neutrality",
    "SA": "sadness",
    "SU": "surprise",
}


def jaffe_tiff(root: Path) -> Release:
    """Two women, 256x256; the second one's images have a palette, as some of the release's have."""
    truth = {}
    number = 39
    for subject, mode in (("KA", "L"), ("YM", "P")):
        for code, emotion in CODES.items():
            for i in (1, 2):
                name = f"{subject}.{code}{i}.{number}.tiff"
                write(root / "jaffedbase" / name, image_bytes(emotion, number, "TIFF", 256, mode))
                truth[name] = emotion
                number += 1
    left_out = {
        ("", "README", "not an image by its extension"),
        ("", "a_names.dat", "not an image by its extension"),
        ("", "KA.XX1.39.tiff", "not named as an image of JAFFE"),
        ("", "KA.AN.1.39.tiff", "not named as an image of JAFFE"),
        ("", "KA.AN1.39 copy.tiff", "not named as an image of JAFFE"),
        ("", "AN1.39.tiff", "not named as an image of JAFFE"),
    }
    for _, name, _ in left_out:
        write(root / "jaffedbase" / name, image_bytes("contempt", 0, "TIFF"))
    return Release("jaffe", root, {"train": truth}, left_out=left_out)


def jaffe_copy(root: Path) -> Release:
    """Other formats and other cases, in two folds: KL and TM are dealt to the first, NA and YM to the second."""
    truth: dict[str, dict[str, str]] = {"train": {}, "test": {}}
    forms = (("KL", "train", "jpg", "JPEG"), ("NA", "test", "PNG", "PNG"), ("TM", "train", "tif", "TIFF"))
    number = 100
    for subject, split, extension, form in (*forms, ("ym", "test", "TIFF", "TIFF")):
        for code, emotion in CODES.items():
            for i in (1, 2):
                name = f"{subject}.{code if subject != 'ym' else code.lower()}{i}.{number}.{extension}"
                write(root / name, image_bytes(emotion, number, form))
                truth[split][name] = emotion
                number += 1
    return Release("jaffe", root, truth, {"folds": 2, "fold": 2})


MAKERS: tuple[Maker, ...] = (jaffe_tiff, jaffe_copy)
