"""MUNIT and UNIT: parity with hand-written loops, and the parts of their networks."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transgan_methods.autoencoder import AdaptiveResidual, LayerNorm
from transgan_methods.munit import Munit, MunitOptions, Unit, UnitOptions

from transgan.api import NetworkSpec, UsageError

Samples = Mapping[Any, Tensor]

MUNIT = """
train = { steps = 4, batch = 4 }
[nodes]
use = "munit_translation"
numbers = 3
[generators.g]
use = "munit"
per = "domain"
width = 4
downs = 1
blocks = 1
style_downs = 2
numbers = 3
hidden = 6
[discriminators.d]
use = "patch"
width = 4
layers = 1
norm = "none"
[losses]
lsgan = 1.0
self_reconstruction = 10.0
content_reconstruction = 1.0
code_reconstruction = 1.0
cycle = 10.0
"""
UNIT = """
train = { steps = 4, batch = 4 }
nodes = "unit_translation"
[generators.g]
use = "unit"
width = 4
downs = 1
blocks = 2
[discriminators.d]
use = "patch"
width = 4
layers = 1
norm = "none"
[losses]
lsgan = 1.0
self_reconstruction = 10.0
cycle = 10.0
latent_divergence = 0.01
"""
SPEC = NetworkSpec(3, 3, 0, (16, 16), ("a", "b"), ("t",))


def munit(by: Any, nets: Mapping[str, Any], steps: list[Samples]) -> None:
    """`MUNIT_Trainer.gen_update` and `dis_update` in plain words; both domains draw the same codes in this test."""
    g = {name: nets[f"g.{name}"].network for name in ("young", "old")}
    d = {name: nets[f"d.{name}"] for name in ("young", "old")}
    both, discriminators = by.adam(*g.values()), by.adam(*d.values())
    for step, samples in enumerate(steps):
        code = by.normal(step, "latents|code", 3)
        loss, fakes = torch.zeros((), dtype=torch.float64), {}
        for a, b in (("young", "old"), ("old", "young")):
            x = samples["age", a]
            content, style = g[a].content(x), g[a].style(x)
            fake = fakes[b] = g[b].decoder(content, code)
            content_again, code_again = g[b].content(fake), g[b].style(fake)
            loss = loss + by.square(d[b](fake).logits[0], 1) + 10 * F.l1_loss(g[a].decoder(content, style), x)
            loss = loss + F.l1_loss(content_again, content) + F.l1_loss(code_again, code)
            loss = loss + 10 * F.l1_loss(g[a].decoder(content_again, style), x)
        by.update(both, loss)
        by.update(discriminators, sum(by.distinguish(d[b], samples["age", b], fakes[b]) for b in d))


def unit(by: Any, nets: Mapping[str, Any], steps: list[Samples]) -> None:
    """`UNIT_Trainer.gen_update` and `dis_update` in plain words."""
    g = nets["g"].network
    d = {name: nets[f"d.{name}"] for name in ("young", "old")}
    both, discriminators = by.adam(g), by.adam(*d.values())
    encode = lambda x, of: g.shared_encoder(g.encoders[of](x))  # noqa: E731
    decode = lambda z, of: g.decoders[of](g.shared_decoder(z), None)  # noqa: E731
    for step, samples in enumerate(steps):
        loss, fakes = torch.zeros((), dtype=torch.float64), {}
        for a, b in (("young", "old"), ("old", "young")):
            x = samples["age", a]
            mean = encode(x, a)
            z = mean + by.normal(step, "latent", *mean.shape[1:])
            fake = fakes[b] = decode(z, b)
            mean_again = encode(fake, b)
            z_again = mean_again + by.normal(step, "fake_latent", *mean.shape[1:])
            loss = loss + by.square(d[b](fake).logits[0], 1) + 10 * F.l1_loss(decode(z, a), x)
            loss = loss + 10 * F.l1_loss(decode(z_again, a), x)
            loss = loss + 0.01 * ((mean**2).mean() + (mean_again**2).mean())
        by.update(both, loss)
        by.update(discriminators, sum(by.distinguish(d[b], samples["age", b], fakes[b]) for b in d))


def test_munit_matches_a_loop(trains_like: Any, execution: tuple[str, ...]) -> None:
    trains_like(MUNIT, munit, execution)


def test_unit_matches_a_loop(trains_like: Any, execution: tuple[str, ...]) -> None:
    trains_like(UNIT, unit, execution)


def test_without_a_part_a_sample_is_decoded_with_the_code_given_or_its_own() -> None:
    network = Munit(MunitOptions(width=4, downs=1, blocks=1, numbers=3, style_downs=2, hidden=6), SPEC)
    x, code = torch.randn(2, 3, 16, 16).tanh(), torch.randn(2, 3)
    content = network(x, part="content")
    assert content.shape == (2, 8, 8, 8)
    torch.testing.assert_close(network(x, code), network(content, code, part="decode"))
    torch.testing.assert_close(network(x), network(content, network(x, part="style"), part="decode"))


def test_the_code_sets_mean_and_deviation_of_what_a_block_adds() -> None:
    """Adaptive instance norm (Huang and Belongie, 2017, eq. 8): with zero scales the block adds its shift alone."""
    block, x = AdaptiveResidual(4).double(), torch.randn(2, 4, 6, 6, dtype=torch.float64)
    modulation = torch.zeros(2, 16, dtype=torch.float64)
    modulation[:, 12:] = torch.arange(4.0)
    torch.testing.assert_close(block(x, modulation), x + torch.arange(4.0, dtype=torch.float64)[:, None, None])


def test_layer_norm_is_torchs_over_all_axes_of_a_sample() -> None:
    norm, x = LayerNorm(4).double(), torch.randn(2, 4, 6, 6, dtype=torch.float64)
    expected = F.layer_norm(x, x.shape[1:]) * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), expected)


def test_a_latent_is_decoded_in_every_domain_and_the_middle_is_shared() -> None:
    network = Unit(UnitOptions(width=4, downs=1, blocks=2), SPEC)
    z = network(torch.randn(1, 3, 16, 16).tanh(), of="a", part="encode")
    outputs = [network(z, of=name, part="decode") for name in SPEC.domains]
    assert outputs[0].shape == outputs[1].shape == (1, 3, 16, 16)
    assert not torch.equal(*outputs)
    counts = [sum(p.numel() for p in module.parameters()) for module in (network.shared_encoder, network.encoders["a"])]
    assert sum(p.numel() for p in network.encoders.parameters()) == 2 * counts[1] and counts[0] > 0


def test_a_unit_outside_of_its_nodes_says_which_ones_it_needs() -> None:
    with pytest.raises(UsageError, match='is used by nodes = "unit_translation"'):
        Unit(UnitOptions(width=4, downs=1, blocks=1), SPEC)(torch.zeros(1, 3, 16, 16))
