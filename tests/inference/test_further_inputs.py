"""Models that translate a file together with another one, such as its mask: at use, and when they are measured."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from transgan import Translator
from transgan.api import Call, Conditions, Loss, Nodes, Register, hookimpl, node
from transgan.errors import DataError, UsageError
from transgan.evaluation.model import measure_model
from transgan.registry import Registry

RECIPE = """
[data]
source = "folders"
media = { use = "image", flip = false }
size = 16
held_out = 0.25
[domains]
a = "a"
b = "b"
[inputs.mask]
domains = { a = "masks", b = "masks" }
media = { channels = 1, labels = true }
[tasks.t]
between = ["a", "b"]
paired = "held_out"
[train]
steps = 2
batch = 2
[generators.g]
use = "resnet"
per = "translation"
width = 4
blocks = 1
[losses]
near = 1.0
[[phases]]
side = "generator"
[metrics]
paired_error = true
"""


class MaskedNodes(Nodes):
    """Translates within the mask, and keeps the sample elsewhere."""

    @node
    def inside(self, source: Tensor, task: Tensor, target_domain: Tensor) -> Call:
        return Call("generator", source, {"task": task, "domain": target_domain})

    @node
    def fake(self, source: Tensor, source_mask: Tensor, inside: Tensor) -> Tensor:
        return torch.where(source_mask > 0, inside, source)


class TrainingOnlyNodes(Nodes):
    @node
    def fake(self, source: Tensor, other_target: Tensor, to_target: Conditions) -> Call:
        return Call("generator", source + other_target, to_target)

    @node
    def to_target(self, task: Tensor) -> Conditions:
        return {"task": task}


class Near(Loss):
    def for_generator(self, fake: Tensor, target: Tensor) -> Tensor:
        return (fake - target).abs().mean()


class Plugin:
    @hookimpl
    def register_nodes(self, register: Register) -> None:
        register("masked", MaskedNodes)
        register("training_only", TrainingOnlyNodes)

    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("near", Near)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise in two folders, and masks that cover the left side."""
    root, noise = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name in ("a", "b", "masks"):
        (root / name).mkdir()
    for number in range(12):
        for name in ("a", "b"):
            picture = noise.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(picture).save(root / name / f"{number:02}.png")
        mask = np.zeros((16, 16), np.uint8)
        mask[:, : 4 + number % 3] = 255
        Image.fromarray(mask).save(root / "masks" / f"{number:02}.png")
    return root


