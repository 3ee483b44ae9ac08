"""The discriminator `features`: small heads on the feature maps of a frozen network."""

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from transgan_standard.layers import split_label_maps

from transgan.api import Discriminator, DiscriminatorOutput, NetworkSpec, Options, Tensor, UsageError
from transgan_images.encoders import TimmEncoder, TimmOptions


class FeatureOptions(Options):
    """Options of the discriminator `features`."""

    model: str = "resnet18"
    """The frozen network, as that of the encoder `timm`: a model of timm, `squeezenet` or `inception`."""
    layers: list[int] | None = Field(None, min_length=1)
    """Indices of the feature maps that get a head each, as those of the encoder `timm`; by default all."""
    weights: str | None = None
    """The file with the network's weights, or `downloaded`. By default they are random, which costs most of what this
    discriminator knows."""
    size: int | None = Field(None, ge=1)
    """Height and width to which images are resized before the frozen network. Small images need enlarging, for the
    networks were trained on large ones."""
    width: int = Field(64, ge=1)
    """Channels of each head (1 or more)."""
    label_maps: bool = True
    """One map of logits for each domain, of which that of the domain to check is used, and one for each value of the
    labels in `keep`. Otherwise one map, and conditions by projection."""
    kept_weight: float = Field(0.5, ge=0)
    """With `label_maps`, what each kept label counts in adversarial losses, where the domain counts 1 (0 or more)."""


class Head(nn.Module):
    """1x1 and 3x3 convolution and a map of logits, on normalised features; spectral norm everywhere.

    `forward(x, style)`: x (N, channels, H, W); returns logits (N, maps, H, W) and the last features.
    """

    def __init__(self, channels: int, width: int, maps: int, style: int):
        super().__init__()
        self.first = spectral_norm(nn.Conv2d(channels, width, 1))
        self.second = spectral_norm(nn.Conv2d(width, width, 3, padding=1))
        self.last = spectral_norm(nn.Conv2d(width, maps, 1))
        self.projection = spectral_norm(nn.Linear(style, width, bias=False)) if style else None

    def forward(self, x: Tensor, style: Tensor | None) -> tuple[Tensor, Tensor]:
        x = F.group_norm(x, 1)  # each sample by itself: how strong features are says little of an image
        x = F.leaky_relu(self.first(x), 0.2)
        x = F.leaky_relu(self.second(x), 0.2)
        logits: Tensor = self.last(x)
        if self.projection is not None and style is not None:
            logits = logits + (x * self.projection(style)[:, :, None, None].to(x.dtype)).sum(1, keepdim=True)
        return logits, x


class FeatureDiscriminator(Discriminator[FeatureOptions]):
    """A discriminator on the features of a frozen network, after Sauer et al. (2021) and Kumari et al. (2022).

    The network's feature maps are compared instead of pixels: a few real images suffice, and noise does not pass for
    texture. Each map has a head of three convolutions with spectral norm. What differs from the paper: heads are
    convolutions of width `width` without random projections between scales, and logits may be label maps.

    `forward(x, style, domain, kept)`: x (N, 1 or 3, H, W) in [-1, 1]; logits (N, 1, H', W') for each feature map, the
    heads' features; with `label_maps` domain (N,) and kept (N, K), or None, and the logits of K values for each map.

    Raises:
        UsageError: samples are not images of 1 or 3 channels; there is no such model, layer or size; images are too
            small for the network.
        DataError: the weights are missing, cannot be read, or are those of another network.
        PluginError: timm is needed and not installed.
    """

    @classmethod
    def unused_conditions(cls, options: FeatureOptions) -> tuple[str, ...]:
        return () if options.label_maps else ("domain", "kept")

    def __init__(self, options: FeatureOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        frozen = {name: getattr(options, name) for name in ("model", "layers", "weights", "size")}
        self.frozen = TimmEncoder(TimmOptions(**frozen), spec)
        self.options, self.domains = options, len(spec.domains)
        maps = self.domains + spec.attributes.get("kept", 0) if options.label_maps else 1
        channels = self._channels(spec)
        self.heads = nn.ModuleList(Head(each, options.width, maps, spec.style) for each in channels)

    def _channels(self, spec: NetworkSpec) -> list[int]:
        """Return the channels of each feature map, from a pass on the meta device."""
        frozen = {name: getattr(self.options, name) for name in ("model", "layers", "size")}
        with torch.device("meta"), torch.no_grad():
            probe = TimmEncoder(TimmOptions(**frozen), spec)
            try:
                return [x.shape[1] for x in probe(torch.empty(1, spec.inputs, *spec.space))]
            except RuntimeError as error:
                sides = "x".join(map(str, spec.space))
                raise UsageError(
                    f"'features': images of {sides} pixels are too small for {self.options.model} ({error}); "
                    "enlarge them by size, such as size = 128"
                ) from None

    def forward(
        self, x: Tensor, style: Tensor | None = None, domain: Tensor | None = None, kept: Tensor | None = None
    ) -> DiscriminatorOutput:
        output = DiscriminatorOutput([], kept=None if kept is None else self.options.kept_weight * kept)
        for head, maps in zip(self.heads, self.frozen(x), strict=True):
            logits, features = head(maps, style)
            if self.options.label_maps:
                logits, kept_logits = split_label_maps(logits, domain, kept, self.domains)
                output.kept_logits.extend([] if kept_logits is None else [kept_logits])
            output.logits.append(logits)
            output.features.append(features)
        return output
