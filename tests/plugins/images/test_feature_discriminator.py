"""The discriminator `features`: heads on a frozen network."""

from typing import Any

import pytest
import torch
from transgan_images.discriminators import FeatureDiscriminator, FeatureOptions, OwnFeatures
from transgan_images.encoders import TimmEncoder, TimmOptions

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