@pytest.fixture(scope="module")
def installed() -> Iterator[None]:
    registry = Registry.installed()
    registry.add(Plugin(), "of_this_test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registry, "installed", staticmethod(lambda: registry))
        yield


@pytest.fixture(scope="module")
def train(
    trained: Any, pictures: Path, installed: None, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    def run(nodes: str) -> Path:
        folder = tmp_path_factory.mktemp(nodes)
        (folder / "recipe.toml").write_text(f'nodes = "{nodes}"\n{RECIPE}')
        inputs = ("inputs={}",) if nodes == "training_only" else ()
        root = f'data.root="{pictures}"'
        trained(folder / "recipe.toml", folder / "run", root, *inputs)
        return folder / "run"

    return run


@pytest.fixture(scope="module")
def masked(train: Callable[[str], Path]) -> Path:
    return train("masked")


def pixels(image: Any) -> np.ndarray:
    return np.asarray(image).astype(int)


def test_a_file_is_translated_together_with_its_mask(masked: Path, pictures: Path) -> None:
    translator = Translator.from_pretrained(masked)
    file, mask = pictures / "a" / "01.png", pictures / "masks" / "01.png"
    before, after = pixels(Image.open(file)), pixels(translator(file, to="b", inputs={"mask": mask}))
    assert np.array_equal(before[:, 5:], after[:, 5:]) and np.abs(before[:, :5] - after[:, :5]).max() > 2
    whole = pixels(translator(file, to="b", inputs={"mask": Image.new("L", (16, 16), 255)}))
    assert np.array_equal(whole[:, :5], after[:, :5]) and np.abs(before[:, 5:] - whole[:, 5:]).max() > 2


def test_several_files_have_as_many_masks(masked: Path, pictures: Path) -> None:
    translator = Translator.from_pretrained(masked)
    files, masks = ([pictures / folder / f"{number:02}.png" for number in range(3)] for folder in ("a", "masks"))
    together = translator(files, to="b", inputs={"mask": masks})
    for file, mask, each in zip(files, masks, together, strict=True):
        assert np.abs(pixels(translator(file, to="b", inputs={"mask": mask})) - pixels(each)).max() <= 1
    with pytest.raises(UsageError, match=r"item 2 has none; expected one for each item"):
        translator(files, to="b", inputs={"mask": masks[:2]})
    with pytest.raises(UsageError, match=r"more than the 2 items"):
        translator(files[:2], to="b", inputs={"mask": masks})
    with pytest.raises(UsageError, match=r"^inputs=\"mask\": item 0 has none; expected one for each item"):
        translator(files, to="b", inputs={"mask": str(mask)})


def test_a_model_without_its_mask_says_what_it_needs(masked: Path, pictures: Path) -> None:
    translator = Translator.from_pretrained(masked)
    file = pictures / "a" / "01.png"
    with pytest.raises(
        UsageError, match=r"translates a file together with its 'mask'; give it with inputs=\{\"mask\": PATH\}"
    ):
        translator(file, to="b")
    with pytest.raises(UsageError, match=r"inputs=\"masc\": \[t: a -> b\] of this model takes no such input.* mask"):
        translator(file, to="b", inputs={"masc": file})
    with pytest.raises(UsageError, match=r"^inputs is of a whole file, and only regions are translated"):
        translator(file, to="b", inputs={"mask": file}, regions="faces")


def test_a_mask_of_another_size_is_said_with_the_sizes_that_were_given(masked: Path, pictures: Path) -> None:
    translator = Translator.from_pretrained(masked)
    file, mask = pictures / "a" / "01.png", Image.open(pictures / "masks" / "01.png")
    wrong = np.zeros((8, 9), np.uint8)
    sizes = r"the 'mask' is \(8, 9\), and the item \(16, 16\); expected one size$"
    with pytest.raises(DataError, match=f"^{sizes}"):
        translator(file, to="b", inputs={"mask": wrong})
    with pytest.raises(DataError, match=f"^{re.escape(str(file))}: {sizes}"):
        translator([str(file)] * 2, to="b", inputs={"mask": [mask, wrong]})
    with pytest.raises(DataError, match=f"^item 1: {sizes}"):
        translator([Image.open(file)] * 2, to="b", inputs={"mask": [mask, wrong]})


def test_the_command_finds_masks_by_name(
    masked: Path, pictures: Path, tmp_path: Path, run_cli: Any, capfd: Any
) -> None:
    words = ["translate", masked, pictures / "a", "--to", "b", "--out", tmp_path / "out"]
    assert run_cli(*words, "--input", f"mask={pictures / 'masks'}") == 0
    for number in range(12):
        name = f"{number:02}.png"
        before, after = (pixels(Image.open(folder / name)) for folder in (pictures / "a", tmp_path / "out"))
        wide = 4 + number % 3
        assert np.array_equal(before[:, wide:], after[:, wide:]) and np.abs(before - after).max() > 2
    capfd.readouterr()
    assert run_cli(*words) == 2
    assert capfd.readouterr().err.strip().endswith("--input mask=FOLDER")
    for value, said in ((f"mask={tmp_path / 'none'}", "does not exist"), ("mask", "expected NAME=FOLDER")):
        assert run_cli(*words, "--input", value) == 2
        assert said in capfd.readouterr().err
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "03.png").write_bytes((pictures / "masks" / "03.png").read_bytes())
    words[-1] = tmp_path / "other"
    assert run_cli(*words, "--input", f"mask={tmp_path / 'few'}") == 3
    errors = capfd.readouterr().err
    assert "few/01: there is no such file, the 'mask' of 01.png" in errors and "11 of 12 files could not" in errors


def test_a_measured_model_has_the_masks_of_its_recipe(masked: Path, pictures: Path, installed: None) -> None:
    figures = measure_model(masked, None, (), "cpu").result["translations"]["t: a -> b"]
    assert 0 < figures["paired_error"] < 1
    there = measure_model(masked / "model", pictures, (), "cpu").result["translations"]["t: a -> b"]
    assert there == figures
    with pytest.raises(DataError, match=r"\[inputs.mask\] a: there is no folder"):
        measure_model(masked, None, ("inputs.mask.domains.a='nothing'",), "cpu")


def test_nodes_that_need_what_only_training_has_say_so(train: Callable[[str], Path], pictures: Path) -> None:
    translator = Translator.from_pretrained(train("training_only"))
    with pytest.raises(UsageError, match="cannot translate files: its nodes need 'other_target', which only training"):
        translator(pictures / "a" / "01.png", to="b")
