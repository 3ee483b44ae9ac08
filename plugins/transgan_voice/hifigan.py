"""The generator of HiFi-GAN (Kong, Kim and Bae, 2020, section 2.2), a neural vocoder, read from a file of weights.

The layers are those of the authors' code, V1, V2 and V3; widths and kernels follow from the weights. Weight norm, which
only training needs, is folded into the weights.
"""

from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile, is_zipfile

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transgan_images.weights import read_tensors

from transgan.api import DataError

#: Dilations of residual blocks of the first kind, of all kernels, and of the second kind, by kernel.
DILATIONS = (1, 3, 5)
DILATIONS_OF_SECOND = {3: (1, 2), 5: (2, 6), 7: (3, 12)}
SLOPE = 0.1


class ResidualBlock(nn.Module):
    """Residual convolutions with a kernel at several dilations; with `second`, each followed by another one at 1."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], second: bool):
        super().__init__()
        first = nn.ModuleList(nn.Conv1d(channels, channels, kernel, padding="same", dilation=d) for d in dilations)
        if second:
            self.convs1, self.convs2 = (
                first,
                nn.ModuleList(nn.Conv1d(channels, channels, kernel, padding="same") for _ in dilations),
            )
        else:
            self.convs = first
        self.second = second

    def forward(self, x: Tensor) -> Tensor:
        pairs = zip(self.convs1, self.convs2, strict=True) if self.second else ((each,) for each in self.convs)
        for layers in pairs:
            y = x
            for layer in layers:
                y = layer(F.leaky_relu(y, SLOPE))
            x = x + y
        return x


class HifiGan(nn.Module):
    """From log-mel spectrograms (N, bands, frames) to samples (N, 1, frames * hop).

    Args:
        bands: of the spectrogram.
        width: channels before the first upsampling, which halves them, as does each further one.
        upsampling: kernels of the transposed convolutions; their strides are half as large.
        kernels: of the residual blocks after each.
        second: whether residual blocks are of the first kind (V1 and V2: two convolutions at a time), or V3's.
    """

    def __init__(self, bands: int, width: int, upsampling: list[int], kernels: list[int], second: bool):
        super().__init__()
        self.bands, self.kernels = bands, kernels
        self.hop = 1
        self.conv_pre = nn.Conv1d(bands, width, 7, padding=3)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for kernel in upsampling:
            stride = kernel // 2
            self.hop *= stride
            self.ups.append(nn.ConvTranspose1d(width, width // 2, kernel, stride, padding=(kernel - stride) // 2))
            width //= 2
            for size in kernels:
                dilations = DILATIONS if second else DILATIONS_OF_SECOND[size]
                self.resblocks.append(ResidualBlock(width, size, dilations, second))
        self.conv_post = nn.Conv1d(width, 1, 7, padding=3)

    def forward(self, mel: Tensor) -> Tensor:
        x, count = self.conv_pre(mel), len(self.kernels)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE))
            blocks = [self.resblocks[count * i + k](x) for k in range(count)]
            x = torch.stack(blocks).sum(0) / count
        samples: Tensor = torch.tanh(self.conv_post(F.leaky_relu(x)))  # 0.01, unlike before, as the authors have it
        return samples


def is_program(path: Path) -> bool:
    """Return whether a file is a TorchScript program, not a file of weights."""
    if not is_zipfile(path):
        return False
    with ZipFile(path) as file:
        return any("/code/" in name for name in file.namelist())


def read_hifigan(path: Path) -> HifiGan:
    """Return the network of a file of weights: .safetensors, or a file of tensors that torch.save wrote.

    No code in it is run. Published files have the weights under `generator`.

    Raises:
        DataError: the file cannot be read, or holds no such network.
    """
    tensors = read_tensors(path)
    tensors = {name.removeprefix("generator."): x for name, x in tensors.items()}
    weights = folded(tensors)
    try:
        ups = [weights[f"ups.{i}.weight"] for i in range(_count(weights, "ups"))]
        first = weights["conv_pre.weight"]
        second = "resblocks.0.convs1.0.weight" in weights
        part = "convs1.0" if second else "convs.0"
        blocks = _count(weights, "resblocks")
        sizes = [weights[f"resblocks.{i}.{part}.weight"].shape[-1] for i in range(blocks // max(1, len(ups)))]
        network = HifiGan(first.shape[1], first.shape[0], [up.shape[-1] for up in ups], sizes, second)
        network.load_state_dict(weights)
    except (KeyError, RuntimeError, ValueError, IndexError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[-1].strip()
        raise DataError(f"vocoder {path}: no generator of HiFi-GAN V1, V2 or V3: {why:.160}") from None
    return network.eval()


def _count(weights: Mapping[str, Tensor], name: str) -> int:
    """Return how many modules are numbered after a name."""
    return len({key.split(".")[1] for key in weights if key.startswith(f"{name}.")})


def folded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights without weight norm: w = g v / |v|, the norm of each row (Salimans and Kingma, 2016)."""
    found = dict[str, Tensor]()
    for name, x in tensors.items():
        for gain, direction in (("weight_g", "weight_v"), ("parametrizations.weight.original0",
                                                           "parametrizations.weight.original1")):  # fmt: skip
            if name.endswith(f".{gain}"):
                stem = name.removesuffix(gain)
                v = tensors[stem + direction].double()
                norm = v.flatten(1).norm(dim=1).reshape(-1, *[1] * (v.dim() - 1))
                found[f"{stem}weight"] = (x.double().reshape(norm.shape) * v / norm).float()
                break
            if name.endswith(f".{direction}"):
                break
        else:
            found[name] = x.float()
    return found
