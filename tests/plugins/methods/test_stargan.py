"""StarGAN: its discriminator against the authors' numbers, the step of a recipe against a loop."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transgan_methods.stargan import StarganDiscriminator, StarganDiscriminatorOptions

from transgan.api import NetworkSpec, UsageError
from transgan.plan import Plan
from transgan.rng import CounterRng

Samples = Mapping[Any, Tensor]

RECIPE = """
[train]
steps = 4
batch = 4
[tasks.hair]
between = ["white", "black", "old"]
targets = "random"
[optimizers]
generator = { lr = 1e-3 }
discriminator = { lr = 1e-3 }
[conditionings]
domain = { use = "channel", of = "domain" }
[generators.g]
use = "resnet"
width = 4
blocks = 1
affine = true
padding = "zero"
[discriminators.d]
use = "stargan"
per = "run"
width = 4
layers = 2
[losses]
wasserstein = 1.0
gradient_penalty = { weight = 10.0, of = "sum" }
domain_classification = 0.5
cycle = 10.0
[[phases]]
side = "discriminator"
[[phases]]
side = "generator"
every = 2
"""


def discriminator(size: int, domains: str = "abcde", **options: int) -> StarganDiscriminator:
    spec = NetworkSpec(3, 3, 0, (size, size), tuple(domains), ("t",))
    return StarganDiscriminator(StarganDiscriminatorOptions(**options), spec)


def test_the_parameter_count_is_that_of_the_authors_code() -> None:
    """At 128 pixels, with five classes."""
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in discriminator(128).parameters()) == 44_762_048


def test_outputs_have_the_shapes_of_the_paper() -> None:
    output = discriminator(128, width=2)(torch.zeros(2, 3, 128, 128))
    assert [logits.shape for logits in output.logits] == [(2, 1, 2, 2)]
    assert output.class_logits is not None and output.class_logits.shape == (2, 5)
    assert [tuple(each.shape[1:]) for each in output.features] == [(2 * 2**i, 64 >> i, 64 >> i) for i in range(6)]


def test_a_patch_sees_what_a_stack_of_convolutions_sees() -> None:
    """Compared with the formulas: strided 4x4 convolutions and LeakyReLU of slope 0.01, and both heads linear."""
    torch.manual_seed(0)
    network, x = discriminator(16, "abc", width=3, layers=2), torch.randn(2, 3, 16, 16)
    first, second, last, classifier = (m for m in network.modules() if isinstance(m, nn.Conv2d))
    y = F.conv2d(x, first.weight, first.bias, stride=2, padding=1)
    y = F.conv2d(torch.where(y > 0, y, 0.01 * y), second.weight, second.bias, stride=2, padding=1)
    y = torch.where(y > 0, y, 0.01 * y)
    output = network(x)
    torch.testing.assert_close(output.logits[0], F.conv2d(y, last.weight, padding=1))
    torch.testing.assert_close(output.class_logits, torch.einsum("nchw,kchw->nk", y, classifier.weight))


def test_samples_that_are_too_small_are_refused() -> None:
    with pytest.raises(UsageError, match="32x32 pixels are too few for layers = 6; choose fewer"):
        discriminator(32)


@pytest.mark.parametrize(("merge", "accumulate"), [("always", 1), ("never", 1), ("always", 2)])
def test_the_step_matches_a_loop(assert_matches_loop: Callable[..., Plan], merge: str, accumulate: int) -> None:
    def loop(nets: Mapping[str, Any], steps: list[Samples]) -> None:
        g, d = nets["g"].network, nets["d"].network
        optimizers = {net: torch.optim.Adam(net.parameters(), 1e-3, (0.5, 0.999)) for net in (g, d)}

        def translate(x: Tensor, domain: Tensor) -> Tensor:
            planes = F.one_hot(domain, 3).to(x)[:, :, None, None].expand(-1, -1, *x.shape[2:])
            y: Tensor = g(torch.cat([x, planes], 1))
            return y

        for number, samples in enumerate(steps):
            x, target = samples["hair", "source"], samples["hair", "target"]
            source, domain = samples["hair", "source_domain"], samples["hair", "target_domain"]
            fake = translate(x, domain)
            real_output, fake_output = d(target), d(fake.detach())
            loss = fake_output.logits[0].mean() - real_output.logits[0].mean()
            loss = loss + 0.5 * F.cross_entropy(real_output.class_logits, domain)
            rng = CounterRng(7, np.full(4, number), np.arange(4), dtype=torch.float64)
            share = rng.uniform("gradient_penalty/hair: * -> */d|0|between")[:, None, None, None]
            between = (share * target + (1 - share) * fake.detach()).requires_grad_()
            logits = d(between).logits[0]
            (gradient,) = torch.autograd.grad(logits, between, torch.ones_like(logits), create_graph=True)
            loss = loss + 10 * (gradient.flatten(1).square().sum(1).sqrt() - 1).square().mean()
            optimizers[d].zero_grad()
            loss.backward()
            optimizers[d].step()
            if number % 2:
                fake = translate(x, domain)
                output = d(fake)
                loss = 0.5 * F.cross_entropy(output.class_logits, domain) - output.logits[0].mean()
                loss = loss + 10 * (translate(fake, source) - x).abs().mean()
                optimizers[g].zero_grad()
                loss.backward()
                optimizers[g].step()

    assert_matches_loop(RECIPE, loop, (f"train.merge='{merge}'", f"train.accumulate={accumulate}"))
