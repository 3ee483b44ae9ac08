"""StarGAN v2: networks against the authors' numbers and plain formulas, four updates of a step against a loop, use."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transgan_methods.stargan_v2 import (
    Down,
    MappingNetwork,
    MappingOptions,
    StarganV2Discriminator,
    StarganV2Generator,
    StarganV2GeneratorOptions,
    StyleEncoder,
    StyleEncoderOptions,
    TrunkOptions,
    Up,
)

from transgan.api import Clock, NetworkSpec, UsageError
from transgan.data.inputs import Side, assemble_inputs
from transgan.plan import Plan
from transgan.rng import CounterRng, ScopedRng

BATCH, SIZE, LATENT = 4, 32, 3
RECIPE = """
[data]
source = { use = "synthetic_faces", count = 24 }
size = 32
[train]
steps = 4
batch = 4
[tasks.hair]
between = ["white", "black", "old"]
targets = "random"
[optimizers]
generator = { lr = 1e-3, betas = [0.0, 0.99], weight_decay = 1e-4 }
discriminator = { lr = 1e-3, betas = [0.0, 0.99], weight_decay = 5e-5 }
mapping = { networks = ["mapping"], lr = 2e-4 }
[nodes]
use = "stargan_v2_translation"
latent = 3
[generators]
g = { use = "stargan_v2", width = 4, widest = 6, blocks = 1, style = 5 }
[encoders]
mapping = { use = "stargan_v2_mapping", latent = 3, width = 6, style = 5 }
style = { use = "stargan_v2_style", width = 4, widest = 6, style = 5 }
[discriminators]
d = { use = "stargan_v2", per = "run", width = 4, widest = 6 }
of_reference = { shares = "d", fake = "ref_fake" }
[losses]
adversarial = { use = "vanilla", discriminators = ["d"] }
r1 = { weight = 0.5, discriminators = ["d"] }
style = { use = "style_reconstruction", weight = 0.9 }
diversity = { use = "style_diversity", weight = { from = 2.0, to = 0.0, between = [0.0, 1.0] } }
cycle = 1.1
adversarial_of_reference = { use = "vanilla", discriminators = ["of_reference"] }
r1_of_reference = { use = "r1", weight = 0.5, discriminators = ["of_reference"] }
style_of_reference = { use = "style_reconstruction", of = "reference", weight = 0.9 }
cycle_of_reference = { use = "reference_cycle", weight = 1.1 }
[losses.diversity_of_reference]
use = "style_diversity"
of = "reference"
weight = { from = 2.0, to = 0.0, between = [0.0, 1.0] }
[[phases]]
side = "discriminator"
losses = ["adversarial", "r1"]
[[phases]]
side = "discriminator"
losses = ["*_of_reference"]
recompute = true
[[phases]]
side = "generator"
losses = ["adversarial", "style", "diversity", "cycle"]
[[phases]]
side = "generator"
losses = ["*_of_reference"]
trains = ["g"]
recompute = true
"""


def spec(size: int = 256, domains: str = "ab") -> NetworkSpec:
    return NetworkSpec(3, 3, 0, (size, size), tuple(domains), ("t",))


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# Networks


def test_parameter_counts_are_those_that_the_authors_code_prints() -> None:
    """At 256 pixels, without `w_hpf`; the generator does not depend on the number of domains."""
    with torch.device("meta"):
        assert count(StarganV2Generator(StarganV2GeneratorOptions(), spec())) == 33_892_995
        assert count(MappingNetwork(MappingOptions(), spec())) == 2_438_272
        assert count(StyleEncoder(StyleEncoderOptions(), spec())) == 20_916_928
        assert count(StarganV2Discriminator(TrunkOptions(), spec())) == 20_852_290


def norm(x: Tensor) -> Tensor:
    mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), unbiased=False, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


def convolved(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer's convolution of what LeakyReLU makes of x."""
    y: Tensor = layer(torch.where(x > 0, x, 0.2 * x))
    return y


