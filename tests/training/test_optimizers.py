"""Optimizers: what an author froze stays frozen, and a stage changes what it says of them and nothing else."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transgan.api import Clock, Generator, Loss, NetworkSpec, Options, Register, hookimpl
from transgan.errors import RecipeError
from transgan.recipe import parse_recipe, write_recipe

RECIPE = """
[train]
steps = 10
batch = 4
[optimizers]
generator = { lr = 1e-3, betas = [0.0, 0.9] }
discriminator = { lr = 1e-5, betas = [0.0, 0.9], use = "adamw", weight_decay = 0.1 }
[generators.g]
use = "partly_frozen"
[discriminators.d]
use = "patch"
width = 4
layers = 1
[losses]
lsgan = 1.0
with_backbone = 1.0
"""
STAGES = """
[[stages]]
share = 0.5
[[stages]]
share = 0.5
optimizers = { generator = { lr = 5e-4 } }
"""


class PartlyFrozen(Generator):
    """A generator with a frozen convolution, and a batch norm that its author keeps in evaluation mode."""

    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.backbone = nn.Conv2d(spec.inputs, 4, 3, padding=1).requires_grad_(False)
        self.norm = nn.BatchNorm2d(4).eval()
        self.head = nn.Conv2d(4, spec.channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.norm(self.backbone(x).relu())).tanh()
        return y


class WithBackbone(Loss):
    """A loss over the features of a frozen network of its own, with a trained head."""

    def networks(self, spec: NetworkSpec) -> dict[str, nn.Module]:
        features = nn.Sequential(nn.Conv2d(spec.channels, 4, 3), nn.Conv2d(4, 2, 1))
        features[0].requires_grad_(False)
        self.features = features
        return {"features": features}

    def for_generator(self, fake: Tensor) -> Tensor:
        return self.features(fake).square().mean()


class Plugin:
    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("partly_frozen", PartlyFrozen)

    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("with_backbone", WithBackbone)


def test_what_an_author_froze_stays_frozen(
    planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any
) -> None:
    """Kind: parts of generators, of losses' networks, and modules in evaluation mode."""
    plan = planned(RECIPE, Plugin())
    engine, before = double_engine(plan)
    for step in range(2):
        clock = Clock(step=step, run=step / 10)
        engine.train_step(micro_batches(plan, random_samples(plan, step), 1, clock), clock)
        with engine.networks.evaluating():
            pass
    frozen = {"g": ("backbone", "norm.running"), "with_backbone/features": ("0.",)}
    for name, parts in frozen.items():
        for key, tensor in engine.networks[name].state_dict().items():
            key = key.removeprefix("network.")
            kept = torch.equal(tensor, before[name].state_dict()[f"network.{key}" if name == "g" else key].to(tensor))
            if key.startswith(parts):
                assert kept, f"{name}: {key} was changed"
            elif key.endswith("weight") and "norm" not in key and name == "g":
                assert not kept, f"{name}: {key} was not trained"
    assert not engine.networks["g"].network.norm.training and engine.networks["g"].network.head.training
    assert not any(p.requires_grad for p in engine.networks["g"].network.backbone.parameters())


def test_what_is_frozen_while_training_stays_frozen_from_then_on(
    planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any
) -> None:
    plan = planned(RECIPE, Plugin())
    engine, _ = double_engine(plan)
    engine.networks["g"].network.head.requires_grad_(False)  # as `init_from_data` might
    weight = engine.networks["g"].network.head.weight.clone()
    clock = Clock()
    engine.train_step(micro_batches(plan, random_samples(plan, 0), 1, clock), clock)
    assert torch.equal(engine.networks["g"].network.head.weight, weight)


def test_a_stage_changes_what_it_says_of_optimizers_and_nothing_else(planned: Any) -> None:
    plan = planned(RECIPE + STAGES, Plugin())
    first, second = (stage.optimizers for stage in plan.stages)
    assert second.discriminator == first.discriminator == plan.recipe.optimizers.discriminator
    assert (second.generator.lr.start, [each.start for each in second.generator.betas]) == (5e-4, [0.0, 0.9])
    assert first.generator.lr.start == 1e-3


