"""U-GAT-IT (Kim et al., 2020): generators and discriminators that attend to where the domains differ.

An auxiliary classifier on pooled features has one weight for each channel. Features times these weights are what the
classifier looks at, the class activation map; the network goes on with them, and so is drawn to what matters.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from transgan_standard.layers import two_axes
from transgan_standard.nodes import TranslationNodes, scaled
from transgan_standard.norms import InstanceNorm, instance_norm, sample_norm
from transgan_standard.padding import Conv2d

from transgan.api import (
    Call,
    Conditions,
    Discriminator,
    DiscriminatorOutput,
    Generator,
    Loss,
    Metric,
    NetworkSpec,
    Options,
    Tensor,
    Translation,
    UsageError,
    node,
)

Attended = tuple[Tensor, Tensor, Tensor]
"""A translation (N, C, H, W), the classifier's logits (N, 2), and the attention (N, 1, H', W'), at least 0."""


class ClassActivation(nn.Module):
    """Attention by class activation maps (ibid., section 3.1.1): features, weighted by an auxiliary classifier.

    Two linear maps without bias classify the mean and the maximum of each channel over all positions. The features
    times the weights of either are put together, and a 1x1 convolution brings them back to as many channels.

    `forward(x)`: x (N, C, H, W); returns what the convolution makes of the weighted features (N, C, H, W), before any
    activation function, the logits (N, 2), and the weighted features, the class activation map (N, 2 C, H, W).

    Args:
        spectral: spectral normalisation of the classifier. What weighs the features are its weights before that, as in
            the authors' code.
    """

    def __init__(self, channels: int, spectral: bool = False):
        super().__init__()
        self.spectral = spectral
        mean, maximum = nn.Linear(channels, 1, bias=False), nn.Linear(channels, 1, bias=False)
        self.mean, self.maximum = (spectral_norm(mean), spectral_norm(maximum)) if spectral else (mean, maximum)
        self.mix = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = torch.cat([self.mean(x.mean((2, 3))), self.maximum(x.amax((2, 3)))], 1)
        weights = [self._weight(layer)[:, :, None, None] for layer in (self.mean, self.maximum)]
        weighted = torch.cat([x * weight for weight in weights], 1)
        return self.mix(weighted), logits, weighted

    def _weight(self, layer: nn.Module) -> Tensor:
        weight: Tensor = layer.parametrizations.weight.original if self.spectral else layer.weight  # type: ignore
        return weight


class LayerInstanceNorm(nn.Module):
    """A mixture of instance and layer normalisation (ibid., eq. 1): `rho IN(x) + (1 - rho) LN(x)`, scaled and shifted.

    The share `rho` of each channel is learned, and stays within [0, 1]: `clip` is called after each optimizer step.

    `forward(x, scale, shift)`: x (N, C, H, W), scale and shift (N, C), which are the norm's own where it is `affine`.

    Args:
        rho: its initial value.
    """

    def __init__(self, channels: int, rho: float, affine: bool):
        super().__init__()
        self.rho = nn.Parameter(torch.full((channels, 1, 1), rho))
        self.scale = nn.Parameter(torch.ones(1, channels)) if affine else None
        self.shift = nn.Parameter(torch.zeros(1, channels)) if affine else None

    @torch.no_grad()
    def clip(self) -> None:
        """Bring rho back to [0, 1]."""
        self.rho.clamp_(0, 1)

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        scale, shift = self.scale if scale is None else scale, self.shift if shift is None else shift
        assert scale is not None and shift is not None
        y = self.rho * instance_norm(x) + (1 - self.rho) * sample_norm(x)
        return y * scale[:, :, None, None] + shift[:, :, None, None]


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    padding = kernel // 2
    return Conv2d(inputs, outputs, kernel, stride, padding, padding_mode="reflect", bias=False)


class _Residual(nn.Module):
    """Residual block of the encoder: two convolutions with instance norm."""

    def __init__(self, channels: int):
        super().__init__()
        first, second = _conv(channels, channels, 3), _conv(channels, channels, 3)
        self.layers = nn.Sequential(first, InstanceNorm(), nn.ReLU(), second, InstanceNorm())

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.layers(x)
        return x + change


class _AdaptiveResidual(nn.Module):
    """Residual block of the decoder: the same with AdaLIN, whose scale and shift are given."""

    def __init__(self, channels: int):
        super().__init__()
        self.first, self.second = _conv(channels, channels, 3), _conv(channels, channels, 3)
        self.first_norm = LayerInstanceNorm(channels, 0.9, affine=False)
        self.second_norm = LayerInstanceNorm(channels, 0.9, affine=False)

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        y = self.second(F.relu(self.first_norm(self.first(x), scale, shift)))
        change: Tensor = self.second_norm(y, scale, shift)
        return x + change


