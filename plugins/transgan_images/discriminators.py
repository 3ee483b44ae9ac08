"""The discriminator `features`: small heads on the feature maps of a frozen network."""

from collections.abc import Mapping, Sequence
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F
from transgan_standard.layers import activations_at, split_label_maps, two_axes

from transgan.api import (
    Discriminator,
    DiscriminatorOutput,
    Domain,
    NetworkSpec,
    Options,
    Tensor,
    Translation,
    UsageError,
)
from transgan_images.classifier import SmallNetwork, augment, optimize, real_samples
from transgan_images.efficientnet import WEIGHTS
from transgan_images.encoders import TimmEncoder, TimmOptions
from transgan_images.heads import DownsamplingHead, Head, Mixing, TokenHead
from transgan_images.resizing import antialiased

#: The network that is trained on the run's own domains.
OWN = "own"


class FeatureOptions(Options):
    """Options of the discriminator `features`."""

    model: str = OWN
    """The frozen network: a model of timm, `squeezenet` or `inception`, as that of the encoder `timm`; or `own`, four
    convolutions that are trained to classify the run's own domains before its first step, and need no file."""
    layers: list[int] | None = Field(None, min_length=1)
    """Indices of the feature maps that get a head each, as those of the encoder `timm`; by default all. `own` has four,
    at a half to a sixteenth of the size."""
    weights: str | None = Field(None, exclude=True)  # the network's weights are saved with the run
    """The file with the weights of any other model than `own`, or `downloaded`. By default they are random, which costs
    most of what this discriminator knows."""
    pretrain: int = Field(600, ge=0, le=100_000)
    """Steps for which `own` is trained, of 32 images each (0 or more)."""
    size: int | None = Field(None, ge=1)
    """Height and width to which images are resized before the frozen network. Small images need enlarging, for the
    networks were trained on large ones."""
    mixing: Literal["none", "channels", "scales"] = "none"
    """Fixed random projections of the feature maps before the heads, as in Projected GAN: `channels` mixes those of
    each map by a 1x1 convolution, `scales` also adds each map, enlarged, to the next finer one. Maps are then best in
    order from fine to coarse, such as the four of a ResNet at a quarter to a 32nd of the size."""
    mixed: int = Field(64, ge=1)
    """Channels of the finest map after mixing; each next map has twice as many (1 or more)."""
    head: Literal["map", "downsampling", "tokens"] = "map"
    """What evaluates a feature map: `map`, three convolutions that keep its size; `downsampling`, convolutions with
    stride 2 and batch norm down to few logits, as in Projected GAN; `tokens`, convolutions along the row of its
    positions with batch norm of small groups, as StyleGAN-T has for a vision transformer. The latter two look at the
    samples of a batch together, so that gradient penalties are refused."""
    width: int = Field(64, ge=1)
    """Channels of each head (1 or more); of `downsampling` those at 64 pixels, up to 8 times as many at fewer; `tokens`
    has as many as the feature map."""
    label_maps: bool = True
    """One map of logits for each domain, of which that of the domain to check is used, and one for each value of the
    labels in `keep`. Otherwise one map, and conditions by projection."""
    kept_weight: float = Field(0.5, ge=0)
    """With `label_maps`, what each kept label counts in adversarial losses, where the domain counts 1 (0 or more)."""


