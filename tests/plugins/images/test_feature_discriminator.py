"""The discriminator `features`: heads on a frozen network."""

from typing import Any

import pytest
import torch
from transgan_images.discriminators import FeatureDiscriminator, FeatureOptions, OwnFeatures
from transgan_images.encoders import TimmEncoder, TimmOptions
from transgan_images.heads import Mixing, TokenHead

from transgan.api import NetworkSpec, UsageError
from transgan.plan import mixes_batch

SPEC = NetworkSpec(3, 3, 0, (64, 64), ("young", "old"), ("age",), {"kept": 3})


def build(**options: Any) -> FeatureDiscriminator:
    torch.manual_seed(0)
    given = {"model": "squeezenet", "layers": [1, 6], "width": 8, **options}
    return FeatureDiscriminator(FeatureOptions(**given), SPEC)


def test_its_maps_are_those_of_heads_on_the_encoders_features() -> None:
    network = build().eval()
    x, domain = torch.rand(2, 3, 64, 64) * 2 - 1, torch.tensor([1, 0])
    kept = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    output = network(x, None, domain, kept)
    encoder = TimmEncoder(TimmOptions(model="squeezenet", layers=[1, 6]), SPEC)
    encoder.load_state_dict(network.frozen.state_dict())
    for i, features in enumerate(encoder(x)):
        centered = features - features.mean((1, 2, 3), keepdim=True)
        normed = centered / (features.var((1, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
        head = network.heads[i]
        y = torch.nn.functional.leaky_relu(head.first(normed), 0.2)
        maps = head.last(torch.nn.functional.leaky_relu(head.second(y), 0.2))
        torch.testing.assert_close(output.logits[i], torch.stack([maps[0, 1:2], maps[1, 0:1]]))
        torch.testing.assert_close(output.kept_logits[i], maps[:, 2:])
    assert output.kept is not None
    torch.testing.assert_close(output.kept, 0.5 * kept)


def test_only_its_heads_are_trained_and_gradients_reach_the_image() -> None:
    network = build()
    x = (torch.rand(1, 3, 64, 64) * 2 - 1).requires_grad_()
    network(x, None, torch.tensor([0])).logits[0].mean().backward()
    assert x.grad is not None and float(x.grad.abs().sum()) > 0
    trained = {name.partition(".")[0] for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {"heads"}
    network.train()
    assert not network.frozen.training


def test_a_logit_is_bounded_by_spectral_norm() -> None:
    head = build().heads[0]
    for layer in (head.first, head.last):
        for _ in range(50):
            layer(torch.randn(1, layer.in_channels, 4, 4))  # each pass is a step of the power iteration
        norm = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        assert float(norm.detach()) == pytest.approx(1, abs=0.02)


def test_images_too_small_are_refused_with_what_to_do() -> None:
    spec = NetworkSpec(3, 3, 0, (8, 8), ("young", "old"), ("age",))
    with pytest.raises(UsageError, match="size = 128"):
        FeatureDiscriminator(FeatureOptions(model="squeezenet"), spec)
    FeatureDiscriminator(FeatureOptions(model="squeezenet", size=64), spec)


def test_own_features_learn_the_domains_of_each_task_and_stay_frozen() -> None:
    """Four domains by two planted labels: brightness of the upper half, and of the lower."""
    generator = torch.Generator().manual_seed(0)

    def planted(upper: float | None, lower: float | None) -> torch.Tensor:
        x = 0.2 * torch.randn(64, 3, 16, 16, generator=generator)
        for half, value in ((slice(0, 8), upper), (slice(8, 16), lower)):
            level = torch.full((64,), value) if value is not None else torch.rand(64, generator=generator) - 0.5
            x[:, :, half] += level[:, None, None, None]
        return x

    torch.manual_seed(0)
    network = OwnFeatures(3, 4, None)
    samples = {0: planted(-0.5, None), 1: planted(0.5, None), 2: planted(None, -0.5), 3: planted(None, 0.5)}
    network.fit(samples, [[0, 1], [2, 3]], steps=60)
    fresh = {0: planted(-0.5, None), 1: planted(0.5, None), 2: planted(None, -0.5), 3: planted(None, 0.5)}
    for domain, x in fresh.items():
        logits = network.network(x)[1]
        task = [0, 1] if domain < 2 else [2, 3]
        assert float((logits[:, task].argmax(1) == domain % 2).float().mean()) > 0.9
    assert not any(p.requires_grad for p in network.parameters())
    before = [layer.running_mean.clone() for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    network.train()
    network(fresh[0])
    after = [layer.running_mean for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_own_features_take_no_weights() -> None:
    with pytest.raises(UsageError, match="takes no weights"):
        FeatureDiscriminator(FeatureOptions(weights="some.npz"), SPEC)
    assert "600 steps" in FeatureDiscriminator(FeatureOptions(), SPEC).note


def test_samples_do_not_affect_each_other_so_that_passes_are_merged() -> None:
    assert not mixes_batch(FeatureDiscriminator(FeatureOptions(width=8), SPEC))
    assert mixes_batch(torch.nn.BatchNorm2d(2))


def test_mixed_scales_are_those_of_projected_gan() -> None:
    """`F_RandomProj` of the authors, with `expand` and `proj_type = 2`, on maps that halve."""
    torch.manual_seed(0)
    mixing = Mixing([3, 5, 7, 9], 4, "scales")
    maps = [torch.randn(2, c, s, s) for c, s in ((3, 16), (5, 8), (7, 4), (9, 2))]
    ccm, csm = list(mixing.within), list(mixing.between or ())
    assert [each.out_channels for each in ccm] == [4, 8, 16, 32]
    mixed = [layer(x) for layer, x in zip(ccm, maps, strict=True)]

    def fuse(i: int, *xs: torch.Tensor) -> torch.Tensor:
        total = torch.stack(xs).sum(0)
        grown = torch.nn.functional.interpolate(total, scale_factor=2, mode="bilinear", align_corners=True)
        return csm[i](grown)  # type: ignore[no-any-return]

    third = fuse(3, mixed[3])
    second = fuse(2, third, mixed[2])
    first = fuse(1, second, mixed[1])
    expected = [fuse(0, first, mixed[0]), first, second, third]
    for found, wanted in zip(mixing(maps), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    assert mixing.channels == [4, 4, 8, 16] == [each.shape[1] for each in expected]
    assert not any(p.requires_grad for p in mixing.parameters())


@pytest.mark.parametrize("mixing", ["none", "channels", "scales"])
def test_heads_that_downsample_end_with_few_logits(mixing: str) -> None:
    """Feature maps of resnet18 at a quarter to a 32nd of 64 pixels: 16 to 2, doubled by the mixing of scales."""
    network = build(model="resnet18", layers=[1, 2, 3, 4], mixing=mixing, mixed=8, head="downsampling")
    assert mixes_batch(network)
    domain = torch.tensor([1, 0])
    output = network(torch.rand(2, 3, 64, 64) * 2 - 1, None, domain, torch.ones(2, 3))
    sides = [16, 8, 4, 2] if mixing != "scales" else [32, 16, 8, 4]
    expected = []
    for side in sides:
        while side > 8:
            side //= 2
        expected.append(side - min(side, 4) + 1)
    assert [each.shape for each in output.logits] == [(2, 1, side, side) for side in expected]
    assert [each.shape[1] for each in output.kept_logits] == [3] * 4
    trained = {name.partition(".")[0] for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {"heads"}


def test_heads_of_tokens_are_those_of_stylegan_t() -> None:
    torch.manual_seed(0)
    head = TokenHead(6, 1, 0).eval()
    x = torch.randn(11, 6, 4, 5)

    def norm(x: torch.Tensor) -> torch.Tensor:
        """The authors' `BatchNormLocal`; the last group of 11 samples has 3."""
        groups = []
        for each in (x[:8], x[8:]):
            mean, var = each.mean([0, 2], keepdim=True), each.var([0, 2], keepdim=True, unbiased=False)
            groups.append((each - mean) / torch.sqrt(var + 1e-5))
        return torch.cat(groups)

    def block(x: torch.Tensor, sequence: torch.nn.Sequential, size: int) -> torch.Tensor:
        convolution = sequence[0]
        around = torch.cat([x[..., x.shape[2] - size // 2 :], x, x[..., : size // 2]], 2) if size > 1 else x
        return torch.nn.functional.leaky_relu(
            norm(torch.nn.functional.conv1d(around, convolution.weight, convolution.bias)),  # type: ignore[arg-type]
            0.2,
        )

    y = block(x.reshape(11, 6, 20), head.first, 1)
    y = (block(y, head.second, 9) + y) / 2**0.5
    logits, features = head(x, None)
    torch.testing.assert_close(features, y)
    torch.testing.assert_close(logits, torch.nn.functional.conv1d(y, head.last.weight, head.last.bias))
    assert mixes_batch(head)


def test_a_vision_transformer_has_heads_of_tokens() -> None:
    network = build(model="vit_tiny_patch16_224", layers=[0, 2], size=224, head="tokens", label_maps=False, width=64)
    output = network(torch.rand(1, 3, 64, 64) * 2 - 1)
    assert [each.shape for each in output.logits] == [(1, 1, 14 * 14)] * 2 and mixes_batch(network)
