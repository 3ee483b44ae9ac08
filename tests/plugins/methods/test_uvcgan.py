"""UVCGAN v2: parity with hand-written networks and a training loop, sizes, queues, and what the first stage masks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized

from transgan.api import NetworkSpec, UsageError
from transgan.rng import CounterRng

pytest.importorskip("timm", reason="the generator has timm's blocks")

from transgan_methods.uvcgan import (
    BatchHead,
    Inpainting,
    InpaintingOptions,
    UvcganDiscriminator,
    UvcganDiscriminatorOptions,
    UvcganGenerator,
    UvcganOptions,
)

SPEC = NetworkSpec(3, 3, 0, (16, 16), ("a", "b"), ("t",))
WHOLE = NetworkSpec(3, 3, 0, (256, 256), ("a", "b"), ("t",))

RECIPE = """
train = { steps = 4, batch = 4 }
[generators.g]
use = "uvcgan2"
per = "translation"
width = 4
downs = 1
features = 8
heads = 2
blocks = 1
[discriminators.d]
use = "uvcgan2"
width = 4
layers = 1
[losses]
lsgan = 1.0
cycle = 2.5
identity = 1.25
gradient_penalty = { weight = 4.0, form = "zero-centred" }
inpainting = { weight = 1.0, patch = 8 }
[[stages]]
share = 0.25
phases = [{ side = "generator", losses = ["inpainting"] }]
[[stages]]
share = 0.75
losses = { inpainting = 0.0 }
"""


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.01 * x)


def conv(w: Mapping[str, Tensor], name: str, x: Tensor, padding: int = 1, stride: int = 1) -> Tensor:
    return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride, padding)


def linear(w: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def modulated(w: Mapping[str, Tensor], name: str, x: Tensor, style: Tensor) -> Tensor:
    """Each sample with a kernel of its own (Karras et al., 2020, eq. 1 and 3)."""
    rows = []
    for one, of in zip(x, style, strict=True):
        kernel = w[f"{name}.conv.weight"] * (1 + w[f"{name}.share"] * linear(w, f"{name}.scale", of))[:, None, None]
        demodulation = 1 / (kernel.square().sum((1, 2, 3)) + 1e-6).sqrt()
        kernel, bias = kernel * demodulation[:, None, None, None], w[f"{name}.conv.bias"] * demodulation
        rows.append(F.conv2d(one[None], kernel, bias, padding=1))
    return torch.cat(rows)


def attention(w: Mapping[str, Tensor], name: str, x: Tensor, heads: int) -> Tensor:
    q, k, v = (each.unflatten(2, (heads, -1)).transpose(1, 2) for each in linear(w, f"{name}.qkv", x).chunk(3, 2))
    shares = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1)
    return linear(w, f"{name}.proj", (shares @ v).transpose(1, 2).flatten(2))


def layer_norm(w: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    y = (x - x.mean(-1, keepdim=True)) / (x.var(-1, False, keepdim=True) + 1e-5).sqrt()
    return y * w[f"{name}.weight"] + w[f"{name}.bias"]


def translated(w: Mapping[str, Tensor], x: Tensor, heads: int = 2) -> Tensor:
    """The generator with one level and one block, in plain operations on its weights; from and to [-1, 1]."""
    x = leaky(conv(w, "first", (x + 1) / 2))
    skipped = leaky(conv(w, "encoder.0.second", leaky(conv(w, "encoder.0.first", x))))
    x = conv(w, "downs.0", skipped, 0, 2)
    high, wide = x.shape[2:]
    places = [[-1 + 2 * i / (high - 1), -1 + 2 * j / (wide - 1)] for i in range(high) for j in range(wide)]
    embedded = linear(w, "transformer.place", torch.tensor(places, dtype=x.dtype)).sin().repeat(len(x), 1, 1)
    tokens = linear(w, "transformer.first", torch.cat([embedded, x.flatten(2).transpose(1, 2)], 2))
    t = torch.cat([tokens, w["transformer.token"].repeat(len(x), 1, 1)], 1)
    at, share = "transformer.blocks.0", w["transformer.blocks.0.share"]
    t = t + share * attention(w, f"{at}.block.attn", layer_norm(w, f"{at}.block.norm1", t), heads)
    h = F.gelu(linear(w, f"{at}.block.mlp.fc1", layer_norm(w, f"{at}.block.norm2", t)))
    t = t + share * linear(w, f"{at}.block.mlp.fc2", h)
    style = t[:, -1]
    x = linear(w, "transformer.last", t[:, :-1]).transpose(1, 2).reshape(x.shape)
    x = conv(w, "decoder.0.up", x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    x = leaky(modulated(w, "decoder.0.first", torch.cat([x, skipped], 1), style))
    x = leaky(modulated(w, "decoder.0.second", x, style))
    return 2 * conv(w, "last", x, 0).sigmoid() - 1


def features(d: Any, x: Tensor) -> Tensor:
    """The body: two convolutions, instance norm behind the second; its normalised weights are the network's."""
    first, second = (layer[0] for layer in d.layers)
    x = F.leaky_relu(F.conv2d((x + 1) / 2, first.weight, first.bias, 2, 1), 0.2)
    x = F.conv2d(x, second.weight, second.bias, 1, 1)
    return F.leaky_relu((x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), False, keepdim=True) + 1e-5).sqrt(), 0.2)


