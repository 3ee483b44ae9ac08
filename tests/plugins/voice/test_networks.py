"""Networks for voices: against explicit computation, for any number of frames, and their initialization from data."""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transgan_standard.layers import InstanceNorm
from transgan_voice.discriminators import GatedPatch, GatedPatchOptions, Patch1d, Patch1dOptions
from transgan_voice.generators import (
    Gated1d,
    Gated1dOptions,
    Gated212d,
    Gated212dOptions,
    Residual1d,
    Residual1dOptions,
)
from transgan_voice.initialization import maps_of, starts_of
from transgan_voice.layers import pad_frames, pixel_shuffle_1d

from transgan.api import Generator, NetworkSpec, Translation, UsageError

KINDS: list[tuple[type[Any], Any]] = [
    (Gated1d, Gated1dOptions(width=4, blocks=1)),
    (Gated212d, Gated212dOptions(width=3, blocks=1, mask=True)),
    (Residual1d, Residual1dOptions(width=6, blocks=2)),
]


def spec(bands: int = 5, frames: int = 16, style: int = 0, extra: int = 0) -> NetworkSpec:
    return NetworkSpec(bands, bands + extra, style, (frames,), ("anna", "bert"), ("voice",))


@pytest.mark.parametrize(("cls", "options"), KINDS)
@torch.no_grad()
def test_the_number_of_frames_is_preserved(cls: type[Generator], options: Any) -> None:
    network = cls(options, spec())
    for frames in range(1, 301):
        assert network(torch.randn(1, 5, frames)).shape == (1, 5, frames)


@pytest.mark.parametrize(("cls", "options"), KINDS)
@pytest.mark.parametrize("bands", [1, 7, 80])
@torch.no_grad()
def test_any_number_of_bands_and_channels_of_conditionings(cls: type[Generator], options: Any, bands: int) -> None:
    network = cls(options, spec(bands, extra=2))
    x = torch.randn(2, bands + 2, 9)
    y = network(x)
    assert y.shape == (2, bands, 9)
    x[:, bands:] += 1.0
    assert not torch.allclose(y, network(x))  # the conditioning has an effect


@pytest.mark.parametrize(("cls", "options"), KINDS)
def test_the_style_has_an_effect_and_every_weight_a_gradient(cls: type[Generator], options: Any) -> None:
    network = cls(options, spec(style=3))
    x, style = torch.randn(2, 5, 24), torch.randn(2, 3)
    y = network(x, style)
    assert not torch.allclose(y, network(x, -style))
    y.square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("cls", "options", "layers"),
    [(*KINDS[0], ["first", "layers"]), (*KINDS[1], ["first", "downs", "norm_1d", "blocks"]), (*KINDS[2], ["blocks"])],
)
@torch.no_grad()
def test_layers_return_activations_in_order(cls: type[Generator], options: Any, layers: list[str]) -> None:
    network, seen = cls(options, spec()), []
    for name in layers:
        child = getattr(network, name)
        for module in child if isinstance(child, nn.ModuleList) else [child]:
            module.register_forward_hook(lambda _, __, output: seen.append(output))
    x = torch.randn(2, 5, 11)
    y = network(x)
    begin = 2 if layers == ["blocks"] else 1
    indices = list(range(begin, begin + len(seen)))
    expected = list(seen)
    found = network(x, layers=[0, *indices])
    assert torch.equal(found[0], x)
    assert all(torch.equal(*pair) for pair in zip(found[1:], expected, strict=True))
    with pytest.raises(UsageError, match="expected indices from 0 to") as raised:
        network(x, layers=[99])
    last = int(str(raised.value).rpartition(" ")[2])
    assert torch.equal(network(x, layers=[last])[0], y)


