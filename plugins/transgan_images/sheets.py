"""Contact sheets: previews of several columns of images."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from transgan.api import Embedded

#: The key in a sheet's metadata under which it says where its items are.
CELLS = "transgan:cells"
#: Quality of the WebP image that a page embeds: above it, files grow faster than what is seen of it.
QUALITY = 85


def contact_sheet(columns: Mapping[str, Sequence[np.ndarray]], side: int = 128, gap: int = 4) -> Image.Image:
    """Return a contact sheet: a column for each name, with the name as its header, and a row for each item.

    Args:
        columns: images (H, W, C) uint8 by name; a name has at most two lines.
        side: smaller images are enlarged to at least this height, by a whole factor.
        gap: space between images, in pixels.
    """
    rows = max((len(items) for items in columns.values()), default=0)
    shapes = [item.shape for items in columns.values() for item in items]
    max_height = max((shape[0] for shape in shapes), default=side)
    max_width = max((shape[1] for shape in shapes), default=side)
    factor = max(1, math.ceil(side / max_height))
    height, width = max_height * factor, max_width * factor
    font = ImageFont.load_default(size=13)
    header = 34
    sheet = Image.new("RGB", (len(columns) * (width + gap) + gap, header + rows * (height + gap) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (name, items) in enumerate(columns.items()):
        left = gap + i * (width + gap)
        for line, text in enumerate(name.split("\n")[:2]):
            draw.text((left, 2 + 15 * line), text, fill="black", font=font)
        for j, item in enumerate(items):
            image = Image.fromarray(item[..., 0] if item.shape[-1] == 1 else item).convert("RGB")
            size = (item.shape[1] * factor, item.shape[0] * factor)
            sheet.paste(image.resize(size, Image.Resampling.NEAREST), (left, header + j * (height + gap)))
    sheet.info[CELLS] = json.dumps(
        {
            name: [[gap + i * (width + gap), header + j * (height + gap), width, height] for j in range(len(items))]
            for i, (name, items) in enumerate(columns.items())
        }
    )
    return sheet


def save_sheet(sheet: Image.Image, file: BinaryIO) -> None:
    """Write a contact sheet as PNG, with the places of its items in its metadata."""
    info = PngInfo()
    info.add_itxt(CELLS, sheet.info[CELLS], zip=True)
    sheet.save(file, "PNG", pnginfo=info)


def embedded(path: Path, side: int) -> Embedded:
    """Return an image file for a page: as WebP of at most `side` pixels a side, or as it is where that is smaller.

    Raises:
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        cells = _cells(image)
        kind = Image.MIME.get(image.format or "", "")
        scale = min(1.0, side / max(image.size))
        smaller = image.convert("RGB")
        if scale < 1:
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            smaller = smaller.resize(size, Image.Resampling.LANCZOS)
        file = io.BytesIO()
        smaller.save(file, "WEBP", quality=QUALITY, method=2)  # training waits for it
    if len(content) <= len(file.getvalue()):
        return Embedded(kind, content, cells)
    return Embedded("image/webp", file.getvalue(), cells)


def _cells(image: Image.Image) -> dict[str, list[tuple[float, float, float, float]]]:
    """Return where a sheet's items are, as its metadata say; nothing for other images."""
    width, height = image.size
    try:
        found = json.loads(image.info[CELLS])
        return {
            str(name): [(left / width, top / height, w / width, h / height) for left, top, w, h in each]
            for name, each in found.items()
        }
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
