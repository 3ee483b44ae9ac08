"""`transgan translate --DETECTOR`: regions change, the rest stays identical, and every error takes one line."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from transgan.api import DataError, Options, Region, RegionDetector, Register, Tensor, hookimpl
from transgan.inference.passes import Passes
from transgan.inference.regions import RegionSelection
from transgan.inference.translator import Translator
from transgan.registry import Registry

WriteImage = Callable[..., Path]


class BlocksOptions(Options):
    level: float = 0.9
    """The least brightness of a block."""


class Blocks(RegionDetector[BlocksOptions]):
    """White columns."""

    min_extent = 4.0
    note = "blocks are only seen in daylight"

    def detect(self, x: Tensor, min_extent: float) -> list[Region]:
        white = [i for i in range(x.shape[2]) if bool((x[:, 0, i] > self.options.level).all())]
        blocks: list[list[int]] = []
        for i in white:
            if blocks and blocks[-1][-1] == i - 1:
                blocks[-1].append(i)
            else:
                blocks.append([i])
        blocks = sorted((block for block in blocks if len(block) >= min_extent), key=len, reverse=True)
        return [Region(x[:, :, block[0] : block[-1] + 1], len(block), block[0]) for block in blocks]

    def paste(self, x: Tensor, regions: Sequence[Region], changes: Sequence[Tensor]) -> Tensor:
        y = x.clone()
        for region, change in zip(regions, changes, strict=True):
            y[:, :, region.place : region.place + change.shape[2]] += change
        return y.clamp(-1, 1)

    def mark(self, x: Tensor, regions: Sequence[Region]) -> Tensor:
        y = x.clone()
        for region in regions:
            y[0, 0, region.place] = -1
        return y


class Plugin:
    @hookimpl
    def register_region_detectors(self, register: Register) -> None:
        register("blocks", Blocks)


@pytest.fixture(autouse=True)
def registry(unread_plugins: None, monkeypatch: pytest.MonkeyPatch) -> Registry:
    found = Registry.installed()
    found.add(Plugin(), "blocks")
    monkeypatch.setattr(Registry, "installed", staticmethod(lambda: found))
    return found


@pytest.fixture
def photos(tmp_path: Path, write_image: WriteImage) -> Path:
    """A photograph with blocks of 20 and 8 pixels, and one without."""
    for name, blocks in {"two": [(5, 25), (40, 48)], "none": []}.items():
        path = write_image(tmp_path / f"in/{name}.png", (60, 40))
        array = np.array(Image.open(path)) // 2
        for left, right in blocks:
            array[:, left:right] = 255
        Image.fromarray(array).save(path)
    return tmp_path / "in"


def changed(name: str) -> list[int]:
    """Return the columns in which the result differs from the photograph."""
    before, after = (np.array(Image.open(f"{folder}/{name}.png")).astype(int) for folder in ("in", "out"))
    return [i for i in range(before.shape[1]) if (before[:, i] != after[:, i]).any()]


def test_only_regions_change_and_a_file_without_is_copied(transgan: Any, model: Path, photos: Path) -> None:
    done = transgan("translate", model, "in", "--blocks", "--to", "old", "-o", "out")
    assert (done.code, done.out) == (0, "1 of 2 translated (age: young -> old; 2 blocks) into out\n")
    assert done.err.splitlines() == ["note: blocks are only seen in daylight", "in/none.png: no blocks found; copied"]
    assert Path("out/none.png").read_bytes() == Path("in/none.png").read_bytes()
    columns = set(changed("two"))
    assert columns & set(range(5, 25))
    assert columns & set(range(40, 48))
    assert columns <= {*range(5, 25), *range(40, 48)}


@pytest.mark.parametrize("words", [("--only-largest",), ("--min-size", "10")])
def test_small_regions_can_be_skipped(transgan: Any, model: Path, photos: Path, words: tuple[str, ...]) -> None:
    done = transgan("translate", model, "in", "--regions", "blocks", *words, "--to", "old", "-o", "out")
    assert "; 1 blocks)" in done.out
    assert set(changed("two")) <= set(range(5, 25))


def test_regions_are_marked_and_options_reach_the_detector(transgan: Any, model: Path, photos: Path) -> None:
    done = transgan("translate", model, "in", "--blocks", "--show-boxes", "--to", "old", "-o", "out")
    assert done.code == 0
    assert np.array(Image.open("out/two.png"))[0, 5, 0] == 0
    done = transgan(
        "translate", model, "in", "--blocks", "--set", "level=1.0", "--to", "old", "-o", "out", "--overwrite"
    )
    assert done.out.startswith("0 of 2 translated (age: young -> old; 0 blocks)")
    assert changed("two") == []


def test_another_file_type_keeps_pixels_of_lossy_files(transgan: Any, model: Path, photos: Path) -> None:
    for path in photos.iterdir():
        Image.open(path).save(path.with_suffix(".jpg"), quality=60)
        path.unlink()
    done = transgan("translate", model, "in", "--blocks", "--to", "old", "-o", "out", "--ending", ".png")
    assert done.code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["none.png", "two.png"]
    assert np.array_equal(np.array(Image.open("out/none.png")), np.array(Image.open("in/none.jpg")))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--blokcs",), "--blokcs: no such option or region detector. Did you mean '--blocks'?"),
        (("--regions", "blokcs"), "--regions blokcs: no such region detector. Did you mean 'blocks'?"),
        (("--regions=natvie",), "--regions natvie: no such region detector. Known: blocks, faces."),
        (("--natvie",), "--natvie: no such option or region detector. Did you mean '--native'?"),
        (("--min-size", "3"), "--min-size needs a region detector: --blocks, --faces"),
        (("--only-largest",), "--only-largest needs a region detector: --blocks, --faces"),
        (("--show-boxes",), "--show-boxes needs a region detector: --blocks, --faces"),
        (("--set", "level=1.0"), "--set needs a region detector: --blocks, --faces"),
        (("--blocks", "--set", "levle=1.0"), "--set levle=1.0: unknown key. Did you mean 'level'?"),
        (("--blocks", "--set", "level=dark"), '--set level=dark: found "dark" (a string), expected a number'),
        (("--blocks", "--set", "level"), "--set level: expected key=value, such as train.steps=500"),
    ],
)
def test_errors(transgan: Any, model: Path, photos: Path, words: tuple[str, ...], message: str) -> None:
    done = transgan("translate", model, "in", "--to", "old", *words)
    *notes, line = done.err.splitlines()
    assert done.code == 2
    assert line.startswith(f"error: {message}")
    assert set(notes) <= {"note: blocks are only seen in daylight"}
    assert not Path("translated").exists()


def test_several_detectors_are_refused(transgan: Any, model: Path, photos: Path) -> None:
    done = transgan("translate", model, "in", "--blocks", "--faces", "--to", "old")
    assert done.code == 2
    assert "found 2 region detectors, expected one" in done.err


def test_regions_in_python(model: Path, photos: Path) -> None:
    translator = Translator.from_pretrained(model, "cpu")
    before = np.array(Image.open("in/two.png"))
    after = np.array(translator("in/two.png", to="old", regions="blocks"))
    assert np.array_equal(before[:, 25:40], after[:, 25:40])
    assert not np.array_equal(before[:, 5:25], after[:, 5:25])
    one = np.array(
        translator("in/two.png", to="old", regions=RegionSelection.named("blocks", {"level": 0.5}, only_largest=True))
    )
    assert np.array_equal(before[:, 25:], one[:, 25:])
    assert np.array_equal(
        np.array(translator("in/none.png", to="old", regions="blocks")), np.array(Image.open("in/none.png"))
    )


def test_identity_model_changes_no_pixel(model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions are resized for the model; detail finer than its input is kept."""
    translator = Translator.from_pretrained(model, "cpu")
    monkeypatch.setattr(Passes, "run", lambda self, batch, *words, **names: batch.rows)
    direction = translator.choose("old")
    media = translator.sides(direction)[0]
    x = media.as_tensor(media.read("in/two.png"))
    x[:, :, 5:25] = (torch.rand(3, 40, 20) * 2).round() / 127.5 + 0.95
    regions = RegionSelection.named("blocks")
    assert torch.equal(translator.translate_regions(x, regions, regions.of(x), direction), x)


