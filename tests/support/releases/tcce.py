"""TCCE: images whose names say what was performed, and the raters' table, in Excel's old format as in the release."""

import io
from pathlib import Path

import xlwt
from support.faces import write
from support.releases.made import Maker, Release, image_bytes

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
        write(folder / f"{name}.jpg", image_bytes(emotion, number, side=64))


def write_strays(root: Path) -> set[tuple[str, str, str]]:
    write(root / "Readme.txt", b"Read me first")
    write(root / "__MACOSX" / "._0101a02.jpg", b"?")
    for name in ("0101h02", "3141b2", "0141b02", "0110b02", "1211002", "group"):
        write(root / f"{name}.jpg", image_bytes("fear", 1))
    return {
        ("test", "Readme.txt", "not an image by its extension"),
        *(
            ("test", f"{name}.jpg", "name does not fit TCCE")
            for name in ("0101h02", "3141b2", "0141b02", "0110b02", "1211002", "group")
        ),
    }


def performed_seven(root: Path) -> Release:
    """All images in one folder, one of them with the digit 0 for the letter a; no table."""
    shown = {name: LETTERS[name[4]] for name in names()} | {"1201003": "neutrality"}
    write_all(root, shown)
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


HEADER = [
    ["file_name", "Self_evaluate", "Observer_Count", "maxIntCategory", "maxInt", "EntropyVal", "counterMax", ""],
    ["", "", "", "", "", "", "happy", "sad"],
]


def table_row(name: str, code: float) -> list[str | float]:
    return [f"{name}.tif", 8.5, 100.0, float(code), 5.02, 1.59, 0.97, 0.0]


def write_xls(path: Path, rows: list[list[str | float]]) -> None:
    """rows: of the second sheet; the first one is empty."""
    book = xlwt.Workbook()
    book.add_sheet("notes")
    sheet = book.add_sheet("Image info")
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            sheet.write(number, column, value)
    stream = io.BytesIO()
    book.save(stream)
    write(path, stream.getvalue())


def rated(root: Path) -> Release:
    """What viewers saw is often not what was performed; images show the former. Neutral faces have ratings too."""
    codes = {name: number % 6 + 1 for number, name in enumerate(names())} | {"1201003": 2, "1201a04": 3}
    shown = {name: "neutrality" if name[4] in "a0" else RATINGS[code] for name, code in codes.items()}
    write_all(root / "faces", shown | {"1221b05": "fear", "1221b06": "fear"})
    # The table spells neutral faces with a where the file has the digit, and the other way round.
    spelled = {"1201003": "1201a03", "1201a04": "1201004"}
    rows = [table_row(spelled.get(name, name), code) for name, code in codes.items()]
    write_xls(root / "Image_info.xls", [*HEADER, *rows, table_row("1221b06", 7), table_row("2911b01", 5)])
    truth = {"test": {f"faces/{name}.jpg": emotion for name, emotion in shown.items() if emotion != "neutrality"}}
    left_out = {
        ("test", "faces/1221b05.jpg", "no rating in Image_info.xls"),
        ("test", "faces/1221b06.jpg", "unknown rating in Image_info.xls"),
        *(
            ("test", f"faces/{name}.jpg", "neutrality is not among the six")
            for name, emotion in shown.items()
            if emotion == "neutrality"
        ),
    }
    return Release("tcce", root, truth, left_out=left_out)


MAKERS: tuple[Maker, ...] = (performed_seven, performed_six, rated)
