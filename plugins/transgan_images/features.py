"""Feature networks, whose activations metrics compare. Figures carry the short name of their network.

A network takes images (N, C, H, W) in [-1, 1] and returns features (N, D) and, if it is a classifier, logits
(N, classes).
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary
from transgan_standard.layers import last_of

from transgan.api import DataError, Domain, PluginError, UsageError, locate
from transgan_images.classifier import TIMM, create_timm
from transgan_images.inception import WEIGHTS, Inception
from transgan_images.resizing import antialiased
from transgan_images.weights import DOWNLOADED, DOWNLOADS, downloaded, read_tensors

#: What a network returns: features, and logits if it is a classifier.
NetworkOutput = tuple[Tensor, Tensor | None]
#: The same as arrays in float64.
Features = tuple[np.ndarray, np.ndarray | None]
#: The classifier that is trained on the run's own task.
OWN = "own"
#: Networks that are implemented here, and take their weights from a file.
NAMED = ("squeezenet", "inception")


class Fire(nn.Module):
    """Fire module: reduces channels by a 1x1 convolution, then expands them by 1x1 and 3x3 (Iandola et al., 2016)."""

    def __init__(self, channels: int, squeezed: int, expanded: int):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """The 512 features of SqueezeNet 1.1 with Caffe's weights, which expect BGR in [0, 255] minus the channel means.

    `forward(x)`: x (N, 1 or 3, H, W) in [-1, 1], used at its own size; features (N, 512), the last feature map averaged
    over positions; no logits.

    Raises:
        UsageError: in `forward`, where H or W is below 31.
    """

    ENDS = (1, 4, 7, 9, 10, 11, 12)
    """The layers whose outputs are feature maps, as LPIPS takes them (Zhang et al., 2018)."""
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

    def forward(self, x: Tensor) -> NetworkOutput:
        if min(x.shape[2:]) < 31:
            raise UsageError(
                f"squeezenet takes images of at least 31x31 pixels, and these have {x.shape[2]}x{x.shape[3]}; "
                "choose another network"
            )
        return last_of(self.maps(x)).mean((2, 3)), None

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        """Yield seven feature maps, (N, 64 to 512, H', W'), of x (N, 1 or 3, H, W) in [-1, 1]."""
        x = (rgb(x).flip(1) + 1) * 127.5 - self.means
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.ENDS:
                yield x


class TimmNetwork(nn.Module):
    """A pretrained network of timm, with pooled features.

    `forward(x)`: x (N, 1 or 3, H, W) in [-1, 1], resized to the network's input size and normalised as in its training;
    logits only where it has a classification head.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Any):
        super().__init__()
        self.network = network
        config = network.pretrained_cfg
        self.size = tuple(config["input_size"][1:])
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(config[name])[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> NetworkOutput:
        x = antialiased(rgb(x), self.size)
        maps = self.network.forward_features(((x + 1) / 2 - self.mean) / self.std)
        logits = self.network.forward_head(maps) if self.network.num_classes else None
        return self.network.forward_head(maps, pre_logits=True), logits


class Extractor:
    """A feature network that caches features by tensor, so that all metrics of a run share one forward pass."""

    def __init__(self, network: nn.Module):
        self.network = network.eval().requires_grad_(False)
        self.cache: Any = WeakTensorKeyDictionary()
        self.real_cache: WeakKeyDictionary[Any, dict[bool, Features]] = WeakKeyDictionary()

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Features:
        """Return features, and logits or None, of images (N, C, H, W) in [-1, 1]: float64, on the CPU."""
        if x not in self.cache:
            features, logits = self.network.to(x.device)(x)
            self.cache[x] = (_to_array(features), None if logits is None else _to_array(logits))
        cached: Features = self.cache[x]
        return cached

    def of_real(self, domain: Domain, held_out_only: bool) -> Features:
        """Return the features of a domain's real images.

        Args:
            held_out_only: use only held-out images, if there are any, instead of training images too.
        """
        known = self.real_cache.setdefault(domain.batches, {})  # `batches` is a new object for each set of data
        if held_out_only not in known:
            splits = (True,) if held_out_only and domain.held_out else (True, False)
            known[held_out_only] = concatenate([self(x) for split in splits for _, x in domain.batches(split, 64)])
        return known[held_out_only]


def concatenate(batches: Sequence[Features]) -> Features:
    """Return the features of several batches as one."""
    logits = [each for _, each in batches if each is not None]
    return np.concatenate([each for each, _ in batches]), np.concatenate(logits) if logits else None


def short_name(network: str) -> str:
    """Return the name of a network that figures carry: `squeezenet`, `timm-resnet18`."""
    return network.replace(":", "-")


@lru_cache(maxsize=4)
def load(network: str, path: Path | None) -> Extractor:
    """Return a feature network with its weights.

    Args:
        network: `squeezenet`, `inception` or `timm:MODEL`.
        path: the file with the weights; optional for those that `transgan download` has fetched.

    Raises:
        UsageError: there is no such network, or it needs a path.
        DataError: the file is missing, cannot be read, or has the weights of another network.
        PluginError: timm is not installed.
    """
    if network.startswith(TIMM):
        return Extractor(_timm(network.removeprefix(TIMM), _required(network, path)))
    if network == "squeezenet":
        squeezenet = SqueezeNet()
        _load_weights(squeezenet, read_tensors(_required(network, path)), network, path)
        return Extractor(squeezenet)
    if network == "inception":
        found = _required(network, path)
        locate(WEIGHTS, found)  # figures are comparable with these weights alone
        inception = Inception()
        _load_weights(inception, read_tensors(found), network, found)
        return Extractor(inception)
    raise UsageError(f"there is no feature network '{network}'; expected {OWN}, {', '.join(NAMED)} or {TIMM}MODEL")


def _required(network: str, path: Path | None) -> Path:
    model = network.removeprefix(TIMM)
    if path is None and model not in DOWNLOADS:
        raise UsageError(f'network = "{network}" needs a file with its weights; set weights = "FILE"')
    return downloaded(model) if path in (None, Path(DOWNLOADED)) else path


def _timm(name: str, path: Path) -> nn.Module:
    """Return a network of timm with the weights in a file, and a classification head if the file has one."""
    network = create_timm(name, f"the feature network timm:{name}")
    tensors = read_tensors(path)
    head = network.pretrained_cfg.get("classifier", "fc")
    weight = next((tensors[f"{each}.weight"] for each in (head, "head.fc") if f"{each}.weight" in tensors), None)
    network.reset_classifier(0 if weight is None else len(weight))
    _load_weights(network, tensors, f"timm:{name}", path)
    return TimmNetwork(network)


def _load_weights(network: nn.Module, tensors: dict[str, Tensor], name: str, path: Path | None) -> None:
    """Load a state dict; raise DataError with the first mismatch."""
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        first = next((line.strip() for line in str(error).splitlines()[1:]), str(error))
        raise DataError(f"weights {path}: not those of {name}: {first:.200}") from None


def rgb(x: Tensor) -> Tensor:
    """Return images with three channels; grey ones are repeated."""
    if x.shape[1] not in (1, 3):
        raise PluginError(f"feature networks take images of 1 or 3 channels, and these have {x.shape[1]}")
    return x.expand(-1, 3, -1, -1)


def _to_array(x: Tensor) -> np.ndarray:
    array: np.ndarray = x.detach().cpu().double().numpy()
    return array
