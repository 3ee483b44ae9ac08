"""Parity: the engine trains the same weights, step by step, as a hand-written training loop of each method."""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transgan.plan import Plan
from transgan.rng import stable_hash

Samples = Mapping[Any, Tensor]
Match = Callable[..., Plan]

CYCLEGAN = """
train = { steps = 4, batch = 4 }
[generators]
g = { use = "resnet", per = "translation", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", width = 4, layers = 1, history = 5 }
[losses]
lsgan = 1.0
cycle = 10.0
identity = 5.0
"""
CHANNEL = """
train = { steps = 4, batch = 4 }
[tasks]
age = { between = ["young", "old"] }
race = { between = ["white", "black"], weight = 0.5 }
[conditionings]
task = { use = "channel" }
[generators]
face = { use = "resnet", per = "direction", width = 4, blocks = 1, norm_first = false }
[discriminators]
face = { use = "patch", width = 4, layers = 1 }
[losses]
lsgan = 1.0
cycle = 10.0
identity = 5.0
preserve = 0.7
"""
EMBEDDING = """
train = { steps = 4, batch = 4 }
[tasks]
age = { between = ["young", "old"] }
race = { between = ["white", "black"] }
[conditionings]
domain = { use = "embedding", width = 3 }
[generators]
g = { use = "resnet", per = "run", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", per = "run", conditionings = ["domain"], width = 4, layers = 1 }
[losses]
lsgan = 1.0
cycle = 10.0
"""
PIX2PIX = """
train = { steps = 4, batch = 4 }
[domains]
label = { age = [20, 30] }
photo = { age = [20, 30] }
[tasks.paint]
from = "label"
to = "photo"
paired = true
[generators]
g = { use = "resnet", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", per = "run", given = "source", width = 4, layers = 1 }
[losses]
vanilla = 1.0
paired = 100.0
[[phases]]
side = "discriminator"
[[phases]]
side = "generator"
"""
STARGAN = """
train = { steps = 4, batch = 4 }
[tasks.hair]
between = ["white", "black", "old"]
targets = "random"
[conditionings]
domain = { use = "channel", of = "domain" }
[generators]
g = { use = "resnet", per = "run", width = 4, blocks = 1, norm_first = false }
[discriminators]
d = { use = "patch", per = "run", classes = true, norm = "none", width = 4, layers = 1 }
[losses]
lsgan = 1.0
domain_classification = 0.5
cycle = 10.0
[[phases]]
side = "discriminator"
[[phases]]
side = "generator"
every = 2
"""


