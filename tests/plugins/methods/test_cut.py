"""CUT and FastCUT: parity with a loop after the authors' code, closed forms of the loss, and what goes wrong."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transgan_methods.cut import PatchNCE, PatchNCEOptions, PatchProjection
from transgan_standard.discriminators import PatchDiscriminator, PatchOptions
from transgan_standard.generators import ResnetGenerator

from transgan.api import Call, NetworkSpec, UsageError, hookimpl
from transgan.errors import RecipeError
from transgan.plan import Plan
from transgan.rng import CounterRng
from transgan.training import Engine
from transgan.training.trace import trace_phases

Match = Callable[..., Plan]

#: The layers of a generator with two residual blocks that correspond to CUT's.
LAYERS = [0, 4, 8, 12, 13]
CUT = """
train = { steps = 4, batch = 4 }
[tasks.age]
from = "young"
to = "old"
[generators.g]
use = "resnet"
width = 4
blocks = 2
downsample = "antialiased"
upsample = "bilinear"
affine = true
init = "xavier"
[discriminators.d]
use = "patch"
width = 4
layers = 1
downsample = "antialiased"
init = "xavier"
[losses]
lsgan = 1.0
patch_nce = { layers = [0, 4, 8, 12, 13], patches = 20, width = 64 }
[[phases]]
side = "discriminator"
[[phases]]
side = "generator"
"""
FASTCUT = ("losses.patch_nce.weight=10.0", "losses.patch_nce.identity=false", "losses.patch_nce.flip=true")


def sample_patches(perceptrons: Any, features: list[Tensor], positions: list[Tensor]) -> list[Tensor]:
    """The authors' PatchSampleF: for each layer (N * P, width), normalized."""
    found = []
    for perceptron, x, at in zip(perceptrons, features, positions, strict=True):
        rows = x.permute(0, 2, 3, 1).flatten(1, 2)
        sampled = perceptron(torch.cat([row[places] for row, places in zip(rows, at, strict=True)]))
        found.append(sampled / (sampled.norm(dim=1, keepdim=True) + 1e-7))
    return found


def patch_nce(queries: Tensor, keys: Tensor, pictures: int) -> Tensor:
    """The authors' PatchNCELoss, with the negatives of the same picture."""
    keys = keys.detach()
    positive = (queries * keys).sum(1, keepdim=True)
    queries, keys = queries.view(pictures, -1, queries.shape[1]), keys.view(pictures, -1, keys.shape[1])
    negative = torch.bmm(queries, keys.transpose(2, 1))
    same = torch.eye(negative.shape[1], dtype=torch.bool)[None]
    negative = negative.masked_fill(same, -10.0).view(-1, negative.shape[1])
    out = torch.cat([positive, negative], 1) / 0.07
    return F.cross_entropy(out, torch.zeros(len(out), dtype=torch.long))