def evaluated(d: Any, z: Tensor, past: list[Tensor], weight: float = 1.0) -> Tensor:
    """The head: each sample's features, normalised with the past ones of a weight, each (C, H, W)."""
    rows = []
    for own in z:
        weighted = [(1.0, own), *((weight, each) for each in past)]
        total = sum(w for w, _ in weighted)
        mean = sum(w * each.mean((1, 2)) for w, each in weighted)[:, None, None] / total
        var = sum(w * (each - mean).square().mean((1, 2)) for w, each in weighted)[:, None, None] / total
        y = (own - mean) / (var + 1e-5).sqrt() * d.head.scale + d.head.shift
        rows.append(d.head.last(leaky(d.head.first(y[None]))))
    return torch.cat(rows)


def drawn(step: int, purpose: str, *shape: int) -> Tensor:
    return CounterRng(7, np.full(4, step), np.arange(4), dtype=torch.float64).uniform(purpose, *shape)


def loop(by: Any, nets: Mapping[str, Any], steps: list[Mapping[Any, Tensor]]) -> None:
    """Training in plain words: a step of inpainting, then translation, with a queue of features for each kind."""
    ends = (("young", "old"), ("old", "young"))
    g = {a: nets[f"g.{a}-{b}"].network for a, b in ends}
    d = {b: nets[f"d.{b}"].network for _, b in ends}
    both, discriminators = by.adam(*g.values()), by.adam(*d.values())
    past: dict[Any, list[Tensor]] = {(b, kind): [] for b in d for kind in ("real", "fake")}
    for step, samples in enumerate(steps):
        for network in d.values():
            for layer in network.modules():
                if is_parametrized(layer):  # a power iteration for each step
                    norm = layer.parametrizations.weight
                    norm[0].train()
                    norm[0](norm.original)
                    norm[0].eval()
        loss, fakes = torch.zeros((), dtype=torch.float64), {}
        for a, b in ends:
            there, back = dict(g[a].named_parameters()), dict(g[b].named_parameters())
            x, y = samples["age", a], samples["age", b]
            if step == 0:
                for sample, which in ((x, "source"), (y, "target")):
                    kept = drawn(step, f"inpainting|{which}", 1, 2, 2) >= 0.4
                    kept = F.interpolate(kept.double(), scale_factor=8) > 0
                    masked = (sample + 1) * kept - 1
                    loss = loss + 0.5 * F.l1_loss(translated(there, masked), sample)
                continue
            fakes[b] = fake = translated(there, x)
            loss = loss + by.square(evaluated(d[b], features(d[b], fake), past[b, "fake"]), 1)
            loss = loss + 2.5 * F.l1_loss(translated(back, fake), x) + 1.25 * F.l1_loss(translated(there, y), y)
        by.update(both, loss)
        if step == 0:
            continue
        loss, seen = torch.zeros((), dtype=torch.float64), {}
        for a, b in ends:
            real, fake = samples["age", b], fakes[b].detach()
            seen[b, "real"], seen[b, "fake"] = features(d[b], real), features(d[b], fake)
            loss = loss + 0.5 * by.square(evaluated(d[b], seen[b, "real"], past[b, "real"]), 1)
            loss = loss + 0.5 * by.square(evaluated(d[b], seen[b, "fake"], past[b, "fake"]), 0)
            share = drawn(step, f"gradient_penalty/age: {a} -> {b}/d|1|between").view(4, 1, 1, 1)
            between = (share * real + (1 - share) * fake).requires_grad_()
            logits = evaluated(d[b], features(d[b], between), [*past[b, "real"], *past[b, "fake"]], 0.5)
            (gradient,) = torch.autograd.grad(logits.mean((1, 2, 3)).sum(), between, create_graph=True)
            loss = loss + 4 * gradient.square().sum((1, 2, 3)).mean()
        by.update(discriminators, loss)
        for (b, kind), z in seen.items():
            past[b, kind] = list(z.detach()[-3:])
            moments = torch.stack([z.mean((2, 3)), z.square().mean((2, 3))], 1)
            d[b].head.queue[int(kind == "real")] = moments.detach()[-3:]
            d[b].head.filled[int(kind == "real")] = 3


