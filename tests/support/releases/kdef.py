"""Small releases of KDEF: with its folders, and all in one."""

from pathlib import Path

from support.faces import write
from support.releases.made import Maker, Release, image_bytes

# kdef.se: "AF = afraid, AN = angry, DI = disgusted, HA = happy, NE = neutral, SA = sad, SU = surprised".
CODES = {
    "AF": "fear",
    "AN": "anger",
    "DI": "disgust",
    "HA": "happiness",
    "NE": "neutrality",
    "SA": "sadness",
    "SU": "surprise",
}

ANGLES = ("FL", "HL", "S", "HR", "FR")


def kdef_folders(root: Path) -> Release:
    """Both sessions of a woman and of a man, beside the averaged faces, which are no person's."""
    truth = {}
    for person, folder in enumerate(("AF31", "BF31", "AM31", "BM31")):
        for number, (code, emotion) in enumerate(CODES.items()):
            for angle_number, angle in enumerate(ANGLES):
                name = f"{folder}/{folder}{code}{angle}.JPG"
                seed = person * 100 + number * 10 + angle_number
                write(root / "KDEF_and_AKDEF/KDEF" / name, image_bytes(emotion, seed))
                truth[name] = emotion
    left_out = {
        ("", "AF31/AF31V.JPG", "not named as an image of KDEF"),
        ("", "AM31/AM31H.JPG", "not named as an image of KDEF"),
        ("", "AF31/CF31ANS.JPG", "not named as an image of KDEF"),
        ("", "AF31/AF31XXS.JPG", "not named as an image of KDEF"),
        ("", "AF31/AF31ANS copy.JPG", "not named as an image of KDEF"),
        ("", "readme.txt", "not an image by its extension"),
    }
    for _, name, _ in left_out:
        write(root / "KDEF_and_AKDEF/KDEF" / name, image_bytes("contempt", 0))
    write(root / "KDEF_and_AKDEF/AKDEF/FANS.JPG", image_bytes("contempt", 0))
    return Release("kdef", root, {"train": truth}, left_out=left_out)


def kdef_flat(root: Path) -> Release:
    """All in one folder, some names in lower case; three folds of one person each, and three of the five angles."""
    truth: dict[str, dict[str, str]] = {"train": {}, "test": {}}
    left_out = set()
    for person, (name, split) in enumerate((("F01", "train"), ("F02", "train"), ("M01", "test"))):
        for session in "Ab":
            for number, (code, emotion) in enumerate(CODES.items()):
                for angle_number, angle in enumerate(ANGLES):
                    seed = person * 1000 + number * 100 + angle_number * 10 + (session == "b")
                    file = f"{session}{name}{code}{angle}.JPG"
                    file = file.lower() if session == "b" else file
                    write(root / file, image_bytes(emotion, seed))
                    if angle in ("FL", "FR"):
                        left_out.add((split, file, "another angle"))
                    else:
                        truth[split][file] = emotion
    return Release("kdef", root, truth, {"folds": 3, "fold": 3, "angles": "half"}, left_out)


MAKERS: tuple[Maker, ...] = (kdef_folders, kdef_flat)
