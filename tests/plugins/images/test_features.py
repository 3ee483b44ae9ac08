"""Feature networks against forward passes written out by hand, and the metrics that use them."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transgan_images import distances, inception, metrics_features
from transgan_images.classifier import ClassifierOptions, augment, build_classifier
from transgan_images.features import Extractor, SqueezeNet, load
from transgan_images.weights import read_tensors

from transgan.api import DataError, Domain, Media, Sample, Translation, UsageError

FORWARD = Translation("age", "young", "old")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with random weights of a SqueezeNet."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "squeezenet.npz"
    np.savez(path, **{name: value.numpy() for name, value in SqueezeNet().state_dict().items()})
    return path


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(12, 3, 40, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1


def by_hand(x: Tensor, w: dict[str, Tensor]) -> Tensor:
    """Return the features of SqueezeNet 1.1, computed layer by layer from weights with torchvision's names."""
    rgb = (x + 1) / 2 * 255
    h = torch.stack([rgb[:, 2] - 103.939, rgb[:, 1] - 116.779, rgb[:, 0] - 123.68], 1)
    h = F.conv2d(h, w["features.0.weight"], w["features.0.bias"], stride=2).relu()
    for i in range(2, 13):
        if i in (2, 5, 8):
            h = F.max_pool2d(h, 3, 2, ceil_mode=True)
            continue

        def conv(name: str, h: Tensor, i: int = i) -> Tensor:
            weight = w[f"features.{i}.{name}.weight"]
            return F.conv2d(h, weight, w[f"features.{i}.{name}.bias"], padding=weight.shape[-1] // 2).relu()

        s = conv("squeeze", h)
        h = torch.cat([conv("expand1x1", s), conv("expand3x3", s)], 1)
    return h.mean((2, 3))


def test_squeezenet_agrees_with_a_forward_pass_by_hand(weights: Path, images: Tensor) -> None:
    features, logits = load("squeezenet", weights)(images)
    assert logits is None and features.shape == (12, 512) and features.dtype == np.float64
    expected = by_hand(images, read_tensors(weights))
    np.testing.assert_allclose(features, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_grey_images_are_repeated_to_three_channels(weights: Path, images: Tensor) -> None:
    grey = images[:2, :1]
    extractor = load("squeezenet", weights)
    np.testing.assert_array_equal(extractor(grey)[0], extractor(grey.repeat(1, 3, 1, 1))[0])


def test_pretrained_features_of_similar_images_are_close(images: Tensor) -> None:
    path = Path(__file__).resolve().parents[4] / "shared/data/weights/squeezenet1_1_features_imagenet_caffe.npz"
    if not path.exists():
        pytest.skip("the weights of SqueezeNet are not available")
    soft = F.avg_pool2d(images, 9, 1, 4)
    a, b, other = (load("squeezenet", path)(x)[0] for x in (soft, soft + 0.01, images))
    assert distances.content(a, b) < 0.3 * distances.content(a, other)


def test_features_are_cached_by_tensor(weights: Path, images: Tensor) -> None:
    calls = []

    class Counting(torch.nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, None]:
            calls.append(len(x))
            return x.mean((2, 3)), None

    extractor = Extractor(Counting())
    assert extractor(images) is extractor(images) and calls == [12]
    extractor(images.clone())
    assert calls == [12, 12]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.npz", None, "no such file"),
        ("broken.npz", b"not a zip", "cannot be read as .npz"),
        ("broken.safetensors", b"short", "cannot be read as .safetensors"),
        ("broken.pth", b"nothing", "cannot be read as .pth"),
    ],
)
def test_unreadable_weights_are_reported_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        load("squeezenet", tmp_path / name)
    assert str(tmp_path / name) in str(raised.value) and "\n" not in str(raised.value)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", fc=np.zeros(3))
    with pytest.raises(DataError, match=r"other\.npz: not those of squeezenet: Missing key"):
        load("squeezenet", tmp_path / "other.npz")


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": os.getcwd}, tmp_path / "code.pth")
    with pytest.raises(DataError, match="cannot be read"):
        read_tensors(tmp_path / "code.pth")


