"""Pictures side by side, a label above each column: what the scripts of these pages share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.PngImagePlugin import PngInfo

#: Space between pictures, and between blocks; the height of a line of text, in pixels.
GAP, BETWEEN, LINE = 4, 20, 15
#: Bytes that a picture of these pages may have.
LARGEST = 110_000
#: Levels of each colour that are tried, the finest first.
LEVELS = (256, 128, 64, 43, 32, 24, 18)


@dataclass(frozen=True)
class Block:
    """Columns of pictures, the rows of which belong together."""

    title: str
    columns: Mapping[str, Sequence[Image.Image]]
    """Pictures from above to below, by the text above them, of at most two lines."""


def sheet(blocks: Sequence[Block], side: int = 96, width: int = 820) -> Image.Image:
    """Return blocks one beside the other as far as the width allows, and then one below the other.

    Args:
        side: pictures that are lower are enlarged to at least this height, by a whole factor.
        width: of the sheet in pixels; a block that is wider alone makes the sheet wider.
    """
    drawn = [_block(block, side) for block in blocks]
    rows: list[list[Image.Image]] = []
    for each in drawn:
        if rows and sum(other.width + BETWEEN for other in rows[-1]) + each.width <= width:
            rows[-1].append(each)
        else:
            rows.append([each])
    wide = max(sum(each.width for each in row) + BETWEEN * (len(row) - 1) for row in rows)
    high = [max(each.height for each in row) for row in rows]
    page = Image.new("RGB", (wide, sum(high) + BETWEEN * (len(rows) - 1)), "white")
    top = 0
    for row, height in zip(rows, high, strict=True):
        left = 0
        for each in row:
            page.paste(each, (left, top))
            left += each.width + BETWEEN
        top += height + BETWEEN
    return page


def _block(block: Block, side: int) -> Image.Image:
    pictures = [each for column in block.columns.values() for each in column]
    factor = max(1, -(-side // max(each.height for each in pictures)))
    font, bold = ImageFont.load_default(size=12), ImageFont.load_default(size=13)
    title = 2 * GAP + LINE if block.title else GAP
    header = title + LINE * max(1 + name.count("\n") for name in block.columns) + GAP
    widths = [
        max([each.width * factor for each in column] + [round(font.getlength(line)) + GAP for line in name.split("\n")])
        for name, column in block.columns.items()
    ]
    rows = max(len(column) for column in block.columns.values())
    heights = [
        max((column[i].height * factor for column in block.columns.values() if i < len(column)), default=0)
        for i in range(rows)
    ]
    wide = max(sum(widths) + GAP * (len(widths) + 1), round(bold.getlength(block.title)) + 2 * GAP)
    page = Image.new("RGB", (wide, header + sum(heights) + GAP * len(heights)), "white")
    draw = ImageDraw.Draw(page)
    draw.text((GAP, GAP), block.title, fill="black", font=bold)
    left = GAP
    for (name, column), width in zip(block.columns.items(), widths, strict=True):
        for line, text in enumerate(name.split("\n")):
            draw.text((left, title + LINE * line), text, fill="#444", font=font)
        top = header
        for each, height in zip(column, heights, strict=False):
            size = (each.width * factor, each.height * factor)
            page.paste(each.convert("RGB").resize(size, Image.Resampling.NEAREST), (left, top))
            top += height + GAP
        left += width + GAP
    return page


def strip(frames: Sequence[Image.Image], gap: int = 1) -> Image.Image:
    """Return frames of one size in a row."""
    wide = ImageOps.expand(frames[0], (0, 0, gap, 0), "white").width
    page = Image.new("RGB", (wide * len(frames) - gap, frames[0].height), "white")
    for i, frame in enumerate(frames):
        page.paste(frame.convert("RGB"), (i * wide, 0))
    return page


def save(picture: Image.Image, path: Path, about: Mapping[str, str | int | float] | None = None) -> None:
    """Write a picture as PNG, with what it shows in its metadata; where it would be too large with coarser colours.

    Raises:
        ValueError: it is too large with the coarsest, too.
    """
    info = PngInfo()
    for key, value in (about or {}).items():
        info.add_text(key, str(value))
    for levels in LEVELS:
        step = 255 / (levels - 1)
        coarser = picture.point([round(round(value / step) * step) for value in range(256)] * len(picture.getbands()))
        for kept in (coarser, coarser.quantize(256, dither=Image.Dither.NONE)) if levels < 64 else (coarser,):
            kept.save(path, "PNG", optimize=True, pnginfo=info)
            if path.stat().st_size <= LARGEST:
                return
    raise ValueError(f"{path} has {path.stat().st_size} bytes, more than {LARGEST}; show fewer pictures")