@pytest.fixture(params=[("always", 1), ("never", 1), ("always", 2), ("never", 2)], ids=lambda p: f"{p[0]}-{p[1]}")
def execution(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Overrides that must make no difference: merged or separate passes, whole batches or micro-batches."""
    merge, micro_batches = request.param
    return (f'train.merge="{merge}"', f"train.accumulate={micro_batches}")


def adam(*networks: nn.Module, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(chain(*(n.parameters() for n in networks)), 2e-4, **{"betas": (0.5, 0.999), **options})


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def square(logits: Tensor, target: float) -> Tensor:
    return F.mse_loss(logits, torch.full_like(logits, target))


class Pool:
    """The rule of the engine's image pool, one fake after the other."""

    def __init__(self, name: str, size: int):
        self.name, self.size, self.seen = name, size, 0
        self.fakes: list[Tensor] = []

    def exchange(self, fakes: Tensor) -> Tensor:
        returned = []
        for fake in fakes.detach():
            bits = stable_hash(0, "history", self.name, self.seen)
            self.seen += 1
            if len(self.fakes) < self.size:
                self.fakes.append(fake)
            elif bits % 2:
                at = bits // 2 % self.size
                fake, self.fakes[at] = self.fakes[at], fake
            returned.append(fake)
        return torch.stack(returned)


def cyclegan(nets: Mapping[str, Any], steps: list[Samples], rates: Iterable[tuple[float, float]] = ()) -> None:
    to_old, to_young = nets["g.young-old"].network, nets["g.old-young"].network
    d_old, d_young = nets["d.old"].network, nets["d.young"].network
    both, discriminators = adam(to_old, to_young), adam(d_old, d_young)
    old_pool, young_pool = Pool("age: young -> old|d", 5), Pool("age: old -> young|d", 5)
    rates = list(rates) or [(2e-4, 2e-4)] * len(steps)
    for samples, (g_rate, d_rate) in zip(steps, rates, strict=True):
        both.param_groups[0]["lr"], discriminators.param_groups[0]["lr"] = g_rate, d_rate
        young, old = samples["age", "young"], samples["age", "old"]
        fake_old, fake_young = to_old(young), to_young(old)
        loss = square(d_old(fake_old).logits[0], 1) + square(d_young(fake_young).logits[0], 1)
        loss = loss + 10 * (F.l1_loss(to_young(fake_old), young) + F.l1_loss(to_old(fake_young), old))
        loss = loss + 5 * (F.l1_loss(to_old(old), old) + F.l1_loss(to_young(young), young))
        update(both, loss)
        loss = square(d_old(old).logits[0], 1) + square(d_old(old_pool.exchange(fake_old)).logits[0], 0)
        loss = (
            loss + square(d_young(young).logits[0], 1) + square(d_young(young_pool.exchange(fake_young)).logits[0], 0)
        )
        update(discriminators, 0.5 * loss)


def test_cyclegan_with_an_image_pool_matches_a_loop(assert_matches_loop: Match, execution: tuple[str, ...]) -> None:
    assert_matches_loop(CYCLEGAN, cyclegan, execution)


def test_falling_learning_rates_match_a_loop(assert_matches_loop: Match) -> None:
    rates = [(2e-4 * g, 2e-4 * d) for g, d in ((1, 1), (1, 0.75), (0.5, 0.5))]
    overrides = (
        "optimizers.generator.lr={from=2e-4, to=0.0, between=[1, 3]}",
        "optimizers.discriminator.lr={from=2e-4, to=0.0, between=[0.0, 1.0]}",
    )
    assert_matches_loop(CYCLEGAN, lambda nets, steps: cyclegan(nets, steps, rates), overrides)


def test_clipped_gradients_and_weight_decay_match_a_loop(assert_matches_loop: Match) -> None:
    def loop(nets: Mapping[str, Any], steps: list[Samples]) -> None:
        g, d = nets["g"].network, nets["d"].network
        og = torch.optim.AdamW(g.parameters(), 1e-3, (0.9, 0.99), weight_decay=0.1)
        od = adam(d)
        for samples in steps:
            source, target = samples["paint", "label"], samples["paint", "photo"]
            fake = g(source)
            for network, optimizer in ((d, od), (g, og)):
                real_logits = d(torch.cat([source, target], 1)).logits[0]
                fake_logits = d(torch.cat([source, fake.detach() if network is d else fake], 1)).logits[0]
                loss = 0.5 * (F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean())
                if network is g:
                    loss = F.softplus(-fake_logits).mean() + 100 * F.l1_loss(fake, target)
                optimizer.zero_grad()
                loss.backward()
                norm = torch.stack([p.grad.square().sum() for p in network.parameters()]).sum().sqrt()
                for parameter in network.parameters():
                    parameter.grad *= min(1.0, 0.01 / (float(norm) + 1e-6))
                optimizer.step()

    overrides = (
        "train.clip=0.01",
        "optimizers.generator={use='adamw', lr=1e-3, betas=[0.9, 0.99], weight_decay=0.1}",
    )
    assert_matches_loop(PIX2PIX, loop, overrides)


def test_generators_conditioned_on_the_task_by_a_channel_match_a_loop(
    assert_matches_loop: Match, execution: tuple[str, ...]
) -> None:
    def loop(nets: Mapping[str, Any], steps: list[Samples]) -> None:
        forward, backward = nets["face.forward"].network, nets["face.backward"].network
        d = {name: nets[f"face.{name}"].network for name in ("young", "old", "white", "black")}
        both, discriminators = adam(forward, backward), adam(*d.values())
        tasks = [("age", "young", "old", ("white", "black"), 1.0), ("race", "white", "black", ("young", "old"), 0.5)]
        for samples in steps:
            g_loss, d_loss = torch.zeros(()), torch.zeros(())
            for number, (task, a, b, others, weight) in enumerate(tasks):
                plane = torch.full((4, 1, 16, 16), float(number), dtype=torch.float64)

                def conditioned(network: nn.Module, x: Tensor, plane: Tensor = plane) -> Tensor:
                    return network(torch.cat([x, plane], 1))

                for one, two, there, back in ((a, b, forward, backward), (b, a, backward, forward)):
                    source, target = samples[task, one], samples[task, two]
                    fake = conditioned(there, source)
                    loss = square(d[two](fake).logits[0], 1)
                    loss = (
                        loss
                        + 10 * F.l1_loss(conditioned(back, fake), source)
                        + 5 * F.l1_loss(conditioned(there, target), target)
                    )
                    for other in others:
                        expected = d[other](source).logits[0].detach()
                        loss = loss + 0.7 * F.mse_loss(d[other](fake).logits[0], expected)
                    g_loss = g_loss + weight * loss
                    loss = square(d[two](target).logits[0], 1) + square(d[two](fake.detach()).logits[0], 0)
                    d_loss = d_loss + weight * 0.5 * loss
            update(both, g_loss)
            update(discriminators, d_loss)

    assert_matches_loop(CHANNEL, loop, execution)


def test_one_network_a_side_conditioned_on_the_domain_by_an_embedding_matches_a_loop(
    assert_matches_loop: Match, execution: tuple[str, ...]
) -> None:
    def loop(nets: Mapping[str, Any], steps: list[Samples]) -> None:
        numbers = {name: number for number, name in enumerate(("young", "old", "white", "black"))}

        def conditioned(name: str, x: Tensor, domain: str) -> Any:
            style = nets[name].conditionings[0].table.weight[numbers[domain]].expand(len(x), -1)
            return nets[name].network(x, style)

        og, od = adam(nets["g"]), adam(nets["d"])
        for samples in steps:
            g_loss, d_loss = torch.zeros(()), torch.zeros(())
            for task, a, b in (("age", "young", "old"), ("race", "white", "black")):
                for one, two in ((a, b), (b, a)):
                    source, target = samples[task, one], samples[task, two]
                    fake = conditioned("g", source, two)
                    g_loss = g_loss + square(conditioned("d", fake, two).logits[0], 1)
                    g_loss = g_loss + 10 * F.l1_loss(conditioned("g", fake, one), source)
                    on_real, on_fake = conditioned("d", target, two), conditioned("d", fake.detach(), two)
                    d_loss = d_loss + 0.5 * (square(on_real.logits[0], 1) + square(on_fake.logits[0], 0))
            update(og, g_loss)
            update(od, d_loss)

    plan = assert_matches_loop(EMBEDDING, loop, execution)
    assert list(plan.networks) == ["g", "d"]


def pix2pix(nets: Mapping[str, Any], steps: list[Samples]) -> None:
    g, d = nets["g"].network, nets["d"].network
    og, od = adam(g), adam(d)
    for samples in steps:
        source, target = samples["paint", "label"], samples["paint", "photo"]
        fake = g(source)
        real_logits = d(torch.cat([source, target], 1)).logits[0]
        fake_logits = d(torch.cat([source, fake.detach()], 1)).logits[0]
        real_loss = F.binary_cross_entropy_with_logits(real_logits, torch.ones_like(real_logits))
        fake_loss = F.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))
        update(od, 0.5 * (real_loss + fake_loss))
        fake_logits = d(torch.cat([source, fake], 1)).logits[0]
        adversarial = F.binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))
        update(og, adversarial + 100 * F.l1_loss(fake, target))