def test_blocks_are_those_of_the_paper() -> None:
    """Of the figures in its appendix; branches in the order of the authors' code."""
    torch.manual_seed(0)
    x, style = torch.randn(2, 4, 8, 8, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    down = Down(4, 6, normalized=True).double()
    for each in (*down.first_norm.parameters(), *down.second_norm.parameters()):
        nn.init.normal_(each)

    def affine(layer: Any, x: Tensor) -> Tensor:
        y: Tensor = norm(x) * layer.weight[:, None, None] + layer.bias[:, None, None]
        return y

    y = F.avg_pool2d(convolved(down.first, affine(down.first_norm, x)), 2)
    y = convolved(down.second, affine(down.second_norm, y))
    expected = (y + F.avg_pool2d(down.shortcut(x), 2)) / math.sqrt(2)
    torch.testing.assert_close(down(x), expected)

    up = Up(4, 6, 5).double()

    def adain(layer: Any, x: Tensor) -> Tensor:
        scale, shift = layer.film.linear(style)[:, :, None, None].chunk(2, 1)
        y: Tensor = (1 + scale) * norm(x) + shift
        return y

    def doubled(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    first = F.leaky_relu(adain(up.first_norm, x), 0.2)
    y = convolved(up.second, adain(up.second_norm, up.first(doubled(first))))
    torch.testing.assert_close(up(x, style), (y + up.shortcut(doubled(x))) / math.sqrt(2))


def test_weights_begin_with_the_variance_of_he() -> None:
    network = StarganV2Generator(StarganV2GeneratorOptions(width=32, style=400), spec(64))
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear)) and m.weight[0].numel() > 250]
    assert len(layers) > 8
    for layer in layers:
        expected = math.sqrt(2 / layer.weight[0].numel())
        assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.05)
        assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize("name", ["mapping", "style", "discriminator"])
def test_each_sample_gets_the_output_of_its_own_domain(name: str) -> None:
    """The same in a mixed batch as alone; and it depends on the weights of no other domain."""
    torch.manual_seed(0)
    where = spec(32, "abc")
    networks: dict[str, Callable[[], Any]] = {
        "mapping": lambda: MappingNetwork(MappingOptions(width=8), where),
        "style": lambda: StyleEncoder(StyleEncoderOptions(width=4), where),
        "discriminator": lambda: StarganV2Discriminator(TrunkOptions(width=4), where),
    }
    network = networks[name]()
    x = torch.randn(4, 16) if name == "mapping" else torch.randn(4, 3, 32, 32)

    def run(x: Tensor, domain: Tensor) -> Tensor:
        y: Any = network(x, domain)
        result: Tensor = y.logits[0] if name == "discriminator" else y
        return result

    domain = torch.tensor([2, 0, 1, 0])
    together = run(x, domain)
    for i in range(4):
        torch.testing.assert_close(together[i : i + 1], run(x[i : i + 1], domain[i : i + 1]))
    assert not torch.allclose(together, run(x, (domain + 1) % 3))
    together[:2].sum().backward()  # samples of the domains 2 and 0
    if name == "discriminator":
        assert network.own.bias.grad.tolist() == [1, 0, 1]
    else:
        biases = [[*each.parameters()][-1] for each in network.own]
        assert [bool(each.grad.any()) for each in biases] == [True, False, True]


@pytest.mark.parametrize("size", [(32, 32), (48, 48), (64, 96)])
def test_sizes_that_are_no_power_of_2(size: tuple[int, int]) -> None:
    where = NetworkSpec(3, 3, 0, size, ("a", "b"), ("t",))
    x, domain = torch.randn(2, 3, *size), torch.tensor([0, 1])
    assert StyleEncoder(StyleEncoderOptions(width=4), where)(x, domain).shape == (2, 64)
    assert StarganV2Discriminator(TrunkOptions(width=4), where)(x, domain).logits[0].shape == (2, 1)
    generator = StarganV2Generator(StarganV2GeneratorOptions(width=4), where)
    assert generator(x, torch.randn(2, 64)).shape == x.shape
    assert min(size) // generator.stride in range(16, 32)