def test_progress_of_many_regions_never_goes_back(model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = Translator.from_pretrained(model, "cpu")
    shares: list[float] = []

    def run(self: Any, batch: Any, request: Any, memory: Any, on_progress: Any) -> torch.Tensor:
        on_progress(0.5)
        on_progress(1.0)
        rows: torch.Tensor = batch.rows
        return rows

    monkeypatch.setattr(Passes, "_run_in_memory", run)
    translator.on_progress = shares.append
    direction = translator.choose("old")
    media = translator.sides(direction)[0]
    x = media.as_tensor(media.read("in/two.png"))
    assert x is not None
    regions = RegionSelection.named("blocks")
    translator.translate_regions(x, regions, (20 * regions.of(x))[:20], direction)
    assert len(shares) > 2 and shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


def test_a_model_knows_how_regions_are_to_be_cut_out(transgan: Any, model: Path, photos: Path, tmp_path: Path) -> None:
    """Its source declares options of detectors, which options of the command override."""
    faces = json.loads((model / "config.json").read_text(encoding="utf-8"))
    assert faces["regions"] == {"faces": {"margin": 0.6}}  # of synthetic faces
    other = tmp_path / "other"
    shutil.copytree(model, other)

    def found(regions: Any, *words: str) -> Any:
        (other / "config.json").write_text(json.dumps({**faces, "regions": regions}), encoding="utf-8")
        return transgan("translate", other, "in", "--blocks", "--to", "old", "-o", "out", "--overwrite", *words)

    assert "2 blocks" in found({}).out and "0 blocks" in found({"blocks": {"level": 1.0}}).out
    assert "2 blocks" in found({"blocks": {"level": 1.0}}, "--set", "level=0.9").out
    with pytest.raises(DataError, match=r"config\.json: regions: found \[1\]"):
        (other / "config.json").write_text(json.dumps({**faces, "regions": [1]}), encoding="utf-8")
        Translator.from_pretrained(other, "cpu")("in/two.png", to="old", regions="blocks")
    assert "options of blocks" in found({"blocks": {"levle": 1.0}}).error(2)