def test_pixel_shuffle_interleaves_channels() -> None:
    x = torch.tensor([[[1.0, 2.0], [10.0, 20.0], [3.0, 4.0], [30.0, 40.0]]])  # channels c * 2 + i
    expected = torch.tensor([[[1.0, 10.0, 2.0, 20.0], [3.0, 30.0, 4.0, 40.0]]])
    assert torch.equal(pixel_shuffle_1d(x, 2), expected)
    x = torch.randn(2, 6, 5)
    twice = F.pixel_shuffle(x.repeat_interleave(2, 1)[:, :, None], 2)  # (c, row, column) <- c * 4 + row * 2 + column
    order = x.view(2, 3, 2, 5)
    explicit = torch.stack([order[:, :, 0], order[:, :, 1]], -1).flatten(2)
    assert torch.equal(pixel_shuffle_1d(x, 2), explicit) and twice.shape == (2, 3, 2, 10)


def test_padding_repeats_the_last_frame() -> None:
    assert pad_frames(torch.tensor([[1.0, 2.0, 3.0]]), 4, 8).tolist() == [[1, 2, 3, 3, 3, 3, 3, 3]]
    assert pad_frames(torch.tensor([[1.0, 2.0]]), 2, 1).tolist() == [[1, 2]]


def norm(x: Tensor) -> Tensor:
    return F.instance_norm(x)


def halves(conv: Any, *, shuffle: bool = False, normed: bool = True, **how: Any) -> Any:
    """Return a gated unit as two convolutions with a norm each: h * sigmoid(g)."""
    function = {nn.Conv1d: F.conv1d, nn.Conv2d: F.conv2d}[type(conv)]

    def one(x: Tensor, which: int) -> Tensor:
        weight, bias = conv.weight.chunk(2)[which], conv.bias.chunk(2)[which]
        y = function(x, weight, bias, **how)
        if shuffle:
            y = pixel_shuffle_1d(y, 2) if y.dim() == 3 else F.pixel_shuffle(y, 2)
        return norm(y) if normed else y

    return lambda x: one(x, 0) * torch.sigmoid(one(x, 1))


@torch.no_grad()
def test_the_1d_generator_equals_cyclegan_vc() -> None:
    net = Gated1d(Gated1dOptions(width=4, blocks=1), spec())
    x = torch.randn(3, 5, 16)
    down, down2, block, up, up2 = net.layers
    y = halves(net.first.conv, normed=False, padding=7)(x)
    y = halves(down.conv, stride=2, padding=2)(y)
    y = halves(down2.conv, stride=2, padding=2)(y)
    change = halves(block.gated.conv, padding=1)(y)
    y = y + norm(F.conv1d(change, block.conv.weight, block.conv.bias, padding=1))
    y = halves(up.conv, shuffle=True, padding=2)(y)
    y = halves(up2.conv, shuffle=True, padding=2)(y)
    y = F.conv1d(y, net.last.weight, net.last.bias, padding=7)
    assert torch.allclose(net(x), y, atol=1e-5)


@torch.no_grad()
def test_the_212d_generator_equals_maskcyclegan_vc() -> None:
    net = Gated212d(Gated212dOptions(width=4, blocks=1, mask=True), spec(8))
    x, mask = torch.randn(3, 8, 16), (torch.rand(3, 1, 16) > 0.3).float()
    y = torch.stack([x, mask.repeat(1, 8, 1)], 1)
    y = halves(net.first.conv, normed=False, padding=(2, 7))(y)
    for down in net.downs:
        y = halves(down.conv, stride=2, padding=2)(y)
    assert y.shape == (3, 8, 2, 4)
    y = norm(F.conv1d(y.reshape(3, 16, 4), net.to_1d.weight, net.to_1d.bias))
    (block,) = net.blocks
    change = halves(block.gated.conv, padding=1)(y)
    y = y + norm(F.conv1d(change, block.conv.weight, block.conv.bias, padding=1))
    y = norm(F.conv1d(y, net.to_2d.weight, net.to_2d.bias)).view(3, 8, 2, 4)
    for up in net.ups:
        y = halves(up.conv, shuffle=True, padding=2)(y)
    y = F.conv2d(y, net.last.weight, net.last.bias, padding=(2, 7))[:, 0]
    assert torch.allclose(net(x, mask=mask), y, atol=1e-5)
    assert torch.allclose(net(x), net(x, mask=torch.ones(3, 1, 16)))  # without a mask no frame is removed


