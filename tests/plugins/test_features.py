"""Feature networks against forward passes written out by hand, and the figures over them."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transgan_images import distances, inception, metrics_features
from transgan_images.classifier import ClassifierOptions, fresh, moved
from transgan_images.features import Extractor, SqueezeNet, load, read_tensors

from transgan.api import DataError, Domain, Media, Sample, Translation, UsageError

THERE = Translation("age", "young", "old")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a SqueezeNet, as a file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "squeezenet.npz"
    np.savez(path, **{name: value.numpy() for name, value in SqueezeNet().state_dict().items()})
    return path


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return torch.rand(12, 3, 40, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1


def by_hand(x: Tensor, w: dict[str, Tensor]) -> Tensor:
    """SqueezeNet 1.1 step by step, under torchvision's names."""
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


def test_squeezenet_is_the_network_written_out_by_hand(weights: Path, pictures: Tensor) -> None:
    features, logits = load("squeezenet", weights)(pictures)
    assert logits is None and features.shape == (12, 512) and features.dtype == np.float64
    expected = by_hand(pictures, read_tensors(weights))
    np.testing.assert_allclose(features, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_grey_pictures_are_looked_at_as_three_equal_channels(weights: Path, pictures: Tensor) -> None:
    grey = pictures[:2, :1]
    look = load("squeezenet", weights)
    np.testing.assert_array_equal(look(grey)[0], look(grey.repeat(1, 3, 1, 1))[0])


def test_the_real_weights_put_like_pictures_near_each_other(pictures: Tensor) -> None:
    path = Path(__file__).resolve().parents[3] / "shared/data/weights/squeezenet1_1_features_imagenet_caffe.npz"
    if not path.exists():
        pytest.skip("the weights of SqueezeNet are not here")
    soft = F.avg_pool2d(pictures, 9, 1, 4)
    a, b, other = (load("squeezenet", path)(x)[0] for x in (soft, soft + 0.01, pictures))
    assert distances.content(a, b) < 0.3 * distances.content(a, other)


def test_a_tensor_is_looked_at_once(weights: Path, pictures: Tensor) -> None:
    calls = []

    class Counting(torch.nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, None]:
            calls.append(len(x))
            return x.mean((2, 3)), None

    look = Extractor(Counting())
    assert look(pictures) is look(pictures) and calls == [12]
    look(pictures.clone())
    assert calls == [12, 12]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("absent.npz", None, "no such file"),
        ("broken.npz", b"not a zip", "cannot be read as .npz"),
        ("broken.safetensors", b"short", "cannot be read as .safetensors"),
        ("broken.pth", b"nothing", "cannot be read as .pth"),
    ],
)
def test_a_file_without_weights_is_told_in_one_line(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=told) as raised:
        load("squeezenet", tmp_path / name)
    assert str(tmp_path / name) in str(raised.value) and "\n" not in str(raised.value)


def test_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", fc=np.zeros(3))
    with pytest.raises(DataError, match=r"other\.npz: not those of squeezenet: Missing key"):
        load("squeezenet", tmp_path / "other.npz")


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": os.getcwd}, tmp_path / "code.pth")
    with pytest.raises(DataError, match="cannot be read"):
        read_tensors(tmp_path / "code.pth")


def test_names_of_networks_that_are_none(weights: Path) -> None:
    with pytest.raises(
        UsageError, match="no feature network is called 'vgg'; known: own, squeezenet, inception, timm:"
    ):
        load("vgg", weights)
    with pytest.raises(UsageError, match='"squeezenet" needs its weights'):
        load("squeezenet", None)
    with pytest.raises(UsageError, match="no classifier is called 'large'"):
        fresh(ClassifierOptions(network="large"), 3, 2)


def test_inception_that_was_not_downloaded_says_how_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path))
    with pytest.raises(DataError, match="transgan download inception"):
        load("inception", None)