def loop_of(
    by: Any, identity: bool, flip: bool, weight: float
) -> Callable[[Mapping[str, Any], list[Mapping[Any, Tensor]]], None]:
    """The authors' `CUTModel.optimize_parameters`: the discriminator first; flipping for each picture by itself."""

    def loop(nets: Mapping[str, Any], steps: list[Mapping[Any, Tensor]]) -> None:
        g, d, perceptrons = nets["g"].network, nets["d.old"].network, nets["patch_nce/projection"].perceptrons
        optimizers = [torch.optim.Adam(each.parameters(), 2e-4, (0.5, 0.999)) for each in (g, d, perceptrons)]

        def nce(real: Tensor, fake: Tensor, flipped: Tensor, positions: list[Tensor]) -> Tensor:
            of_fake = [torch.where(flipped, x.flip(3), x) for x in g(fake, layers=LAYERS)]
            keys = sample_patches(perceptrons, g(real, layers=LAYERS), positions)
            queries = sample_patches(perceptrons, of_fake, positions)
            return sum(patch_nce(q, k, len(real)) for q, k in zip(queries, keys, strict=True)) / len(LAYERS)

        for number, samples in enumerate(steps):
            rng = CounterRng(7, np.full(4, number), np.arange(4), dtype=torch.float64)
            counts = [22 * 22, 16 * 16, 8 * 8, 4 * 4, 4 * 4]
            orders = [rng.uniform(f"patch_nce|{n}", count) for n, count in zip(LAYERS, counts, strict=True)]
            positions = [order.sort(descending=True).indices[:, :20] for order in orders]
            # What the generator translates is the flipped picture; so the data's source is the flipped real_A.
            flipped = (flip * (rng.uniform("patch_nce|flip") < 0.5)).bool().view(4, 1, 1, 1)
            real_a, real_b = (
                torch.where(flipped, samples["age", n].flip(3), samples["age", n]) for n in ("young", "old")
            )
            fake_b, idt_b = (g(torch.where(flipped, x.flip(3), x)) for x in (real_a, real_b))
            optimizers[1].zero_grad()
            on_fake, on_real = d(fake_b.detach()).logits[0], d(samples["age", "old"]).logits[0]
            ((by.square(on_fake, 0) + by.square(on_real, 1)) * 0.5).backward()
            optimizers[1].step()
            optimizers[0].zero_grad()
            optimizers[2].zero_grad()
            contrast = nce(real_a, fake_b, flipped, positions)
            if identity:
                contrast = (contrast + nce(real_b, idt_b, flipped, positions)) * 0.5
            (by.square(d(fake_b).logits[0], 1) + weight * contrast).backward()
            optimizers[0].step()
            optimizers[2].step()

    return loop


def test_cut_matches_the_authors_loop(assert_matches_loop: Match, by_hand: Any, execution: tuple[str, ...]) -> None:
    plan = assert_matches_loop(CUT, loop_of(by_hand, identity=True, flip=False, weight=1.0), execution)
    assert list(plan.networks) == ["g", "d.old", "patch_nce/projection"]
    assert plan.generator_side == ["g"]


def test_fastcut_matches_the_authors_loop(assert_matches_loop: Match, by_hand: Any, execution: tuple[str, ...]) -> None:
    assert_matches_loop(CUT, loop_of(by_hand, identity=False, flip=True, weight=10.0), (*FASTCUT, *execution))


def test_cut_with_flipping_matches_the_authors_loop(assert_matches_loop: Match, by_hand: Any) -> None:
    overrides = ("losses.patch_nce.flip=true", "losses.patch_nce.weight=3.0")
    assert_matches_loop(CUT, loop_of(by_hand, identity=True, flip=True, weight=3.0), overrides)


@pytest.mark.parametrize(("temperature", "count"), [(0.07, 16), (0.5, 5)])
def test_patches_that_differ_completely_give_the_closed_form(temperature: float, count: int) -> None:
    """Orthonormal keys: log(1 + (P - 1) exp(-1 / T)) where each query is its key, log P where all queries are equal."""
    loss = PatchNCE(PatchNCEOptions(temperature=temperature))
    keys = torch.eye(count, dtype=torch.float64).expand(3, -1, -1)
    expected = math.log(1 + (count - 1) * math.exp(-1 / temperature))
    assert float(loss.for_generator(([keys], [keys]))) == pytest.approx(expected, rel=1e-9)
    equal = torch.full_like(keys, count**-0.5)
    assert float(loss.for_generator(([equal], [keys]))) == pytest.approx(math.log(count))
    halfway = loss.for_generator(([keys], [keys]), ([equal], [keys]))
    assert float(halfway) == pytest.approx((expected + math.log(count)) / 2)


