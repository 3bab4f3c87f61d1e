"""What is drawn of predictions: where boxes and bars stand, what is on the sheets, a time line that stays short."""

import numpy as np
import pytest
from PIL import Image, ImageColor
from support.faces import encoded, write
from support.runs import untrained_run
from support.scenes import Placed, needs_detector, scene

from fer_dist import api
from fer_dist.deploy import annotate
from fer_dist.deploy.annotate import _TimeLine, annotated
from fer_dist.deploy.answers import Prediction

EMOTIONS = ("fear", "happiness")


def prediction(box, fear=0.25, **more):
    return Prediction(
        "a.jpg", box=box, emotion="happiness", probabilities=dict(zip(EMOTIONS, (fear, 1 - fear), strict=True)), **more
    )


def is_colour(image, colour):
    return (np.asarray(image) == ImageColor.getrgb(colour)).all(axis=2)


def test_a_box_stands_around_its_face_and_bars_hide_no_face():
    boxes = [(40.0, 60.0, 80.0, 90.0), (130.0, 50.0, 80.0, 90.0), (300.0, 200.0, 100.0, 120.0)]
    found = annotated(Image.new("RGB", (600, 400), (30, 200, 30)), tuple(prediction(box) for box in boxes))
    assert found.size == (600, 400)
    frame = is_colour(found, annotate.BOX)
    for x, y, width, height in boxes:
        inside = np.s_[round(y) + 3 : round(y + height) - 3, round(x) + 3 : round(x + width) - 3]
        assert (np.asarray(found)[inside] == (30, 200, 30)).all()
        assert frame[round(y), round(x) : round(x + width)].all()
    assert is_colour(found, annotate.PAPER).sum() > 3 * 1000


def test_a_bar_is_as_long_as_its_probability():
    lengths = []
    for fear in (0.0, 0.25, 0.5):
        bars = is_colour(annotated(Image.new("RGB", (600, 400)), (prediction((40, 60, 80, 90), fear),)), annotate.BAR)
        lengths.append(bars.sum(axis=1).max())
    assert lengths[1] / lengths[0] == pytest.approx(0.75, abs=0.05)
    assert lengths[2] / lengths[0] == pytest.approx(0.5, abs=0.05)


def test_a_small_image_of_one_face_is_enlarged_and_its_bars_stand_beside_it():
    found = annotated(Image.new("RGB", (24, 24), (30, 200, 30)), (prediction(None),))
    assert (np.asarray(found)[: annotate.SHORTEST, : annotate.SHORTEST] == (30, 200, 30)).all()
    assert is_colour(found, annotate.BAR).any()


def test_a_time_line_halves_its_bins_and_keeps_its_sums(monkeypatch):
    monkeypatch.setattr(annotate, "MOST_BINS", 8)
    line = _TimeLine(EMOTIONS)
    for i in range(50):
        line.add(i / 2, (prediction(None, fear=0.5),) * (i % 2))
    assert (line.seconds, len(line.images)) == (4.0, 7)
    assert line.images == [8.0] * 6 + [2.0]
    assert sum(line.faces) == 25
    assert np.sum(line.sums, axis=0) == pytest.approx([12.5, 12.5])


def test_a_folder_gets_an_image_each_sheets_of_all_faces_and_a_time_line(tmp_path):
    needs_detector()
    import av

    run = untrained_run(tmp_path / "run")
    raw = tmp_path / "raw"
    raw.mkdir()
    scene(420, 300, [Placed(110, 150, 70), Placed(300, 140, 110)]).save(raw / "two faces.jpg")
    scene(420, 300, []).save(raw / "none.png")
    write(raw / "bad.jpg", b"words")
    write(raw / "grey.png", encoded(1, "PNG"))
    with av.open(str(raw / "walk.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for i in range(10):
            image = scene(320, 240, [Placed(100 + 4 * i, 120, 90)])
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    drawn = tmp_path / "drawn"
    found = list(api.predict(run, raw, device="cpu", threads=2, annotate=drawn))
    assert len(found) == 5 + 10
    assert sorted(path.name for path in drawn.iterdir()) == [
        "000002-grey.jpg",
        "000003-none.jpg",
        "000004-two-faces.jpg",
        "000004-walk-000000.jpg",
        "000004-walk-000004.jpg",
        "000004-walk-000008.jpg",
        "000004-walk-timeline.png",
        "000004-walk-timeline.svg",
        "sheet-0000.jpg",
    ]
    with Image.open(drawn / "000004-two-faces.jpg") as image:
        assert image.size == (480, 343)
    with Image.open(drawn / "sheet-0000.jpg") as sheet:
        # Five faces beside each other: two of the image, three of the video.
        assert sheet.width == 5 * 104 + 8
