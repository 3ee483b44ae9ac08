"""The metric argument `adversarial_source`, against the closed form for a linear discriminator."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transgan.api import Clock, Discriminator, DiscriminatorOutput, Metric, Register, Translation, hookimpl
from transgan.data.domains import Domains
from transgan.evaluation.adversarial import RADIUS
from transgan.evaluation.evaluate import Evaluation
from transgan.networks import Networks

RECIPE = """
[tasks.age]
between = ["young", "old"]
[train]
steps = 1
[generators]
g = { use = "resnet", width = 4, blocks = 0 }
[discriminators]
d = { use = "linear", per = "run", GIVEN }
[losses]
lsgan = 1.0
[metrics]
keeps = true
"""


class Linear(Discriminator):
    """Logits that are linear in the sample, with a weight of each value, and a sign by domain."""

    def __init__(self, options: Any, spec: Any):
        super().__init__(options, spec)
        self.weight = nn.Parameter(torch.randn(spec.inputs, *spec.space))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor, domain: Tensor) -> DiscriminatorOutput:
        self.seen.append(x.detach())
        sign = (1.0 - 2.0 * domain)[:, None]
        return DiscriminatorOutput([sign * (x * self.weight).flatten(1).sum(1, keepdim=True)])


class Classes(Discriminator):
    """A class head alone: logits of the two domains, linear in the sample."""

    def __init__(self, options: Any, spec: Any):
        super().__init__(options, spec)
        self.weight = nn.Parameter(torch.randn(spec.inputs, *spec.space))

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        score = 0.01 * (x * self.weight).flatten(1).sum(1, keepdim=True)
        return DiscriminatorOutput([torch.zeros_like(score)], torch.cat([score, -score], 1))


class Keeps(Metric):
    """Keeps its arguments."""

    def reset(self) -> None:
        self.received: dict[Translation, tuple[Tensor, Tensor | None, Tensor | None]] = {}

    def update(self, translation: Translation, source: Tensor, adversarial_source: Any) -> None:
        self.received[translation] = source, adversarial_source(64), adversarial_source(2)

    def compute(self) -> dict[Translation, dict[str, float]]:
        return {}


class Plugin:
    def __init__(self, discriminator: type[Discriminator] = Linear):
        self.discriminator = discriminator

    @hookimpl
    def register_discriminators(self, register: Register) -> None:
        register("linear", self.discriminator)

    @hookimpl
    def register_metrics(self, register: Register) -> None:
        register("keeps", Keeps)


def received(plan: Any, networks: Any, discriminators: Any = None) -> dict[Translation, Any]:
    evaluation = Evaluation(plan, Domains(plan))
    evaluation.discriminators = lambda: discriminators
    evaluation(networks, Clock())
    found: dict[Translation, Any] = plan.metrics["keeps"].received
    return found


@pytest.mark.parametrize("discriminator", [Linear, Classes])
def test_sources_are_at_the_corner_of_the_ball_that_a_linear_head_likes_best(
    planned: Any, discriminator: type[Discriminator]
) -> None:
    plan = planned(RECIPE.replace(", GIVEN", ""), Plugin(discriminator))
    networks = Networks(plan)
    weight = networks["d"].network.weight.detach()
    found = received(plan, networks)
    assert len(found) == 2
    for translation, (source, changed, first) in found.items():
        sign = weight.sign() if translation.target == "young" else -weight.sign()
        expected = source + RADIUS * sign
        expected = torch.where(expected.abs() <= 1, expected, expected.clamp(-1, 1))
        torch.testing.assert_close(changed, expected)
        assert float((changed - source).abs().max()) <= RADIUS + 1e-6
        torch.testing.assert_close(first, expected[:2])
    assert networks["d"].network.weight.grad is None  # nothing of the training is changed


def test_what_a_discriminator_sees_beside_its_input_is_not_changed(planned: Any) -> None:
    plan = planned(RECIPE.replace("GIVEN", 'given = "source"'), Plugin())
    networks = Networks(plan)
    source, changed, _ = received(plan, networks)[Translation("age", "young", "old")]
    assert not torch.equal(source, changed)
    assert any(torch.equal(each[:, :3], source) for each in networks["d"].network.seen if len(each) == len(source))


def test_the_discriminators_of_the_training_are_asked_where_averages_translate(planned: Any) -> None:
    plan = planned(RECIPE.replace(", GIVEN", ""), Plugin())
    every = Networks(plan)
    translating = Networks(plan, networks={name: every[name] for name in every if name != "d"})
    assert all(changed is None and first is None for _, changed, first in received(plan, translating).values())
    assert all(changed is not None for _, changed, _ in received(plan, translating, every).values())
