"""The encoder `timm`: the feature maps of an image network, usually pretrained and frozen, for losses on features."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from transgan_standard.layers import activations_at, two_axes

from transgan.api import DataError, Encoder, NetworkSpec, Options, UsageError
from transgan_images import inception
from transgan_images.classifier import create_timm
from transgan_images.features import SqueezeNet, rgb
from transgan_images.resizing import antialiased
from transgan_images.weights import DOWNLOADED, downloaded, read_tensors

#: Networks that are implemented here, and the number of their feature maps.
OWN: dict[str, tuple[type[SqueezeNet | inception.Inception], int]] = {
    "squeezenet": (SqueezeNet, len(SqueezeNet.ENDS)),
    "inception": (inception.Inception, 4),
}


class TimmOptions(Options):
    """Options of the encoder `timm`."""

    model: str = "resnet18"
    """The network: a model of timm, such as `resnet18`, `vgg16` or `vit_small_patch14_dinov2`; `squeezenet` (1.1, with
    Caffe's weights); or `inception` (of FID, at 299 pixels). Only the first of these needs timm."""
    layers: list[int] | None = Field(None, min_length=1)
    """Indices of the feature maps to return; by default all. Of timm's models these are those of
    `forward_intermediates`: five of a ResNet, one for each block of a vision transformer; `squeezenet` has the seven of
    LPIPS, `inception` the four of pytorch-fid. Layers behind the last one are neither computed nor, of timm's models,
    kept."""
    weights: str | None = Field(None, exclude=True)  # a model is rebuilt without the file, which it contains
    """The file with the weights, .safetensors, .pth or .npz, which may have those of a classifier too; or `downloaded`,
    for `inception`, `tf_efficientnet_lite0` and `tf_efficientnet_lite1` after `transgan download`. By default they are
    random: the network is pretrained only where this is set."""
    trained: bool = False
    """Whether the network is trained with the generators; otherwise it is frozen, and norms use the statistics of its
    weights."""
    size: int | None = Field(None, ge=1)
    """Height and width to which images are resized (antialiased); by default they keep their size, or get that of a
    network that takes no other."""


class FrozenNorm(nn.Module):
    """Batch norm whose statistics, scale and shift are fixed, so that a sample's output depends on no other sample.

    `forward(x) -> y`: (N, C, H, W), y in the dtype of x. Its state has the names of that of timm's and torchvision's
    frozen norms, which multiply and add in fp32: three times the memory traffic, and the convolution behind has to cast
    what they return.

    Args:
        norm: what it takes the place of; one of timm's has an activation, and a layer that drops, behind it.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, norm: nn.BatchNorm2d):
        super().__init__()
        assert norm.running_mean is not None and norm.running_var is not None
        self.eps = norm.eps
        mean = norm.running_mean
        self.register_buffer("weight", norm.weight.detach() if norm.affine else torch.ones_like(mean))
        self.register_buffer("bias", norm.bias.detach() if norm.affine else torch.zeros_like(mean))
        self.register_buffer("running_mean", mean)
        self.register_buffer("running_var", norm.running_var)
        self.drop = getattr(norm, "drop", nn.Identity())
        self.act = getattr(norm, "act", nn.Identity())
        if getattr(self.act, "inplace", False):  # for its gradient what it changes would be copied first
            self.act.inplace = False

    def forward(self, x: Tensor) -> Tensor:
        y = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        activated: Tensor = self.act(self.drop(y))
        return activated


def freeze_norms(network: nn.Module) -> None:
    """Put a `FrozenNorm` in the place of every batch norm of images in a network."""
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(network, name, FrozenNorm(child))
        else:
            freeze_norms(child)


class TimmEncoder(Encoder[TimmOptions]):
    """A network of timm (Wightman, 2019) as a feature extractor, frozen by default.

    `forward(x, layers)`: x (N, 1 or 3, H, W) in [-1, 1], normalised as in the network's own training; returns a list of
    feature maps (N, C, H', W'), of `layers` or, by default, of the option's. A frozen network has no trainable
    parameters and is always in evaluation mode; gradients pass through to x.

    Raises:
        UsageError: samples are not images of 1 or 3 channels; there is no such model, layer or size.
        DataError: the weights are missing, cannot be read, or are those of another network.
        PluginError: timm is needed and not installed.
    """

    channels_last = True
    mean: Tensor
    std: Tensor

    def __init__(self, options: TimmOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        two_axes(spec, "timm")
        if spec.inputs not in (1, 3):
            raise UsageError(f"'timm' takes images of 1 or 3 channels, and these have {spec.inputs}")
        self.options = options
        self.size: tuple[int, ...] | None = (options.size, options.size) if options.size else None
        self.network, self.layers = self._build(options)
        if options.weights is not None:
            self._load(options.weights)
        else:
            self.note = f'{options.model} begins with random weights; weights = "FILE" gives it pretrained ones'
        if not options.trained:
            self.requires_grad_(False).eval()

    def _build(self, options: TimmOptions) -> tuple[Any, list[int]]:
        """Return the network, and the indices of all its feature maps that are wanted."""
        if options.model in OWN:
            cls, count = OWN[options.model]
            self._check_size((inception.SIDE,) * 2 if options.model == "inception" else None)
            return cls(), self._wanted(count)
        network = create_timm(options.model, "the encoder 'timm'", OWN, num_classes=0)
        if not hasattr(network, "forward_intermediates"):
            raise UsageError(f"timm's '{options.model}' returns no feature maps; choose another model")
        config = network.pretrained_cfg
        self._check_size(tuple(config["input_size"][1:]) if config.get("fixed_input_size") else None)
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(config[name])[:, None, None], persistent=False)
        wanted = self._wanted(len(network.feature_info))
        network.prune_intermediate_layers(sorted(wanted), prune_norm=True)
        if not options.trained:
            freeze_norms(network)
        return network, wanted

    def _check_size(self, only: tuple[int, ...] | None) -> None:
        """Set the size to the only one that the network takes, if there is one; UsageError for another."""
        if only and self.size not in (None, only):
            what = f"'{self.options.model}' takes images of {only[0]}x{only[1]} pixels only"
            raise UsageError(f"size = {self.options.size}: {what}; leave size out")
        self.size = only or self.size

    def _wanted(self, count: int) -> list[int]:
        wanted = list(range(count)) if self.options.layers is None else self.options.layers
        if not all(0 <= index < count for index in wanted):
            raise UsageError(
                f"layers = {wanted}: '{self.options.model}' has {count} feature maps; "
                f"expected indices from 0 to {count - 1}"
            )
        return wanted

    @torch.no_grad()
    def _load(self, weights: str) -> None:
        """Load what the network has from a file, which may have more. On the meta device it is only checked."""
        path = downloaded(self.options.model) if weights == DOWNLOADED else Path(weights)
        tensors, own = read_tensors(path), self.network.state_dict()
        for key, value in own.items():
            if key not in tensors and key.endswith("num_batches_tracked"):
                continue  # old files lack it
            if key not in tensors or tensors[key].shape != value.shape:
                what = f"of shape {tuple(tensors[key].shape)}" if key in tensors else "missing"
                raise DataError(
                    f"weights {path}: not those of {self.options.model}: '{key}' is {what}, "
                    f"expected shape {tuple(value.shape)}"
                )
        if not any(value.is_meta for value in own.values()):
            self.network.load_state_dict({key: tensors[key] for key in own if key in tensors}, strict=False)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of a trained network; a frozen one stays in evaluation mode."""
        return super().train(mode and self.options.trained)

    def forward(self, x: Tensor, layers: Sequence[int] | None = None) -> list[Tensor]:
        layers = self.layers if layers is None else layers
        if unknown := sorted(set(layers) - {*range(max(self.layers) + 1)}):
            raise UsageError(
                f"layers = {list(layers)}: the encoder has no feature map {unknown[0]}; "
                f"expected indices from 0 to {max(self.layers)}"
            )
        x = rgb(x)
        if isinstance(self.network, inception.Inception):
            return activations_at(layers, self.network.maps(x))  # which resizes by itself, as FID is defined
        if self.size and x.shape[2:] != self.size:
            x = antialiased(x, self.size)
        if isinstance(self.network, SqueezeNet):
            return activations_at(layers, self.network.maps(x))
        wanted = sorted(set(layers))
        maps = self.network.forward_intermediates(
            ((x + 1) / 2 - self.mean) / self.std, indices=wanted, stop_early=True, intermediates_only=True
        )
        return [maps[wanted.index(index)] for index in layers]
