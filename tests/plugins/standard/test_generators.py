"""Generators: agreement with the papers and the authors' code, and the effects of the options."""

import pytest
import torch
from torch import nn
from transgan_standard.generators import ResnetGenerator, ResnetOptions, UnetGenerator, UnetOptions
from transgan_standard.layers import BlurPool, Dropout, InstanceNorm

from transgan.api import NetworkSpec, UsageError

SMALL = {"width": 4, "blocks": 2}


def spec(channels: int = 3, inputs: int = 3, style: int = 0, size: int = 16) -> NetworkSpec:
    return NetworkSpec(channels, inputs, style, (size, size), ("a", "b"), ("age",))


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def images(n: int = 2, channels: int = 3, size: int = 16, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(n, channels, size, size, dtype=dtype) * 2 - 1


def test_parameter_counts_are_those_of_the_reference():
    with torch.device("meta"):
        assert count(ResnetGenerator(ResnetOptions(), spec(size=256))) == 11_378_179
        assert count(ResnetGenerator(ResnetOptions(blocks=6), spec(size=128))) == 7_837_699
        assert count(UnetGenerator(UnetOptions(), spec(size=256))) == 54_413_955
        assert count(UnetGenerator(UnetOptions(), spec(size=128))) == 41_828_995


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"downs": 0, "blocks": 1},
        {"downs": 3},
        {"norm": "batch"},
        {"norm": "group"},
        {"norm": "none"},
        {"norm_first": False, "padding": "zero"},
        {"padding": "replicate"},
        {"upsample": "nearest"},
        {"upsample": "bilinear", "downsample": "antialiased"},
        {"dropout": 0.5},
        {"depthwise": True},
        {"output": "edit"},
        {"output": "residual"},
    ],
    ids=str,
)
@pytest.mark.parametrize("style", [0, 5])
def test_resnet_output_has_the_shape_and_range_of_images(options, style):
    network = ResnetGenerator(ResnetOptions(**{**SMALL, **options}), spec(channels=2, inputs=4, style=style))
    x = images(channels=4, size=24)[..., :16]
    y = network(x, torch.randn(2, style) if style else None)
    assert y.shape == (2, 2, 24, 16)
    assert y.abs().max() <= 1
    y.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(
    "options",
    [{}, {"downs": 1}, {"norm": "instance"}, {"norm": "group"}, {"norm": "none"}, {"output": "edit"}],
    ids=str,
)
@pytest.mark.parametrize("style", [0, 5])
def test_unet_output_has_the_shape_and_range_of_images(options, style):
    network = UnetGenerator(UnetOptions(**{"width": 4, **options}), spec(channels=2, inputs=4, style=style, size=64))
    assert network.stride == 2 ** options.get("downs", 6)
    y = network(images(channels=4, size=64), torch.randn(2, style) if style else None)
    assert y.shape == (2, 2, 64, 64)
    assert y.abs().max() <= 1


@pytest.mark.parametrize(("size", "downs"), [(512, 8), (256, 8), (96, 5), (6, 1)])
def test_default_number_of_unet_levels_follows_from_the_size(size, downs):
    with torch.device("meta"):
        assert len(UnetGenerator(UnetOptions(width=1), spec(size=size)).downs) == downs


def test_unet_has_dropout_at_three_inner_levels():
    with torch.device("meta"):
        unet = UnetGenerator(UnetOptions(width=1), spec(size=256))
    assert [up.dropout.p for up in unet.ups] == [0, 0, 0, 0, 0.5, 0.5, 0.5, 0]


def test_unsupported_sample_shapes_are_refused():
    with pytest.raises(UsageError, match="two axes"):
        ResnetGenerator(ResnetOptions(), NetworkSpec(1, 1, 0, (64,), (), ()))
    with pytest.raises(UsageError, match="too few for downs = 2"):
        ResnetGenerator(ResnetOptions(), spec(size=4))
    with pytest.raises(UsageError, match="cannot be halved"):
        UnetGenerator(UnetOptions(), spec(size=15))


def test_stride_follows_the_downs():
    assert ResnetGenerator(ResnetOptions(**SMALL, downs=3), spec()).stride == 8
    assert ResnetGenerator(ResnetOptions(**SMALL), spec()).stride == 4


@pytest.mark.parametrize("network", [ResnetGenerator, UnetGenerator])
@pytest.mark.parametrize("norm", ["instance", "batch", "group", "none"])
def test_style_changes_the_output(network, norm):
    options = {"width": 4, "norm": norm}
    generator = network(network.Options(**options), spec(style=5)).eval()
    x = images()
    first, second = (generator(x, torch.randn(2, 5)) for _ in range(2))
    assert not torch.allclose(first, second, rtol=0, atol=1e-4 if norm != "none" else 0)
    with pytest.raises(UsageError, match="style vector"):
        generator(x, None)