def test_what_cannot_be_is_said_in_one_line() -> None:
    with pytest.raises(UsageError, match="2x2 pixels are too few; expected 4 or more"):
        StyleEncoder(StyleEncoderOptions(), NetworkSpec(3, 3, 0, (2, 2), ("a",), ("t",)))
    with pytest.raises(UsageError, match="too small for downs = 5; at most 4"):
        StarganV2Generator(StarganV2GeneratorOptions(downs=5), spec(32))
    with pytest.raises(UsageError, match='set nodes = "stargan_v2_translation"'):
        StarganV2Generator(StarganV2GeneratorOptions(width=4), spec(32))(torch.zeros(1, 3, 32, 32))
    with pytest.raises(UsageError, match=r"latent = 16, and nodes\.latent is 8"):
        MappingNetwork(MappingOptions(width=4), spec())(torch.zeros(1, 8), torch.zeros(1, dtype=torch.long))


# Training


def samples_of(step: int) -> dict[str, Tensor]:
    """Return the samples of a step, in float64, and the domains that they are of."""
    random = torch.Generator().manual_seed(step)
    shape = (BATCH, 3, SIZE, SIZE)
    names = ("source", "target", "other")
    found = {each: 2 * torch.rand(shape, generator=random, dtype=torch.float64) - 1 for each in names}
    found["source_domain"] = torch.randint(3, (BATCH,), generator=random)
    found["target_domain"] = (found["source_domain"] + torch.randint(1, 3, (BATCH,), generator=random)) % 3
    return found


def rng_of(step: int, rows: Tensor) -> CounterRng:
    return CounterRng(7, np.full(len(rows), step), rows.numpy(), dtype=torch.float64)


def micro_batches(plan: Plan, step: int, clock: Clock) -> list[dict[Any, Any]]:
    samples, found = samples_of(step), []
    for rows in torch.arange(BATCH).chunk(plan.recipe.train.accumulate):
        target_domain = samples["target_domain"][rows]
        source = Side(samples["source"][rows], samples["source_domain"][rows])
        target = Side(samples["target"][rows], target_domain, other=Side(samples["other"][rows], target_domain))
        (translation,) = plan.translations
        found.append(assemble_inputs(plan, translation, source, target, rng_of(step, rows), clock, training=True))
    return found


def loop(nets: Mapping[str, Any], steps: int) -> None:
    """The training loop of the authors' code, of which the discriminator's loss is twice as large."""
    g, f, e, d = (nets[name].network for name in ("g", "mapping", "style", "d"))
    optimizers = {
        net: torch.optim.Adam(net.parameters(), lr, (0.0, 0.99), weight_decay=decay)
        for net, lr, decay in ((g, 1e-3, 1e-4), (e, 1e-3, 1e-4), (f, 2e-4, 1e-4), (d, 1e-3, 5e-5))
    }

    def update(loss: Tensor, *networks: nn.Module) -> None:
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        for network in networks:
            optimizers[network].step()

    def binary_cross_entropy(x: Tensor, domain: Tensor, target: float) -> Tensor:
        logits = d(x, domain).logits[0]
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    def loss_d(target: Tensor, fake: Tensor, domain: Tensor) -> Tensor:
        real = target.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(d(real, domain).logits[0].sum(), real, create_graph=True)
        r1 = 0.5 * gradient.pow(2).flatten(1).sum(1).mean()
        both = binary_cross_entropy(target, domain, 1) + binary_cross_entropy(fake.detach(), domain, 0)
        return 0.5 * (both + r1)

    def loss_g(x: Tensor, source: Tensor, domain: Tensor, style: Tensor, other: Tensor, weight: float) -> Tensor:
        fake = g(x, style)
        reconstruction = (e(fake, domain) - style).abs().mean()
        diversity = (fake - g(x, other).detach()).abs().mean()
        cycle = (g(fake, e(x, source)) - x).abs().mean()
        return binary_cross_entropy(fake, domain, 1) + 0.9 * reconstruction - weight * diversity + 1.1 * cycle

    for step in range(steps):
        x, target, other, source, domain = samples_of(step).values()
        rng = rng_of(step, torch.arange(BATCH))
        z, other_z = (rng.normal(name, LATENT) for name in ("latents|style", "other style"))
        weight = 2.0 * (1 - step / 4)
        update(loss_d(target, g(x, f(z, domain)), domain), d)
        update(loss_d(target, g(x, e(target, domain)), domain), d)
        update(loss_g(x, source, domain, f(z, domain), f(other_z, domain), weight), g, f, e)
        update(loss_g(x, source, domain, e(target, domain), e(other, domain), weight), g)


