"""Contact sheets: previews of several columns of images."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont


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
    return sheet