AFFINE = [
    (Gated1d, Gated1dOptions(width=4, blocks=1, affine=True)),
    (Gated212d, Gated212dOptions(width=3, blocks=1, affine=True)),
    (Residual1d, Residual1dOptions(width=6, blocks=2, norm="instance", affine=True)),
    (GatedPatch, GatedPatchOptions(width=4, layers=1, affine=True)),
]


@pytest.mark.parametrize(("cls", "options"), AFFINE)
@torch.no_grad()
def test_norms_have_a_scale_and_a_shift_where_the_papers_have_them(cls: type[Any], options: Any) -> None:
    """The kind: a layer of a paper without its learned parameters, in every network that has it."""
    plain = cls(options.model_copy(update={"affine": False}), spec()).eval()
    affine = cls(options, spec()).eval()
    missing, unexpected = affine.load_state_dict(plain.state_dict(), strict=False)
    norms = [layer for layer in affine.modules() if isinstance(layer, InstanceNorm)]
    assert norms and len(missing) == 2 * len(norms) and not unexpected  # models without them load as before
    x = torch.randn(2, 5, 24)

    def run(network: Any) -> Tensor:
        y = network(x)
        return y if isinstance(y, Tensor) else y.logits[0]

    assert torch.allclose(run(affine), run(plain), atol=1e-5)  # the initial scale is 1, the shift 0
    for layer in norms:
        assert layer.weight is not None and layer.bias is not None
        before = run(affine)
        layer.weight.mul_(1.5)
        layer.bias.add_(0.1)
        assert not torch.allclose(run(affine), before, atol=1e-7)


@torch.no_grad()
def test_a_style_vector_sets_scale_and_shift_instead() -> None:
    styled = Gated1d(Gated1dOptions(width=4, blocks=1, affine=True), spec(style=3))
    assert all(layer.weight is None for layer in styled.modules() if isinstance(layer, InstanceNorm))


@torch.no_grad()
def test_default_options_have_the_papers_number_of_parameters() -> None:
    with torch.device("meta"):
        generator = Gated1d(Gated1dOptions(), spec(24, 128))
        discriminator = GatedPatch(GatedPatchOptions(), spec(80, 64))
    assert sum(p.numel() for p in generator.parameters()) == pytest.approx(38.0e6, rel=2e-3)
    assert discriminator.last.in_channels == 1024


@torch.no_grad()
def test_the_generator_without_norms_depends_on_nearby_frames_only() -> None:
    net = Residual1d(Residual1dOptions(width=8, blocks=2, kernel=3), spec(frames=60))
    x = torch.randn(1, 5, 60)
    reach = 2 * 2 * 1
    part = net(x[:, :, 10:50])
    assert torch.allclose(net(x)[:, :, 10 + reach : 50 - reach], part[:, :, reach:-reach], atol=1e-5)


