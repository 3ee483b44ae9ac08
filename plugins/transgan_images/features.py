"""Feature networks: what distances between pictures are measured over. Each has a short name, which figures carry.

A network takes (N, 3, H, W) in [-1, 1] and returns features (N, D) and, where it classifies, logits (N, classes).
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

from transgan.api import DataError, Domain, PluginError, UsageError, locate, require
from transgan_images.classifier import TIMM
from transgan_images.inception import WEIGHTS, Inception

#: Features, and logits where the network classifies.
Seen = tuple[Tensor, Tensor | None]
#: The same as arrays.
Looked = tuple[np.ndarray, np.ndarray | None]
OWN = "own"
#: Networks that come with their code, and weights by path.
NAMED = ("squeezenet", "inception")


class Fire(nn.Module):
    """Squeezes channels, then expands them by 1x1 and 3x3 (Iandola et al., 2016)."""

    def __init__(self, channels: int, squeezed: int, expanded: int):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """The features of SqueezeNet 1.1 as Caffe trained it: BGR in 0..255, less the channels' means; 512 numbers.

    Pictures are taken at their own size, from 31 pixels up; the last map is averaged.
    """

    means: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, stride=2), nn.ReLU()]
        fires = [(64, 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128)]
        fires += [(256, 48, 192), (384, 48, 192), (384, 64, 256), (512, 64, 256)]
        for i, fire in enumerate(fires):
            if i in (0, 2, 4):
                layers.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
            layers.append(Fire(*fire))
        self.features = nn.Sequential(*layers)
        self.register_buffer("means", torch.tensor([103.939, 116.779, 123.68])[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Seen:
        if min(x.shape[2:]) < 31:
            raise UsageError(f"squeezenet needs pictures of 31 pixels at least, these have {min(x.shape[2:])}")
        bgr = (_rgb(x).flip(1) + 1) * 127.5 - self.means
        return self.features(bgr).mean((2, 3)), None


class TimmNetwork(nn.Module):
    """A network of timm: pictures resized to its own input size and normalised as it was trained; pooled features."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: Any):
        super().__init__()
        self.network = network
        trained = network.pretrained_cfg
        self.size = tuple(trained["input_size"][1:])
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(trained[name])[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Seen:
        x = F.interpolate(_rgb(x), self.size, mode="bilinear", align_corners=False, antialias=True)
        maps = self.network.forward_features(((x + 1) / 2 - self.mean) / self.std)
        logits = self.network.forward_head(maps) if self.network.num_classes else None
        return self.network.forward_head(maps, pre_logits=True), logits


class Extractor:
    """A feature network at work. A tensor is looked at once as long as it lives, however many metrics ask."""

    def __init__(self, network: nn.Module):
        self.network = network.eval().requires_grad_(False)
        self.seen: Any = WeakTensorKeyDictionary()
        self.reals: WeakKeyDictionary[Any, dict[bool, Looked]] = WeakKeyDictionary()

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Looked:
        """Features, and logits or None, of (N, 3, H, W) in [-1, 1]; float64, on the CPU."""
        if x not in self.seen:
            features, logits = self.network.to(x.device)(x)
            self.seen[x] = (_numbers(features), None if logits is None else _numbers(logits))
        found: Looked = self.seen[x]
        return found

    def of_real(self, domain: Domain, held_out_only: bool) -> Looked:
        """The same of a domain's real pictures: held out and trained on, or only the former where there are any."""
        known = self.reals.setdefault(domain.batches, {})  # an object of its own for each look at the data
        if held_out_only not in known:
            parts = (True,) if held_out_only and domain.held_out else (True, False)
            known[held_out_only] = joined([self(x) for part in parts for _, x in domain.batches(part, 64)])
        return known[held_out_only]


def joined(looks: Sequence[Looked]) -> Looked:
    """Those of several batches as one."""
    logits = [each for _, each in looks if each is not None]
    return np.concatenate([each for each, _ in looks]), np.concatenate(logits) if logits else None


def short_name(network: str) -> str:
    """What figures call a network: `squeezenet`, `timm-resnet18`."""
    return network.replace(":", "-")


@lru_cache(maxsize=4)
def load(network: str, path: Path | None) -> Extractor:
    """A feature network with its weights.

    Raises:
        UsageError: there is no such network, or it needs a path.
        DataError: the file is missing, or holds something else.
        PluginError: timm is not installed.
    """
    if network.startswith(TIMM):
        return Extractor(_timm(network.removeprefix(TIMM), _given(network, path)))
    if network == "squeezenet":
        squeezenet = SqueezeNet()
        _fill(squeezenet, read_tensors(_given(network, path)), network, path)
        return Extractor(squeezenet)
    if network == "inception":
        found = locate(WEIGHTS, path)
        if found is None:
            raise DataError(
                f"the weights of '{network}' are not here: 'transgan download {WEIGHTS.name}' fetches them, "
                'or weights = "FILE" names them'
            )
        inception = Inception()
        _fill(inception, read_tensors(found), network, found)
        return Extractor(inception)
    raise UsageError(f"no feature network is called '{network}'; known: {OWN}, {', '.join(NAMED)}, {TIMM}MODEL")


def _given(network: str, path: Path | None) -> Path:
    if path is None:
        raise UsageError(f'network "{network}" needs its weights: weights = "FILE"')
    return path


def _timm(name: str, path: Path) -> nn.Module:
    timm = require("timm", "judge", f"the feature network timm:{name}")
    tensors = read_tensors(path)
    try:
        network = timm.create_model(name, pretrained=False)
        head = network.pretrained_cfg.get("classifier", "fc")
        weight = next((tensors[f"{each}.weight"] for each in (head, "head.fc") if f"{each}.weight" in tensors), None)
        network.reset_classifier(0 if weight is None else len(weight))
    except RuntimeError as error:
        raise UsageError(f"timm knows no model '{name}': {str(error).splitlines()[0]}") from None
    _fill(network, tensors, f"timm:{name}", path)
    return TimmNetwork(network)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Weights by name, from .npz, .safetensors, or a .pth that holds nothing but tensors; no code is run. DataError."""
    path = path.expanduser()
    if not path.is_file():
        raise DataError(f"weights {path}: no such file")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format fails in its own words, and some of them with bare KeyErrors
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"weights {path}: cannot be read as {path.suffix or 'weights'}: {why:.160}") from None
    found = found.get("state_dict", found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not all(isinstance(each, Tensor) for each in found.values()):
        raise DataError(f"weights {path}: expected tensors by name")
    return found


def _fill(network: nn.Module, tensors: dict[str, Tensor], name: str, path: Path | None) -> None:
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        first = next((line.strip() for line in str(error).splitlines()[1:]), str(error))
        raise DataError(f"weights {path}: not those of {name}: {first:.200}") from None


def _rgb(x: Tensor) -> Tensor:
    if x.shape[1] not in (1, 3):
        raise PluginError(f"feature networks look at grey or RGB pictures, not at {x.shape[1]} channels")
    return x.expand(-1, 3, -1, -1)


def _numbers(x: Tensor) -> np.ndarray:
    array: np.ndarray = x.detach().double().cpu().numpy()
    return array