def test_stages_are_the_same_after_writing_and_reading_the_recipe(planned: Any) -> None:
    plan = planned(RECIPE + STAGES, Plugin())
    text = write_recipe(parse_recipe(_with_data(RECIPE + STAGES)), plan.filled)
    assert [stage.optimizers for stage in planned(text, Plugin()).stages] == [s.optimizers for s in plan.stages]


def test_the_kind_of_an_optimizer_cannot_change_in_a_stage(planned: Any) -> None:
    text = RECIPE + STAGES.replace("lr = 5e-4", 'use = "adamw"')
    with pytest.raises(RecipeError, match=r"optimizers\.generator\.use: unknown key\. Known: betas, lr, weight_decay"):
        planned(text, Plugin())


def _with_data(text: str) -> str:
    return (
        '[data]\nsource = { use = "synthetic_faces", count = 24 }\nsize = 16\n[tasks.age]\nbetween = ["young", "old"]\n'
        "[domains]\nyoung = { age = [20, 30] }\nold = { age = [50, 60] }\n" + text
    )


NAMED = """
[optimizers.backbones]
networks = ["with_backbone/*"]
lr = 1e-6
betas = [0.5, 0.9]
[[stages]]
share = 0.5
[[stages]]
share = 0.5
optimizers = { backbones = { lr = 3e-6 } }
"""


def test_some_networks_may_have_an_optimizer_of_their_own(
    planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any
) -> None:
    """Adam's first step is the learning rate times the sign of the gradient (Kingma and Ba, 2015, section 2.1)."""
    for step, rate in ((0, 1e-6), (5, 3e-6)):
        plan = planned(RECIPE + NAMED, Plugin())
        engine, before = double_engine(plan)
        clock = Clock(step=step, run=step / 10)
        engine.train_step(micro_batches(plan, random_samples(plan, 0), 1, clock), clock)
        for name, expected in (("with_backbone/features", rate), ("g", 1e-3)):
            old, new = before[name].state_dict(), engine.networks[name].state_dict()
            largest = max(float((new[key] - old[key]).abs().max()) for key in old if key.endswith("weight"))
            assert largest == pytest.approx(expected, rel=1e-3), name
        assert engine.optimizers.learning_rates(clock) == {
            "generator": 1e-3,
            "discriminator": 1e-5,
            "backbones": pytest.approx(rate),
        }
        betas = plan.stages[0].optimizers.of("with_backbone/features", "generator")[1].betas
        assert [each.start for each in betas] == [0.5, 0.9]


def test_named_optimizers_are_the_same_after_writing_and_reading_the_recipe(planned: Any) -> None:
    plan = planned(RECIPE + NAMED, Plugin())
    text = write_recipe(parse_recipe(_with_data(RECIPE + NAMED)), plan.filled)
    assert [stage.optimizers for stage in planned(text, Plugin()).stages] == [s.optimizers for s in plan.stages]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('["with_backbone/*"]', '["backbone*"]'), r"optimizers\.backbones\] networks: 'backbone\*' matches none"),
        (("backbones = { lr = 3e-6 }", "bones = { lr = 3e-6 }"), "no such optimizer. Did you mean 'backbones'"),
        (
            ('networks = ["with_backbone/*"]', ""),
            "no optimizer 'backbones', only .* set networks",
        ),
        (("betas = [0.5, 0.9]", "beta = 1.0"), "beta: unknown key"),
    ],
)
def test_mistakes_in_named_optimizers(planned: Any, change: tuple[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        planned(RECIPE + NAMED.replace(*change), Plugin())


@pytest.mark.parametrize("name", ["genrator", "x", "backbone"])
def test_a_setting_of_an_unknown_optimizer_names_those_that_there_are(planned: Any, name: str) -> None:
    with pytest.raises(RecipeError) as caught:
        planned(RECIPE + NAMED, Plugin(), (f"optimizers.{name}.lr=1e-3",))
    known = "only generator, discriminator, backbones; set networks = [...] for one of your own"
    (problem,) = caught.value.problems
    assert problem.endswith(f"no optimizer '{name}', {known}")
