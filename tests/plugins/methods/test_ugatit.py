"""U-GAT-IT: parity with a hand-written network and training loop, sizes, attention, and what previews show of it."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized
from transgan_methods.ugatit import (
    AttentionInChange,
    AttentionOptions,
    LayerInstanceNorm,
    UgatitDiscriminator,
    UgatitDiscriminatorOptions,
    UgatitGenerator,
    UgatitNodes,
    UgatitOptions,
)

from transgan.api import NetworkSpec, Options, Translation, UsageError

SPEC = NetworkSpec(3, 3, 0, (16, 16), ("a", "b"), ("t",))
WHOLE = NetworkSpec(3, 3, 0, (256, 256), ("a", "b"), ("t",))
ONE = Translation("t", "a", "b")

RECIPE = """
train = { steps = 4, batch = 4 }
nodes = "ugatit_translation"
[generators.g]
use = "ugatit"
per = "translation"
width = 4
downs = 1
blocks = 1
light = true
[discriminators.d]
use = "ugatit"
width = 4
layers = 4
[losses]
lsgan = 2.0
cycle = 10.0
identity = 10.0
class_activation = 1000.0
[[phases]]
side = "discriminator"
[[phases]]
side = "generator"
"""


def normalised(x: Tensor, rho: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """The paper's equation 1, by means and variances."""
    instance = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), False, keepdim=True) + 1e-5).sqrt()
    layer = (x - x.mean((1, 2, 3), keepdim=True)) / (x.var((1, 2, 3), False, keepdim=True) + 1e-5).sqrt()
    return (rho * instance + (1 - rho) * layer) * scale[:, :, None, None] + shift[:, :, None, None]


def instance_norm(x: Tensor) -> Tensor:
    return (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), False, keepdim=True) + 1e-5).sqrt()


def padded(x: Tensor, weight: Tensor, stride: int = 1, by: int | None = None, bias: Tensor | None = None) -> Tensor:
    by = weight.shape[-1] // 2 if by is None else by
    return F.conv2d(F.pad(x, (by,) * 4, mode="reflect"), weight, bias, stride)