def test_instance_norm_after_reflection_padding_removes_constant_planes():
    """The pitfall of a condition as an additional channel, which `norm_first = false` avoids."""
    x = images(dtype=torch.float64)
    zeros, ones = (torch.cat([x, torch.full_like(x[:, :1], value)], 1) for value in (0.0, 1.0))
    with_norm = ResnetGenerator(ResnetOptions(**SMALL), spec(inputs=4)).double()
    without_norm = ResnetGenerator(ResnetOptions(**SMALL, norm_first=False), spec(inputs=4)).double()
    assert (with_norm(zeros) - with_norm(ones)).abs().max() < 1e-9
    assert (without_norm(zeros) - without_norm(ones)).abs().max() > 1e-3


@pytest.mark.parametrize("network", [ResnetGenerator, UnetGenerator])
@pytest.mark.parametrize("output", ["edit", "residual"])
def test_edit_and_residual_start_near_the_input(network, output):
    x = images()
    generator = network(network.Options(output=output), spec())
    y = generator(x)
    assert (y - x).abs().mean() < 0.2 * x.abs().mean()
    assert not torch.equal(y, x)


@pytest.mark.parametrize("output", ["edit", "residual"])
def test_edit_and_residual_reach_every_value(output):
    """For any input, large values of the last convolution produce white or black, and zero keeps the input."""
    generator = ResnetGenerator(ResnetOptions(**SMALL, output=output), spec())
    x = images()
    for value in (-1.0, 1.0):
        d = torch.full((2, generator.output.inputs, 16, 16), 50.0 * value)
        d[:, 3:] = 50.0
        assert torch.allclose(generator.output(d, x), torch.full_like(x, value))
    nothing = torch.zeros(2, generator.output.inputs, 16, 16)
    nothing[:, 3:] = -50.0
    assert torch.allclose(generator.output(nothing, x), x)


