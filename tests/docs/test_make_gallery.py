"""The gallery: it shows held-out samples, what a model makes of them, and the truth; the page says of which run."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transgan_images.shapes import Style

from transgan import Translator
from transgan.data.domains import Domains
from transgan.plan import make_plan
from transgan.recipe import read_recipe
from transgan.registry import Registry

ROOT = Path(__file__).resolve().parents[2]
GALLERY = ROOT / "docs/gallery.md"

RECIPE = """
[data]
source = { use = "synthetic_shapes", count = 60 }
media = { use = "image", flip = false }
size = 32
held_out = 0.2
[domains]
outline = { fill = "outline" }
filled = { fill = "filled", hue = 0.6 }
[tasks]
paint = { between = ["outline", "filled"] }
[train]
steps = 1
batch = 2
[generators]
resnet = { width = 4, blocks = 0, output = "residual" }
[discriminators]
patch = { width = 4, layers = 1 }
[losses]
lsgan = 1.0
cycle = 1.0
"""


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules `make_gallery` and `sheets`."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    import make_gallery
    import sheets

    return make_gallery, sheets


def test_a_picture_has_held_out_samples_their_translations_and_the_truth(
    scripts: Any,
    recipe_file: Callable[[str], Path],
    trained: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_gallery, _ = scripts
    recipe = recipe_file(RECIPE)
    trained(recipe, tmp_path / "run")
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["make_gallery.py", str(tmp_path / "run"), "--out", str(tmp_path)])
    make_gallery.main()
    assert capsys.readouterr().out.startswith("recipe.png ")
    with Image.open(tmp_path / "recipe.png") as page:
        assert page.text == {"recipe": "recipe", "steps": "1", "seed": "0", "minutes": "1"}  # type: ignore[attr-defined]

    forward, back = make_gallery.blocks_of(make_gallery.Run(tmp_path / "run"))
    assert (forward.title, back.title) == ("outline -> filled", "filled -> outline")
    assert list(forward.columns) == ["outline", "to filled", "filled\n(truth)"]
    held_out = Domains(make_plan(read_recipe(recipe), Registry.installed()))["outline"].held_out
    numbers = [int(re.findall(r"\d+", sample.key)[-1]) for sample in held_out]
    model = Translator.from_pretrained(tmp_path / "run", "cpu")
    styles = Style.of({"fill": "outline"}), Style.of({"fill": "filled", "hue": 0.6})
    columns = [[np.asarray(each).astype(int) for each in column] for column in forward.columns.values()]
    for number, source, fake, truth in zip(numbers, *columns, strict=False):
        expected, answer = (style.shape(0, number)(32) for style in styles)
        assert np.abs(source - expected).max() <= 1
        assert np.abs(truth - answer).max() <= 1
        assert np.abs(fake - np.asarray(model(Image.fromarray(expected), to="filled"))).max() <= 1
    assert len(columns[0]) == 3


def test_blocks_stand_side_by_side_where_there_is_room(scripts: Any) -> None:
    _, sheets = scripts
    blocks = [
        sheets.Block("", {"x": [Image.new("RGB", (10, 10), color) for color in ("red", "lime")]}),
        sheets.Block("", {"x": [Image.new("RGB", (10, 10), "blue")], "y": []}),
    ]
    top = 2 * sheets.GAP + sheets.LINE
    for width, left_of_second, top_of_second in ((200, 28 + sheets.BETWEEN, 0), (60, 0, top + 48 + sheets.BETWEEN)):
        page = np.asarray(sheets.sheet(blocks, side=20, width=width))
        for left, upper, color in (
            (0, 0, (255, 0, 0)),
            (0, 20 + sheets.GAP, (0, 255, 0)),
            (left_of_second, top_of_second, (0, 0, 255)),
        ):
            part = page[upper + top : upper + top + 20, left + sheets.GAP : left + sheets.GAP + 20]
            assert (part == color).all(), (width, color)


def test_a_picture_that_is_too_large_is_none(scripts: Any, tmp_path: Path) -> None:
    _, sheets = scripts
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3)).astype(np.uint8)
    with pytest.raises(ValueError, match="more than 110000; show fewer pictures"):
        sheets.save(Image.fromarray(noise), tmp_path / "a.png")


def test_the_page_says_of_which_run_each_picture_is() -> None:
    """The kind: a picture is made again, and the page has the facts of the one before."""
    sections = re.split(r"^## ", GALLERY.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    for section in sections:
        file = re.search(r"\]\((pictures/gallery/\w+\.png)\)", section)
        said = re.search(r"`(\w+)\.toml`, ([\d,]+) steps, seed (\d+), (\d+) minutes?", section)
        assert file and said, section[:80]
        with Image.open(GALLERY.parent / file[1]) as picture:
            facts = picture.text  # type: ignore[attr-defined]
        expected = [facts[key] for key in ("recipe", "steps", "seed", "minutes")]
        assert [said[1], said[2].replace(",", ""), said[3], said[4]] == expected
        assert f"recipes/{said[1]}.toml" in section
        if "--set train.steps" not in section and "git checkout" not in section:  # of a recipe as it was
            recipe = read_recipe(ROOT / "recipes" / f"{said[1]}.toml").recipe
            assert (recipe.train.steps, recipe.train.seed) == (int(expected[1]), int(expected[2]))
    assert len(sections) == len(list((ROOT / "docs/pictures/gallery").glob("*.png")))
