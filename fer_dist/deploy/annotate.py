"""Predictions drawn: boxes and bars over the images, contact sheets of the faces, a time line of each video.

Written as the predictions come, so that little is held. Of a video one frame a second is drawn, and of its faces those
of these frames stand on the sheets.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fer_dist.data.faces.fit import standing
from fer_dist.data.images import DECODE_ERRORS, decode, jpeg_bytes, plain
from fer_dist.data.inspection.sheets import Row, Tile, contact_sheet
from fer_dist.deploy.answers import UNSURE, Prediction
from fer_dist.deploy.photograph import Photograph, read_at
from fer_dist.deploy.predict import Answered
from fer_dist.scores.figures.canvas import (
    INK,
    SERIES,
    WIDTH,
    add_legend,
    dress,
    name_axes,
    new_figure,
    save_figure,
)
from fer_dist.storage.writing import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHORTEST, LONGEST = 480, 1600
"""Pixels of the longer side of what is drawn on: smaller images are enlarged, larger ones made smaller."""

FACES_ON_SHEET = 120
"""Ten rows of a contact sheet."""

MOST_BINS = 1000
"""Of a time line; where there would be more, each becomes twice as long."""

FEWER_BARS = (None, 3, 1)
"""Bars of a face, the highest ones; None: all."""

JPEG_QUALITY = 90
PAPER, BAR, TRACK, WORDS, BOX = "#121216", "#78beff", "#464650", "#ffffff", "#ffd640"


def drawn_on(answered: Iterator[Answered], folder: str, emotions: tuple[str, ...]) -> Iterator[Answered]:
    """The same predictions, each drawn when it comes. folder: made where there is none."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    gallery = _Gallery(Path(folder), emotions)
    for one in answered:
        gallery.take(one)
        yield one
    gallery.close()