@torch.no_grad()
def test_a_discriminator_returns_logits_for_any_number_of_frames() -> None:
    discriminator = GatedPatch(GatedPatchOptions(width=4, classes=True), spec(20, 32))
    for frames in (1, 2, 31, 300):
        output = discriminator(torch.randn(2, 20, frames) * 50)
        assert output.logits[0].shape == (2, 1, 3, -(-frames // 8)) and output.class_logits.shape == (2, 2)
    assert float(output.logits[0].min()) < 0 or float(output.logits[0].max()) > 1  # no sigmoid
    with pytest.raises(UsageError, match="too few"):
        GatedPatch(GatedPatchOptions(), spec(4, 4))


@torch.no_grad()
def test_a_discriminator_compares_the_style_by_projection() -> None:
    discriminator = GatedPatch(GatedPatchOptions(width=4, layers=1), spec(8, 16, style=3))
    x, style = torch.randn(2, 8, 16), torch.randn(2, 3)
    features = discriminator(x, style).features[-1]
    expected = torch.einsum("ncht,nc->nht", features, F.linear(style, discriminator.projection.weight))
    difference = discriminator(x, style).logits[0] - discriminator(x, torch.zeros(2, 3)).logits[0]
    assert torch.allclose(difference[:, 0], expected, atol=1e-5)


def convolved(x: np.ndarray, conv: Any) -> np.ndarray:
    """Return the convolution of x (C, T), frame by frame."""
    (weight, bias), reach = (each.detach().double().numpy() for each in (conv.weight, conv.bias)), conv.padding[0]
    padded = np.pad(x, ((0, 0), (reach, reach)))
    starts = range(0, padded.shape[1] - weight.shape[2] + 1, conv.stride[0])
    return np.stack([np.tensordot(weight, padded[:, t : t + weight.shape[2]], 2) + bias for t in starts], 1)


@torch.no_grad()
def test_the_discriminator_of_frames_is_one_of_plain_convolutions() -> None:
    discriminator: Any = Patch1d(Patch1dOptions(width=3, layers=2, scales=2), spec(6, 32, style=3))
    x, style = torch.randn(1, 6, 31), torch.randn(1, 3)
    output = discriminator(x, style)
    frames = x[0].double().numpy()
    for scale, logits in zip((discriminator, *discriminator.coarser), output.logits, strict=True):
        y = frames
        for convolution in scale.convolutions:
            y = convolved(y, convolution)
            y = np.where(y > 0, y, 0.2 * y)
        expected = convolved(y, scale.last)[0] + (scale.projection.weight @ style[0]).double().numpy() @ y
        assert logits[0, 0].numpy() == pytest.approx(expected, abs=1e-5)
        frames = (frames[:, :-1:2] + frames[:, 1::2]) / 2
    shapes = [(3, 31), (6, 16), (12, 8), (3, 15), (6, 8), (12, 4)]
    assert [each.shape[1:] for each in output.features] == shapes
    with pytest.raises(UsageError, match="odd"):
        Patch1d(Patch1dOptions(kernel=4), spec())
    with pytest.raises(UsageError, match="3 frames are too few for scales = 3; choose fewer scales"):
        Patch1d(Patch1dOptions(scales=3), spec(6, 3))


@torch.no_grad()
def test_only_the_discriminator_of_frames_knows_which_band_is_too_loud() -> None:
    """The logits in the middle, where no padding is near, of the same spectrum one step of all strides higher."""
    levels = torch.randn(48)
    x = torch.stack([levels, levels.roll(4)])[..., None].expand(2, 48, 64)
    gated = GatedPatch(GatedPatchOptions(width=4, layers=2, norm="none"), spec(48, 64))(x).logits[0][:, 0, :, 8]
    assert torch.allclose(gated[0, 4:-5], gated[1, 5:-4], atol=1e-5)
    frames = Patch1d(Patch1dOptions(width=4), spec(48, 64))(x).logits[0][:, 0, 8]
    assert not torch.allclose(frames[0], frames[1], atol=1e-4)


class Media:
    """A media with known statistics of two speakers."""

    kind = "cepstra"

    def normalization(self, name: str) -> Any:
        class Known:
            std = torch.tensor([2.0, 1.0, 0.5, 0.25]) * (1.0 if name == "anna" else 1.5)
            mean = torch.zeros(4)

        return Known

    def active_frames(self, decoded: np.ndarray) -> np.ndarray:
        return np.ones(len(decoded), bool)

    def normalized_frames(self, decoded: np.ndarray, name: str) -> np.ndarray:
        return decoded


class Speaker:
    """A domain of random frames with the covariance mix^T mix."""

    def __init__(self, name: str, mix: np.ndarray):
        rng = np.random.default_rng(len(name) + ord(name[0]))
        self.name, self.media = name, Media()
        self.frames = torch.from_numpy(rng.normal(size=(40, 50, 4)) @ mix).float().transpose(1, 2)

        self.samples = range(40)

    def decoded(self, held_out: bool, numbers: Sequence[int]) -> list[np.ndarray]:
        return [self.frames[i].T.numpy() for i in numbers]


@pytest.mark.parametrize("trains", [False, True])
@torch.no_grad()
def test_the_map_between_speakers_is_the_initialization(trains: bool) -> None:
    rng = np.random.default_rng(0)
    domains: Any = {name: Speaker(name, rng.normal(size=(4, 4))) for name in ("anna", "bert")}
    options = Residual1dOptions(width=4, blocks=1, start="warp_transport", start_trains=trains)
    net = Residual1d(options, spec(4))
    net.init_from_data(domains, [Translation("voice", "anna", "bert"), Translation("voice", "bert", "anna")])
    zero, one = torch.zeros(40, dtype=torch.long), torch.ones(40, dtype=torch.long)
    x = domains["anna"].frames
    there = net(x, domain=one, origin=zero)
    back = net(there, domain=zero, origin=one)
    assert float((there - x).abs().mean()) > 0.2
    assert float((back - x).abs().mean()) < 0.1  # f is near zero, and the maps are inverse to each other
    assert float((net(x, domain=one, origin=one) - x).abs().mean()) < 0.05  # identity
    assert ("maps" in dict(net.named_parameters())) == trains and "maps" in net.state_dict()
    mask = torch.ones(40, 1, 50)
    mask[..., 7:9] = 0
    assert float(net(x * mask, mask=mask, domain=one, origin=zero)[..., 7:9].abs().max()) < 0.5
    with pytest.raises(UsageError, match="voice_translation"):
        net(x)


@pytest.mark.parametrize("frames", [1, 3, 50])
@torch.no_grad()
def test_a_network_computes_the_same_nonlinear_map_as_its_fit(frames: int) -> None:
    rng = np.random.default_rng(0)
    domains: Any = {name: Speaker(name, rng.normal(size=(4, 4))) for name in ("anna", "bert")}
    pairs = [("anna", "bert"), ("bert", "anna")]
    maps = maps_of(domains, ["anna", "bert"], pairs, "matching")
    net = Residual1d(Residual1dOptions(width=4, blocks=1, start="matching"), spec(4))
    assert net.centres.shape == (2, 500, 20)
    with torch.no_grad():
        net.last.weight.zero_()
    net.init_from_data(domains, [Translation("voice", *pair) for pair in pairs])
    x = torch.cat([domains[name].frames[:3, :, :frames] for name in ("anna", "bert")])
    origin = torch.tensor([0, 0, 0, 1, 1, 1])
    mapped = net(x, domain=1 - origin, origin=origin).mT.double().numpy()
    for rows, pair in ((slice(3), pairs[0]), (slice(3, 6), pairs[1])):
        assert np.allclose(mapped[rows], maps[pair](x[rows].mT.double().numpy()), atol=1e-4)
    assert torch.equal(net(x, domain=origin, origin=origin), x)  # identity


@torch.no_grad()
def test_of_many_speakers_each_has_a_map_to_a_common_one_and_back() -> None:
    rng = np.random.default_rng(0)
    names = ["anna", "bert", "carl", "dora", "emil"]
    domains: Any = {name: Speaker(name, rng.normal(size=(4, 4))) for name in names}
    few = NetworkSpec(channels=4, inputs=4, style=0, space=(64,), domains=tuple(names), tasks=())
    net = Residual1d(Residual1dOptions(width=4, blocks=1, start="matching"), few)
    net.last.weight.zero_()
    net.init_from_data(domains, [Translation("voice", "*", "*")])
    starts = starts_of(domains, names, permutations(names, 2), "matching")
    sizes = {name: each.numel() for name, each in net.named_buffers()}
    assert sizes["maps"] == 2 * 5 * 4 * 4 and sizes["weights"] == 2 * 5 * 4 * 500 and sizes["centres"] == 5 * 500 * 20
    for i, j in ((0, 1), (3, 2), (4, 0), (2, 2)):
        x = domains[names[i]].frames[:2]
        mapped = net(x, domain=torch.tensor([j, j]), origin=torch.tensor([i, i])).mT.double().numpy()
        frames = x.mT.double().numpy()
        expected = frames if i == j else starts(frames, names[i], names[j])
        assert np.allclose(mapped, expected, atol=1e-3)
    hub = names.index(starts.hub)
    assert torch.equal(net.maps[:, hub], torch.eye(4).expand(2, 4, 4)) and not net.weights[:, hub].any()