class UgatitOptions(Options):
    """Options of the generator `ugatit`."""

    width: int = Field(64, ge=1)
    """Channels of the first convolution; each downsampling doubles them (1 or more)."""
    downs: int = Field(2, ge=0, le=6)
    """Number of downsamplings by 2 (0 to 6)."""
    blocks: int = Field(4, ge=1, le=100)
    """Number of residual blocks of the encoder, and of the decoder (1 or more)."""
    light: bool = False
    """Whether scales and shifts follow from the mean of the attended features, as in the authors' light version, and
    not from all of them: at 256 pixels 10.6 million parameters in place of 279."""


class UgatitGenerator(Generator[UgatitOptions]):
    """The generator of U-GAT-IT (Kim et al., 2020, appendix, table 5): attention, and a decoder with AdaLIN.

    The scale and shift of all adaptive norms are the same two vectors, which follow from the attended features.
    Normalisation is by the variance of all numbers, as in the paper; the authors' PyTorch code divides by one less.

    `forward(x, attention)`: x (N, inputs, H, W), H and W multiples of `stride`; returns (N, channels, H, W) in [-1, 1];
    with `attention` that, the classifier's logits (N, 2), positive for samples that the generator takes for its source
    domain's, and the attention (N, 1, H / stride, W / stride), at least 0: the sum of squares over channels of the
    class activation map (Zagoruyko & Komodakis, 2017, "Paying more attention to attention", section 3.1). The authors'
    code shows the sum of what follows the convolution and a ReLU instead, which depends on the signs that the
    convolution happens to begin with.
    Without `light`, features of another size than in training are averaged to that size before they give scales.

    Raises:
        UsageError: samples are not images, or too small.
    """

    channels_last = True

    def __init__(self, options: UgatitOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        height, width = two_axes(spec, "ugatit")
        self.stride = 2**options.downs
        if min(height, width) < max(4, 2 * self.stride):
            raise UsageError(
                f"'ugatit': {height}x{width} pixels are too few for downs = {options.downs}; choose fewer downs"
            )
        self.grid = (height // self.stride, width // self.stride)
        widths = [options.width * 2**i for i in range(options.downs + 1)]
        channels = widths[-1]
        first: list[nn.Module] = [_conv(spec.inputs, widths[0], 7), InstanceNorm(), nn.ReLU()]
        for before, after in pairwise(widths):
            first += [_conv(before, after, 3, 2), InstanceNorm(), nn.ReLU()]
        self.encoder = nn.Sequential(*first, *(_Residual(channels) for _ in range(options.blocks)))
        self.activation = ClassActivation(channels)
        self.light = options.light
        numbers = channels if options.light else channels * self.grid[0] * self.grid[1]
        self.hidden = nn.Sequential(
            nn.Linear(numbers, channels, bias=False), nn.ReLU(), nn.Linear(channels, channels, bias=False), nn.ReLU()
        )
        self.scale = nn.Linear(channels, channels, bias=False)
        self.shift = nn.Linear(channels, channels, bias=False)
        self.blocks = nn.ModuleList(_AdaptiveResidual(channels) for _ in range(options.blocks))
        last: list[nn.Module] = []
        for before, after in pairwise(reversed(widths)):
            last += [nn.Upsample(scale_factor=2), _conv(before, after, 3)]
            last += [LayerInstanceNorm(after, 0.0, affine=True), nn.ReLU()]
        self.decoder = nn.Sequential(*last, _conv(widths[0], spec.channels, 7), nn.Tanh())

    def forward(self, x: Tensor, attention: bool = False) -> Tensor | Attended:
        x, logits, activation = self.activation(self.encoder(x))
        x = x.relu()
        hidden = self.hidden(F.adaptive_avg_pool2d(x, 1 if self.light else self.grid).flatten(1))
        scale, shift = self.scale(hidden), self.shift(hidden)
        for block in self.blocks:
            x = block(x, scale, shift)
        y: Tensor = self.decoder(x)
        return (y, logits, activation.square().sum(1, keepdim=True)) if attention else y

    def after_step(self) -> None:
        """Bring the shares of instance norm back to [0, 1]."""
        for module in self.modules():
            if isinstance(module, LayerInstanceNorm):
                module.clip()


class UgatitDiscriminatorOptions(Options):
    """Options of the discriminator `ugatit`."""

    width: int = Field(64, ge=1)
    """Channels of the first convolution; each layer doubles them (1 or more)."""
    layers: int = Field(7, ge=2, le=10)
    """Number of convolutions as the authors count them (2 to 10): all but the last two halve height and width. The
    authors have 7 for the global discriminator, whose logits see all of 256 pixels, and 5 for the local one, whose
    logits see 70."""


class UgatitDiscriminator(Discriminator[UgatitDiscriminatorOptions]):
    """A discriminator of U-GAT-IT (Kim et al., 2020, appendix, tables 6 and 7): convolutions, and attention after them.

    All weights but those of the attention's 1x1 convolution are spectrally normalised.

    `forward(x)`: x (N, inputs, H, W); logits (N, 1, H', W') of patches and (N, 1, 2) of the attention's classifier, as
    two scales, of which adversarial losses take the mean: twice their weight is the authors'. Features of every layer,
    the last ones attended.

    Raises:
        UsageError: samples are not images, or too small for the layers.
    """

    channels_last = True

    def __init__(self, options: UgatitDiscriminatorOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        space = two_axes(spec, "ugatit")
        halvings = options.layers - 2
        if min(space) < 3 * 2**halvings:
            raise UsageError(
                f"'ugatit': {space[0]}x{space[1]} pixels are too few for layers = {options.layers}, expected "
                f"{3 * 2**halvings} or more; choose fewer"
            )
        widths = [spec.inputs, *(options.width * 2**i for i in range(halvings + 1))]
        strides = [2] * halvings + [1]
        self.layers = nn.ModuleList(
            nn.Sequential(spectral_norm(Conv2d(before, after, 4, stride, 1, padding_mode="reflect")), nn.LeakyReLU(0.2))
            for (before, after), stride in zip(pairwise(widths), strides, strict=True)
        )
        self.activation = ClassActivation(widths[-1], spectral=True)
        self.last = spectral_norm(Conv2d(widths[-1], 1, 4, 1, 1, padding_mode="reflect", bias=False))

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        x, logits, _ = self.activation(x)
        features.append(F.leaky_relu(x, 0.2))
        return DiscriminatorOutput([self.last(features[-1]), logits[:, None]], features=features)


class UgatitNodes(TranslationNodes):
    """The nodes of `translation`, with what generators attend to."""

    shown = ("attention",)

    @node
    def attended(self, source: Tensor, to_target: Conditions) -> Call:
        """The translation of the source, its logits (N, 2), and the attention (N, 1, H', W')."""
        return Call("generator", source, {**to_target, "attention": True})

    @node
    def attended_identity(self, target: Tensor, to_target: Conditions) -> Call:
        """The same of a target sample, translated to its own domain."""
        return Call("generator", target, {**to_target, "attention": True})

    @node
    def fake(self, source: Tensor, attended: Attended, strength: float | None) -> Tensor:
        """Translate the source to the target domain, (N, C, H, W); scale each change by `strength`, where given."""
        return attended[0] if strength is None else scaled(attended[0], source, strength)

    @node
    def identity(self, attended_identity: Attended) -> Tensor:
        """Translate a target sample to its own domain, (N, C, H, W)."""
        return attended_identity[0]

    @node
    def attention(self, attended: Attended) -> Tensor:
        """Where the generator looks at, (N, 1, H', W'), from -1, the least of a sample, to 1, its most."""
        x = attended[2]
        low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return 2 * (x - low) / (high - low).clamp(min=1e-12) - 1


class ClassActivationLoss(Loss):
    """Cross-entropy of a generator's auxiliary classifier: is a sample of the source domain? (ibid., section 3.2).

    The logits of sources should be positive, those of target samples, translated to their own domain, negative. The
    mean over both pooled logits and all samples, of the two cases added.
    """

    def for_generator(self, attended: Attended, attended_identity: Attended) -> Tensor:
        return F.softplus(-attended[1]).mean() + F.softplus(attended_identity[1]).mean()


class AttentionOptions(Options):
    """Options of the metric `attention_in_change`."""

    least: float = Field(0.05, gt=0, lt=1)
    """Where a sample and its true translation differ by more than this share of the range of values, in some channel,
    is the changed region (above 0 to below 1)."""


class AttentionInChange(Metric[AttentionOptions]):
    """Share of the attention that lies in the region that a translation has to change, from 0 to 1.

    The region is where the source and its true translation differ, which is known of synthetic data; the attention that
    of the node `attention`, from its least to its most, enlarged to the samples' size. `changed_share`, the region's
    share of the area, is what an attention gets that is the same everywhere. Samples of which nothing is to be changed
    are not counted.
    """

    measures = ("pictures", 2)
    direction = {"attention_in_change": "higher"}

    def reset(self) -> None:
        """Forget all updates."""
        self.shares: dict[Translation, list[tuple[float, float]]] = defaultdict(list)

    def update(self, translation: Translation, source: Tensor, counterpart: Tensor, attention: Tensor) -> None:
        """Add a batch: sources and true translations (N, C, H, W), attention (N, 1, H', W') in [-1, 1]."""
        region = ((counterpart - source).abs().amax(1, keepdim=True) > 2 * self.options.least).float()
        mass = F.interpolate((attention.float() + 1) / 2, source.shape[2:], mode="bilinear")
        self.shares[translation] += self._shares(region.flatten(1), mass.flatten(1))

    def _shares(self, region: Tensor, mass: Tensor) -> Iterator[tuple[float, float]]:
        """Yield the shares of attention and of area of each sample's region, of (N, H W) both."""
        inside = (region * mass).sum(1) / mass.sum(1).clamp(min=1e-12)
        for share, area in zip(inside.tolist(), region.mean(1).tolist(), strict=True):
            if area:
                yield share, area

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Return the means over samples, by translation and name."""
        names = ("attention_in_change", "changed_share")
        return {
            translation: dict(zip(names, torch.tensor(shares).mean(0).tolist(), strict=True))
            for translation, shares in self.shares.items()
            if shares
        }
