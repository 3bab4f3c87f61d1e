"""csv files of other people: words or codes, splits or none, and rows that are wrong."""

from pathlib import Path

from support.faces import write
from support.releases.made import EMOTIONS, Maker, Release, image_bytes

WORDS = {
    "surprise": ("surprise", "Surprised"),
    "fear": ("fear", "afraid"),
    "disgust": ("disgust", "disgusted"),
    "anger": ("anger", "Angry"),
    "sadness": ("sadness", "sad"),
    "happiness": ("HAPPY", "joy"),
    "neutrality": ("neutral", "neutral"),
    "contempt": ("contempt", "contempt"),
}
"""Our name -> two words of it in the wild."""

AFFECTNET = ("neutrality", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
"""Readme of AffectNet: 0 neutral, 1 happiness, 2 sadness, 3 surprise, 4 fear, 5 disgust, 6 anger, 7 contempt."""

FER2013 = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutrality")
"""Kaggle's data page: 0=Angry, 1=Disgust, 2=Fear, 3=Happy, 4=Sad, 5=Surprise, 6=Neutral."""


def words_and_splits(root: Path) -> Release:
    """Words, splits in several spellings, subjects, boxes, and all that a row can have wrong."""
    truth: dict[str, dict[str, str]] = {"train": {}, "val": {}, "test": {}}
    rows = ["Image,Label,Split,Subject,x,y,width,height,room"]
    for split, spellings in {
        "train": ("train", "Training"),
        "val": ("valid", "val"),
        "test": ("TEST", "testing"),
    }.items():
        for number, emotion in enumerate(EMOTIONS):
            for which in range(2):
                name = f"faces/{split}_{number}_{which}.png"
                rows.append(f"{name},{WORDS[emotion][which]},{spellings[which]},s{number},4,5,30,31,{which}")
                truth[split][name] = emotion
                write(root / name, image_bytes(emotion, 10 * number + which, "PNG"))
    rows += [
        "faces/a.png,bored,train,s1,4,5,30,31,1",
        "faces/b.png,happy,somewhere,s1,4,5,30,31,1",
        "../c.png,happy,train,s1,4,5,30,31,1",
        "/etc/d.png,happy,val,s1,4,5,30,31,1",
        ",happy,train,s1,4,5,30,31,1",
        "faces/e.png,happy,train",
        "faces/f.png,happy,train,s1,4,5,30,31,1,more",
    ]
    raw = write(root / "labels.csv", "\r\n".join([*rows, "", ""]).encode())
    left_out = {
        ("train", "faces/a.png", "not an emotion that we know"),
        ("", "faces/b.png", "unknown split"),
        ("train", "../c.png", "path leaves the root"),
        ("val", "/etc/d.png", "path leaves the root"),
        ("train", "labels.csv line 54", "no image is named"),
        ("", "labels.csv line 55", "columns are missing"),
        ("", "labels.csv line 56", "more fields than columns"),
    }
    return Release("csv", raw, truth, left_out=left_out)


def codes_of_a_table(root: Path) -> Release:
    """Codes of AffectNet without a column of splits; the images lie elsewhere; some codes went through floats."""
    truth, rows = {}, ["subDirectory_filePath,face_x,face_y,face_width,face_height,expression,valence,arousal"]
    for number in range(16):
        name = f"{number % 3}/{number:03d}.JPG"
        code = f"{number % 8}.0" if number == 9 else f"{number % 8}"
        rows.append(f"{name},4,5,30,31,{code},0.25,-2")
        truth[name] = AFFECTNET[number % 8]
        write(root / "images" / name, image_bytes(AFFECTNET[number % 8], number))
    rows += [f"{code}/none.jpg,4,5,30,31,{code},-2,-2" for code in (8, 9, 10)]
    raw = write(root / "lists" / "My Faces.csv", "\n".join(rows).encode())
    left_out = {("train", f"{code}/none.jpg", "unknown code") for code in (8, 9, 10)}
    options = {"codes": "affectnet", "root": str(root / "images"), "dataset": "like-affectnet"}
    return Release("csv", raw, {"train": truth}, options=options, left_out=left_out)


def codes_of_a_list(root: Path) -> Release:
    """Numbers from 1 in an order of their own; columns of other names, with tabs between them."""
    order = ("contempt", "sadness", "neutrality", "fear", "happiness", "anger", "surprise", "disgust")
    truth, rows = {}, ["\ufeffno\twho\tphotograph\tfelt\tnote"]
    for number in range(16):
        name = f"{number}.png"
        rows.append(f'{number:03d}\t{number % 5}\t{root / name}\t{number % 8 + 1}\t"says ""so""\tand more"')
        truth[str(root / name)] = order[number % 8]
        write(root / name, image_bytes(order[number % 8], number, "PNG"))
    rows.append(f"016\t1\t{root}/16.png\t0\t")
    raw = write(root / "faces.tsv", "\n".join(rows).encode())
    options = {
        "codes": "-, contempt, sad, neutral, fear, happy, anger, surprise, disgust",
        "image_column": "photograph",
        "emotion_column": "felt",
        "subject_column": "who",
        "key_column": "no",
    }
    left_out = {("train", f"{root}/16.png", "a code that --codes leaves out")}
    return Release("csv", raw, {"train": truth}, options=options, left_out=left_out)


def usage_of_fer2013(root: Path) -> Release:
    """FER2013's codes and splits beside the names of images, with semicolons between the columns."""
    truth: dict[str, dict[str, str]] = {"train": {}, "val": {}, "test": {}}
    rows = ["emotion;path;Usage"]
    for usage, split in {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}.items():
        for number in range(14):
            name = f"{usage}_{number}.png"
            rows.append(f"{number % 7};{name};{usage}")
            truth[split][name] = FER2013[number % 7]
            write(root / name, image_bytes(FER2013[number % 7], number, "PNG", mode="L"))
    raw = write(root / "fer.csv", "\n".join(rows).encode())
    return Release("csv", raw, truth, options={"codes": "fer2013"})


MAKERS: tuple[Maker, ...] = (words_and_splits, codes_of_a_table, codes_of_a_list, usage_of_fer2013)
