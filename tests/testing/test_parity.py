"""`assert_matches_loop`: a recipe and a hand-written loop have the same weights, or it says which differ."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from transgan.errors import RecipeError, UsageError
from transgan.testing import assert_matches_loop

RECIPE = """
train = { steps = 9, batch = 2 }
optimizers.generator = { lr = 1e-3, betas = [0.5, 0.9] }
optimizers.discriminator = { lr = 1e-3, betas = [0.5, 0.9] }
[tasks.age]
from = "young"
to = "old"
[generators.g]
use = "resnet"
width = 4
blocks = 1
[discriminators.d]
use = "patch"
width = 4
layers = 1
[losses]
lsgan = 1.0
identity = 3.0
"""


def loop_with(weight: float, trains_d: bool = True) -> Callable[..., None]:
    def loop(networks: Mapping[str, Any], batches: Sequence[Mapping[tuple[str, str], Tensor]]) -> None:
        g, d = networks["g"], networks["d.old"]
        of_g, of_d = (torch.optim.Adam(each.parameters(), 1e-3, (0.5, 0.9)) for each in (g, d))
        for batch in batches:
            source, target = batch["age", "young"], batch["age", "old"]
            assert source.dtype == torch.float64 and source.shape == (2, 3, 16, 16)
            fake = g(source)
            of_g.zero_grad()
            ((d(fake).logits[0] - 1).square().mean() + weight * (g(target) - target).abs().mean()).backward()
            of_g.step()
            of_d.zero_grad()
            real, false = d(target).logits[0], d(fake.detach()).logits[0]
            (0.5 * ((real - 1).square().mean() + false.square().mean())).backward()
            if trains_d:
                of_d.step()

    return loop


def test_a_recipe_matches_the_loop_that_it_describes(recipe_file: Callable[[str], Path]) -> None:
    recipe = recipe_file(RECIPE)
    assert_matches_loop(recipe, loop_with(3.0))
    assert_matches_loop(recipe, loop_with(2.0), overrides=["losses.identity=2.0"], steps=2)


def test_it_says_which_network_differs(recipe_file: Callable[[str], Path]) -> None:
    recipe = recipe_file(RECIPE)
    with pytest.raises(AssertionError, match=r"^g: .* differs by .* after 1 steps$"):
        assert_matches_loop(recipe, loop_with(3.1), steps=1)
    with pytest.raises(AssertionError, match=r"^d\.old: .* differs by"):
        assert_matches_loop(recipe, loop_with(3.0, trains_d=False), steps=1)
    with pytest.raises(AssertionError, match=r"g: was not trained"):
        assert_matches_loop(recipe, loop_with(3.0), overrides=['train.freeze=["g"]'], steps=1)


def test_what_a_loop_would_not_be_given_is_said(recipe_file: Callable[[str], Path]) -> None:
    recipe = recipe_file(RECIPE + "[attributes]\nage = { from = 20, to = 60 }\n")
    with pytest.raises(UsageError, match="by task and domain alone"):
        assert_matches_loop(recipe, loop_with(3.0))


def test_mistakes_of_the_recipe_are_those_of_other_commands(recipe_file: Callable[[str], Path]) -> None:
    with pytest.raises(RecipeError, match="Did you mean 'identity'"):
        assert_matches_loop(recipe_file(RECIPE), loop_with(3.0), overrides=["losses.identiy=1.0"])
