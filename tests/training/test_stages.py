"""Stages: each with a size, batch, losses and learning rates of its own; weights are carried over."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from transgan import storage
from transgan.api import Loss, Register, hookimpl
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.errors import RecipeError
from transgan.recipe import Document, Problems, write_recipe
from transgan.training import Engine

RECIPE = """
[data]
source = { use = "synthetic_faces", count = 24 }
size = 32
[train]
steps = 6
batch = 2
log_every = 1
ema = 0.5
[optimizers]
generator.lr = 1e-3
[generators]
g = { use = "resnet", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", width = 4, layers = 1, history = 4 }
[losses]
lsgan = 1.0
cycle = { from = 10.0, to = 2.0, between = [0, 4] }
identity = 5.0
[[stages]]
share = 0.5
size = 16
batch = 4
losses = { identity = 0.0 }
[[stages]]
share = 0.5
optimizers = { generator = { lr = 5e-4 } }
"""


def test_each_stage_has_its_own_size_batch_losses_and_learning_rates(
    trained: Any, recipe_file: Any, tmp_path: Path
) -> None:
    saved = trained(recipe_file(RECIPE), tmp_path / "run")
    records = storage.read_metrics(tmp_path / "run" / "metrics.jsonl")
    first, last = (next(each for each in records if each["step"] == step and "epoch" in each) for step in (2, 5))
    assert first["lr/generator"] == 1e-3
    assert last["lr/generator"] == 5e-4
    assert "age: young -> old/loss_G/identity" not in first
    assert "age: young -> old/loss_G/identity" in last
    assert first["weight/cycle"] == 8.0  # of the second step, whose clock is at 1 step
    assert last["weight/cycle"] == 2.0
    assert saved.state["samples"] == 3 * 4 + 3 * 2
    assert {pool.shape[-1] for pool in saved.groups["history"].values()} == {32}


PRETRAINED = """
[train]
steps = 4
batch = 2
[generators]
g = { use = "resnet", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", width = 4, layers = 1 }
[losses]
lsgan = 1.0
identity = 5.0
[[stages]]
share = 0.5
phases = [{ side = "generator", losses = ["identity"] }]
[[stages]]
share = 0.5
"""


def test_a_stage_may_have_phases_of_its_own(planned: Any) -> None:
    """Pretraining: the first stage trains the generator alone, by the identity loss alone."""
    plan = planned(PRETRAINED)
    engine = Engine(plan)
    before = {name: network.state_dict() for name, network in engine.networks.items()}
    before = {name: {key: value.clone() for key, value in state.items()} for name, state in before.items()}
    seen = []
    for step, losses in engine.train(Batches(plan, Domains(plan))):
        seen.append({name.rpartition("/")[2] for name in losses})
        changed = {
            name
            for name, network in engine.networks.items()
            if any(not torch.equal(value, before[name][key]) for key, value in network.state_dict().items())
        }
        assert changed == ({"g"} if step <= 2 else {"g", "d.young", "d.old"})
    assert seen == [{"identity"}, {"identity"}, {"lsgan", "identity"}, {"lsgan", "identity"}]


def test_phases_of_a_stage_are_the_same_after_writing_and_reading_the_recipe(planned: Any) -> None:
    plan = planned(PRETRAINED)
    text = write_recipe(Document(plan.recipe, "recipe", Problems("recipe")), plan.filled)
    assert [stage.phases for stage in planned(text).stages] == [stage.phases for stage in plan.stages]


def test_a_phase_of_a_stage_that_names_no_loss_is_an_error(planned: Any) -> None:
    with pytest.raises(RecipeError, match=r"\[stages\.0\.phases\.0\] losses: 'idendity' matches none|'idendity' match"):
        planned(PRETRAINED.replace('losses = ["identity"]', 'losses = ["idendity"]'))


class Large(Loss):
    """A loss that small samples break."""

    def for_generator(self, source: Tensor, fake: Tensor) -> Tensor:
        if source.shape[-1] < 16:
            raise ValueError("16 pixels at least")
        return (fake - source).mean()


class Adversary(Large):
    """The same in the objective after a fallback."""

    decision_logit = 0.0

    def for_generator(self, fake_input: Tensor) -> Tensor:  # type: ignore[override]
        raise ValueError("16 pixels at least")

    def for_discriminator(self, real_input: Tensor) -> Tensor:
        return real_input.mean()


class WithLarge:
    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("large", Large)
        register("adversary", Adversary)


TWO = """
[train]
steps = 4
[generators]
g = { use = "resnet", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", width = 4, layers = 1 }
[losses]
lsgan = 1.0
"""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "large = 1.0\n[[stages]]\nshare = 0.5\n[[stages]]\nshare = 0.5\nsize = 12\n",
            "stage 2: the generator phase cannot run: 16 pixels at least .*'large'",
        ),
        (
            '[guard]\naction = "fallback"\nfallback = { adversarial = "adversary" }\n',
            "'fallback' would not run: the generator phase cannot run: 16 pixels",
        ),
    ],
)
def test_what_cannot_run_later_is_reported_before_the_first_step(
    trained: Any, recipe_file: Any, tmp_path: Path, more: str, message: str
) -> None:
    """Kind: whatever part of a run begins after its first step, a stage or the fallback."""
    with pytest.raises(RecipeError, match=message):
        trained(recipe_file(TWO + more), tmp_path / "run", plugin=WithLarge())
    assert not (tmp_path / "run").exists()
