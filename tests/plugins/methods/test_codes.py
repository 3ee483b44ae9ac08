"""Augmented CycleGAN and BicycleGAN: parity with hand-written loops, closed forms, and what their models do at use."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transgan_methods.codes import (
    AugmentedNodes,
    AugmentedOptions,
    CodeDivergence,
    CodeEncoder,
    CodeEncoderOptions,
    CodeReconstruction,
)

from transgan.api import NetworkSpec, Options, Translation
from transgan.plan import Plan
from transgan.rng import CounterRng

Match = Callable[..., Plan]
Samples = Mapping[Any, Tensor]

AUGMENTED = """
train = { steps = 4, batch = 4 }
[nodes]
use = "augmented_translation"
numbers = 3
coded = ["old"]
[conditionings.code]
use = "embedding"
of = "code"
numbers = 3
width = 5
[generators.there]
use = "resnet"
per = "translation"
translations = ["young -> old"]
width = 4
blocks = 1
[generators.back]
use = "resnet"
per = "translation"
translations = ["old -> young"]
conditionings = []
width = 4
blocks = 1
[encoders.code]
per = "domain"
inputs = 6
numbers = 3
width = 4
downs = 2
norm = "none"
[discriminators.d]
use = "patch"
width = 4
layers = 1
[discriminators.prior]
use = "code"
real = "source_prior"
fake = "source_code"
translations = ["old -> young"]
numbers = 3
width = 4
[losses]
lsgan = 1.0
cycle = 1.0
code_reconstruction = 0.025
"""
BICYCLE = """
train = { steps = 4, batch = 4 }
[domains]
label = { age = [20, 30] }
photo = { age = [20, 30] }
[tasks.paint]
from = "label"
to = "photo"
paired = true
[nodes]
use = "bicycle_translation"
numbers = 3
[conditionings.code]
use = "embedding"
of = "code"
numbers = 3
width = 5
[generators.g]
use = "resnet"
width = 4
blocks = 1
[encoders.code]
variational = true
numbers = 3
width = 4
downs = 2
norm = "none"
[discriminators.encoded]
use = "patch"
fake = "encoded_fake"
width = 4
layers = 1
[discriminators.random]
use = "patch"
width = 4
layers = 1
[losses]
lsgan = 1.0
encoded_paired = 10.0
code_divergence = 0.01
code_reconstruction = 0.5
"""


def augmented(by: Any, nets: Mapping[str, Any], steps: list[Samples]) -> None:
    """Section 4 of the paper with a code on one side; the unused encoder of the side without is not trained."""
    there, back, encoder = nets["there.young-old"], nets["back.old-young"], nets["code.old"]
    d_old, d_young, d_code = nets["d.old"], nets["d.young"], nets["prior.young"]
    both, others = by.adam(there, back, encoder), by.adam(d_old, d_young, d_code)
    for step, samples in enumerate(steps):
        young, old = samples["age", "young"], samples["age", "old"]
        code = by.normal(step, "latents|code", 3)
        fake_old, fake_young = there(young, code=code), back(old)
        code_read, code_old = encoder(torch.cat([young, fake_old], 1)), encoder(torch.cat([fake_young, old], 1))
        loss = sum(
            by.square(d(x).logits[0], 1) for d, x in ((d_old, fake_old), (d_young, fake_young), (d_code, code_old))
        )
        loss = loss + F.l1_loss(back(fake_old), young) + F.l1_loss(there(fake_young, code=code_old), old)
        by.update(both, loss + 0.025 * F.l1_loss(code_read, code))
        pairs = (
            (d_old, old, fake_old),
            (d_young, young, fake_young),
            (d_code, by.normal(step, "source_prior", 3), code_old),
        )
        by.update(others, torch.stack([by.distinguish(*each) for each in pairs]).sum())


def bicycle(by: Any, nets: Mapping[str, Any], steps: list[Samples]) -> None:
    """Equation 8 of the paper: what reads the random code back trains the generator alone."""
    generator, encoder, d_encoded, d_random = nets["g"], nets["code"], nets["encoded.photo"], nets["random.photo"]
    both, others = by.adam(generator, encoder), by.adam(d_encoded, d_random)
    for step, samples in enumerate(steps):
        label, photo = samples["paint", "label"], samples["paint", "photo"]
        mean, log_variance = encoder(photo)
        encoded = generator(label, code=mean + (0.5 * log_variance).exp() * by.normal(step, "encoded", 3))
        code = by.normal(step, "latents|code", 3)
        fake = generator(label, code=code)
        frozen = {name: p.detach() for name, p in encoder.named_parameters()}
        read, _ = torch.func.functional_call(encoder, frozen, (fake,))
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum() / len(mean)
        loss = by.square(d_encoded(encoded).logits[0], 1) + by.square(d_random(fake).logits[0], 1)
        by.update(both, loss + 10 * F.l1_loss(encoded, photo) + 0.01 * divergence + 0.5 * F.l1_loss(read, code))
        by.update(others, by.distinguish(d_encoded, photo, encoded) + by.distinguish(d_random, photo, fake))


def test_augmented_cyclegan_matches_a_loop(planned: Any, trains_like: Any, execution: tuple[str, ...]) -> None:
    trains_like(AUGMENTED, augmented, execution, unused=["code.young"])


def test_bicyclegan_matches_a_loop(trains_like: Any, execution: tuple[str, ...]) -> None:
    trains_like(BICYCLE, bicycle, execution)


def test_by_default_every_domain_has_codes() -> None:
    rng, source = CounterRng(0, np.zeros(2), np.arange(2)), torch.zeros(2, 3, 4, 4)
    for options, target, coded in (({}, "a", True), ({"coded": ["a"]}, "a", True), ({"coded": ["a"]}, "b", False)):
        nodes = AugmentedNodes(AugmentedOptions(**options))
        code = nodes.code(Translation("t", "x", target), rng, source, None)
        assert (code is not None) == coded


def test_the_divergence_is_that_of_normal_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (0.5 * log_variance).exp()), torch.distributions.Normal(0.0, 1.0)
    )
    found = CodeDivergence(Options()).for_generator((mean, log_variance))
    torch.testing.assert_close(found, expected.sum(1).mean())


def test_a_translation_without_a_code_has_nothing_to_read_back() -> None:
    fake = torch.zeros(2, 3, 4, 4)
    assert CodeReconstruction(Options()).for_generator(fake, None, None) == 0


def test_an_encoder_without_norm_tells_plain_colours_apart() -> None:
    """Instance norm removes the mean of every channel: of a plain picture nothing is left but what padding adds."""
    spec = NetworkSpec(3, 3, 0, (16, 16), ("a", "b"), ("t",))
    colours = torch.tensor([[-0.5, 0.5, 0.1], [0.8, -0.2, 0.4]])
    encoder = CodeEncoder(CodeEncoderOptions(numbers=4, width=8, downs=3, norm="none"), spec)
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.2)
    codes = encoder(colours[..., None, None].expand(-1, -1, 16, 16))
    assert codes.shape == (2, 4) and float((codes[0] - codes[1]).detach().abs().mean()) > 1e-2