@pytest.mark.parametrize(("merge", "accumulate"), [("always", 1), ("never", 1), ("always", 2)])
def test_four_updates_of_a_step_match_a_loop(
    planned: Any, double_engine: Any, assert_same_weights: Any, merge: str, accumulate: int
) -> None:
    plan = planned(RECIPE, overrides=(f"train.merge='{merge}'", f"train.accumulate={accumulate}"))
    engine, copies = double_engine(plan)
    random = torch.Generator().manual_seed(0)
    for name, network in engine.networks.items():
        for parameter in network.parameters():  # the decay alone moves biases that a norm removes, unless they are 0
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=random, dtype=parameter.dtype)
        copies[name].load_state_dict(network.state_dict())
    start = {name: [p.detach().clone() for p in each.parameters()] for name, each in copies.items()}
    for step in range(3):
        clock = Clock(step=step, run=step / 4)
        engine.train_step(micro_batches(plan, step, clock), clock)
    loop(copies, 3)
    assert sorted(copies) == ["d", "g", "mapping", "style"]
    for name, network in copies.items():
        changes = [float((p.detach() - q).abs().max()) for p, q in zip(network.parameters(), start[name], strict=True)]
        assert max(changes) > 1e-4, f"{name} was not trained"
    assert_same_weights(engine, copies)


# Use


@pytest.fixture
def used(planned: Any, double_engine: Any) -> Callable[..., Any]:
    """`used(**asked)`: the networks, the samples of a step, and their fakes as they are with what a user asks for."""
    plan = planned(RECIPE)
    engine, copies = double_engine(plan)

    def run(seed: int = 0, **asked: Any) -> tuple[Mapping[str, Any], dict[str, Tensor], Tensor]:
        samples = samples_of(0)
        rng = rng_of(0, torch.arange(BATCH))
        inputs = assemble_inputs(
            plan,
            plan.translations[0],
            Side(samples["source"], samples["source_domain"]),
            Side(None, samples["target_domain"]),
            rng,
            Clock(),
            training=False,
            latents=ScopedRng(rng.other(seed), "latents"),
            **asked,
        )
        fake = engine.networks.compute(inputs, plan.translations[0], ["fake"])["fake"]
        return copies, samples, fake

    return run


def test_a_reference_gives_its_own_style(used: Any) -> None:
    nets, samples, fake = used(reference=samples_of(1)["target"])
    style = nets["style"].network(samples_of(1)["target"], samples["target_domain"])
    torch.testing.assert_close(fake, nets["g"].network(samples["source"], style))


def test_latent_codes_vary_the_style(used: Any) -> None:
    first, again, other = (used(seed)[2] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert float((first - other).abs().mean(dim=(1, 2, 3)).min()) > 0.01


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_the_strength_goes_from_the_style_of_the_source_to_the_new_one(used: Any, strength: float) -> None:
    nets, samples, fake = used(reference=samples_of(1)["target"], strength=strength)
    own = nets["style"].network(samples["source"], samples["source_domain"])
    new = nets["style"].network(samples_of(1)["target"], samples["target_domain"])
    expected = nets["g"].network(samples["source"], (1 - strength) * own + strength * new)
    torch.testing.assert_close(fake, expected)