def test_pix2pix_with_the_discriminator_first_matches_a_loop(
    assert_matches_loop: Match, execution: tuple[str, ...]
) -> None:
    assert_matches_loop(PIX2PIX, pix2pix, execution)


@pytest.mark.parametrize("merge", ["always", "never"])
def test_batch_norm_normalises_real_and_fake_separately_as_a_loop_does(assert_matches_loop: Match, merge: str) -> None:
    norms = ('generators.g.norm="batch"', 'discriminators.d.norm="batch"')
    assert_matches_loop(PIX2PIX, pix2pix, (*norms, f'train.merge="{merge}"'))


def test_random_targets_and_a_generator_every_second_step_match_a_loop(
    assert_matches_loop: Match, execution: tuple[str, ...]
) -> None:
    def loop(nets: Mapping[str, Any], steps: list[Samples]) -> None:
        g, d = nets["g"].network, nets["d"].network
        og, od = adam(g), adam(d)

        def conditioned(x: Tensor, domain: Tensor) -> Tensor:
            planes = F.one_hot(domain, 3).double()[:, :, None, None].expand(-1, -1, 16, 16)
            return g(torch.cat([x, planes], 1))

        for number, samples in enumerate(steps):
            source, target = samples["hair", "source"], samples["hair", "target"]
            here, there = samples["hair", "source_domain"], samples["hair", "target_domain"]
            fake = conditioned(source, there)
            on_real, on_fake = d(target), d(fake.detach())
            loss = 0.5 * (square(on_real.logits[0], 1) + square(on_fake.logits[0], 0))
            update(od, loss + 0.5 * F.cross_entropy(on_real.class_logits, there))
            if number % 2:
                on_fake = d(fake)
                loss = square(on_fake.logits[0], 1) + 0.5 * F.cross_entropy(on_fake.class_logits, there)
                update(og, loss + 10 * F.l1_loss(conditioned(fake, here), source))

    assert_matches_loop(STARGAN, loop, execution, 4)