def annotated(image: Image.Image, predictions: tuple[Prediction, ...]) -> Image.Image:
    """RGB: the image with a box and bars of the probabilities for each face; bars beside it where it is one face."""
    longer = max(image.size)
    scale = min(max(longer, SHORTEST), LONGEST) / longer
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    image = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    font = ImageFont.load_default(max(max(size) // 48, 12))
    shown = [one for one in predictions if one.probabilities]
    if shown and shown[0].box is None:
        panel = _panel(shown[0], font)
        wide = Image.new("RGB", (image.width + panel.width, max(image.height, panel.height)))
        wide.paste(image, (0, 0))
        wide.paste(panel, (image.width, 0))
        return wide
    draw = ImageDraw.Draw(image)
    boxes = [tuple(value * scale for value in one.box) for one in predictions if one.box]
    for x, y, width, height in boxes:
        draw.rectangle((x, y, x + width, y + height), outline=BOX, width=max(max(size) // 300, 2))
    taken = [np.array(box) for box in boxes]
    for one in shown:
        assert one.box is not None
        # All bars where they hide nothing, else fewer.
        panels = [_panel(one, font, bars) for bars in FEWER_BARS]
        places = [_place([value * scale for value in one.box], panel, image.size, taken) for panel in panels]
        best = min(range(len(panels)), key=lambda at: places[at][0])
        _, (left, top) = places[best]
        image.paste(panels[best], (left, top))
        taken.append(np.array([left, top, *panels[best].size]))
    for one in predictions:
        if one.reason:
            draw.text((8, 8), one.reason, WORDS, font, stroke_width=2, stroke_fill=PAPER)
    return image


@dataclass
class _TimeLine:
    """Sums of a video over bins of equal length, which doubles where they become too many."""

    emotions: tuple[str, ...]
    seconds: float = 0.5
    images: list[float] = field(default_factory=list)
    faces: list[float] = field(default_factory=list)
    sums: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, time: float, predictions: tuple[Prediction, ...]) -> None:
        at = int(time / self.seconds)
        while at >= MOST_BINS:
            self._halve()
            at = int(time / self.seconds)
        while len(self.images) <= at:
            self.images.append(0)
            self.faces.append(0)
            self.sums.append(np.zeros(len(self.emotions)))
        self.images[at] += 1
        for one in predictions:
            if one.probabilities:
                self.faces[at] += 1
                self.sums[at] += [one.probabilities[name] for name in self.emotions]

    def figure(self, title: str) -> "Figure":
        """Mean probability of each emotion over the faces, and beneath it how many faces an image has."""
        times = (np.arange(len(self.images)) + 0.5) * self.seconds
        faces, images = np.array(self.faces), np.array(self.images)
        shares = np.array(self.sums) / np.where(faces > 0, faces, np.nan)[:, None]
        figure = new_figure(1.6 * WIDTH, 3.9)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.6, 1])
        for index, name in enumerate(self.emotions):
            colour, marker, _ = SERIES[index % len(SERIES)]
            shown = marker if len(times) <= 60 else ""
            style: Any = {"color": colour, "marker": shown, "markersize": 3, "linewidth": 1.3}
            above.plot(times, 100 * shares[:, index], label=name, **style)
        above.set_ylim(0, 100)
        below.plot(times, faces / np.where(images > 0, images, np.nan), color=INK, linewidth=1.1, drawstyle="steps-mid")
        below.set_ylim(bottom=0)
        for axes, beside in ((above, "mean probability, %"), (below, "faces in\na frame")):
            dress(axes, "y")
            name_axes(axes, "", "", beside)
        above.set_title(title, color=INK, fontsize=10.5, parse_math=False)
        below.set_xlabel("seconds", color=INK, fontsize=9)
        add_legend(figure, above, columns=4)
        return figure

    def _halve(self) -> None:
        self.seconds *= 2
        odd = len(self.images) % 2
        for values in (self.images, self.faces):
            values += [0.0] * odd
            values[:] = [one + other for one, other in zip(values[::2], values[1::2], strict=True)]
        self.sums += [np.zeros(len(self.emotions))] * odd
        self.sums[:] = [one + other for one, other in zip(self.sums[::2], self.sums[1::2], strict=True)]


class _Gallery:
    """What is written into the folder."""

    def __init__(self, folder: Path, emotions: tuple[str, ...]) -> None:
        self.folder = folder
        self.emotions = emotions
        self._count = self._sheets = 0
        self._tiles: list[Tile] = []
        self._video = ""
        self._line = _TimeLine(emotions)
        self._next_second = 0.0

    def take(self, one: Answered) -> None:
        photograph = one.found.photograph
        is_frame = photograph.frame is not None
        name = photograph.file if is_frame else ""
        if name != self._video:
            self._end_video()
            self._video = name
        if is_frame:
            # A video that does not tell times has its frames as if there were 25 a second.
            time = photograph.time if photograph.time is not None else (photograph.frame or 0) / 25
            self._line.add(max(time, 0), one.predictions)
            if time < self._next_second:
                return
            self._next_second = float(int(time) + 1)
        else:
            self._count += 1
        image = _image_of(photograph)
        if image is not None:
            mark = f"-{photograph.frame:06d}" if is_frame else ""
            path = self.folder / f"{self._count:06d}-{_stem(photograph.file)}{mark}.jpg"
            write_atomically(path, jpeg_bytes(annotated(image, one.predictions), JPEG_QUALITY))
        for face, prediction in zip(one.found.faces, one.predictions, strict=False):
            if prediction.probabilities:
                highest = max(prediction.probabilities.values())
                caption = f"{prediction.emotion} {100 * highest:.0f} %\n{_stem(photograph.file)}{_time_of(photograph)}"
                self._tiles.append(Tile(face.content.tobytes(), caption))
        if len(self._tiles) >= FACES_ON_SHEET:
            self._sheet()

    def close(self) -> None:
        self._end_video()
        if self._tiles:
            self._sheet()

    def _sheet(self) -> None:
        tiles, self._tiles = self._tiles[:FACES_ON_SHEET], self._tiles[FACES_ON_SHEET:]
        first = self._sheets * FACES_ON_SHEET + 1
        title = f"faces {first:,} to {first + len(tiles) - 1:,}"
        contact_sheet([Row(title, tuple(tiles))], self.folder / f"sheet-{self._sheets:04d}.jpg")
        self._sheets += 1

    def _end_video(self) -> None:
        if self._video:
            name = os.path.basename(self._video)
            save_figure(self._line.figure(name), self.folder / f"{self._count:06d}-{_stem(self._video)}-timeline")
            self._line, self._next_second = _TimeLine(self.emotions), 0.0
            self._count += 1


def _time_of(photograph: Photograph) -> str:
    return "" if photograph.time is None else f" {photograph.time:.0f} s"


def _image_of(photograph: Photograph) -> Image.Image | None:
    """The upright image; None where there is none that decodes."""
    if photograph.image is not None:
        return photograph.image
    try:
        content = read_at(photograph.path).content if photograph.content is None else photograph.content.tobytes()
        return plain(standing(decode(content)))
    except DECODE_ERRORS:
        return None


def _stem(file: str) -> str:
    """A file name of plain letters for what is drawn of a file."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", os.path.basename(file).rpartition(".")[0] or os.path.basename(file))[:80]


def _panel(
    prediction: Prediction, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, most: int | None = None
) -> Image.Image:
    """Names and bars of an answer's probabilities, the highest first."""
    assert prediction.probabilities is not None
    assert isinstance(font, ImageFont.FreeTypeFont)
    rows = sorted(prediction.probabilities.items(), key=lambda pair: -pair[1])[:most]
    line = round(1.25 * font.size)
    names = max(font.getlength(name) for name, _ in rows)
    bar = 5 * font.size
    width, gap = round(names + bar + 4 * font.size), round(font.size / 2)
    heading = line if prediction.emotion == UNSURE else 0
    panel = Image.new("RGB", (width, heading + len(rows) * line + gap), PAPER)
    draw = ImageDraw.Draw(panel)
    if heading:
        draw.text((gap, gap / 2), UNSURE, BOX, font)
    for number, (name, share) in enumerate(rows):
        y = heading + number * line + gap / 2
        colour = BOX if name == prediction.emotion else WORDS
        draw.text((gap, y), name, colour, font)
        left = 2 * gap + names
        draw.rectangle((left, y + line * 0.25, left + bar, y + line * 0.75), fill=TRACK)
        draw.rectangle((left, y + line * 0.25, left + bar * share, y + line * 0.75), fill=BAR)
        draw.text((width - gap, y), f"{100 * share:.0f}", colour, font, anchor="ra")
    return panel


def _place(
    box: list[float], panel: Image.Image, whole: tuple[int, int], taken: list[NDArray[np.float64]]
) -> tuple[float, tuple[int, int]]:
    """Where a panel stands: right or left of the box, below or above it; and how many pixels it hides there."""
    x, y, width, height = box
    found = []
    for left, top in ((x + width, y), (x - panel.width, y), (x, y + height), (x, y - panel.height)):
        inside = tuple(
            max(min(round(at), most - size), 0) for at, most, size in zip((left, top), whole, panel.size, strict=True)
        )
        found.append((sum(_shared((*inside, *panel.size), other) for other in taken), inside))
    hidden, (left, top) = min(found, key=lambda pair: pair[0])
    return hidden, (left, top)


def _shared(one: Sequence[float], other: NDArray[np.float64]) -> float:
    """The area that two boxes share."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return float(max(across, 0) * max(down, 0))
