"""Small releases of CK+: the image sequences under both of their folder names, and CK+48."""

from pathlib import Path

from support.faces import write
from support.releases.made import Maker, Release, image_bytes

# The readme of CK+: "0=neutral, 1=anger, 2=contempt, 3=disgust, 4=fear, 5=happy, 6=sadness, 7=surprise".
LABELS = {
    1: "anger",
    2: "contempt",
    3: "disgust",
    4: "fear",
    5: "happiness",
    6: "sadness",
    7: "surprise",
}

CLASS_FOLDERS = {
    "anger": "anger",
    "contempt": "contempt",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "sadness": "sadness",
    "surprise": "surprise",
}


def label_text(label: float) -> bytes:
    """The one line of a label file, as the release writes it."""
    return f"   {label:.7e}\n".encode()


def landmark_text(shift: float) -> bytes:
    """68 lines of x and y, as the release writes them; point i is at (100 + i + shift, 200 + i)."""
    return "".join(f"   {100 + i + shift:.7e}   {200.0 + i:.7e}\n" for i in range(68)).encode()


def write_sequence(images: Path, place: str, count: int, emotion: str) -> list[str]:
    """The frames of a sequence, first to last; returns their ids.

    The first shows neutral, the last three the emotion, and what lies between them another, which must not come out.
    """
    subject, number = place.split("/")
    other = "fear" if emotion != "fear" else "anger"
    names = []
    for i in range(count):
        shown = emotion if i >= count - 3 else other
        if i == 0 and count > 1:
            shown = "neutrality"
        names.append(f"{place}/{subject}_{number}_{i + 1:08d}.png")
        seed = int(subject[1:]) * 10000 + int(number) * 100 + i
        write(images / names[-1], image_bytes(emotion=shown, number=seed, form="PNG", mode="L"))
    return names


def ckplus_sequences(root: Path) -> Release:
    """The folders as the readme names them, with landmarks, cut to two folds of two people, and every trap."""
    images, labels = root / "cohn-kanade-images", root / "Emotion"
    truth: dict[str, dict[str, str]] = {"train": {}, "test": {}}
    # Sorted and dealt in turn to two folds: S005 and S011 to the first, S010 and S502 to the second.
    for subject, split in (("S005", "test"), ("S010", "train"), ("S011", "test"), ("S502", "train")):
        for label, emotion in LABELS.items():
            place = f"{subject}/{label:03d}"
            frames = write_sequence(images, place, 5 + label, emotion)
            write(labels / place / f"{Path(frames[-1]).stem}_emotion.txt", label_text(label))
            truth[split] |= {frames[0]: "neutrality"} | dict.fromkeys(frames[-3:], emotion)
            for i, frame in enumerate(frames):
                write(root / "Landmarks" / f"{Path(frame).with_suffix('')}_landmarks.txt", landmark_text(i))
    left_out = {
        ("test", "S005/008", "label 0, no emotion at the peak"),
        ("test", "S005/009", "unknown label"),
        ("test", "S005/010", "unknown label"),
        ("test", "S005/011", "label file does not hold one number"),
        ("test", "S005/012", "label file does not hold one number"),
        ("test", "S005/013", "no images"),
        ("", "S011/008", "no label file"),
        ("", "S130/001", "no label file"),
        ("train", "S502/001/notes.txt", "not a frame by its name"),
    }
    for number, text in ((8, label_text(0)), (9, label_text(8)), (10, label_text(3.5)), (11, b"disgust"), (12, b"")):
        frames = write_sequence(images, f"S005/{number:03d}", 5, "disgust")
        write(labels / f"S005/{number:03d}/{Path(frames[-1]).stem}_emotion.txt", text)
    write(labels / "S005/013/S005_013_00000009_emotion.txt", label_text(3))
    # One with an empty folder in place of its label, as the release has them, and one of a person without any label.
    write_sequence(images, "S011/008", 5, "disgust")
    (labels / "S011/008").mkdir()
    write_sequence(images, "S130/001", 5, "disgust")
    # Too short for three frames with the label and one that is neutral.
    for place, count, neutral in (("S010/009", 3, 1), ("S010/010", 2, 1), ("S010/011", 1, 0)):
        frames = write_sequence(images, place, count, "sadness")
        write(labels / place / f"{Path(frames[-1]).stem}_emotion.txt", label_text(6))
        truth["train"] |= dict.fromkeys(frames[:neutral], "neutrality") | dict.fromkeys(frames[neutral:], "sadness")
    for name in (".DS_Store", "S502/.DS_Store", "S502/001/.DS_Store", "S502/001/notes.txt"):
        write(images / name, b"?")
    write(labels / ".DS_Store", b"?")
    return Release("ckplus", root, truth, {"folds": 2, "fold": 1}, left_out)


def ckplus_archives(root: Path) -> Release:
    """The folders as the archives' names give them, without landmarks; the peak alone, and no neutral."""
    images = root / "CK+/extended-cohn-kanade-images/cohn-kanade-images"
    truth: dict[str, dict[str, str]] = {"train": {}}
    for subject in ("S014", "S999"):
        for label, emotion in LABELS.items():
            place = f"{subject}/{label:03d}"
            last = write_sequence(images, place, 11, emotion)[-1]
            write(root / f"CK+/Emotion_labels/Emotion/{place}/{Path(last).stem}_emotion.txt", label_text(label))
            truth["train"][last] = emotion
    return Release("ckplus", root, truth, {"last": 1, "first_neutral": False})


def ckplus_48(root: Path) -> Release:
    truth: dict[str, dict[str, str]] = {"train": {}, "test": {}}
    for subject, split in (("S010", "train"), ("S011", "test"), ("S014", "train")):
        for number, (folder, emotion) in enumerate(CLASS_FOLDERS.items()):
            for frame in (17, 18, 19):
                name = f"{folder}/{subject}_{number:03d}_{frame:08d}.png"
                seed = int(subject[1:]) * 1000 + number * 100 + frame
                write(root / "CK+48" / name, image_bytes(emotion, seed, "PNG", mode="L"))
                truth[split][name] = emotion
    left_out = {
        ("", "readme.txt", "not in a class folder"),
        ("", "fear/face.png", "not a frame by its name"),
    }
    for name in ("readme.txt", "fear/face.png", ".DS_Store", "fear/.DS_Store", ".git/HEAD"):
        write(root / "CK+48" / name, b"?")
    return Release("ckplus", root, truth, {"folds": 3, "fold": 2}, left_out)


MAKERS: tuple[Maker, ...] = (ckplus_sequences, ckplus_archives, ckplus_48)
