"""A folder of many files: those of one size go through the network together, with the results of one file alone."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from transgan.inference.passes import Passes
from transgan.inference.translator import Translator
from transgan.inference.variation import PLAIN

SIZES = [(64, 64)] * 9 + [(40, 32), (33, 47)] * 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for number, (width, height) in enumerate(SIZES):
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        small.resize((width, height), Image.Resampling.BICUBIC).save(tmp_path / f"in/{number:02}.png")
    return tmp_path / "in"


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The samples of each pass of a network."""
    counts: list[int] = []
    real = Passes.run

    def run(self: Any, batch: Any, *arguments: Any, **named: Any) -> Any:
        if not batch.rows.is_meta:
            counts.append(len(batch.rows))
        return real(self, batch, *arguments, **named)

    monkeypatch.setattr(Passes, "run", run)
    return counts


@pytest.mark.parametrize("native", [False, True])
def test_a_folder_is_translated_as_its_files_are(
    transgan: Any, model: Path, folder: Path, passes: list[int], native: bool
) -> None:
    """The reference is the library's call of one file: the same numbers but for rounding, so the same levels or the
    neighbouring one."""
    done = transgan("translate", model, folder, "--to", "old", "-o", "out", *["--native"][: int(native)])
    assert done.out == f"{len(SIZES)} of {len(SIZES)} translated (age: young -> old) into out\n" and done.err == ""
    assert sorted(passes) == [3, 3, 9]
    translator = Translator.from_pretrained(model)
    for path in sorted(folder.iterdir()):
        expected = np.asarray(translator(path, to="old", native=native)).astype(int)
        found = np.asarray(Image.open(Path("out") / path.name)).astype(int)
        assert found.shape == expected.shape and abs(found - expected).max() <= 1
        assert (found != expected).mean() < 0.001


def test_outputs_together_are_those_of_each(model: Path, folder: Path) -> None:
    translator = Translator.from_pretrained(model)
    direction = translator.choose("old")
    encoded = translator.encode_attributes(direction)
    read = translator.sides(direction)[0].read
    prepared = [translator.prepare(read(path), direction, True, PLAIN) for path in sorted(folder.iterdir())]
    together = translator.outputs(prepared, direction, encoded, PLAIN)
    for each, y in zip(prepared, together, strict=True):
        (alone,) = translator.outputs([each], direction, encoded, PLAIN)
        torch.testing.assert_close(y, alone, rtol=0, atol=1e-5)


def test_memory_bounds_how_many_go_through_together(
    transgan: Any, model: Path, folder: Path, passes: list[int]
) -> None:
    """What one file may take without tiles, many files may not take together."""
    done = transgan("translate", model, folder, "--to", "old", "-o", "out", "--memory", "300kB")
    assert done.code == 0 and done.err == ""  # no word of tiles
    assert max(passes) < 9


def test_an_interruption_leaves_whole_files_only(
    transgan: Any, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Translator.outputs, []

    def interrupted(self: Any, *arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr("transgan.inference.ahead.AT_ONCE", 4)
    monkeypatch.setattr(Translator, "outputs", interrupted)
    done = transgan("translate", model, folder, "--to", "old", "-o", "out")
    assert done.code == 130
    written = sorted(Path("out").iterdir())
    assert len(written) <= 4
    for path in written:
        Image.open(path).load()
    assert not [each for each in threading.enumerate() if each.name.startswith("write")]


def test_lines_of_errors_come_in_the_order_of_files(transgan: Any, model: Path, folder: Path) -> None:
    for number in (2, 5, 11):
        (folder / f"{number:02}.png").write_bytes(b"no image")
    done = transgan("translate", model, folder, "--to", "old", "-o", "out")
    assert done.code == 3
    assert done.err.splitlines()[:3] == [
        f"error: {folder}/{number:02}.png: not an image that can be read" for number in (2, 5, 11)
    ]


def test_files_that_are_not_read_are_named(transgan: Any, model: Path, folder: Path) -> None:
    """By their endings, and once: hidden files and earlier results are not among them."""
    for name in ("a.heic", "b.HEIC", "c.pgm", "README", ".DS_Store"):
        (folder / name).write_bytes(b"x")
    (folder / "gone.png").symlink_to("nowhere.png")
    for _ in range(2):
        done = transgan("translate", model, folder, "--to", "old", "-o", folder / "out", "--overwrite")
        assert done.out.startswith(f"{len(SIZES)} of {len(SIZES)} translated")
        assert done.err.splitlines() == [
            "note: skipped files: .heic: 2 (a.heic, b.HEIC); no ending: 1 (README); .pgm: 1 (c.pgm); "
            "a broken link: 1 (gone.png)"
        ]
        (folder / "out/notes.txt").write_text("mine")
