"""Draw the pictures of README: held-out samples of a run, what its model makes of them and the truth; and a group.

    python docs/make_hero.py runs/conditional_face-1

Of each translation it shows the first held-out samples, so nobody chooses them. The picture is twice as wide as a page
of GitHub shows it, on a ground that can be read in light and dark mode. The group is that of `transgan samples`, before
and after `translate --faces`. It prints the caption: recipe, steps, minutes.
"""

import argparse
import json
import tomllib
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from transgan_faces.examples import FIRST_SEED, MARGIN
from transgan_faces.gathering import photograph
from transgan_images.media import shown

from transgan import Translator
from transgan.data.domains import Domains
from transgan.evaluation.evaluate import preview_columns
from transgan.evaluation.model import evaluation_plan
from transgan.inference.regions import RegionSelection
from transgan.networks import Networks
from transgan.reporting.curves import Curves

#: Width in pixels; pictures of a translation; and of a row of blocks.
WIDTH, ROWS, BESIDE = 1760, 2, 2
#: Between pictures, between blocks, and around all; height of a title and of a label; radius of corners.
GAP, BETWEEN, AROUND, TITLE, LABEL, CORNER = 8, 44, 36, 44, 36, 10
GROUND, INK, DIM = "#f6f8fa", "#1f2328", "#59636e"


def blocks(folder: Path) -> dict[str, dict[str, list[Image.Image]]]:
    """Return pictures by translation and column."""
    translator = Translator.from_pretrained(folder, "cpu")
    plan = evaluation_plan(translator.config, folder, None, [])
    domains = Domains(plan)
    domains.statistics.update(translator.statistics)
    networks = Networks(plan, "cpu", translator.networks)
    found: dict[str, dict[str, list[Image.Image]]] = {}
    for name, column in preview_columns(plan, domains, networks, ROWS, "cpu", translator.clock).items():
        _, kind = name.split("\n")
        if kind == "(source)":
            direction = plan.directions[len(found)].translation
            block = found.setdefault(f"{direction.source} to {direction.target}", {})
        label = {"(source)": "source", "(translated)": "translated", "(ground truth)": "truth"}[kind]
        block[label] = [Image.fromarray(shown(each)) for each in column.items]
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
        for column, (text, pictures) in enumerate(block.items()):
            x = left + column * (side + GAP)
            draw.text((x, top + TITLE), text, fill=DIM, font=label)
            for row, picture in enumerate(pictures):
                large = picture.resize((side, side), Image.Resampling.BICUBIC)
                sheet.paste(large, (x, top + TITLE + LABEL + row * (side + GAP)), corners)
    sheet.putalpha(rounded(*sheet.size, 2 * CORNER))
    return sheet


def group(folder: Path) -> Image.Image:
    """Return the group of `transgan samples` before and after its translation to the domain `old`, side by side."""
    translator = Translator.from_pretrained(folder, "cpu")
    before = Image.fromarray(photograph(FIRST_SEED))
    after = translator(before, to="old", regions=RegionSelection.named("faces", {"margin": MARGIN}))
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


def caption(folder: Path) -> str:
    """Return what made the model: recipe, steps, minutes, and of what."""
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    recipe = tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
    curves = Curves()
    curves.update(map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()))
    what = f"{result['recipe']}, seed {recipe['train']['seed']}"
    return f"{what}: {result['steps']} steps, {curves.seconds / 60:.1f} minutes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "pictures")
    given = parser.parse_args()
    page(blocks(given.run)).save(given.out / "conditional_face.webp", "WEBP", quality=90)
    group(given.run).save(given.out / "group.webp", "WEBP", quality=86)
    print(f"{given.out}: {caption(given.run)}")


if __name__ == "__main__":
    main()
