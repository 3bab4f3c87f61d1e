"""Small releases of AffectNet: faces with .npy files as of 2021, class folders made of them, and the lists of 2017."""

import io
import zlib
from pathlib import Path

import numpy as np
from support.faces import write
from support.releases.made import Maker, Release, image_bytes

# The readme of AffectNet: "0: Neutral, 1: Happiness, 2: Sadness, 3: Surprise, 4: Fear, 5: Disgust, 6: Anger,
# 7: Contempt, 8: None, 9: Uncertain, 10: No-Face".
EIGHT = {
    0: "neutrality",
    1: "happiness",
    2: "sadness",
    3: "surprise",
    4: "fear",
    5: "disgust",
    6: "anger",
    7: "contempt",
}
NO_EMOTION = {
    8: "no emotion: none (code 8)",
    9: "no emotion: uncertain (code 9)",
    10: "no emotion: no face (code 10)",
}
NO_CONTEMPT = "contempt is not among the seven"

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
LANDMARKS = ";".join(f"{i}.254;{i + 0.5}" for i in range(68))

Left = set[tuple[str, str, str]]


def shown(code: int, name: str, form: str = "JPEG") -> bytes:
    """The image of a code under a name; one without an emotion shows contempt, which must then not come out."""
    return image_bytes(EIGHT.get(code, "contempt"), zlib.crc32(name.encode()), form)


def npy(value: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(value), allow_pickle=True)
    return stream.getvalue()


def label_forms(code: int) -> list[bytes]:
    """A code in the forms that an _exp.npy has in one copy or another."""
    values: list[object] = [str(code), code, float(code), [str(code)], np.array([[code]], np.int8), [np.float32(code)]]
    return [npy(value) for value in (*values, str(code).encode())]


def write_face(folder: Path, number: int, code: int, label: bytes, extension: str = "jpg") -> str:
    """One face of the 2021 release with all its files; returns its id."""
    name = f"{number}.{extension}"
    write(folder / "images" / name, shown(code, f"{folder.name}/{name}", "PNG" if extension == "png" else "JPEG"))
    write(folder / "annotations" / f"{number}_exp.npy", label)
    write(folder / "annotations" / f"{number}_val.npy", npy("-0.25"))
    write(folder / "annotations" / f"{number}_aro.npy", npy("0.5"))
    write(folder / "annotations" / f"{number}_lnd.npy", npy(np.arange(136) + 0.254))
    return f"images/{name}"


def write_faces(folder: Path, start: int = 0, forms: slice = slice(2)) -> dict[str, int]:
    """Every code in several forms of its label; ids have gaps. Returns id -> code."""
    faces = {}
    for code in (*EIGHT, *NO_EMOTION):
        for form, label in enumerate(label_forms(code)[forms]):
            number = start + 37 * code + 5 * form
            faces[write_face(folder, number, code, label, "png" if form == 2 else "jpg")] = code
    return faces


def expected(found: dict[str, dict[str, int]], contempt: bool) -> tuple[dict[str, dict[str, str]], Left]:
    """Truth and left out of splits whose images are given as id -> code."""
    reasons = NO_EMOTION if contempt else {**NO_EMOTION, 7: NO_CONTEMPT}
    truth = {
        split: {name: EIGHT[code] for name, code in faces.items() if code not in reasons}
        for split, faces in found.items()
    }
    left = {(split, name, reasons[code]) for split, faces in found.items() for name, code in faces.items()
            if code in reasons}  # fmt: skip
    return truth, left


