"""Draw the pictures of README: held-out samples of a run, what its model makes of them and the truth; and a group.

    python docs/make_hero.py runs/conditional_face-1

Of each translation it shows the first held-out samples, so nobody chooses them. The picture is twice as wide as a page
of GitHub shows it, on a ground that can be read in light and dark mode. The group is that of `transgan samples`, before
and after `translate --faces`. It prints of which run it is: recipe, steps, seed, minutes.
"""

import argparse
from pathlib import Path

from make_gallery import Run, pictures
from PIL import Image, ImageDraw, ImageFont
from transgan_faces.examples import FIRST_SEED
from transgan_faces.gathering import photograph

from transgan import Translator

#: Width in pixels; pictures of a translation; and of a row of blocks.
WIDTH, ROWS, BESIDE = 1760, 2, 2
COLUMNS = ("source", "translated", "truth")
#: Between pictures, between blocks, and around all; height of a title and of a label; radius of corners.
GAP, BETWEEN, AROUND, TITLE, LABEL, CORNER = 8, 44, 36, 44, 36, 10
GROUND, INK, DIM = "#f6f8fa", "#1f2328", "#59636e"


def blocks(run: Run) -> dict[str, dict[str, list[Image.Image]]]:
    """Return pictures by translation and column."""
    found: dict[str, dict[str, list[Image.Image]]] = {}
    for direction in run.plan.directions:
        columns = run.columns(direction, ROWS)
        name = f"{direction.translation.source} to {direction.translation.target}"
        found[name] = {text: pictures(run, domain, x) for text, (_, domain, x) in zip(COLUMNS, columns, strict=True)}
    return found


def page(found: dict[str, dict[str, list[Image.Image]]]) -> Image.Image:
    """Return all blocks on one page."""
    columns = sum(len(block) for block in list(found.values())[:BESIDE])
    side = (WIDTH - 2 * AROUND - BETWEEN * (BESIDE - 1) - GAP * (columns - BESIDE)) // columns
    high = TITLE + LABEL + ROWS * side + GAP * (ROWS - 1)
    lines = -(-len(found) // BESIDE)
    sheet = Image.new("RGB", (WIDTH, 2 * AROUND + lines * high + (lines - 1) * BETWEEN), GROUND)
    draw = ImageDraw.Draw(sheet)
    title, label = ImageFont.load_default(size=30), ImageFont.load_default(size=24)
    corners = rounded(side, side, CORNER)
    for number, (name, block) in enumerate(found.items()):
        line, place = divmod(number, BESIDE)
        left = AROUND + place * (len(block) * (side + GAP) - GAP + BETWEEN)
        top = AROUND + line * (high + BETWEEN)
        draw.text((left, top), name, fill=INK, font=title)
        for column, (text, shown) in enumerate(block.items()):
            x = left + column * (side + GAP)
            draw.text((x, top + TITLE), text, fill=DIM, font=label)
            for row, picture in enumerate(shown):
                large = picture.resize((side, side), Image.Resampling.BICUBIC)
                sheet.paste(large, (x, top + TITLE + LABEL + row * (side + GAP)), corners)
    sheet.putalpha(rounded(*sheet.size, 2 * CORNER))
    return sheet


def group(translator: Translator) -> Image.Image:
    """Return the group of `transgan samples` before and after its translation to the domain `old`, side by side."""
    before = Image.fromarray(photograph(FIRST_SEED))
    after = translator(before, to="old", regions="faces")
    width = (WIDTH - GAP) // 2
    sheet = Image.new("RGB", (WIDTH, width * before.height // before.width), "white")
    for place, picture in enumerate((before, after)):
        sheet.paste(picture.resize((width, sheet.height), Image.Resampling.LANCZOS), (place * (width + GAP), 0))
    return sheet


def rounded(width: int, height: int, corner: int) -> Image.Image:
    """Return a mask with rounded corners."""
    mask = Image.new("L", (4 * width, 4 * height), 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * width - 1, 4 * height - 1), 4 * corner, fill=255)
    return mask.resize((width, height), Image.Resampling.BOX)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "pictures")
    given = parser.parse_args()
    run = Run(given.run)
    page(blocks(run)).save(given.out / "conditional_face.webp", "WEBP", quality=90)
    group(run.translator).save(given.out / "group.webp", "WEBP", quality=86)
    print(f"{given.out}: {', '.join(f'{key} {value}' for key, value in run.about().items())}")


if __name__ == "__main__":
    main()
