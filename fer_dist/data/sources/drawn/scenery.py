"""What stands around a drawn face, and how it is photographed: clutter, things before the face, light, grain."""

import numpy as np
from PIL import Image, ImageFilter

from fer_dist.data.sources.drawn.face import Canvas, Colour, Identity, View, curve, ellipse, shade


def draw_background(lots: np.random.Generator, side: int, style: str) -> Image.Image:
    """An empty image: a plain grey wall in the lab, coloured clutter in the wild."""
    if style == "lab":
        grey = int(lots.integers(120, 215))
        return Image.new("RGB", (side, side), (grey, grey, grey))
    image = Image.new("RGB", (side, side), _colour(lots))
    canvas = Canvas(image, View(0, 0, 0, 1, 0, 0, 0))
    for _ in range(int(lots.integers(4, 11))):
        x, y, width, height = lots.uniform((-1.6, -1.6, 0.15, 0.15), (1.6, 1.6, 0.8, 0.8))
        canvas.fill(ellipse(x, y, width, height, int(lots.integers(3, 9))), _colour(lots), flat=True)
    return image


def occlude(canvas: Canvas, lots: np.random.Generator, who: Identity) -> None:
    """Glasses, a hand, a lock of hair, a scarf or a bar before the face; most faces have none of them."""
    what, side, colour = lots.random(), lots.choice((-1.0, 1.0)), _colour(lots)
    x, y, size = lots.uniform((0.3, 0.35, 0.8), (0.9, 1.1, 1.2))
    if what < 0.12:  # glasses
        for eye in (-1.0, 1.0):
            rim = ellipse(eye * 0.42 * who.eye_distance, -0.2, 0.34 * size, 0.3 * size, 12)
            canvas.stroke(np.concatenate([rim, rim[:2]]), 0.05, shade(colour, 0.4))
        canvas.stroke(curve(np.array([-0.12, 0.12]), -0.24), 0.05, shade(colour, 0.4))
    elif what < 0.22:  # a hand at the cheek
        for finger in range(4):
            end = y - 0.35 * size + 0.08 * finger
            line = curve(side * np.linspace(x + 0.5, x - 0.1 + 0.16 * finger, 4), np.linspace(y + 0.55, end, 4))
            skin = shade(who.skin, 0.92 - 0.06 * (finger % 2))
            canvas.stroke(line, np.array([0.24, 0.2, 0.18, 0.12]), skin, flat=True)
        canvas.fill(ellipse(side * (x + 0.5), y + 0.75, 0.4, 0.45, 10), shade(who.skin, 0.9), flat=True)
    elif what < 0.30:  # a lock of hair over one eye
        lock = curve(side * (0.15 + 0.45 * np.linspace(0, 1, 6) ** 0.6 * x), np.linspace(-1.3, 0.1, 6))
        canvas.stroke(lock, 0.3 * size, who.hair)
    elif what < 0.34:  # a scarf over the chin
        canvas.fill(curve([-1.3, 0.0, 1.3, 1.3, -1.3], [0.75, 0.6 + 0.3 * x, 0.75, 2.2, 2.2]), colour, flat=True)
    elif what < 0.40:  # something between the camera and the face
        bar = curve(side * np.array([x - 0.2, x + 1.2]), np.array([-1.6, y + 0.6]))
        canvas.stroke(bar, 0.3 * size, colour, flat=True)


def photograph_wild(lots: np.random.Generator, image: Image.Image) -> Image.Image:
    """Blur, light from one side, contrast, a colour cast or no colour at all, and the sensor's noise."""
    blur = lots.uniform(-0.6, 1.0) * image.width / 64
    if blur > 0.15:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    pixels = np.asarray(image, dtype=np.float32)
    if lots.random() < 0.15:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    else:
        pixels = pixels * lots.normal(1.0, 0.07, 3).astype(np.float32)
    slope_x, slope_y = lots.normal(0.0, 0.28, 2)
    across = np.linspace(-1.0, 1.0, image.width, dtype=np.float32)
    light = lots.uniform(0.65, 1.15) * np.exp(slope_x * across[None, :] + slope_y * across[:, None])
    pixels = (pixels - 128) * lots.uniform(0.7, 1.1) + 128
    return _finish(lots, pixels * light[..., None].astype(np.float32), lots.uniform(1.0, 10.0))


def photograph_lab(lots: np.random.Generator, image: Image.Image) -> Image.Image:
    """Even light, an exposure that varies, and the grain of old film."""
    pixels = (np.asarray(image, dtype=np.float32) - 128) * lots.uniform(0.6, 1.1) + lots.uniform(100, 150)
    return _finish(lots, pixels, lots.uniform(4.0, 16.0))


def _colour(lots: np.random.Generator) -> Colour:
    red, green, blue = (int(value) for value in lots.integers(20, 236, 3))
    return red, green, blue


def _finish(lots: np.random.Generator, pixels: np.ndarray, noise: float) -> Image.Image:
    grain = lots.standard_normal(pixels.shape, dtype=np.float32)
    return Image.fromarray(np.clip(pixels + noise * grain, 0, 255).astype(np.uint8))
