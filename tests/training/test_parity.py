"""The engine takes, step for step, the same parameters as each method written out by hand, without it."""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transgan.plan import Plan
from transgan.rng import stable_hash

Drawn = Mapping[Any, Tensor]
ByHand = Callable[[Mapping[str, Any], list[Drawn]], None]
Matched = Callable[..., Plan]

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
def way(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Ways of taking a step that make no difference."""
    merge, parts = request.param
    return (f'train.merge="{merge}"', f"train.accumulate={parts}")


def adam(*networks: nn.Module, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(chain(*(n.parameters() for n in networks)), 2e-4, **{"betas": (0.5, 0.999), **options})


def move(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def square(logits: Tensor, target: float) -> Tensor:
    return F.mse_loss(logits, torch.full_like(logits, target))


class Pool:
    """The rule of the engine's history, one fake after the other."""

    def __init__(self, name: str, size: int):
        self.name, self.size, self.seen = name, size, 0
        self.fakes: list[Tensor] = []

    def show(self, fakes: Tensor) -> Tensor:
        shown = []
        for fake in fakes.detach():
            chance = stable_hash(0, "history", self.name, self.seen)
            self.seen += 1
            if len(self.fakes) < self.size:
                self.fakes.append(fake)
            elif chance % 2:
                at = chance // 2 % self.size
                fake, self.fakes[at] = self.fakes[at], fake
            shown.append(fake)
        return torch.stack(shown)


def cyclegan(nets: Mapping[str, Any], steps: list[Drawn], rates: Iterable[tuple[float, float]] = ()) -> None:
    to_old, to_young = nets["g.young-old"].network, nets["g.old-young"].network
    d_old, d_young = nets["d.old"].network, nets["d.young"].network
    both, discriminators = adam(to_old, to_young), adam(d_old, d_young)
    olds, youngs = Pool("age: young -> old|d", 5), Pool("age: old -> young|d", 5)
    rates = list(rates) or [(2e-4, 2e-4)] * len(steps)
    for drawn, (g_rate, d_rate) in zip(steps, rates, strict=True):
        both.param_groups[0]["lr"], discriminators.param_groups[0]["lr"] = g_rate, d_rate
        young, old = drawn["age", "young"], drawn["age", "old"]
        fake_old, fake_young = to_old(young), to_young(old)
        loss = square(d_old(fake_old).logits[0], 1) + square(d_young(fake_young).logits[0], 1)
        loss = loss + 10 * (F.l1_loss(to_young(fake_old), young) + F.l1_loss(to_old(fake_young), old))
        loss = loss + 5 * (F.l1_loss(to_old(old), old) + F.l1_loss(to_young(young), young))
        move(both, loss)
        loss = square(d_old(old).logits[0], 1) + square(d_old(olds.show(fake_old)).logits[0], 0)
        loss = loss + square(d_young(young).logits[0], 1) + square(d_young(youngs.show(fake_young)).logits[0], 0)
        move(discriminators, 0.5 * loss)


def test_cyclegan_with_a_pool_of_fakes_is_as_by_hand(matched: Matched, way: tuple[str, ...]) -> None:
    matched(CYCLEGAN, cyclegan, way)


def test_learning_rates_that_fall_are_as_by_hand(matched: Matched) -> None:
    rates = [(2e-4 * g, 2e-4 * d) for g, d in ((1, 1), (1, 0.75), (0.5, 0.5))]
    overrides = (
        "optimizers.generator.lr={from=2e-4, to=0.0, between=[1, 3]}",
        "optimizers.discriminator.lr={from=2e-4, to=0.0, between=[0.0, 1.0]}",
    )
    matched(CYCLEGAN, lambda nets, steps: cyclegan(nets, steps, rates), overrides)


def test_clipped_gradients_and_weight_decay_are_as_by_hand(matched: Matched) -> None:
    def by_hand(nets: Mapping[str, Any], steps: list[Drawn]) -> None:
        g, d = nets["g"].network, nets["d"].network
        og = torch.optim.AdamW(g.parameters(), 1e-3, (0.9, 0.99), weight_decay=0.1)
        od = adam(d)
        for drawn in steps:
            source, target = drawn["paint", "label"], drawn["paint", "photo"]
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
    matched(PIX2PIX, by_hand, overrides)


def test_the_face_model_told_its_task_by_a_plane_is_as_by_hand(matched: Matched, way: tuple[str, ...]) -> None:
    def by_hand(nets: Mapping[str, Any], steps: list[Drawn]) -> None:
        forward, backward = nets["face.forward"].network, nets["face.backward"].network
        judge = {name: nets[f"face.{name}"].network for name in ("young", "old", "white", "black")}
        both, discriminators = adam(forward, backward), adam(*judge.values())
        tasks = [("age", "young", "old", ("white", "black"), 1.0), ("race", "white", "black", ("young", "old"), 0.5)]
        for drawn in steps:
            g_loss, d_loss = torch.zeros(()), torch.zeros(())
            for number, (task, a, b, others, weight) in enumerate(tasks):
                plane = torch.full((4, 1, 16, 16), float(number), dtype=torch.float64)

                def told(network: nn.Module, x: Tensor, plane: Tensor = plane) -> Tensor:
                    return network(torch.cat([x, plane], 1))

                for one, two, there, back in ((a, b, forward, backward), (b, a, backward, forward)):
                    source, target = drawn[task, one], drawn[task, two]
                    fake = told(there, source)
                    loss = square(judge[two](fake).logits[0], 1)
                    loss = loss + 10 * F.l1_loss(told(back, fake), source) + 5 * F.l1_loss(told(there, target), target)
                    for other in others:
                        wanted = judge[other](source).logits[0].detach()
                        loss = loss + 0.7 * F.mse_loss(judge[other](fake).logits[0], wanted)
                    g_loss = g_loss + weight * loss
                    loss = square(judge[two](target).logits[0], 1) + square(judge[two](fake.detach()).logits[0], 0)
                    d_loss = d_loss + weight * 0.5 * loss
            move(both, g_loss)
            move(discriminators, d_loss)

    matched(CHANNEL, by_hand, way)


def test_one_network_a_side_told_the_domain_by_an_embedding_is_as_by_hand(
    matched: Matched, way: tuple[str, ...]
) -> None:
    def by_hand(nets: Mapping[str, Any], steps: list[Drawn]) -> None:
        numbers = {name: number for number, name in enumerate(("young", "old", "white", "black"))}

        def told(name: str, x: Tensor, domain: str) -> Any:
            style = nets[name].conditionings[0].table.weight[numbers[domain]].expand(len(x), -1)
            return nets[name].network(x, style)

        og, od = adam(nets["g"]), adam(nets["d"])
        for drawn in steps:
            g_loss, d_loss = torch.zeros(()), torch.zeros(())
            for task, a, b in (("age", "young", "old"), ("race", "white", "black")):
                for one, two in ((a, b), (b, a)):
                    source, target = drawn[task, one], drawn[task, two]
                    fake = told("g", source, two)
                    g_loss = g_loss + square(told("d", fake, two).logits[0], 1)
                    g_loss = g_loss + 10 * F.l1_loss(told("g", fake, one), source)
                    real, judged = told("d", target, two), told("d", fake.detach(), two)
                    d_loss = d_loss + 0.5 * (square(real.logits[0], 1) + square(judged.logits[0], 0))
            move(og, g_loss)
            move(od, d_loss)

    plan = matched(EMBEDDING, by_hand, way)
    assert list(plan.networks) == ["g", "d"]


def pix2pix(nets: Mapping[str, Any], steps: list[Drawn]) -> None:
    g, d = nets["g"].network, nets["d"].network
    og, od = adam(g), adam(d)
    for drawn in steps:
        source, target = drawn["paint", "label"], drawn["paint", "photo"]
        fake = g(source)
        real_logits = d(torch.cat([source, target], 1)).logits[0]
        fake_logits = d(torch.cat([source, fake.detach()], 1)).logits[0]
        real = F.binary_cross_entropy_with_logits(real_logits, torch.ones_like(real_logits))
        judged = F.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))
        move(od, 0.5 * (real + judged))
        fake_logits = d(torch.cat([source, fake], 1)).logits[0]
        fooled = F.binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))
        move(og, fooled + 100 * F.l1_loss(fake, target))