class OwnFeatures(nn.Module):
    """The small classifier's four convolutions, trained to classify domains, then frozen.

    `forward(x)`: x (N, channels, H, W); returns the feature maps of `layers`, (N, 32 to 128, H', W').

    Raises:
        UsageError: there is no such layer.
    """

    def __init__(self, channels: int, domains: int, layers: list[int] | None):
        super().__init__()
        self.layers = list(range(SmallNetwork.LAYERS)) if layers is None else layers
        if not all(0 <= layer < SmallNetwork.LAYERS for layer in self.layers):
            raise UsageError(f"layers = {layers}: '{OWN}' has {SmallNetwork.LAYERS} feature maps; expected 0 to 3")
        self.network = SmallNetwork(channels, domains, width=32)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: the network is frozen."""
        return super().train(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        return activations_at(self.layers, self.network.maps(x))

    def fit(self, samples: Mapping[int, Tensor], tasks: Sequence[Sequence[int]], steps: int, seed: int = 0) -> None:
        """Train the network to tell the domains of each task apart.

        Args:
            samples: (N, channels, H, W) of each domain, by its index.
            tasks: the indices of each task's domains.
        """
        rng = np.random.default_rng(seed)
        choices = [(domain, list(task)) for task in tasks for domain in task]

        def loss() -> Tensor:
            picked = [choices[i] for i in rng.integers(len(choices), size=32)]
            x = torch.stack([samples[domain][int(rng.integers(len(samples[domain])))] for domain, _ in picked])
            logits = self.network(augment(x if rng.random() < 0.5 else x.flip(-1), rng))[1]
            losses = [
                F.cross_entropy(row[None, task], torch.tensor([task.index(domain)], device=row.device))
                for row, (domain, task) in zip(logits, picked, strict=True)
            ]
            return torch.stack(losses).mean()

        self.network.requires_grad_(True).train()
        optimize(self.network, steps, loss)
        self.network.zero_grad()
        self.network.requires_grad_(False).eval()


class FeatureDiscriminator(Discriminator[FeatureOptions]):
    """A discriminator on the features of a frozen network, after Sauer et al. (2021) and Kumari et al. (2022).

    The network's feature maps are compared instead of pixels: a few real images suffice, and noise does not pass for
    texture. With the default options each map has a head of three convolutions with spectral norm, logits may be label
    maps, and the network is `own`, none of which is in the papers. `mixing = "scales"` and `head = "downsampling"` are
    those of Projected GAN (Sauer et al., 2021, section 3.2), `head = "tokens"` that of StyleGAN-T (Sauer et al., 2023,
    section 3.2), without class tokens.

    `forward(x, style, domain, kept)`: x (N, 1 or 3, H, W) in [-1, 1]; logits (N, 1, H', W') for each feature map, the
    heads' features; with `label_maps` domain (N,) and kept (N, K), or None, and the logits of K values for each map.

    Raises:
        UsageError: samples are not images of 1 or 3 channels; there is no such model, layer or size; images are too
            small for the network.
        DataError: the weights are missing, cannot be read, or are those of another network.
        PluginError: timm is needed and not installed.
    """

    channels_last = True

    @classmethod
    def unused_conditions(cls, options: FeatureOptions) -> tuple[str, ...]:
        return () if options.label_maps else ("domain", "kept")

    def __init__(self, options: FeatureOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        two_axes(spec, "features")
        self.options, self.domains, self.names = options, len(spec.domains), spec.domains
        if options.model == OWN and options.weights is not None:
            raise UsageError(f"'features': model = \"{OWN}\" takes no weights; leave them out, or name their model")
        self.frozen = self._build(spec, options.weights)
        maps = self.domains + spec.attributes.get("kept", 0) if options.label_maps else 1
        sizes = self._sizes(spec)
        if options.model == OWN:
            model, file = next(iter(WEIGHTS.items()))
            self.note = (
                f"its network is trained on the run's own domains for {options.pretrain} steps before the first step; "
                f"a pretrained one knows more: 'transgan download {file.name}', model = \"{model}\", "
                'weights = "downloaded"'
            )
        channels = [count for count, *_ in sizes]
        self.mixing = None if options.mixing == "none" else Mixing(channels, options.mixed, options.mixing)
        channels = channels if self.mixing is None else self.mixing.channels
        grown = 2 if options.mixing == "scales" else 1
        self.heads = nn.ModuleList()
        for count, (_, *sides) in zip(channels, sizes, strict=True):
            if options.head == "downsampling":
                self.heads.append(DownsamplingHead(count, options.width, maps, spec.style, grown * min(sides)))
            elif options.head == "tokens":
                self.heads.append(TokenHead(count, maps, spec.style))
            else:
                self.heads.append(Head(count, options.width, maps, spec.style))

    def _build(self, spec: NetworkSpec, weights: str | None = None) -> OwnFeatures | TimmEncoder:
        """Return the frozen network."""
        options = self.options
        if options.model == OWN:
            return OwnFeatures(spec.inputs, len(spec.domains), options.layers)
        return TimmEncoder(
            TimmOptions(model=options.model, layers=options.layers, weights=weights, size=options.size), spec
        )

    def init_from_data(self, domains: Mapping[str, Domain], translations: Sequence[Translation]) -> None:
        """Train the network `own` to classify the domains of each task."""
        if not isinstance(self.frozen, OwnFeatures) or not self.options.pretrain:
            return
        tasks: dict[str, dict[str, None]] = {}
        for each in translations:
            tasks.setdefault(each.task, {}).update(dict.fromkeys((each.source, each.target)))
        samples = {
            self.names.index(name): self._resized(real_samples(domains[name], held_out=False, most=2000))
            for name in dict.fromkeys(name for task in tasks.values() for name in task)
        }
        indices = [[self.names.index(name) for name in task] for task in tasks.values()]
        self.frozen.fit(samples, indices, self.options.pretrain)

    def _resized(self, x: Tensor) -> Tensor:
        size = self.options.size
        if self.options.model != OWN or size is None or x.shape[2:] == (size, size):
            return x  # other networks resize by themselves
        return antialiased(x, (size, size))

    def _sizes(self, spec: NetworkSpec) -> list[tuple[int, ...]]:
        """Return channels, height and width of each feature map, from a pass on the meta device."""
        with torch.device("meta"), torch.no_grad():
            probe = self._build(spec)
            try:
                return [tuple(x.shape[1:]) for x in probe(self._resized(torch.empty(1, spec.inputs, *spec.space)))]
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
        found = self.frozen(self._resized(x))
        for head, maps in zip(self.heads, found if self.mixing is None else self.mixing(found), strict=True):
            logits, features = head(maps, style)
            if self.options.label_maps:
                logits, kept_logits = split_label_maps(logits, domain, kept, self.domains)
                output.kept_logits.extend([] if kept_logits is None else [kept_logits])
            output.logits.append(logits)
            output.features.append(features)
        return output