def translated(w: Mapping[str, Tensor], x: Tensor, light: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The generator with one downsampling and one block, in plain operations on its weights."""
    x = F.relu(instance_norm(padded(x, w["encoder.0.weight"])))
    x = F.relu(instance_norm(padded(x, w["encoder.3.weight"], 2)))
    y = F.relu(instance_norm(padded(x, w["encoder.6.layers.0.weight"])))
    x = x + instance_norm(padded(y, w["encoder.6.layers.3.weight"]))
    mean, most = w["activation.mean.weight"], w["activation.maximum.weight"]
    logits = torch.cat([x.mean((2, 3)) @ mean.T, x.flatten(2).max(2).values @ most.T], 1)
    both = torch.cat([x * mean[0][:, None, None], x * most[0][:, None, None]], 1)
    x = F.relu(F.conv2d(both, w["activation.mix.weight"], w["activation.mix.bias"]))
    h = x.mean((2, 3)) if light else x.reshape(len(x), -1)
    h = F.relu(F.relu(h @ w["hidden.0.weight"].T) @ w["hidden.2.weight"].T)
    scale, shift = h @ w["scale.weight"].T, h @ w["shift.weight"].T
    y = F.relu(normalised(padded(x, w["blocks.0.first.weight"]), w["blocks.0.first_norm.rho"], scale, shift))
    x = x + normalised(padded(y, w["blocks.0.second.weight"]), w["blocks.0.second_norm.rho"], scale, shift)
    x = padded(x.repeat_interleave(2, 2).repeat_interleave(2, 3), w["decoder.1.weight"])
    x = F.relu(normalised(x, w["decoder.2.rho"], w["decoder.2.scale"], w["decoder.2.shift"]))
    return padded(x, w["decoder.4.weight"]).tanh(), logits, both.square().sum(1, keepdim=True)


def evaluated(network: Any, x: Tensor) -> list[Tensor]:
    """The discriminator with four layers in plain operations; its normalised weights are the network's."""
    for layer, stride in zip(network.layers, (2, 2, 1), strict=True):
        x = F.leaky_relu(padded(x, layer[0].weight, stride, 1, layer[0].bias), 0.2)
    a = network.activation
    logits = torch.cat([x.mean((2, 3)) @ a.mean.weight.T, x.flatten(2).max(2).values @ a.maximum.weight.T], 1)
    raw = [each.parametrizations.weight.original[0][:, None, None] for each in (a.mean, a.maximum)]
    x = F.leaky_relu(F.conv2d(torch.cat([x * each for each in raw], 1), a.mix.weight, a.mix.bias), 0.2)
    return [padded(x, network.last.weight, 1, 1), logits]


def loop(by: Any, nets: Mapping[str, Any], steps: list[Mapping[Any, Tensor]]) -> None:
    """Training in plain words: discriminators first, then both generators, whose rho is clipped."""
    ends = (("young", "old"), ("old", "young"))
    g = {a: nets[f"g.{a}-{b}"].network for a, b in ends}
    d = {b: nets[f"d.{b}"].network for _, b in ends}
    both, discriminators = by.adam(*g.values()), by.adam(*d.values())
    rhos = [each.rho for network in g.values() for each in network.modules() if isinstance(each, LayerInstanceNorm)]
    for samples in steps:
        for network in d.values():
            for layer in network.modules():
                if is_parametrized(layer):  # a power iteration for each step
                    norm = layer.parametrizations.weight
                    norm[0].train()
                    norm[0](norm.original)
                    norm[0].eval()
        loss_d = torch.zeros((), dtype=torch.float64)
        for a, b in ends:
            fake = translated(dict(g[a].named_parameters()), samples["age", a], True)[0].detach()
            for real_logits, fake_logits in zip(evaluated(d[b], samples["age", b]), evaluated(d[b], fake), strict=True):
                loss_d = loss_d + 0.5 * (by.square(real_logits, 1) + by.square(fake_logits, 0))
        by.update(discriminators, loss_d)
        loss = torch.zeros((), dtype=torch.float64)
        for a, b in ends:
            there, back = dict(g[a].named_parameters()), dict(g[b].named_parameters())
            x, y = samples["age", a], samples["age", b]
            fake, logits, _ = translated(there, x, True)
            same, logits_of_target, _ = translated(there, y, True)
            loss = loss + sum(by.square(each, 1) for each in evaluated(d[b], fake))
            loss = loss + 10 * F.l1_loss(translated(back, fake, True)[0], x) + 10 * F.l1_loss(same, y)
            loss = loss + 1000 * F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
            loss = loss + 1000 * F.binary_cross_entropy_with_logits(logits_of_target, torch.zeros_like(logits))
        by.update(both, loss)
        for rho in rhos:
            rho.data.clamp_(0, 1)


def test_it_matches_a_loop(trains_like: Any, execution: tuple[str, ...]) -> None:
    trains_like(RECIPE, loop, execution)


@pytest.mark.parametrize("light", [True, False])
def test_the_generator_matches_a_hand_written_one(light: bool) -> None:
    torch.manual_seed(1)
    network = UgatitGenerator(UgatitOptions(width=4, downs=1, blocks=1, light=light), SPEC).double()
    for module in network.modules():
        if isinstance(module, LayerInstanceNorm):
            nn.init.uniform_(module.rho, 0.2, 0.8)
    x = torch.rand(2, 3, 16, 16, dtype=torch.float64) * 2 - 1
    expected = translated(network.state_dict(), x, light)
    for one, other in zip(network(x, attention=True), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(network(x), expected[0], rtol=1e-9, atol=1e-9)


def test_sizes_are_the_published_ones() -> None:
    """670.8 and 134.0 million parameters of two generators and four discriminators, full and light, at 256 pixels."""
    with torch.device("meta"):
        pair = [UgatitGenerator(UgatitOptions(light=light), WHOLE) for light in (False, True)]
        networks = [UgatitDiscriminator(UgatitDiscriminatorOptions(layers=n), WHOLE) for n in (7, 5)]
        logits = [network(torch.empty(1, 3, 256, 256)).logits for network in networks]
    count = lambda network: sum(p.numel() for p in network.parameters())  # noqa: E731
    adversaries = 2 * sum(map(count, networks))
    assert [round((2 * count(g) + adversaries) / 1e6, 1) for g in pair] == [670.8, 134.0]
    assert [[tuple(each.shape) for each in of] for of in logits] == [
        [(1, 1, 6, 6), (1, 1, 2)],
        [(1, 1, 30, 30), (1, 1, 2)],
    ]


def test_a_step_leaves_the_share_of_instance_norm_within_0_and_1() -> None:
    network = UgatitGenerator(UgatitOptions(width=4, downs=1, blocks=1), SPEC)
    norms = [each for each in network.modules() if isinstance(each, LayerInstanceNorm)]
    assert [float(each.rho.detach().mean()) for each in norms] == pytest.approx([0.9, 0.9, 0.0])
    with torch.no_grad():
        for each in norms:
            each.rho.add_(torch.linspace(-1, 1, len(each.rho))[:, None, None])
    network.after_step()
    for each in norms:
        assert each.rho.min() >= 0 and each.rho.max() <= 1 and each.rho.std() > 0.1


def test_other_sizes_are_translated_where_only_their_form_allows_it() -> None:
    for light in (True, False):
        network = UgatitGenerator(UgatitOptions(width=4, downs=1, blocks=1, light=light), SPEC)
        assert network(torch.zeros(1, 3, 20, 28)).shape == (1, 3, 20, 28)


def test_too_few_pixels_are_an_error() -> None:
    with pytest.raises(UsageError, match="'ugatit': 16x16 pixels are too few for layers = 5, expected 24 or more"):
        UgatitDiscriminator(UgatitDiscriminatorOptions(layers=5), SPEC)
    with pytest.raises(UsageError, match="'ugatit': 16x16 pixels are too few for downs = 4; choose fewer"):
        UgatitGenerator(UgatitOptions(downs=4), SPEC)


def test_attention_is_measured_where_source_and_truth_differ() -> None:
    metric = AttentionInChange(AttentionOptions())
    source = torch.zeros(2, 3, 8, 8)
    truth = source.clone()
    truth[:, 1, :4] = 0.5  # the upper half of both
    attention = torch.full((2, 1, 4, 4), -1.0)
    attention[0, :, 0], attention[1] = 1.0, 0.0  # only there; everywhere alike
    metric.reset()
    metric.update(ONE, torch.cat([source, source]), torch.cat([truth, source]), torch.cat([attention, attention]))
    figures = metric.compute()[ONE]  # the samples without a change are not counted
    assert figures == pytest.approx({"attention_in_change": 0.75, "changed_share": 0.5})


def test_strength_scales_the_change() -> None:
    x = torch.rand(1, 3, 4, 4)
    attended = (x + 1, torch.zeros(1, 2), torch.zeros(1, 1, 2, 2))
    torch.testing.assert_close(UgatitNodes(Options()).fake(x, attended, 0.25), x + 0.25)
    assert UgatitNodes(Options()).fake(x, attended, None) is attended[0]
