"""TCCE: pictures whose names say what was performed, and the raters' table as csv."""

from pathlib import Path

from faces import write
from releases import Maker, Release, picture_bytes

LETTERS = {
    "a": "neutrality",
    "b": "happiness",
    "c": "sadness",
    "d": "anger",
    "e": "disgust",
    "f": "fear",
    "g": "surprise",
}
"""Fifth sign of a name, from Readme.txt of the release."""

RATINGS = {1: "happiness", 2: "sadness", 3: "anger", 4: "disgust", 5: "fear", 6: "surprise"}
"""maxIntCategory, from the same Readme.txt."""


def names() -> list[str]:
    """Each expression four times by two performers, from all sides; neutral has its own performance type."""
    found = []
    for performer in ("01", "12"):
        for letter in LETTERS:
            kind = "0" if letter == "a" else "123"["bcdefg".index(letter) % 3]
            found += [f"{performer}{kind}1{letter}02", f"{performer}{kind}{'23'[performer == '12']}{letter}11"]
    return found


def write_all(folder: Path, shown: dict[str, str]) -> None:
    for number, (name, emotion) in enumerate(shown.items()):
        write(folder / f"{name}.jpg", picture_bytes(emotion, number, side=64))


def write_strays(root: Path) -> set[tuple[str, str, str]]:
    write(root / "Readme.txt", b"Read me first")
    write(root / "__MACOSX" / "._0101a02.jpg", b"?")
    for name in ("0101h02", "3141b2", "0141b02", "0110b02", "1211002", "group"):
        write(root / f"{name}.jpg", picture_bytes("fear", 1))
    return {
        ("test", "Readme.txt", "not a picture by its extension"),
        *(
            ("test", f"{name}.jpg", "name does not fit TCCE")
            for name in ("0101h02", "3141b2", "0141b02", "0110b02", "1211002", "group")
        ),
    }


def performed_seven(root: Path) -> Release:
    """All pictures in one folder, one of them with the digit 0 for the letter a; the Excel table is not read."""
    shown = {name: LETTERS[name[4]] for name in names()} | {"1201003": "neutrality"}
    write_all(root, shown)
    write(root / "Image_info.xls", b"\xd0\xcf\x11\xe0")
    truth = {"test": {f"{name}.jpg": emotion for name, emotion in shown.items()}}
    return Release("tcce", root, truth, {"emotions": "seven"}, write_strays(root))


def performed_six(root: Path) -> Release:
    """The study's six, from a folder inside, as copies of the release have it."""
    shown = {name: LETTERS[name[4]] for name in names()}
    write_all(root / "Taiwanese" / "faces_256x256", shown)
    places = {name: f"Taiwanese/faces_256x256/{name}.jpg" for name in shown}
    truth = {"test": {places[name]: emotion for name, emotion in shown.items() if emotion != "neutrality"}}
    left_out = {
        ("test", places[name], "neutrality is not among the six")
        for name, emotion in shown.items()
        if emotion == "neutrality"
    }
    return Release("tcce", root, truth, left_out=left_out)


def rated(root: Path) -> Release:
    """What viewers saw is often not what was performed; pictures show the former. Neutral faces have ratings too."""
    codes = {name: number % 6 + 1 for number, name in enumerate(names())} | {"1201003": 2, "1201a04": 3}
    shown = {name: RATINGS[code] for name, code in codes.items()}
    write_all(root / "faces", shown)
    write_all(root / "faces", {"1221b05": "fear", "1221b06": "fear"})
    rows = [
        "file_name,Self_evaluate,Observer_Count,maxIntCategory,maxInt,EntropyVal,counterMax,",
        ",,,,,,happy,sad",
        # The table spells neutral faces with a where the file has the digit, and the other way round.
        *(f"{name.replace('1201003', '1201a03').replace('1201a04', '1201004')}.tif,8.5,100,{code},5.02,1.59,0.97,0"
          for name, code in codes.items()),
        "1221b06.tif,8.5,100,7,5.02,1.59,0.97,0",
        "2911b01.tif,8.5,100,5,5.02,1.59,0.97,0",
    ]  # fmt: skip
    write(root / "Image_info.csv", "\r\n".join(rows).encode())
    truth = {"test": {f"faces/{name}.jpg": emotion for name, emotion in shown.items()}}
    left_out = {
        ("test", "faces/1221b05.jpg", "no rating in Image_info.csv"),
        ("test", "faces/1221b06.jpg", "unknown rating in Image_info.csv"),
    }
    return Release("tcce", root, truth, {"label": "rated"}, left_out)


MAKERS: tuple[Maker, ...] = (performed_seven, performed_six, rated)
