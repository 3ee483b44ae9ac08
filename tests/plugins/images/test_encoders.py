"""The encoder `timm`: against timm and layers called by hand; frozen networks; weights; and what is refused."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transgan_images.encoders import FrozenNorm, TimmEncoder, TimmOptions, freeze_norms
from transgan_images.features import SqueezeNet
from transgan_images.inception import Inception

from transgan.api import DataError, NetworkSpec, PluginError, TransganError, UsageError
from transgan.dry_run import describe
from transgan.plan import mixes_batch
from transgan.plan.build import on_meta_device

timm = pytest.importorskip("timm", reason="timm is not installed")

#: ImageNet's mean and standard deviation of each channel, and the values of networks that take [-1, 1].
MEANS = {
    "mobilenetv3_small_050": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "test_resnet": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "test_vit": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


def spec(channels: int = 3, space: tuple[int, ...] = (64, 64)) -> NetworkSpec:
    return NetworkSpec(channels, channels, 0, space, ("a", "b"), ("task",))


def encoder(channels: int = 3, **options: Any) -> TimmEncoder:
    return TimmEncoder(TimmOptions(**options), spec(channels))


def images(side: int = 64, channels: int = 3) -> Tensor:
    shape = (2, channels, side, side)
    return torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1


def normalised(x: Tensor, model: str) -> Tensor:
    mean, std = (torch.tensor(each, dtype=torch.float64).view(3, 1, 1) for each in MEANS[model])
    return ((x + 1) / 2 - mean) / std


def classifier(model: str) -> Any:
    """Return a network of timm in double precision, with statistics of its norms that are not those of a new one."""
    torch.manual_seed(0)
    network = timm.create_model(model, pretrained=False, num_classes=7).double()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_mean"):
                value.normal_()
            if name.endswith("running_var"):
                value.uniform_(0.5, 2.0)
    return network.eval()


@pytest.mark.parametrize(
    ("model", "suffix"), [("mobilenetv3_small_050", ".pth"), ("test_resnet", ".safetensors"), ("test_resnet", ".npz")]
)
def test_feature_levels_are_those_of_timm(tmp_path: Path, model: str, suffix: str) -> None:
    network, path = classifier(model), tmp_path / f"weights{suffix}"
    state = network.state_dict()
    if suffix == ".npz":
        np.savez(path, **{name: value.numpy() for name, value in state.items()})
    else:
        (torch.save if suffix == ".pth" else save_file)(state, path)
    by_hand = timm.create_model(model, pretrained=False, features_only=True).double().eval()
    missing, _ = by_hand.load_state_dict(state, strict=False)
    assert not missing
    x = images()
    with torch.no_grad():
        expected = by_hand(normalised(x, model))
    found = encoder(model=model, weights=str(path)).double()(x)
    assert len(found) == len(expected) == 5
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)  # weights were rounded to fp32


def test_feature_levels_of_a_vision_transformer_are_its_blocks(tmp_path: Path) -> None:
    network, path = classifier("test_vit"), tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    seen: list[Tensor] = []
    for block in network.blocks:
        block.register_forward_hook(lambda _, __, output: seen.append(output))
    x = images()
    with torch.no_grad():
        network(normalised(F.interpolate(x, (160, 160), mode="bilinear", antialias=True), "test_vit"))
    n, tokens, channels = seen[0].shape
    side = int((tokens - network.num_prefix_tokens) ** 0.5)
    found = encoder(model="test_vit", weights=str(path)).double()(x, layers=[3, 1])
    for one, index in zip(found, (3, 1), strict=True):
        by_hand = seen[index][:, network.num_prefix_tokens :].transpose(1, 2).reshape(n, channels, side, side)
        torch.testing.assert_close(one, by_hand, rtol=0, atol=1e-5)


def test_squeezenet_has_the_feature_maps_of_lpips(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, path = SqueezeNet(), tmp_path / "squeezenet.npz"
    np.savez(path, **{name: value.numpy() for name, value in network.state_dict().items()})
    x = images()
    y = torch.stack([(x[:, i] + 1) * 127.5 - mean for i, mean in ((2, 103.939), (1, 116.779), (0, 123.68))], 1)
    found = encoder(model="squeezenet", weights=str(path)).double()(x)
    ends = (2, 5, 8, 10, 11, 12, 13)
    for one, begin, end in zip(found, (0, *ends), ends, strict=False):
        y = network.double().features[begin:end](y)
        torch.testing.assert_close(one, y, rtol=1e-4, atol=1e-4)  # its means are in fp32
    assert [each.shape[1] for each in found] == [64, 128, 256, 384, 384, 512, 512]


def test_kept_weights_of_squeezenet_are_read() -> None:
    path = Path(__file__).resolve().parents[4] / "shared/data/weights/squeezenet1_1_features_imagenet_caffe.npz"
    if not path.exists():
        pytest.skip("the weights of SqueezeNet are not available")
    network = encoder(model="squeezenet", weights=str(path)).double()
    soft = F.avg_pool2d(images(), 9, 1, 4)
    for one, near, other in zip(network(soft), network(soft + 0.01), network(images()), strict=True):
        assert F.l1_loss(one, near) < 0.5 * F.l1_loss(one, other)


@torch.no_grad()
def test_inception_has_the_feature_maps_of_pytorch_fid() -> None:
    with on_meta_device():
        network = encoder(model="inception", layers=[3, 1, 0, 2])
        assert isinstance(network.network, Inception)
        found = network(torch.empty(2, 1, 64, 64))
    assert [tuple(each.shape[1:]) for each in found] == [(2048, 8, 8), (192, 35, 35), (64, 73, 73), (768, 17, 17)]


def test_images_are_resized_without_aliasing_and_grey_ones_repeated() -> None:
    network = encoder(channels=1, model="test_resnet", layers=[0], size=24).double()
    x = images(channels=1)
    small = F.interpolate(x, (24, 24), mode="bilinear", align_corners=False, antialias=True).repeat(1, 3, 1, 1)
    expected = network.network.forward_intermediates(normalised(small, "test_resnet"), intermediates_only=True)
    torch.testing.assert_close(network(x)[0], expected[0], rtol=0, atol=1e-6)


def test_layers_behind_the_last_one_are_neither_kept_nor_computed() -> None:
    network, seen = encoder(model="test_resnet", layers=[0, 2]), []
    assert sum(p.numel() for p in network.parameters()) < sum(
        p.numel() for p in encoder(model="test_resnet").parameters()
    )
    for index in (1, 2):
        getattr(network.network, f"layer{index}").register_forward_hook(lambda *_: seen.append(1))
    x = images().float()
    assert len(network(x)) == 2 and len(seen) == 2
    assert len(network(x, layers=[1, 0, 1])) == 3 and len(seen) == 3
    with pytest.raises(UsageError, match="no feature map 3; expected indices from 0 to 2"):
        network(x, layers=[3])


def test_a_frozen_encoder_passes_gradients_on_and_gets_none() -> None:
    x = images().float().requires_grad_()
    for frozen in (True, False):
        network = encoder(model="test_resnet", trained=not frozen)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        network.train()
        torch.stack([each.square().mean() for each in network(x)]).sum().backward()
        assert x.grad is not None and float(x.grad.abs().max()) > 0
        x.grad = None
        parameters = list(network.parameters())
        assert parameters and all((p.grad is None) == frozen and p.requires_grad != frozen for p in parameters)
        assert [module for module in network.modules() if module.training] == [] if frozen else network.training
        same = all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
        assert same == frozen  # statistics of batch norm
        assert mixes_batch(network) != frozen


def test_random_weights_follow_from_the_seed() -> None:
    torch.manual_seed(3)
    first = encoder(model="test_resnet").state_dict()
    torch.manual_seed(3)
    second = encoder(model="test_resnet").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "resnet81"}, UsageError, "timm has no model 'resnet81'. Did you mean 'resnet18'?"),
        ({"model": "resnet18.mine"}, UsageError, "timm has no model 'resnet18.mine': Invalid pretrained tag"),
        ({"model": "hf-hub:timm/resnet18"}, UsageError, "timm has no model 'hf-hub:timm/resnet18'."),
        ({"layers": [1, 5]}, UsageError, "'test_resnet' has 5 feature maps; expected indices from 0 to 4"),
        ({"layers": [-1]}, UsageError, "expected indices from 0 to 4"),
        ({"model": "squeezenet", "layers": [7]}, UsageError, "'squeezenet' has 7 feature maps"),
        ({"model": "test_vit", "size": 64}, UsageError, "'test_vit' takes images of 160x160 pixels only"),
        ({"model": "inception", "size": 64}, UsageError, "'inception' takes images of 299x299 pixels only"),
        ({"weights": "absent.pth"}, DataError, "weights absent.pth: no such file"),
        ({"weights": "other.npz"}, DataError, "other.npz: not those of test_resnet: 'conv1.0.weight' is missing"),
        ({"weights": "shape.npz"}, DataError, "'conv1.0.weight' is of shape (3,), expected shape (16, 3, 3, 3)"),
        ({"weights": "broken.pth"}, DataError, "broken.pth: cannot be read as .pth"),
        ({"weights": "downloaded"}, UsageError, "'transgan download' has no weights of 'test_resnet', only of incept"),
        ({"model": "inception", "weights": "downloaded"}, DataError, "run 'transgan download inception'"),
    ],
    ids=str,
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_mistakes_are_one_clear_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    error: type[TransganError],
    message: str,
    device: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("other.npz", fc=np.zeros(3))
    np.savez("shape.npz", **{"conv1.0.weight": np.zeros(3)})
    Path("broken.pth").write_bytes(b"nothing")
    with pytest.raises(error) as raised, on_meta_device() if device == "meta" else torch.device("cpu"):
        encoder(**{"model": "test_resnet", **options})
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_samples_that_are_not_images_are_refused() -> None:
    with pytest.raises(UsageError, match="images of 1 or 3 channels, and these have 4"):
        encoder(channels=4, model="test_resnet")
    with pytest.raises(UsageError, match="two axes"):
        TimmEncoder(TimmOptions(), spec(3, (64,)))


def test_a_missing_package_is_named_with_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(PluginError, match=r'timm.* needs timm, .*: pip install "transgan\[metrics\]"'):
        encoder(model="test_resnet")
    assert isinstance(encoder(model="squeezenet").network, nn.Module)  # needs none


def test_weights_are_checked_on_the_meta_device_too(tmp_path: Path) -> None:
    torch.save(classifier("test_resnet").state_dict(), tmp_path / "w.pth")
    with on_meta_device():
        network = encoder(model="test_resnet", weights=str(tmp_path / "w.pth"))
        assert [each.shape[1] for each in network(torch.empty(2, 3, 64, 64))] == [32, 32, 48, 192, 96]


NOTE = 'squeezenet begins with random weights; weights = "FILE" gives it pretrained ones'


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        (("encoders.e={use='timm', model='squeezenet'}",), ["e"]),
        (("encoders.e={use='timm', model='squeezenet', trained=true}",), ["e"]),
        (("losses.perceptual={model='squeezenet'}",), ["perceptual/encoder"]),
        (("losses.perceptual={encoder='e'}", "encoders.e={use='timm', model='squeezenet'}"), ["e"]),
        (("encoders.e={use='timm', model='squeezenet', weights='FILE'}",), []),
        (("losses.perceptual={model='squeezenet', weights='FILE'}",), []),
    ],
)
def test_check_says_which_networks_are_not_pretrained(
    planned: Any, tmp_path: Path, changes: tuple[str, ...], names: list[str]
) -> None:
    save_file(encoder(model="squeezenet").network.state_dict(), tmp_path / "w.safetensors")
    changes = tuple(each.replace("FILE", f"{tmp_path}/w.safetensors") for each in changes)
    recipe = "[generators.g]\nuse = 'resnet'\nwidth = 2\nblocks = 0\n[losses]\ncycle = 1.0\n[train]\nsteps = 4\n"
    lines = list(describe(planned(recipe, overrides=("data.size=32", *changes))))
    noted = [lines[i - 1].split(":")[0].strip() for i, line in enumerate(lines) if line == f"    note: {NOTE}"]
    assert noted == names
    assert sum("note: " in line for line in lines) == len(names)


@pytest.mark.parametrize("model", ["mobilenetv3_small_050", "test_resnet"])
def test_frozen_norms_are_those_of_timm_and_stay_in_the_precision_of_their_input(model: str) -> None:
    expected = timm.layers.freeze_batch_norm_2d(classifier(model))
    frozen = classifier(model)
    freeze_norms(frozen)
    assert list(frozen.state_dict()) == list(expected.state_dict())
    x = images(32).requires_grad_()
    gradients = []
    for network in (expected, frozen):
        y = network(x)
        gradients.append((y, *torch.autograd.grad(y.square().sum(), x)))
    for ours, theirs in zip(gradients[1], gradients[0], strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    norm = next(each for each in frozen.float().modules() if isinstance(each, FrozenNorm))
    low = torch.randn(2, len(norm.weight), 4, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert norm(low).dtype is torch.bfloat16


def test_a_frozen_norm_without_scale_and_shift() -> None:
    norm = nn.BatchNorm2d(4, affine=False).eval()
    norm.running_mean = torch.randn(4)
    norm.running_var = torch.rand(4) + 0.5
    x = torch.randn(2, 4, 3, 3)
    assert torch.equal(FrozenNorm(norm)(x), norm(x))
