"""Video: frames in their order with their times, what is damaged, memory that does not grow with its length."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from support.faces import encoded, write
from support.runs import environment, untrained_run
from support.scenes import Placed, needs_detector, scene

from fer_dist import api
from fer_dist.deploy.video import frames

ONE_FACE = {"faces": "none", "device": "cpu", "threads": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return untrained_run(tmp_path_factory.mktemp("runs") / "run")


def video(path: Path, images, rate: int = 10, codec: str = "mpeg4") -> Path:
    """A video of these images, of one size."""
    with av.open(str(path), "w") as container:
        stream = None
        for image in images:
            if stream is None:
                stream = container.add_stream(codec, rate=rate)
                stream.width, stream.height, stream.pix_fmt = *image.size, "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    return path


def grey(count: int, side: int = 48):
    """Images that become lighter, one step after the other."""
    return (Image.new("RGB", (side, side), (2 * (i % 120),) * 3) for i in range(count))


def test_each_frame_comes_once_in_order_with_its_number_time_and_pixels(tmp_path):
    found = list(frames(str(video(tmp_path / "a.mp4", grey(100)))))
    assert [one.frame for one in found] == list(range(100))
    assert [one.time for one in found] == pytest.approx([i / 10 for i in range(100)])
    levels = [np.asarray(one.image).mean() for one in found]
    assert levels == pytest.approx([2 * i for i in range(100)], abs=4)


@pytest.mark.parametrize(
    ("per_second", "expected"), [(2, [0, 5, 10, 15]), (1, [0, 10]), (4, [0, 3, 5, 8, 10, 13, 15, 18])]
)
def test_so_many_frames_of_a_second_are_looked_at_as_are_asked_for(tmp_path, per_second, expected):
    found = list(frames(str(video(tmp_path / "a.mp4", grey(20))), per_second))
    assert [one.frame for one in found] == expected


def test_a_turned_video_stands_upright(tmp_path):
    """The mark of a phone that was held on its side: its display matrix, written into the file as phones do."""
    left = Image.new("RGB", (64, 48), (0, 0, 0))
    left.paste((250, 250, 250), (0, 0, 16, 48))
    content = video(tmp_path / "a.mp4", [left] * 3).read_bytes()
    upright = np.array([1, 0, 0, 0, 1, 0], ">i4") << 16
    clockwise = np.array([0, 1, 0, -1, 0, 0], ">i4") << 16
    last = np.array([0, 0, 1 << 30], ">i4").tobytes()

    def matrix(six):
        # Two by two of 16.16, each pair with a 2.30 between, and the row of the shift.
        a, b, u, c, d, v = six[0], six[1], 0, six[3], six[4], 0
        return np.array([a, b, u, c, d, v], ">i4").tobytes() + last

    # The track's own matrix stands behind the movie's.
    head, mark, tail = content.rpartition(matrix(upright))
    assert mark
    write(tmp_path / "turned.mp4", head + matrix(clockwise) + tail)
    first = next(frames(str(tmp_path / "turned.mp4")))
    assert first.image.size == (48, 64)
    pixels = np.asarray(first.image)[..., 0]
    # What was at the left is above, after a quarter turn clockwise.
    assert pixels[:12].mean() > 200
    assert pixels[20:].mean() < 50


def test_frames_have_rows_with_numbers_and_times_and_a_face_each(run, tmp_path):
    needs_detector()
    path = video(tmp_path / "walk.mp4", (scene(320, 240, [Placed(100 + 4 * i, 120, 90)]) for i in range(8)))
    found = list(api.predict(run, path, device="cpu", threads=2))
    assert [(one.frame, one.time) for one in found] == [(i, pytest.approx(i / 10)) for i in range(8)]
    centres = [one.box[0] + one.box[2] / 2 for one in found]
    assert centres == pytest.approx([100 + 4 * i for i in range(8)], abs=10)
    assert {one.file for one in found} == {str(path)}


def test_a_frame_has_the_probabilities_of_the_same_image(run, tmp_path):
    path = video(tmp_path / "a.mp4", grey(3))
    image = next(frames(str(path))).image
    image.save(tmp_path / "first.png")
    (first, *_), (same,) = (list(api.predict(run, one, **ONE_FACE)) for one in (path, tmp_path / "first.png"))
    assert list(first.probabilities.values()) == pytest.approx(list(same.probabilities.values()), abs=1e-6)


def test_a_damaged_video_keeps_what_decodes_and_stops_nothing(run, tmp_path):
    """Cut off, overwritten in its midst, of words, without a frame, and a track of sound alone."""
    whole = video(tmp_path / "whole.mkv", (scene(96, 64, [], seed=i) for i in range(60))).read_bytes()
    write(tmp_path / "b-cut.mkv", whole[: len(whole) // 2])
    middle = len(whole) // 2
    write(tmp_path / "c-torn.mkv", whole[:middle] + b"\xff" * 3000 + whole[middle + 3000 :])
    write(tmp_path / "d-words.mp4", b"these are words, and no video" * 50)
    write(tmp_path / "e-empty.mp4", b"")
    with av.open(str(tmp_path / "f-sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    write(tmp_path / "z.png", encoded(1, "PNG"))
    (tmp_path / "whole.mkv").rename(tmp_path / "a.mkv")
    found = {}
    for one in api.predict(run, tmp_path, **ONE_FACE):
        found.setdefault(Path(one.file).name, []).append(one)
    assert list(found) == ["a.mkv", "b-cut.mkv", "c-torn.mkv", "d-words.mp4", "e-empty.mp4", "f-sound.mkv", "z.png"]
    assert len(found["a.mkv"]) == 60
    assert 10 < sum(one.emotion is not None for one in found["b-cut.mkv"]) < 60
    assert 10 < sum(one.emotion is not None for one in found["c-torn.mkv"]) < 60
    assert all(
        one.reason.startswith("does not decode as a video") for one in found["d-words.mp4"] + found["e-empty.mp4"]
    )
    assert [one.reason for one in found["f-sound.mkv"]] == ["a video without a track of images"]
    assert found["z.png"][0].emotion


MEMORY = """
import resource, sys
from fer_dist import api

run, folder, least = sys.argv[1:]
for count, one in enumerate(api.predict(run, folder, faces="none", device="cpu", threads=2), 1):
    assert one.emotion
    if count == int(least):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def growth(run, folder, least: int) -> tuple[int, int]:
    """Rows of a prediction in a process of its own, and MB by which its peak of memory rose after so many of them."""
    line = [sys.executable, "-c", MEMORY, str(run), str(folder), str(least)]
    ended = subprocess.run(line, env=environment(), capture_output=True, text=True, timeout=3000)
    assert ended.returncode == 0, ended.stderr
    count, more = map(int, ended.stdout.split())
    return count, more


@pytest.mark.parametrize(("least", "count"), [(1000, 2000), pytest.param(4000, 20_000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_a_videos_length(run, tmp_path, least, count):
    rows, more = growth(run, video(tmp_path / "long.mp4", grey(count, side=96)), least)
    # A frame has 28 kB.
    assert (rows, more < 20) == (count, True), more


@pytest.mark.parametrize(("least", "count"), [(1000, 2000), pytest.param(4000, 10_000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_number_of_images(run, tmp_path, least, count):
    # Behind its end an image may have anything.
    content = encoded(1, "JPEG", 112, "RGB") + bytes(40_000)
    for i in range(count):
        write(tmp_path / "long" / f"{i:05d}.jpg", content)
    rows, more = growth(run, tmp_path / "long", least)
    assert (rows, more < 20) == (count, True), more