def affectnet_2021(root: Path) -> Release:
    """Both splits with every code, every form of label and every trap; contempt is left out, val_set is test."""
    found = {}
    # The same ids in both, as in the release.
    for name, split, forms in (("train_set", "train", slice(None)), ("val_set", "test", slice(2))):
        found[split] = {f"{name}/{face}": code for face, code in write_faces(root / name, 0, forms).items()}
    truth, left_out = expected(found, contempt=False)
    folder = root / "train_set"
    truth["train"] |= {f"train_set/{write_face(folder, 900, 3, npy(' 3 '))}": "surprise"}
    for number, label, reason in (
        (901, npy("11"), "unknown code"),
        (902, npy("happy"), "unknown code"),
        (903, npy(1.5), "unknown code"),
        (904, npy(np.nan), "unknown code"),
        (905, npy([1, 1]), "unknown code"),
        (906, npy(np.array(1, object)), "_exp.npy cannot be read"),
        (907, npy("1")[:-2], "_exp.npy cannot be read"),
        (908, b"", "_exp.npy cannot be read"),
    ):
        left_out.add(("train", f"train_set/{write_face(folder, number, 1, label)}", reason))
    write_face(folder, 910, 1, npy("1"))
    (folder / "annotations" / "910_exp.npy").unlink()
    write_face(folder, 911, 1, npy("1"))
    (folder / "images" / "911.jpg").unlink()
    write(folder / "images" / "notes.txt", b"?")
    write(folder / "images" / "more" / "913.jpg", b"?")
    left_out |= {
        ("train", "train_set/images/910.jpg", "_exp.npy is missing"),
        ("train", "train_set/annotations/911_exp.npy", "image is missing"),
        ("train", "train_set/images/notes.txt", "not an image by its extension"),
        ("train", "train_set/images/more", "a folder among the images"),
    }
    # The release's own test set: images without labels.
    write(root / "test_set" / "images" / "1.jpg", shown(1, "test"))
    write(root / "test_set" / "annotations" / "1_lnd.npy", npy(np.arange(136)))
    return Release("affectnet", root, truth, left_out=left_out)


def affectnet_2021_with_test(root: Path) -> Release:
    """AffectNet-8 with a labelled test_set beside the two, one folder below RAW."""
    found = {}
    for split in ("train", "val", "test"):
        faces = write_faces(root / "AffectNet" / f"{split}_set", start=1000)
        found[split] = {f"{split}_set/{face}": code for face, code in faces.items()}
    truth, left_out = expected(found, contempt=True)
    return Release("affectnet", root, truth, {"emotions": "eight"}, left_out)


def affectnet_flat(root: Path) -> Release:
    """images and annotations alone: one split, train."""
    truth, left_out = expected({"train": write_faces(root / "mini")}, contempt=True)
    return Release("affectnet", root / "mini", truth, {"emotions": "eight"}, left_out)


def _class_folders(root: Path, names: dict[str, str], contempt: bool) -> Release:
    """names: of split folders -> split."""
    found: dict[str, dict[str, int]] = {}
    for name, split in names.items():
        for code in (*EIGHT, *NO_EMOTION):
            for number in range(2):
                # The same file name in every class: the class belongs to the key.
                place = f"{name}/{code}/image{number}.{('jpg', 'PNG')[number]}"
                write(root / place, shown(code, place, ("JPEG", "PNG")[number]))
                found.setdefault(split, {})[place] = code
    truth, left_out = expected(found, contempt)
    first, split = next(iter(names.items()))
    for place in ("labels.csv", "11/a.jpg", "7x/a.jpg", "3/notes.txt", "3/more/a.jpg"):
        write(root / first / place, shown(3, place))
    left_out |= {
        (split, f"{first}/labels.csv", "not in a class folder"),
        (split, f"{first}/11", "unknown code"),
        (split, f"{first}/7x", "unknown code"),
        (split, f"{first}/3/notes.txt", "not an image by its extension"),
        (split, f"{first}/3/more", "a folder among the images"),
    }
    return Release("affectnet", root, truth, {"emotions": "eight" if contempt else "seven"}, left_out)


def affectnet_class_folders(root: Path) -> Release:
    return _class_folders(root, {"train_set": "train", "val_set": "test"}, contempt=False)


def affectnet_class_folders_of_copies(root: Path) -> Release:
    return _class_folders(root, {"train": "train", "val": "val", "test": "test"}, contempt=True)


FORMS = (("jpg", "JPEG"), ("JPG", "JPEG"), ("jpeg", "JPEG"), ("png", "PNG"), ("BMP", "BMP"), ("tif", "TIFF"))


def row(path: str, code: int | str, box: str = "2,1,40,44", landmarks: str = LANDMARKS, rest: str = "-0.25,0.5") -> str:
    return f"{path},{box},{landmarks},{code},{rest}"


