"""The vocoder HiFi-GAN: against its layers written out, weight norm, files, and what is said of wrong ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transgan_voice.features import MelFeatures
from transgan_voice.hifigan import HifiGan, folded, read_hifigan

from transgan.api import DataError

SMALL = {"bands": 16, "width": 8, "upsampling": [16, 8], "kernels": [3, 7]}


def convolved(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, dilation: int = 1) -> np.ndarray:
    """Return a convolution (O, T) of x (C, T), sample by sample, padded with zeros to as many."""
    kernel, count = weight.shape[-1], x.shape[1]
    reach = dilation * (kernel - 1) // 2
    padded = np.pad(x, ((0, 0), (reach, reach)))
    y = np.repeat(bias[:, None], count, 1)
    for k in range(kernel):
        y += weight[:, :, k] @ padded[:, k * dilation : k * dilation + count]
    return y


def raised(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return a transposed convolution (O, T * stride) of x (C, T), each input added to the outputs that it reaches."""
    kernel = weight.shape[-1]
    stride = kernel // 2
    y = np.zeros((weight.shape[1], (x.shape[1] - 1) * stride + kernel))
    for t in range(x.shape[1]):
        y[:, t * stride : t * stride + kernel] += np.einsum("c,cok->ok", x[:, t], weight)
    cut = (kernel - stride) // 2
    return y[:, cut : cut + x.shape[1] * stride] + bias[:, None]


def leaky(x: np.ndarray, slope: float) -> np.ndarray:
    return np.where(x > 0, x, slope * x)


@pytest.mark.parametrize("second", [True, False])
@torch.no_grad()
def test_the_vocoder_equals_its_layers_written_out(second: bool) -> None:
    torch.manual_seed(0)
    network = HifiGan(**SMALL, second=second).double()
    w = {name: x.numpy() for name, x in network.state_dict().items()}
    mel = torch.randn(1, 16, 5, dtype=torch.double)

    def layer(name: str, x: np.ndarray, dilation: int = 1) -> np.ndarray:
        return convolved(x, w[f"{name}.weight"], w[f"{name}.bias"], dilation)

    x = layer("conv_pre", mel[0].numpy())
    for i in range(2):
        x = raised(leaky(x, 0.1), w[f"ups.{i}.weight"], w[f"ups.{i}.bias"])
        total = np.zeros_like(x)
        for k, kernel in enumerate((3, 7)):
            y, block = x, f"resblocks.{2 * i + k}"
            for j, dilation in enumerate((1, 3, 5) if second else {3: (1, 2), 7: (3, 12)}[kernel]):
                if second:
                    z = layer(f"{block}.convs1.{j}", leaky(y, 0.1), dilation)
                    y = y + layer(f"{block}.convs2.{j}", leaky(z, 0.1))
                else:
                    y = y + layer(f"{block}.convs.{j}", leaky(y, 0.1), dilation)
            total += y
        x = total / 2
    expected = np.tanh(layer("conv_post", leaky(x, 0.01)))
    found = network(mel)[0].numpy()
    assert found.shape == (1, 5 * 8 * 4) and np.allclose(found, expected, atol=1e-10)


def with_weight_norm(network: HifiGan, new: bool) -> dict[str, Tensor]:
    """Return the weights as weight norm keeps them, in torch's old or new names."""
    names = (
        ("parametrizations.weight.original0", "parametrizations.weight.original1") if new else ("weight_g", "weight_v")
    )
    found = {}
    for name, x in network.state_dict().items():
        if name.endswith(".weight"):
            stem = name.removesuffix("weight")
            found[stem + names[0]] = x.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.dim() - 1)) * 1.0
            found[stem + names[1]] = 3 * x
        else:
            found[name] = x
    return found


@pytest.mark.parametrize("kind", ["old.pt", "published.pt", "new.safetensors"])
@pytest.mark.parametrize("second", [True, False])
@torch.no_grad()
def test_a_file_of_weights_is_read_with_its_widths_and_without_weight_norm(
    tmp_path: Path, kind: str, second: bool
) -> None:
    torch.manual_seed(1)
    network, path = HifiGan(**SMALL, second=second), tmp_path / kind
    state = with_weight_norm(network, new=kind.startswith("new"))
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"generator": state} if kind.startswith("published") else state, path)
    read = read_hifigan(path)
    x = torch.randn(2, 16, 6)
    assert read.hop == 32 and torch.allclose(read(x), network(x), atol=1e-5)
    assert folded(network.state_dict()).keys() == network.state_dict().keys()
    features = MelFeatures(16, 32, 64, 1, str(path), 22_050, 8000.0)
    analysis = features.analyze(np.random.default_rng(0).normal(0, 0.1, 700).astype(np.float32))
    assert features.synthesize(analysis).shape == (700,)


def test_torch_folds_weight_norm_alike() -> None:
    torch.manual_seed(2)
    layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.ConvTranspose1d(4, 3, 5))
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(2.5)  # type: ignore[union-attr, operator]
        assert torch.allclose(folded({f"up.{n}": x for n, x in layer.state_dict().items()})["up.weight"], layer.weight)


@pytest.mark.parametrize("what", ["another network", "other bands", "no file of weights"])
def test_a_wrong_file_is_said_in_one_line(tmp_path: Path, what: str) -> None:
    path = tmp_path / "vocoder.pt"
    state: Any = {
        "another network": {"a.weight": torch.zeros(3)},
        "other bands": HifiGan(**SMALL, second=True).state_dict(),
    }
    torch.save(state.get(what, {}), path)
    if what == "no file of weights":
        path.write_bytes(b"nothing")
    message = {"another network": "no generator of HiFi-GAN", "other bands": "bands = 16, hop = 32"}.get(
        what, "cannot be read"
    )
    with pytest.raises(DataError, match=message) as error:
        MelFeatures(80, 256, 1024, 1, str(path)).vocoder  # noqa: B018
    assert "\n" not in str(error.value)