def test_it_matches_a_loop(trains_like: Any, execution: tuple[str, ...]) -> None:
    trains_like(RECIPE, loop, execution)


def test_the_generator_matches_a_hand_written_one() -> None:
    torch.manual_seed(1)
    options = UvcganOptions(width=4, downs=1, features=8, heads=2, blocks=1)
    network = UvcganGenerator(options, SPEC).double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("share") or parameter.dim() == 1:
                parameter.add_(torch.rand(parameter.shape))  # shares begin at 0, and biases
    x = torch.rand(2, 3, 16, 20, dtype=torch.float64) * 2 - 1
    expected = translated(network.state_dict(), x)
    assert expected.std() > 0.01
    torch.testing.assert_close(network(x), expected, rtol=1e-9, atol=1e-9)


def test_sizes_are_those_that_the_authors_state() -> None:
    """Around 32 million parameters of a generator, about 5 of a discriminator."""
    with torch.device("meta"):
        generator = UvcganGenerator(UvcganOptions(), WHOLE)
        discriminator = UvcganDiscriminator(UvcganDiscriminatorOptions(), WHOLE)
        assert discriminator(torch.empty(1, 3, 256, 256)).logits[0].shape == (1, 1, 31, 31)
    count = lambda network: sum(p.numel() for p in network.parameters())  # noqa: E731
    assert [round(count(network) / 1e6) for network in (generator, discriminator)] == [32, 5]


def test_with_a_batch_of_1_the_head_is_torchs_batch_norm_over_sample_and_queue() -> None:
    torch.manual_seed(1)
    head = BatchHead(4, 3).double()
    x, past = torch.randn(1, 4, 5, 5, dtype=torch.float64), torch.randn(7, 4, 5, 5, dtype=torch.float64)
    for each in past:  # one after the other
        _, moments = head(each[None], None)
        head.push(moments, torch.ones(1))
    assert head.filled.tolist() == [0, 3]
    expected = F.batch_norm(torch.cat([x, past[-3:]]), None, None, training=True)[:1]
    expected = head.last(F.leaky_relu(head.first(expected)))
    torch.testing.assert_close(head(x, torch.ones(1))[0], expected)
    alone = head.last(F.leaky_relu(head.first(F.batch_norm(x, None, None, training=True))))
    torch.testing.assert_close(head(x, torch.zeros(1))[0], alone)  # there were no fakes yet


def test_only_the_discriminators_own_update_fills_the_queues() -> None:
    d = UvcganDiscriminator(UvcganDiscriminatorOptions(width=4, layers=1), SPEC)
    x, real = torch.rand(2, 3, 16, 16), torch.tensor([1.0, 0.0])
    d(x.clone().requires_grad_(), real)  # a penalty, or an update of generators
    d(x)  # nobody knows what it is
    with torch.no_grad():
        d(x, real)
    d.after_step()
    assert d.head.filled.tolist() == [0, 0]
    d(x, real)
    d.after_step()
    d.after_step()
    assert d.head.filled.tolist() == [1, 1]
    assert d.head.queue[:, :2].abs().sum() == 0 and (d.head.queue[:, 2].abs().sum((1, 2)) > 0).all()


def test_patches_are_masked_by_their_share() -> None:
    loss, x = Inpainting(InpaintingOptions(patch=5)), torch.zeros(200, 1, 12, 10)
    rng = CounterRng(0, np.zeros(200, np.uint64), np.arange(200))
    masked = loss.inpainted_source(x, {}, rng).x
    assert set(masked.unique().tolist()) == {-1.0, 0.0}
    patches = masked[:, 0, :10].unfold(1, 5, 5).unfold(2, 5, 5)
    assert (patches == patches[..., :1, :1]).all()  # a patch is masked as a whole
    assert float((patches < 0).double().mean()) == pytest.approx(0.4, abs=0.05)
    assert not torch.equal(masked, loss.inpainted_target(x, {}, rng).x)


def test_wrong_sizes_are_errors() -> None:
    with pytest.raises(UsageError, match="features = 10 is no multiple of heads = 4"):
        UvcganGenerator(UvcganOptions(features=10, heads=4), SPEC)
    with pytest.raises(UsageError, match="'uvcgan2': 16x16 pixels are too few for layers = 3; choose fewer"):
        UvcganDiscriminator(UvcganDiscriminatorOptions(), SPEC)
