"""`transgan data check`: what is wrong with a folder or with the data of a recipe, on the terminal and as JSON."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

RECIPE = """
[data]
source = "folders"
root = "{root}"
size = 32
[domains]
young = {{ path = "young", held_out = "young/test" }}
old = "old"
[tasks.age]
between = ["young", "old"]
[train]
steps = 1
[generators.g]
use = "resnet"
width = 2
blocks = 0
[losses]
cycle = 1.0
[[phases]]
side = "generator"
"""


def picture(seed: int) -> Image.Image:
    """Return a picture unlike that of any other seed: random patches."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((64, 48), Image.Resampling.BICUBIC)


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one fault of each kind, among files without."""
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "data"
    for number, folder in enumerate(("young", "young/test", "old")):
        (root / folder).mkdir(parents=True)
        for i in range(8):
            picture(100 * number + i).save(root / folder / f"{folder[0]}{number}{i}.png")
    (root / "young/cut.png").write_bytes((root / "young/y00.png").read_bytes()[:500])
    (root / "young/empty.jpg").write_bytes(b"")
    (root / "old/page.jpg").write_text("<html>")
    shutil.copy(root / "young/y01.png", root / "young/copy.png")
    shutil.copy(root / "young/y02.png", root / "old/of young.png")
    picture(3).resize((32, 24)).save(root / "young/test/like y03.jpg", quality=70)
    Image.new("RGB", (64, 48), "black").save(root / "old/black.png")
    picture(999).resize((20, 16)).save(root / "old/small.png")
    picture(998).convert("L").save(root / "old/grey.png")
    (root / "young/photo.heic").write_bytes(b"x")
    (root / "young/.ipynb_checkpoints").mkdir()
    picture(5).save(root / "young/.ipynb_checkpoints/x.png")
    return root


@pytest.fixture
def checked(run_cli: Any, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """`checked(*words)`: the exit code and stdout of `transgan data check`."""

    def check(*words: object) -> tuple[int, str]:
        code = run_cli("data", "check", *words)
        return code, capsys.readouterr().out

    return check


def test_a_recipes_data_is_checked(bad: Path, tmp_path: Path, checked: Any) -> None:
    """The kind: each fault of a file, of two files, and of two domains or splits; each is counted and named."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.format(root=bad.as_posix()))
    code, text = checked(recipe)
    assert code == 0
    expected = [
        "skipped files: ",
        "hidden: 1 (.ipynb_checkpoints)",
        "ending in .heic: 1 (photo.heic)",
        "domain young: 11 samples, 9 held out; media image",
        "not trained on: 9 samples of 20: test/like y03, test/y10, test/y11 and 6 more",
        "warning: [tasks.age] domains young and old share 1 sample: y02",
        "domain young: 2 of 20 files cannot be read: ",
        "cut.png: cannot be read: image file is truncated",
        "empty.jpg: an empty file",
        "domain old: 1 of 13 files cannot be read: ",
        "page.jpg: not an image that can be read",
        "domain old: one colour only: 1 file: old/black.png",
        "domain old: smaller than data.size: 1 file: old/small.png",
        "2 files with the same content as another: young/copy.png = young/y01.png, young/y02.png = old/of young.png",
        "1 group of near-duplicates: young/y03.png ~ young/test/like y03.jpg",
        "similar samples on both sides of the split, so that figures on held-out samples are too good: 1 group: "
        "young/y03.png ~ young/test/like y03.jpg",
        "similar samples in several of the domains young, old: 1 group: young/y02.png ~ old/of young.png",
        "1 grey, 8 bits",
    ]
    assert [line for line in expected if line not in text] == []
    figures = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.startswith("  ")}
    assert figures["width"][:3] == ["20", "64", "64"]
    code, again = checked(recipe, "--strict")
    assert (code, again) == (3, text)  # now from the cache