def test_pix2pix_with_the_discriminator_first_is_as_by_hand(matched: Matched, way: tuple[str, ...]) -> None:
    matched(PIX2PIX, pix2pix, way)


@pytest.mark.parametrize("merge", ["always", "never"])
def test_batch_norm_sees_real_and_fake_apart_as_by_hand(matched: Matched, merge: str) -> None:
    norms = ('generators.g.norm="batch"', 'discriminators.d.norm="batch"')
    matched(PIX2PIX, pix2pix, (*norms, f'train.merge="{merge}"'))


def test_targets_drawn_by_chance_with_a_generator_every_second_step_are_as_by_hand(
    matched: Matched, way: tuple[str, ...]
) -> None:
    def by_hand(nets: Mapping[str, Any], steps: list[Drawn]) -> None:
        g, d = nets["g"].network, nets["d"].network
        og, od = adam(g), adam(d)

        def told(x: Tensor, domain: Tensor) -> Tensor:
            planes = F.one_hot(domain, 3).double()[:, :, None, None].expand(-1, -1, 16, 16)
            return g(torch.cat([x, planes], 1))

        for number, drawn in enumerate(steps):
            source, target = drawn["hair", "source"], drawn["hair", "target"]
            here, there = drawn["hair", "source_domain"], drawn["hair", "target_domain"]
            fake = told(source, there)
            real, judged = d(target), d(fake.detach())
            loss = 0.5 * (square(real.logits[0], 1) + square(judged.logits[0], 0))
            move(od, loss + 0.5 * F.cross_entropy(real.class_logits, there))
            if number % 2:
                judged = d(fake)
                loss = square(judged.logits[0], 1) + 0.5 * F.cross_entropy(judged.class_logits, there)
                move(og, loss + 10 * F.l1_loss(told(fake, here), source))

    matched(STARGAN, by_hand, way, 4)