@pytest.mark.slow
def test_inception_is_timms_but_for_its_poolings(pictures: Tensor) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    network = inception.Inception().eval()
    other = timm.create_model("inception_v3", pretrained=False, num_classes=1008, aux_logits=False).eval()
    other.load_state_dict(network.state_dict())  # the same names and shapes
    for block in ("5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b", "7c"):
        assert isinstance(getattr(network, f"Mixed_{block}").pool, torch.nn.MaxPool2d) == (block == "7c")
        getattr(network, f"Mixed_{block}").pool = torch.nn.AvgPool2d(3, 1, 1)
    x = pictures[:1]
    with torch.no_grad():
        features, logits = network(x)
        maps = other.forward_features(F.interpolate(x, (299, 299), mode="bilinear", align_corners=False))
        torch.testing.assert_close(features, other.forward_head(maps, pre_logits=True), rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(logits + other.fc.bias, other.forward_head(maps), rtol=1e-3, atol=1e-4)


def test_a_timm_network_with_a_file_of_weights_returns_features_and_logits(tmp_path: Path, pictures: Tensor) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", pretrained=False, num_classes=7).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    features, logits = load("timm:test_resnet", tmp_path / "w.pth")(pictures[:2])
    assert logits is not None and logits.shape == (2, 7) and len(features) == 2
    with pytest.raises(UsageError, match="timm knows no model 'nothing'"):
        load("timm:nothing", tmp_path / "w.pth")


def test_the_augmentation_keeps_the_range_of_what_it_moves(pictures: Tensor) -> None:
    found = moved(pictures, np.random.default_rng(0))
    assert found.shape == pictures.shape and not torch.equal(found, pictures)
    flat = moved(torch.zeros(4, 3, 8, 8), np.random.default_rng(0))
    assert flat.abs().max() <= 0.1 and (flat.std((2, 3)) < 1e-6).all()  # moving changes nothing, tinting does


def domain(name: str, x: Tensor, held_out: Tensor) -> Domain:
    parts = {False: x, True: held_out}

    def batches(held: bool, size: int) -> Iterator[tuple[list[str], Tensor]]:
        for first in range(0, len(parts[held]), size):
            yield [f"{name}-{held}-{i}" for i in range(first, first + size)], parts[held][first : first + size]

    samples = [[Sample(f"{name}-{held}-{i}", None) for i in range(len(each))] for held, each in parts.items()]
    return Domain(name, samples[0], samples[1], batches, Media(None, 40))


def measured(metric: metrics_features.FeatureMetric, source: Tensor, fake: Tensor, real: Tensor) -> dict[str, float]:
    domains = {"young": domain("young", source, source), "old": domain("old", real, real[:3])}
    metric.prepare(domains, {"age": ["young", "old"]}, seed=3)
    for _ in range(2):  # what was counted before is forgotten
        metric.reset()
        for part in range(0, len(source), 5):
            metric.update(THERE, source[part : part + 5], fake[part : part + 5])
    return metric.compute().get(THERE, {})


def test_figures_carry_their_protocol_and_stand_beside_those_of_the_sources(weights: Path, pictures: Tensor) -> None:
    options = metrics_features.FeatureOptions(network="squeezenet", weights=str(weights), halves=10)
    real, source = pictures.roll(3, 2), pictures * 0.3
    found = measured(metrics_features.Frechet(options), source, pictures, real)
    look = load("squeezenet", weights)
    reals = np.concatenate([look(real[:3])[0], look(real)[0]])
    for ending, x in (("", pictures), ("_of_source", source)):
        name = f"frechet_squeezenet_40px{ending}"
        assert found[name] == pytest.approx(distances.frechet(look(x)[0], reals), rel=1e-9)
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
    assert len(found) == 6
    only = options.model_copy(update={"against": "held_out", "halves": 0})
    alone = measured(metrics_features.Frechet(only), source, pictures, real)
    assert alone == {
        name: pytest.approx(distances.frechet(look(x)[0], look(real[:3])[0]), rel=1e-9)
        for name, x in (("frechet_squeezenet_40px", pictures), ("frechet_squeezenet_40px_of_source", source))
    }


def test_copies_of_sources_keep_all_content_and_one_picture_for_all_has_no_diversity(
    weights: Path, pictures: Tensor
) -> None:
    options = metrics_features.FeatureOptions(network="squeezenet", weights=str(weights), halves=0)
    content = measured(metrics_features.Content(options), pictures, pictures.clone(), pictures)
    assert content["content_squeezenet_40px"] == pytest.approx(0, abs=1e-6)
    assert content["content_squeezenet_40px_of_others"] > 1e-5
    one = pictures[:1].expand(12, -1, -1, -1)
    diversity = measured(metrics_features.Diversity(options), pictures, one, pictures)
    assert diversity["diversity_squeezenet_40px"] == pytest.approx(0, abs=1e-6)
    assert diversity["diversity_squeezenet_40px_of_source"] > 1e-5
    kernel = measured(metrics_features.Kernel(options), pictures, one, pictures)
    assert kernel["kernel_squeezenet_40px"] > kernel["kernel_squeezenet_40px_of_source"]


def test_the_runs_own_classifier_needs_no_file_and_one_sample_has_no_figures(pictures: Tensor) -> None:
    options = metrics_features.FeatureOptions(halves=0)
    before = torch.random.get_rng_state()
    score = metrics_features.InceptionScore(options)
    found = measured(score, pictures, pictures.clone(), pictures + 0.5)
    assert 1 <= found["inception_score_own_40px"] <= 2
    assert torch.equal(torch.random.get_rng_state(), before)
    score.reset()
    score.update(THERE, pictures[:1], pictures[1:2])
    assert score.compute() == {}
