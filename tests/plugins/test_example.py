"""The example plugin: registration, its recipe, error messages, and what its classes compute."""

import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

from transgan.api import Loss, NetworkSpec
from transgan.errors import RecipeError
from transgan.plan import Plan
from transgan.registry import Registry
from transgan.training.trace import trace_phases

FOLDER = Path(__file__).parents[2] / "plugins/example"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package, imported from its folder, as it is not installed."""
    monkeypatch.syspath_prepend(FOLDER)
    return import_module("transgan_example")


def test_entry_point_registers_the_plugins(example: ModuleType) -> None:
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["transgan"] == {"example": example.__name__}
    registry = Registry()
    registry.add(example, "example", project["name"], project["version"])
    assert {(kind, name) for kind, name in registry.entries} == {
        ("losses", "total_variation"),
        ("generators", "recolour"),
    }
    assert {entry.package for entry in registry.entries.values()} == {"transgan-example"}


def test_recipe_is_traced(example: ModuleType, planned: Callable[..., Plan]) -> None:
    plan = planned((FOLDER / "recipe.toml").read_text(), example)
    losses = {phase.side: phase.losses for phase in trace_phases(plan, plan.stages[0])}
    assert losses["generator"] == ["lsgan", "cycle", "total_variation"]
    assert losses["discriminator"] == ["lsgan"]
    assert {network.use for network in plan.networks.values()} == {"recolour", "patch"}


def test_snippet_of_the_readme_is_part_of_the_recipe(example: ModuleType) -> None:
    snippet = (FOLDER / "README.md").read_text().split("```toml\n")[1].split("```")[0]
    recipe = tomllib.loads((FOLDER / "recipe.toml").read_text())
    for table, slots in tomllib.loads(snippet).items():
        for name, slot in slots.items():
            assert slot.items() <= recipe[table][name].items()


def test_unknown_options_are_reported(example: ModuleType, planned: Callable[..., Plan]) -> None:
    text = (FOLDER / "recipe.toml").read_text().replace("power = 2.0", "powr = 2.0")
    with pytest.raises(RecipeError, match=r"\[losses\.total_variation\] powr: unknown key\. Did you mean 'power'\?"):
        planned(text, example)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_total_variation_of_a_small_image(example: ModuleType, power: float) -> None:
    cls: type[Loss] = example.TotalVariation
    loss = cls(cls.Options(power=power))
    fake = torch.tensor([[[[0.0, 1.0, 1.0], [0.0, 3.0, 0.0]]]]).repeat(2, 3, 1, 1)
    down = (torch.tensor([0.0, 2.0, 1.0]) ** power).mean()
    right = (torch.tensor([1.0, 0.0, 3.0, 3.0]) ** power).mean()
    assert torch.isclose(loss.for_generator(fake=fake), down + right)  # type: ignore[attr-defined]


def test_recolour_maps_every_pixel_independently(example: ModuleType) -> None:
    cls = example.RecolourGenerator
    torch.manual_seed(0)
    network = cls(cls.Options(), NetworkSpec(3, 3, 0, (8, 8), (), ()))
    x = torch.rand(2, 3, 8, 8)
    order = torch.randperm(64)
    expected = network(x).flatten(2)[..., order]
    assert torch.allclose(network(x.flatten(2)[..., order].reshape(x.shape)).flatten(2), expected)
    assert network(x).shape == x.shape and network(x).abs().max() <= 1
