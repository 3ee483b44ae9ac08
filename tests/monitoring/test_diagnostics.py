"""The diagnostics of a step, compared with their definitions on hand-made tensors."""

from typing import Any

import pytest
import torch

from transgan.api import DiscriminatorOutput, Loss, Register, Translation, hookimpl
from transgan.monitoring.diagnostics import StepDiagnostics, loss_roles
from transgan.plan.plan import DiscriminatorUse
from transgan.recipe.schema import Phase

RECIPE = """
[train]
steps = 4
log_every = 2
[generators]
g = { use = "resnet", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", width = 4, layers = 1 }
[losses]
first = { use = "hinge" }
back = { use = "cycle", weight = 3.0 }
stay = { use = "identity" }
"""
T = Translation("age", "young", "old")
USE = DiscriminatorUse("d", "d.old", "target", "fake", None, 0)


@pytest.fixture
def tensors() -> dict[Any, torch.Tensor]:
    samples = torch.rand(4, 6, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return {(T, name): x for name, x in zip(("source", "target", "fake", "reconstruction"), samples, strict=True)}


def terms(planned: Any) -> Any:
    plan = planned(RECIPE)
    values = {"first": -0.5, "back": 1.5, "stay": 7.0}
    return [(t, torch.tensor(values[t.loss])) for t in plan.terms if t.side == "generator" and t.translation == T]


def test_figures_follow_their_definitions(planned: Any, tensors: dict[Any, torch.Tensor]) -> None:
    diagnostics = StepDiagnostics(planned(RECIPE))
    diagnostics.begin(logged=True)
    for rows in (slice(0, 2), slice(2, 6)):  # micro-batches, each of the same weight in the mean
        diagnostics.update(Phase(side="generator"), {key: x[rows] for key, x in tensors.items()}, [], terms(planned))
    found = {name.removeprefix(f"{T}/diagnostics/"): float(value) for name, value in diagnostics.figures().items()}
    source, target, fake, back = tensors.values()

    def apart(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(((a[:2] - b[:2]).abs().mean() + (a[2:] - b[2:]).abs().mean()) / 4)

    def spread(x: torch.Tensor) -> float:
        return float(x.view(6, 3, 8, 2, 8, 2).mean((3, 5)).std(0).square().mean().sqrt() / 2)

    levels = target.mean((2, 3))
    expected = {
        "change": apart(fake, source),
        "distance": apart(target, source),
        "reconstruction": apart(back, source),
        "cycle": 1.5,
        "adversarial": -0.5,
        "spread": spread(fake),
        "spread_of_target": spread(target),
        "spread_of_level": float(levels.std(0).square().mean().sqrt() / 2),
        **{f"drift.{c}": float((fake[:, c].mean() - target[:, c].mean()) / 2) for c in range(3)},
        **{f"between.{c}": float((source[:, c].mean() - target[:, c].mean()) / 2) for c in range(3)},
    }
    assert found == pytest.approx(expected, abs=1e-6)


def test_recognised_is_how_often_a_real_sample_is_ranked_above_a_fake(planned: Any) -> None:
    diagnostics = StepDiagnostics(planned(RECIPE))
    diagnostics.begin(logged=True)
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(400, 1, 5, 5, generator=generator) + 1.0, torch.randn(400, 1, 5, 5, generator=generator)
    pair = (T, USE, DiscriminatorOutput([real]), DiscriminatorOutput([fake]))
    diagnostics.update(Phase(side="discriminator"), {}, [pair], [])
    found = diagnostics.figures()
    normal = 0.5 * (1 + torch.erf(torch.tensor(1 / 2**0.5 / 2**0.5)))  # P(a > b) for unit normals one apart
    assert float(found[f"{T}/diagnostics/recognised"]) == pytest.approx(float(normal), abs=0.01)
    assert float(found[f"{T}/diagnostics/gap"]) == pytest.approx(1.0, abs=0.05)
    assert diagnostics.recognised("age") == found[f"{T}/diagnostics/recognised"]
    diagnostics.begin(logged=True)
    same = DiscriminatorOutput([torch.zeros(2, 1, 3, 3), torch.ones(2, 1)])
    diagnostics.update(Phase(side="discriminator"), {}, [(T, USE, same, same)], [])
    assert float(diagnostics.figures()[f"{T}/diagnostics/recognised"]) == 0.5  # it cannot distinguish them


@pytest.mark.parametrize("space", [(33,), (16, 20), (4, 9, 10)])
def test_samples_may_have_one_to_three_axes_and_many_channels(planned: Any, space: tuple[int, ...]) -> None:
    diagnostics = StepDiagnostics(planned(RECIPE))
    diagnostics.begin(logged=True)
    diagnostics.update(
        Phase(side="generator"),
        {(T, n): torch.randn(2, 80, *space) for n in ("source", "target", "fake")},
        [],
        terms(planned),
    )
    figures = diagnostics.figures()
    assert {name[-7:] for name in figures if "drift" in name} == {f"drift.{band}" for band in range(4)}
    assert all(torch.isfinite(value) for value in figures.values())


def test_a_single_sample_has_no_spread(planned: Any, tensors: dict[Any, torch.Tensor]) -> None:
    diagnostics = StepDiagnostics(planned(RECIPE))
    diagnostics.begin(logged=True)
    diagnostics.update(Phase(side="generator"), {key: x[:1] for key, x in tensors.items()}, [], terms(planned))
    assert not [name for name in diagnostics.figures() if "spread" in name]


def test_nothing_is_computed_at_steps_that_are_not_logged(planned: Any, tensors: dict[Any, torch.Tensor]) -> None:
    plan = planned(RECIPE)
    assert [plan.recipe.train.logs(step) for step in (1, 2, 3, 4)] == [True, True, False, True]
    diagnostics = StepDiagnostics(plan)
    diagnostics.begin(logged=False)
    diagnostics.update(Phase(side="generator"), tensors, [], terms(planned))
    assert diagnostics.figures() == {}
    assert loss_roles(plan) == {"adversarial": ["first"], "cycle": ["back"], "identity": ["stay"]}


class Relativistic(Loss):
    """An adversarial loss without a decision logit, whose generator sees the real samples too."""

    def for_discriminator(self, real_output: DiscriminatorOutput, fake_output: DiscriminatorOutput) -> torch.Tensor:
        return (fake_output.logits[0] - real_output.logits[0]).mean()

    def for_generator(self, real_output: DiscriminatorOutput, fake_output: DiscriminatorOutput) -> torch.Tensor:
        return (real_output.logits[0] - fake_output.logits[0]).mean()


class Generators(Loss):
    """The generators' half of an adversarial loss."""

    decision_logit = 0.0

    def for_generator(self, fake_output: DiscriminatorOutput) -> torch.Tensor:
        return -fake_output.logits[0].mean()


class Plugin:
    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("crossed", Relativistic)
        register("generators", Generators)


@pytest.mark.parametrize(
    ("loss", "adversarial"),
    [
        *(
            (name, True)
            for name in ("lsgan", "vanilla", "hinge", "wasserstein", "relativistic", "crossed", "generators")
        ),
        *((name, False) for name in ("feature_matching", "domain_classification", "paired", "preserve")),
        *((name, False) for name in ("gradient_penalty", "r1", "lecam")),
    ],
)
def test_adversarial_is_what_trains_a_discriminator_to_distinguish(planned: Any, loss: str, adversarial: bool) -> None:
    """Of the kind: losses that ask for a discriminator's output, for either side."""
    paired = ("tasks.age={between=['young','old'], paired=true}", "domains={young={age=[20,30]}, old={age=[20,30]}}")
    recipe = RECIPE.partition("first")[0] + f'tested = {{ use = "{loss}" }}\n'
    plan = planned(recipe, Plugin(), paired if loss == "paired" else ())
    assert loss_roles(plan) == ({"adversarial": ["tested"]} if adversarial else {})


def test_a_discriminator_of_other_samples_than_the_fake_does_not_count(planned: Any) -> None:
    plan = planned(RECIPE, overrides=("discriminators.d.fake='reconstruction'",))
    assert loss_roles(plan) == {"cycle": ["back"], "identity": ["stay"]}
