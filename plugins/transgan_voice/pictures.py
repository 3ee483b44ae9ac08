"""Spectrograms to look at, drawn with Pillow."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from transgan.api import DiskError

#: Black, violet, red, orange, pale yellow: dark to light, so that it reads in grey too.
_COLOURS = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], dtype=np.float64)


def coloured(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """(H, W) numbers as (H, W, 3) bytes."""
    share = np.clip((values - low) / max(high - low, 1e-9), 0, 1) * (len(_COLOURS) - 1)
    channels = [np.interp(share, np.arange(len(_COLOURS)), _COLOURS[:, i]) for i in range(3)]
    return np.stack(channels, -1).round().astype(np.uint8)


def sheet(columns: Mapping[str, Sequence[np.ndarray]], gap: int = 4, head: int = 34) -> Image.Image:
    """A picture of spectrograms (H, W) on one scale of colours: a column a name, a row an item."""
    items = [item for each in columns.values() for item in each]
    low, high = np.percentile(np.concatenate([item.ravel() for item in items]), [2, 99.8]) if items else (0.0, 1.0)
    tall, wide = (max((item.shape[axis] for item in items), default=64) for axis in (0, 1))
    font = ImageFont.load_default(size=13)
    rows = max((len(each) for each in columns.values()), default=0)
    made = Image.new("RGB", (len(columns) * (wide + gap) + gap, head + rows * (tall + gap) + gap), "white")
    draw = ImageDraw.Draw(made)
    for i, (name, each) in enumerate(columns.items()):
        left = gap + i * (wide + gap)
        for line, text in enumerate(name.split("\n")[:2]):
            draw.text((left, 2 + 15 * line), text, fill="black", font=font)
        for j, item in enumerate(each):
            made.paste(Image.fromarray(coloured(item, float(low), float(high))), (left, head + j * (tall + gap)))
    return made


def slug(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()


def save(picture: Image.Image, path: Path) -> Path:
    """Writes a picture. DiskError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise DiskError(f"{path}: cannot be written: {error.strerror or error}") from None
    return path