def test_a_folder_is_checked_without_a_recipe(bad: Path, checked: Any) -> None:
    code, text = checked(bad, "--json")
    assert code == 0
    found = json.loads(text)
    assert set(found["domains"]) == {"young", "old"}
    young = found["domains"]["young"]
    assert (young["samples"], young["held_out"], young["media"]) == (20, 0, "image")
    assert set(young["unreadable"]) == {str(bad / "young/cut.png"), str(bad / "young/empty.jpg")}
    assert [str(bad / "young/copy.png"), str(bad / "young/y01.png")] in found["copies"]
    assert [str(bad / "young/test/like y03.jpg"), str(bad / "young/y03.png")] in map(sorted, found["near_duplicates"])
    assert found["domains"]["old"]["remarks"] == {"one colour only": [str(bad / "old/black.png")]}
    assert found["domains"]["old"]["figures"]["height"] == {"least": 16, "median": 48, "largest": 48, "mean": 45.3333}


def test_data_without_faults_passes_the_strict_check(tmp_path: Path, checked: Any) -> None:
    for i in range(4):
        (tmp_path / "some").mkdir(exist_ok=True)
        picture(i).save(tmp_path / "some" / f"{i}.png")
    code, text = checked(tmp_path / "some", "--strict")
    assert code == 0 and "domain some: 4 samples" in text and text.endswith("Nothing was found that is wrong.\n")


def test_labels_and_sizes_of_domains_are_counted(recipe_file: Any, checked: Any) -> None:
    text = "[train]\nsteps = 1\n[generators.g]\nuse = 'resnet'\nwidth = 2\nblocks = 0\n[losses]\ncycle = 1.0\n"
    sides = ("domains.young={age=[20, 30]}", "domains.old={age=[50, 53]}", "data.held_out=0")
    code, printed = checked(recipe_file(text), *(word for each in sides for word in ("--set", each)))
    assert code == 0
    assert "domain young: 12 samples, 0 held out, 12 of them synthetic; media image" in printed
    assert "label race: White 6, Black 6" in printed
    assert "warning: domains differ in size: young has 12 samples, old 1" in printed


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--set", "data.size=8"], 2, "--set changes a recipe, and"),
        (["--media", "imag"], 2, "there is no such media. Did you mean 'image'?"),
        (["--media", "voice"], 3, "no files that the media voice reads; found 1 ending in .png"),
    ],
)
def test_what_cannot_be_checked_is_reported(
    tmp_path: Path, run_cli: Any, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    picture(0).save(tmp_path / "0.png")
    assert run_cli("data", "check", tmp_path, *words) == code
    assert message in capsys.readouterr().err


def test_files_are_inspected_once(bad: Path, checked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from transgan_images.media import ImageMedia

    read: list[str] = []
    reading = ImageMedia.read
    monkeypatch.setattr(ImageMedia, "read", lambda self, item: read.append(Path(item).name) or reading(self, item))
    checked(bad)
    assert len(read) == 33
    read.clear()
    picture(12345).save(bad / "old/o20.png")
    checked(bad)
    assert read == ["o20.png"]


def test_an_error_of_any_kind_costs_one_file(bad: Path, checked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from transgan_images.media import ImageMedia

    reading = ImageMedia.read

    def failing(self: Any, item: Any) -> Any:
        if Path(item).name == "y04.png":
            raise ZeroDivisionError("odd\nfile")
        return reading(self, item)

    monkeypatch.setattr(ImageMedia, "read", failing)
    code, text = checked(bad)
    assert code == 0 and "y04.png: ZeroDivisionError: odd file" in text


def test_a_folder_without_samples_is_said(transgan: Any, tmp_path: Path) -> None:
    (tmp_path / "animals/dogs").mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(tmp_path / "animals/dogs/1.png")
    (tmp_path / "animals/cats").mkdir()
    assert "domain cats: no files that the media image reads" in transgan("data", "check", "animals").out