def test_unknown_networks_are_reported(weights: Path) -> None:
    with pytest.raises(
        UsageError, match="there is no feature network 'vgg'; expected own, squeezenet, inception or timm:"
    ):
        load("vgg", weights)
    with pytest.raises(UsageError, match='"squeezenet" needs a file with its weights'):
        load("squeezenet", None)
    with pytest.raises(UsageError, match="there is no classifier 'large'"):
        build_classifier(ClassifierOptions(network="large"), 3, 2)


def test_missing_inception_weights_are_reported_with_the_command_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path))
    with pytest.raises(DataError, match="transgan download inception"):
        load("inception", None)


@pytest.mark.slow
def test_inception_agrees_with_timm_except_for_its_pooling(images: Tensor) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    network = inception.Inception().eval()
    other = timm.create_model("inception_v3", pretrained=False, num_classes=1008, aux_logits=False).eval()
    other.load_state_dict(network.state_dict())  # the same names and shapes
    for block in ("5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b", "7c"):
        assert isinstance(getattr(network, f"Mixed_{block}").pool, torch.nn.MaxPool2d) == (block == "7c")
        getattr(network, f"Mixed_{block}").pool = torch.nn.AvgPool2d(3, 1, 1)
    x = images[:1]
    with torch.no_grad():
        features, logits = network(x)
        maps = other.forward_features(F.interpolate(x, (299, 299), mode="bilinear", align_corners=False))
        torch.testing.assert_close(features, other.forward_head(maps, pre_logits=True), rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(logits + other.fc.bias, other.forward_head(maps), rtol=1e-3, atol=1e-4)


def test_timm_network_returns_features_and_logits(tmp_path: Path, images: Tensor) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", pretrained=False, num_classes=7).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    features, logits = load("timm:test_resnet", tmp_path / "w.pth")(images[:2])
    assert logits is not None and logits.shape == (2, 7) and len(features) == 2
    with pytest.raises(UsageError, match="timm has no model 'nothing'"):
        load("timm:nothing", tmp_path / "w.pth")


def test_classifier_augmentation_changes_colours_by_a_bounded_offset(images: Tensor) -> None:
    augmented = augment(images, np.random.default_rng(0))
    assert augmented.shape == images.shape and not torch.equal(augmented, images)
    flat = augment(torch.zeros(4, 3, 8, 8), np.random.default_rng(0))
    assert flat.abs().max() <= 0.1 and (flat.std((2, 3)) < 1e-6).all()  # geometry leaves a uniform image unchanged


def domain(name: str, x: Tensor, held_out: Tensor) -> Domain:
    splits = {False: x, True: held_out}

    def batches(held: bool, size: int) -> Iterator[tuple[list[str], Tensor]]:
        for first in range(0, len(splits[held]), size):
            yield [f"{name}-{held}-{i}" for i in range(first, first + size)], splits[held][first : first + size]

    samples = [[Sample(f"{name}-{held}-{i}", None) for i in range(len(each))] for held, each in splits.items()]
    return Domain(name, samples[0], samples[1], batches, Media(None, 40))


def evaluate(metric: metrics_features.FeatureMetric, source: Tensor, fake: Tensor, real: Tensor) -> dict[str, float]:
    domains = {"young": domain("young", source, source), "old": domain("old", real, real[:3])}
    metric.prepare(domains, {"age": ["young", "old"]}, seed=3)
    for _ in range(2):  # the second evaluation must not contain the first one
        metric.reset()
        for i in range(0, len(source), 5):
            metric.update(FORWARD, source[i : i + 5], fake[i : i + 5])
    return metric.compute().get(FORWARD, {})


def test_figures_are_named_after_network_and_size_and_come_with_those_of_the_sources(
    weights: Path, images: Tensor
) -> None:
    options = metrics_features.FeatureOptions(network="squeezenet", weights=str(weights), halves=10)
    real, source = images.roll(3, 2), images * 0.3
    figures = evaluate(metrics_features.Frechet(options), source, images, real)
    extractor = load("squeezenet", weights)
    reals = np.concatenate([extractor(real[:3])[0], extractor(real)[0]])
    for suffix, x in (("", images), ("_of_source", source)):
        name = f"frechet_squeezenet_40px{suffix}"
        assert figures[name] == pytest.approx(distances.frechet(extractor(x)[0], reals), rel=1e-9)
        assert figures[f"{name}_low"] < figures[name] < figures[f"{name}_high"]
    assert len(figures) == 6
    held_out = options.model_copy(update={"against": "held_out", "halves": 0})
    figures = evaluate(metrics_features.Frechet(held_out), source, images, real)
    assert figures == {
        name: pytest.approx(distances.frechet(extractor(x)[0], extractor(real[:3])[0]), rel=1e-9)
        for name, x in (("frechet_squeezenet_40px", images), ("frechet_squeezenet_40px_of_source", source))
    }


def test_real_images_say_how_much_small_samples_bias_the_frechet_distance(weights: Path, images: Tensor) -> None:
    options = metrics_features.FeatureOptions(network="squeezenet", weights=str(weights), halves=10)
    noise = torch.Generator().manual_seed(0)
    real = (images.repeat(3, 1, 1, 1) + 0.1 * torch.randn(36, 3, 40, 40, generator=noise)).clamp(-1, 1)
    figures = evaluate(metrics_features.Frechet(options), images[:8] * 0.3, real[:8].clone(), real)
    extractor = load("squeezenet", weights)
    reals = np.concatenate([extractor(real[:3])[0], extractor(real)[0]])
    order = np.random.default_rng(3).permutation(len(reals))
    expected = distances.frechet(reals[order[:8]], reals[order[8:]])
    assert figures["frechet_squeezenet_40px_of_real"] == pytest.approx(expected, rel=1e-9)
    assert 0 < expected < figures["frechet_squeezenet_40px_of_source"]
    assert "frechet_squeezenet_40px_of_real_low" not in figures


def test_copies_preserve_all_content_and_a_single_output_has_no_diversity(weights: Path, images: Tensor) -> None:
    options = metrics_features.FeatureOptions(network="squeezenet", weights=str(weights), halves=0)
    content = evaluate(metrics_features.Content(options), images, images.clone(), images)
    assert content["content_squeezenet_40px"] == pytest.approx(0, abs=1e-6)
    assert content["content_squeezenet_40px_of_others"] > 1e-5
    one = images[:1].expand(12, -1, -1, -1)
    diversity = evaluate(metrics_features.Diversity(options), images, one, images)
    assert diversity["diversity_squeezenet_40px"] == pytest.approx(0, abs=1e-6)
    assert diversity["diversity_squeezenet_40px_of_source"] > 1e-5
    kernel = evaluate(metrics_features.Kernel(options), images, one, images)
    assert kernel["kernel_squeezenet_40px"] > kernel["kernel_squeezenet_40px_of_source"]


def test_own_classifier_needs_no_file_and_one_sample_has_no_figures(images: Tensor) -> None:
    options = metrics_features.FeatureOptions(halves=0)
    before = torch.random.get_rng_state()
    score = metrics_features.InceptionScore(options)
    figures = evaluate(score, images, images.clone(), images + 0.5)
    assert 1 <= figures["inception_score_own_40px"] <= 2
    assert torch.equal(torch.random.get_rng_state(), before)
    score.reset()
    score.update(FORWARD, images[:1], images[1:2])
    assert score.compute() == {}
    assert score.warnings() == [
        f"no figure for {FORWARD}: 1 translated and 15 real images, expected at least 2 of each"
    ]


def test_too_few_samples_and_missing_logits_are_reported(weights: Path, images: Tensor) -> None:
    """The kind: figures of any feature metric that are computed, or missing, without saying much."""
    options = metrics_features.FeatureOptions(network="squeezenet", weights=str(weights), halves=0)
    counts = f"{FORWARD}: 2 translated and 4 real images"
    said = {
        metrics_features.Frechet: f"the figure is of fewer than 513 samples, so it is biased upwards: {counts}",
        metrics_features.Kernel: f"the figure is of fewer than 50 samples: {counts}",
        metrics_features.InceptionScore: f"no figure for {FORWARD}: its network is not a classifier",
    }
    for cls, expected in said.items():
        metric = cls(options)
        evaluate(metric, images[:2], images[2:4], images[4:6])
        assert metric.warnings() == [expected]