def patches_of(loss: PatchNCE, x: Tensor, y: Tensor, seed: int = 0) -> tuple[list[Tensor], list[Tensor]]:
    """Return the patches that are projected, y's and x's; the generator has two layers, of the positions' numbers."""
    passed: list[list[Tensor]] = []
    calls = loss.patches(x, y, {}, CounterRng(seed, np.zeros(len(x)), np.arange(len(x))))
    result: Any = None
    try:
        while True:
            call: Call = calls.send(result)
            if call.role == "projection":
                passed.append(call.x)
                result = call.x
            else:
                result = [call.x, call.x[..., ::2, ::2]]
    except StopIteration as stop:
        queries, keys = stop.value
        return queries, keys


def numbered(pictures: int, side: int) -> Tensor:
    """Pictures in which each value is its place."""
    return torch.arange(pictures * side * side, dtype=torch.float32).reshape(pictures, 1, side, side)


def test_queries_and_keys_are_of_the_same_different_positions() -> None:
    loss = PatchNCE(PatchNCEOptions(layers=[0, 1], patches=10))
    x = numbered(3, 6)
    queries, keys = patches_of(loss, x, 1000 + x)
    assert [tuple(q.shape) for q in queries] == [(3, 10, 1), (3, 9, 1)]  # the second layer has no more than 9 positions
    for q, k in zip(queries, keys, strict=True):
        assert torch.equal(q, 1000 + k)
        assert all(len(set(picture.flatten().tolist())) == k.shape[1] for picture in k)
    first, second, _ = keys[0] - torch.arange(3).view(3, 1, 1) * 36
    assert not torch.equal(first, second)
    assert not torch.equal(patches_of(loss, x, x, seed=1)[1][0], keys[0])


def test_every_position_is_chosen_equally_often() -> None:
    loss = PatchNCE(PatchNCEOptions(layers=[0, 1], patches=4))
    x = numbered(1, 4).expand(3000, -1, -1, -1)
    counts = torch.bincount(patches_of(loss, x, x)[1][0].flatten().long(), minlength=16)
    assert (counts - 750).abs().max() < 5 * math.sqrt(3000 * 0.25 * 0.75)


def test_flipping_compares_a_mirrored_source_with_the_mirrored_translation() -> None:
    loss = PatchNCE(PatchNCEOptions(layers=[0, 1], patches=36, flip=True))
    x = numbered(64, 6)
    queries, keys = patches_of(loss, x, x)
    assert torch.equal(queries[0], keys[0])  # the generator of `patches_of` is the identity, and hence equivariant
    mirrored = patches_of(loss, torch.zeros_like(x).index_fill(3, torch.tensor([0]), 1.0), x)[1][0]
    place = (queries[0] - torch.arange(64).view(-1, 1, 1) * 36) % 6
    on_the_left = (mirrored * (place == 0)).sum((1, 2)) == 6
    on_the_right = (mirrored * (place == 5)).sum((1, 2)) == 6
    assert bool((on_the_left | on_the_right).all())


def test_networks_have_the_sizes_of_the_authors(planned: Callable[..., Plan]) -> None:
    """Their log: `[Network G] ... 11.378 M`, `[Network F] ... 0.560 M`, `[Network D] ... 2.765 M`."""
    plan = planned(
        CUT,
        overrides=(
            "data.size=64",
            "generators.g.width=64",
            "generators.g.blocks=9",
            "generators.g.affine=false",
            "discriminators.d.width=64",
            "discriminators.d.layers=3",
            "losses.patch_nce={layers=[0, 4, 8, 12, 16]}",
        ),
    )
    networks = Engine(plan).networks
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    assert {name: round(count / 1e6, 3) for name, count in counts.items()} == {
        "g": 11.378,
        "d.old": 2.765,
        "patch_nce/projection": 0.560,
    }


def test_initial_weights_are_those_of_the_authors(planned: Callable[..., Plan]) -> None:
    """Xavier with a gain of 0.02: a standard deviation of 0.02 sqrt(2 / (inputs + outputs)); biases are 0."""
    overrides = ("generators.g.width=32", "generators.g.affine=false", "discriminators.d.width=32")
    for network in Engine(planned(CUT, overrides=overrides)).networks.values():
        layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
        assert layers
        for layer in layers:
            outputs, inputs = layer.weight.shape[:2]
            expected = 0.02 * math.sqrt(2 / ((inputs + outputs) * layer.weight[0, 0].numel()))
            tolerance = 5 / math.sqrt(2 * layer.weight.numel())
            assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=tolerance)
            assert layer.bias is None or not layer.bias.any()


