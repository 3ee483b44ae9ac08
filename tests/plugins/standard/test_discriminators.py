"""Discriminators: sizes of the reference, receptive fields, projection, scales, class heads."""

import pytest
import torch
from torch import nn
from transgan_standard.discriminators import PatchDiscriminator, PatchOptions, PixelDiscriminator, PixelOptions

from transgan.api import NetworkSpec, UsageError


def spec(inputs: int = 3, style: int = 0, size: int = 64) -> NetworkSpec:
    return NetworkSpec(3, inputs, style, (size, size), ("a", "b", "c"), ("age",))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def patch(style: int = 0, inputs: int = 3, size: int = 64, **options) -> PatchDiscriminator:
    return PatchDiscriminator(PatchOptions(**{"width": 4, **options}), spec(inputs, style, size))


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameter_counts_are_those_of_the_reference():
    with torch.device("meta"):
        assert count(patch(width=64)) == 2_764_737
        for norm in ({"norm": "batch"}, {"norm": "instance", "affine": True}):
            assert count(patch(width=64, inputs=6, **norm)) == 2_768_705  # pix2pix: conditional on the source
        assert count(PixelDiscriminator(PixelOptions(), spec())) == 3 * 64 + 64 + 64 * 128 + 128 + 128 + 1


def test_logits_and_features_have_the_shapes_of_the_reference():
    output = patch(size=256)(torch.rand(1, 3, 256, 256))
    assert [logits.shape for logits in output.logits] == [(1, 1, 30, 30)]
    assert [tuple(f.shape[1:]) for f in output.features] == [(4, 128, 128), (8, 64, 64), (16, 32, 32), (32, 31, 31)]
    assert output.class_logits is None


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70)])
def test_receptive_field_of_a_logit(layers, field):
    """Without norm, which would extend it to the whole image."""
    x = torch.rand(1, 3, 256, 256, requires_grad=True)
    logits = patch(size=256, layers=layers, norm="none")(x).logits[0]
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    inside = x.grad[0].abs().sum(0).nonzero()
    assert (inside.max(0).values - inside.min(0).values + 1).tolist() == [field, field]


@pytest.mark.parametrize(
    "options",
    [{}, {"norm": "batch"}, {"norm": "group"}, {"norm": "none", "spectral": True}, {"kernel": 3}, {"layers": 2}],
    ids=str,
)
@pytest.mark.parametrize("style", [0, 5])
def test_all_parameters_have_gradients(options, style):
    network = patch(style, **options)
    output = network(torch.rand(2, 3, 64, 64), torch.randn(2, style) if style else None)
    output.logits[0].square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_projection_is_the_inner_product_with_the_features():
    """With the last convolution's weights at zero, <linear(style), mean of the features in its window> remains."""
    network = patch(style=5)
    stack = network.scales[0]
    torch.nn.init.zeros_(stack.last.weight)
    x, style = torch.rand(2, 3, 64, 64), torch.randn(2, 5)
    output = network(x, style)
    features, direction = output.features[-1], style @ stack.projection.weight.T
    inside = output.logits[0][:, 0, 2, 3]  # a position whose window lies within the map
    expected = (features[:, :, 1:5, 2:6].mean((2, 3)) * direction).sum(1)
    assert torch.allclose(inside, expected, atol=1e-6)
    with pytest.raises(UsageError, match="style vector"):
        network(x)


def test_each_scale_gets_a_smaller_image():
    network = patch(scales=2)
    output = network(torch.rand(2, 3, 64, 64))
    assert [logits.shape[-1] for logits in output.logits] == [6, 2]
    assert len(output.features) == 8
    assert count(network) == 2 * count(patch())


def test_class_head_has_a_logit_for_each_domain():
    output = patch(classes=True, norm="none")(torch.rand(2, 3, 64, 64))
    assert output.class_logits.shape == (2, 3)
    with pytest.raises(UsageError, match="needs at least 2 domains, found 1"):
        PatchDiscriminator(PatchOptions(classes=True), NetworkSpec(3, 3, 0, (64, 64), ("a",), ()))


def test_spectral_norm_of_every_layer_is_1():
    network = patch(norm="none", spectral=True, style=5)
    x, style = torch.rand(2, 3, 64, 64), torch.randn(2, 5)
    for _ in range(20):
        network(x, style)
    network.eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            assert torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2).item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("size", "options"), [(16, {}), (32, {"scales": 2}), (4, {"layers": 3, "kernel": 7})])
def test_images_that_are_too_small_are_refused(size, options):
    with pytest.raises(UsageError, match="too few"):
        patch(size=size, **options)


@pytest.mark.parametrize(("size", "layers"), [(32, 3), (32, 2), (16, 2), (8, 1)])
def test_small_images_work_with_fewer_layers(size, layers):
    assert patch(size=size, layers=layers)(torch.rand(1, 3, size, size)).logits[0].numel() > 0


def test_samples_are_independent_of_their_batch():
    network = patch().double()
    x = torch.rand(4, 3, 64, 64, dtype=torch.float64)
    separate = torch.cat([network(x[:1]).logits[0], network(x[1:]).logits[0]])
    assert torch.allclose(network(x).logits[0], separate, atol=1e-6, rtol=0)


def test_pixel_discriminator_has_a_receptive_field_of_one_pixel():
    network = PixelDiscriminator(PixelOptions(width=4, norm="none"), spec(style=2))
    x, style = torch.rand(1, 3, 8, 8), torch.randn(1, 2)
    before = network(x, style).logits[0]
    x[0, :, 2, 3] += 1
    after = network(x, style).logits[0]
    assert before.shape == (1, 1, 8, 8)
    assert (before != after).nonzero().tolist() == [[0, 0, 2, 3]]


def test_every_option_is_documented():
    for options in (PatchOptions, PixelOptions):
        assert all(field.description for field in options.model_fields.values())


@pytest.mark.parametrize(("cls", "options"), [(PatchDiscriminator, {"layers": 2}), (PixelDiscriminator, {})])
def test_affine_instance_norm_is_batch_norm_with_a_batch_of_one(cls, options):
    batch = cls(cls.Options(width=4, norm="batch", **options), spec()).double().train()
    with torch.no_grad():
        for layer in batch.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_()
    instance = cls(cls.Options(width=4, norm="instance", affine=True, **options), spec()).double()
    missing, unexpected = instance.load_state_dict(batch.state_dict(), strict=False)
    assert not missing and all("running" in name or "batches" in name for name in unexpected)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    expected = torch.cat([batch(image).logits[0] for image in x.split(1)])
    assert torch.allclose(instance(x).logits[0], expected, atol=1e-9)
