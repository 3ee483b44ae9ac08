"""Discriminators conditioned on source and target, as in StarGAN-VC2: each fake with the domain that it came from."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transgan.api import Clock, Discriminator, DiscriminatorOutput, NetworkSpec, Options, Register, hookimpl

RECIPE = """
[tasks]
age = { between = ["young", "old", "white"], targets = "random" }
[train]
steps = 8
batch = 4
[conditionings]
domain = { use = "embedding", width = 3 }
origin = { use = "embedding", of = "origin", width = 3 }
[generators]
g = { use = "resnet", width = 4, blocks = 1, norm = "group", conditionings = ["domain"] }
[discriminators]
d = { use = "patch", per = "run", conditionings = ["domain", "origin"], norm = "none", width = 4, layers = 1 }
[losses]
lsgan = 1.0
"""

Seen = list[tuple[Tensor, Tensor, Tensor]]


def steps(plan: Any, double_engine: Any, random_samples: Any, micro_batches: Any, count: int) -> tuple[Seen, list[Any]]:
    """Train for some steps; return input, domain and origin of each pass of the discriminator, and the samples."""
    engine, _ = double_engine(plan)
    seen: Seen = []
    samples = [random_samples(plan, step) for step in range(count)]
    engine.networks["d"].register_forward_pre_hook(
        lambda module, args, kwargs: seen.append((args[0].detach(), kwargs["domain"], kwargs.get("origin"))),
        with_kwargs=True,
    )
    for step, each in enumerate(samples):
        clock = Clock(step=step, run=step / 8)
        engine.train_step(micro_batches(plan, each, 1, clock), clock)
    return seen, samples


@pytest.mark.parametrize("history", [0, 6])
def test_a_fake_keeps_the_domains_it_was_translated_between(
    planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any, history: int
) -> None:
    """The kind: conditions that a pool of earlier fakes must hold beside each of them."""
    plan = planned(RECIPE, overrides=(f"discriminators.d.history={history}",))
    seen, samples = steps(plan, double_engine, random_samples, micro_batches, 6)
    pairs: dict[float, set[tuple[int, int]]] = {}
    for x, domain, origin in seen:
        for image, to, come in zip(x, domain.tolist(), origin.tolist(), strict=True):
            pairs.setdefault(float(image.sum()), set()).add((to, come))
    assert all(len(found) == 1 for found in pairs.values())  # whenever it is seen again
    ends = [(each["age", "target_domain"].tolist(), each["age", "source_domain"].tolist()) for each in samples]
    stated = {pair for targets, sources in ends for pair in zip(targets, sources, strict=True)}
    assert {pair for found in pairs.values() for pair in found} == stated
    real = {float(image.sum()): i for each in samples for i, image in enumerate(each["age", "target"])}
    assert any(key in real for key in pairs)


def test_a_discriminator_that_does_not_read_it_gets_no_origin(
    planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any
) -> None:
    """So that the image pools of runs without it keep their form."""
    plan = planned(RECIPE, overrides=('discriminators.d.conditionings=["domain"]', "discriminators.d.history=6"))
    seen, _ = steps(plan, double_engine, random_samples, micro_batches, 1)
    assert seen and all(origin is None for _, _, origin in seen)


def test_the_second_discriminator_sees_the_way_back(
    planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any
) -> None:
    """Where reconstructions are compared with sources, the domain is the source's and the origin the target's."""
    changes = ('discriminators.d.fake="reconstruction"', 'discriminators.d.real="source"')
    plan = planned(RECIPE, overrides=changes)
    seen, (samples,) = steps(plan, double_engine, random_samples, micro_batches, 1)
    source, target = (samples["age", f"{end}_domain"] for end in ("source", "target"))
    for _, domain, origin in seen:
        rows = len(domain) // len(source)
        assert torch.equal(domain, source.repeat(rows)) and torch.equal(origin, target.repeat(rows))


def test_networks_of_voice_many_are_conditioned_on_both_speakers(planned: Any) -> None:
    from pathlib import Path

    from transgan.plan import build_network, make_plan
    from transgan.recipe import read_recipe
    from transgan.registry import Registry

    recipe = Path(__file__).parents[2] / "recipes" / "voice_many.toml"
    plan = make_plan(read_recipe(recipe), Registry.installed())
    for name, network in plan.networks.items():
        built = build_network(network, 0).eval()
        x = torch.randn(1, network.spec.channels, 64)
        mask = torch.ones(1, 1, 64)
        outputs = []
        for domain, origin in ((0, 1), (0, 2), (3, 1)):
            with torch.no_grad():
                y = built(x, domain=torch.tensor([domain]), origin=torch.tensor([origin]), mask=mask)
            outputs.append(y if isinstance(y, Tensor) else y.logits[0])
        for other in outputs[1:]:
            assert float((outputs[0] - other).abs().max()) > 1e-6, name


class ReadsReal(Discriminator[Options]):
    """A discriminator that reads which samples are real."""

    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.layer = nn.Conv2d(spec.inputs, 1, 3)
        self.seen: list[tuple[Tensor, Tensor | None]] = []

    def forward(self, x: Tensor, real: Tensor | None = None) -> DiscriminatorOutput:
        self.seen.append((x.detach(), real))
        return DiscriminatorOutput([self.layer(x)])


class Plugin:
    @hookimpl
    def register_discriminators(self, register: Register) -> None:
        register("reads_real", ReadsReal)


def test_a_discriminator_may_read_which_samples_are_real(
    planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any
) -> None:
    """Merged or not; fakes and other negatives are none, and of what a loss makes itself nobody says it."""
    changes = (
        'discriminators={d={use="reads_real", per="run", history=6}}',
        'losses={lsgan={weight=1.0, negatives="other_domains"}, gradient_penalty=10.0}',
    )
    plan = planned(RECIPE, Plugin(), changes)
    engine, _ = double_engine(plan)
    network = engine.networks["d"].network
    for step in range(2):
        samples, clock = random_samples(plan, step), Clock(step=step, run=step / 8)
        network.seen = []
        engine.train_step(micro_batches(plan, samples, 1, clock), clock)
        rows = [(x, float(real[i])) for each, real in network.seen if real is not None for i, x in enumerate(each)]
        ends = {name: list(samples["age", name]) for name in ("source", "target")}
        real = [x for x, how in rows if how == 1]
        assert len(real) == 4 and all(any(torch.equal(x, y) for y in ends["target"]) for x in real)
        others = [x for x, how in rows if how == 0]
        assert len(others) == 3 * 4  # fakes in both phases, and negatives
        assert sum(any(torch.equal(x, y) for y in ends["source"]) for x in others) == 4
        assert [len(x) for x, how in network.seen if how is None] == [4]  # the penalty