def test_equal_recipes_have_equal_projections(planned: Callable[..., Plan]) -> None:
    first, second = (Engine(planned(CUT)).networks["patch_nce/projection"].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = Engine(planned(CUT, overrides=("train.seed=1",))).networks["patch_nce/projection"].state_dict()
    assert not torch.equal(first["perceptrons.0.0.weight"], other["perceptrons.0.0.weight"])


@pytest.mark.parametrize("size", [64, 47])
def test_the_discriminator_is_that_of_the_authors(size: int) -> None:
    """Their NLayerDiscriminator, with a blur by a convolution, and instance norm as PyTorch has it."""
    torch.manual_seed(0)
    ours = PatchDiscriminator(
        PatchOptions(width=4, downsample="antialiased"), NetworkSpec(3, 3, 0, (size, size), ("a", "b"), ())
    ).double()
    binomial = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)

    def blur(x: Tensor) -> Tensor:
        kernel = (binomial[:, None] * binomial / 16).expand(x.shape[1], 1, 3, 3)
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=x.shape[1])

    x = image = torch.rand(2, 3, size, size, dtype=torch.float64)
    convolutions = [m for m in ours.modules() if isinstance(m, nn.Conv2d)]
    for number, convolution in enumerate(convolutions):
        assert convolution.kernel_size == (4, 4)
        x = F.conv2d(x, convolution.weight, convolution.bias, stride=1, padding=1)
        if number < 4:
            x = F.leaky_relu(x if number == 0 else F.instance_norm(x), 0.2)
        if number < 3:
            x = blur(x)
    assert torch.allclose(ours(image).logits[0], x, atol=1e-12)


@pytest.mark.parametrize(("size", "layers", "enough"), [(4, 2, True), (2, 2, False), (4, 3, False)])
def test_a_blur_needs_two_pixels(size: int, layers: int, enough: bool) -> None:
    options = PatchOptions(width=4, layers=layers, kernel=3, norm="none", downsample="antialiased")
    spec = NetworkSpec(3, 3, 0, (size, size), ("a", "b"), ())
    if enough:
        assert PatchDiscriminator(options, spec)(torch.rand(1, 3, size, size)).logits[0].numel() == 1
    else:
        with pytest.raises(UsageError, match="too few"):
            PatchDiscriminator(options, spec)


def test_vectors_have_length_1() -> None:
    torch.manual_seed(0)
    projected = PatchProjection(2, 64)([torch.randn(3, 5, 4), torch.randn(3, 5, 7)])
    assert all(torch.allclose(each.norm(dim=-1), torch.ones(3, 5), atol=1e-3) for each in projected)


def test_a_generator_without_layers_is_reported(planned: Callable[..., Plan]) -> None:
    class Plain(ResnetGenerator):
        def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:  # type: ignore[override]
            return super().forward(x, style)  # type: ignore[return-value]

    class Plugin:
        @hookimpl
        def register_generators(self, register: Callable[..., None]) -> None:
            register("plain", Plain)

    plan = planned(CUT.replace('use = "resnet"', 'use = "plain"'), Plugin())
    with pytest.raises(RecipeError, match="which this generator does not return"):
        trace_phases(plan, plan.stages[0])


def test_layers_that_do_not_exist_are_reported(planned: Callable[..., Plan]) -> None:
    plan = planned(CUT, overrides=("losses.patch_nce.layers=[0, 99]",))
    with pytest.raises(RecipeError, match="expected indices from 0 to 23"):
        trace_phases(plan, plan.stages[0])
    with pytest.raises(RecipeError, match="layers"):
        planned(CUT, overrides=("losses.patch_nce.layers=[-1]",))
