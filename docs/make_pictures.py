"""Draw the pictures of the how-to pages, from finished runs on synthetic data.

    python docs/make_pictures.py runs                       all of them
    python docs/make_pictures.py runs clips many_answers    some

`runs` is a folder in which each run has the name of its recipe: `transgan run recipes/munit_shapes.toml --out
runs/munit_shapes`. Each function below draws one picture; its docstring says which runs it needs. None needs
photographs. Pictures of pages are taken by Chromium, which has to be installed.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from sheets import Block, save, sheet, strip
from transgan_faces.identities import EXPRESSION, IdentityFace
from transgan_faces.synthetic import RACES, render, sample_person
from transgan_images.label_maps import boundaries
from transgan_images.media import ImageMedia, ImageOptions
from transgan_images.shapes import Style
from transgan_images.streets import Street
from transgan_video.measures import Flicker
from transgan_video.scenes import SceneClip, SceneStyle
from transgan_video.steadying import Steadying

from transgan import Translator
from transgan.errors import TransganError
from transgan.inference.tiling import seam

HERE = Path(__file__).resolve().parent
#: A number of synthetic samples that no recipe trains on.
NEW = 9_000
PICTURES: dict[str, Callable[[Path], Image.Image]] = {}


def picture(function: Callable[[Path], Image.Image]) -> Callable[[Path], Image.Image]:
    PICTURES[function.__name__] = function
    return function


def translator(runs: Path, name: str) -> Translator:
    return Translator.from_pretrained(runs / name, "cpu")


def image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels))


@picture
def clips(runs: Path) -> Image.Image:
    """Frames of a synthetic scene, and their translations with and without `clip.steady`. Needs recycle_scenes."""
    model, shown_frames = translator(runs, "recycle_scenes"), 8
    before = SceneClip(0, NEW, SceneStyle.of({"hue": [0.0, 1.0], "ground": "waves"}))(24, 1, 64)
    plain = [np.asarray(model(image(frame), to="night", native=True).convert("RGB")) for frame in before]
    rows = {"source": list(before), "frame by frame": plain}
    for strength in (0.6, 0.9):
        steady = Steadying(strength)
        rows[f"clip.steady={strength}"] = [
            steady(*pair) for pair in zip(before, [frame.copy() for frame in plain], strict=True)
        ]
    blocks = [
        Block("", {name: [strip([image(frame) for frame in frames[4 : 4 + shown_frames]])]})
        for name, frames in rows.items()
    ]
    lines = {name: flicker_of(before, frames) for name, frames in rows.items()}
    page = sheet(blocks, side=64, width=500)
    return stacked(page, chart(lines, "flicker between neighbouring frames, levels of 0 to 255; means", 620, 170))


def flicker_of(before: Sequence[np.ndarray], frames: Sequence[np.ndarray]) -> list[float]:
    """Return the flicker from each frame to the next."""
    found = []
    for i in range(1, len(before)):
        flicker = Flicker()
        for j in (i - 1, i):
            flicker.update(np.ascontiguousarray(before[j]), np.ascontiguousarray(frames[j]))
        found.append(flicker.compute()["translated"])
    return found


@picture
def faces_in_clips(runs: Path) -> Image.Image:
    """A synthetic head that moves, as the other person, beside the truth. Needs face_off_synthetic."""
    model = translator(runs, "face_off_synthetic")
    rows: dict[str, list[Image.Image]] = {"clip of the first person": [], "as the second": [], "truth": []}
    for t in np.linspace(0, 1, 8):
        at = dict.fromkeys(EXPRESSION, 0.5) | {"yaw": 0.15 + 0.7 * t, "smile": 1 - t, "light": 0.5 + 0.3 * t}
        at |= {"mouth": abs(np.sin(2 * np.pi * t)), "eyes": 0.6, "tilt": 0.5 + 0.25 * np.sin(2 * np.pi * t)}
        face = IdentityFace(0, 9, 30.0, RACES[0], tuple(float(at[name]) for name in EXPRESSION))
        rows["clip of the first person"].append(image(face(64)))
        rows["as the second"].append(model(image(face(64)), to="second"))
        rows["truth"].append(image(replace(face, person=26)(64)))
    blocks = [Block("", {name: [strip([each.resize((88, 88)) for each in row])]}) for name, row in rows.items()]
    return sheet(blocks, side=64, width=600)


@picture
def photographs_with_faces(runs: Path) -> Image.Image:
    """A synthetic group before and after, with the squares that were found. Needs conditional_face, and YuNet."""
    from transgan.inference.regions import RegionSelection

    wall = np.linspace((204, 196, 182), (168, 176, 190), 720)[None].repeat(250, 0)
    group = image(wall.round().astype(np.uint8))
    for i, (left, top, side, turn) in enumerate(((20, 20, 200, 0), (250, 30, 210, -8), (485, 10, 220, 6))):
        head = image(render(sample_person(5, NEW + i), age=24, race=RACES[0], size=side))
        frame = Image.new("L", head.size, 255).rotate(turn, expand=True)
        group.paste(head.rotate(turn, Image.Resampling.BICUBIC, expand=True), (left, top), frame)
    model = translator(runs, "conditional_face")
    direction = model.choose(to="old")
    reader, writer = model.sides(direction)
    # Eyes and mouth of the synthetic faces of the training are farther inside than in tight crops.
    faces = RegionSelection.named("faces", {"margin": 0.35})
    item = reader.read(group)
    tensor = faces.tensor_of(item, reader)
    found = faces.of(tensor)
    print(f"{len(found)} faces found")
    after = model.translate_regions(tensor, faces, found, direction)
    older, marked = (
        writer.export(writer.with_tensor(item, each)) for each in (after, faces.detector.mark(after, found))
    )
    columns = {"source": group, "--faces --to old": older, "the same with --show-boxes": marked}
    return sheet([Block("", {name: [each.convert("RGB")]}) for name, each in columns.items()], side=1, width=740)


@picture
def many_answers(runs: Path) -> Image.Image:
    """Answers by codes, by references, and by strengths. Needs munit_shapes and conditional_face."""
    model = translator(runs, "munit_shapes")
    outline, filled = Style.of({"fill": "outline"}), Style.of({"fill": "filled", "hue": [0.0, 1.0], "free": True})
    sources = [image(outline.shape(0, NEW + i)(32)) for i in range(2)]
    seen = {"outline": sources}
    for number in range(6):
        seen[f"sample {number + 1}"] = [model(each, to="filled", samples=6, seed=7)[number] for each in sources]
    references = [image(filled.shape(0, NEW + 10 + i)(32)) for i in range(6)]
    styled = {"outline": [sources[0], sources[0]]}
    for i, each in enumerate(references):
        styled[f"reference {i + 1}"] = [each, model(sources[0], to="filled", reference=each)]
    face = translator(runs, "conditional_face")
    young = image(render(sample_person(0, NEW), age=24, race=RACES[0], size=64)).resize((128, 128), 0)
    strengths = {
        f"{x:g}": [face(young, to="old", strength=x).resize((96, 96), 0)] for x in (0, 0.25, 0.5, 0.75, 1, 1.5, 2)
    }
    return sheet(
        [
            Block("--samples 6 --seed 7", seen),
            Block("--reference: in the style of a picture, which stands above", styled),
            Block("--strength", strengths),
        ],
        width=700,
    )


@picture
def masks(runs: Path) -> Image.Image:
    """A synthetic street: labels, instances, boundaries, picture. Needs no run."""
    rows: dict[str, list[Image.Image]] = {"labels": [], "instances": [], "boundaries of instances": [], "picture": []}
    for i in range(2):
        labels, instances = Street(0, NEW + i, "labels")(128), Street(0, NEW + i, "instances")(128)
        rows["labels"].append(image(coloured(labels)))
        rows["instances"].append(image(coloured(instances)))
        edges = boundaries(torch.from_numpy(instances.astype(np.float32))[None, None])[0, 0].numpy()
        rows["boundaries of instances"].append(image((255 * edges).astype(np.uint8)))
        rows["picture"].append(image(Street(0, NEW + i, "picture")(128)))
    return sheet([Block("", rows)], side=64)


def coloured(numbers: np.ndarray) -> np.ndarray:
    """Return a colour for each number, (H, W, 3) uint8."""
    from colorsys import hsv_to_rgb

    values, index = np.unique(numbers, return_inverse=True)
    colours = [hsv_to_rgb(int(each) * 0.618034 % 1, 0.55, 0.95 - 0.3 * (int(each) % 2)) for each in values]
    return (np.array(colours)[index].reshape(*numbers.shape, 3) * 255).round().astype(np.uint8)


@picture
def some_pairs(runs: Path) -> Image.Image:
    """Hues by no pairs, by 46, by all. Needs some_pairs, some_pairs_none (`--set losses.paired=false`) and
    some_pairs_all (`--set tasks.recolour.paired.share=1.0`)."""
    prints, sketches = (recipe_style(runs / "some_pairs", name) for name in ("print", "sketch"))
    numbers = range(NEW, NEW + 5)
    columns = {"print": [image(prints.shape(0, i)(32)) for i in numbers]}
    for name, text in (("some_pairs_none", "no pairs"), ("some_pairs", "46 pairs"), ("some_pairs_all", "913 pairs")):
        model = translator(runs, name)
        columns[f"to sketch\n{text}"] = [model(each, to="sketch") for each in columns["print"]]
    columns["sketch\n(truth)"] = [image(sketches.shape(0, i)(32)) for i in numbers]
    return sheet([Block("", columns)], side=64)


def recipe_style(run: Path, domain: str) -> Style:
    import tomllib

    return Style.of(tomllib.loads((run / "recipe.toml").read_text(encoding="utf-8"))["domains"][domain])


@picture
def own_photographs(runs: Path) -> Image.Image:
    """What `fit` makes of a wide picture. Needs no run."""
    street = Street(0, NEW, "picture")
    whole = image(street(256))
    columns = {"the file, 256x128": [whole]}
    for fit in ("squash", "crop", "width", "none"):
        media = ImageMedia(ImageOptions(fit=fit, flip=False), 96)
        decoded = media.decode(lambda size: street(256))
        height, width = decoded.shape[:2]
        top, left = max(0, (height - 96) // 2), max(0, (width - 96) // 2)
        columns[f'fit = "{fit}"'] = [image(decoded[top : top + 96, left : left + 96])]
    return sheet([Block("", columns)], side=64)


@picture
def large_pictures(runs: Path) -> Image.Image:
    """A large picture as a whole, in tiles, and in squares translated by themselves. Needs cut_shapes."""
    model, side, number = translator(runs, "cut_shapes"), 32, 6
    outline = Style.of({"fill": "outline"})
    grid = np.full((number * side, 2 * number * side, 3), 200, np.uint8)
    for i in range(2 * number * number):
        row, column = divmod(i, 2 * number)
        if (row + column) % 3 or column < 3:  # unlike everywhere, so that squares differ in their statistics
            where = (slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side))
            grid[where] = outline.shape(0, NEW + i)(side)
    whole = np.asarray(model(image(grid), native=True))
    model.memory = 3_000_000
    tiled = np.asarray(model(image(grid), native=True))
    model.memory = None
    squares, cut = np.zeros_like(whole), 48
    for top in range(0, grid.shape[0], cut):
        for left in range(0, grid.shape[1], cut):
            where = (slice(top, top + cut), slice(left, left + cut))
            squares[where] = np.asarray(model(image(grid[where]), native=True))
    borders = list(range(cut, grid.shape[0], cut))
    print(
        f"largest difference of tiles from the whole: {np.abs(tiled.astype(int) - whole).max()} of 255; "
        f"seam of squares {seam(torch.from_numpy(squares.astype(np.float32)).permute(2, 0, 1), borders):.2f}, "
        f"of tiles {seam(torch.from_numpy(tiled.astype(np.float32)).permute(2, 0, 1), borders):.2f}"
    )
    columns = {"source": grid, "whole": whole, "in tiles": tiled, "squares, each by itself": squares}
    return sheet([Block("", {name: [image(each)]}) for name, each in columns.items()], side=1, width=820)


@picture
def synthetic_faces(runs: Path) -> Image.Image:
    """Synthetic people at several ages. Needs no run."""
    ages = (20, 30, 40, 50, 60, 70)
    columns = {
        f"{age} years": [
            image(render(sample_person(0, NEW + i), age=age, race=RACES[i % 4], size=88)) for i in range(3)
        ]
        for age in ages
    }
    return sheet([Block("", columns)], side=64)


@picture
def report(runs: Path) -> Image.Image:
    """The page of a run on a wide and on a narrow screen. Needs conditional_face_embedding, and Chromium."""
    page = runs / "conditional_face_embedding" / "report.html"
    found = (screenshot(page, 1280, 1000), screenshot(page, 390, 1000))
    parts = [each.resize((each.width * 56 // 100, each.height * 56 // 100), Image.Resampling.LANCZOS) for each in found]
    return strip_of(parts, 20)


@picture
def report_curves(runs: Path) -> Image.Image:
    """The curves of a run. Needs conditional_face_embedding, and Chromium."""
    page = runs / "conditional_face_embedding" / "report.html"
    found = screenshot(page, 1000, 1400, "#curves")
    return found.resize((found.width * 3 // 4, found.height * 3 // 4), Image.Resampling.LANCZOS)


def screenshot(page: Path, width: int, height: int, part: str = "") -> Image.Image:
    """Return what a browser shows of a page. A frame of the given width holds it: windows have a least width."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("error: pictures of pages need Chromium, and there is none")
    with tempfile.TemporaryDirectory() as folder:
        frame, file = Path(folder, "frame.html"), Path(folder, "page.png")
        frame.write_text(
            f'<body style="margin:0"><iframe src="{page.resolve().as_uri()}{part}" '
            f'style="border:0;width:{width}px;height:{height}px"></iframe>'
        )
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--allow-file-access-from-files", "--virtual-time-budget=8000"]
        command += [f"--window-size={max(width, 600)},{height}", f"--screenshot={file}", frame.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        return Image.open(file).convert("RGB").crop((0, 0, width, height))


def chart(lines: dict[str, list[float]], title: str, width: int, height: int) -> Image.Image:
    """Return a chart of lines over the number of a frame, from 0 on."""
    page = Image.new("RGB", (width * 2, height * 2), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=24)
    colours = ("#888888", "#c0392b", "#2471a3", "#1e8449")
    left, top, right, bottom = 60, 80, 2 * width - 20, 2 * height - 40
    most = max(max(each) for each in lines.values()) * 1.05
    draw.text((8, 4), title, fill="black", font=font)
    for share in (0, 0.5, 1):
        y = bottom - share * (bottom - top)
        draw.line((left, y, right, y), fill="#dddddd", width=2)
        draw.text((left - 8, y), f"{share * most:.1f}", fill="#444", font=font, anchor="rm")
    at = left
    for (name, values), colour in zip(lines.items(), colours, strict=False):
        points = [
            (left + i * (right - left) / (len(values) - 1), bottom - value / most * (bottom - top))
            for i, value in enumerate(values)
        ]
        draw.line(points, fill=colour, width=4, joint="curve")
        draw.line((at, 54, at + 30, 54), fill=colour, width=6)
        text = f"{name}: {np.mean(values):.1f}"
        draw.text((at + 38, 40), text, fill="black", font=font)
        at += 70 + round(font.getlength(text))
    return page.resize((width, height), Image.Resampling.LANCZOS)


def strip_of(parts: Sequence[Image.Image], gap: int) -> Image.Image:
    page = Image.new("RGB", (sum(each.width + gap for each in parts) - gap, parts[0].height), "white")
    left = 0
    for each in parts:
        page.paste(each, (left, 0))
        left += each.width + gap
    return page


def stacked(*parts: Image.Image) -> Image.Image:
    page = Image.new("RGB", (max(each.width for each in parts), sum(each.height for each in parts)), "white")
    top = 0
    for each in parts:
        page.paste(each, (0, top))
        top += each.height
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="the folder of runs, each of the name of its recipe")
    parser.add_argument("pictures", nargs="*", metavar="PICTURE", help=f"which; {', '.join(PICTURES)}")
    parser.add_argument("--out", type=Path, default=HERE / "pictures", help="folder for the pictures")
    given: Any = parser.parse_args()
    if unknown := [name for name in given.pictures if name not in PICTURES]:
        sys.exit(f"error: no picture '{unknown[0]}'; there are {', '.join(PICTURES)}")
    for name in given.pictures or PICTURES:
        try:
            drawn = PICTURES[name](given.runs)
        except TransganError as error:
            sys.exit(f"error: {name}: {error}")
        path = given.out / f"{name}.png"
        save(drawn, path)
        print(f"{path.name} {path.stat().st_size // 1000} kB", flush=True)


if __name__ == "__main__":
    main()
