"""Images of spectrograms for previews."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from transgan.api import DiskError, replacing_file

#: Black, violet, red, orange, pale yellow: of increasing lightness, so that the image reads in grey too.
_COLORS = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], dtype=np.float64)


def colorize(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values (H, W) as colors (H, W, 3) uint8; `low` and `high` are the ends of the color scale."""
    positions = np.clip((values - low) / max(high - low, 1e-9), 0, 1) * (len(_COLORS) - 1)
    channels = [np.interp(positions, np.arange(len(_COLORS)), _COLORS[:, i]) for i in range(3)]
    return np.stack(channels, -1).round().astype(np.uint8)


def grid(columns: Mapping[str, Sequence[np.ndarray]], gap: int = 4, header: int = 34) -> Image.Image:
    """Return an image of spectrograms (H, W) on one color scale: one column for each name, one row for each item."""
    items = [item for each in columns.values() for item in each]
    low, high = np.percentile(np.concatenate([item.ravel() for item in items]), [2, 99.8]) if items else (0.0, 1.0)
    height, width = (max((item.shape[axis] for item in items), default=64) for axis in (0, 1))
    font = ImageFont.load_default(size=13)
    rows = max((len(each) for each in columns.values()), default=0)
    size = (len(columns) * (width + gap) + gap, header + rows * (height + gap) + gap)
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for i, (name, each) in enumerate(columns.items()):
        left = gap + i * (width + gap)
        for line, text in enumerate(name.split("\n")[:2]):
            draw.text((left, 2 + 15 * line), text, fill="black", font=font)
        for j, item in enumerate(each):
            colors = colorize(item, float(low), float(high))
            image.paste(Image.fromarray(colors), (left, header + j * (height + gap)))
    return image


def slug(name: str) -> str:
    """Return a column's name in a form that fits into a file name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()


def save(image: Image.Image, path: Path) -> Path:
    """Write an image as PNG, and return its path.

    Raises:
        DiskError: the file cannot be written.
    """
    try:
        with replacing_file(path) as file:
            image.save(file, "PNG")
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error.strerror or error}") from None
    return path