def test_samples_are_independent_of_their_batch():
    generator = ResnetGenerator(ResnetOptions(**SMALL), spec(style=5)).double()
    x, style = images(4, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    separate = torch.cat([generator(x[:1], style[:1]), generator(x[1:], style[1:])])
    assert torch.allclose(generator(x, style), separate, atol=1e-6, rtol=0)


def test_layers_are_numbered_as_in_cut():
    options = ResnetOptions(width=4, blocks=9, downsample="antialiased", upsample="bilinear")
    generator = ResnetGenerator(options, spec())
    x = images()
    shapes = [tuple(y.shape[1:]) for y in generator(x, layers=[0, 4, 8, 12, 16])]
    assert shapes == [(3, 22, 22), (8, 16, 16), (16, 8, 8), (16, 4, 4), (16, 4, 4)]
    second, first = generator(x, layers=[16, 12])
    assert torch.equal(first, generator(x, layers=[12])[0])
    assert not torch.equal(first, second)
    with pytest.raises(UsageError, match="expected indices from 0 to"):
        generator(x, layers=[99])
    with pytest.raises(UsageError, match="expected indices from 0 to"):
        generator(x, layers=[-1])


@torch.no_grad()
def test_unet_levels_are_the_input_then_those_of_encoder_and_decoder():
    generator = UnetGenerator(UnetOptions(width=4), spec()).eval()
    x, seen = images(), []
    for layer in (*generator.downs, *reversed(generator.ups)):
        layer.register_forward_hook(lambda _, __, output: seen.append(output))
    y = generator(x)
    expected = [x, *seen]
    assert [each.shape[-1] for each in expected] == [16, 8, 4, 2, 1, 2, 4, 8, 16]
    assert all(torch.equal(*pair) for pair in zip(generator(x, layers=range(9)), expected, strict=True))
    assert torch.equal(expected[-1].tanh(), y)
    for wrong in (9, -1):
        with pytest.raises(UsageError, match="expected indices from 0 to 8"):
            generator(x, layers=[wrong])


@pytest.mark.parametrize(
    ("generator", "index", "count"),
    [
        (ResnetGenerator(ResnetOptions(**SMALL), spec()), 4, 5),
        (UnetGenerator(UnetOptions(width=4), spec()), 1, 1),
        (UnetGenerator(UnetOptions(width=4), spec()), 5, 5),
    ],
)
def test_activations_are_computed_no_further_than_needed(generator, index, count):
    seen = []
    layers = [*generator.model] if hasattr(generator, "model") else [*generator.downs, *generator.ups]
    for layer in layers:
        layer.register_forward_hook(lambda *_: seen.append(1))
    generator(images(), layers=[index, 0])
    assert len(seen) == count


def test_blur_pool_is_the_binomial_filter():
    x = images()
    filt = torch.tensor([1.0, 2.0, 1.0])
    filt = (filt[:, None] * filt / 16).expand(3, 1, 3, 3)
    padded = nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
    assert torch.allclose(BlurPool()(x), nn.functional.conv2d(padded, filt, stride=2, groups=3), atol=1e-6)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_instance_norm_is_computed_in_single_precision(layout):
    x = (torch.randn(2, 3, 64, 64) * 300 + 1000).contiguous(memory_format=layout)
    assert torch.allclose(InstanceNorm()(x), nn.functional.instance_norm(x), atol=1e-4)
    half = x.to(torch.bfloat16)
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = InstanceNorm()(half)
        assert y.dtype == torch.bfloat16
        # Only the result is rounded, to bfloat16's 8 bits.
        assert torch.allclose(y.float(), nn.functional.instance_norm(half.float()), atol=1e-3, rtol=2**-7)


@pytest.mark.parametrize("network", [ResnetGenerator, UnetGenerator])
def test_initial_weights_follow_from_the_seed(network):
    def make() -> dict[str, torch.Tensor]:
        torch.manual_seed(7)
        return network(network.Options(width=4), spec(style=2)).state_dict()

    first, second = make(), make()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_initial_weights_are_distributed_as_in_the_reference():
    generator = ResnetGenerator(ResnetOptions(width=16), spec(style=2))
    convolution = generator.model[4]
    assert abs(convolution.weight.std() - 0.02) < 0.002
    assert not convolution.bias.any()
    scale, shift = generator.model[5].film.linear.weight.chunk(2)
    assert not scale.any()
    assert 0.01 < shift.std() < 0.03


@pytest.mark.parametrize("network", [ResnetGenerator, UnetGenerator])
def test_affine_instance_norm_is_batch_norm_with_a_batch_of_one(network):
    """The kind: a norm for each image keeps what batch norm learns, in every network that has a norm."""
    torch.manual_seed(3)
    batch = network(network.Options(width=4, norm="batch", dropout=0.0), spec(size=32)).double()
    with torch.no_grad():
        for layer in batch.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_()
    instance = network(network.Options(width=4, norm="instance", affine=True, dropout=0.0), spec(size=32)).double()
    missing, unexpected = instance.load_state_dict(batch.state_dict(), strict=False)
    assert not missing and all("running" in name or "batches" in name for name in unexpected)
    x = images(size=32, dtype=torch.float64)
    expected = torch.cat([batch.train()(image) for image in x.split(1)])
    assert torch.allclose(instance.eval()(x), expected, atol=1e-9)
    assert torch.allclose(instance.train()(x), expected, atol=1e-9)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_affine_instance_norm_scales_and_shifts(layout, dtype):
    norm = InstanceNorm(3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, -1.0]))
        norm.bias.copy_(torch.tensor([0.0, 1.0, 5.0]))
    x = images(size=8).to(dtype).contiguous(memory_format=layout)
    y = norm(x)
    expected = nn.functional.instance_norm(x.float(), weight=norm.weight, bias=norm.bias)
    assert y.dtype == dtype
    assert torch.allclose(y.float(), expected, atol=1e-5 if dtype == torch.float32 else 0.05)


@pytest.mark.parametrize(
    ("network", "options"), [(UnetGenerator, {"width": 4}), (ResnetGenerator, {**SMALL, "dropout": 0.5})]
)
def test_dropout_at_use_is_the_same_for_every_image_and_call(network, options):
    """The kind: noise at use must leave a translation repeatable, whatever else is in its batch."""
    torch.manual_seed(0)
    plain = network(network.Options(**options, norm="instance"), spec(size=64)).eval()
    noisy = network(network.Options(**options, norm="instance", dropout_at_use=True), spec(size=64)).eval()
    noisy.load_state_dict(plain.state_dict())
    x = images(3, size=64)
    with torch.no_grad():
        y = noisy(x)
        assert torch.equal(y, noisy(x))
        assert torch.allclose(y[1:2], noisy(x[1:2]), atol=1e-6)
        assert float((y - plain(x)).abs().mean()) > 1e-4
    torch.manual_seed(1)
    first = noisy.train()(x)
    torch.manual_seed(1)
    assert torch.equal(first, plain.train()(x))  # in training both are the same


def test_dropout_at_use_drops_the_given_share_and_keeps_the_mean():
    x = torch.ones(2, 50, 40, 40)
    dropout, other = (Dropout(0.3, True, seed).eval() for seed in (4, 5))
    y = dropout(x)
    assert float((y == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(y.mean()) == pytest.approx(1.0, abs=0.02)
    assert not torch.equal(y, other(x))
    assert torch.equal(Dropout(0.3, False, 4).eval()(x), x)


def test_every_option_is_documented():
    for options in (ResnetOptions, UnetOptions):
        assert all(field.description for field in options.model_fields.values())