def write_rows(images: Path, start: int) -> tuple[list[str], dict[str, int]]:
    """Rows with every code, each three times, in all formats; returns the rows and path -> code."""
    rows, faces = [], {}
    for code in range(11):
        for number in range(3):
            extension, form = FORMS[(code + number * 2) % len(FORMS)]
            path = f"{start + code}/{zlib.crc32(bytes((start, code, number))):08x}.{extension}"
            write(images / path, shown(code, path, form))
            rows.append(row(path, code))
            faces[path] = code
    return rows, faces


def affectnet_2017(root: Path) -> Release:
    """training.csv with its known bad rows, and validation.csv without a header."""
    images, lists = root / "Manually_Annotated_Images", root / "Manually_Annotated_file_lists"
    training, train = write_rows(images, 1)
    validation, test = write_rows(images, 100)
    truth, left_out = expected({"train": train, "test": test}, contempt=False)
    for name, box, landmarks in (
        ("null.jpg", "NULL,NULL,NULL,NULL", "NULL"),
        ("empty.jpg", ",,,", ""),
        ("words.jpg", "1,2,x,3", "1;2;3"),
        ("negative.jpg", "-5,-1,30,20", LANDMARKS),
        ("size.jpg", "70,35,-1,-1", LANDMARKS),
        ("beyond.jpg", "20,20,900,900", LANDMARKS),
    ):
        write(images / "50" / name, shown(4, name))
        training.append(row(f"50/{name}", 4, box, landmarks))
        truth["train"][f"50/{name}"] = "fear"
    for name in ("secret.jpg", "Manually_Annotated_Images_2/secret.jpg"):
        write(root / name, shown(1, name))
    outside = (
        "../secret.jpg",
        "50/../../secret.jpg",
        str(root / "secret.jpg"),
        "../Manually_Annotated_Images_2/secret.jpg",
    )
    training += [row(path, 1) for path in outside]
    left_out |= {("train", path, "path leaves the image folder") for path in outside}
    training += [
        row("60/a.jpg", 10, "NULL,NULL,NULL,NULL", "NULL", "-2,-2"),
        row("60/e.jpg", 9, "NULL,NULL,NULL,NULL", "NULL", "-2,-2"),
        row("60/b.jpg", 11),
        row("60/c.jpg", "happy"),
        "60/d.jpg,1,2,3",
        row("", 1),
        "",
    ]
    left_out |= {
        ("train", "60/a.jpg", "no emotion: no face (code 10), box NULL"),
        ("train", "60/e.jpg", "no emotion: uncertain (code 9)"),
        ("train", "60/b.jpg", "unknown code"),
        ("train", "60/c.jpg", "unknown code"),
        ("train", f"training.csv line {len(training) - 1}", "columns are missing"),
        ("train", f"training.csv line {len(training)}", "path is missing"),
    }
    write(lists / "training.csv", "\r\n".join((HEADER, *training)).encode())
    write(lists / "validation.csv", "\n".join(validation).encode())
    return Release("affectnet", root, truth, left_out=left_out)


def affectnet_2017_both_lists(root: Path) -> Release:
    """AffectNet-8 of both kinds of lists, as some copies unpack them; columns in another order."""
    manual, automatic = root / "AffectNet" / "Manually_Annotated", root / "AffectNet"
    training, train = write_rows(manual / "Manually_Annotated_Images", 1)
    validation, test = write_rows(manual / "Manually_Annotated_Images", 100)
    labelled, more = write_rows(automatic / "Automatically_Annotated_Images", 200)
    truth, left_out = expected({"train": {**train, **more}, "test": test}, contempt=True)
    write(manual / "training.csv", "\n".join((f"\ufeff{HEADER}", *training)).encode())
    write(manual / "validation.csv", "\n".join((HEADER, *validation)).encode())
    moved = [f"{number},{line}" for number, line in enumerate(labelled)]
    path = automatic / "Automatically_Annotated_file_lists" / "automatically_annotated.csv"
    write(path, "\n".join((f",{HEADER}", *moved)).encode())
    return Release("affectnet", root, truth, {"emotions": "eight", "lists": "both"}, left_out)


MAKERS: tuple[Maker, ...] = (
    affectnet_2021,
    affectnet_2021_with_test,
    affectnet_flat,
    affectnet_class_folders,
    affectnet_class_folders_of_copies,
    affectnet_2017,
    affectnet_2017_both_lists,
)
